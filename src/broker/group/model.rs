//! Random work in a group, against promises kept by hand: a naive table that says of each record who
//! has it. It knows what was handed out and what was said about it, and nothing of how the state
//! keeps it.

mod check;
mod upheaval;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::codec::GroupEvent;
use crate::codec::group_event::{Assign, Count, EntryKey, GroupSettings, Manner, Order, Source};
use crate::ids::{ConsumerId, Epoch, Lane, Offset, TimestampMs};

const LEASE_MS: u64 = 1_000;
/// Few, so that entries get there.
const ATTEMPTS: u32 = 2;
const ASSIGNS: [Assign; 4] = [Assign::Range, Assign::RoundRobin, Assign::Sticky, Assign::ConsistentHash];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    /// Nobody got it yet.
    Fresh,
    Held {
        consumer: ConsumerId,
        lease: Lease,
        at: u64,
        session: u32,
    },
    Waiting {
        at: u64,
        due: u64,
    },
    Dying,
    /// Acked, dead, expired, or passed over by a seek.
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    lane: Lane,
    /// Not: it was deleted from the topic.
    exists: bool,
    status: Status,
    deliveries: u32,
}

/// A consumer's process.
#[derive(Clone, Copy, Debug)]
struct Process {
    id: ConsumerId,
    session: u32,
    joined_at: u64,
    /// When it was heard last; it lives as long as that is now.
    died_at: Option<u64>,
    manner: Manner,
}

type Scan = (Offset, Offset, Vec<(Offset, Lane)>);

struct World {
    state: GroupState,
    /// Batches as they are stored.
    journal: Vec<Vec<u8>>,
    /// Folds what is in the journal, from the start and from a checkpoint, and lags behind.
    replicas: Vec<(GroupState, usize)>,
    now: u64,
    epoch: u64,
    end: u64,
    records: BTreeMap<EntryKey, Record>,
    /// Pending records that a seek put before the group once more.
    reread: BTreeSet<EntryKey>,
    receipts: Vec<Receipt>,
    processes: BTreeMap<u8, Process>,
    scans: BTreeMap<ConsumerId, Scan>,
    dead_letters: u64,
}

impl World {
    fn new(order: Order) -> World {
        let mut world = World {
            state: GroupState::new(),
            journal: Vec::new(),
            replicas: vec![(GroupState::new(), 0)],
            now: 1_000_000,
            epoch: 0,
            end: 0,
            records: BTreeMap::new(),
            reread: BTreeSet::new(),
            receipts: Vec::new(),
            processes: BTreeMap::new(),
            scans: BTreeMap::new(),
            dead_letters: 0,
        };
        let settings = GroupSettings {
            order,
            lease_ms: LEASE_MS,
            attempts_max: NonZeroU32::new(ATTEMPTS),
            backoff_max_ms: 4_000,
            ..GroupSettings::default()
        };
        world.commit(configure(&world.state, &settings).expect("nothing is pending"));
        world
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(self.now)
    }

    fn is_ordered(&self) -> bool {
        self.state.settings().order != Order::None
    }

    /// Journals and applies a batch.
    fn commit(&mut self, events: impl IntoIterator<Item = GroupEvent>) {
        let mut bytes = Vec::new();
        for event in events {
            event.encode(&mut bytes);
            self.state.apply(&event);
        }
        self.journal.push(bytes);
    }

    fn catch_up(&mut self) {
        for (replica, read) in &mut self.replicas {
            for batch in &self.journal[*read..] {
                GroupEvent::decode_batch(batch).expect("as written").iter().for_each(|event| replica.apply(event));
            }
            *read = self.journal.len();
            assert_eq!(replica, &self.state, "two that fold the same events are equal");
        }
    }

    fn checkpoint(&mut self) {
        let bytes = rmp_serde::to_vec(&self.state.checkpoint()).expect("can be stored");
        let stored: StoredCheckpoint = rmp_serde::from_slice(&bytes).expect("can be read back");
        let restored = stored.restore().expect("fits together");
        assert_eq!(restored, self.state, "a checkpoint is the state");
        self.replicas.truncate(1);
        self.replicas.push((restored, self.journal.len()));
    }

    fn publish(&mut self, count: u64, seed: u16) {
        for n in 0..count {
            let word = u64::from(seed) + n * 7;
            let key = [b"ash", b"elm", b"fir", b"oak", b"yew"].get((word % 6) as usize).map(|key| &key[..]);
            let lane = if self.state.lanes().len() == 1 { Lane::ONLY } else { lane_of(key, Offset(self.end)) };
            let exists = !word.is_multiple_of(11);
            let record = Record { lane, exists, status: Status::Fresh, deliveries: 0 };
            self.records.insert(EntryKey::topic(Offset(self.end)), record);
            self.end += 1;
        }
    }

    fn process(&self, pick: u16) -> Option<Process> {
        let count = self.processes.len();
        self.processes.values().nth(usize::from(pick) % count.max(1)).copied()
    }

    fn join(&mut self, name: u8) {
        let manner = Manner { is_passing: name == 2, is_manual: name == 3 };
        let (id, events) = join(&self.state, &[name], manner, self.now());
        self.commit(events);
        let session = self.processes.get(&name).map_or(0, |process| process.session + 1);
        // Whoever had the name has died.
        self.processes.insert(name, Process { id, session, joined_at: self.now, died_at: None, manner });
    }

    fn take(&mut self, pick: u16, count: u16) {
        let Some(process) = self.process(pick).filter(|process| process.died_at.is_none()) else { return };
        let count = usize::from(count % 12);
        let no_ack = pick.is_multiple_of(31);
        let scan = match self.state.settings().order {
            Order::None | Order::Topic if pick % 5 < 3 => None,
            _ => self.scan(process.id, pick.is_multiple_of(3)),
        };
        let fresh = match &scan {
            Some((from, to, records)) => Fresh::Read { from: *from, to: *to, records },
            None => Fresh::Below { until: Offset(self.end) },
        };
        let take = Take { consumer: process.id, count, no_ack, letters: true, fresh };
        let taken = super::take(&self.state, &take, self.now());
        assert!(taken.deliveries.len() <= count);
        let is_settled = no_ack || self.state.settings().no_ack;
        for key in self.handed_out(&process, taken, is_settled) {
            let record = self.records[&key];
            assert!(matches!(record.status, Status::Waiting { .. }) && record.deliveries >= ATTEMPTS, "{record:?}");
            self.give_up(key, None, pick.is_multiple_of(2));
        }
    }

    /// What the consumer read, now or a while ago.
    fn scan(&mut self, consumer: ConsumerId, is_stale: bool) -> Option<Scan> {
        if let Some(scan) = self.scans.get(&consumer).filter(|_| is_stale) {
            return Some(scan.clone());
        }
        let from = self.state.read_from(consumer)?;
        let to = Offset(self.end).min(from.plus(20));
        let keys = EntryKey::topic(from)..EntryKey::topic(to.max(from));
        let found = self.records.range(keys).filter(|(_, record)| record.exists);
        let scan = (from, to, found.map(|(key, record)| (key.offset, record.lane)).collect());
        self.scans.insert(consumer, scan);
        self.scans.get(&consumer).cloned()
    }

    /// Journals a take and checks each delivery of it; hands on what is exhausted.
    fn handed_out(&mut self, process: &Process, taken: Taken, is_settled: bool) -> Vec<EntryKey> {
        let mut new = Vec::new();
        for event in &taken.events {
            if let GroupEvent::Delivered { offsets, .. } = event {
                new.extend(offsets.iter().map(EntryKey::topic));
            }
        }
        self.commit(taken.events);
        for delivery in taken.deliveries {
            self.deliver(process, delivery, new.contains(&delivery.key), is_settled);
        }
        taken.exhausted
    }

    fn deliver(&mut self, process: &Process, delivery: Delivery, is_new: bool, is_settled: bool) {
        let (key, now) = (delivery.key, self.now);
        let record = self.records[&key];
        match record.status {
            // What a seek has put before the group again is new again, in whatever state it is.
            _ if is_new && self.reread.remove(&key) => {}
            Status::Fresh => assert!(is_new),
            Status::Waiting { at, due } => assert!(!is_new && (due <= now || at > now), "{key:?} is not due"),
            _ => panic!("{key:?} was {record:?} when it was delivered again"),
        }
        let lane = self.state.lanes()[record.lane.index()];
        assert!(!self.is_ordered() || (lane.owner, lane.heir) == (Some(process.id), None), "{key:?} went past {lane:?}");
        if self.is_ordered() && key.source == Source::Topic {
            for (other, neighbour) in self.records.range(EntryKey::topic(Offset(0))..=EntryKey::topic(Offset(u64::MAX))) {
                if neighbour.lane != record.lane || *other == key || !neighbour.exists {
                    continue;
                }
                let is_ok = match neighbour.status {
                    Status::Held { consumer, .. } => *other < key && consumer == process.id,
                    Status::Fresh | Status::Waiting { .. } => *other > key,
                    Status::Dying | Status::Done => true,
                };
                assert!(is_ok, "{key:?} is out of order: {other:?} is {neighbour:?}");
            }
        }
        let deliveries = if is_new { 1 } else { record.deliveries + 1 };
        assert_eq!(delivery.deliveries, deliveries, "{key:?}");
        assert!(self.receipts.iter().all(|receipt| *receipt != delivery.receipt()), "a receipt comes once");
        let held = Status::Held { consumer: process.id, lease: delivery.lease, at: now, session: process.session };
        self.records.insert(key, Record { status: held, deliveries, ..record });
        if is_settled {
            self.settle(key);
        }
        self.receipts.push(delivery.receipt());
        if !record.exists && !is_settled {
            // Found to be deleted when it was to be read.
            let settled = ack(&self.state, &[delivery.receipt()], self.now());
            self.commit(settled.events);
            self.settle(key);
        }
    }

    fn is_held(&self, receipt: &Receipt) -> bool {
        let record = self.records.get(&receipt.key);
        record.is_some_and(|record| matches!(record.status, Status::Held { lease, .. } if lease == receipt.lease))
    }

    fn settle(&mut self, key: EntryKey) {
        let status = if self.reread.contains(&key) { Status::Fresh } else { Status::Done };
        self.records.entry(key).and_modify(|record| record.status = status);
    }

    fn pick_receipts(&self, pick: u16, count: u16) -> Vec<Receipt> {
        let all = self.receipts.len();
        // Mostly the newer ones.
        let newest = if pick.is_multiple_of(4) { all } else { all.min(12) };
        let mut picked: Vec<Receipt> = (0..usize::from(count % 6))
            .filter_map(|n| self.receipts[all - newest..].get((usize::from(pick) + n * 3) % newest.max(1)))
            .copied()
            .collect();
        let mut seen = BTreeSet::new();
        picked.retain(|receipt| seen.insert(receipt.key));
        picked
    }

    fn ack(&mut self, pick: u16, count: u16) {
        let receipts = self.pick_receipts(pick, count);
        let settled = ack(&self.state, &receipts, self.now());
        let (held, late): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|receipt| self.is_held(receipt));
        assert_eq!(settled.late, late, "a late receipt is refused, and no other");
        self.commit(settled.events);
        held.iter().for_each(|receipt| self.settle(receipt.key));
    }

    fn nack(&mut self, pick: u16, count: u16) {
        let receipts = self.pick_receipts(pick, count);
        let delay_ms = (pick.is_multiple_of(3)).then_some(u64::from(count));
        let how = Nack { counted: !pick.is_multiple_of(5), delay_ms, jitter: u64::from(pick) * 977 };
        let settled = nack(&self.state, &receipts, how, self.now());
        let (held, late): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|receipt| self.is_held(receipt));
        assert_eq!(settled.late, late);
        self.commit(settled.events);
        self.given_back(held.iter().map(|receipt| receipt.key).collect(), how.counted);
        for key in settled.exhausted {
            assert!(how.counted && self.records[&key].deliveries >= ATTEMPTS);
            self.give_up(key, None, pick.is_multiple_of(2));
        }
    }

    /// These were named; what is behind them in their lanes comes along, uncounted.
    fn given_back(&mut self, named: BTreeSet<EntryKey>, counted: bool) {
        let is_ordered = self.is_ordered();
        let named: Vec<(EntryKey, Lane)> = named.into_iter().map(|key| (key, self.records[&key].lane)).collect();
        for (key, record) in &mut self.records {
            let is_named = named.iter().any(|(name, _)| name == key);
            let comes_along = is_ordered
                && key.source == Source::Topic
                && named.iter().any(|(name, lane)| name.source == Source::Topic && name < key && *lane == record.lane);
            if !matches!(record.status, Status::Held { .. }) || !(is_named || comes_along) {
                continue;
            }
            if !(is_named && counted) {
                record.deliveries = record.deliveries.saturating_sub(1);
            }
            let entry = self.state.entry(*key).expect("what waits is pending");
            assert!(entry.delay_ms <= 70_000);
            record.status = Status::Waiting { at: self.now, due: entry.due().0 };
        }
    }

    fn give_up(&mut self, key: EntryKey, lease: Option<Lease>, at_once: bool) {
        let Some(intent) = give_up(&self.state, key, lease, Offset(self.dead_letters), b"tired") else { return };
        self.commit([intent]);
        assert!(give_up(&self.state, key, lease, Offset(9), b"again").is_none(), "one is given up once");
        self.records.entry(key).and_modify(|record| record.status = Status::Dying);
        if at_once {
            self.bury();
        }
    }

    /// Finishes what was begun, as after a recovery.
    fn bury(&mut self) {
        let open: Vec<EntryKey> = self.state.open_intents().map(|(key, _)| key).collect();
        for key in open {
            self.commit(bury(&self.state, key));
            assert!(bury(&self.state, key).is_none());
            self.dead_letters += 1;
            self.settle(key);
        }
    }

    fn lapse(&mut self) {
        let (now, processes) = (self.now, &self.processes);
        let by_id = |id: ConsumerId| processes.values().find(|process| process.id == id);
        let heard = |id| by_id(id).map(|process| TimestampMs(process.died_at.unwrap_or(now)));
        let events = super::lapse(&self.state, heard, self.now());
        let mut lanes = BTreeSet::new();
        let mut over = BTreeSet::new();
        for (key, record) in &self.records {
            let Status::Held { consumer, at, session, .. } = record.status else { continue };
            if self.is_ordered() && key.source == Source::Topic && !lanes.insert(record.lane) {
                continue;
            }
            let renews = by_id(consumer).filter(|process| !process.manner.is_manual);
            let signs = renews.map_or(vec![at], |process| {
                let heard = process.died_at.unwrap_or(now);
                vec![at, if session < process.session { heard.min(process.joined_at) } else { heard }]
            });
            let last = signs.into_iter().filter(|sign| *sign <= now + LEASE_MS).max();
            if last.is_none_or(|last| last + LEASE_MS <= now) {
                over.insert(*key);
            }
        }
        assert_eq!(events.is_empty(), over.is_empty(), "{over:?}");
        self.commit(events);
        self.given_back(over, true);
    }

    fn release(&mut self, id: ConsumerId) {
        let events = release(&self.state, id, self.now());
        self.commit(events);
        let is_its = |record: &Record| matches!(record.status, Status::Held { consumer, .. } if consumer == id);
        let its = self.records.iter().filter(|(_, record)| is_its(record)).map(|(key, _)| *key).collect();
        self.given_back(its, false);
    }

    fn step(&mut self, (kind, a, b): (u8, u16, u16)) {
        match kind {
            0..4 => self.publish(u64::from(a % 9), b),
            4..12 => self.take(a, b),
            12..18 => self.ack(a, b),
            18..22 => self.nack(a, b),
            22..24 => self.join((a % 4) as u8),
            24 => self.end_process(a, b),
            25 => {
                let dead: Vec<ConsumerId> = self.processes.values().filter(|p| p.died_at.is_some()).map(|p| p.id).collect();
                dead.into_iter().for_each(|id| self.commit(leave(&self.state, id, self.now())));
                self.forget_passed();
            }
            26..28 => self.lapse(),
            28..32 => self.now += u64::from(a) % 700,
            32 => self.now = if a.is_multiple_of(8) { self.now - 5_000 } else { self.now + 900 },
            33 => self.claim(a, b),
            34 if a.is_multiple_of(4) => self.seek(b, a.is_multiple_of(8)),
            34 => self.commit(pause(&self.state, b.is_multiple_of(4))),
            35 => self.clamp(a),
            36 => self.expire(a),
            37 => {
                for receipt in self.pick_receipts(a, b).into_iter().filter(|receipt| self.is_held(receipt)).collect::<Vec<_>>() {
                    self.give_up(receipt.key, Some(receipt.lease), a.is_multiple_of(2));
                }
            }
            38 if b.is_multiple_of(3) => self.drop_letters(a),
            38 => self.revive(a),
            39 => {
                let assign = ASSIGNS[usize::from(a % 4)];
                let settings = GroupSettings { assign, no_ack: b.is_multiple_of(16), ..self.state.settings().clone() };
                self.commit(configure(&self.state, &settings).expect("the order stays"));
            }
            40 => self.checkpoint(),
            41 => self.catch_up(),
            42 => self.hand_back(a, b),
            _ => {
                if let Some(process) = self.process(a) {
                    self.release(process.id);
                }
            }
        }
        self.check();
    }
}

fn run(order: Order, steps: Vec<(u8, u16, u16)>) {
    let mut world = World::new(order);
    (0..3).for_each(|name| world.join(name));
    steps.into_iter().for_each(|step| world.step(step));
    world.catch_up();
    world.drain();
    world.catch_up();
}

fn steps() -> impl Strategy<Value = Vec<(u8, u16, u16)>> {
    proptest::collection::vec((0u8..44, any::<u16>(), any::<u16>()), 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_without_order_keeps_its_promises(steps in steps()) {
        run(Order::None, steps);
    }

    #[test]
    fn a_group_in_order_of_keys_keeps_its_promises(steps in steps()) {
        run(Order::Key, steps);
    }

    #[test]
    fn a_group_in_order_of_its_topic_keeps_its_promises(steps in steps()) {
        run(Order::Topic, steps);
    }
}
