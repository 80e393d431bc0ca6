//! What a group promises, one sentence at a time. `model.rs` has the rest.

use super::*;
use crate::codec::GroupEvent;
use crate::codec::group_event::{Count, EntryKey, GroupSettings, Manner, Order, Source};
use crate::ids::{ConsumerId, Epoch, Incarnation, Lane, Offset, RecordId, TimestampMs};

struct Group {
    state: GroupState,
    now: u64,
}

impl Group {
    fn new(order: Order) -> Group {
        let mut group = Group { state: GroupState::new(), now: 1_000_000 };
        let settings = GroupSettings { order, ..GroupSettings::default() };
        group.commit(configure(&group.state, &settings).expect("nothing is pending"));
        group
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(self.now)
    }

    fn commit(&mut self, events: impl IntoIterator<Item = GroupEvent>) {
        events.into_iter().for_each(|event| self.state.apply(&event));
    }

    fn join(&mut self, name: &str) -> ConsumerId {
        let (id, events) = join(&self.state, name.as_bytes(), Manner::default(), self.now());
        self.commit(events);
        id
    }

    /// Takes from a topic of 100 records, record `n` in lane `n % 10`.
    fn take(&mut self, consumer: ConsumerId, count: usize) -> Vec<Delivery> {
        let records: Vec<(Offset, Lane)> = (0..100).map(|n| (Offset(n), Lane((n % 10) as u16))).collect();
        let from = self.state.read_from(consumer).unwrap_or_default();
        let fresh = Fresh::Read { from, to: Offset(100), records: &records };
        let taken = take(&self.state, &Take { consumer, count, no_ack: false, letters: true, fresh }, self.now());
        self.commit(taken.events);
        taken.deliveries
    }

    fn lapse(&mut self, heard: impl Fn(ConsumerId) -> Option<TimestampMs>) -> bool {
        let events = lapse(&self.state, heard, self.now());
        let has_lapsed = !events.is_empty();
        self.commit(events);
        has_lapsed
    }

    fn nack(&mut self, deliveries: &[Delivery], counted: bool, delay_ms: Option<u64>) -> Settled {
        let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
        let settled = nack(&self.state, &receipts, Nack { counted, delay_ms, jitter: 0 }, self.now());
        self.commit(settled.events.clone());
        settled
    }

    fn ack(&mut self, deliveries: &[Delivery]) -> Settled {
        let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
        let settled = ack(&self.state, &receipts, self.now());
        self.commit(settled.events.clone());
        settled
    }
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.key.offset.0).collect()
}

#[test]
fn a_dead_group_members_idle_lanes_move_at_once_and_the_others_after_the_lease() {
    let mut group = Group::new(Order::Key);
    let first = group.join("first");
    let held = group.take(first, 1);
    assert_eq!(offsets(&held), [0]);
    let second = group.join("second");
    group.commit(leave(&group.state, first, group.now()));
    assert_eq!(lanes_of(&group.state, second).len(), 1024);
    let waiting: Vec<_> = group.state.lanes().iter().filter(|lane| lane.owner == Some(first)).collect();
    assert_eq!((waiting.len(), waiting[0].heir), (1, Some(second)), "the lane of record 0 waits for it");
    let died_at = group.now();
    let got = group.take(second, 100);
    assert!(got.iter().all(|delivery| delivery.lane != Lane(0)) && got.len() == 90);

    group.now += 29_999;
    assert!(!group.lapse(|id| Some(if id == first { died_at } else { TimestampMs(1_029_999) })));
    group.now += 1;
    assert!(group.lapse(|id| Some(if id == first { died_at } else { TimestampMs(1_030_000) })));
    let again = group.take(second, 100);
    assert_eq!((offsets(&again), again[0].deliveries), (vec![0], 2), "the retry comes first, alone");
    assert_eq!(offsets(&group.take(second, 100)), [10, 20, 30, 40, 50, 60, 70, 80, 90]);
    assert_eq!(group.ack(&held).late.len(), 1);
}

#[test]
fn a_group_consumer_that_lives_keeps_its_entries_without_an_event() {
    let mut group = Group::new(Order::None);
    let id = group.join("steady");
    group.take(id, 5);
    for _ in 0..100 {
        group.now += 20_000;
        let now = group.now();
        assert!(!group.lapse(|_| Some(now)));
    }
    group.now += 30_000;
    assert!(group.lapse(|_| None));
    assert_eq!(group.take(id, 2)[0].deliveries, 2);
}

#[test]
fn who_takes_up_a_name_is_the_same_group_consumer_and_does_not_renew_what_the_other_had() {
    let mut group = Group::new(Order::Topic);
    let id = group.join("worker");
    group.take(id, 3);
    group.now += 1_000;
    assert_eq!(group.join("worker"), id);
    let fresh = group.take(id, 1);
    assert_eq!(offsets(&fresh), [3]);
    group.now += 30_000;
    let now = group.now();
    assert!(group.lapse(|_| Some(now)));
    let again = group.take(id, 100);
    assert_eq!(offsets(&again), [0, 1, 2, 3], "in order, what was behind them too");
    assert_eq!(again.iter().map(|delivery| delivery.deliveries).collect::<Vec<_>>(), [2, 1, 1, 1], "only the first counts");
}

#[test]
fn a_group_retry_waits_longer_each_time_and_not_for_a_clock_that_was_set_back() {
    let mut group = Group::new(Order::None);
    let id = group.join("one");
    let mut pauses = Vec::new();
    for attempt in 1..5 {
        let got = group.take(id, 1);
        assert_eq!(got[0].deliveries, attempt);
        group.nack(&got, true, None);
        let due = group.state.next_due().expect("it waits");
        pauses.push(due.0 - group.now);
        group.now = due.0;
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000]);
    let got = group.take(id, 1);
    group.nack(&got, false, Some(60_000));
    group.now -= 600_000;
    assert_eq!(offsets(&group.take(id, 1)), [0]);
}

#[test]
fn the_pauses_of_a_group_are_spread_and_bounded() {
    let mut group = Group::new(Order::None);
    let id = group.join("one");
    let got = group.take(id, 1);
    for jitter in [0, 1, 77, 501, u64::MAX] {
        let how = Nack { counted: true, delay_ms: None, jitter };
        let settled = nack(&group.state, &[got[0].receipt()], how, group.now());
        let GroupEvent::GivenBack { delay_ms, .. } = settled.events[0] else { panic!("it is given back") };
        assert!((500..=1_000).contains(&delay_ms), "{delay_ms}");
    }
}

#[test]
fn a_group_entry_without_attempts_left_goes_to_the_dead_letters_once() {
    let mut group = Group::new(Order::Topic);
    let id = group.join("one");
    for _ in 0..4 {
        let got = group.take(id, 2);
        assert_eq!(group.nack(&got[..1], true, Some(0)).exhausted, []);
    }
    let got = group.take(id, 2);
    let key = EntryKey::topic(Offset(0));
    assert_eq!(group.nack(&got[..1], true, None).exhausted, [key]);
    assert!(group.take(id, 2).is_empty(), "what is behind waits until it is dead");
    assert_eq!(give_up(&group.state, key, Some(got[0].lease), Offset(7), b"no"), None, "a late receipt");
    group.commit(give_up(&group.state, key, None, Offset(7), b"five times"));
    assert_eq!(give_up(&group.state, key, None, Offset(8), b"again"), None);

    let bytes = rmp_serde::to_vec(&group.state.checkpoint()).expect("can be stored");
    group.state = rmp_serde::from_slice::<StoredCheckpoint>(&bytes).expect("reads back").restore().expect("fits together");
    let (open, intent) = group.state.open_intents().next().expect("one is open");
    assert_eq!((open, intent.dead_letter_end, &intent.reason[..]), (key, Offset(7), &b"five times"[..]));
    assert_eq!(group.state.committed().offset, Offset(0));
    group.commit(bury(&group.state, key));
    assert_eq!((bury(&group.state, key), group.state.counters().dead), (None, 1));
    let got = group.take(id, 1);
    assert_eq!((offsets(&got), got[0].deliveries), (vec![1], 1), "it was given back uncounted each time");

    group.commit(revive(&group.state, &[(Offset(7), Lane::ONLY), (Offset(7), Lane::ONLY)], group.now()));
    let got = group.take(id, 1);
    assert_eq!(got[0].key, EntryKey { source: Source::DeadLetter, offset: Offset(7) });
    assert!(group.ack(&got).late.is_empty());
}

#[test]
fn group_entries_are_claimed_as_redis_does() {
    let mut group = Group::new(Order::None);
    let (one, two) = (group.join("one"), group.join("two"));
    let got = group.take(one, 4);
    group.now += 5_000;
    let by_two = Claim { consumer: two, min_idle_ms: 5_000, count: Count::Keep, at: group.now(), force: false };
    let idle = Claim { min_idle_ms: 5_001, ..by_two };
    assert_eq!(claim(&group.state, &[Offset(0)], &idle, group.now()), Claimed::default());
    let claimed = claim(&group.state, &[Offset(0), Offset(50)], &by_two, group.now());
    assert_eq!((offsets(&claimed.deliveries), claimed.deliveries[0].deliveries), (vec![0], 1));
    group.commit(claimed.events);
    assert_eq!(group.ack(&got[..1]).late, [got[0].receipt()], "who had it comes late");
    let forced = claim(&group.state, &[Offset(50)], &Claim { force: true, count: Count::Set(7), ..by_two }, group.now());
    assert_eq!(forced.deliveries[0].deliveries, 7);

    let by_two = Claim { count: Count::Add, ..by_two };
    let auto = auto_claim(&group.state, Offset(0), (2, 20), |offset| offset != Offset(2), &by_two, group.now());
    assert_eq!((offsets(&auto.claimed.deliveries), &auto.gone[..], auto.next), (vec![1], &[Offset(2)][..], Some(Offset(3))));
    group.commit(auto.claimed.events);
    let auto = auto_claim(&group.state, Offset(3), (2, 20), |_| true, &by_two, group.now());
    assert_eq!((offsets(&auto.claimed.deliveries), auto.next), (vec![3], None));
    group.commit(auto.claimed.events);
    assert_eq!(group.state.consumer(two).map(|consumer| consumer.leased), Some(3));
    let (events, count) = ack_any(&group.state, &[EntryKey::topic(Offset(0)), EntryKey::topic(Offset(2))], group.now());
    group.commit(events);
    assert_eq!((count, group.state.pending_count()), (1, 2));
    assert_eq!(group.state.pending_ends(Source::Topic), Some((Offset(1), Offset(3))));
    group.commit(remove(&group.state, two));
    assert_eq!((group.state.pending_count(), group.state.find(b"two")), (0, None));
    assert!(group.join("two") > two, "a number is never used again");
}

#[test]
fn entries_are_handed_back_whoever_has_them() {
    let mut group = Group::new(Order::None);
    let one = group.join("one");
    group.take(one, 2);
    let keys = [0, 1, 7].map(|at| EntryKey::topic(Offset(at)));
    let how = HandBack { count: Count::Undo, delay_ms: 5, force: false };
    let (events, count) = hand_back(&group.state, &keys, &how, group.now());
    assert_eq!(count, 2, "what nobody has is not pending");
    group.commit(events);
    let entry = *group.state.entry(keys[0]).expect("pending");
    assert_eq!((entry.hold, entry.deliveries, entry.delay_ms), (Hold::Waiting, 0, 5));
    let forced = HandBack { count: Count::Set(4), delay_ms: 0, force: true };
    let (events, count) = hand_back(&group.state, &keys[1..], &forced, group.now());
    group.commit(events);
    assert_eq!(count, 2);
    assert_eq!(group.state.entry(keys[2]).map(|entry| (entry.deliveries, entry.consumer)), Some((4, None)));
    assert_eq!(group.state.consumer(one).map(|consumer| consumer.leased), Some(0));
    group.now += 10;
    assert_eq!(offsets(&group.take(one, 3)), [1, 7, 0], "in the order in which they are due");
}

#[test]
fn who_cannot_read_dead_letters_is_given_none() {
    let mut group = Group::new(Order::None);
    let one = group.join("one");
    group.commit(find_letters_in(&group.state, Incarnation([1; 16])));
    group.commit(revive(&group.state, &[(Offset(3), Lane::ONLY)], group.now()));
    let fresh = Fresh::Below { until: Offset(0) };
    let take = |letters| Take { consumer: one, count: 9, no_ack: false, letters, fresh };
    assert!(super::take(&group.state, &take(false), group.now()).deliveries.is_empty());
    assert_eq!(super::take(&group.state, &take(true), group.now()).deliveries.len(), 1);
}

#[test]
fn a_group_is_where_it_was_told_until_it_moves_on() {
    let mut group = Group::new(Order::None);
    let one = group.join("one");
    let last_id = RecordId { ms: 7, seq: 1 };
    group.commit([GroupEvent::Placed { last_id, entries_read: Some(3) }]);
    assert_eq!((group.state.counters().last_id, group.state.counters().entries_read), (Some(last_id), Some(3)));
    group.take(one, 2);
    assert_eq!((group.state.counters().last_id, group.state.counters().entries_read), (None, Some(5)));
}

#[test]
fn a_group_takes_another_order_only_when_nothing_is_open() {
    let mut group = Group::new(Order::None);
    let id = group.join("one");
    let got = group.take(id, 1);
    let by_key = GroupSettings { order: Order::Key, ..group.state.settings().clone() };
    assert!(configure(&group.state, &by_key).is_err());
    group.ack(&got);
    group.commit(configure(&group.state, &by_key).expect("all is settled"));
    assert_eq!((group.state.lanes().len(), lanes_of(&group.state, id).len()), (1024, 1024));
    assert_eq!(group.state.committed().offset, Offset(1));
    assert_eq!(group.take(id, 100).len(), 99);
}

#[test]
fn no_place_of_a_group_is_ahead_of_its_topic() {
    let mut group = Group::new(Order::None);
    let id = group.join("one");
    let got = group.take(id, 10);
    group.commit(clamp(&group.state, Offset(4), Epoch(2)));
    assert_eq!(clamp(&group.state, Offset(4), Epoch(2)), None);
    assert_eq!((group.state.pending_count(), group.state.delivered_below()), (4, Offset(4)));
    assert_eq!(group.state.committed().epoch, Epoch(2));
    assert_eq!(group.ack(&got).late.len(), 6);
    let again = group.take(id, 1);
    assert_eq!((offsets(&again), group.ack(&got[4..5]).late.len()), (vec![4], 1), "the offset is used again, the receipt is not");
    group.commit(expire(&group.state, Offset(20)));
    assert_eq!((group.state.pending_count(), group.state.committed().offset), (0, Offset(20)));
    assert_eq!(expire(&group.state, Offset(20)), None);
}

#[test]
fn a_group_checkpoint_of_another_version_is_refused() {
    let group = Group::new(Order::Key);
    let mut bytes = rmp_serde::to_vec(&group.state.checkpoint()).expect("can be stored");
    assert_eq!(bytes[..2], [0x92, 1], "a list of two, version 1");
    bytes[1] = 2;
    let stored: StoredCheckpoint = rmp_serde::from_slice(&bytes).expect("reads back");
    assert_eq!(stored.restore().expect_err("unknown"), "a group checkpoint of version 2, this drave reads 1");
}
