//! Groups in hand: open, beside the topics that they read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::commit;
use super::dispatch::Call;
use super::output::Ticket;
use super::refusal::{Answer, Refusal};
use super::state::Server;
use super::topics::Entry;
use crate::broker::{OpenGroup, SharedGroup};
use crate::config::Durability;
use crate::error::Error;
use crate::ids::GroupName;
use crate::job::Job;
use crate::log::Mode;
use tracing::warn;

/// Groups of one topic that are open here at once. Those that nobody uses are let go beyond.
const GROUPS_MAX: usize = 256;
/// At `sync`, what nobody waits for is synced together.
const SYNC_AFTER: Duration = Duration::from_millis(10);

/// A group in hand.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) shared: RefCell<SharedGroup<'static>>,
    /// Another thread writes a checkpoint.
    is_checkpointing: Cell<bool>,
}

/// The groups of a topic in hand.
#[derive(Debug, Default)]
pub(super) struct Groups(RefCell<HashMap<Box<[u8]>, Rc<Group>>>);

impl Groups {
    /// The group, if there is one.
    pub(super) fn find(&self, server: &Server, entry: &Entry, name: &[u8]) -> Answer<Option<Rc<Group>>> {
        let known = self.0.borrow().get(name).cloned();
        if let Some(known) = known {
            if !known.shared.borrow().journal().is_retired() {
                return Ok(Some(known));
            }
            self.forget(name);
        }
        let Some(group_name) = GroupName::new(name) else { return Ok(None) };
        let topic = std::sync::Arc::clone(&entry.topic);
        let shared = match SharedGroup::open(server.store, server.flusher, topic, &group_name, server.job.clone()) {
            Err(Error::NameMissing { .. }) => return Ok(None),
            other => RefCell::new(other?),
        };
        let mut groups = self.0.borrow_mut();
        if groups.len() >= GROUPS_MAX {
            groups.retain(|_, group| Rc::strong_count(group) > 1);
        }
        let group = Rc::new(Group { name: group_name, shared, is_checkpointing: Cell::new(false) });
        groups.insert(name.into(), Rc::clone(&group));
        Ok(Some(group))
    }

    /// Says that the members live whose clients are connected.
    pub(super) fn beat(&self) {
        self.0.borrow().values().for_each(|group| group.shared.borrow().beat());
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget(&self, name: &[u8]) {
        self.0.borrow_mut().remove(name);
    }
}

/// The group of a topic, if there are both.
pub(super) fn find(server: &Server, key: &[u8], name: &[u8]) -> Answer<Option<(Rc<Entry>, Rc<Group>)>> {
    let Some(entry) = server.topics.find(server, key)? else { return Ok(None) };
    let group = entry.groups.find(server, &entry, name)?;
    Ok(group.map(|group| (entry, group)))
}

/// Every group of the topic, by name, in its newest state.
pub(super) fn all(server: &Server, entry: &Rc<Entry>) -> Answer<Vec<Rc<Group>>> {
    let mut groups = Vec::new();
    for name in server.store.list_groups(&entry.topic)? {
        // One that was deleted since is none.
        if let Some(group) = entry.groups.find(server, entry, name.as_bytes())? {
            let looked = group.shared.borrow_mut().look();
            match looked {
                Err(error) if is_gone(&error) => {}
                other => {
                    other?;
                    groups.push(group);
                }
            }
        }
    }
    Ok(groups)
}

/// Whether it says that a group went away in the middle of a command.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::NameMissing { .. } | Error::TopicGone { .. } | Error::TopicMissing { .. })
}

/// What is said then.
pub(super) fn gone_or(error: Error, gone: impl FnOnce() -> Refusal) -> Refusal {
    if is_gone(&error) { gone() } else { error.into() }
}

impl Group {
    /// Has what was journalled come to the topic's level some time soon; nobody waits for it.
    pub(super) fn changed(self: &Rc<Group>, server: &Rc<Server>, entry: &Rc<Entry>) -> Answer {
        let settings = entry.settings()?;
        let pause = match settings.durability {
            Durability::None => None,
            Durability::Async => Some(settings.flush_interval),
            Durability::Sync => Some(SYNC_AFTER),
        };
        let mut shared = self.shared.borrow_mut();
        if let Some(pause) = pause {
            server.flusher.order(shared.journal(), Instant::now() + pause);
        }
        if shared.is_checkpoint_due() && !self.is_checkpointing.replace(true) {
            tokio::task::spawn_local(checkpoint(Rc::clone(server), Rc::clone(entry), Rc::clone(self)));
        }
        Ok(())
    }

    /// What was written from `from` on is true once the group's journal is at the topic's level.
    pub(super) fn owe(self: &Rc<Group>, call: &mut Call<'_>, entry: &Rc<Entry>, from: usize) -> Answer {
        if entry.settings()?.durability != Durability::Sync {
            return self.changed(call.server, entry);
        }
        let ticket = Ticket::new();
        let journal = std::sync::Arc::clone(self.shared.borrow().journal());
        commit::owe(call.server, &journal, journal.end_place(), &ticket, None);
        call.session.output.hold(&ticket, from);
        Ok(())
    }
}

/// Writes a checkpoint of the group on another thread, which opens it for itself.
async fn checkpoint(server: Rc<Server>, entry: Rc<Entry>, group: Rc<Group>) {
    let (store, topic, name) = (server.store, entry.name.clone(), group.name.clone());
    let write = move || {
        let mut open = OpenGroup::open(store, &topic, &name, Mode::Write, Job::new())?;
        open.write_checkpoint()
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await
        && !is_gone(&error)
    {
        warn!(topic = %entry.name, group = %group.name, %error, "a checkpoint of the group could not be written");
    }
    group.is_checkpointing.set(false);
}
