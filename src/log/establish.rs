//! Making a log of a copy.
//!
//! It goes on in a new epoch, far above the copy's: places and receipts from what came after the copy
//! was made, in the log that it was made of, are known to be from a past that is no more.

use super::capture::has_header;
use super::deletions::DELETED;
use super::head::{HEAD, Head, Setup};
use super::index::{self, IndexEntry};
use super::memory::Memory;
use super::origins::origins_in;
use super::segment::{Segment, random_salt};
use super::slot::Slot;
use super::walk::{Found, Walk};
use crate::clock::Clock;
use crate::codec::segment::{Compacted, HEADER_BYTES, index_name};
use crate::codec::{LogFacts, Origins, SegmentFacts, SegmentHeader};
use crate::disk::{Access, Dir, File, Map};
use crate::error::{Error, Result};
use crate::ids::Epoch;

/// So many epochs may have begun in the log since it was copied: recoveries that lost something. A
/// group's deliveries have numbers for 2^20 epochs, so for a thousand restores of restores.
const EPOCHS_APART: u64 = 1 << 10;

/// Reads a copied segment, and checks that it is the one that was captured, with all of its frames.
///
/// # Errors
/// [`Error::Damaged`].
pub fn check_segment(file: &File, log: &LogFacts, segment: &SegmentFacts) -> Result<()> {
    read_segment(file, log, segment).map(|_| ())
}

/// What a copied segment says of itself.
struct Read {
    /// What its index has to hold.
    entries: Vec<IndexEntry>,
    /// What is known of origins behind it.
    origins: Origins,
    is_compacted: bool,
}

fn read_segment(file: &File, log: &LogFacts, segment: &SegmentFacts) -> Result<Read> {
    let damaged = |position: u64, what: &str| Error::Damaged { path: file.path().to_owned(), position, what: what.to_owned() };
    let length = file.length()?;
    if length < segment.bytes {
        return Err(damaged(length, &format!("it is cut off: {} bytes were copied", segment.bytes)));
    }
    let (mut origins, compacted) = match has_header(file, segment)? {
        Some(header) if (header.base, header.salt) == (segment.base, segment.salt) && header.incarnation == log.incarnation => {
            (header.origins, header.compacted)
        }
        _ => return Err(damaged(0, "its header is not the one that was copied")),
    };
    let mut entries: Vec<IndexEntry> = Vec::new();
    let mut end = segment.base;
    let map = Map::new(file, segment.bytes)?;
    let mut walk = Walk::new(&map, segment.salt, HEADER_BYTES as u64, segment.base);
    loop {
        match walk.step() {
            Found::Frame(frame) => {
                let header = &frame.header;
                end = header.end();
                if header.has_origins {
                    origins.end = end;
                    origins.added += origins_in(&frame);
                }
                if header.position - entries.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
                    entries.push(IndexEntry::of(header));
                }
            }
            Found::Bad { position, why, .. } => return Err(damaged(position, why)),
            Found::End => break,
        }
    }
    if end != segment.end {
        return Err(damaged(segment.bytes, &format!("it ends with offset {end}, and {} was copied", segment.end)));
    }
    Ok(Read { entries, origins, is_compacted: compacted != Compacted::default() })
}

/// Makes a log of the segments in `dir`, having read all of them. `at_least` is the epoch of
/// the log that it takes the place of, which goes on for a moment; `above`, one that is known of a life that
/// has ended. Says how many bytes were read; nothing is synced.
///
/// # Errors
/// [`Error::Damaged`] when a segment is not what was copied.
pub fn establish(dir: &Dir, log: &LogFacts, at_least: Epoch, above: Epoch, clock: &Clock) -> Result<()> {
    let mut origins = Origins::default();
    let mut is_compacted = false;
    for segment in &log.segments {
        let file = dir.open_file(segment.file_name().as_bytes(), Access::Read)?;
        let read = read_segment(&file, log, segment)?;
        if !read.entries.is_empty() {
            let index = dir.create_file(index_name(segment.base).as_bytes())?;
            index.write_all_at(&[&index::encode(&read.entries)], 0)?;
        }
        origins = read.origins;
        is_compacted |= read.is_compacted;
    }
    if is_compacted {
        Memory::begin(dir, log.incarnation)?;
    }
    // Above what has ended by one only: the numbers of epochs last for as many restores as they can.
    let epoch = Epoch(log.epoch.max(at_least).0.saturating_add(EPOCHS_APART)).max(Epoch(above.0.saturating_add(1)));
    let now = clock.now();
    let segment = Segment::create(
        dir,
        SegmentHeader {
            salt: random_salt(),
            incarnation: log.incarnation,
            boot: dir.boot().0,
            epoch,
            epoch_start: log.end,
            base: log.end,
            previous: log.segments.last().map(SegmentFacts::as_previous),
            log_start: log.log_start,
            last_id: log.last_id(),
            entries_added: log.entries_added,
            durable: log.end,
            created: now,
            origins,
            compacted: Compacted::default(),
        },
    )?;
    let slot = Slot {
        log_end: log.end,
        end_position: HEADER_BYTES as u64,
        active_base: log.end,
        active_inode: segment.file.inode(),
        active_salt: segment.salt,
        active_created: now,
        last_id: log.last_id(),
        entries_added: log.entries_added,
        index_bytes: 0,
        indexed: HEADER_BYTES as u64,
    };
    let setup = Setup {
        incarnation: log.incarnation,
        slot,
        durable: log.end,
        log_start: log.log_start,
        epoch,
        origins,
        poison: None,
        has_deletions: dir.stat(DELETED)?.is_some(),
        is_compacted,
    };
    Head::create(dir, HEAD)?.set_up(&setup, dir.boot());
    Ok(())
}
