//! The only place that asks what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::ids::TimestampMs;

/// Wall-clock time, or a hand that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that shows what `hand` holds, in milliseconds; it moves only when the hand is moved.
    #[must_use]
    pub fn manual(hand: Arc<AtomicU64>) -> Clock {
        Clock(Some(hand))
    }

    /// Nanoseconds since the machine booted, with the time that it slept: never set back, and the same for all processes.
    #[must_use]
    pub fn since_boot_ns(&self) -> u64 {
        match &self.0 {
            Some(hand) => hand.load(Ordering::Relaxed).saturating_mul(1_000_000),
            None => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
            }
        }
    }

    /// Now. A clock set before 1970 reads as 0.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn now(&self) -> TimestampMs {
        match &self.0 {
            Some(hand) => TimestampMs(hand.load(Ordering::Relaxed)),
            None => TimestampMs(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            ),
        }
    }
}
