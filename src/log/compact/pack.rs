//! Writing the records that are kept into a new segment: small frames become large ones, and what is left
//! out leaves its offsets behind.

use crate::codec::batch::Malformed;
use crate::codec::frame::{FRAME_BYTES_AIM, Packed};
use crate::codec::{BatchBuilder, Frame, FrameKind, Record, SegmentHeader};
use crate::config::Compression;
use crate::disk::Dir;
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::log::rewrite::Rewrite;

/// A frame of which all is kept is taken over as it is from so many bytes on.
const WHOLE_MIN: u32 = 64 << 10;
/// A frame covers no more offsets than this, plus those of one old frame.
const SPAN_MAX: u64 = 1 << 31;

/// The new segment.
pub(super) struct Pack {
    pub(super) new: Rewrite,
    header: SegmentHeader,
    compression: Compression,
    batch: BatchBuilder,
    /// The offset after the last one that was taken in.
    pub(super) end: Offset,
    /// The offset after the last record of the batch.
    next: Offset,
    /// The base ID of the first frame that was taken in since the last one was written, and of the first
    /// record of the batch.
    ids: (Option<RecordId>, Option<RecordId>),
    durable: Offset,
    /// Records that are in it.
    pub(super) kept: u64,
    /// Offsets of holes.
    given_up: u64,
    scratch: Vec<u8>,
}

impl Pack {
    pub(super) fn begin(dir: &Dir, name: &str, header: SegmentHeader, compression: Compression) -> Result<Pack> {
        let (base, durable) = (header.base, header.durable);
        Ok(Pack {
            new: Rewrite::begin(dir, name, &header, durable)?,
            header,
            compression,
            batch: BatchBuilder::new(),
            end: base,
            next: base,
            ids: (None, None),
            durable: Offset::ZERO,
            kept: 0,
            given_up: 0,
            scratch: Vec::new(),
        })
    }

    /// Takes in a frame: of its records those that `keeps` says.
    pub(super) fn take(&mut self, frame: &Frame<'_>, mut keeps: impl FnMut(&Record<'_>) -> Result<bool>) -> Result<()> {
        match frame.header.kind {
            FrameKind::Records => {}
            FrameKind::Hole => {
                self.flush()?;
                self.given_up += u64::from(frame.header.span);
                return self.copy(frame);
            }
            // What they say, the next segment's header says too.
            FrameKind::Mark | FrameKind::LogStart | FrameKind::Counters => return Ok(()),
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let taken = self.take_records(frame, &mut scratch, &mut keeps);
        self.scratch = scratch;
        taken
    }

    fn take_records(
        &mut self,
        frame: &Frame<'_>,
        scratch: &mut Vec<u8>,
        keeps: &mut impl FnMut(&Record<'_>) -> Result<bool>,
    ) -> Result<()> {
        let header = frame.header;
        let malformed = |why: Malformed| Error::Damaged { path: "".into(), position: header.position, what: why.to_string() };
        let records = frame.records(scratch).map_err(malformed)?;
        if header.length >= WHOLE_MIN {
            let mut is_whole = true;
            for record in records.clone() {
                is_whole = keeps(&record.map_err(malformed)?)?;
                if !is_whole {
                    break;
                }
            }
            if is_whole {
                self.flush()?;
                self.kept += u64::from(header.count);
                return self.copy(frame);
            }
        }
        self.ids.0.get_or_insert(header.base_id);
        self.durable = self.durable.max(header.durable);
        for record in records {
            let record = record.map_err(malformed)?;
            if keeps(&record)? {
                self.push(&record).map_err(malformed)?;
            }
        }
        self.end = header.end();
        let is_full = self.batch.bytes() >= FRAME_BYTES_AIM || self.end.since(self.new.end) >= SPAN_MAX;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn push(&mut self, record: &Record<'_>) -> std::result::Result<(), Malformed> {
        self.batch.push_kept(record, record.offset.since(self.next))?;
        self.ids.1.get_or_insert(record.id);
        self.next = record.offset.plus(1);
        self.kept += 1;
        Ok(())
    }

    fn copy(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.new.copy(frame, None)?;
        self.end = frame.header.end();
        self.next = self.end;
        Ok(())
    }

    /// Writes what was taken in as one frame.
    fn flush(&mut self) -> Result<()> {
        let span = self.end.since(self.new.end);
        if span == 0 {
            return Ok(());
        }
        let span = u32::try_from(span).expect("no frame is let to cover more");
        let refused = |why: Malformed| Error::RecordRefused { why: why.to_string() };
        let mut packed = Packed::records(&self.batch.batch(), self.compression).map_err(refused)?.spanning(span);
        let base_id = self.ids.1.or(self.ids.0).unwrap_or(self.header.last_id);
        self.new.put(&mut packed, base_id, self.durable)?;
        drop(packed);
        self.batch.clear();
        (self.ids, self.durable, self.next) = ((None, None), Offset::ZERO, self.end);
        Ok(())
    }

    /// Ends the segment, on the disk but for its name. `deleted` of the offsets without a record are among the
    /// deleted ones.
    pub(super) fn finish(&mut self, deleted: u64, deletions: Offset) -> Result<()> {
        self.flush()?;
        let compacted = &mut self.header.compacted;
        compacted.removed = self.end.since(self.header.base) - self.kept - self.given_up;
        (compacted.deleted, compacted.deletions, compacted.end) = (deleted, deletions, self.end);
        self.new.put_header(&self.header)?;
        self.new.finish(self.end)
    }
}
