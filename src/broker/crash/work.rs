//! Writers and a reader, at work on one store.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::ledger::{Ident, Ledger, Receipt, Saved, Span, identify, push};
use super::{clock, name, open};
use crate::broker::{Fed, Flusher, Level, TopicFeed, TopicPublisher};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::config::{Durability, Overrides};
use crate::disk::sim::{Fault, Random, Sim};
use crate::error::{Error, Result};
use crate::ids::{Incarnation, Offset, Place};
use crate::job::Job;
use crate::log::{INODE_WORDS_AT, Mode};
use crate::store::Store;

/// Topics with their levels; `d` is deleted and made again during the work, `b` is published to
/// above its level.
pub(super) const TOPICS: [(&str, Durability); 5] = [
    ("s", Durability::Sync),
    ("a", Durability::Async),
    ("n", Durability::None),
    ("b", Durability::None),
    ("d", Durability::Sync),
];

pub(super) const INODE_WORDS: &[usize] = &INODE_WORDS_AT;

/// One process that writes.
pub(super) struct Writer<'a> {
    pub(super) store: &'a Store,
    pub(super) flusher: &'a Flusher,
    pub(super) ledger: &'a Ledger,
    pub(super) sim: &'a Sim,
    pub(super) who: u32,
    pub(super) random: Random,
    hand: Arc<AtomicU64>,
    publishers: HashMap<&'static str, TopicPublisher<'a>>,
    /// What is not acknowledged yet.
    owed: HashMap<&'static str, Vec<usize>>,
    pub(super) next: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        store: &'a Store,
        flusher: &'a Flusher,
        ledger: &'a Ledger,
        sim: &'a Sim,
        (who, seed, hand): (u32, u64, Arc<AtomicU64>),
    ) -> Writer<'a> {
        let random = Random::new(seed ^ u64::from(who) << 32);
        Writer { store, flusher, ledger, sim, who, random, hand, publishers: HashMap::new(), owed: HashMap::new(), next: 0 }
    }

    /// Makes the topics with small segments; both writers do, one comes too late.
    pub(super) fn make_topics(&self) -> Result<()> {
        for (topic, durability) in TOPICS {
            let mut settings = Overrides::default();
            settings.set("durability", durability.as_str()).expect("legal");
            settings.set("segment-bytes", "4KiB").expect("legal");
            settings.set("flush-interval", "1h").expect("legal");
            if topic == "a" {
                settings.set("compression", "zstd").expect("legal");
            }
            match self.store.create_topic(&name(topic), &settings, durability > Durability::None) {
                Ok(()) | Err(Error::TopicExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn publisher(&mut self, topic: &'static str) -> Result<&mut TopicPublisher<'a>> {
        if !self.publishers.contains_key(topic) {
            let durability = (topic == "b").then_some(Durability::Sync);
            let level = Level { durability, create: true, limit_wait: None };
            let publisher = TopicPublisher::open(self.store, self.flusher, &name(topic), level, Job::new())?;
            self.publishers.insert(topic, publisher);
        }
        Ok(self.publishers.get_mut(topic).expect("just put there"))
    }

    /// Publishes a batch; it is owed until it is settled.
    pub(super) fn send(&mut self, topic: &'static str, count: u32) -> Result<()> {
        self.hand.fetch_add(self.random.next() % 3, Ordering::SeqCst);
        let first = self.next;
        self.next += count;
        let mut batch = BatchBuilder::new();
        (first..first + count).for_each(|number| push(&mut batch, topic, (self.who, number)));
        let index = self.ledger.send(topic, self.who, first, count, self.sim.now());
        let published = self.publisher(topic).and_then(|publisher| publisher.publish(&batch.batch(), None));
        let (appended, _) = published.inspect_err(|_| self.ledger.lock().sent[index].refused = true)?;
        let life = self.store.topic(&name(topic), Mode::Read, &Job::new())?.log().incarnation();
        self.ledger.receive(index, self.sim.now(), Receipt { life, offset: appended.first, id: appended.first_id });
        self.owed.entry(topic).or_default().push(index);
        Ok(())
    }

    /// Waits until what was sent is at its level, and notes that.
    pub(super) fn settle(&mut self, topic: &'static str) -> Result<()> {
        self.publisher(topic)?.settle()?;
        self.acked(topic);
        Ok(())
    }

    pub(super) fn close(&mut self, topic: &'static str) -> Result<()> {
        self.publisher(topic)?.close()?;
        self.acked(topic);
        Ok(())
    }

    fn acked(&mut self, topic: &'static str) {
        let owed = self.owed.remove(topic).unwrap_or_default();
        // Nothing is promised at `none`, also not by a close.
        if topic == "n" {
            return;
        }
        self.ledger.ack(&owed, self.sim.now());
    }

    /// Forgets what an error has left in doubt.
    pub(super) fn give_up(&mut self, topic: &'static str) {
        self.owed.remove(topic);
        self.publishers.remove(topic);
    }

    pub(super) fn step(&mut self) -> Result<()> {
        let count = 1 + self.random.below(3) as u32;
        match self.random.below(100) {
            0..45 => {
                self.send("s", count)?;
                if self.random.percent(60) { self.settle("s") } else { Ok(()) }
            }
            45..60 => {
                self.send("a", count)?;
                if self.random.percent(25) { self.close("a") } else { Ok(()) }
            }
            60..74 => self.send("n", count),
            74..84 => {
                self.send("b", count)?;
                self.settle("b")
            }
            84..88 => self.close("s"),
            _ => {
                self.send("d", count)?;
                self.settle("d")
            }
        }
    }

    pub(super) fn delete(&mut self, topic: &'static str) -> Result<()> {
        let life = match self.store.topic(&name(topic), Mode::Read, &Job::new()) {
            Ok(topic) => topic.log().incarnation(),
            Err(Error::TopicMissing { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let index = {
            let mut entries = self.ledger.lock();
            entries.deletes.push(Span { topic, life, what: (), started: self.sim.now(), ended: None });
            entries.deletes.len() - 1
        };
        self.store.delete_topic(&name(topic), &Job::new())?;
        self.ledger.lock().deletes[index].ended = Some(self.sim.now());
        Ok(())
    }

    pub(super) fn trim(&mut self, topic: &'static str) -> Result<()> {
        let opened = self.store.topic(&name(topic), Mode::Write, &Job::new())?;
        let (life, end) = (opened.log().incarnation(), opened.log().log_end());
        let before = if self.random.percent(30) { end } else { Offset(self.random.below(end.0 as usize + 1) as u64) };
        let index = {
            let mut entries = self.ledger.lock();
            entries.trims.push(Span { topic, life, what: before, started: self.sim.now(), ended: None });
            entries.trims.len() - 1
        };
        opened.log().trim(before, &Job::new())?;
        self.ledger.lock().trims[index].ended = Some(self.sim.now());
        Ok(())
    }
}

/// What reading a topic from a place brought.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) idents: Vec<Ident>,
    pub(super) place: Place,
    pub(super) life: Incarnation,
}

/// Reads on from a place, as far as may be seen.
pub(super) fn read_on(store: &Store, topic: &'static str, from: Option<(Incarnation, Place)>) -> Result<Reading> {
    let mut feed = TopicFeed::open(store, &[name(topic)], Job::new())?;
    let life = feed.log(0).incarnation();
    let (start, end) = feed.bounds(0)?;
    match from.filter(|(of, _)| *of == life) {
        Some((_, place)) => drop(feed.resume(0, place)?),
        None => feed.seek(0, start),
    }
    feed.stop_at(0, Some(end.offset.max(feed.place(0).offset)));
    let mut idents = Vec::new();
    loop {
        match feed.read_on()? {
            Fed::Records { records, .. } => {
                idents.extend(records.map(|record| identify(topic, &record.expect("well formed"))));
            }
            Fed::Gap { .. } => {}
            Fed::Limited(_) | Fed::CaughtUp | Fed::End => break,
        }
    }
    Ok(Reading { idents, place: feed.place(0), life })
}

/// A process that reads everything again and again, and saves how far it came.
pub(super) fn follow(store: &Store, ledger: &Ledger, sim: &Sim, rounds: usize) {
    let mut places: HashMap<&str, (Incarnation, Place, BTreeSet<Ident>)> = HashMap::new();
    for _ in 0..rounds {
        for (topic, _) in TOPICS {
            let from = places.get(topic).map(|(life, place, _)| (*life, *place));
            let reading = match read_on(store, topic, from) {
                Ok(reading) => reading,
                Err(Error::TopicMissing { .. } | Error::TopicGone { .. }) => continue,
                // Its directory went away while it was being opened.
                Err(error) if error.is_not_found() && topic == "d" => continue,
                Err(error) => panic!("reading {topic}: {error:?}"),
            };
            let (life, place) = (reading.life, reading.place);
            let mut seen = match places.remove(topic) {
                Some((of, _, seen)) if of == life => seen,
                _ => BTreeSet::new(),
            };
            seen.extend(reading.idents);
            ledger.lock().saved.push(Saved { topic, life, place, at: sim.now(), seen: seen.clone() });
            places.insert(topic, (life, place, seen));
            sim.pass();
        }
    }
}

/// What happens to the writers of a run.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// Nothing: every error is a failure of the test.
    Peace,
    /// All are killed before this change, or one of them is.
    Killed(usize, Option<usize>),
    /// Changes fail; writers go on with something else.
    Faults(Vec<Fault>),
}

/// A whole run: two writers and a reader.
pub(super) struct Run {
    pub(super) sim: Arc<Sim>,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    pub(super) _dir: tempfile::TempDir,
    pub(super) path: std::path::PathBuf,
    /// Whether all came to their ends.
    pub(super) whole: bool,
    /// What the writers were told.
    pub(super) errors: Vec<Error>,
}

/// Lets two writers make `steps` steps each.
pub(super) fn run(seed: u64, steps: usize, fate: &Fate) -> Run {
    let dir = crate::disk::sim::scratch();
    let path = dir.path().to_owned();
    let sim = Sim::new(&path, seed);
    match fate {
        Fate::Peace => {}
        Fate::Killed(at, victim) => sim.die_at(*at, *victim),
        Fate::Faults(faults) => sim.arm(faults.clone()),
    }
    let is_faulty = matches!(fate, Fate::Faults(_));
    let (clock, hand) = clock();
    let ledger = Ledger::default();
    let errors = Mutex::new(Vec::new());
    let flushers = [Flusher::default(), Flusher::default()];
    let whole = {
        let (sim_ref, ledger, clock, path, hand, errors) = (&sim, &ledger, &clock, &path, &hand, &errors);
        let mut bodies: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
        for (who, flusher) in flushers.iter().enumerate() {
            bodies.push(Box::new(move || {
                let note = |error: Error| {
                    assert!(is_faulty, "writer {who}: {error:?}");
                    errors.lock().unwrap().push(error);
                };
                let store = loop {
                    match open(path, true, clock, sim_ref.disk(1)) {
                        Ok(store) => break store,
                        Err(error) => note(error),
                    }
                };
                let mut writer = Writer::new(&store, flusher, ledger, sim_ref, (who as u32, seed, Arc::clone(hand)));
                write(&mut writer, steps, &note);
            }));
        }
        bodies.push(Box::new(move || {
            while !has_store(path) {
                sim_ref.pass();
            }
            let store = open(path, false, clock, sim_ref.disk(1)).expect("opens");
            follow(&store, ledger, sim_ref, steps / 3);
        }));
        sim.run(bodies).into_iter().all(|ended| ended)
    };
    drop(flushers);
    if matches!(fate, Fate::Killed(_, None)) {
        sim.settle_after_kill();
    }
    Run { sim, ledger, clock, _dir: dir, path, whole, errors: errors.into_inner().unwrap() }
}

fn has_store(path: &Path) -> bool {
    path.join(crate::store::store_file_name()).exists() && path.join("topics").exists()
}

fn write(writer: &mut Writer<'_>, steps: usize, note: &dyn Fn(Error)) {
    while let Err(error) = writer.make_topics() {
        note(error);
    }
    for step in 0..steps {
        let done = match (writer.who, step * 10 / steps.max(10)) {
            (1, 3) => writer.delete("d"),
            (1, 8) if step % 2 == 0 => writer.delete("d"),
            (0, 5) => writer.trim("s"),
            (1, 7) => writer.trim("n"),
            _ => writer.step(),
        };
        if let Err(error) = done {
            TOPICS.iter().for_each(|(topic, _)| writer.give_up(topic));
            // If another one died inside a sync: the next append makes it good.
            if !matches!(error, Error::Poisoned { .. }) {
                note(error);
            }
        }
    }
}
