//! An engine in memory that writes down what was asked of it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use drave::codec::Batch;
use drave::codec::frame::{Packed, Parsed, Placing, parse};
use drave::config::{Compression, Durability, Overrides, TopicSettings};
use drave::engine::{Cursor, Engine, Feed, PublishOptions, Published, Publisher, Trimmed};
use drave::error::{Error, Result};
use drave::ids::{Offset, RecordId, TopicName};
use drave::job::Job;

/// A record: its fields, and whether it is a null.
pub(crate) type FakeRecord = (Vec<(Vec<u8>, Vec<u8>)>, bool);

/// Told of each event.
pub(crate) type OnEvent = Box<dyn FnMut(&str)>;

/// Topics in memory.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) topics: RefCell<BTreeMap<TopicName, Vec<FakeRecord>>>,
    /// What publishers did: "publish 3", "settle", ...
    pub(crate) events: RefCell<Vec<String>>,
    pub(crate) settings: TopicSettings,
    /// Whether a settle fails.
    pub(crate) breaks: RefCell<bool>,
    /// Called with each event.
    pub(crate) on_event: RefCell<Option<OnEvent>>,
}

impl Fake {
    /// All records of a topic.
    pub(crate) fn records(&self, topic: &str) -> Vec<FakeRecord> {
        let name = TopicName::new(topic.as_bytes()).expect("legal");
        self.topics.borrow().get(&name).cloned().unwrap_or_default()
    }

    /// The values of a topic.
    pub(crate) fn values(&self, topic: &str) -> Vec<Vec<u8>> {
        let value = |(fields, _): FakeRecord| fields.into_iter().find(|(name, _)| name == b"value").map(|(_, value)| value);
        self.records(topic).into_iter().filter_map(value).collect()
    }

    fn note(&self, event: impl Into<String>) {
        let event = event.into();
        if let Some(on_event) = self.on_event.borrow_mut().as_mut() {
            on_event(&event);
        }
        self.events.borrow_mut().push(event);
    }
}

impl Engine for Fake {
    fn publisher(&self, topic: &TopicName, options: &PublishOptions) -> Result<Box<dyn Publisher + '_>> {
        if !options.create && !self.topics.borrow().contains_key(topic) {
            return Err(Error::TopicMissing { topic: topic.clone() });
        }
        self.topics.borrow_mut().entry(topic.clone()).or_default();
        Ok(Box::new(FakePublisher { engine: self, topic: topic.clone() }))
    }

    fn feed(&self, _: &[TopicName], _: &Job) -> Result<Box<dyn Feed + '_>> {
        Err(Error::Unsupported { what: "feed".to_owned() })
    }

    fn create_topic(&self, topic: &TopicName, _: &Overrides) -> Result<()> {
        self.topics.borrow_mut().insert(topic.clone(), Vec::new());
        Ok(())
    }

    fn configure_topic(&self, _: &TopicName, _: &[(String, String)], _: &Job) -> Result<()> {
        Err(Error::Unsupported { what: "configure_topic".to_owned() })
    }

    fn delete_topic(&self, topic: &TopicName, _: &Job) -> Result<()> {
        self.topics.borrow_mut().remove(topic);
        Ok(())
    }

    fn trim_topic(&self, _: &TopicName, _: Offset, _: &Job) -> Result<Trimmed> {
        Err(Error::Unsupported { what: "trim_topic".to_owned() })
    }

    fn topics(&self) -> Result<Vec<TopicName>> {
        Ok(self.topics.borrow().keys().cloned().collect())
    }

    fn settings(&self, _: &TopicName) -> Result<(TopicSettings, Overrides)> {
        Ok((self.settings.clone(), Overrides::default()))
    }

    fn cursor(&self, _: &[u8], _: &TopicName) -> Result<Box<dyn Cursor>> {
        Err(Error::Unsupported { what: "cursor".to_owned() })
    }
}

struct FakePublisher<'e> {
    engine: &'e Fake,
    topic: TopicName,
}

impl Publisher for FakePublisher<'_> {
    fn publish(&mut self, batch: &Batch<'_>, expect: Option<Offset>) -> Result<Published> {
        let mut topics = self.engine.topics.borrow_mut();
        let records = topics.entry(self.topic.clone()).or_default();
        let next = Offset(records.len() as u64);
        if let Some(expected) = expect.filter(|expected| *expected != next) {
            return Err(Error::OffsetConflict { expected, next });
        }
        let base_id = RecordId { ms: 1000, seq: next.0 };
        let placing = Placing { salt: 1, position: 0, base: next, base_id, durable: Offset::ZERO };
        let mut packed = Packed::records(batch, Compression::None).expect("it fits");
        let bytes = packed.place(&placing).concat();
        let Parsed::Frame(frame) = parse(&bytes, 1, 0) else { panic!("a frame reads back") };
        let mut scratch = Vec::new();
        for record in frame.records(&mut scratch).expect("well formed") {
            let record = record.expect("well formed");
            let fields = record.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            records.push((fields, record.null));
        }
        drop(topics);
        self.engine.note(format!("publish {}", batch.count));
        Ok(Published { first: next, first_id: base_id, count: batch.count, level: Durability::Sync })
    }

    fn start_sync(&mut self) -> Result<()> {
        self.engine.note("start_sync");
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        if *self.engine.breaks.borrow() {
            return Err(Error::Poisoned { path: "/store".into() });
        }
        self.engine.note("settle");
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if *self.engine.breaks.borrow() {
            return Err(Error::Poisoned { path: "/store".into() });
        }
        self.engine.note("close");
        Ok(())
    }
}
