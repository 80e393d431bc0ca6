//! Appending: one write behind the last byte of the active segment, under the append lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active::Appender;
use super::head::Head;
use super::index::{self, IndexEntry};
use super::locks::{self, APPEND, MAINTENANCE};
use super::open::Opening;
use super::recover;
use super::segment::Segment;
use super::slot::Slot;
use super::{Log, LogOptions};
use crate::codec::FrameKind;
use crate::codec::batch::BatchIds;
use crate::codec::frame::{Packed, Placing};
use crate::disk::Standing;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place, RecordId, TimestampMs};
use crate::job::Job;

/// How long the path of the page is taken to lead to it without another look. That the topic was
/// deleted, the page itself tells at once; this is for directories that were moved by hand.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An append that finds the page and the files apart has them recovered, and tries again. More often
/// than this, somebody goes on destroying them.
pub(super) const RECOVERIES_MAX: u32 = 4;

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first offset.
    pub first: Offset,
    /// The first ID.
    pub first_id: RecordId,
    /// The offset after the last one: what has to be durable for this append to be.
    pub end: Offset,
    /// The epoch of these offsets.
    pub epoch: Epoch,
    /// Whether a segment was sealed before it.
    pub rolled: bool,
}

impl Appended {
    /// What [`Log::sync_to`] has to cover.
    #[must_use]
    pub fn end_place(&self) -> Place {
        Place { offset: self.end, epoch: self.epoch }
    }
}

/// What is to be appended.
pub(super) struct Request<'a, 'b> {
    pub(super) frame: &'a mut Packed<'b>,
    pub(super) ids: BatchIds,
    pub(super) expect: Option<Offset>,
    /// Asked, with the log end, whether the frame may go in there.
    pub(super) check: Option<&'a mut dyn FnMut(Offset) -> Result<()>>,
    /// The last ID and the number of records added from then on, of a frame that sets them.
    pub(super) counters: Option<(RecordId, u64)>,
}

impl<'a, 'b> Request<'a, 'b> {
    /// One to append a frame without records.
    pub(super) fn control(frame: &'a mut Packed<'b>) -> Request<'a, 'b> {
        Request { frame, ids: BatchIds::Auto, expect: None, check: None, counters: None }
    }
}

impl Log {
    /// Appends one frame of records. It is written when this returns, and durable once
    /// [`Log::sync_to`] has covered its end.
    ///
    /// # Errors
    /// [`Error::TopicGone`]; [`Error::OffsetConflict`] when `expect` is not the next offset;
    /// [`Error::IdTooLow`] and [`Error::IdsExhausted`]; [`Error::Poisoned`] when a failed sync could
    /// not be repaired; [`Error::Busy`]. Where there is something to repair, a job of little patience
    /// gets [`Error::Poisoned`] or [`Error::Astray`], and one that has more does it. After an error nothing of the frame is in the log, unless the disk also refused to cut off what had
    /// been written of it: if that was all of it, the next append takes it in.
    pub fn append(&self, frame: &mut Packed<'_>, ids: BatchIds, expect: Option<Offset>, job: &Job) -> Result<Appended> {
        self.append_checked(frame, ids, expect, None, job)
    }

    pub(super) fn append_checked(
        &self,
        frame: &mut Packed<'_>,
        ids: BatchIds,
        expect: Option<Offset>,
        mut check: Option<&mut dyn FnMut(Offset) -> Result<()>>,
        job: &Job,
    ) -> Result<Appended> {
        let mut tries = 0;
        let appended = loop {
            let check = check.as_mut().map(|check| &mut **check as &mut dyn FnMut(Offset) -> Result<()>);
            match self.append_once(Request { frame, ids, expect, check, counters: None }, job) {
                Err(Error::Astray { .. }) if tries < RECOVERIES_MAX && job.patience().is_none() => {
                    tries += 1;
                    self.recover_in_place(job)?;
                }
                other => break other?,
            }
        };
        if !self.options().read_durable {
            self.announce(self.head()?);
        }
        Ok(appended)
    }

    fn append_once(&self, request: Request<'_, '_>, job: &Job) -> Result<Appended> {
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let head = self.head()?;
        let _held = locks::take(head, APPEND, self, job)?;
        if appender.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.check_in_force()?;
            appender.looked = Some(Instant::now());
        } else if head.is_gone() || head.page().is_lost() {
            return Err(Error::TopicGone { path: self.path().to_owned() });
        }
        self.notice_dead_sync(head)?;
        if head.is_poisoned() {
            if job.patience().is_some() {
                // A repair syncs.
                return Err(Error::Poisoned { path: self.path().to_owned() });
            }
            self.repair(head, &mut appender, job)?;
        }
        self.append_locked(head, &mut appender, request)
    }

    /// Under the append lock: the topic is not deleted, and its page is still the one at its path.
    pub(super) fn check_in_force(&self) -> Result<()> {
        if self.is_gone()? {
            return Err(Error::TopicGone { path: self.path().to_owned() });
        }
        Ok(())
    }

    pub(super) fn astray(&self, what: &'static str) -> Error {
        Error::Astray { path: self.path().to_owned(), what }
    }

    /// Sees to it that the page and the files agree, before something that holds a lock which a
    /// recovery needs.
    pub(super) fn settle_astray(&self, job: &Job) -> Result<()> {
        let agrees = {
            let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
            let head = self.head()?;
            let _held = locks::take(head, APPEND, self, job)?;
            self.check_in_force()?;
            self.catch_up(head, &mut appender).map(|_| ())
        };
        match agrees {
            Err(Error::Astray { .. }) => self.recover_in_place(job),
            other => other,
        }
    }

    /// Recovers the log while others use it: what they hold open is this page and its locks.
    pub(super) fn recover_in_place(&self, job: &Job) -> Result<()> {
        let head = self.head()?;
        let _maintain = locks::take_mutex(&self.maintain, MAINTENANCE, self, job)?;
        let _maintaining = locks::take(head, MAINTENANCE, self, job)?;
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let _appending = locks::take(head, APPEND, self, job)?;
        let _mutex = self.sync_mutex();
        let _syncing = self.hold_sync(head, job)?;
        self.check_in_force()?;
        *appender = Appender::default();
        // Somebody else may have been faster.
        if !head.is_believable(&self.dir)? {
            let opening = Opening {
                options: self.options(),
                clock: self.clock.clone(),
                incarnation: head.incarnation(),
                bell: self.bell.clone(),
            };
            recover::recover(&self.dir, &self.parents, head, &opening)?;
        }
        head.durable_word().ring();
        self.announce(head);
        Ok(())
    }

    pub(super) fn append_locked(&self, head: &Head, appender: &mut Appender, request: Request<'_, '_>) -> Result<Appended> {
        let options = self.options();
        let now = self.clock.now();
        let mut slot = self.catch_up(head, appender)?;
        if let Some(expected) = request.expect
            && expected != slot.log_end
        {
            return Err(Error::OffsetConflict { expected, next: slot.log_end });
        }
        if let Some(check) = request.check {
            check(slot.log_end)?;
        }
        let count = u64::from(request.frame.span());
        let (first_id, last_id) = assign_ids(request.ids, slot.last_id, count, now)?;
        let rolled = must_roll(&slot, request.frame.length(), &options, now);
        if rolled {
            self.roll(head, appender, &mut slot)?;
        }
        let segment = Arc::clone(appender.active.as_ref().expect("catch_up has opened it"));
        let placing = Placing {
            salt: segment.salt,
            position: slot.end_position,
            base: slot.log_end,
            base_id: first_id,
            durable: head.durable(),
        };
        let first = slot.log_end;
        let length = request.frame.length();
        let origins = head.note_origins(first.plus(count), request.frame.origins());
        head.set_writing(true);
        if let Err(error) = segment.file.append_all(&request.frame.place(&placing), slot.end_position) {
            take_back(head, &segment, slot.end_position, length);
            head.put_back_origins(origins);
            return Err(error);
        }
        // Whoever cut, replaced or removed the file, or appended to it by another page: the length or
        // the name tells, and nothing is acknowledged that does not lie where readers look for it.
        let standing = segment.file.standing()?;
        if standing != (Standing { length: slot.end_position + length, has_name: true }) {
            head.set_writing(false);
            return Err(self.astray("the active segment was removed, or changed by somebody else"));
        }
        self.note_in_index(appender, &mut slot, IndexEntry { base: first, position: placing.position, ms: first_id.ms });
        slot.end_position += length;
        slot.log_end = first.plus(count);
        slot.last_id = last_id;
        slot.entries_added += count;
        if let Some((last_id, entries_added)) = request.counters {
            (slot.last_id, slot.entries_added) = (last_id, entries_added);
        }
        head.publish(&slot);
        head.set_writing(false);
        // The segment tells its epoch, whatever becomes of the page meanwhile.
        let epoch = segment.header.as_ref().map_or_else(|_| head.epoch(), |header| header.epoch);
        appender.seen = Some(Place { offset: slot.log_end, epoch });
        Ok(Appended { first, first_id, end: slot.log_end, epoch, rolled })
    }

    /// The index is a hint: what cannot be written of it is left out.
    fn note_in_index(&self, appender: &mut Appender, slot: &mut Slot, entry: IndexEntry) {
        if entry.position - slot.indexed < index::STRIDE {
            return;
        }
        if appender.index.is_none() {
            appender.index = index::open_for_append(&self.dir, slot.active_base).ok();
        }
        if let Some(file) = &appender.index
            && file.write_all_at(&[&entry.encode()], slot.index_bytes).is_ok()
        {
            slot.index_bytes += index::ENTRY_BYTES as u64;
            slot.indexed = entry.position;
        }
    }

    /// Sets the last ID, below which no new record's lies; how many records count as ever added; and the
    /// greatest ID that counts as deleted. Durable when this returns. The caller has seen to it that no
    /// record has a higher ID than `last_id`.
    pub fn set_last_id(
        &self,
        last_id: RecordId,
        entries_added: Option<u64>,
        max_deleted_id: Option<RecordId>,
        job: &Job,
    ) -> Result<()> {
        let head = self.head()?;
        self.settle_astray(job)?;
        {
            let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
            let _held = locks::take(head, APPEND, self, job)?;
            let slot = self.ready_for_control(head, &mut appender, job)?;
            let added = entries_added.unwrap_or(slot.entries_added);
            let body: Vec<u8> = [last_id.ms, last_id.seq, added].into_iter().flat_map(u64::to_le_bytes).collect();
            let mut frame = Packed::control(FrameKind::Counters, 0, &body);
            let request = Request { counters: Some((last_id, added)), ..Request::control(&mut frame) };
            self.append_locked(head, &mut appender, request)?;
            // It moves no offset, so the sync that is to cover it has to be its own.
            self.sync_control(head, &appender, job)?;
        }
        match max_deleted_id {
            Some(id) => self.sync_deleted(self.set_greatest_deleted(head, id, job)?, job),
            None => Ok(()),
        }
    }

    /// Appends "all below the durable offset is synced", if that is true of the whole log, so that
    /// damage to its end can be told from a torn tail even without the page. Not synced itself.
    pub fn mark(&self, job: &Job) -> Result<()> {
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let head = self.head()?;
        let _held = locks::take(head, APPEND, self, job)?;
        self.check_in_force()?;
        if head.is_poisoned() || head.durable() < head.log_end() {
            return Ok(());
        }
        let mut frame = Packed::control(FrameKind::Mark, 0, &[]);
        self.append_locked(head, &mut appender, Request::control(&mut frame))?;
        Ok(())
    }
}

fn assign_ids(ids: BatchIds, last: RecordId, count: u64, now: TimestampMs) -> Result<(RecordId, RecordId)> {
    if count == 0 {
        return Ok((last, last));
    }
    match ids {
        BatchIds::Explicit { first, last: end } if first > last => Ok((first, end)),
        BatchIds::Explicit { first, .. } => Err(Error::IdTooLow { id: first, last }),
        BatchIds::Auto => {
            let first = last.next(now).ok_or(Error::IdsExhausted)?;
            Ok((first, first.advance(count - 1).ok_or(Error::IdsExhausted)?))
        }
    }
}

fn must_roll(slot: &Slot, frame_bytes: u64, options: &LogOptions, now: TimestampMs) -> bool {
    // A segment without offsets cannot be sealed: its successor would have its name.
    if slot.log_end == slot.active_base {
        return false;
    }
    let age = Duration::from_millis(now.0.saturating_sub(slot.active_created.0));
    slot.end_position + frame_bytes > options.segment_bytes || age >= options.segment_age
}

/// After a failed write: what was written of it lies behind the end, and is cut off. If that cannot
/// be done now, the next appender sees that a write was not finished.
fn take_back(head: &Head, segment: &Segment, end_position: u64, length: u64) {
    let written = segment.file.length().ok().filter(|now| (end_position..=end_position + length).contains(now));
    if written.is_some() && segment.file.truncate(end_position).is_ok() {
        head.set_writing(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_not_above_the_last_one_is_refused_by_kind() {
        let id = |ms, seq| RecordId { ms, seq };
        let explicit = |first| assign_ids(BatchIds::Explicit { first, last: first }, id(5, 1), 1, TimestampMs(0));
        assert!(matches!(explicit(id(5, 2)), Ok((first, last)) if first == id(5, 2) && first == last));
        for low in [id(5, 1), id(4, 9)] {
            let refused = explicit(low).expect_err("too low");
            assert_eq!(refused.to_string(), format!("ID {low} is not above the topic's last ID 5-1"));
            assert!(matches!(refused, Error::IdTooLow { id, last: RecordId { ms: 5, seq: 1 } } if id == low));
        }
        let last = id(u64::MAX, u64::MAX);
        assert!(matches!(assign_ids(BatchIds::Auto, last, 1, TimestampMs(0)), Err(Error::IdsExhausted)));
        assert!(matches!(assign_ids(BatchIds::Auto, id(u64::MAX, u64::MAX - 1), 2, TimestampMs(0)), Err(Error::IdsExhausted)));
    }
}
