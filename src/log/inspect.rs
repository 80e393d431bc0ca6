//! Looking at the files of a log, whatever state they are in, and checking all of them. Changes
//! nothing.

use std::path::PathBuf;

use super::index::{self, IndexEntry};
use super::segment::{self, Segment};
use super::walk::{Found, Walk};
use super::{HEAD, Log};
use crate::codec::segment::{HEADER_BYTES, ParsedHeader, Previous, base_of, file_name, index_name};
use crate::codec::{Frame, FrameHeader, FrameKind, SegmentHeader};
use crate::disk::{Access, Dir, File, Map};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::job::Job;

/// Progress is told, and a stop obeyed, every so many bytes.
const CHECK_BYTES: u64 = 8 << 20;

/// A segment file as a listing shows it.
#[derive(Clone, Debug)]
pub struct SegmentFacts {
    /// Its first offset, from the file name.
    pub base: Offset,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its index; `None` = it has none.
    pub index_bytes: Option<u64>,
    /// Its header, or what is wrong with it.
    pub header: std::result::Result<SegmentHeader, String>,
}

/// The segments of a log.
pub fn segments(dir: &Dir) -> Result<Vec<SegmentFacts>> {
    let mut all = Vec::new();
    for base in segment::list(dir)? {
        let Some(meta) = dir.stat(file_name(base).as_bytes())? else { continue };
        let header = match Segment::open(dir, base, Access::Read, || Ok(None)) {
            Ok(Segment { header: Ok(header), .. }) => Ok(header),
            Ok(Segment { header: Err(why), .. }) => Err(why.to_owned()),
            Err(Error::Damaged { what, .. }) => Err(what),
            Err(error) => Err(error.to_string()),
        };
        let index_bytes = dir.stat(index_name(base).as_bytes())?.map(|meta| meta.length);
        all.push(SegmentFacts { base, bytes: meta.length, index_bytes, header });
    }
    Ok(all)
}

/// What lies in a segment file, one thing after another.
#[derive(Clone, Debug)]
pub enum Thing {
    /// A whole frame, checksum verified.
    Frame(FrameHeader),
    /// Bytes that are no frame.
    Bad {
        /// Where they begin.
        position: u64,
        /// Where they end.
        until: u64,
        /// What is wrong.
        why: String,
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
    let map = Map::new(file, file.length()?)?;
    let mut walk = Walk::new(&map, header.salt, HEADER_BYTES as u64, header.base);
    loop {
        let thing = match walk.step() {
            Found::Frame(frame) => Thing::Frame(frame.header),
            Found::Bad { position, why, .. } => Thing::Bad { position, until: walk.position(), why: why.to_owned() },
            Found::End => return Ok(header),
        };
        if !each(thing) {
            return Ok(header);
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Stored records are lost or wrong.
    Damage,
    /// Worth knowing; no record that was acknowledged is concerned.
    Note,
}

/// Something that a check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub position: u64,
    /// The offsets that are concerned, half-open.
    pub offsets: Option<(Offset, Offset)>,
    /// What it is.
    pub what: String,
}

/// What a check of a whole log came to.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Records in them, above the log start.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that was found.
    pub findings: Vec<Finding>,
}

impl Verified {
    /// Whether any record is lost or wrong.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }
}

/// Reads every byte of a log, and checks every checksum, link, offset, ID and index entry.
pub fn verify(log: &Log, job: &Job) -> Result<Verified> {
    let bases = segment::list(log.dir())?;
    let start = log.log_start();
    let mut check = Check {
        log,
        job,
        // Appends may go on: what was the end when the check began is checked.
        end: log.log_end(),
        start,
        expected: bases.first().copied().unwrap_or(start),
        last_id: RecordId::ZERO,
        report: Verified::default(),
        told: 0,
    };
    check.first(&bases);
    for (index, &base) in bases.iter().enumerate() {
        if base >= check.end && index > 0 {
            break;
        }
        check.segment(&bases, index, base)?;
    }
    if check.expected < check.end {
        let what = "the last records are missing".to_owned();
        let path = log.path().join(bases.last().map_or_else(|| file_name(start), |base| file_name(*base)));
        check.damage(path, 0, (check.expected.max(start), check.end), what);
    }
    check.foreign_files()?;
    Ok(check.report)
}

struct Check<'a> {
    log: &'a Log,
    job: &'a Job,
    end: Offset,
    start: Offset,
    expected: Offset,
    last_id: RecordId,
    report: Verified,
    told: u64,
}

impl Check<'_> {
    fn damage(&mut self, path: PathBuf, position: u64, offsets: (Offset, Offset), what: String) {
        // Below the log start nothing is missed.
        let (from, until) = (offsets.0.max(self.start), offsets.1);
        let severity = if from < until { Severity::Damage } else { Severity::Note };
        let offsets = (from < until).then_some((from, until));
        self.report.findings.push(Finding { severity, path, position, offsets, what });
    }

    fn note(&mut self, path: PathBuf, position: u64, what: String) {
        self.report.findings.push(Finding { severity: Severity::Note, path, position, offsets: None, what });
    }

    fn first(&mut self, bases: &[Offset]) {
        let first = bases.first().copied().unwrap_or(self.end);
        if first > self.start {
            let path = self.log.path().join(file_name(self.start));
            self.damage(path, 0, (self.start, first), "the segment is missing".to_owned());
        }
    }

    fn segment(&mut self, bases: &[Offset], index: usize, base: Offset) -> Result<()> {
        let dir = self.log.dir();
        let path = self.log.path().join(file_name(base));
        let next = bases.get(index + 1).copied();
        let next_header = next.map(|next| segment::header_of(dir, next)).transpose()?.flatten();
        let previous = next_header.and_then(|header| header.previous).filter(|previous| previous.base == base);
        let salt = previous.map(|previous| previous.salt).or_else(|| self.log.active_salt(base));
        let segment = match Segment::open(dir, base, Access::Read, || Ok(salt)) {
            Ok(segment) => segment,
            Err(Error::Damaged { position, what, .. }) => {
                let until = next.unwrap_or(self.end).min(self.end);
                self.damage(path, position, (base, until), format!("{what}; none of its records can be verified"));
                self.expected = until;
                return Ok(());
            }
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        match &segment.header {
            Ok(header) if header.incarnation != self.log.incarnation() => {
                self.note(path, 0, "a segment of another topic, or of an earlier life of this one".to_owned());
                return Ok(());
            }
            Ok(_) => {}
            Err(why) => {
                let what = format!("{why}; its records are readable, but not what the header alone knew");
                self.report.findings.push(Finding {
                    severity: Severity::Damage,
                    path: path.clone(),
                    position: 0,
                    offsets: None,
                    what,
                });
            }
        }
        if base < self.expected {
            self.note(path, 0, "a segment that its predecessor covers, left by a repair".to_owned());
            return Ok(());
        }
        if base > self.expected {
            let at = self.log.path().join(file_name(self.expected));
            self.damage(at, 0, (self.expected, base), "records are missing between two segments".to_owned());
            self.expected = base;
        }
        self.report.segments += 1;
        self.frames(&segment, previous, next)
    }

    fn frames(&mut self, segment: &Segment, previous: Option<Previous>, next: Option<Offset>) -> Result<()> {
        let length = segment.file.length()?;
        let path = segment.file.path().to_owned();
        let limit = ends_at(segment, previous).map_or(length, |limit| limit.min(length));
        let mut entries = index::load(self.log.dir(), segment.base)?;
        let mut indexed = HEADER_BYTES as u64;
        let mut wanted = 0;
        if limit > HEADER_BYTES as u64 {
            let map = Map::new(&segment.file, limit)?;
            let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, segment.base);
            while self.expected < self.end {
                match walk.step() {
                    Found::Frame(frame) => {
                        self.frame(&frame, &path);
                        if frame.header.position - indexed >= index::STRIDE {
                            (indexed, wanted) = (frame.header.position, wanted + 1);
                        }
                        let entry = IndexEntry::of(&frame.header);
                        entries.retain(|found| *found != entry);
                    }
                    Found::Bad { position, why, next: found } => {
                        let until = found.map_or(next.unwrap_or(self.end), |(_, base)| base).min(self.end);
                        self.damage(path.clone(), position, (self.expected, until), why.to_owned());
                        self.expected = until;
                    }
                    Found::End => break,
                }
                self.tell(walk.position() - HEADER_BYTES as u64)?;
            }
        }
        self.report.bytes += limit;
        self.job.advance(limit - self.told.min(limit));
        self.told = 0;
        if limit < length && next.is_some() {
            self.note(
                path.clone(),
                limit,
                format!("{} bytes behind the end of the segment, of records that were never acknowledged", length - limit),
            );
        }
        self.index(segment.base, &entries, wanted)
    }

    fn tell(&mut self, done: u64) -> Result<()> {
        if done - self.told.min(done) >= CHECK_BYTES {
            self.job.advance(done - self.told);
            self.told = done;
            self.job.check()?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, path: &std::path::Path) {
        let header = frame.header;
        self.report.frames += 1;
        if header.kind == FrameKind::Hole {
            self.note(
                path.to_owned(),
                header.position,
                format!("records {}..{} were given up by an earlier repair", header.base, header.end()),
            );
        }
        if header.kind == FrameKind::Records
            && let Err(what) = self.records(frame)
        {
            self.damage(path.to_owned(), header.position, (header.base, header.end()), what);
        }
        self.expected = header.end();
    }

    fn records(&mut self, frame: &Frame<'_>) -> std::result::Result<(), String> {
        let mut scratch = Vec::new();
        for record in frame.records(&mut scratch).map_err(|why| why.to_string())? {
            let record = record.map_err(|why| why.to_string())?;
            if record.id <= self.last_id && self.last_id != RecordId::ZERO {
                return Err(format!(
                    "ID {} of record {} is not above its predecessor's {}",
                    record.id, record.offset, self.last_id
                ));
            }
            self.last_id = record.id;
            self.report.records += u64::from(record.offset >= self.start);
        }
        Ok(())
    }

    fn index(&mut self, base: Offset, wrong: &[IndexEntry], wanted: u64) -> Result<()> {
        let path = self.log.path().join(index_name(base));
        let meta = self.log.dir().stat(index_name(base).as_bytes())?;
        if let Some(entry) = wrong.iter().find(|entry| entry.base < self.end) {
            self.note(
                path,
                entry.position,
                "an index entry that points at no frame; reading goes around it, --repair rebuilds".to_owned(),
            );
        } else if meta.is_none() && wanted > 0 {
            self.note(path, 0, "the index is missing; finding places is slower, --repair rebuilds".to_owned());
        }
        Ok(())
    }

    fn foreign_files(&mut self) -> Result<()> {
        for entry in self.log.dir().list()? {
            let is_index = entry.name.strip_suffix(b".idx").is_some_and(|stem| base_of(&[stem, b".log"].concat()).is_some());
            let is_own = entry.name == HEAD
                || entry.name == b"topic.toml"
                || entry.name == b"groups"
                || base_of(&entry.name).is_some()
                || is_index;
            let path = self.log.path().join(String::from_utf8_lossy(&entry.name).as_ref());
            if entry.name.windows(10).any(|window| window == b".log.torn-") {
                self.note(path, 0, "set aside by a recovery: records that were never acknowledged".to_owned());
            } else if !is_own && !entry.name.starts_with(b".") {
                self.note(path, 0, "not a file of drave's".to_owned());
            }
        }
        Ok(())
    }
}

/// Where a segment ends, if its successor says so and means this very file.
pub(super) fn ends_at(segment: &Segment, previous: Option<Previous>) -> Option<u64> {
    previous.filter(|previous| segment.header.is_err() || previous.salt == segment.salt).map(|previous| previous.end_position)
}

impl Log {
    pub(super) fn active_salt(&self, base: Offset) -> Option<u32> {
        let slot = self.live()?.slot();
        (slot.active_base == base).then_some(slot.active_salt)
    }

    /// The ID of the last record that was appended.
    #[must_use]
    pub fn last_id(&self) -> RecordId {
        match &self.state {
            super::State::Live(head) => head.slot().last_id,
            super::State::Walked(survey) => survey.last_id,
        }
    }

    /// How many records were ever appended.
    #[must_use]
    pub fn entries_added(&self) -> u64 {
        match &self.state {
            super::State::Live(head) => head.slot().entries_added,
            super::State::Walked(survey) => survey.entries_added,
        }
    }
}
