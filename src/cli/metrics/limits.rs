//! Rate limits, and what they let through.

use drave::broker::limits::{Pace, WHOLE};
use drave::config::Adaptive;
use drave::store::{Counts, Store, is_damage};

use super::collect::{Series, flag, label_of};
use super::sheet::Sheet;
use super::table as t;
use super::table::Spec;
use crate::cli::Result;

/// A bucket of a limit: what it counts, and what is told of it.
struct Told {
    counts: Counts,
    name: &'static str,
    rate: &'static Spec,
    allowed: &'static Spec,
    denied: &'static Spec,
}

const RECORDS: Told = Told {
    counts: Counts::Records,
    name: "records",
    rate: t::LIMIT_RECORDS,
    allowed: t::LIMIT_ALLOWED_RECORDS,
    denied: t::LIMIT_DENIED_RECORDS,
};
const BYTES: Told = Told {
    counts: Counts::Bytes,
    name: "bytes",
    rate: t::LIMIT_BYTES,
    allowed: t::LIMIT_ALLOWED_BYTES,
    denied: t::LIMIT_DENIED_BYTES,
};

/// Puts down what is known of each limit, up to `labels_max` of them.
pub(super) fn collect(store: &Store, labels_max: usize, sheet: &mut Sheet) -> Result<()> {
    let limits = match store.list_limits() {
        Err(error) if is_damage(&error) => {
            return sheet.put(t::LIMITS_BROKEN, &[], flag(true));
        }
        other => other?,
    };
    sheet.put(t::LIMITS_BROKEN, &[], flag(false))?;
    let mut series = Series::default();
    for (of, limit) in limits {
        if !series.admits(labels_max) {
            continue;
        }
        let name = label_of(&of.to_bytes());
        let slot = store.limits().look(&of)?;
        if limit.adaptive != Adaptive::Off {
            let factor = slot.as_ref().map_or(WHOLE, |slot| Pace::from_word(slot.pace()).factor);
            sheet.put(t::LIMIT_FACTOR, &[&name], factor as f64 / WHOLE as f64)?;
        }
        let rates = [(RECORDS, limit.rate), (BYTES, limit.rate_bytes)];
        for (told, rate) in rates.into_iter().filter_map(|(told, rate)| Some((told, rate?))) {
            let counters = slot.as_ref().map(|slot| slot.counters(told.counts)).unwrap_or_default();
            sheet.put(told.rate, &[&name], rate.count as f64 / rate.seconds as f64)?;
            sheet.put(told.allowed, &[&name], counters.allowed as f64)?;
            sheet.put(told.denied, &[&name], counters.denied as f64)?;
            sheet.put(t::LIMIT_WAITS, &[&name, told.name], counters.waited as f64)?;
            sheet.put(t::LIMIT_WAITED, &[&name, told.name], counters.waited_ns as f64 / 1e9)?;
        }
    }
    sheet.put(t::LEFT_OUT_LIMITS, &[], series.left_out as f64)
}
