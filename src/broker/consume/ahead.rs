//! Reading on for a consumer of a group of order `key`: whose lanes the next records are of.

use crate::broker::group::{self, Fresh};
use crate::error::Result;
use crate::ids::{Epoch, Lane, Offset, Place};
use crate::log::{GapReason, Log, LogReader, Step};

/// So many records are looked at for those of one's own lanes at a time.
const STRETCH: usize = 16_384;

/// What was read and not all taken yet: every record of a stretch of the topic, and its lane. It is
/// kept from one take to the next, so that each record is looked at once.
#[derive(Debug)]
pub(in crate::broker) struct Ahead {
    /// It stands where the stretch ends.
    reader: LogReader,
    from: Offset,
    records: Vec<(Offset, Lane)>,
    scratch: Vec<u8>,
}

impl Ahead {
    pub(in crate::broker) fn new(log: &Log) -> Ahead {
        let start = log.log_start();
        Ahead { reader: LogReader::new(start, log.epoch()), from: start, records: Vec::new(), scratch: Vec::new() }
    }

    /// Sees to it that the stretch begins at `from`, and reads on until `count` records of it are in
    /// lanes that are `own`, or it is long enough.
    pub(in crate::broker) fn read(
        &mut self,
        log: &Log,
        from: Offset,
        until: Offset,
        own: impl Fn(Lane) -> bool,
        count: usize,
    ) -> Result<()> {
        self.begin_at(Place { offset: from, epoch: log.epoch() });
        let mut mine = self.records.iter().filter(|(_, lane)| own(*lane)).count();
        while mine < count && self.records.len() < STRETCH && self.reader.place().offset < until {
            match self.reader.step(log, until)? {
                Step::CaughtUp => break,
                // What was read is no more.
                Step::Gap(gap) if gap.reason == GapReason::Rewound => {
                    self.records.clear();
                    self.from = self.reader.place().offset;
                    break;
                }
                Step::Gap(_) => {}
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut self.scratch, from, until) else { continue };
                    for record in records.flatten() {
                        let lane = group::lane_of(record.key(), record.offset);
                        mine += usize::from(own(lane));
                        self.records.push((record.offset, lane));
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_at(&mut self, place: Place) {
        let end = self.reader.place();
        if place.epoch == end.epoch && (self.from..=end.offset).contains(&place.offset) {
            let passed = self.records.partition_point(|(offset, _)| *offset < place.offset);
            self.records.drain(..passed);
        } else {
            self.records.clear();
            self.reader.go_to(place);
        }
        self.from = place.offset;
    }

    /// What there is for a group whose places are of `epoch`: nothing that was read in another one.
    pub(in crate::broker) fn offer(&self, epoch: Epoch) -> Fresh<'_> {
        let end = self.reader.place();
        let records = if end.epoch == epoch { &self.records[..] } else { &[] };
        Fresh::Read { from: self.from, to: if end.epoch == epoch { end.offset } else { self.from }, records }
    }
}
