//! Random work against a naive model: a list of what was published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Case, clock, name, open, seeds};
use crate::broker::{Fed, Flusher, Level, TopicFeed, TopicPublisher};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::batch::FieldRef;
use crate::config::Overrides;
use crate::disk::sim::{DataFate, HeadFate, NameFate, Policy, Random, Sim, scratch};
use crate::ids::{Incarnation, Offset, Place, RecordId};
use crate::job::Job;
use crate::log::{INODE_WORDS_AT, Mode};
use crate::store::Store;

const STEPS: usize = 60;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A record as it has to read back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    id: RecordId,
    null: bool,
    fields: Fields,
}

/// What the topic should hold: records by offset, and where it starts.
struct Model {
    records: Vec<Kept>,
    start: usize,
    /// How many are certain to survive a power cut.
    durable: usize,
    /// A place that was reached before.
    saved: Option<(Incarnation, Place)>,
}

struct World {
    random: Random,
    model: Model,
    sim: Arc<Sim>,
    dir: tempfile::TempDir,
    clock: Clock,
    hand: Arc<AtomicU64>,
    is_sync: bool,
    boot: u8,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let dir = scratch();
        let sim = Sim::new(dir.path(), seed);
        let (clock, hand) = clock();
        let is_sync = random.percent(60);
        let mut settings = Overrides::default();
        settings.set("durability", if is_sync { "sync" } else { "none" }).unwrap();
        settings.set("segment-bytes", ["4KiB", "16KiB", "1MiB"][random.below(3)]).unwrap();
        settings.set("compression", ["none", "zstd"][random.below(2)]).unwrap();
        let store = open(dir.path(), true, &clock, sim.disk(1)).unwrap();
        store.create_topic(&name("t"), &settings, true).unwrap();
        let model = Model { records: Vec::new(), start: 0, durable: 0, saved: None };
        World { random, model, sim, dir, clock, hand, is_sync, boot: 1 }
    }

    fn open(&self) -> Store {
        open(self.dir.path(), true, &self.clock, self.sim.disk(self.boot)).unwrap()
    }

    fn record(&mut self) -> (Fields, bool) {
        let bytes = |random: &mut Random, most: usize| -> Vec<u8> {
            let (length, byte) = (random.below(most), random.next() as u8);
            (0..length).map(|at| if at % 3 == 0 { random.next() as u8 } else { byte }).collect()
        };
        let random = &mut self.random;
        let most = if random.percent(4) { 9000 } else { 300 };
        let mut fields = Vec::new();
        if random.percent(30) {
            fields.push((b"key".to_vec(), bytes(random, 20)));
        }
        if random.percent(85) {
            fields.push((b"value".to_vec(), bytes(random, most)));
        }
        while random.percent(15) {
            let field = [b"key".to_vec(), b"value".to_vec(), bytes(random, 5)][random.below(3)].clone();
            fields.push((field, bytes(random, 40)));
        }
        (fields, random.percent(8))
    }

    fn publish(&mut self, store: &Store) {
        self.hand.fetch_add(self.random.next() % 5, Ordering::SeqCst);
        if self.random.percent(5) {
            // The clock goes back.
            self.hand.fetch_sub(3, Ordering::SeqCst);
        }
        let flusher = Flusher::default();
        let level = Level { durability: None, create: false, limit_wait: None };
        let mut publisher = TopicPublisher::open(store, &flusher, &name("t"), level, Job::new()).unwrap();
        for _ in 0..=self.random.below(3) {
            let records: Vec<_> = (0..=self.random.below(6)).map(|_| self.record()).collect();
            let mut batch = BatchBuilder::new();
            for (fields, null) in &records {
                let fields: Vec<FieldRef<'_>> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
                batch.push(&fields, *null, None).unwrap();
            }
            let expect = self.random.percent(30).then_some(Offset(self.model.records.len() as u64));
            let (appended, _) = publisher.publish(&batch.batch(), expect).unwrap();
            assert_eq!(appended.first.0, self.model.records.len() as u64);
            for (index, (fields, null)) in records.into_iter().enumerate() {
                let id = appended.first_id.advance(index as u64).unwrap();
                self.model.records.push(Kept { id, null, fields });
            }
        }
        if self.random.percent(70) {
            publisher.settle().unwrap();
            if self.is_sync {
                self.model.durable = self.model.records.len();
            }
        }
        if self.random.percent(20) {
            publisher.close().unwrap();
            if self.is_sync {
                self.model.durable = self.model.records.len();
            }
        }
    }

    /// Reads from anywhere to the end of what may be seen.
    fn read(&mut self, store: &Store) {
        let mut feed = TopicFeed::open(store, &[name("t")], Job::new()).unwrap();
        let (start, end) = feed.bounds(0).unwrap();
        let high = end.offset.0 as usize;
        assert!(high >= self.model.durable && high <= self.model.records.len(), "{high}");
        assert_eq!(start.0 as usize, self.model.start.min(high));
        let mut next = self.random.below(high + 1);
        feed.seek(0, Offset(next as u64));
        feed.stop_at(0, Some(end.offset));
        loop {
            match feed.read_on().unwrap() {
                Fed::Records { records, .. } => {
                    for record in records {
                        let record = record.expect("well formed");
                        assert_eq!(record.offset.0 as usize, next);
                        let fields = record.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                        let have = Kept { id: record.id, null: record.null, fields };
                        assert_eq!(have, self.model.records[next]);
                        next += 1;
                    }
                }
                Fed::Gap { gap, .. } => {
                    let expected = (next as u64, self.model.start as u64);
                    assert_eq!((gap.from.0, gap.until.0), expected, "{gap:?}");
                    next = self.model.start;
                }
                Fed::Limited(_) | Fed::CaughtUp | Fed::End => break,
            }
        }
        assert_eq!(next, high.max(next));
        if self.random.percent(50) {
            self.model.saved = Some((feed.log(0).incarnation(), feed.place(0)));
        }
    }

    fn find(&mut self, store: &Store) {
        let topic = store.topic(&name("t"), Mode::Read, &Job::new()).unwrap();
        let log = topic.log();
        let high = log.high_watermark().0 as usize;
        let (first, last) = (1_699_999_999_000, self.hand.load(Ordering::SeqCst));
        let mut id = RecordId { ms: first + self.random.next() % (last - first + 2), seq: self.random.next() % 4 };
        if self.random.percent(50) && high > 0 {
            id = self.model.records[self.random.below(high)].id;
        }
        let start = self.model.start.min(high);
        let expected = (start..high).find(|at| self.model.records[*at].id >= id).unwrap_or(high);
        assert_eq!(log.find(id).unwrap().0 as usize, expected, "the first record from {id} on");
    }

    fn trim(&mut self, store: &Store) {
        let before = self.model.start + self.random.below(self.model.records.len() - self.model.start + 1);
        let topic = store.topic(&name("t"), Mode::Write, &Job::new()).unwrap();
        topic.log().trim(Offset(before as u64), &Job::new()).unwrap();
        self.model.start = before;
        self.model.durable = self.model.records.len();
    }

    /// The power goes, or all processes are killed; what is left is what the model holds from now on.
    fn crash(&mut self) {
        let end = self.sim.now();
        let data = [DataFate::Lost, DataFate::Kept, DataFate::Torn, DataFate::Prefix, DataFate::Shuffled, DataFate::Zeros];
        let names = [NameFate::Kept, NameFate::Lost, NameFate::Each, NameFate::Journal];
        let heads = [HeadFate::Ahead, HeadFate::Lost, HeadFate::Stale, HeadFate::First, HeadFate::Mixed, HeadFate::Short];
        let policy = Policy {
            data: data[self.random.below(data.len())],
            names: names[self.random.below(names.len())],
            head: heads[self.random.below(heads.len())],
            inode_words: &INODE_WORDS_AT,
        };
        let _case = Case(format!("a power cut, {policy:?}, after\n{}", self.sim.story()));
        let dir = scratch();
        self.sim.crash(end, policy, &mut self.random, dir.path());
        self.dir = dir;
        self.sim = Sim::new(self.dir.path(), self.random.next());
        self.boot += 1;
        let store = self.open();
        let topic = store.topic(&name("t"), Mode::Write, &Job::new()).unwrap();
        let left = topic.log().log_end().0 as usize;
        assert!(left >= self.model.durable && left <= self.model.records.len(), "{left} of {}", self.model.durable);
        self.model.records.truncate(left);
        self.model.durable = left;
        if let Some((life, place)) = self.model.saved.take()
            // Without a single segment that can be read, it is a new life.
            && life == topic.log().incarnation()
        {
            let clamped = topic.log().clamp(place).unwrap().0 as usize;
            assert!(clamped <= left && (clamped == left || clamped as u64 == place.offset.0), "{place:?} became {clamped}");
        }
    }
}

#[test]
fn random_work_agrees_with_a_naive_model() {
    for seed in seeds(400..700) {
        let mut world = World::new(seed);
        let mut store = world.open();
        for step in 0..STEPS {
            let _case = Case(format!("seed {seed}, step {step}"));
            match world.random.below(100) {
                0..45 => world.publish(&store),
                45..65 => world.read(&store),
                65..77 => world.find(&store),
                77..82 => world.trim(&store),
                82..91 => store = world.open(),
                _ => {
                    drop(store);
                    world.crash();
                    store = world.open();
                }
            }
        }
        world.read(&store);
    }
}
