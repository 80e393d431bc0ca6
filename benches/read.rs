//! How fast are records read back, checksums verified: as whole frames, and one by one?

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drave::codec::lines::LineTable;
use drave::engine::{Engine as _, Next};
use drave::job::Job;

const LINES: u64 = 500_000;

fn read(criterion: &mut Criterion) {
    let dir = common::directory();
    let engine = common::store(dir.path(), "none");
    let mut publisher = engine.publisher(&common::topic(), &common::options()).expect("opens");
    let text = [&common::LINE[..], b"\n"].concat().repeat(10_000);
    let mut table = LineTable::new();
    for _ in 0..LINES / 10_000 {
        publisher.publish(&table.scan(&text).expect("lines"), None).expect("appends");
    }
    let mut group = criterion.benchmark_group("read");
    group.sample_size(20).throughput(Throughput::Bytes(LINES * 101));
    for by_record in [false, true] {
        group.bench_function(if by_record { "records" } else { "frames" }, |bencher| {
            bencher.iter(|| count(&engine, by_record));
        });
    }
    group.finish();
}

fn count(engine: &drave::engine::Embedded, by_record: bool) -> u64 {
    let mut feed = engine.feed(&[common::topic()], &Job::new()).expect("opens");
    let end = feed.bounds(0).expect("bounds").end;
    feed.stop_at(0, Some(end));
    let mut count = 0;
    loop {
        match feed.next().expect("reads") {
            Next::Records { records, .. } if by_record => {
                count += records.map(|record| record.expect("whole").value().map_or(0, |value| value.len() as u64)).sum::<u64>();
            }
            Next::Records { records, .. } => count += u64::from(records.len()),
            Next::Gap { gap, .. } => panic!("{gap:?}"),
            Next::CaughtUp | Next::Limited(_) | Next::End => return count,
        }
    }
}

criterion_group!(benches, read);
criterion_main!(benches);
