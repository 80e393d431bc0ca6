//! Syncs, off the thread that executes commands: one for all who wait for the same log.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::output::Ticket;
use super::refusal::Refusal;
use super::state::Server;
use super::stats::Stats;
use super::topics::Entry;
use crate::broker::Work;
use crate::error::Error;
use crate::ids::Place;
use crate::job::Job;
use crate::log::Log;

/// What is to be made durable of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Its records.
    Records,
    /// Which of them are deleted.
    Deletions,
}

/// Who waits for a sync, by the address of the log, which lives as long as they do.
#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: RefCell<HashMap<(usize, What), Round>>,
    /// How many syncs in a row were fast.
    fast: Cell<u32>,
}

type Outcomes = Vec<(Place, Result<(), Error>)>;

/// A sync that takes less is fast.
const FAST: Duration = Duration::from_millis(2);
/// After so many fast ones in a row the disk is trusted.
const FAST_MIN: u32 = 8;
/// How long another process that syncs is waited for here.
const HERE_MAX: Duration = Duration::from_millis(20);

/// Those whom the next sync of a log is for.
#[derive(Debug, Default)]
struct Round {
    owed: Vec<Owed>,
    /// Topics whose batches it covers too, if they are appended before.
    batches: Vec<Rc<Entry>>,
}

#[derive(Debug)]
struct Owed {
    place: Place,
    ticket: Rc<Ticket>,
    /// Whose readers see more once this is durable.
    topic: Option<Rc<Entry>>,
}

impl Commits {
    /// Whether a sync for so many clients may be made on the thread that executes commands. Handing it to
    /// another thread and back takes as long as a good disk takes to sync: where all clients wait for it, and
    /// the disk was fast of late, nobody is kept waiting by it but who connects in this very moment.
    fn may_sync_here(&self, server: &Server, waiting: usize) -> bool {
        self.fast.get() >= FAST_MIN && server.clients.borrow().len() <= waiting
    }

    fn note(&self, took: Duration) {
        self.fast.set(if took < FAST { self.fast.get().saturating_add(1) } else { 0 });
    }

    /// Whether no sync is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Puts the topic's batch off until the sync that is under way has ended, if one is: what is appended
    /// before waits for the next one all the same, and one frame costs less than many.
    pub(super) fn put_off(&self, entry: &Rc<Entry>) -> bool {
        let mut logs = self.waiting.borrow_mut();
        let Some(round) = logs.get_mut(&(Arc::as_ptr(entry.log()) as usize, What::Records)) else { return false };
        if !round.batches.iter().any(|other| Rc::ptr_eq(other, entry)) {
            round.batches.push(Rc::clone(entry));
        }
        true
    }

    /// Whether somebody waits for a sync of this log's records.
    pub(super) fn is_under_way(&self, log: &Arc<Log>) -> bool {
        self.waiting.borrow().contains_key(&(Arc::as_ptr(log) as usize, What::Records))
    }
}

/// Resolves the ticket once everything below `place` is durable, or cannot be.
pub(super) fn owe(server: &Rc<Server>, log: &Arc<Log>, place: Place, ticket: &Rc<Ticket>, topic: Option<&Rc<Entry>>) {
    owe_what(server, What::Records, log, place, ticket, topic);
}

/// The same for a place among the log's deletions.
pub(super) fn owe_deletions(server: &Rc<Server>, log: &Arc<Log>, place: Place, ticket: &Rc<Ticket>) {
    owe_what(server, What::Deletions, log, place, ticket, None);
}

fn owe_what(server: &Rc<Server>, what: What, log: &Arc<Log>, place: Place, ticket: &Rc<Ticket>, topic: Option<&Rc<Entry>>) {
    let owed = Owed { place, ticket: Rc::clone(ticket), topic: topic.cloned() };
    let key = (Arc::as_ptr(log) as usize, what);
    let mut logs = server.commits.waiting.borrow_mut();
    if let Some(round) = logs.get_mut(&key) {
        round.owed.push(owed);
        return;
    }
    logs.insert(key, Round { owed: vec![owed], batches: Vec::new() });
    tokio::task::spawn_local(lead(Rc::clone(server), Arc::clone(log), what));
}

/// Syncs for all who wait, until nobody does. Those who come during a sync wait for the next.
async fn lead(server: Rc<Server>, log: Arc<Log>, what: What) {
    let key = (Arc::as_ptr(&log) as usize, what);
    loop {
        let batches = server.commits.waiting.borrow_mut().get_mut(&key).map(|round| std::mem::take(&mut round.batches));
        batches.iter().flatten().for_each(|entry| server.appender.flush(&server, entry));
        let waiting = {
            let mut logs = server.commits.waiting.borrow_mut();
            let waiting = logs.get_mut(&key).map(|round| std::mem::take(&mut round.owed)).unwrap_or_default();
            if waiting.is_empty() {
                logs.remove(&key);
                server.quiet.notify_one();
                return;
            }
            waiting
        };
        let mut places: Vec<Place> = Vec::new();
        for owed in &waiting {
            match places.iter_mut().find(|place| place.epoch == owed.place.epoch) {
                Some(place) => place.offset = place.offset.max(owed.place.offset),
                None => places.push(owed.place),
            }
        }
        let began = Instant::now();
        let syncing = Arc::clone(&log);
        // Not the server's own job: what was accepted before it was asked to stop is finished.
        let sync = move |job: &Job| {
            let sync_one = |place| match what {
                What::Records => syncing.sync_to(place, job),
                What::Deletions => syncing.sync_deleted(place, job),
            };
            places.iter().map(|place| (*place, sync_one(*place))).collect::<Vec<_>>()
        };
        let clients = waiting.iter().map(|owed| owed.ticket.clients()).sum();
        let here = server.commits.may_sync_here(&server, clients).then(|| sync(&Job::with_limit(Some(HERE_MAX))));
        let is_done = |outcomes: &Outcomes| !outcomes.iter().any(|(_, outcome)| matches!(outcome, Err(Error::TimedOut)));
        let outcomes = match here.filter(is_done) {
            Some(outcomes) => outcomes,
            None => tokio::task::spawn_blocking(move || sync(&Job::new())).await.unwrap_or_default(),
        };
        let (took, now) = (began.elapsed(), server.now());
        server.commits.note(took);
        server.stats.sync.note(took);
        server.latency.note("sync", took, now);
        if !outcomes.is_empty() && outcomes.iter().all(|(_, outcome)| outcome.is_ok()) {
            server.stats.synced_at.set(now);
        } else {
            Stats::add(&server.stats.syncs_failed, 1);
        }
        if what == What::Records
            && let Some(topic) = waiting.iter().find_map(|owed| owed.topic.as_ref())
        {
            topic.note_work(Work::Sync, took);
        }
        settle(&server, waiting, &outcomes);
    }
}

fn settle(server: &Server, waiting: Vec<Owed>, outcomes: &[(Place, Result<(), Error>)]) {
    let mut moved: Vec<Rc<Entry>> = Vec::new();
    for owed in waiting {
        let outcome = outcomes.iter().find(|(place, _)| place.epoch == owed.place.epoch);
        owed.ticket.resolve(match outcome {
            Some((_, Ok(()))) => Ok(()),
            Some((_, Err(error))) => Err(Refusal::err(format_args!("not known to be stored: {error}"))),
            None => Err(Refusal::text("ERR not known to be stored: the sync did not end")),
        });
        if let Some(topic) = owed.topic
            && !moved.iter().any(|other| Rc::ptr_eq(other, &topic))
        {
            moved.push(topic);
        }
    }
    moved.iter().for_each(|topic| server.waiters.wake(topic.name.as_bytes()));
}
