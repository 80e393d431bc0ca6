//! A place in a topic, as a user names it.

use crate::engine::Feed;
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId, TimestampMs};

/// Where to begin or to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// The log start.
    Start,
    /// The high watermark.
    End,
    /// An offset.
    At(Offset),
    /// So many records before the end.
    BeforeEnd(u64),
    /// So many records after the start.
    AfterStart(u64),
    /// The first record with this ID or a higher one.
    Id(RecordId),
    /// The first record whose timestamp is not earlier.
    Time(TimestampMs),
    /// The committed offset of a group.
    Group(Vec<u8>),
}

impl Position {
    /// The offset that it stands for in one topic of `feed`, now. It may lie below the log start.
    ///
    /// # Errors
    /// [`Error::OffsetPastEnd`] for an offset that has not been assigned; [`Error::NameMissing`]
    /// for a group that does not exist.
    pub fn resolve(&self, feed: &mut dyn Feed, topic: usize) -> Result<Offset> {
        let bounds = feed.bounds(topic)?;
        match self {
            Position::Start => Ok(bounds.start),
            Position::End => Ok(bounds.end),
            Position::At(offset) if *offset > bounds.end => Err(Error::OffsetPastEnd { offset: *offset, end: bounds.end }),
            Position::At(offset) => Ok(*offset),
            Position::BeforeEnd(count) => Ok(Offset(bounds.end.0.saturating_sub(*count)).max(bounds.start)),
            Position::AfterStart(count) => Ok(bounds.start.plus(*count).min(bounds.end)),
            Position::Id(id) => feed.find(topic, *id),
            Position::Time(time) => feed.find(topic, RecordId { ms: time.0, seq: 0 }),
            Position::Group(name) => feed.committed(topic, name),
        }
    }
}
