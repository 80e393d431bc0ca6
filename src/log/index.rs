//! The sparse index of a segment: from offset or time to a position not far before it.
//!
//! Entries of 24 bytes, little-endian: base offset, position and ms of one frame in every
//! [`STRIDE`] bytes. It is a hint and never trusted: whoever uses an entry checks the frame that it
//! points at, and goes back to an earlier one if that is not what the entry says. So it is not
//! synced, a short or missing one costs time only, and small segments have none.

use crate::codec::FrameHeader;
use crate::codec::segment::{HEADER_BYTES, index_name};
use crate::disk::{Access, Dir, File};
use crate::error::Result;
use crate::ids::{Offset, RecordId};

/// One entry for every so many bytes of the segment: what a look-up walks at most, a few hundred
/// microseconds; and 24 bytes in 256 KiB cost nothing.
pub(super) const STRIDE: u64 = 256 << 10;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 24;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) base: Offset,
    pub(super) position: u64,
    pub(super) ms: u64,
}

impl IndexEntry {
    pub(super) fn of(header: &FrameHeader) -> IndexEntry {
        IndexEntry { base: header.base, position: header.position, ms: header.base_id.ms }
    }

    pub(super) fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..].copy_from_slice(&self.ms.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> IndexEntry {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        IndexEntry { base: Offset(number(0)), position: number(8), ms: number(16) }
    }
}

/// The entries of a segment's index, and how long the file was when they were read.
#[derive(Debug, Default)]
pub(super) struct IndexEntries {
    entries: Vec<IndexEntry>,
    length: u64,
}

impl std::ops::Deref for IndexEntries {
    type Target = [IndexEntry];

    fn deref(&self) -> &[IndexEntry] {
        &self.entries
    }
}

impl IndexEntries {
    /// The entries as they are now; none if there is no index. Those that are known are not read again
    /// if the file has not grown.
    pub(super) fn load(dir: &Dir, base: Offset, known: Option<IndexEntries>) -> Result<IndexEntries> {
        let file = match dir.open_file(index_name(base).as_bytes(), Access::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(IndexEntries::default()),
            Err(error) => return Err(error),
        };
        // The largest segment has 6 MiB of index; more is not ours.
        let length = file.length()?.min(8 << 20);
        if let Some(known) = known.filter(|known| known.length == length) {
            return Ok(known);
        }
        let mut bytes = vec![0; usize::try_from(length).expect("bounded above")];
        let n = file.read_at(&mut bytes, 0)?;
        Ok(IndexEntries { entries: bytes[..n].chunks_exact(ENTRY_BYTES).map(IndexEntry::decode).collect(), length })
    }
}

/// The entries of a segment's index as they are now; none if there is no index.
pub(super) fn load(dir: &Dir, base: Offset) -> Result<Vec<IndexEntry>> {
    Ok(IndexEntries::load(dir, base, None)?.entries)
}

/// The bytes of an index with these entries.
pub(super) fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.encode()).collect()
}

/// How many bytes these entries take, and the position of the frame that the last one names.
pub(super) fn place_after(entries: &[IndexEntry]) -> (u64, u64) {
    ((entries.len() * ENTRY_BYTES) as u64, entries.last().map_or(HEADER_BYTES as u64, |entry| entry.position))
}

/// Opens the index of a segment for appending, making it if it is missing.
pub(super) fn open_for_append(dir: &Dir, base: Offset) -> Result<File> {
    let name = index_name(base);
    match dir.create_file(name.as_bytes()) {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {
            dir.open_file(name.as_bytes(), Access::ReadWrite)
        }
        other => other,
    }
}

/// The entries that may lead to the frame holding `offset`, the nearest first.
pub(super) fn before_offset(entries: &[IndexEntry], offset: Offset) -> impl Iterator<Item = IndexEntry> {
    let count = entries.partition_point(|entry| entry.base <= offset);
    entries[..count].iter().rev().copied()
}

/// The entries that may lead to the first record with this ID or a higher one, the nearest first.
pub(super) fn before_id(entries: &[IndexEntry], id: RecordId) -> impl Iterator<Item = IndexEntry> {
    let count = entries.partition_point(|entry| entry.ms < id.ms);
    entries[..count].iter().rev().copied()
}
