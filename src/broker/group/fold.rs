//! `state = fold(events)`: what each event does to the state. It never fails, whatever it is told:
//! that an event may happen is for the decisions to see to.

use std::iter::once;
use std::ops::Range;

use super::books::{Consumer, LaneState, LaneWork};
use super::lanes::lane_count;
use super::pending::{Entry, Hold, Lease};
use super::state::{GroupState, Intent};
use crate::codec::group_event::{Count, Entries, EntryKey, GroupEvent, GroupSettings, Manner, Order, Source};
use crate::codec::runs::Runs;
use crate::ids::{ConsumerId, Epoch, Incarnation, Lane, Offset, Place, TimestampMs};

/// So many consumers at most have been made in events that a crash took.
const LOST_CONSUMERS_MAX: u64 = 1 << 12;
/// Every offset that a record can have.
const ALL: Range<Offset> = Offset::ZERO..Offset(u64::MAX);

impl GroupState {
    /// Takes in an event that has happened.
    pub fn apply(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::Configured(settings) => self.configure(settings),
            GroupEvent::Created { consumer, at, name } => self.create(*consumer, name, *at),
            GroupEvent::Joined { consumer, at, manner } => self.join(*consumer, *at, *manner),
            GroupEvent::Left { consumer, at } => {
                if let Some(consumer) = self.seen(*consumer, *at) {
                    consumer.is_member = false;
                }
            }
            GroupEvent::Removed { consumer } => self.remove(*consumer),
            GroupEvent::Assigned { lanes } => self.assign(lanes),
            GroupEvent::Delivered { consumer, at, settled, offsets, lanes } => {
                self.deliver(*consumer, *at, *settled, offsets, lanes);
            }
            GroupEvent::Scanned { consumer, from, to } => self.scan(*consumer, *from..*to),
            GroupEvent::Redelivered { consumer, at, count, entries } => self.redeliver(*consumer, *at, *count, entries),
            GroupEvent::Acked { at, entries } => self.ack(*at, entries),
            GroupEvent::GivenBack { at, delay_ms, counted, entries } => {
                // From the last to the first: what is named is counted as named, before one before
                // it takes it along.
                entries.iter().rev().for_each(|key| self.give_back_in_order(key, *at, *delay_ms, *counted));
            }
            GroupEvent::HandedBack { at, delay_ms, count, entries } => {
                entries.iter().rev().for_each(|key| self.hand_back(key, *at, *delay_ms, *count));
            }
            GroupEvent::Released { consumer, at } => self.release(*consumer, *at),
            GroupEvent::DeadIntent { entry, dead_letter_end, reason } => {
                let intent = Intent { dead_letter_end: *dead_letter_end, reason: reason.clone() };
                self.give_up(*entry, intent);
            }
            GroupEvent::Dead { entry } => {
                if self.intents.contains_key(entry) {
                    self.take_out(entry.source, once(entry.offset..entry.offset.plus(1)));
                    self.counters.dead += 1;
                }
            }
            GroupEvent::Sought { to, epoch, keep_pending, entries_read } => {
                self.seek(*to, *epoch, *keep_pending, *entries_read);
            }
            GroupEvent::Paused => self.settings.paused = true,
            GroupEvent::Resumed => self.settings.paused = false,
            GroupEvent::Clamped { to, epoch } => self.clamp(*to, *epoch),
            GroupEvent::Expired { below } => {
                self.counters.expired += self.take_out(Source::Topic, once(Offset::ZERO..*below));
                self.move_cursors(|cursor| cursor.max(*below));
            }
            GroupEvent::Revived { offset, lane, at } => self.revive(*offset, *lane, *at),
            GroupEvent::Dropped { letters } => {
                self.take_out(Source::DeadLetter, letters.runs());
                letters.runs().for_each(|run| self.letters.settle(run));
            }
            GroupEvent::LettersIn { topic } => self.find_letters_in(*topic),
            GroupEvent::Restarted { from, at } => self.restart(*from, *at),
            GroupEvent::Placed { last_id, entries_read } => {
                (self.counters.last_id, self.counters.entries_read) = (Some(*last_id), *entries_read);
            }
        }
    }

    /// Another order makes the lanes anew: the group begins again where everything was settled.
    fn configure(&mut self, settings: &GroupSettings) {
        if settings.order != self.settings.order {
            let committed = self.committed().offset;
            self.take_out(Source::Topic, once(ALL));
            self.take_out(Source::DeadLetter, once(ALL));
            let count = lane_count(settings.order);
            self.books.is_ordered = settings.order != Order::None;
            self.books.lanes = vec![LaneState::at(committed); count];
            self.books.work = vec![LaneWork::default(); count];
        }
        self.settings = settings.clone();
    }

    fn create(&mut self, id: ConsumerId, name: &[u8], at: TimestampMs) {
        self.names.insert(name.into(), id);
        self.books.consumers.entry(id).or_insert_with(|| Consumer::new(name, at));
        let next = ConsumerId(id.0.saturating_add(1));
        self.next_consumer = self.next_consumer.max(next);
    }

    fn join(&mut self, id: ConsumerId, at: TimestampMs, manner: Manner) {
        let session = self.next_lease;
        if let Some(consumer) = self.seen(id, at) {
            (consumer.is_member, consumer.manner) = (true, manner);
            (consumer.session, consumer.joined_at, consumer.inherited) = (session, at, consumer.leased);
        }
    }

    fn seen(&mut self, id: ConsumerId, at: TimestampMs) -> Option<&mut Consumer> {
        let consumer = self.books.consumers.get_mut(&id)?;
        consumer.seen_at = at;
        Some(consumer)
    }

    fn remove(&mut self, id: ConsumerId) {
        for key in self.leased_to(id) {
            self.counters.acked += self.take_out(key.source, once(key.offset..key.offset.plus(1)));
        }
        for lane in &mut self.books.lanes {
            lane.owner = lane.owner.filter(|owner| *owner != id);
            lane.heir = lane.heir.filter(|heir| *heir != id);
        }
        if let Some(consumer) = self.books.consumers.remove(&id) {
            self.names.remove(&consumer.name);
        }
    }

    fn assign(&mut self, lanes: &[(Lane, ConsumerId)]) {
        for (lane, consumer) in lanes {
            if let Some(state) = self.books.lanes.get_mut(lane.index()) {
                state.heir = Some(*consumer).filter(|heir| state.owner != Some(*heir));
                self.books.hand_over(*lane);
            }
        }
    }

    fn next_lease(&mut self) -> Lease {
        let lease = self.next_lease;
        self.next_lease = Lease(lease.0.saturating_add(1));
        lease
    }

    fn deliver(&mut self, id: ConsumerId, at: TimestampMs, settled: bool, offsets: &Runs, lanes: &[Lane]) {
        let lease = self.next_lease();
        let count = offsets.count();
        if let Some(consumer) = self.seen(id, at) {
            consumer.active_at = Some(at);
        }
        self.counters.delivered += count;
        self.counters.pace.add(at, count);
        self.counters.last_id = None;
        self.counters.entries_read = self.counters.entries_read.map(|read| read.saturating_add(count));
        if settled {
            self.counters.acked += count;
        }
        let consumer = Some(id);
        let entry = Entry { at, lease, consumer, deliveries: 1, delay_ms: 0, lane: Lane::ONLY, hold: Hold::Leased };
        if lanes.is_empty() {
            for run in offsets.runs() {
                self.move_cursor(Lane::ONLY, run.end);
                if !settled && run.start >= self.topic.end() && !self.books.is_ordered {
                    self.books.count_leases(consumer, run.end.since(run.start), at);
                    self.topic.push_run(run, entry);
                } else if !settled {
                    self.put_all((run.start.0..run.end.0).map(|offset| (Offset(offset), entry)));
                }
            }
        } else {
            // A lane that there is not can only come from another program's mistake.
            let count = self.books.lanes.len();
            let lanes = lanes.iter().map(move |lane| if lane.index() < count { *lane } else { Lane::ONLY });
            let entries = offsets.iter().zip(lanes);
            entries.clone().for_each(|(offset, lane)| self.move_cursor(lane, offset.plus(1)));
            if !settled {
                self.put_all(entries.map(|(offset, lane)| (offset, Entry { lane, ..entry })));
            }
        }
        if settled {
            self.take_out(Source::Topic, offsets.runs());
        }
    }

    fn scan(&mut self, consumer: ConsumerId, range: Range<Offset>) {
        let seen: Vec<Lane> =
            self.books.fresh_lanes(consumer).filter(|(_, state)| range.contains(&state.cursor)).map(|(lane, _)| lane).collect();
        seen.into_iter().for_each(|lane| self.move_cursor(lane, range.end));
    }

    fn move_cursor(&mut self, lane: Lane, to: Offset) {
        if let Some(state) = self.books.lanes.get_mut(lane.index()) {
            state.cursor = state.cursor.max(to);
        }
    }

    fn redeliver(&mut self, id: ConsumerId, at: TimestampMs, count: Count, entries: &Entries) {
        let lease = self.next_lease();
        if let Some(consumer) = self.seen(id, at) {
            consumer.active_at = Some(at);
        }
        if count == Count::Add {
            self.counters.redelivered += entries.count();
            self.counters.pace.add(at, entries.count());
        }
        for key in entries.iter() {
            let before = self.entry(key).copied();
            if before.is_none() && key.source == Source::DeadLetter {
                continue;
            }
            let (deliveries, lane) = before.map_or((0, Lane::ONLY), |entry| (entry.deliveries, entry.lane));
            let deliveries = count.of(deliveries);
            self.put(key, Entry { at, lease, consumer: Some(id), deliveries, delay_ms: 0, lane, hold: Hold::Leased });
        }
    }

    fn ack(&mut self, at: TimestampMs, entries: &Entries) {
        for source in [Source::Topic, Source::DeadLetter] {
            self.counters.acked += self.take_out(source, entries.of(source).runs());
        }
        self.counters.acked_at = Some(at);
    }

    /// Gives an entry back, and where order is kept what is leased behind it.
    fn give_back_in_order(&mut self, key: EntryKey, at: TimestampMs, delay_ms: u32, counted: bool) {
        let Some(lane) = self.give_back(key, at, delay_ms, counted) else { return };
        if key.source == Source::DeadLetter || !self.books.is_ordered {
            return;
        }
        let Some(work) = self.books.work.get(lane.index()) else { return };
        for offset in work.leased_from(key.offset) {
            self.give_back(EntryKey::topic(offset), at, 0, false);
        }
    }

    /// The lane of the entry, if it was leased.
    fn give_back(&mut self, key: EntryKey, at: TimestampMs, delay_ms: u32, counted: bool) -> Option<Lane> {
        let before = *self.entry(key).filter(|entry| entry.hold == Hold::Leased)?;
        let deliveries = if counted { before.deliveries } else { before.deliveries.saturating_sub(1) };
        self.put(key, Entry { at, delay_ms, deliveries, hold: Hold::Waiting, ..before });
        Some(before.lane)
    }

    /// Gives back an entry whoever has it, and makes one of a record that was not pending.
    fn hand_back(&mut self, key: EntryKey, at: TimestampMs, delay_ms: u32, count: Count) {
        let before = self.entry(key).copied();
        if before.is_none() && key.source == Source::DeadLetter {
            return;
        }
        let hold = Hold::Waiting;
        let new = Entry { at, lease: Lease(0), consumer: None, deliveries: 0, delay_ms, lane: Lane::ONLY, hold };
        let entry = before.unwrap_or(new);
        self.put(key, Entry { at, delay_ms, deliveries: count.of(entry.deliveries), hold, ..entry });
        if !self.books.is_ordered || key.source == Source::DeadLetter {
            return;
        }
        let behind = self.books.work.get(entry.lane.index()).map(|work| work.leased_from(key.offset));
        for offset in behind.unwrap_or_default() {
            self.give_back(EntryKey::topic(offset), at, 0, false);
        }
    }

    fn release(&mut self, id: ConsumerId, at: TimestampMs) {
        for key in self.leased_to(id) {
            self.give_back(key, at, 0, false);
        }
        self.seen(id, at);
    }

    /// Everything that is leased to the consumer.
    fn leased_to(&self, id: ConsumerId) -> Vec<EntryKey> {
        if self.consumer(id).is_none_or(|consumer| consumer.leased == 0) {
            return Vec::new();
        }
        let of = |source| {
            let leased = |entry: &Entry| entry.hold == Hold::Leased && entry.consumer == Some(id);
            let found = self.pending(source, Offset::ZERO).filter(move |(_, entry)| leased(entry));
            found.map(move |(offset, _)| EntryKey { source, offset })
        };
        of(Source::Topic).chain(of(Source::DeadLetter)).collect()
    }

    fn give_up(&mut self, key: EntryKey, intent: Intent) {
        if let Some(before) = self.entry(key).copied() {
            self.put(key, Entry { hold: Hold::Dying, ..before });
            self.intents.insert(key, intent);
        }
    }

    fn seek(&mut self, to: Offset, epoch: Epoch, keep_pending: bool, entries_read: Option<u64>) {
        if !keep_pending {
            self.take_out(Source::Topic, once(ALL));
        }
        self.move_cursors(|_| to);
        self.epoch = epoch;
        (self.counters.last_id, self.counters.entries_read) = (None, entries_read);
    }

    fn clamp(&mut self, to: Offset, epoch: Epoch) {
        self.counters.expired += self.take_out(Source::Topic, once(to..ALL.end));
        if self.books.lanes.iter().any(|lane| lane.cursor > to) {
            (self.counters.last_id, self.counters.entries_read) = (None, None);
        }
        self.move_cursors(|cursor| cursor.min(to));
        self.epoch = self.epoch.max(epoch);
    }

    fn move_cursors(&mut self, to: impl Fn(Offset) -> Offset) {
        self.books.lanes.iter_mut().for_each(|lane| lane.cursor = to(lane.cursor));
    }

    fn revive(&mut self, offset: Offset, lane: Lane, at: TimestampMs) {
        let key = EntryKey { source: Source::DeadLetter, offset };
        if self.entry(key).is_none() && offset < ALL.end && !self.letters.is_settled(offset) {
            let lane = if lane.index() < self.books.lanes.len() { lane } else { Lane::ONLY };
            let hold = Hold::Waiting;
            self.put(key, Entry { at, lease: Lease(0), consumer: None, deliveries: 0, delay_ms: 0, lane, hold });
        }
    }

    fn find_letters_in(&mut self, topic: Incarnation) {
        if self.letters.topic().is_some_and(|known| known != topic) {
            self.counters.expired += self.take_out(Source::DeadLetter, once(ALL));
            // Whatever lies in the new topic may be the copy.
            self.intents.values_mut().for_each(|intent| intent.dead_letter_end = Offset::ZERO);
        }
        self.letters.are_in(topic);
    }

    /// What the lost events gave out is still in somebody's hands, and must not come again: the
    /// numbers of deliveries, and those of consumers, of which a batch makes one. What is leased may
    /// have been settled in them: whoever has it would keep it for as long as it lives.
    fn restart(&mut self, from: Offset, at: Place) {
        let consumers: Vec<ConsumerId> = self.books.consumers.keys().copied().collect();
        for key in consumers.into_iter().flat_map(|id| self.leased_to(id)).collect::<Vec<_>>() {
            let Some(entry) = self.entry(key).copied() else { continue };
            self.give_back(key, entry.at, 0, false);
        }
        self.journal_epoch = at.epoch;
        self.next_lease = self.next_lease.max(Lease::first_at(at));
        let lost = at.offset.since(from).saturating_add(LOST_CONSUMERS_MAX);
        let next = self.next_consumer.0.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
        self.next_consumer = ConsumerId(next);
    }

    /// Puts an entry in its place, in whatever state one was there before.
    fn put(&mut self, key: EntryKey, entry: Entry) {
        if let Some(before) = self.pending_of_mut(key.source).insert(key.offset, entry) {
            if before.hold == Hold::Dying {
                self.intents.remove(&key);
            }
            self.books.leave(key, &before);
        }
        self.books.enter(key, &entry);
        // Only now: an entry leased anew to whom it was leased never was out of his hands.
        self.books.hand_over(entry.lane);
    }

    /// Puts entries of the topic, which rise, in their places.
    fn put_all(&mut self, entries: impl Iterator<Item = (Offset, Entry)> + Clone) {
        let GroupState { topic, intents, books, .. } = self;
        topic.insert_all(entries.clone(), |offset, before| {
            let key = EntryKey::topic(offset);
            if before.hold == Hold::Dying {
                intents.remove(&key);
            }
            books.leave(key, &before);
        });
        for (offset, entry) in entries {
            books.enter(EntryKey::topic(offset), &entry);
            books.hand_over(entry.lane);
        }
    }

    /// Takes pending entries out, and says how many there were.
    fn take_out(&mut self, source: Source, runs: impl Iterator<Item = Range<Offset>>) -> u64 {
        let mut count = 0;
        let pending = match source {
            Source::Topic => &mut self.topic,
            Source::DeadLetter => &mut self.dead_letter,
        };
        pending.remove_runs(runs, |offset, entry| {
            let key = EntryKey { source, offset };
            if entry.hold == Hold::Dying {
                self.intents.remove(&key);
            }
            self.books.leave(key, &entry);
            self.books.hand_over(entry.lane);
            if source == Source::DeadLetter {
                self.letters.settle(offset..offset.plus(1));
            }
            count += 1;
        });
        count
    }
}
