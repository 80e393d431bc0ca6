//! What is in the files of a log, when nobody can be asked. Changes nothing.
//!
//! The walk begins at the segment that holds the best known durable offset: what lies before was
//! promised, so its loss would be damage, and reading reports that by itself. At the first frame
//! that does not check out, evidence decides: if anything valid says that the durable offset was
//! beyond it, the bytes had been stored and are damaged, and later frames stay in force; if not,
//! nobody was promised them, and the log ends there.

use super::head::Head;
use super::index::{self, IndexEntry};
use super::inspect::ends_at;
use super::open::Opening;
use super::origins::origins_in;
use super::segment::{self, Segment};
use super::walk::{Found, Walk};
use crate::codec::frame::{self, Parsed};
use crate::codec::segment::{HEADER_BYTES, Previous, file_name};
use crate::codec::{Frame, FrameKind, Origins, SegmentHeader};
use crate::disk::{Access, BootId, Dir, Map};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TimestampMs};

/// What the files of a log say.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) incarnation: Incarnation,
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    /// The highest durable offset that anything says; may be beyond `end`'s frames, not beyond `end`.
    pub(super) durable: Offset,
    pub(super) epoch: Epoch,
    pub(super) last_id: RecordId,
    last_frame: Option<Place>,
    pub(super) entries_added: u64,
    pub(super) origins: Origins,
    /// The last segment in force; none in an empty directory.
    pub(super) last: Option<LastSegment>,
    /// Segments that are not part of the log any more.
    pub(super) dropped: Vec<Offset>,
    /// Bytes behind the end.
    pub(super) torn_bytes: u64,
    /// Damaged places that reading will report.
    pub(super) damaged: u64,
    /// The last segment was made in this boot, so nothing can have been lost by a power cut.
    pub(super) same_boot: bool,
    /// The index of the last segment.
    pub(super) index: Vec<IndexEntry>,
}

#[derive(Clone, Debug)]
pub(super) struct LastSegment {
    pub(super) base: Offset,
    pub(super) salt: u32,
    pub(super) created: TimestampMs,
    pub(super) epoch_start: Offset,
    pub(super) previous: Option<Previous>,
    pub(super) end_position: u64,
    /// Whether appending can go on at `end_position`.
    pub(super) is_clean: bool,
}

/// What is known before looking at the segments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint {
    incarnation: Option<Incarnation>,
    durable: Offset,
    /// What had been written, if that was in this boot: a process that dies loses none of it.
    written: Offset,
    log_start: Offset,
    epoch: Epoch,
    active: Option<(Offset, u32)>,
}

impl Hint {
    /// What a page that is not believed is still good for: its durable offset and log start only
    /// ever rise, so even stale they are lower bounds, for the same life of the topic.
    pub(super) fn of(head: &Head, boot: BootId) -> Hint {
        let slot = head.sound_slot();
        let written = slot.map_or(Offset::ZERO, |slot| slot.log_end);
        Hint {
            // A page that was just made knows of no life.
            incarnation: Some(head.incarnation()).filter(|life| life.0 != [0; 16]),
            durable: head.durable_at_least(),
            written: if head.is_of_boot(boot) { written } else { Offset::ZERO },
            log_start: head.log_start_at_least(),
            epoch: head.epoch(),
            active: slot.map(|slot| (slot.active_base, slot.active_salt)),
        }
    }
}

/// How far the walk has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    end: Offset,
    last_id: RecordId,
    /// Where the last frame with records lies, whose last ID has not been looked up yet.
    last_frame: Option<Place>,
    /// How many records had been added at an offset: each offset from there on is one more, also one
    /// whose record is damaged.
    added: (Offset, u64),
    log_start: Offset,
}

impl Progress {
    fn entries_added(&self) -> u64 {
        self.added.1 + self.end.since(self.added.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    segment: Offset,
    salt: u32,
    position: u64,
    length: u32,
}

/// A place where the walk met something else than the expected frame.
#[derive(Clone, Debug)]
struct Break {
    at: Progress,
    /// Index of the segment, and where in it the good bytes end.
    segment: usize,
    position: u64,
    /// Valid frames follow.
    bridged: bool,
}

/// Looks at the files of a log. Changes nothing.
pub(super) fn survey(dir: &Dir, hint: Hint) -> Result<Survey> {
    let bases = segment::list(dir)?;
    let mut walk = SurveyWalk::begin(dir, &bases, hint)?;
    for (index, &base) in bases.iter().enumerate().skip(walk.first) {
        walk.segment(dir, &bases, index, base)?;
    }
    let mut survey = walk.conclude(&bases);
    if let Some(place) = survey.last_frame.take() {
        survey.last_id = survey.last_id.max(read_last_id(dir, place)?);
    }
    Ok(survey)
}

/// Without a page nothing tells which of two lives is the topic's: that is for a person to say.
fn check_is_one_life(dir: &Dir, bases: &[Offset]) -> Result<()> {
    let mut first: Option<(Offset, Incarnation)> = None;
    for base in bases {
        let Some(header) = segment::header_of(dir, *base)? else { continue };
        let (own, incarnation) = *first.get_or_insert((*base, header.incarnation));
        if header.incarnation != incarnation {
            let why = format!(
                "{} and {} are of different topics, or of different lives of this one; move away what does not belong here",
                file_name(own),
                file_name(*base)
            );
            return Err(Error::StoreUnusable { path: dir.path().to_owned(), why });
        }
    }
    Ok(())
}

#[derive(Debug)]
struct SurveyWalk {
    hint: Hint,
    first: usize,
    same_boot: bool,
    incarnation: Option<Incarnation>,
    evidence: Offset,
    epoch: Epoch,
    progress: Progress,
    origins: Origins,
    breaks: Vec<Break>,
    /// Segments in force, in order: index in `bases`, and the segment as the last one.
    visited: Vec<(usize, LastSegment, u64)>,
    dropped: Vec<Offset>,
    index: Vec<IndexEntry>,
}

impl SurveyWalk {
    fn begin(dir: &Dir, bases: &[Offset], hint: Hint) -> Result<SurveyWalk> {
        let mut last_header = None;
        for base in bases.iter().rev() {
            last_header = segment::header_of(dir, *base)?;
            if last_header.is_some() {
                break;
            }
        }
        if hint.incarnation.is_none() {
            check_is_one_life(dir, bases)?;
        }
        let incarnation = match &last_header {
            Some(header) => Some(header.incarnation),
            // Without any segment the page alone tells that there were some.
            None => hint.incarnation.filter(|_| hint.durable.max(hint.written) > Offset::ZERO),
        };
        // A page of another topic, or of an earlier life of this one, tells nothing.
        let hint = if hint.incarnation.is_some() && hint.incarnation == incarnation { hint } else { Hint::default() };
        let evidence = hint.durable.max(last_header.as_ref().map_or(Offset::ZERO, |header| header.durable));
        // All of a log whose last segment was begun in this boot is as it was written: only a power
        // cut loses what a process had written. So the last segment alone is walked.
        let same_boot = last_header.as_ref().is_some_and(|header| header.boot == dir.boot().0);
        let from = if same_boot { last_header.as_ref().map_or(Offset::ZERO, |header| header.base) } else { evidence };
        let mut first = bases.partition_point(|base| *base <= from).saturating_sub(1);
        // A header that cannot be read does not tell the epoch and the last ID before it, nor where
        // the predecessor ends.
        while first > 0 && segment::header_of(dir, bases[first])?.is_none() {
            first -= 1;
        }
        let start = bases.get(first).copied().unwrap_or_default();
        Ok(SurveyWalk {
            hint,
            first,
            same_boot,
            incarnation,
            evidence,
            epoch: if last_header.is_some() { Epoch::default() } else { hint.epoch },
            progress: Progress {
                end: start,
                last_id: RecordId::ZERO,
                last_frame: None,
                added: (start, start.0),
                log_start: hint.log_start,
            },
            origins: Origins::default(),
            breaks: Vec::new(),
            visited: Vec::new(),
            dropped: Vec::new(),
            index: Vec::new(),
        })
    }

    fn segment(&mut self, dir: &Dir, bases: &[Offset], index: usize, base: Offset) -> Result<()> {
        let next_header = match bases.get(index + 1) {
            Some(next) => segment::header_of(dir, *next)?,
            None => None,
        };
        let previous = next_header.and_then(|header| header.previous).filter(|previous| previous.base == base);
        let spare_salt = previous.map(|previous| previous.salt).or_else(|| self.spare_salt(base));
        let segment = match Segment::open(dir, base, Access::Read, || Ok(spare_salt)) {
            Ok(segment) => segment,
            Err(Error::Damaged { .. }) => {
                // Nothing in it can be verified: a header that was never written, or damage.
                self.note_break(self.visited.len(), 0, false);
                let length = dir.stat(file_name(base).as_bytes())?.map_or(0, |meta| meta.length);
                self.visited.push((index, LastSegment::unreadable(base), length));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Ok(header) = &segment.header {
            let is_stale = Some(header.incarnation) != self.incarnation || header.epoch < self.epoch;
            if is_stale || (base < self.progress.end && !self.visited.is_empty()) {
                self.dropped.push(base);
                return Ok(());
            }
            self.take_header(header);
        }
        if base > self.progress.end {
            // The predecessor ended early, or a segment is missing.
            self.bridge(base);
        }
        self.frames(index, &segment, previous)
    }

    fn spare_salt(&self, base: Offset) -> Option<u32> {
        self.hint.active.filter(|(active, _)| *active == base).map(|(_, salt)| salt)
    }

    fn take_header(&mut self, header: &SegmentHeader) {
        self.epoch = header.epoch;
        self.evidence = self.evidence.max(header.durable);
        self.progress.log_start = self.progress.log_start.max(header.log_start);
        self.progress.last_id = self.progress.last_id.max(header.last_id);
        self.progress.added = (header.base, header.entries_added);
        self.origins = header.origins;
    }

    fn frames(&mut self, index: usize, segment: &Segment, previous: Option<Previous>) -> Result<()> {
        let length = segment.file.length()?;
        let end_position = ends_at(segment, previous).map_or(length, |end| end.min(length));
        let header = segment.header.as_ref().ok();
        let mut last = LastSegment {
            base: segment.base,
            salt: segment.salt,
            created: header.map_or(TimestampMs(0), |header| header.created),
            epoch_start: header.map_or(segment.base, |header| header.epoch_start),
            previous: header.and_then(|header| header.previous),
            end_position: HEADER_BYTES as u64,
            is_clean: header.is_some(),
        };
        let at = self.visited.len();
        self.index.clear();
        if header.is_none() {
            self.breaks.push(Break { at: self.progress, segment: at, position: 0, bridged: true });
        }
        if end_position > HEADER_BYTES as u64 {
            let map = Map::new(&segment.file, end_position)?;
            let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, segment.base);
            loop {
                match walk.step() {
                    Found::Frame(frame) => {
                        self.take_frame(&frame, segment);
                        last.end_position = walk.position();
                    }
                    Found::Bad { position, next, .. } => {
                        self.note_break(at, position, next.is_some());
                        match next {
                            Some((_, base)) => self.progress.end = base,
                            None => last.is_clean = false,
                        }
                    }
                    Found::End => break,
                }
            }
        }
        self.visited.push((index, last, length));
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame<'_>, segment: &Segment) {
        let header = &frame.header;
        let indexed = self.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position);
        if header.position - indexed >= index::STRIDE {
            self.index.push(IndexEntry::of(header));
        }
        self.evidence = self.evidence.max(header.durable);
        self.progress.end = header.end();
        if header.has_origins {
            self.origins.end = header.end();
            self.origins.added += origins_in(frame);
        }
        if let Some((last_id, entries_added)) = frame.counters() {
            self.progress.added = (header.base, entries_added);
            (self.progress.last_id, self.progress.last_frame) = (last_id, None);
        }
        if let Some(start) = frame.log_start() {
            self.progress.log_start = self.progress.log_start.max(start);
        }
        if header.kind == FrameKind::Records {
            let (position, length) = (header.position, header.length);
            self.progress.last_frame = Some(Place { segment: segment.base, salt: segment.salt, position, length });
        }
    }

    fn note_break(&mut self, segment: usize, position: u64, bridged: bool) {
        self.breaks.push(Break { at: self.progress, segment, position, bridged });
    }

    /// Valid offsets go on at `base`, beyond where the walk stands.
    fn bridge(&mut self, base: Offset) {
        match self.breaks.last_mut() {
            Some(open) if !open.bridged && open.at.end == self.progress.end => open.bridged = true,
            _ if self.visited.is_empty() => {}
            _ => {
                let (segment, position) =
                    self.visited.last().map_or((0, 0), |(_, last, _)| (self.visited.len() - 1, last.end_position));
                self.note_break(segment, position, true);
            }
        }
        self.progress.end = base;
    }

    fn conclude(mut self, bases: &[Offset]) -> Survey {
        let evidence = self.evidence.max(self.hint.written);
        // The first break that no evidence covers: nobody was promised what lies behind it. In the
        // boot that wrote them, frames behind a break are evidence too: a process that dies leaves
        // no hole, only an end that is cut off.
        let torn = self.breaks.iter().position(|a| a.at.end >= evidence && !(a.bridged && self.same_boot));
        let mut torn_bytes = 0;
        let mut damaged = self.breaks.len() as u64;
        if let Some(first) = torn {
            let cut = self.breaks[first].clone();
            damaged = first as u64;
            let keeps_bytes = cut.position > 0;
            let kept = if keeps_bytes { cut.segment + 1 } else { cut.segment };
            for (index, _, length) in self.visited.drain(kept.min(self.visited.len())..) {
                self.dropped.push(bases[index]);
                torn_bytes += length;
            }
            if keeps_bytes && let Some((_, last, length)) = self.visited.last_mut() {
                torn_bytes += length.saturating_sub(cut.position);
                last.end_position = cut.position;
                last.is_clean = false;
            }
            self.progress = cut.at;
            self.index.retain(|entry| entry.base < cut.at.end);
        }
        let mut last = self.visited.pop().map(|(_, last, _)| last);
        if self.progress.end < evidence {
            // The end itself is damaged away: its offsets were promised and are not used again.
            self.progress.end = evidence;
            if let Some(last) = &mut last {
                last.is_clean = false;
            }
        }
        if !self.breaks.is_empty() {
            // What is damaged may have had some.
            self.origins.end = self.progress.end;
        }
        Survey {
            incarnation: self.incarnation.unwrap_or(Incarnation([0; 16])),
            log_start: self.progress.log_start.min(self.progress.end),
            end: self.progress.end,
            durable: self.evidence.min(self.progress.end),
            epoch: self.epoch,
            last_id: self.progress.last_id,
            last_frame: self.progress.last_frame,
            entries_added: self.progress.entries_added(),
            origins: self.origins,
            last,
            dropped: self.dropped,
            torn_bytes,
            damaged,
            same_boot: self.same_boot,
            index: self.index,
        }
    }
}

impl LastSegment {
    fn unreadable(base: Offset) -> LastSegment {
        LastSegment {
            base,
            salt: 0,
            created: TimestampMs(0),
            epoch_start: base,
            previous: None,
            end_position: 0,
            is_clean: false,
        }
    }
}

fn read_last_id(dir: &Dir, place: Place) -> Result<RecordId> {
    let file = dir.open_file(file_name(place.segment).as_bytes(), Access::Read)?;
    let mut bytes = vec![0; place.length as usize];
    let n = file.read_at(&mut bytes, place.position)?;
    match frame::parse(&bytes[..n], place.salt, place.position) {
        Parsed::Frame(frame) => Ok(last_id_of(&frame)),
        _ => Err(Error::Damaged {
            path: file.path().to_owned(),
            position: place.position,
            what: "the frame changed while it was read".to_owned(),
        }),
    }
}

/// The ID of a frame's last record. Its body is whole, so only a bug could make it unreadable; the
/// base ID plus the count is then a bound.
pub(super) fn last_id_of(frame: &Frame<'_>) -> RecordId {
    let header = &frame.header;
    let mut scratch = Vec::new();
    let last = frame.records(&mut scratch).ok().and_then(|records| records.last_id());
    last.unwrap_or_else(|| header.base_id.advance(u64::from(header.count)).unwrap_or(header.base_id))
}

impl Survey {
    /// Whether nothing tells of an earlier life.
    pub(super) fn is_new(&self) -> bool {
        self.incarnation.0 == [0; 16]
    }

    pub(super) fn incarnation_or(&self, opening: &Opening) -> Incarnation {
        if self.is_new() { opening.incarnation } else { self.incarnation }
    }

    /// The last segment in force, and where it ends.
    pub(super) fn last_segment(&self) -> Option<(Offset, u64)> {
        self.last.as_ref().map(|last| (last.base, last.end_position))
    }

    /// Its salt, which may be known from elsewhere than its header.
    pub(super) fn last_salt(&self, base: Offset) -> Option<u32> {
        self.last.as_ref().filter(|last| last.base == base && last.end_position > 0).map(|last| last.salt)
    }

    /// Where its epoch starts.
    pub(super) fn epoch_start(&self) -> Offset {
        self.last.as_ref().map_or(Offset::ZERO, |last| last.epoch_start)
    }
}
