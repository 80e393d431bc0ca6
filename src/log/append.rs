//! Appending: one write behind the last byte of the active segment, under the append lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::head::Head;
use super::index::{self, IndexEntry};
use super::locks::{self, APPEND, MAINTENANCE};
use super::open::Opening;
use super::recover;
use super::segment::{Segment, random_salt};
use super::slot::Slot;
use super::survey::last_id_of;
use super::{Log, LogOptions};
use crate::codec::batch::BatchIds;
use crate::codec::frame::{self, Packed, Parsed, Placing};
use crate::codec::segment::{Compacted, HEADER_BYTES, file_name};
use crate::codec::{FrameKind, SegmentHeader};
use crate::disk::{Access, File, Standing};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place, RecordId, TimestampMs};
use crate::job::Job;

/// How long the path of the page is taken to lead to it without another look. That the topic was
/// deleted, the page itself tells at once; this is for directories that were moved by hand.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An append that finds the page and the files apart has them recovered, and tries again. More often
/// than this, somebody goes on destroying them.
pub(super) const RECOVERIES_MAX: u32 = 4;

/// What this process keeps open for appending.
#[derive(Debug, Default)]
pub(super) struct Appender {
    active: Option<Arc<Segment>>,
    /// The index of the active segment, once it has one.
    index: Option<File>,
    /// The log end that this process has seen last, and its epoch.
    seen: Option<Place>,
    /// When this process has last seen the page at its path.
    looked: Option<Instant>,
}

impl Appender {
    /// The active segment, once this process has appended to it.
    pub(super) fn active(&self) -> Option<&Segment> {
        self.active.as_deref()
    }

    /// Has the next append look whether the page is still at its path.
    pub(super) fn forget_path(&mut self) {
        self.looked = None;
    }
}

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
#[derive(Debug)]
pub(super) struct Request<'a, 'b> {
    pub(super) frame: &'a mut Packed<'b>,
    pub(super) ids: BatchIds,
    pub(super) expect: Option<Offset>,
    /// The last ID and the number of records added from then on, of a frame that sets them.
    pub(super) counters: Option<(RecordId, u64)>,
}

impl<'a, 'b> Request<'a, 'b> {
    /// One to append a frame without records.
    pub(super) fn control(frame: &'a mut Packed<'b>) -> Request<'a, 'b> {
        Request { frame, ids: BatchIds::Auto, expect: None, counters: None }
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
        let mut tries = 0;
        let appended = loop {
            match self.append_once(Request { frame, ids, expect, counters: None }, job) {
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
        head.set_writing(true);
        if let Err(error) = segment.file.append_all(&request.frame.place(&placing), slot.end_position) {
            take_back(head, &segment, slot.end_position, length);
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
        appender.seen = Some(Place { offset: slot.log_end, epoch: head.epoch() });
        Ok(Appended { first, first_id, end: slot.log_end, epoch: head.epoch(), rolled })
    }

    /// Under the append lock: the state of the log, with the active segment open, and with what a
    /// dead writer left behind the end taken in or cut off.
    pub(super) fn catch_up(&self, head: &Head, appender: &mut Appender) -> Result<Slot> {
        let Some(mut slot) = head.sound_slot() else { return Err(self.astray("its numbers do not fit together")) };
        self.check_goes_forward(head, appender, &slot)?;
        head.settle_words(&slot);
        let is_open =
            appender.active.as_ref().is_some_and(|open| open.base == slot.active_base && open.file.inode() == slot.active_inode);
        if !is_open {
            self.open_active(head, appender, &slot)?;
        }
        if head.is_writing() {
            let segment = Arc::clone(appender.active.as_ref().expect("opened above"));
            if segment.file.length()? < slot.end_position {
                return Err(self.astray("the active segment was cut"));
            }
            adopt(&segment, &mut slot)?;
            head.publish(&slot);
            if self.has_begun_roll(&slot)? {
                self.roll(head, appender, &mut slot)?;
            }
            head.set_writing(false);
        }
        Ok(slot)
    }

    fn open_active(&self, head: &Head, appender: &mut Appender, slot: &Slot) -> Result<()> {
        appender.index = None;
        let salt = slot.active_salt;
        let open = || match Segment::open(&self.dir, slot.active_base, Access::ReadWrite, || Ok(Some(salt))) {
            Err(error) if error.is_not_found() => Err(self.astray("the active segment is missing")),
            other => other,
        };
        let mut segment = open();
        if segment.as_ref().map_or(true, |segment| segment.file.inode() != slot.active_inode)
            && self.finish_mending(head, slot)?
        {
            segment = open();
        }
        let segment = segment?;
        if segment.file.inode() != slot.active_inode {
            return Err(self.astray("the active segment is another file"));
        }
        // A page that was put back from a copy knows an end from before.
        if !head.is_writing() && (segment.file.length()? != slot.end_position || self.has_begun_roll(slot)?) {
            return Err(self.astray("the active segment does not end where the page says"));
        }
        appender.active = Some(Arc::new(segment));
        Ok(())
    }

    /// An end that goes back within an epoch is no log's: somebody has written an old copy over the
    /// page.
    fn check_goes_forward(&self, head: &Head, appender: &mut Appender, slot: &Slot) -> Result<()> {
        let now = Place { offset: slot.log_end, epoch: head.epoch() };
        if appender.seen.is_some_and(|seen| seen.epoch == now.epoch && seen.offset > now.offset) {
            return Err(self.astray("it went back in time"));
        }
        appender.seen = Some(now);
        Ok(())
    }

    /// Whether a writer died, or met an error, while it made the next segment. That roll has to be
    /// finished before anything else: the file says where the active segment ends, and if it came
    /// back after a power cut, whatever had been appended behind that place would be lost.
    fn has_begun_roll(&self, slot: &Slot) -> Result<bool> {
        Ok(slot.log_end != slot.active_base && self.dir.stat(file_name(slot.log_end).as_bytes())?.is_some())
    }

    /// Seals the active segment and begins the next.
    pub(super) fn roll(&self, head: &Head, appender: &mut Appender, slot: &mut Slot) -> Result<()> {
        let active = appender.active.as_ref().expect("catch_up has opened it");
        let (epoch, epoch_start, incarnation) = match &active.header {
            Ok(header) => (header.epoch, header.epoch_start, header.incarnation),
            // Its header is damaged: the page knows the rest, and a start that is too low clamps
            // nobody who is not clamped anyway.
            Err(_) => (head.epoch(), active.base, head.incarnation()),
        };
        let header = SegmentHeader {
            salt: random_salt(),
            incarnation,
            boot: self.dir.boot().0,
            epoch,
            epoch_start,
            base: slot.log_end,
            previous: Some(active.as_previous(slot.end_position)),
            log_start: head.log_start(),
            last_id: slot.last_id,
            entries_added: slot.entries_added,
            durable: head.durable(),
            created: self.clock.now(),
            compacted: Compacted::default(),
        };
        self.begin_segment(head, appender, slot, header)
    }

    /// Makes a segment and publishes it as the active one.
    pub(super) fn begin_segment(
        &self,
        head: &Head,
        appender: &mut Appender,
        slot: &mut Slot,
        header: SegmentHeader,
    ) -> Result<()> {
        let created = header.created;
        head.set_writing(true);
        let segment = Segment::create(&self.dir, header)?;
        slot.active_base = segment.base;
        slot.active_inode = segment.file.inode();
        slot.active_salt = segment.salt;
        slot.active_created = created;
        slot.end_position = HEADER_BYTES as u64;
        slot.index_bytes = 0;
        slot.indexed = HEADER_BYTES as u64;
        head.publish(slot);
        head.set_writing(false);
        head.bump_set_generation();
        *appender = Appender { active: Some(Arc::new(segment)), index: None, ..std::mem::take(appender) };
        Ok(())
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

/// Takes in whole frames that a writer wrote and did not live to publish; cuts off the rest.
fn adopt(segment: &Segment, slot: &mut Slot) -> Result<()> {
    loop {
        let left = segment.file.length()?.saturating_sub(slot.end_position);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(frame::FRAME_BYTES_MAX)];
        let n = segment.file.read_at(&mut bytes, slot.end_position)?;
        match frame::parse(&bytes[..n], segment.salt, slot.end_position) {
            Parsed::Frame(frame)
                if frame.header.base == slot.log_end && (frame.header.count == 0 || frame.header.base_id > slot.last_id) =>
            {
                slot.end_position = frame.header.end_position();
                slot.log_end = frame.header.end();
                slot.entries_added += u64::from(frame.header.span);
                if let Some((last_id, entries_added)) = frame.counters() {
                    (slot.last_id, slot.entries_added) = (last_id, entries_added);
                }
                if frame.header.count > 0 {
                    slot.last_id = last_id_of(&frame);
                }
            }
            _ if left == 0 => return Ok(()),
            _ => return segment.file.truncate(slot.end_position),
        }
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
