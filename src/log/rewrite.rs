//! A segment that a repair writes: frames taken over from the old one, holes where there are none.

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

/// The new file, under a temporary name.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) name: String,
    file: File,
    salt: u32,
    durable: Offset,
    /// Where the next frame goes.
    pub(super) position: u64,
    /// What is not written yet, the last bytes before `position`.
    buffer: Vec<u8>,
    end: Offset,
    last_id: RecordId,
    pub(super) index: Vec<IndexEntry>,
    /// Offsets that got holes here.
    pub(super) holes: Vec<(Offset, Offset)>,
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
        })
    }

    /// Takes over a frame.
    pub(super) fn copy(&mut self, frame: &Frame<'_>, last_id: Option<RecordId>) -> Result<()> {
        self.hole(frame.header.base)?;
        if self.position - self.index.last().map_or(HEADER_BYTES as u64, |entry| entry.position) >= index::STRIDE {
            self.index.push(IndexEntry { position: self.position, ..IndexEntry::of(&frame.header) });
        }
        frame.put_moved(&mut self.buffer, self.salt, self.position, frame.header.durable);
        self.end = frame.header.end();
        self.last_id = last_id.unwrap_or_default().max(self.last_id);
        self.pass(u64::from(frame.header.length))
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
        self.file.write_all_at(&[&self.buffer], self.position - self.buffer.len() as u64)?;
        self.buffer.clear();
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
