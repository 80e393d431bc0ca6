//! Topics in hand: open, with what this server keeps for each.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::append::Batch;
use super::groups::Groups;
use super::reading::Places;
use super::refusal::{Answer, Refusal};
use super::state::Server;
use crate::config::TopicSettings;
use crate::error::Error;
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TopicName};
use crate::log::{Log, LogReader, Mode};
use crate::store::Topic;

/// Descriptors that one topic in hand takes, about: directory, page, segment, index, a reader's segment.
const FILES_EACH: u64 = 6;
/// Descriptors for everything else.
const FILES_SPARE: u64 = 256;
const TOPICS_MIN: u64 = 64;
/// 16,384 topics in hand take some 100 MB.
const TOPICS_MAX: u64 = 16_384;

/// All topics in hand. Those that nobody uses are let go when there are too many.
#[derive(Debug)]
pub(super) struct Topics {
    by_name: RefCell<HashMap<Box<[u8]>, Rc<Entry>>>,
    count_max: Cell<usize>,
    tick: Cell<u64>,
}

/// A topic in hand.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: TopicName,
    pub(super) topic: Arc<Topic>,
    /// The settings, and the generation in which they were read.
    settings: RefCell<(u64, Rc<TopicSettings>)>,
    /// Records that are not in the log yet.
    pub(super) batch: RefCell<Option<Batch>>,
    /// A reader that nobody uses now, and where some IDs lie.
    pub(super) reader: RefCell<Option<LogReader>>,
    pub(super) places: RefCell<Places>,
    pub(super) groups: Groups,
    /// Changes that the log's own numbers do not tell.
    changes: Cell<u64>,
    used: Cell<u64>,
}

/// What a topic was like: equal if nothing was done to it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    incarnation: Incarnation,
    epoch: Epoch,
    end: Offset,
    start: Offset,
    deleted: (u64, RecordId),
    changes: u64,
}

impl Entry {
    pub(super) fn log(&self) -> &Arc<Log> {
        self.topic.log()
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Answer<Rc<TopicSettings>> {
        let generation = self.log().settings_generation();
        let mut known = self.settings.borrow_mut();
        if known.0 != generation {
            *known = (generation, Rc::new(self.topic.settings()?.0));
        }
        Ok(Rc::clone(&known.1))
    }

    /// Notes a change that WATCH is to see.
    pub(super) fn touch(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    pub(super) fn version(&self) -> Answer<Version> {
        let log = self.log();
        let deleted = log.deleted()?;
        Ok(Version {
            incarnation: log.incarnation(),
            epoch: log.epoch(),
            end: log.log_end(),
            start: log.log_start(),
            deleted: (deleted.count(), deleted.greatest_id()),
            changes: self.changes.get(),
        })
    }

    /// Whether only the table has it, and nothing in it is under way.
    fn is_idle(self: &Rc<Entry>) -> bool {
        Rc::strong_count(self) == 1 && self.batch.borrow().is_none()
    }
}

impl Topics {
    /// As many at once as `files` descriptors allow.
    pub(super) fn new(files: u64) -> Topics {
        let count_max = (files.saturating_sub(FILES_SPARE) / FILES_EACH).clamp(TOPICS_MIN, TOPICS_MAX);
        Topics {
            by_name: RefCell::default(),
            count_max: Cell::new(usize::try_from(count_max).unwrap_or(usize::MAX)),
            tick: Cell::new(0),
        }
    }

    fn known(&self, name: &[u8]) -> Option<Rc<Entry>> {
        let mut by_name = self.by_name.borrow_mut();
        let entry = by_name.get(name)?;
        if entry.log().is_retired() {
            by_name.remove(name);
            return None;
        }
        self.tick.set(self.tick.get() + 1);
        entry.used.set(self.tick.get());
        Some(Rc::clone(entry))
    }

    /// The topic, if there is one.
    pub(super) fn find(&self, server: &Server, name: &[u8]) -> Answer<Option<Rc<Entry>>> {
        if let Some(entry) = self.known(name) {
            return Ok(Some(entry));
        }
        // No topic has a name that is none.
        let Some(name) = TopicName::new(name) else { return Ok(None) };
        match server.store.topic(&name, Mode::Write, &server.job) {
            Ok(topic) => self.take_up(name, topic).map(Some),
            Err(Error::TopicMissing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The topic; made if there is none. The second is whether it was.
    pub(super) fn find_or_new(&self, server: &Server, name: &[u8]) -> Answer<Rc<Entry>> {
        if let Some(entry) = self.known(name) {
            return Ok(entry);
        }
        let too_long = || Refusal::err(format_args!("a topic's name has 1 to {} bytes", TopicName::BYTES_MAX));
        let name = TopicName::new(name).ok_or_else(too_long)?;
        let topic = server.store.topic_or_new(&name, &server.job)?;
        self.take_up(name, topic)
    }

    fn take_up(&self, name: TopicName, topic: Arc<Topic>) -> Answer<Rc<Entry>> {
        let generation = topic.log().settings_generation();
        let settings = Rc::new(topic.settings()?.0);
        self.tick.set(self.tick.get() + 1);
        let entry = Rc::new(Entry {
            topic,
            settings: RefCell::new((generation, settings)),
            batch: RefCell::default(),
            reader: RefCell::default(),
            places: RefCell::default(),
            groups: Groups::default(),
            changes: Cell::default(),
            used: Cell::new(self.tick.get()),
            name,
        });
        let mut by_name = self.by_name.borrow_mut();
        by_name.insert(entry.name.as_bytes().into(), Rc::clone(&entry));
        if by_name.len() > self.count_max.get() {
            drop(by_name);
            self.let_go();
        }
        Ok(entry)
    }

    /// Lets an eighth of all go, those that were used least recently: so rarely that sorting them does
    /// not count.
    fn let_go(&self) {
        let mut by_name = self.by_name.borrow_mut();
        let mut idle: Vec<(u64, Box<[u8]>)> =
            by_name.iter().filter(|(_, entry)| entry.is_idle()).map(|(name, entry)| (entry.used.get(), name.clone())).collect();
        idle.sort_unstable();
        let count = by_name.len() / 8 + 1;
        for (_, name) in idle.into_iter().take(count) {
            by_name.remove(&name);
        }
    }

    /// Forgets a topic that was deleted or renamed.
    pub(super) fn forget(&self, name: &[u8]) {
        self.by_name.borrow_mut().remove(name);
    }

    /// Says that the members of their groups live whose clients are connected.
    pub(super) fn beat(&self) {
        self.by_name.borrow().values().for_each(|entry| entry.groups.beat());
    }

    /// Forgets all that nothing is under way with.
    pub(super) fn forget_idle(&self) {
        self.by_name.borrow_mut().retain(|_, entry| !entry.is_idle());
    }

    /// How many are in hand.
    pub(super) fn len(&self) -> usize {
        self.by_name.borrow().len()
    }
}
