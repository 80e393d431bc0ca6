//! Syncs in the background: what `async` owes within its flush interval, and what a publisher wants
//! begun while it goes on writing. One thread, started when it is first needed; several when there is
//! more than it can do: disks take what is asked for at the same time in one go. And retention, where a
//! publisher begins a new segment.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use super::keeper::Keeper;
use crate::job::Job;
use crate::log::Log;
use crate::store::{Store, Topic};

/// So many orders that are due at once are worth one more thread.
const DUE_EACH: usize = 16;
const THREADS_MAX: usize = 16;
/// Who has so many logs waiting, or one for so long after it was due, is behind.
const BEHIND_COUNT: usize = 1024;
const BEHIND_TIME: Duration = Duration::from_secs(1);

/// The background threads and their orders.
#[derive(Debug, Default)]
pub struct Flusher {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
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

/// Which log is to be synced when, by its address: the log lives as long as its order.
#[derive(Debug, Default)]
struct Orders {
    logs: HashMap<usize, (Instant, Arc<Log>)>,
    by_time: BTreeSet<(Instant, usize)>,
    stop: bool,
}

impl Orders {
    fn put(&mut self, when: Instant, log: &Arc<Log>) {
        let key = Arc::as_ptr(log) as usize;
        if let Some((before, _)) = self.logs.insert(key, (when, Arc::clone(log))) {
            self.by_time.remove(&(before, key));
        }
        self.by_time.insert((when, key));
    }

    fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(when, _)| *when)
    }

    fn take_first(&mut self) -> Option<Arc<Log>> {
        let (_, key) = self.by_time.pop_first()?;
        self.logs.remove(&key).map(|(_, log)| log)
    }
}

impl Flusher {
    /// One that only whoever settles can do without.
    #[cfg(test)]
    pub(crate) fn idle() -> Flusher {
        Flusher { shared: Arc::default(), threads: Mutex::default(), keeper: Keeper::default(), is_idle: true }
    }

    /// Has everything that is in `log` by then synced at `when`, or before.
    pub fn order(&self, log: &Arc<Log>, when: Instant) {
        let mut orders = lock(&self.shared.orders);
        // The first one stands: it covers what comes later too, as long as it has not run.
        if orders.logs.get(&(Arc::as_ptr(log) as usize)).is_some_and(|(due, _)| *due <= when) {
            return;
        }
        orders.put(when, log);
        let count = orders.by_time.len();
        drop(orders);
        self.start(count);
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

    /// Whether the disk does not keep up with what was ordered. Who orders more had better wait until it
    /// is synced: the time within which it should be is over before its turn comes.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let orders = lock(&self.shared.orders);
        orders.by_time.len() >= BEHIND_COUNT || orders.first().is_some_and(|due| due.elapsed() >= BEHIND_TIME)
    }

    /// Starts a thread if so many orders want one more.
    fn start(&self, orders: usize) {
        #[cfg(test)]
        if self.is_idle {
            return;
        }
        let mut threads = lock(&self.threads);
        if threads.len() < orders.div_ceil(DUE_EACH).min(THREADS_MAX) {
            let shared = Arc::clone(&self.shared);
            let spawned = std::thread::Builder::new().name("flusher".to_owned()).spawn(move || shared.run());
            match spawned {
                Ok(handle) => threads.push(handle),
                // Settling and closing sync by themselves; only the window is longer.
                Err(error) => warn!(%error, "cannot start a flusher thread"),
            }
        }
    }

    /// Syncs all that was ordered, and ends the threads: for who cannot drop it.
    pub fn finish(&self) {
        self.keeper.finish();
        lock(&self.shared.orders).stop = true;
        self.shared.changed.notify_all();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
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
            match orders.first() {
                None if orders.stop => return,
                Some(when) if when <= now || orders.stop => {
                    let log = orders.take_first();
                    drop(orders);
                    if let Some(log) = log {
                        flush(&log);
                    }
                    orders = lock(&self.orders);
                }
                Some(when) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::ids::TopicName;
    use crate::store::{Store, StoreOptions};

    #[test]
    fn orders_come_in_their_time_each_log_once_and_too_many_are_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::system() };
        let store = Store::open(&dir.path().join("store"), &options).expect("opens");
        let logs: Vec<Arc<Log>> = ["a", "b", "c"]
            .map(|name| {
                let name = TopicName::new(name.as_bytes()).expect("a name");
                Arc::clone(store.topic_or_new(&name, &Job::new()).expect("made").log())
            })
            .into();
        let now = Instant::now();
        let in_ms = |ms| now + Duration::from_millis(ms);
        let flusher = Flusher::idle();
        for (log, ms) in [(0, 50_000), (1, 40_000), (0, 60_000), (2, 70_000), (2, 30_000)] {
            flusher.order(&logs[log], in_ms(ms));
        }
        assert!(!flusher.is_behind());
        let mut orders = lock(&flusher.shared.orders);
        let order: Vec<*const Log> = std::iter::from_fn(|| orders.take_first()).map(|log| Arc::as_ptr(&log)).collect();
        assert_eq!(order, [2, 1, 0].map(|index: usize| Arc::as_ptr(&logs[index])));
        drop(orders);
        let long_ago = now.checked_sub(BEHIND_TIME * 2).expect("the machine runs for longer");
        flusher.order(&logs[0], long_ago);
        assert!(flusher.is_behind());
    }
}
