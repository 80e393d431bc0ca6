//! Topics that are to be deleted at a certain time: `expire-at` among their settings. A topic whose time
//! has come is missing for every command, though its files go a moment later.
//!
//! The times of all topics are read when the server starts, and each minute again; what other processes set
//! is noticed then, or when the server has the topic in hand. A change is in force at once and written by another thread: one write
//! for all changes of a topic that came meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::output::Ticket;
use super::refusal::Refusal;
use super::state::Server;
use super::stats::Stats;
use super::topics::Entry;
use crate::config::TopicSettings;
use crate::error::{Error, Result};
use crate::ids::{TimestampMs, TopicName};
use crate::job::Job;
use crate::store::{Store, Topic};

/// The clock, which may be set, and what other processes have set are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// When topics are to be deleted.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    at: RefCell<HashMap<Box<[u8]>, TimestampMs>>,
    /// The same, by time.
    order: RefCell<BTreeSet<(TimestampMs, Box<[u8]>)>>,
    changed: Notify,
    /// How often a client has set a time.
    sets: Cell<u64>,
    unwritten: RefCell<Vec<Change>>,
    /// The topics whose settings are being written now.
    writing: RefCell<Vec<Arc<Topic>>>,
    to_write: Notify,
}

/// A time that is to be written.
#[derive(Debug)]
struct Change {
    topic: Arc<Topic>,
    at: Option<TimestampMs>,
    ticket: Rc<Ticket>,
}

impl Expiry {
    /// Reads the times of all topics.
    ///
    /// # Errors
    /// When the topics cannot be listed.
    pub(super) fn load(&self, store: &Store) -> Result<()> {
        for (name, overrides) in store.all_overrides()? {
            self.note(name.as_bytes(), overrides.over(store.defaults()).expire_at);
        }
        Ok(())
    }

    /// When the topic is to be deleted.
    pub(super) fn at(&self, name: &[u8]) -> Option<TimestampMs> {
        self.at.borrow().get(name).copied()
    }

    /// How many topics have a time, and how long they have on average, in ms.
    pub(super) fn outlook(&self, now: TimestampMs) -> (usize, u64) {
        let order = self.order.borrow();
        let left: u128 = order.iter().map(|(at, _)| u128::from(at.0.saturating_sub(now.0))).sum();
        let average = left / (order.len() as u128).max(1);
        (order.len(), u64::try_from(average).unwrap_or(u64::MAX))
    }

    /// Whether the topic's time has come.
    pub(super) fn is_due(&self, server: &Server, name: &[u8]) -> bool {
        let at = self.at.borrow();
        !at.is_empty() && at.get(name).is_some_and(|at| *at <= server.now())
    }

    /// Takes what the settings of a topic say, unless they are to be changed.
    pub(super) fn note_settings(&self, entry: &Entry, settings: &TopicSettings) {
        if !self.is_unwritten(entry) {
            self.note(entry.name.as_bytes(), settings.expire_at);
        }
    }

    /// Whether the topic's settings are behind what was set.
    pub(super) fn is_unwritten(&self, entry: &Entry) -> bool {
        let is_same = |topic: &Arc<Topic>| Arc::ptr_eq(topic, &entry.topic);
        self.unwritten.borrow().iter().any(|change| is_same(&change.topic)) || self.writing.borrow().iter().any(is_same)
    }

    fn note(&self, name: &[u8], at: Option<TimestampMs>) {
        if self.at(name) == at {
            return;
        }
        self.forget(name);
        if let Some(at) = at {
            self.at.borrow_mut().insert(name.into(), at);
            self.order.borrow_mut().insert((at, name.into()));
            self.changed.notify_one();
        }
    }

    /// The topic is no more.
    pub(super) fn forget(&self, name: &[u8]) {
        if let Some((name, at)) = self.at.borrow_mut().remove_entry(name) {
            self.order.borrow_mut().remove(&(at, name));
        }
    }

    /// The topic has another name now.
    pub(super) fn rename(&self, from: &[u8], to: &[u8]) {
        let at = self.at(from);
        self.forget(from);
        self.note(to, at);
    }

    /// Sets the time, or takes it away; the ticket tells when that is durable.
    pub(super) fn set(&self, entry: &Entry, at: Option<TimestampMs>) -> Rc<Ticket> {
        entry.touch();
        self.sets.set(self.sets.get() + 1);
        self.note(entry.name.as_bytes(), at);
        let ticket = Ticket::new();
        let change = Change { topic: Arc::clone(&entry.topic), at, ticket: Rc::clone(&ticket) };
        self.unwritten.borrow_mut().push(change);
        self.to_write.notify_one();
        ticket
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.unwritten.borrow().is_empty() && self.writing.borrow().is_empty()
    }
}

/// The task that deletes what is due.
pub(super) async fn run(server: Rc<Server>) {
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= LOOK_EVERY {
            look(&server).await;
            looked = Instant::now();
        }
        let now = server.now();
        let next = server.expiry.order.borrow().first().map(|(at, _)| *at);
        match next {
            Some(at) if at <= now => {
                let due: Vec<TopicName> = server
                    .expiry
                    .order
                    .borrow()
                    .iter()
                    .take_while(|(at, _)| *at <= now)
                    .filter_map(|(_, name)| TopicName::new(name))
                    .collect();
                Stats::add(&server.stats.topics_expired, due.len() as u64);
                server.appender.flush_all(&server);
                server.removals.begin(&server, due);
            }
            _ => {
                let wait = next.map_or(LOOK_EVERY, |at| Duration::from_millis(at.0 - now.0).min(LOOK_EVERY));
                tokio::select! {
                    () = server.expiry.changed.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// Takes what other processes have set. What a client sets meanwhile is not undone by what was read before: it is
/// looked at next time.
async fn look(server: &Server) {
    let (store, sets) = (server.store, server.expiry.sets.get());
    let read = tokio::task::spawn_blocking(move || store.all_overrides()).await;
    let is_idle = server.expiry.is_idle() && server.expiry.sets.get() == sets;
    match read {
        Ok(Ok(all)) if is_idle => all
            .into_iter()
            .for_each(|(name, overrides)| server.expiry.note(name.as_bytes(), overrides.over(server.store.defaults()).expire_at)),
        Ok(Err(error)) => tracing::warn!(%error, "cannot look which topics are to be deleted"),
        _ => {}
    }
}

/// The task that has changes written.
pub(super) async fn write(server: Rc<Server>) {
    loop {
        let changes = server.expiry.unwritten.take();
        if changes.is_empty() {
            server.quiet.notify_one();
            server.expiry.to_write.notified().await;
            continue;
        }
        // Of several times of one topic the last one counts.
        let mut last: Vec<(Arc<Topic>, Option<TimestampMs>)> = Vec::new();
        for change in &changes {
            match last.iter_mut().find(|(topic, _)| Arc::ptr_eq(topic, &change.topic)) {
                Some((_, at)) => *at = change.at,
                None => last.push((Arc::clone(&change.topic), change.at)),
            }
        }
        *server.expiry.writing.borrow_mut() = last.iter().map(|(topic, _)| Arc::clone(topic)).collect();
        let store = server.store;
        let work = move || last.into_iter().map(|(topic, at)| (write_one(store, &topic, at), topic)).collect::<Vec<_>>();
        let outcomes = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        server.expiry.writing.borrow_mut().clear();
        for change in changes {
            let outcome = outcomes.iter().find(|(_, topic)| Arc::ptr_eq(topic, &change.topic));
            change.ticket.resolve(match outcome {
                Some((Ok(()), _)) => Ok(()),
                Some((Err(error), topic)) => {
                    if let Ok((settings, _)) = topic.settings() {
                        server.expiry.note(topic.name().as_bytes(), settings.expire_at);
                    }
                    Err(Refusal::err(format_args!("not known to be set: {error}")))
                }
                None => Err(Refusal::text("ERR not known to be set: the thread that wrote it ended")),
            });
        }
    }
}

/// On another thread.
fn write_one(store: &Store, topic: &Topic, at: Option<TimestampMs>) -> Result<()> {
    let value = match at {
        Some(at) => at.0.to_string(),
        None if store.defaults().expire_at.is_some() => "none".to_owned(),
        None => String::new(),
    };
    match store.configure(topic, &[("expire-at".to_owned(), value)], &Job::new()) {
        // Deleted since.
        Err(Error::TopicGone { .. }) => Ok(()),
        other => other,
    }
}
