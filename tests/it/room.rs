//! Disks that are full, stores that may not be written, and things inside a store that are not its
//! own. Mounting takes root; without it those tests say that they did nothing.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Store, drave, run};

/// Says that a test did nothing.
#[expect(clippy::print_stderr, reason = "a test that passes says it nowhere else")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A file system that is gone when this is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn new(at: &Path, words: &[&str]) -> Option<Mount> {
        std::fs::create_dir_all(at).expect("room");
        let mounted = Command::new("mount").args(words).arg(at).output().expect("mount can be run");
        if !mounted.status.success() {
            skipped(&format!("cannot mount: {}", String::from_utf8_lossy(&mounted.stderr)));
            return None;
        }
        Some(Mount(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn on(store: &Path, words: &[&str], input: &[u8]) -> Ran {
    let mut command = drave(words);
    command.env("DRAVE_STORE", store);
    run(command, input)
}

/// "published N of M records" or "published N records", as stderr says it.
fn published(ran: &Ran) -> u64 {
    let line = ran.stderr().lines().find(|line| line.contains("published ")).unwrap_or_else(|| panic!("{}", ran.stderr()));
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| word.ends_with("published")).expect("found above");
    words[at + 1].parse().expect("a number")
}

#[test]
fn a_full_disk_is_an_error_and_with_room_again_it_goes_on() {
    for level in ["none", "async", "sync"] {
        let beside = Store::new();
        let disk = beside.beside().join("disk");
        let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]) else { return };
        let store = disk.join("store");
        assert_eq!(on(&store, &["topic", "create", "t", &format!("durability={level}")], b"").code(), 0);
        let input: String = (0..100_000).map(|line| format!("{line:0100}\n")).collect();

        let ran = on(&store, &["publish", "t"], input.as_bytes());
        assert_eq!(ran.code(), 1, "{}", ran.stderr());
        assert!(ran.stderr().contains("no space left on device") && ran.stderr().contains(".log"), "{}", ran.stderr());
        let stored = published(&ran);
        assert!(stored < 100_000);
        let read = on(&store, &["replay", "t"], b"");
        assert_eq!(read.code(), 0, "{}", read.stderr());
        let lines: Vec<&str> = read.stdout().lines().collect();
        assert!(lines.len() as u64 >= stored, "{} read, {stored} acknowledged", lines.len());
        assert!(lines.iter().zip(input.lines()).all(|(got, put)| *got == put), "{level}: what is there is what was put");

        // Still full: nothing is acknowledged, nothing is lost.
        std::fs::write(disk.join("filler"), vec![0; 8 << 20]).expect_err("the disk is full");
        assert_eq!(on(&store, &["publish", "t"], input.as_bytes()).code(), 1);

        std::fs::remove_file(disk.join("filler")).expect("it can be removed");
        assert!(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status().expect("mount runs").success());
        let ran = on(&store, &["publish", "t"], b"after\n");
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        let read = on(&store, &["replay", "t"], b"");
        assert_eq!(read.code(), 0, "{}", read.stderr());
        assert!(read.stdout().ends_with("after\n") && read.stdout().starts_with(&lines.join("\n")));
    }
}

#[test]
fn a_full_disk_makes_no_half_topics() {
    let beside = Store::new();
    let disk = beside.beside().join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=1m,nr_inodes=1000", "tmpfs"]) else { return };
    let store = disk.join("store");
    assert_eq!(on(&store, &["publish", "first", "x"], b"").code(), 0);
    let objects: String = (0..1000).map(|n| format!("{{\"topic\":\"t{n}\",\"value\":\"{n}\"}}\n")).collect();
    let ran = on(&store, &["publish", "--json", "--by-topic"], objects.as_bytes());
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    for topic in on(&store, &["topic", "list"], b"").stdout().lines().skip(1) {
        let read = on(&store, &["replay", topic], b"");
        assert_eq!(read.code(), 0, "{topic}: {}", read.stderr());
    }
}

/// Names, lengths, times of change and contents of everything below.
fn picture(path: &Path) -> Vec<(PathBuf, i64, i64, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let meta = entry.metadata().expect("it is there");
            let bytes = if meta.is_dir() { Vec::new() } else { std::fs::read(entry.path()).expect("it can be read") };
            if meta.is_dir() {
                folders.push(entry.path());
            }
            seen.push((entry.path(), meta.mtime(), meta.mtime_nsec(), bytes));
        }
    }
    seen.sort();
    seen
}

#[test]
fn a_read_only_store_can_be_read_and_is_not_changed() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], b"one\ntwo\n");
    let before = picture(&store.path());
    let read_only = store.beside().join("read-only");
    let source = store.path();
    let Some(_mount) = Mount::new(&read_only, &["--bind", source.to_str().expect("text")]) else { return };
    let remount = Command::new("mount").args(["-o", "remount,ro,bind"]).arg(&read_only).status().expect("mount runs");
    assert!(remount.success());

    assert_eq!(on(&read_only, &["replay", "t"], b"").stdout(), "one\ntwo\n");
    assert_eq!(on(&read_only, &["tail", "t", "-n", "1"], b"").stdout(), "two\n");
    assert_eq!(on(&read_only, &["topic", "list"], b"").stdout(), "topic\nt\n");
    assert_eq!(on(&read_only, &["topic", "show", "t"], b"").code(), 0);
    let ran = on(&read_only, &["publish", "t", "x"], b"");
    assert_eq!(ran.code(), 6, "{}", ran.stderr());
    assert!(ran.stderr().contains("read-only"), "{}", ran.stderr());
    assert!(picture(&store.path()) == before, "looking changes nothing");
}

#[test]
fn after_a_crash_looking_repairs_nothing() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], b"one\ntwo\n");
    std::fs::remove_file(store.path().join("topics/t/head")).expect("it is there");
    let before = picture(&store.path());
    assert_eq!(store.ok(&["replay", "t"]), b"one\ntwo\n");
    assert_eq!(store.ok(&["tail", "t", "-n", "1"]), b"two\n");
    assert!(picture(&store.path()) == before, "looking changes nothing");
    store.ok(&["publish", "t", "three"]);
    assert_eq!(store.ok(&["replay", "t"]), b"one\ntwo\nthree\n");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("there is one").uid() == 0
}

#[test]
fn who_may_not_is_told_so() {
    if !is_root() {
        skipped("only root can become somebody else");
        return;
    }
    let store = Store::new();
    store.ok(&["publish", "t", "secret"]);
    std::fs::set_permissions(store.beside(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    // The binary may lie where nobody else may go.
    let binary = store.beside().join("drave");
    std::fs::copy(env!("CARGO_BIN_EXE_drave"), &binary).expect("room");
    for words in [&["replay", "t"][..], &["publish", "t", "x"], &["topic", "list"]] {
        let mut command = Command::new(&binary);
        command.args(words).env("DRAVE_STORE", store.path()).uid(65534).gid(65534);
        let ran = run(command, b"");
        assert_eq!(ran.code(), 6, "{words:?}: {}", ran.stderr());
        assert!(ran.stderr().contains("permission denied"), "{}", ran.stderr());
    }
    assert_eq!(store.ok(&["replay", "t"]), b"secret\n");
}

#[test]
fn what_root_makes_in_somebodys_store_is_theirs() {
    if !is_root() {
        skipped("only root can give files away");
        return;
    }
    let store = Store::new();
    std::fs::create_dir(store.path()).expect("room");
    std::os::unix::fs::chown(store.path(), Some(65534), Some(65534)).expect("root may");
    std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o770)).expect("root may");
    store.ok(&["topic", "create", "made", "durability=none"]);
    store.ok_with(&["publish", "t"], b"one\n");
    store.ok(&["tail", "t", "--as", "reader"]);
    for (path, ..) in picture(&store.path()) {
        let meta = path.metadata().expect("it is there");
        assert_eq!((meta.uid(), meta.gid()), (65534, 65534), "{}", path.display());
        let mode = if meta.is_dir() { 0o770 } else { 0o660 };
        assert_eq!(meta.mode() & 0o777, mode, "{}", path.display());
    }
}

#[test]
fn no_link_inside_a_store_is_followed() {
    let store = Store::new();
    store.ok(&["publish", "t", "x"]);
    let elsewhere = Store::new();
    elsewhere.ok(&["publish", "other", "private"]);
    symlink(elsewhere.path().join("topics/other"), store.path().join("topics/linked")).expect("room");
    let segment = store.path().join("topics/t/00000000000000000000.log");
    let moved = store.beside().join("moved.log");
    std::fs::rename(&segment, &moved).expect("room");
    symlink(&moved, &segment).expect("room");
    for words in [&["replay", "linked"][..], &["publish", "linked", "y"], &["replay", "t"], &["publish", "t", "y"]] {
        let ran = store.run(words);
        assert_ne!(ran.code(), 0, "{words:?}");
        assert_eq!(ran.stdout(), "", "{words:?}");
    }
    assert!(store.run(&["replay", "linked"]).stderr().contains("symbolic link"));
    assert_eq!(elsewhere.ok(&["replay", "other"]), b"private\n");
}
