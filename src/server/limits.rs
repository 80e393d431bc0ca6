//! Rate limits of a topic in hand. Nobody waits for them on the thread that executes commands: who adds too much is refused
//! with the time after which to come again, who reads gets fewer entries, or waits as for entries that are to come.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use super::refusal::Answer;
use super::state::Server;
use super::topics::Entry;
use crate::broker::{Amount, Gate, Work, slowest_group};
use crate::codec::batch::FieldRef;
use crate::codec::records::field_bytes;

/// Names that are read under and kept for a topic. All are forgotten when there are more.
const READERS_MAX: usize = 256;

/// The limits that hold for one topic, as they were in one generation of its settings.
#[derive(Debug)]
pub(super) struct Limits {
    generation: Option<u64>,
    publish: Gate,
    /// Another thread looks at the load.
    is_adapting: Arc<AtomicBool>,
    /// By name; without a name: XREAD. With the longest wait since something was read.
    readers: HashMap<Box<[u8]>, (Gate, Duration)>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { generation: None, publish: Gate::free(), is_adapting: Arc::default(), readers: HashMap::new() }
    }
}

/// How much may be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// All of it.
    Free,
    /// So many entries, which are to be charged.
    Entries(usize),
    /// Nothing before this time.
    NotBefore(Instant),
}

impl Limits {
    fn renew(&mut self, server: &Server, entry: &Entry) -> Answer {
        let generation = Some(entry.log().settings_generation());
        if self.generation != generation {
            let publish = Gate::to_publish(server.store, &entry.name, &entry.settings()?.limit)?;
            *self = Limits { generation, publish, ..Limits::default() };
        }
        Ok(())
    }
}

impl Entry {
    /// Lets a record through to the topic, or refuses it.
    pub(super) fn pass(self: &Rc<Self>, server: &Server, fields: &[FieldRef<'_>]) -> Answer {
        let mut limits = self.limits.borrow_mut();
        limits.renew(server, self)?;
        if limits.publish.is_free() {
            return Ok(());
        }
        if limits.publish.adapts_now() && !limits.is_adapting.swap(true, Ordering::Relaxed) {
            // Looking at groups reads files.
            let (gate, topic, store) = (limits.publish.clone(), Arc::clone(&self.topic), server.store);
            let is_adapting = Arc::clone(&limits.is_adapting);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = gate.adapt(|| slowest_group(store, &topic)) {
                    warn!(topic = %topic.name(), %error, "how far groups are behind cannot be told: the limit stays as it is");
                }
                is_adapting.store(false, Ordering::Relaxed);
            });
        }
        let bytes = fields.iter().map(|(name, value)| field_bytes(name, value)).sum();
        limits.publish.pass(server.store, Amount { records: 1, bytes }, Duration::ZERO)?;
        Ok(())
    }

    /// Gives back what the record took that was let through last, and was not added.
    pub(super) fn give_back(&self) {
        self.limits.borrow_mut().publish.give_back();
    }

    /// Notes how long something took, for limits that adapt to that.
    pub(super) fn note_work(&self, work: Work, took: Duration) {
        self.limits.borrow().publish.note(work, took);
    }

    /// How many entries may be read under a name.
    pub(super) fn room(&self, server: &Server, reader: &[u8]) -> Answer<Room> {
        let mut limits = self.limits.borrow_mut();
        limits.renew(server, self)?;
        if !limits.readers.contains_key(reader) {
            if limits.readers.len() == READERS_MAX {
                limits.readers.clear();
            }
            limits.readers.insert(reader.into(), (Gate::to_read(server.store, reader)?, Duration::ZERO));
        }
        let Some((gate, waits)) = limits.readers.get_mut(reader) else { return Ok(Room::Free) };
        if gate.is_free() {
            return Ok(Room::Free);
        }
        let stretch = gate.stretch(server.store)?;
        if !stretch.wait.is_zero() {
            *waits = stretch.wait.max(*waits);
            let now = Instant::now();
            return Ok(Room::NotBefore(now.checked_add(stretch.wait).unwrap_or(now + WAIT_MAX)));
        }
        Ok(Room::Entries(usize::try_from(gate.records_in(&stretch)).unwrap_or(usize::MAX)))
    }

    /// Takes what was read in such a [`Room::Entries`].
    pub(super) fn charge(&self, reader: &[u8], entries: usize, bytes: usize) {
        if let Some((gate, waits)) = self.limits.borrow_mut().readers.get_mut(reader).filter(|_| entries > 0) {
            gate.charge(Amount { records: entries as u64, bytes: bytes as u64 }, std::mem::take(waits));
        }
    }
}

/// In place of a time that is too far away to be told.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
