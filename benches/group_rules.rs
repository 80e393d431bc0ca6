//! What do the rules of a consumer group cost: handing out and settling records, folding what was
//! scanned, dealing lanes, and how much memory do a million pending entries take?

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drave::broker::group::{self, Fresh, GroupState, Receipt, Take};
use drave::codec::GroupEvent;
use drave::codec::group_event::{Assign, GroupSettings, Manner, Order};
use drave::ids::{ConsumerId, Lane, Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// Encodes the events and folds them in.
fn commit(state: &mut GroupState, journal: &mut Vec<u8>, events: &[GroupEvent]) {
    for event in events {
        event.encode(journal);
        state.apply(event);
    }
}

fn group_of(order: Order, members: usize) -> (GroupState, Vec<ConsumerId>) {
    let (mut state, mut journal) = (GroupState::new(), Vec::new());
    let settings = GroupSettings { order, ..GroupSettings::default() };
    let events = group::configure(&state, &settings).expect("nothing is pending");
    commit(&mut state, &mut journal, &events);
    let mut ids = Vec::new();
    for index in 0..members {
        let (id, events) = group::join(&state, format!("consumer-{index}").as_bytes(), Manner::default(), NOW);
        commit(&mut state, &mut journal, &events);
        ids.push(id);
    }
    (state, ids)
}

fn deliver_and_ack(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("deliver 100 and ack 100");
    bench.throughput(Throughput::Elements(100));
    for pending in [0u64, 1_000_000] {
        bench.bench_function(format!("order none, {pending} pending"), |bencher| {
            let (mut state, ids) = group_of(Order::None, 2);
            let mut journal = Vec::new();
            let held = GroupEvent::Delivered {
                consumer: ids[1],
                at: NOW,
                settled: false,
                offsets: drave::codec::Runs::of(Offset(0)..Offset(pending)),
                lanes: Vec::new(),
            };
            commit(&mut state, &mut journal, &[held]);
            bencher.iter(|| {
                journal.clear();
                let fresh = Fresh::Below { until: Offset(u64::MAX) };
                let take = Take { consumer: ids[0], count: 100, no_ack: false, letters: true, fresh };
                let taken = group::take(&state, &take, NOW);
                commit(&mut state, &mut journal, &taken.events);
                let receipts: Vec<Receipt> = taken.deliveries.iter().map(group::Delivery::receipt).collect();
                let settled = group::ack(&state, &receipts, NOW);
                commit(&mut state, &mut journal, &settled.events);
                black_box(&journal);
            });
        });
    }
    bench.bench_function("order key, one consumer", |bencher| {
        let (mut state, ids) = group_of(Order::Key, 1);
        let mut journal = Vec::new();
        bencher.iter(|| {
            journal.clear();
            let from = state.read_from(ids[0]).expect("it has all lanes");
            let records: Vec<(Offset, Lane)> = (from.0..from.0 + 100).map(|n| (Offset(n), Lane((n * 7 % 1024) as u16))).collect();
            let fresh = Fresh::Read { from, to: from.plus(100), records: &records };
            let taken = group::take(&state, &Take { consumer: ids[0], count: 100, no_ack: false, letters: true, fresh }, NOW);
            commit(&mut state, &mut journal, &taken.events);
            let receipts: Vec<Receipt> = taken.deliveries.iter().map(group::Delivery::receipt).collect();
            let settled = group::ack(&state, &receipts, NOW);
            commit(&mut state, &mut journal, &settled.events);
            black_box(&journal);
        });
    });
    bench.finish();
}

fn assign(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("assign 1024 lanes");
    for count in [16u32, 1000] {
        let members: Vec<ConsumerId> = (1..=count).filter_map(NonZeroU32::new).map(ConsumerId).collect();
        for (name, strategy) in [
            ("range", Assign::Range),
            ("round-robin", Assign::RoundRobin),
            ("sticky", Assign::Sticky),
            ("consistent-hash", Assign::ConsistentHash),
        ] {
            let before = group::deal(strategy, &members[1..], &[None; 1024]);
            let current: Vec<Option<ConsumerId>> = before.into_iter().map(Some).collect();
            bench.bench_function(format!("{name}, {count} consumers"), |bencher| {
                bencher.iter(|| black_box(group::deal(strategy, black_box(&members), &current)));
            });
        }
        bench.bench_function(format!("a join as the {count}th, decided and folded"), |bencher| {
            let (state, _) = group_of(Order::Key, count as usize - 1);
            let decide = |mut state: GroupState| {
                let (_, events) = group::join(&state, b"one more", Manner::default(), NOW);
                commit(&mut state, &mut Vec::new(), &events);
                state
            };
            bencher.iter_batched(|| state.clone(), decide, BatchSize::LargeInput);
        });
    }
    bench.finish();
}

#[expect(clippy::print_stderr, reason = "the resident set is not a time, which is all that criterion prints")]
fn memory(_: &mut Criterion) {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    // All are kept until the end: memory that is used again would not be counted.
    let mut states = Vec::new();
    for (name, order) in [("none", Order::None), ("key", Order::Key)] {
        let before = resident();
        let (mut state, ids) = group_of(order, 1);
        for n in 0..10_000u64 {
            let (from, to) = (Offset(n * 100), Offset(n * 100 + 100));
            let records: Vec<(Offset, Lane)> = (from.0..to.0).map(|n| (Offset(n), Lane((n * 7 % 1024) as u16))).collect();
            let fresh = Fresh::Read { from, to, records: &records };
            let taken = group::take(&state, &Take { consumer: ids[0], count: 100, no_ack: false, letters: true, fresh }, NOW);
            taken.events.iter().for_each(|event| state.apply(event));
        }
        let pending = state.pending_count();
        eprintln!("order {name}: {pending} pending entries take {} kB", resident().saturating_sub(before));
        states.push(state);
    }
}

criterion_group!(benches, memory, deliver_and_ack, assign);
criterion_main!(benches);
