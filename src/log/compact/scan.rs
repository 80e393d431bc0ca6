//! Looking at the sealed segments: what is in them, and which records are superseded.

use std::ops::Range;

use super::pace::Pace;
use super::sieve::Sieve;
use super::{Run, pace};
use crate::codec::segment::{HEADER_BYTES, Previous};
use crate::codec::{Frame, FrameKind, OffsetSet, SegmentHeader};
use crate::disk::{Access, Map};
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::log::deleted::Deleted;
use crate::log::segment::Segment;
use crate::log::sweep::{Bounds, Link, Standing, chain, said_by};
use crate::log::walk::{Found, Walk};

/// A sealed segment.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) base: Offset,
    /// Its own header, if it can be read.
    pub(super) header: Option<SegmentHeader>,
    /// The next one.
    pub(super) next: Link,
    /// Bytes of it.
    pub(super) bytes: u64,
    pub(super) found: Scanned,
}

/// What was found in a segment.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// All of it was read, and it goes on to the next.
    pub(super) is_whole: bool,
    pub(super) records: u64,
    /// Deleted records, and those below the log start.
    pub(super) gone: u64,
    /// Deleted offsets without a record, which are to be forgotten.
    pub(super) absent: Vec<Offset>,
    /// Nulls that are due, superseded or not.
    pub(super) nulls_due: u64,
    /// Of when the oldest one is that is not.
    pub(super) oldest_null_ms: Option<u64>,
}

/// Segments that another one covers, with its index.
pub(super) type Covered = Vec<(usize, Offset)>;

impl Member {
    /// How a successor names it, if it is the work of a compaction: no other header does.
    pub(super) fn as_previous(&self) -> Option<Previous> {
        let header = self.header.as_ref().filter(|header| header.compacted.end > self.base)?;
        Some(Previous { base: self.base, end_position: self.bytes, salt: header.salt })
    }
}

impl Run<'_> {
    /// The sealed segments that are durable; and those that their predecessor covers, with the index of that
    /// one: a compaction did not live to remove them.
    pub(super) fn members(&self) -> Result<(Vec<Member>, Covered)> {
        // What is not durable yet will be: a run begins with that.
        let until = if self.how.dry_run { self.sealed } else { self.sealed.min(self.head.durable()) };
        let links: Vec<Link> =
            chain(self.log, &self.tip)?.into_iter().filter(|link| link.standing == Standing::InForce).collect();
        let (mut members, mut covered): (Vec<Member>, Covered) = (Vec::new(), Vec::new());
        let mut in_force: Vec<Link> = Vec::new();
        let mut end = Offset::ZERO;
        for link in links {
            if link.base < end {
                covered.push((in_force.len() - 1, link.base));
                continue;
            }
            end = link.header.as_ref().map_or(end, |header| header.compacted.end.max(link.base));
            in_force.push(link);
        }
        for pair in in_force.windows(2).take_while(|pair| pair[1].base <= until) {
            let name = crate::codec::segment::file_name(pair[0].base);
            let bytes = self.log.dir().stat(name.as_bytes())?.map_or(0, |meta| meta.length);
            let (base, header, next) = (pair[0].base, pair[0].header.clone(), pair[1].clone());
            members.push(Member { base, header, next, bytes, found: Scanned::default() });
        }
        Ok((members, covered))
    }

    /// Opens a segment, for as much of it as belongs to the log.
    pub(super) fn open(&self, member: &Member) -> Result<Option<(Segment, Option<Map>, Bounds)>> {
        let salt = said_by(Some(&member.next), member.base).map(|previous| previous.salt);
        let segment = match Segment::open(self.log.dir(), member.base, Access::Read, || Ok(salt)) {
            Err(Error::Damaged { .. }) => return Ok(None),
            other => other?,
        };
        let bounds = Bounds::of(&segment, Some(&member.next), &self.tip);
        let length = segment.file.length()?;
        let limit = bounds.limit.map_or(length, |limit| limit.min(length));
        let map = if limit > HEADER_BYTES as u64 { Some(Map::new(&segment.file, limit)?) } else { None };
        Ok(Some((segment, map, bounds)))
    }

    /// Hands out the frames of a segment; `false` = they are not all that should be there.
    pub(super) fn frames(
        &self,
        member: &Member,
        pace: &mut Pace<'_>,
        mut each: impl FnMut(&Frame<'_>) -> Result<()>,
    ) -> pace::Result<bool> {
        let Some((segment, map, bounds)) = self.open(member)? else { return Ok(false) };
        let (mut is_whole, mut end) = (true, member.base);
        if let Some(map) = &map {
            let mut walk = Walk::new(map, segment.salt, HEADER_BYTES as u64, member.base);
            loop {
                match walk.step() {
                    Found::End => break,
                    Found::Frame(frame) if frame.header.end() > bounds.until_max.min(member.next.base) => break,
                    Found::Frame(frame) => {
                        match each(&frame) {
                            Err(Error::Damaged { .. }) => is_whole = false,
                            other => other?,
                        }
                        end = frame.header.end();
                        pace.spend(u64::from(frame.header.length))?;
                    }
                    Found::Bad { .. } => is_whole = false,
                }
            }
        }
        Ok(is_whole && end == member.next.base)
    }

    /// What was deleted since this run began in a segment that it has written, and has no record there.
    pub(super) fn put_absent(&self, range: &Range<Offset>, now: &Deleted, gone: &mut OffsetSet) -> Result<()> {
        let mut fresh = now.next_deleted(range.start).filter(|offset| *offset < range.end);
        while fresh.is_some_and(|offset| self.deleted.contains(offset)) {
            fresh = fresh.and_then(|offset| now.next_deleted(offset.plus(1))).filter(|offset| *offset < range.end);
        }
        if fresh.is_none() {
            return Ok(());
        }
        let segment = Segment::open(self.log.dir(), range.start, Access::Read, || Ok(None))?;
        let map = Map::new(&segment.file, segment.file.length()?)?;
        let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, segment.base);
        let (mut scratch, mut absent) = (Vec::new(), Vec::new());
        loop {
            match walk.step() {
                Found::End => break,
                Found::Frame(frame) => absent_in(&frame, now, &mut scratch, &mut absent),
                Found::Bad { .. } => {}
            }
        }
        absent.into_iter().for_each(|offset| _ = gone.insert(offset));
        Ok(())
    }

    /// Reads a segment, and takes its keys in.
    pub(super) fn scan(&self, member: &mut Member, sieve: &mut Sieve<'_>, pace: &mut Pace<'_>) -> pace::Result<()> {
        let mut found = Scanned::default();
        let mut scratch = Vec::new();
        let mut deleted = self.deleted.next_deleted(member.base);
        found.is_whole = self.frames(member, pace, |frame| {
            if frame.header.kind != FrameKind::Records {
                return Ok(());
            }
            absent_in(frame, &self.deleted, &mut scratch, &mut found.absent);
            let malformed = |what: String| Error::Damaged { path: "".into(), position: frame.header.position, what };
            for record in frame.records(&mut scratch).map_err(|why| malformed(why.to_string()))? {
                let record = record.map_err(|why| malformed(why.to_string()))?;
                let offset = record.offset;
                found.records += 1;
                while deleted.is_some_and(|deleted| deleted < offset) {
                    deleted = self.deleted.next_deleted(offset);
                }
                if offset < self.start || deleted == Some(offset) {
                    found.gone += 1;
                    continue;
                }
                let Some(key) = record.key() else { continue };
                sieve.add(key, offset)?;
                if record.null {
                    let ms = record.id.ms;
                    if self.null_due_ms(ms) <= self.reference_ms {
                        found.nulls_due += 1;
                    } else {
                        found.oldest_null_ms = Some(found.oldest_null_ms.map_or(ms, |before| before.min(ms)));
                    }
                }
            }
            Ok(())
        })?;
        found.is_whole &= member.header.is_some();
        member.found = found;
        Ok(())
    }
}

/// The deleted offsets that a frame covers and holds no record at.
fn absent_in(frame: &Frame<'_>, deleted: &Deleted, scratch: &mut Vec<u8>, out: &mut Vec<Offset>) {
    let header = &frame.header;
    let next = |from: Offset| deleted.next_deleted(from).filter(|offset| *offset < header.end());
    if header.kind != FrameKind::Records || header.count == header.span || next(header.base).is_none() {
        return;
    }
    // What cannot be read is left alone.
    let Ok(records) = frame.records(scratch) else { return };
    let Ok(there) = records.map(|record| record.map(|record| record.offset)).collect::<std::result::Result<Vec<_>, _>>() else {
        return;
    };
    let mut at = next(header.base);
    while let Some(offset) = at {
        if there.binary_search(&offset).is_err() {
            out.push(offset);
        }
        at = next(offset.plus(1));
    }
}
