//! The store, its topics, its cursors.

use drave::Error;
use drave::ids::TopicName;
use drave::store::TopicFacts;

use super::{Status, of_topic};
use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Facts, Rows};

/// Prints facts about the store.
pub(super) fn store(json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?.facts()?;
    let defaults: Vec<String> = store.defaults.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let exit = if store.problem.is_some() { Exit::Damaged } else { Exit::Done };
    let mut facts = Facts::new();
    facts.put("path", store.path.as_path());
    facts.put("id", store.id);
    facts.put("version", store.version.map(u64::from));
    facts.put("problem", store.problem);
    facts.put("topics", store.topics);
    facts.put("cursors", store.cursors);
    facts.put("bytes", store.bytes);
    facts.put("defaults", defaults.join(" "));
    facts.print(json)?;
    Ok(exit)
}

const TOPICS: [&str; 9] = ["topic", "records", "bytes", "segments", "log_start", "log_end", "durable", "last_time", "problem"];

/// Prints a row for each topic.
pub(super) fn all(json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    context.warn_of_file(&store);
    let mut status = Status::default();
    let mut rows = Rows::begin(TOPICS, json);
    let (topics, strays) = store.look_at_topics()?;
    for topic in topics {
        context.job.check()?;
        match store.topic_facts(&topic.name) {
            Ok(facts) => rows.row(row(&facts))?,
            // Deleted since it was listed.
            Err(Error::TopicMissing { .. }) => {}
            Err(error) => {
                status.note(&error);
                let mut cells = vec![Cell::from(&topic.name)];
                cells.resize(TOPICS.len() - 1, Cell::Absent);
                cells.push(error.to_string().into());
                rows.row(cells)?;
            }
        }
    }
    for stray in strays {
        if let drave::store::StrayKind::Nameless(why) = stray.kind {
            status.note_damage();
            let mut cells = vec![Cell::Absent; TOPICS.len() - 1];
            cells.push(format!("{}: {why}", stray.path.display()).into());
            rows.row(cells)?;
        }
    }
    rows.end()?;
    Ok(status.exit())
}

fn row(facts: &TopicFacts) -> Vec<Cell> {
    let problem = facts.poisoned.then_some("a sync failed; the next publish repairs that");
    vec![
        (&facts.name).into(),
        facts.records.into(),
        facts.bytes.into(),
        facts.segments.into(),
        facts.log_start.into(),
        facts.log_end.into(),
        facts.durable.into(),
        last_time(facts),
        problem.into(),
    ]
}

fn last_time(facts: &TopicFacts) -> Cell {
    if facts.last_id.ms == 0 { Cell::Absent } else { Cell::time(facts.last_id.ms) }
}

/// Prints all facts about a topic.
pub(super) fn one(topic: &TopicName, json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    context.warn_of_file(&store);
    let topic = of_topic(store.topic_facts(topic), topic)?;
    let mut facts = Facts::new();
    facts.put("topic", &topic.name);
    facts.put("directory", topic.directory.as_str());
    facts.put("incarnation", topic.incarnation.to_string());
    facts.put("records", topic.records);
    facts.put("deleted", topic.deleted);
    facts.put("log_start", topic.log_start);
    facts.put("log_end", topic.log_end);
    facts.put("high_watermark", topic.high_watermark);
    facts.put("durable", topic.durable);
    facts.put("epoch", topic.epoch.0);
    facts.put("last_id", topic.last_id.to_string());
    facts.put("last_time", last_time(&topic));
    facts.put("entries_added", topic.entries_added);
    facts.put("segments", topic.segments);
    facts.put("bytes", topic.bytes);
    facts.put("poisoned", topic.poisoned);
    facts.put("unrecovered", topic.unrecovered);
    for (name, value) in topic.settings.iter() {
        facts.put(name, value);
    }
    facts.print(json)?;
    Ok(Exit::Done)
}

/// Prints a row for each cursor.
pub(super) fn cursors(topic: Option<&TopicName>, json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    context.warn_of_file(&store);
    let mut status = Status::default();
    let mut rows = Rows::begin(["name", "topic", "offset", "epoch", "saved", "waiting", "problem"], json);
    for cursor in store.cursor_facts(topic)? {
        if cursor.damaged {
            status.note_damage();
        }
        rows.row(vec![
            cursor.name.into(),
            cursor.topic.into(),
            cursor.place.map(|place| place.offset).into(),
            cursor.place.map(|place| place.epoch.0).into(),
            cursor.saved_ms.map_or(Cell::Absent, Cell::time),
            cursor.waiting.into(),
            cursor.problem.into(),
        ])?;
    }
    rows.end()?;
    Ok(status.exit())
}
