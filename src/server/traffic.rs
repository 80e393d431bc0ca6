//! What goes into topics and out of them through this server, and how fast.
//!
//! A command adds to four numbers, whoever has the topic in hand. Once a second the topics that something
//! happened to are looked at, and no others: with many thousands in hand that would be felt.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use crate::ids::{Incarnation, TopicName};

/// A rate is about that of the last so many seconds: older ones count less and less.
const MEMORY_S: f64 = 5.0;
/// A topic whose records are further apart than 20 s has no rate.
const RATE_MIN: f64 = 0.05;
/// Topics that have a rate at once. One more is counted, and gets its rate when there is room.
const ACTIVE_MAX: usize = 65_536;
/// Topics whose numbers are kept, also of those that are not in hand: some 15 MB.
const KEPT_MAX: usize = 65_536;

/// Records, and the bytes of the names and values in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// The same a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) records: f64,
    pub(super) bytes: f64,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    total: Cell<Amount>,
    /// The total when the rate was last told.
    sampled: Cell<Amount>,
    rate: Cell<Rate>,
}

impl Flow {
    fn note(&self, records: u64, bytes: u64) {
        let total = self.total.get();
        self.total.set(Amount { records: total.records + records, bytes: total.bytes + bytes });
    }

    /// `seconds` passed since the last time, of which the rate takes over the share `weight`.
    fn sample(&self, seconds: f64, weight: f64) {
        let (total, before, rate) = (self.total.get(), self.sampled.replace(self.total.get()), self.rate.get());
        let towards = |rate: f64, count: u64| rate + (count as f64 / seconds - rate) * weight;
        self.rate.set(Rate {
            records: towards(rate.records, total.records - before.records),
            bytes: towards(rate.bytes, total.bytes - before.bytes),
        });
    }

    /// All that ever came.
    pub(super) fn total(&self) -> Amount {
        self.total.get()
    }

    /// As of the last tick.
    pub(super) fn rate(&self) -> Rate {
        self.rate.get()
    }
}

/// What went into one topic and out of it.
#[derive(Debug)]
pub(super) struct Traffic {
    incarnation: Incarnation,
    pub(super) added: Flow,
    pub(super) read: Flow,
    is_active: Cell<bool>,
    /// Which has this one too while it is active: the tick that finds it at rest ends that.
    all: Rc<All>,
}

impl Traffic {
    /// Records were added to the topic.
    pub(super) fn note_added(self: &Rc<Traffic>, records: u64, bytes: u64) {
        self.added.note(records, bytes);
        self.all.added.note(records, bytes);
        self.activate();
    }

    /// Records of the topic were delivered to a client.
    pub(super) fn note_read(self: &Rc<Traffic>, records: usize, bytes: u64) {
        if records == 0 {
            return;
        }
        self.read.note(records as u64, bytes);
        self.all.read.note(records as u64, bytes);
        self.activate();
    }

    fn activate(self: &Rc<Traffic>) {
        if self.is_active.get() {
            return;
        }
        let mut active = self.all.active.borrow_mut();
        if active.len() < ACTIVE_MAX {
            self.is_active.set(true);
            active.push(Rc::clone(self));
        }
    }

    /// How busy the topic is: records a second, both ways.
    pub(super) fn busyness(&self) -> f64 {
        self.added.rate().records + self.read.rate().records
    }

    /// Tells the rates; whether there are any.
    fn sample(&self, seconds: f64, weight: f64) -> bool {
        self.added.sample(seconds, weight);
        self.read.sample(seconds, weight);
        let goes_on = self.busyness() >= RATE_MIN;
        if !goes_on {
            self.added.rate.take();
            self.read.rate.take();
        }
        goes_on
    }
}

/// All topics together.
#[derive(Debug, Default)]
pub(super) struct All {
    pub(super) added: Flow,
    pub(super) read: Flow,
    /// Those that something has happened to lately.
    active: RefCell<Vec<Rc<Traffic>>>,
}

/// The numbers of all topics that this server had in hand, as far as there is room.
#[derive(Debug)]
pub(super) struct Traffics {
    all: Rc<All>,
    by_name: RefCell<HashMap<Box<[u8]>, Rc<Traffic>>>,
    /// With so many, those that nobody uses are let go.
    sweep_at: Cell<usize>,
    sampled_at: Cell<Instant>,
}

impl Traffics {
    pub(super) fn new() -> Traffics {
        Traffics {
            all: Rc::default(),
            by_name: RefCell::default(),
            sweep_at: Cell::new(KEPT_MAX),
            sampled_at: Cell::new(Instant::now()),
        }
    }

    /// The numbers of a topic; those of an earlier topic of its name are not its own.
    pub(super) fn of(&self, name: &TopicName, incarnation: Incarnation) -> Rc<Traffic> {
        let mut by_name = self.by_name.borrow_mut();
        if let Some(known) = by_name.get(name.as_bytes()).filter(|known| known.incarnation == incarnation) {
            return Rc::clone(known);
        }
        if by_name.len() >= self.sweep_at.get() {
            by_name.retain(|_, traffic| Rc::strong_count(traffic) > 1);
            self.sweep_at.set(KEPT_MAX.max(by_name.len() * 2));
        }
        let traffic = Rc::new(Traffic {
            incarnation,
            added: Flow::default(),
            read: Flow::default(),
            is_active: Cell::new(false),
            all: Rc::clone(&self.all),
        });
        by_name.insert(name.as_bytes().into(), Rc::clone(&traffic));
        traffic
    }

    /// All topics together, those whose own numbers were let go as well.
    pub(super) fn all(&self) -> &All {
        &self.all
    }

    /// To be called about every second.
    pub(super) fn tick(&self, now: Instant) {
        let seconds = now.duration_since(self.sampled_at.replace(now)).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let weight = 1.0 - (-seconds / MEMORY_S).exp();
        self.all.added.sample(seconds, weight);
        self.all.read.sample(seconds, weight);
        self.all.active.borrow_mut().retain(|traffic| {
            traffic.is_active.set(traffic.sample(seconds, weight));
            traffic.is_active.get()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text.as_bytes()).expect("a legal name")
    }

    fn incarnation(n: u8) -> Incarnation {
        Incarnation([n; 16])
    }

    #[test]
    fn a_rate_comes_near_what_goes_on_and_ends_with_it() {
        let traffics = Traffics::new();
        let topic = traffics.of(&name("t"), incarnation(1));
        let mut now = traffics.sampled_at.get();
        let mut second = |records: u64| {
            for _ in 0..records {
                topic.note_added(1, 10);
            }
            now += Duration::from_secs(1);
            traffics.tick(now);
            topic.added.rate()
        };
        let first = second(100);
        assert!((18.0..19.0).contains(&first.records), "a fifth of what came: {first:?}");
        let later = (0..30).map(|_| second(100)).last().expect("some");
        assert!((99.0..=100.0).contains(&later.records) && (990.0..=1000.0).contains(&later.bytes), "{later:?}");
        let half = (0..5).map(|_| second(0)).last().expect("some");
        assert!((36.0..38.0).contains(&half.records), "after five seconds 1/e of it is left: {half:?}");
        assert_eq!((0..60).map(|_| second(0)).last(), Some(Rate::default()));
        assert!(traffics.all.active.borrow().is_empty(), "nothing is done for a topic that is at rest");
        assert_eq!(topic.added.total(), Amount { records: 3100, bytes: 31_000 });
        assert_eq!(topic.read.total(), Amount::default());
        topic.note_read(1, 1);
        assert!(topic.is_active.get(), "and it begins anew");
    }

    #[test]
    fn numbers_outlive_the_topic_being_in_hand_but_not_the_topic() {
        let traffics = Traffics::new();
        traffics.of(&name("t"), incarnation(1)).note_added(3, 30);
        assert_eq!(traffics.of(&name("t"), incarnation(1)).added.total().records, 3);
        assert_eq!(traffics.of(&name("t"), incarnation(2)).added.total().records, 0, "another topic of this name");
        assert_eq!(traffics.all().added.total(), Amount { records: 3, bytes: 30 });
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_sum_stays_right() {
        let traffics = Traffics::new();
        let in_hand = traffics.of(&name("in hand"), incarnation(1));
        for n in 0..KEPT_MAX as u64 * 2 {
            traffics.of(&name(&n.to_string()), incarnation(1)).note_added(1, 2);
            if n % 1000 == 0 {
                // So much later that none of them has a rate any more.
                traffics.tick(traffics.sampled_at.get() + Duration::from_secs(100_000));
            }
        }
        assert!(traffics.by_name.borrow().len() <= KEPT_MAX);
        assert!(Rc::ptr_eq(&in_hand, &traffics.of(&name("in hand"), incarnation(1))), "what is in hand is not let go");
        assert_eq!(traffics.all().added.total().records, KEPT_MAX as u64 * 2);
        for n in 0..ACTIVE_MAX * 2 {
            traffics.of(&name(&n.to_string()), incarnation(2)).note_added(1, 2);
        }
        assert_eq!(traffics.all.active.borrow().len(), ACTIVE_MAX);
    }
}
