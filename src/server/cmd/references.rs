//! What becomes of entries that groups still refer to when their record goes: KEEPREF, DELREF, ACKED.

use std::rc::Rc;

use super::parse;
use super::xdel::Found;
use crate::ids::{Offset, RecordId};
use crate::server::groups;
use crate::server::refusal::{Answer, Refusal};
use crate::server::state::Server;
use crate::server::topics::Entry;

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
    /// and returned.
    pub(super) fn release(self, server: &Rc<Server>, entry: &Rc<Entry>, found: &mut Found) -> Answer<Vec<RecordId>> {
        let mut kept = Vec::new();
        if self == References::Keep || found.entries.is_empty() {
            return Ok(kept);
        }
        for group in groups::all(server, entry)? {
            if self == References::Delete {
                let offsets: Vec<Offset> = found.entries.iter().map(|(offset, _)| *offset).collect();
                group.shared.borrow_mut().drop_entries(&offsets)?;
                group.changed(server, entry)?;
            } else {
                let shared = group.shared.borrow();
                let is_kept = |(offset, _): &(Offset, RecordId)| shared.refers_to(*offset);
                kept.extend(found.entries.iter().filter(|record| is_kept(record)).map(|(_, id)| *id));
                found.entries.retain(|record| !is_kept(record));
            }
        }
        Ok(kept)
    }

    /// Trimming does not look at what groups refer to.
    pub(super) fn check(self, _entry: &Entry) -> Answer {
        if self == References::Keep { Ok(()) } else { Err(Refusal::text("ERR only KEEPREF is supported")) }
    }
}
