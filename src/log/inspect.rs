//! Looking at the files of a log, whatever state they are in. Changes nothing.

use super::Log;
use super::segment::{self, Segment};
use super::sweep::Tip;
use super::walk::{Found, Walk};
use crate::codec::segment::{HEADER_BYTES, ParsedHeader, Previous, file_name, index_name};
use crate::codec::{FrameHeader, SegmentHeader};
use crate::disk::{Access, Dir, File, Map};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};

/// A sound slot is found at the first try, but for a race that is lost to two appends in a row.
const COUNTERS_TRIES: u32 = 1000;

/// What a log has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The next offset to be assigned.
    pub log_end: Offset,
    /// The ID of the last record that was appended.
    pub last_id: RecordId,
    /// How many records were ever appended; those that a crash has cost do not count.
    pub entries_added: u64,
}

/// A segment file as a listing shows it.
#[derive(Clone, Debug)]
pub struct SegmentFacts {
    /// Its first offset, from the file name.
    pub base: Offset,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its index; `None` = it has none.
    pub index_bytes: Option<u64>,
    /// Where its offsets should end: at the next segment, or at the end of the log, if that is known.
    pub end: Option<Offset>,
    /// Its header, or what is wrong with it.
    pub header: std::result::Result<SegmentHeader, String>,
}

/// The segments of a topic's directory. With its `log`, if that opens, more is known of them.
pub fn segments(dir: &Dir, log: Option<&Log>) -> Result<Vec<SegmentFacts>> {
    let mut all = Vec::new();
    let (bases, strays, tip) = list(dir, log)?;
    for base in strays {
        let Some(meta) = dir.stat(file_name(base).as_bytes())? else { continue };
        let header = Err("not part of the log: it is behind the active segment".to_owned());
        all.push(SegmentFacts { base, bytes: meta.length, index_bytes: None, end: None, header });
    }
    for (index, &base) in bases.iter().enumerate() {
        let Some(meta) = dir.stat(file_name(base).as_bytes())? else { continue };
        let header = match Segment::open(dir, base, Access::Read, || Ok(None)) {
            Ok(Segment { header: Ok(header), .. }) => Ok(header),
            Ok(Segment { header: Err(why), .. }) => Err(why.to_owned()),
            Err(Error::Damaged { what, .. }) => Err(what),
            Err(error) => Err(error.to_string()),
        };
        let index_bytes = dir.stat(index_name(base).as_bytes())?.map(|meta| meta.length);
        let end = bases.get(index + 1).copied().or(tip.map(|tip| tip.end));
        all.push(SegmentFacts { base, bytes: meta.length, index_bytes, end, header });
    }
    all.sort_by_key(|facts| facts.base);
    Ok(all)
}

/// The base offsets in `dir`, those of files that are no part of the log, and where the log ends.
fn list(dir: &Dir, log: Option<&Log>) -> Result<(Vec<Offset>, Vec<Offset>, Option<Tip>)> {
    let tip = log.map(Log::tip);
    let mut bases = segment::list(dir)?;
    let mut strays = Vec::new();
    if let (Some(log), Some(tip)) = (log, tip)
        && !log.is_still()
    {
        // One behind the end may just be begun, and not have its header yet.
        strays = bases.iter().copied().filter(|base| tip.is_behind(*base) && *base < tip.end).collect();
        bases.retain(|base| !tip.is_behind(*base));
    }
    Ok((bases, strays, tip))
}

/// What lies in a segment file, one thing after another.
#[derive(Clone, Debug)]
pub enum Thing {
    /// A whole frame, checksum verified.
    Frame(FrameHeader),
    /// Bytes that are not what they should be.
    Bad {
        /// Where they begin.
        position: u64,
        /// Where they end.
        until: u64,
        /// What is wrong.
        why: String,
    },
    /// Bytes that are not part of the log: of records that were never acknowledged, or of an append
    /// that is under way.
    Behind {
        /// Where they begin.
        position: u64,
        /// Where they end.
        until: u64,
    },
}

/// Walks all frames of one segment file, which may lie anywhere; `each` says whether to go on.
///
/// # Errors
/// [`Error::Damaged`] when the header cannot be read: without it no frame can be verified.
pub fn frames(file: &File, mut each: impl FnMut(Thing) -> bool) -> Result<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES];
    let n = file.read_at(&mut bytes, 0)?;
    let path = || file.path().to_owned();
    let header = match SegmentHeader::parse(&bytes[..n]) {
        ParsedHeader::Header(header) => *header,
        ParsedHeader::TooNew(found) => {
            return Err(Error::VersionTooNew { path: path(), found, supported: crate::codec::segment::VERSION });
        }
        ParsedHeader::Bad(why) => return Err(Error::Damaged { path: path(), position: 0, what: why.to_owned() }),
    };
    walk(file, header.salt, header.base, file.length()?, &mut each)?;
    Ok(header)
}

/// Walks the frames of all segments in a topic's directory, or of the one at `only`. With its `log`,
/// if that opens, more is known of where the segments end.
pub fn frames_of(dir: &Dir, log: Option<&Log>, only: Option<Offset>, mut each: impl FnMut(Offset, Thing) -> bool) -> Result<()> {
    let (bases, _, tip) = list(dir, log)?;
    for (index, &base) in bases.iter().enumerate().filter(|(_, base)| only.is_none_or(|only| only == **base)) {
        let next = bases.get(index + 1).and_then(|next| segment::header_of(dir, *next).ok().flatten());
        let previous = next.and_then(|header| header.previous).filter(|previous| previous.base == base);
        let salt = previous.map(|previous| previous.salt).or_else(|| log?.active_salt(base));
        let mut go_on = true;
        let mut each = |thing| {
            go_on = each(base, thing);
            go_on
        };
        match Segment::open(dir, base, Access::Read, || Ok(salt)) {
            Ok(segment) => {
                if let Err(why) = segment.header {
                    each(Thing::Bad { position: 0, until: HEADER_BYTES as u64, why: why.to_owned() });
                }
                let length = segment.file.length()?;
                let limit = tip.and_then(|tip| tip.end_position(base)).or_else(|| ends_at(&segment, previous));
                let limit = limit.map_or(length, |limit| limit.min(length));
                walk(&segment.file, segment.salt, base, limit, &mut each)?;
                if limit < length {
                    each(Thing::Behind { position: limit, until: length });
                }
            }
            Err(Error::Damaged { position, what, .. }) => {
                let until = dir.stat(file_name(base).as_bytes())?.map_or(0, |meta| meta.length);
                each(Thing::Bad { position, until, why: what });
            }
            // Trimmed since it was listed.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        if !go_on {
            return Ok(());
        }
    }
    Ok(())
}

fn walk(file: &File, salt: u32, base: Offset, limit: u64, each: &mut impl FnMut(Thing) -> bool) -> Result<()> {
    if limit <= HEADER_BYTES as u64 {
        return Ok(());
    }
    let map = Map::new(file, limit)?;
    let mut walk = Walk::new(&map, salt, HEADER_BYTES as u64, base);
    loop {
        let thing = match walk.step() {
            Found::Frame(frame) => Thing::Frame(frame.header),
            Found::Bad { position, why, .. } => Thing::Bad { position, until: walk.position(), why: why.to_owned() },
            Found::End => return Ok(()),
        };
        if !each(thing) {
            return Ok(());
        }
    }
}

/// Where a segment ends, if its successor says so and means this very file.
pub(super) fn ends_at(segment: &Segment, previous: Option<Previous>) -> Option<u64> {
    previous.filter(|previous| segment.header.is_err() || previous.salt == segment.salt).map(|previous| previous.end_position)
}

impl Log {
    pub(super) fn active_salt(&self, base: Offset) -> Option<u32> {
        match &self.state {
            super::State::Live(head) => Some(head.slot()).filter(|slot| slot.active_base == base).map(|slot| slot.active_salt),
            super::State::Walked(survey) => survey.last_salt(base),
        }
    }

    /// What the log has counted, all of it at one moment. Takes no lock.
    #[must_use]
    pub fn counters(&self) -> Counters {
        match &self.state {
            super::State::Live(head) => {
                // While it is read, it may be written; whoever writes it may have died.
                let slot = (0..COUNTERS_TRIES).find_map(|_| head.sound_slot()).unwrap_or_else(|| head.slot());
                Counters { log_end: slot.log_end, last_id: slot.last_id, entries_added: slot.entries_added }
            }
            super::State::Walked(survey) => {
                Counters { log_end: survey.end, last_id: survey.last_id, entries_added: survey.entries_added }
            }
        }
    }

    /// The greatest log start at or below `offset` for which whole segments go and no part of one: a
    /// segment's first offset, or the log start as it is.
    pub fn whole_segments_before(&self, offset: Offset) -> Result<Offset> {
        let tip = self.tip();
        let bases = segment::list(&self.dir)?.into_iter().filter(|base| *base <= offset && !tip.is_behind(*base));
        Ok(bases.max().unwrap_or_default().max(self.log_start()))
    }
}
