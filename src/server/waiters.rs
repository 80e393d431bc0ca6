//! Clients that wait for records, by the topic's name, in the order in which they began to wait.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use tokio::sync::Notify;

use super::client::Client;

/// A place among those who wait: lower ones came first.
pub(super) type WaiterId = u64;

/// Those who wait for one topic.
type Queue = BTreeMap<WaiterId, Rc<Client>>;

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_key: RefCell<HashMap<Box<[u8]>, Queue>>,
    next: Cell<WaiterId>,
    came: Notify,
}

impl Waiters {
    /// Has the client woken when one of the topics changes.
    pub(super) fn add(&self, client: &Rc<Client>, keys: &[&[u8]]) -> WaiterId {
        let id = self.next.get();
        self.next.set(id + 1);
        let mut by_key = self.by_key.borrow_mut();
        for key in keys {
            by_key.entry((*key).into()).or_default().insert(id, Rc::clone(client));
        }
        self.came.notify_one();
        id
    }

    pub(super) fn remove(&self, id: WaiterId, keys: &[&[u8]]) {
        let mut by_key = self.by_key.borrow_mut();
        for key in keys {
            if let Some(waiting) = by_key.get_mut(*key) {
                waiting.remove(&id);
                if waiting.is_empty() {
                    by_key.remove(*key);
                }
            }
        }
    }

    /// Wakes all who wait for this topic, the first one first: tasks run in the order in which they
    /// were woken.
    pub(super) fn wake(&self, key: &[u8]) {
        if let Some(waiting) = self.by_key.borrow().get(key) {
            waiting.values().for_each(|client| client.wake());
        }
    }

    /// The topics that somebody waits for.
    pub(super) fn keys(&self) -> Vec<Box<[u8]>> {
        self.by_key.borrow().keys().cloned().collect()
    }

    /// Ends when somebody has begun to wait.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.borrow().is_empty()
    }
}
