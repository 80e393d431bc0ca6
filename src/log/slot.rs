//! What appenders hand on to one another, as numbers in the shared page.

use crate::ids::{Offset, RecordId, TimestampMs};

/// So many numbers are in a slot; a checksum follows them.
pub(super) const SLOT_NUMBERS: usize = 11;
/// Index of the inode number: it has no part in the checksum, since the file itself tells.
pub(super) const SLOT_INODE: usize = 3;

/// The state of a log that only appenders need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) log_end: Offset,
    /// Where the next frame goes.
    pub(super) end_position: u64,
    pub(super) active_base: Offset,
    pub(super) active_inode: u64,
    pub(super) active_salt: u32,
    pub(super) active_created: TimestampMs,
    pub(super) last_id: RecordId,
    pub(super) entries_added: u64,
    /// Bytes of the active segment's index.
    pub(super) index_bytes: u64,
    /// The position of the last frame in the index.
    pub(super) indexed: u64,
}

impl Slot {
    pub(super) fn numbers(&self) -> [u64; SLOT_NUMBERS] {
        [
            self.log_end.0,
            self.end_position,
            self.active_base.0,
            self.active_inode,
            u64::from(self.active_salt),
            self.active_created.0,
            self.last_id.ms,
            self.last_id.seq,
            self.entries_added,
            self.index_bytes,
            self.indexed,
        ]
    }

    pub(super) fn of(numbers: &[u64; SLOT_NUMBERS]) -> Slot {
        Slot {
            log_end: Offset(numbers[0]),
            end_position: numbers[1],
            active_base: Offset(numbers[2]),
            active_inode: numbers[SLOT_INODE],
            active_salt: numbers[4] as u32,
            active_created: TimestampMs(numbers[5]),
            last_id: RecordId { ms: numbers[6], seq: numbers[7] },
            entries_added: numbers[8],
            index_bytes: numbers[9],
            indexed: numbers[10],
        }
    }
}

/// Never 0 in the upper half, so that a slot of zeros is none.
pub(super) fn check_of(numbers: &[u64; SLOT_NUMBERS]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for (index, number) in numbers.iter().enumerate() {
        if index != SLOT_INODE {
            hasher.update(&number.to_ne_bytes());
        }
    }
    u64::from(hasher.finalize()) | 1 << 63
}
