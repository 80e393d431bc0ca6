//! What becomes of entries that groups still refer to when their record goes: KEEPREF, DELREF, ACKED.

use std::rc::Rc;
use std::sync::Arc;

use super::parse;
use super::xdel::Found;
use crate::config::Durability;
use crate::ids::{Offset, Place, RecordId};
use crate::log::Log;
use crate::server::commit;
use crate::server::groups::{self, Group};
use crate::server::output::Ticket;
use crate::server::refusal::Answer;
use crate::server::session::Session;
use crate::server::state::Server;
use crate::server::topics::Entry;

/// A journal, and up to where it has to be durable before a reply is true.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) journal: Arc<Log>,
    pub(super) place: Place,
}

impl Owed {
    /// What a group's journal owes for what it says by now; nothing where the topic promises nothing.
    pub(super) fn of(server: &Rc<Server>, entry: &Rc<Entry>, group: &Rc<Group>) -> Answer<Option<Owed>> {
        group.changed(server, entry)?;
        let journal = Arc::clone(group.shared.borrow().journal());
        let place = journal.end_place();
        Ok((entry.settings()?.durability == Durability::Sync).then_some(Owed { journal, place }))
    }

    /// Has the reply that begins at `from` wait for all of these.
    pub(super) fn hold(owed: Vec<Owed>, server: &Rc<Server>, session: &mut Session, from: usize) {
        let Ok(count @ 1..) = u32::try_from(owed.len()) else { return };
        let ticket = Ticket::of(count);
        for Owed { journal, place } in owed {
            commit::owe(server, &journal, place, &ticket, None);
        }
        session.output.hold(&ticket, from);
    }
}

/// The first record at or after `from` that one of the groups refers to: it was not delivered there yet,
/// or is pending.
pub(super) fn next_referred(groups: &[Rc<Group>], from: Offset) -> Option<Offset> {
    groups.iter().map(|group| group.shared.borrow().next_referred(from)).min()
}

/// What becomes of references in the groups of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum References {
    /// They stay.
    Keep,
    /// They go too.
    Delete,
    /// The record goes only if there is none.
    Acked,
}

impl References {
    pub(super) fn read(word: &[u8]) -> Option<References> {
        [("keepref", References::Keep), ("delref", References::Delete), ("acked", References::Acked)]
            .into_iter()
            .find(|(name, _)| parse::is(word, name))
            .map(|(_, references)| references)
    }

    /// Sees to the references to records that are to go. Those that may not go are taken out of `found`,
    /// and returned, with what has to be durable before that is true.
    pub(super) fn release(self, server: &Rc<Server>, entry: &Rc<Entry>, found: &mut Found) -> Answer<(Vec<RecordId>, Vec<Owed>)> {
        let (mut kept, mut owed) = (Vec::new(), Vec::new());
        if self == References::Keep || found.entries.is_empty() {
            return Ok((kept, owed));
        }
        for group in groups::all(server, entry)? {
            if self == References::Delete {
                let offsets: Vec<Offset> = found.entries.iter().map(|(offset, _)| *offset).collect();
                owed.extend(drop_entries(server, entry, &group, &offsets)?);
            } else {
                let shared = group.shared.borrow();
                let is_kept = |(offset, _): &(Offset, RecordId)| shared.next_referred(*offset) == *offset;
                kept.extend(found.entries.iter().filter(|record| is_kept(record)).map(|(_, id)| *id));
                found.entries.retain(|record| !is_kept(record));
            }
        }
        Ok((kept, owed))
    }

    /// Sees to the references to records that were trimmed; says what has to be durable before they are
    /// gone. Every group lets go of what lies below the log start when it looks next: it does so now.
    pub(super) fn let_go(self, server: &Rc<Server>, entry: &Rc<Entry>) -> Answer<Vec<Owed>> {
        if self != References::Delete {
            return Ok(Vec::new());
        }
        let owed = groups::all(server, entry)?.iter().map(|group| Owed::of(server, entry, group)).collect::<Answer<Vec<_>>>()?;
        Ok(owed.into_iter().flatten().collect())
    }
}

fn drop_entries(server: &Rc<Server>, entry: &Rc<Entry>, group: &Rc<Group>, offsets: &[Offset]) -> Answer<Option<Owed>> {
    let dropped = group.shared.borrow_mut().drop_entries(offsets)?;
    if dropped == 0 { Ok(None) } else { Owed::of(server, entry, group) }
}
