use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::ids::Incarnation;
use crate::log::testing::{make, open, opening, publish};
use crate::log::{GapReason, LogReader, Step};

fn delete(log: &Log, offsets: impl IntoIterator<Item = u64>) -> u64 {
    let offsets: Vec<Offset> = offsets.into_iter().map(Offset).collect();
    log.delete(&offsets, log.epoch(), RecordId { ms: 1, seq: 1 }, &Job::new()).expect("deleted").count
}

/// What a reader finds: the records, and the deleted ones that it is told of.
fn read(log: &Log) -> (Vec<u64>, Vec<u64>) {
    let mut reader = LogReader::new(Offset::ZERO, log.epoch());
    let (mut records, mut gaps, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match reader.step(log, log.log_end()).expect("reads") {
            Step::CaughtUp => return (records, gaps),
            Step::Gap(gap) if gap.reason == GapReason::Expired => {}
            Step::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::Deleted);
                gaps.extend(gap.from.0..gap.until.0);
            }
            Step::Frame { frame, from, until } => {
                for record in frame.records_in(&mut scratch, from, until).expect("a body") {
                    let record = record.expect("whole");
                    assert_eq!(record.value(), Some(record.offset.to_string().as_bytes()));
                    records.push(record.offset.0);
                }
            }
        }
    }
}

#[test]
fn deleted_records_are_gaps_wherever_they_lie() {
    for compression in [Compression::None, Compression::Zstd(1)] {
        for at_once in [1, 7, 1000] {
            let place = tempfile::tempdir().expect("a directory");
            let above = make(place.path());
            let log = open(&above);
            publish(&log, 0..500, at_once, compression);
            let gone: BTreeSet<u64> = (0..500).filter(|at| at % 3 == 0 || (100..220).contains(at) || *at >= 490).collect();
            assert_eq!(delete(&log, gone.iter().copied()), gone.len() as u64);
            assert_eq!(delete(&log, gone.iter().copied()), 0, "they are deleted already");
            assert_eq!(delete(&log, [500, 501]), 0, "beyond the end");
            let live: Vec<u64> = (0..500).filter(|at| !gone.contains(at)).collect();
            let gone: Vec<u64> = gone.into_iter().collect();
            assert_eq!(read(&log), (live.clone(), gone.clone()));
            assert_eq!(log.live_count().expect("known"), live.len() as u64);
            let other = open(&above);
            assert_eq!(read(&other), (live.clone(), gone.clone()));
            let walker = Log::open(vec![Arc::clone(&above)], b"t", Mode::Read, &opening(64 << 20), &Job::new()).expect("opens");
            assert_eq!(read(&walker), (live, gone));
        }
    }
}

#[test]
fn a_deletion_is_seen_by_the_next_step_of_every_reader() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    // Two opens of a log share nothing but its files, like two processes.
    let (log, other) = (open(&above), open(&above));
    publish(&log, 0..100, 100, Compression::None);
    let mut reader = LogReader::new(Offset::ZERO, other.epoch());
    let step = reader.step(&other, Offset(10)).expect("reads");
    assert!(matches!(step, Step::Frame { from: Offset(0), until: Offset(10), .. }), "{step:?}");
    delete(&log, [10, 11, 20]);
    let step = reader.step(&other, Offset(100)).expect("reads");
    assert!(matches!(&step, Step::Gap(gap) if (gap.from, gap.until) == (Offset(10), Offset(12))), "{step:?}");
    let step = reader.step(&other, Offset(100)).expect("reads");
    assert!(matches!(step, Step::Frame { from: Offset(12), until: Offset(20), .. }), "{step:?}");
    delete(&log, 20..99);
    let step = reader.step(&other, Offset(100)).expect("reads");
    assert!(matches!(&step, Step::Gap(gap) if (gap.from, gap.until) == (Offset(20), Offset(99))), "{step:?}");
    assert_eq!(other.deleted().expect("read").greatest_id(), RecordId { ms: 1, seq: 1 });
}

#[test]
fn two_who_delete_at_once_count_each_record_once() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    publish(&open(&above), 0..2000, 2000, Compression::None);
    let together = std::sync::Barrier::new(3);
    let counted: u64 = std::thread::scope(|scope| {
        let deleters: Vec<_> = (0..3)
            .map(|who| {
                let (above, together) = (&above, &together);
                scope.spawn(move || {
                    let log = open(above);
                    let deleted = |step: u64| {
                        together.wait();
                        delete(&log, (step * 7 + who)..(step * 7 + who + 5))
                    };
                    (0..200).map(deleted).sum::<u64>()
                })
            })
            .collect();
        deleters.into_iter().map(|deleter| deleter.join().expect("no panic")).sum()
    });
    let log = open(&above);
    assert_eq!(counted, log.deleted().expect("read").count());
    assert_eq!(log.live_count().expect("known"), 2000 - counted);
    assert_eq!(read(&log).1.len() as u64, counted);
}

#[test]
fn a_small_topic_stays_three_files_until_something_of_it_is_deleted() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let log = open(&above);
    publish(&log, 0..3, 3, Compression::None);
    assert_eq!(delete(&log, [7]), 0);
    assert_eq!(log.dir().list().expect("listed").len(), 2);
    assert_eq!(delete(&log, [1]), 1);
    assert_eq!(log.dir().list().expect("listed").len(), 3);
}

#[test]
fn the_log_of_deletions_is_kept_short_while_a_reader_follows() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (log, other) = (open(&above), open(&above));
    const RECORDS: u64 = 120_000;
    publish(&log, 0..RECORDS, 10_000, Compression::None);
    let mut gone = BTreeSet::new();
    let mut at = 0;
    while at + 9 < RECORDS {
        delete(&log, [at, at + 2]);
        gone.extend([at, at + 2]);
        if at % 30_000 == 0 {
            assert_eq!(other.deleted().expect("read").count(), gone.len() as u64);
        }
        at += 3;
    }
    let deletions = log.deletions_to_look_at().expect("open").expect("there is one").0;
    assert!(deletions.log_start() > Offset::ZERO, "it was trimmed");
    let bytes: u64 = deletions
        .dir()
        .list()
        .expect("listed")
        .iter()
        .map(|entry| deletions.dir().stat(&entry.name).expect("stat").map_or(0, |meta| meta.length))
        .sum();
    assert!(bytes < 6 << 20, "{bytes} bytes");
    let live: Vec<u64> = (0..RECORDS).filter(|at| !gone.contains(at)).collect();
    // One who has read nothing since the beginning meets the trim; one who comes now reads the whole set.
    for log in [&log, &other, &open(&above)] {
        assert_eq!(read(log), (live.clone(), gone.iter().copied().collect()));
    }
}

#[test]
fn what_lies_below_the_log_start_is_no_longer_kept_or_counted() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let log = open(&above);
    publish(&log, 0..100, 10, Compression::None);
    delete(&log, (0..100).filter(|at| at % 2 == 0));
    log.trim(Offset(51), &Job::new()).expect("trimmed");
    assert_eq!(log.deleted().expect("read").count(), 24);
    assert_eq!(log.live_count().expect("known"), 25);
    assert_eq!(delete(&log, [49, 51]), 1);
    assert_eq!(read(&open(&above)).0.len(), 24);
}

#[test]
fn an_id_of_a_deleted_record_leads_to_the_next_live_one() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let log = open(&above);
    publish(&log, 0..50_000, 500, Compression::None);
    let mut ids = Vec::new();
    let (mut reader, mut scratch) = (LogReader::new(Offset::ZERO, log.epoch()), Vec::new());
    while let Step::Frame { frame, from, until } = reader.step(&log, log.log_end()).expect("reads") {
        ids.extend(frame.records_in(&mut scratch, from, until).expect("a body").map(|record| record.expect("whole").id));
    }
    delete(&log, (0..50_000).filter(|at| at % 2 == 0 || (20_000..30_000).contains(at) || *at > 49_000));
    for (at, found) in [(0, 1), (1, 1), (25_000, 30_001), (29_999, 30_001), (30_001, 30_001), (49_500, 50_000)] {
        assert_eq!(log.find(ids[at]).expect("found"), Offset(found), "{at}");
    }
}

#[test]
fn deletions_of_another_life_of_the_topic_are_void() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let log = open(&above);
    publish(&log, 0..10, 10, Compression::None);
    delete(&log, 0..5);
    drop(log);
    // All of the topic is lost but its deletions.
    let dir = above.dir(b"t").expect("there");
    for entry in dir.list().expect("listed").iter().filter(|entry| entry.name != DELETED) {
        dir.unlink(&entry.name).expect("removed");
    }
    let other = Opening { incarnation: Incarnation([8; 16]), ..opening(64 << 20) };
    let log = Log::open(vec![Arc::clone(&above)], b"t", Mode::Write, &other, &Job::new()).expect("opens");
    publish(&log, 0..10, 10, Compression::None);
    assert_eq!(read(&log), ((0..10).collect(), vec![]));
    assert_eq!(delete(&log, [3]), 1);
    assert_eq!(read(&log).1, [3]);
}

/// Not a test of time but of shape: in pieces, 100,000 records are read in much less than the square.
#[test]
fn a_frame_of_which_every_second_record_is_deleted_is_read_once() {
    for compression in [Compression::None, Compression::Zstd(1)] {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let log = open(&above);
        publish(&log, 0..100_000, 100_000, compression);
        delete(&log, (0..100_000).filter(|at| at % 2 == 0));
        let began = Instant::now();
        assert_eq!(read(&log).0.len(), 50_000);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
