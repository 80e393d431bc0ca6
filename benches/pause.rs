//! How long is a publisher held up? One record each millisecond, at the topic's level, for some seconds or
//! until a process ends; `benches/upkeep.sh` runs it beside a compaction.
#![allow(missing_docs, reason = "a benchmark")]

use std::path::Path;
use std::time::{Duration, Instant};

use drave::clock::Clock;
use drave::codec::BatchBuilder;
use drave::engine::{Embedded, Engine as _, OpenOptions, PublishOptions};
use drave::ids::TopicName;
use drave::job::Job;

#[expect(clippy::print_stdout, reason = "it reports")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [store, topic, seconds, rest @ ..] = &words[..] else {
        println!("pause STORE TOPIC SECONDS [PID]: SECONDS 0 = while PID lives");
        return;
    };
    let limit = Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let is_alive = || rest.first().is_some_and(|pid| Path::new("/proc").join(pid).join("fd").read_dir().is_ok());
    let options = OpenOptions { create: false, unsafe_fs: false, clock: Clock::system() };
    let engine = Embedded::open(Path::new(store), &options).expect("the store opens");
    let topic = TopicName::new(topic.as_bytes()).expect("a legal name");
    let publishing = PublishOptions { durability: None, create: false, limit_wait: std::time::Duration::ZERO, job: Job::new() };
    let mut publisher = engine.publisher(&topic, &publishing).expect("the topic opens");
    let mut batch = BatchBuilder::new();
    batch.push_value(&[b'x'; 100]);
    let (began, mut taken) = (Instant::now(), Vec::new());
    let mut next = began;
    while began.elapsed() < limit || is_alive() {
        let before = Instant::now();
        publisher.publish(&batch.batch(), None).expect("published");
        publisher.settle().expect("settled");
        taken.push(before.elapsed());
        next += Duration::from_millis(1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    publisher.close().expect("closed");
    taken.sort_unstable();
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{} records, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, longest {:.2} ms",
        taken.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
