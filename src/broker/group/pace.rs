//! How fast a group goes: deliveries in the last minute, counted as the journal is folded.

use serde::{Deserialize, Serialize};

use crate::ids::TimestampMs;

/// One count for so many ms.
const SLOT_MS: u64 = 5_000;
/// So many counts are kept: a minute, with the one that is filled now.
const SLOTS: u64 = 12;

/// Deliveries by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Slot number and count, rising, none older than the kept ones.
    slots: Vec<(u64, u64)>,
}

impl Pace {
    /// What is delivered while the clock is set back counts for the newest slot.
    pub(super) fn add(&mut self, at: TimestampMs, count: u64) {
        let slot = at.0 / SLOT_MS;
        match self.slots.last_mut() {
            Some((last, counted)) if slot <= *last => *counted += count,
            _ => self.slots.push((slot, count)),
        }
        let newest = self.slots.last().map_or(0, |(slot, _)| *slot);
        self.slots.retain(|(slot, _)| slot + SLOTS > newest);
    }

    /// Deliveries a second in the minute before `now`; over a shorter time if there were none before it.
    #[must_use]
    pub fn per_second(&self, now: TimestampMs) -> f64 {
        let current = now.0 / SLOT_MS;
        let mut kept = self.slots.iter().filter(|(slot, _)| slot + SLOTS > current).peekable();
        let Some((first, _)) = kept.peek() else { return 0.0 };
        let ms = now.0.saturating_sub(first * SLOT_MS).max(1_000);
        kept.map(|(_, count)| *count).sum::<u64>() as f64 * 1_000.0 / ms as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_of_a_group_is_that_of_its_last_minute() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(TimestampMs(0)), 0.0);
        for second in 0..300 {
            pace.add(TimestampMs(second * 1_000), if second < 200 { 1_000 } else { 10 });
        }
        let per_second = pace.per_second(TimestampMs(300_000));
        assert!((9.0..11.0).contains(&per_second), "{per_second}");
        assert_eq!(pace.per_second(TimestampMs(360_000)), 0.0, "nothing for a minute");
        pace.add(TimestampMs(100_000), 5);
        assert!(pace.slots.len() <= SLOTS as usize && pace.slots.is_sorted(), "a clock that was set back breaks nothing");
        assert_eq!(Pace { slots: vec![(60, 3)] }.per_second(TimestampMs(300_010)), 3.0, "a moment is taken as a second");
    }
}
