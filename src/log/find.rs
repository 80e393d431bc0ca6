//! Finding places: where one kept from before lies now, and where an ID is.

use super::index;
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
        let (start, end) = (self.log_start(), self.high_watermark());
        let Some(base) = self.segment_before(id)? else { return Ok(start.min(end)) };
        let from = base.max(start);
        let mut reader = LogReader::new(from, self.epoch());
        let entries = index::load(&self.dir, base)?;
        let entry = index::before_id(&entries, id).next().filter(|entry| entry.base > from && entry.base < end);
        // An index is a hint, and a wrong one may lead beyond the place.
        let mut is_hinted = entry.is_some();
        reader.seek(entry.map_or(from, |entry| entry.base));
        let mut scratch = Vec::new();
        loop {
            match reader.step(self, end)? {
                Step::CaughtUp if is_hinted => {}
                Step::CaughtUp => return Ok(end),
                Step::Gap(gap) if gap.reason == GapReason::Deleted => continue,
                Step::Gap(_) if is_hinted => {}
                Step::Gap(_) => continue,
                Step::Frame { frame, .. } if is_hinted && frame.header.base_id > id => {}
                Step::Frame { frame, from, until } => {
                    is_hinted = false;
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    if let Some(found) = records.flatten().find(|record| record.id >= id) {
                        return Ok(found.offset);
                    }
                    continue;
                }
            }
            is_hinted = false;
            reader = LogReader::new(from, self.epoch());
        }
    }

    /// The last segment before which all IDs are below `id`; none if the log has no segments. Those
    /// whose header cannot be read, and foreign ones, tell nothing and are passed.
    fn segment_before(&self, id: RecordId) -> Result<Option<Offset>> {
        let set = segment::list(&self.dir)?;
        let own = |index: usize| -> Result<Option<RecordId>> {
            let header = segment::header_of(&self.dir, set[index])?;
            Ok(header.filter(|header| header.incarnation == self.incarnation()).map(|header| header.last_id))
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
}
