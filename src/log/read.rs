//! Reading: from frame to frame, across segments, over gaps that are told.
//!
//! Long stretches are read from a map, short ones (a follower's) by positioned reads. Both go through
//! the checksum. A reader keeps no lock; when the set of segments or the epoch changes under it, it
//! finds its place anew.

use std::collections::BTreeMap;

use super::index_cache::IndexCache;
use super::inspect::ends_at;
use super::opened::OpenedFrame;
use super::segment::{self, Segment};
use super::step::{GapReason, LogGap, Step};
use super::window::{Look, Window};
use super::{Log, State};
use crate::codec::frame;
use crate::codec::segment::file_name;
use crate::codec::{Frame, FrameKind, SegmentHeader};
use crate::disk::Access;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place, RecordId};

/// Over so many deleted records in a row the way is looked up in the index, if it leads further than
/// the frame in hand: looking costs about as much as walking over them.
const FAR: u64 = 4096;

/// A place in a log, moving forward.
#[derive(Debug)]
pub struct LogReader {
    next: Offset,
    epoch: Epoch,
    generation: Option<u64>,
    pub(super) set: Vec<Offset>,
    current: Option<Window>,
    /// The place is ahead of `current`, perhaps by far.
    is_ahead: bool,
    /// The place is before where `current` stands.
    is_back: bool,
    /// The two frames that were looked at last, the very last one first: position and base offset.
    last: [Option<(u64, Offset)>; 2],
    /// The last ID before each segment of the set, as far as it was asked for.
    pub(super) ids_before: BTreeMap<Offset, Option<RecordId>>,
    pub(super) index: IndexCache,
    all_frames: bool,
    /// The frame of which a part was handed out.
    opened: Option<OpenedFrame>,
}

/// What the next step is, without borrowing the bytes yet.
enum Advance {
    Frame { position: u64, length: u64, from: Offset, until: Offset },
    Gap(LogGap),
    CaughtUp,
    Again,
}

impl LogReader {
    /// A reader that begins at `from`, an offset of `epoch`.
    #[must_use]
    pub fn new(from: Offset, epoch: Epoch) -> LogReader {
        LogReader {
            next: from,
            epoch,
            generation: None,
            set: Vec::new(),
            current: None,
            is_ahead: false,
            is_back: false,
            last: [None; 2],
            ids_before: BTreeMap::new(),
            index: IndexCache::default(),
            all_frames: false,
            opened: None,
        }
    }

    /// A reader that is handed control frames and holes too.
    pub(super) fn of_all_frames(from: Offset, epoch: Epoch) -> LogReader {
        LogReader { all_frames: true, ..LogReader::new(from, epoch) }
    }

    /// The place of the next record.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place_at(self.next)
    }

    /// An offset that this reader has come to, in the epoch in which it reads.
    #[must_use]
    pub fn place_at(&self, offset: Offset) -> Place {
        Place { offset, epoch: self.epoch }
    }

    /// Goes elsewhere. Within a segment that costs little: it stays open.
    pub fn seek(&mut self, from: Offset) {
        self.is_back |= self.current.as_ref().is_some_and(|current| from < current.expected);
        self.is_ahead |= from > self.next;
        self.next = from;
    }

    /// Goes to a place that was made in the current epoch of the log.
    pub fn go_to(&mut self, place: Place) {
        if place.epoch == self.epoch {
            self.seek(place.offset);
        } else {
            *self = LogReader::new(place.offset, place.epoch);
        }
    }

    /// Reads on, up to `until` (exclusive), which must not be beyond what may be seen.
    pub fn step(&mut self, log: &Log, until: Offset) -> Result<Step<'_>> {
        let (position, length, from, until) = loop {
            match self.advance(log, until)? {
                Advance::Frame { position, length, from, until } => break (position, length, from, until),
                Advance::Gap(gap) => return Ok(Step::Gap(gap)),
                Advance::CaughtUp => return Ok(Step::CaughtUp),
                Advance::Again => {}
            }
        };
        let LogReader { current, opened, .. } = self;
        let current = current.as_ref().expect("advance found a frame in it");
        let Some(frame) = current.verified(position, length).and_then(|bytes| frame::verified(bytes, position)) else {
            let what = "the frame changed while it was read".to_owned();
            return Err(Error::Damaged { path: log.path().to_owned(), position, what });
        };
        if frame.header.kind != FrameKind::Records || (from <= frame.header.base && until >= frame.header.end()) {
            return Ok(Step::Frame { frame, from, until });
        }
        *opened = OpenedFrame::go_to(opened.take(), current.segment.salt, &frame, from);
        let frame = match opened {
            Some(opened) => opened.apply(frame),
            None => frame,
        };
        Ok(Step::Frame { frame, from, until })
    }

    /// The frame that the last step handed out, at `position`, as long as no other step was made.
    pub fn again(&self, position: u64, length: u32) -> Option<Frame<'_>> {
        let current = self.current.as_ref()?;
        let frame = frame::verified(current.verified(position, u64::from(length))?, position)?;
        Some(match &self.opened {
            Some(opened) if opened.is_at(current.segment.salt, position) => opened.apply(frame),
            _ => frame,
        })
    }

    fn advance(&mut self, log: &Log, until: Offset) -> Result<Advance> {
        if let Some(rewound) = self.follow_epoch(log)? {
            return Ok(Advance::Gap(rewound));
        }
        let start = log.log_start();
        if self.next < start && !self.all_frames {
            let gap = LogGap { from: self.next, until: start, reason: GapReason::Expired };
            self.seek(start);
            return Ok(Advance::Gap(gap));
        }
        // A page that says an earlier epoch is an old copy: what it says is soon made good.
        if self.next >= until || log.epoch() < self.epoch {
            return Ok(Advance::CaughtUp);
        }
        let mut stop = until;
        if !self.all_frames
            && let Some(deleted) = log.deletions()?
        {
            if deleted.epoch() != self.epoch {
                return Ok(Advance::Again);
            }
            let from = self.next;
            let live = deleted.next_live(from).min(until);
            if live > from {
                if live.since(from) >= FAR {
                    self.seek(live)
                } else {
                    self.next = live
                }
                return Ok(Advance::Gap(LogGap { from, until: live, reason: GapReason::Deleted }));
            }
            stop = deleted.next_deleted(from).map_or(until, |deleted| deleted.min(until));
        }
        self.refresh(log)?;
        if std::mem::take(&mut self.is_back) {
            self.turn_back(log)?;
        }
        if self.current.is_none() {
            match self.locate(log, self.next)? {
                Ok(current) => (self.current, self.is_ahead) = (Some(current), false),
                // Removed since the log start was read.
                Err(_) if self.next < log.log_start() && !self.all_frames => return Ok(Advance::Again),
                Err(gap) => return Ok(self.pass(gap, until)),
            }
        }
        self.frame_at(log, until, stop)
    }

    /// Hands out what there is up to `until`, records up to `stop`.
    fn frame_at(&mut self, log: &Log, until: Offset, stop: Offset) -> Result<Advance> {
        let current = self.current.as_mut().expect("the caller located it");
        let (position, expected) = (current.position, current.expected);
        let header = match current.look(until)? {
            Look::Frame(header) if header.base == expected => header,
            Look::Frame(header) if header.base > expected => {
                current.expected = header.base;
                let gap = current.gap(expected, header.base, position, "frames are missing before this place".to_owned());
                return Ok(self.pass(gap, until));
            }
            Look::Frame(_) => return self.over_bad_bytes(log, "a frame of offsets that were passed already", until),
            Look::Bad(why) => return self.over_bad_bytes(log, why, until),
            Look::End => return self.next_segment(log, until),
        };
        if self.last[0] != Some((position, header.base)) {
            self.last = [Some((position, header.base)), self.last[0]];
        }
        let (from, end, length) = (self.next, header.end(), u64::from(header.length));
        let until = if header.kind == FrameKind::Records { stop } else { until };
        if end <= until {
            current.position += length;
            current.expected = end;
        }
        if self.all_frames {
            self.next = end.max(from);
            return Ok(Advance::Frame { position, length, from, until });
        }
        let is_ahead = std::mem::take(&mut self.is_ahead);
        match header.kind {
            _ if end <= from => {
                if is_ahead {
                    self.approach(log)?;
                }
                Ok(Advance::Again)
            }
            FrameKind::Records => {
                self.next = end.min(until);
                Ok(Advance::Frame { position, length, from, until })
            }
            FrameKind::Hole => {
                self.next = end.min(until);
                Ok(Advance::Gap(LogGap { from, until: self.next, reason: GapReason::GivenUp }))
            }
            FrameKind::Mark | FrameKind::LogStart | FrameKind::Counters => Ok(Advance::Again),
        }
    }

    /// Tells a gap, as far as it concerns offsets that were not handed out yet.
    fn pass(&mut self, gap: LogGap, until: Offset) -> Advance {
        let (from, end) = (gap.from.max(self.next), gap.until.min(until));
        if from >= end {
            return Advance::Again;
        }
        self.next = end;
        if end < gap.until {
            // More of it will be told when it may be seen.
            self.current = None;
        }
        Advance::Gap(LogGap { from, until: end, ..gap })
    }

    /// Passes bytes that are not the frame they should be.
    fn over_bad_bytes(&mut self, log: &Log, why: &'static str, until: Offset) -> Result<Advance> {
        let current = self.current.as_mut().expect("the caller located it");
        let (position, expected) = (current.position, current.expected);
        match current.resume()? {
            Some((found, base)) => {
                current.position = found;
                current.expected = base;
                let gap = current.gap(expected, base, position, why.to_owned());
                Ok(self.pass(gap, until))
            }
            None => {
                current.position = current.end()?;
                current.bad = Some((position, why));
                self.next_segment(log, until)
            }
        }
    }

    /// The current segment ends here: goes on to the next, or tells that there should be more.
    fn next_segment(&mut self, log: &Log, until: Offset) -> Result<Advance> {
        let current = self.current.as_ref().expect("the caller located it");
        let (base, expected) = (current.segment.base, current.expected);
        let (bad_position, why) = current.bad.unwrap_or((current.position, "the segment ends early"));
        let after = self.set.partition_point(|b| *b <= base);
        let epoch = current.segment.header.as_ref().map_or(Epoch::default(), |header| header.epoch);
        for &successor in &self.set[after..] {
            let header = segment::header_of(&log.dir, successor)?;
            // Of an earlier epoch, or within what was passed: what a repair has superseded. Or foreign.
            let is_other = |header: SegmentHeader| header.epoch < epoch || header.incarnation != log.incarnation();
            if successor < expected || header.is_some_and(is_other) {
                continue;
            }
            if successor == expected {
                self.current = match self.open_segment(log, successor) {
                    Err(error) if error.is_not_found() => {
                        self.set = segment::list(&log.dir)?;
                        None
                    }
                    Err(Error::Damaged { .. }) => {
                        // Looked for anew, it is told as a gap.
                        self.next = self.next.max(expected);
                        None
                    }
                    other => Some(other?),
                };
                return Ok(Advance::Again);
            }
            let gap = current.gap(expected, successor, bad_position, why.to_owned());
            self.current = None;
            return Ok(self.pass_to(gap, until));
        }
        // The log goes on, but no file does.
        let gap = current.gap(expected, until, bad_position, why.to_owned());
        self.current = None;
        Ok(self.pass_to(gap, until))
    }

    fn pass_to(&mut self, gap: LogGap, until: Offset) -> Advance {
        let beyond = gap.until;
        let advance = self.pass(gap, until);
        if let Advance::Again = advance {
            self.next = self.next.max(beyond.min(until));
        }
        advance
    }

    /// An epoch that began below this reader's place takes it back.
    fn follow_epoch(&mut self, log: &Log) -> Result<Option<LogGap>> {
        let epoch = log.epoch();
        if epoch <= self.epoch {
            return Ok(None);
        }
        let clamped = log.clamp(self.place())?;
        let before = self.next;
        self.epoch = epoch;
        self.current = None;
        self.next = clamped;
        Ok((clamped < before).then_some(LogGap { from: clamped, until: before, reason: GapReason::Rewound }))
    }

    /// Notices that segments came or went.
    pub(super) fn refresh(&mut self, log: &Log) -> Result<()> {
        let generation = log.live().map_or(0, super::Head::set_generation);
        if self.generation == Some(generation) {
            return Ok(());
        }
        self.set = segment::list(&log.dir)?;
        self.generation = Some(generation);
        self.ids_before.clear();
        self.index = IndexCache::default();
        if let Some(current) = &mut self.current {
            let name = file_name(current.segment.base);
            let meta = log.dir.stat(name.as_bytes())?;
            if meta.is_some_and(|meta| meta.inode == current.segment.file.inode()) {
                current.limit = limit_of(log, &self.set, &current.segment)?;
            } else {
                self.current = None;
            }
        }
        Ok(())
    }

    /// Finds the frame that holds `offset`.
    fn locate(&mut self, log: &Log, offset: Offset) -> Result<Result<Window, LogGap>> {
        let mut current = loop {
            let count = self.count_until(log, offset)?;
            let Some(&base) = self.set[..count].last() else {
                let until = self.set.first().copied().unwrap_or(Offset(u64::MAX));
                let path = log.path().join(file_name(offset));
                let reason = GapReason::Damaged { path, position: 0, what: "the segment is missing".to_owned() };
                return Ok(Err(LogGap { from: offset, until, reason }));
            };
            match self.open_segment(log, base) {
                Ok(current) if current.segment.header.as_ref().is_ok_and(|header| header.incarnation != log.incarnation()) => {
                    // A file of another topic, or of an earlier life of this one.
                    self.set.retain(|other| *other != base);
                }
                Ok(current) => break current,
                Err(Error::Damaged { path, position, what }) => {
                    let until = self.set.get(count).copied().unwrap_or(Offset(u64::MAX));
                    let reason = GapReason::Damaged { path, position, what };
                    return Ok(Err(LogGap { from: offset, until, reason }));
                }
                // Trimmed, or moved aside by a repair, since they were listed.
                Err(error) if error.is_not_found() => {
                    self.set = segment::list(&log.dir)?;
                    if self.set.contains(&base) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        self.index.skip_towards(log, &mut current, offset)?;
        self.last = [None; 2];
        Ok(Ok(current))
    }

    /// Goes back to a place before the one where the current segment was read to.
    fn turn_back(&mut self, log: &Log) -> Result<()> {
        let count = self.count_until(log, self.next)?;
        let is_here = |window: &Window| self.set[..count].last() == Some(&window.segment.base);
        let Some(mut window) = self.current.take().filter(is_here) else { return Ok(()) };
        // Mostly the place is in one of the frames that were looked at last.
        let is_near =
            |(position, base): &(u64, Offset)| *base <= self.next && *base >= window.segment.base && *position < window.position;
        match self.last.into_iter().flatten().find(is_near) {
            Some((position, base)) => window.go_to(position, base),
            None => {
                window.rewind();
                self.index.skip_towards(log, &mut window, self.next)?;
            }
        }
        self.is_ahead = false;
        self.current = Some(window);
        Ok(())
    }

    /// Leaves out what lies between the current frame and the place, as far as the index tells.
    fn approach(&mut self, log: &Log) -> Result<()> {
        let count = self.count_until(log, self.next)?;
        match &mut self.current {
            Some(current) if self.set[..count].last() == Some(&current.segment.base) => {
                self.index.skip_towards(log, current, self.next)
            }
            _ => {
                self.current = None;
                Ok(())
            }
        }
    }

    /// How many segments begin at or below `offset`.
    fn count_until(&self, log: &Log, offset: Offset) -> Result<usize> {
        let count = self.set.partition_point(|base| *base <= offset);
        if count >= 2 {
            // A segment of an epoch that a recovery ended is no longer part of the log.
            let epoch = |index: usize| segment::header_of(&log.dir, self.set[index]);
            if let (Some(own), Some(before)) = (epoch(count - 1)?, epoch(count - 2)?)
                && own.incarnation == before.incarnation
                && own.epoch < before.epoch
            {
                return Ok(count - 1);
            }
        }
        Ok(count)
    }

    fn open_segment(&self, log: &Log, base: Offset) -> Result<Window> {
        let spare_salt = || spare_salt(log, &self.set, base);
        let segment = Segment::open(&log.dir, base, Access::Read, spare_salt)?;
        let limit = limit_of(log, &self.set, &segment)?;
        Ok(Window::new(segment, limit))
    }

    /// Where in its segment the frame that begins at `offset` lies.
    pub(super) fn position_of(&mut self, log: &Log, offset: Offset) -> Result<u64> {
        self.set = segment::list(&log.dir)?;
        let until = log.log_end();
        let mut current = match self.locate(log, offset)? {
            Ok(current) => current,
            Err(gap) => return Err(gap.into_error(log)),
        };
        loop {
            match current.look(until)? {
                Look::Frame(header) if header.base < offset => {
                    current.position += u64::from(header.length);
                    current.expected = header.end();
                }
                Look::Bad(_) if current.expected < offset => match current.resume()? {
                    Some((position, base)) => (current.position, current.expected) = (position, base),
                    None => return Ok(current.position),
                },
                Look::Frame(_) | Look::Bad(_) | Look::End => return Ok(current.position),
            }
        }
    }
}

/// The salt of a segment whose header is damaged: its successor and the page know it too.
fn spare_salt(log: &Log, set: &[Offset], base: Offset) -> Result<Option<u32>> {
    if let Some(previous) = previous_of_successor(log, set, base)? {
        return Ok(Some(previous.salt));
    }
    Ok(log.active_salt(base))
}

/// Where a segment ends, if its successor says so: what lies behind is not part of the log.
fn limit_of(log: &Log, set: &[Offset], segment: &Segment) -> Result<Option<u64>> {
    if let State::Walked(survey) = &log.state
        && let Some((last, end_position)) = survey.last_segment()
        && last == segment.base
    {
        return Ok(Some(end_position));
    }
    Ok(ends_at(segment, previous_of_successor(log, set, segment.base)?))
}

fn previous_of_successor(log: &Log, set: &[Offset], base: Offset) -> Result<Option<crate::codec::segment::Previous>> {
    let Some(&successor) = set.get(set.partition_point(|b| *b <= base)) else { return Ok(None) };
    let header = segment::header_of(&log.dir, successor)?;
    Ok(header.and_then(|header| header.previous).filter(|previous| previous.base == base))
}
