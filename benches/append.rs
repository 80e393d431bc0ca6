//! What does one append cost, at `none`, one thread: of one line, and per line in batches of 100?

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drave::codec::BatchBuilder;
use drave::engine::Engine as _;

/// A topic is begun anew after so many bytes: beyond the page cache's patience it is the disk that
/// would be measured.
const BYTES_MAX: u64 = 64 << 20;

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append, none");
    for lines in [1u32, 100] {
        group.throughput(Throughput::Elements(u64::from(lines)));
        group.bench_function(format!("{lines} lines a batch"), |bencher| {
            bencher.iter_custom(|iterations| {
                let at_once = BYTES_MAX / (u64::from(lines) * 101 + 64);
                let mut left = iterations;
                let mut spent = Duration::ZERO;
                while left > 0 {
                    spent += time(lines, left.min(at_once));
                    left -= left.min(at_once);
                }
                spent
            });
        });
    }
    group.finish();
}

fn time(lines: u32, batches: u64) -> Duration {
    let dir = common::directory();
    let engine = common::store(dir.path(), "none");
    let mut publisher = engine.publisher(&common::topic(), &common::options()).expect("opens");
    let mut batch = BatchBuilder::new();
    let began = Instant::now();
    for _ in 0..batches {
        batch.clear();
        (0..lines).for_each(|_| batch.push_value(&common::LINE));
        black_box(publisher.publish(&batch.batch(), None).expect("appends"));
    }
    began.elapsed()
}

criterion_group!(benches, append);
criterion_main!(benches);
