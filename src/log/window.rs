//! The bytes of one segment, as a reader moves through them: from a map where the stretch is long, by
//! positioned reads where it is short. Each frame is copied before it is verified: a file that is cut
//! or written over while its records are printed must not change what was found to be good.

use super::segment::Segment;
use super::step::{GapReason, LogGap};
use super::walk::{Found, Walk};
use crate::codec::FrameHeader;
use crate::codec::frame::{self, HEADER_BYTES as FRAME_HEADER_BYTES, Parsed};
use crate::codec::segment::HEADER_BYTES;
use crate::disk::Map;
use crate::error::Result;
use crate::ids::Offset;

/// From here on a map is cheaper than positioned reads: it saves calls and costs page faults.
const MAP_MIN: u64 = 1 << 20;
/// What one positioned read asks for: a follower's frames are small and come a few at a time. Who goes
/// on reading gets twice as much with each read.
const READ_BYTES: u64 = 64 << 10;
const READ_BYTES_MAX: u64 = 1 << 20;
/// Who has read so much in a row reads on from a map.
const MAP_AFTER: u64 = 2 << 20;
/// Who has read so much here and there does too, without having more brought in than he looks at.
const MAP_AFTER_IN_ALL: u64 = 32 << 20;
/// He maps anew what has grown by so much: until then he reads the rest.
const MAP_STEP: u64 = 32 << 20;
/// So much of a map is brought in ahead of the reader at a time.
const POPULATE_BYTES: usize = 4 << 20;

/// A place in a segment, and the bytes around it.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) segment: Segment,
    /// Where the next frame begins.
    pub(super) position: u64,
    /// Its base offset.
    pub(super) expected: Offset,
    pub(super) limit: Option<u64>,
    map: Option<Map>,
    populated: usize,
    /// The segment is at least so long, as far as it is part of the log.
    known_end: u64,
    /// Bytes read since the reader came to this place.
    in_a_row: u64,
    /// Bytes read, whatever they were read from.
    in_all: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Bytes of frames at or above this offset may not have been final when they were read.
    buffer_until: Offset,
    /// The frame in the buffer that was verified last.
    checked: Option<FrameHeader>,
    /// Where the unreadable rest of the segment begins, and why.
    pub(super) bad: Option<(u64, &'static str)>,
}

pub(super) enum Look {
    Frame(FrameHeader),
    Bad(&'static str),
    End,
}

impl Window {
    /// Begins at the segment's first frame; what lies at or behind `limit` is not part of the log.
    pub(super) fn new(segment: Segment, limit: Option<u64>) -> Window {
        Window {
            position: HEADER_BYTES as u64,
            expected: segment.base,
            segment,
            limit,
            map: None,
            populated: 0,
            known_end: 0,
            in_a_row: 0,
            in_all: 0,
            buffer: Vec::new(),
            buffer_at: 0,
            buffer_until: Offset::ZERO,
            checked: None,
            bad: None,
        }
    }

    /// Goes to another frame of the segment, or where one should be.
    pub(super) fn go_to(&mut self, position: u64, expected: Offset) {
        (self.position, self.expected) = (position, expected);
        self.bad = None;
        self.in_a_row = 0;
        self.populated = 0;
    }

    /// Goes back to the segment's first frame.
    pub(super) fn rewind(&mut self) {
        self.go_to(HEADER_BYTES as u64, self.segment.base);
    }

    pub(super) fn end(&self) -> Result<u64> {
        let length = self.segment.file.length()?;
        Ok(self.limit.map_or(length, |limit| limit.min(length)))
    }

    pub(super) fn gap(&self, from: Offset, until: Offset, position: u64, what: String) -> LogGap {
        let path = self.segment.file.path().to_owned();
        LogGap { from, until, reason: GapReason::Damaged { path, position, what } }
    }

    /// Verifies the frame at the current position.
    pub(super) fn look(&mut self, until: Offset) -> Result<Look> {
        let (salt, position) = (self.segment.salt, self.position);
        if self.limit.is_some_and(|limit| position >= limit) {
            return Ok(Look::End);
        }
        // A frame that is handed out in pieces is verified once.
        if let Some(header) = self.checked
            && header.position == position
            && self.expected < self.buffer_until
        {
            return Ok(Look::Frame(header));
        }
        let mut need = FRAME_HEADER_BYTES as u64;
        loop {
            let bytes = self.bytes(position, need, until)?;
            if bytes.is_empty() {
                return Ok(Look::End);
            }
            match frame::parse(bytes, salt, position) {
                Parsed::Frame(frame) => {
                    let header = frame.header;
                    self.checked = Some(header);
                    return Ok(Look::Frame(header));
                }
                Parsed::Incomplete(whole) if whole as u64 > need && bytes.len() >= FRAME_HEADER_BYTES => need = whole as u64,
                Parsed::Incomplete(_) => return Ok(Look::Bad("a frame is cut off")),
                Parsed::Bad(why) => return Ok(Look::Bad(why)),
            }
        }
    }

    /// The bytes from `position` on: at least `need` of them, unless the segment ends before.
    pub(super) fn bytes(&mut self, position: u64, need: u64, until: Offset) -> Result<&[u8]> {
        let held = self.buffer_at + self.buffer.len() as u64;
        let is_final = self.expected < self.buffer_until;
        if is_final && position >= self.buffer_at && position + need <= held {
            return Ok(&self.buffer[(position - self.buffer_at) as usize..]);
        }
        if !self.is_mapped(position, need)? {
            let ahead = self.in_a_row.clamp(READ_BYTES, READ_BYTES_MAX);
            if position + need.max(ahead) > self.known_end {
                self.known_end = self.end()?;
            }
            return self.read(position, need, self.known_end, until);
        }
        let map = self.map.as_ref().expect("mapped before, or just now");
        let at = position as usize;
        // The header tells how long the frame is: one copy, of all of it.
        let whole = frame::claimed(&map[at..], position)
            .map_or(0, |header| header.length as usize)
            .max(need as usize)
            .min(map.len() - at);
        if self.in_a_row >= MAP_AFTER && at + whole > self.populated {
            let ahead = POPULATE_BYTES.max(whole);
            map.populate(at, ahead);
            self.populated = at + ahead;
        }
        self.checked = None;
        self.buffer.clear();
        self.buffer.extend_from_slice(&map[at..at + whole]);
        (self.buffer_at, self.buffer_until) = (position, until);
        Ok(&self.buffer)
    }

    /// Whether there is a map that holds these bytes; it is made where it pays.
    fn is_mapped(&mut self, position: u64, need: u64) -> Result<bool> {
        let mapped = self.map.as_ref().map_or(0, |map| map.len() as u64);
        let least = if self.in_a_row >= MAP_AFTER { MAP_MIN.max(need) } else { MAP_STEP };
        if position + need <= mapped {
            return Ok(self.in_a_row >= MAP_AFTER || self.in_all >= MAP_AFTER_IN_ALL);
        }
        if self.in_a_row < MAP_AFTER && self.in_all < MAP_AFTER_IN_ALL {
            return Ok(false);
        }
        let end = self.end()?;
        let is_worth_it = end.saturating_sub(position.max(mapped)) >= least && position + need <= end;
        if is_worth_it {
            self.map = Some(Map::new(&self.segment.file, end)?);
            self.populated = 0;
        }
        Ok(is_worth_it)
    }

    /// The bytes of a frame that [`Window::look`] has just verified.
    pub(super) fn verified(&self, position: u64, length: u64) -> Option<&[u8]> {
        let at = usize::try_from(position.checked_sub(self.buffer_at)?).ok()?;
        self.buffer.get(at..at + usize::try_from(length).ok()?)
    }

    fn read(&mut self, position: u64, need: u64, end: u64, until: Offset) -> Result<&[u8]> {
        let ahead = self.in_a_row.clamp(READ_BYTES, READ_BYTES_MAX);
        let length = need.max(ahead).min(end.saturating_sub(position));
        self.checked = None;
        self.buffer.resize(usize::try_from(length).expect("a frame fits into memory"), 0);
        let n = self.segment.file.read_at(&mut self.buffer, position)?;
        self.buffer.truncate(n);
        self.in_a_row += n as u64;
        self.in_all += n as u64;
        (self.buffer_at, self.buffer_until) = (position, until);
        Ok(&self.buffer)
    }

    /// Whether a frame with this base offset lies there.
    pub(super) fn is_frame(&mut self, position: u64, base: Offset) -> Result<bool> {
        let before = (self.position, self.expected);
        if position < HEADER_BYTES as u64 || position >= self.end()? {
            return Ok(false);
        }
        (self.position, self.expected) = (position, base);
        let found = matches!(self.look(Offset::ZERO)?, Look::Frame(header) if header.base == base);
        (self.position, self.expected) = before;
        Ok(found)
    }

    /// The next whole frame behind bad bytes that does not go back, and its base offset.
    pub(super) fn resume(&mut self) -> Result<Option<(u64, Offset)>> {
        let end = self.end()?;
        if self.position + 1 >= end {
            return Ok(None);
        }
        self.checked = None;
        self.buffer.clear();
        let map = Map::new(&self.segment.file, end)?;
        let mut walk = Walk::new(&map, self.segment.salt, self.position, self.expected);
        Ok(match walk.step() {
            Found::Bad { next, .. } => next,
            // It reads well now: it was being looked at through bytes that were not final.
            Found::Frame(frame) => Some((self.position, frame.header.base)),
            Found::End => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{make, open};
    use super::*;
    use crate::codec::BatchBuilder;
    use crate::codec::batch::BatchIds;
    use crate::codec::frame::Packed;
    use crate::config::Compression;
    use crate::disk::Access;
    use crate::job::Job;
    use crate::log::Log;

    /// So many frames are longer than what is mapped at least.
    const FRAMES: u64 = 400;
    static VALUE: [u8; 100_000] = [b'x'; 100_000];

    fn publish(log: &Log, frames: u64) {
        let mut batch = BatchBuilder::new();
        batch.push_value(&VALUE);
        for _ in 0..frames {
            let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
            log.append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appended");
        }
    }

    fn walk(window: &mut Window, until: Offset) -> Vec<(u64, Offset)> {
        let mut frames = Vec::new();
        while let Look::Frame(header) = window.look(until).expect("read") {
            frames.push((header.position, header.base));
            (window.position, window.expected) = (header.position + u64::from(header.length), header.end());
        }
        frames
    }

    fn window(log: &Log) -> Window {
        Window::new(Segment::open(&log.dir, Offset::ZERO, Access::Read, || Ok(None)).expect("opens"), None)
    }

    #[test]
    fn who_reads_here_and_there_for_long_reads_from_a_map_and_what_came_after_it_too() {
        let place = tempfile::tempdir().expect("a directory");
        let log = open(&make(place.path()));
        publish(&log, FRAMES);
        let frames = walk(&mut window(&log), log.log_end());
        let mut reader = window(&log);
        let look_at = |reader: &mut Window, (position, base): (u64, Offset)| {
            reader.go_to(position, base);
            let found = reader.look(log.log_end()).expect("read");
            assert!(matches!(found, Look::Frame(header) if (header.position, header.base) == (position, base)));
        };
        for turn in 0..2 * MAP_AFTER_IN_ALL / READ_BYTES {
            assert!(reader.map.is_none() || reader.in_all >= MAP_AFTER_IN_ALL);
            look_at(&mut reader, frames[turn as usize * 7919 % frames.len()]);
        }
        let mapped = reader.map.as_ref().expect("a map by now").len();
        // Little more is read, much more is mapped.
        publish(&log, 2);
        let added = walk(&mut window(&log), log.log_end());
        look_at(&mut reader, *added.last().expect("frames"));
        assert_eq!(reader.map.as_ref().map(|map| map.len()), Some(mapped));
        look_at(&mut reader, frames[0]);
    }
}
