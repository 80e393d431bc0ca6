//! Members of groups on a real store: several in one process are as several processes, since each
//! opens the files itself.

mod damage;
mod stopped;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::broker::Journal;
use crate::broker::dead_letters::dead_letter_topic;
use crate::broker::group::Receipt;
use crate::broker::{Level, TopicPublisher};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::group_event::GroupSettings;
use crate::config::Overrides;
use crate::ids::Place;
use crate::log::{LogReader, Step};
use crate::store::StoreOptions;

fn topic() -> TopicName {
    TopicName::new(b"t").expect("legal")
}

fn group_name() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

fn open(path: &Path, clock: &Clock) -> Store {
    Store::open(path, &StoreOptions { create: true, unsafe_fs: false, clock: clock.clone() }).expect("opens")
}

/// A store with a topic of `records` records, of keys `k0` to `k9`, and a group; and the hand of its clock.
fn made(settings: &GroupSettings, records: u64) -> (tempfile::TempDir, Clock, Arc<AtomicU64>) {
    let dir = tempfile::tempdir().expect("a directory");
    let hand = Arc::new(AtomicU64::new(1_000_000));
    let clock = Clock::manual(Arc::clone(&hand));
    let store = open(dir.path(), &clock);
    let mut overrides = Overrides::default();
    overrides.set("durability", "none").expect("legal");
    store.create_topic(&topic(), &overrides, false).expect("made");
    publish(&store, 0..records);
    let opened = store.topic(&topic(), Mode::Write, &Job::new()).expect("there");
    let from = Place { offset: Offset::ZERO, epoch: opened.log().epoch() };
    assert!(create_group(&store, &opened, &group_name(), settings, from, &Job::new()).expect("made"));
    assert!(!create_group(&store, &opened, &group_name(), settings, from, &Job::new()).expect("there is one"));
    (dir, clock, hand)
}

fn publish(store: &Store, numbers: std::ops::Range<u64>) {
    let flusher = Flusher::default();
    let mut publisher =
        TopicPublisher::open(store, &flusher, &topic(), Level { durability: None, create: true, limit_wait: None }, Job::new())
            .expect("opens");
    let mut batch = BatchBuilder::new();
    for number in numbers {
        let (key, value) = (format!("k{}", number % 10), number.to_string());
        batch.push(&[(b"key", key.as_bytes()), (b"value", value.as_bytes())], false, None).expect("legal");
    }
    if !batch.is_empty() {
        publisher.publish(&batch.batch(), None).expect("publishes");
    }
}

fn join<'s>(store: &'s Store, flusher: &'s Flusher, name: &str) -> GroupMember<'s> {
    GroupMember::join(store, flusher, &topic(), &group_name(), &named(name)).expect("joins")
}

fn named(name: &str) -> Joining<'_> {
    Joining { name: Some(name.as_bytes()), is_manual: false, job: Job::new() }
}

fn take(member: &mut GroupMember<'_>, count: usize) -> Vec<(Delivery, u64)> {
    member.looked = None;
    let mut got = Vec::new();
    let handed = member
        .take(count, false, |delivery, record| {
            let value = std::str::from_utf8(record.value().expect("a value")).expect("a number");
            assert_eq!(record.offset, delivery.key.offset);
            got.push((*delivery, value.parse().expect("a number")));
        })
        .expect("takes");
    assert_eq!(handed.deliveries.len(), got.len());
    got
}

fn receipts(got: &[(Delivery, u64)]) -> Vec<Receipt> {
    got.iter().map(|(delivery, _)| delivery.receipt()).collect()
}

#[test]
fn two_members_share_a_topic_and_each_record_is_worked_once() {
    let (dir, clock, _) = made(&GroupSettings::default(), 1000);
    let stores = [open(dir.path(), &clock), open(dir.path(), &clock)];
    let flushers = [Flusher::default(), Flusher::default()];
    let mut members = [join(&stores[0], &flushers[0], "a"), join(&stores[1], &flushers[1], "b")];
    let mut seen = BTreeSet::new();
    let mut turns = [0; 2];
    while seen.len() < 1000 {
        for (turn, member) in turns.iter_mut().zip(&mut members) {
            let got = take(member, 7);
            *turn += got.len();
            assert!(got.iter().all(|(_, value)| seen.insert(*value)), "nothing is given twice");
            assert!(member.settler().ack(&receipts(&got)).expect("acks").is_empty());
        }
    }
    assert!(turns.iter().all(|turn| *turn > 400), "{turns:?}");
    assert!(members[0].is_drained().expect("looks") && members[1].is_drained().expect("looks"));
    assert_eq!(members[1].state().committed().offset, Offset(1000));
    // What comes later is given too, and a late receipt is refused.
    publish(&stores[0], 1000..1003);
    let got = take(&mut members[1], 10);
    assert_eq!(got.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1000, 1001, 1002]);
    assert!(members[1].settler().ack(&receipts(&got)).expect("acks").is_empty());
    assert_eq!(members[1].settler().ack(&receipts(&got)).expect("asks"), receipts(&got));
}

#[test]
fn by_key_each_key_is_worked_in_order_by_one_member_at_a_time() {
    let settings = GroupSettings { order: Order::Key, ..GroupSettings::default() };
    let (dir, clock, _) = made(&settings, 2000);
    let store = open(dir.path(), &clock);
    let flusher = Flusher::default();
    let mut members = vec![join(&store, &flusher, "a"), join(&store, &flusher, "b"), join(&store, &flusher, "c")];
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut count = 0;
    let mut rounds = 0;
    while count < 2000 {
        rounds += 1;
        assert!(rounds < 2000, "it does not come to an end: {count}");
        if rounds == 20 {
            members.pop().expect("three").leave().expect("leaves");
        }
        if rounds == 40 {
            members.push(join(&store, &flusher, "d"));
        }
        let held: Vec<Vec<(Delivery, u64)>> = members.iter_mut().map(|member| take(member, 20)).collect();
        let keys: Vec<BTreeSet<u64>> = held.iter().map(|got| got.iter().map(|(_, value)| value % 10).collect()).collect();
        for (index, some) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|others| some.is_disjoint(others)), "one member per key");
        }
        for (member, got) in members.iter_mut().zip(&held) {
            got.iter().for_each(|(_, value)| by_key.entry(value % 10).or_default().push(*value));
            count += got.len();
            member.settler().ack(&receipts(got)).expect("acks");
        }
    }
    for (key, values) in by_key {
        assert!(values.iter().copied().eq((0..200).map(|nth| nth * 10 + key)), "key {key}: {values:?}");
    }
}

#[test]
fn what_a_dead_member_held_comes_back_when_its_lease_is_over() {
    let (dir, clock, hand) = made(&GroupSettings::default(), 10);
    let (store, flusher) = (open(dir.path(), &clock), Flusher::default());
    let mut dies = join(&store, &flusher, "dies");
    let held = take(&mut dies, 6);
    assert_eq!(held.len(), 6);
    dies.settler().ack(&receipts(&held[..2])).expect("acks");
    drop(dies);
    let mut lives = join(&store, &flusher, "lives");
    assert_eq!(take(&mut lives, 100).len(), 4, "what nobody had");
    hand.fetch_add(29_000, Ordering::SeqCst);
    assert_eq!(take(&mut lives, 100).len(), 0, "the lease is not over");
    hand.fetch_add(2_000, Ordering::SeqCst);
    let again = take(&mut lives, 100);
    assert_eq!(again.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert!(again.iter().all(|(delivery, _)| delivery.deliveries == 2));
}

#[test]
fn after_its_attempts_an_entry_is_a_dead_letter_once_with_all_its_fields() {
    let settings = GroupSettings { attempts_max: std::num::NonZeroU32::new(2), ..GroupSettings::default() };
    let (dir, clock, hand) = made(&settings, 3);
    let (store, flusher) = (open(dir.path(), &clock), Flusher::default());
    let mut member = join(&store, &flusher, "a");
    let mut dead = 0;
    for _ in 0..2 {
        let got = take(&mut member, 10);
        let (bad, good): (Vec<_>, Vec<_>) = got.iter().partition(|(_, value)| *value == 1);
        member.settler().ack(&good.iter().map(|(delivery, _)| delivery.receipt()).collect::<Vec<_>>()).expect("acks");
        let bad: Vec<Receipt> = bad.iter().map(|(delivery, _)| delivery.receipt()).collect();
        dead += member.settler().nack(&bad, true, Some(0), b"it said no").expect("nacks").1;
        hand.fetch_add(1_000, Ordering::SeqCst);
    }
    assert_eq!(dead, 1);
    assert!(take(&mut member, 10).is_empty() && member.is_drained().expect("looks"));
    let letters = dead_letter_topic(&topic()).expect("short");
    let letters = store.topic(&letters, Mode::Read, &Job::new()).expect("there");
    assert_eq!(letters.log().log_end(), Offset(1));
    let mut reader = LogReader::new(Offset::ZERO, letters.log().epoch());
    let Step::Frame { frame, .. } = reader.step(letters.log(), Offset(1)).expect("reads") else { panic!("a frame") };
    let mut scratch = Vec::new();
    let record = frame.records(&mut scratch).expect("records").next().expect("one").expect("well formed");
    assert_eq!((record.key(), record.value()), (Some(&b"k1"[..]), Some(&b"1"[..])));
    let header =
        |name: &[u8]| record.headers().find(|(n, _)| *n == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    assert_eq!(header(b"dlq-topic").as_deref(), Some("t"));
    assert_eq!(header(b"dlq-offset").as_deref(), Some("1"));
    assert_eq!(header(b"dlq-group").as_deref(), Some("g"));
    assert_eq!(header(b"dlq-attempts").as_deref(), Some("2"));
    assert_eq!(header(b"dlq-reason").as_deref(), Some("it said no"));
}

#[test]
fn an_intent_that_was_not_carried_out_is_by_the_next_member_and_only_once() {
    for (copied, before) in [(false, false), (true, false), (false, true), (true, true)] {
        let (dir, clock, _) = made(&GroupSettings::default(), 3);
        let (store, flusher) = (open(dir.path(), &clock), Flusher::default());
        let letters = store.topic_or_new(&dead_letter_topic(&topic()).expect("short"), &Job::new()).expect("made");
        let mut dies = join(&store, &flusher, "dies");
        // Somebody who was there before does it as soon as somebody who joins.
        let there = before.then(|| join(&store, &flusher, "next"));
        let held = take(&mut dies, 1);
        let (key, lease) = (held[0].0.key, held[0].0.lease);
        dies.settler
            .group
            .decide(|state, _| (group::give_up(state, key, Some(lease), Offset::ZERO, b"no").into_iter().collect(), ()))
            .expect("decides");
        if copied {
            dies.settler().copy(letters.name(), &letters, key, b"no").expect("copied");
        }
        drop(dies);
        let mut next = there.unwrap_or_else(|| join(&store, &flusher, "next"));
        assert_eq!(take(&mut next, 10).iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(letters.log().log_end(), Offset(1), "copied before: {copied}");
        assert!(next.state().open_intents().next().is_none());
    }
}

#[test]
fn a_group_goes_on_from_a_checkpoint_as_from_its_whole_journal() {
    let (dir, clock, _) = made(&GroupSettings::default(), 400);
    let (store, flusher) = (open(dir.path(), &clock), Flusher::default());
    let mut member = join(&store, &flusher, "a");
    for round in 0..8 {
        let got = take(&mut member, 50);
        // Some stay pending.
        member.settler().ack(&receipts(&got[round..])).expect("acks");
        member.settler.group.journal.write_checkpoint(&Job::new()).expect("written");
    }
    let before = member.state().clone();
    assert!(member.settler.group.journal.files().journal.log_start() > Offset::ZERO, "the journal was trimmed");
    let again = Journal::open(store.group(&member.settler.group.topic, &group_name(), Mode::Write, &Job::new()).expect("there"))
        .expect("opens");
    assert_eq!(*again.state(), before);
    assert_eq!(again.state().pending_count(), (0..8).sum::<u64>());
    // One checkpoint that is damaged is no loss.
    for which in ["checkpoint-0", "checkpoint-1"] {
        let dir = member.settler.group.journal.files().dir();
        let whole = dir.read(which.as_bytes(), 1 << 20).expect("reads").expect("there");
        let mut bad = whole.clone();
        bad[20] ^= 1;
        dir.replace(which.as_bytes(), &bad, false).expect("written");
        let again =
            Journal::open(store.group(&member.settler.group.topic, &group_name(), Mode::Write, &Job::new()).expect("there"))
                .expect("opens");
        assert_eq!(*again.state(), before, "{which}");
        dir.replace(which.as_bytes(), &whole, false).expect("written");
    }
    // Both are: what was trimmed tells nobody.
    for which in ["checkpoint-0", "checkpoint-1"] {
        member.settler.group.journal.files().dir().unlink(which.as_bytes()).expect("there");
    }
    let lost = Journal::open(store.group(&member.settler.group.topic, &group_name(), Mode::Write, &Job::new()).expect("there"));
    let Err(Error::Damaged { what, .. }) = lost else { panic!("{lost:?}") };
    assert!(what.contains("delete the group and make it anew"), "{what}");
}

#[test]
fn one_process_at_a_time_has_a_consumers_name() {
    let (dir, clock, _) = made(&GroupSettings::default(), 1);
    let (store, flusher) = (open(dir.path(), &clock), Flusher::default());
    let mut first = join(&store, &flusher, "a");
    let second = GroupMember::join(&store, &flusher, &topic(), &group_name(), &named("a"));
    assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
    let held = take(&mut first, 1);
    drop(first);
    let mut again = join(&store, &flusher, "a");
    assert!(again.settler().ack(&receipts(&held)).expect("acks").is_empty(), "it is the same consumer");
}

#[test]
fn a_reader_that_goes_about_reads_what_a_new_one_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), &Clock::system());
    let mut overrides = Overrides::default();
    // Segments that have an index, and several of them.
    overrides.set("segment-bytes", "1MiB").expect("legal");
    store.create_topic(&topic(), &overrides, false).expect("made");
    let flusher = Flusher::default();
    let level = Level { durability: None, create: false, limit_wait: None };
    let mut publisher = TopicPublisher::open(&store, &flusher, &topic(), level, Job::new()).expect("opens");
    let count = 4000;
    let mut batch = BatchBuilder::new();
    for number in 0..count {
        batch.push_value(format!("{number:>1000}").as_bytes());
        if number % 37 == 36 || number == count - 1 {
            publisher.publish(&batch.batch(), None).expect("publishes");
            batch.clear();
        }
    }
    let opened = store.topic(&topic(), Mode::Read, &Job::new()).expect("there");
    let (log, mut scratch) = (opened.log(), Vec::new());
    let mut first = |reader: &mut LogReader, from: u64| {
        let Step::Frame { frame, from, until } = reader.step(log, Offset(count)).expect("reads") else { panic!("{from}") };
        let record = frame.records_in(&mut scratch, from, until).expect("whole").flatten().next().expect("one");
        (record.offset, record.value().map(<[u8]>::to_vec))
    };
    let mut reader = LogReader::new(Offset::ZERO, log.epoch());
    for step in 0..2000u64 {
        // By a little and by far, on and back.
        let from = if step % 3 == 0 { step * 1_103_515_245 % count } else { (reader.place().offset.0 + step % 50) % count };
        reader.seek(Offset(from));
        let found = first(&mut reader, from);
        assert_eq!(found.0, Offset(from));
        assert_eq!(found, first(&mut LogReader::new(Offset(from), log.epoch()), from));
    }
}
