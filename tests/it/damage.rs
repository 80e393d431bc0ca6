//! Files that are not what was written: whatever happens to them, nothing wrong is ever printed
//! with exit status 0, nothing panics, hangs or dies of a signal, and appends go on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::Store;

const RECORDS: usize = 200;

/// A topic of several small segments, at `sync`, with keys so that not all frames are plain.
fn store() -> Store {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=4KiB"]);
    for chunk in (0..RECORDS).collect::<Vec<_>>().chunks(10) {
        let lines: String = chunk.iter().map(|n| format!("key{n}:{n} is the value of this record\n")).collect();
        let words: &[&str] = if chunk[0] % 20 == 0 { &["publish", "t"] } else { &["publish", "t", "-K", ":"] };
        store.ok_with(words, lines.as_bytes());
    }
    store
}

fn topic(store: &Store) -> PathBuf {
    store.path().join("topics/t")
}

fn segments(store: &Store) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(topic(store)).expect("a topic");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a topic").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

/// Offset and value of every record that is printed.
fn read(store: &Store) -> (i32, BTreeSet<(u64, String)>, String) {
    let ran = store.run(&["replay", "t", "-o", "%o\\t%v\\n"]);
    let pairs = ran.stdout().lines().map(|line| {
        let (offset, value) = line.split_once('\t').expect("two columns");
        (offset.parse().expect("an offset"), value.to_owned())
    });
    (ran.code(), pairs.collect(), ran.stderr().to_owned())
}

/// After some damage: what is printed was written, at its offset; what is missing is told; appending
/// works; a repair makes it whole, and loses nothing more.
fn check(store: &Store, whole: &BTreeSet<(u64, String)>, what: &str) {
    let (code, found, stderr) = read(store);
    assert!(code == 0 || code == 7, "{what}: exit {code}: {stderr}");
    assert!(found.is_subset(whole), "{what}: nothing is invented: {:?}", found.difference(whole).next());
    assert_eq!(code == 0, found.len() == whole.len(), "{what}: {} of {} with exit {code}: {stderr}", found.len(), whole.len());
    if code == 7 {
        assert!(stderr.contains("t: records ") && stderr.contains(".."), "{what}: {stderr}");
    }
    let verified = store.run(&["verify"]);
    if code == 7 {
        assert_eq!(verified.code(), 7, "{what}: {}", verified.stdout());
        assert!(verified.stdout().contains(".log"), "{what}: {}", verified.stdout());
    }
    let published = store.run(&["publish", "t", "--receipts", "after"]);
    assert_eq!(published.code(), 0, "{what}: {}", published.stderr());
    let offset: u64 = published.stdout().split('\t').next().and_then(|text| text.parse().ok()).expect("a receipt");
    assert_eq!(offset, RECORDS as u64, "{what}: offsets that were promised are not used again");
    let (_, after, _) = read(store);
    assert!(after.contains(&(offset, "after".to_owned())), "{what}");
    assert!(after.is_superset(&found), "{what}: an append loses nothing");

    let repaired = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(repaired.code(), 0, "{what}: {} {}", repaired.stdout(), repaired.stderr());
    let (code, mended, stderr) = read(store);
    assert_eq!((code, &mended), (0, &after), "{what}: {stderr}");
    assert_eq!(store.run(&["verify"]).code(), 0, "{what}");
}

/// Does something to a fresh store, and checks it.
fn after(what: &str, harm: impl FnOnce(&Store)) {
    let store = store();
    let (code, whole, _) = read(&store);
    assert_eq!((code, whole.len()), (0, RECORDS));
    harm(&store);
    check(&store, &whole, what);
}

fn change(path: &Path, harm: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("it is there");
    harm(&mut bytes);
    std::fs::write(path, bytes).expect("room");
}

#[test]
fn flipped_bits_of_any_segment_cost_a_frame_and_are_told() {
    // Early and late in headers and frames, in the first, a middle and the last segment.
    for (segment, part) in [(0, 0.0), (0, 0.05), (0, 0.5), (0, 0.999), (1, 0.01), (1, 0.6), (2, 0.0), (2, 0.3), (2, 0.99)] {
        after(&format!("a bit of segment {segment} at {part}"), |store| {
            let segments = segments(store);
            let path = [&segments[0], &segments[segments.len() / 2], &segments[segments.len() - 1]][segment];
            change(path, |bytes| {
                let at = ((bytes.len() - 1) as f64 * part) as usize;
                bytes[at] ^= 0x10;
            });
        });
    }
}

#[test]
fn zeroed_and_cut_segments_are_told() {
    for which in [0, 1, 2] {
        let path = move |store: &Store| {
            let segments = segments(store);
            [0, segments.len() / 2, segments.len() - 1].map(|at| segments[at].clone())[which].clone()
        };
        after(&format!("zeros in segment {which}"), |store| {
            change(&path(store), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle..middle + 200].fill(0);
            });
        });
        after(&format!("segment {which} cut in half"), |store| change(&path(store), |bytes| bytes.truncate(bytes.len() / 2)));
        after(&format!("segment {which} cut to nothing"), |store| change(&path(store), Vec::clear));
        after(&format!("segment {which} removed"), |store| std::fs::remove_file(path(store)).expect("it is there"));
    }
}

#[test]
fn the_page_that_processes_share_may_be_anything() {
    let other = store();
    let foreign = std::fs::read(topic(&other).join("head")).expect("it is there");
    after("no head", |store| std::fs::remove_file(topic(store).join("head")).expect("it is there"));
    after("an empty head", |store| change(&topic(store).join("head"), Vec::clear));
    after("a short head", |store| change(&topic(store).join("head"), |bytes| bytes.truncate(100)));
    after("a head of zeros", |store| change(&topic(store).join("head"), |bytes| bytes.fill(0)));
    after("a foreign head", |store| std::fs::write(topic(store).join("head"), &foreign).expect("room"));
    after("a copied head", |store| {
        let head = topic(store).join("head");
        std::fs::copy(&head, store.beside().join("copy")).expect("room");
        std::fs::remove_file(&head).expect("it is there");
        std::fs::copy(store.beside().join("copy"), &head).expect("room");
    });
}

#[test]
fn an_old_copy_of_the_page_does_not_bring_back_an_old_end() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], b"one\n");
    let head = topic(&store).join("head");
    let old = std::fs::read(&head).expect("it is there");
    store.ok_with(&["publish", "t"], b"two\nthree\n");
    std::fs::remove_file(&head).expect("it is there");
    std::fs::write(&head, old).expect("room");
    assert_eq!(store.ok(&["replay", "t"]), b"one\ntwo\nthree\n");
    store.ok(&["publish", "t", "four"]);
    assert_eq!(store.ok(&["replay", "t"]), b"one\ntwo\nthree\nfour\n");
}

#[test]
fn an_index_is_a_hint_and_costs_nothing_when_it_is_wrong() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "durability=none"]);
    let lines: String = (0..40_000).map(|n| format!("{n:0100}\n")).collect();
    for chunk in lines.as_bytes().chunks(101 * 1000) {
        store.ok_with(&["publish", "t"], chunk);
    }
    let index = topic(&store).join("00000000000000000000.idx");
    let good = std::fs::read(&index).expect("a segment of 4 MB has an index");
    let expected = format!("{:0100}\n", 30_000);
    let bad: [Option<Vec<u8>>; 5] = [
        Some(good.clone()),
        None,
        Some(Vec::new()),
        Some(good.iter().map(|byte| byte ^ 0x55).collect()),
        Some(good.iter().rev().copied().collect()),
    ];
    for bytes in bad {
        match bytes {
            Some(bytes) => std::fs::write(&index, bytes).expect("room"),
            None => std::fs::remove_file(&index).expect("it is there"),
        }
        assert_eq!(store.ok(&["replay", "t", "--from", "30000", "-n", "1"]), expected.as_bytes());
        assert_eq!(store.run(&["verify"]).code(), 0);
    }
}

#[test]
fn a_copy_of_a_store_is_a_store() {
    let store = store();
    let copy = Store::new();
    let copied = store.shell(&format!("cp -a {} {}", store.path().display(), copy.path().display()));
    assert_eq!(copied.code(), 0, "{}", copied.stderr());
    store.ok(&["publish", "t", "only in the original"]);
    let (code, whole, _) = read(&copy);
    assert_eq!((code, whole.len()), (0, RECORDS));
    check(&copy, &whole, "a copy");
}

#[test]
fn settings_that_cannot_be_read_are_an_error_that_names_the_file() {
    let store = store();
    std::fs::write(topic(&store).join("topic.toml"), b"\xff\x00 = [").expect("room");
    for words in [&["replay", "t"][..], &["publish", "t", "x"]] {
        let ran = store.run(words);
        assert_ne!(ran.code(), 0);
        assert!(ran.stderr().contains("topic.toml") && !ran.stderr().contains("panicked"), "{}", ran.stderr());
    }
    std::fs::write(store.path().join("store.toml"), b"version = ").expect("room");
    let ran = store.run(&["replay", "t"]);
    assert_eq!(ran.code(), 11, "{}", ran.stderr());
    assert!(ran.stderr().contains("store.toml"), "{}", ran.stderr());
    assert_eq!(store.run(&["inspect", "segments", "t"]).code(), 0, "looking works all the same");
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let store = store();
    let segments = segments(&store);
    change(&segments[0], |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..252]);
        bytes[252..256].copy_from_slice(&crc.to_le_bytes());
    });
    let ran = store.run(&["replay", "t"]);
    assert_eq!(ran.code(), 13, "{}", ran.stderr());
    assert!(ran.stderr().contains("format version 9"), "{}", ran.stderr());
    let toml = std::fs::read_to_string(store.path().join("store.toml")).expect("text");
    std::fs::write(store.path().join("store.toml"), toml.replace("version = 1", "version = 2\nnew = true")).expect("room");
    let ran = store.run(&["topic", "list"]);
    assert_eq!(ran.code(), 13, "{}", ran.stderr());
    assert!(ran.stderr().contains("format version 2"), "{}", ran.stderr());
}

#[test]
fn a_segment_that_is_cut_under_a_reader_does_not_kill_it() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "durability=none"]);
    let lines: String = (0..100_000).map(|n| format!("{n:0100}\n")).collect();
    store.ok_with(&["publish", "t"], lines.as_bytes());
    // It fills its pipe and stands still with the segment mapped.
    let reader = store.start(&["replay", "t"]);
    let stdout = reader.stdout.as_ref().expect("a pipe");
    while rustix::io::ioctl_fionread(stdout).expect("a pipe") == 0 {
        std::thread::yield_now();
    }
    let segment = topic(&store).join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new().write(true).open(segment).expect("it is there");
    file.set_len(5_000_000).expect("it can be cut");
    let ran = reader.wait_with_output().expect("it ends");
    assert_eq!(ran.status.code(), Some(7), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(lines.as_bytes().starts_with(&ran.stdout), "what it printed was written");
}
