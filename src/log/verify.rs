//! Reading every byte of a log, and checking every checksum, link, offset, ID and index entry.
//! Changes nothing, and appends may go on meanwhile: what was the end when it began is checked.

use std::collections::HashMap;
use std::path::PathBuf;

use super::deletions::DELETED;
use super::index::{self, IndexEntry};
use super::memory::MEMORY;
use super::segment::{self, Segment};
use super::sweep::{self, Bounds, Contents, Link, Piece, Standing, Tip, said_by};
use super::{HEAD, Log};
use crate::codec::segment::{HEADER_BYTES, base_of, file_name, index_name};
use crate::codec::{Frame, FrameKind};
use crate::disk::{Access, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::job::Job;

/// Progress is told, and a stop obeyed, every so many bytes.
const CHECK_BYTES: u64 = 8 << 20;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Stored records are lost or wrong, or what is needed to read them.
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
    /// Whether a repair does something about it.
    pub repairable: bool,
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

/// Reads every byte of a log and checks it. Says what was found, and how it ended: a stop keeps what
/// was found until then.
///
/// # Errors
/// [`Error::TopicGone`] when it is deleted meanwhile. Damage is no error.
pub fn verify(log: &Log, job: &Job) -> (Verified, Result<()>) {
    let tip = log.tip();
    let start = log.log_start();
    let (expected, last_id) = (start, RecordId::ZERO);
    let mut check = Check { log, job, tip, start, expected, last_id, report: Verified::default(), told: 0 };
    let ended = check.all().and_then(|()| check.deletions());
    (check.report, ended)
}

struct Check<'a> {
    log: &'a Log,
    job: &'a Job,
    tip: Tip,
    start: Offset,
    expected: Offset,
    last_id: RecordId,
    report: Verified,
    told: u64,
}

impl Check<'_> {
    fn all(&mut self) -> Result<()> {
        let log = self.log;
        let links = sweep::chain(log, &self.tip)?;
        let in_force: Vec<&Link> = links.iter().filter(|link| link.standing == Standing::InForce).collect();
        self.expected = in_force.first().map_or(self.start, |link| link.base.min(self.start));
        for link in links.iter().filter(|link| link.standing != Standing::InForce) {
            let what = match link.standing {
                Standing::Foreign => "a segment of another topic, or of an earlier life of this one",
                _ => "a segment that its predecessor supersedes, left by a repair",
            };
            self.note(log.path().join(file_name(link.base)), 0, what, true);
        }
        for (index, link) in in_force.iter().enumerate() {
            self.job.check()?;
            self.segment(link, in_force.get(index + 1).copied())?;
        }
        self.missing(self.tip.end);
        self.behind_the_end()?;
        self.foreign_files()?;
        if log.is_gone()? { Err(Error::TopicGone { path: log.path().to_owned() }) } else { Ok(()) }
    }

    /// The log of deletions. What is damaged in it before a whole set that can be read costs nothing.
    fn deletions(&mut self) -> Result<()> {
        let Some((log, whole)) = self.log.deletions_to_look_at()? else { return Ok(()) };
        let (verified, ended) = verify(&log, self.job);
        self.report.segments += verified.segments;
        self.report.frames += verified.frames;
        self.report.bytes += verified.bytes;
        for mut finding in verified.findings {
            if finding.severity == Severity::Damage {
                let is_lost = finding.offsets.take().is_some_and(|(_, until)| whole.is_none_or(|whole| until > whole));
                finding.severity = if is_lost { Severity::Damage } else { Severity::Note };
                let then = if is_lost { "records that were deleted may be read again" } else { "no deletion is concerned" };
                finding.what = format!("{}; {then}", finding.what);
            }
            self.report.findings.push(finding);
        }
        ended
    }

    fn behind_the_end(&mut self) -> Result<()> {
        let log = self.log;
        let bases = segment::list(log.dir())?;
        // Read after the names: segments were begun since the check began, and one may be just now.
        let tip = log.tip();
        let is_begun = |base: Offset| !log.is_still() && base >= tip.end;
        for base in bases.into_iter().filter(|base| tip.is_behind(*base) && !is_begun(*base)) {
            let what = "a segment behind the end of the log, of records that were never acknowledged";
            self.note(log.path().join(file_name(base)), 0, what, log.is_still());
        }
        Ok(())
    }

    fn damage(&mut self, path: PathBuf, position: u64, offsets: (Offset, Offset), what: String) {
        // Below the log start nothing is missed; it may have moved since.
        self.start = self.log.log_start();
        let (from, until) = (offsets.0.max(self.start), offsets.1);
        let is_lost = from < until;
        let severity = if is_lost { Severity::Damage } else { Severity::Note };
        let offsets = is_lost.then_some((from, until));
        let what = if is_lost { what } else { format!("{what}; no record is concerned") };
        self.report.findings.push(Finding { severity, path, position, offsets, what, repairable: until > self.start });
    }

    fn note(&mut self, path: PathBuf, position: u64, what: impl Into<String>, repairable: bool) {
        let what = what.into();
        self.report.findings.push(Finding { severity: Severity::Note, path, position, offsets: None, what, repairable });
    }

    /// The next thing there is begins at `until`.
    fn missing(&mut self, until: Offset) {
        if self.expected < until {
            // Removed meanwhile, perhaps.
            self.start = self.log.log_start();
            let from = self.expected.max(self.start);
            if from < until {
                let path = self.log.path().join(file_name(from));
                self.damage(path, 0, (from, until), "a segment is missing".to_owned());
            }
            self.expected = until;
        }
    }

    fn segment(&mut self, link: &Link, next: Option<&Link>) -> Result<()> {
        let base = link.base;
        let path = self.log.path().join(file_name(base));
        if base < self.expected {
            self.note(path, 0, "a segment that its predecessor covers, left by a repair or a compaction", true);
            return Ok(());
        }
        self.missing(base);
        let salt = said_by(next, base).map(|previous| previous.salt).or_else(|| self.log.active_salt(base));
        let segment = match Segment::open(self.log.dir(), base, Access::Read, || Ok(salt)) {
            Ok(segment) => segment,
            Err(Error::Damaged { position, what, .. }) => {
                let until = next.map_or(self.tip.end, |next| next.base);
                if base < until {
                    self.damage(path, position, (base, until), format!("{what}; none of its records can be verified"));
                } else {
                    self.header(path, &what);
                }
                self.expected = until;
                return Ok(());
            }
            // Trimmed since it was listed; if not, what follows tells that it is missing.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Err(why) = &segment.header {
            self.header(path, why);
        }
        self.report.segments += 1;
        self.frames(&segment, next)
    }

    fn header(&mut self, path: PathBuf, why: &str) {
        let what = format!("{why}; its records are not concerned, but what else the header knew is lost");
        let finding = Finding { severity: Severity::Damage, path, position: 0, offsets: None, what, repairable: true };
        self.report.findings.push(finding);
    }

    fn frames(&mut self, segment: &Segment, next: Option<&Link>) -> Result<()> {
        let path = segment.file.path().to_owned();
        let bounds = Bounds::of(segment, next, &self.tip);
        let entries = index::load(self.log.dir(), segment.base)?;
        let mut wrong: HashMap<u64, IndexEntry> = entries.iter().map(|entry| (entry.position, *entry)).collect();
        let mut indexed = HEADER_BYTES as u64;
        let mut wanted = 0_u64;
        let swept = sweep::sweep(segment, &bounds, |piece| match piece {
            Piece::Frame(frame, contents) => {
                self.frame(frame, contents, &path);
                let header = &frame.header;
                if header.position - indexed >= index::STRIDE {
                    (indexed, wanted) = (header.position, wanted + 1);
                }
                if wrong.get(&header.position) == Some(&IndexEntry::of(header)) {
                    wrong.remove(&header.position);
                }
                self.tell(header.end_position())
            }
            Piece::Bad { position, from, until, why } => {
                self.damage(path.clone(), position, (from, until), why);
                self.job.check()
            }
        })?;
        self.expected = swept.end;
        self.report.bytes += swept.bytes;
        self.job.advance(swept.bytes - self.told.min(swept.bytes));
        self.told = 0;
        // Behind the end of a log that is in use lies what is just being appended.
        if swept.bytes_behind > 0 && (next.is_some() || self.log.is_still()) {
            let what = format!("{} bytes behind the end, of records that were never acknowledged", swept.bytes_behind);
            self.note(path, swept.bytes, what, false);
        }
        // Of an append that came later.
        wrong.retain(|position, _| bounds.limit.is_none_or(|limit| *position < limit));
        self.index(segment.base, wrong.into_keys().min(), wanted)
    }

    fn tell(&mut self, done: u64) -> Result<()> {
        if done - self.told.min(done) >= CHECK_BYTES {
            self.job.advance(done - self.told);
            self.told = done;
            self.job.check()?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, contents: Contents, path: &std::path::Path) {
        let header = frame.header;
        self.report.frames += 1;
        if header.kind == FrameKind::Hole && header.end() > self.start {
            let what = format!("records {}..{} were given up by an earlier repair", header.base, header.end());
            self.note(path.to_owned(), header.position, what, false);
        }
        let Some((low, high)) = contents.ids else { return };
        if low <= self.last_id || !contents.rising {
            let what = format!("the IDs of records {}..{} do not rise", header.base, header.end());
            self.note(path.to_owned(), header.position, what, false);
        }
        self.last_id = high.max(self.last_id);
        self.report.records += u64::from(header.count).min(header.end().since(self.start));
    }

    fn index(&mut self, base: Offset, wrong: Option<u64>, wanted: u64) -> Result<()> {
        let path = self.log.path().join(index_name(base));
        if let Some(position) = wrong {
            let what =
                format!("an index entry points at position {position}, where no such frame begins; reading goes around it");
            self.note(path, 0, what, true);
        } else if wanted > 0 && self.log.dir().stat(index_name(base).as_bytes())?.is_none() {
            self.note(path, 0, "the index is missing; finding places is slower", true);
        }
        Ok(())
    }

    fn foreign_files(&mut self) -> Result<()> {
        for entry in self.log.dir().list()? {
            if is_own(&entry.name) {
                continue;
            }
            let name = std::os::unix::ffi::OsStrExt::from_bytes(&entry.name[..]);
            let path = self.log.path().join::<&std::ffi::OsStr>(name);
            let is_file = entry.kind == EntryKind::File;
            if is_file && entry.name.windows(10).any(|window| window == b".log.torn-") {
                self.note(path, 0, "set aside by a recovery: records that were never acknowledged", true);
            } else {
                self.note(path, 0, "not a file of drave's", is_file);
            }
        }
        Ok(())
    }
}

/// Whether a file of this name belongs into a topic's directory, or a group's. What begins with a dot is
/// somebody's who is at work.
pub(super) fn is_own(name: &[u8]) -> bool {
    let is_index = name.strip_suffix(b".idx").is_some_and(|stem| base_of(&[stem, b".log"].concat()).is_some());
    const NAMES: [&[u8]; 8] = [HEAD, DELETED, MEMORY, b"topic.toml", b"groups", b"members", b"checkpoint-0", b"checkpoint-1"];
    let is_named = NAMES.contains(&name);
    is_named || is_index || base_of(name).is_some() || name.starts_with(b".")
}
