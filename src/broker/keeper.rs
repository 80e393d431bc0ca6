//! Retention in the background, when a publisher begins a new segment: a store that nobody serves, and for
//! which no cron job runs, does not grow for ever. One thread, which ends when there is nothing to do.

use std::io;
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
        self.order_by(store, topic, |own| std::thread::Builder::new().name("keeper".to_owned()).spawn(move || run(&own)));
    }

    fn order_by(&self, store: &Store, topic: &Arc<Topic>, start: impl FnOnce(Arc<Mutex<Orders>>) -> io::Result<JoinHandle<()>>) {
        let mut orders = lock(&self.orders);
        if orders.due.iter().any(|(_, known)| Arc::ptr_eq(known, topic)) {
            return;
        }
        orders.due.push((store.share(), Arc::clone(topic)));
        if orders.is_running {
            return;
        }
        match start(Arc::clone(&self.orders)) {
            Ok(handle) => {
                orders.is_running = true;
                *lock(&self.thread) = Some(handle);
            }
            Err(error) => {
                // The next order tries again.
                orders.due.pop();
                warn!(%error, "cannot start a thread for retention");
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Overrides;
    use crate::ids::TopicName;
    use crate::log::Mode;
    use crate::store::StoreOptions;

    #[test]
    fn a_thread_that_does_not_start_is_tried_again_by_the_next_order() {
        let place = tempfile::tempdir().expect("a directory");
        let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::system() };
        let store = Store::open(place.path(), &options).expect("opens");
        let name = TopicName::new(b"t").expect("legal");
        store.create_topic(&name, &Overrides::default(), true).expect("made");
        let topic = store.topic(&name, Mode::Write, &Job::new()).expect("opens");
        let keeper = Keeper::default();
        keeper.order_by(&store, &topic, |_| Err(io::ErrorKind::WouldBlock.into()));
        let mut is_tried = false;
        keeper.order_by(&store, &topic, |_| {
            is_tried = true;
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert!(is_tried);
    }
}
