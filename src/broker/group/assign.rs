//! How lanes are dealt to the members of a group: pure functions of who is there and who had what.

use std::collections::BTreeMap;

use crate::codec::group_event::Assign;
use crate::ids::{ConsumerId, Lane};

/// Deals the lanes `0..current.len()` to `members`, which rise. `current` is who has each lane now,
/// or is about to get it; somebody who is not a member counts as nobody. Without members nobody gets
/// anything, and the answer is empty.
#[must_use]
pub fn deal(strategy: Assign, members: &[ConsumerId], current: &[Option<ConsumerId>]) -> Vec<ConsumerId> {
    debug_assert!(members.is_sorted(), "members rise");
    if members.is_empty() {
        return Vec::new();
    }
    let (lanes, count) = (current.len(), members.len());
    match strategy {
        // The first `lanes % count` members get one lane more.
        Assign::Range => (0..count)
            .flat_map(|index| {
                let width = lanes / count + usize::from(index < lanes % count);
                std::iter::repeat_n(members[index], width)
            })
            .collect(),
        Assign::RoundRobin => (0..lanes).map(|lane| members[lane % count]).collect(),
        Assign::Sticky => sticky(members, current),
        Assign::ConsistentHash => consistent_hash(members, lanes),
    }
}

/// The lanes whose owner is another than in `current`.
#[must_use]
pub(super) fn changes(current: &[Option<ConsumerId>], dealt: &[ConsumerId]) -> Vec<(Lane, ConsumerId)> {
    let pairs = current.iter().zip(dealt).zip(0..Lane::COUNT);
    pairs.filter(|((had, gets), _)| **had != Some(**gets)).map(|((_, gets), lane)| (Lane(lane), *gets)).collect()
}

/// Nobody has more than one lane above another, and no lane moves that need not. Those who have most
/// keep the one lane more that not everyone can have: so the fewest move.
fn sticky(members: &[ConsumerId], current: &[Option<ConsumerId>]) -> Vec<ConsumerId> {
    let mut held: BTreeMap<ConsumerId, usize> = members.iter().map(|member| (*member, 0)).collect();
    for owner in current.iter().flatten() {
        if let Some(count) = held.get_mut(owner) {
            *count += 1;
        }
    }
    let mut by_held: Vec<(ConsumerId, usize)> = held.iter().map(|(member, count)| (*member, *count)).collect();
    by_held.sort_by_key(|(member, count)| (std::cmp::Reverse(*count), *member));
    let (each, more) = (current.len() / members.len(), current.len() % members.len());
    let mut room: BTreeMap<ConsumerId, usize> =
        by_held.iter().enumerate().map(|(rank, (member, _))| (*member, each + usize::from(rank < more))).collect();

    let mut kept: Vec<Option<ConsumerId>> = Vec::with_capacity(current.len());
    for owner in current {
        kept.push(owner.filter(|owner| {
            let room = room.get_mut(owner).filter(|room| **room > 0);
            room.is_some_and(|room| {
                *room -= 1;
                true
            })
        }));
    }
    let mut takers = room.into_iter().flat_map(|(member, room)| std::iter::repeat_n(member, room));
    let dealt = kept.into_iter().map(|owner| owner.or_else(|| takers.next()).expect("there is room for every lane"));
    dealt.collect()
}

/// A lane goes to the member with the highest draw for it (rendezvous hashing, by Thaler and
/// Ravishankar): one who joins takes its share from all, one who leaves hands only its own on, and
/// nothing is remembered. 1000 members draw a million times, at about a nanosecond each.
fn consistent_hash(members: &[ConsumerId], lanes: usize) -> Vec<ConsumerId> {
    let seeds: Vec<u64> = members.iter().map(|member| mix(u64::from(member.get()))).collect();
    let best = |lane: usize| {
        let salt = mix(!(lane as u64));
        let (mut winner, mut highest) = (0, 0);
        for (index, seed) in seeds.iter().enumerate() {
            let draw = (seed ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let draw = draw ^ (draw >> 32);
            let draw = draw.wrapping_mul(0xd6e8_feb8_6659_fd93);
            if draw > highest {
                (winner, highest) = (index, draw);
            }
        }
        members[winner]
    };
    (0..lanes).map(best).collect()
}

/// The finisher of splitmix64, by Sebastiano Vigna.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const ALL: [Assign; 4] = [Assign::Range, Assign::RoundRobin, Assign::Sticky, Assign::ConsistentHash];

    fn consumer(n: u32) -> ConsumerId {
        ConsumerId(NonZeroU32::new(n).expect("from 1"))
    }

    fn counts(members: &[ConsumerId], dealt: &[ConsumerId]) -> Vec<usize> {
        members.iter().map(|member| dealt.iter().filter(|owner| *owner == member).count()).collect()
    }

    fn spread(members: &[ConsumerId], dealt: &[ConsumerId]) -> usize {
        let counts = counts(members, dealt);
        counts.iter().max().expect("someone") - counts.iter().min().expect("someone")
    }

    proptest! {
        #[test]
        fn every_group_lane_has_a_member_and_the_deal_is_even(
            numbers in proptest::collection::btree_set(1u32..60, 1..20),
            had in proptest::collection::vec(proptest::option::of(1u32..60), 1024),
        ) {
            let members: Vec<ConsumerId> = numbers.into_iter().map(consumer).collect();
            let current: Vec<Option<ConsumerId>> = had.into_iter().map(|n| n.map(consumer)).collect();
            for strategy in ALL {
                let dealt = deal(strategy, &members, &current);
                prop_assert_eq!(dealt.len(), 1024);
                prop_assert!(dealt.iter().all(|owner| members.contains(owner)));
                if strategy != Assign::ConsistentHash {
                    prop_assert!(spread(&members, &dealt) <= 1, "{:?}", strategy);
                }
                let again: Vec<_> = dealt.iter().copied().map(Some).collect();
                prop_assert_eq!(&deal(strategy, &members, &again), &dealt, "{:?} deals the same again", strategy);
            }
            // What must move: lanes of nobody, and what a member has above the even share.
            let dealt = deal(Assign::Sticky, &members, &current);
            let had: Vec<usize> = members.iter().map(|m| current.iter().filter(|owner| **owner == Some(*m)).count()).collect();
            let (each, mut more) = (1024 / members.len(), 1024 % members.len());
            let mut kept = 0;
            for count in had {
                let one = usize::from(count > each && more > 0);
                more -= one;
                kept += count.min(each + one);
            }
            prop_assert_eq!(changes(&current, &dealt).len(), 1024 - kept);
        }
    }

    #[test]
    fn a_consistent_hash_moves_a_share_on_a_join_and_on_a_leave() {
        for count in [2u32, 5, 16, 50] {
            let members: Vec<ConsumerId> = (1..=count).map(consumer).collect();
            let before = deal(Assign::ConsistentHash, &members, &[None; 1024]);
            let current: Vec<_> = before.iter().copied().map(Some).collect();
            let share = 1024 / count as usize;
            assert!(counts(&members, &before).iter().all(|n| *n > share / 3 && *n < share * 2 + 10), "{count} members");

            let more: Vec<ConsumerId> = (1..=count + 1).map(consumer).collect();
            let moved = changes(&current, &deal(Assign::ConsistentHash, &more, &current));
            assert!(moved.iter().all(|(_, gets)| *gets == consumer(count + 1)));
            assert!(moved.len() < share * 2 && moved.len() > share / 3, "{} of {share}", moved.len());

            let left = deal(Assign::ConsistentHash, &members[1..], &current);
            assert!(before.iter().zip(&left).all(|(had, gets)| had == gets || *had == members[0]));
        }
    }

    #[test]
    fn a_group_of_more_members_than_lanes_is_dealt_too() {
        let members: Vec<ConsumerId> = (1..=3000).map(consumer).collect();
        for strategy in ALL {
            assert_eq!(deal(strategy, &members, &[None; 1024]).len(), 1024);
            assert_eq!(deal(strategy, &members, &[Some(consumer(2000))]).len(), 1);
        }
        assert_eq!(deal(Assign::Sticky, &members, &[Some(consumer(2000))]), [consumer(2000)]);
        assert!(deal(Assign::Sticky, &[], &[None; 1024]).is_empty());
    }
}
