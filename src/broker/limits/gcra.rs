//! A token bucket as one number, by the generic cell rate algorithm (ITU-T I.371): the moment at which the bucket is full
//! again. Taking moves it on by what was taken costs in time; what would move it further ahead of now than a burst takes
//! has to wait. Integers throughout, so nothing drifts: a cost is rounded up to the next tick, once for each taking.

use std::time::Duration;

use crate::units::Rate;

/// A tick is a sixteenth of a nanosecond: fine enough that rounding is lost at rates that can be reached (0.2 % at 30 million
/// takings a second), and 36 years of them fit into a number.
pub const TICKS_PER_SECOND: u64 = 16_000_000_000;

/// A factor of one, in thousandths.
pub const WHOLE: u64 = 1000;

/// A larger burst takes longer to come back than any machine runs: it is cut to ten years' worth.
const TOLERANCE_MAX: u64 = 10 * 365 * 86_400 * TICKS_PER_SECOND;

/// A bucket is never further behind than this, beside its burst. What is read beyond it was not written under this boot's
/// clock, and means nothing.
pub const BEHIND_MAX: u64 = 86_400 * TICKS_PER_SECOND;

/// How a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    count: u64,
    /// In so many ticks.
    period: u64,
    burst: u64,
    /// The ticks in which a burst comes back.
    tolerance: u64,
}

/// What becomes of one taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When the bucket is full again after it, in ticks.
    pub full_at: u64,
    /// How long whoever takes has to wait, in ticks.
    pub wait: u64,
    /// What it costs, in ticks: to give it back, this is taken off again.
    pub cost: u64,
}

impl Bucket {
    /// A bucket that fills at `rate` and holds `burst`; without one, what comes in a second, at least 1.
    #[must_use]
    pub fn new(rate: Rate, burst: Option<u64>) -> Bucket {
        let burst = burst.unwrap_or_else(|| (rate.count / rate.seconds).max(1));
        let mut bucket = Bucket { count: rate.count, period: rate.seconds * TICKS_PER_SECOND, burst, tolerance: 0 };
        bucket.tolerance = bucket.cost(burst, WHOLE).min(TOLERANCE_MAX);
        bucket
    }

    /// The most that is there at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// The ticks in which so much comes, at `factor` thousandths of the rate; rounded up.
    #[must_use]
    pub fn cost(&self, amount: u64, factor: u64) -> u64 {
        if factor == WHOLE
            && let Some(product) = amount.checked_mul(self.period)
        {
            return product.div_ceil(self.count);
        }
        let product = u128::from(amount) * u128::from(self.period) * u128::from(WHOLE);
        u64::try_from(product.div_ceil(u128::from(self.count) * u128::from(factor))).unwrap_or(u64::MAX)
    }

    /// What comes of taking `amount` at `now` from a bucket that is full at `full_at`.
    ///
    /// More than a burst goes when the bucket is full, and is paid in full: the bucket is behind for as long as that takes,
    /// for a day at most.
    #[must_use]
    pub fn take(&self, full_at: u64, now: u64, amount: u64, factor: u64) -> Decision {
        let tolerance = self.tolerance(factor);
        let latest = now.saturating_add(tolerance).saturating_add(BEHIND_MAX);
        // From another clock: as if new.
        let begin = if full_at > latest { now } else { full_at.max(now) };
        let cost = self.cost(amount, factor);
        let needed = if amount > self.burst { self.cost(self.burst, factor) } else { cost };
        let wait = begin.saturating_add(needed.min(tolerance)).saturating_sub(now.saturating_add(tolerance));
        let cost = cost.min(latest.saturating_sub(begin));
        Decision { full_at: begin + cost, wait, cost }
    }

    fn tolerance(&self, factor: u64) -> u64 {
        if factor == WHOLE {
            return self.tolerance;
        }
        self.cost(self.burst, factor).min(TOLERANCE_MAX)
    }

    /// How much could be taken at `now` without waiting.
    #[must_use]
    pub fn available(&self, full_at: u64, now: u64, factor: u64) -> u64 {
        let free = self.take(full_at, now, 0, factor);
        let room = now.saturating_add(self.tolerance(factor)).saturating_sub(free.full_at);
        let amount =
            u128::from(room) * u128::from(self.count) * u128::from(factor) / (u128::from(self.period) * u128::from(WHOLE));
        u64::try_from(amount).unwrap_or(u64::MAX).min(self.burst)
    }
}

/// Ticks as time, rounded up to the next nanosecond.
#[must_use]
pub fn to_duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_SECOND / 1_000_000_000))
}

/// Time as ticks.
#[must_use]
pub fn from_duration(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_SECOND / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same bucket with fractions: what is in it, and since when, as numbers over `count * WHOLE`.
    struct Exact {
        rate: Rate,
        burst: u64,
        /// Tokens, in units of 1 / (period ticks); may be negative.
        level: i128,
        at: u64,
    }

    impl Exact {
        fn period(&self) -> i128 {
            i128::from(self.rate.seconds) * i128::from(TICKS_PER_SECOND)
        }

        fn new(rate: Rate, burst: u64) -> Exact {
            let mut exact = Exact { rate, burst, level: 0, at: 0 };
            exact.level = i128::from(burst) * exact.period();
            exact
        }

        /// Fills up to `now`. Says how many ticks are missing until `amount` is there.
        fn missing(&mut self, now: u64, amount: u64) -> i128 {
            let most = i128::from(self.burst) * self.period();
            self.level = (self.level + i128::from(now - self.at) * i128::from(self.rate.count)).min(most);
            self.at = now;
            let needed = i128::from(amount.min(self.burst)) * self.period();
            (needed - self.level).max(0) / i128::from(self.rate.count)
        }

        fn take(&mut self, amount: u64) {
            self.level -= i128::from(amount) * self.period();
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (prop_oneof![1..10u64, 1..100_000u64, 1..1_000_000_000u64], prop_oneof![Just(1u64), Just(60), Just(3600)])
            .prop_map(|(count, seconds)| Rate { count, seconds })
    }

    proptest! {
        #[test]
        fn a_bucket_is_the_exact_one_but_for_a_tick_a_taking(
            rate in rates(),
            burst in prop_oneof![1..5u64, 1..100_000u64],
            // Steps as shares of what a record takes, and amounts.
            steps in proptest::collection::vec((0..400u64, prop_oneof![Just(1u64), 1..2000u64], prop::bool::ANY), 1..200),
        ) {
            let bucket = Bucket::new(rate, Some(burst));
            let mut exact = Exact::new(rate, burst);
            let (mut full_at, mut now) = (0, 0);
            for (taken, (step, amount, waits)) in (1..).zip(steps) {
                now += step * bucket.cost(1, WHOLE).max(100) / 100;
                let amount = amount.min(burst * 2);
                let missing = exact.missing(now, amount);
                let decision = bucket.take(full_at, now, amount, WHOLE);
                // Each taking may have been rounded up by a tick, and the burst once.
                prop_assert!(i128::from(decision.wait) >= missing - 2, "{decision:?}, exact {missing}");
                prop_assert!(i128::from(decision.wait) <= missing + 2 + taken, "{decision:?}, exact {missing}");
                let behind = decision.full_at.saturating_sub(now).saturating_sub(bucket.cost(burst, WHOLE));
                if (decision.wait == 0 || waits) && behind < BEHIND_MAX / 4 {
                    full_at = decision.full_at;
                    exact.take(amount);
                }
            }
        }

        #[test]
        fn what_is_available_can_be_taken_and_no_more(
            rate in rates(),
            burst in 1..10_000u64,
            full_at in 0..(100 * TICKS_PER_SECOND),
            factor in 500..=WHOLE,
        ) {
            let (bucket, now) = (Bucket::new(rate, Some(burst)), 50 * TICKS_PER_SECOND);
            let available = bucket.available(full_at, now, factor);
            prop_assert!(available <= burst);
            // Rounding may be against the taker by a tick or two, not more.
            prop_assert!(available == 0 || bucket.take(full_at, now, available, factor).wait <= 2);
            if available < burst {
                prop_assert!(bucket.take(full_at, now, available + 1, factor).wait > 0);
            }
        }

        #[test]
        fn takers_who_wait_get_the_rate_however_late_they_wake(
            count in 1..100_000u64,
            lateness in proptest::collection::vec(0..90u64, 100..101),
        ) {
            let bucket = Bucket::new(Rate { count, seconds: 1 }, Some(1));
            let (mut full_at, mut now, begin) = (0, TICKS_PER_SECOND, TICKS_PER_SECOND);
            for late in &lateness {
                let decision = bucket.take(full_at, now, 1, WHOLE);
                full_at = decision.full_at;
                now += decision.wait + bucket.cost(1, WHOLE) * late / 100;
            }
            // The first one went at once, the last one may have been late.
            let ideal = bucket.cost(lateness.len() as u64 - 1, WHOLE);
            prop_assert!(now - begin <= ideal + bucket.cost(1, WHOLE) + 200 && full_at - begin >= ideal);
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate() {
        let bucket = Bucket::new(Rate { count: 10, seconds: 1 }, Some(3));
        let (mut full_at, now) = (0, TICKS_PER_SECOND);
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                let decision = bucket.take(full_at, now, 1, WHOLE);
                full_at = decision.full_at;
                decision.wait / (TICKS_PER_SECOND / 1000)
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300], "ms");
    }

    #[test]
    fn more_than_a_burst_goes_when_the_bucket_is_full_and_is_paid() {
        let bucket = Bucket::new(Rate { count: 10, seconds: 1 }, Some(5));
        let now = TICKS_PER_SECOND;
        let decision = bucket.take(0, now, 30, WHOLE);
        assert_eq!(decision.wait, 0);
        assert_eq!(bucket.take(decision.full_at, now, 1, WHOLE).wait, to_ticks_ms(2600));
        // Not full: it has to be, first.
        let some = bucket.take(0, now, 1, WHOLE).full_at;
        assert_eq!(bucket.take(some, now, 30, WHOLE).wait, to_ticks_ms(100));
    }

    fn to_ticks_ms(ms: u64) -> u64 {
        ms * TICKS_PER_SECOND / 1000
    }

    #[test]
    fn a_factor_stretches_costs_and_leaves_the_burst() {
        let bucket = Bucket::new(Rate { count: 10, seconds: 1 }, Some(5));
        let now = TICKS_PER_SECOND;
        assert_eq!(bucket.cost(1, 500), to_ticks_ms(200));
        let decision = bucket.take(0, now, 5, 500);
        assert_eq!((decision.wait, decision.full_at), (0, now + TICKS_PER_SECOND));
        assert_eq!(bucket.take(decision.full_at, now, 1, 500).wait, to_ticks_ms(200));
    }

    #[test]
    fn a_number_from_another_clock_blocks_nobody() {
        let bucket = Bucket::new(Rate { count: 1, seconds: 3600 }, Some(1));
        let now = TICKS_PER_SECOND;
        for full_at in [u64::MAX, now + 30 * 365 * 86_400 * TICKS_PER_SECOND] {
            assert_eq!(bucket.take(full_at, now, 1, WHOLE).wait, 0);
        }
        // And what is behind by much blocks for a day at most.
        let decision = bucket.take(0, now, 1_000_000, WHOLE);
        assert!(bucket.take(decision.full_at, now, 1, WHOLE).wait <= BEHIND_MAX + bucket.cost(1, WHOLE));
        assert!(bucket.take(decision.full_at, now + BEHIND_MAX, 1, WHOLE).wait <= bucket.cost(1, WHOLE));
    }

    #[test]
    fn absurd_rates_and_bursts_neither_overflow_nor_lose_their_sense() {
        let (now, most) = (u64::MAX / 4, 1_000_000_000_000_000);
        let huge = Bucket::new(Rate { count: 1, seconds: 3600 }, Some(most));
        assert_eq!(huge.take(0, now, 1, WHOLE).wait, 0);
        let fast = Bucket::new(Rate { count: most, seconds: 1 }, None);
        assert_eq!((fast.cost(1, WHOLE), fast.cost(most, WHOLE)), (1, TICKS_PER_SECOND));
        assert_eq!(fast.take(0, now, u64::MAX, 500).wait, 0);
        let slow = Bucket::new(Rate { count: 1, seconds: 3600 }, None);
        assert_eq!(slow.burst(), 1);
        assert_eq!(to_duration(slow.take(slow.take(0, now, 1, WHOLE).full_at, now, 1, WHOLE).wait), Duration::from_secs(3600));
    }
}
