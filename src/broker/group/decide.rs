//! Decisions about records: state + what is asked + now -> the events that would do it. Nothing is
//! changed here: the caller journals the events and applies them.

use std::collections::{BTreeMap, BTreeSet};

use super::pending::{Entry, Hold, Lease};
use super::settings::DELAY_MS_MAX;
use super::state::GroupState;
use crate::codec::group_event::{Count, Entries, EntryKey, GroupEvent, Source};
use crate::codec::runs::Runs;
use crate::ids::{ConsumerId, Incarnation, Lane, Offset, TimestampMs};

/// What one take delivers at most. A bound on the size of an event.
pub const TAKE_MAX: usize = 1 << 16;

/// Proof that a delivery was had. Once the entry is delivered again, or given back, it is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Which entry.
    pub key: EntryKey,
    /// Which delivery of it.
    pub lease: Lease,
}

/// One record handed to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which entry.
    pub key: EntryKey,
    /// Its lane.
    pub lane: Lane,
    /// The delivery's number.
    pub lease: Lease,
    /// How many deliveries it has had, this one included.
    pub deliveries: u32,
}

impl Delivery {
    /// What acks it.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt { key: self.key, lease: self.lease }
    }
}

/// Records that nobody got before, as the caller knows them.
#[derive(Clone, Copy, Debug)]
pub enum Fresh<'a> {
    /// Every offset below `until` is a record: for a group of one lane.
    Below {
        /// The high watermark.
        until: Offset,
    },
    /// The caller has read `[from, to)`, and offers **every** record there is in it, whosever it
    /// is: who owns which lane may have changed since the caller looked.
    Read {
        /// Where the caller began to read.
        from: Offset,
        /// Where it stopped, exclusive.
        to: Offset,
        /// What it found, by offset. In a group of one lane the lane does not matter.
        records: &'a [(Offset, Lane)],
    },
}

/// A consumer wants records.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// Who.
    pub consumer: ConsumerId,
    /// How many at most; beyond [`TAKE_MAX`] it is that.
    pub count: usize,
    /// Without asking for an ack, as if the group's settings said so.
    pub no_ack: bool,
    /// Also dead letters that are tried again, which lie in another topic.
    pub letters: bool,
    /// New ones.
    pub fresh: Fresh<'a>,
}

/// What a take comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// To be journalled and applied.
    pub events: Vec<GroupEvent>,
    /// The records, those that are tried again first.
    pub deliveries: Vec<Delivery>,
    /// Entries that have had all their attempts: to be dead-lettered by the caller.
    pub exhausted: Vec<EntryKey>,
}

/// What a consumer gets: first what waits for another delivery and is due, then what nobody got
/// before. Nothing while the group is paused, to a consumer that there is not, or, where lanes have
/// owners, to one that is no member. Leases that have run out are [`lapse`](super::lapse)'s.
#[must_use]
pub fn take(state: &GroupState, take: &Take<'_>, now: TimestampMs) -> Taken {
    let mut taken = Taken::default();
    if state.settings.paused || !state.may_take(take.consumer) {
        return taken;
    }
    let count = take.count.min(TAKE_MAX);
    let mut again = due(state, take, count, now, &mut taken.exhausted);
    let fresh = fresh(state, take, count - again.len());
    // After a seek that kept it, something that waits can be new too: once is enough.
    let is_new = |key: &EntryKey| key.source == Source::Topic && fresh.offsets.contains(key.offset);
    again.retain(|(key, _)| !is_new(key));
    taken.exhausted.retain(|key| !is_new(key));
    let settled = take.no_ack || state.settings.no_ack;
    let (consumer, at) = (take.consumer, now);

    // What is new is journalled first: an event is folded in the state in which it was decided, and
    // a retry opens its lane, which `Scanned` would then find open.
    let mut lease = state.next_lease;
    let mut new = Vec::new();
    if !fresh.offsets.is_empty() {
        let deliveries = fresh.offsets.iter().enumerate().map(|(index, offset)| {
            let lane = fresh.lanes.get(index).copied().unwrap_or(Lane::ONLY);
            Delivery { key: EntryKey::topic(offset), lane, lease, deliveries: 1 }
        });
        new.extend(deliveries);
        lease = Lease(lease.0.saturating_add(1));
        taken.events.push(GroupEvent::Delivered { consumer, at, settled, offsets: fresh.offsets, lanes: fresh.lanes });
    }
    if let Some((from, to)) = fresh.scanned {
        taken.events.push(GroupEvent::Scanned { consumer, from, to });
    }
    if !again.is_empty() {
        let entries: Entries = again.iter().map(|(key, _)| *key).collect();
        taken.events.push(GroupEvent::Redelivered { consumer, at, count: Count::Add, entries: entries.clone() });
        if settled {
            taken.events.push(GroupEvent::Acked { at, entries });
        }
    }
    let again = again.iter().map(|(key, entry)| {
        let deliveries = entry.deliveries.saturating_add(1);
        Delivery { key: *key, lane: entry.lane, lease, deliveries }
    });
    taken.deliveries = again.chain(new).collect();
    taken
}

/// What waits, is due, and may go to the consumer.
fn due(
    state: &GroupState,
    take: &Take<'_>,
    count: usize,
    now: TimestampMs,
    exhausted: &mut Vec<EntryKey>,
) -> Vec<(EntryKey, Entry)> {
    let books = &state.books;
    let is_open = |lane: Lane| books.lanes.get(lane.index()).is_some_and(|state| books.is_open_to(take.consumer, state));
    let mut due = Vec::new();
    for (_, key) in books.retries.iter().filter(|(_, key)| take.letters || key.source == Source::Topic) {
        let Some(entry) = state.entry(*key) else { continue };
        if !entry.is_due(now) || due.len() == count || exhausted.len() >= TAKE_MAX {
            break;
        }
        match state.is_exhausted(entry) {
            true => exhausted.push(*key),
            false if is_open(entry.lane) => due.push((*key, *entry)),
            false => {}
        }
    }
    for lane in books.blocked.iter().filter(|lane| is_open(**lane)) {
        let Some(work) = books.work.get(lane.index()) else { continue };
        for offset in &work.waiting {
            let key = EntryKey::topic(*offset);
            let Some(entry) = state.entry(key).filter(|entry| entry.is_due(now) && due.len() < count) else { break };
            if state.is_exhausted(entry) {
                // The line stands behind it until it is dead.
                exhausted.push(key);
                break;
            }
            due.push((key, *entry));
        }
    }
    due
}

#[derive(Default)]
struct FreshTaken {
    offsets: Runs,
    lanes: Vec<Lane>,
    scanned: Option<(Offset, Offset)>,
}

fn fresh(state: &GroupState, take: &Take<'_>, count: usize) -> FreshTaken {
    let is_single = state.books.lanes.len() == 1;
    match take.fresh {
        Fresh::Below { until } => {
            let cursor = state.books.fresh_lanes(take.consumer).next().map(|(_, lane)| lane.cursor).filter(|_| is_single);
            let run = cursor.map(|cursor| cursor..until.min(cursor.plus(count as u64)));
            FreshTaken { offsets: run.map(Runs::of).unwrap_or_default(), ..FreshTaken::default() }
        }
        Fresh::Read { from, to, records } => {
            // A lane whose cursor lies before the stretch may have records before it.
            let mut cursors: Vec<Option<Offset>> = vec![None; state.books.lanes.len()];
            for (lane, open) in state.books.fresh_lanes(take.consumer).filter(|(_, open)| open.cursor >= from) {
                cursors[lane.index()] = Some(open.cursor);
            }
            let mut taken = FreshTaken::default();
            let mut end = to;
            let mut offsets: Vec<Offset> = Vec::new();
            for (offset, lane) in records {
                let lane = if is_single { Lane::ONLY } else { *lane };
                let Some(Some(cursor)) = cursors.get_mut(lane.index()) else { continue };
                if *offset < *cursor || !(from..to).contains(offset) || offsets.last() >= Some(offset) {
                    continue;
                }
                if offsets.len() == count {
                    end = *offset;
                    break;
                }
                offsets.push(*offset);
                if !is_single {
                    taken.lanes.push(lane);
                }
                *cursor = offset.plus(1);
            }
            taken.offsets = offsets.into_iter().collect();
            taken.scanned = cursors.iter().flatten().any(|cursor| *cursor < end).then_some((from, end));
            taken
        }
    }
}

/// What became of receipts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// To be journalled and applied.
    pub events: Vec<GroupEvent>,
    /// Receipts that came late: what they stand for was settled, given back, or taken by another.
    pub late: Vec<Receipt>,
    /// Entries that have had all their attempts: to be dead-lettered by the caller.
    pub exhausted: Vec<EntryKey>,
}

impl GroupState {
    /// The entry a receipt stands for, if it is not late.
    #[must_use]
    pub fn held(&self, receipt: &Receipt) -> Option<&Entry> {
        self.entry(receipt.key).filter(|entry| entry.hold == Hold::Leased && entry.lease == receipt.lease)
    }

    /// The receipts of entries that are leased, for those who know them by offset alone.
    #[must_use]
    pub fn receipts(&self, keys: &[EntryKey]) -> Vec<Receipt> {
        let leased = |key: &EntryKey| self.entry(*key).filter(|entry| entry.hold == Hold::Leased);
        keys.iter().filter_map(|key| leased(key).map(|entry| Receipt { key: *key, lease: entry.lease })).collect()
    }
}

/// Settles what the receipts stand for.
#[must_use]
pub fn ack(state: &GroupState, receipts: &[Receipt], now: TimestampMs) -> Settled {
    let mut settled = Settled::default();
    let held = receipts.iter().filter(|receipt| {
        let is_held = state.held(receipt).is_some();
        if !is_held {
            settled.late.push(**receipt);
        }
        is_held
    });
    let entries: Entries = held.map(|receipt| receipt.key).collect();
    if !entries.is_empty() {
        settled.events.push(GroupEvent::Acked { at: now, entries });
    }
    settled
}

/// Settles entries whoever has them, and whether or not they wait, as Redis does; and says how many.
#[must_use]
pub fn ack_any(state: &GroupState, keys: &[EntryKey], now: TimestampMs) -> (Vec<GroupEvent>, u64) {
    let is_pending = |key: &EntryKey| state.entry(*key).is_some_and(|entry| entry.hold != Hold::Dying);
    let entries: Entries = keys.iter().copied().filter(is_pending).collect();
    let count = entries.count();
    (if count == 0 { Vec::new() } else { vec![GroupEvent::Acked { at: now, entries }] }, count)
}

/// How entries are given back.
#[derive(Clone, Copy, Debug)]
pub struct Nack {
    /// Whether the attempt counts.
    pub counted: bool,
    /// The pause before the next one; `None` = as the group's backoff says.
    pub delay_ms: Option<u64>,
    /// Any number: it spreads the pauses, so that what failed together is not tried together again.
    pub jitter: u64,
}

/// Gives back what the receipts stand for. Where order is kept, a lane's pause is that of its first
/// entry: the others stand behind it.
#[must_use]
pub fn nack(state: &GroupState, receipts: &[Receipt], nack: Nack, now: TimestampMs) -> Settled {
    let mut settled = Settled::default();
    let mut held = BTreeMap::new();
    for receipt in receipts {
        match state.held(receipt) {
            Some(entry) => drop(held.insert(receipt.key, *entry)),
            None => settled.late.push(*receipt),
        }
    }
    let mut by_delay: BTreeMap<u32, Vec<EntryKey>> = BTreeMap::new();
    let mut lane_delays: BTreeMap<Lane, u32> = BTreeMap::new();
    for (key, entry) in held {
        let is_exhausted = nack.counted && state.is_exhausted(&entry);
        if is_exhausted {
            settled.exhausted.push(key);
        }
        let own = if is_exhausted { 0 } else { pause(state, &entry, nack) };
        let is_in_line = state.books.is_ordered && key.source == Source::Topic;
        let delay = if is_in_line { *lane_delays.entry(entry.lane).or_insert(own) } else { own };
        by_delay.entry(delay).or_default().push(key);
    }
    let counted = nack.counted;
    let events = by_delay.into_iter().map(|(delay_ms, keys)| {
        let entries = keys.into_iter().collect();
        GroupEvent::GivenBack { at: now, delay_ms, counted, entries }
    });
    settled.events = events.collect();
    settled
}

/// Doubles with each attempt, from the shortest pause to the longest, and lies between half of that
/// and all of it.
fn pause(state: &GroupState, entry: &Entry, nack: Nack) -> u32 {
    let settings = &state.settings;
    let pause = nack.delay_ms.unwrap_or_else(|| {
        let doublings = entry.deliveries.saturating_sub(1).min(63);
        let grown = settings.backoff_min_ms.saturating_mul(1 << doublings).min(settings.backoff_max_ms);
        grown - nack.jitter % (grown / 2 + 1)
    });
    u32::try_from(pause.min(DELAY_MS_MAX)).unwrap_or(u32::MAX)
}

/// Gives back all that a consumer has, uncounted: it goes, and has not begun on it or was stopped.
#[must_use]
pub fn release(state: &GroupState, consumer: ConsumerId, now: TimestampMs) -> Vec<GroupEvent> {
    let has_any = state.consumer(consumer).is_some_and(|found| found.leased > 0);
    if has_any { vec![GroupEvent::Released { consumer, at: now }] } else { Vec::new() }
}

/// Gives an entry up, before its record is copied to the dead-letter topic that ends at
/// `dead_letter_end`: one that a receipt stands for, or, without one, one that has had all its
/// attempts. `None` when it is neither: somebody else was faster.
#[must_use]
pub fn give_up(
    state: &GroupState,
    key: EntryKey,
    lease: Option<Lease>,
    dead_letter_end: Offset,
    reason: &[u8],
) -> Option<GroupEvent> {
    let entry = state.entry(key)?;
    let may = match entry.hold {
        Hold::Leased => lease == Some(entry.lease),
        Hold::Waiting => lease.is_none() && state.is_exhausted(entry),
        Hold::Dying => false,
    };
    may.then(|| GroupEvent::DeadIntent { entry: key, dead_letter_end, reason: reason.into() })
}

/// Says that the copy of an entry that was given up is stored; `None` when that was said.
#[must_use]
pub fn bury(state: &GroupState, key: EntryKey) -> Option<GroupEvent> {
    state.intents.contains_key(&key).then_some(GroupEvent::Dead { entry: key })
}

/// Has this group try dead letters again, of which the caller knows the lanes. Those that are being
/// tried already, or are done with, are left out.
#[must_use]
pub fn revive(state: &GroupState, dead_letters: &[(Offset, Lane)], now: TimestampMs) -> Vec<GroupEvent> {
    let mut seen = BTreeSet::new();
    let is_new = |(offset, _): &&(Offset, Lane)| {
        let key = EntryKey { source: Source::DeadLetter, offset: *offset };
        state.entry(key).is_none() && !state.letters.is_settled(*offset) && seen.insert(*offset)
    };
    let revived = dead_letters.iter().filter(is_new);
    revived.map(|(offset, lane)| GroupEvent::Revived { offset: *offset, lane: *lane, at: now }).collect()
}

/// Is done with dead letters, also with those that are being tried again; and says how many those
/// are that it was not done with. One that is on its way to be a dead letter once more stays.
#[must_use]
pub fn drop_letters(state: &GroupState, offsets: &[Offset]) -> (Option<GroupEvent>, u64) {
    let is_dying = |offset: Offset| {
        let entry = state.entry(EntryKey { source: Source::DeadLetter, offset });
        entry.is_some_and(|entry| entry.hold == Hold::Dying)
    };
    let letters: Runs = offsets.iter().copied().filter(|at| !state.letters.is_settled(*at) && !is_dying(*at)).collect();
    let count = letters.count();
    ((count > 0).then_some(GroupEvent::Dropped { letters }), count)
}

/// Says which topic holds the dead letters; `None` when the group knows. To be asked before anything
/// else is decided about them.
#[must_use]
pub fn find_letters_in(state: &GroupState, topic: Incarnation) -> Option<GroupEvent> {
    (state.letters.topic() != Some(topic)).then_some(GroupEvent::LettersIn { topic })
}
