//! Deleting while a compaction is under way.

use super::*;
use crate::codec::{Deleting, Deletion};

fn runs_while(log: &Log, deletes: impl FnOnce()) {
    let (how, job, head) = (how(), Job::new(), log.head().expect("live"));
    let _held = log.try_maintain(head).expect("free");
    let mut run = Run::begin(log, head, &how, SieveLimits::default(), &job).expect("begun");
    deletes();
    let mut pace = Pace::new(&job, log.dir(), head, false, None);
    assert!(run.all(&mut pace, &mut CompactedLog::default()).is_ok());
}

fn delete(log: &Log, offsets: &[u64]) -> u64 {
    let offsets: Vec<Offset> = offsets.iter().map(|at| Offset(*at)).collect();
    log.delete(&offsets, Epoch(0), RecordId::ZERO, &Job::new()).expect("deleted").count
}

#[test]
fn what_is_deleted_and_taken_as_superseded_is_counted_once() {
    for was_deleted_before in [false, true] {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let (clock, _) = clock();
        let (log, other) = (open_at(&above, &clock, 4096), open_at(&above, &clock, 4096));
        (0..300).for_each(|number| write(&log, &[keyed(number % 40, number)], Compression::None));
        if was_deleted_before {
            delete(&log, &[5]);
        }
        // Two that are superseded, and the newest of its key.
        let newest = segment::list(log.dir()).expect("listed").last().expect("some").0 - 1;
        runs_while(&log, || _ = delete(&log, &[1, 50, newest]));
        let found = read(&log);
        assert!(!found.contains_key(&newest));
        agrees(&log, &found);
        agrees(&other, &found);
        assert_eq!(log.deleted().expect("known").count(), 1, "the one that has a record");
        compact(&log, &how()).expect("compacted");
        assert_eq!(log.deleted().expect("known").count(), 0);
        agrees(&other, &read(&other));
    }
}

/// Who deletes may look at segments before they are replaced, and say so when the run is over.
#[test]
fn what_is_deleted_though_it_is_gone_is_forgotten_by_the_next_run() {
    let place = tempfile::tempdir().expect("a directory");
    let (clock, _) = clock();
    let log = open_at(&make(place.path()), &clock, 4096);
    (0..300).for_each(|number| write(&log, &[keyed(number % 40, number)], Compression::None));
    compact(&log, &how()).expect("compacted");
    assert_eq!(delete(&log, &[1, 50]), 0, "they are gone");
    let late = |_: &Deleted| {
        let what = Deleting::More([Offset(1), Offset(50)].into_iter().collect());
        Ok(Some(Deletion { epoch: Epoch(0), greatest_id: RecordId::ZERO, what }))
    };
    log.commit(log.head().expect("live"), late, &Job::new()).expect("appended");
    assert_ne!(log.live_count().expect("counted"), read(&log).len() as u64);
    compact(&log, &how()).expect("compacted");
    agrees(&log, &read(&log));
    assert_eq!(log.deleted().expect("known").count(), 0);
}
