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

/// The lane of a record in a group of order `key`. One without a key has no neighbours to stay in
/// order with: it goes where its offset says, so that such records spread.
#[must_use]
pub fn lane_of(key: Option<&[u8]>, offset: Offset) -> Lane {
    let hash = match key {
        Some(key) => u64::from(crc32fast::hash(key)),
        None => offset.0,
    };
    Lane((hash % u64::from(Lane::COUNT)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_of_a_group_key_is_the_same_for_ever() {
        let golden: [(&[u8], u16); 5] = [(b"", 0), (b"a", 579), (b"user-1", 532), (b"user-2", 942), (b"\xff\x00", 909)];
        assert_eq!(golden.map(|(key, _)| lane_of(Some(key), Offset(7)).0), golden.map(|(_, lane)| lane));
        assert_eq!(lane_of(None, Offset(1024 * 9 + 7)), Lane(7));
    }

    #[test]
    fn group_lanes_are_evenly_filled() {
        let mut counts = vec![0u32; 1024];
        (0..102_400).for_each(|n| counts[lane_of(Some(format!("user-{n}").as_bytes()), Offset(0)).index()] += 1);
        assert!(counts.iter().all(|count| (50..160).contains(count)), "{counts:?}");
    }
}
