//! `verify --repair`: makes a damaged log whole again, as far as that goes. Damaged segments are
//! written anew without the bad bytes, with holes where records are lost; what they were is moved
//! to a place the caller names. Indexes are rebuilt.

use std::path::PathBuf;

use super::append::Appender;
use super::head::Head;
use super::index::{self, IndexEntry};
use super::inspect::{Severity, Verified, ends_at, verify};
use super::locks::{self, APPEND, MAINTENANCE};
use super::segment::{self, Segment, random_salt};
use super::walk::{Found, Walk};
use super::{HEAD, Log, lock_mutex};
use crate::codec::frame::{Packed, Placing};
use crate::codec::segment::{HEADER_BYTES, Previous, base_of, file_name, index_name};
use crate::codec::{FrameKind, SegmentHeader};
use crate::disk::{Access, Dir, EntryKind, File, Map};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::job::Job;

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Mended {
    /// Segments written anew.
    pub segments: Vec<PathBuf>,
    /// Offsets that hold no record any more.
    pub records_lost: u64,
    /// Files that were moved aside.
    pub moved: Vec<PathBuf>,
    /// Indexes written anew.
    pub indexes: u64,
}

impl Log {
    /// Repairs what [`verify`] finds; files that are replaced, or foreign, go to `quarantine`.
    pub fn mend(&self, quarantine: &Dir, prefix: &str, job: &Job) -> Result<(Verified, Mended)> {
        let head = self.head()?;
        let _maintain = lock_mutex(&self.maintain);
        let _maintaining = locks::take(head, MAINTENANCE, self, job)?;
        let mut appender = lock_mutex(&self.append);
        let _appending = locks::take(head, APPEND, self, job)?;
        self.check_in_force(head)?;
        if head.is_poisoned() {
            self.repair(head, &mut appender, job)?;
        }
        self.catch_up(head, &mut appender)?;
        let found = verify(self, job)?;
        let mut mending = Mending { log: self, head, quarantine, prefix, done: Mended::default() };
        mending.segments(&found, &mut appender)?;
        mending.foreign_files()?;
        head.bump_set_generation();
        self.announce(head);
        let done = mending.done;
        Ok((found, done))
    }
}

struct Mending<'a> {
    log: &'a Log,
    head: &'a Head,
    quarantine: &'a Dir,
    prefix: &'a str,
    done: Mended,
}

/// A segment that is being written.
struct Rewrite {
    file: File,
    salt: u32,
    position: u64,
    end: Offset,
    last_id: RecordId,
    index: Vec<IndexEntry>,
}

impl Mending<'_> {
    fn segments(&mut self, found: &Verified, appender: &mut Appender) -> Result<()> {
        let bases = segment::list(&self.log.dir)?;
        let slot = self.head.slot();
        let mut expected = self.head.log_start().min(bases.first().copied().unwrap_or(slot.log_end));
        let mut before: Option<(Previous, SegmentHeader)> = None;
        for (at, &base) in bases.iter().enumerate() {
            if base > expected {
                before = Some(self.fill_gap(expected, base, before)?);
            }
            let path = self.log.path().join(file_name(base));
            let next = bases.get(at + 1).copied();
            let until = next.unwrap_or(slot.log_end).min(slot.log_end).max(base);
            let is_damaged = found.findings.iter().any(|finding| finding.severity == Severity::Damage && finding.path == path);
            if is_damaged {
                before = Some(self.rewrite(base, until, next, before, appender)?);
            } else {
                self.rebuild_index(base)?;
                before = segment::header_of(&self.log.dir, base)?
                    .map(|header| (Previous { base, end_position: 0, salt: header.salt }, header));
            }
            expected = until;
        }
        Ok(())
    }

    /// Copies what is good of a segment into a new file of its name.
    fn rewrite(
        &mut self,
        base: Offset,
        until: Offset,
        next: Option<Offset>,
        before: Option<(Previous, SegmentHeader)>,
        appender: &mut Appender,
    ) -> Result<(Previous, SegmentHeader)> {
        let dir = &self.log.dir;
        let next_header = next.map(|next| segment::header_of(dir, next)).transpose()?.flatten();
        let previous = next_header.and_then(|header| header.previous).filter(|previous| previous.base == base);
        let spare = previous.map(|previous| previous.salt).or_else(|| self.log.active_salt(base));
        let old = match Segment::open(dir, base, Access::Read, || Ok(spare)) {
            Ok(old) => Some(old),
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let header = old.as_ref().and_then(|old| old.header.clone().ok());
        let header = header.unwrap_or_else(|| self.new_header(base, before));
        let (name, mut new) = self.begin(&header)?;
        let copied = match &old {
            Some(old) => self.copy(old, previous, until, &mut new),
            None => Ok(()),
        };
        let finished = copied.and_then(|()| self.finish(&mut new, until));
        if let Err(error) = finished {
            let _ = dir.unlink(name.as_bytes());
            return Err(error);
        }
        self.keep(file_name(base).as_bytes())?;
        dir.rename(name.as_bytes(), dir, file_name(base).as_bytes())?;
        dir.sync()?;
        self.write_index(base, &new.index)?;
        self.done.segments.push(self.log.path().join(file_name(base)));
        if self.head.slot().active_base == base {
            self.publish(&new);
            *appender = Appender::default();
        }
        let header = SegmentHeader { salt: new.salt, ..header };
        Ok((Previous { base, end_position: new.position, salt: new.salt }, header))
    }

    fn copy(&mut self, old: &Segment, previous: Option<Previous>, until: Offset, new: &mut Rewrite) -> Result<()> {
        let length = old.file.length()?;
        let limit = ends_at(old, previous).map_or(length, |limit| limit.min(length));
        if limit <= HEADER_BYTES as u64 {
            return Ok(());
        }
        let map = Map::new(&old.file, limit)?;
        let mut walk = Walk::new(&map, old.salt, HEADER_BYTES as u64, old.base);
        let mut bytes = Vec::new();
        loop {
            let frame = match walk.step() {
                Found::Frame(frame) if frame.header.end() <= until => frame,
                Found::Frame(_) | Found::End => return Ok(()),
                Found::Bad { .. } => continue,
            };
            if frame.header.kind == FrameKind::Records
                && frame.records(&mut Vec::new()).map_or(true, |mut r| r.any(|r| r.is_err()))
            {
                continue;
            }
            self.hole(new, frame.header.base)?;
            bytes.clear();
            frame.put_moved(&mut bytes, new.salt, new.position, frame.header.durable);
            new.note(frame.header.base, frame.header.base_id);
            new.file.write_all_at(&[&bytes], new.position)?;
            new.position += bytes.len() as u64;
            new.end = frame.header.end();
            new.last_id = super::survey::last_id_of(&frame).max(new.last_id);
        }
    }

    /// A segment of holes where a whole one is missing.
    fn fill_gap(
        &mut self,
        from: Offset,
        until: Offset,
        before: Option<(Previous, SegmentHeader)>,
    ) -> Result<(Previous, SegmentHeader)> {
        let header = self.new_header(from, before);
        let (name, mut new) = self.begin(&header)?;
        self.finish(&mut new, until)?;
        let dir = &self.log.dir;
        dir.rename_new(name.as_bytes(), dir, file_name(from).as_bytes())?;
        dir.sync()?;
        self.done.segments.push(self.log.path().join(file_name(from)));
        Ok((Previous { base: from, end_position: new.position, salt: new.salt }, header))
    }

    fn new_header(&self, base: Offset, before: Option<(Previous, SegmentHeader)>) -> SegmentHeader {
        let slot = self.head.slot();
        let (previous, like) = before.unzip();
        SegmentHeader {
            salt: random_salt(),
            incarnation: self.log.incarnation(),
            boot: self.log.dir.boot().0,
            epoch: like.as_ref().map_or(self.head.epoch(), |like| like.epoch),
            epoch_start: like.as_ref().map_or(Offset::ZERO, |like| like.epoch_start),
            base,
            previous: previous.filter(|previous| previous.end_position > 0),
            log_start: self.head.log_start(),
            last_id: like.as_ref().map_or(RecordId::ZERO, |like| like.last_id),
            entries_added: like.as_ref().map_or(0, |like| like.entries_added),
            max_deleted_id: slot.max_deleted_id,
            durable: self.head.durable(),
            created: self.log.clock.now(),
        }
    }

    fn begin(&self, header: &SegmentHeader) -> Result<(String, Rewrite)> {
        let name = format!(".mend-{:08x}", random_salt());
        let file = self.log.dir.create_file(name.as_bytes())?;
        // A new salt: the successor's note of where this segment ended is no longer for this file.
        let salt = random_salt();
        file.write_all_at(&[&SegmentHeader { salt, ..header.clone() }.encode()], 0)?;
        let rewrite =
            Rewrite { file, salt, position: HEADER_BYTES as u64, end: header.base, last_id: header.last_id, index: Vec::new() };
        Ok((name, rewrite))
    }

    /// Notes that the offsets up to `until` are lost.
    fn hole(&mut self, new: &mut Rewrite, until: Offset) -> Result<()> {
        while new.end < until {
            let span = u32::try_from(until.since(new.end)).unwrap_or(u32::MAX);
            let mut frame = Packed::control(FrameKind::Hole, span, &[]);
            let placing = Placing {
                salt: new.salt,
                position: new.position,
                base: new.end,
                base_id: new.last_id,
                durable: self.head.durable(),
            };
            new.file.write_all_at(&frame.place(&placing), new.position)?;
            new.position += frame.length();
            new.end = new.end.plus(u64::from(span));
            self.done.records_lost += u64::from(span);
        }
        Ok(())
    }

    fn finish(&mut self, new: &mut Rewrite, until: Offset) -> Result<()> {
        self.hole(new, until)?;
        new.file.sync()
    }

    fn publish(&self, new: &Rewrite) {
        let mut slot = self.head.slot();
        slot.end_position = new.position;
        slot.active_inode = new.file.inode();
        slot.active_salt = new.salt;
        slot.index_bytes = (new.index.len() * index::ENTRY_BYTES) as u64;
        slot.indexed = new.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position);
        self.head.publish(&slot);
    }

    fn rebuild_index(&mut self, base: Offset) -> Result<()> {
        if self.head.slot().active_base == base {
            return Ok(());
        }
        let Ok(segment) = Segment::open(&self.log.dir, base, Access::Read, || Ok(None)) else { return Ok(()) };
        let map = Map::new(&segment.file, segment.file.length()?)?;
        let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, base);
        let mut entries: Vec<IndexEntry> = Vec::new();
        while let Found::Frame(frame) = walk.step() {
            if frame.header.position - entries.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
                entries.push(IndexEntry::of(&frame.header));
            }
        }
        if index::load(&self.log.dir, base)? != entries {
            self.write_index(base, &entries)?;
            self.done.indexes += 1;
        }
        Ok(())
    }

    fn write_index(&self, base: Offset, entries: &[IndexEntry]) -> Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
        self.log.dir.replace(index_name(base).as_bytes(), &bytes, false)
    }

    /// Puts a file of the log under another name, beside the others that were moved aside.
    fn keep(&mut self, name: &[u8]) -> Result<()> {
        let kept = self.kept_name(name);
        self.log.dir.link(name, self.quarantine, kept.as_bytes())?;
        self.quarantine.sync()?;
        self.done.moved.push(self.quarantine.path().join(kept));
        Ok(())
    }

    fn kept_name(&self, name: &[u8]) -> String {
        format!("{}-{:08x}-{}", self.prefix, random_salt(), crate::codec::name::escape(name))
    }

    fn foreign_files(&mut self) -> Result<()> {
        for entry in self.log.dir.list()? {
            let is_index = entry.name.strip_suffix(b".idx").is_some_and(|stem| base_of(&[stem, b".log"].concat()).is_some());
            let is_own =
                entry.name == HEAD || entry.name == b"topic.toml" || entry.name == b"groups" || base_of(&entry.name).is_some();
            if is_own || is_index || entry.name.starts_with(b".") || entry.kind == EntryKind::Dir {
                continue;
            }
            let kept = self.kept_name(&entry.name);
            self.log.dir.rename(&entry.name, self.quarantine, kept.as_bytes())?;
            self.done.moved.push(self.quarantine.path().join(kept));
        }
        Ok(())
    }
}

impl Rewrite {
    fn note(&mut self, base: Offset, id: RecordId) {
        if self.position - self.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
            self.index.push(IndexEntry { base, position: self.position, ms: id.ms });
        }
    }
}
