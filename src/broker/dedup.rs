//! Which messages were sent before: the rule. State, input and `now`; no lock, file or clock.
//!
//! A message is known for a time, as one of the newest of its producer, and while there are not too many
//! of all producers. Sent again while it is known, it is the record that it was.

use std::collections::{HashMap, VecDeque};

use crate::codec::OriginKey;
use crate::ids::{RecordId, TimestampMs};

/// So many messages are known of one topic, some 30 MB; the oldest of all are forgotten beyond.
pub const MESSAGES_MAX: usize = 1 << 18;
/// Below this it is not worth while to look for what is too old.
const SWEEP_MIN: usize = 1024;

/// What a topic's settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupRules {
    /// How long a message is known, in ms.
    pub window_ms: u64,
    /// How many messages of one producer are known: the newest.
    pub size: usize,
    /// Messages whose records have this ID or a lower one are not known.
    pub after: RecordId,
}

/// What is known.
#[derive(Debug)]
pub struct Dedup {
    rules: DedupRules,
    known: HashMap<[u8; 16], Known>,
    /// The messages of each producer, oldest first.
    producers: HashMap<[u8; 16], VecDeque<(TimestampMs, [u8; 16])>>,
    /// With so many messages, those that are too old are looked for.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: RecordId,
    at: TimestampMs,
}

impl Dedup {
    /// Knows nothing.
    #[must_use]
    pub fn new(rules: DedupRules) -> Dedup {
        Dedup { rules, known: HashMap::new(), producers: HashMap::new(), sweep_at: SWEEP_MIN }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> DedupRules {
        self.rules
    }

    /// The record that the message is, if it is known.
    #[must_use]
    pub fn find(&self, key: &OriginKey, now: TimestampMs) -> Option<RecordId> {
        let known = self.known.get(&key.message)?;
        (known.at >= self.oldest(now)).then_some(known.id)
    }

    /// A message that was sent at `at` is the record with this ID.
    pub fn note(&mut self, key: &OriginKey, at: TimestampMs, id: RecordId, now: TimestampMs) {
        let oldest = self.oldest(now);
        if id <= self.rules.after || at < oldest {
            return;
        }
        let own = self.producers.entry(key.producer).or_default();
        own.push_back((at, key.message));
        self.known.insert(key.message, Known { id, at });
        forget(own, &mut self.known, oldest, self.rules.size);
        if self.known.len() >= self.sweep_at {
            self.sweep(now);
            if self.known.len() >= MESSAGES_MAX {
                self.shed();
            }
            self.sweep_at = (self.known.len() * 2).clamp(SWEEP_MIN, MESSAGES_MAX);
        }
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: TimestampMs) {
        self.forget_before(self.oldest(now));
    }

    /// How many producers there are whose messages are known.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.producers.len()
    }

    /// How many messages are known.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.known.len()
    }

    /// What was sent before is not known any more.
    fn oldest(&self, now: TimestampMs) -> TimestampMs {
        TimestampMs((now.0 + 1).saturating_sub(self.rules.window_ms))
    }

    fn forget_before(&mut self, oldest: TimestampMs) {
        let Dedup { known, producers, rules, .. } = self;
        producers.retain(|_, own| {
            forget(own, known, oldest, rules.size);
            !own.is_empty()
        });
    }

    /// Forgets the oldest eighth.
    fn shed(&mut self) {
        let mut times: Vec<TimestampMs> = self.known.values().map(|known| known.at).collect();
        let eighth = times.len() / 8;
        let (_, last, _) = times.select_nth_unstable(eighth);
        let oldest = TimestampMs(last.0 + 1);
        self.forget_before(oldest);
    }
}

/// Forgets the messages of a producer that are too old, or too many.
fn forget(own: &mut VecDeque<(TimestampMs, [u8; 16])>, known: &mut HashMap<[u8; 16], Known>, oldest: TimestampMs, size: usize) {
    while let Some((at, message)) = own.front()
        && (*at < oldest || own.len() > size)
    {
        // It may have been sent once more since it was forgotten.
        if known.get(message).is_some_and(|known| known.at == *at) {
            known.remove(message);
        }
        own.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Origin;
    use proptest::prelude::*;

    fn key(producer: u8, message: u32) -> OriginKey {
        Origin { producer: &[producer], message: &message.to_le_bytes(), at: TimestampMs(0) }.key()
    }

    const RULES: DedupRules = DedupRules { window_ms: 100, size: 3, after: RecordId::ZERO };

    fn id(ms: u64) -> RecordId {
        RecordId { ms, seq: 0 }
    }

    #[test]
    fn a_message_is_known_for_its_time_and_no_longer() {
        let mut dedup = Dedup::new(RULES);
        dedup.note(&key(1, 1), TimestampMs(1000), id(1000), TimestampMs(1000));
        assert_eq!(dedup.find(&key(1, 1), TimestampMs(1099)), Some(id(1000)));
        assert_eq!(dedup.find(&key(1, 1), TimestampMs(1100)), None);
        assert_eq!(dedup.find(&key(2, 1), TimestampMs(1000)), None);
        dedup.sweep(TimestampMs(1100));
        assert_eq!((dedup.producers(), dedup.messages()), (0, 0));
    }

    #[test]
    fn what_lies_before_the_rules_is_not_known() {
        let mut dedup = Dedup::new(DedupRules { after: id(5), ..RULES });
        [5, 6].into_iter().for_each(|ms| dedup.note(&key(1, ms), TimestampMs(1000), id(u64::from(ms)), TimestampMs(1000)));
        assert_eq!([5, 6].map(|ms| dedup.find(&key(1, ms), TimestampMs(1000)).is_some()), [false, true]);
    }

    #[test]
    fn memory_has_a_bound_and_the_newest_stay() {
        let mut dedup = Dedup::new(DedupRules { window_ms: u64::MAX / 2, ..RULES });
        let count = u32::try_from(MESSAGES_MAX + MESSAGES_MAX / 2).expect("fits");
        for number in 0..count {
            let at = TimestampMs(u64::from(number));
            // Each from a producer of its own.
            let origin = Origin { producer: &number.to_le_bytes(), message: b"m", at };
            dedup.note(&origin.key(), at, id(at.0 + 1), at);
            assert!(dedup.messages() <= MESSAGES_MAX && dedup.producers() == dedup.messages());
        }
        for number in [count - 1, count - u32::try_from(MESSAGES_MAX / 2).expect("fits")] {
            let origin = Origin { producer: &number.to_le_bytes(), message: b"m", at: TimestampMs(0) };
            assert!(dedup.find(&origin.key(), TimestampMs(u64::from(count))).is_some());
        }
    }

    proptest! {
        /// Against all messages in a list, looked at from the newest on.
        #[test]
        fn the_newest_of_each_producer_are_known(
            sent in proptest::collection::vec((0u8..3, 0u32..6, 0u64..40), 1..200),
            size in 1usize..5,
        ) {
            let rules = DedupRules { size, ..RULES };
            let mut dedup = Dedup::new(rules);
            let mut all: Vec<(u8, u32, u64)> = Vec::new();
            let mut now = 1000;
            for (producer, message, later) in sent {
                now += later;
                let own = all.iter().rev().filter(|(other, _, _)| *other == producer).take(size);
                let expected = own.clone().find(|(_, other, at)| *other == message && at + 100 > now).map(|(_, _, at)| id(*at));
                let found = dedup.find(&key(producer, message), TimestampMs(now));
                prop_assert_eq!(found, expected);
                if found.is_none() {
                    // No two at once, so that the time tells which one.
                    now += 1;
                    all.push((producer, message, now));
                    dedup.note(&key(producer, message), TimestampMs(now), id(now), TimestampMs(now));
                }
            }
            dedup.sweep(TimestampMs(now));
            let producers = |wanted: u8| all.iter().rev().filter(move |(other, _, _)| *other == wanted).take(size);
            let alive: Vec<usize> = (0..3).map(|wanted| producers(wanted).filter(|(_, _, at)| at + 100 > now).count()).collect();
            prop_assert_eq!(dedup.messages(), alive.iter().sum::<usize>());
            prop_assert_eq!(dedup.producers(), alive.iter().filter(|count| **count > 0).count());
        }
    }
}
