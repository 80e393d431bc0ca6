//! Topics on their way out. Deleting waits for the topic's locks and syncs a directory, so another
//! thread does it; for every command the topic is gone from the moment its deletion was asked for.
//!
//! A name is free again once its directory has been renamed away, which is usually sooner than anybody
//! wants it back. Whoever does not find it free (XADD behind DEL) does that much at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use super::output::Ticket;
use super::refusal::{Answer, Refusal};
use super::state::Server;
use crate::error::{Error, Result};
use crate::ids::TopicName;
use crate::job::Job;
use crate::store::{Store, Topic};

/// So long at most the thread that executes commands waits for a name to be free, or for the locks of
/// a topic: longer than a sync takes on a bad disk.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);
/// What could not be deleted is not tried again at once.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// All topics on their way out.
#[derive(Debug, Default)]
pub(super) struct Removals {
    leaving: Arc<Leaving>,
    asked: RefCell<Vec<Asked>>,
    came: Notify,
    to_empty: Notify,
    is_busy: Cell<bool>,
}

/// What one command wants deleted; without names, what it wants to be durable.
#[derive(Debug)]
struct Asked {
    names: Vec<TopicName>,
    ticket: Rc<Ticket>,
}

/// Names that are not free yet.
#[derive(Debug, Default)]
struct Leaving {
    names: Mutex<HashMap<TopicName, Phase>>,
    moved: Condvar,
}

#[derive(Debug)]
enum Phase {
    /// Nobody is at it. With a topic whose last records are to be synced first: somebody is owed them.
    Waiting(Option<Arc<Topic>>),
    /// A thread is at it.
    Moving,
}

impl Leaving {
    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Phase>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the name is free; deletes its topic, or waits for the thread that is at it.
    fn free(&self, store: &Store, name: &TopicName, job: &Job) -> Result<()> {
        let mut names = self.lock();
        let owed = loop {
            match names.get_mut(name) {
                None => return Ok(()),
                Some(phase @ Phase::Waiting(_)) => match std::mem::replace(phase, Phase::Moving) {
                    Phase::Waiting(owed) => break owed,
                    Phase::Moving => {}
                },
                Some(Phase::Moving) => {
                    if job.is_late() {
                        return Err(Error::TimedOut);
                    }
                    let waited = self.moved.wait_timeout(names, job.at_most(WAIT_MAX));
                    names = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        drop(names);
        let outcome = retire(store, name, owed.as_deref(), job);
        let mut names = self.lock();
        match &outcome {
            // Somebody else will try it.
            Err(Error::TimedOut) => drop(names.insert(name.clone(), Phase::Waiting(owed))),
            _ => drop(names.remove(name)),
        }
        self.moved.notify_all();
        outcome
    }
}

fn retire(store: &Store, name: &TopicName, owed: Option<&Topic>, job: &Job) -> Result<()> {
    if let Some(topic) = owed {
        // Of other errors those are told by their own sync who are owed it.
        if let Err(Error::TimedOut) = topic.log().sync_to(topic.log().end_place(), job) {
            return Err(Error::TimedOut);
        }
    }
    match store.retire_topic(name, job) {
        // Another process was faster.
        Err(Error::TopicMissing { .. } | Error::TopicGone { .. }) => Ok(()),
        other => other,
    }
}

impl Removals {
    /// Whether the topic of this name is as good as gone.
    pub(super) fn is_leaving(&self, name: &[u8]) -> bool {
        let names = self.leaving.lock();
        !names.is_empty() && TopicName::new(name).is_some_and(|name| names.contains_key(&name))
    }

    /// Deletes topics; the ticket tells when they are gone durably.
    pub(super) fn begin(&self, server: &Server, names: Vec<TopicName>) -> Rc<Ticket> {
        let mut leaving = self.leaving.lock();
        for name in &names {
            let topic = server.topics.forget(name.as_bytes()).map(|entry| Arc::clone(&entry.topic));
            let owed = topic.filter(|topic| server.commits.is_under_way(topic.log()));
            leaving.insert(name.clone(), Phase::Waiting(owed));
            server.expiry.forget(name.as_bytes());
        }
        drop(leaving);
        names.iter().for_each(|name| server.waiters.wake(name.as_bytes()));
        self.ask(names)
    }

    /// The ticket tells when all names are durable as they are now.
    pub(super) fn sync_names(&self) -> Rc<Ticket> {
        self.ask(Vec::new())
    }

    fn ask(&self, names: Vec<TopicName>) -> Rc<Ticket> {
        let ticket = Ticket::new();
        self.asked.borrow_mut().push(Asked { names, ticket: Rc::clone(&ticket) });
        self.came.notify_one();
        ticket
    }

    /// Sees to it that a topic of this name can be made.
    pub(super) fn make_way(&self, server: &Server, name: &TopicName) -> Answer<()> {
        match self.leaving.free(server.store, name, &Job::with_limit(Some(WAIT_MAX))) {
            Err(Error::TimedOut) => {
                Err(Refusal::text("BUSY the topic is being deleted, and somebody else has its locks; try again"))
            }
            other => Ok(other?),
        }
    }

    /// How many topics are on their way out.
    pub(super) fn len(&self) -> usize {
        self.leaving.lock().len()
    }

    /// Whether nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy.get() && self.asked.borrow().is_empty()
    }
}

/// The task that has topics deleted: one sync for all who asked meanwhile.
pub(super) async fn run(server: Rc<Server>) {
    loop {
        let asked = server.removals.asked.take();
        if asked.is_empty() {
            server.removals.is_busy.set(false);
            server.quiet.notify_one();
            server.removals.came.notified().await;
            continue;
        }
        server.removals.is_busy.set(true);
        let (lists, tickets): (Vec<_>, Vec<_>) = asked.into_iter().map(|asked| (asked.names, asked.ticket)).unzip();
        let (store, leaving) = (server.store, Arc::clone(&server.removals.leaving));
        let has_removed = lists.iter().any(|names| !names.is_empty());
        let work = move || remove(store, &leaving, lists);
        let outcomes = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        let mut has_failed = false;
        let mut outcomes = outcomes.into_iter();
        for ticket in tickets {
            let outcome = outcomes.next().unwrap_or_else(|| Err((None, lost())));
            ticket.resolve(outcome.map_err(|(name, refusal)| {
                has_failed = true;
                warn!(error = refusal.as_str(), "a topic could not be deleted");
                // It is there again, with its time to be deleted, if it has one.
                let _ = name.map(|name| server.topics.find(&server, name.as_bytes()));
                refusal
            }));
        }
        if has_removed {
            server.removals.to_empty.notify_one();
        }
        if has_failed {
            tokio::time::sleep_until((Instant::now() + AGAIN_AFTER).into()).await;
        }
    }
}

/// The task that has the files removed: nobody waits for that.
pub(super) async fn empty_trash(server: Rc<Server>) {
    loop {
        server.removals.to_empty.notified().await;
        let store = server.store;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.empty_trash()).await {
            warn!(%error, "what deleted topics left could not be removed");
        }
    }
}

type Outcome = std::result::Result<(), (Option<TopicName>, Refusal)>;

fn lost() -> Refusal {
    Refusal::text("ERR not known to be deleted: the thread that did it ended")
}

/// On another thread: takes the names away, and makes that durable.
fn remove(store: &Store, leaving: &Leaving, lists: Vec<Vec<TopicName>>) -> Vec<Outcome> {
    // Not the server's own job: what was accepted before it was asked to stop is finished.
    let job = Job::new();
    let free_all = |names: Vec<TopicName>| {
        // All of them, also after one that fails.
        let failed = names.into_iter().filter_map(|name| leaving.free(store, &name, &job).err().map(|error| (name, error)));
        failed.collect::<Vec<_>>().into_iter().next()
    };
    let failed: Vec<_> = lists.into_iter().map(free_all).collect();
    let synced = store.topics_dir().sync();
    let outcome = |failed: Option<(TopicName, Error)>| match (failed, &synced) {
        (Some((name, error)), _) => Err((Some(name), error.into())),
        (None, Err(error)) => Err((None, Refusal::err(error))),
        (None, Ok(())) => Ok(()),
    };
    failed.into_iter().map(outcome).collect()
}
