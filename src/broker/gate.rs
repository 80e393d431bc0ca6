//! What has to be passed before something is published or read: the limits that hold for it, all of them or none.

use std::time::Duration;

use super::limits::{BEHIND_MAX, Bucket, Pace, TICKS_PER_SECOND, WHOLE, WINDOW, from_duration, p99, to_duration};
use crate::clock::Clock;
use crate::config::{Adaptive, LimitOf, LimitSettings};
use crate::error::{Error, Result};
use crate::ids::TopicName;
use crate::store::{CLASSES, Counts, LimitSlot, Store};

/// Who waits longer than this does not stand in the queue meanwhile: should he die, others would wait for nobody.
const AHEAD_MAX: u64 = 60 * TICKS_PER_SECOND;
/// How often it is looked whether the file is still there.
const LOOK_EVERY: u64 = TICKS_PER_SECOND;
/// A stretch of reading: reading goes on this often, at least, where there are many records.
const STRETCHES_PER_SECOND: u64 = 20;
/// A class of loads is a twentieth of the target.
const CLASSES_PER_TARGET: u128 = 20;
const _: () = assert!(BEHIND_MAX > AHEAD_MAX);

/// Limits, in the order in which they are passed. Free when there are none.
#[derive(Clone, Debug)]
pub struct Gate {
    limits: Vec<Limit>,
    clock: Clock,
    look_at: u64,
    /// Until when whoever passes was told to wait last, in ticks.
    due: u64,
    /// What a record took of those that were read last.
    record_bytes: Option<u64>,
    taken: Taken,
}

/// What was taken last, and what it cost in which bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    amount: Amount,
    costs: [Option<(usize, Counts, u64)>; 4],
}

/// One limit, with its shared numbers.
#[derive(Clone, Debug)]
struct Limit {
    of: LimitOf,
    slot: LimitSlot,
    buckets: [Option<Bucket>; 2],
    adaptive: Adaptive,
}

/// What is taken: records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Records.
    pub records: u64,
    /// Bytes, as they are stored without compression.
    pub bytes: u64,
}

impl Amount {
    fn of(self, counts: Counts) -> u64 {
        match counts {
            Counts::Records => self.records,
            Counts::Bytes => self.bytes,
        }
    }
}

/// What took how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An append, without its sync.
    Append,
    /// A sync.
    Sync,
}

/// One limit had to be waited for longer than whoever takes is willing to.
struct Refused {
    limit: usize,
    counts: Counts,
    wait: u64,
}

const BOTH: [Counts; 2] = [Counts::Records, Counts::Bytes];

impl Gate {
    /// Nothing holds anybody up.
    #[must_use]
    pub fn free() -> Gate {
        Gate { limits: Vec::new(), clock: Clock::system(), look_at: 0, due: 0, record_bytes: None, taken: Taken::default() }
    }

    /// What is passed to publish to a topic that is set like this.
    ///
    /// # Errors
    /// [`Error::Limited`] when the store has too many limits in use.
    pub fn to_publish(store: &Store, topic: &TopicName, settings: &LimitSettings) -> Result<Gate> {
        let global = store.limit_rules_or_none().global();
        Gate::new(store, [(LimitOf::Global, global), (LimitOf::Topic(topic.clone()), *settings)])
    }

    /// What is passed to read under a name; without one, under that of all who have none.
    ///
    /// # Errors
    /// As [`Gate::to_publish`].
    pub fn to_read(store: &Store, name: &[u8]) -> Result<Gate> {
        Gate::new(store, [(LimitOf::Reader(name.into()), store.limit_rules_or_none().reader(name))])
    }

    fn new(store: &Store, wanted: impl IntoIterator<Item = (LimitOf, LimitSettings)>) -> Result<Gate> {
        let mut gate = Gate {
            limits: Vec::new(),
            clock: store.clock().clone(),
            look_at: 0,
            due: 0,
            record_bytes: None,
            taken: Taken::default(),
        };
        for (of, settings) in wanted.into_iter().filter(|(_, settings)| settings.is_limit()) {
            let slot = match store.limits().slot(&of, gate.now()) {
                Err(error @ Error::Limited { .. }) => return Err(error),
                Err(error) => {
                    // Better without limits than not at all: a store that may only be read has nowhere to count.
                    tracing::warn!("{error}; the limit of {of} does not hold here");
                    continue;
                }
                Ok(slot) => slot,
            };
            let records = settings.rate.map(|rate| Bucket::new(rate, settings.burst));
            let bytes = settings.rate_bytes.map(|rate| Bucket::new(rate, settings.burst_bytes));
            gate.limits.push(Limit { of, slot, buckets: [records, bytes], adaptive: settings.adaptive });
        }
        gate.look_at = gate.now().saturating_add(LOOK_EVERY);
        Ok(gate)
    }

    /// Whether nothing holds anybody up.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.limits.is_empty()
    }

    fn now(&self) -> u64 {
        self.clock.since_boot_ns().saturating_mul(TICKS_PER_SECOND / 1_000_000_000)
    }

    /// The most that passes at once without being behind afterwards; `None` = any.
    #[must_use]
    pub fn burst(&self, counts: Counts) -> Option<u64> {
        self.limits.iter().filter_map(|limit| limit.buckets[counts as usize]).map(|bucket| bucket.burst()).min()
    }

    /// Takes from all limits, or from none. What is returned is to be waited before going on; it is no longer than
    /// `patience`.
    ///
    /// # Errors
    /// [`Error::Limited`] when it would be, with the time after which to come again: nothing was taken.
    pub fn pass(&mut self, store: &Store, amount: Amount, patience: Duration) -> Result<Duration> {
        if self.limits.is_empty() {
            return Ok(Duration::ZERO);
        }
        let now = self.looked_at(store)?;
        match self.take(now, amount, from_duration(patience)) {
            Ok(wait) => Ok(to_duration(wait)),
            Err(refused) => Err(self.refuse(&refused, amount)),
        }
    }

    /// Now; the file is the one at its path.
    fn looked_at(&mut self, store: &Store) -> Result<u64> {
        let now = self.now();
        if now >= self.look_at {
            self.look(store, now)?;
        }
        Ok(now)
    }

    fn refuse(&self, refused: &Refused, amount: Amount) -> Error {
        let limit = &self.limits[refused.limit];
        limit.slot.count_denied(refused.counts, amount.of(refused.counts));
        Error::Limited { limit: limit.of.to_string(), again_in: to_duration(refused.wait) }
    }

    fn take(&mut self, now: u64, amount: Amount, patience: u64) -> Result<u64, Refused> {
        self.taken = Taken::default();
        let mut wait = 0;
        if self.limits.len() > 1 || amount.bytes > 0 {
            // Most refusals are seen before anything is taken.
            self.each_bucket(|index, limit, counts, bucket, factor| {
                let wait = bucket.take(limit.slot.full_at(counts), now, amount.of(counts), factor).wait;
                if wait <= patience { Ok(()) } else { Err(Refused { limit: index, counts, wait }) }
            })?;
        }
        let mut taken = Taken { amount, ..Taken::default() };
        let mut count = 0;
        let outcome = self.each_bucket(|index, limit, counts, bucket, factor| {
            loop {
                let before = limit.slot.full_at(counts);
                let decision = bucket.take(before, now, amount.of(counts), factor);
                if decision.wait > patience {
                    return Err(Refused { limit: index, counts, wait: decision.wait });
                }
                if limit.slot.set_full_at(counts, before, decision.full_at) {
                    limit.slot.count_allowed(counts, amount.of(counts));
                    if decision.wait > 0 {
                        limit.slot.count_wait(counts, to_duration(decision.wait));
                    }
                    wait = wait.max(decision.wait);
                    taken.costs[count] = Some((index, counts, decision.cost));
                    count += 1;
                    return Ok(());
                }
            }
        });
        self.taken = taken;
        if let Err(refused) = outcome {
            self.give_back();
            return Err(refused);
        }
        Ok(wait)
    }

    /// Visits all buckets, while `each` says that all is well.
    fn each_bucket<E>(&self, mut each: impl FnMut(usize, &Limit, Counts, &Bucket, u64) -> Result<(), E>) -> Result<(), E> {
        for (index, limit) in self.limits.iter().enumerate() {
            let factor = limit.factor();
            for counts in BOTH {
                if let Some(bucket) = &limit.buckets[counts as usize] {
                    each(index, limit, counts, bucket, factor)?;
                }
            }
        }
        Ok(())
    }

    /// Gives back what was taken last and is not used after all.
    pub fn give_back(&mut self) {
        let Taken { amount, costs } = std::mem::take(&mut self.taken);
        for (index, counts, cost) in costs.into_iter().flatten() {
            self.limits[index].slot.give_back(counts, amount.of(counts), cost);
        }
    }

    /// The moment at which who waited was due, if he comes hardly later: what he overslept, on a busy machine, is not lost.
    fn due_or(&mut self, now: u64) -> u64 {
        let due = std::mem::take(&mut self.due);
        if due < now && now - due < OVERSLEPT_MAX { due } else { now }
    }

    /// As [`Gate::pass`], and waits: `patience` at most, whatever has to be waited for. `on_wait` is called before that;
    /// `stop` is asked from time to time whether to give up.
    ///
    /// # Errors
    /// What `stop` says: what was taken is given back then.
    pub fn pass_slowly(
        &mut self,
        store: &Store,
        amount: Amount,
        patience: Duration,
        on_wait: impl FnOnce(),
        mut stop: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let (began, patience) = (self.now(), from_duration(patience));
        let mut on_wait = Some(on_wait);
        loop {
            let now = self.looked_at(store)?;
            let left = patience.saturating_sub(now.saturating_sub(began));
            let at = self.due_or(now);
            let taken = self.take(at, amount, left.min(AHEAD_MAX));
            if let Ok(wait) = taken {
                self.due = if wait == 0 { 0 } else { at.saturating_add(wait) };
                if self.due <= now {
                    return Ok(());
                }
            }
            if let Err(refused) = &taken
                && refused.wait > left
            {
                return Err(self.refuse(refused, amount));
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            match taken {
                Ok(_) => return self.sleep(to_duration(self.due - now), stop),
                // The queue is too long to stand in, not too long to come back to.
                Err(refused) => {
                    stop()?;
                    std::thread::sleep(to_duration(refused.wait - AHEAD_MAX).clamp(SLICE / 10, SLICE));
                }
            }
        }
    }

    /// Waits for what was taken in advance.
    fn sleep(&mut self, wait: Duration, mut stop: impl FnMut() -> Result<()>) -> Result<()> {
        let until = std::time::Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Err(error) = stop() {
                self.give_back();
                return Err(error);
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    /// How many records may be read now, of those that there are: a stretch of them, or none and how long that lasts.
    /// What is read is to be [`Gate::charge`]d.
    pub fn stretch(&mut self, store: &Store) -> Result<Stretch> {
        if self.limits.is_empty() {
            return Ok(Stretch { records: u64::MAX, bytes: u64::MAX, wait: Duration::ZERO });
        }
        let now = self.looked_at(store)?;
        let mut most = [u64::MAX; 2];
        let mut wait = 0;
        let _ = self.each_bucket::<()>(|_, limit, counts, bucket, factor| {
            let second = TICKS_PER_SECOND / STRETCHES_PER_SECOND;
            let wanted = (second / bucket.cost(1, factor).max(1)).clamp(1, bucket.burst());
            let full_at = limit.slot.full_at(counts);
            let available = bucket.available(full_at, now, factor);
            if available < wanted {
                wait = wait.max(bucket.take(full_at, now, wanted, factor).wait);
            }
            most[counts as usize] = most[counts as usize].min(available.max(wanted));
            Ok(())
        });
        if wait > 0 {
            self.due = now.saturating_add(wait);
        }
        Ok(Stretch { records: most[0], bytes: most[1], wait: to_duration(wait) })
    }

    /// How many records such a stretch has, if they are like those that were read last; one, as long as there were none.
    #[must_use]
    pub fn records_in(&self, stretch: &Stretch) -> u64 {
        if stretch.bytes == u64::MAX {
            return stretch.records;
        }
        self.record_bytes.map_or(1, |bytes| stretch.bytes / bytes.max(1)).clamp(1, stretch.records)
    }

    /// Takes what was read, also where that is more than is there. `waited` = for how long it was waited for.
    pub fn charge(&mut self, amount: Amount, waited: Duration) {
        if self.limits.is_empty() {
            return;
        }
        let now = self.now();
        let now = self.due_or(now);
        self.record_bytes = amount.bytes.checked_div(amount.records).or(self.record_bytes);
        let _ = self.each_bucket::<()>(|_, limit, counts, bucket, factor| {
            loop {
                let before = limit.slot.full_at(counts);
                let decision = bucket.take(before, now, amount.of(counts), factor);
                if limit.slot.set_full_at(counts, before, decision.full_at) {
                    limit.slot.count_allowed(counts, amount.of(counts));
                    if !waited.is_zero() {
                        limit.slot.count_wait(counts, waited);
                    }
                    return Ok(());
                }
            }
        });
    }

    /// Takes up the file that is at its path now.
    fn look(&mut self, store: &Store, now: u64) -> Result<()> {
        self.look_at = now.saturating_add(LOOK_EVERY);
        store.limits().refresh()?;
        for limit in &mut self.limits {
            limit.slot = store.limits().slot(&limit.of, now)?;
        }
        Ok(())
    }

    /// Notes how long something took, for the limits that adapt to that.
    pub fn note(&self, work: Work, took: Duration) {
        for limit in &self.limits {
            let target = match (limit.adaptive, work) {
                (Adaptive::Append(target), Work::Append) | (Adaptive::Sync(target), Work::Sync) => target,
                _ => continue,
            };
            let class = took.as_nanos() * CLASSES_PER_TARGET / target.as_nanos().max(1);
            limit.slot.count_load(usize::try_from(class).unwrap_or(CLASSES));
        }
    }

    /// Whether a limit adapts to what takes so long.
    #[must_use]
    pub fn notes(&self, work: Work) -> bool {
        self.limits.iter().any(|limit| match limit.adaptive {
            Adaptive::Append(_) => work == Work::Append,
            Adaptive::Sync(_) => work == Work::Sync,
            _ => false,
        })
    }

    /// Whether it is time for [`Gate::adapt`].
    #[must_use]
    pub fn adapts_now(&self) -> bool {
        let adapts = |limit: &&Limit| limit.adaptive != Adaptive::Off;
        let mut adaptive = self.limits.iter().filter(adapts).peekable();
        if adaptive.peek().is_none() {
            return false;
        }
        let now = self.now();
        adaptive.any(|limit| limit.is_window_over(now))
    }

    /// Looks at the load where it is time for that, and changes the factors. `lag` tells how far the slowest group of the
    /// topic is behind; it is asked at most once in ten seconds, by one of all processes.
    pub fn adapt(&self, lag: impl Fn() -> Result<Lag>) -> Result<()> {
        if !self.adapts_now() {
            return Ok(());
        }
        let now = self.now();
        for limit in self.limits.iter().filter(|limit| limit.adaptive != Adaptive::Off && limit.is_window_over(now)) {
            let end = limit.slot.window_end();
            if !limit.slot.begin_window(end, now + WINDOW) {
                continue;
            }
            let loads = limit.slot.take_loads();
            if end == 0 {
                continue;
            }
            let load = match limit.adaptive {
                Adaptive::LagRecords(target) => ratio(u128::from(lag()?.records), u128::from(target)),
                Adaptive::LagTime(target) => ratio(u128::from(lag()?.ms), target.as_millis()),
                _ => p99(&loads).map_or(0, |class| (class as u64 + 1) * WHOLE / CLASSES_PER_TARGET as u64),
            };
            let mut pace = Pace::from_word(limit.slot.pace()).after(load);
            // Windows in which nobody looked were idle. A lag has not vanished by that.
            let is_lag = matches!(limit.adaptive, Adaptive::LagRecords(_) | Adaptive::LagTime(_));
            for _ in 0..if is_lag { 0 } else { (now.saturating_sub(end) / WINDOW).min(IDLE_MAX) } {
                pace = pace.after(0);
            }
            limit.slot.set_pace(pace.to_word());
        }
        Ok(())
    }
}

/// Who comes later than this did not oversleep.
const OVERSLEPT_MAX: u64 = TICKS_PER_SECOND / 20;
/// More idle windows than it takes to get back to the whole rate.
const IDLE_MAX: u64 = 100;
/// Who waits looks this often whether to give up.
const SLICE: Duration = Duration::from_millis(50);

fn ratio(load: u128, target: u128) -> u64 {
    u64::try_from(load.saturating_mul(u128::from(WHOLE)) / target.max(1)).unwrap_or(u64::MAX)
}

impl Limit {
    fn is_window_over(&self, now: u64) -> bool {
        // An end that is too far away is of another clock.
        !(now..=now + WINDOW).contains(&self.slot.window_end().saturating_sub(1))
    }

    fn factor(&self) -> u64 {
        if self.adaptive == Adaptive::Off { WHOLE } else { Pace::from_word(self.slot.pace()).factor }
    }
}

/// How much may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Records, at least 1.
    pub records: u64,
    /// Their bytes, at least 1; the last record may go beyond.
    pub bytes: u64,
    /// Not before this time is over.
    pub wait: Duration,
}

/// How far a group is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// In records.
    pub records: u64,
    /// How old the first of them is.
    pub ms: u64,
}

#[cfg(test)]
mod tests;
