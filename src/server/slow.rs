//! What took long: single commands (SLOWLOG), and how long they and syncs take at worst (LATENCY).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::client::Client;
use crate::ids::TimestampMs;

/// Of a slow command so many arguments are kept, and so many bytes of each.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;
/// The last samples of an event.
const SAMPLES_MAX: usize = 160;

/// The last commands that were slow.
#[derive(Debug)]
pub(super) struct SlowLog {
    entries: RefCell<VecDeque<SlowCommand>>,
    next_id: Cell<u64>,
    /// Slower ones are kept; `None` = none is.
    pub(super) slower_than: Cell<Option<Duration>>,
    pub(super) count_max: Cell<usize>,
}

/// A command that was slow.
#[derive(Clone, Debug)]
pub(super) struct SlowCommand {
    pub(super) id: u64,
    pub(super) at: TimestampMs,
    pub(super) took: Duration,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) address: String,
    pub(super) name: Box<[u8]>,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog {
            entries: RefCell::default(),
            next_id: Cell::new(0),
            slower_than: Cell::new(Some(Duration::from_millis(10))),
            count_max: Cell::new(128),
        }
    }
}

impl SlowLog {
    /// Whether a command that took so long is to be kept.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        self.slower_than.get().is_some_and(|least| took >= least)
    }

    pub(super) fn note(&self, client: &Client, args: &[&[u8]], took: Duration, at: TimestampMs) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let name = client.facts.name.borrow().clone();
        let slow = SlowCommand { id, at, took, args: shortened(args), address: client.address.clone(), name };
        self.entries.borrow_mut().push_front(slow);
        self.cut();
    }

    /// Lets go of what is more than is to be kept.
    pub(super) fn cut(&self) {
        self.entries.borrow_mut().truncate(self.count_max.get());
    }

    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// The last ones, the newest first.
    pub(super) fn last(&self, count: usize) -> Vec<SlowCommand> {
        self.entries.borrow().iter().take(count).cloned().collect()
    }

    pub(super) fn reset(&self) {
        self.entries.borrow_mut().clear();
    }
}

fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args[..kept]
        .iter()
        .map(|arg| match arg.get(..ARG_BYTES_MAX) {
            Some(begin) if arg.len() > ARG_BYTES_MAX => {
                [begin, format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    short
}

/// How long events took that took long, by the second.
#[derive(Debug, Default)]
pub(super) struct LatencyMonitor {
    events: RefCell<BTreeMap<&'static str, Event>>,
    /// Longer ones are kept; `None` = none is.
    pub(super) threshold: Cell<Option<Duration>>,
}

/// One kind of event.
#[derive(Clone, Debug, Default)]
pub(super) struct Event {
    /// The second, and the longest time in it, in milliseconds; the oldest first.
    pub(super) samples: VecDeque<(u64, u64)>,
    /// The longest of all, in milliseconds.
    pub(super) longest_ms: u64,
}

impl LatencyMonitor {
    /// An event took so long.
    pub(super) fn note(&self, event: &'static str, took: Duration, at: TimestampMs) {
        if self.threshold.get().is_none_or(|threshold| took < threshold) {
            return;
        }
        let (second, took_ms) = (at.0 / 1000, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let mut events = self.events.borrow_mut();
        let event = events.entry(event).or_default();
        event.longest_ms = event.longest_ms.max(took_ms);
        match event.samples.back_mut() {
            Some((last, longest)) if *last == second => *longest = (*longest).max(took_ms),
            _ => event.samples.push_back((second, took_ms)),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    pub(super) fn events(&self) -> Vec<(&'static str, Event)> {
        self.events.borrow().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// Forgets the events of these names, or all of them; says how many there were.
    pub(super) fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.events.borrow_mut();
        let before = events.len();
        events.retain(|event, _| !names.is_empty() && !names.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes())));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shortened() {
        let long = [b'x'; 130];
        let args: Vec<&[u8]> = std::iter::once(&long[..]).chain(std::iter::repeat_n(&b"a"[..], 39)).collect();
        let short = shortened(&args);
        assert_eq!(short.len(), 32);
        assert_eq!(short[0], [&long[..128], b"... (2 more bytes)"].concat());
        assert_eq!(short[31], b"... (9 more arguments)");
        assert_eq!(shortened(&args[1..33]).len(), 32);
    }

    #[test]
    fn of_a_second_the_longest_time_is_kept() {
        let monitor = LatencyMonitor::default();
        let ms = Duration::from_millis;
        monitor.note("command", ms(500), TimestampMs(1_000));
        assert!(monitor.events().is_empty(), "nobody asked for it");
        monitor.threshold.set(Some(ms(10)));
        for (took, at) in [(20, 1_000), (9, 1_100), (30, 1_900), (15, 2_000)] {
            monitor.note("command", ms(took), TimestampMs(at));
        }
        let events = monitor.events();
        assert_eq!(events[0].1.samples, [(1, 30), (2, 15)]);
        assert_eq!(events[0].1.longest_ms, 30);
        assert_eq!((monitor.reset(&[b"other"]), monitor.reset(&[b"COMMAND"])), (0, 1));
    }
}
