//! Retention and compaction of topics, as their settings say.

use std::sync::Arc;

use tracing::warn;

use super::consume::OpenGroup;
use crate::config::TopicSettings;
use crate::error::{Error, Result};
use crate::ids::{Offset, TopicName};
use crate::job::Job;
use crate::log::{CompactedLog, Compaction, Expired, Mode, Retention};
use crate::store::{Store, Topic, is_damage};

/// What a server reads and writes of segments in a second at most, so that clients do not wait for it.
const IN_BACKGROUND: u64 = 100 << 20;

/// How topics are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upkeep {
    /// Only say what would be done.
    pub dry_run: bool,
    /// So much is read in a second at most.
    pub bytes_per_second: Option<u64>,
    /// Compaction waits until it is worth it.
    pub only_if_dirty: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// By retention.
    pub expired: Expired,
    /// By compaction.
    pub compacted: CompactedLog,
}

/// Does to a topic what its settings say. Adds to `kept` what it does, also where it fails then.
///
/// # Errors
/// [`Error::Busy`] when somebody else is at the topic's segments.
pub fn keep_topic(store: &Store, topic: &Arc<Topic>, how: Upkeep, kept: &mut Kept, job: &Job) -> Result<()> {
    let (settings, _) = topic.settings()?;
    kept.expired = retain(store, topic, &settings, how.dry_run, job)?;
    if settings.compact {
        let compaction = Compaction {
            tombstone_age: settings.tombstone_age,
            compression: settings.compression,
            bytes_per_second: how.bytes_per_second,
            dry_run: how.dry_run,
            only_if_dirty: how.only_if_dirty,
        };
        topic.log().compact(&compaction, &mut kept.compacted, job)?;
    }
    Ok(())
}

/// Lets go of what is beyond the topic's limits.
pub(super) fn retain(store: &Store, topic: &Arc<Topic>, settings: &TopicSettings, dry_run: bool, job: &Job) -> Result<Expired> {
    let log = topic.log();
    if !dry_run && (settings.has_retention() || settings.compact) {
        let null_age = settings.compact.then_some(settings.tombstone_age);
        log.note_time(settings.max_age.into_iter().chain(null_age).min(), job)?;
    }
    if !settings.has_retention() {
        return Ok(Expired { from: log.log_start(), until: log.log_start(), ..Expired::default() });
    }
    let retention = Retention {
        max_age: settings.max_age,
        max_bytes: settings.max_bytes,
        max_records: settings.max_records,
        protect_bytes_max: settings.protect_groups.then_some(settings.protect_bytes_max),
    };
    let mode = if dry_run { Mode::Read } else { Mode::Write };
    let mut expired = log.expired(&retention, || committed(store, topic, mode, job))?;
    if !dry_run && (expired.until > expired.from || log.has_leftovers()?) {
        let trimmed = log.expire(expired.until, job)?;
        (expired.segments, expired.bytes) = (u64::from(trimmed.segments), trimmed.bytes);
    }
    Ok(expired)
}

/// Up to where all groups of a topic have settled what they got; `None` = it has none. For writing they are
/// recovered first, if they have to be.
fn committed(store: &Store, topic: &Arc<Topic>, mode: Mode, job: &Job) -> Result<Option<Offset>> {
    let mut lowest: Option<Offset> = None;
    for name in store.list_groups(topic)? {
        let committed = match OpenGroup::of_topic(store, Arc::clone(topic), &name, mode, job.clone()) {
            Ok(group) => topic.log().clamp(group.state().committed())?,
            // Deleted since it was listed.
            Err(Error::NameMissing { .. }) => continue,
            Err(error) if is_damage(&error) => {
                let group = String::from_utf8_lossy(name.as_bytes());
                warn!(topic = %topic.name(), %group, %error, "a group does not open, and is taken to need all records");
                Offset::ZERO
            }
            Err(error) => return Err(error),
        };
        lowest = Some(lowest.map_or(committed, |lowest| lowest.min(committed)));
    }
    Ok(lowest)
}

/// Does to all topics what their settings say, at leisure: for a server.
///
/// # Errors
/// [`Error::Stopped`]. What fails for a topic is logged, and tried again next time.
pub fn keep_store(store: &Store, job: &Job) -> Result<()> {
    let how = Upkeep { bytes_per_second: Some(IN_BACKGROUND), only_if_dirty: true, dry_run: false };
    for (name, settings) in store.all_settings()? {
        job.check()?;
        if settings.has_retention() || settings.compact {
            keep_one(store, &name, how, job)?;
        }
    }
    Ok(())
}

fn keep_one(store: &Store, name: &TopicName, how: Upkeep, job: &Job) -> Result<()> {
    match store.topic(name, Mode::Write, job).and_then(|topic| keep_topic(store, &topic, how, &mut Kept::default(), job)) {
        Err(error @ (Error::Stopped | Error::TimedOut)) => Err(error),
        // Somebody else is at it; or it was deleted since.
        Ok(_) | Err(Error::Busy { .. } | Error::TopicMissing { .. } | Error::TopicGone { .. }) => Ok(()),
        Err(error) => {
            warn!(topic = %name, %error, "retention or compaction failed");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
