//! What a reader hands out.

use std::path::PathBuf;

use super::Log;
use crate::codec::Frame;
use crate::error::Error;
use crate::ids::Offset;

/// What a reader met.
#[derive(Debug)]
pub enum Step<'a> {
    /// A frame, of which the offsets in `[from, until)` are wanted.
    Frame {
        /// The whole frame.
        frame: Frame<'a>,
        /// The first offset that was not handed out before.
        from: Offset,
        /// Where to stop.
        until: Offset,
    },
    /// Offsets without records.
    Gap(LogGap),
    /// Everything up to the given offset has been read.
    CaughtUp,
}

/// Offsets that hold no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The first of them.
    pub from: Offset,
    /// The first after them.
    pub until: Offset,
    /// Why.
    pub reason: GapReason,
}

/// Why there is a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Below the log start.
    Expired,
    /// Bytes are missing or not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The records were deleted, one by one.
    Deleted,
    /// A hole that a repair left where damaged records were.
    GivenUp,
    /// The offsets were read before a crash took their records, and are used anew.
    Rewound,
}

impl LogGap {
    pub(super) fn into_error(self, log: &Log) -> Error {
        match self.reason {
            GapReason::Damaged { path, position, what } => Error::Damaged { path, position, what },
            _ => Error::Damaged { path: log.path().to_owned(), position: 0, what: "records are missing".to_owned() },
        }
    }
}
