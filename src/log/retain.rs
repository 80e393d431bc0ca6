//! Retention: which whole sealed segments may go. A segment goes once every record in it is beyond one of
//! the limits, so never more goes than a limit says; up to a segment more is kept.
//!
//! **Ages.** A record's age counts from the newest record's ID, or from now, whichever is earlier: a clock
//! that jumps ahead expires nothing. A topic that is idle would keep its last records for ever by that, so
//! the time that it has been seen to be idle, by the machine's uptime, is added to the newest record's ID.

use std::time::Duration;

use super::Log;
use super::locks::{self, APPEND};
use super::memory::Memory;
use super::segment;
use crate::codec::segment::{file_name, index_name};
use crate::error::Result;
use crate::ids::Offset;
use crate::job::Job;

/// What is seen of an idle log is written down when this part of the age that counts has passed.
const IDLE_STEP: u64 = 16;

/// What a log is to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records that are not older.
    pub max_age: Option<Duration>,
    /// The newest so many bytes.
    pub max_bytes: Option<u64>,
    /// The newest so many records.
    pub max_records: Option<u64>,
    /// Of the newest so many bytes, what a group has not committed; `None` = groups do not count.
    pub protect_bytes_max: Option<u64>,
}

/// What is beyond the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// The log start now.
    pub from: Offset,
    /// The first offset that is to be kept.
    pub until: Offset,
    /// Records below it.
    pub records: u64,
    /// Whole segments below it.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes beyond the limits that are kept for a group.
    pub protected_bytes: u64,
}

/// A segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    base: Offset,
    end: Offset,
    bytes: u64,
    records: u64,
    /// The time of its last record; `None` = nobody knows.
    newest_ms: Option<u64>,
}

impl Log {
    /// What is beyond the limits. `committed` is asked only if there is anything: up to where all groups
    /// have settled what they got; `None` = there is no group.
    pub fn expired(&self, retention: &Retention, committed: impl FnOnce() -> Result<Option<Offset>>) -> Result<Expired> {
        let from = self.log_start();
        let spans = self.spans()?;
        let count = expired_count(&spans, retention, self.reference_ms(&Memory::read(self)?));
        let mut expired = Expired { from, until: from, ..Expired::default() };
        if count == 0 {
            return Ok(expired);
        }
        let floor = if retention.protect_bytes_max.is_some() { committed()? } else { None };
        let free = free_count(&spans[..], retention.protect_bytes_max, floor).min(count);
        expired.protected_bytes = spans[free..count].iter().map(|span| span.bytes).sum();
        // What is below the log start is there for its origins only.
        let gone: Vec<&Span> = spans[..free].iter().filter(|span| span.end > from).collect();
        expired.until = gone.last().map_or(from, |last| last.end).max(from);
        // The active segment is emptied, and not removed.
        expired.segments = gone.len() as u64;
        expired.bytes = gone.iter().map(|span| span.bytes).sum();
        expired.records = self.live_in(from..expired.until)?;
        Ok(expired)
    }

    /// From when ages count, in ms since 1970.
    pub(super) fn reference_ms(&self, memory: &Memory) -> u64 {
        let newest_ms = self.counters().last_id.ms;
        self.clock.now().0.min(newest_ms.saturating_add(memory.idle.now(self).for_ms))
    }

    /// Writes down how long the log has been idle, if that matters to an age of `max_age`; and seals a
    /// segment that has grown old, which the next append would do, were there one.
    pub fn note_time(&self, max_age: Option<Duration>, job: &Job) -> Result<()> {
        self.seal_if_old(job)?;
        let Some(max_age) = max_age else { return Ok(()) };
        let mut memory = Memory::read(self)?;
        let idle = memory.idle.now(self);
        let step = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX) / IDLE_STEP;
        let is_worth_it = idle.for_ms == 0 || idle.for_ms - memory.idle.for_ms.min(idle.for_ms) >= step;
        if is_worth_it && let Ok(_maintaining) = self.try_maintain(self.head()?) {
            memory = Memory { idle, ..Memory::read(self)? };
            memory.write(self)?;
        }
        Ok(())
    }

    fn seal_if_old(&self, job: &Job) -> Result<()> {
        let head = self.head()?;
        let is_old = |slot: &super::slot::Slot| {
            let age = self.clock.now().0.saturating_sub(slot.active_created.0);
            slot.log_end > slot.active_base && Duration::from_millis(age) >= self.options().segment_age
        };
        if !is_old(&head.slot()) {
            return Ok(());
        }
        self.settle_astray(job)?;
        let mut appender = locks::take_mutex(&self.append, APPEND, self, job)?;
        let _held = locks::take(head, APPEND, self, job)?;
        let mut slot = self.ready_for_control(head, &mut appender, job)?;
        if is_old(&slot) { self.roll(head, &mut appender, &mut slot) } else { Ok(()) }
    }

    /// All segments in force, the active one last. What cannot be read of a header is taken from a later one:
    /// that makes segments newer than they are.
    fn spans(&self) -> Result<Vec<Span>> {
        let tip = self.tip();
        let bases: Vec<Offset> = segment::list(&self.dir)?.into_iter().filter(|base| !tip.is_behind(*base)).collect();
        let mut in_force = Vec::with_capacity(bases.len());
        let mut rest = &bases[..];
        while let Some(base) = rest.first() {
            in_force.push(*base);
            rest = &rest[self.count_with_first(rest)?..];
        }
        let mut spans = Vec::with_capacity(in_force.len());
        let (mut end, mut newest_ms) = (tip.end, Some(self.counters().last_id.ms));
        for base in in_force.into_iter().rev() {
            let length = |name: String| Ok(self.dir.stat(name.as_bytes())?.map_or(0, |meta| meta.length));
            let bytes = length(file_name(base))? + length(index_name(base))?;
            let header = segment::header_of(&self.dir, base)?;
            let removed = header.as_ref().map_or(0, |header| header.compacted.removed);
            let records = end.since(base).saturating_sub(removed);
            spans.push(Span { base, end, bytes, records, newest_ms });
            if let Some(header) = header {
                newest_ms = Some(header.last_id.ms);
            }
            end = base;
        }
        spans.reverse();
        Ok(spans)
    }
}

/// How many of the first segments are beyond a limit. The last one is active, and is only if it has aged.
fn expired_count(spans: &[Span], retention: &Retention, reference_ms: u64) -> usize {
    let mut newer_bytes: u64 = spans.iter().map(|span| span.bytes).sum();
    let mut newer_records: u64 = spans.iter().map(|span| span.records).sum();
    let max_age_ms = retention.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let mut count = 0;
    for (index, span) in spans.iter().enumerate() {
        newer_bytes -= span.bytes;
        newer_records -= span.records;
        let is_active = index + 1 == spans.len();
        let has_aged = max_age_ms
            .zip(span.newest_ms)
            .is_some_and(|(max_age_ms, newest_ms)| reference_ms.saturating_sub(newest_ms) > max_age_ms);
        let is_beyond = retention.max_bytes.is_some_and(|max| newer_bytes >= max)
            || retention.max_records.is_some_and(|max| newer_records >= max);
        if !has_aged && (is_active || !is_beyond) || span.base == span.end {
            break;
        }
        count += 1;
    }
    count
}

/// How many of the first segments no group needs, or are beyond what is kept for groups.
fn free_count(spans: &[Span], protect_bytes_max: Option<u64>, committed: Option<Offset>) -> usize {
    let (Some(max), Some(committed)) = (protect_bytes_max, committed) else { return spans.len() };
    let mut newer_bytes: u64 = spans.iter().map(|span| span.bytes).sum();
    let is_needed = |span: &Span| {
        newer_bytes -= span.bytes;
        span.end > committed && newer_bytes < max
    };
    spans.iter().position(is_needed).unwrap_or(spans.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 10 offsets and 100 bytes, a second apart; the last one is active.
    fn spans(count: u64) -> Vec<Span> {
        let span = |index: u64| Span {
            base: Offset(index * 10),
            end: Offset(index * 10 + 10),
            bytes: 100,
            records: 10,
            newest_ms: Some(1000 + index * 1000),
        };
        (0..count).map(span).collect()
    }

    #[test]
    fn a_segment_goes_when_all_of_it_is_beyond_a_limit() {
        let spans = spans(10);
        let of = |retention: Retention, now: u64| expired_count(&spans, &retention, now);
        let bytes = |max| Retention { max_bytes: Some(max), ..Retention::default() };
        assert_eq!([0, 100, 101, 899, 900, 901].map(|max| of(bytes(max), 0)), [9, 9, 8, 1, 1, 0]);
        let records = |max| Retention { max_records: Some(max), ..Retention::default() };
        assert_eq!([0, 10, 11, 90, 91].map(|max| of(records(max), 0)), [9, 9, 8, 1, 0]);
        let age = |ms| Retention { max_age: Some(Duration::from_millis(ms)), ..Retention::default() };
        assert_eq!([8999, 9000, 9001, 500].map(|ms| of(age(ms), 10_000)), [1, 0, 0, 9]);
        assert_eq!(of(age(500), 10_501), 10, "what is idle for so long goes too");
        let both = Retention { max_records: Some(50), ..age(8000) };
        assert_eq!(of(both, 10_000), 5, "any limit");
    }

    #[test]
    fn what_a_group_has_not_committed_stays_up_to_a_size() {
        let spans = spans(10);
        let free = |max, committed| free_count(&spans, max, committed);
        assert_eq!(free(None, Some(Offset(0))), 10);
        assert_eq!(free(Some(10_000), None), 10);
        assert_eq!([0, 9, 10, 35, 100].map(|at| free(Some(10_000), Some(Offset(at)))), [0, 0, 1, 3, 10]);
        assert_eq!([900, 899, 300, 1].map(|max| free(Some(max), Some(Offset(5)))), [1, 1, 7, 9]);
    }

    #[test]
    fn a_segment_whose_time_nobody_knows_does_not_age() {
        let mut spans = spans(3);
        spans[0].newest_ms = None;
        let retention = Retention { max_age: Some(Duration::from_millis(1)), ..Retention::default() };
        assert_eq!(expired_count(&spans, &retention, 1_000_000), 0);
    }
}
