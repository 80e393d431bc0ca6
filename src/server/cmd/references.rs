//! What becomes of entries that groups still refer to when their record goes: KEEPREF, DELREF, ACKED.

use super::parse;
use crate::server::refusal::{Answer, Refusal};
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

    /// Until groups are served, there is nothing to refer to records.
    pub(super) fn check(self, _entry: &Entry) -> Answer {
        if self == References::Keep { Ok(()) } else { Err(Refusal::text("ERR only KEEPREF is supported")) }
    }
}
