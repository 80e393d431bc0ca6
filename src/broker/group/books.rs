//! What is kept about pending entries so that nobody has to search them: per consumer, per lane, by
//! time. All of it follows from the entries, and is rebuilt from them when a checkpoint is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::pending::{Entry, Hold, Lease};
use crate::codec::group_event::{EntryKey, Manner, Source};
use crate::ids::{ConsumerId, Lane, Offset, TimestampMs};

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its name, byte for byte.
    pub name: Box<[u8]>,
    /// Whether lanes may be assigned to it.
    pub is_member: bool,
    /// How its process works, or worked last.
    pub(super) manner: Manner,
    /// When it was last heard of in the journal; its heartbeats tell more.
    pub seen_at: TimestampMs,
    /// When it last got records.
    pub active_at: Option<TimestampMs>,
    /// How many entries are leased to it.
    #[serde(skip)]
    pub leased: u64,
    /// No entry that is leased to it was delivered earlier, or later.
    pub(super) leased_since: TimestampMs,
    pub(super) leased_until: TimestampMs,
    /// When a process took up its name last. Deliveries before `session` were made to an earlier
    /// one, whose work the heartbeats of this one say nothing about.
    pub(super) joined_at: TimestampMs,
    pub(super) session: Lease,
    /// How many leased entries were delivered before.
    #[serde(skip)]
    pub(super) inherited: u64,
}

impl Consumer {
    pub(super) fn new(name: &[u8], at: TimestampMs) -> Consumer {
        Consumer {
            name: name.into(),
            is_member: false,
            manner: Manner::default(),
            seen_at: at,
            active_at: None,
            leased: 0,
            leased_since: at,
            leased_until: at,
            joined_at: at,
            session: Lease(0),
            inherited: 0,
        }
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    /// Everything of the lane below was delivered.
    pub cursor: Offset,
    /// Who gets its records. Nobody owns the lane of a group of order `none`.
    pub owner: Option<ConsumerId>,
    /// Who gets them once nothing of it is leased any more; until then nobody gets new ones.
    pub heir: Option<ConsumerId>,
}

impl LaneState {
    pub(super) fn at(cursor: Offset) -> LaneState {
        LaneState { cursor, owner: None, heir: None }
    }
}

/// The pending entries of a lane whose order is kept, and of dead letters tried again in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LaneWork {
    /// Rising. They come at the end and mostly go at the front.
    leased: VecDeque<Offset>,
    /// All beyond the leased ones: they go out again in this order, and before anything new.
    pub(super) waiting: BTreeSet<Offset>,
    dead_letters_leased: u32,
}

impl LaneWork {
    fn lease(&mut self, offset: Offset) {
        let place = match self.leased.back() {
            Some(last) if *last >= offset => self.leased.partition_point(|other| *other < offset),
            _ => self.leased.len(),
        };
        self.leased.insert(place, offset);
    }

    fn end_lease(&mut self, offset: Offset) {
        if let Ok(place) = self.leased.binary_search(&offset) {
            self.leased.remove(place);
        }
    }

    /// What is leased at or behind an offset.
    pub(super) fn leased_from(&self, offset: Offset) -> Vec<Offset> {
        let first = self.leased.partition_point(|other| *other < offset);
        self.leased.range(first..).copied().collect()
    }

    pub(super) fn is_leased(&self) -> bool {
        !self.leased.is_empty() || self.dead_letters_leased > 0
    }
}

/// Consumers, lanes, and where their entries are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Books {
    /// Whether lanes have owners and keep their order.
    pub(super) is_ordered: bool,
    pub(super) consumers: BTreeMap<ConsumerId, Consumer>,
    pub(super) lanes: Vec<LaneState>,
    /// As many as `lanes`.
    #[serde(skip)]
    pub(super) work: Vec<LaneWork>,
    /// Lanes in which something waits.
    #[serde(skip)]
    pub(super) blocked: BTreeSet<Lane>,
    /// What waits outside of every order, by the time at which it is due.
    #[serde(skip)]
    pub(super) retries: BTreeSet<(TimestampMs, EntryKey)>,
}

impl Books {
    pub(super) fn new(is_ordered: bool, lane_count: usize, cursor: Offset) -> Books {
        Books {
            is_ordered,
            consumers: BTreeMap::new(),
            lanes: vec![LaneState::at(cursor); lane_count],
            work: vec![LaneWork::default(); lane_count],
            blocked: BTreeSet::new(),
            retries: BTreeSet::new(),
        }
    }

    /// An entry came to be pending, in the state in which it is.
    pub(super) fn enter(&mut self, key: EntryKey, entry: &Entry) {
        match entry.hold {
            Hold::Leased => self.leased(key, entry),
            Hold::Waiting => self.waits(key, entry),
            Hold::Dying => {}
        }
    }

    /// An entry left the state in which it was.
    pub(super) fn leave(&mut self, key: EntryKey, entry: &Entry) {
        match entry.hold {
            Hold::Leased => self.unleased(key, entry),
            Hold::Waiting => self.waits_no_more(key, entry),
            Hold::Dying => {}
        }
    }

    /// `count` more entries are leased to the consumer.
    pub(super) fn count_leases(&mut self, consumer: Option<ConsumerId>, count: u64, at: TimestampMs) {
        if let Some(consumer) = consumer.and_then(|id| self.consumers.get_mut(&id)) {
            let (since, until) = if consumer.leased == 0 { (at, at) } else { (consumer.leased_since, consumer.leased_until) };
            (consumer.leased_since, consumer.leased_until) = (since.min(at), until.max(at));
            consumer.leased += count;
        }
    }

    fn leased(&mut self, key: EntryKey, entry: &Entry) {
        self.count_leases(entry.consumer, 1, entry.at);
        if self.is_ordered
            && let Some(work) = self.work.get_mut(entry.lane.index())
        {
            match key.source {
                Source::Topic => work.lease(key.offset),
                Source::DeadLetter => work.dead_letters_leased += 1,
            }
        }
    }

    fn unleased(&mut self, key: EntryKey, entry: &Entry) {
        if let Some(consumer) = entry.consumer.and_then(|id| self.consumers.get_mut(&id)) {
            consumer.leased = consumer.leased.saturating_sub(1);
            if entry.lease < consumer.session {
                consumer.inherited = consumer.inherited.saturating_sub(1);
            }
        }
        if self.is_ordered
            && let Some(work) = self.work.get_mut(entry.lane.index())
        {
            match key.source {
                Source::Topic => work.end_lease(key.offset),
                Source::DeadLetter => work.dead_letters_leased = work.dead_letters_leased.saturating_sub(1),
            }
        }
    }

    /// The lane goes to its heir, if it has one and nothing of it is leased.
    pub(super) fn hand_over(&mut self, lane: Lane) {
        let (Some(state), Some(work)) = (self.lanes.get_mut(lane.index()), self.work.get(lane.index())) else { return };
        if !work.is_leased()
            && let Some(heir) = state.heir.take()
        {
            state.owner = Some(heir);
        }
    }

    /// Whether an entry stands in a line: the others wait for themselves.
    fn keeps_order(&self, key: EntryKey) -> bool {
        self.is_ordered && key.source == Source::Topic
    }

    fn waits(&mut self, key: EntryKey, entry: &Entry) {
        if !self.keeps_order(key) {
            self.retries.insert((entry.due(), key));
        } else if let Some(work) = self.work.get_mut(entry.lane.index()) {
            work.waiting.insert(key.offset);
            self.blocked.insert(entry.lane);
        }
    }

    fn waits_no_more(&mut self, key: EntryKey, entry: &Entry) {
        if !self.keeps_order(key) {
            self.retries.remove(&(entry.due(), key));
        } else if let Some(work) = self.work.get_mut(entry.lane.index()) {
            work.waiting.remove(&key.offset);
            if work.waiting.is_empty() {
                self.blocked.remove(&entry.lane);
            }
        }
    }

    /// Whether records of the lane go to this consumer now.
    pub(super) fn is_open_to(&self, consumer: ConsumerId, lane: &LaneState) -> bool {
        !self.is_ordered || (lane.owner == Some(consumer) && lane.heir.is_none())
    }

    /// The lanes of which the consumer gets records that nobody got before.
    pub(super) fn fresh_lanes(&self, consumer: ConsumerId) -> impl Iterator<Item = (Lane, &LaneState)> {
        let open = (0..).map(Lane).zip(&self.lanes).filter(move |(_, state)| self.is_open_to(consumer, state));
        open.filter(|(lane, _)| !self.is_ordered || !self.blocked.contains(lane))
    }
}
