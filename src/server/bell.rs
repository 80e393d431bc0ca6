//! What other processes do to topics that clients wait for.
//!
//! A thread sleeps on the store's bell, which every append to such a topic rings, and tells the thread
//! that executes commands. A topic that does not exist yet rings nothing: it is looked for now and then.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::state::Server;
use crate::log::Bell;

/// How often topics are looked for that are not there yet.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A bell that nobody rings is looked at this often: who rang may have died before it woke anybody.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How long the bell is listened to when nobody waits any more: mostly the same client soon waits again.
const LINGER: Duration = Duration::from_secs(1);

/// The thread that sleeps on the bell. While nobody waits for records it is parked: a bell that nobody
/// sleeps on costs who rings it nothing.
#[derive(Debug)]
struct Ear {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bell: Arc<Bell>,
    rung: Notify,
    listens: AtomicBool,
    is_over: AtomicBool,
}

impl Ear {
    fn new(bell: &Arc<Bell>) -> Ear {
        let shared = Arc::new(Shared {
            bell: Arc::clone(bell),
            rung: Notify::new(),
            listens: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        // Without a page or a thread topics are looked at now and then.
        let thread =
            bell.ensure().ok().and_then(|()| std::thread::Builder::new().name("bell".to_owned()).spawn(move || own.run()).ok());
        Ear { shared, thread }
    }

    fn listen(&self, listens: bool) {
        if self.shared.listens.swap(listens, Ordering::SeqCst) == listens {
            return;
        }
        match &self.thread {
            Some(thread) if listens => thread.thread().unpark(),
            _ => self.shared.bell.wake(),
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if !self.listens.load(Ordering::SeqCst) {
                std::thread::park();
                continue;
            }
            let word = self.bell.watch();
            self.rung.notify_one();
            // The server wakes clients for what it appends itself.
            self.bell.wait_for_others(word, SLEEP_MAX);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.bell.wake();
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// The task that wakes clients whose topics were changed by other processes.
pub(super) async fn run(server: Rc<Server>) {
    let ear = Ear::new(server.store.bell());
    let mut seen: HashMap<Box<[u8]>, u32> = HashMap::new();
    loop {
        if server.waiters.is_empty() {
            seen.clear();
            if tokio::time::timeout(LINGER, server.waiters.came()).await.is_err() {
                ear.listen(false);
                server.waiters.came().await;
            }
        }
        ear.listen(true);
        let is_missing = wake_changed(&server, &mut seen);
        let at_most = if is_missing || ear.thread.is_none() { LOOK_EVERY } else { SLEEP_MAX };
        tokio::select! {
            () = ear.shared.rung.notified() => {}
            () = server.waiters.came() => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }
}

/// Wakes who waits for a topic that has changed since it was last looked at; says whether one of the
/// topics is missing.
fn wake_changed(server: &Rc<Server>, seen: &mut HashMap<Box<[u8]>, u32>) -> bool {
    let mut is_missing = false;
    let keys = server.waiters.keys();
    seen.retain(|key, _| keys.contains(key));
    for key in keys {
        match server.topics.find(server, &key) {
            Ok(Some(entry)) => {
                // Rings from now on; what came before is found by the look that follows.
                entry.log().ring_bell(server.store.bell());
                let now = entry.log().watch();
                if seen.insert(key.clone(), now) != Some(now) {
                    server.waiters.wake(&key);
                }
            }
            _ => {
                is_missing = true;
                if seen.remove(&key).is_some() {
                    // It was deleted.
                    server.waiters.wake(&key);
                }
            }
        }
    }
    is_missing
}
