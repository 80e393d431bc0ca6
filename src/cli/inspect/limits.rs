//! Rate limits, and what they did.

use drave::broker::limits::{Bucket, Pace, WHOLE};
use drave::config::Adaptive;
use drave::store::Counts;
use drave::units::{Rate, format_size};

use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Rows};

const LIMITS: [&str; 9] = ["limit", "counts", "rate", "burst", "factor_percent", "allowed", "denied", "waited", "waited_ms"];

/// Prints a row for each bucket.
pub(super) fn all(json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    context.warn_of_file(&store);
    let mut rows = Rows::begin(LIMITS, json);
    for (of, limit) in store.list_limits()? {
        let slot = store.limits().look(&of)?;
        let factor = match &slot {
            Some(slot) if limit.adaptive != Adaptive::Off => Pace::from_word(slot.pace()).factor,
            _ => WHOLE,
        };
        let records = limit.rate.map(|rate| {
            let burst = Bucket::new(rate, limit.burst).burst();
            (Counts::Records, "records", rate.to_string(), burst.to_string())
        });
        let bytes = limit.rate_bytes.map(|rate| {
            let burst = Bucket::new(rate, limit.burst_bytes).burst();
            (Counts::Bytes, "bytes", Rate::format_bytes(rate), format_size(burst))
        });
        for (counts, name, rate, burst) in records.into_iter().chain(bytes) {
            let counters = slot.as_ref().map(|slot| slot.counters(counts)).unwrap_or_default();
            rows.row(vec![
                of.to_bytes().into(),
                name.into(),
                rate.into(),
                burst.into(),
                Cell::Rate(factor as f64 / 10.0),
                counters.allowed.into(),
                counters.denied.into(),
                counters.waited.into(),
                (counters.waited_ns / 1_000_000).into(),
            ])?;
        }
    }
    rows.end()?;
    Ok(Exit::Done)
}
