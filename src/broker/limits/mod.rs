//! The rules of rate limits: when something may go, and how tight a limit is while the load is high. Pure: they know no
//! clock, no file and no other rule.

mod gcra;
mod pace;

pub use gcra::{BEHIND_MAX, Bucket, Decision, TICKS_PER_SECOND, WHOLE, from_duration, to_duration};
pub use pace::{HALF, Pace, WINDOW, p99};
