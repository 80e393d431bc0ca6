//! Taking over pending entries, as XCLAIM and XAUTOCLAIM do.

use super::decide::Delivery;
use super::pending::{Entry, Hold};
use super::state::GroupState;
use crate::codec::group_event::{Count, Entries, EntryKey, GroupEvent, Source};
use crate::ids::{ConsumerId, Lane, Offset, TimestampMs};

/// How entries are taken over.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// By whom.
    pub consumer: ConsumerId,
    /// Only what was delivered, or given back, at least so long ago.
    pub min_idle_ms: u64,
    /// What the delivery count becomes.
    pub count: Count,
    /// When it is taken to be delivered: now, or earlier for one that wants it to seem idle.
    pub at: TimestampMs,
    /// Also records that are not pending; the caller knows that they exist.
    pub force: bool,
}

/// What a claim comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// To be journalled and applied.
    pub events: Vec<GroupEvent>,
    /// What the consumer has now.
    pub deliveries: Vec<Delivery>,
}

/// Hands these entries to the consumer; the receipts of those who had them come late from now on.
/// Where order is kept, one may claim only what one has: that is how a consumer reads again what is
/// pending for it.
#[must_use]
pub fn claim(state: &GroupState, offsets: &[Offset], claim: &Claim, now: TimestampMs) -> Claimed {
    let may = |offset: &Offset| match state.entry(EntryKey::topic(*offset)) {
        Some(entry) => may_claim(state, entry, claim, now),
        None => claim.force && !state.books.is_ordered,
    };
    hand_over(state, offsets.iter().copied().filter(may).map(EntryKey::topic).collect(), claim)
}

fn may_claim(state: &GroupState, entry: &Entry, claim: &Claim, now: TimestampMs) -> bool {
    let is_own = entry.hold == Hold::Leased && entry.consumer == Some(claim.consumer);
    let is_idle = now.0.saturating_sub(entry.at.0) >= claim.min_idle_ms;
    entry.hold != Hold::Dying && is_idle && (is_own || !state.books.is_ordered)
}

fn hand_over(state: &GroupState, entries: Entries, claim: &Claim) -> Claimed {
    if entries.is_empty() || state.consumer(claim.consumer).is_none() {
        return Claimed::default();
    }
    let deliveries = entries.iter().map(|key| {
        let (before, lane) = state.entry(key).map_or((0, Lane::ONLY), |entry| (entry.deliveries, entry.lane));
        Delivery { key, lane, lease: state.next_lease, deliveries: claim.count.of(before) }
    });
    let deliveries = deliveries.collect();
    let Claim { consumer, at, count, .. } = *claim;
    Claimed { events: vec![GroupEvent::Redelivered { consumer, at, count, entries }], deliveries }
}

/// How entries are given back by whoever names them.
#[derive(Clone, Copy, Debug)]
pub struct HandBack {
    /// What the delivery count becomes.
    pub count: Count,
    /// The pause before the next delivery.
    pub delay_ms: u32,
    /// Also records that are not pending; the caller knows that they exist.
    pub force: bool,
}

/// Gives back entries whoever has them, also such as wait; says how many. Where order is kept, only
/// what somebody has.
#[must_use]
pub fn hand_back(state: &GroupState, keys: &[EntryKey], how: &HandBack, now: TimestampMs) -> (Vec<GroupEvent>, u64) {
    let is_ordered = state.books.is_ordered;
    let may = |key: &EntryKey| match state.entry(*key) {
        Some(entry) => entry.hold == Hold::Leased || (entry.hold == Hold::Waiting && !is_ordered),
        None => how.force && !is_ordered && key.source == Source::Topic,
    };
    let entries: Entries = keys.iter().copied().filter(may).collect();
    let count = entries.count();
    let event = GroupEvent::HandedBack { at: now, delay_ms: how.delay_ms, count: how.count, entries };
    (if count == 0 { Vec::new() } else { vec![event] }, count)
}

/// What an auto-claim comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutoClaimed {
    /// To be journalled and applied, and what the consumer has now.
    pub claimed: Claimed,
    /// Entries whose records are gone: they are settled.
    pub gone: Vec<Offset>,
    /// Where to go on; `None` at the end.
    pub next: Option<Offset>,
}

/// Claims from `start` on what is idle, until `count` entries were claimed or found gone, or
/// `scan_max` were looked at. `exists` says whether a record can still be read.
#[must_use]
pub fn auto_claim(
    state: &GroupState,
    start: Offset,
    (count, scan_max): (usize, usize),
    exists: impl Fn(Offset) -> bool,
    claim: &Claim,
    now: TimestampMs,
) -> AutoClaimed {
    let mut auto = AutoClaimed::default();
    let mut found = Vec::new();
    let mut entries = state.topic.iter_from(start);
    let mut looked_at = 0;
    while looked_at < scan_max && found.len() + auto.gone.len() < count {
        let Some((offset, entry)) = entries.next() else { break };
        looked_at += 1;
        if entry.hold != Hold::Dying && !exists(offset) {
            auto.gone.push(offset);
        } else if may_claim(state, entry, claim, now) {
            found.push(offset);
        }
    }
    auto.next = entries.next().map(|(offset, _)| offset);
    auto.claimed = hand_over(state, found.into_iter().map(EntryKey::topic).collect(), claim);
    if !auto.gone.is_empty() {
        let entries = auto.gone.iter().copied().map(EntryKey::topic).collect();
        auto.claimed.events.push(GroupEvent::Acked { at: now, entries });
    }
    auto
}
