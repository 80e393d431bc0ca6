//! Syncs in the background: what `async` owes within its flush interval, and what a publisher wants
//! begun while it goes on writing. One thread, started when it is first needed. And retention, where a
//! publisher begins a new segment.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::warn;

use super::keeper::Keeper;
use crate::job::Job;
use crate::log::Log;
use crate::store::{Store, Topic};

/// The background thread and its orders.
#[derive(Debug, Default)]
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    keeper: Keeper,
    /// Orders are taken and left: a thread of its own would run out of turn in a simulation.
    #[cfg(test)]
    is_idle: bool,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    /// By address of the log, which lives as long as its order.
    due: HashMap<usize, (Instant, Arc<Log>)>,
    stop: bool,
}

impl Flusher {
    /// One that only whoever settles can do without.
    #[cfg(test)]
    pub(crate) fn idle() -> Flusher {
        Flusher { shared: Arc::default(), thread: Mutex::default(), keeper: Keeper::default(), is_idle: true }
    }

    /// Has everything that is in `log` by then synced at `when`, or before.
    pub fn order(&self, log: &Arc<Log>, when: Instant) {
        self.start();
        let mut orders = lock(&self.shared.orders);
        match orders.due.get_mut(&(Arc::as_ptr(log) as usize)) {
            // The first one stands: it covers what comes later too, as long as it has not run.
            Some((due, _)) if *due <= when => return,
            Some((due, _)) => *due = when,
            None => drop(orders.due.insert(Arc::as_ptr(log) as usize, (when, Arc::clone(log)))),
        }
        self.shared.changed.notify_one();
    }

    /// Has the topic's retention looked at, in the background, if it has any.
    pub fn keep(&self, store: &Store, topic: &Arc<Topic>) {
        #[cfg(test)]
        if self.is_idle {
            return;
        }
        if topic.settings().is_ok_and(|(settings, _)| settings.has_retention()) {
            self.keeper.order(store, topic);
        }
    }

    fn start(&self) {
        #[cfg(test)]
        if self.is_idle {
            return;
        }
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let spawned = std::thread::Builder::new().name("flusher".to_owned()).spawn(move || shared.run());
            match spawned {
                Ok(handle) => *thread = Some(handle),
                // Settling and closing sync by themselves; only the window is longer.
                Err(error) => warn!(%error, "cannot start the flusher thread"),
            }
        }
    }
}

impl Flusher {
    /// Syncs all that was ordered, and ends the thread: for who cannot drop it.
    pub fn finish(&self) {
        self.keeper.finish();
        lock(&self.shared.orders).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    fn run(&self) {
        let mut orders = lock(&self.orders);
        loop {
            let now = Instant::now();
            let next = orders.due.iter().min_by_key(|(_, (when, _))| *when).map(|(key, (when, _))| (*key, *when));
            match next {
                _ if orders.stop && next.is_none() => return,
                Some((key, when)) if when <= now || orders.stop => {
                    let order = orders.due.remove(&key);
                    drop(orders);
                    if let Some((_, log)) = order {
                        flush(&log);
                    }
                    orders = lock(&self.orders);
                }
                Some((_, when)) => {
                    orders = self.changed.wait_timeout(orders, when - now).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => orders = self.changed.wait(orders).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Nobody waits for the outcome: a failed sync poisons the log, and the next append is told.
fn flush(log: &Log) {
    if let Err(error) = log.sync_to(log.end_place(), &Job::new())
        && !log.is_gone().unwrap_or(false)
    {
        warn!(path = %log.path().display(), %error, "a background sync failed");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
