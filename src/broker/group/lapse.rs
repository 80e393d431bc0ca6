//! Leases that have run out. Renewing one needs no event: a consumer that is known to live keeps all
//! that it has.

use super::books::Consumer;
use super::pending::{Entry, Hold};
use super::state::GroupState;
use crate::codec::group_event::{Entries, EntryKey, GroupEvent, Source};
use crate::ids::{ConsumerId, Lane, Offset, TimestampMs};

/// Gives back, counted, what consumers have that were silent for longer than the lease. `heard` says
/// when a consumer was last known to live: `now` for one whose process serves it, `None` for one that
/// is only known by what it did. A manual consumer's leases are not renewed by that. To be asked before a [`take`](super::take), and now and then.
///
/// It looks through the entries only if something has lapsed, or may have.
#[must_use]
pub fn lapse(state: &GroupState, heard: impl Fn(ConsumerId) -> Option<TimestampMs>, now: TimestampMs) -> Vec<GroupEvent> {
    let lease_ms = state.settings.lease_ms;
    let mut silent = Vec::new();
    for (id, consumer) in state.consumers().filter(|(_, consumer)| consumer.leased > 0) {
        let heard = heard(id).filter(|_| !consumer.manner.is_manual);
        let inherited = heard.map(|heard| heard.min(consumer.joined_at));
        let may_have_lapsed = is_over(consumer.leased_since, heard, lease_ms, now)
            || (consumer.inherited > 0 && is_over(consumer.leased_since, inherited, lease_ms, now))
            || is_from_the_future(consumer.leased_until, lease_ms, now);
        if may_have_lapsed {
            silent.push((id, consumer, heard));
        }
    }
    if silent.is_empty() {
        return Vec::new();
    }
    let mut lanes_seen = vec![false; state.lanes().len()];
    let mut has_lapsed = |source: Source, entry: &Entry| {
        if entry.hold != Hold::Leased {
            return false;
        }
        // Where order is kept the lane's first entry takes along those behind it, and only it may
        // have been worked on: they are not counted.
        if state.books.is_ordered && source == Source::Topic && is_seen(&mut lanes_seen, entry.lane) {
            return false;
        }
        let holder = silent.iter().find(|(id, _, _)| entry.consumer == Some(*id));
        holder.is_some_and(|(_, consumer, heard)| is_over(entry.at, believed(consumer, entry, *heard), lease_ms, now))
    };
    let mut entries: Vec<EntryKey> = Vec::new();
    for source in [Source::Topic, Source::DeadLetter] {
        let lapsed = state.pending(source, Offset::ZERO).filter(|(_, entry)| has_lapsed(source, entry));
        entries.extend(lapsed.map(|(offset, _)| EntryKey { source, offset }));
    }
    let entries: Entries = entries.into_iter().collect();
    if entries.is_empty() {
        return Vec::new();
    }
    vec![GroupEvent::GivenBack { at: now, delay_ms: 0, counted: true, entries }]
}

fn is_seen(seen: &mut [bool], lane: Lane) -> bool {
    seen.get_mut(lane.index()).is_some_and(|seen| std::mem::replace(seen, true))
}

/// A heartbeat speaks for what its own process got; what an earlier one of that name got, it may
/// still have in hand, but nobody renews it.
fn believed(consumer: &Consumer, entry: &Entry, heard: Option<TimestampMs>) -> Option<TimestampMs> {
    let is_inherited = entry.lease < consumer.session;
    if is_inherited { heard.map(|heard| heard.min(consumer.joined_at)) } else { heard }
}

fn is_over(at: TimestampMs, heard: Option<TimestampMs>, lease_ms: u64, now: TimestampMs) -> bool {
    let signs = [Some(at), heard].into_iter().flatten().filter(|time| !is_from_the_future(*time, lease_ms, now));
    signs.max().is_none_or(|last| last.0.saturating_add(lease_ms) <= now.0)
}

/// More than a lease ahead of now: said before the clock was set back, and no sign of life.
fn is_from_the_future(time: TimestampMs, lease_ms: u64, now: TimestampMs) -> bool {
    time.0 > now.0.saturating_add(lease_ms)
}
