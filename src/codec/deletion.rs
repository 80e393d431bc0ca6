//! What a topic's deletions' log holds: one of these in each record.
//!
//! ```text
//! kind, 1 byte: 0 = these offsets too, 1 = these offsets and no others, 2 = nothing but the ID,
//!               3 = as 1, and compaction has taken records
//! epoch of the topic as of which the offsets are meant         varint
//! the greatest ID ever deleted, as far as its writer knew      ms and seq, varints
//! kind 0: runs (runs.rs)    kind 1: a set (offset_set.rs)    kind 2: nothing
//! kind 3: varint, the offset in this log before which those were deleted that compaction has taken and the
//!         set leaves out; then a set
//! ```

use super::{OffsetSet, Runs, varint};
use crate::ids::{Epoch, Offset, RecordId};

/// One record of a deletions' log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The topic's epoch as of which its offsets are meant.
    pub epoch: Epoch,
    /// The greatest ID that was deleted.
    pub greatest_id: RecordId,
    /// Which offsets.
    pub what: Deleting,
}

/// What a record of a deletions' log is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleting {
    /// These were deleted.
    More(Runs),
    /// These are all that are deleted: nothing before this record is needed.
    Whole {
        /// They.
        set: OffsetSet,
        /// Those that were deleted before this offset of the deletions' log, and that compaction has taken
        /// out of their segments since, are left out.
        purged: Offset,
    },
    /// No offsets: the greatest ID was set by hand.
    Id,
}

impl Deletion {
    /// How many offsets it adds.
    #[must_use]
    pub fn count(&self) -> u64 {
        if let Deleting::More(runs) = &self.what { runs.count() } else { 0 }
    }

    /// The bytes of the record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.what {
            Deleting::More(_) => 0,
            Deleting::Whole { purged: Offset::ZERO, .. } => 1,
            Deleting::Whole { .. } => 3,
            Deleting::Id => 2,
        };
        let mut out = vec![kind];
        [self.epoch.0, self.greatest_id.ms, self.greatest_id.seq].into_iter().for_each(|number| varint::put(&mut out, number));
        match &self.what {
            Deleting::More(runs) => runs.encode(&mut out),
            Deleting::Whole { set, purged } => {
                if *purged > Offset::ZERO {
                    varint::put(&mut out, purged.0);
                }
                set.encode(&mut out);
            }
            Deleting::Id => {}
        }
        out
    }

    /// `None` when the bytes are not those of one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Deletion> {
        let (&kind, mut rest) = bytes.split_first()?;
        let epoch = Epoch(varint::take(&mut rest)?);
        let greatest_id = RecordId { ms: varint::take(&mut rest)?, seq: varint::take(&mut rest)? };
        let what = match kind {
            0 => Deleting::More(Runs::decode(&mut rest)?),
            1 => Deleting::Whole { set: OffsetSet::decode(&mut rest)?, purged: Offset::ZERO },
            2 => Deleting::Id,
            3 => {
                let purged = Offset(varint::take(&mut rest)?);
                Deleting::Whole { set: OffsetSet::decode(&mut rest)?, purged }
            }
            _ => return None,
        };
        rest.is_empty().then_some(Deletion { epoch, greatest_id, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_read_back_and_nothing_else_does() {
        let mut set = OffsetSet::default();
        set.insert_all(Offset(3)..Offset(9000));
        let whats = [
            Deleting::More([Offset(1), Offset(2), Offset(300)].into_iter().collect()),
            Deleting::Whole { set: set.clone(), purged: Offset::ZERO },
            Deleting::Whole { set, purged: Offset(400) },
            Deleting::Id,
        ];
        for what in whats {
            let deletion = Deletion { epoch: Epoch(3), greatest_id: RecordId { ms: 1_700_000_000_000, seq: 5 }, what };
            let bytes = deletion.encode();
            assert_eq!(Deletion::decode(&bytes), Some(deletion));
            (0..bytes.len()).for_each(|cut| assert_eq!(Deletion::decode(&bytes[..cut]), None));
            assert_eq!(Deletion::decode(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(Deletion::decode(&[4, 0, 0, 0]), None);
    }
}
