//! Compaction: of each key the newest record is kept, in sealed segments, below the durable offset.
//!
//! Records without a key are always kept. A null (a tombstone) that is the newest of its key is kept for a
//! while, so that readers learn of it, and then goes. What was deleted one by one goes too. Offsets stay:
//! a frame covers those that it covered, and holds fewer records.
//!
//! All sealed segments are read once for their keys (`scan`, `sieve`), and those in which something goes
//! once more, to be written anew (`pack`), small ones as one. Each is replaced by a rename, in the order of
//! offsets, so that at no time, also after a crash, an older record of a key is left behind when a null is
//! gone. A segment that is not whole stays as it is, and no null behind it goes.
//!
//! A record that is taken is not known to have been sent any more: so segments wait, as the active one does,
//! for as long as a message may come again that one of their records is.
//!
//! Readers and publishers go on: who reads a segment that is replaced goes on reading the old file, or finds
//! his place in the new one. Whoever waits for the lock of maintenance is let go first.

mod pace;
mod pack;
mod scan;
mod sieve;
mod spill;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::deleted::Deleted;
use super::head::Head;
use super::index;
use super::locks::{self, APPEND};
use super::memory::Memory;
use super::segment::random_salt;
use super::sweep::Tip;
use super::{Log, deletions};
use crate::codec::segment::{Previous, file_name, index_name};
use crate::codec::{OffsetSet, SegmentHeader};
use crate::config::Compression;
use crate::error::Result;
use crate::ids::Offset;
use crate::job::Job;
use pace::{Cut, Pace};
use pack::Pack;
use scan::{Covered, Member};
use sieve::{Sieve, SieveLimits, Superseded};

/// What a compaction makes. The lock of maintenance keeps others from these names.
const TEMPORARY: &str = ".compact-";
/// Whoever waits for the lock is let go first so often.
const GIVES_WAY: usize = 3;
/// So long nobody can miss that the lock is free.
const GIVEN_WAY: Duration = Duration::from_millis(30);
/// A segment in which nothing goes is left alone from this part of the largest size on.
const LEFT_ALONE: u64 = 4;

/// How to compact a log.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// How long a null is kept.
    pub tombstone_age: Duration,
    /// How what is written anew is stored.
    pub compression: Compression,
    /// So much is read in a second at most.
    pub bytes_per_second: Option<u64>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Nothing is done unless half of what is sealed was not compacted before, or a null is due.
    pub only_if_dirty: bool,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactedLog {
    /// Records that are gone.
    pub records: u64,
    /// How many segments there are less.
    pub segments: u64,
    /// Bytes that were freed.
    pub bytes: u64,
}

impl Log {
    /// Keeps the newest record of each key, as far as segments are sealed. Adds to `done` what it does, also
    /// where it fails then: that stays done.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else is at the segments.
    pub fn compact(&self, how: &Compaction, done: &mut CompactedLog, job: &Job) -> Result<()> {
        self.compact_within(how, SieveLimits::default(), done, job)
    }

    fn compact_within(&self, how: &Compaction, limits: SieveLimits, done: &mut CompactedLog, job: &Job) -> Result<()> {
        let head = self.head()?;
        let mut attempt = 0;
        loop {
            self.settle_astray(job)?;
            let maintaining = if attempt == 0 { self.try_maintain(head)? } else { self.maintain(head, job)? };
            let mut pace = Pace::new(job, self.dir(), head, attempt < GIVES_WAY, how.bytes_per_second);
            let ended = Run::begin(self, head, how, limits, job).map_err(Cut::from);
            match ended.and_then(|mut run| run.all(&mut pace, done)) {
                Ok(()) => return Ok(()),
                Err(Cut::Wanted) => {
                    attempt += 1;
                    drop(maintaining);
                    self.dir.pause(GIVEN_WAY);
                }
                Err(Cut::Error(error)) => return Err(error),
            }
        }
    }

    /// Whether compaction may have taken records, so that not every offset holds one.
    #[must_use]
    pub fn has_compacted(&self) -> bool {
        self.compactions_generation() != 0
    }

    /// Whether a compaction would find nothing new to look at.
    fn is_up_to_date(&self, run: &Run<'_>) -> Result<bool> {
        let memory = Memory::read(self)?;
        let sealed = run.sealed;
        if run.null_due_ms(memory.oldest_null_ms) <= run.reference_ms {
            return Ok(false);
        }
        if run.how.only_if_dirty {
            return self.is_mostly_compacted(memory.compacted_until, sealed);
        }
        let has_deleted = run.deleted.next_deleted(run.start).is_some_and(|deleted| deleted < sealed);
        Ok(memory.compacted_until == sealed && !has_deleted)
    }

    /// Where the segments end that a compaction may take records from: before the active one, and before
    /// those whose messages may come again.
    fn compactable_until(&self, tip: &Tip) -> Result<Offset> {
        let active = tip.active.map_or(Offset::ZERO, |(active, _)| active);
        for pair in super::segment::list(&self.dir)?.windows(2).take_while(|pair| pair[1] <= active) {
            if self.has_young_origins(pair[0], pair[1])? {
                return Ok(pair[0]);
            }
        }
        Ok(active)
    }

    fn is_mostly_compacted(&self, until: Offset, sealed: Offset) -> Result<bool> {
        let (mut clean, mut dirty) = (0, 0);
        for base in super::segment::list(&self.dir)?.into_iter().filter(|base| *base < sealed) {
            let bytes = self.dir.stat(file_name(base).as_bytes())?.map_or(0, |meta| meta.length);
            *(if base < until { &mut clean } else { &mut dirty }) += bytes;
        }
        Ok(dirty < clean.max(1))
    }
}

/// One run, under the lock of maintenance.
struct Run<'a> {
    log: &'a Log,
    head: &'a Head,
    how: &'a Compaction,
    limits: SieveLimits,
    job: &'a Job,
    tip: Tip,
    /// Where what is looked at ends.
    sealed: Offset,
    start: Offset,
    /// From when ages count.
    reference_ms: u64,
    /// What is deleted, and up to where that was read.
    deleted: Arc<Deleted>,
    deletions: Option<deletions::Tail>,
}

/// Segments that become one.
#[derive(Debug)]
struct Group {
    members: Range<usize>,
    /// About how many bytes will be left.
    bytes: u64,
    /// Records that go.
    goes: u64,
}

impl<'a> Run<'a> {
    fn begin(log: &'a Log, head: &'a Head, how: &'a Compaction, limits: SieveLimits, job: &'a Job) -> Result<Run<'a>> {
        let start = if how.dry_run { log.log_start() } else { Run::settle(log, head, job)? };
        let (deleted, deletions) = if how.dry_run || log.deletions_generation() == 0 {
            (log.deleted()?, None)
        } else {
            log.open_deletions(head, job)?;
            if let Some((deletions, _)) = log.deletions_to_look_at()? {
                // It trims nothing, and repairs what a failed sync has left in doubt.
                deletions.trim(deletions.log_start(), job)?;
            }
            log.folded()?
        };
        if let Some((log, place)) = &deletions {
            log.sync_to(*place, job)?;
        }
        let reference_ms = log.reference_ms(&Memory::read(log)?);
        let tip = log.tip();
        let sealed = log.compactable_until(&tip)?;
        Ok(Run { log, head, how, limits, job, tip, sealed, start, reference_ms, deleted, deletions })
    }

    /// Sees to it that all is durable that is to be compacted: no repair after a failed sync replaces it then.
    /// Returns a log start that is durable.
    fn settle(log: &Log, head: &Head, job: &Job) -> Result<Offset> {
        if !head.is_poisoned() {
            // So that little is left to be synced while appends wait.
            log.sync_to(log.end_place(), job)?;
        }
        let start = {
            let mut appender = locks::take_mutex(&log.append, APPEND, log, job)?;
            let _held = locks::take(head, APPEND, log, job)?;
            log.ready_for_control(head, &mut appender, job)?;
            let first = super::segment::list(&log.dir)?.first().copied();
            let start = head.log_start();
            if log.deletions_generation() != 0 || first.is_some_and(|first| first < start) {
                // What lies below the log start goes for good: that start must not fall any more.
                log.sync_control(head, &appender, job)?;
            }
            start
        };
        log.sync_to(log.end_place(), job)?;
        Ok(start)
    }

    fn all(&mut self, pace: &mut Pace<'_>, done: &mut CompactedLog) -> pace::Result<()> {
        if !self.how.dry_run {
            self.remove_leftovers()?;
            self.log.remove_expired_locked(self.head, self.start)?;
        }
        if self.log.is_up_to_date(self)? {
            return Ok(());
        }
        let (mut members, covered) = self.members()?;
        let Some(last) = members.last() else { return Ok(()) };
        let end = last.next.base;
        self.job.expect_bytes(2 * members.iter().map(|member| member.bytes).sum::<u64>());
        let bases = members.iter().map(|member| member.base).collect();
        let records = members.iter().map(|member| member.next.base.since(member.base)).sum();
        let mut sieve = Sieve::new(self.log.dir(), TEMPORARY, records, bases, end, self.limits)?;
        for member in &mut members {
            self.scan(member, &mut sieve, pace)?;
        }
        let mut superseded = sieve.finish(|| self.job.check())?;
        let groups = self.groups(&members, &superseded);
        if self.how.dry_run {
            groups.iter().for_each(|group| done.add(&members[group.members.clone()], group.bytes, group.goes));
            return Ok(());
        }
        self.remove_covered(&members, covered)?;
        self.replace(&members, &groups, &mut superseded, pace, done)?;
        let nulls = members.iter().filter_map(|member| member.found.oldest_null_ms).min();
        let memory = Memory { compacted_until: end, oldest_null_ms: nulls.unwrap_or(u64::MAX), ..Memory::read(self.log)? };
        Ok(memory.write(self.log)?)
    }

    /// When a null of this time goes.
    fn null_due_ms(&self, ms: u64) -> u64 {
        ms.saturating_add(u64::try_from(self.how.tombstone_age.as_millis()).unwrap_or(u64::MAX))
    }

    /// Which segments are to be written anew, those of a group as one.
    fn groups(&self, members: &[Member], superseded: &Superseded<'_>) -> Vec<Group> {
        let bytes_max = self.log.options().segment_bytes;
        let mut groups: Vec<Group> = Vec::new();
        let mut open: Option<Group> = None;
        let mut drops_nulls = superseded.is_complete;
        for (index, member) in members.iter().enumerate() {
            drops_nulls &= member.found.is_whole;
            let nulls = if drops_nulls { member.found.nulls_due } else { 0 };
            let goes = (superseded.count(index) + member.found.gone + nulls).min(member.found.records);
            let left = member.found.records - goes;
            let bytes = (u128::from(member.bytes) * u128::from(left) / u128::from(member.found.records.max(1))) as u64;
            let is_alone = goes == 0 && member.bytes >= bytes_max / LEFT_ALONE && !self.is_unpurged(member);
            let joins = |group: &Group| group.bytes + bytes <= bytes_max && is_same_epoch(&members[group.members.start], member);
            if !member.found.is_whole || is_alone {
                groups.extend(open.take());
            } else if let Some(group) = open.as_mut().filter(|group| joins(group)) {
                group.members.end = index + 1;
                group.bytes += bytes;
                group.goes += goes;
            } else {
                groups.extend(open.replace(Group { members: index..index + 1, bytes, goes }));
            }
        }
        groups.extend(open);
        groups.retain(|group| self.is_worth_it(&members[group.members.clone()], group));
        groups
    }

    fn is_worth_it(&self, members: &[Member], group: &Group) -> bool {
        let largest = members.iter().map(|member| member.bytes).max().unwrap_or(0);
        let bytes: u64 = members.iter().map(|member| member.bytes).sum();
        group.goes > 0 || members.iter().any(|member| self.is_unpurged(member)) || (members.len() > 1 && largest <= bytes / 2)
    }

    /// Whether a compaction has taken deleted records from it, and did not live to say so.
    fn is_unpurged(&self, member: &Member) -> bool {
        let compacted = member.header.as_ref().map(|header| header.compacted).unwrap_or_default();
        compacted.deleted > 0 && compacted.deletions > self.deleted.purged()
    }

    /// Replaces groups of segments, in the order of their offsets.
    fn replace(
        &self,
        members: &[Member],
        groups: &[Group],
        superseded: &mut Superseded<'_>,
        pace: &mut Pace<'_>,
        done: &mut CompactedLog,
    ) -> pace::Result<()> {
        let mut gone = OffsetSet::default();
        for member in members.iter().filter(|member| member.found.is_whole) {
            member.found.absent.iter().for_each(|offset| _ = gone.insert(*offset));
        }
        let mut written: Option<(Offset, Previous)> = None;
        let mut replaced = Vec::new();
        if !groups.is_empty() {
            // Before the first: it tells a recovery that records have to be counted.
            Memory { compacted_until: Offset::ZERO, ..Memory::read(self.log)? }.write_durably(self.log)?;
        }
        for group in groups {
            let own = &members[group.members.clone()];
            let drops_nulls = superseded.is_complete && members[..group.members.end].iter().all(|member| member.found.is_whole);
            // What the header says of the predecessor helps to read that one, should its own be damaged.
            let before = group.members.start.checked_sub(1).map(|index| &members[index]);
            let previous = match written {
                Some((end, previous)) if end == own[0].base => Some(previous),
                _ => before.and_then(Member::as_previous),
            };
            let Some((pack, removed)) = self.write(own, previous, drops_nulls, superseded, pace)? else {
                // It is not what it was a moment ago: what lies behind it stays as it is, too.
                break;
            };
            self.put_in_place(own, &pack)?;
            self.deleted.copy_to(&mut gone, own[0].base..pack.end);
            done.add(own, pack.new.position, removed);
            let previous = Previous { base: own[0].base, end_position: pack.new.position, salt: pack.new.salt };
            written = Some((pack.end, previous));
            replaced.push(own[0].base..pack.end);
        }
        Ok(self.purge(gone, &replaced)?)
    }

    /// Leaves out of what is deleted what has no record any more.
    fn purge(&self, mut gone: OffsetSet, replaced: &[Range<Offset>]) -> Result<()> {
        // What was deleted since this run began may have been taken as superseded.
        let now = self.log.deleted()?;
        for range in replaced {
            self.put_absent(range, &now, &mut gone)?;
        }
        if gone.count() == 0 {
            return Ok(());
        }
        let purged = self.deletions.as_ref().map_or(Offset::ZERO, |(_, place)| place.offset);
        self.log.purge_deletions(self.head, &gone, purged, self.job)
    }

    /// Writes what is kept of some segments; says how many records are not. `None` = they do not read any more.
    fn write(
        &self,
        members: &[Member],
        previous: Option<Previous>,
        drops_nulls: bool,
        superseded: &mut Superseded<'_>,
        pace: &mut Pace<'_>,
    ) -> pace::Result<Option<(Pack, u64)>> {
        let Some(first) = members[0].header.clone() else { return Ok(None) };
        let header = SegmentHeader {
            salt: random_salt(),
            previous: previous.or(first.previous),
            log_start: first.log_start.max(self.start),
            durable: self.head.durable(),
            ..first
        };
        let name = format!("{TEMPORARY}{:08x}", random_salt());
        let mut pack = Pack::begin(self.log.dir(), &name, header, self.how.compression)?;
        let written = self.write_into(&mut pack, members, drops_nulls, superseded, pace);
        if !matches!(written, Ok(Some(_))) {
            let _ = self.log.dir().unlink(name.as_bytes());
        }
        Ok(written?.map(|removed| (pack, removed)))
    }

    fn write_into(
        &self,
        pack: &mut Pack,
        members: &[Member],
        drops_nulls: bool,
        superseded: &mut Superseded<'_>,
        pace: &mut Pace<'_>,
    ) -> pace::Result<Option<u64>> {
        let has_deleted = self.deleted.count() > 0;
        for member in members {
            let is_whole = self.frames(member, pace, |frame| {
                pack.take(frame, |record| {
                    let is_null = record.null && drops_nulls && record.key().is_some();
                    let goes = superseded.contains(record.offset)?
                        || record.offset < self.start
                        || (has_deleted && self.deleted.contains(record.offset))
                        || (is_null && self.null_due_ms(record.id.ms) <= self.reference_ms);
                    Ok(!goes)
                })
            })?;
            if !is_whole {
                return Ok(None);
            }
        }
        let deletions = self.deletions.as_ref().map_or(Offset::ZERO, |(_, place)| place.offset);
        let deleted = self.deleted.count_in(members[0].base..pack.end);
        pack.finish(deleted, deletions)?;
        let records: u64 = members.iter().map(|member| member.found.records).sum();
        Ok(Some(records - pack.kept))
    }

    /// Puts a new segment where the first of some old ones is, and removes the others.
    fn put_in_place(&self, members: &[Member], pack: &Pack) -> Result<()> {
        let (log, head) = (self.log, self.head);
        let (dir, base) = (log.dir(), members[0].base);
        // Before too: who sees no change while he looks at deletions and then at segments sees none of these
        // with less than those.
        head.bump_compactions_generation();
        if let Err(error) =
            log.check_in_force().and_then(|()| dir.rename(pack.new.name.as_bytes(), dir, file_name(base).as_bytes()))
        {
            let _ = dir.unlink(pack.new.name.as_bytes());
            return Err(error);
        }
        head.bump_set_generation();
        head.bump_compactions_generation();
        // Before the others go, and before anything behind is replaced.
        dir.sync()?;
        if pack.new.index.is_empty() {
            unlink(log, &index_name(base))?;
        } else {
            dir.replace(index_name(base).as_bytes(), &index::encode(&pack.new.index), false)?;
        }
        self.remove_all(members[1..].iter().map(|member| member.base))
    }

    fn remove_all(&self, bases: impl Iterator<Item = Offset>) -> Result<()> {
        let mut count = 0;
        for base in bases {
            unlink(self.log, &file_name(base))?;
            unlink(self.log, &index_name(base))?;
            count += 1;
        }
        if count > 0 {
            self.head.bump_set_generation();
        }
        Ok(())
    }

    /// Segments whose records another one holds, all of them.
    fn remove_covered(&self, members: &[Member], covered: Covered) -> Result<()> {
        let by_whole = |by: &usize| members.get(*by).is_some_and(|member| member.found.is_whole);
        self.remove_all(covered.into_iter().filter(|(by, _)| by_whole(by)).map(|(_, base)| base))
    }

    /// What an earlier run did not live to remove.
    fn remove_leftovers(&self) -> Result<()> {
        for entry in self.log.dir().list()? {
            if entry.name.starts_with(TEMPORARY.as_bytes()) {
                self.log.dir().unlink(&entry.name)?;
            }
        }
        Ok(())
    }
}

impl CompactedLog {
    fn add(&mut self, members: &[Member], bytes: u64, records: u64) {
        let before: u64 = members.iter().map(|member| member.bytes).sum();
        self.records += records;
        self.segments += members.len() as u64 - 1;
        self.bytes += before.saturating_sub(bytes);
    }
}

/// Epochs begin at the beginning of a segment, and must go on to do so.
fn is_same_epoch(first: &Member, other: &Member) -> bool {
    let epoch = |member: &Member| member.header.as_ref().map(|header| (header.epoch, header.epoch_start));
    epoch(first) == epoch(other)
}

fn unlink(log: &Log, name: &str) -> Result<()> {
    match log.dir().unlink(name.as_bytes()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
