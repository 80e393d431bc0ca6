//! What does passing a rate limit cost: with none set, one, four; by one thread, and by two on the same bucket? And how
//! exactly is a limit kept by those who wait for it?

mod common;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use drave::broker::{Amount, Gate};
use drave::clock::Clock;
use drave::config::{LimitOf, LimitSettings};
use drave::job::Job;
use drave::store::{Store, StoreOptions};
use drave::units::Rate;

const ONE: Amount = Amount { records: 1, bytes: 100 };

fn open(path: &Path) -> Store {
    Store::open(path, &StoreOptions { create: true, unsafe_fs: false, clock: Clock::system() }).expect("a store")
}

fn limit(count: u64, bytes: bool) -> LimitSettings {
    let rate = Some(Rate { count, seconds: 1 });
    LimitSettings { rate, rate_bytes: rate.filter(|_| bytes), ..LimitSettings::default() }
}

/// A limit that is never reached.
const FAST: u64 = 1_000_000_000_000;

fn pass(criterion: &mut Criterion) {
    let dir = common::directory();
    let store = open(dir.path());
    let mut group = criterion.benchmark_group("pass");
    let mut bench = |name: &str, mut gate: Gate| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(gate.pass(&store, black_box(ONE), Duration::ZERO)).expect("it is fast enough"));
        });
    };
    bench("no limit", Gate::free());
    bench("one bucket", Gate::to_publish(&store, &common::topic(), &limit(FAST, false)).expect("a gate"));
    let global = [("rate", "1000000000000/s"), ("rate-bytes", "1000000000000B/s")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    store.set_limit(&LimitOf::Global, &global, &Job::new()).expect("set");
    bench("four buckets", Gate::to_publish(&store, &common::topic(), &limit(FAST, true)).expect("a gate"));
    store.set_limit(&LimitOf::Global, &global.map(|(name, _)| (name, String::new())), &Job::new()).expect("cleared");
    group.bench_function("one bucket, two threads", |bencher| bencher.iter_custom(|iterations| two_threads(&store, iterations)));
    group.finish();
}

/// The time in which each of two threads passes so many times.
fn two_threads(store: &Store, iterations: u64) -> Duration {
    let barrier = std::sync::Barrier::new(2);
    let run = || {
        let mut gate = Gate::to_publish(store, &common::topic(), &limit(FAST, false)).expect("a gate");
        barrier.wait();
        let began = Instant::now();
        for _ in 0..iterations {
            black_box(gate.pass(store, black_box(ONE), Duration::ZERO)).expect("it is fast enough");
        }
        began.elapsed()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        run().max(other.join().expect("no panic"))
    })
}

criterion_group!(benches, pass);
criterion_main!(benches);
