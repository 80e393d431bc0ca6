//! Where records come from, read back: of all records that are still in the files, deleted and trimmed
//! ones too. What was sent is known to have been sent, whatever has become of it since.

use std::time::Duration;

use tracing::warn;

use super::read::LogReader;
use super::step::{GapReason, Step};
use super::{Appended, Log, segment};
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::{Frame, Malformed, Origin, Origins};
use crate::error::{Error, Result};
use crate::ids::{Offset, Place, RecordId, TimestampMs};
use crate::job::Job;

/// Reads the origins of a log forward.
#[derive(Debug)]
pub struct OriginReader {
    reader: LogReader,
}

impl Log {
    /// What is known of the origins of this log's records without reading any.
    #[must_use]
    pub fn origins(&self) -> Origins {
        match self.live() {
            Some(head) => head.origins(),
            None => Origins { end: self.log_end(), ..Origins::default() },
        }
    }

    /// Appends one frame of records as [`Log::append`] does, if `check` finds nothing against it: it is
    /// called with the log end under the append lock, so that nobody appends after it and before the
    /// frame. It may read the log, and its error is that of the append.
    pub fn append_if(
        &self,
        frame: &mut Packed<'_>,
        ids: BatchIds,
        check: &mut dyn FnMut(Offset) -> Result<()>,
        job: &Job,
    ) -> Result<Appended> {
        self.append_checked(frame, ids, None, Some(check), job)
    }

    /// Whether a segment may hold origins that are not too old to be asked for: `next` begins behind it.
    pub(super) fn has_young_origins(&self, base: Offset, next: Offset) -> Result<bool> {
        if self.origins().end <= base {
            return Ok(false);
        }
        let Some(header) = segment::header_of(&self.dir, next)? else { return Ok(true) };
        let age = self.clock.now().0.saturating_sub(header.created.0);
        let is_young = Duration::from_millis(age) < self.options().origin_age;
        Ok(is_young && header.origins.end > base)
    }

    /// Counts a message that came again.
    pub fn note_repeat(&self) {
        if let Some(head) = self.live() {
            head.add_repeat();
        }
    }

    /// A reader before all records that were appended since that time, and not far before them.
    pub fn origins_since(&self, since: TimestampMs) -> Result<OriginReader> {
        let epoch = self.epoch();
        let bases = segment::list(&self.dir)?;
        let mut from = bases.first().copied().unwrap_or_default();
        for base in bases.into_iter().skip(1) {
            // A segment that was made before then holds nothing older than itself.
            match segment::header_of(&self.dir, base)? {
                Some(header) if header.incarnation == self.incarnation() && header.created <= since => from = base,
                _ => break,
            }
        }
        let mut reader = OriginReader { reader: LogReader::of_all_frames(from, epoch) };
        reader.pass_empty(self, self.log_end());
        Ok(reader)
    }
}

impl OriginReader {
    /// Up to where it has read.
    #[must_use]
    pub fn place(&self) -> Place {
        self.reader.place()
    }

    /// Goes to a place before which it is known what there is.
    pub fn go_to(&mut self, place: Place) {
        self.reader = LogReader::of_all_frames(place.offset, place.epoch);
    }

    /// Leaves out what holds no origins.
    fn pass_empty(&mut self, log: &Log, until: Offset) {
        let place = self.place();
        if log.origins().end <= place.offset && place.offset < until && log.epoch() == place.epoch {
            self.go_to(Place { offset: until, ..place });
        }
    }

    /// Hands out the origins of all records below `until`, with their IDs. `false` = what was handed
    /// out before is not so any more: a crash has cost some of it.
    pub fn read(&mut self, log: &Log, until: Offset, mut each: impl FnMut(&Origin<'_>, RecordId)) -> Result<bool> {
        let mut scratch = Vec::new();
        loop {
            self.pass_empty(log, until);
            let (frame, from) = match self.reader.step(log, until)? {
                Step::CaughtUp => return Ok(true),
                Step::Gap(gap) if gap.reason == GapReason::Rewound => return Ok(false),
                Step::Gap(gap) => {
                    if let GapReason::Damaged { path, position, what } = gap.reason {
                        let path = path.display();
                        warn!(%path, position, what, "records are damaged; if they are sent again, they are not known");
                    }
                    continue;
                }
                Step::Frame { frame, from, .. } => (frame, from),
            };
            if !frame.header.has_origins || frame.header.end() <= from {
                continue;
            }
            let malformed = |what: Malformed| Error::Damaged {
                path: log.path().to_owned(),
                position: frame.header.position,
                what: what.to_string(),
            };
            for record in frame.records(&mut scratch).map_err(malformed)? {
                let record = record.map_err(malformed)?;
                if let Some(origin) = record.origin
                    && record.offset >= from
                {
                    each(&origin, record.id);
                }
            }
        }
    }
}

/// How many records of a frame have an origin.
pub(super) fn origins_in(frame: &Frame<'_>) -> u64 {
    let mut scratch = Vec::new();
    let records = frame.records(&mut scratch).into_iter().flatten().flatten();
    records.filter(|record| record.origin.is_some()).count() as u64
}
