//! Finding places: where one kept from before lies now, and where an ID is.

use super::index::{self, IndexEntry};
use super::read::LogReader;
use super::step::{GapReason, Step};
use super::{Log, State, segment};
use crate::error::Result;
use crate::ids::{Offset, Place, RecordId};

impl Log {
    /// Where a place kept from before lies now: at the start of a later epoch, if one starts at or
    /// below it.
    pub fn clamp(&self, place: Place) -> Result<Offset> {
        let mut clamped = place.offset;
        if let State::Walked(survey) = &self.state
            && survey.epoch > place.epoch
        {
            clamped = clamped.min(survey.epoch_start());
        }
        if self.epoch() <= place.epoch {
            return Ok(clamped);
        }
        for base in segment::list(&self.dir)?.into_iter().rev() {
            match segment::header_of(&self.dir, base)? {
                Some(header) if header.epoch > place.epoch => clamped = clamped.min(header.epoch_start),
                Some(_) => break,
                None => {}
            }
        }
        Ok(clamped)
    }

    /// The first offset whose record's ID is not below `id`; the high watermark if there is none. Of a
    /// deleted record's ID it is that of the next one that is not deleted.
    pub fn find(&self, id: RecordId) -> Result<Offset> {
        LogReader::new(self.log_start(), self.epoch()).find(self, id, self.high_watermark())
    }
}

impl LogReader {
    /// As [`Log::find`], below `end`, and goes there: who reads on finds the bytes in hand, and who looks for one ID
    /// after another finds files and indexes open.
    pub fn find(&mut self, log: &Log, id: RecordId, end: Offset) -> Result<Offset> {
        let start = log.log_start();
        let epoch = log.epoch();
        let Some(base) = self.segment_before(log, id)? else { return Ok(start.min(end)) };
        let from = base.max(start);
        let entry = self.entry_before(log, base, id)?.filter(|entry| entry.base > from && entry.base < end);
        // An index is a hint, and a wrong one may lead beyond the place.
        let is_hinted = entry.is_some();
        self.go_to(Place { offset: entry.map_or(from, |entry| entry.base), epoch });
        let found = match self.find_from_here(log, id, end, is_hinted)? {
            Some(found) => found,
            None => {
                *self = LogReader::new(from, epoch);
                self.find_from_here(log, id, end, false)?.unwrap_or(end)
            }
        };
        self.go_to(Place { offset: found, epoch });
        Ok(found)
    }

    /// The entry of a segment's index that leads nearest to the first record with this ID or a higher one.
    fn entry_before(&mut self, log: &Log, base: Offset, id: RecordId) -> Result<Option<IndexEntry>> {
        let entries = self.index.of(log, base, |last| last.ms >= id.ms)?;
        Ok(index::before_id(entries, id).next())
    }

    /// The last segment before which all IDs are below `id`; none if the log has no segments. Those
    /// whose header cannot be read, and foreign ones, tell nothing and are passed.
    fn segment_before(&mut self, log: &Log, id: RecordId) -> Result<Option<Offset>> {
        self.refresh(log)?;
        let LogReader { set, ids_before, .. } = self;
        let mut own = |index: usize| -> Result<Option<RecordId>> {
            if let Some(known) = ids_before.get(&set[index]) {
                return Ok(*known);
            }
            let header = segment::header_of(&log.dir, set[index])?;
            let id = header.filter(|header| header.incarnation == log.incarnation()).map(|header| header.last_id);
            ids_before.insert(set[index], id);
            Ok(id)
        };
        let (mut best, mut low, mut high) = (0, 0, set.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let mut told = (middle, None);
            for index in (low..=middle).rev() {
                told = (index, own(index)?);
                if told.1.is_some() {
                    break;
                }
            }
            match told {
                (index, Some(last_id)) if last_id < id => (best, low) = (index, middle + 1),
                (index, Some(_)) => high = index,
                (_, None) => low = middle + 1,
            }
        }
        Ok(set.get(best).copied())
    }

    /// Goes from frame to frame until one begins beyond the ID, and looks into the one before. `None` =
    /// this is no place to begin at.
    fn find_from_here(&mut self, log: &Log, id: RecordId, end: Offset, mut is_hinted: bool) -> Result<Option<Offset>> {
        // The frame that may hold it: its base, and the first of its offsets that was handed out.
        let mut candidate: Option<(Offset, Offset)> = None;
        loop {
            match self.step(log, end)? {
                Step::Gap(gap) if gap.reason == GapReason::Deleted => {}
                Step::CaughtUp | Step::Gap(_) if is_hinted => return Ok(None),
                Step::CaughtUp => break,
                // What was read may be no more.
                Step::Gap(gap) if gap.reason == GapReason::Rewound => candidate = None,
                Step::Gap(_) => {}
                Step::Frame { frame, from, .. } if frame.header.base_id > id => {
                    if is_hinted {
                        return Ok(None);
                    }
                    candidate.get_or_insert((frame.header.base, from));
                    break;
                }
                Step::Frame { frame, from, .. } => {
                    is_hinted = false;
                    let base = frame.header.base;
                    if candidate.is_none_or(|(known, _)| known != base) {
                        candidate = Some((base, from));
                    }
                }
            }
        }
        match candidate {
            Some((_, from)) => self.first_from(log, from, id, end),
            None => Ok(Some(end)),
        }
    }

    /// The first offset at or after `from` whose record's ID is not below `id`.
    fn first_from(&mut self, log: &Log, from: Offset, id: RecordId, end: Offset) -> Result<Option<Offset>> {
        self.go_to(Place { offset: from, epoch: log.epoch() });
        let mut scratch = Vec::new();
        loop {
            match self.step(log, end)? {
                Step::CaughtUp => return Ok(Some(end)),
                Step::Gap(_) => {}
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    if let Some(found) = records.flatten().find(|record| record.id >= id) {
                        return Ok(Some(found.offset));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::BatchBuilder;
    use crate::codec::frame::Packed;
    use crate::config::Compression;
    use crate::ids::Epoch;
    use crate::job::Job;
    use crate::log::testing::{make, open_with};
    use proptest::prelude::*;

    /// Frames of records with these IDs, large enough that the index has entries.
    fn fill(log: &Log, frames: &[Vec<RecordId>]) {
        for ids in frames {
            let mut batch = BatchBuilder::new();
            for id in ids {
                batch.push(&[(b"value", &[b'x'; 9_000])], false, Some(*id)).expect("rising");
            }
            let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
            log.append(&mut packed, batch.batch().ids, None, &Job::new()).expect("appended");
        }
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<RecordId>>> {
        let record = (0u64..3, 1u64..4);
        proptest::collection::vec(proptest::collection::vec(record, 1..12), 1..40).prop_map(|frames| {
            let mut last = RecordId { ms: 10, seq: 0 };
            let mut next = |(ms, seq)| {
                last = if ms == 0 { RecordId { seq: last.seq + seq, ..last } } else { RecordId { ms: last.ms + ms, seq } };
                last
            };
            frames.into_iter().map(|frame| frame.into_iter().map(&mut next).collect()).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn an_id_is_found_by_new_readers_and_by_those_that_have_looked_before(
            frames in frames(),
            asked in proptest::collection::vec((5u64..100, 0u64..6), 1..60),
            deleted in proptest::collection::btree_set(0u64..200, 0..60),
            segment_bytes in prop_oneof![Just(1u64 << 19), Just(64u64 << 20)],
        ) {
            let place = tempfile::tempdir().expect("a directory");
            let log = open_with(&make(place.path()), segment_bytes);
            fill(&log, &frames);
            let ids: Vec<RecordId> = frames.concat();
            let offsets: Vec<Offset> = deleted.iter().map(|at| Offset(*at)).filter(|at| at.0 < ids.len() as u64).collect();
            if let Some(last) = offsets.last() {
                log.delete(&offsets, Epoch(0), ids[last.0 as usize], &Job::new()).expect("deleted");
            }
            let mut reader = LogReader::new(Offset::ZERO, log.epoch());
            for (ms, seq) in asked {
                let id = RecordId { ms, seq };
                let live = |at: &usize| ids[*at] >= id && !deleted.contains(&(*at as u64));
                let expected = (0..ids.len()).find(live).unwrap_or(ids.len()) as u64;
                prop_assert_eq!(log.find(id).expect("found"), Offset(expected));
                prop_assert_eq!(reader.find(&log, id, log.log_end()).expect("found"), Offset(expected));
                // And it reads on from there.
                match reader.step(&log, log.log_end()).expect("read") {
                    Step::Frame { from, .. } => prop_assert_eq!(from, Offset(expected)),
                    Step::CaughtUp => prop_assert_eq!(expected, ids.len() as u64),
                    Step::Gap(gap) => prop_assert!(false, "{gap:?}"),
                }
            }
        }
    }
}
