//! Reading the records of certain offsets.

use crate::codec::records::Record;
use crate::error::Result;
use crate::ids::{Offset, Place, RecordId};
use crate::log::{Log, LogGap, LogReader, Step};

/// Reads records by offset. Who asks for those that come next finds it where it stopped, also in the
/// middle of a frame: frames are large, and takes may be small.
#[derive(Debug)]
pub(in crate::broker) struct Picker {
    reader: LogReader,
    /// The body of a frame, if it is compressed.
    scratch: Vec<u8>,
}

impl Picker {
    pub(in crate::broker) fn new(log: &Log) -> Picker {
        Picker { reader: LogReader::new(log.log_start(), log.epoch()), scratch: Vec::new() }
    }

    /// Hands out the records at these offsets, which rise, each with the number beside it; returns
    /// the gaps that were met. An offset without a record is passed.
    pub(in crate::broker) fn pick(
        &mut self,
        log: &Log,
        wanted: &[(Offset, usize)],
        mut each: impl FnMut(usize, &Record<'_>),
    ) -> Result<Vec<LogGap>> {
        let Picker { reader, scratch } = self;
        let mut gaps = Vec::new();
        let Some((last, _)) = wanted.last() else { return Ok(gaps) };
        if reader.place().epoch != log.epoch() {
            reader.go_to(Place { offset: wanted[0].0, epoch: log.epoch() });
        }
        let mut left = wanted;
        while let Some(&(next, _)) = left.first() {
            if reader.place().offset != next {
                reader.seek(next);
            }
            let (frame, from, until) = match reader.step(log, last.plus(1))? {
                Step::Frame { frame, from, until } => (frame, from, until),
                Step::CaughtUp => break,
                Step::Gap(gap) => {
                    left = at_or_above(left, gap.until);
                    gaps.push(gap);
                    continue;
                }
            };
            let until = until.min(frame.header.end());
            if let Ok(records) = frame.records_in(scratch, from, until) {
                for record in records.flatten() {
                    left = at_or_above(left, record.offset);
                    match left.split_first() {
                        Some((&(offset, number), rest)) if offset == record.offset => {
                            each(number, &record);
                            left = rest;
                        }
                        Some(_) => {}
                        None => break,
                    }
                }
            }
            left = at_or_above(left, until);
        }
        Ok(gaps)
    }
}

/// The first record in `[from, until)`: deletions and compaction may have left few.
pub(in crate::broker) fn first_record(log: &Log, from: Offset, until: Offset) -> Result<Option<(Offset, RecordId)>> {
    let mut first = None;
    each_record(log, from, until, |record| {
        first = Some((record.offset, record.id));
        false
    })?;
    Ok(first)
}

/// The last record in `[start, end)`.
pub(in crate::broker) fn last_record(log: &Log, start: Offset, mut end: Offset) -> Result<Option<(Offset, RecordId)>> {
    let mut stretch = 64_u64;
    while end > start {
        let from = Offset(end.0.saturating_sub(stretch)).max(start);
        let mut last = None;
        each_record(log, from, end, |record| {
            last = Some((record.offset, record.id));
            true
        })?;
        if last.is_some() {
            return Ok(last);
        }
        (end, stretch) = (from, stretch.saturating_mul(2));
    }
    Ok(None)
}

fn each_record(log: &Log, from: Offset, until: Offset, mut each: impl FnMut(&Record<'_>) -> bool) -> Result<()> {
    let mut reader = LogReader::new(from, log.epoch());
    let mut scratch = Vec::new();
    loop {
        let (frame, from, until) = match reader.step(log, until)? {
            Step::CaughtUp => return Ok(()),
            Step::Gap(_) => continue,
            Step::Frame { frame, from, until } => (frame, from, until),
        };
        let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
        for record in records.flatten() {
            if !each(&record) {
                return Ok(());
            }
        }
    }
}

/// Those at or above an offset.
fn at_or_above(wanted: &[(Offset, usize)], offset: Offset) -> &[(Offset, usize)] {
    let below = wanted.iter().take_while(|(other, _)| *other < offset).count();
    &wanted[below..]
}
