//! After a compaction that was cut short: one that died between the rename and the removal of what the new segment
//! covers, and one that was stopped.

use std::path::Path;

use super::*;
use crate::disk::{BootId, Op, Verdict, Watch};
use crate::log::Retention;

/// A log with a compacted segment beside those that it covers, and what `compact` alone would have left.
fn log_with_leftovers(place: &Path) -> (Log, Vec<Offset>, Vec<Offset>) {
    let (clock, _) = clock();
    let log = open_at(&make(place), &clock, 4096);
    // Most of what is sealed stays.
    (0..900).for_each(|number| write(&log, &[keyed(number % 3 + 3 * (number / 6), number)], Compression::None));
    let dir = place.join("t");
    let all = segment::list(log.dir()).expect("listed");
    let old: Vec<Vec<u8>> = all.iter().map(|base| std::fs::read(dir.join(file_name(*base))).expect("read")).collect();
    compact(&log, &how()).expect("compacted");
    let left = segment::list(log.dir()).expect("listed");
    for (base, bytes) in all.iter().zip(&old).filter(|(base, _)| !left.contains(base)) {
        std::fs::write(dir.join(file_name(*base)), bytes).expect("written");
    }
    Memory::default().write(&log).expect("forgotten");
    (log, left, all)
}

#[test]
fn retention_counts_nothing_twice() {
    let place = tempfile::tempdir().expect("a directory");
    let (log, left, all) = log_with_leftovers(place.path());
    assert!(left.len() > 3 && all.len() > left.len() + 3, "{left:?} of {all:?}");
    let found = read(&log);
    let bytes = |base: &Offset| std::fs::metadata(place.path().join("t").join(file_name(*base))).expect("there").len();
    let in_force: u64 = left.iter().map(bytes).sum();
    let expired = |retention: Retention| log.expired(&retention, || Ok(None)).expect("looked");
    let max_bytes = |max| Retention { max_bytes: Some(max), ..Retention::default() };
    assert_eq!(expired(max_bytes(in_force)).records, 0);
    let max_records = Retention { max_records: Some(found.len() as u64), ..Retention::default() };
    assert_eq!(expired(max_records).records, 0);
    // Of what is in force, all but the first.
    let some = expired(max_bytes(in_force - bytes(&left[0])));
    assert_eq!((some.until, some.segments, some.bytes), (left[1], 1, bytes(&left[0])));
    assert_eq!(some.records, found.range(..left[1].0).count() as u64);
}

#[test]
fn a_trim_into_what_is_covered_removes_nothing_that_is_kept() {
    let place = tempfile::tempdir().expect("a directory");
    let (log, left, all) = log_with_leftovers(place.path());
    let before = read(&log);
    let (first, second) = (left[0], left[1]);
    let inside = *all.iter().rfind(|base| **base < second).expect("covered");
    assert!(inside > first);
    let trimmed = log.trim(inside, &Job::new()).expect("trimmed");
    assert_eq!(trimmed.segments, 0, "the one that covers it is needed");
    assert!(!log.has_leftovers().expect("looked"));
    let kept: BTreeMap<_, _> = before.clone().into_iter().filter(|(offset, _)| *offset >= inside.0).collect();
    assert!(kept.range(..second.0).count() > 0);
    // What it covers may be read too, as it was before.
    let found = read(&log);
    assert!(kept.iter().all(|(offset, record)| found.get(offset) == Some(record)));
    // Up to where it ends it goes, with those that it covers.
    log.trim(second, &Job::new()).expect("trimmed");
    assert_eq!(segment::list(log.dir()).expect("listed")[0], second);
    assert_eq!(read(&log), before.into_iter().filter(|(offset, _)| *offset >= second.0).collect());
    compact(&log, &how()).expect("compacted");
    agrees(&log, &read(&log));
    assert_eq!(segment::list(log.dir()).expect("listed"), left[1..], "the next run removes what was left");
}

/// Stops a job once the first compacted segment is in place.
#[derive(Debug)]
struct StopsAtRename(Job);

impl Watch for StopsAtRename {
    fn before(&self, op: &Op<'_>) -> Verdict {
        if let Op::Rename { name, .. } = op
            && name.starts_with(TEMPORARY.as_bytes())
        {
            self.0.stop();
        }
        Verdict::Go
    }

    fn yields(&self) -> bool {
        false
    }
}

#[test]
fn what_was_done_until_it_was_stopped_is_told() {
    let place = tempfile::tempdir().expect("a directory");
    let (clock, job) = (clock().0, Job::new());
    let above = make(place.path());
    let log = open_at(&above, &clock, 4096);
    // More behind the first segment than is read from one look at the job to the next.
    (0..2000).for_each(|number| write(&log, &[keyed(number / 2, number)], Compression::None));
    let before = read(&log);
    drop(log);
    let disk = Disk::watched(BootId([1; 16]), Arc::new(StopsAtRename(job.clone())));
    let log = open_at(&Arc::new(Dir::open(place.path(), disk).expect("opened")), &clock, 4096);
    let mut done = CompactedLog::default();
    let fast = Compaction { bytes_per_second: Some(1 << 20), ..how() };
    let ended = log.compact(&fast, &mut done, &job);
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    let gone = before.len() - read(&log).len();
    assert!(gone > 0 && done.records == gone as u64 && done.bytes > 0, "{done:?}, {gone} are gone");
}
