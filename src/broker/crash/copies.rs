//! Snapshots and restores, cut short after every change, and beside writers and a group at work. What is
//! there afterwards is as before or as after, and a restored store works.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::work::INODE_WORDS;
use super::{Case, clock, name, open, seeds, values};
use crate::broker::dead_letters::dead_letter_topic;
use crate::broker::{Flusher, GroupMember, Joining, Level, TopicPublisher, create_group, verify_group};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::group_event::GroupSettings;
use crate::config::{LimitOf, Overrides};
use crate::disk::sim::{DataFate, Fault, HeadFate, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::{Error, Result};
use crate::ids::{GroupName, Offset, Place, TopicName};
use crate::job::Job;
use crate::log::Mode;
use crate::store::{Keep, RestoreOptions, SnapshotOptions, Store, find_on, restore};

const TOPICS: [&str; 2] = ["a", "b"];

fn group() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

/// Whose limit is in `limits.toml`.
fn reader() -> LimitOf {
    LimitOf::Reader(b"reader"[..].into())
}

fn publish(store: &Store, topic: &TopicName, numbers: std::ops::Range<u64>) -> Result<()> {
    let flusher = Flusher::default();
    let level = Level { durability: None, create: false, limit_wait: None };
    let mut publisher = TopicPublisher::open(store, &flusher, topic, level, Job::new())?;
    for number in numbers {
        let mut batch = BatchBuilder::new();
        // Long enough that segments of 4 KiB are sealed.
        batch.push_value(format!("{number:0400}").as_bytes());
        publisher.publish(&batch.batch(), None)?;
    }
    publisher.close()
}

/// The numbers in a topic; `None` = there is none.
fn read(store: &Store, topic: &TopicName) -> Option<Vec<u64>> {
    Some(values(store, topic)?.iter().map(|value| value.parse().expect("a number")).collect())
}

fn plain(path: &Path, clock: &Clock) -> Store {
    open(path, false, clock, Arc::new(Plain::default()).disk(9)).expect("opens")
}

/// A store with two topics of ten records, a group that has settled three, and an empty directory for copies.
fn make(root: &Path, clock: &Clock) {
    ["store", "copies", "restored"].iter().for_each(|dir| std::fs::create_dir(root.join(dir)).expect("made"));
    let store = open(&root.join("store"), true, clock, Arc::new(Plain::default()).disk(1)).expect("made");
    let mut settings = Overrides::default();
    settings.set("segment-bytes", "4KiB").expect("legal");
    for topic in TOPICS {
        store.create_topic(&name(topic), &settings, true).expect("made");
        publish(&store, &name(topic), 0..10).expect("synced");
    }
    store.set_limit(&reader(), &[("rate".to_owned(), "5/s".to_owned())], &Job::new()).expect("set");
    let topic = store.topic(&name("a"), Mode::Write, &Job::new()).expect("there");
    let from = Place { offset: Offset::ZERO, epoch: topic.log().epoch() };
    create_group(&store, &topic, &group(), &GroupSettings::default(), from, &Job::new()).expect("made");
    let flusher = Flusher::default();
    let mut member = join(&store, &flusher, "first").expect("joins");
    settle(&mut member, 3);
    member.leave().expect("left");
}

fn join<'s>(store: &'s Store, flusher: &'s Flusher, consumer: &str) -> Result<GroupMember<'s>> {
    let how = Joining { name: Some(consumer.as_bytes()), is_manual: false, job: Job::new() };
    GroupMember::join(store, flusher, &name("a"), &group(), &how)
}

fn settle(member: &mut GroupMember<'_>, count: usize) {
    let mut receipts = Vec::new();
    member.take(count, false, |delivery, _| receipts.push(delivery.receipt())).expect("taken");
    member.settler().ack(&receipts).expect("acked");
    member.settler().settle().expect("settled");
}

fn keep_one() -> SnapshotOptions {
    let keep = Keep { newest: std::num::NonZeroU32::new(1), daily: None };
    SnapshotOptions { keep, verify: true, ..SnapshotOptions::default() }
}

fn options(clock: &Clock, replace: bool) -> RestoreOptions {
    RestoreOptions { topics: Vec::new(), letters: Vec::new(), replace, unsafe_fs: false, clock: clock.clone() }
}

/// Restores the newest snapshot below `root`, and returns how many records of each topic it had.
fn restored(root: &Path, clock: &Clock) -> Vec<usize> {
    let disk = Arc::new(Plain::default()).disk(9);
    let found = find_on(&root.join("copies"), disk).expect("there is a whole one");
    assert!(found.passed_over.is_empty(), "{:?}", found.passed_over);
    let into = scratch();
    restore(&found, into.path(), &options(clock, false), &Job::new()).expect("whole");
    works(into.path(), clock)
}

/// The store in `path` is whole and goes on; says how many records were in each topic.
fn works(path: &Path, clock: &Clock) -> Vec<usize> {
    let store = plain(path, clock);
    assert!(store.limit_rules().expect("read").reader(b"reader").is_limit());
    let mut counts = Vec::new();
    for topic in TOPICS {
        let found = read(&store, &name(topic)).expect("there");
        assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
        let next = found.len() as u64;
        counts.push(found.len());
        let (verified, ended) = store.verify_topic(&name(topic), &Job::new());
        ended.expect("read");
        assert!(!verified.is_damaged(), "{:?}", verified.findings);
        publish(&store, &name(topic), next..next + 1).expect("goes on");
        assert_eq!(read(&store, &name(topic)).expect("there").len() as u64, next + 1);
    }
    let (verified, ended) = verify_group(&store, &name("a"), &group(), &Job::new());
    ended.expect("read");
    assert!(!verified.is_damaged(), "{:?}", verified.findings);
    let flusher = Flusher::default();
    let mut member = join(&store, &flusher, "after").expect("joins");
    let mut offsets = BTreeSet::new();
    member.look_after_others().expect("looked");
    member.take(100, false, |delivery, _| assert!(offsets.insert(delivery.key.offset.0))).expect("taken");
    assert_eq!(offsets, (3..=counts[0] as u64).collect(), "what was not settled, and nothing else");
    counts
}

fn policies(ops: usize) -> impl Iterator<Item = Policy> {
    let data = [DataFate::Lost, DataFate::Kept, DataFate::Shuffled, DataFate::Torn];
    let heads = [HeadFate::Ahead, HeadFate::First, HeadFate::Lost, HeadFate::Stale];
    [NameFate::Lost, NameFate::Kept, NameFate::Journal].into_iter().enumerate().map(move |(index, names)| Policy {
        data: data[(ops + index) % data.len()],
        names,
        head: heads[(ops + index) % heads.len()],
        inode_words: INODE_WORDS,
    })
}

/// Runs `work` on a simulated disk; then `check`s what a power cut after each change could have left, and
/// says whether all changes had been made.
fn cut_everywhere(root: &Path, work: impl FnOnce(&Arc<Sim>), check: impl Fn(&Path, bool)) {
    let sim = Sim::new(root, 1);
    work(&sim);
    let end = sim.now();
    assert!(end > 10, "{end}");
    for ops in 0..=end {
        for policy in policies(ops) {
            let _case = Case(format!("after change {ops} of {end}, {policy:?}\n{}", sim.story()));
            let target = scratch();
            sim.crash(ops, policy, &mut Random::new(ops as u64), target.path());
            check(target.path(), ops == end);
        }
    }
}

/// With an older snapshot of ten records a topic, and 15 by now.
fn made_twice() -> (tempfile::TempDir, Clock) {
    let (clock, _) = clock();
    let dir = scratch();
    make(dir.path(), &clock);
    let store = plain(&dir.path().join("store"), &clock);
    store.snapshot(&dir.path().join("copies"), &keep_one(), &Job::new()).expect("made");
    TOPICS.iter().for_each(|topic| publish(&store, &name(topic), 10..15).expect("synced"));
    (dir, clock)
}

#[test]
fn a_power_cut_leaves_the_snapshot_before_or_the_new_one() {
    let (dir, clock) = made_twice();
    let snapshot = |sim: &Arc<Sim>| {
        let store = open(&dir.path().join("store"), false, &clock, sim.disk(1)).expect("opens");
        store.snapshot(&dir.path().join("copies"), &keep_one(), &Job::new()).expect("made");
    };
    cut_everywhere(dir.path(), snapshot, |root, is_done| {
        let counts = restored(root, &clock);
        assert!(counts == [15, 15] || !is_done && counts == [10, 10], "{counts:?}");
        let store = plain(&root.join("store"), &clock);
        assert!(TOPICS.iter().all(|topic| read(&store, &name(topic)).expect("there").len() == 15));
        // The next one removes what is left of it.
        store.snapshot(&root.join("copies"), &keep_one(), &Job::new()).expect("made");
        let left = std::fs::read_dir(root.join("copies")).expect("listed").count();
        assert_eq!((left, restored(root, &clock)), (2, vec![15, 15]), "one, and the lock");
    });
}

#[test]
fn any_change_may_fail_and_the_snapshot_before_stands() {
    for n in 0.. {
        let (dir, clock) = made_twice();
        let sim = Sim::new(dir.path(), 1);
        let store = open(&dir.path().join("store"), false, &clock, sim.disk(1)).expect("opens");
        sim.arm(vec![Fault::nth(None, n, Errno::NOSPC)]);
        let made = store.snapshot(&dir.path().join("copies"), &keep_one(), &Job::new());
        let struck = sim.struck();
        sim.arm(Vec::new());
        let _case = Case(format!("change {n} fails: {made:?}\n{}", sim.story()));
        let counts = restored(dir.path(), &clock);
        assert!(counts == [15, 15] || made.is_err() && counts == [10, 10], "{counts:?}");
        store.snapshot(&dir.path().join("copies"), &keep_one(), &Job::new()).expect("there is room again");
        assert_eq!(restored(dir.path(), &clock), [15, 15]);
        let left = std::fs::read_dir(dir.path().join("copies")).expect("listed").count();
        assert_eq!(left, 2, "one, and the lock");
        drop(store);
        assert_eq!(works(&dir.path().join("store"), &clock), [15, 15]);
        if struck == 0 {
            assert!(made.is_ok() && n > 10);
            break;
        }
    }
}

#[test]
fn a_power_cut_in_a_restore_leaves_a_whole_store_or_none() {
    let (dir, clock) = made_twice();
    let work = |sim: &Arc<Sim>| {
        let found = find_on(&dir.path().join("copies"), sim.disk(1)).expect("there");
        restore(&found, &dir.path().join("restored"), &options(&clock, false), &Job::new()).expect("restored");
    };
    cut_everywhere(dir.path(), work, |root, is_done| {
        let into = root.join("restored");
        match open(&into, false, &clock, Arc::new(Plain::default()).disk(9)) {
            Ok(_) => assert_eq!(works(&into, &clock), [10, 10]),
            Err(error) => {
                assert!(!is_done && matches!(error, Error::StoreMissing { .. } | Error::StoreUnusable { .. }), "{error}");
                let found = find_on(&root.join("copies"), Arc::new(Plain::default()).disk(9)).expect("there");
                restore(&found, &into, &options(&clock, false), &Job::new()).expect("done anew");
                assert_eq!(works(&into, &clock), [10, 10]);
            }
        }
    });
}

#[test]
fn nobody_makes_a_store_where_a_restore_was_cut_short() {
    let (dir, clock) = made_twice();
    let work = |sim: &Arc<Sim>| {
        let found = find_on(&dir.path().join("copies"), sim.disk(1)).expect("there");
        restore(&found, &dir.path().join("restored"), &options(&clock, false), &Job::new()).expect("restored");
    };
    cut_everywhere(dir.path(), work, |root, _| {
        let into = root.join("restored");
        // As a publish would: in an empty directory only, or where all is restored.
        if open(&into, true, &clock, Arc::new(Plain::default()).disk(9)).is_ok() {
            let store = plain(&into, &clock);
            let found: Vec<_> = TOPICS.iter().filter_map(|topic| read(&store, &name(topic))).collect();
            assert!(found.is_empty() || found.len() == 2 && found.iter().all(|numbers| numbers.len() == 10), "{found:?}");
        }
    });
}

#[test]
fn a_power_cut_while_topics_are_replaced_leaves_each_as_before_or_as_after() {
    let (dir, clock) = made_twice();
    let work = |sim: &Arc<Sim>| {
        let found = find_on(&dir.path().join("copies"), sim.disk(1)).expect("there");
        restore(&found, &dir.path().join("store"), &options(&clock, true), &Job::new()).expect("restored");
    };
    cut_everywhere(dir.path(), work, |root, is_done| {
        let counts = works(&root.join("store"), &clock);
        assert!(counts.iter().all(|count| *count == 10 || !is_done && *count == 15), "{counts:?}");
        let found = find_on(&root.join("copies"), Arc::new(Plain::default()).disk(9)).expect("there");
        restore(&found, &root.join("store"), &options(&clock, true), &Job::new()).expect("done anew");
        let names = std::fs::read_dir(root.join("store/topics")).expect("listed").count();
        assert_eq!((works(&root.join("store"), &clock), names), (vec![10, 10], 2), "nothing is left over");
    });
}

#[test]
fn any_change_of_a_restore_may_fail() {
    for replace in [false, true] {
        for n in 0.. {
            let (dir, clock) = made_twice();
            let sim = Sim::new(dir.path(), 1);
            let found = find_on(&dir.path().join("copies"), sim.disk(1)).expect("there");
            let into = dir.path().join(if replace { "store" } else { "restored" });
            sim.arm(vec![Fault::nth(None, n, Errno::NOSPC)]);
            let done = restore(&found, &into, &options(&clock, replace), &Job::new());
            let _case = Case(format!("replace {replace}, change {n} fails: {done:?}\n{}", sim.story()));
            if replace {
                let counts = works(&into, &clock);
                assert!(counts.iter().all(|count| *count == 10 || done.is_err() && *count == 15), "{counts:?}");
            } else if done.is_err() && !into.join("store.toml").exists() {
                restore(&found, &into, &options(&clock, false), &Job::new()).expect("there is room again");
                assert_eq!(works(&into, &clock), [10, 10]);
            } else {
                assert_eq!(works(&into, &clock), [10, 10]);
            }
            if sim.struck() == 0 {
                assert!(done.is_ok() && n > 10);
                break;
            }
        }
    }
}

/// What a restored store must hold, whatever happened while its snapshot was made: topics are beginnings of
/// the topics, no group is ahead of its topic, and every letter that a group has sent is there.
fn check_consistent(path: &Path, clock: &Clock) {
    let store = plain(path, clock);
    let numbers = read(&store, &name("a")).expect("there");
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
    let topic = store.topic(&name("a"), Mode::Read, &Job::new()).expect("there");
    let files = store.group(&topic, &group(), Mode::Read, &Job::new()).expect("there");
    let journal = crate::broker::Journal::open(files).expect("whole");
    let state = journal.state();
    assert!(state.committed().offset <= topic.log().log_end(), "{:?} of {}", state.committed(), topic.log().log_end());
    let letters = dead_letter_topic(&name("a")).expect("short");
    let sent = state.counters().dead;
    let there = store.topic(&letters, Mode::Read, &Job::new()).map_or(0, |letters| letters.log().log_end().0);
    assert!(there >= sent, "{sent} letters were sent, {there} are there");
}

#[test]
fn beside_writers_and_a_group_at_work_no_group_is_ahead_and_no_letter_is_lost() {
    for seed in seeds(300..316) {
        let (clock, _) = clock();
        let dir = scratch();
        make(dir.path(), &clock);
        let sim = Sim::new(dir.path(), seed);
        let (root, clock) = (dir.path(), &clock);
        let opened = || open(&root.join("store"), false, clock, sim.disk(1)).expect("opens");
        let publisher = || publish(&opened(), &name("a"), 10..30).expect("published");
        let worker = || {
            let (store, flusher) = (opened(), Flusher::default());
            let mut member = join(&store, &flusher, "worker").expect("joins");
            for round in 0..8 {
                let mut receipts = Vec::new();
                member.looked = None;
                member.take(2, false, |delivery, _| receipts.push(delivery.receipt())).expect("taken");
                if round % 2 == 0 {
                    receipts.iter().for_each(|receipt| {
                        assert!(member.settler().bury(receipt.key, Some(receipt.lease), b"no").expect("buried"))
                    });
                } else {
                    member.settler().ack(&receipts).expect("acked");
                }
            }
        };
        let snapshots = || {
            for _ in 0..3 {
                opened().snapshot(&root.join("copies"), &SnapshotOptions::default(), &Job::new()).expect("made");
            }
        };
        sim.run(vec![Box::new(publisher), Box::new(worker), Box::new(snapshots)]);
        let made: Vec<_> =
            std::fs::read_dir(root.join("copies")).expect("listed").map(|entry| entry.expect("one").path()).collect();
        assert_eq!(made.len(), 4, "three, and the lock");
        for snapshot in made.iter().filter(|path| path.is_dir()) {
            let _case = Case(format!("seed {seed}, {}\n{}", snapshot.display(), sim.story()));
            let into = scratch();
            let found = find_on(snapshot, Arc::new(Plain::default()).disk(9)).expect("whole");
            restore(&found, into.path(), &options(clock, false), &Job::new()).expect("restored");
            check_consistent(into.path(), clock);
        }
    }
}
