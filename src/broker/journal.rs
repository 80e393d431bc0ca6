//! A group's journal: its events as records of a log, folded into the group's state by every process
//! that has it open. Who decides something catches up, decides, and appends at the offset up to which
//! it has read; if somebody was faster it catches up and decides anew.
//!
//! Two checkpoints are kept, so that opening costs the same after a year of acks. What lies before
//! the older one is trimmed. A checkpoint is written once the journal is durable up to its place, so
//! it is never ahead of it.

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::group::{GroupState, StoredCheckpoint};
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::group_event::GroupEvent;
use crate::config::Compression;
use crate::error::{Error, Result};
use crate::ids::{Incarnation, Offset, Place};
use crate::job::Job;
use crate::log::{GapReason, Log, LogReader, Step};
use crate::store::GroupFiles;

/// A checkpoint is due after so many bytes of events, which take 5 ms to fold; or after as many as
/// the last one had itself: writing them costs no more than twice what the events cost.
const CHECKPOINT_DUE_BYTES: u64 = 1 << 20;
const CHECKPOINTS: [&[u8]; 2] = [b"checkpoint-0", b"checkpoint-1"];
const CHECKPOINT_BYTES_MAX: usize = 1 << 30;

/// A group's journal, and the state it comes to.
#[derive(Debug)]
pub struct Journal {
    files: GroupFiles,
    state: GroupState,
    reader: LogReader,
    /// Bytes of events since the newest checkpoint, as far as is known.
    bytes: u64,
    /// After how many another one is due.
    due_bytes: u64,
    /// The log start then. Who writes a checkpoint moves it.
    start: Offset,
    /// Where the newest checkpoint stands, and which of the two files it is.
    newest: Option<(Place, usize)>,
    scratch: Vec<u8>,
    encoded: Vec<u8>,
    batch: BatchBuilder,
}

/// What a checkpoint's file begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    incarnation: Incarnation,
    place: Place,
}

impl Journal {
    /// Reads the state of a group.
    pub fn open(files: GroupFiles) -> Result<Journal> {
        let mut journal = Journal {
            files,
            state: GroupState::new(),
            reader: LogReader::new(Offset::ZERO, crate::ids::Epoch::default()),
            bytes: 0,
            due_bytes: CHECKPOINT_DUE_BYTES,
            start: Offset::ZERO,
            newest: None,
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
        &self.state
    }

    fn log(&self) -> &Log {
        &self.files.journal
    }

    /// Goes back to the newest checkpoint that stands, or to the beginning.
    fn begin(&mut self) -> Result<()> {
        let mut found: Option<(Place, usize, GroupState)> = None;
        for which in 0..CHECKPOINTS.len() {
            let Some((place, state)) = self.read_checkpoint(which)? else { continue };
            if found.as_ref().is_none_or(|(newest, _, _)| newest.offset < place.offset) {
                found = Some((place, which, state));
            }
        }
        let start = Place { offset: self.log().log_start(), epoch: self.log().epoch() };
        if found.is_none() && start.offset > Offset::ZERO {
            let path = self.files.dir().path().to_owned();
            let what = "the group's checkpoints are lost; delete the group and make it anew at the place it should go on from";
            return Err(Error::Damaged { path, position: 0, what: what.to_owned() });
        }
        self.newest = found.as_ref().map(|(place, which, _)| (*place, *which));
        let (place, state) = found.map_or_else(|| (start, GroupState::new()), |(place, _, state)| (place, state));
        (self.reader, self.state) = (LogReader::new(place.offset, place.epoch), state);
        (self.bytes, self.start) = (0, start.offset);
        Ok(())
    }

    /// Folds what was appended since.
    pub fn catch_up(&mut self) -> Result<()> {
        loop {
            let log = &self.files.journal;
            match self.reader.step(log, log.log_end())? {
                Step::CaughtUp => return Ok(()),
                Step::Frame { frame, from, until } => {
                    let damaged =
                        |why: String| Error::Damaged { path: log.path().to_owned(), position: frame.header.position, what: why };
                    self.bytes += u64::from(frame.header.length);
                    let records = frame.records_in(&mut self.scratch, from, until).map_err(|why| damaged(why.to_string()))?;
                    for record in records {
                        let record = record.map_err(|why| damaged(why.to_string()))?;
                        let mut bytes = record.value().unwrap_or_default();
                        while !bytes.is_empty() {
                            let event = GroupEvent::decode(&mut bytes).map_err(|why| damaged(why.to_string()))?;
                            self.state.apply(&event);
                        }
                    }
                }
                // A crash took events that were not durable: nobody was promised anything by them.
                Step::Gap(gap) if gap.reason == GapReason::Rewound => self.begin()?,
                // Acks or deliveries are lost; what comes of it is that records are delivered again.
                Step::Gap(gap) => {
                    warn!(path = %log.path().display(), from = gap.from.0, until = gap.until.0, "events of a group are lost")
                }
            }
        }
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
        events.iter().for_each(|event| self.state.apply(event));
        self.bytes += packed.length();
        self.reader.go_to(appended.end_place());
        Ok(Some(appended.end_place()))
    }

    /// Writes a checkpoint if one is due, and lets go of what lies before the one before.
    pub fn keep_short(&mut self, job: &Job) -> Result<()> {
        let start = self.log().log_start();
        if start > self.start {
            // Somebody else has written one.
            (self.bytes, self.start) = (0, start);
        }
        if self.bytes < self.due_bytes { Ok(()) } else { self.write_checkpoint(job) }
    }

    /// Writes a checkpoint.
    pub fn write_checkpoint(&mut self, job: &Job) -> Result<()> {
        let place = self.reader.place();
        self.log().sync_to(place, job)?;
        let which = self.newest.map_or(0, |(_, which)| 1 - which);
        let head = Head { incarnation: self.log().incarnation(), place };
        let mut bytes = rmp_serde::to_vec(&(head, self.state.checkpoint())).expect("numbers and bytes always encode");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        self.files.dir().replace(CHECKPOINTS[which], &bytes, true)?;
        let before = self.newest.replace((place, which));
        if let Some((older, _)) = before {
            self.log().trim(older.offset, job)?;
        }
        (self.bytes, self.start) = (0, self.log().log_start());
        self.due_bytes = CHECKPOINT_DUE_BYTES.max(bytes.len() as u64);
        Ok(())
    }

    fn read_checkpoint(&self, which: usize) -> Result<Option<(Place, GroupState)>> {
        let Some(bytes) = self.files.dir().read(CHECKPOINTS[which], CHECKPOINT_BYTES_MAX)? else { return Ok(None) };
        let Some((bytes, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
        if crc32fast::hash(bytes).to_le_bytes() != *crc {
            warn!(path = %self.files.dir().path().display(), "a checkpoint of the group is damaged; the other one is used");
            return Ok(None);
        }
        let Ok((head, stored)) = rmp_serde::from_slice::<(Head, StoredCheckpoint)>(bytes) else { return Ok(None) };
        let log = self.log();
        let stands = head.incarnation == log.incarnation()
            && head.place.offset >= log.log_start()
            && head.place.offset <= log.log_end()
            && log.clamp(head.place)? == head.place.offset;
        if !stands {
            return Ok(None);
        }
        let state =
            stored.restore().map_err(|what| Error::Damaged { path: self.files.dir().path().to_owned(), position: 0, what })?;
        Ok(Some((head.place, state)))
    }
}
