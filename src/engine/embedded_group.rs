//! Groups of the embedded log behind the engine's traits.

use std::time::{Duration, Instant};

use super::embedded::gap;
use super::{
    Consumer, ConsumerInfo, Delivery, Gap, GroupInfo, GroupReceipt, Hold, Nacked, PendingEntry, Receipt, Settler, Taken,
};
use crate::broker::dead_letters::{DeadLetter, DeadLetters};
use crate::broker::{Amount, Gate, GroupMember, GroupSettler, OpenGroup};
use crate::codec::Record;
use crate::codec::group_event::{EntryKey, Source};
use crate::error::Result;
use crate::ids::{GroupName, Offset, TimestampMs, TopicName};
use crate::job::Job;
use crate::log::Mode;
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

pub(super) struct EmbeddedConsumer<'s> {
    member: GroupMember<'s>,
    store: &'s Store,
    group: GroupName,
    /// What holds it up, and in which generation of the topic's settings.
    gate: (Option<u64>, Gate),
    /// It got nothing, and may come again at this time.
    due: Option<Instant>,
    /// For how long it was told to wait since it last got records.
    waits: Duration,
}

impl<'s> EmbeddedConsumer<'s> {
    pub(super) fn new(store: &'s Store, member: GroupMember<'s>, group: &GroupName) -> EmbeddedConsumer<'s> {
        let (group, gate) = (group.clone(), (None, Gate::free()));
        EmbeddedConsumer { member, store, group, gate, due: None, waits: Duration::ZERO }
    }

    /// How many records the limit of the group lets it take; `None` = it has to wait.
    fn room(&mut self, count: usize) -> Result<Option<usize>> {
        let generation = Some(self.member.topic().log().settings_generation());
        if self.gate.0 != generation {
            self.gate = (generation, Gate::to_read(self.store, self.group.as_bytes())?);
        }
        let gate = &mut self.gate.1;
        if gate.is_free() {
            return Ok(Some(count));
        }
        let stretch = gate.stretch(self.store)?;
        if stretch.wait.is_zero() {
            let most = usize::try_from(gate.records_in(&stretch)).unwrap_or(usize::MAX);
            return Ok(Some(count.min(most)));
        }
        self.due = Instant::now().checked_add(stretch.wait);
        self.waits = self.waits.max(stretch.wait);
        Ok(None)
    }
}

impl Settler for EmbeddedConsumer<'_> {
    fn tag(&self) -> u32 {
        self.member.tag()
    }

    fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.member.settler().ack(receipts)
    }

    fn nack(&mut self, receipts: &[Receipt], counted: bool, delay: Option<Duration>, reason: &[u8]) -> Result<Nacked> {
        Settler::nack(self.member.settler(), receipts, counted, delay, reason)
    }

    fn bury(&mut self, receipt: &Receipt, reason: &[u8]) -> Result<bool> {
        Settler::bury(self.member.settler(), receipt, reason)
    }

    fn settle(&mut self) -> Result<()> {
        self.member.settler().settle()
    }
}

impl Consumer for EmbeddedConsumer<'_> {
    fn take(&mut self, count: usize, no_ack: bool, each: &mut dyn FnMut(&Delivery, &Record<'_>)) -> Result<Taken> {
        let Some(count) = self.room(count)? else {
            // It lives all the same.
            self.member.look_after_others()?;
            return Ok(Taken { is_limited: true, ..Taken::default() });
        };
        let mut amount = Amount::default();
        let is_free = self.gate.1.is_free();
        let handed = self.member.take(count, no_ack, |delivery, record| {
            if !is_free {
                amount.records += 1;
                amount.bytes += record.bytes();
            }
            each(delivery, record);
        })?;
        if amount.records > 0 {
            self.gate.1.charge(amount, std::mem::take(&mut self.waits));
        }
        let gaps = handed.gaps.into_iter().map(gap).collect();
        Ok(Taken { count: handed.deliveries.len(), is_limited: false, gaps, dead: handed.dead })
    }

    fn beat(&mut self) -> Result<()> {
        self.member.look_after_others()
    }

    fn wait(&mut self) -> Result<()> {
        match self.due.take() {
            Some(due) => std::thread::sleep(due.saturating_duration_since(Instant::now()).min(WAIT_MAX)),
            None => self.member.wait(WAIT_MAX),
        }
        Ok(())
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.member.is_drained()
    }

    fn leave(&mut self) -> Result<()> {
        self.member.leave()
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
    let (lag, lag_ms) = open.lag(now)?;
    Ok(GroupInfo {
        settings: state.settings().clone(),
        committed,
        undelivered: state.undelivered(high),
        pending: state.pending_count(),
        lag,
        lag_ms,
        rate: counters.pace.per_second(now),
        oldest_pending_ms: oldest.map_or(0, |at| now.0.saturating_sub(at)),
        delivered: counters.delivered,
        redelivered: counters.redelivered,
        acked: counters.acked,
        dead: counters.dead,
        consumers: consumers.collect(),
    })
}
