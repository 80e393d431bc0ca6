//! A segment that a repair or a compaction writes: frames taken over from old ones, holes where there are none.

use super::index::{self, IndexEntry};
use super::slot::Slot;
use crate::codec::frame::{HEADER_BYTES as FRAME_HEADER_BYTES, Packed, Placing};
use crate::codec::segment::HEADER_BYTES;
use crate::codec::{Frame, FrameKind, SegmentHeader};
use crate::disk::{Dir, File};
use crate::error::Result;
use crate::ids::{Offset, RecordId};

/// Frames are written so many bytes at a time.
const WRITE_BYTES: usize = 1 << 20;
/// And synced so many at a time.
const SYNC_BYTES: u64 = 16 << 20;

/// The new file, under a temporary name.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) name: String,
    file: File,
    pub(super) salt: u32,
    durable: Offset,
    /// Where the next frame goes.
    pub(super) position: u64,
    /// What is not written yet, the last bytes before `position`.
    buffer: Vec<u8>,
    pub(super) end: Offset,
    last_id: RecordId,
    pub(super) index: Vec<IndexEntry>,
    /// Offsets that got holes here.
    pub(super) holes: Vec<(Offset, Offset)>,
    /// Bytes that are on the disk.
    synced: u64,
}

impl Rewrite {
    pub(super) fn begin(dir: &Dir, name: &str, header: &SegmentHeader, durable: Offset) -> Result<Rewrite> {
        let file = dir.create_file(name.as_bytes())?;
        Ok(Rewrite {
            name: name.to_owned(),
            file,
            salt: header.salt,
            durable,
            position: HEADER_BYTES as u64,
            buffer: header.encode().to_vec(),
            end: header.base,
            last_id: header.last_id,
            index: Vec::new(),
            holes: Vec::new(),
            synced: 0,
        })
    }

    /// Takes over a frame.
    pub(super) fn copy(&mut self, frame: &Frame<'_>, last_id: Option<RecordId>) -> Result<()> {
        self.hole(frame.header.base)?;
        self.note_in_index(IndexEntry::of(&frame.header));
        frame.put_moved(&mut self.buffer, self.salt, self.position, frame.header.durable);
        self.end = frame.header.end();
        self.last_id = last_id.unwrap_or_default().max(self.last_id);
        self.pass(u64::from(frame.header.length))
    }

    /// Appends a new frame, which covers the offsets from where this one ends up to `end`.
    pub(super) fn put(&mut self, frame: &mut Packed<'_>, base_id: RecordId, durable: Offset) -> Result<()> {
        let (salt, position, base) = (self.salt, self.position, self.end);
        self.note_in_index(IndexEntry { base, position, ms: base_id.ms });
        for part in frame.place(&Placing { salt, position, base, base_id, durable }) {
            self.buffer.extend_from_slice(part);
        }
        self.end = base.plus(u64::from(frame.span()));
        self.pass(frame.length())
    }

    /// Writes the header anew, with what is known by now.
    pub(super) fn put_header(&mut self, header: &SegmentHeader) -> Result<()> {
        self.flush()?;
        self.file.write_all_at(&[&header.encode()], 0)
    }

    fn note_in_index(&mut self, entry: IndexEntry) {
        if self.position - self.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
            self.index.push(IndexEntry { position: self.position, ..entry });
        }
    }

    /// Notes that the offsets up to `until` are lost.
    pub(super) fn hole(&mut self, until: Offset) -> Result<()> {
        if self.end < until {
            self.holes.push((self.end, until));
        }
        while self.end < until {
            let span = u32::try_from(until.since(self.end)).unwrap_or(u32::MAX);
            let mut frame = Packed::control(FrameKind::Hole, span, &[]);
            let (salt, position, base, base_id, durable) = (self.salt, self.position, self.end, self.last_id, self.durable);
            for part in frame.place(&Placing { salt, position, base, base_id, durable }) {
                self.buffer.extend_from_slice(part);
            }
            self.end = self.end.plus(u64::from(span));
            self.pass(frame.length())?;
        }
        Ok(())
    }

    /// What a hole of so many offsets takes.
    pub(super) fn bytes_of_hole(records: u64) -> u64 {
        records.div_ceil(u64::from(u32::MAX)) * FRAME_HEADER_BYTES as u64
    }

    fn pass(&mut self, bytes: u64) -> Result<()> {
        self.position += bytes;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&[&self.buffer], self.position - self.buffer.len() as u64)?;
        self.buffer.clear();
        // A little at a time: one great sync at the end would hold up those who append meanwhile.
        if self.position - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.position;
        }
        Ok(())
    }

    /// Ends it at offset `until`, on the disk but for its name.
    pub(super) fn finish(&mut self, until: Offset) -> Result<()> {
        self.hole(until)?;
        self.flush()?;
        self.file.sync()
    }

    /// The state of the log once this is its active segment.
    pub(super) fn slot(&self, before: Slot) -> Slot {
        let (index_bytes, indexed) = index::place_after(&self.index);
        Slot {
            end_position: self.position,
            active_inode: self.file.inode(),
            active_salt: self.salt,
            index_bytes,
            indexed,
            ..before
        }
    }
}
