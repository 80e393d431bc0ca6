//! Frames on their way into a log: all but what the log decides is encoded before any lock is taken.

use std::borrow::Cow;

use super::batch::{Batch, Malformed};
use super::compress::pack;
use super::frame::{FRAME_BYTES_MAX, FrameHeader, FrameKind, HEADER_BYTES, seal};
use crate::config::Compression;
use crate::ids::{Offset, RecordId};

/// What the log decides about a new frame; the rest is in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Placing {
    /// The segment's salt.
    pub salt: u32,
    /// Where in the segment the frame begins.
    pub position: u64,
    /// Its first offset.
    pub base: Offset,
    /// The ID of its first record.
    pub base_id: RecordId,
    /// The topic's durable offset now.
    pub durable: Offset,
}

/// A body that is ready to become a frame: encoding is done before any lock is taken.
#[derive(Debug)]
pub struct Packed<'a> {
    front: Vec<u8>,
    back: Cow<'a, [u8]>,
    header: FrameHeader,
    origins: u32,
}

impl<'a> Packed<'a> {
    /// Packs the records of `batch`, compressed if that makes them smaller.
    ///
    /// # Errors
    /// When the batch is larger than a frame can be.
    pub fn records(batch: &Batch<'a>, compression: Compression) -> Result<Packed<'a>, Malformed> {
        let mut front = Vec::with_capacity(HEADER_BYTES + 10 + batch.table.len());
        front.resize(HEADER_BYTES, 0);
        batch.put_front(&mut front);
        let mut back = Cow::Borrowed(batch.values);
        let mut zstd = false;
        if let Compression::Zstd(level) = compression {
            let body = [&front[HEADER_BYTES..], batch.values].concat();
            if let Some(packed) = pack(&body, level) {
                front.truncate(HEADER_BYTES);
                (back, zstd) = (Cow::Owned(packed), true);
            }
        }
        let length = front.len() + back.len();
        if length > FRAME_BYTES_MAX {
            return Err(Malformed("the batch is larger than a frame can be"));
        }
        let header = FrameHeader {
            length: length as u32,
            kind: FrameKind::Records,
            zstd,
            plain: batch.plain,
            has_origins: batch.origins > 0,
            base: Offset::ZERO,
            span: batch.count,
            count: batch.count,
            base_id: RecordId::ZERO,
            position: 0,
            durable: Offset::ZERO,
        };
        Ok(Packed { front, back, header, origins: batch.origins })
    }

    /// The same frame over `span` offsets, of which it holds records at some only.
    #[must_use]
    pub fn spanning(mut self, span: u32) -> Packed<'a> {
        debug_assert!(span >= self.header.count, "records have offsets of their own");
        self.header.span = span;
        self
    }

    /// Packs a control frame: a mark, a new log start, or a hole of `span` offsets.
    #[must_use]
    pub fn control(kind: FrameKind, span: u32, body: &[u8]) -> Packed<'static> {
        let mut front = vec![0; HEADER_BYTES];
        front.extend_from_slice(body);
        let header = FrameHeader {
            length: front.len() as u32,
            kind,
            zstd: false,
            plain: false,
            has_origins: false,
            base: Offset::ZERO,
            span,
            count: 0,
            base_id: RecordId::ZERO,
            position: 0,
            durable: Offset::ZERO,
        };
        Packed { front, back: Cow::Borrowed(&[]), header, origins: 0 }
    }

    /// Bytes of the frame.
    #[must_use]
    pub fn length(&self) -> u64 {
        u64::from(self.header.length)
    }

    /// How many of its records have an origin.
    #[must_use]
    pub fn origins(&self) -> u32 {
        self.origins
    }

    /// How many offsets it covers.
    #[must_use]
    pub fn span(&self) -> u32 {
        self.header.span
    }

    /// The two parts of the frame's bytes, for one gathering write.
    pub fn place(&mut self, placing: &Placing) -> [&[u8]; 2] {
        let header = FrameHeader {
            base: placing.base,
            base_id: placing.base_id,
            position: placing.position,
            durable: placing.durable,
            ..self.header
        };
        seal(&header, placing.salt, &mut self.front, &self.back);
        [&self.front, &self.back]
    }
}
