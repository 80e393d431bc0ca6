//! What happens to logs in their lives: several writers, strange records, clocks that go back.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drave::clock::Clock;
use drave::codec::BatchBuilder;
use drave::engine::{Embedded, Engine as _, OpenOptions, PublishOptions};
use drave::ids::{RecordId, TopicName};
use drave::job::Job;

use crate::support::Store;

fn segment(store: &Store, topic: &str) -> PathBuf {
    store.path().join("topics").join(topic).join("00000000000000000000.log")
}

#[test]
fn writers_at_once_keep_each_its_order_and_lose_nothing() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=64KiB", "durability=none"]);
    let mut writers: Vec<_> = (0..4).map(|_| store.start(&["publish", "t"])).collect();
    // In turns, so that their frames lie between one another's.
    for round in 0..500 {
        for (writer, child) in writers.iter_mut().enumerate() {
            let stdin = child.stdin.as_mut().expect("a pipe");
            writeln!(stdin, "{writer} {round}").expect("it reads");
            if round % 7 == writer {
                stdin.flush().expect("a pipe");
            }
        }
    }
    for child in writers {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    let lines = String::from_utf8(store.ok(&["replay", "t"])).expect("text");
    let mut next = [0; 4];
    for line in lines.lines() {
        let (writer, round) = line.split_once(' ').expect("two words");
        let writer: usize = writer.parse().expect("a number");
        assert_eq!(round.parse(), Ok(next[writer]), "writer {writer}");
        next[writer] += 1;
    }
    assert_eq!(next, [500; 4]);
}

#[test]
fn a_segment_that_is_published_as_a_record_is_never_read_as_frames() {
    let store = Store::new();
    store.ok(&["publish", "t", "one"]);
    store.ok(&["publish", "t", "two"]);
    // The log's own bytes, as a record of the same log and of another.
    let bytes = std::fs::read(segment(&store, "t")).expect("it is there");
    store.ok_with(&["publish", "t", "--whole"], &bytes);
    store.ok_with(&["publish", "other", "--whole"], &bytes);
    store.ok(&["publish", "t", "three"]);
    store.ok(&["publish", "other", "end"]);
    let whole = [b"one\ntwo\n", &bytes[..], b"\nthree\n"].concat();
    assert_eq!(store.ok(&["replay", "t"]), whole);

    // The frame around them damaged: they are found by whoever looks for the next frame, and are not it.
    for (topic, value) in [("t", &b"one\ntwo\nthree\n"[..]), ("other", b"end\n")] {
        let path = segment(&store, topic);
        let mut file = std::fs::read(&path).expect("it is there");
        let at = file.windows(bytes.len()).rposition(|window| window == bytes).expect("it was published");
        file[at - 1] ^= 0xff;
        std::fs::write(&path, &file).expect("room");
        let ran = store.run(&["replay", topic]);
        assert_eq!((ran.code(), &ran.0.stdout[..]), (7, value), "{topic}: {}", ran.stderr());
    }
}

#[test]
fn ids_rise_though_the_clock_goes_back() {
    let store = Store::new();
    let hand = Arc::new(AtomicU64::new(1_000_000));
    let options = OpenOptions { create: true, unsafe_fs: false, clock: Clock::manual(Arc::clone(&hand)) };
    let engine = Embedded::open(&store.path(), &options).expect("opens");
    let topic = TopicName::new(b"t").expect("legal");
    let options = PublishOptions { durability: None, create: true, limit_wait: std::time::Duration::ZERO, job: Job::new() };
    let mut publisher = engine.publisher(&topic, &options).expect("opens");
    let mut batch = BatchBuilder::new();
    batch.push_value(b"x");
    let mut last = RecordId::ZERO;
    for now in [1_000_000, 1_000_005, 5, 0, 1_000_005, 1_000_006, 999_999] {
        hand.store(now, Ordering::Relaxed);
        let published = publisher.publish(&batch.batch(), None).expect("publishes");
        assert!(published.first_id > last, "{} is above {last}", published.first_id);
        last = published.first_id;
    }
    assert_eq!(last, RecordId { ms: 1_000_006, seq: 1 });
}
