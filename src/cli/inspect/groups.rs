//! Consumer groups, and the consumers of one.

use std::time::Duration;

use drave::codec::group_event::Source;
use drave::engine::{GroupInfo, Hold};
use drave::ids::{GroupName, TopicName};
use drave::store::is_damage;
use drave::units::parse_duration;

use super::Status;
use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, InTopic as _};
use crate::cli::table::{Cell, Rows};

/// A lag above which `inspect groups` ends with exit status 20.
#[derive(Clone, Copy, Debug)]
pub(super) enum Threshold {
    Records(u64),
    Age(Duration),
}

impl Threshold {
    /// Reads a number of records, or a duration.
    pub(super) fn parse(text: &str) -> Result<Threshold, String> {
        match text.parse() {
            Ok(records) => Ok(Threshold::Records(records)),
            Err(_) => parse_duration(text).map(Threshold::Age).map_err(|why| format!("{why}; or a number of records")),
        }
    }

    fn is_crossed(self, info: &GroupInfo) -> bool {
        match self {
            Threshold::Records(records) => info.lag > records,
            Threshold::Age(age) => u128::from(info.lag_ms) > age.as_millis(),
        }
    }
}

const GROUPS: [&str; 12] =
    ["topic", "group", "committed", "lag", "lag_ms", "undelivered", "pending", "rate", "delivered", "dead", "members", "problem"];

/// Prints a row for each group, of one topic or of all.
pub(super) fn all(topic: Option<&TopicName>, threshold: Option<Threshold>, json: bool, context: &Context) -> Result {
    let engine = context.open(false)?;
    let topics = match topic {
        Some(topic) => vec![topic.clone()],
        None => engine.topics()?,
    };
    let mut rows = Rows::begin(GROUPS, json);
    let mut is_crossed = false;
    let mut status = Status::default();
    for topic in topics {
        for group in engine.groups(&topic).in_topic(&topic)? {
            context.job.check()?;
            let row = match engine.group(&topic, &group) {
                // Deleted since it was listed.
                Err(drave::Error::NameMissing { .. }) => continue,
                Err(error) if is_damage(&error) => {
                    status.note(&error);
                    row_of(&topic, &group, None, Some(error.to_string()))
                }
                info => {
                    let info = info.in_topic(&topic)?;
                    is_crossed |= threshold.is_some_and(|threshold| threshold.is_crossed(&info));
                    row_of(&topic, &group, Some(&info), None)
                }
            };
            rows.row(row)?;
        }
    }
    rows.end()?;
    Ok(match status.exit() {
        Exit::Done if is_crossed => Exit::Threshold,
        exit => exit,
    })
}

fn row_of(topic: &TopicName, group: &GroupName, info: Option<&GroupInfo>, problem: Option<String>) -> Vec<Cell> {
    let members = |info: &GroupInfo| info.consumers.iter().filter(|consumer| consumer.is_member).count() as u64;
    vec![
        topic.into(),
        group.as_bytes().to_vec().into(),
        info.map(|info| info.committed.offset).into(),
        info.map(|info| info.lag).into(),
        info.map(|info| info.lag_ms).into(),
        info.map(|info| info.undelivered).into(),
        info.map(|info| info.pending).into(),
        info.map_or(Cell::Absent, |info| Cell::Rate(info.rate)),
        info.map(|info| info.delivered).into(),
        info.map(|info| info.dead).into(),
        info.map(members).into(),
        problem.into(),
    ]
}

/// Prints a row for each consumer of a group.
pub(super) fn one(topic: &TopicName, group: &GroupName, json: bool, context: &Context) -> Result {
    let engine = context.open(false)?;
    let info = engine.group(topic, group).in_topic(topic)?;
    let mut rows = Rows::begin(["consumer", "member", "lanes", "pending", "idle_ms"], json);
    for consumer in info.consumers {
        rows.row(vec![
            consumer.name.into(),
            consumer.is_member.into(),
            consumer.lanes.into(),
            consumer.pending.into(),
            consumer.idle_ms.into(),
        ])?;
    }
    rows.end()?;
    Ok(Exit::Done)
}

/// Prints a row for each entry that a group has not settled.
pub(super) fn pending(topic: &TopicName, group: &GroupName, json: bool, context: &Context) -> Result {
    let engine = context.open(false)?;
    let columns = ["offset", "letter", "state", "consumer", "attempts", "idle_ms", "due_ms", "receipt"];
    let mut rows = Rows::begin(columns, json);
    let mut printed = Ok(());
    let looked = engine.pending(topic, group, &mut |entry| {
        let key = entry.receipt.receipt.key;
        let state = match entry.hold {
            Hold::Leased => "leased",
            Hold::Waiting => "waiting",
            Hold::Dying => "dying",
        };
        let receipt = (entry.hold == Hold::Leased).then(|| entry.receipt.to_string());
        printed = rows.row(vec![
            key.offset.into(),
            (key.source == Source::DeadLetter).into(),
            state.into(),
            entry.consumer.map(<[u8]>::to_vec).into(),
            u64::from(entry.attempts).into(),
            entry.idle_ms.into(),
            entry.due_ms.into(),
            receipt.into(),
        ]);
        printed.is_ok()
    });
    looked.in_topic(topic)?;
    printed?;
    rows.end()?;
    Ok(Exit::Done)
}
