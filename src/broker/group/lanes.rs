//! Which lane a record belongs to. Never to be changed: journals hold lanes.

use crate::codec::group_event::Order;
use crate::ids::{Lane, Offset};

/// How many lanes a group of this order has.
#[must_use]
pub fn lane_count(order: Order) -> usize {
    match order {
        Order::None | Order::Topic => 1,
        Order::Key => usize::from(Lane::COUNT),
    }
}

/// 2^64 over the golden ratio, as Knuth proposes for hashing by a product.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
const _: () = assert!(Lane::COUNT.is_power_of_two());

/// The lane of a record in a group of order `key`. One without a key has no neighbours to stay in
/// order with: it goes where its offset says, so that such records spread.
#[must_use]
pub fn lane_of(key: Option<&[u8]>, offset: Offset) -> Lane {
    let number = key.map_or(offset.0, |key| u64::from(crc32fast::hash(key)));
    // The CRCs of keys that differ in a digit lie in one half of the lanes, since a CRC is linear, and
    // so do a few hundred offsets. The highest bits of the product depend on all of theirs.
    let lane = number.wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - Lane::COUNT.ilog2());
    Lane(lane as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_of_a_group_key_is_the_same_for_ever() {
        let golden: [(&[u8], u16); 5] = [(b"", 0), (b"a", 719), (b"user-1", 919), (b"user-2", 258), (b"\xff\x00", 407)];
        assert_eq!(golden.map(|(key, _)| lane_of(Some(key), Offset(7)).0), golden.map(|(_, lane)| lane));
        assert_eq!(lane_of(None, Offset(1024 * 9 + 7)), Lane(130));
    }

    #[test]
    fn a_few_group_keys_that_differ_in_a_digit_are_not_all_in_one_half_of_the_lanes() {
        for prefix in ["", "k", "user-", "order-00", "2026-11-0"] {
            let lanes = (0..10).map(|n| lane_of(Some(format!("{prefix}{n}").as_bytes()), Offset(0)));
            let low = lanes.filter(|lane| lane.0 < Lane::COUNT / 2).count();
            assert!((2..=8).contains(&low), "{prefix}: {low} of 10 in the lower half");
        }
        let low = (0..10).filter(|n| lane_of(None, Offset(*n)).0 < Lane::COUNT / 2).count();
        assert_eq!(low, 5, "of those without a key");
    }

    #[test]
    fn group_lanes_are_evenly_filled() {
        let mut counts = vec![0u32; 1024];
        (0..102_400).for_each(|n| counts[lane_of(Some(format!("user-{n}").as_bytes()), Offset(0)).index()] += 1);
        assert!(counts.iter().all(|count| (50..160).contains(count)), "{counts:?}");
    }
}
