//! Groups of the embedded log behind the engine's traits.

use std::time::Duration;

use super::embedded::gap;
use super::{
    Consumer, ConsumerInfo, Delivery, Gap, GroupInfo, GroupReceipt, Hold, Nacked, PendingEntry, Receipt, Settler, Taken,
};
use crate::broker::dead_letters::{DeadLetter, DeadLetters};
use crate::broker::{GroupMember, GroupSettler, OpenGroup};
use crate::codec::Record;
use crate::codec::group_event::{EntryKey, Source};
use crate::error::Result;
use crate::ids::{GroupName, Offset, TimestampMs, TopicName};
use crate::job::Job;
use crate::log::{LogReader, Mode, Step};
use crate::store::Store;

/// A consumer waits no longer than this before it looks after the others.
const WAIT_MAX: Duration = Duration::from_millis(50);

impl Settler for GroupSettler<'_> {
    fn tag(&self) -> u32 {
        GroupSettler::tag(self)
    }

    fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        GroupSettler::ack(self, receipts)
    }

    fn nack(&mut self, receipts: &[Receipt], counted: bool, delay: Option<Duration>, reason: &[u8]) -> Result<Nacked> {
        let delay_ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let (late, dead) = GroupSettler::nack(self, receipts, counted, delay_ms, reason)?;
        Ok(Nacked { late, dead })
    }

    fn bury(&mut self, receipt: &Receipt, reason: &[u8]) -> Result<bool> {
        GroupSettler::bury(self, receipt.key, Some(receipt.lease), reason)
    }

    fn settle(&mut self) -> Result<()> {
        GroupSettler::settle(self)
    }
}

pub(super) struct EmbeddedConsumer<'s>(pub(super) GroupMember<'s>);

impl Settler for EmbeddedConsumer<'_> {
    fn tag(&self) -> u32 {
        self.0.tag()
    }

    fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.0.settler().ack(receipts)
    }

    fn nack(&mut self, receipts: &[Receipt], counted: bool, delay: Option<Duration>, reason: &[u8]) -> Result<Nacked> {
        Settler::nack(self.0.settler(), receipts, counted, delay, reason)
    }

    fn bury(&mut self, receipt: &Receipt, reason: &[u8]) -> Result<bool> {
        Settler::bury(self.0.settler(), receipt, reason)
    }

    fn settle(&mut self) -> Result<()> {
        self.0.settler().settle()
    }
}

impl Consumer for EmbeddedConsumer<'_> {
    fn take(&mut self, count: usize, no_ack: bool, each: &mut dyn FnMut(&Delivery, &Record<'_>)) -> Result<Taken> {
        let handed = self.0.take(count, no_ack, each)?;
        let gaps = handed.gaps.into_iter().map(gap).collect();
        Ok(Taken { count: handed.deliveries.len(), gaps, dead: handed.dead })
    }

    fn beat(&mut self) -> Result<()> {
        self.0.look_after_others()
    }

    fn wait(&mut self) -> Result<()> {
        self.0.wait(WAIT_MAX);
        Ok(())
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.0.is_drained()
    }

    fn leave(&mut self) -> Result<()> {
        self.0.leave()
    }
}

/// Looks at the letters through one opening of the group, and changes them through another.
pub(super) struct EmbeddedLetters<'s> {
    store: &'s Store,
    topic: TopicName,
    group: GroupName,
    job: Job,
    read: DeadLetters<'s>,
    changed: Option<DeadLetters<'s>>,
}

impl<'s> EmbeddedLetters<'s> {
    pub(super) fn open(store: &'s Store, topic: &TopicName, group: &GroupName, job: &Job) -> Result<EmbeddedLetters<'s>> {
        let read = DeadLetters::open(store, topic, group, Mode::Read, job.clone())?;
        Ok(EmbeddedLetters { store, topic: topic.clone(), group: group.clone(), job: job.clone(), read, changed: None })
    }

    fn change(&mut self) -> Result<&mut DeadLetters<'s>> {
        match &mut self.changed {
            Some(open) => Ok(open),
            none => {
                let open = DeadLetters::open(self.store, &self.topic, &self.group, Mode::Write, self.job.clone())?;
                Ok(none.insert(open))
            }
        }
    }
}

impl super::DeadLetters for EmbeddedLetters<'_> {
    fn read(&mut self, each: &mut dyn FnMut(&DeadLetter, &Record<'_>) -> bool) -> Result<Vec<Gap>> {
        Ok(self.read.read(each)?.into_iter().map(gap).collect())
    }

    fn retry(&mut self, letters: &[DeadLetter]) -> Result<u64> {
        self.change()?.retry(letters)
    }

    fn drop_letters(&mut self, letters: &[Offset]) -> Result<u64> {
        self.change()?.drop_letters(letters)
    }
}

/// Hands out what is pending, as of the opening.
pub(super) fn pending(open: &OpenGroup<'_>, now: TimestampMs, each: &mut dyn FnMut(&PendingEntry<'_>) -> bool) {
    let state = open.state();
    let entries = [Source::Topic, Source::DeadLetter]
        .into_iter()
        .flat_map(|source| state.pending(source, Offset::ZERO).map(move |(offset, entry)| (EntryKey { source, offset }, entry)));
    for (key, entry) in entries {
        let waits = entry.hold == Hold::Waiting;
        let shown = PendingEntry {
            receipt: GroupReceipt { tag: open.tag(), receipt: Receipt { key, lease: entry.lease } },
            hold: entry.hold,
            consumer: entry.consumer.and_then(|id| state.consumer(id)).map(|consumer| &consumer.name[..]),
            attempts: entry.deliveries,
            idle_ms: now.0.saturating_sub(entry.at.0),
            due_ms: waits.then(|| entry.due().0.saturating_sub(now.0)),
        };
        if !each(&shown) {
            return;
        }
    }
}

/// What there is to know of a group.
pub(super) fn info(open: &OpenGroup<'_>, store: &Store) -> Result<GroupInfo> {
    let (state, log) = (open.state(), open.topic().log());
    let high = log.high_watermark();
    let committed = state.committed();
    let now = store.clock().now();
    let mut lanes = std::collections::HashMap::new();
    for owner in state.lanes().iter().filter_map(|lane| lane.owner) {
        *lanes.entry(owner).or_insert(0u64) += 1;
    }
    let consumers = state.consumers().map(|(id, consumer)| ConsumerInfo {
        name: consumer.name.to_vec(),
        is_member: consumer.is_member,
        pending: consumer.leased,
        lanes: lanes.get(&id).copied().unwrap_or(0),
        idle_ms: consumer.active_at.map(|at| now.0.saturating_sub(at.0)),
    });
    let counters = state.counters();
    let pending = [Source::Topic, Source::DeadLetter].into_iter().flat_map(|source| state.pending(source, Offset::ZERO));
    let oldest = pending.map(|(_, entry)| entry.at.0).min();
    Ok(GroupInfo {
        settings: state.settings().clone(),
        committed,
        undelivered: state.undelivered(high),
        pending: state.pending_count(),
        lag: high.since(committed.offset),
        lag_ms: time_of(open, committed.offset, high)?.map_or(0, |ms| now.0.saturating_sub(ms)),
        rate: counters.pace.per_second(now),
        oldest_pending_ms: oldest.map_or(0, |at| now.0.saturating_sub(at)),
        delivered: counters.delivered,
        redelivered: counters.redelivered,
        acked: counters.acked,
        dead: counters.dead,
        consumers: consumers.collect(),
    })
}

/// When the first record at or after `from` was published, in ms since 1970.
fn time_of(open: &OpenGroup<'_>, from: Offset, until: Offset) -> Result<Option<u64>> {
    let log = open.topic().log();
    let mut reader = LogReader::new(from, log.epoch());
    let mut scratch = Vec::new();
    while let Step::Frame { frame, from, until } = reader.step(log, until)? {
        let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
        if let Some(record) = records.flatten().next() {
            return Ok(Some(record.id.ms));
        }
    }
    Ok(None)
}
