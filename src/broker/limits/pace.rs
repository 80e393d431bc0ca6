//! How tight a limit is while the load is high: a factor between a half and one, looked at every ten seconds.
//!
//! It falls while the load is above its target, and rises while it is below four fifths of it, unless the load is on its way
//! already: what the last change does is awaited before the next. Between the two it works against what changes, so that a
//! load that adds up, as a lag does, stands still there. Each turn from
//! falling to rising, or back, halves the step, and going on for long doubles it: so it comes to rest where the load is as
//! it should be, and still follows when that place moves.

use super::gcra::{TICKS_PER_SECOND, WHOLE};

/// How long the load is measured before the factor changes, in ticks.
pub const WINDOW: u64 = 10 * TICKS_PER_SECOND;

/// The lowest factor, in thousandths.
pub const HALF: u64 = WHOLE / 2;

/// Steps, in thousandths.
const STEP_MAX: u64 = 100;
const STEP_MIN: u64 = 4;
/// The step doubles with the fourth change in one direction.
const RUN_LONG: u64 = 4;

/// The first load that is above its target.
const ABOVE: u64 = WHOLE + 1;
/// Below this part of the target, in thousandths, a limit may be loosened.
const LOW: u64 = 800;
/// A load that changed by less than this part, one of so many, has not changed.
const CHANGE: u64 = 200;

/// Where a factor stands, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In thousandths.
    pub factor: u64,
    step: u64,
    rises: bool,
    /// So many changes in this direction, up to [`RUN_LONG`].
    run: u64,
    /// The load before, in thousandths of the target.
    load: u64,
}

impl Pace {
    /// The beginning: the whole rate.
    pub const START: Pace = Pace { factor: WHOLE, step: STEP_MAX, rises: false, run: 0, load: 0 };

    /// The factor after a window in which the load was `load` thousandths of its target.
    #[must_use]
    pub fn after(self, load: u64) -> Pace {
        let margin = self.load / CHANGE;
        let (is_falling, is_rising) = (load.saturating_add(margin) < self.load, load > self.load.saturating_add(margin));
        let before = Pace { load, ..self };
        let rises = match load {
            ABOVE.. if !is_falling => false,
            0..LOW if !is_rising => true,
            LOW..=WHOLE if is_rising => false,
            LOW..=WHOLE if is_falling => true,
            _ => return before,
        };
        if self.factor == if rises { WHOLE } else { HALF } {
            return before;
        }
        let (step, run) = match rises == self.rises {
            true if self.run + 1 >= RUN_LONG => (self.step * 2, RUN_LONG),
            true => (self.step, self.run + 1),
            false => (self.step / 2, 1),
        };
        let step = step.clamp(STEP_MIN, STEP_MAX);
        let factor = if rises { self.factor + step } else { self.factor.saturating_sub(step) };
        Pace { factor: factor.clamp(HALF, WHOLE), step, rises, run, load }
    }

    /// As one number, that processes share.
    #[must_use]
    pub fn to_word(self) -> u64 {
        self.factor | self.step << 10 | u64::from(self.rises) << 20 | self.run << 21 | self.load.min(LOAD_MAX) << 24
    }

    /// From such a number; what cannot be one is the beginning.
    #[must_use]
    pub fn from_word(word: u64) -> Pace {
        let (factor, step) = (word & 0x3ff, word >> 10 & 0x3ff);
        let pace = Pace { factor, step, rises: word >> 20 & 1 == 1, run: word >> 21 & 7, load: word >> 24 };
        let is_legal = (HALF..=WHOLE).contains(&pace.factor) && (STEP_MIN..=STEP_MAX).contains(&pace.step);
        if is_legal { pace } else { Pace::START }
    }
}

const LOAD_MAX: u64 = (1 << 40) - 1;
const _: () = assert!(WHOLE < 1 << 10 && STEP_MAX < 1 << 10 && RUN_LONG < 1 << 3);

/// The number that 99 of 100 are not above, of counts by doublings and halves of them: the upper end of its class. `None`
/// when nothing was counted.
#[must_use]
pub fn p99(counts: &[u64]) -> Option<usize> {
    let all: u64 = counts.iter().sum();
    let mut above = all / 100;
    (0..counts.len()).rev().find(|class| match above.checked_sub(counts[*class]) {
        Some(left) => {
            above = left;
            false
        }
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs windows on a plant that answers a factor with a load; returns the factors.
    fn run(windows: usize, mut plant: impl FnMut(u64) -> u64) -> Vec<u64> {
        let mut pace = Pace::START;
        (0..windows)
            .map(|_| {
                // As it goes through the file.
                pace = Pace::from_word(pace.after(plant(pace.factor)).to_word());
                pace.factor
            })
            .collect()
    }

    /// How far apart the factors of the last windows are.
    fn spread(factors: &[u64]) -> u64 {
        let last = &factors[factors.len() - 50..];
        last.iter().max().expect("some") - last.iter().min().expect("some")
    }

    /// A queue: the time in it grows without bound as the offered load comes near what can be done.
    fn queue(capacity: f64) -> impl FnMut(u64) -> u64 {
        move |factor| {
            let share = (factor as f64 / 1000.0 / capacity).min(0.999);
            (100.0 / (1.0 - share)) as u64
        }
    }

    #[test]
    fn it_comes_to_rest_below_the_target_of_a_queue() {
        for capacity in [0.6, 0.7, 0.85, 1.0] {
            let factors = run(300, queue(capacity));
            assert!(spread(&factors) <= 2 * STEP_MIN, "{capacity}: {:?}", &factors[250..]);
            let load = queue(capacity)(*factors.last().expect("some"));
            assert!((700..=1100).contains(&load), "{capacity}: {load}");
        }
    }

    #[test]
    fn it_comes_to_rest_where_a_lag_neither_grows_nor_is_large() {
        // Of 1000 records a second so many are drained; the target is a second's worth, ten or a hundred.
        for (drained, target) in [550.0, 700.0, 900.0].iter().flat_map(|d| [1e3, 1e4, 1e5].map(|t| (*d, t))) {
            let mut lag: f64 = 0.0;
            let mut loads = Vec::new();
            let factors = run(600, |factor| {
                lag = (lag + 10.0 * (factor as f64 - drained)).max(0.0);
                loads.push((lag / target * 1000.0) as u64);
                loads[loads.len() - 1]
            });
            assert!(spread(&factors) <= 2 * STEP_MIN, "{drained}, {target}: {:?}", &factors[550..]);
            assert!(loads[550..].iter().all(|load| *load <= 1100), "{drained}, {target}: {:?}", &loads[550..]);
        }
    }

    #[test]
    fn it_keeps_to_the_half_and_comes_back_to_the_whole() {
        let mut window = 0;
        let factors = run(100, |_| {
            window += 1;
            if window <= 30 { 5000 } else { 100 }
        });
        assert_eq!(factors[..3], [900, 800, 700], "steps of a tenth while it is bad");
        assert_eq!((factors[29], factors[99]), (HALF, WHOLE));
        assert!(factors.iter().all(|factor| (HALF..=WHOLE).contains(factor)));
        let back = factors.iter().skip(30).position(|factor| *factor == WHOLE).expect("it is back");
        assert!(back <= 12, "in {back} windows");
        assert!(factors[30..].is_sorted(), "it rises without a break");
    }

    #[test]
    fn noise_around_a_good_load_moves_it_little() {
        let mut random = 1u64;
        let factors = run(500, |factor| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            queue(0.85)(factor) * (900 + (random >> 33) % 200) / 1000
        });
        assert!(spread(&factors) <= 100, "{:?}", &factors[450..]);
    }

    #[test]
    fn a_word_keeps_a_pace_and_nonsense_is_the_beginning() {
        let pace = Pace { factor: 612, step: 8, rises: true, run: 2, load: 1_234 };
        assert_eq!(Pace::from_word(pace.to_word()), pace);
        for word in [0, u64::MAX, 3, 1 << 10] {
            assert_eq!(Pace::from_word(word), Pace::START);
        }
    }

    #[test]
    fn p99_is_the_class_of_the_hundredth_part() {
        assert_eq!(p99(&[0; 8]), None);
        assert_eq!(p99(&[5, 0, 1]), Some(2));
        assert_eq!(p99(&[99, 1, 0]), Some(0));
        assert_eq!(p99(&[98, 2, 0]), Some(1));
        assert_eq!(p99(&[980, 15, 5]), Some(1));
    }
}
