//! What a copy of a log has to hold, at one moment. Appends wait while a few numbers are read, and never
//! for the copying: what lies below the end that was read does not change any more.
//!
//! Segments that are trimmed, or written anew by a repair, before they were copied are found missing by
//! who copies them; he asks [`Log::dismiss`] then.

use super::append::RECOVERIES_MAX;
use super::locks::{self, APPEND};
use super::segment::Segment;
use super::slot::Slot;
use super::sweep::{self, Link, Standing, Tip, said_by};
use super::{Log, inspect};
use crate::codec::segment::{HEADER_BYTES, ParsedHeader, VERSION, file_name};
use crate::codec::{LogFacts, SegmentFacts, SegmentHeader};
use crate::disk::{Access, File};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Place};
use crate::job::Job;

/// So long an active segment is worth being sealed, or a quarter of the most that it may have. Shorter ones are copied:
/// segments are not to grow many.
const SEALED_FROM: u64 = 1 << 20;

/// A segment that is to be copied.
#[derive(Debug)]
pub struct Copied {
    /// The file. What lies behind [`SegmentFacts::bytes`] is no part of the copy.
    pub file: File,
    /// Whether it never changes any more, whatever happens, so that a second name is as good as a copy.
    pub is_sealed: bool,
}

impl Log {
    /// All of the log as it is now, and durable, with `path` put in. What cannot be restored is an error
    /// here already, as far as that shows without reading all of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a segment is missing or its header cannot be read; as of [`Log::append`].
    pub fn capture(&self, path: &str, job: &Job) -> Result<LogFacts> {
        let mut tries = 0;
        loop {
            match self.capture_undisturbed(path, job) {
                Err(Error::Astray { .. }) if tries < RECOVERIES_MAX => {
                    tries += 1;
                    self.recover_in_place(job)?;
                }
                other => return other,
            }
        }
    }

    /// The same inside [`Log::undisturbed`], where a recovery would wait for ever.
    pub fn capture_undisturbed(&self, path: &str, job: &Job) -> Result<LogFacts> {
        loop {
            match self.capture_once(path, job)? {
                Some(facts) => return Ok(facts),
                // Trimmed while it was looked at.
                None => job.check()?,
            }
        }
    }

    fn capture_once(&self, path: &str, job: &Job) -> Result<Option<LogFacts>> {
        // The bulk first, so that the second one has little left: what is captured is to be durable, or
        // a power cut could put other frames in its place, and a later copy would take them for these.
        let (slot, epoch) = self.settled(job, true)?;
        self.sync_to(Place { offset: slot.log_end, epoch }, job)?;
        let (slot, epoch) = self.settled(job, false)?;
        self.sync_to(Place { offset: slot.log_end, epoch }, job)?;
        let tip = Tip { end: slot.log_end, active: Some((slot.active_base, slot.end_position)) };
        let links = in_order(sweep::chain(self, &tip)?);
        // Read after the names: a start that is moved comes before the segments go.
        let log_start = self.log_start().min(slot.log_end);
        let mut segments = Vec::with_capacity(links.len());
        for (at, link) in links.iter().enumerate() {
            let next = links.get(at + 1);
            let end = next.map_or(slot.log_end, |next| next.base);
            if end > link.base && (end > log_start || next.is_none()) {
                let Some(facts) = self.segment_facts(link, next, &slot)? else { return Ok(None) };
                segments.push(facts);
            }
        }
        let first = segments.first().map_or(slot.log_end, |segment| segment.base);
        if first > log_start {
            return Err(self.lost(log_start, "a segment is missing"));
        }
        Ok(Some(LogFacts {
            path: path.to_owned(),
            incarnation: self.incarnation(),
            epoch,
            log_start,
            end: slot.log_end,
            last_id: (slot.last_id.ms, slot.last_id.seq),
            entries_added: slot.entries_added,
            segments,
        }))
    }

    /// The state of the log once what others left undone is done. This is all that an append waits for. An active
    /// segment that is long is sealed if `seals`: it is shared then, where each copy would have all of it anew.
    fn settled(&self, job: &Job, seals: bool) -> Result<(Slot, Epoch)> {
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let head = self.head()?;
        let _held = locks::take(head, APPEND, self, job)?;
        let mut slot = self.ready_for_control(head, &mut appender, job)?;
        let sealed_from = SEALED_FROM.min(self.options().segment_bytes / 4);
        if seals && slot.end_position >= sealed_from && slot.log_end > slot.active_base {
            self.roll(head, &mut appender, &mut slot)?;
        }
        Ok((slot, head.epoch()))
    }

    /// `None` when it was trimmed since it was listed.
    fn segment_facts(&self, link: &Link, next: Option<&Link>, slot: &Slot) -> Result<Option<SegmentFacts>> {
        let Some(header) = &link.header else {
            // Trimmed while it was looked at, or damaged.
            return match self.dir().stat(file_name(link.base).as_bytes())? {
                None => Ok(None),
                Some(_) => Err(self.lost(link.base, "the segment header cannot be read")),
            };
        };
        let segment = match Segment::open(self.dir(), link.base, Access::Read, || Ok(Some(header.salt))) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        if segment.salt != header.salt {
            // A compaction has put another one in its place.
            return Ok(None);
        }
        let length = segment.file.length()?;
        let bytes = match next {
            None => slot.end_position,
            Some(next) => inspect::ends_at(&segment, said_by(Some(next), link.base)).unwrap_or(length),
        };
        if length < bytes {
            return Err(self.lost(link.base, "the segment was cut"));
        }
        let end = next.map_or(slot.log_end, |next| next.base);
        Ok(Some(SegmentFacts { base: link.base, end, bytes, salt: segment.salt, header: header.fingerprint() }))
    }

    fn lost(&self, base: Offset, what: &str) -> Error {
        let what = format!("{what}; see what can be saved with: drave verify --repair");
        Error::Damaged { path: self.path().join(file_name(base)), position: 0, what }
    }

    /// Opens a segment that was captured; `None` when another file has its name by now, or none.
    pub fn open_captured(&self, facts: &LogFacts, segment: &SegmentFacts) -> Result<Option<Copied>> {
        let file = match self.dir().open_file(segment.file_name().as_bytes(), Access::Read) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        // If a power cut takes the next one, a recovery finds that this one has a second name, and begins another.
        let is_sealed = segment.end < facts.end || self.head()?.active_base() >= segment.end;
        Ok(has_header(&file, segment)?.map(|_| Copied { file, is_sealed }))
    }

    /// Takes a segment that is gone out of what was captured, if it was trimmed; `false` when it was
    /// not, and the log is to be captured anew.
    #[must_use]
    pub fn dismiss(&self, facts: &mut LogFacts, segment: &SegmentFacts) -> bool {
        let start = self.log_start().min(facts.end);
        if start < segment.end {
            return false;
        }
        facts.log_start = facts.log_start.max(start);
        facts.segments.retain(|kept| kept.end > start);
        true
    }

    /// Does something while nothing of the log is removed.
    pub fn undisturbed<T>(&self, job: &Job, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.settle_astray(job)?;
        let _maintaining = self.maintain(self.head()?, job)?;
        act()
    }
}

/// The header of a file, if it is the one that was captured.
pub(super) fn has_header(file: &File, segment: &SegmentFacts) -> Result<Option<SegmentHeader>> {
    let mut bytes = [0; HEADER_BYTES];
    let n = file.read_at(&mut bytes, 0)?;
    Ok(match SegmentHeader::parse(&bytes[..n]) {
        ParsedHeader::Header(header) if (header.salt, header.fingerprint()) == (segment.salt, segment.header) => Some(*header),
        ParsedHeader::TooNew(found) => {
            return Err(Error::VersionTooNew { path: file.path().to_owned(), found, supported: VERSION });
        }
        _ => None,
    })
}

/// Those in force, without what a compaction has left, whose offsets the one before it has; and without what
/// a repair has left: each names the one before it.
fn in_order(mut links: Vec<Link>) -> Vec<Link> {
    let mut covered = Offset::ZERO;
    links.retain(|link| {
        let stays = link.standing == Standing::InForce && link.base >= covered;
        if stays && let Some(header) = &link.header {
            covered = covered.max(header.compacted.end);
        }
        stays
    });
    let mut at = links.len();
    while at > 1 {
        at -= 1;
        let named = links[at].header.as_ref().and_then(|header| header.previous).map(|previous| previous.base);
        if let Some(before) = named.and_then(|base| links[..at].iter().position(|link| link.base == base)) {
            links.drain(before + 1..at);
            at = before + 1;
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::super::testing::{make, open_with, publish};
    use super::*;
    use crate::config::Compression;

    #[test]
    fn what_was_captured_is_not_taken_for_another_file_of_its_name() {
        let places = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
        let [one, other] = places.each_ref().map(|place| {
            let log = open_with(&make(place.path()), 4096);
            publish(&log, 0..500, 1, Compression::None);
            log
        });
        let facts = one.capture("t", &Job::new()).expect("captured");
        let segment = facts.segments[0];
        assert!(one.open_captured(&facts, &segment).expect("read").is_some());
        // As a compaction does.
        let path = |log: &Log| log.path().join(segment.file_name());
        std::fs::rename(path(&other), path(&one)).expect("replaced");
        assert!(one.open_captured(&facts, &segment).expect("read").is_none());
    }

    #[test]
    fn what_is_shared_is_written_to_no_more() {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let log = open_with(&above, 4096);
        publish(&log, 0..50, 1, Compression::None);
        let facts = log.capture("t", &Job::new()).expect("captured");
        let segment = *facts.segments.last().expect("one");
        assert!(log.open_captured(&facts, &segment).expect("read").expect("there").is_sealed, "it was long enough");
        let copy = place.path().join("copy");
        std::fs::hard_link(log.path().join(segment.file_name()), &copy).expect("linked");
        let bytes = std::fs::read(&copy).expect("read");
        let next = super::super::segment::list(log.dir()).expect("listed").pop().expect("one");
        assert_eq!(next, segment.end);
        // A power cut takes the next one, whose name was not durable, and the page.
        for lost in [file_name(next), "head".to_owned()] {
            std::fs::remove_file(log.path().join(lost)).expect("removed");
        }
        drop(log);
        let log = open_with(&above, 4096);
        publish(&log, 50..60, 1, Compression::None);
        assert_eq!(log.log_end(), Offset(60));
        assert_eq!(std::fs::read(&copy).expect("read"), bytes);
    }
}
