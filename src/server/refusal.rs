//! What a client is told when a command is not done. Clients match on these words.

use std::borrow::Cow;

use crate::error::{Error, ms_rounded_up};
use crate::ids::RecordId;

/// An error reply, without the `-` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(Cow<'static, str>);

/// What a command comes to.
pub(super) type Answer<T = ()> = Result<T, Refusal>;

pub(super) const SYNTAX: Refusal = Refusal::text("ERR syntax error");
pub(super) const NOT_AN_INTEGER: Refusal = Refusal::text("ERR value is not an integer or out of range");
pub(super) const INVALID_ID: Refusal = Refusal::text("ERR Invalid stream ID specified as stream command argument");
pub(super) const NO_SUCH_KEY: Refusal = Refusal::text("ERR no such key");

impl Refusal {
    pub(super) const fn text(text: &'static str) -> Refusal {
        Refusal(Cow::Borrowed(text))
    }

    /// A sentence under the general prefix.
    pub(super) fn err(sentence: impl std::fmt::Display) -> Refusal {
        Refusal(Cow::Owned(format!("ERR {sentence}")))
    }

    /// With its own prefix.
    pub(super) fn with_prefix(text: impl Into<String>) -> Refusal {
        Refusal(Cow::Owned(text.into()))
    }

    pub(super) fn wrong_arity(command: &str) -> Refusal {
        Refusal::err(format_args!("wrong number of arguments for '{command}' command"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::IdTooLow { id, .. } if id == RecordId::ZERO => {
                Refusal::text("ERR The ID specified in XADD must be greater than 0-0")
            }
            Error::IdTooLow { .. } => {
                Refusal::text("ERR The ID specified in XADD is equal or smaller than the target stream top item")
            }
            Error::IdsExhausted => Refusal::text("ERR The stream has exhausted the last possible ID, unable to add more items"),
            Error::Limited { again_in, .. } => Refusal::with_prefix(format!("LIMIT try again in {} ms", ms_rounded_up(again_in))),
            Error::Busy { .. } => Refusal::with_prefix(format!("BUSY {error}")),
            Error::TopicMissing { .. } | Error::TopicGone { .. } => NO_SUCH_KEY,
            error => Refusal::err(error),
        }
    }
}
