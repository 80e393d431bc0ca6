//! Decisions about the group itself: who is in it, how it is set, where it stands.

use super::assign;
use super::books::Consumer;
use super::lanes::lane_count;
use super::state::GroupState;
use crate::codec::group_event::{Assign, GroupEvent, GroupSettings, Manner, Order};
use crate::ids::{ConsumerId, Epoch, Lane, Offset, TimestampMs};

/// A consumer of this name, without making it a member: there is one afterwards.
#[must_use]
pub fn create(state: &GroupState, name: &[u8], now: TimestampMs) -> (ConsumerId, Vec<GroupEvent>) {
    match state.find(name) {
        Some(consumer) => (consumer, Vec::new()),
        None => {
            let consumer = state.next_consumer;
            (consumer, vec![GroupEvent::Created { consumer, at: now, name: name.into() }])
        }
    }
}

/// Makes the consumer of this name a member. One that is a member already is so by another process
/// from now on.
#[must_use]
pub fn join(state: &GroupState, name: &[u8], manner: Manner, now: TimestampMs) -> (ConsumerId, Vec<GroupEvent>) {
    let (consumer, mut events) = create(state, name, now);
    events.push(GroupEvent::Joined { consumer, at: now, manner });
    let mut members = state.members();
    if let Err(place) = members.binary_search(&consumer) {
        members.insert(place, consumer);
    }
    events.extend(deal(state, &state.settings, &members));
    (consumer, events)
}

/// Ends a membership: the consumer has ended or died. Its lanes go to others, those that have
/// something leased once that is settled or lapsed. One that ends in order is
/// [`release`](super::release)d first.
#[must_use]
pub fn leave(state: &GroupState, consumer: ConsumerId, now: TimestampMs) -> Vec<GroupEvent> {
    if state.consumer(consumer).is_none_or(|found| !found.is_member) {
        return Vec::new();
    }
    let mut events = vec![GroupEvent::Left { consumer, at: now }];
    events.extend(deal_without(state, consumer));
    events
}

/// Ends a consumer. What it has counts as settled, unless it is [`release`](super::release)d first.
#[must_use]
pub fn remove(state: &GroupState, consumer: ConsumerId) -> Vec<GroupEvent> {
    if state.consumer(consumer).is_none() {
        return Vec::new();
    }
    let mut events = vec![GroupEvent::Removed { consumer }];
    events.extend(deal_without(state, consumer));
    events
}

/// Ends the consumers whose names were made up, and who have nothing left to come back for.
#[must_use]
pub fn forget_passed(state: &GroupState) -> Vec<GroupEvent> {
    let has_passed = |consumer: &Consumer| consumer.manner.is_passing && !consumer.is_member && consumer.leased == 0;
    let passed = state.consumers().filter(|(_, consumer)| has_passed(consumer));
    passed.map(|(consumer, _)| GroupEvent::Removed { consumer }).collect()
}

fn deal_without(state: &GroupState, gone: ConsumerId) -> Option<GroupEvent> {
    let mut members = state.members();
    members.retain(|member| *member != gone);
    deal(state, &state.settings, &members)
}

/// Deals the lanes anew, as these settings say; `None` when all stays as it is.
fn deal(state: &GroupState, settings: &GroupSettings, members: &[ConsumerId]) -> Option<GroupEvent> {
    let (strategy, current) = match settings.order {
        Order::None => return None,
        // One lane: who has it keeps it.
        Order::Topic => (Assign::Sticky, targets(state, settings)),
        Order::Key => (settings.assign, targets(state, settings)),
    };
    let lanes = assign::changes(&current, &assign::deal(strategy, members, &current));
    (!lanes.is_empty()).then_some(GroupEvent::Assigned { lanes })
}

/// Who has each lane, or is about to get it.
fn targets(state: &GroupState, settings: &GroupSettings) -> Vec<Option<ConsumerId>> {
    if settings.order != state.settings.order {
        return vec![None; lane_count(settings.order)];
    }
    state.lanes().iter().map(|lane| lane.heir.or(lane.owner)).collect()
}

/// Puts settings in force.
///
/// # Errors
/// A sentence, when the order would change while something is pending, or while lanes stand apart:
/// then no place says what was delivered.
pub fn configure(state: &GroupState, settings: &GroupSettings) -> Result<Vec<GroupEvent>, String> {
    if *settings == state.settings {
        return Ok(Vec::new());
    }
    let changes_order = settings.order != state.settings.order;
    let is_apart = state.lanes().iter().any(|lane| lane.cursor != state.delivered_below());
    if changes_order && (state.pending_count() > 0 || is_apart) {
        return Err("order: can change only once the group has settled all records; let it drain first".to_owned());
    }
    let mut events = vec![GroupEvent::Configured(settings.clone())];
    events.extend(deal(state, settings, &state.members()));
    Ok(events)
}

/// Stops or resumes deliveries; `None` when that was done.
#[must_use]
pub fn pause(state: &GroupState, paused: bool) -> Option<GroupEvent> {
    let event = if paused { GroupEvent::Paused } else { GroupEvent::Resumed };
    (state.settings.paused != paused).then_some(event)
}

/// Sends the group to a place in an epoch of its topic. Pending entries are dropped, unless they are
/// to be kept, as Redis does; where order is kept they never are.
#[must_use]
pub fn seek(state: &GroupState, to: Offset, epoch: Epoch, keep_pending: bool, entries_read: Option<u64>) -> GroupEvent {
    let keep_pending = keep_pending && !state.books.is_ordered;
    GroupEvent::Sought { to, epoch, keep_pending, entries_read }
}

/// The topic is in `epoch`, and lost its records from `to` on since the group last looked: its places
/// are pulled back. To be asked before anything else is decided; `None` when the group knows.
#[must_use]
pub fn clamp(state: &GroupState, to: Offset, epoch: Epoch) -> Option<GroupEvent> {
    (epoch > state.epoch).then_some(GroupEvent::Clamped { to, epoch })
}

/// The topic begins at `below` now; `None` when the group has nothing below.
#[must_use]
pub fn expire(state: &GroupState, below: Offset) -> Option<GroupEvent> {
    (state.committed().offset < below).then_some(GroupEvent::Expired { below })
}

/// The lanes of which a consumer gets records, or is about to.
#[must_use]
pub fn lanes_of(state: &GroupState, consumer: ConsumerId) -> Vec<Lane> {
    let lanes = (0..).map(Lane).zip(state.lanes());
    lanes.filter(|(_, lane)| lane.heir.or(lane.owner) == Some(consumer)).map(|(lane, _)| lane).collect()
}
