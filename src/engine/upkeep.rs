//! Retention and compaction, as the settings of a topic say.

/// How a topic is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upkeep {
    /// Only say what would be done.
    pub dry_run: bool,
    /// So many bytes are read in a second at most.
    pub bytes_per_second: Option<u64>,
}

/// What was done, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Records that are beyond the limits of retention.
    pub expired: u64,
    /// Records that compaction took: superseded, deleted, and nulls that are due.
    pub removed: u64,
    /// How many segments there are less.
    pub segments: u64,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Bytes beyond the limits that are kept since a group has not committed what is in them.
    pub protected_bytes: u64,
}
