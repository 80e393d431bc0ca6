//! Which records are deleted: what the deletions' log comes to.

use std::ops::Range;
use std::sync::Arc;

use tracing::warn;

use super::Log;
use super::read::LogReader;
use super::step::{GapReason, LogGap, Step};
use crate::codec::{Deleting, Deletion, OffsetSet};
use crate::error::Result;
use crate::ids::{Epoch, Offset, Place, RecordId};

/// Which records of a log are deleted, as of some moment.
#[derive(Clone, Debug, Default)]
pub struct Deleted {
    set: OffsetSet,
    greatest_id: RecordId,
    /// The epoch of the log in which this is true.
    epoch: Epoch,
    /// Which of those that compaction has taken the set leaves out: see [`Deleting::Whole`].
    purged: Offset,
}

impl Deleted {
    /// Whether the record at `offset` is deleted.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        self.set.contains(offset)
    }

    /// How many are deleted, of those at or above the log start then.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.set.count()
    }

    /// How many are deleted in a range.
    #[must_use]
    pub fn count_in(&self, range: Range<Offset>) -> u64 {
        self.set.count_in(range)
    }

    /// The first deleted one at or after `from`.
    #[must_use]
    pub fn next_deleted(&self, from: Offset) -> Option<Offset> {
        self.set.next_in(from)
    }

    /// The first one at or after `from` that is not deleted; it may be beyond the end.
    #[must_use]
    pub fn next_live(&self, from: Offset) -> Offset {
        self.set.next_out(from)
    }

    /// The greatest ID that was ever deleted, or set as that; also once its record would have expired.
    #[must_use]
    pub fn greatest_id(&self) -> RecordId {
        self.greatest_id
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Bytes of the whole set as a record, or a few more.
    pub(super) fn bytes_max(&self) -> u64 {
        self.set.bytes_max()
    }

    /// All of it, as a record of the deletions' log.
    pub(super) fn whole(&self) -> Deletion {
        Deletion {
            epoch: self.epoch,
            greatest_id: self.greatest_id,
            what: Deleting::Whole { set: self.set.clone(), purged: self.purged },
        }
    }

    /// The same without `gone`, which compaction has taken out of their segments. They were read up to
    /// `purged` of the deletions' log.
    pub(super) fn without(&self, gone: &OffsetSet, purged: Offset) -> Deletion {
        let (mut set, mut from) = (OffsetSet::default(), Offset::ZERO);
        while let Some(offset) = self.set.next_in(from) {
            if !gone.contains(offset) {
                set.insert(offset);
            }
            from = offset.plus(1);
        }
        Deletion { epoch: self.epoch, greatest_id: self.greatest_id, what: Deleting::Whole { set, purged } }
    }

    /// Those of a range, put into `out`.
    pub(super) fn copy_to(&self, out: &mut OffsetSet, range: Range<Offset>) {
        let mut from = range.start;
        while let Some(offset) = self.set.next_in(from).filter(|offset| *offset < range.end) {
            out.insert(offset);
            from = offset.plus(1);
        }
    }

    pub(super) fn purged(&self) -> Offset {
        self.purged
    }
}

/// The deletions' log, as far as it has been read.
#[derive(Debug)]
pub(super) struct Fold {
    deleted: Arc<Deleted>,
    reader: LogReader,
    bytes_since_whole: u64,
    /// Where the newest whole set lies, and the one before.
    wholes: [Option<Offset>; 2],
    /// The loss that was told last: it is met again by who begins anew.
    told: Option<Offset>,
    /// From where on deletions as of an earlier epoch are void.
    void: Option<(Epoch, Offset)>,
    scratch: Vec<u8>,
}

impl Fold {
    pub(super) fn new(topic: &Log, log: &Log) -> Fold {
        let mut fold = Fold {
            deleted: Arc::default(),
            reader: LogReader::new(Offset::ZERO, Epoch::default()),
            bytes_since_whole: 0,
            wholes: [None; 2],
            told: None,
            void: None,
            scratch: Vec::new(),
        };
        fold.begin(topic, log);
        fold
    }

    pub(super) fn deleted(&self) -> &Deleted {
        &self.deleted
    }

    /// Up to where it has been read.
    pub(super) fn place(&self) -> Place {
        self.reader.place()
    }

    pub(super) fn bytes_since_whole(&self) -> u64 {
        self.bytes_since_whole
    }

    /// Where the newest whole set lies.
    pub(super) fn whole(&self) -> Option<Offset> {
        self.wholes[0]
    }

    /// Where the whole set before the newest one lies: nothing before is needed.
    pub(super) fn whole_before(&self) -> Option<Offset> {
        self.wholes[1]
    }

    /// What was told as damage stays told.
    fn begin(&mut self, topic: &Log, log: &Log) {
        let epoch = log.epoch();
        self.reader = LogReader::new(log.log_start(), epoch);
        self.deleted = Arc::new(Deleted { epoch: topic.epoch(), ..Deleted::default() });
        (self.bytes_since_whole, self.wholes, self.void) = (0, [None; 2], None);
    }

    /// Reads on to the end.
    pub(super) fn catch_up(&mut self, topic: &Log, log: &Log) -> Result<Arc<Deleted>> {
        if topic.epoch() < self.deleted.epoch {
            self.begin(topic, log);
        }
        if log.end_place() != self.reader.place() {
            self.read_on(topic, log)?;
        }
        self.follow_epoch(topic)?;
        let start = topic.log_start();
        if self.deleted.set.next_in(Offset::ZERO).is_some_and(|first| first < start) {
            Arc::make_mut(&mut self.deleted).set.drop_below(start);
        }
        Ok(Arc::clone(&self.deleted))
    }

    fn read_on(&mut self, topic: &Log, log: &Log) -> Result<()> {
        loop {
            match self.reader.step(log, log.log_end())? {
                Step::CaughtUp => return Ok(()),
                Step::Frame { frame, from, until } => {
                    let (bytes, mut found) = (u64::from(frame.header.length), Vec::new());
                    match frame.records_in(&mut self.scratch, from, until) {
                        Ok(records) => {
                            let deletion = |value: Option<&[u8]>| value.and_then(Deletion::decode);
                            found.extend(records.map(|record| match record {
                                Ok(record) => (record.offset, deletion(record.value())),
                                Err(_) => (from, None),
                            }));
                        }
                        Err(_) => found.push((from, None)),
                    }
                    self.bytes_since_whole += bytes;
                    for (offset, deletion) in found {
                        match deletion {
                            Some(deletion) => self.apply(topic, offset, bytes, deletion)?,
                            None => self.lose(log, offset, "a record is none of drave's"),
                        }
                    }
                }
                Step::Gap(LogGap { from, reason, .. }) => match reason {
                    // A crash took deletions that were not durable; or what is in a whole set was trimmed.
                    GapReason::Rewound | GapReason::Expired => self.begin(topic, log),
                    GapReason::Damaged { what, .. } => self.lose(log, from, &what),
                    GapReason::GivenUp | GapReason::Deleted => self.lose(log, from, "a repair has left a hole"),
                },
            }
        }
    }

    /// What was deleted there is not deleted any more, unless a whole set comes later.
    fn lose(&mut self, log: &Log, from: Offset, what: &str) {
        if self.told.is_none_or(|told| from > told) {
            self.told = Some(from);
            let path = log.path().display();
            warn!(%path, from = from.0, what, "the log of deletions is damaged: records that were deleted may be read again");
        }
    }

    fn apply(&mut self, topic: &Log, offset: Offset, bytes: u64, deletion: Deletion) -> Result<()> {
        if deletion.epoch > self.deleted.epoch {
            self.follow_epoch(topic)?;
        }
        let end = self.end_of(topic, deletion.epoch)?;
        let deleted = Arc::make_mut(&mut self.deleted);
        match deletion.what {
            Deleting::More(runs) => {
                deleted.greatest_id = deleted.greatest_id.max(deletion.greatest_id);
                runs.runs().for_each(|run| deleted.set.insert_all(run.start..run.end.min(end)));
            }
            Deleting::Whole { mut set, purged } => {
                if set.next_in(end).is_some() {
                    set.drop_from(end);
                }
                (deleted.set, deleted.greatest_id, deleted.purged) = (set, deletion.greatest_id, purged);
                self.wholes = [Some(offset), self.wholes[0]];
                self.bytes_since_whole = bytes;
            }
            Deleting::Id => deleted.greatest_id = deletion.greatest_id,
        }
        Ok(())
    }

    /// From where on deletions as of `epoch` are void, since a later one begins there.
    fn end_of(&mut self, topic: &Log, epoch: Epoch) -> Result<Offset> {
        if epoch == self.deleted.epoch {
            return Ok(Offset(u64::MAX));
        }
        if epoch > self.deleted.epoch {
            // Of an epoch that the topic has not come to: it was put back from a copy.
            return Ok(Offset::ZERO);
        }
        if let Some((of, end)) = self.void
            && of == epoch
        {
            return Ok(end);
        }
        let end = topic.clamp(Place { offset: Offset(u64::MAX), epoch })?;
        self.void = Some((epoch, end));
        Ok(end)
    }

    /// Offsets that a crash has cost are used anew.
    fn follow_epoch(&mut self, topic: &Log) -> Result<()> {
        let epoch = topic.epoch();
        if epoch <= self.deleted.epoch {
            return Ok(());
        }
        let end = topic.clamp(Place { offset: Offset(u64::MAX), epoch: self.deleted.epoch })?;
        let deleted = Arc::make_mut(&mut self.deleted);
        if deleted.set.next_in(end).is_some() {
            deleted.set.drop_from(end);
        }
        (deleted.epoch, self.void) = (epoch, None);
        Ok(())
    }
}
