//! Repairs of damage, cut short: by a power cut or a kill, at every change that they make.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::work::INODE_WORDS;
use super::{Case, clock, name, open};
use crate::broker::{Fed, Flusher, Level, TopicFeed, TopicPublisher};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::config::Overrides;
use crate::disk::Disk;
use crate::disk::sim::{DataFate, HeadFate, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::ids::Offset;
use crate::job::Job;
use crate::store::Store;

const TOPIC: &str = "t";
const BATCHES: u64 = 24;

fn value(offset: u64) -> Vec<u8> {
    format!("{offset} {}", "x".repeat(150)).into_bytes()
}

fn publisher<'s>(store: &'s Store, flusher: &'s Flusher) -> TopicPublisher<'s> {
    let level = Level { durability: None, create: false, limit_wait: None };
    TopicPublisher::open(store, flusher, &name(TOPIC), level, Job::new()).expect("opens")
}

fn publish(publisher: &mut TopicPublisher<'_>, offset: u64, count: u64) -> crate::Result<()> {
    let mut batch = BatchBuilder::new();
    (offset..offset + count).for_each(|offset| batch.push_value(&value(offset)));
    let (appended, _) = publisher.publish(&batch.batch(), None)?;
    assert_eq!(appended.first, Offset(offset));
    publisher.settle()
}

/// A store with a topic of a few segments, most of them damaged.
fn damaged(path: &Path, clock: &Clock) {
    let store = open(path, true, clock, Arc::new(Plain::default()).disk(1)).expect("made");
    let mut settings = Overrides::default();
    settings.set("segment-bytes", "4KiB").expect("legal");
    store.create_topic(&name(TOPIC), &settings, true).expect("made");
    let flusher = Flusher::default();
    let mut publisher = publisher(&store, &flusher);
    for batch in 0..BATCHES {
        publish(&mut publisher, batch * 4, 4).expect("synced");
    }
    publisher.close().expect("closed");
    let segments = segments(path);
    assert!(segments.len() >= 4, "{segments:?}");
    flip(&segments[0], 1200);
    flip(&segments[1], 100);
    std::fs::remove_file(&segments[2]).expect("removed");
    flip(segments.last().expect("some"), 400);
    std::fs::write(path.join("topics/t/mine"), b"foreign").expect("written");
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path.join("topics").join(TOPIC)).expect("a topic");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

fn flip(path: &Path, position: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("it is longer");
    file.write_all_at(&[byte[0] ^ 1], position).expect("there is room");
}

/// All records, by offset; every offset is handed out or told. And the end.
fn read(store: &Store) -> (BTreeMap<u64, Vec<u8>>, u64) {
    let mut feed = TopicFeed::open(store, &[name(TOPIC)], Job::new()).expect("opens");
    let (start, end) = feed.bounds(0).expect("opens");
    feed.seek(0, start);
    feed.stop_at(0, Some(end.offset));
    let (mut found, mut next) = (BTreeMap::new(), start.0);
    loop {
        match feed.read_on().expect("damage is no error") {
            Fed::Records { records, .. } => {
                for record in records {
                    let record = record.expect("well formed");
                    assert_eq!(record.offset.0, next);
                    found.insert(next, record.value().expect("a value").to_vec());
                    next += 1;
                }
            }
            Fed::Gap { gap, .. } => {
                assert_eq!(gap.from.0, next);
                next = gap.until.0;
            }
            Fed::Limited(_) | Fed::CaughtUp | Fed::End => break,
        }
    }
    assert_eq!(next, end.offset.0);
    (found, next)
}

fn mend(store: &Store) {
    store.mend_topic(&name(TOPIC), &Job::new()).expect("it can be repaired");
}

/// What could be read can be read, another repair makes it whole, and publishing goes on.
fn check(path: &Path, clock: &Clock, disk: Arc<Disk>, good: &BTreeMap<u64, Vec<u8>>) {
    let store = Store::open_to_look_on(path, clock, Arc::clone(&disk)).expect("opens");
    let (found, end) = read(&store);
    let missing: Vec<&u64> = good.keys().filter(|offset| !found.contains_key(offset)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    mend(&store);
    let (again, same_end) = read(&store);
    assert_eq!((again.keys().collect::<Vec<_>>(), same_end), (found.keys().collect(), end));
    let (verified, ended) = store.verify_topic(&name(TOPIC), &Job::new());
    ended.expect("damage is no error");
    assert!(!verified.is_damaged(), "{:#?}", verified.findings);
    assert!(again.iter().all(|(offset, found)| *found == value(*offset)));
    let flusher = Flusher::default();
    let mut publisher = publisher(&store, &flusher);
    publish(&mut publisher, end, 2).expect("synced");
    assert_eq!(read(&store).0.len(), again.len() + 2);
}

fn good(path: &Path, clock: &Clock) -> BTreeMap<u64, Vec<u8>> {
    read(&open(path, false, clock, Arc::new(Plain::default()).disk(1)).expect("opens")).0
}

#[test]
fn a_power_cut_during_a_repair_of_damage_loses_nothing_more() {
    let (clock, _) = clock();
    let dir = scratch();
    damaged(dir.path(), &clock);
    let good = good(dir.path(), &clock);
    assert!(good.len() > 40 && good.len() < 4 * BATCHES as usize, "{}", good.len());
    let sim = Sim::new(dir.path(), 1);
    mend(&Store::open_to_look_on(dir.path(), &clock, sim.disk(1)).expect("opens"));
    let end = sim.now();
    assert!(end > 30, "{end}");
    let data = [DataFate::Lost, DataFate::Kept, DataFate::Shuffled, DataFate::Torn];
    let names = [NameFate::Lost, NameFate::Kept, NameFate::Each, NameFate::Journal];
    let heads = [HeadFate::Ahead, HeadFate::First, HeadFate::Stale];
    for ops in 0..=end {
        for (index, data) in data.into_iter().enumerate() {
            let (names, head) = (names[(ops + index) % names.len()], heads[(ops / 4 + index) % heads.len()]);
            let policy = Policy { data, names, head, inode_words: INODE_WORDS };
            let _case = Case(format!("power cut after change {ops} of {end}, {policy:?}\n{}", sim.story()));
            let target = scratch();
            sim.crash(ops, policy, &mut Random::new(ops as u64), target.path());
            check(target.path(), &clock, Arc::new(Plain::default()).disk(9), &good);
        }
    }
}

#[test]
fn when_a_repair_is_killed_who_publishes_goes_on() {
    let (clock, _) = clock();
    for ops in 0.. {
        let dir = scratch();
        damaged(dir.path(), &clock);
        let mut good = good(dir.path(), &clock);
        // Somebody has it open all the time.
        let store = open(dir.path(), false, &clock, Arc::new(Plain::default()).disk(1)).expect("opens");
        let flusher = Flusher::default();
        let mut other = publisher(&store, &flusher);
        publish(&mut other, 4 * BATCHES, 1).expect("synced");
        let sim = Sim::new(dir.path(), 1);
        sim.die_at(ops, None);
        let mending = Store::open_to_look_on(dir.path(), &clock, sim.disk(1)).expect("opens");
        let whole = sim.run(vec![Box::new(|| mend(&mending))]);
        sim.revive();
        let _case = Case(format!("killed before change {ops}\n{}", sim.story()));
        publish(&mut other, 4 * BATCHES + 1, 1).expect("it goes on");
        for offset in [4 * BATCHES, 4 * BATCHES + 1] {
            good.insert(offset, value(offset));
        }
        check(dir.path(), &clock, Arc::new(Plain::default()).disk(1), &good);
        drop(other);
        if whole[0] {
            assert!(ops > 30, "{ops}");
            break;
        }
    }
}
