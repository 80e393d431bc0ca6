//! The store, its topics and their groups, and its snapshots.

use std::path::Path;

use drave::engine::{Engine, GroupInfo};
use drave::ids::{GroupName, Offset, TopicName};
use drave::log::inspect::SegmentFacts;
use drave::store::{Store, StrayKind, TopicFacts, is_damage, look_at_snapshots};

use super::sheet::Sheet;
use super::table as t;
use crate::cli::Result;
use crate::cli::context::Context;

/// Puts down what is known of the store as a whole.
pub(super) fn store(store: &Store, sheet: &mut Sheet) -> Result<()> {
    let version = store.format_version();
    sheet.put(t::STORE_DAMAGED, &[], flag(version.is_none()))?;
    if let Some(version) = version {
        sheet.put(t::STORE_VERSION, &[], f64::from(version))?;
    }
    let room = store.room()?;
    sheet.put(t::STORE_FREE, &[], room.free_bytes as f64)?;
    sheet.put(t::STORE_SIZE, &[], room.size_bytes as f64)?;
    sheet.put(t::STORE_READONLY, &[], flag(room.is_readonly))?;
    if let Some(files) = room.free_files {
        sheet.put(t::STORE_FREE_FILES, &[], files as f64)?;
    }
    sheet.put(t::STORE_CURSORS, &[], store.list_cursors(None)?.len() as f64)?;
    let quarantined = store.quarantined()?;
    sheet.put(t::QUARANTINED_FILES, &[], quarantined.files as f64)?;
    sheet.put(t::QUARANTINED_BYTES, &[], quarantined.bytes as f64)
}

/// Puts down what is known of a directory of snapshots.
pub(super) fn snapshots(dir: &Path, sheet: &mut Sheet) -> Result<()> {
    let found = look_at_snapshots(dir)?;
    sheet.put(t::SNAPSHOTS, &[], found.whole as f64)?;
    sheet.put(t::SNAPSHOTS_BROKEN, &[], found.damaged as f64)?;
    let Some((made, bytes)) = found.newest else { return Ok(()) };
    sheet.put(t::SNAPSHOT_TIME, &[], made.0 as f64 / 1000.0)?;
    sheet.put(t::SNAPSHOT_BYTES, &[], bytes as f64)
}

/// What all topics come to.
#[derive(Debug, Default)]
struct Sums {
    damaged: u64,
    damaged_groups: u64,
    poisoned: u64,
    bad_segments: u64,
    missing_segments: u64,
    records: u64,
    bytes: u64,
    series: Series,
    group_series: Series,
}

/// How many have series of their own, and how many have none.
#[derive(Debug, Default)]
pub(super) struct Series {
    shown: usize,
    pub(super) left_out: usize,
}

impl Series {
    /// Whether one more gets its own.
    pub(super) fn admits(&mut self, max: usize) -> bool {
        let admits = self.shown < max;
        if admits {
            self.shown += 1
        } else {
            self.left_out += 1
        }
        admits
    }
}

/// Puts down what is known of each topic and each group, by name up to `labels_max` of them, and the sums of all.
pub(super) fn topics(store: &Store, labels_max: usize, sheet: &mut Sheet, context: &Context) -> Result<()> {
    let (topics, strays) = store.look_at_topics()?;
    sheet.put(t::STORE_TOPICS, &[], topics.len() as f64)?;
    let lost = strays.iter().filter(|stray| matches!(stray.kind, StrayKind::Nameless(_))).count();
    let left = strays.iter().filter(|stray| matches!(stray.kind, StrayKind::Trash | StrayKind::Unfinished(true))).count();
    sheet.put(t::STORE_STRAYS, &[], left as f64)?;
    let mut sums = Sums { damaged: lost as u64, ..Sums::default() };
    // Groups need settings, which a damaged store.toml does not give.
    let engine = context.open(false).ok();
    for topic in topics {
        context.job.check()?;
        let shows = sums.series.admits(labels_max);
        let found = store.topic_facts(&topic.name).and_then(|facts| Ok((store.segment_facts(&topic.name)?, facts)));
        match found {
            Ok((segments, facts)) => {
                let damage = damage_of(&segments, facts.log_start);
                sums.bad_segments += damage.0;
                sums.missing_segments += damage.1;
                sums.poisoned += u64::from(facts.poisoned);
                sums.records += facts.records;
                sums.bytes += facts.bytes;
                if shows {
                    put_topic(store, &facts, damage, sheet)?;
                }
            }
            // Deleted since it was listed.
            Err(drave::Error::TopicMissing { .. }) => continue,
            Err(error) if is_damage(&error) => sums.damaged += 1,
            Err(error) => return Err(error.into()),
        }
        if let Some(engine) = &engine {
            groups(&**engine, &topic.name, (labels_max, shows), &mut sums, sheet)?;
        }
    }
    sheet.put(t::STORE_BROKEN, &[], sums.damaged as f64)?;
    sheet.put(t::GROUP_BROKEN, &[], sums.damaged_groups as f64)?;
    sheet.put(t::STORE_POISONED, &[], sums.poisoned as f64)?;
    sheet.put(t::STORE_BAD_SEGMENTS, &[], sums.bad_segments as f64)?;
    sheet.put(t::STORE_GAPS, &[], sums.missing_segments as f64)?;
    sheet.put(t::STORE_RECORDS, &[], sums.records as f64)?;
    sheet.put(t::STORE_BYTES, &[], sums.bytes as f64)?;
    sheet.put(t::LEFT_OUT_TOPICS, &[], sums.series.left_out as f64)?;
    sheet.put(t::LEFT_OUT_GROUPS, &[], sums.group_series.left_out as f64)
}

/// `damage` = segments whose header cannot be read, and those that are missing.
fn put_topic(store: &Store, facts: &TopicFacts, (bad, missing): (u64, u64), sheet: &mut Sheet) -> Result<()> {
    let name = label_of(facts.name.as_bytes());
    let labels = &[name.as_str()];
    let seconds = |ms: u64| ms as f64 / 1000.0;
    for (spec, value) in [
        (t::TOPIC_RECORDS, facts.records),
        (t::TOPIC_DELETED, facts.deleted),
        (t::TOPIC_BYTES, facts.bytes),
        (t::TOPIC_SEGMENTS, facts.segments),
        (t::TOPIC_START, facts.log_start.0),
        (t::TOPIC_END, facts.log_end.0),
        (t::TOPIC_DURABLE, facts.durable.0),
        (t::TOPIC_EPOCH, facts.epoch.0),
        (t::TOPIC_ADDED, facts.entries_added),
    ] {
        sheet.put(spec, labels, value as f64)?;
    }
    sheet.put(t::TOPIC_POISONED, labels, flag(facts.poisoned))?;
    sheet.put(t::TOPIC_UNRECOVERED, labels, flag(facts.unrecovered))?;
    if facts.last_id.ms > 0 {
        sheet.put(t::TOPIC_NEWEST, labels, seconds(facts.last_id.ms))?;
    }
    if let Some(at) = facts.settings.expire_at {
        sheet.put(t::TOPIC_EXPIRES, labels, seconds(at.0))?;
    }
    if let Ok(Some(at)) = store.first_record_time(&facts.name) {
        sheet.put(t::TOPIC_OLDEST, labels, seconds(at.0))?;
    }
    sheet.put(t::TOPIC_BAD_SEGMENTS, labels, bad as f64)?;
    sheet.put(t::TOPIC_GAPS, labels, missing as f64)
}

/// How many segment files have no header that can be read, and how many are named and not there.
fn damage_of(segments: &[SegmentFacts], log_start: Offset) -> (u64, u64) {
    let bad = segments.iter().filter(|segment| segment.header.is_err()).count();
    let headers = || segments.iter().filter_map(|segment| segment.header.as_ref().ok());
    // What ends at or below the log start was trimmed.
    let named = headers().filter(|header| header.base > log_start).filter_map(|header| header.previous);
    let is_there = |base| {
        let is_merged = headers().any(|header| header.base < base && base < header.compacted.end);
        is_merged || segments.iter().any(|segment| segment.base == base)
    };
    (bad as u64, named.filter(|previous| !is_there(previous.base)).count() as u64)
}

/// `may_show` = how many groups may have series of their own, and whether one of this topic may.
fn groups(
    engine: &dyn Engine,
    topic: &TopicName,
    (labels_max, may_show): (usize, bool),
    sums: &mut Sums,
    sheet: &mut Sheet,
) -> Result<()> {
    let Ok(groups) = engine.groups(topic) else { return Ok(()) };
    if may_show {
        sheet.put(t::TOPIC_GROUPS, &[&label_of(topic.as_bytes())], groups.len() as f64)?;
    }
    for group in groups {
        let shows = sums.group_series.admits(if may_show { labels_max } else { 0 });
        match engine.group(topic, &group) {
            Ok(info) if shows => put_group(topic, &group, &info, sheet)?,
            Err(error) if is_damage(&error) => sums.damaged_groups += 1,
            // Deleted since it was listed, or with its topic.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn put_group(topic: &TopicName, group: &GroupName, info: &GroupInfo, sheet: &mut Sheet) -> Result<()> {
    let names = [label_of(topic.as_bytes()), label_of(group.as_bytes())];
    let labels = &[names[0].as_str(), names[1].as_str()];
    let active = info.consumers.iter().filter(|consumer| consumer.is_member).count();
    for (spec, value) in [
        (t::GROUP_COMMITTED, info.committed.offset.0),
        (t::GROUP_LAG, info.lag),
        (t::GROUP_UNDELIVERED, info.undelivered),
        (t::GROUP_PENDING, info.pending),
        (t::GROUP_CONSUMERS, info.consumers.len() as u64),
        (t::GROUP_MEMBERS, active as u64),
        (t::GROUP_DELIVERED, info.delivered),
        (t::GROUP_REDELIVERED, info.redelivered),
        (t::GROUP_ACKED, info.acked),
        (t::GROUP_DEAD, info.dead),
    ] {
        sheet.put(spec, labels, value as f64)?;
    }
    sheet.put(t::GROUP_LAG_SECONDS, labels, info.lag_ms as f64 / 1000.0)?;
    sheet.put(t::GROUP_OLDEST, labels, info.oldest_pending_ms as f64 / 1000.0)?;
    sheet.put(t::GROUP_PAUSED, labels, flag(info.settings.paused))
}

pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Labels are text: a name that is none is written with escapes.
pub(super) fn label_of(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => name.escape_ascii().to_string(),
    }
}
