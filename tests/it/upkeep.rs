//! `drave compact`, and what publishers and a server do of it by themselves.

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{bases, file, length, library, name, read_with, segment, verify_clean, wait_until};
use crate::support::Store;

/// 400 records over 10 keys, in small segments; the last ones are not sealed.
fn keyed(settings: &[&str]) -> Store {
    let store = Store::new();
    store.ok(&[&["topic", "create", "t", "segment-bytes=4KiB", "durability=async"], settings].concat());
    for round in 0..40 {
        let lines: String = (0..10).map(|key| format!("k{key}:{round} {}\n", "x".repeat(30))).collect();
        store.ok_with(&["publish", "t", "-K", ":"], lines.as_bytes());
    }
    store
}

#[test]
fn compact_keeps_the_newest_of_each_key_and_says_what_it_frees() {
    let store = keyed(&["compact=on"]);
    let sealed = *bases(&store, "t").last().expect("some");
    let before = store.ok(&["replay", "t", "-o", "%o %k %v\\n"]);
    let told = store.run(&["compact", "--dry-run", "--json"]);
    assert_eq!(store.ok(&["replay", "t", "-o", "%o %k %v\\n"]), before);
    let done = store.run(&["compact", "--json"]);
    assert_eq!((told.code(), done.code()), (0, 0), "{}", done.stderr());
    let object = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("an object");
    let (told_of, done_of) = (object(told.stdout()), object(done.stdout()));
    let removed = done_of["removed"].as_u64().expect("a number");
    assert_eq!((&told_of["removed"], &told_of["segments"]), (&done_of["removed"], &done_of["segments"]));
    let golden = format!(
        "{{\"topic\":\"t\",\"expired\":0,\"removed\":{removed},\"segments\":{},\"bytes\":{},\"protected_bytes\":0}}\n",
        done_of["segments"], done_of["bytes"]
    );
    assert_eq!(done.stdout(), golden);
    assert!(told.stderr().starts_with("would free "), "{}", told.stderr());
    assert!(done.stderr().ends_with(&format!("0 records expired, {removed} superseded or deleted\n")), "{}", done.stderr());
    // Of what was sealed, the newest of ten keys.
    let after = read_with(&store, &["replay", "t"]);
    assert_eq!((after.code, after.said.as_str()), (0, ""));
    assert_eq!(after.records.keys().filter(|offset| **offset < sealed).count(), 10);
    assert_eq!(after.records.len() as u64, 400 - removed);
    let whole = String::from_utf8(before).expect("text");
    let lines = String::from_utf8(store.ok(&["replay", "t", "-o", "%o %k %v\\n"])).expect("text");
    assert!(lines.lines().all(|line| whole.lines().any(|before| before == line)), "nothing that is left has changed");
    verify_clean(&store, "t");
    let facts = library(&store).topic_facts(&name("t")).expect("facts");
    assert_eq!(facts.records, after.records.len() as u64);
    let again = store.run(&["compact", "t"]);
    assert_eq!(again.stdout(), "topic\texpired\tremoved\tsegments\tbytes\tprotected_bytes\nt\t0\t0\t0\t0\t0\n");
}

#[test]
fn topics_that_keep_everything_are_left_out_unless_they_are_named() {
    let store = keyed(&[]);
    let before = store.ok(&["replay", "t"]);
    assert_eq!(store.ok(&["compact", "--json"]), b"");
    assert_eq!(store.ok(&["compact", "t", "--json"]).iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(store.ok(&["replay", "t"]), before);
    assert_eq!(store.run(&["compact", "missing"]).code(), 3);
    assert_eq!(store.run(&["compact", "--rate", "10"]).code(), 2);
    store.ok(&["compact", "t", "--rate", "100MB/s"]);
}

/// Whether a process has the topic's lock of maintenance.
fn is_maintaining(store: &Store, child: &std::process::Child) -> bool {
    let page = std::fs::read(file(store, "t", "head")).expect("the page");
    u64::from_ne_bytes(page[328..336].try_into().expect("8 bytes")) == u64::from(child.id())
}

fn stop(mut child: std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(&child), signal).expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_second_run_at_once_is_busy_and_who_trims_or_deletes_is_not_kept_waiting() {
    let store = keyed(&["compact=on"]);
    let slow = store.start(&["compact", "t", "--rate", "4KB/s"]);
    wait_until("it is at work", || is_maintaining(&store, &slow));
    let ran = store.run(&["compact", "t"]);
    assert_eq!(ran.code(), 5, "{}", ran.stderr());
    store.ok(&["topic", "trim", "t", "--before", "20", "--yes"]);
    store.ok(&["publish", "t", "more"]);
    store.ok(&["topic", "delete", "t", "--yes"]);
    let ended = slow.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn a_kill_in_the_middle_leaves_the_topic_as_it_was_and_nothing_behind() {
    let store = keyed(&["compact=on"]);
    let temporary = || {
        let entries = std::fs::read_dir(file(&store, "t", "")).expect("listed");
        entries.filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with(".compact-")).count()
    };
    let before = store.ok(&["replay", "t"]);
    let slow = store.start(&["compact", "t", "--rate", "60KB/s"]);
    wait_until("it writes", || temporary() > 0);
    stop(slow, Signal::KILL);
    assert_eq!((temporary(), store.ok(&["replay", "t"])), (1, before));
    store.ok(&["compact", "t"]);
    assert_eq!(temporary(), 0);
    verify_clean(&store, "t");
    // A stop leaves nothing at all.
    store.ok_with(&["publish", "t", "-K", ":"], "k1:a long value\n".repeat(3000).as_bytes());
    let slow = store.start(&["compact", "t", "--rate", "4KB/s"]);
    wait_until("it is at work", || is_maintaining(&store, &slow));
    stop(slow, Signal::INT);
    assert_eq!(temporary(), 0);
    verify_clean(&store, "t");
}

#[test]
fn a_follower_goes_on_over_segments_that_are_replaced_and_a_group_keeps_its_place() {
    let store = keyed(&["compact=on"]);
    store.ok(&["group", "create", "t", "g"]);
    store.ok(&["consume", "t", "-g", "g", "-n", "100"]);
    store.ok(&["compact"]);
    let rest = store.ok(&["consume", "t", "-g", "g", "--drain"]);
    let left = read_with(&store, &["replay", "t", "--from", "100"]);
    assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count(), left.records.len());
    let shown = String::from_utf8(store.ok(&["inspect", "groups", "t", "--json"])).expect("text");
    assert!(shown.contains("\"lag\":0"), "{shown}");
}

#[test]
fn retention_goes_by_whole_segments_and_readers_are_told() {
    let store = keyed(&["max-records=100"]);
    // The publishers that began segments have seen to it already.
    let start = bases(&store, "t")[0];
    assert!((200..=300).contains(&start), "{start}");
    store.ok(&["topic", "set", "t", "max-records=50"]);
    let ran = store.run(&["compact", "t"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let left = read_with(&store, &["replay", "t"]);
    assert_eq!((left.code, left.said.as_str()), (0, ""));
    assert!((50..120).contains(&left.records.len()), "{}", left.records.len());
    let told = store.run(&["replay", "t", "--from", "0"]);
    assert!(told.stderr().contains("expired before they were read"), "{}", told.stderr());
}

#[test]
fn a_publisher_that_goes_on_for_long_lets_old_segments_go() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=64KiB", "max-bytes=256KiB", "durability=none"]);
    let lines = "y".repeat(99) + "\n";
    store.ok_with(&["publish", "t"], lines.repeat(100_000).as_bytes());
    let bytes: u64 = bases(&store, "t").iter().map(|base| length(&segment(&store, "t", *base))).sum();
    // One write is one frame of a mebibyte.
    assert!(bytes < 4 << 20, "{bytes}");
}

#[test]
fn a_server_keeps_its_topics() {
    let store = keyed(&["compact=on"]);
    let sealed = *bases(&store, "t").last().expect("some");
    let server = store.start(&["serve", "--upkeep-every", "20ms"]);
    wait_until("the topic is compacted", || bases(&store, "t") == [0, sealed]);
    stop(server, Signal::TERM);
    verify_clean(&store, "t");
}

#[test]
fn what_would_never_end_or_means_something_else_is_refused() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "compact=on"]);
    let ran = store.run(&["serve", "--upkeep-every", "0s"]);
    assert!(ran.code() == 2 && ran.stderr().contains("--upkeep-every"), "{}", ran.stderr());
    let ran = store.run(&["compact", "--rate", "10/s"]);
    assert!(ran.code() == 2 && ran.stderr().contains("10B/s"), "{}", ran.stderr());
}
