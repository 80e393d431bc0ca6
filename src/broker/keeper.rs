//! Retention in the background, when a publisher begins a new segment: a store that nobody serves, and for
//! which no cron job runs, does not grow for ever. One thread, which ends when there is nothing to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tracing::warn;

use super::upkeep;
use crate::error::Error;
use crate::job::Job;
use crate::store::{Store, Topic};

/// The thread and its orders.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    orders: Arc<Mutex<Orders>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Orders {
    due: Vec<(Store, Arc<Topic>)>,
    is_running: bool,
}

impl Keeper {
    /// Has the topic's retention looked at.
    pub(super) fn order(&self, store: &Store, topic: &Arc<Topic>) {
        let mut orders = lock(&self.orders);
        if orders.due.iter().any(|(_, known)| Arc::ptr_eq(known, topic)) {
            return;
        }
        orders.due.push((store.share(), Arc::clone(topic)));
        if orders.is_running {
            return;
        }
        let own = Arc::clone(&self.orders);
        match std::thread::Builder::new().name("keeper".to_owned()).spawn(move || run(&own)) {
            Ok(handle) => {
                orders.is_running = true;
                *lock(&self.thread) = Some(handle);
            }
            Err(error) => warn!(%error, "cannot start a thread for retention"),
        }
    }

    /// Waits until all that was ordered is done.
    pub(super) fn finish(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run(orders: &Mutex<Orders>) {
    loop {
        let next = {
            let mut orders = lock(orders);
            let next = orders.due.pop();
            orders.is_running = next.is_some();
            next
        };
        let Some((store, topic)) = next else { return };
        let kept = topic.settings().and_then(|(settings, _)| upkeep::retain(&store, &topic, &settings, false, &Job::new()));
        match kept {
            // Somebody else is at it; or it was deleted since.
            Ok(_) | Err(Error::Busy { .. } | Error::TopicGone { .. }) => {}
            Err(error) => warn!(topic = %topic.name(), %error, "retention failed"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
