//! IDs of records that were read lately, and their offsets: who acks mostly acks what was just
//! delivered, and who asks what is pending mostly asks for what is new.

use std::collections::VecDeque;

use crate::ids::{Epoch, Offset, RecordId};

/// So many stretches are kept: 32 bytes each, and at most one a record.
const RUNS_MAX: usize = 2048;

/// A stretch in which both offsets and IDs rise by one.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: RecordId,
    offset: Offset,
    count: u64,
}

/// Stretches, rising in both.
#[derive(Debug, Default)]
pub(super) struct Recent {
    runs: VecDeque<Run>,
    epoch: Epoch,
}

impl Recent {
    /// Remembers a record of this epoch. One below those that are known begins anew.
    pub(super) fn note(&mut self, epoch: Epoch, id: RecordId, offset: Offset) {
        if epoch != self.epoch {
            (self.epoch, self.runs) = (epoch, VecDeque::new());
        }
        if let Some(last) = self.runs.back_mut() {
            if last.offset.plus(last.count) == offset && last.id.advance(last.count) == Some(id) {
                last.count += 1;
                return;
            }
            if offset < last.offset.plus(last.count) {
                if last.offset <= offset && last.id.advance(offset.since(last.offset)) == Some(id) {
                    return;
                }
                self.runs.clear();
            }
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(Run { id, offset, count: 1 });
    }

    pub(super) fn offset_of(&self, epoch: Epoch, id: RecordId) -> Option<Offset> {
        let place = self.runs.partition_point(|run| run.id <= id).checked_sub(1).filter(|_| epoch == self.epoch)?;
        let run = self.runs.get(place)?;
        let ahead = id.seq.wrapping_sub(run.id.seq);
        (ahead < run.count && run.id.advance(ahead) == Some(id)).then(|| run.offset.plus(ahead))
    }

    pub(super) fn id_of(&self, epoch: Epoch, offset: Offset) -> Option<RecordId> {
        let place = self.runs.partition_point(|run| run.offset <= offset).checked_sub(1).filter(|_| epoch == self.epoch)?;
        let run = self.runs.get(place)?;
        let ahead = offset.since(run.offset);
        (ahead < run.count).then(|| run.id.advance(ahead)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch(1);

    proptest! {
        #[test]
        fn what_is_remembered_is_true_and_what_was_read_last_is_remembered(
            steps in proptest::collection::vec((1u64..4, 0u64..3, 0u64..4), 1..60),
            stretches in proptest::collection::vec((0usize..60, 1usize..20), 1..8),
        ) {
            let (mut offset, mut id) = (Offset(0), RecordId { ms: 1, seq: u64::MAX - 20 });
            let records: Vec<(Offset, RecordId)> = steps.iter().map(|(by, ms, seq)| {
                offset = offset.plus(*by);
                id = if *ms == 0 { id.advance(seq + 1).expect("far from the end") } else { RecordId { ms: id.ms + ms, seq: *seq } };
                (offset, id)
            }).collect();
            let mut recent = Recent::default();
            for (from, count) in stretches {
                let read: Vec<_> = records.iter().skip(from % records.len()).take(count).collect();
                read.iter().for_each(|(offset, id)| recent.note(EPOCH, *id, *offset));
                for (offset, id) in read {
                    prop_assert_eq!(recent.offset_of(EPOCH, *id), Some(*offset));
                    prop_assert_eq!(recent.id_of(EPOCH, *offset), Some(*id));
                }
                for (offset, id) in &records {
                    prop_assert!(recent.offset_of(EPOCH, *id).is_none_or(|known| known == *offset));
                    prop_assert!(recent.id_of(EPOCH, *offset).is_none_or(|known| known == *id));
                    prop_assert_eq!(recent.offset_of(Epoch(2), *id), None);
                }
            }
        }
    }
}
