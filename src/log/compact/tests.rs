use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::disk::{Dir, Disk};
use crate::error::Error;
use crate::ids::{Epoch, Incarnation, RecordId};
use crate::log::testing::make;
use crate::log::{GapReason, HEAD, LogOptions, LogReader, Mode, Opening, Severity, Step, segment, verify};

mod dead;
mod deleting;

const NOW: u64 = 1_700_000_000_000;

fn how() -> Compaction {
    Compaction {
        tombstone_age: Duration::from_secs(3600),
        compression: Compression::None,
        bytes_per_second: None,
        dry_run: false,
        only_if_dirty: false,
    }
}

fn compact(log: &Log, how: &Compaction) -> Result<CompactedLog> {
    let mut done = CompactedLog::default();
    log.compact(how, &mut done, &Job::new()).map(|()| done)
}

fn open_at(above: &Arc<Dir>, clock: &Clock, segment_bytes: u64) -> Log {
    let options = LogOptions { read_durable: false, segment_bytes, segment_age: Duration::MAX, origin_age: Duration::ZERO };
    let opening = Opening { options, clock: clock.clone(), incarnation: Incarnation([7; 16]), bell: None };
    Log::open(vec![Arc::clone(above)], b"t", Mode::Write, &opening, &Job::new()).expect("opens")
}

fn clock() -> (Clock, Arc<AtomicU64>) {
    let hand = Arc::new(AtomicU64::new(NOW));
    (Clock::manual(Arc::clone(&hand)), hand)
}

/// A record: a key, if it has one, and a value, if it is no null.
type Written = (Option<String>, Option<String>);

fn write(log: &Log, records: &[Written], compression: Compression) {
    let mut batch = BatchBuilder::new();
    for (key, value) in records {
        let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
        fields.extend(key.as_ref().map(|key| (&b"key"[..], key.as_bytes())));
        fields.extend(value.as_ref().map(|value| (&b"value"[..], value.as_bytes())));
        batch.push(&fields, value.is_none(), None).expect("legal");
    }
    let mut packed = Packed::records(&batch.batch(), compression).expect("fits");
    log.append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appended");
}

/// All there is, by offset, with its ID; nothing but deletions may be told.
fn read(log: &Log) -> BTreeMap<u64, (RecordId, Written)> {
    let mut reader = LogReader::new(log.log_start(), log.epoch());
    let mut found = BTreeMap::new();
    read_on(log, &mut reader, &mut found, usize::MAX);
    found
}

fn read_on(log: &Log, reader: &mut LogReader, found: &mut BTreeMap<u64, (RecordId, Written)>, steps: usize) {
    let mut scratch = Vec::new();
    for _ in 0..steps {
        match reader.step(log, log.high_watermark()).expect("reads") {
            Step::CaughtUp => return,
            Step::Gap(gap) => assert!(matches!(gap.reason, GapReason::Deleted | GapReason::Expired), "{gap:?}"),
            Step::Frame { frame, from, until } => {
                for record in frame.records_in(&mut scratch, from, until).expect("well formed") {
                    let record = record.expect("well formed");
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                    let written = (record.key().map(text), record.value().map(text));
                    assert_eq!(record.null, written.1.is_none());
                    if let Some((last, (id, _))) = found.last_key_value() {
                        assert!(*last < record.offset.0 && *id < record.id, "{last} {id}, then {} {}", record.offset, record.id);
                    }
                    found.insert(record.offset.0, (record.id, written));
                }
            }
        }
    }
}

/// Everything that is said about the log agrees with what is read.
fn agrees(log: &Log, found: &BTreeMap<u64, (RecordId, Written)>) {
    assert_eq!(log.live_count().expect("counted"), found.len() as u64);
    let (start, end) = (log.log_start(), log.log_end());
    for at in [start.0, (start.0 + end.0) / 3, (start.0 + end.0) / 2, end.0] {
        let below = found.range(..at).count() as u64;
        assert_eq!(log.live_in(start..Offset(at)).expect("counted"), below, "below {at}");
    }
    for (offset, (id, _)) in found {
        assert_eq!(log.find(*id).expect("found"), Offset(*offset));
    }
    let (verified, ended) = verify(log, &Job::new());
    ended.expect("verified");
    let bad: Vec<_> = verified.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// The newest record of each key below `sealed`, records without key, and all behind.
fn expected(all: &[Written], deleted: &[u64], sealed: u64) -> Vec<u64> {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for (offset, (key, _)) in all.iter().enumerate().take(sealed as usize) {
        if let Some(key) = key.as_ref().filter(|_| !deleted.contains(&(offset as u64))) {
            newest.insert(key, offset as u64);
        }
    }
    let stays = |(offset, (key, _)): &(usize, &Written)| {
        *offset as u64 >= sealed || key.as_ref().is_none_or(|key| newest.get(&key[..]) == Some(&(*offset as u64)))
    };
    let kept = all.iter().enumerate().filter(stays).map(|(offset, _)| offset as u64);
    kept.filter(|offset| !deleted.contains(offset)).collect()
}

fn keyed(key: u64, value: u64) -> Written {
    (Some(format!("key {key}")), Some(format!("value {value} {}", "x".repeat(40))))
}

#[test]
fn the_newest_record_of_each_key_is_kept_where_it_was() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (clock, _) = clock();
    let log = open_at(&above, &clock, 4096);
    let mut all: Vec<Written> = Vec::new();
    for number in 0..600 {
        all.push(if number % 50 == 0 { (None, Some(format!("no key {number}"))) } else { keyed(number % 7, number) });
        if number % 3 == 2 {
            write(&log, &all[all.len() - 3..], Compression::None);
        }
    }
    let (before, bases) = (read(&log), segment::list(log.dir()).expect("listed"));
    let sealed = bases.last().expect("some").0;
    let told = compact(&log, &Compaction { dry_run: true, ..how() }).expect("looked");
    assert_eq!(read(&log), before);
    let done = compact(&log, &how()).expect("compacted");
    assert_eq!((told.records, told.segments), (done.records, done.segments));
    let after = read(&log);
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), expected(&all, &[], sealed));
    assert!(after.iter().all(|(offset, record)| before[offset] == *record), "IDs and fields are as they were");
    assert_eq!(done.records as usize, before.len() - after.len());
    let left = segment::list(log.dir()).expect("listed");
    assert_eq!(left, [Offset(0), Offset(sealed)], "small segments are one");
    assert_eq!(done.segments as usize, bases.len() - left.len());
    agrees(&log, &after);
    assert_eq!(compact(&log, &how()).expect("nothing to do"), CompactedLog::default());
    // The page is lost; others see the same.
    drop(log);
    above.dir(b"t").expect("there").unlink(HEAD).expect("removed");
    let log = open_at(&above, &clock, 4096);
    assert_eq!(read(&log), after);
    agrees(&log, &after);
    log.trim(Offset(300), &Job::new()).expect("trimmed");
    agrees(&log, &read(&log));
}

#[test]
fn a_null_goes_when_it_is_old_and_takes_the_key_with_it() {
    let place = tempfile::tempdir().expect("a directory");
    let (clock, hand) = clock();
    let log = open_at(&make(place.path()), &clock, 4096);
    write(&log, &[keyed(1, 1), keyed(2, 1), (Some("key 1".to_owned()), None), (None, None)], Compression::None);
    let fill =
        || (0..60).for_each(|number| write(&log, &[(None, Some(format!("{number} {}", "x".repeat(100))))], Compression::None));
    fill();
    compact(&log, &how()).expect("compacted");
    let has = |offset: u64| read(&log).contains_key(&offset);
    assert_eq!([0, 1, 2, 3].map(has), [false, true, true, true]);
    // A clock that jumps makes nothing old.
    hand.fetch_add(365 * 86_400_000, Ordering::Relaxed);
    compact(&log, &how()).expect("compacted");
    assert!(has(2));
    fill();
    compact(&log, &how()).expect("compacted");
    assert_eq!([0, 1, 2, 3].map(has), [false, true, false, true], "a null without a key is a record like any other");
    agrees(&log, &read(&log));
}

#[test]
fn a_null_goes_as_soon_as_a_lowered_age_says() {
    let place = tempfile::tempdir().expect("a directory");
    let (clock, hand) = clock();
    let log = open_at(&make(place.path()), &clock, 4096);
    write(&log, &[(Some("key 1".to_owned()), None)], Compression::None);
    hand.fetch_add(600_000, Ordering::Relaxed);
    (0..60).for_each(|number| write(&log, &[(None, Some(format!("{number} {}", "x".repeat(100))))], Compression::None));
    assert_eq!(compact(&log, &how()).expect("compacted").records, 0);
    let only_if_dirty = true;
    assert_eq!(compact(&log, &Compaction { only_if_dirty, ..how() }).expect("looked").records, 0);
    let tombstone_age = Duration::from_secs(300);
    assert_eq!(compact(&log, &Compaction { tombstone_age, only_if_dirty, ..how() }).expect("compacted").records, 1);
    assert!(!read(&log).contains_key(&0));
}

#[test]
fn deleted_records_go_and_are_forgotten() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (clock, _) = clock();
    let (log, other) = (open_at(&above, &clock, 4096), open_at(&above, &clock, 4096));
    let all: Vec<Written> = (0..300).map(|number| keyed(number % 100, number)).collect();
    all.chunks(5).for_each(|some| write(&log, some, Compression::None));
    let delete = |offsets: &[u64]| {
        let offsets: Vec<Offset> = offsets.iter().map(|at| Offset(*at)).collect();
        log.delete(&offsets, Epoch(0), RecordId::ZERO, &Job::new()).expect("deleted");
    };
    let sealed = segment::list(log.dir()).expect("listed").last().expect("some").0;
    // The newest of their keys: the one before counts again.
    let mut deleted = vec![10, 11, 150, 220, 221];
    delete(&deleted);
    assert_eq!(other.live_count().expect("counted"), 295);
    compact(&log, &how()).expect("compacted");
    let after = read(&log);
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), expected(&all, &deleted, sealed));
    assert!(after.contains_key(&120) && after.contains_key(&121));
    assert_eq!(log.deleted().expect("known").count(), 0, "the log of deletions is short again");
    agrees(&log, &after);
    agrees(&other, &after);
    deleted.extend([120, 260]);
    delete(&[120, 260]);
    agrees(&other, &read(&other));
    assert_eq!(read(&other).len(), after.len() - 2);
}

/// A compaction that died before it could say which deletions it had made good.
#[test]
fn deletions_that_a_dead_compaction_made_good_are_counted_once() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (clock, _) = clock();
    let log = open_at(&above, &clock, 4096);
    (0..60).for_each(|number| write(&log, &[keyed(number, number), keyed(number + 100, 0)], Compression::None));
    log.delete(&[Offset(1), Offset(5), Offset(50)], Epoch(0), RecordId::ZERO, &Job::new()).expect("deleted");
    let head = log.head().expect("live");
    {
        let how = how();
        let job = Job::new();
        let mut run = Run::begin(&log, head, &how, SieveLimits::default(), &job).expect("begun");
        let mut pace = Pace::new(&job, log.dir(), head, false, None);
        // It is not told what it is to purge.
        let tail = run.deletions.take();
        let (mut members, _) = run.members().expect("listed");
        let bases = members.iter().map(|member| member.base).collect();
        let end = members.last().expect("some").next.base;
        let mut sieve = Sieve::new(log.dir(), TEMPORARY, 1000, bases, end, SieveLimits::default()).expect("a sieve");
        for member in &mut members {
            run.scan(member, &mut sieve, &mut pace).map_err(|_| ()).expect("scanned");
        }
        let mut superseded = sieve.finish(|| Ok(())).expect("found");
        run.deletions = tail;
        let (pack, _) =
            run.write(&members[..1], None, true, &mut superseded, &mut pace).map_err(|_| ()).expect("written").expect("whole");
        assert_eq!(pack.kept, members[0].found.records - members[0].found.gone);
        run.put_in_place(&members[..1], &pack).expect("placed");
    }
    let after = read(&log);
    agrees(&log, &after);
    log.trim(Offset(2), &Job::new()).expect("trimmed");
    agrees(&log, &read(&log));
    compact(&log, &how()).expect("compacted");
    assert_eq!(log.deleted().expect("known").count(), 0);
    agrees(&log, &read(&log));
}

#[test]
fn a_damaged_segment_stays_as_it_is_and_no_null_behind_it_goes() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (clock, hand) = clock();
    let log = open_at(&above, &clock, 4096);
    for number in 0..50 {
        write(&log, &[keyed(number, 0)], Compression::None);
    }
    let bases = segment::list(log.dir()).expect("listed");
    write(&log, &[(Some("key 0".to_owned()), None), keyed(1, 1)], Compression::None);
    hand.fetch_add(7_200_000, Ordering::Relaxed);
    (0..200).for_each(|number| write(&log, &[keyed(number % 5 + 60, number)], Compression::None));
    let path = place.path().join("t").join(file_name(bases[0]));
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    compact(&log, &how()).expect("compacted");
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
    let mut reader = LogReader::new(Offset::ZERO, log.epoch());
    let (mut nulls, mut gaps, mut scratch) = (0, 0, Vec::new());
    loop {
        match reader.step(&log, log.high_watermark()).expect("reads") {
            Step::CaughtUp => break,
            Step::Gap(_) => gaps += 1,
            Step::Frame { frame, from, until } => {
                nulls +=
                    frame.records_in(&mut scratch, from, until).expect("a body").flatten().filter(|record| record.null).count();
            }
        }
    }
    assert_eq!((nulls, gaps), (1, 1));
}

#[test]
fn two_at_once_are_refused_and_who_waits_goes_first() {
    let place = tempfile::tempdir().expect("a directory");
    let above = make(place.path());
    let (clock, _) = clock();
    let (log, other) = (open_at(&above, &clock, 4096), open_at(&above, &clock, 4096));
    (0..200).for_each(|number| write(&log, &[keyed(number % 3, number)], Compression::None));
    {
        let _held = log.try_maintain(log.head().expect("live")).expect("free");
        assert!(matches!(compact(&other, &how()), Err(Error::Busy { what: "the maintenance lock", .. })));
        assert!(matches!(compact(&log, &how()), Err(Error::Busy { .. })));
        assert!(matches!(other.expire(Offset(10), &Job::new()), Err(Error::Busy { .. })));
        // Who trims does not wait: its records are gone for readers.
        assert_eq!(other.trim(Offset(100), &Job::new()).expect("trimmed").segments, 0);
        assert_eq!(other.log_start(), Offset(100));
    }
    let head = log.head().expect("live");
    let job = Job::new();
    let mut pace = Pace::new(&job, log.dir(), head, true, None);
    assert!(pace.check().is_ok());
    head.want_maintenance();
    assert!(matches!(pace.check(), Err(Cut::Wanted)));
    compact(&log, &how()).expect("compacted");
    assert!(segment::list(log.dir()).expect("listed")[0] >= Offset(80), "what was trimmed is removed by the next run");
}

#[test]
fn sieves_of_any_size_say_the_same() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = Dir::open(place.path(), Disk::open().expect("a disk")).expect("opened");
    let keys: Vec<u64> = (0..20_000u64).map(|number| number * number % 3001).collect();
    let mut newest = BTreeMap::new();
    newest.extend(keys.iter().enumerate().map(|(offset, key)| (*key, offset as u64)));
    for (slots_max, window) in [(1 << 20, 1 << 27), (1 << 10, 1 << 27), (16, 1 << 10), (1 << 20, 64)] {
        let bases = (0..20).map(|number| Offset(100 + number * 1000)).collect();
        let limits = SieveLimits { slots_max, window };
        let mut sieve = Sieve::new(&dir, TEMPORARY, 20_000, bases, Offset(20_100), limits).expect("a sieve");
        for (offset, key) in keys.iter().enumerate() {
            sieve.add(&key.to_le_bytes(), Offset(100 + offset as u64)).expect("added");
        }
        let mut superseded = sieve.finish(|| Ok(())).expect("found");
        let counted: u64 = (0..20).map(|segment| superseded.count(segment)).sum();
        let mut found = 0;
        for (offset, key) in keys.iter().enumerate() {
            let is_old = superseded.contains(Offset(100 + offset as u64)).expect("known");
            assert!(!is_old || newest[key] != offset as u64, "the newest of a key is never superseded");
            found += u64::from(is_old);
        }
        assert_eq!(found, counted);
        assert!(!superseded.is_complete || found == 20_000 - newest.len() as u64, "{slots_max} {window}");
        assert!(superseded.is_complete || slots_max == 16, "{slots_max}");
    }
    assert_eq!(dir.list().expect("listed"), [], "nothing is left");
}

#[derive(Clone, Debug)]
enum Act {
    Write(Vec<(Option<u64>, bool)>, bool),
    Delete(Vec<prop::sample::Index>),
    Compact,
    Trim(prop::sample::Index),
    Read(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let record = (prop::option::weighted(0.9, 0u64..12), prop::bool::weighted(0.9));
    prop_oneof![
        8 => (prop::collection::vec(record, 1..30), any::<bool>()).prop_map(|(records, packed)| Act::Write(records, packed)),
        2 => prop::collection::vec(any::<prop::sample::Index>(), 1..6).prop_map(Act::Delete),
        3 => Just(Act::Compact),
        1 => any::<prop::sample::Index>().prop_map(Act::Trim),
        4 => (1usize..8).prop_map(Act::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn whoever_reads_sees_the_newest_of_each_key(acts in prop::collection::vec(act(), 1..60), large in any::<bool>()) {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let (clock, hand) = clock();
        let (log, other) = (open_at(&above, &clock, 4096), open_at(&above, &clock, 4096));
        let limits = if large { SieveLimits::default() } else { SieveLimits { slots_max: 16, window: 64 } };
        let (mut all, mut deleted): (Vec<Written>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut slow = LogReader::new(Offset::ZERO, other.epoch());
        let mut seen = BTreeMap::new();
        for act in acts {
            hand.fetch_add(1, Ordering::Relaxed);
            match act {
                Act::Write(records, packed) => {
                    let written = |(key, is_value): (Option<u64>, bool)| {
                        (key.map(|key| format!("k{key}")), is_value.then(|| format!("{} {}", all.len(), "y".repeat(90))))
                    };
                    let some: Vec<Written> = records.into_iter().map(written).collect();
                    write(&log, &some, if packed { Compression::Zstd(1) } else { Compression::None });
                    all.extend(some);
                }
                Act::Delete(indexes) => {
                    let mut there: Vec<u64> = read(&log).into_keys().collect();
                    let mut chosen: Vec<u64> = indexes.iter().filter(|_| !there.is_empty()).map(|at| *at.get(&there)).collect();
                    chosen.sort_unstable();
                    chosen.dedup();
                    let offsets: Vec<Offset> = chosen.iter().map(|at| Offset(*at)).collect();
                    prop_assert_eq!(log.delete(&offsets, Epoch(0), RecordId::ZERO, &Job::new()).expect("deleted").count, chosen.len() as u64);
                    there.retain(|at| !chosen.contains(at));
                    prop_assert_eq!(read(&other).into_keys().collect::<Vec<_>>(), there);
                    deleted.extend(chosen);
                }
                Act::Compact => {
                    let sealed = segment::list(log.dir()).expect("listed").last().expect("some").0;
                    let before = read(&log);
                    log.compact_within(&how(), limits, &mut CompactedLog::default(), &Job::new()).expect("compacted");
                    let after = read(&log);
                    let of = |found: &BTreeMap<u64, (RecordId, Written)>| {
                        let mut newest = BTreeMap::new();
                        for (offset, (id, (key, value))) in found {
                            let key = key.clone().unwrap_or_else(|| format!("none {offset}"));
                            newest.insert(key, (*offset, *id, value.clone()));
                        }
                        newest
                    };
                    prop_assert_eq!(of(&before), of(&after), "the newest of each key stays");
                    let is_sealed = |at: &&u64| **at < sealed;
                    let keys: Vec<_> = after.keys().filter(is_sealed).filter_map(|at| after[at].1.0.clone()).collect();
                    let count = keys.len();
                    let distinct = keys.into_iter().collect::<std::collections::BTreeSet<_>>().len();
                    prop_assert!(!large || count == distinct, "one of each key: {count} of {distinct}");
                }
                Act::Trim(at) => {
                    let before = Offset(at.index(all.len() + 1) as u64 / 2);
                    log.trim(before, &Job::new()).expect("trimmed");
                }
                Act::Read(steps) => read_on(&other, &mut slow, &mut seen, steps),
            }
            let found = read(&other);
            agrees(&log, &found);
            agrees(&other, &found);
        }
        read_on(&other, &mut slow, &mut seen, usize::MAX);
        // The slow reader has each record that is there now, from where it has read on.
        for (offset, record) in read(&log) {
            prop_assert_eq!(seen.get(&offset), Some(&record));
            prop_assert_eq!(&record.1, &all[offset as usize]);
        }
        let findings = verify(&log, &Job::new()).0.findings;
        prop_assert!(findings.iter().all(|finding| finding.severity == Severity::Note));
    }
}
