//! `drave topic`: topics and their settings.

use clap::{Args as ClapArgs, Subcommand};
use drave::config::{LimitSettings, Overrides};
use drave::engine::Position;
use drave::ids::TopicName;

use super::confirm::Consent;
use super::context::Context;
use super::exit::{Exit, Failure, InTopic as _, say};
use super::position::{self, POSITIONS_HELP};
use super::table::Table;
use super::{Result, topic_name};

/// Create, change, trim, delete and list topics
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    Set(Set),
    Trim(Trim),
    Delete(Delete),
    List(List),
    Show(Show),
}

/// Create a topic with settings of its own
///
/// publish creates missing topics too, with the store's default settings. A topic that exists already is exit 12.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("{SETTINGS_HEADING}{}\n\n{CREATE_EXAMPLES}", settings_help()))]
struct Create {
    /// The topic: any 1 to 512 bytes
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// What differs from the store's defaults
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,

    /// A topic that exists already is left as it is
    #[arg(long)]
    if_missing: bool,
}

/// Change settings of a topic
///
/// They hold for what is published from now on, also by commands that run already.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("{SETTINGS_HEADING}{}\n\n{SET_EXAMPLES}", settings_help()))]
struct Set {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// The changes; an empty value puts a setting back to the store's default
    #[arg(value_name = "NAME=VALUE", value_parser = setting, required = true)]
    settings: Vec<(String, String)>,
}

/// Remove the oldest records of a topic
///
/// Readers that had not read them are told. Space is given back when all records of a segment are removed.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("{POSITIONS_HELP}\n\n{TRIM_EXAMPLES}"))]
struct Trim {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// Records before this position are removed
    #[arg(long, value_name = "POSITION", value_parser = position::parse, allow_hyphen_values = true)]
    before: Position,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Delete topics with all their records
///
/// Publishers that run create the topic anew, followers of it end with exit 3.
#[derive(ClapArgs, Debug)]
struct Delete {
    /// The topics
    #[arg(value_name = "TOPIC", value_parser = topic_name(), required = true)]
    topics: Vec<TopicName>,

    /// A missing topic is no error
    #[arg(long)]
    if_exists: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// List all topics
///
/// Columns: topic. What is in them: drave inspect topics.
#[derive(ClapArgs, Debug)]
struct List {
    /// Print an object a line: {"topic"}, or {"topic_b64"} for a name that is not UTF-8
    #[arg(long)]
    json: bool,
}

/// Show the settings of a topic
///
/// Columns: setting, value, from. From is "topic" for what was set for this topic, "default" for what the store or drave gives all topics.
#[derive(ClapArgs, Debug)]
struct Show {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// Print an object a line: {"setting","value","from"}
    #[arg(long)]
    json: bool,
}

const SETTINGS_HEADING: &str = "Settings:\n";

const CREATE_EXAMPLES: &str = "\
Examples:
  drave topic create orders
  drave topic create clicks durability=none segment-bytes=64MiB
  drave topic create logs compression=zstd --if-missing";

const SET_EXAMPLES: &str = "\
Examples:
  drave topic set logs compression=zstd:9
  drave topic set clicks durability=     back to the store's default";

const TRIM_EXAMPLES: &str = "\
Examples:
  drave topic trim logs --before @7d
  drave topic trim logs --before -1000000 --dry-run";

fn settings_help() -> String {
    let line = |setting: &drave::config::Setting| format!("  {:<18}{:<24}{}", setting.name, setting.values, setting.help);
    let lines: Vec<String> = drave::config::SETTINGS.iter().map(line).collect();
    lines.join("\n") + "\nSizes: MB is 10^6, MiB is 2^20. Durations: ms s m h d, as 1d12h."
}

/// Reads `name=value`, both known to be legal then.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Overrides::default().set(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the verb.
pub(super) fn run(args: Args, context: &Context) -> Result {
    match args.verb {
        Verb::Create(args) => create(&args, context),
        Verb::Set(args) => set(&args, context),
        Verb::Trim(args) => trim(&args, context),
        Verb::Delete(args) => delete(&args, context),
        Verb::List(args) => list(&args, context),
        Verb::Show(args) => show(&args, context),
    }?;
    Ok(Exit::Done)
}

fn create(args: &Create, context: &Context) -> Result<()> {
    let mut overrides = Overrides::default();
    for (name, value) in &args.settings {
        overrides.set(name, value).map_err(|why| Failure::new(Exit::Usage, why))?;
    }
    match context.open(true)?.create_topic(&args.topic, &overrides) {
        Err(drave::Error::TopicExists { .. }) if args.if_missing => {
            if !args.settings.is_empty() {
                context.say(&format!("{}: exists already, its settings were left as they are", args.topic));
            }
            Ok(())
        }
        result => result.in_topic(&args.topic),
    }
}

fn set(args: &Set, context: &Context) -> Result<()> {
    let engine = context.open(false)?;
    engine.configure_topic(&args.topic, &args.settings, &context.job).in_topic(&args.topic)?;
    let limit = engine.settings(&args.topic).in_topic(&args.topic)?.0.limit;
    warn_of_idle(&args.topic, &args.settings, &limit);
    Ok(())
}

/// Says which settings of a limit do nothing as the others are: they may come later.
fn warn_of_idle(topic: &TopicName, settings: &[(String, String)], limit: &LimitSettings) {
    for why in settings.iter().filter_map(|(name, _)| limit.idle_without(name)) {
        say(&format!("{topic}: {why}"));
    }
}

fn trim(args: &Trim, context: &Context) -> Result<()> {
    let consent = Consent::needed(args.yes || args.dry_run)?;
    let topic = &args.topic;
    let engine = context.open(false)?;
    let (bounds, before) = {
        let mut feed = engine.feed(std::slice::from_ref(topic), &context.job).in_topic(topic)?;
        let before = args.before.resolve(feed.as_mut(), 0).in_topic(topic)?;
        (feed.bounds(0).in_topic(topic)?, before)
    };
    if before <= bounds.start {
        context.say(&format!("{topic}: nothing lies before offset {before}, the log starts at {}", bounds.start));
        return Ok(());
    }
    if args.dry_run {
        context.say(&format!("{topic}: would remove records {}..{before}", bounds.start));
        return Ok(());
    }
    consent.ask(&format!("remove records {}..{before} of {topic}?", bounds.start))?;
    let trimmed = engine.trim_topic(topic, before, &context.job).in_topic(topic)?;
    let freed = match trimmed.segments {
        0 => String::new(),
        segments => format!(" and {segments} segments, {} bytes", trimmed.bytes),
    };
    context.say(&format!("{topic}: removed records {}..{}{freed}", trimmed.from, trimmed.until));
    Ok(())
}

fn delete(args: &Delete, context: &Context) -> Result<()> {
    let consent = Consent::needed(args.yes)?;
    let engine = context.open(false)?;
    for topic in &args.topics {
        consent.ask(&format!("delete topic {topic} and all its records?"))?;
        match engine.delete_topic(topic, &context.job) {
            Err(drave::Error::TopicMissing { .. }) if args.if_exists => {}
            result => result.in_topic(topic)?,
        }
    }
    Ok(())
}

fn list(args: &List, context: &Context) -> Result<()> {
    let mut table = Table::new(&["topic"]);
    for topic in context.open(false)?.topics()? {
        table.row(vec![(&topic).into()]);
    }
    table.print(args.json)
}

fn show(args: &Show, context: &Context) -> Result<()> {
    let (settings, overrides) = context.open(false)?.settings(&args.topic).in_topic(&args.topic)?;
    let mut table = Table::new(&["setting", "value", "from"]);
    for (name, value) in settings.iter() {
        let from = if overrides.contains(name) { "topic" } else { "default" };
        table.row(vec![name.into(), value.into(), from.into()]);
    }
    table.print(args.json)
}
