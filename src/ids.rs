//! The small types that name things: offsets, record IDs, epochs, topic names.
//!
//! Each is a type of its own where two of them could be swapped by mistake.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The logical index of a record in its topic, from 0, dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of every topic.
    pub const ZERO: Offset = Offset(0);

    /// This offset plus `count` records, saturating at the last one there can be.
    #[must_use]
    pub fn plus(self, count: u64) -> Offset {
        Offset(self.0.saturating_add(count))
    }

    /// How many records lie in `[earlier, self)`; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimestampMs(pub u64);

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `ms-seq`: strictly rising within a topic. `ms` is the record's timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub ms: u64,
    /// Tells records of one millisecond apart.
    pub seq: u64,
}

impl RecordId {
    /// Below every ID that a record can have.
    pub const ZERO: RecordId = RecordId { ms: 0, seq: 0 };

    /// The ID a new record gets at time `now`, after `self` was the last one: the clock may stand
    /// still or go backwards, IDs rise all the same. `None` when no higher ID exists.
    #[must_use]
    pub fn next(self, now: TimestampMs) -> Option<RecordId> {
        if now.0 > self.ms { Some(RecordId { ms: now.0, seq: 0 }) } else { self.successor() }
    }

    /// The smallest ID above this one.
    #[must_use]
    pub fn successor(self) -> Option<RecordId> {
        self.advance(1)
    }

    /// The ID `count` steps above this one, carrying from `seq` into `ms`.
    #[must_use]
    pub fn advance(self, count: u64) -> Option<RecordId> {
        match self.seq.checked_add(count) {
            Some(seq) => Some(RecordId { ms: self.ms, seq }),
            None => Some(RecordId { ms: self.ms.checked_add(1)?, seq: self.seq.wrapping_add(count) }),
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for RecordId {
    type Err = ();

    /// Reads `ms-seq`, both decimal.
    fn from_str(text: &str) -> Result<RecordId, ()> {
        let (ms, seq) = text.split_once('-').ok_or(())?;
        let number = |s: &str| {
            if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) { Err(()) } else { s.parse::<u64>().map_err(|_| ()) }
        };
        Ok(RecordId { ms: number(ms)?, seq: number(seq)? })
    }
}

/// Rises when a recovery lost offsets, so that a place kept from before is known to be from before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stored place in a topic. Once an epoch later than `epoch` starts at or below `offset`, the
/// place is clamped to that start: the offsets beyond it were used a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The next offset to be read.
    pub offset: Offset,
    /// The epoch in which that was true.
    pub epoch: Epoch,
}

/// One life of a topic, from create to delete. Random, so that a topic made anew under an old name
/// is never taken for the old one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// A consumer of a group: numbered from 1 when its name is first seen, and never again for another
/// in the group's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsumerId(pub NonZeroU32);

impl ConsumerId {
    /// The first consumer of every group.
    pub const FIRST: ConsumerId = ConsumerId(NonZeroU32::MIN);

    /// The number as it is stored.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of 1024 sets of keys: what a group of order `key` hands to its consumers. Groups of the other
/// orders have lane 0 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane(pub u16);

impl Lane {
    /// The only lane of a group whose order is not `key`.
    pub const ONLY: Lane = Lane(0);
    /// How many lanes a group of order `key` has.
    pub const COUNT: u16 = 1024;

    /// Its place in a table of lanes.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<[u8]>);

        impl $name {
            /// The longest name, in bytes.
            pub const BYTES_MAX: usize = 512;

            /// `None` for a name that is empty or longer than 512 bytes.
            #[must_use]
            pub fn new(bytes: &[u8]) -> Option<$name> {
                (1..=Self::BYTES_MAX).contains(&bytes.len()).then(|| $name(bytes.into()))
            }

            /// The name, byte for byte.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// For messages: what is not UTF-8 or could drive a terminal is shown escaped.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show_name(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

name! {
    /// A topic's name: any 1 to 512 bytes.
    TopicName
}

name! {
    /// The name of a consumer group, within its topic: any 1 to 512 bytes.
    GroupName
}

fn show_name(name: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let last = RecordId { ms: 100, seq: 7 };
        assert_eq!(last.next(TimestampMs(101)), Some(RecordId { ms: 101, seq: 0 }));
        assert_eq!(last.next(TimestampMs(100)), Some(RecordId { ms: 100, seq: 8 }));
        assert_eq!(last.next(TimestampMs(5)), Some(RecordId { ms: 100, seq: 8 }));
        let full = RecordId { ms: 100, seq: u64::MAX };
        assert_eq!(full.next(TimestampMs(5)), Some(RecordId { ms: 101, seq: 0 }));
        assert_eq!(RecordId { ms: u64::MAX, seq: u64::MAX }.successor(), None);
    }

    #[test]
    fn an_id_is_two_decimal_numbers() {
        assert_eq!("12-3".parse(), Ok(RecordId { ms: 12, seq: 3 }));
        for bad in ["", "-", "1-", "-1", "+1-2", "1-2-3", "a-1", "18446744073709551616-0"] {
            assert_eq!(bad.parse::<RecordId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_name_never_drives_a_terminal() {
        let name = TopicName::new(b"a\x1b[2J\xff").expect("a legal length");
        assert_eq!(name.to_string(), "a\\u{1b}[2J\\xff");
        assert!(TopicName::new(b"").is_none());
        assert!(TopicName::new(&[b'x'; 513]).is_none());
    }
}
