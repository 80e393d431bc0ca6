//! What does not grow: memory with the data, the cost of opening with the topic, a writer's time with
//! a reader's.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{bases, run_bounded};
use crate::support::Store;

#[test]
fn no_writer_waits_for_a_reader() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=1MiB", "durability=none"]);
    store.ok(&["publish", "t", "first"]);
    // One that does not read on, and one that is stopped wherever it is.
    let mut full = store.start(&["tail", "t", "-f"]);
    let mut stopped = store.start(&["tail", "t", "-f"]);
    let line = "x".repeat(100);
    let lines = format!("{line}\n").repeat(10_000);
    for round in 0..20 {
        if round == 5 {
            kill_process(Pid::from_child(&stopped), Signal::STOP).expect("it runs");
        }
        let ran = store.run_with(&["--timeout", "30s", "publish", "t", "-q"], lines.as_bytes());
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
    }
    let trimmed = store.run(&["--timeout", "30s", "topic", "trim", "t", "--before", "end", "--yes"]);
    assert_eq!(trimmed.code(), 0, "{}", trimmed.stderr());
    for child in [&mut full, &mut stopped] {
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
}

/// 200 MB through 32 MiB of memory. Maps of files do not count, threads' stacks do.
#[test]
fn memory_does_not_grow_with_the_data() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "durability=none"]);
    let limited = "ulimit -d 32768";
    let lines = "yes 0123456789012345678901234567890123456789 | head -n 5000000";
    let ran = store.shell(&format!("{{ {lines} || true; }} | ({limited}; exec drave publish t -q)"));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let counted = store.shell(&format!("({limited}; exec drave replay t) | wc -l"));
    assert_eq!((counted.code(), counted.stdout().trim()), (0, "5000000"), "{}", counted.stderr());
    let followed = store.shell(&format!("({limited}; exec drave tail t -n 4000000) | wc -l"));
    assert_eq!((followed.code(), followed.stdout().trim()), (0, "4000000"), "{}", followed.stderr());
    let verified = store.shell(&format!("{limited}; drave verify -q"));
    assert_eq!(verified.code(), 0, "{}", verified.stderr());
}

/// How many system calls a run makes.
fn calls(store: &Store, words: &[&str]) -> usize {
    let log = store.beside().join("calls");
    let plain = store.command(words);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log).arg(plain.get_program()).args(words).env("DRAVE_STORE", store.path());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("strace is installed");
    assert!(status.success(), "{words:?}");
    std::fs::read_to_string(&log).expect("a log").lines().filter(|line| !line.contains("+++ exited")).count()
}

#[test]
fn opening_costs_the_same_for_few_segments_and_for_many() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=4KiB", "durability=none"]);
    store.ok(&["publish", "t", "x"]);
    let few = [calls(&store, &["publish", "t", "x"]), calls(&store, &["tail", "t", "-n", "1"])];
    let lines = format!("{}\n", "x".repeat(1000)).repeat(10);
    for _ in 0..100 {
        store.ok_with(&["publish", "t", "-q"], lines.as_bytes());
    }
    assert!(bases(&store, "t").len() >= 100);
    let many = [calls(&store, &["publish", "t", "x"]), calls(&store, &["tail", "t", "-n", "1"])];
    for (few, many) in few.into_iter().zip(many) {
        assert!(many <= few + 30, "{few} system calls for a small topic, {many} for one of many segments");
    }
    // A page that is lost costs the walk of the last segment, not of all.
    std::fs::remove_file(store.path().join("topics/t/head")).expect("removed");
    let recovering = calls(&store, &["publish", "t", "x"]);
    let limit = few[0] + 60 + 12 * bases(&store, "t").len();
    assert!(recovering <= limit, "{recovering} system calls, {limit} at most");
    let ran = run_bounded(store.command(&["verify", "-q"]), b"");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
}

#[test]
fn a_time_limit_bounds_every_wait() {
    let store = Store::new();
    store.ok(&["publish", "t", "x"]);
    for words in [&["--timeout", "200ms", "tail", "t", "-f"][..], &["--timeout", "200ms", "tail", "missing", "-f", "--wait"]] {
        let began = std::time::Instant::now();
        let ran = run_bounded(store.command(words), b"");
        assert_eq!(ran.code(), 124, "{words:?}: {}", ran.stderr());
        assert!(began.elapsed() < Duration::from_secs(20), "{words:?}");
    }
}
