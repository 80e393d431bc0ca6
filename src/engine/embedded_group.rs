//! Groups of the embedded log behind the engine's traits.

use std::time::Duration;

use super::embedded::gap;
use super::{Consumer, ConsumerInfo, Delivery, GroupInfo, Receipt, Taken};
use crate::broker::{GroupMember, OpenGroup};
use crate::codec::Record;
use crate::error::Result;
use crate::ids::Offset;
use crate::log::{LogReader, Step};
use crate::store::Store;

/// A consumer waits no longer than this before it looks after the others.
const WAIT_MAX: Duration = Duration::from_millis(50);

pub(super) struct EmbeddedConsumer<'s>(pub(super) GroupMember<'s>);

impl Consumer for EmbeddedConsumer<'_> {
    fn take(&mut self, count: usize, no_ack: bool, each: &mut dyn FnMut(&Delivery, &Record<'_>)) -> Result<Taken> {
        let handed = self.0.take(count, no_ack, each)?;
        let gaps = handed.gaps.into_iter().map(gap).collect();
        Ok(Taken { count: handed.deliveries.len(), gaps, dead: handed.dead })
    }

    fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        self.0.ack(receipts)
    }

    fn nack(&mut self, receipts: &[Receipt], counted: bool, delay: Option<Duration>, reason: &[u8]) -> Result<u64> {
        let delay_ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.0.nack(receipts, counted, delay_ms, reason)
    }

    fn bury(&mut self, receipt: &Receipt, reason: &[u8]) -> Result<bool> {
        self.0.bury(receipt.key, Some(receipt.lease), reason)
    }

    fn settle(&mut self) -> Result<()> {
        self.0.settle()
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
    Ok(GroupInfo {
        settings: state.settings().clone(),
        committed,
        undelivered: state.undelivered(high),
        pending: state.pending_count(),
        lag: high.since(committed.offset),
        lag_ms: time_of(open, committed.offset, high)?.map_or(0, |ms| now.0.saturating_sub(ms)),
        delivered: counters.delivered,
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
