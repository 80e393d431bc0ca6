use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::store::StoreOptions;
use crate::units::Rate;

fn gate(place: &tempfile::TempDir, settings: &LimitSettings) -> (Store, Gate, Arc<AtomicU64>) {
    let hand = Arc::new(AtomicU64::new(1_000_000));
    let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::manual(Arc::clone(&hand)) };
    let store = Store::open(place.path(), &options).expect("opens");
    let gate = Gate::to_publish(&store, &TopicName::new(b"t").expect("legal"), settings).expect("free");
    (store, gate, hand)
}

#[test]
fn what_is_given_back_is_what_was_taken() {
    let place = tempfile::tempdir().expect("a directory");
    let rate = Some(Rate { count: 1, seconds: 3600 });
    let (store, mut gate, _) = gate(&place, &LimitSettings { rate, burst: Some(2), ..LimitSettings::default() });
    let mut pass = |records| gate.pass(&store, Amount { records, bytes: 0 }, Duration::ZERO).is_ok().then(|| gate.clone());
    // More than a day of it: so much is not taken.
    pass(1_000_000).expect("the bucket is full").give_back();
    assert!(pass(2).is_some(), "it is full again");
    assert!(pass(1).is_none(), "and not fuller than that");
}

#[test]
fn a_lag_does_not_vanish_while_nobody_publishes() {
    for (adaptive, is_kept) in [
        (Adaptive::LagRecords(10), true),
        (Adaptive::LagTime(Duration::from_secs(1)), true),
        (Adaptive::Append(Duration::from_millis(1)), false),
    ] {
        let place = tempfile::tempdir().expect("a directory");
        let rate = Some(Rate { count: 1000, seconds: 1 });
        let (_store, gate, hand) = gate(&place, &LimitSettings { rate, adaptive, ..LimitSettings::default() });
        for wait_ms in [0, 11_000, 11_000, 3_600_000] {
            hand.fetch_add(wait_ms, Ordering::Relaxed);
            gate.adapt(|| Ok(Lag { records: 1000, ms: 100_000 })).expect("looked");
            gate.note(Work::Append, Duration::from_secs(1));
        }
        assert_eq!(gate.limits[0].factor() < WHOLE, is_kept, "{adaptive}");
    }
}
