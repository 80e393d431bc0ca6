//! Making a log of the files that a crash left. The first writer does it, under all locks, with
//! what a survey has found. Every repair is a roll: the bytes stay where they are, and a new segment
//! says where its predecessor ends.

use std::sync::Arc;

use tracing::warn;

use super::deletions::DELETED;
use super::head::{Head, Setup};
use super::index::{self, IndexEntry};
use super::memory::MEMORY;
use super::open::Opening;
use super::segment::{self, Segment, random_salt};
use super::slot::Slot;
use super::survey::{Hint, LastSegment, Survey, survey};
use crate::codec::SegmentHeader;
use crate::codec::frame::HEADER_BYTES as FRAME_HEADER_BYTES;
use crate::codec::segment::{Compacted, HEADER_BYTES, Previous, file_name, index_name};
use crate::disk::{Access, Dir, File};
use crate::error::Result;
use crate::ids::{Epoch, Offset};

/// What a recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The next offset to be assigned.
    pub end: Offset,
    /// Bytes behind the end that nobody had been promised.
    pub bytes_torn: u64,
    /// Damaged places between valid frames.
    pub places_damaged: u64,
    /// Whether a new segment was begun.
    pub rolled: bool,
}

/// Makes the log in `dir` good, and `head` its page. The caller holds all locks, and has seen that
/// the page is not to be believed.
pub(super) fn recover(dir: &Dir, parents: &[Arc<Dir>], head: &Head, opening: &Opening) -> Result<Recovered> {
    let fenced = fence(dir)?;
    let mut hint = Hint::of(head, dir.boot());
    let mut poison = head.poison_left().filter(|_| head.is_of_boot(dir.boot()));
    if head.page().is_lost() {
        (hint, poison) = (Hint::default(), None);
    }
    head.disbelieve();
    let mut survey = survey(dir, hint)?;
    survey.torn_bytes = survey.torn_bytes.saturating_sub(fenced);
    if !survey.same_boot {
        sync_all_from(dir, survey.durable)?;
    }
    // The last one first: a crash in between leaves a log that ends earlier, not one that begins later.
    let mut dropped = survey.dropped.clone();
    dropped.sort_unstable();
    for base in dropped.into_iter().rev() {
        set_aside(dir, base)?;
    }
    let has_deletions = dir.stat(DELETED)?.is_some();
    let (slot, epoch, rolled) = settle(dir, &survey, opening, has_deletions)?;
    let mut durable = survey.durable;
    if !survey.same_boot {
        dir.sync()?;
        for parent in parents {
            parent.sync()?;
        }
        durable = survey.end;
    }
    let incarnation = survey.incarnation_or(opening);
    let setup = Setup {
        incarnation,
        slot,
        durable,
        log_start: survey.log_start,
        epoch,
        poison,
        has_deletions,
        origins: survey.origins,
        is_compacted: dir.stat(MEMORY)?.is_some(),
    };
    head.set_up(&setup, dir.boot());
    let recovered = Recovered { end: survey.end, bytes_torn: survey.torn_bytes, places_damaged: survey.damaged, rolled };
    // Less than a frame was nobody's; it may be the fence of somebody who recovers by another page.
    if recovered.bytes_torn >= FRAME_HEADER_BYTES as u64 || recovered.places_damaged > 0 {
        warn!(
            path = %dir.path().display(),
            end = recovered.end.0,
            bytes_torn = recovered.bytes_torn,
            places_damaged = recovered.places_damaged,
            "recovered a log"
        );
    }
    Ok(recovered)
}

/// Has nobody acknowledge what they append by another page than ours, be it one that was removed or
/// replaced under them: the last segment that was begun in this boot is made longer than they believe it
/// is, and so is one that somebody is about to begin. What was acknowledged before is in the file, and
/// the survey finds it. The bytes lie behind the end that the next segment will name. Says how many.
fn fence(dir: &Dir) -> Result<u64> {
    let mut bytes = 0;
    for base in segment::list(dir)?.into_iter().rev() {
        let name = file_name(base);
        let Some(meta) = dir.stat(name.as_bytes())? else { continue };
        let header = segment::header_of(dir, base)?;
        if header.as_ref().map_or(meta.length < HEADER_BYTES as u64, |header| header.boot == dir.boot().0) {
            let before = segment::fence_unless_frozen(dir, &name)?;
            bytes += dir.stat(name.as_bytes())?.map_or(0, |meta| meta.length.saturating_sub(before));
        }
        if header.is_some() {
            break;
        }
    }
    Ok(bytes)
}

/// Whether a snapshot may stand on the file, which then is not written to, wherever the log ends.
fn is_frozen(dir: &Dir, base: Offset) -> Result<bool> {
    dir.open_file(file_name(base).as_bytes(), Access::Read)?.is_frozen()
}

/// After a reboot what is in memory was read from the disk; syncing it costs little, and from then
/// on all of it is durable.
fn sync_all_from(dir: &Dir, durable: Offset) -> Result<()> {
    let bases = segment::list(dir)?;
    let first = bases.partition_point(|base| *base <= durable).saturating_sub(1);
    for base in &bases[first..] {
        dir.open_file(file_name(*base).as_bytes(), Access::Read)?.sync()?;
    }
    Ok(())
}

/// Takes a segment out of the log without deleting it: nobody was promised its records, but nothing
/// is deleted on doubt.
fn set_aside(dir: &Dir, base: Offset) -> Result<()> {
    let name = file_name(base);
    let aside = format!("{name}.torn-{:08x}", random_salt());
    dir.rename(name.as_bytes(), dir, aside.as_bytes())?;
    match dir.unlink(index_name(base).as_bytes()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Puts a segment in the place of one without records, which stays beside it. At no time is there
/// neither: when all records have been trimmed away, it alone knows the log start and the last ID.
fn replace(dir: &Dir, header: SegmentHeader) -> Result<Segment> {
    let name = file_name(header.base);
    let fresh = format!(".recover-{:08x}", random_salt());
    let file = dir.create_file(fresh.as_bytes())?;
    let written = file.write_all_at(&[&header.encode()], 0).and_then(|()| file.sync());
    let placed = written.and_then(|()| {
        dir.link(name.as_bytes(), dir, format!("{name}.torn-{:08x}", random_salt()).as_bytes())?;
        dir.rename(fresh.as_bytes(), dir, name.as_bytes())
    });
    if let Err(error) = placed {
        let _ = dir.unlink(fresh.as_bytes());
        return Err(error);
    }
    match dir.unlink(index_name(header.base).as_bytes()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Segment::open(dir, header.base, Access::ReadWrite, || Ok(None)),
    }
}

/// Chooses the segment to go on with: the last one, if nothing can have been lost, or a new one in a
/// new epoch.
fn settle(dir: &Dir, survey: &Survey, opening: &Opening, has_deletions: bool) -> Result<(Slot, Epoch, bool)> {
    // Readers of a topic that shows only what is durable cannot have seen what a power cut took; of
    // others they can, and the offsets must not be used again in the same epoch. Nor may they where
    // records are deleted, whatever the topic's settings were then.
    let is_lossless = survey.same_boot || (opening.options.read_durable && !has_deletions);
    if let Some(last) = &survey.last
        && last.is_clean
        && is_lossless
        && !is_frozen(dir, last.base)?
    {
        let file = dir.open_file(file_name(last.base).as_bytes(), Access::Read)?;
        write_index(dir, last.base, &survey.index)?;
        return Ok((slot_of(survey, last, &file, &survey.index), survey.epoch, false));
    }
    // If a later segment tells the life, it goes on though all of its records are lost.
    let is_new = survey.is_new() && survey.end == Offset::ZERO;
    let (epoch, epoch_start) = if is_new { (Epoch(0), Offset::ZERO) } else { (Epoch(survey.epoch.0 + 1), survey.end) };
    let previous = match &survey.last {
        // It is replaced, and what it says of its predecessor stays true: behind that end may lie
        // what an earlier recovery has found torn.
        Some(last) if last.base == survey.end => last.previous,
        Some(last) if last.end_position > 0 => {
            Some(Previous { base: last.base, end_position: last.end_position, salt: last.salt })
        }
        _ => None,
    };
    let header = SegmentHeader {
        salt: random_salt(),
        incarnation: survey.incarnation_or(opening),
        boot: dir.boot().0,
        epoch,
        epoch_start,
        base: survey.end,
        previous,
        log_start: survey.log_start,
        last_id: survey.last_id,
        entries_added: survey.entries_added,
        durable: survey.durable,
        created: opening.clock.now(),
        origins: survey.origins,
        compacted: Compacted::default(),
    };
    let created = header.created;
    let segment = if survey.last.as_ref().is_some_and(|last| last.base == survey.end) {
        // The last segment holds nothing, or nothing readable, and has the name that is needed.
        replace(dir, header)?
    } else {
        let segment = Segment::create(dir, header)?;
        if !survey.same_boot || has_deletions {
            segment.file.sync()?;
        }
        segment
    };
    if has_deletions {
        // Its epoch must not be given out again after a power cut.
        dir.sync()?;
    }
    let last = LastSegment {
        base: segment.base,
        salt: segment.salt,
        created,
        epoch_start,
        previous,
        end_position: HEADER_BYTES as u64,
        is_clean: true,
    };
    Ok((slot_of(survey, &last, &segment.file, &[]), epoch, true))
}

/// What the walk knows of the index is better than what is in the file.
fn write_index(dir: &Dir, base: Offset, entries: &[IndexEntry]) -> Result<()> {
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
    match dir.stat(index_name(base).as_bytes())? {
        None if bytes.is_empty() => Ok(()),
        _ => dir.replace(index_name(base).as_bytes(), &bytes, false),
    }
}

fn slot_of(survey: &Survey, last: &LastSegment, file: &File, index: &[IndexEntry]) -> Slot {
    Slot {
        log_end: survey.end,
        end_position: last.end_position,
        active_base: last.base,
        active_inode: file.inode(),
        active_salt: last.salt,
        active_created: last.created,
        last_id: survey.last_id,
        entries_added: survey.entries_added,
        index_bytes: (index.len() * index::ENTRY_BYTES) as u64,
        indexed: index.last().map_or(HEADER_BYTES as u64, |entry| entry.position),
    }
}
