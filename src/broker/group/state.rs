//! The state of a group: what all its events come to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::books::{Books, Consumer, LaneState};
use super::lanes::lane_count;
use super::letters::Letters;
use super::pace::Pace;
use super::pending::{Entry, Lease, Pending};
use crate::codec::group_event::{EntryKey, GroupSettings, Order, Source};
use crate::ids::{ConsumerId, Epoch, Lane, Offset, Place, RecordId, TimestampMs};

/// An entry on its way to the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Where the dead-letter topic ended before: the copy, if it was made, lies there or beyond.
    pub dead_letter_end: Offset,
    /// Why the entry is given up.
    pub reason: Box<[u8]>,
}

/// What a group did in its life. Dead letters tried again count as what they are again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Records delivered for the first time.
    pub delivered: u64,
    /// Deliveries of records that had been delivered before.
    pub redelivered: u64,
    /// Entries settled by an ack, or by their delivery at `no-ack`.
    pub acked: u64,
    /// Entries moved to the dead-letter topic.
    pub dead: u64,
    /// Pending entries whose records expired, or were lost in a crash.
    pub expired: u64,
    /// Records of the topic up to the group's place, as Redis counts them; `None` = not known.
    pub entries_read: Option<u64>,
    /// The last ack.
    pub acked_at: Option<TimestampMs>,
    /// How fast records are delivered.
    pub pace: Pace,
    /// The last ID that the group was delivered, or was told to take for delivered; `None` = that of
    /// the record before its place.
    #[serde(default)]
    pub last_id: Option<RecordId>,
}

/// A group, as the events say. Two that folded the same events are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupState {
    pub(super) settings: GroupSettings,
    pub(super) epoch: Epoch,
    pub(super) books: Books,
    pub(super) topic: Pending,
    pub(super) dead_letter: Pending,
    pub(super) intents: BTreeMap<EntryKey, Intent>,
    pub(super) letters: Letters,
    pub(super) counters: Counters,
    pub(super) next_consumer: ConsumerId,
    pub(super) next_lease: Lease,
    /// The epoch of its journal of which it was told.
    pub(super) journal_epoch: Epoch,
    /// By name.
    #[serde(skip)]
    pub(super) names: BTreeMap<Box<[u8]>, ConsumerId>,
}

impl Default for GroupState {
    fn default() -> GroupState {
        GroupState::new()
    }
}

impl GroupState {
    /// Before any event: default settings, at the start of the topic, nobody there.
    #[must_use]
    pub fn new() -> GroupState {
        let settings = GroupSettings::default();
        GroupState {
            books: Books::new(settings.order != Order::None, lane_count(settings.order), Offset::ZERO),
            settings,
            epoch: Epoch::default(),
            topic: Pending::default(),
            dead_letter: Pending::default(),
            intents: BTreeMap::new(),
            letters: Letters::default(),
            counters: Counters::default(),
            next_consumer: ConsumerId::FIRST,
            next_lease: Lease(1),
            journal_epoch: Epoch::default(),
            names: BTreeMap::new(),
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every record below is settled, in this epoch.
    #[must_use]
    pub fn committed(&self) -> Place {
        let cursor = self.delivered_below();
        let offset = self.topic.first().map_or(cursor, |first| first.min(cursor));
        Place { offset, epoch: self.epoch }
    }

    /// Every record below was delivered: the lowest cursor.
    #[must_use]
    pub fn delivered_below(&self) -> Offset {
        self.books.lanes.iter().map(|lane| lane.cursor).min().unwrap_or_default()
    }

    /// How many records below the high watermark may still be undelivered: exact in a group of one
    /// lane, an upper bound where lanes are apart.
    #[must_use]
    pub fn undelivered(&self, high_watermark: Offset) -> u64 {
        high_watermark.since(self.delivered_below())
    }

    /// Where the consumer has to begin to read for records that nobody got before; `None` while none
    /// could be for it.
    #[must_use]
    pub fn read_from(&self, consumer: ConsumerId) -> Option<Offset> {
        if self.settings.paused || !self.may_take(consumer) {
            return None;
        }
        self.books.fresh_lanes(consumer).map(|(_, state)| state.cursor).min()
    }

    /// Whether the consumer may get anything at all: where lanes have owners, members may.
    pub(super) fn may_take(&self, consumer: ConsumerId) -> bool {
        self.consumer(consumer).is_some_and(|found| found.is_member || !self.books.is_ordered)
    }

    /// The epoch of its journal of which it was told: if there is a later one, events may be lost.
    #[must_use]
    pub fn journal_epoch(&self) -> Epoch {
        self.journal_epoch
    }

    /// Every lane.
    #[must_use]
    pub fn lanes(&self) -> &[LaneState] {
        &self.books.lanes
    }

    /// Every consumer, by number.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.books.consumers.iter().map(|(id, consumer)| (*id, consumer))
    }

    /// One consumer.
    #[must_use]
    pub fn consumer(&self, consumer: ConsumerId) -> Option<&Consumer> {
        self.books.consumers.get(&consumer)
    }

    /// The consumer of this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    pub(super) fn members(&self) -> Vec<ConsumerId> {
        self.consumers().filter(|(_, consumer)| consumer.is_member).map(|(id, _)| id).collect()
    }

    /// One pending entry.
    #[must_use]
    pub fn entry(&self, key: EntryKey) -> Option<&Entry> {
        self.pending_of(key.source).get(key.offset)
    }

    /// The pending entries of a source from `from` on, by offset.
    pub fn pending(&self, source: Source, from: Offset) -> impl Iterator<Item = (Offset, &Entry)> {
        self.pending_of(source).iter_from(from)
    }

    /// How many entries are pending.
    #[must_use]
    pub fn pending_count(&self) -> u64 {
        (self.topic.len() + self.dead_letter.len()) as u64
    }

    /// The first and the last pending offset of a source.
    #[must_use]
    pub fn pending_ends(&self, source: Source) -> Option<(Offset, Offset)> {
        let pending = self.pending_of(source);
        pending.first().map(|first| (first, Offset(pending.end().0.saturating_sub(1))))
    }

    /// Entries that were on their way to the dead-letter topic when the journal ended: whoever finds
    /// them looks there from `dead_letter_end` on, makes the copy if there is none, and says
    /// [`Dead`](crate::codec::GroupEvent::Dead).
    pub fn open_intents(&self) -> impl Iterator<Item = (EntryKey, &Intent)> {
        self.intents.iter().map(|(key, intent)| (*key, intent))
    }

    /// What is known of the group's dead letters.
    #[must_use]
    pub fn letters(&self) -> &Letters {
        &self.letters
    }

    /// From when on something that waits can be delivered again.
    #[must_use]
    pub fn next_due(&self) -> Option<TimestampMs> {
        let alone = self.books.retries.first().map(|(due, _)| *due);
        let heads = self.books.blocked.iter().filter_map(|lane| self.head(*lane)).map(|(_, entry)| entry.due());
        alone.into_iter().chain(heads).min()
    }

    /// The entry that has to go out of a lane before any other.
    pub(super) fn head(&self, lane: Lane) -> Option<(Offset, &Entry)> {
        let first = *self.books.work.get(lane.index())?.waiting.first()?;
        self.topic.get(first).map(|entry| (first, entry))
    }

    /// Whether an entry has had all the deliveries that it may have.
    pub(super) fn is_exhausted(&self, entry: &Entry) -> bool {
        self.settings.attempts_max.is_some_and(|max| entry.deliveries >= max.get())
    }

    pub(super) fn pending_of(&self, source: Source) -> &Pending {
        match source {
            Source::Topic => &self.topic,
            Source::DeadLetter => &self.dead_letter,
        }
    }

    pub(super) fn pending_of_mut(&mut self, source: Source) -> &mut Pending {
        match source {
            Source::Topic => &mut self.topic,
            Source::DeadLetter => &mut self.dead_letter,
        }
    }
}
