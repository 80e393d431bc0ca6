//! `verify --repair`: makes a damaged log whole again, as far as that goes. Damaged segments are
//! written anew without the bad bytes, with holes where records are lost; what they were is kept at
//! a place the caller names. Indexes are rebuilt. No offset changes.
//!
//! Sealed segments do not change, so appends go on while they are looked at; only for the active one
//! the append lock is taken. Each segment is replaced as a whole by a rename, and nothing is removed
//! that is not kept elsewhere: a repair that is interrupted can simply be run again.

use std::path::PathBuf;

use super::head::Head;
use super::index::{self, IndexEntry};
use super::locks::{self, APPEND, MAINTENANCE};
use super::rewrite::Rewrite;
use super::segment::{Segment, random_salt};
use super::slot::Slot;
use super::sweep::{self, Bounds, Link, Piece, Standing, Tip, said_by};
use super::verify::is_own;
use super::{Log, lock_mutex};
use crate::codec::SegmentHeader;
use crate::codec::segment::{Compacted, HEADER_BYTES, Previous, file_name, index_name};
use crate::disk::{Access, Dir, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, RecordId};
use crate::job::Job;

/// A segment that is being written. The lock of maintenance keeps others from these names.
pub(super) const TEMPORARY: &str = ".mend-";

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Mended {
    /// Segments written anew.
    pub segments: Vec<PathBuf>,
    /// Offsets that hold no record any more, half-open.
    pub lost: Vec<(Offset, Offset)>,
    /// What was kept, and what was moved, into the quarantine.
    pub kept: Vec<PathBuf>,
    /// Indexes written anew.
    pub indexes: u64,
    /// A part of the deletions was lost: records that were deleted may be read again.
    pub deletions_lost: bool,
    /// The settings could not be read, and are the defaults now.
    pub settings_lost: bool,
}

impl Mended {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.segments.is_empty() && self.kept.is_empty() && self.indexes == 0 && !self.settings_lost
    }

    /// How many records were given up.
    #[must_use]
    pub fn records_lost(&self) -> u64 {
        self.lost.iter().map(|(from, until)| until.since(*from)).sum()
    }
}

impl Log {
    /// Repairs what [`super::verify()`] finds; files that are replaced, or foreign, go to `quarantine`.
    ///
    /// # Errors
    /// What could be repaired until then stays repaired.
    pub fn mend(&self, quarantine: &Dir, job: &Job) -> Result<Mended> {
        let head = self.head()?;
        let mut mended = self.mend_segments(head, quarantine, job)?;
        if let Some(deletions) = self.mend_deletions(head, quarantine, job)? {
            mended.deletions_lost = !deletions.lost.is_empty();
            mended.segments.extend(deletions.segments);
            mended.kept.extend(deletions.kept);
            mended.indexes += deletions.indexes;
        }
        Ok(mended)
    }

    fn mend_segments(&self, head: &Head, quarantine: &Dir, job: &Job) -> Result<Mended> {
        self.settle_astray(job)?;
        let _maintain = lock_mutex(&self.maintain);
        let _maintaining = locks::take(head, MAINTENANCE, self, job)?;
        {
            let mut appender = lock_mutex(&self.append);
            let _appending = locks::take(head, APPEND, self, job)?;
            self.check_in_force()?;
            if head.is_poisoned() {
                self.repair(head, &mut appender, job)?;
            }
            self.catch_up(head, &mut appender)?;
        }
        // What is durable no repair after a failed sync replaces.
        self.sync_to(self.end_place(), job)?;
        let mut mending = Mending {
            log: self,
            head,
            quarantine,
            job,
            start: head.log_start(),
            expected: None,
            done: None,
            before: None,
            later: None,
            covered: Vec::new(),
            mended: Mended::default(),
        };
        mending.remove_leftovers()?;
        mending.segments(false)?;
        let mut appender = lock_mutex(&self.append);
        let _appending = locks::take(head, APPEND, self, job)?;
        self.check_in_force()?;
        self.catch_up(head, &mut appender)?;
        mending.segments(true)?;
        // The active segment may be another file now.
        *appender = super::active::Appender::default();
        mending.move_aside()?;
        Ok(mending.mended)
    }

    /// Under the append lock: does what a repair did not live to do, which had made its new segment
    /// the active one but not put it in place. Says whether that was so.
    pub(super) fn finish_mending(&self, head: &Head, slot: &Slot) -> Result<bool> {
        for entry in self.dir.list()?.iter().filter(|entry| entry.name.starts_with(TEMPORARY.as_bytes())) {
            if self.dir.stat(&entry.name)?.is_some_and(|meta| meta.inode == slot.active_inode) {
                self.dir.rename(&entry.name, &self.dir, file_name(slot.active_base).as_bytes())?;
                head.bump_set_generation();
                self.dir.sync()?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct Mending<'a> {
    log: &'a Log,
    head: &'a Head,
    quarantine: &'a Dir,
    job: &'a Job,
    start: Offset,
    /// Where the next segment should begin.
    expected: Option<Offset>,
    /// The last segment that was looked at.
    done: Option<Offset>,
    before: Option<Before>,
    /// The next header that can be read.
    later: Option<SegmentHeader>,
    /// Segments that their predecessor covers.
    covered: Vec<Offset>,
    mended: Mended,
}

/// What the segment before tells of the next one.
#[derive(Clone, Copy, Debug)]
struct Before {
    previous: Previous,
    epoch: Epoch,
    epoch_start: Offset,
    last_id: RecordId,
    entries_added: u64,
}

/// What a first look at a segment found.
#[derive(Debug)]
struct Look {
    is_bad: bool,
    /// The offset after its last one.
    end: Offset,
    end_position: u64,
    /// How long it is with holes in place of what is bad.
    new_length: u64,
    last_id: RecordId,
    /// How many records had been added at an offset, if a frame says.
    counters: Option<(Offset, u64)>,
    index: Vec<IndexEntry>,
}

impl Mending<'_> {
    /// Goes through the chain: the sealed segments that are durable; or all, with the append lock held.
    fn segments(&mut self, is_locked: bool) -> Result<()> {
        let tip = self.log.tip();
        let links = sweep::chain(self.log, &tip)?;
        let in_force: Vec<&Link> = links.iter().filter(|link| link.standing == Standing::InForce).collect();
        let first = in_force.first().map_or(tip.end, |link| link.base);
        let mut expected = self.expected.unwrap_or(first.min(self.start));
        for (index, link) in in_force.iter().enumerate() {
            let is_active = tip.active.is_some_and(|(active, _)| active == link.base);
            let next = in_force.get(index + 1).copied();
            if !is_locked && next.is_none_or(|next| next.base > self.head.durable()) {
                break;
            }
            if self.done.is_some_and(|done| link.base <= done) {
                continue;
            }
            if link.base < expected {
                self.covered.push(link.base);
                continue;
            }
            self.job.check()?;
            if link.base > expected {
                self.later = in_force[index..].iter().find_map(|link| link.header.clone());
                self.fill_gap(expected, link.base)?;
            }
            self.later = in_force[index + 1..].iter().find_map(|link| link.header.clone());
            expected = self.segment(link, next, is_active, &tip)?;
            (self.expected, self.done) = (Some(expected), Some(link.base));
        }
        Ok(())
    }

    /// Makes one segment good; says where it ends.
    fn segment(&mut self, link: &Link, next: Option<&Link>, is_active: bool, tip: &Tip) -> Result<Offset> {
        let dir = &self.log.dir;
        let salt = said_by(next, link.base).map(|previous| previous.salt).or_else(|| self.log.active_salt(link.base));
        let old = match Segment::open(dir, link.base, Access::Read, || Ok(salt)) {
            Ok(old) => Some(old),
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let bounds = old.as_ref().map(|old| Bounds::of(old, next, tip));
        let look = match (&old, &bounds) {
            (Some(old), Some(bounds)) => self.look(old, bounds)?,
            _ => Look::nothing(link.base, next.map_or(tip.end, |next| next.base)),
        };
        // The successor says where this one ends, and names its salt. If there is no room for a hole
        // before that end, it must not seem to mean the new file.
        let has_room = next.is_none() || bounds.and_then(|bounds| bounds.limit).is_none_or(|limit| look.new_length <= limit);
        let salt = old.as_ref().map(|old| old.salt).filter(|_| has_room);
        let header = match &link.header {
            Some(header) if look.is_bad => {
                let log_start = self.start.max(header.log_start);
                SegmentHeader { log_start, salt: salt.unwrap_or_else(random_salt), ..header.clone() }
            }
            Some(header) => header.clone(),
            None => self.new_header(link.base, salt),
        };
        let mut before = Before::from(&header, look.end_position);
        before.last_id = before.last_id.max(look.last_id);
        let (at, added) = look.counters.unwrap_or((link.base, before.entries_added));
        before.entries_added = added + look.end.since(at);
        if look.is_bad || link.header.is_none() {
            let new = self.rewrite(&header, old.as_ref().zip(bounds.as_ref()), look.end)?;
            before.previous.end_position = new.position;
            self.put_in_place(link.base, &new, is_active)?;
        } else {
            self.mend_index(link.base, &look.index, is_active)?;
        }
        self.before = Some(before);
        Ok(look.end)
    }

    fn look(&self, segment: &Segment, bounds: &Bounds) -> Result<Look> {
        let mut look = Look::nothing(segment.base, segment.base);
        look.is_bad = false;
        let swept = sweep::sweep(segment, bounds, |piece| match piece {
            Piece::Frame(frame, contents) => {
                let header = &frame.header;
                if header.position - look.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
                    look.index.push(IndexEntry::of(header));
                    self.job.check()?;
                }
                look.last_id = contents.ids.map_or(look.last_id, |(_, high)| high.max(look.last_id));
                if let Some((last_id, added)) = frame.counters() {
                    (look.last_id, look.counters) = (last_id, Some((header.base, added)));
                }
                look.new_length += u64::from(header.length);
                Ok(())
            }
            Piece::Bad { from, until, .. } => {
                look.is_bad |= until > self.start;
                look.new_length += Rewrite::bytes_of_hole(until.since(from));
                Ok(())
            }
        })?;
        (look.end, look.end_position) = (swept.end, swept.end_position);
        Ok(look)
    }

    /// Writes what is good of a segment into a new file, with holes where it is not.
    fn rewrite(&mut self, header: &SegmentHeader, old: Option<(&Segment, &Bounds)>, end: Offset) -> Result<Rewrite> {
        let name = format!("{TEMPORARY}{:08x}", random_salt());
        let mut new = Rewrite::begin(&self.log.dir, &name, header, self.head.durable())?;
        let written = match old {
            None => Ok(()),
            Some((old, bounds)) => sweep::sweep(old, bounds, |piece| match piece {
                Piece::Frame(frame, contents) => new.copy(frame, contents.ids.map(|(_, high)| high)),
                Piece::Bad { until, .. } => new.hole(until),
            })
            .map(|_| ()),
        };
        if let Err(error) = written.and_then(|()| new.finish(end)) {
            let _ = self.log.dir.unlink(name.as_bytes());
            return Err(error);
        }
        Ok(new)
    }

    /// Puts a segment where the damaged one is, which is kept.
    fn put_in_place(&mut self, base: Offset, new: &Rewrite, is_active: bool) -> Result<()> {
        let dir = &self.log.dir;
        let (log, job, head) = (self.log, self.job, self.head);
        let _mutex = log.sync_mutex();
        // Else a leader could sync the new file, and say so, while a power cut would bring back the old.
        let _held = log.hold_sync(head, job)?;
        self.keep(file_name(base).as_bytes())?;
        let slot = head.slot();
        if is_active {
            // First: whoever appends to the old file must not go on with it, should we die now.
            head.publish(&new.slot(slot));
        }
        if let Err(error) = dir.rename(new.name.as_bytes(), dir, file_name(base).as_bytes()) {
            if is_active {
                head.publish(&slot);
            }
            let _ = dir.unlink(new.name.as_bytes());
            return Err(error);
        }
        head.bump_set_generation();
        dir.sync()?;
        self.write_index(base, &new.index)?;
        log.announce(head);
        self.count(base, new);
        Ok(())
    }

    /// A segment of holes where one or more are missing.
    fn fill_gap(&mut self, from: Offset, until: Offset) -> Result<()> {
        let header = self.new_header(from, None);
        let new = self.rewrite(&header, None, until)?;
        let dir = &self.log.dir;
        if !dir.rename_new(new.name.as_bytes(), dir, file_name(from).as_bytes())? {
            // Foreign, or it would have been found.
            self.keep(file_name(from).as_bytes())?;
            dir.rename(new.name.as_bytes(), dir, file_name(from).as_bytes())?;
        }
        self.head.bump_set_generation();
        dir.sync()?;
        self.log.announce(self.head);
        self.count(from, &new);
        let mut before = Before::from(&header, new.position);
        before.entries_added += until.since(from);
        self.before = Some(before);
        Ok(())
    }

    fn count(&mut self, base: Offset, new: &Rewrite) {
        self.mended.segments.push(self.log.path().join(file_name(base)));
        let start = self.start;
        self.mended.lost.extend(new.holes.iter().map(|(from, until)| (start.max(*from), *until)).filter(|(a, b)| a < b));
    }

    /// A header in place of one that is lost: what the page and the neighbours know of it.
    fn new_header(&self, base: Offset, salt: Option<u32>) -> SegmentHeader {
        let (epoch, epoch_start) = self.epoch_of(base);
        SegmentHeader {
            // The same as before where it is known: the successor names it.
            salt: salt.unwrap_or_else(random_salt),
            incarnation: self.log.incarnation(),
            boot: self.log.dir.boot().0,
            epoch,
            epoch_start,
            base,
            previous: self.before.map(|before| before.previous),
            log_start: self.start,
            last_id: self.before.map_or(RecordId::ZERO, |before| before.last_id),
            entries_added: self.before.map_or(base.0, |before| before.entries_added),
            durable: self.head.durable(),
            created: self.log.clock.now(),
            origins: self.head.origins(),
            compacted: Compacted::default(),
        }
    }

    /// The epoch of a segment whose header is lost. If one may have begun with it, it is taken to
    /// have: a place from before is then clamped, and read twice, rather than something skipped.
    fn epoch_of(&self, base: Offset) -> (Epoch, Offset) {
        let before = self.before.map(|before| (before.epoch, before.epoch_start));
        let highest = match &self.later {
            Some(later) if later.epoch_start <= base => return (later.epoch, later.epoch_start),
            // That one, or one between, began one of its own.
            Some(later) => Epoch(later.epoch.0.saturating_sub(1)),
            None => self.head.epoch(),
        };
        match before {
            Some((epoch, start)) if epoch >= highest => (epoch, start),
            None if highest == Epoch(0) => (Epoch(0), Offset::ZERO),
            _ => (highest, base),
        }
    }

    fn mend_index(&mut self, base: Offset, entries: &[IndexEntry], is_active: bool) -> Result<()> {
        if index::load(&self.log.dir, base)? == entries {
            return Ok(());
        }
        self.mended.indexes += 1;
        if !is_active {
            return self.write_index(base, entries);
        }
        // In place: other processes have it open for appending.
        let file = index::open_for_append(&self.log.dir, base)?;
        file.write_all_at(&[&index::encode(entries)], 0)?;
        let mut slot = self.head.slot();
        (slot.index_bytes, slot.indexed) = index::place_after(entries);
        file.truncate(slot.index_bytes)?;
        self.head.publish(&slot);
        Ok(())
    }

    fn write_index(&self, base: Offset, entries: &[IndexEntry]) -> Result<()> {
        let name = index_name(base);
        if entries.is_empty() {
            return match self.log.dir.unlink(name.as_bytes()) {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            };
        }
        self.log.dir.replace(name.as_bytes(), &index::encode(entries), false)
    }

    /// Gives a file of the log a second name in the quarantine.
    fn keep(&mut self, name: &[u8]) -> Result<()> {
        let kept = kept_name(name);
        self.log.dir.link(name, self.quarantine, kept.as_bytes())?;
        self.quarantine.sync()?;
        self.mended.kept.push(self.quarantine.path().join(kept));
        Ok(())
    }

    /// Moves what is not part of the log.
    fn move_aside(&mut self) -> Result<()> {
        let _mutex = self.log.sync_mutex();
        let _held = self.log.hold_sync(self.head, self.job)?;
        let tip = self.log.tip();
        let stale = sweep::chain(self.log, &tip)?.into_iter().filter(|link| link.standing != Standing::InForce);
        let mut names: Vec<Vec<u8>> = Vec::new();
        for base in stale.map(|link| link.base).chain(self.covered.drain(..)) {
            names.push(file_name(base).into_bytes());
            if self.log.dir.stat(index_name(base).as_bytes())?.is_some() {
                names.push(index_name(base).into_bytes());
            }
        }
        let entries = self.log.dir.list()?.into_iter();
        names.extend(entries.filter(|entry| entry.kind == EntryKind::File && !is_own(&entry.name)).map(|entry| entry.name));
        for name in &names {
            self.keep(name)?;
            self.log.dir.unlink(name)?;
        }
        if !names.is_empty() {
            self.head.bump_set_generation();
            self.log.announce(self.head);
            self.log.dir.sync()?;
        }
        Ok(())
    }

    /// What an earlier repair left that was interrupted.
    fn remove_leftovers(&self) -> Result<()> {
        for entry in self.log.dir.list()? {
            if entry.kind == EntryKind::File && entry.name.starts_with(TEMPORARY.as_bytes()) {
                self.log.dir.unlink(&entry.name)?;
            }
        }
        Ok(())
    }
}

fn kept_name(name: &[u8]) -> String {
    format!("{}.{:08x}", crate::codec::name::escape(name), random_salt())
}

impl Look {
    /// Of a segment in which nothing can be read.
    fn nothing(base: Offset, end: Offset) -> Look {
        Look {
            is_bad: true,
            end: end.max(base),
            end_position: HEADER_BYTES as u64,
            new_length: HEADER_BYTES as u64,
            last_id: RecordId::ZERO,
            counters: None,
            index: Vec::new(),
        }
    }
}

impl Before {
    fn from(header: &SegmentHeader, end_position: u64) -> Before {
        Before {
            previous: Previous { base: header.base, end_position, salt: header.salt },
            epoch: header.epoch,
            epoch_start: header.epoch_start,
            last_id: header.last_id,
            entries_added: header.entries_added,
        }
    }
}
