//! What holds after a crash, and when the disk fails: whole stores with several writers, driven
//! through a simulated disk. Each failure names its seed; `DRAVE_SEED=` runs that one alone.
//!
//! | file | job |
//! |---|---|
//! | `ledger` | what was tried, what was promised |
//! | `work` | writers and a reader, at work on one store |
//! | `check` | what a store holds, against the ledger |
//! | `power` | power cuts, after every change |
//! | `kill` | all processes killed, at every change |
//! | `faults` | every change failing |
//! | `groups` | power cuts while a group works |
//! | `deletions` | power cuts and kills while records are deleted |
//! | `mend` | repairs of damage, cut short |
//! | `copies` | snapshots and restores, cut short, and beside work |
//! | `rename` | power cuts and failures while a topic is renamed |
//! | `upkeep` | power cuts, kills and failures during retention and compaction |
//! | `model` | random work against a naive model |

mod check;
mod copies;
mod deletions;
mod faults;
mod groups;
mod kill;
mod ledger;
mod mend;
mod model;
mod power;
mod rename;
mod upkeep;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::broker::{Fed, TopicFeed};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::Error;
use crate::ids::TopicName;
use crate::job::Job;
use crate::store::{Store, StoreOptions};

fn name(text: &str) -> TopicName {
    TopicName::new(text.as_bytes()).expect("legal")
}

/// A clock for a whole test: it stands still unless it is moved.
fn clock() -> (Clock, Arc<AtomicU64>) {
    let hand = Arc::new(AtomicU64::new(1_700_000_000_000));
    (Clock::manual(Arc::clone(&hand)), hand)
}

fn open(path: &std::path::Path, create: bool, clock: &Clock, disk: Arc<Disk>) -> crate::Result<Store> {
    Store::open_on(path, &StoreOptions { create, unsafe_fs: false, clock: clock.clone() }, disk)
}

/// The values of a topic; `None` = there is none.
fn values(store: &Store, topic: &TopicName) -> Option<Vec<String>> {
    let mut feed = match TopicFeed::open(store, std::slice::from_ref(topic), Job::new()) {
        Err(Error::TopicMissing { .. }) => return None,
        other => other.expect("opens"),
    };
    let (start, end) = feed.bounds(0).expect("opens");
    feed.seek(0, start);
    feed.stop_at(0, Some(end.offset));
    let mut found = Vec::new();
    loop {
        match feed.read_on().expect("nothing is damaged") {
            Fed::Records { records, .. } => {
                let value = |record: crate::codec::Record<'_>| {
                    String::from_utf8(record.value().expect("a value").to_vec()).expect("text")
                };
                found.extend(records.map(|record| value(record.expect("well formed"))));
            }
            Fed::Gap { gap, .. } => panic!("{gap:?}"),
            Fed::Limited(_) | Fed::CaughtUp | Fed::End => return Some(found),
        }
    }
}

/// The seeds to run: those given, or the one that the environment names.
fn seeds(usual: impl IntoIterator<Item = u64>) -> Vec<u64> {
    match std::env::var("DRAVE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => usual.into_iter().collect(),
    }
}

/// Names the case if the test fails in it.
pub(super) struct Case(pub(super) String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "in the case: {}", self.0);
        }
    }
}
