//! Which records are superseded: those whose key has a newer record.
//!
//! Keys are told apart by 128 bits of a hash whose key is drawn anew for each run (SipHash-1-3): that two
//! keys of a billion collide by chance is less likely than 1 in 10^20, and nobody can make them. A table in
//! memory holds the newest offset of each key. Where there may be more keys than fit, hashes and offsets go
//! into a file first, sorted into parts by their hash, and each part goes through the table alone: memory
//! does not grow with the number of keys.

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use super::spill::Spill;
use crate::disk::{Dir, random};
use crate::error::Result;
use crate::ids::Offset;

/// The most slots of the table: 24 MiB.
const SLOTS_MAX: usize = 1 << 20;
const PARTS: usize = 256;
/// Offsets whose bits are in memory at a time: 16 MiB.
const WINDOW: u64 = 1 << 27;
/// Bytes of an entry: the hash, and the offset.
const ENTRY_BYTES: usize = 24;

/// What bounds the memory; smaller in tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct SieveLimits {
    /// Slots of the table, a power of two.
    pub(super) slots_max: usize,
    /// Offsets whose bits are in memory at a time, a multiple of 64.
    pub(super) window: u64,
}

impl Default for SieveLimits {
    fn default() -> SieveLimits {
        SieveLimits { slots_max: SLOTS_MAX, window: WINDOW }
    }
}

/// Takes keys in, in the order of their offsets.
#[derive(Debug)]
pub(super) struct Sieve<'a> {
    keys: (u64, u64),
    limits: SieveLimits,
    spill: Option<Spill<'a>>,
    table: Table,
    superseded: Superseded<'a>,
}

/// 128 bits, and an offset + 1; zero = empty.
type Slot = [u64; 3];

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    mask: usize,
    used: usize,
}

impl Table {
    /// Empties the table, and makes room for so many keys, or as many as fit.
    fn clear(&mut self, keys: u64, slots_max: usize) {
        let wanted = usize::try_from(keys + keys / 2).unwrap_or(usize::MAX);
        let count = wanted.checked_next_power_of_two().unwrap_or(usize::MAX).clamp(16, slots_max);
        self.slots.clear();
        self.slots.resize(count, [0; 3]);
        (self.mask, self.used) = (count - 1, 0);
    }

    /// Notes the newest offset of a key; returns the one before. `Err` = there is no room.
    fn put(&mut self, hash: (u64, u64), offset: Offset) -> std::result::Result<Option<Offset>, ()> {
        let mut at = hash.1 as usize & self.mask;
        loop {
            let slot = &mut self.slots[at];
            if slot[2] == 0 {
                if self.used >= self.mask - self.mask / 16 {
                    return Err(());
                }
                self.used += 1;
                *slot = [hash.0, hash.1, offset.0 + 1];
                return Ok(None);
            }
            if (slot[0], slot[1]) == hash {
                let before = std::mem::replace(&mut slot[2], offset.0 + 1);
                return Ok(Some(Offset(before - 1)));
            }
            at = (at + 1) & self.mask;
        }
    }
}

impl<'a> Sieve<'a> {
    /// For records with offsets in `[start, end)`, of which there are `records` at most; files are made in
    /// `dir`, with names that begin with `prefix`. `bases` are those of their segments.
    pub(super) fn new(
        dir: &'a Dir,
        prefix: &'a str,
        records: u64,
        bases: Vec<Offset>,
        end: Offset,
        limits: SieveLimits,
    ) -> Result<Sieve<'a>> {
        let [k0, k1] = [random::<8>(), random::<8>()].map(u64::from_le_bytes);
        let fits = records + records / 2 <= limits.slots_max as u64;
        let mut table = Table::default();
        if fits {
            table.clear(records, limits.slots_max);
        }
        let spill = if fits { None } else { Some(Spill::create(dir, prefix, PARTS, ENTRY_BYTES)?) };
        let superseded = Superseded::new(dir, prefix, bases, end, limits.window)?;
        Ok(Sieve { keys: (k0, k1), limits, spill, table, superseded })
    }

    /// Takes in the key of the record at `offset`.
    pub(super) fn add(&mut self, key: &[u8], offset: Offset) -> Result<()> {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(key);
        let hash = hasher.finish128();
        let hash = (hash.h1, hash.h2);
        match &mut self.spill {
            None => settle(&mut self.table, &mut self.superseded, hash, offset),
            Some(spill) => {
                let mut entry = [0; ENTRY_BYTES];
                entry[..8].copy_from_slice(&hash.0.to_le_bytes());
                entry[8..16].copy_from_slice(&hash.1.to_le_bytes());
                entry[16..].copy_from_slice(&offset.0.to_le_bytes());
                spill.push(part_of(hash), &entry)
            }
        }
    }

    /// Says which are superseded.
    pub(super) fn finish(mut self, check: impl Fn() -> Result<()>) -> Result<Superseded<'a>> {
        let Some(spill) = self.spill.take() else { return Ok(self.superseded) };
        let (table, superseded) = (&mut self.table, &mut self.superseded);
        let keys_max = (self.limits.slots_max / 2) as u64;
        for part in 0..PARTS {
            check()?;
            let entries = spill.entries(part);
            // Of a part that is too large, one share after another.
            let shares = entries.div_ceil(keys_max).max(1);
            for share in 0..shares {
                table.clear(entries / shares, self.limits.slots_max);
                spill.for_each(part, |entry| {
                    let [a, b, offset] = [0, 8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|index| entry[at + index])));
                    if shares > 1 && (a >> 8) % shares != share {
                        return Ok(());
                    }
                    settle(table, superseded, (a, b), Offset(offset))
                })?;
            }
        }
        Ok(self.superseded)
    }
}

/// Of the bits that the table does not use first.
fn part_of(hash: (u64, u64)) -> usize {
    hash.0 as usize % PARTS
}

fn settle(table: &mut Table, superseded: &mut Superseded<'_>, hash: (u64, u64), offset: Offset) -> Result<()> {
    match table.put(hash, offset) {
        Ok(Some(before)) => superseded.insert(before),
        Ok(None) => Ok(()),
        // Kept, as all that nobody knows to be superseded is.
        Err(()) => {
            superseded.is_complete = false;
            Ok(())
        }
    }
}

/// Offsets whose records are superseded. Asked in rising order.
#[derive(Debug)]
pub(super) struct Superseded<'a> {
    bases: Vec<Offset>,
    /// How many there are in each segment.
    counts: Vec<u64>,
    start: Offset,
    window: u64,
    /// The bits of a window of offsets, and which.
    bits: Vec<u64>,
    at: u64,
    /// Where there are several windows.
    spill: Option<Spill<'a>>,
    /// Whether all were found.
    pub(super) is_complete: bool,
}

impl<'a> Superseded<'a> {
    fn new(dir: &'a Dir, prefix: &str, bases: Vec<Offset>, end: Offset, window: u64) -> Result<Superseded<'a>> {
        let start = bases.first().copied().unwrap_or(end);
        let offsets = end.since(start);
        let windows = usize::try_from(offsets.div_ceil(window)).unwrap_or(usize::MAX);
        let spill = if windows > 1 { Some(Spill::create(dir, prefix, windows, 8)?) } else { None };
        let words = usize::try_from(offsets.min(window).div_ceil(64)).expect("a window fits into memory");
        let counts = vec![0; bases.len()];
        Ok(Superseded { bases, counts, start, window, bits: vec![0; words], at: u64::MAX, spill, is_complete: true })
    }

    fn insert(&mut self, offset: Offset) -> Result<()> {
        self.counts[self.bases.partition_point(|base| *base <= offset) - 1] += 1;
        let at = offset.since(self.start);
        match &mut self.spill {
            None => {
                self.bits[(at / 64) as usize] |= 1 << (at % 64);
                Ok(())
            }
            Some(spill) => spill.push((at / self.window) as usize, &at.to_le_bytes()),
        }
    }

    /// How many there are in a segment, by its index among the bases.
    pub(super) fn count(&self, segment: usize) -> u64 {
        self.counts[segment]
    }

    /// Whether a record is superseded. Asked in rising order, each window is read once.
    pub(super) fn contains(&mut self, offset: Offset) -> Result<bool> {
        let at = offset.since(self.start);
        if let Some(spill) = &self.spill
            && at / self.window != self.at
        {
            self.at = at / self.window;
            self.bits.fill(0);
            let (bits, first) = (&mut self.bits, self.at * self.window);
            spill.for_each(self.at as usize, |entry| {
                let at = u64::from_le_bytes(std::array::from_fn(|index| entry[index])) - first;
                bits[(at / 64) as usize] |= 1 << (at % 64);
                Ok(())
            })?;
        }
        let at = at % self.window;
        Ok(self.bits.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1))
    }
}
