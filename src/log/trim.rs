//! Moving the log start: records below it are gone for readers at once, and whole segments of them
//! are removed.

use super::active::Appender;
use super::append::Request;
use super::head::Head;
use super::locks::{self, APPEND};
use super::slot::Slot;
use super::{Log, segment};
use crate::codec::FrameKind;
use crate::codec::frame::Packed;
use crate::codec::segment::{file_name, index_name};
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::job::Job;

/// What a trim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimmedLog {
    /// The log start before.
    pub from: Offset,
    /// The log start now.
    pub until: Offset,
    /// Whole segments removed.
    pub segments: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Log {
    /// Removes all records below `before`, durably. An offset below the log start changes nothing.
    ///
    /// # Errors
    /// [`Error::OffsetPastEnd`].
    pub fn trim(&self, before: Offset, job: &Job) -> Result<TrimmedLog> {
        let head = self.head()?;
        self.settle_astray(job)?;
        let from = head.log_start();
        let start = self.move_start(head, before, job)?;
        // Before anything is removed: a start that a power cut forgets would make the removed
        // segments look like damage.
        self.sync_to(self.end_place(), job)?;
        let (segments, bytes) = self.remove_expired(head, start)?;
        Ok(TrimmedLog { from, until: head.log_start(), segments, bytes })
    }

    /// As [`Log::trim`], for who comes again: if a trim, a repair or a compaction is under way, this one is
    /// not made.
    ///
    /// # Errors
    /// [`Error::Busy`] then.
    pub fn expire(&self, before: Offset, job: &Job) -> Result<TrimmedLog> {
        let head = self.head()?;
        self.settle_astray(job)?;
        let _maintaining = self.try_maintain(head)?;
        let from = head.log_start();
        // So that little is left to be synced while appends wait. Not all of it: what is to be removed
        // needs no sync.
        match self.sync_ahead(head, job) {
            // Moving the start repairs that.
            Err(Error::Poisoned { .. }) => {}
            other => other?,
        }
        let start = self.move_start(head, before, job)?;
        match self.sync_kept(head, start, job) {
            // Somebody died in a sync since: this one heals it.
            Err(Error::Poisoned { .. }) => self.sync_to(self.end_place(), job)?,
            other => other?,
        }
        let (segments, bytes) = self.remove_expired_locked(head, start)?;
        Ok(TrimmedLog { from, until: head.log_start(), segments, bytes })
    }

    /// Removes all records below `before` for readers, at once and in every process, without a sync: it
    /// costs one small write. A power cut may bring back records that were removed so, as long as
    /// nothing that was appended later is durable; it never leaves a hole. Whole segments are removed
    /// as by [`Log::trim`], with its syncs, once there are any: so this can be called at every append.
    ///
    /// # Errors
    /// [`Error::OffsetPastEnd`].
    pub fn trim_unsynced(&self, before: Offset, job: &Job) -> Result<TrimmedLog> {
        let head = self.head()?;
        let from = head.log_start();
        if before <= from {
            return Ok(TrimmedLog { from, until: from, segments: 0, bytes: 0 });
        }
        let moved = {
            let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
            let _held = locks::take(head, APPEND, self, job)?;
            self.ready_for_control(head, &mut appender, job).and_then(|slot| self.put_start(head, &mut appender, &slot, before))
        };
        match moved {
            Ok(()) if head.active_base() > from && self.has_expired(head)? => self.trim(before, job),
            Ok(()) => Ok(TrimmedLog { from, until: head.log_start(), segments: 0, bytes: 0 }),
            // That one recovers the log first.
            Err(Error::Astray { .. }) => self.trim(before, job),
            Err(error) => Err(error),
        }
    }

    /// Under the append lock: moves the start, not durably.
    fn put_start(&self, head: &Head, appender: &mut Appender, slot: &Slot, before: Offset) -> Result<()> {
        if before > slot.log_end {
            return Err(Error::OffsetPastEnd { offset: before, end: slot.log_end });
        }
        if before > head.log_start() {
            let mut frame = Packed::control(FrameKind::LogStart, 0, &before.0.to_le_bytes());
            self.append_locked(head, appender, Request::control(&mut frame))?;
            head.raise_log_start(before);
        }
        Ok(())
    }

    /// Whether segments below the log start, which were kept for their origins, may go by now.
    pub fn has_leftovers(&self) -> Result<bool> {
        self.has_expired(self.head()?)
    }

    /// Whether a segment lies wholly below the log start.
    fn has_expired(&self, head: &Head) -> Result<bool> {
        let (bases, start) = (segment::list(&self.dir)?, head.log_start());
        if bases.get(1).is_none_or(|second| *second > start) {
            return Ok(false);
        }
        match bases.get(self.count_with_first(&bases)?) {
            Some(next) if *next <= start => Ok(!self.has_young_origins(bases[0], *next)?),
            _ => Ok(false),
        }
    }

    /// Moves the start, durably; returns where it is then.
    fn move_start(&self, head: &Head, before: Offset, job: &Job) -> Result<Offset> {
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let _held = locks::take(head, APPEND, self, job)?;
        let slot = self.ready_for_control(head, &mut appender, job)?;
        if before > slot.log_end {
            return Err(Error::OffsetPastEnd { offset: before, end: slot.log_end });
        }
        if before > head.log_start() {
            let mut frame = Packed::control(FrameKind::LogStart, 0, &before.0.to_le_bytes());
            self.append_locked(head, &mut appender, Request::control(&mut frame))?;
            // A control frame moves no offset, so the sync that is to cover it has to be its own.
            self.sync_control(head, &appender, job)?;
            head.raise_log_start(before);
        } else if self.has_expired(head)? {
            // The start may have been moved without a sync.
            self.sync_control(head, &appender, job)?;
        }
        let mut slot = head.slot();
        if head.log_start() == slot.log_end && slot.active_base < slot.log_end {
            // Nothing in the active segment is kept: sealing it lets it go too.
            self.roll(head, &mut appender, &mut slot)?;
            // The new segment must not be lost when the old ones are removed.
            self.sync_control(head, &appender, job)?;
        }
        Ok(head.log_start())
    }

    /// Under the append lock: makes the log ready for a control frame.
    pub(super) fn ready_for_control(&self, head: &Head, appender: &mut Appender, job: &Job) -> Result<Slot> {
        self.check_in_force()?;
        self.notice_dead_sync(head)?;
        if head.is_poisoned() {
            self.repair(head, appender, job)?;
        }
        self.catch_up(head, appender)
    }

    /// Syncs the active segment, which may hold somebody's records too: a failure is one of theirs.
    pub(super) fn sync_control(&self, head: &Head, appender: &Appender, job: &Job) -> Result<()> {
        let _mutex = self.sync_mutex();
        let _held = self.hold_sync(head, job)?;
        self.sync_guarded(head, || {
            appender.active().map_or(Ok(()), |segment| segment.file.sync())?;
            // The frame may be the first of a segment, whose name is not durable yet.
            self.dir.sync()
        })
    }

    /// Removes the segments that lie wholly below the log start. While somebody is at the segments, that is
    /// left to him, or to the next: the records are gone for readers, and who trims does not wait.
    fn remove_expired(&self, head: &Head, start: Offset) -> Result<(u32, u64)> {
        match self.try_maintain(head) {
            Ok(_maintaining) => self.remove_expired_locked(head, start),
            Err(Error::Busy { .. }) => Ok((0, 0)),
            Err(error) => Err(error),
        }
    }

    /// Under the lock of maintenance: removes what lies below `start`, which is durable as the log start. The
    /// page may know of a later one that is not.
    pub(super) fn remove_expired_locked(&self, head: &Head, start: Offset) -> Result<(u32, u64)> {
        let bases = segment::list(&self.dir)?;
        let (mut segments, mut bytes) = (0, 0);
        let mut rest = &bases[..];
        while rest.get(1).is_some_and(|second| *second <= start) {
            let (own, later) = rest.split_at(self.count_with_first(rest)?);
            let Some(next) = later.first().filter(|next| **next <= start) else { break };
            if self.has_young_origins(own[0], *next)? {
                // A message may come again whose record was trimmed.
                break;
            }
            // The one that covers the others last: what it has superseded does not come back.
            for base in own.iter().rev() {
                let name = file_name(*base);
                bytes += self.dir.stat(name.as_bytes())?.map_or(0, |meta| meta.length);
                self.dir.unlink(name.as_bytes())?;
                match self.dir.unlink(index_name(*base).as_bytes()) {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => segments += 1,
                }
            }
            rest = later;
        }
        if segments > 0 {
            head.bump_set_generation();
        }
        Ok((segments, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compression;
    use crate::ids::RecordId;
    use crate::log::testing::{make, open_with, publish};

    #[test]
    fn a_trim_without_a_sync_hides_at_once_and_removes_whole_segments() {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let (log, other) = (open_with(&above, 4096), open_with(&above, 4096));
        let count = || segment::list(log.dir()).expect("listed").len();
        let (mut most, mut bytes) = (0, 0);
        for number in 0..2000 {
            publish(&log, number..number + 1, 1, Compression::None);
            bytes += log.trim_unsynced(Offset((number + 1).saturating_sub(5)), &Job::new()).expect("trimmed").bytes;
            assert_eq!(other.log_start().0, number.saturating_sub(4));
            most = most.max(count());
        }
        assert!(most <= 3 && bytes > 50 * 4096, "{most} segments, {bytes} bytes removed");
        assert!(matches!(log.trim_unsynced(Offset(2001), &Job::new()), Err(Error::OffsetPastEnd { .. })));
    }

    #[test]
    fn whole_segments_go_up_to_the_last_that_begins_at_or_below() {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let log = open_with(&above, 4096);
        publish(&log, 0..500, 1, Compression::None);
        let bases = segment::list(log.dir()).expect("listed");
        let before = |offset: Offset| log.whole_segments_before(offset).expect("known");
        for pair in bases.windows(2) {
            assert_eq!(before(pair[1]), pair[1]);
            assert_eq!(before(Offset(pair[1].0 - 1)), pair[0]);
        }
        assert_eq!(before(Offset(10_000)), bases[bases.len() - 1]);
        log.trim(Offset(bases[1].0 + 1), &Job::new()).expect("trimmed");
        assert_eq!(before(bases[1]), Offset(bases[1].0 + 1), "never below the log start");
    }

    #[test]
    fn counters_that_were_set_survive_the_loss_of_the_page() {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let log = open_with(&above, 4096);
        publish(&log, 0..100, 1, Compression::None);
        assert_eq!((log.counters().entries_added, log.counters().log_end), (100, Offset(100)));
        let (high, low) = (RecordId { ms: u64::MAX - 9, seq: 5 }, RecordId { ms: u64::MAX - 10, seq: 7 });
        let deleted = RecordId { ms: 77, seq: 1 };
        log.set_last_id(high, None, None, &Job::new()).expect("set");
        log.set_last_id(low, Some(5000), Some(deleted), &Job::new()).expect("set");
        let is_set = |log: &Log, more: u64| {
            let counters = log.counters();
            assert_eq!(counters.last_id, RecordId { seq: low.seq + more, ..low });
            assert_eq!(counters.entries_added, 5000 + more);
            assert_eq!(log.deleted().expect("read").greatest_id(), deleted);
        };
        is_set(&log, 0);
        drop(log);
        for more in [0, 1, 60] {
            // Recovered from the files, also where segments were begun since.
            above.dir(b"t").expect("there").unlink(super::super::HEAD).expect("removed");
            let log = open_with(&above, 4096);
            let had = log.log_end().since(Offset(100));
            is_set(&log, had);
            publish(&log, 0..more, 1, Compression::None);
            is_set(&log, had + more);
        }
    }
}
