//! What other processes do to topics that clients wait for.
//!
//! A thread sleeps on the store's bell, which every append to such a topic rings, and tells the thread
//! that executes commands. A topic that does not exist yet rings nothing: it is looked for now and then.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::state::Server;

/// How often topics are looked for that are not there yet.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A bell that nobody rings is looked at this often: who rang may have died before it woke anybody.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Tells that the bell was rung.
#[derive(Debug, Default)]
struct Rung {
    notify: Notify,
    is_over: AtomicBool,
}

/// The task that wakes clients whose topics were changed by other processes. Ends with the server.
pub(super) async fn run(server: Rc<Server>) {
    let bell = Arc::clone(server.store.bell());
    let rung = Arc::new(Rung::default());
    let _over = EndOnDrop(Arc::clone(&rung), Arc::clone(&bell));
    let mut has_thread = false;
    let mut seen: HashMap<Box<[u8]>, u32> = HashMap::new();
    loop {
        if server.waiters.is_empty() {
            seen.clear();
            server.waiters.came().await;
        }
        if !has_thread && bell.ensure().is_ok() {
            let (rung, bell) = (Arc::clone(&rung), Arc::clone(&bell));
            let sleep = move || {
                while !rung.is_over.load(Ordering::Relaxed) {
                    let word = bell.watch();
                    rung.notify.notify_one();
                    bell.wait(word, SLEEP_MAX);
                }
            };
            has_thread = std::thread::Builder::new().name("bell".to_owned()).spawn(sleep).is_ok();
        }
        let is_missing = wake_changed(&server, &mut seen);
        let at_most = if is_missing || !has_thread { LOOK_EVERY } else { SLEEP_MAX };
        let came = server.waiters.came();
        tokio::select! {
            () = rung.notify.notified() => {}
            () = came => {}
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

struct EndOnDrop(Arc<Rung>, Arc<crate::log::Bell>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        self.1.wake();
    }
}
