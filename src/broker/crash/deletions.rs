//! Two processes that publish and delete single records, cut off by power cuts and kills: what was
//! deleted durably stays deleted, and what nobody deleted is never hidden, also where a crash has cost
//! records and their offsets are used anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::work::INODE_WORDS;
use super::{Case, clock, name, open, seeds};
use crate::clock::Clock;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::{BatchBuilder, Records};
use crate::config::{Compression, Durability, Overrides};
use crate::disk::Disk;
use crate::disk::sim::{DataFate, HeadFate, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId};
use crate::job::Job;
use crate::log::{GapReason, Log, LogReader, Mode, Step};
use crate::store::Store;

const TOPICS: [(&str, Durability); 2] = [("s", Durability::Sync), ("n", Durability::None)];

/// A record is told by its value: who wrote it, and which of the writer's it is.
type Ident = String;

/// What happened to a record, by the number of changes there had been.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// Since when it is durable.
    durable: Option<usize>,
    /// When a deletion of it was begun first.
    deleting: Option<usize>,
    /// When a deletion of it had returned.
    gone: Option<usize>,
    /// Since when it is deleted durably.
    deleted: Option<usize>,
}

type Lives = Mutex<BTreeMap<(&'static str, Ident), Life>>;

struct Worker<'a> {
    store: &'a Store,
    lives: &'a Lives,
    sim: &'a Sim,
    who: usize,
    next: u32,
    random: Random,
}

impl Worker<'_> {
    fn change(&self, topic: &'static str, idents: &[Ident], mut change: impl FnMut(&mut Life)) {
        let mut lives = self.lives.lock().unwrap();
        idents.iter().for_each(|ident| change(lives.entry((topic, ident.clone())).or_default()));
    }

    fn publish(&mut self, topic: &'static str) -> Result<()> {
        let opened = self.store.topic(&name(topic), Mode::Write, &Job::new())?;
        let log = opened.log();
        let count = 1 + self.random.below(4) as u32;
        let idents: Vec<Ident> = (self.next..self.next + count).map(|number| format!("{}-{number}", self.who)).collect();
        self.next += count;
        let place = append(log, &idents)?;
        if topic == "s" || self.random.percent(20) {
            log.sync_to(place, &Job::new())?;
            let now = self.sim.now();
            self.change(topic, &idents, |life| life.durable = Some(now));
        }
        Ok(())
    }

    fn delete(&mut self, topic: &'static str) -> Result<()> {
        let opened = self.store.topic(&name(topic), Mode::Write, &Job::new())?;
        let log = opened.log();
        let epoch = log.epoch();
        let found = read(log)?;
        let chosen: Vec<(Offset, Ident)> = found.into_iter().filter(|_| self.random.percent(25)).collect();
        let offsets: Vec<Offset> = chosen.iter().map(|(offset, _)| *offset).collect();
        let idents: Vec<Ident> = chosen.into_iter().map(|(_, ident)| ident).collect();
        let now = self.sim.now();
        self.change(topic, &idents, |life| life.deleting = life.deleting.or(Some(now)));
        let done = log.delete(&offsets, epoch, RecordId::ZERO, &Job::new())?;
        assert!(done.count <= offsets.len() as u64);
        let now = self.sim.now();
        self.change(topic, &idents, |life| life.gone = life.gone.or(Some(now)));
        let left: BTreeSet<Ident> = read(log)?.into_iter().map(|(_, ident)| ident).collect();
        assert!(idents.iter().all(|ident| !left.contains(ident)), "{topic}: hidden at once");
        if self.random.percent(60) {
            log.sync_deleted(done.place, &Job::new())?;
            let now = self.sim.now();
            self.change(topic, &idents, |life| life.deleted = life.deleted.or(Some(now)));
        }
        Ok(())
    }

    fn work(&mut self, steps: usize) -> Result<()> {
        for (topic, durability) in TOPICS {
            let mut settings = Overrides::default();
            settings.set("durability", durability.as_str()).expect("legal");
            settings.set("segment-bytes", "4KiB").expect("legal");
            match self.store.create_topic(&name(topic), &settings, true) {
                Ok(()) | Err(Error::TopicExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for step in 0..steps {
            let topic = TOPICS[self.random.below(2)].0;
            match step % 3 {
                2 => self.delete(topic)?,
                _ => self.publish(topic)?,
            }
        }
        Ok(())
    }
}

fn append(log: &Log, idents: &[Ident]) -> Result<crate::ids::Place> {
    let mut batch = BatchBuilder::new();
    idents.iter().for_each(|ident| batch.push_value(ident.as_bytes()));
    let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
    Ok(log.append(&mut packed, BatchIds::Auto, None, &Job::new())?.end_place())
}

/// The records of a log; the only gaps are those of deleted ones.
fn read(log: &Log) -> Result<Vec<(Offset, Ident)>> {
    let mut reader = LogReader::new(log.log_start(), log.epoch());
    let (mut found, mut scratch) = (Vec::new(), Vec::new());
    loop {
        match reader.step(log, log.high_watermark())? {
            Step::CaughtUp => return Ok(found),
            Step::Gap(gap) if gap.reason == GapReason::Rewound => found.retain(|(offset, _)| *offset < gap.from),
            Step::Gap(gap) => assert_eq!(gap.reason, GapReason::Deleted),
            Step::Frame { frame, from, until } => {
                let records: Records<'_> = frame.records_in(&mut scratch, from, until).expect("a body");
                let ident = |value: Option<&[u8]>| String::from_utf8(value.expect("a value").to_vec()).expect("text");
                found.extend(records.flatten().map(|record| (record.offset, ident(record.value()))));
            }
        }
    }
}

struct Run {
    sim: Arc<Sim>,
    lives: BTreeMap<(&'static str, Ident), Life>,
    clock: Clock,
    dir: tempfile::TempDir,
    whole: bool,
}

fn run(seed: u64, steps: usize, die_at: Option<usize>) -> Run {
    let dir = scratch();
    let sim = Sim::new(dir.path(), seed);
    if let Some(ops) = die_at {
        sim.die_at(ops, None);
    }
    let (clock, _) = clock();
    let lives = Lives::default();
    let whole = {
        let (sim, clock, lives, path) = (&sim, &clock, &lives, dir.path());
        let bodies = (0..2).map(|who| -> Box<dyn FnOnce() + Send + '_> {
            Box::new(move || {
                let store = open(path, true, clock, sim.disk(1)).expect("opens");
                let random = Random::new(seed ^ (who as u64) << 32);
                Worker { store: &store, lives, sim, who, next: 0, random }.work(steps).expect("nothing fails");
            })
        });
        sim.run(bodies.collect()).into_iter().all(|ended| ended)
    };
    if die_at.is_some() {
        sim.settle_after_kill();
    }
    Run { sim, lives: lives.into_inner().unwrap(), clock, dir, whole }
}

/// What a store holds after a crash that struck after the first `ops` changes, or a kill; and that what is
/// published from now on is there.
fn check(path: &Path, run: &Run, ops: usize, is_kill: bool, disk: Arc<Disk>) {
    let by = |at: Option<usize>| at.is_some_and(|at| at <= ops);
    let store = open(path, true, &run.clock, disk).expect("opens");
    for (topic, _) in TOPICS {
        let opened = match store.topic(&name(topic), Mode::Write, &Job::new()) {
            Err(Error::TopicMissing { .. }) => {
                assert!(!run.lives.iter().any(|((of, _), life)| *of == topic && by(life.durable)), "{topic} is missing");
                continue;
            }
            other => other.expect("opens"),
        };
        let log = opened.log();
        let new: Vec<Ident> = (0..40).map(|number| format!("new-{ops}-{number}")).collect();
        let place = append(log, &new).expect("appended");
        log.sync_to(place, &Job::new()).expect("synced");
        let found = read(log).expect("reads");
        assert_eq!(log.live_count().expect("known"), found.len() as u64, "{topic}");
        let found: BTreeSet<Ident> = found.into_iter().map(|(_, ident)| ident).collect();
        assert!(new.iter().all(|ident| found.contains(ident)), "{topic}: what uses offsets anew is hidden: {found:?}");
        for ((of, ident), life) in &run.lives {
            if *of == topic && by(if is_kill { life.gone } else { life.deleted }) {
                assert!(!found.contains(ident), "{topic}: {ident} was deleted: {life:?}");
            } else if *of == topic && by(life.durable) && !by(life.deleting) {
                assert!(found.contains(ident), "{topic}: {ident} is hidden, and nobody has deleted it: {life:?}");
            }
        }
    }
}

const DATA: [DataFate; 5] = [DataFate::Lost, DataFate::Kept, DataFate::Torn, DataFate::Shuffled, DataFate::Zeros];
const NAMES: [NameFate; 4] = [NameFate::Kept, NameFate::Lost, NameFate::Each, NameFate::Journal];
const HEADS: [HeadFate; 4] = [HeadFate::Ahead, HeadFate::Lost, HeadFate::Stale, HeadFate::Mixed];

fn policy(random: &mut Random) -> Policy {
    let [data, names, head] = [DATA.len(), NAMES.len(), HEADS.len()].map(|count| random.below(count));
    Policy { data: DATA[data], names: NAMES[names], head: HEADS[head], inode_words: INODE_WORDS }
}

#[test]
fn after_a_power_cut_deleted_records_stay_deleted_and_no_others_are_hidden() {
    for seed in seeds(0..8) {
        let run = run(seed, 24, None);
        assert!(run.whole);
        let mut random = Random::new(seed);
        for ops in 0..=run.sim.now() {
            let policy = policy(&mut random);
            let _case = Case(format!("seed {seed}, power cut after change {ops}, {policy:?}"));
            let dir = scratch();
            run.sim.crash(ops, policy, &mut random, dir.path());
            check(dir.path(), &run, ops, false, Arc::new(Plain::default()).disk(2));
        }
    }
}

#[test]
fn after_a_kill_deletions_that_returned_stand_and_a_power_cut_after_it_hides_nothing() {
    for seed in seeds([10]) {
        for ops in (0..).step_by(3) {
            let run = run(seed, 14, Some(ops));
            let mut random = Random::new(seed ^ ops as u64);
            let _case = Case(format!("seed {seed}, killed before change {ops}"));
            run.sim.revive();
            check(run.dir.path(), &run, ops, true, run.sim.disk(1));
            // Those who came after have published more, in the same boot.
            let end = run.sim.now();
            let dir = scratch();
            let policy = policy(&mut random);
            let _case = Case(format!("seed {seed}, killed before change {ops}, then {policy:?}"));
            run.sim.crash(end, policy, &mut random, dir.path());
            check(dir.path(), &run, end, false, Arc::new(Plain::default()).disk(2));
            if run.whole {
                break;
            }
        }
    }
}
