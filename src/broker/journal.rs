//! A group's journal: its events as records of a log, folded into the group's state by every process
//! that has it open. Who decides something catches up, decides, and appends at the offset up to which
//! it has read; if somebody was faster it catches up and decides anew.
//!
//! Two checkpoints are kept, so that opening costs the same after a year of acks. What lies before
//! the older one is trimmed. A checkpoint is written once the journal is durable up to its place, so
//! it is never ahead of it.
//!
//! Where events are damaged the group falls back to what was before them and says so in the journal,
//! under the lock that keeps others from writing checkpoints: so no checkpoint of what is void then
//! can be newer.

mod checkpoints;
mod folded;
mod verify;

pub use verify::{mend_group, verify_group};

use std::time::{Duration, Instant};

use tracing::warn;

use self::checkpoints::Standing;
use self::folded::{Fold, Folded};
use super::group::GroupState;
use super::members::CHECKPOINT_BYTE;
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::group_event::GroupEvent;
use crate::config::Compression;
use crate::disk::{File, LockKind};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place};
use crate::job::Job;
use crate::log::{GapReason, Log, LogGap, LogReader, Step};
use crate::store::GroupFiles;

/// A checkpoint is due after so many bytes of events, which take 5 ms to fold; or after as many as
/// the last one had itself: writing them costs no more than twice what the events cost.
const CHECKPOINT_DUE_BYTES: u64 = 1 << 20;
/// How long somebody else may be at a checkpoint.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// A group's journal, and the state it comes to.
#[derive(Debug)]
pub struct Journal {
    files: GroupFiles,
    folded: Folded,
    reader: LogReader,
    /// Bytes of events since the newest checkpoint, as far as is known.
    bytes: u64,
    /// After how many another one is due.
    due_bytes: u64,
    /// The log start then. Who writes a checkpoint moves it.
    start: Offset,
    /// The newest checkpoint of which this process knows.
    newest: Option<Standing>,
    /// The loss that was told last: it is met again by who begins anew.
    told: Option<Offset>,
    scratch: Vec<u8>,
    encoded: Vec<u8>,
    batch: BatchBuilder,
}

impl Journal {
    /// Reads the state of a group.
    pub fn open(files: GroupFiles) -> Result<Journal> {
        let mut journal = Journal {
            files,
            folded: Folded::new(),
            reader: LogReader::new(Offset::ZERO, Epoch::default()),
            bytes: 0,
            due_bytes: CHECKPOINT_DUE_BYTES,
            start: Offset::ZERO,
            newest: None,
            told: None,
            scratch: Vec::new(),
            encoded: Vec::new(),
            batch: BatchBuilder::new(),
        };
        journal.begin()?;
        journal.catch_up()?;
        Ok(journal)
    }

    /// The group's files.
    #[must_use]
    pub fn files(&self) -> &GroupFiles {
        &self.files
    }

    /// The state, as of the last [`Journal::catch_up`].
    #[must_use]
    pub fn state(&self) -> &GroupState {
        &self.folded.state
    }

    fn log(&self) -> &Log {
        &self.files.journal
    }

    /// Goes back to the newest checkpoint that stands, or to the beginning.
    fn begin(&mut self) -> Result<()> {
        let start = Place { offset: self.log().log_start(), epoch: self.log().epoch() };
        let mut begun = None;
        for found in checkpoints::find(&self.files)? {
            if let Some(state) = found.decode(&self.files)? {
                begun = Some((found.standing, state));
                break;
            }
        }
        if begun.is_none() && start.offset > Offset::ZERO {
            return Err(self.lost_beginning("the group's checkpoints are lost"));
        }
        self.newest = begun.as_ref().map(|(standing, _)| *standing);
        let (place, state) = begun.map_or_else(|| (start, GroupState::new()), |(standing, state)| (standing.place, state));
        (self.reader, self.bytes, self.start) = (LogReader::new(place.offset, place.epoch), 0, start.offset);
        self.folded.begin(state);
        Ok(())
    }

    fn lost_beginning(&self, what: &str) -> Error {
        let what = format!("{what}; delete the group and make it anew at the place it should go on from");
        Error::Damaged { path: self.files.dir().path().to_owned(), position: 0, what }
    }

    /// Folds what was appended since.
    pub fn catch_up(&mut self) -> Result<()> {
        loop {
            let log = &self.files.journal;
            match self.reader.step(log, log.log_end())? {
                Step::CaughtUp => return self.check_beginning(),
                Step::Frame { frame, from, until } => {
                    let position = frame.header.position;
                    self.bytes += u64::from(frame.header.length);
                    match self.folded.take(&frame, from, until, &mut self.scratch) {
                        Ok((_, Fold::Done)) => {}
                        Ok((offset, Fold::Lost(what))) => self.lose(offset, what),
                        Ok((_, Fold::Anew)) => self.begin()?,
                        Err(newer) => {
                            let path = self.log().path().to_owned();
                            return Err(Error::Damaged { path, position, what: newer.to_string() });
                        }
                    }
                }
                Step::Gap(LogGap { from, reason, .. }) => match reason {
                    // A crash took events that were not durable: nobody was promised anything by them.
                    GapReason::Rewound => {
                        self.folded.forget_restarts();
                        self.begin()?;
                    }
                    // Others have trimmed what is in a checkpoint.
                    GapReason::Expired => self.begin()?,
                    GapReason::Damaged { what, .. } => self.lose(from, &what),
                    GapReason::GivenUp | GapReason::Deleted => self.lose(from, "a repair has left a hole"),
                },
            }
        }
    }

    fn lose(&mut self, from: Offset, what: &str) {
        if self.folded.lost_from.is_some() {
            return;
        }
        self.folded.lost_from = Some(from);
        if self.told.replace(from) != Some(from) {
            let path = self.log().path().display();
            warn!(%path, from = from.0, what, "a group's journal is damaged: what was done since is lost, and records are delivered again");
        }
    }

    /// How a group is set is the first that its journal says.
    fn check_beginning(&self) -> Result<()> {
        let end = self.folded.lost_from.unwrap_or(self.reader.place().offset);
        if end == Offset::ZERO { Err(self.lost_beginning("the beginning of the group's journal is lost")) } else { Ok(()) }
    }

    /// Whether events are lost, or may be, and the journal does not say yet that the group goes on
    /// without them.
    fn must_restart(&self) -> bool {
        self.folded.lost_from.is_some() || self.log().epoch() > self.state().journal_epoch()
    }

    /// To be asked before anything is decided: has the group go on without events that are lost.
    /// `false` when none are.
    pub fn restart(&mut self, job: &Job) -> Result<bool> {
        if !self.must_restart() {
            return Ok(false);
        }
        let lock = self.files.members()?;
        let began = Instant::now();
        while !lock.try_lock(CHECKPOINT_BYTE, LockKind::Exclusive)? {
            job.check()?;
            if began.elapsed() > LOCK_LIMIT {
                let path = self.files.dir().path().to_owned();
                return Err(Error::Busy { what: "the group's checkpoints", path, holder: None, waited: began.elapsed() });
            }
            self.files.dir().pause(Duration::from_millis(2));
        }
        if self.folded.lost_from.is_some() {
            // A newer checkpoint may have been written, by a process that had read what is lost now.
            self.begin()?;
        }
        self.catch_up()?;
        if self.must_restart() {
            let at = self.reader.place();
            let from = self.folded.lost_from.unwrap_or(at.offset);
            if self.commit(&[GroupEvent::Restarted { from, at }], job)?.is_some() {
                self.folded.lost_from = None;
                if from < at.offset {
                    // Whoever opens the group from now on begins behind the damage.
                    self.store_checkpoint(&lock, job)?;
                }
            }
        }
        Ok(true)
    }

    /// Whether the group was deleted. Who appends is told so anyway.
    pub fn check_in_force(&self) -> Result<()> {
        let log = self.log();
        if log.is_gone()? { Err(Error::TopicGone { path: log.path().to_owned() }) } else { Ok(()) }
    }

    /// Appends events that were decided in this state, and folds them; `false` when others have
    /// appended since: then nothing is done.
    pub fn commit(&mut self, events: &[GroupEvent], job: &Job) -> Result<Option<Place>> {
        self.encoded.clear();
        events.iter().for_each(|event| event.encode(&mut self.encoded));
        self.batch.clear();
        self.batch.push_value(&self.encoded);
        let packed = Packed::records(&self.batch.batch(), Compression::None);
        let mut packed = packed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
        let log = &self.files.journal;
        let next = self.reader.place();
        let appended = match log.append(&mut packed, BatchIds::Auto, Some(next.offset), job) {
            Err(Error::OffsetConflict { .. }) => return Ok(None),
            other => other?,
        };
        events.iter().for_each(|event| self.folded.state.apply(event));
        self.bytes += packed.length();
        self.reader.go_to(appended.end_place());
        Ok(Some(appended.end_place()))
    }

    /// Writes a checkpoint if one is due, and lets go of what lies before the one before.
    pub fn keep_short(&mut self, job: &Job) -> Result<()> {
        if self.is_checkpoint_due() { self.write_checkpoint(job) } else { Ok(()) }
    }

    /// Whether the journal has grown long since the newest checkpoint.
    pub fn is_checkpoint_due(&mut self) -> bool {
        let start = self.log().log_start();
        if start > self.start {
            // Somebody else has written one.
            (self.bytes, self.start) = (0, start);
        }
        self.bytes >= self.due_bytes
    }

    /// Writes a checkpoint, unless somebody else is at it or was since this process wrote one.
    pub fn write_checkpoint(&mut self, job: &Job) -> Result<()> {
        let lock = self.files.members()?;
        if !lock.try_lock(CHECKPOINT_BYTE, LockKind::Exclusive)? {
            return Ok(());
        }
        self.catch_up()?;
        let known = self.newest.map(|newest| newest.place.offset);
        self.newest = checkpoints::find(&self.files)?.first().map(|found| found.standing);
        if self.newest.map(|newest| newest.place.offset) > known {
            self.bytes = 0;
            return Ok(());
        }
        // Before a restart nothing is to be stored: what is here is not what others have.
        if self.must_restart() { Ok(()) } else { self.store_checkpoint(&lock, job) }
    }

    /// Under the lock that keeps others from it.
    fn store_checkpoint(&mut self, _lock: &File, job: &Job) -> Result<()> {
        let place = self.reader.place();
        self.log().sync_to(place, job)?;
        let before = self.newest;
        let (standing, bytes) = checkpoints::write(&self.files, self.state(), place, before)?;
        self.newest = Some(standing);
        if let Some(older) = before {
            self.log().trim(older.place.offset, job)?;
        }
        (self.bytes, self.start) = (0, self.log().log_start());
        self.due_bytes = CHECKPOINT_DUE_BYTES.max(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
