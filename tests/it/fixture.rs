//! Stores that earlier versions wrote are read for ever. `tests/fixtures/format-N` is one per format
//! version, and `format-N.ndjson` what `replay --json` printed of it then. Never change them; a new
//! format adds its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use drave::clock::Clock;
use drave::ids::Offset;
use drave::store::{Store as Directory, StoreOptions};

use crate::support::Store;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("room");
    for entry in std::fs::read_dir(from).expect("a fixture") {
        let entry = entry.expect("a fixture");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("room");
        }
    }
}

fn format_1() -> Store {
    let store = Store::new();
    copy(&fixtures().join("format-1"), &store.path());
    store
}

fn replay_all(store: &Store) -> String {
    let topics = String::from_utf8(store.ok(&["topic", "list"])).expect("names are text here");
    let topics: Vec<&str> = topics.lines().skip(1).collect();
    assert_eq!(topics.len(), 5);
    topics.iter().map(|topic| String::from_utf8(store.ok(&["replay", topic, "--json"])).expect("JSON is text")).collect()
}

#[test]
fn format_1_reads_as_it_did_when_it_was_written() {
    let expected = std::fs::read_to_string(fixtures().join("format-1.ndjson")).expect("a fixture");
    assert_eq!(replay_all(&format_1()), expected);
}

#[test]
fn format_1_is_appended_to_and_still_reads_the_same() {
    let store = format_1();
    let before = replay_all(&store);
    for topic in ["plain", "packed", "shapes", "trimmed"] {
        store.ok(&["publish", topic, "a new record"]);
    }
    let after = replay_all(&store);
    let old: Vec<&str> = after.lines().filter(|line| !line.contains("a new record")).collect();
    assert_eq!(old, before.lines().collect::<Vec<_>>());
    assert_eq!(after.lines().count(), before.lines().count() + 4);
}

#[test]
fn a_cursor_of_format_1_stands_where_it_stood() {
    let store = format_1();
    // Soon after it was saved: a month later it would be gone.
    let clock = Clock::manual(Arc::new(AtomicU64::new(1_795_223_000_000)));
    let directory = Directory::open(&store.path(), &StoreOptions { create: false, unsafe_fs: false, clock }).expect("opens");
    let cursors = directory.list_cursors(None).expect("reads");
    assert_eq!(cursors.len(), 1);
    let cursor = cursors[0].info.as_ref().expect("reads");
    assert_eq!((&cursor.name[..], cursor.topic.as_bytes(), cursor.place.offset), (&b"reader"[..], &b"plain"[..], Offset(304)));
}
