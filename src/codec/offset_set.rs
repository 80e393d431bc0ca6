//! A set of offsets that lie close together or far apart, in little memory.
//!
//! Offsets come in blocks of 4096. A block that is in the set as a whole costs its entry in a map,
//! one with few of its offsets two bytes for each, any other a bitmap of 512 bytes: 10 million offsets
//! out of 20 million take 2.5 MB, out of 10 million next to nothing. Blocks are shared by clones until
//! one of them changes, so that a clone costs a pointer for each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::varint;
use crate::ids::Offset;

/// Offsets of a block.
const BLOCK: u64 = 4096;
const WORDS: usize = (BLOCK / 64) as usize;
/// From here on a bitmap is smaller than a list.
const FEW_MAX: usize = 256;

/// A set of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetSet {
    blocks: BTreeMap<u64, Block>,
    count: u64,
}

/// The offsets of one block; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    All,
    /// Rising.
    Few(Arc<Vec<u16>>),
    Many(Arc<Bits>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bits {
    words: [u64; WORDS],
    count: u16,
}

impl Block {
    fn count(&self) -> u64 {
        match self {
            Block::All => BLOCK,
            Block::Few(few) => few.len() as u64,
            Block::Many(bits) => u64::from(bits.count),
        }
    }

    fn contains(&self, at: u16) -> bool {
        match self {
            Block::All => true,
            Block::Few(few) => few.binary_search(&at).is_ok(),
            Block::Many(bits) => bits.words[usize::from(at / 64)] >> (at % 64) & 1 == 1,
        }
    }

    /// `false` when it was there already.
    fn insert(&mut self, at: u16) -> bool {
        match self {
            Block::All => false,
            Block::Few(few) => {
                let Err(place) = few.binary_search(&at) else { return false };
                Arc::make_mut(few).insert(place, at);
                if few.len() > FEW_MAX {
                    *self = Block::of(&Bits::of(few));
                }
                true
            }
            Block::Many(bits) => {
                let (word, bit) = (usize::from(at / 64), 1 << (at % 64));
                if bits.words[word] & bit != 0 {
                    return false;
                }
                let bits = Arc::make_mut(bits);
                bits.words[word] |= bit;
                bits.count += 1;
                if u64::from(bits.count) == BLOCK {
                    *self = Block::All;
                }
                true
            }
        }
    }

    /// Its bits, for changes that are rare.
    fn bits(&self) -> Bits {
        match self {
            Block::All => Bits { words: [u64::MAX; WORDS], count: BLOCK as u16 },
            Block::Few(few) => Bits::of(few),
            Block::Many(bits) => Bits::clone(bits),
        }
    }

    /// The smallest form of `bits`, of which there is at least one.
    fn of(bits: &Bits) -> Block {
        match usize::from(bits.count) {
            count if count as u64 == BLOCK => Block::All,
            count if count <= FEW_MAX => Block::Few(Arc::new(bits.list())),
            _ => Block::Many(Arc::new(bits.clone())),
        }
    }

    /// The first at or after `at` that is in the set, or is not.
    fn next(&self, at: u16, wanted: bool) -> Option<u16> {
        match self {
            Block::All => wanted.then_some(at),
            Block::Few(few) if wanted => few.get(few.partition_point(|other| *other < at)).copied(),
            Block::Few(_) => (at..BLOCK as u16).find(|at| !self.contains(*at)),
            Block::Many(bits) => bits.next(at, wanted),
        }
    }

    /// How many lie below `at`.
    fn count_below(&self, at: u16) -> u64 {
        match self {
            Block::All => u64::from(at),
            Block::Few(few) => few.partition_point(|other| *other < at) as u64,
            Block::Many(bits) => {
                let (word, bit) = (usize::from(at / 64), at % 64);
                let whole: u32 = bits.words[..word].iter().map(|word| word.count_ones()).sum();
                u64::from(whole + (bits.words[word] & ((1 << bit) - 1)).count_ones())
            }
        }
    }
}

impl Bits {
    fn of(list: &[u16]) -> Bits {
        let mut bits = Bits { words: [0; WORDS], count: list.len() as u16 };
        list.iter().for_each(|at| bits.words[usize::from(at / 64)] |= 1 << (at % 64));
        bits
    }

    fn recount(mut self) -> Bits {
        self.count = self.words.iter().map(|word| word.count_ones() as u16).sum();
        self
    }

    fn list(&self) -> Vec<u16> {
        let mut list = Vec::with_capacity(usize::from(self.count));
        let mut from = 0;
        while let Some(at) = self.next(from, true) {
            list.push(at);
            from = at + 1;
        }
        list
    }

    fn next(&self, at: u16, wanted: bool) -> Option<u16> {
        let mut word = usize::from(at / 64);
        let flip = if wanted { 0 } else { u64::MAX };
        let mut left = (*self.words.get(word)? ^ flip) & (u64::MAX << (at % 64));
        loop {
            if left != 0 {
                return Some(word as u16 * 64 + left.trailing_zeros() as u16);
            }
            word += 1;
            left = self.words.get(word)? ^ flip;
        }
    }
}

fn split(offset: Offset) -> (u64, u16) {
    (offset.0 / BLOCK, (offset.0 % BLOCK) as u16)
}

fn join(block: u64, at: u16) -> Offset {
    Offset(block * BLOCK + u64::from(at))
}

impl OffsetSet {
    /// How many offsets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether `offset` is among them.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        let (block, at) = split(offset);
        self.blocks.get(&block).is_some_and(|block| block.contains(at))
    }

    /// Adds an offset; `false` when it was there already.
    pub fn insert(&mut self, offset: Offset) -> bool {
        let (block, at) = split(offset);
        let block = self.blocks.entry(block).or_insert_with(|| Block::Few(Arc::new(Vec::new())));
        let is_new = block.insert(at);
        self.count += u64::from(is_new);
        is_new
    }

    /// Adds all of a range.
    pub fn insert_all(&mut self, range: Range<Offset>) {
        let mut from = range.start;
        while from < range.end {
            let (block, at) = split(from);
            if at == 0 && range.end.since(from) >= BLOCK {
                let before = self.blocks.insert(block, Block::All).map_or(0, |block| block.count());
                self.count += BLOCK - before;
                from = from.plus(BLOCK);
            } else {
                self.insert(from);
                from = from.plus(1);
            }
        }
    }

    /// The first at or after `from` that is in the set.
    #[must_use]
    pub fn next_in(&self, from: Offset) -> Option<Offset> {
        let (first, at) = split(from);
        self.blocks.range(first..).find_map(|(number, block)| {
            let at = if *number == first { at } else { 0 };
            block.next(at, true).map(|at| join(*number, at))
        })
    }

    /// The first at or after `from` that is not in the set.
    #[must_use]
    pub fn next_out(&self, from: Offset) -> Offset {
        let (mut number, mut at) = split(from);
        while let Some(block) = self.blocks.get(&number) {
            if let Some(at) = block.next(at, false) {
                return join(number, at);
            }
            (number, at) = (number + 1, 0);
        }
        join(number, at)
    }

    /// How many lie in a range.
    #[must_use]
    pub fn count_in(&self, range: Range<Offset>) -> u64 {
        if range.start >= range.end {
            return 0;
        }
        let ((first, from), (last, until)) = (split(range.start), split(range.end));
        let whole: u64 = self.blocks.range(first..last).map(|(_, block)| block.count()).sum();
        let below = |number: u64, at: u16| self.blocks.get(&number).map_or(0, |block| block.count_below(at));
        whole + below(last, until) - below(first, from)
    }

    /// Leaves out what lies below `start`.
    pub fn drop_below(&mut self, start: Offset) {
        let (first, at) = split(start);
        self.blocks = self.blocks.split_off(&first);
        self.narrow(first, |bits| {
            bits[..usize::from(at / 64)].fill(0);
            bits[usize::from(at / 64)] &= u64::MAX << (at % 64);
        });
    }

    /// Leaves out what lies at or above `end`.
    pub fn drop_from(&mut self, end: Offset) {
        let (last, at) = split(end);
        self.blocks.split_off(&(last.saturating_add(1)));
        self.narrow(last, |bits| {
            bits[usize::from(at / 64) + 1..].fill(0);
            bits[usize::from(at / 64)] &= (1 << (at % 64)) - 1;
        });
    }

    fn narrow(&mut self, number: u64, clear: impl FnOnce(&mut [u64; WORDS])) {
        if let Some(block) = self.blocks.get_mut(&number) {
            let mut bits = block.bits();
            clear(&mut bits.words);
            let bits = bits.recount();
            if bits.count == 0 {
                self.blocks.remove(&number);
            } else {
                *block = Block::of(&bits);
            }
        }
        self.count = self.blocks.values().map(Block::count).sum();
    }

    /// Bytes that [`OffsetSet::encode`] writes, at most.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        let of = |block: &Block| match block {
            Block::All => 0,
            Block::Few(few) => 2 + 2 * few.len() as u64,
            Block::Many(_) => BLOCK / 8,
        };
        self.blocks.values().map(|block| of(block) + 11).sum::<u64>() + 10
    }

    /// Appends: the number of blocks; for each, how many lie between it and the one before, and what
    /// it is: 0 = all of its offsets, 1 = a bitmap of 512 bytes, else 1 more than how many offsets,
    /// and these, each as the distance from the one before.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.blocks.len() as u64);
        let mut next = 0;
        for (number, block) in &self.blocks {
            varint::put(out, number - next);
            next = number + 1;
            match block {
                Block::All => varint::put(out, 0),
                Block::Many(bits) => {
                    varint::put(out, 1);
                    bits.words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
                }
                Block::Few(few) => {
                    varint::put(out, few.len() as u64 + 1);
                    let mut next = 0;
                    for at in few.iter() {
                        varint::put(out, u64::from(at - next));
                        next = at + 1;
                    }
                }
            }
        }
    }

    /// `None` when the bytes end first, or tell of no set.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<OffsetSet> {
        let blocks = varint::take(bytes)?;
        let mut set = OffsetSet::default();
        let mut next = 0u64;
        for _ in 0..blocks {
            let number = next.checked_add(varint::take(bytes)?).filter(|number| *number <= u64::MAX / BLOCK)?;
            next = number + 1;
            let block = match varint::take(bytes)? {
                0 => Block::All,
                1 => take_bits(bytes)?,
                count => take_few(bytes, usize::try_from(count - 1).ok().filter(|count| *count <= FEW_MAX)?)?,
            };
            set.count += block.count();
            set.blocks.insert(number, block);
        }
        Some(set)
    }
}

fn take_bits(bytes: &mut &[u8]) -> Option<Block> {
    let mut bits = Bits { words: [0; WORDS], count: 0 };
    for word in &mut bits.words {
        let (taken, rest) = bytes.split_first_chunk::<8>()?;
        (*word, *bytes) = (u64::from_le_bytes(*taken), rest);
    }
    let bits = bits.recount();
    (bits.count > 0).then(|| Block::of(&bits))
}

fn take_few(bytes: &mut &[u8], count: usize) -> Option<Block> {
    let mut few = Vec::with_capacity(count);
    let mut next = 0u64;
    for _ in 0..count {
        let at = next.checked_add(varint::take(bytes)?).filter(|at| *at < BLOCK)?;
        few.push(at as u16);
        next = at + 1;
    }
    Some(Block::Few(Arc::new(few)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Change {
        One(u64),
        All(u64, u64),
        Below(u64),
        From(u64),
    }

    /// Three blocks and a little more, so that each is empty, full or in between.
    const END: u64 = 3 * BLOCK + 100;

    fn change() -> impl Strategy<Value = Change> {
        let near = prop_oneof![0..END, Just(BLOCK - 1), Just(BLOCK), Just(2 * BLOCK)];
        prop_oneof![
            4 => near.clone().prop_map(Change::One),
            4 => (near.clone(), 0..600u64).prop_map(|(from, count)| Change::All(from, from + count)),
            1 => (near.clone(), 0..2 * BLOCK).prop_map(|(from, count)| Change::All(from, from + count)),
            1 => (0..BLOCK).prop_map(Change::Below),
            1 => near.prop_map(|end| Change::From(end + BLOCK)),
        ]
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_into_it(changes in proptest::collection::vec(change(), 1..40), at in 0..END) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for change in changes {
                match change {
                    Change::One(offset) => prop_assert_eq!(set.insert(Offset(offset)), model.insert(offset)),
                    Change::All(from, until) => {
                        set.insert_all(Offset(from)..Offset(until));
                        model.extend(from..until);
                    }
                    Change::Below(start) => {
                        set.drop_below(Offset(start));
                        model = model.split_off(&start);
                    }
                    Change::From(end) => {
                        set.drop_from(Offset(end));
                        model.split_off(&end);
                    }
                }
            }
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.next_in(Offset(at)), model.range(at..).next().copied().map(Offset));
            prop_assert_eq!(set.next_out(Offset(at)), Offset((at..).find(|other| !model.contains(other)).expect("one")));
            prop_assert_eq!(set.count_in(Offset(at)..Offset(END / 2)), model.iter().filter(|o| (at..END / 2).contains(o)).count() as u64);
            prop_assert!((0..END + BLOCK).all(|offset| set.contains(Offset(offset)) == model.contains(&offset)));
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            prop_assert!(bytes.len() as u64 <= set.bytes_max());
            let mut rest = &bytes[..];
            prop_assert_eq!(OffsetSet::decode(&mut rest), Some(set));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn bytes_that_are_no_set_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut rest = &bytes[..];
            if let Some(set) = OffsetSet::decode(&mut rest) {
                prop_assert_eq!(set.count(), set.blocks.values().map(Block::count).sum::<u64>());
            }
        }
    }

    #[test]
    fn ten_million_offsets_take_two_and_a_half_megabytes_or_less() {
        let mut set = OffsetSet::default();
        (0..10_000_000).for_each(|offset| {
            set.insert(Offset(offset * 2));
        });
        assert_eq!(set.count(), 10_000_000);
        assert!(set.bytes_max() < 2_600_000, "{}", set.bytes_max());
        let mut dense = OffsetSet::default();
        dense.insert_all(Offset(5)..Offset(10_000_005));
        assert!(dense.bytes_max() < 30_000, "{}", dense.bytes_max());
    }
}
