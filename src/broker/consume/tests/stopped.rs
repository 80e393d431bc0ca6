//! A consumer that lives, and one whose process was stopped for longer than a session and goes on.

use super::*;

/// Longer than a session, and than a lease.
const LONG_MS: u64 = 31_000;

#[test]
fn who_lives_keeps_what_it_works_on_however_short_the_lease() {
    for lease_ms in [100, 1_000, 8_000] {
        let settings = GroupSettings { lease_ms, ..GroupSettings::default() };
        let (dir, clock, hand) = made(&settings, 10);
        let stores = [open(dir.path(), &clock), open(dir.path(), &clock)];
        let flushers = [Flusher::default(), Flusher::default()];
        let mut works = join(&stores[0], &flushers[0], "works");
        let mut other = join(&stores[1], &flushers[1], "other");
        let held = take(&mut works, 10);
        for _ in 0..200 {
            hand.fetch_add(lease_ms / 3, Ordering::SeqCst);
            works.looked = None;
            works.look_after_others().expect("looks");
            assert!(take(&mut other, 10).is_empty(), "a lease of {lease_ms} ms");
        }
        assert!(works.settler().ack(&receipts(&held)).expect("acks").is_empty());
    }
}

#[test]
fn who_was_taken_for_dead_is_refused_and_joins_again() {
    for order in [Order::None, Order::Key, Order::Topic] {
        for is_passing in [false, true] {
            let settings = GroupSettings { order, ..GroupSettings::default() };
            let (dir, clock, hand) = made(&settings, 60);
            let stores = [open(dir.path(), &clock), open(dir.path(), &clock)];
            let flushers = [Flusher::default(), Flusher::default()];
            let name: &[u8] = b"stopped";
            let how = Joining { name: (!is_passing).then_some(name), is_manual: false, job: Job::new() };
            let mut stopped = GroupMember::join(&stores[0], &flushers[0], &topic(), &group_name(), &how).expect("joins");
            let mut other = join(&stores[1], &flushers[1], "other");
            let held = take(&mut stopped, 10);
            assert!(!held.is_empty());
            hand.fetch_add(LONG_MS, Ordering::SeqCst);
            other.settler.members.beat(other.me, other.settler.group.now());
            // It takes the other's place, and what that one held.
            let got: Vec<(Delivery, u64)> = (0..10).flat_map(|_| take(&mut other, 7)).collect();
            let worked: Vec<u64> = got.iter().map(|(_, value)| *value).collect();
            assert!(held.iter().all(|(_, value)| worked.contains(value)), "{order:?}: {worked:?}");
            assert_eq!(worked.len(), 60, "{order:?}: each once");
            let me = stopped.me;
            assert!(other.state().consumer(me).is_none_or(|consumer| !consumer.is_member), "{order:?}");
            // It goes on where it was.
            assert_eq!(stopped.settler().ack(&receipts(&held)).expect("asks"), receipts(&held), "{order:?}: too late");
            assert!(other.settler().ack(&receipts(&got)).expect("acks").is_empty());
            publish(&stores[1], 60..120);
            let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            let mut shares = [0; 2];
            for _ in 0..60 {
                for (share, member) in shares.iter_mut().zip([&mut stopped, &mut other]) {
                    let got = take(member, 3);
                    *share += got.len();
                    got.iter().for_each(|(_, value)| by_key.entry(value % 10).or_default().push(*value));
                    assert!(member.settler().ack(&receipts(&got)).expect("acks").is_empty());
                }
            }
            assert!(stopped.state().consumer(stopped.me).is_some_and(|consumer| consumer.is_member), "{order:?}");
            assert_eq!(stopped.me != me, is_passing, "{order:?}: a made-up name goes with its consumer");
            assert!(by_key.values().flatten().count() == 60 && by_key.values().all(|values| values.is_sorted()));
            // Who stands by is given nothing.
            assert_eq!(shares[0] > 0, order != Order::Topic, "{order:?}: {shares:?}");
            drop(stopped);
            hand.fetch_add(LONG_MS, Ordering::SeqCst);
            assert!(take(&mut other, 1).is_empty() && other.is_drained().expect("looks"));
        }
    }
}
