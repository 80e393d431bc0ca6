//! The fields of a group event, to bytes and back.

use std::num::NonZeroU32;

use super::{Assign, BadEvent, Count, Entries, EntryKey, GroupSettings, Order, Source};
use crate::codec::{Runs, varint};
use crate::ids::{ConsumerId, Incarnation, Lane, Offset, TimestampMs};

/// By the number that stands for each.
pub(super) const ORDERS: [Order; 3] = [Order::None, Order::Key, Order::Topic];
pub(super) const ASSIGNS: [Assign; 4] = [Assign::Range, Assign::RoundRobin, Assign::Sticky, Assign::ConsistentHash];

/// Appends; each call hands itself on, so that an event's fields read as one line.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(out)
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        varint::put(self.0, number);
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(u64::from(flag))
    }

    pub(super) fn option(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            None => self.flag(false),
            Some(number) => self.flag(true).number(number),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(super) fn consumer(&mut self, consumer: ConsumerId) -> &mut Self {
        self.number(u64::from(consumer.get()))
    }

    pub(super) fn incarnation(&mut self, incarnation: Incarnation) -> &mut Self {
        self.0.extend_from_slice(&incarnation.0);
        self
    }

    pub(super) fn runs(&mut self, runs: &Runs) -> &mut Self {
        runs.encode(self.0);
        self
    }

    pub(super) fn entries(&mut self, entries: &Entries) -> &mut Self {
        self.runs(&entries.topic).runs(&entries.dead_letter)
    }

    pub(super) fn entry(&mut self, entry: EntryKey) -> &mut Self {
        self.flag(entry.source == Source::DeadLetter).number(entry.offset.0)
    }

    pub(super) fn count(&mut self, count: Count) -> &mut Self {
        match count {
            Count::Add => self.number(0),
            Count::Keep => self.number(1),
            Count::Set(count) => self.number(2).number(u64::from(count)),
            Count::Undo => self.number(3),
        }
    }

    pub(super) fn settings(&mut self, settings: &GroupSettings) -> &mut Self {
        self.one_of(&ORDERS, settings.order).one_of(&ASSIGNS, settings.assign);
        self.number(settings.lease_ms).option(settings.attempts_max.map(|max| u64::from(max.get())));
        self.number(settings.backoff_min_ms).number(settings.backoff_max_ms).flag(settings.no_ack).flag(settings.paused)
    }

    fn one_of<T: PartialEq>(&mut self, all: &[T], choice: T) -> &mut Self {
        let index = all.iter().position(|each| *each == choice).expect("the tables name every choice");
        self.number(index as u64)
    }

    pub(super) fn lanes(&mut self, lanes: &[Lane]) -> &mut Self {
        self.number(lanes.len() as u64);
        lanes.iter().fold(self, |put, lane| put.number(u64::from(lane.0)))
    }

    pub(super) fn assignment(&mut self, lanes: &[(Lane, ConsumerId)]) -> &mut Self {
        let is_run = |a: &(Lane, ConsumerId), b: &(Lane, ConsumerId)| a.1 == b.1 && u32::from(a.0.0) + 1 == u32::from(b.0.0);
        let runs: Vec<&[(Lane, ConsumerId)]> = lanes.chunk_by(is_run).collect();
        self.number(runs.len() as u64);
        let mut end = 0;
        for run in runs {
            let (lane, consumer) = run[0];
            self.number(u64::from(lane.0).saturating_sub(end)).number(run.len() as u64 - 1).consumer(consumer);
            end = u64::from(lane.0) + run.len() as u64;
        }
        self
    }
}

const CUT: BadEvent = BadEvent::Malformed("it is cut off");

/// Takes off the front; every bound is checked.
pub(super) struct Reader<'a, 'b>(&'a mut &'b [u8]);

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(bytes: &'a mut &'b [u8]) -> Reader<'a, 'b> {
        Reader(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadEvent> {
        let (&byte, rest) = self.0.split_first().ok_or(CUT)?;
        *self.0 = rest;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, BadEvent> {
        varint::take(self.0).ok_or(CUT)
    }

    pub(super) fn small(&mut self) -> Result<u32, BadEvent> {
        u32::try_from(self.number()?).map_err(|_| BadEvent::Malformed("a number is too large"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, BadEvent> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadEvent::Malformed("a flag is neither 0 nor 1")),
        }
    }

    pub(super) fn option(&mut self) -> Result<Option<u64>, BadEvent> {
        Ok(if self.flag()? { Some(self.number()?) } else { None })
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, BadEvent> {
        let index = self.small()? as usize;
        all.get(index).copied().ok_or(BadEvent::Malformed("a choice is not among those there are"))
    }

    pub(super) fn bytes(&mut self) -> Result<Box<[u8]>, BadEvent> {
        let count = usize::try_from(self.number()?).map_err(|_| CUT)?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        *self.0 = rest;
        Ok(bytes.into())
    }

    pub(super) fn consumer(&mut self) -> Result<ConsumerId, BadEvent> {
        NonZeroU32::new(self.small()?).map(ConsumerId).ok_or(BadEvent::Malformed("there is no consumer 0"))
    }

    pub(super) fn time(&mut self) -> Result<TimestampMs, BadEvent> {
        self.number().map(TimestampMs)
    }

    pub(super) fn offset(&mut self) -> Result<Offset, BadEvent> {
        self.number().map(Offset)
    }

    pub(super) fn lane(&mut self) -> Result<Lane, BadEvent> {
        let lane = self.number()?;
        if lane >= u64::from(Lane::COUNT) {
            return Err(BadEvent::Malformed("a lane is beyond the last one"));
        }
        Ok(Lane(lane as u16))
    }

    pub(super) fn incarnation(&mut self) -> Result<Incarnation, BadEvent> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        *self.0 = rest;
        Ok(Incarnation(*bytes))
    }

    pub(super) fn runs(&mut self) -> Result<Runs, BadEvent> {
        Runs::decode(self.0).ok_or(BadEvent::Malformed("its offsets are not runs"))
    }

    pub(super) fn entries(&mut self) -> Result<Entries, BadEvent> {
        Ok(Entries { topic: self.runs()?, dead_letter: self.runs()? })
    }

    pub(super) fn entry(&mut self) -> Result<EntryKey, BadEvent> {
        let source = if self.flag()? { Source::DeadLetter } else { Source::Topic };
        Ok(EntryKey { source, offset: self.offset()? })
    }

    pub(super) fn count(&mut self) -> Result<Count, BadEvent> {
        match self.number()? {
            0 => Ok(Count::Add),
            1 => Ok(Count::Keep),
            2 => Ok(Count::Set(self.small()?)),
            3 => Ok(Count::Undo),
            _ => Err(BadEvent::Malformed("an unknown way to count")),
        }
    }

    pub(super) fn settings(&mut self) -> Result<GroupSettings, BadEvent> {
        let (order, assign, lease_ms) = (self.one_of(&ORDERS)?, self.one_of(&ASSIGNS)?, self.number()?);
        let attempts_max = if self.flag()? {
            Some(NonZeroU32::new(self.small()?).ok_or(BadEvent::Malformed("no attempts at all"))?)
        } else {
            None
        };
        let (backoff_min_ms, backoff_max_ms) = (self.number()?, self.number()?);
        let (no_ack, paused) = (self.flag()?, self.flag()?);
        Ok(GroupSettings { order, assign, lease_ms, attempts_max, backoff_min_ms, backoff_max_ms, no_ack, paused })
    }

    pub(super) fn assignment(&mut self) -> Result<Vec<(Lane, ConsumerId)>, BadEvent> {
        let mut lanes = Vec::new();
        let mut end = 0u64;
        for _ in 0..self.number()? {
            let start = end.saturating_add(self.number()?);
            end = start.saturating_add(self.number()?).saturating_add(1);
            if end > u64::from(Lane::COUNT) {
                return Err(BadEvent::Malformed("a lane is beyond the last one"));
            }
            let consumer = self.consumer()?;
            lanes.extend((start..end).map(|lane| (Lane(lane as u16), consumer)));
        }
        Ok(lanes)
    }

    /// The lanes of so many records, or none at all.
    pub(super) fn lanes(&mut self, records: u64) -> Result<Vec<Lane>, BadEvent> {
        let lane_count = self.number()?;
        if lane_count > 0 && lane_count != records {
            return Err(BadEvent::Malformed("not every record has a lane"));
        }
        (0..lane_count).map(|_| self.lane()).collect()
    }
}
