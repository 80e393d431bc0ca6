//! Finding places: where one kept from before lies now, and where an ID is.

use super::index;
use super::read::{LogReader, Step};
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

    /// The first offset whose record's ID is not below `id`; the high watermark if there is none.
    pub fn find(&self, id: RecordId) -> Result<Offset> {
        let (start, end) = (self.log_start(), self.high_watermark());
        let set = segment::list(&self.dir)?;
        let last_id_before =
            |base: &Offset| segment::header_of(&self.dir, *base).map(|h| h.map_or(RecordId::ZERO, |h| h.last_id));
        let (mut low, mut high) = (0, set.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if last_id_before(&set[middle])? < id { low = middle + 1 } else { high = middle }
        }
        let Some(&base) = set[..low].last() else { return Ok(start.min(end)) };
        let mut reader = LogReader::new(base.max(start), self.epoch());
        let entries = index::load(&self.dir, base)?;
        if let Some(entry) = index::before_id(&entries, id).next()
            && entry.base > start
            && entry.base < end
        {
            reader.seek(entry.base);
        }
        let mut scratch = Vec::new();
        loop {
            match reader.step(self, end)? {
                Step::CaughtUp => return Ok(end),
                Step::Gap(_) => {}
                Step::Frame { frame, from, until } => {
                    let Ok(mut records) = frame.records(&mut scratch) else { continue };
                    if records.narrow(from, until).is_err() {
                        continue;
                    }
                    if let Some(found) = records.flatten().find(|record| record.id >= id) {
                        return Ok(found.offset);
                    }
                }
            }
        }
    }
}
