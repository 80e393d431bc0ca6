//! A set of offsets as runs of consecutive ones.

use std::ops::Range;

use super::varint;
use crate::ids::Offset;

/// More offsets than one event holds. A bound, so that a damaged count cannot keep a reader busy.
pub const OFFSETS_MAX: u64 = 1 << 24;

/// Offsets, rising, stored as half-open runs that neither touch nor overlap.
///
/// Bytes: the number of runs, then for each its distance from the end of the run before (from 0 for
/// the first), and its length less 1; all varints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    runs: Vec<Range<u64>>,
    count: u64,
}

impl Runs {
    /// One run.
    #[must_use]
    pub fn of(run: Range<Offset>) -> Runs {
        let count = run.end.since(run.start);
        let runs = (count > 0).then_some(run.start.0..run.end.0);
        Runs { runs: runs.into_iter().collect(), count }
    }

    /// How many offsets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `offset` is among them.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        let place = self.runs.partition_point(|run| run.end <= offset.0);
        self.runs.get(place).is_some_and(|run| run.contains(&offset.0))
    }

    /// Every offset, rising.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Offset> + Clone {
        self.runs.iter().flat_map(|run| run.clone().map(Offset))
    }

    /// Every run, rising.
    pub fn runs(&self) -> impl Iterator<Item = Range<Offset>> {
        self.runs.iter().map(|run| Offset(run.start)..Offset(run.end))
    }

    /// Adds an offset above all others; `false`, and nothing is added, when it is not.
    fn push(&mut self, offset: u64) -> bool {
        // No record has the last of all offsets: a log end lies above every record.
        let Some(end) = offset.checked_add(1) else { return true };
        match self.runs.last_mut() {
            Some(last) if offset < last.end => return false,
            Some(last) if offset == last.end => last.end = end,
            _ => self.runs.push(offset..end),
        }
        self.count += 1;
        true
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.runs.len() as u64);
        let mut end = 0;
        for run in &self.runs {
            varint::put(out, run.start - end);
            varint::put(out, run.end - run.start - 1);
            end = run.end;
        }
    }

    /// `None` when the bytes end first, or the set is not one that [`Runs::encode`] writes.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Runs> {
        let run_count = usize::try_from(varint::take(bytes)?).ok()?;
        // A run is at least two bytes: the claim is checked before memory is set aside for it.
        if run_count > bytes.len() / 2 {
            return None;
        }
        let mut set = Runs { runs: Vec::with_capacity(run_count), count: 0 };
        let mut end = 0u64;
        for index in 0..run_count {
            let gap = varint::take(bytes)?;
            if gap == 0 && index > 0 {
                return None;
            }
            let start = end.checked_add(gap)?;
            let length = varint::take(bytes)?.checked_add(1)?;
            end = start.checked_add(length)?;
            set.count = set.count.checked_add(length).filter(|count| *count <= OFFSETS_MAX)?;
            set.runs.push(start..end);
        }
        Some(set)
    }
}

impl FromIterator<Offset> for Runs {
    /// In any order; an offset that comes twice counts once.
    fn from_iter<T: IntoIterator<Item = Offset>>(offsets: T) -> Runs {
        let mut set = Runs::default();
        let mut offsets = offsets.into_iter();
        while let Some(offset) = offsets.next() {
            if !set.push(offset.0) {
                let mut all: Vec<u64> = set.iter().chain([offset]).chain(offsets).map(|offset| offset.0).collect();
                all.sort_unstable();
                all.dedup();
                return all.into_iter().map(Offset).collect();
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn group_offsets_come_back_whatever_their_order(mut offsets in proptest::collection::vec(0u64..300, 0..200)) {
            let set: Runs = offsets.iter().copied().map(Offset).collect();
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(Runs::decode(&mut rest), Some(set.clone()));
            prop_assert!(rest.is_empty());
            prop_assert!((0..301).all(|offset| set.contains(Offset(offset)) == offsets.contains(&offset)));
            offsets.sort_unstable();
            offsets.dedup();
            prop_assert_eq!(set.count(), offsets.len() as u64);
            prop_assert_eq!(set.iter().map(|offset| offset.0).collect::<Vec<_>>(), offsets);
        }
    }

    #[test]
    fn group_runs_that_claim_too_much_are_refused() {
        let mut long = vec![1, 0];
        varint::put(&mut long, OFFSETS_MAX);
        assert_eq!(Runs::decode(&mut &long[..]), None);
        assert_eq!(Runs::decode(&mut &[2, 5, 0, 0, 0][..]), None, "runs that touch are one run");
        assert_eq!(Runs::decode(&mut &[0xff, 0xff, 0xff, 0x7f][..]), None);
        let last = Runs::of(Offset(u64::MAX - 1)..Offset(u64::MAX));
        let mut bytes = Vec::new();
        last.encode(&mut bytes);
        assert_eq!(Runs::decode(&mut &bytes[..]), Some(last));
    }
}
