//! What does a consumer of a group get done on a store: handing out and settling, settling alone, and
//! opening the group after many acks? One process, level none, order none.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drave::codec::BatchBuilder;
use drave::codec::group_event::GroupSettings;
use drave::engine::{Consumer, Embedded, Engine as _, Joining, Receipt};
use drave::ids::{GroupName, Offset};
use drave::job::Job;

mod common;

/// Records of a frame when the topic is filled.
const FRAME: usize = 10_000;

fn name() -> GroupName {
    GroupName::new(b"g").expect("a legal name")
}

/// A store whose topic has a group, at its start, and records of 100 bytes.
struct Bench {
    engine: Embedded,
    records: u64,
}

impl Bench {
    fn new(path: &std::path::Path) -> Bench {
        let engine = common::store(path, "none");
        let settings = GroupSettings { lease_ms: 86_400_000, ..GroupSettings::default() };
        engine.create_group(&common::topic(), &name(), &settings, Offset::ZERO, &Job::new()).expect("a group");
        let mut bench = Bench { engine, records: 0 };
        bench.publish(1_000_000);
        bench
    }

    fn publish(&mut self, count: usize) {
        let mut publisher = self.engine.publisher(&common::topic(), &common::options()).expect("a publisher");
        let mut batch = BatchBuilder::new();
        (0..FRAME).for_each(|_| batch.push_value(&common::LINE));
        for _ in 0..count.div_ceil(FRAME) {
            publisher.publish(&batch.batch(), None).expect("publishes");
            self.records += FRAME as u64;
        }
    }

    fn consumer(&self) -> Box<dyn Consumer + '_> {
        let how = Joining { name: Some(b"bench"), is_manual: false, job: Job::new() };
        self.engine.consumer(&common::topic(), &name(), &how).expect("a consumer")
    }

    /// Goes back to the start of the topic, where there are records enough.
    fn rewind(&self) {
        let change = drave::engine::GroupChange::Seek(Offset::ZERO);
        self.engine.change_group(&common::topic(), &name(), &change, &Job::new()).expect("seeks");
    }
}

/// Takes until `count` records were handed out, or there are no more.
fn take(consumer: &mut dyn Consumer, count: usize, receipts: &mut Vec<Receipt>) {
    receipts.clear();
    while receipts.len() < count {
        let left = count - receipts.len();
        let taken = consumer.take(left, false, &mut |delivery, _| receipts.push(delivery.receipt())).expect("takes");
        if taken.count == 0 {
            return;
        }
    }
}

fn deliver_and_ack(criterion: &mut Criterion) {
    let dir = common::directory();
    let bench = Bench::new(dir.path());
    let mut group = criterion.benchmark_group("on a store, journalled");
    group.throughput(Throughput::Elements(100));
    group.bench_function("deliver 100 and ack 100", |bencher| {
        let mut consumer = bench.consumer();
        let mut receipts = Vec::new();
        bencher.iter(|| {
            take(&mut *consumer, 100, &mut receipts);
            if receipts.is_empty() {
                bench.rewind();
            }
            consumer.ack(&receipts).expect("acks");
        });
    });
    for batch in [1usize, 100] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("ack {batch} of what was delivered"), |bencher| {
            let mut consumer = bench.consumer();
            let mut receipts = Vec::new();
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut left = rounds;
                while left > 0 {
                    take(&mut *consumer, 10_000, &mut receipts);
                    if receipts.is_empty() {
                        bench.rewind();
                    }
                    let (some, rest) = receipts.split_at(receipts.len().min(batch * usize::try_from(left).unwrap_or(10_000)));
                    let began = Instant::now();
                    some.chunks(batch).for_each(|some| drop(consumer.ack(some).expect("acks")));
                    spent += began.elapsed();
                    left -= (some.len() / batch) as u64;
                    rest.chunks(100).for_each(|rest| drop(consumer.ack(rest).expect("acks")));
                }
                spent
            });
        });
    }
    group.finish();
}

/// A hundred million acks, in batches of a hundred; `--quick`: fewer.
fn open_after_acks(criterion: &mut Criterion) {
    let dir = common::directory();
    let bench = Bench::new(dir.path());
    let acks = if common::is_quick() { 1_000_000 } else { 100_000_000 };
    {
        let mut consumer = bench.consumer();
        let mut receipts = Vec::new();
        let mut acked = 0;
        while acked < acks {
            take(&mut *consumer, 100, &mut receipts);
            if receipts.is_empty() {
                bench.rewind();
            }
            consumer.ack(&receipts).expect("acks");
            acked += receipts.len();
        }
    }
    criterion.bench_function(&format!("open a group after {acks} acks"), |bencher| {
        bencher.iter(|| bench.engine.group(&common::topic(), &name()).expect("opens"));
    });
}

#[expect(clippy::print_stderr, reason = "memory is not a time, which is all that criterion prints")]
fn memory(_: &mut Criterion) {
    let anonymous = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    let dir = common::directory();
    let bench = Bench::new(dir.path());
    let before = anonymous();
    let mut peak = before;
    let mut consumer = bench.consumer();
    let mut held = 0;
    while held < bench.records {
        let taken = consumer.take(4096, false, &mut |_, _| ()).expect("takes");
        held += taken.count as u64;
        peak = peak.max(anonymous());
    }
    eprintln!("{held} pending entries on a store: {} kB anonymous, {before} before, {peak} at the peak", anonymous());
}

criterion_group!(benches, memory, deliver_and_ack, open_after_acks);
criterion_main!(benches);
