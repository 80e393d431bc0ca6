//! Deleting single records.
//!
//! What was deleted is a log of the same kind, in the directory `deleted/` of the topic's, made by the
//! first deletion. Its records say which offsets, as of which epoch of the topic, and the greatest ID
//! that was ever deleted. Every process that reads the topic folds it into a set; whoever deletes
//! appends at the offset up to which it has folded, or, if somebody was faster, decides anew.
//!
//! **An offset that is used anew is not deleted.** What a crash has cost begins a later epoch, and what
//! is deleted as of an earlier one is void from where that begins. So an epoch's number must not be
//! given out twice: where there are deletions, a recovery syncs the segment that begins its epoch, and
//! begins one whenever a power cut may have cost anything, at every level.
//!
//! **It is kept short.** After enough bytes the deleter appends the whole set as one record, and trims
//! what lies before the whole set before that: one of them may rot and nothing is lost.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::warn;

use super::deleted::{Deleted, Fold};
use super::head::Head;
use super::locks::{self, APPEND};
use super::segment::random_salt;
use super::{Log, LogOptions, Mended, Mode, Opening, State, lock_mutex};
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::{BatchBuilder, Deleting, Deletion, OffsetSet, Runs};
use crate::config::Compression;
use crate::disk::Dir;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place, RecordId};
use crate::job::Job;

/// The directory of the deletions' log, in the topic's.
pub const DELETED: &[u8] = b"deleted";

/// Small, so that what is trimmed goes soon.
const SEGMENT_BYTES: u64 = 1 << 20;
/// So many offsets are put into one record.
const OFFSETS_AT_ONCE: usize = 1 << 20;
/// The whole set is written after so many bytes, which take about 5 ms to fold; or twice as many as it
/// has itself.
const WHOLE_DUE_BYTES: u64 = 1 << 20;

/// The place before all deletions.
const NOWHERE: Place = Place { offset: Offset::ZERO, epoch: Epoch(0) };

/// What a deletion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedNow {
    /// How many records are deleted by it that were not before.
    pub count: u64,
    /// What [`Log::sync_deleted`] has to cover for all of them to be deleted durably.
    pub place: Place,
}

/// The deletions' log, and up to where it has been folded.
pub(super) type Tail = (Arc<Log>, Place);

/// What a process knows of a topic's deletions.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    known: Mutex<Known>,
    /// Threads delete one after another; what is known can be asked for meanwhile.
    deleting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The page's, when the log was opened.
    generation: u64,
    opened: Option<OpenedLog>,
}

#[derive(Debug)]
struct OpenedLog {
    log: Arc<Log>,
    fold: Fold,
    /// Whether it was opened for writing, so recovered if it had to be.
    for_writing: bool,
}

impl Known {
    /// Opens what there is to be opened, and reads on.
    fn catch_up(&mut self, topic: &Log) -> Result<Option<Arc<Deleted>>> {
        let generation = topic.deletions_generation();
        if self.generation != generation {
            let is_same = self.opened.as_ref().map_or(Ok(false), |opened| {
                Ok::<_, Error>(
                    !opened.log.is_still() && opened.log.incarnation() == topic.incarnation() && !opened.log.is_gone()?,
                )
            })?;
            if !is_same {
                self.open(topic, Mode::Read, &Job::new())?;
            }
            self.generation = generation;
        }
        match &mut self.opened {
            None => Ok(None),
            Some(opened) => opened.fold.catch_up(topic, &opened.log).map(Some),
        }
    }

    fn open(&mut self, topic: &Log, mode: Mode, job: &Job) -> Result<()> {
        self.opened = None;
        if let Some(log) = topic.open_deletions_log(mode, job)? {
            let fold = Fold::new(topic, &log);
            self.opened = Some(OpenedLog { log: Arc::new(log), fold, for_writing: mode == Mode::Write });
        }
        Ok(())
    }
}

impl Log {
    /// Changes whenever the deletions' log comes into being, is recovered or replaced; 0 = there never
    /// was one.
    pub(super) fn deletions_generation(&self) -> u64 {
        match &self.state {
            State::Live(head) => head.deletions_generation(),
            // It is looked for once.
            State::Walked(_) => u64::MAX,
        }
    }

    /// Whether any record was ever deleted: then deleting makes no files.
    #[must_use]
    pub fn has_deletions(&self) -> bool {
        self.deletions_generation() != 0
    }

    fn deletions_opening(&self) -> Opening {
        Opening {
            options: LogOptions {
                read_durable: false,
                segment_bytes: SEGMENT_BYTES,
                segment_age: Duration::MAX,
                origin_age: Duration::ZERO,
            },
            clock: self.clock.clone(),
            incarnation: self.incarnation,
            bell: None,
        }
    }

    /// What is deleted now; `None` = there never was a deletion, which costs a look at one number.
    pub(super) fn deletions(&self) -> Result<Option<Arc<Deleted>>> {
        if self.deletions_generation() == 0 {
            return Ok(None);
        }
        lock_mutex(&self.deletions.known).catch_up(self)
    }

    /// Which records are deleted, as of now: all that was deleted before this is called, by whomever.
    /// Reads no file if nothing was deleted since it was asked last.
    pub fn deleted(&self) -> Result<Arc<Deleted>> {
        Ok(self.deletions()?.unwrap_or_default())
    }

    /// How many records can be read: all offsets from the log start to the high watermark but those
    /// that are deleted. Offsets that a repair has given up, or that are damaged, count.
    pub fn live_count(&self) -> Result<u64> {
        self.live_count_until(self.high_watermark())
    }

    /// The same up to an offset, for who may see more than readers, or is not to see as much.
    pub fn live_count_until(&self, end: Offset) -> Result<u64> {
        self.live_in(self.log_start().min(end)..end)
    }

    /// Deletes the records at `offsets`, which rise, and were found in `epoch` of this log: if a crash
    /// has cost them since, nothing is deleted. No reader that steps after this has returned hands any
    /// of them out, in whatever process. Offsets beyond the log end, below the log start,
    /// compacted away or deleted already are passed over and not counted. `greatest_id` is the greatest ID among them.
    ///
    /// Durable once [`Log::sync_deleted`] has covered the place that is returned; until then a power
    /// cut may bring them back, and nothing less does.
    ///
    /// # Errors
    /// As of [`Log::append`]. What is deleted then stays deleted, and may be counted by nobody.
    pub fn delete(&self, offsets: &[Offset], epoch: Epoch, greatest_id: RecordId, job: &Job) -> Result<DeletedNow> {
        let head = self.head()?;
        let _deleting = lock_mutex(&self.deletions.deleting);
        self.check_in_force()?;
        let mut done = DeletedNow { count: 0, place: NOWHERE };
        for some in offsets.chunks(OFFSETS_AT_ONCE) {
            let known = Cell::new(self.compactions_generation());
            let there = RefCell::new(self.there(some)?);
            let wanted = |deleted: &Deleted| -> Result<Option<Deletion>> {
                // A compaction may have taken some of them since.
                let generation = self.compactions_generation();
                if known.replace(generation) != generation {
                    *there.borrow_mut() = self.there(some)?;
                }
                let some = there.borrow();
                let (start, end) = (self.log_start(), self.log_end());
                let end = end.min(self.clamp(Place { offset: Offset(u64::MAX), epoch })?);
                let offsets = some.iter().copied();
                let runs: Runs = offsets.filter(|at| (start..end).contains(at) && !deleted.contains(*at)).collect();
                Ok((!runs.is_empty()).then_some(Deletion { epoch, greatest_id, what: Deleting::More(runs) }))
            };
            let (appended, place) = self.commit(head, wanted, job)?;
            let count = appended.map_or(0, |deletion| deletion.count());
            done = DeletedNow { count: done.count + count, place };
        }
        if done.count > 0
            && let Err(error) = self.keep_deletions_short(head, job)
        {
            // They are deleted all the same; the next deletion tries again.
            warn!(path = %self.path().display(), %error, "the log of deletions could not be shortened");
        }
        Ok(done)
    }

    /// Of some offsets those that hold a record, as far as compaction has a part in it: what it took counts as
    /// gone, and is not to count twice.
    fn there<'a>(&self, offsets: &'a [Offset]) -> Result<Cow<'a, [Offset]>> {
        if !self.has_compacted() {
            return Ok(Cow::Borrowed(offsets));
        }
        let mut there = Vec::with_capacity(offsets.len());
        for at in offsets {
            if self.live_in(*at..at.plus(1))? > 0 {
                there.push(*at);
            }
        }
        Ok(Cow::Owned(there))
    }

    /// Sets the greatest ID that counts as deleted, whatever it was. Durable as a deletion is.
    pub(super) fn set_greatest_deleted(&self, head: &Head, id: RecordId, job: &Job) -> Result<Place> {
        let _deleting = lock_mutex(&self.deletions.deleting);
        let epoch = self.epoch();
        let wanted = |_: &Deleted| Ok(Some(Deletion { epoch, greatest_id: id, what: Deleting::Id }));
        Ok(self.commit(head, wanted, job)?.1)
    }

    /// Appends what `wanted` makes of what is deleted now; says what, and up to where the log is then.
    pub(super) fn commit(
        &self,
        head: &Head,
        wanted: impl Fn(&Deleted) -> Result<Option<Deletion>>,
        job: &Job,
    ) -> Result<(Option<Deletion>, Place)> {
        loop {
            let (now, at) = self.folded()?;
            let Some(deletion) = wanted(&now)? else {
                return Ok((None, at.map_or(NOWHERE, |(_, at)| at)));
            };
            let Some((log, at)) = at else {
                self.open_deletions(head, job)?;
                continue;
            };
            match append(&log, &deletion, at.offset, job) {
                Err(Error::OffsetConflict { .. }) => {}
                // Its page was lost under it.
                Err(Error::TopicGone { .. }) if !head.is_gone() => {
                    self.check_in_force()?;
                    lock_mutex(&self.deletions.known).opened = None;
                    self.open_deletions(head, job)?;
                }
                other => {
                    let place = other?;
                    // The topic may have been deleted under it.
                    return self.check_in_force().map(|()| (Some(deletion), place));
                }
            }
        }
    }

    /// What is deleted now; and the log in which that is written and can go on, and up to where.
    pub(super) fn folded(&self) -> Result<(Arc<Deleted>, Option<Tail>)> {
        let mut known = lock_mutex(&self.deletions.known);
        let now = if self.deletions_generation() == 0 { None } else { known.catch_up(self)? };
        let opened = known.opened.as_ref().filter(|opened| opened.for_writing);
        Ok((now.unwrap_or_default(), opened.map(|opened| (Arc::clone(&opened.log), opened.fold.place()))))
    }

    /// Opens the deletions' log for writing, and makes it if there is none.
    pub(super) fn open_deletions(&self, head: &Head, job: &Job) -> Result<()> {
        let mut known = lock_mutex(&self.deletions.known);
        known.open(self, Mode::Write, job)?;
        if known.opened.is_none() {
            self.make_deletions(head, job)?;
            known.open(self, Mode::Write, job)?;
        }
        // Others had nothing to open, or walked over files that nobody had recovered.
        head.bump_deletions_generation();
        Ok(())
    }

    fn make_deletions(&self, head: &Head, job: &Job) -> Result<()> {
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let _held = locks::take(head, APPEND, self, job)?;
        self.ready_for_control(head, &mut appender, job)?;
        // The epoch as of which records are deleted must not be given out again after a power cut.
        self.sync_control(head, &appender, job)?;
        if self.has_own_deletions()? {
            return Ok(());
        }
        let name = format!(".deleted-{:08x}", random_salt());
        self.dir.make_dir(name.as_bytes())?;
        let made = self.dir.dir(name.as_bytes()).and_then(|dir| {
            Log::create(&dir, &self.deletions_opening())?;
            dir.sync()?;
            self.dir.rename_new(name.as_bytes(), &self.dir, DELETED)
        });
        if !matches!(made, Ok(true)) {
            let _ = self.dir.remove_dir_all(name.as_bytes());
        }
        made.map(|_| ())
    }

    /// Whether somebody was faster. Deletions of another life of the topic are no longer in force, and
    /// are put aside: nothing is deleted on doubt.
    fn has_own_deletions(&self) -> Result<bool> {
        if self.dir.stat(DELETED)?.is_none() {
            return Ok(false);
        }
        if self.open_deletions_log(Mode::Read, &Job::new())?.is_some() {
            return Ok(true);
        }
        let aside = format!("{}.foreign-{:08x}", String::from_utf8_lossy(DELETED), random_salt());
        self.dir.rename(DELETED, &self.dir, aside.as_bytes())?;
        Ok(false)
    }

    /// The deletions' log, open for writing; `None` = there never was a deletion.
    pub fn deletions_log(&self, job: &Job) -> Result<Option<Log>> {
        if self.has_deletions() { self.open_deletions_log(Mode::Write, job) } else { Ok(None) }
    }

    /// `None` = there is none, or of another life of the topic: its records all were lost.
    fn open_deletions_log(&self, mode: Mode, job: &Job) -> Result<Option<Log>> {
        let mut parents = vec![Arc::new(self.dir.dir(b".")?)];
        parents.extend(self.parents.iter().cloned());
        match Log::open(parents, DELETED, mode, &self.deletions_opening(), job) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(|log| Some(log).filter(|log| log.incarnation() == self.incarnation)),
        }
    }

    /// Waits until the deletions up to `place` are on stable storage.
    ///
    /// # Errors
    /// As of [`Log::sync_to`].
    pub fn sync_deleted(&self, place: Place, job: &Job) -> Result<()> {
        let log = lock_mutex(&self.deletions.known).opened.as_ref().map(|opened| Arc::clone(&opened.log));
        log.map_or(Ok(()), |log| log.sync_to(place, job))
    }

    /// The deletions' log, and where in it the newest whole set lies; `None` = there is none.
    pub(super) fn deletions_to_look_at(&self) -> Result<Option<(Arc<Log>, Option<Offset>)>> {
        self.deletions()?;
        let known = lock_mutex(&self.deletions.known);
        Ok(known.opened.as_ref().map(|opened| (Arc::clone(&opened.log), opened.fold.whole())))
    }

    /// Repairs the deletions' log, if there is one.
    pub(super) fn mend_deletions(&self, head: &Head, quarantine: &Dir, job: &Job) -> Result<Option<Mended>> {
        if self.dir.stat(DELETED)?.is_none() {
            return Ok(None);
        }
        self.open_deletions(head, job)?;
        let Some((log, _)) = self.deletions_to_look_at()? else { return Ok(None) };
        let mended = log.mend(quarantine, job)?;
        head.bump_deletions_generation();
        Ok(Some(mended))
    }

    /// Leaves `gone` out of what is deleted, which compaction has taken out of its segments, as of where the
    /// log of deletions was read up to `purged`; durably, and twice: one may rot. Lets go of what lies before.
    pub(super) fn purge_deletions(&self, head: &Head, gone: &OffsetSet, purged: Offset, job: &Job) -> Result<()> {
        let _deleting = lock_mutex(&self.deletions.deleting);
        let mut first = None;
        for _ in 0..2 {
            let (_, place) = self.commit(head, |now| Ok(Some(now.without(gone, purged))), job)?;
            first.get_or_insert(Offset(place.offset.0.saturating_sub(1)));
            self.sync_deleted(place, job)?;
        }
        let Some((log, _)) = self.deletions_to_look_at()? else { return Ok(()) };
        first.map_or(Ok(()), |first| log.trim(first, job).map(|_| ()))
    }

    /// Writes the whole set if that is due, and lets go of what lies before the one before.
    fn keep_deletions_short(&self, head: &Head, job: &Job) -> Result<()> {
        let (log, at, whole) = {
            let mut known = lock_mutex(&self.deletions.known);
            known.catch_up(self)?;
            let Some(opened) = &known.opened else { return Ok(()) };
            if opened.fold.bytes_since_whole() <= WHOLE_DUE_BYTES.max(2 * opened.fold.deleted().bytes_max()) {
                return Ok(());
            }
            (Arc::clone(&opened.log), opened.fold.place(), opened.fold.deleted().whole())
        };
        {
            // What lies below the log start is left out of the set: that start must not fall any more.
            let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
            let _held = locks::take(head, APPEND, self, job)?;
            self.ready_for_control(head, &mut appender, job)?;
            self.sync_control(head, &appender, job)?;
        }
        let place = match append(&log, &whole, at.offset, job) {
            Err(Error::OffsetConflict { .. }) => return Ok(()),
            other => other?,
        };
        log.sync_to(place, job)?;
        let mut known = lock_mutex(&self.deletions.known);
        known.catch_up(self)?;
        let before = known.opened.as_ref().and_then(|opened| opened.fold.whole_before());
        drop(known);
        before.map_or(Ok(()), |before| log.trim(before, job).map(|_| ()))
    }
}

fn append(log: &Log, deletion: &Deletion, at: Offset, job: &Job) -> Result<Place> {
    let mut batch = BatchBuilder::new();
    let value = deletion.encode();
    batch.push_value(&value);
    let packed = Packed::records(&batch.batch(), Compression::None);
    let mut packed = packed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
    Ok(log.append(&mut packed, BatchIds::Auto, Some(at), job)?.end_place())
}

#[cfg(test)]
mod tests;
