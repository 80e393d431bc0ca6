//! `kill -9` at any moment, at chosen moments, and processes that stop while they hold a lock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Receipt, Seed, Traced, bases, file, length, read, run_bounded, segment, traced, verify_clean, wait_until};
use crate::support::Store;

/// Feeds `prefix-0`, `prefix-1` ... until it is killed; returns the receipts it had given by then.
fn feed(mut child: Child, prefix: &str, given: &AtomicU64) -> Vec<Receipt> {
    let mut stdin = child.stdin.take().expect("a pipe");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let receipts = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Bursts of one line and of many, so that frames of all sizes are in flight.
            for burst in 0_u64.. {
                let mut next = burst * 60;
                for size in [1, 1, 1, 50, 7] {
                    let lines: String = (next..next + size).map(|nth| format!("{prefix}-{nth}\n")).collect();
                    if stdin.write_all(lines.as_bytes()).is_err() {
                        return;
                    }
                    next += size;
                }
            }
        });
        let mut receipts = Vec::new();
        for line in stdout.split(b'\n') {
            let line = line.expect("readable");
            // The last one may have been cut off by the kill: then it was not given.
            if line.iter().filter(|byte| **byte == b'\t').count() == 2 && (line.ends_with(b"c") || line.ends_with(b"none")) {
                receipts.push(Receipt::parse(std::str::from_utf8(&line).expect("UTF-8")));
                given.fetch_add(1, Ordering::SeqCst);
            }
        }
        receipts
    });
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    child.wait().expect("it ends");
    assert_eq!(said, "", "a publisher complained before it was killed");
    receipts
}

#[test]
fn what_was_acknowledged_survives_kill_9_of_all_publishers() {
    let mut seed = Seed::new();
    let store = Store::new();
    store.ok(&["topic", "create", "sync", "segment-bytes=16KiB"]);
    store.ok(&["topic", "create", "async", "segment-bytes=16KiB", "durability=async", "flush-interval=10ms"]);
    store.ok(&["topic", "create", "none", "segment-bytes=16KiB", "durability=none"]);
    let mut receipts: Vec<(&str, String, Vec<Receipt>)> = Vec::new();
    for round in 0..20 {
        let topic = ["sync", "sync", "async", "none"][round % 4];
        let enough = 1 + seed.below(400);
        let prefixes: Vec<String> = (0..3).map(|publisher| format!("r{round}p{publisher}")).collect();
        let given = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut pids = Vec::new();
            for prefix in &prefixes {
                let child = store.start(&["publish", topic, "--receipts"]);
                pids.push(Pid::from_child(&child));
                threads.push(scope.spawn(|| feed(child, prefix, &given)));
            }
            wait_until("there are receipts", || given.load(Ordering::SeqCst) >= enough);
            let first = seed.below(3) as usize;
            for nth in 0..3 {
                // Already dead is a failure that `feed` tells better.
                let _ = kill_process(pids[(first + nth) % 3], Signal::KILL);
            }
            for (prefix, thread) in prefixes.iter().zip(threads) {
                receipts.push((topic, prefix.clone(), thread.join().expect("no failure")));
            }
        });
    }
    for topic in ["sync", "async", "none"] {
        // One more, who takes in or cuts off what the last kill left.
        store.ok(&["publish", topic, "last"]);
        let read = read(&store, topic).whole();
        verify_clean(&store, topic);
        let mut acknowledged = 0;
        for (_, prefix, receipts) in receipts.iter().filter(|(of, _, _)| *of == topic) {
            for (nth, receipt) in receipts.iter().enumerate() {
                let (id, value) = read.records.get(&receipt.offset).unwrap_or_else(|| panic!("{prefix}: lost {receipt:?}"));
                assert_eq!(*id, receipt.id, "{prefix}");
                assert_eq!(String::from_utf8_lossy(value), format!("{prefix}-{nth}"));
                assert_eq!(receipt.level, topic);
            }
            acknowledged += receipts.len();
            // In order, each once, none left out: with a receipt or without.
            let own = format!("{prefix}-");
            let stored: Vec<u64> =
                read.values().filter_map(|value| std::str::from_utf8(value).ok()?.strip_prefix(&own)?.parse().ok()).collect();
            assert!(stored.iter().copied().eq(0..stored.len() as u64), "{prefix}: {stored:?}");
            assert!(stored.len() >= receipts.len());
        }
        assert!(acknowledged > 0 && bases(&store, topic).len() > 1, "{topic}: {acknowledged} receipts");
    }
}

/// A topic with one record, and its only segment.
fn one_record(durability: &str) -> Store {
    let store = Store::new();
    store.ok(&["topic", "create", "t", &format!("durability={durability}"), "segment-bytes=4KiB"]);
    store.ok(&["publish", "t", "zero"]);
    store
}

fn values(store: &Store) -> Vec<String> {
    read(store, "t").whole().values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn a_record_that_was_written_and_not_published_is_taken_in_by_the_next_publisher() {
    let store = one_record("none");
    let path = segment(&store, "t", 0);
    let before = length(&path);
    let dying = traced(&store, &["publish", "t", "--receipts", "one"], &path, "pwritev2:delay_exit=60000000:when=1");
    wait_until("it has written", || length(&path) > before);
    // Written, but nobody may see it before it is published.
    assert_eq!(values(&store), ["zero"]);
    dying.kill();
    assert_eq!(values(&store), ["zero"]);
    assert_eq!(store.ok(&["publish", "t", "--receipts", "two"]).split(|byte| *byte == b'\t').next(), Some(&b"2"[..]));
    assert_eq!(values(&store), ["zero", "one", "two"]);
    verify_clean(&store, "t");
}

#[test]
fn half_a_frame_of_a_dead_writer_is_cut_off_by_the_next_publisher() {
    let store = one_record("none");
    let path = segment(&store, "t", 0);
    let before = length(&path);
    let dying = traced(&store, &["publish", "t", "one"], &path, "pwritev2:delay_exit=60000000:when=1");
    wait_until("it has written", || length(&path) > before);
    dying.kill();
    // As if the kill had come in the middle of the copy.
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_len(length(&path) - 3).expect("it can be cut");
    store.ok(&["publish", "t", "two"]);
    assert_eq!(values(&store), ["zero", "two"]);
    verify_clean(&store, "t");
}

#[test]
fn a_writer_killed_in_the_middle_of_a_roll_costs_nothing() {
    let store = one_record("none");
    let line = "x".repeat(3000);
    store.ok(&["publish", "t", &line]);
    // This one does not fit into the segment, so the first write is the next segment's header.
    let next = segment(&store, "t", 2);
    let dying = traced(&store, &["publish", "t", &line], &next, "pwritev2:delay_exit=60000000:when=1");
    wait_until("the next segment is there", || length(&next) > 0);
    dying.kill();
    // These would have fitted into the old one.
    store.ok(&["publish", "t", "small"]);
    store.ok(&["publish", "t", "smaller"]);
    assert_eq!(values(&store), ["zero", &line, "small", "smaller"]);
    verify_clean(&store, "t");
    // Also for those who do not believe the page.
    std::fs::remove_file(file(&store, "t", "head")).expect("it is there");
    assert_eq!(values(&store), ["zero", &line, "small", "smaller"]);
    store.ok(&["publish", "t", "last"]);
    assert_eq!(values(&store), ["zero", &line, "small", "smaller", "last"]);
}

#[test]
fn a_death_inside_fdatasync_poisons_and_the_next_publish_repairs_by_a_roll() {
    let store = one_record("sync");
    let path = segment(&store, "t", 0);
    let dying = traced(&store, &["publish", "t", "one"], &path, "fdatasync:delay_enter=60000000:when=1");
    wait_until("it is inside fdatasync", || dying.log().contains("fdatasync("));
    // Written, not synced: on a sync topic nobody may have seen it.
    assert_eq!(values(&store), ["zero"]);
    dying.kill();
    assert_eq!(values(&store), ["zero"], "reading goes on while the topic is in doubt");
    let receipt = Receipt::parse(&String::from_utf8(store.ok(&["publish", "t", "--receipts", "two"])).expect("UTF-8"));
    assert_eq!((receipt.offset, receipt.level.as_str()), (2, "sync"));
    assert_eq!(values(&store), ["zero", "one", "two"]);
    assert_eq!(bases(&store, "t"), [0, 1], "what was in doubt is in a segment of its own");
    verify_clean(&store, "t");
}

#[test]
fn a_death_inside_fdatasync_does_not_fail_those_who_wait_for_the_same_sync() {
    let store = one_record("sync");
    let path = segment(&store, "t", 0);
    let dying = traced(&store, &["publish", "t", "one"], &path, "fdatasync:delay_enter=60000000:when=1");
    wait_until("it is inside fdatasync", || dying.log().contains("fdatasync("));
    let mut waiting = store.start(&["publish", "t", "--receipts"]);
    let mut input = waiting.stdin.take().expect("a pipe");
    let before = length(&path);
    input.write_all(b"two\n").expect("it reads");
    wait_until("it has written too", || length(&path) > before);
    dying.kill();
    drop(input);
    let ended = waiting.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(Receipt::parse(std::str::from_utf8(&ended.stdout).expect("UTF-8")).offset, 2);
    assert_eq!(values(&store), ["zero", "one", "two"]);
    verify_clean(&store, "t");
}

#[test]
fn a_failed_fdatasync_is_an_error_without_a_receipt_and_the_next_publish_repairs() {
    let store = one_record("sync");
    let path = segment(&store, "t", 0);
    let failing = traced(&store, &["publish", "t", "--receipts", "one"], &path, "fdatasync:error=EIO:when=1");
    let ran = failing.end();
    assert_eq!((ran.code(), ran.stdout()), (1, ""));
    assert!(ran.stderr().contains(&format!("cannot sync {}", path.display())), "{}", ran.stderr());
    assert_eq!(values(&store), ["zero"]);
    store.ok(&["publish", "t", "--receipts", "two"]);
    assert_eq!(values(&store), ["zero", "one", "two"]);
    assert_eq!(bases(&store, "t"), [0, 1]);
    verify_clean(&store, "t");
}

#[test]
fn a_repair_whose_sync_fails_leaves_the_topic_poisoned() {
    let store = one_record("sync");
    let path = segment(&store, "t", 0);
    traced(&store, &["publish", "t", "one"], &path, "fdatasync:error=EIO:when=1").end();
    // Without a path every fdatasync fails, that of the repair too.
    let directory = file(&store, "t", "");
    for _ in 0..2 {
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-q", "-o", "/dev/null", "-e", "inject=fdatasync,fsync:error=EIO"]);
        let plain = store.command(&["publish", "t", "--receipts", "two"]);
        command.arg(plain.get_program()).args(["publish", "t", "--receipts", "two"]).env("DRAVE_STORE", store.path());
        let ran = run_bounded(command, b"");
        assert_eq!((ran.code(), ran.stdout()), (1, ""), "{}", ran.stderr());
        assert!(ran.stderr().contains(directory.to_str().expect("UTF-8").trim_end_matches('/')), "{}", ran.stderr());
        assert_eq!(values(&store), ["zero"]);
    }
    store.ok(&["publish", "t", "three"]);
    assert_eq!(values(&store), ["zero", "one", "three"]);
    verify_clean(&store, "t");
}

#[test]
fn a_failed_write_is_an_error_and_no_more() {
    let store = one_record("sync");
    let path = segment(&store, "t", 0);
    for error in ["EIO", "ENOSPC"] {
        let ran = traced(&store, &["publish", "t", "one"], &path, &format!("pwritev2:error={error}:when=1")).end();
        assert_eq!((ran.code(), ran.stdout()), (1, ""));
        assert!(ran.stderr().contains(&format!("cannot write {}", path.display())), "{}", ran.stderr());
    }
    store.ok(&["publish", "t", "two"]);
    assert_eq!(values(&store), ["zero", "two"]);
    assert_eq!(bases(&store, "t"), [0], "nothing had to be repaired");
    verify_clean(&store, "t");
}

/// A publisher that is stopped inside a system call on the topic's only segment.
fn stopped(store: &Store, value: &str, call: &str) -> (Traced, Pid) {
    let path = segment(store, "t", 0);
    let traced = traced(store, &["publish", "t", value], &path, &format!("{call}:signal=STOP:when=1"));
    let pid = Pid::from_child(&traced.child);
    wait_until("it is stopped", || traced.log().contains("stopped by SIGSTOP"));
    (traced, pid)
}

#[test]
fn others_wait_for_a_stopped_holder_of_a_lock_until_their_time_limit_and_name_it_after_thirty_seconds() {
    let (append, sync) = (one_record("none"), one_record("sync"));
    let (mut in_append, append_pid) = stopped(&append, "one", "pwritev2");
    let (mut in_sync, sync_pid) = stopped(&sync, "one", "fdatasync");
    for store in [&append, &sync] {
        let began = Instant::now();
        let ran = run_bounded(store.command(&["publish", "t", "--receipts", "two", "--timeout", "200ms"]), b"");
        assert_eq!((ran.code(), ran.stdout()), (124, ""), "{}", ran.stderr());
        assert!(began.elapsed() < Duration::from_secs(20));
        // Reading waits for nobody.
        assert_eq!(values(store), ["zero"]);
    }
    let words = ["publish", "t", "--receipts", "three"];
    std::thread::scope(|scope| {
        let waiting = [(&append, append_pid), (&sync, sync_pid)]
            .map(|(store, pid)| (scope.spawn(move || run_bounded(store.command(&words), b"")), pid));
        for (thread, pid) in waiting {
            let ran = thread.join().expect("no failure");
            assert_eq!((ran.code(), ran.stdout()), (5, ""), "{}", ran.stderr());
            let holder = pid.as_raw_nonzero().to_string();
            assert!(ran.stderr().contains(&holder), "{} should name process {holder}", ran.stderr());
        }
    });
    let patient = [&append, &sync].map(|store| store.start(&["publish", "t", "--receipts", "four"]));
    for (traced, pid) in [(&mut in_append, append_pid), (&mut in_sync, sync_pid)] {
        kill_process(pid, Signal::CONT).expect("it is there");
        assert!(traced.child.wait().expect("it ends").success());
    }
    for patient in patient {
        assert!(patient.wait_with_output().expect("it ends").status.success());
    }
    // What could not be appended is not there; what was appended and not synced may be.
    assert_eq!(values(&append), ["zero", "one", "four"]);
    assert_eq!(values(&sync), ["zero", "one", "two", "three", "four"]);
    verify_clean(&append, "t");
    verify_clean(&sync, "t");
}
