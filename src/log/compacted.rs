//! Counting records where compaction has taken some: what the headers of segments say, and, for parts of
//! segments, their frames.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::deleted::Deleted;
use super::memory::MEMORY;
use super::segment::{self, Segment};
use super::walk::{Found, Walk};
use super::{Log, State, lock_mutex};
use crate::codec::frame;
use crate::codec::segment::{Compacted, HEADER_BYTES};
use crate::codec::{Frame, FrameHeader, FrameKind};
use crate::disk::{Access, Map};
use crate::error::{Error, Result};
use crate::ids::Offset;

/// So often what changes under who counts is looked at anew.
const TRIES: u32 = 100;

/// What a process knows of the compacted segments of a log.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The page's, when the headers were read.
    generation: u64,
    segments: Arc<Vec<Facts>>,
    /// The last part of a segment that was counted.
    last: Option<(Part, u64)>,
    /// The segment of which a part was counted last, by its salt, and its frames that hold fewer records than
    /// offsets.
    frames: Option<(u32, Arc<Vec<FrameHeader>>)>,
}

/// A compacted segment.
#[derive(Clone, Copy, Debug)]
struct Facts {
    base: Offset,
    end: Offset,
    salt: u32,
    compacted: Compacted,
}

/// A part of a segment, as of a state of the log of deletions in which the count does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    salt: u32,
    from: Offset,
    until: Offset,
    purged: Offset,
}

/// Counts the records that can be read, as of one moment.
pub struct LiveCounter<'a> {
    log: &'a Log,
    deleted: Arc<Deleted>,
    segments: Arc<Vec<Facts>>,
}

impl Log {
    /// How many records of a range can be read.
    pub(super) fn live_in(&self, range: Range<Offset>) -> Result<u64> {
        for _ in 0..TRIES {
            match self.live_counter()?.count(range.clone()) {
                // A segment was removed or replaced meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(Error::Astray { .. }) => {}
                other => return other,
            }
            lock_mutex(&self.counted.0).generation = 0;
        }
        self.live_counter()?.count(range)
    }

    /// Counts the records that can be read in stretches of the log.
    pub fn live_counter(&self) -> Result<LiveCounter<'_>> {
        // In this order: deletions that a compaction has purged are those of segments that are seen then.
        let deleted = self.deleted()?;
        Ok(LiveCounter { log: self, deleted, segments: self.compacted_segments()? })
    }

    /// Changes whenever segments were compacted; 0 = there never were any.
    #[must_use]
    pub fn compactions_generation(&self) -> u64 {
        match &self.state {
            State::Live(head) => head.compactions_generation(),
            // It is looked for once.
            State::Walked(_) => u64::MAX,
        }
    }

    fn compacted_segments(&self) -> Result<Arc<Vec<Facts>>> {
        let generation = self.compactions_generation();
        if generation == 0 {
            return Ok(Arc::default());
        }
        let mut known = lock_mutex(&self.counted.0);
        if known.generation != generation {
            known.segments = Arc::new(self.read_compacted()?);
            (known.generation, known.last) = (generation, None);
        }
        Ok(Arc::clone(&known.segments))
    }

    fn read_compacted(&self) -> Result<Vec<Facts>> {
        if self.is_still() && self.dir.stat(MEMORY)?.is_none() {
            return Ok(Vec::new());
        }
        let mut found: Vec<Facts> = Vec::new();
        let mut covered = Offset::ZERO;
        for base in &segment::list(&self.dir)? {
            // Left by a compaction that did not live to remove it.
            if *base < covered {
                continue;
            }
            let Some(header) = segment::header_of(&self.dir, *base)? else { continue };
            if header.incarnation != self.incarnation() || header.compacted == Compacted::default() {
                continue;
            }
            covered = header.compacted.end;
            found.push(Facts { base: *base, end: covered, salt: header.salt, compacted: header.compacted });
        }
        Ok(found)
    }

    /// How many of these segments, which rise, go and stay with the first: those behind it that it covers were
    /// left by a compaction that did not live to remove them.
    pub(super) fn count_with_first(&self, bases: &[Offset]) -> Result<usize> {
        let Some((first, later)) = bases.split_first() else { return Ok(0) };
        if later.is_empty() || !self.has_compacted() {
            return Ok(1);
        }
        let header = segment::header_of(&self.dir, *first)?.filter(|header| header.incarnation == self.incarnation());
        let end = header.map_or(*first, |header| header.compacted.end);
        Ok(1 + later.partition_point(|base| *base < end))
    }

    /// The offsets in a part of a segment that hold no record though they are not among the deleted ones.
    fn count_gone(&self, facts: &Facts, part: &Range<Offset>, deleted: &Deleted) -> Result<u64> {
        let key = Part { salt: facts.salt, from: part.start, until: part.end, purged: deleted.purged() };
        if let Some((known, count)) = lock_mutex(&self.counted.0).last
            && known == key
        {
            return Ok(count);
        }
        let count = self.walk_gone(facts, part, deleted)?;
        lock_mutex(&self.counted.0).last = Some((key, count));
        Ok(count)
    }

    fn walk_gone(&self, facts: &Facts, part: &Range<Offset>, deleted: &Deleted) -> Result<u64> {
        let segment = Segment::open(&self.dir, facts.base, Access::Read, || Ok(None))?;
        if segment.salt != facts.salt {
            return Err(self.astray("a segment was replaced while its records were counted"));
        }
        let map = Map::new(&segment.file, segment.file.length()?)?;
        let frames = self.frames_of(&segment, &map);
        let is_purged = deleted.purged() >= facts.compacted.deletions;
        let (mut gone, mut scratch) = (0, Vec::new());
        let first = frames.partition_point(|header| header.end() <= part.start);
        for header in frames[first..].iter().take_while(|header| header.base < part.end) {
            let range = header.base.max(part.start)..header.end().min(part.end);
            if is_purged && range == (header.base..header.end()) {
                gone += u64::from(header.span - header.count);
                continue;
            }
            // Verified when it was listed.
            let Some(frame) = frame::verified(&map[header.position as usize..], header.position) else { continue };
            gone += gone_in(&frame, range, deleted, &mut scratch);
        }
        Ok(gone)
    }

    /// The frames of a segment that hold fewer records than offsets.
    fn frames_of(&self, segment: &Segment, map: &Map) -> Arc<Vec<FrameHeader>> {
        let mut known = lock_mutex(&self.counted.0);
        if let Some((salt, frames)) = &known.frames
            && *salt == segment.salt
        {
            return Arc::clone(frames);
        }
        let mut walk = Walk::new(map, segment.salt, HEADER_BYTES as u64, segment.base);
        let mut frames = Vec::new();
        loop {
            match walk.step() {
                Found::End => break,
                Found::Frame(frame) if frame.header.kind == FrameKind::Records && frame.header.count < frame.header.span => {
                    frames.push(frame.header);
                }
                Found::Frame(_) | Found::Bad { .. } => {}
            }
        }
        let frames = Arc::new(frames);
        known.frames = Some((segment.salt, Arc::clone(&frames)));
        frames
    }
}

/// The offsets in a range of a frame that hold no record though they are not among the deleted ones.
fn gone_in(frame: &Frame<'_>, range: Range<Offset>, deleted: &Deleted, scratch: &mut Vec<u8>) -> u64 {
    let mut there = deleted.count_in(range.clone());
    if let Ok(records) = frame.records_in(scratch, range.start, range.end) {
        there += records.flatten().filter(|record| !deleted.contains(record.offset)).count() as u64;
    }
    range.end.since(range.start).saturating_sub(there)
}

impl LiveCounter<'_> {
    /// How many records of a range can be read.
    pub fn count(&self, range: Range<Offset>) -> Result<u64> {
        if range.start >= range.end {
            return Ok(0);
        }
        let mut gone = self.deleted.count_in(range.clone());
        let first = self.segments.partition_point(|facts| facts.end <= range.start);
        for facts in self.segments[first..].iter().take_while(|facts| facts.base < range.end) {
            let part = facts.base.max(range.start)..facts.end.min(range.end);
            gone += if part == (facts.base..facts.end) {
                let is_purged = self.deleted.purged() >= facts.compacted.deletions;
                facts.compacted.removed - if is_purged { 0 } else { facts.compacted.deleted.min(facts.compacted.removed) }
            } else {
                self.log.count_gone(facts, &part, &self.deleted)?
            };
        }
        Ok(range.end.since(range.start).saturating_sub(gone))
    }
}
