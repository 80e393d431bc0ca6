//! The segments of a log, and the frames of one of them, within the bounds of the log. What a sweep
//! calls bad is what `verify` reports and what a repair gives up: both see the same.

use super::Log;
use super::State;
use super::inspect::ends_at;
use super::segment::{self, Segment};
use super::walk::{Found, Walk};
use crate::codec::segment::{HEADER_BYTES, Previous};
use crate::codec::{Frame, FrameKind, SegmentHeader};
use crate::disk::Map;
use crate::error::Result;
use crate::ids::{Offset, RecordId};

/// Where a log ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    /// The next offset to be assigned.
    pub(super) end: Offset,
    /// The active segment, and where in it the log ends.
    pub(super) active: Option<(Offset, u64)>,
}

impl Tip {
    /// Whether a segment with this base is behind the end.
    pub(super) fn is_behind(&self, base: Offset) -> bool {
        base > self.end || self.active.is_some_and(|(active, _)| base > active)
    }

    /// Where in the segment at `base` the log ends, if it is the active one.
    pub(super) fn end_position(&self, base: Offset) -> Option<u64> {
        self.active.filter(|(active, position)| *active == base && *position > 0).map(|(_, position)| position)
    }
}

impl Log {
    /// Where the log ends now, all of it at one moment.
    pub(super) fn tip(&self) -> Tip {
        match &self.state {
            State::Live(head) => loop {
                let slot = head.slot();
                // Without the lock its numbers could be of two appends.
                if head.slot() == slot {
                    return Tip { end: slot.log_end, active: Some((slot.active_base, slot.end_position)) };
                }
            },
            State::Walked(survey) => Tip { end: survey.end, active: survey.last_segment() },
        }
    }
}

/// What a segment file is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A part of it.
    InForce,
    /// A segment of another topic, or of an earlier life of this one.
    Foreign,
    /// Of an epoch that had ended before its predecessor's began.
    Superseded,
}

/// A segment in the chain of them.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) base: Offset,
    /// `None` when it cannot be read.
    pub(super) header: Option<SegmentHeader>,
    pub(super) standing: Standing,
}

/// All segments up to the active one. Those behind it were begun later, or are not part of the log.
pub(super) fn chain(log: &Log, tip: &Tip) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    let mut epoch = None;
    for base in segment::list(log.dir())? {
        if tip.is_behind(base) {
            break;
        }
        let header = segment::header_of(log.dir(), base)?;
        let standing = match &header {
            Some(header) if header.incarnation != log.incarnation() => Standing::Foreign,
            Some(header) if epoch.is_some_and(|epoch| header.epoch < epoch) => Standing::Superseded,
            Some(header) => {
                epoch = Some(header.epoch);
                Standing::InForce
            }
            None => Standing::InForce,
        };
        links.push(Link { base, header, standing });
    }
    Ok(links)
}

/// What the successor says of the segment at `base`.
pub(super) fn said_by(next: Option<&Link>, base: Offset) -> Option<Previous> {
    next?.header.as_ref()?.previous.filter(|previous| previous.base == base)
}

/// Which bytes and offsets of a segment belong to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Where its bytes end; `None` = with the file.
    pub(super) limit: Option<u64>,
    /// Where its offsets end; `None` = with its last frame.
    pub(super) until: Option<Offset>,
    /// No offset of it is beyond this.
    pub(super) until_max: Offset,
    /// How far bad bytes at its end reach.
    pub(super) bad_until: Offset,
}

impl Bounds {
    /// Those of `segment`, which `next` follows in a log that ends at `tip`.
    pub(super) fn of(segment: &Segment, next: Option<&Link>, tip: &Tip) -> Bounds {
        let Some(next) = next else {
            let limit = tip.end_position(segment.base);
            return Bounds { limit, until: Some(tip.end), until_max: tip.end, bad_until: tip.end };
        };
        let limit = ends_at(segment, said_by(Some(next), segment.base));
        // A successor that does not name this one may be foreign, or what a repair has superseded, or
        // follow a segment that is missing: the frames tell where this one ends, as they tell readers.
        let is_sure = limit.is_some();
        let until_max = if is_sure { next.base } else { tip.end };
        Bounds { limit, until: is_sure.then_some(next.base), until_max, bad_until: next.base }
    }
}

/// What lies in a segment, one after another.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A frame whose checksum and contents are right.
    Frame(&'a Frame<'a>, Contents),
    /// What should be there and is not. Without offsets no record is concerned.
    Bad { position: u64, from: Offset, until: Offset, why: String },
}

/// What was found inside a frame of records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    /// The lowest and the highest ID.
    pub(super) ids: Option<(RecordId, RecordId)>,
    /// Whether the IDs rise.
    pub(super) rising: bool,
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swept {
    /// The offset after the last one, lost ones included.
    pub(super) end: Offset,
    /// Where the last good frame ends.
    pub(super) end_position: u64,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Bytes behind the end.
    pub(super) bytes_behind: u64,
}

/// Goes through all frames of a segment that belong to the log.
pub(super) fn sweep(segment: &Segment, bounds: &Bounds, mut each: impl FnMut(Piece<'_>) -> Result<()>) -> Result<Swept> {
    let length = segment.file.length()?;
    let limit = bounds.limit.map_or(length, |limit| limit.min(length));
    let mut swept = Swept { end: segment.base, end_position: HEADER_BYTES as u64, bytes: limit, bytes_behind: length - limit };
    let mut scratch = Vec::new();
    if limit > HEADER_BYTES as u64 {
        let map = Map::new(&segment.file, limit)?;
        let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, segment.base);
        loop {
            let (position, from) = (walk.position(), swept.end);
            let (until, why) = match walk.step() {
                Found::End => break,
                Found::Frame(frame) if frame.header.end() > bounds.until_max => {
                    swept.bytes_behind += limit - position;
                    break;
                }
                Found::Frame(frame) => match contents(&frame, &mut scratch) {
                    Ok(contents) => {
                        each(Piece::Frame(&frame, contents))?;
                        (swept.end, swept.end_position) = (frame.header.end(), walk.position());
                        continue;
                    }
                    Err(why) => (frame.header.end(), why),
                },
                Found::Bad { why, next, .. } => {
                    let next = next.map_or(bounds.bad_until, |(_, base)| base);
                    (next.min(bounds.until_max).max(from), why.to_owned())
                }
            };
            each(Piece::Bad { position, from, until, why })?;
            swept.end = until;
        }
    }
    if let Some(until) = bounds.until
        && swept.end < until
    {
        let why = "the segment ends early".to_owned();
        each(Piece::Bad { position: limit, from: swept.end, until, why })?;
        swept.end = until;
    }
    Ok(swept)
}

fn contents(frame: &Frame<'_>, scratch: &mut Vec<u8>) -> std::result::Result<Contents, String> {
    let mut found = Contents { ids: None, rising: true };
    if frame.header.kind != FrameKind::Records {
        return Ok(found);
    }
    for record in frame.records(scratch).map_err(|why| why.to_string())? {
        let id = record.map_err(|why| why.to_string())?.id;
        found.ids = Some(match found.ids {
            None => (id, id),
            Some((low, high)) => {
                found.rising &= id > high;
                (low.min(id), high.max(id))
            }
        });
    }
    Ok(found)
}
