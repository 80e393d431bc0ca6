//! Reading the records of certain offsets.

use crate::codec::Records;
use crate::codec::records::{Record, RecordsMark};
use crate::error::Result;
use crate::ids::{Offset, Place};
use crate::log::{Log, LogGap, LogReader, Step};

/// Reads records by offset. Who asks for those that come next finds it where it stopped, also in the
/// middle of a frame: frames are large, and takes may be small.
#[derive(Debug)]
pub(in crate::broker) struct Picker {
    reader: LogReader,
    /// The frame of the last step, and what was not asked for yet.
    held: Option<Held>,
    /// Its body, if it is compressed.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    position: u64,
    length: u32,
    left: RecordsMark,
}

impl Picker {
    pub(in crate::broker) fn new(log: &Log) -> Picker {
        Picker { reader: LogReader::new(log.log_start(), log.epoch()), held: None, scratch: Vec::new() }
    }

    /// Hands out the records at these offsets, which rise, each with the number beside it; returns
    /// the gaps that were met. An offset without a record is passed.
    pub(in crate::broker) fn pick(
        &mut self,
        log: &Log,
        wanted: &[(Offset, usize)],
        mut each: impl FnMut(usize, &Record<'_>),
    ) -> Result<Vec<LogGap>> {
        let Picker { reader, held, scratch } = self;
        let mut gaps = Vec::new();
        let Some((last, _)) = wanted.last() else { return Ok(gaps) };
        if reader.place().epoch != log.epoch() {
            *held = None;
            reader.go_to(Place { offset: wanted[0].0, epoch: log.epoch() });
        }
        let mut left = wanted;
        while let Some(&(next, _)) = left.first() {
            let (frame, body, mut records) = match held.take() {
                Some(rest) => {
                    let Some(frame) = reader.again(rest.position, rest.length) else { continue };
                    let body = if frame.header.zstd { &scratch[..] } else { frame.stored_body() };
                    let records = Records::resume(body, &rest.left);
                    if next < records.next_offset() || next >= records.end_offset() {
                        continue;
                    }
                    (frame, body, records)
                }
                None => {
                    reader.seek(next);
                    let frame = match reader.step(log, last.plus(1))? {
                        Step::Frame { frame, .. } => frame,
                        Step::CaughtUp => break,
                        Step::Gap(gap) => {
                            left = from(left, gap.until);
                            gaps.push(gap);
                            continue;
                        }
                    };
                    let header = frame.header;
                    let records = frame.body(scratch).and_then(|body| {
                        let all = Records::new(body, header.base, header.span, header.count, header.base_id, header.plain);
                        all.map(|records| (body, records))
                    });
                    let Ok((body, records)) = records else {
                        left = from(left, header.end());
                        continue;
                    };
                    (frame, body, records)
                }
            };
            while let Some((offset, _)) = left.first()
                && let Some(Ok(record)) = records.next()
            {
                if record.offset < *offset {
                    continue;
                }
                left = from(left, record.offset);
                if let Some(((offset, number), rest)) = left.split_first()
                    && *offset == record.offset
                {
                    each(*number, &record);
                    left = rest;
                }
            }
            if left.is_empty() {
                let left = records.mark(body);
                *held = Some(Held { position: frame.header.position, length: frame.header.length, left });
            }
            left = from(left, records.end_offset());
        }
        Ok(gaps)
    }
}

/// Those at or above an offset.
fn from(wanted: &[(Offset, usize)], offset: Offset) -> &[(Offset, usize)] {
    let below = wanted.iter().take_while(|(other, _)| *other < offset).count();
    &wanted[below..]
}
