//! Which dead letters of the group are done with. The letters themselves lie in the dead-letter topic,
//! among those of the topic's other groups.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, Offset};

/// What is known of a group's dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    topic: Option<Incarnation>,
    /// Runs that neither touch nor overlap: start, end (exclusive).
    settled: BTreeMap<u64, u64>,
}

impl Letters {
    /// The topic in which they lie; `None` before there was one.
    #[must_use]
    pub fn topic(&self) -> Option<Incarnation> {
        self.topic
    }

    /// Whether a letter was settled when it was tried again, moved once more, or dropped.
    #[must_use]
    pub fn is_settled(&self, letter: Offset) -> bool {
        self.settled.range(..=letter.0).next_back().is_some_and(|(_, end)| letter.0 < *end)
    }

    pub(super) fn are_in(&mut self, topic: Incarnation) {
        if self.topic.replace(topic).is_some_and(|before| before != topic) {
            self.settled.clear();
        }
    }

    pub(super) fn settle(&mut self, letters: Range<Offset>) {
        let (mut start, mut end) = (letters.start.0, letters.end.0);
        if start >= end {
            return;
        }
        // Whatever touches it becomes one with it.
        while let Some((&before, &its_end)) = self.settled.range(..=end).next_back().filter(|(_, its_end)| **its_end >= start) {
            self.settled.remove(&before);
            (start, end) = (start.min(before), end.max(its_end));
        }
        self.settled.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn letters_are_settled_once_for_all(runs in proptest::collection::vec((0u64..60, 0u64..9), 0..40)) {
            let mut letters = Letters::default();
            let mut naive = std::collections::BTreeSet::new();
            for (start, length) in runs {
                letters.settle(Offset(start)..Offset(start + length));
                naive.extend(start..start + length);
            }
            prop_assert!((0..70).all(|at| letters.is_settled(Offset(at)) == naive.contains(&at)));
            let runs: Vec<(u64, u64)> = letters.settled.into_iter().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0), "{runs:?}");
        }
    }
}
