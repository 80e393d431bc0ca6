//! Pending entries, found by offset, in little memory: sorted blocks, 40 bytes an entry.
//!
//! Entries come at the end and mostly go at the front, in runs: both are moves of whole stretches.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ConsumerId, Lane, Offset, Place, TimestampMs};

/// The number of a delivery. It rises with every delivery of a group, so that no two deliveries of a
/// record ever have the same, also if the journal has lost one of them: whoever shows an old one
/// comes late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease(pub u64);

impl Lease {
    /// Above all that were given out in events before this place of the journal, known or lost: a
    /// batch gives out two, and there is room for 64, in 2^38 batches an epoch.
    pub(super) fn first_at(place: Place) -> Lease {
        let batches = place.epoch.0.saturating_mul(1 << 38).saturating_add(place.offset.0);
        Lease(batches.saturating_mul(64))
    }
}

/// What is being done with a pending entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// A consumer works on it.
    Leased,
    /// It was given back, and waits for its next delivery.
    Waiting,
    /// It is on its way to the dead-letter topic.
    Dying,
}

/// A record that was delivered and is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was delivered last, or, if it waits, given back.
    pub at: TimestampMs,
    /// Its last delivery.
    pub lease: Lease,
    /// Who has it, or had it last.
    pub consumer: Option<ConsumerId>,
    /// Deliveries that count.
    pub deliveries: u32,
    /// How long after `at` it may be delivered again, if it waits.
    pub delay_ms: u32,
    /// Its lane.
    pub lane: Lane,
    /// What is being done with it.
    pub hold: Hold,
}

impl Entry {
    /// From when on an entry that waits may be delivered again.
    #[must_use]
    pub fn due(&self) -> TimestampMs {
        TimestampMs(self.at.0.saturating_add(u64::from(self.delay_ms)))
    }

    /// Whether an entry that waits may be delivered at `now`. One that was given back in the future
    /// tells of a clock that was set back since: it does not wait for that day to come again.
    #[must_use]
    pub fn is_due(&self, now: TimestampMs) -> bool {
        self.due() <= now || self.at > now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    offset: u64,
    entry: Entry,
}

/// A million pending entries are to fit 64 MB.
const _: () = assert!(size_of::<Slot>() == 40);

/// Slots of a block. Taking one out of the middle moves 2.5 KB on average.
const BLOCK_SLOTS: usize = 128;

/// A sorted map from offset to [`Entry`].
#[derive(Clone, Default)]
pub(super) struct Pending {
    /// By a lower bound of the offsets inside; never an empty block.
    blocks: BTreeMap<u64, Vec<Slot>>,
    count: usize,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn first(&self) -> Option<Offset> {
        let (_, block) = self.blocks.first_key_value()?;
        block.first().map(|slot| Offset(slot.offset))
    }

    /// Above every entry.
    pub(super) fn end(&self) -> Offset {
        let last = self.blocks.last_key_value().and_then(|(_, block)| block.last());
        last.map_or(Offset::ZERO, |slot| Offset(slot.offset).plus(1))
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Entry> {
        let (_, block) = self.blocks.range(..=offset.0).next_back()?;
        find(block, offset.0).ok().map(|index| &block[index].entry)
    }

    /// From `from` on, rising.
    pub(super) fn iter_from(&self, from: Offset) -> impl Iterator<Item = (Offset, &Entry)> {
        let first = self.blocks.range(..=from.0).next_back().map_or(from.0, |(key, _)| *key);
        let slots = self.blocks.range(first..).flat_map(|(_, block)| block);
        slots.skip_while(move |slot| slot.offset < from.0).map(|slot| (Offset(slot.offset), &slot.entry))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Offset, &Entry)> {
        self.iter_from(Offset::ZERO)
    }

    /// Adds equal entries at the end.
    pub(super) fn push_run(&mut self, run: Range<Offset>, entry: Entry) {
        debug_assert!(run.start >= self.end(), "the run lies beyond the last entry");
        let mut next = run.start.0;
        while next < run.end.0 {
            let room = self.blocks.last_entry().map_or(0, |last| BLOCK_SLOTS.saturating_sub(last.get().len()));
            if room == 0 {
                self.blocks.insert(next, Vec::new());
                continue;
            }
            let end = run.end.0.min(next + room as u64);
            if let Some(mut last) = self.blocks.last_entry() {
                let block = last.get_mut();
                let length = block.len() + (end - next) as usize;
                if length > block.capacity() {
                    // Doubled, but never beyond a full block.
                    block.reserve_exact(length.max(block.len() * 2).min(BLOCK_SLOTS) - block.len());
                }
                block.extend((next..end).map(|offset| Slot { offset, entry }));
            }
            self.count += (end - next) as usize;
            next = end;
        }
    }

    /// Puts an entry in its place; one that was there is handed back.
    pub(super) fn insert(&mut self, offset: Offset, entry: Entry) -> Option<Entry> {
        if offset >= self.end() {
            self.push_run(offset..offset.plus(1), entry);
            return None;
        }
        let key = self.block_of(offset);
        let block = self.blocks.get_mut(&key)?;
        let slot = Slot { offset: offset.0, entry };
        match find(block, offset.0) {
            Ok(index) => Some(std::mem::replace(&mut block[index], slot).entry),
            Err(index) => {
                block.insert(index, slot);
                self.count += 1;
                if block.len() > BLOCK_SLOTS {
                    let upper = block.split_off(BLOCK_SLOTS / 2);
                    self.blocks.insert(upper[0].offset, upper);
                }
                None
            }
        }
    }

    /// The block in which an offset below the end has its place.
    fn block_of(&mut self, offset: Offset) -> u64 {
        if let Some((key, _)) = self.blocks.range(..=offset.0).next_back() {
            return *key;
        }
        // It lies below all: the first block takes it, under a lower bound that holds.
        if let Some((_, block)) = self.blocks.pop_first() {
            self.blocks.insert(offset.0, block);
        }
        offset.0
    }

    /// Puts entries in their places, which rise; those that were there are handed to `gone`.
    pub(super) fn insert_all(&mut self, entries: impl Iterator<Item = (Offset, Entry)>, mut gone: impl FnMut(Offset, Entry)) {
        let mut entries = entries.map(|(offset, entry)| Slot { offset: offset.0, entry }).peekable();
        let mut merged = Vec::new();
        while let Some(first) = entries.peek().copied() {
            let from = Offset(first.offset);
            if from >= self.end() {
                self.push_run(from..from.plus(1), first.entry);
                entries.next();
                continue;
            }
            // All that goes into the same block is merged with it at once.
            let key = self.block_of(from);
            let end = self.blocks.range(key + 1..).next().map_or(self.end().0, |(next, _)| *next);
            let block = self.blocks.remove(&key).unwrap_or_default();
            self.count -= block.len();
            let mut slots = block.into_iter().peekable();
            while let Some(new) = entries.next_if(|new| new.offset < end) {
                merged.extend(std::iter::from_fn(|| slots.next_if(|slot| slot.offset < new.offset)));
                if let Some(old) = slots.next_if(|slot| slot.offset == new.offset) {
                    gone(Offset(old.offset), old.entry);
                }
                merged.push(new);
            }
            merged.extend(slots);
            self.count += merged.len();
            let parts = merged.len().div_ceil(BLOCK_SLOTS);
            for (index, part) in merged.chunks(merged.len().div_ceil(parts)).enumerate() {
                self.blocks.insert(if index == 0 { key } else { part[0].offset }, part.to_vec());
            }
            merged.clear();
        }
    }

    /// Takes out all entries of `runs`, which rise.
    pub(super) fn remove_runs(&mut self, runs: impl Iterator<Item = Range<Offset>>, mut gone: impl FnMut(Offset, Entry)) {
        let mut runs = runs.peekable();
        // Everything below is done.
        let mut next = 0;
        loop {
            while runs.next_if(|run| run.end.0 <= next).is_some() {}
            let Some(start) = runs.peek().map(|run| run.start.0.max(next)) else { return };
            let below = self.blocks.range(..=start).next_back().map(|(key, _)| *key);
            let mut from_here = self.blocks.range_mut(below.unwrap_or(start)..);
            let Some((&key, block)) = from_here.next() else { return };
            next = from_here.next().map_or(u64::MAX, |(key, _)| *key);
            let (mut kept, mut seen) = (0, 0);
            while let Some(run) = runs.peek().filter(|run| run.start.0 < next) {
                let place = |offset: u64| seen + find(&block[seen..], offset).unwrap_or_else(|index| index);
                let part = place(run.start.0)..place(run.end.0);
                block[part.clone()].iter().for_each(|slot| gone(Offset(slot.offset), slot.entry));
                self.count -= part.len();
                block.copy_within(seen..part.start, kept);
                kept += part.start - seen;
                seen = part.end;
                if run.end.0 > next {
                    break;
                }
                runs.next();
            }
            block.copy_within(seen.., kept);
            block.truncate(kept + block.len() - seen);
            if block.is_empty() {
                self.blocks.remove(&key);
            } else {
                self.tidy(key);
            }
        }
    }

    /// After slots went: a thin block gives memory back, and joins a thin neighbour.
    fn tidy(&mut self, key: u64) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        if block.len() > BLOCK_SLOTS / 4 {
            return;
        }
        if block.capacity() > block.len() * 4 {
            block.shrink_to(block.len() * 2);
        }
        let before = self.blocks.range(..key).next_back().map(|(before, _)| *before);
        let after = self.blocks.range(key + 1..).next().map(|(after, _)| *after);
        let joined = before.is_some_and(|before| self.join(before, key));
        if let Some(after) = after.filter(|_| !joined) {
            self.join(key, after);
        }
    }

    /// Makes one block of two neighbours, if it leaves room; says whether.
    fn join(&mut self, lower: u64, upper: u64) -> bool {
        let length = |key| self.blocks.get(key).map_or(0, Vec::len);
        if length(&lower) + length(&upper) > BLOCK_SLOTS / 2 {
            return false;
        }
        let slots = self.blocks.remove(&upper).unwrap_or_default();
        if let Some(block) = self.blocks.get_mut(&lower) {
            block.extend(slots);
        }
        true
    }
}

/// As a binary search. Entries are mostly dense: the first guess is where the offset would then be.
fn find(block: &[Slot], offset: u64) -> Result<usize, usize> {
    let base = block.first().map_or(0, |slot| slot.offset);
    let guess = usize::try_from(offset.wrapping_sub(base)).unwrap_or(usize::MAX);
    match block.get(guess) {
        Some(slot) if slot.offset == offset => Ok(guess),
        _ => block.binary_search_by_key(&offset, |slot| slot.offset),
    }
}

impl PartialEq for Pending {
    /// How the entries lie in blocks does not matter.
    fn eq(&self, other: &Pending) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Pending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.count))?;
        self.blocks.values().flatten().try_for_each(|slot| list.serialize_element(slot))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Pending {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pending, D::Error> {
        struct Slots;
        impl<'de> Visitor<'de> for Slots {
            type Value = Pending;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pending entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pending, A::Error> {
                let mut pending = Pending::default();
                while let Some(Slot { offset, entry }) = list.next_element()? {
                    if Offset(offset) < pending.end() || offset == u64::MAX {
                        return Err(A::Error::custom("pending entries do not rise"));
                    }
                    pending.push_run(Offset(offset)..Offset(offset + 1), entry);
                }
                Ok(pending)
            }
        }
        deserializer.deserialize_seq(Slots)
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;
    use proptest::prelude::*;

    fn entry(deliveries: u32) -> Entry {
        let hold = Hold::Leased;
        Entry { at: TimestampMs(5), lease: Lease(1), consumer: None, deliveries, delay_ms: 0, lane: Lane(3), hold }
    }

    proptest! {
        #[test]
        fn group_pending_is_a_sorted_map(
            steps in proptest::collection::vec((0u8..5, 0u64..2000, 1u64..300, 1usize..70), 0..120),
        ) {
            let mut pending = Pending::default();
            let mut model = BTreeMap::new();
            for (index, (kind, at, count, stride)) in steps.into_iter().enumerate() {
                let entry = entry(index as u32);
                match kind {
                    0 => {
                        let run = pending.end()..pending.end().plus(count);
                        model.extend((run.start.0..run.end.0).map(|offset| (offset, entry)));
                        pending.push_run(run, entry);
                    }
                    1 => prop_assert_eq!(pending.insert(Offset(at), entry), model.insert(at, entry)),
                    2 => {
                        let mut gone = None;
                        pending.remove_runs(once(Offset(at)..Offset(at + 1)), |_, entry| gone = Some(entry));
                        prop_assert_eq!(gone, model.remove(&at));
                    }
                    3 => {
                        let mut gone = Vec::new();
                        let rising = (at..at + count).step_by(stride).map(|offset| (Offset(offset), entry));
                        pending.insert_all(rising, |offset, entry| gone.push((offset.0, entry)));
                        let offsets = (at..at + count).step_by(stride);
                        let was: Vec<_> = offsets.filter_map(|offset| Some((offset, model.insert(offset, entry)?))).collect();
                        prop_assert_eq!(gone, was);
                    }
                    _ => {
                        let mut gone = Vec::new();
                        let runs = (at..at + count).step_by(2 * stride);
                        let runs: Vec<_> = runs.map(|start| start..start + stride as u64).collect();
                        let rising = runs.iter().map(|run| Offset(run.start)..Offset(run.end));
                        pending.remove_runs(rising, |offset, entry| gone.push((offset.0, entry)));
                        let (out, kept) = model.into_iter().partition(|(offset, _)| runs.iter().any(|run| run.contains(offset)));
                        model = kept;
                        prop_assert!(gone.into_iter().eq(BTreeMap::into_iter(out)));
                    }
                }
                prop_assert_eq!(pending.len(), model.len());
                prop_assert_eq!(pending.get(Offset(at)), model.get(&at));
                prop_assert_eq!(pending.first().map(|offset| offset.0), model.keys().next().copied());
                prop_assert!(pending.blocks.values().all(|block| !block.is_empty() && block.len() <= BLOCK_SLOTS));
            }
            prop_assert!(pending.iter().map(|(offset, entry)| (offset.0, *entry)).eq(model.iter().map(|(o, e)| (*o, *e))));
            prop_assert!(pending.iter_from(Offset(700)).map(|(offset, _)| offset.0).eq(model.range(700..).map(|(o, _)| *o)));
        }
    }

    #[test]
    fn a_million_group_entries_stay_below_64_mb() {
        let mut pending = Pending::default();
        (0..10_000).for_each(|n| pending.push_run(Offset(n * 100)..Offset(n * 100 + 100), entry(1)));
        let bytes = |pending: &Pending| {
            let blocks = pending.blocks.values().map(|block| block.capacity() * size_of::<Slot>() + 16);
            blocks.sum::<usize>() + pending.blocks.len() * 2 * (8 + size_of::<Vec<Slot>>())
        };
        assert!(bytes(&pending) < 43_000_000, "{}", bytes(&pending));
        // What is left of many more gives its memory back.
        for offset in (0..1_000_000).filter(|offset| offset % 100 != 0) {
            pending.remove_runs(once(Offset(offset)..Offset(offset + 1)), |_, _| {});
        }
        assert_eq!(pending.len(), 10_000);
        assert!(bytes(&pending) < 10_000 * 200, "{}", bytes(&pending));
    }
}
