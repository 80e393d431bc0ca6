//! Topics in hand: open, with what this server keeps for each.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::append::Batch;
use super::groups::Groups;
use super::limits::Limits;
use super::reading::Places;
use super::refusal::{Answer, Refusal};
use super::state::Server;
use super::stats::Stats;
use super::traffic::Traffic;
use crate::broker::Seen;
use crate::config::{Durability, TopicSettings};
use crate::error::Error;
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TopicName};
use crate::log::{Log, LogReader, Mode};
use crate::store::Topic;

/// Descriptors that one topic in hand takes, about: directory, page, segment. Few have an index and readers
/// too, and what is let go may wait for its sync.
const FILES_EACH: u64 = 4;
/// Descriptors for everything else.
const FILES_SPARE: u64 = 256;
const TOPICS_MIN: u64 = 64;
/// 16,384 topics in hand take some 100 MB.
const TOPICS_MAX: u64 = 16_384;

/// A topic that another process deletes says so itself. One that is renamed, or moved by hand, does not:
/// its path is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

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
    /// The messages that were sent to it, once that was asked.
    pub(super) seen: RefCell<Option<Seen>>,
    /// A batch waits on another thread until the topic can be appended to.
    pub(super) is_slow: Cell<bool>,
    /// A reader that nobody uses now, and where some IDs lie.
    pub(super) reader: RefCell<Option<LogReader>>,
    pub(super) places: RefCell<Places>,
    pub(super) groups: Groups,
    pub(super) traffic: Rc<Traffic>,
    pub(super) limits: RefCell<Limits>,
    /// Changes that the log's own numbers do not tell.
    changes: Cell<u64>,
    used: Cell<u64>,
    used_at: Cell<Instant>,
    /// When it was last seen at its path.
    looked: Cell<Instant>,
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

    /// Whether what is added is synced before it counts as added.
    pub(super) fn is_synced(&self) -> bool {
        self.settings().is_ok_and(|settings| settings.durability == Durability::Sync)
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

    /// When a command has last used it.
    pub(super) fn used_at(&self) -> Instant {
        self.used_at.get()
    }

    /// Whether it was deleted or renamed by somebody else.
    fn is_gone(&self) -> bool {
        if self.log().is_retired() {
            return true;
        }
        if self.looked.get().elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked.set(Instant::now());
        // What cannot be looked at is told by the next who reads it.
        self.log().is_gone().unwrap_or(false)
    }

    /// Whether only the table has it, and nothing in it is under way.
    fn is_idle(self: &Rc<Entry>) -> bool {
        Rc::strong_count(self) == 1 && self.batch.borrow().is_none()
    }
}

pub(super) fn name_refused() -> Refusal {
    Refusal::err(format_args!("a topic's name has 1 to {} bytes", TopicName::BYTES_MAX))
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
        if entry.is_gone() {
            by_name.remove(name);
            return None;
        }
        Some(Rc::clone(entry))
    }

    /// The topic if it is in hand, with what its settings say of its time.
    fn current(&self, server: &Server, name: &[u8]) -> Answer<Option<Rc<Entry>>> {
        let Some(entry) = self.known(name) else { return Ok(None) };
        if entry.settings.borrow().0 != entry.log().settings_generation() {
            server.expiry.note_settings(&entry, &*entry.settings()?);
        }
        Ok(Some(entry))
    }

    /// Whether a topic that has this name does not count any more.
    pub(super) fn is_away(server: &Server, name: &[u8]) -> bool {
        server.removals.is_leaving(name) || server.expiry.is_due(server, name)
    }

    /// Whether there is such a topic. Does not open it.
    pub(super) fn exists(&self, server: &Server, name: &[u8]) -> Answer<bool> {
        if Topics::is_away(server, name) {
            return Ok(false);
        }
        if self.current(server, name)?.is_some() {
            return Ok(!server.expiry.is_due(server, name));
        }
        match TopicName::new(name) {
            Some(name) => Ok(server.store.has_topic(&name)?),
            None => Ok(false),
        }
    }

    /// The topic if it is in hand, without counting as a use.
    pub(super) fn in_hand(&self, name: &[u8]) -> Option<Rc<Entry>> {
        self.known(name)
    }

    /// The topic, if there is one.
    pub(super) fn find(&self, server: &Server, name: &[u8]) -> Answer<Option<Rc<Entry>>> {
        if Topics::is_away(server, name) {
            return Ok(None);
        }
        if let Some(entry) = self.current(server, name)? {
            self.tick.set(self.tick.get() + 1);
            entry.used.set(self.tick.get());
            entry.used_at.set(Instant::now());
            return Ok((!server.expiry.is_due(server, name)).then_some(entry));
        }
        // No topic has a name that is none.
        let Some(name) = TopicName::new(name) else { return Ok(None) };
        match server.store.topic(&name, Mode::Write, &server.job) {
            Ok(topic) => {
                let entry = self.take_up(server, name, topic)?;
                Ok((!server.expiry.is_due(server, entry.name.as_bytes())).then_some(entry))
            }
            Err(Error::TopicMissing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The topic; made if there is none.
    pub(super) fn find_or_new(&self, server: &Server, name: &[u8]) -> Answer<Rc<Entry>> {
        if let Some(entry) = self.find(server, name)? {
            return Ok(entry);
        }
        let name = TopicName::new(name).ok_or_else(name_refused)?;
        self.make_way(server, &name)?;
        let topic = server.store.topic_or_new(&name, &server.job)?;
        self.take_up(server, name, topic)
    }

    /// Sees to it that what had this name does not have it any more.
    pub(super) fn make_way(&self, server: &Server, name: &TopicName) -> Answer<()> {
        if server.expiry.is_due(server, name.as_bytes()) {
            Stats::add(&server.stats.topics_expired, 1);
            server.removals.begin(server, vec![name.clone()]);
        }
        if server.removals.is_leaving(name.as_bytes()) {
            server.removals.make_way(server, name)?;
        }
        Ok(())
    }

    fn take_up(&self, server: &Server, name: TopicName, topic: Arc<Topic>) -> Answer<Rc<Entry>> {
        let generation = topic.log().settings_generation();
        let settings = Rc::new(topic.settings()?.0);
        self.tick.set(self.tick.get() + 1);
        let traffic = server.traffics.of(&name, topic.log().incarnation());
        let entry = Rc::new(Entry {
            topic,
            settings: RefCell::new((generation, settings)),
            batch: RefCell::default(),
            seen: RefCell::default(),
            is_slow: Cell::new(false),
            reader: RefCell::default(),
            places: RefCell::default(),
            groups: Groups::default(),
            traffic,
            limits: RefCell::default(),
            changes: Cell::default(),
            used: Cell::new(self.tick.get()),
            used_at: Cell::new(Instant::now()),
            looked: Cell::new(Instant::now()),
            name,
        });
        server.expiry.note_settings(&entry, &entry.settings.borrow().1);
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
    pub(super) fn forget(&self, name: &[u8]) -> Option<Rc<Entry>> {
        self.by_name.borrow_mut().remove(name)
    }

    /// Forgets all; says what they are called.
    pub(super) fn forget_all(&self) -> Vec<TopicName> {
        self.by_name.take().into_values().map(|entry| entry.name.clone()).collect()
    }

    /// Says that the members of their groups live whose clients are connected.
    pub(super) fn beat(&self) {
        self.by_name.borrow().values().for_each(|entry| entry.groups.beat());
    }

    /// Forgets all that nothing is under way with.
    pub(super) fn forget_idle(&self) {
        self.by_name.borrow_mut().retain(|_, entry| !entry.is_idle());
    }

    /// All that are in hand, by name.
    pub(super) fn all_in_hand(&self) -> Vec<Rc<Entry>> {
        let mut entries: Vec<Rc<Entry>> = self.by_name.borrow().values().cloned().collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// How many are in hand.
    pub(super) fn len(&self) -> usize {
        self.by_name.borrow().len()
    }
}
