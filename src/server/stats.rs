//! What the server counts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tracing::warn;

use crate::ids::TimestampMs;

/// Longer times count as this: a minute, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Counters of a whole server.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) started: Instant,
    pub(super) connections: Cell<u64>,
    pub(super) connections_rejected: Cell<u64>,
    pub(super) commands: Cell<u64>,
    pub(super) errors: Cell<u64>,
    pub(super) bytes_in: Cell<u64>,
    pub(super) bytes_out: Cell<u64>,
    /// Clients closed since they did not read what they were sent.
    pub(super) closed_for_output: Cell<u64>,
    /// Clients closed since they sent more than the query buffer takes.
    pub(super) closed_for_query: Cell<u64>,
    pub(super) closed_for_idling: Cell<u64>,
    /// Wrong passwords.
    pub(super) auth_failed: Cell<u64>,
    /// When they were last logged, and how many there were then.
    auth_logged: Cell<Option<(Instant, u64)>>,
    /// Topics deleted since their time had come.
    pub(super) topics_expired: Cell<u64>,
    pub(super) blocked_clients: Cell<usize>,
    /// What happened in the last second.
    pub(super) recent: RefCell<Recent>,
    /// By the first word of an error.
    pub(super) errors_by_kind: RefCell<BTreeMap<String, u64>>,
    pub(super) by_command: RefCell<BTreeMap<&'static str, CommandStats>>,
    /// When the last sync ended; at first, when the server began.
    pub(super) synced_at: Cell<TimestampMs>,
    pub(super) syncs_failed: Cell<u64>,
    pub(super) append: Latency,
    pub(super) sync: Latency,
    pub(super) command: Latency,
}

/// What is counted of one command.
#[derive(Debug)]
pub(super) struct CommandStats {
    pub(super) calls: u64,
    pub(super) time: Duration,
    pub(super) failed: u64,
    pub(super) rejected: u64,
    pub(super) latency: Latency,
}

impl CommandStats {
    fn new() -> CommandStats {
        CommandStats { calls: 0, time: Duration::ZERO, failed: 0, rejected: 0, latency: Latency::new() }
    }
}

/// How long something took, as a histogram of microseconds.
#[derive(Debug)]
pub(super) struct Latency(RefCell<Histogram<u32>>);

impl Latency {
    fn new() -> Latency {
        Latency(RefCell::new(Histogram::new_with_max(LONGEST_US, 2).expect("two digits up to a minute are a histogram")))
    }

    pub(super) fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.borrow_mut().saturating_record(micros);
    }

    /// The time, in microseconds, within which this share of all was done.
    pub(super) fn percentile(&self, percent: f64) -> u64 {
        self.0.borrow().value_at_percentile(percent)
    }

    /// How many were done within 1, 2, 4 ... microseconds: from the first that any was done within to the
    /// first that all were.
    pub(super) fn cumulative(&self) -> Vec<(u64, u64)> {
        let histogram = self.0.borrow();
        let (total, mut counts) = (histogram.len(), Vec::new());
        for micros in std::iter::successors(Some(1), |micros| Some(micros * 2)).take_while(|micros| *micros <= LONGEST_US * 2) {
            let count = histogram.count_between(0, micros);
            if count > 0 {
                counts.push((micros, count));
            }
            if count == total {
                break;
            }
        }
        counts
    }

    pub(super) fn reset(&self) {
        self.0.borrow_mut().reset();
    }
}

/// What happened a second ago, and since then.
#[derive(Debug)]
pub(super) struct Recent {
    at: Instant,
    counts: Counts<u64>,
    per_second: Counts<f64>,
}

/// What is counted by the second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts<T> {
    pub(super) commands: T,
    pub(super) bytes_in: T,
    pub(super) bytes_out: T,
}

impl Stats {
    pub(super) fn new(began: TimestampMs) -> Stats {
        let now = Instant::now();
        Stats {
            started: now,
            connections: Cell::default(),
            connections_rejected: Cell::default(),
            commands: Cell::default(),
            errors: Cell::default(),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            closed_for_output: Cell::default(),
            closed_for_query: Cell::default(),
            closed_for_idling: Cell::default(),
            auth_failed: Cell::default(),
            auth_logged: Cell::default(),
            topics_expired: Cell::default(),
            blocked_clients: Cell::default(),
            recent: RefCell::new(Recent { at: now, counts: Counts::default(), per_second: Counts::default() }),
            errors_by_kind: RefCell::default(),
            by_command: RefCell::default(),
            synced_at: Cell::new(began),
            syncs_failed: Cell::default(),
            append: Latency::new(),
            sync: Latency::new(),
            command: Latency::new(),
        }
    }

    /// A command ran for so long.
    pub(super) fn note_command(&self, name: &'static str, time: Duration, failed: bool) {
        self.commands.set(self.commands.get() + 1);
        self.command.note(time);
        let mut by_command = self.by_command.borrow_mut();
        let stats = by_command.entry(name).or_insert_with(CommandStats::new);
        stats.calls += 1;
        stats.latency.note(time);
        stats.time += time;
        stats.failed += u64::from(failed);
    }

    /// A command was not run.
    pub(super) fn note_rejected(&self, name: &'static str) {
        self.by_command.borrow_mut().entry(name).or_insert_with(CommandStats::new).rejected += 1;
    }

    /// A client was told this.
    pub(super) fn note_error(&self, text: &str) {
        self.errors.set(self.errors.get() + 1);
        let kind = text.split(' ').next().unwrap_or(text);
        let mut kinds = self.errors_by_kind.borrow_mut();
        match kinds.get_mut(kind) {
            Some(count) => *count += 1,
            // Prefixes are the server's own words, so they are few.
            None => drop(kinds.insert(kind.to_owned(), 1)),
        }
    }

    /// Somebody did not know the password. Logged at most once a second: whoever tries many fills no disk.
    pub(super) fn note_auth_failed(&self, address: &str) {
        let count = self.auth_failed.get() + 1;
        self.auth_failed.set(count);
        let now = Instant::now();
        let (last, logged) = self.auth_logged.get().map_or((None, 0), |(at, count)| (Some(at), count));
        if last.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1)) {
            warn!(address, failed = count.saturating_sub(logged), "wrong passwords");
            self.auth_logged.set(Some((now, count)));
        }
    }

    pub(super) fn add(counter: &Cell<u64>, count: u64) {
        counter.set(counter.get() + count);
    }

    /// To be called about every second.
    pub(super) fn tick(&self) {
        let mut recent = self.recent.borrow_mut();
        let now = Instant::now();
        let counts = Counts { commands: self.commands.get(), bytes_in: self.bytes_in.get(), bytes_out: self.bytes_out.get() };
        let (before, seconds) = (recent.counts, now.duration_since(recent.at).as_secs_f64());
        if seconds > 0.0 {
            let rate = |count: u64, before: u64| (count - before) as f64 / seconds;
            recent.per_second = Counts {
                commands: rate(counts.commands, before.commands),
                bytes_in: rate(counts.bytes_in, before.bytes_in),
                bytes_out: rate(counts.bytes_out, before.bytes_out),
            };
        }
        (recent.at, recent.counts) = (now, counts);
    }

    /// What happened in the second before the last tick.
    pub(super) fn per_second(&self) -> Counts<f64> {
        self.recent.borrow().per_second
    }

    /// Forgets what CONFIG RESETSTAT forgets.
    pub(super) fn reset(&self) {
        for counter in [&self.connections, &self.connections_rejected, &self.errors, &self.bytes_in, &self.bytes_out] {
            counter.set(0);
        }
        for counter in [&self.closed_for_output, &self.closed_for_query, &self.closed_for_idling, &self.auth_failed] {
            counter.set(0);
        }
        self.topics_expired.set(0);
        self.auth_logged.set(None);
        self.commands.set(0);
        self.recent.borrow_mut().counts = Counts::default();
        self.errors_by_kind.borrow_mut().clear();
        self.by_command.borrow_mut().clear();
        [&self.append, &self.sync, &self.command].into_iter().for_each(Latency::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_the_first_that_all_were_done_within() {
        let latency = Latency::new();
        assert!(latency.cumulative().is_empty());
        for micros in [3, 3, 100, 100_000_000] {
            latency.note(Duration::from_micros(micros));
        }
        let counts = latency.cumulative();
        assert_eq!(counts[..2], [(4, 2), (8, 2)]);
        assert_eq!(counts[5], (128, 3));
        assert_eq!(counts.last().map(|(_, count)| *count), Some(4));
    }
}
