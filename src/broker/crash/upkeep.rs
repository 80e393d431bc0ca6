//! Retention and compaction, cut off by power cuts and kills, and on a disk that fails: of each key the
//! newest durable record is there, what was deleted stays away, and the log is as before or as after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::work::INODE_WORDS;
use super::{Case, clock, name, open, seeds};
use crate::broker::{Kept, Upkeep, keep_topic};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::config::{Compression, Overrides};
use crate::disk::Disk;
use crate::disk::sim::{DataFate, Fault, HeadFate, Kind, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::job::Job;
use crate::log::{GapReason, Log, LogReader, Mode, Severity, Step, verify};
use crate::store::Store;

const KEPT: u64 = 30;
const TOPICS: [(&str, &str); 2] = [("compacted", "compact=on"), ("limited", "max-records=30")];

/// What is durable, since which change.
#[derive(Debug, Default)]
struct Ledger {
    /// Key and offset.
    newest: Vec<(usize, u64, u64)>,
    /// Records without key that were to be deleted, and that were deleted durably.
    deleting: Vec<(usize, u64)>,
    deleted: Vec<(usize, u64)>,
    /// Records without key.
    plain: Vec<(usize, u64)>,
}

struct Worker<'a> {
    store: &'a Store,
    ledger: &'a Mutex<Ledger>,
    sim: &'a Sim,
    random: Random,
    next: u64,
}

type Seen = BTreeMap<u64, (Option<u64>, u64)>;

fn number(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).expect("text");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
}

/// What can be read, by offset; nothing but deletions and trims may be told.
fn read(log: &Log) -> Result<Seen> {
    let mut reader = LogReader::new(log.log_start(), log.epoch());
    let (mut found, mut scratch) = (Seen::new(), Vec::new());
    loop {
        match reader.step(log, log.high_watermark())? {
            Step::CaughtUp => return Ok(found),
            Step::Gap(gap) if gap.reason == GapReason::Rewound => found.retain(|offset, _| *offset < gap.from.0),
            Step::Gap(gap) => assert!(matches!(gap.reason, GapReason::Deleted | GapReason::Expired), "{gap:?}"),
            Step::Frame { frame, from, until } => {
                for record in frame.records_in(&mut scratch, from, until).expect("a body") {
                    let record = record.expect("a record");
                    found.insert(record.offset.0, (record.key().map(number), number(record.value().expect("a value"))));
                }
            }
        }
    }
}

impl Worker<'_> {
    fn publish(&mut self, topic: &str) -> Result<()> {
        let opened = self.store.topic(&name(topic), Mode::Write, &Job::new())?;
        let mut batch = BatchBuilder::new();
        let mut sent = Vec::new();
        for _ in 0..6 {
            self.next += 1;
            let key = (topic == TOPICS[0].0 && !self.random.percent(15)).then(|| self.random.below(5) as u64);
            let (name, value) = (key.map(|key| key.to_string()), format!("{} {}", self.next, "z".repeat(200)));
            let key_field = name.as_ref().map(|name| (&b"key"[..], name.as_bytes()));
            let fields: Vec<_> = key_field.into_iter().chain([(&b"value"[..], value.as_bytes())]).collect();
            batch.push(&fields, false, None).expect("legal");
            sent.push((key, self.next));
        }
        let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
        let appended = opened.log().append(&mut packed, BatchIds::Auto, None, &Job::new())?;
        opened.log().sync_to(appended.end_place(), &Job::new())?;
        if topic == TOPICS[0].0 {
            let (now, mut ledger) = (self.sim.now(), self.ledger.lock().unwrap());
            for (index, (key, version)) in sent.into_iter().enumerate() {
                match key {
                    Some(key) => ledger.newest.push((now, key, appended.first.0 + index as u64)),
                    None => ledger.plain.push((now, version)),
                }
            }
        }
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let opened = self.store.topic(&name(TOPICS[0].0), Mode::Write, &Job::new())?;
        let log = opened.log();
        let epoch = log.epoch();
        let plain: Vec<(u64, u64)> =
            read(log)?.into_iter().filter(|(_, (key, _))| key.is_none()).map(|(at, (_, v))| (at, v)).collect();
        let chosen: Vec<(u64, u64)> = plain.into_iter().filter(|_| self.random.percent(50)).collect();
        let now = self.sim.now();
        self.ledger.lock().unwrap().deleting.extend(chosen.iter().map(|(_, version)| (now, *version)));
        let offsets: Vec<Offset> = chosen.iter().map(|(at, _)| Offset(*at)).collect();
        let done = log.delete(&offsets, epoch, RecordId::ZERO, &Job::new())?;
        log.sync_deleted(done.place, &Job::new())?;
        let now = self.sim.now();
        self.ledger.lock().unwrap().deleted.extend(chosen.iter().map(|(_, version)| (now, *version)));
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        for (topic, _) in TOPICS {
            let opened = self.store.topic(&name(topic), Mode::Write, &Job::new())?;
            match keep_topic(self.store, &opened, Upkeep::default(), &mut Kept::default(), &Job::new()) {
                Ok(_) | Err(Error::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn work(&mut self, rounds: usize) -> Result<()> {
        for (topic, setting) in TOPICS {
            let mut settings = Overrides::default();
            let (setting, value) = setting.split_once('=').expect("a setting");
            settings.set(setting, value).expect("legal");
            settings.set("segment-bytes", "4KiB").expect("legal");
            match self.store.create_topic(&name(topic), &settings, true) {
                Ok(()) | Err(Error::TopicExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for round in 0..rounds {
            TOPICS.into_iter().try_for_each(|(topic, _)| self.publish(topic))?;
            match round % 4 {
                1 => self.delete()?,
                3 => self.keep()?,
                _ => {}
            }
        }
        Ok(())
    }
}

struct Run {
    sim: Arc<Sim>,
    ledger: Ledger,
    clock: Clock,
    dir: tempfile::TempDir,
    whole: bool,
}

fn run(seed: u64, rounds: usize, workers: usize, die_at: Option<usize>) -> Run {
    let dir = scratch();
    let sim = Sim::new(dir.path(), seed);
    if let Some(ops) = die_at {
        sim.die_at(ops, None);
    }
    let (clock, _) = clock();
    let ledger = Mutex::new(Ledger::default());
    let whole = {
        let (sim, clock, ledger, path) = (&sim, &clock, &ledger, dir.path());
        let bodies = (0..workers).map(|who| -> Box<dyn FnOnce() + Send + '_> {
            Box::new(move || {
                let store = open(path, true, clock, sim.disk(1)).expect("opens");
                let random = Random::new(seed ^ (who as u64) << 32);
                let mut worker = Worker { store: &store, ledger, sim, random, next: who as u64 * 1_000_000 };
                worker.work(rounds).expect("nothing fails");
            })
        });
        sim.run(bodies.collect()).into_iter().all(|ended| ended)
    };
    if die_at.is_some() {
        sim.settle_after_kill();
    }
    Run { sim, ledger: ledger.into_inner().unwrap(), clock, dir, whole }
}

/// What a store holds after a crash behind the first `ops` changes; and that it goes on from there.
fn check(path: &Path, ledger: &Ledger, clock: &Clock, ops: usize, disk: Arc<Disk>) {
    let store = open(path, true, clock, disk).expect("opens");
    for (topic, _) in TOPICS {
        let opened = match store.topic(&name(topic), Mode::Write, &Job::new()) {
            Err(Error::TopicMissing { .. }) => continue,
            other => other.expect("opens"),
        };
        look(&opened.log().clone(), topic, ledger, ops);
        keep_topic(&store, &opened, Upkeep::default(), &mut Kept::default(), &Job::new()).expect("kept");
        look(opened.log(), topic, ledger, ops);
        let left: Vec<String> =
            opened.log().dir().list().unwrap().into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect();
        assert!(!left.iter().any(|name| name.starts_with(".compact-")), "leftovers go: {left:?}");
    }
}

fn look(log: &Log, topic: &str, ledger: &Ledger, ops: usize) {
    let seen = read(log).expect("reads");
    assert_eq!(log.live_count().expect("counted"), seen.len() as u64, "{topic}: {seen:?}");
    let (verified, ended) = verify(log, &Job::new());
    ended.expect("verified");
    let bad: Vec<_> = verified.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
    assert!(bad.is_empty(), "{topic}: {bad:?}");
    if topic != TOPICS[0].0 {
        let end = log.high_watermark().0;
        assert!(seen.len() as u64 >= KEPT.min(end), "{topic}: {} of {end}", seen.len());
        return;
    }
    let versions: BTreeSet<u64> = seen.values().map(|(_, version)| *version).collect();
    for (_, key, offset) in ledger.newest.iter().filter(|(at, ..)| *at <= ops) {
        let newest = seen.iter().rev().find(|(_, (own, _))| *own == Some(*key)).map(|(offset, _)| *offset);
        assert!(newest >= Some(*offset), "key {key}: of {offset}, which was durable, {newest:?} is what is left");
    }
    let deleting: BTreeSet<u64> = ledger.deleting.iter().map(|(_, version)| *version).collect();
    for (_, version) in ledger.plain.iter().filter(|(at, version)| *at <= ops && !deleting.contains(version)) {
        assert!(versions.contains(version), "{version} has no key, and is gone");
    }
    for (_, version) in ledger.deleted.iter().filter(|(at, _)| *at <= ops) {
        assert!(!versions.contains(version), "{version} was deleted, and is back");
    }
}

const DATA: [DataFate; 5] = [DataFate::Lost, DataFate::Kept, DataFate::Torn, DataFate::Shuffled, DataFate::Zeros];
const NAMES: [NameFate; 4] = [NameFate::Kept, NameFate::Lost, NameFate::Each, NameFate::Journal];
const HEADS: [HeadFate; 4] = [HeadFate::Ahead, HeadFate::Lost, HeadFate::Stale, HeadFate::Mixed];

#[test]
fn after_a_power_cut_in_upkeep_the_log_is_as_before_or_as_after() {
    for seed in seeds(0..3) {
        let run = run(seed, 9, 1 + seed as usize % 2, None);
        assert!(run.whole);
        let mut random = Random::new(seed);
        for ops in 0..=run.sim.now() {
            let [data, names, head] = [DATA.len(), NAMES.len(), HEADS.len()].map(|count| random.below(count));
            let policy = Policy { data: DATA[data], names: NAMES[names], head: HEADS[head], inode_words: INODE_WORDS };
            let _case = Case(format!("seed {seed}, power cut after change {ops}, {policy:?}"));
            let dir = scratch();
            run.sim.crash(ops, policy, &mut random, dir.path());
            check(dir.path(), &run.ledger, &run.clock, ops, Arc::new(Plain::default()).disk(2));
        }
    }
}

#[test]
fn after_a_kill_in_upkeep_the_log_is_as_before_or_as_after() {
    for seed in seeds([20]) {
        for ops in (0..).step_by(2) {
            let run = run(seed, 9, 1, Some(ops));
            let _case = Case(format!("seed {seed}, killed before change {ops}"));
            run.sim.revive();
            check(run.dir.path(), &run.ledger, &run.clock, ops, run.sim.disk(1));
            if run.whole {
                break;
            }
        }
    }
}

#[test]
fn a_full_or_failing_disk_hinders_upkeep_and_spoils_nothing() {
    for (kind, errno) in [(Some(Kind::Write), Errno::NOSPC), (Some(Kind::Create), Errno::NOSPC), (None, Errno::IO)] {
        for skip in 0.. {
            let _case = Case(format!("{kind:?} {skip} fails with {errno}"));
            let dir = scratch();
            let sim = Sim::new(dir.path(), 1);
            let (clock, _) = clock();
            let store = open(dir.path(), true, &clock, sim.disk(1)).expect("opens");
            let ledger = Mutex::new(Ledger::default());
            let mut worker = Worker { store: &store, ledger: &ledger, sim: &sim, random: Random::new(7), next: 0 };
            worker.work(7).expect("nothing fails yet");
            sim.arm(vec![Fault { count: 1000, ..Fault::nth(kind, skip, errno) }]);
            let ended = worker.keep();
            let struck = sim.struck();
            sim.arm(Vec::new());
            assert!(ended.is_err() || struck == 0 || kind.is_some(), "what failed is told");
            {
                let ledger = ledger.lock().unwrap();
                for (topic, _) in TOPICS {
                    let opened = store.topic(&name(topic), Mode::Write, &Job::new()).expect("opens");
                    look(opened.log(), topic, &ledger, usize::MAX);
                }
            }
            worker.keep().expect("there is room again");
            TOPICS.into_iter().try_for_each(|(topic, _)| worker.publish(topic)).expect("published");
            let ledger = ledger.lock().unwrap();
            check(dir.path(), &ledger, &clock, usize::MAX, sim.disk(1));
            if struck == 0 {
                assert!(skip > 3);
                break;
            }
        }
    }
}
