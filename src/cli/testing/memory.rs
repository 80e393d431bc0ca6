//! A store in memory, with what happens to readers: gaps, records that come later, a topic that is
//! deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use drave::codec::{Batch, Records};
use drave::config::{Durability, Overrides, TopicSettings};
use drave::engine::{Bounds, Cursor, Engine, Feed, Gap, GapCause, Next, PublishOptions, Published, Publisher, Trimmed, Waker};
use drave::ids::{Epoch, Offset, Place, RecordId, TopicName};
use drave::job::Job;
use drave::{Error, Result};

use super::body_with_ids;

pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) id: RecordId,
    pub(crate) fields: Fields,
    pub(crate) null: bool,
}

#[derive(Default)]
struct Log {
    start: u64,
    records: Vec<Stored>,
    damaged: Vec<u64>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, Log>,
    cursors: BTreeMap<(Vec<u8>, TopicName), Place>,
    /// How often something changed.
    changes: u64,
    /// A topic that does not exist was to be read.
    missed: bool,
}

/// The store. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<(Mutex<State>, Condvar)>);

/// A topic's name.
pub(crate) fn name(text: &str) -> TopicName {
    TopicName::new(text.as_bytes()).expect("a legal name")
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("no test panicked in here")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.changes += 1;
        self.0.1.notify_all();
    }

    /// Appends a record with this value; its ID is `ms`-0.
    pub(crate) fn add(&self, topic: &str, ms: u64, value: &str) {
        let fields = vec![(b"value".to_vec(), value.into())];
        self.change(|state| {
            let log = state.topics.entry(name(topic)).or_default();
            log.records.push(Stored { id: RecordId { ms, seq: 0 }, fields, null: false });
        });
    }

    /// The values 0, 1, ... `count` - 1, one a millisecond.
    pub(crate) fn with_numbers(topic: &str, count: u64) -> Memory {
        let memory = Memory::default();
        memory.change(|state| {
            let record = |ms: u64| {
                let fields = vec![(b"value".to_vec(), ms.to_string().into())];
                Stored { id: RecordId { ms, seq: 0 }, fields, null: false }
            };
            state.topics.entry(name(topic)).or_default().records = (0..count).map(record).collect();
        });
        memory
    }

    /// Damages the record at `offset`.
    pub(crate) fn damage(&self, topic: &str, offset: u64) {
        self.change(|state| state.topics.entry(name(topic)).or_default().damaged.push(offset));
    }

    /// Waits until somebody tried to read a topic that does not exist.
    pub(crate) fn wait_until_missed(&self) {
        let waited = self.0.1.wait_while(self.lock(), |state| !state.missed);
        drop(waited.expect("no test panicked in here"));
    }

    /// What is in a topic.
    pub(crate) fn records(&self, topic: &str) -> Vec<Stored> {
        self.lock().topics.get(&name(topic)).map(|log| log.records.clone()).unwrap_or_default()
    }

    /// The place that a cursor holds.
    pub(crate) fn place(&self, cursor: &str, topic: &str) -> Option<u64> {
        self.lock().cursors.get(&(cursor.into(), name(topic))).map(|place| place.offset.0)
    }
}

impl Engine for Memory {
    fn publisher(&self, topic: &TopicName, _options: &PublishOptions) -> Result<Box<dyn Publisher + '_>> {
        self.change(|state| _ = state.topics.entry(topic.clone()).or_default());
        Ok(Box::new(MemoryPublisher { memory: self.clone(), topic: topic.clone() }))
    }

    fn feed(&self, topics: &[TopicName], _job: &Job) -> Result<Box<dyn Feed + '_>> {
        let mut state = self.lock();
        if let Some(topic) = topics.iter().find(|topic| !state.topics.contains_key(topic)) {
            state.missed = true;
            self.0.1.notify_all();
            return Err(Error::TopicMissing { topic: topic.clone() });
        }
        let reads = topics.iter().map(|topic| Read { at: state.topics[topic].start, until: None }).collect();
        let woken = Arc::new(Mutex::new(false));
        Ok(Box::new(MemoryFeed {
            memory: self.clone(),
            topics: topics.to_vec(),
            reads,
            scratch: Vec::new(),
            seen: state.changes,
            woken,
        }))
    }

    fn create_topic(&self, topic: &TopicName, _settings: &Overrides) -> Result<()> {
        self.change(|state| _ = state.topics.entry(topic.clone()).or_default());
        Ok(())
    }

    fn configure_topic(&self, _topic: &TopicName, _changes: &[(String, String)], _job: &Job) -> Result<()> {
        unimplemented!("no reader needs it")
    }

    fn delete_topic(&self, topic: &TopicName, _job: &Job) -> Result<()> {
        self.change(|state| drop(state.topics.remove(topic)));
        Ok(())
    }

    fn trim_topic(&self, topic: &TopicName, before: Offset, _job: &Job) -> Result<Trimmed> {
        self.change(|state| state.topics.get_mut(topic).expect("there").start = before.0);
        Ok(Trimmed { from: Offset(0), until: before, segments: 0, bytes: 0 })
    }

    fn topics(&self) -> Result<Vec<TopicName>> {
        Ok(self.lock().topics.keys().cloned().collect())
    }

    fn settings(&self, _topic: &TopicName) -> Result<(TopicSettings, Overrides)> {
        unimplemented!("no reader needs it")
    }

    fn cursor(&self, cursor: &[u8], topic: &TopicName) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(MemoryCursor { memory: self.clone(), key: (cursor.to_vec(), topic.clone()) }))
    }
}

struct MemoryCursor {
    memory: Memory,
    key: (Vec<u8>, TopicName),
}

impl Cursor for MemoryCursor {
    fn load(&mut self) -> Result<Option<Place>> {
        Ok(self.memory.lock().cursors.get(&self.key).copied())
    }

    fn save(&mut self, place: Place) -> Result<()> {
        // Not a change that a reader wakes for.
        self.memory.lock().cursors.insert(self.key.clone(), place);
        Ok(())
    }
}

struct MemoryPublisher {
    memory: Memory,
    topic: TopicName,
}

impl Publisher for MemoryPublisher {
    fn publish(&mut self, batch: &Batch<'_>, _expect: Option<Offset>) -> Result<Published> {
        let mut bytes = Vec::new();
        super::put_length(&mut bytes, batch.table.len());
        bytes.extend_from_slice(batch.table);
        bytes.extend_from_slice(batch.values);
        let mut first = Offset(0);
        let first_id = RecordId { ms: 77, seq: 0 };
        self.memory.change(|state| {
            let log = state.topics.get_mut(&self.topic).expect("opened");
            first = Offset(log.records.len() as u64);
            let records = Records::new(&bytes, first, batch.count, batch.count, first_id, batch.plain).expect("a table");
            log.records.extend(records.map(|record| {
                let record = record.expect("well formed");
                let fields = record.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                Stored { id: record.id, fields, null: record.null }
            }));
        });
        Ok(Published { first, first_id, count: batch.count, level: Durability::None })
    }

    fn start_sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

struct Read {
    at: u64,
    until: Option<u64>,
}

struct MemoryFeed {
    memory: Memory,
    topics: Vec<TopicName>,
    reads: Vec<Read>,
    scratch: Vec<u8>,
    seen: u64,
    woken: Arc<Mutex<bool>>,
}

/// Batches are as small as can show that they are put together again.
const BATCH_RECORDS: u64 = 3;

impl MemoryFeed {
    fn gone(&self) -> Error {
        Error::TopicGone { path: "memory".into() }
    }
}

impl Feed for MemoryFeed {
    fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    fn bounds(&mut self, topic: usize) -> Result<Bounds> {
        let state = self.memory.lock();
        let log = state.topics.get(&self.topics[topic]).ok_or_else(|| self.gone())?;
        Ok(Bounds { start: Offset(log.start), end: Offset(log.records.len() as u64), epoch: Epoch(0) })
    }

    fn find(&mut self, topic: usize, id: RecordId) -> Result<Offset> {
        let state = self.memory.lock();
        let log = &state.topics[&self.topics[topic]];
        Ok(Offset((log.records.partition_point(|record| record.id < id) as u64).max(log.start)))
    }

    fn seek(&mut self, topic: usize, from: Offset) -> Result<()> {
        self.reads[topic].at = from.0;
        Ok(())
    }

    fn resume(&mut self, topic: usize, place: Place) -> Result<Option<Gap>> {
        self.seek(topic, place.offset).map(|()| None)
    }

    fn stop_at(&mut self, topic: usize, until: Option<Offset>) {
        self.reads[topic].until = until.map(|until| until.0);
    }

    fn place(&self, topic: usize) -> Place {
        Place { offset: Offset(self.reads[topic].at), epoch: Epoch(0) }
    }

    fn next(&mut self) -> Result<Next<'_>> {
        let state = self.memory.0.0.lock().expect("no test panicked in here");
        self.seen = state.changes;
        let mut first: Option<(RecordId, usize)> = None;
        let mut second = None;
        let mut follows = false;
        for (index, read) in self.reads.iter_mut().enumerate() {
            let gone = || Error::TopicGone { path: "memory".into() };
            let log = state.topics.get(&self.topics[index]).ok_or_else(gone)?;
            let until = read.until.unwrap_or(u64::MAX).min(log.records.len() as u64);
            follows |= read.until.is_none_or(|until| read.at < until);
            if read.at >= until {
                continue;
            }
            let from = read.at;
            if from < log.start {
                read.at = log.start.min(until);
                let gap = Gap { from: Offset(from), until: Offset(read.at), cause: GapCause::Expired };
                return Ok(Next::Gap { topic: index, gap });
            }
            if log.damaged.contains(&from) {
                read.at += 1;
                let cause = GapCause::Damaged { path: "memory".into(), position: from, what: "told so".to_owned() };
                return Ok(Next::Gap { topic: index, gap: Gap { from: Offset(from), until: Offset(from + 1), cause } });
            }
            let id = log.records[from as usize].id;
            if first.is_none_or(|(least, _)| id < least) {
                second = first.map(|(id, _)| id);
                first = Some((id, index));
            } else if second.is_none_or(|least| id < least) {
                second = Some(id);
            }
        }
        let Some((_, index)) = first else { return Ok(if follows { Next::CaughtUp } else { Next::End }) };
        let read = &mut self.reads[index];
        let log = &state.topics[&self.topics[index]];
        let until = read.until.unwrap_or(u64::MAX).min(log.records.len() as u64).min(read.at + BATCH_RECORDS);
        let from = read.at;
        let batch: Vec<&Stored> = (from..until)
            .take_while(|offset| !log.damaged.contains(offset))
            .map(|offset| &log.records[offset as usize])
            .enumerate()
            .take_while(|(step, record)| *step == 0 || second.is_none_or(|id| record.id < id))
            .map(|(_, record)| record)
            .collect();
        read.at = from + batch.len() as u64;
        let fields: Vec<Vec<_>> = batch.iter().map(|r| r.fields.iter().map(|(n, v)| (&n[..], &v[..])).collect()).collect();
        let records = fields.iter().zip(&batch).map(|(fields, record)| (&fields[..], record.null, Some(record.id)));
        let (bytes, count, plain) = body_with_ids(records);
        self.scratch = bytes;
        let records = Records::new(&self.scratch, Offset(from), count, count, batch[0].id, plain).expect("a body");
        Ok(Next::Records { topic: index, records })
    }

    fn wait(&mut self, at_most: Duration) -> Result<()> {
        let woken = self.woken.clone();
        let (state, changed) = &*self.memory.0;
        let state = state.lock().expect("no test panicked in here");
        let seen = self.seen;
        let asleep = |state: &mut State| state.changes == seen && !std::mem::take(&mut *woken.lock().expect("no panic"));
        drop(changed.wait_timeout_while(state, at_most, asleep).expect("no test panicked in here"));
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::new(MemoryWaker { memory: self.memory.clone(), woken: self.woken.clone() })
    }
}

struct MemoryWaker {
    memory: Memory,
    woken: Arc<Mutex<bool>>,
}

impl Waker for MemoryWaker {
    fn wake(&self) {
        let _state = self.memory.lock();
        *self.woken.lock().expect("no panic") = true;
        self.memory.0.1.notify_all();
    }
}
