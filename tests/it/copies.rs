//! Snapshots and restores, by the real binary: what comes back, what is refused, what is shared.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Seed, verify_clean, wait_until};
use crate::room::{Mount, on};
use crate::support::{Ran, Store, drave};

/// A store with all kinds of files: segments, settings, a group with dead
/// letters, a cursor, a name that is too long for a file.
fn made() -> Store {
    let store = Store::new();
    let long = "x".repeat(300);
    store.ok(&["topic", "create", "orders", "segment-bytes=4KiB"]);
    store.ok(&["topic", "create", &long, "compression=zstd"]);
    store.ok(&["topic", "create", "empty"]);
    let lines: String = (0..100).map(|line| format!("k{}:{line:0100}\n", line % 7)).collect();
    store.ok_with(&["publish", "orders", "-K", ":"], lines.as_bytes());
    store.ok(&["limit", "set", "global", "100000/s"]);
    store.ok(&["limit", "set", "reader:billing", "5MB/s"]);
    store.ok(&["publish", &long, "one", "two"]);
    store.ok(&["topic", "trim", "orders", "--before", "30", "--yes"]);
    store.ok(&["tail", "orders", "--as", "reader", "-n", "5"]);
    store.ok(&["consume", "orders", "-g", "done", "--consumer", "me", "-n", "20"]);
    let dies = ["consume", "orders", "-g", "dies", "-n", "3", "--exec", "sh", "-c", "exit 65"];
    assert_eq!(store.run(&dies).code(), 1);
    store
}

fn copies(store: &Store) -> PathBuf {
    store.beside().join("copies")
}

/// Makes a snapshot, and says where.
#[track_caller]
fn snapshot(store: &Store, words: &[&str]) -> PathBuf {
    let dest = copies(store);
    let words = [&["snapshot", dest.to_str().expect("UTF-8")], words].concat();
    let said = String::from_utf8(store.ok(&words)).expect("UTF-8");
    PathBuf::from(said.trim_end())
}

fn restored(store: &Store, from: &Path, words: &[&str]) -> Ran {
    let into = store.beside().join("restored");
    restored_into(store, from, &into, words)
}

fn restored_into(store: &Store, from: &Path, into: &Path, words: &[&str]) -> Ran {
    let (from, into) = (from.to_str().expect("UTF-8"), into.to_str().expect("UTF-8"));
    store.run(&[&["restore", from, "--into", into], words].concat())
}

/// All that a store holds, as its readers see it.
fn contents(path: &Path) -> Vec<String> {
    let read = |words: &[&str]| {
        let ran = on(path, words, b"");
        assert_eq!(ran.code(), 0, "{words:?}: {}", ran.stderr());
        ran.stdout().to_owned()
    };
    let topics = read(&["topic", "list"]);
    let mut found = vec![topics.clone(), read(&["inspect", "cursors"]), read(&["limit", "list"])];
    for topic in topics.lines().skip(1) {
        found.push(read(&["replay", topic, "--json"]));
        found.push(read(&["topic", "show", topic]));
        for group in read(&["group", "list", topic]).lines().skip(1) {
            found.push(read(&["group", "show", topic, group]));
            found.push(read(&["dlq", "list", topic, "-g", group]));
        }
    }
    let groups = read(&["inspect", "groups", "--json"]);
    for line in groups.lines() {
        let group: serde_json::Value = serde_json::from_str(line).expect("JSON");
        found.push(format!("{} {} {}", group["topic"], group["group"], group["committed"]));
    }
    let verified = on(path, &["verify"], b"");
    assert_eq!((verified.code(), verified.stdout().lines().count()), (0, 1), "{}{}", verified.stdout(), verified.stderr());
    found
}

/// All files below a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).expect("listed") {
        let path = entry.expect("one").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_restored_store_holds_what_the_store_held() {
    let store = made();
    let before = contents(&store.path());
    let made = snapshot(&store, &["--verify"]);
    store.ok(&["publish", "orders", "later"]);
    let ran = restored(&store, &made, &["--verify"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let into = store.beside().join("restored");
    assert_eq!(contents(&into), before);
    // Also as a tar, and of a tar that others made of the directory.
    let piped = store.beside().join("piped");
    let ran = store.shell(&format!("drave snapshot - orders | drave restore - --into {}", piped.display()));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(on(&piped, &["topic", "list"], b"").stdout(), "topic\norders\norders.dlq\n");
    assert!(on(&piped, &["replay", "orders"], b"").stdout().ends_with("later\n"));
    // With a topic go its dead letters, if it has any, wherever they come from.
    let part = store.beside().join("part");
    let ran = store.shell(&format!("drave snapshot - | drave restore - empty orders --into {}", part.display()));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(on(&part, &["topic", "list"], b"").stdout(), "topic\nempty\norders\norders.dlq\n");
    let tarred = store.beside().join("tarred");
    let ran = store.shell(&format!("tar c -C {} . | drave restore - --into {}", made.display(), tarred.display()));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(contents(&tarred), before);
    // It goes on.
    let go_on = |words: &[&str]| assert_eq!(on(&into, words, b"").code(), 0, "{words:?}");
    go_on(&["publish", "orders", "more"]);
    assert_eq!(on(&into, &["tail", "orders", "--as", "reader"], b"").stdout(), "more\n");
    let rest = on(&into, &["consume", "orders", "-g", "done", "--drain"], b"");
    assert_eq!(rest.stdout().lines().count(), 51, "fifty that the group had not had, and the new one");
    assert_eq!(on(&into, &["verify"], b"").stdout().lines().count(), 1);
}

#[test]
fn what_was_leased_then_is_delivered_again_and_later_receipts_and_cursors_are_void() {
    let store = made();
    let receipts =
        |count: &str| String::from_utf8(store.ok(&["consume", "orders", "-g", "hand", "--manual", "-n", count])).expect("UTF-8");
    receipts("2");
    let made = snapshot(&store, &[]);
    let later = receipts("3");
    let later = later.lines().last().expect("three").split('\t').next().expect("a receipt").to_owned();
    store.ok(&["publish", "orders", "a", "b", "c"]);
    store.ok(&["tail", "orders", "--as", "late"]);
    let ran = restored_into(&store, &made, &store.path(), &["orders", "--replace", "--yes"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    store.ok(&["publish", "orders", "new"]);
    // This cursor had read three records that are no more, at the offset of the new one and behind.
    let read = store.run(&["tail", "orders", "--as", "late"]);
    assert_eq!(read.stdout(), "new\n", "{}", read.stderr());
    let again = receipts("5");
    let late = store.run(&["group", "ack", "orders", "hand", &later]);
    assert_ne!(late.code(), 0, "{}", late.stderr());
    store.ok_with(&["group", "ack", "orders", "hand"], again.as_bytes());
    let rest = String::from_utf8(store.ok(&["consume", "orders", "-g", "hand", "--drain"])).expect("UTF-8");
    assert_eq!(rest.lines().count(), 66, "of seventy, five were acked; and the new one");
}

#[test]
fn cursors_of_a_life_that_another_restore_began_are_void() {
    let store = Store::new();
    let publish = |life: &str, count: u32| {
        let lines: String = (0..count).map(|line| format!("{life} {line}\n")).collect();
        store.ok_with(&["publish", "t"], lines.as_bytes());
        lines
    };
    store.ok(&["topic", "create", "t"]);
    let first = publish("first", 5);
    let made = snapshot(&store, &[]);
    for (life, count) in [("second", 5), ("third", 8), ("fourth", 13)] {
        store.ok(&["topic", "delete", "t", "--yes"]);
        let ran = restored_into(&store, &made, &store.path(), &["t"]);
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        let own = publish(life, count);
        let read = String::from_utf8(store.ok(&["tail", "t", "--as", "rd"])).expect("UTF-8");
        // None of this life is skipped, whatever was read in the one before.
        assert!(read == format!("{first}{own}") || read == own, "{life}: {read}");
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_refused_with_its_name_and_so_is_a_missing_file() {
    let mut seed = Seed::new();
    let store = made();
    let made = snapshot(&store, &[]);
    let into = store.beside().join("restored");
    let kinds: BTreeSet<_> = files(&made).iter().map(|path| path.extension().map(ToOwned::to_owned)).collect();
    assert!(kinds.len() >= 3, "{kinds:?}");
    for path in files(&made) {
        let name = path.strip_prefix(&made).expect("below").to_str().expect("UTF-8").to_owned();
        let whole = std::fs::read(&path).expect("there");
        let refused = |what: &str| {
            let ran = restored(&store, &made, &[]);
            assert_eq!(
                ran.code(),
                if name == "manifest" && what == "missing" { 3 } else { 7 },
                "{name} {what}: {}",
                ran.stderr()
            );
            assert!(
                ran.stderr().contains(if what == "missing" && name == "manifest" { "snapshot" } else { &name }),
                "{}",
                ran.stderr()
            );
            assert!(!into.exists() || std::fs::read_dir(&into).expect("listed").next().is_none(), "{name} {what}");
        };
        // A hard link shares its bytes with the store: it is the snapshot's alone now.
        std::fs::remove_file(&path).expect("removed");
        refused("missing");
        for _ in 0..3 {
            let bit = seed.below(whole.len() as u64 * 8) as usize;
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("written");
            refused(&format!("bit {bit}"));
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        refused("cut");
        std::fs::write(&path, &whole).expect("written");
    }
    std::fs::write(made.join("topics/orders/extra"), "x").expect("written");
    let ran = restored(&store, &made, &[]);
    assert_eq!(ran.code(), 10, "{}", ran.stderr());
    assert!(ran.stderr().contains("topics/orders/extra"), "{}", ran.stderr());
    std::fs::remove_file(made.join("topics/orders/extra")).expect("removed");
    assert_eq!(restored(&store, &made, &["--verify"]).code(), 0);
}

/// A tar of a snapshot, with something more at its end.
fn tar_with(store: &Store, made: &Path, more: &str) -> Ran {
    let place = tempfile::tempdir_in(store.beside()).expect("room");
    let place = place.path().display();
    let tar = format!("cp -r {}/. {place}/s && tar cf {place}/t -C {place}/s . && cd {place} && {{ {more}; }}", made.display());
    let into = store.beside().join("restored");
    store.shell(&format!("{tar} && drave restore - --into {} < {place}/t", into.display()))
}

#[test]
fn a_tar_with_anything_that_its_manifest_does_not_name_is_refused() {
    let store = made();
    let made = snapshot(&store, &[]);
    let into = store.beside().join("restored");
    let adds = [
        ("echo x > extra && tar rf t extra", "extra"),
        ("mkdir -p topics/orders && echo x > topics/orders/head && tar rf t topics/orders/head", "head"),
        ("mkdir -p cursors/a && echo x > cursors/a/b && tar rf t cursors/a/b", "cursors/a/b"),
        ("mkdir -p topics/orders/other && tar rf t topics/orders/other", "topics/orders/other"),
        ("echo x > evil && tar rPf t --transform 's,evil,/tmp/drave-evil,' evil", "/tmp/drave-evil"),
        ("echo x > evil && tar rPf t --transform 's,evil,../evil,' evil", "../evil"),
        ("echo x > evil && tar rPf t --transform 's,evil,topics/../../evil,' evil", "topics/../../evil"),
        ("ln -s /etc/passwd store.link && tar rf t store.link", "store.link"),
        (
            "mkdir -p topics/orders && ln -s /etc/passwd topics/orders/topic.toml && tar rf t topics/orders/topic.toml",
            "topic.toml",
        ),
        ("mkfifo pipe && tar rf t pipe", "pipe"),
        ("cp s/store.toml . && tar rf t store.toml", "store.toml"),
    ];
    for (more, name) in adds {
        let ran = tar_with(&store, &made, more);
        assert_eq!(ran.code(), 10, "{more}: {}", ran.stderr());
        assert!(ran.stderr().contains(name) && ran.stderr().contains("refused"), "{more}: {}", ran.stderr());
        assert!(std::fs::read_dir(&into).expect("made").next().is_none(), "{more}");
    }
    for (more, what) in [
        ("truncate -s $(($(stat -c %s t) / 2)) t", ""),
        ("tar --delete -f t ./manifest", "manifest"),
        ("head -c 5000 /dev/urandom > t", "tar"),
    ] {
        let ran = tar_with(&store, &made, more);
        assert_eq!(ran.code(), 7, "{more}: {}", ran.stderr());
        assert!(ran.stderr().contains(what), "{more}: {}", ran.stderr());
        assert!(std::fs::read_dir(&into).expect("made").next().is_none(), "{more}");
    }
    // As of a group, or a topic, that was deleted while it was copied.
    let ran = tar_with(&store, &made, "mkdir -p topics/orders/groups/gone topics/gone/groups && tar rf t topics");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    std::fs::create_dir_all(made.join("topics/empty/groups/gone")).expect("made");
    let ran = restored_into(&store, &made, &store.beside().join("again"), &[]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
}

#[test]
fn what_cannot_be_meant_is_said_clearly() {
    let store = made();
    for words in [
        &["snapshot", "there", "--keep", "0"][..],
        &["snapshot", "there", "--keep-daily", "0"],
        &["serve", "--snapshot-keep", "0"],
    ] {
        let ran = store.run(words);
        assert!(ran.code() == 2 && ran.stderr().contains("keep 1 at least"), "{}", ran.stderr());
    }
    let tar = store.beside().join("s.tar");
    std::fs::write(&tar, "a secret ".repeat(1000)).expect("written");
    let ran = restored(&store, &tar, &[]);
    assert!(ran.code() == 2 && ran.stderr().contains("drave restore - --into STORE < "), "{}", ran.stderr());
    let into = store.beside().join("restored");
    let ran = store.shell(&format!("drave restore - --into {} < {}", into.display(), tar.display()));
    assert!(ran.code() == 7 && ran.stderr().contains("no tar") && !ran.stderr().contains("secret"), "{}", ran.stderr());
}

#[test]
fn a_snapshot_of_a_newer_drave_is_refused_with_a_sentence() {
    let store = made();
    let made = snapshot(&store, &[]);
    let text = std::fs::read_to_string(made.join("manifest")).expect("text").replacen("\"version\":1", "\"version\":2", 1);
    let body = &text[..text.rfind("{\"end\"").expect("the last line")];
    let crc = crc32(body.as_bytes());
    std::fs::remove_file(made.join("manifest")).expect("removed");
    std::fs::write(made.join("manifest"), format!("{body}{{\"end\":{{\"crc\":{crc}}}}}\n")).expect("written");
    let ran = restored(&store, &made, &[]);
    assert_eq!(ran.code(), 13, "{}", ran.stderr());
    assert!(ran.stderr().contains("has format version 2, this drave reads up to 1"), "{}", ran.stderr());
}

fn crc32(bytes: &[u8]) -> u32 {
    let step =
        |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    !bytes.iter().fold(!0, step)
}

#[test]
fn the_newest_whole_one_is_restored_and_those_that_are_not_kept_go() {
    let store = made();
    let made: Vec<PathBuf> = (0..4)
        .map(|number| {
            store.ok(&["publish", "orders", &format!("number {number}")]);
            snapshot(&store, &["--keep", "3"])
        })
        .collect();
    assert!(!made[0].exists() && made[1..].iter().all(|path| path.is_dir()));
    let manifest = made[3].join("manifest");
    let bytes = std::fs::read(&manifest).expect("there");
    std::fs::remove_file(&manifest).expect("removed");
    std::fs::write(&manifest, &bytes[..bytes.len() / 2]).expect("written");
    // What a run that was cut short leaves is none, whatever is in it.
    std::fs::create_dir(copies(&store).join(".new-0123")).expect("made");
    let ran = restored(&store, &copies(&store), &[]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("passed over") && ran.stderr().contains(made[2].to_str().expect("UTF-8")), "{}", ran.stderr());
    let into = store.beside().join("restored");
    assert!(on(&into, &["tail", "orders", "-n", "1"], b"").stdout().ends_with("number 2\n"));
    // One that is not whole counts for nothing, and is not removed.
    let next = snapshot(&store, &["--keep", "2"]);
    assert!(next.is_dir() && made[2].is_dir() && made[3].is_dir() && !made[1].exists());
    assert!(!copies(&store).join(".new-0123").exists());
    assert_eq!(restored(&store, &store.beside().join("nowhere"), &[]).code(), 3);
    assert_eq!(restored(&store, store.beside(), &[]).code(), 3);
}

#[test]
fn stores_and_selections_of_topics_share_a_directory_and_neither_counts_for_another() {
    let (store, other) = (made(), Store::new());
    let dest = copies(&store);
    let to = dest.to_str().expect("UTF-8");
    let whole = snapshot(&store, &[]);
    let part = snapshot(&store, &["orders", "--keep", "1"]);
    let ran = restored(&store, &dest, &[]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(
        ran.stderr().contains(part.to_str().expect("UTF-8")) && ran.stderr().contains("some topics only"),
        "{}",
        ran.stderr()
    );
    assert_eq!(contents(&store.beside().join("restored")), contents(&store.path()), "of all, though it is older");
    let newer = snapshot(&store, &["orders", "--keep", "1"]);
    assert!(whole.is_dir() && newer.is_dir() && !part.exists());
    other.ok(&["topic", "create", "other"]);
    let foreign = String::from_utf8(other.ok(&["snapshot", to, "--keep", "1"])).expect("UTF-8");
    assert!([&whole, &newer, &PathBuf::from(foreign.trim_end())].iter().all(|path| path.is_dir()));
    let ran = restored_into(&store, &dest, &store.beside().join("which"), &[]);
    assert_eq!(ran.code(), 10, "{}", ran.stderr());
    assert!(ran.stderr().contains("several stores"), "{}", ran.stderr());
    std::fs::remove_dir_all(foreign.trim_end()).expect("removed");
    std::fs::remove_dir_all(&whole).expect("removed");
    let ran = restored_into(&store, &dest, &store.beside().join("part"), &[]);
    assert!(ran.code() == 0 && ran.stderr().contains("only of some topics"), "{}", ran.stderr());
    // For who is to make one of all each hour there is none yet.
    let mut server = store.start(&["serve", "--snapshot-every", "1h", "--snapshot-to", to]);
    let made = || std::fs::read_dir(&dest).expect("listed").filter(|entry| entry.as_ref().is_ok_and(is_snapshot)).count();
    wait_until("there are two", || made() == 2);
    kill_process(Pid::from_child(&server), Signal::TERM).expect("it runs");
    assert!(server.wait().expect("it ends").success());
}

fn is_snapshot(entry: &std::fs::DirEntry) -> bool {
    !entry.file_name().to_string_lossy().starts_with('.')
}

#[test]
fn what_cannot_be_removed_is_said_and_the_snapshot_is_made() {
    let store = made();
    let first = snapshot(&store, &[]);
    // What is mounted there stays, and nothing else can get the name under which the first one is removed.
    let name = first.file_name().expect("named").to_str().expect("UTF-8");
    let left = copies(&store).join(format!(".trash-{name}"));
    let Some(_mount) = Mount::new(&left.join("mounted"), &["-t", "tmpfs", "tmpfs"]) else { return };
    let dest = copies(&store);
    let ran = store.run(&["snapshot", dest.to_str().expect("UTF-8"), "--keep", "1"]);
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    for kept in [&left, &first] {
        assert!(ran.stderr().contains(&format!("{} could not be removed", kept.display())), "{}", ran.stderr());
    }
    let second = PathBuf::from(ran.stdout().trim_end());
    assert!(second.join("manifest").is_file());
    let ran = restored(&store, &second, &[]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
}

#[test]
fn a_stream_that_a_compaction_overtakes_is_no_damage() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=64KiB"]);
    let lines: String = (0..100).map(|line| format!("k{}:{}\n", line % 3, "x".repeat(30_000))).collect();
    store.ok_with(&["publish", "t", "-K", ":"], lines.as_bytes());
    // The stream waits for its reader while all segments are written anew.
    let compact = "head -c 300000 > /dev/null; drave topic set t compact=on; drave compact t >&2";
    let ran = store.shell(&format!("{{ drave snapshot - || echo \"exit $?\" >&2; }} | {{ {compact}; cat > /dev/null; }}"));
    assert!(ran.stderr().contains("exit 5") && ran.stderr().contains("try again"), "{}", ran.stderr());
    assert_eq!(store.shell("drave snapshot - > /dev/null").code(), 0);
}

#[test]
fn only_one_makes_snapshots_in_a_directory() {
    let store = made();
    snapshot(&store, &[]);
    let lock = std::fs::OpenOptions::new().write(true).open(copies(&store).join(".lock")).expect("there");
    let held = rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    held.expect("nobody has it");
    let ran = store.run(&["snapshot", copies(&store).to_str().expect("UTF-8")]);
    assert_eq!(ran.code(), 5, "{}", ran.stderr());
    drop(lock);
    snapshot(&store, &[]);
}

#[test]
fn a_restore_takes_an_empty_directory_or_a_store_and_replaces_only_when_told() {
    let store = made();
    let made = snapshot(&store, &[]);
    let before = contents(&store.path());
    store.ok(&["publish", "orders", "later"]);
    let other = store.beside().join("other");
    std::fs::create_dir(&other).expect("made");
    std::fs::write(other.join("mine"), "mine").expect("written");
    let ran = restored_into(&store, &made, &other, &[]);
    assert_eq!(ran.code(), 12, "{}", ran.stderr());
    assert_eq!(std::fs::read_dir(&other).expect("listed").count(), 1);

    let ran = restored_into(&store, &made, &store.path(), &[]);
    assert_eq!(ran.code(), 12, "{}", ran.stderr());
    let ran = restored_into(&store, &made, &store.path(), &["--replace"]);
    assert_eq!(ran.code(), 2, "{}", ran.stderr());
    assert!(store.ok(&["tail", "orders", "-n", "1"]).ends_with(b"later\n"), "nothing was done");
    assert_eq!(restored_into(&store, &made, &store.path(), &["nothing"]).code(), 3);

    // Into another store, beside what is in it.
    let ran = on(&other.join("store"), &["publish", "own", "mine"], b"");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let ran = restored_into(&store, &made, &other.join("store"), &["orders"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(on(&other.join("store"), &["topic", "list"], b"").stdout(), "topic\norders\norders.dlq\nown\n");
    assert_eq!(on(&other.join("store"), &["replay", "own"], b"").stdout(), "mine\n");

    let ran = restored_into(&store, &made, &store.path(), &["--replace", "--yes"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(contents(&store.path()), before);
    // A snapshot is no store, and none is made inside its store.
    assert_eq!(on(&made, &["publish", "orders", "x"], b"").code(), 11);
    assert_eq!(on(&made, &["verify"], b"").code(), 11);
    assert_eq!(store.run(&["snapshot", store.path().join("copies").to_str().expect("UTF-8")]).code(), 2);
}

#[test]
fn sealed_segments_are_shared_and_nobody_may_write_to_them() {
    let store = made();
    for _ in 0..3 {
        store.ok_with(&["publish", "orders"], "x\n".repeat(2000).as_bytes());
    }
    // A long active segment is sealed, and so it is shared; a short one is copied.
    let sealing = snapshot(&store, &[]);
    let orders = sealing.join("topics/orders");
    let is_segment = |path: &PathBuf| path.parent() == Some(&orders) && path.extension().is_some_and(|kind| kind == "log");
    let last = files(&orders).into_iter().filter(is_segment).max().expect("one");
    assert_eq!(std::fs::metadata(last).expect("there").nlink(), 2);
    store.ok(&["publish", "orders", "x"]);
    let first = snapshot(&store, &[]);
    let inode = |path: PathBuf| std::fs::metadata(path).map(|meta| meta.ino()).ok();
    let segments = |root: &Path| -> Vec<PathBuf> {
        files(&root.join("topics/orders")).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect()
    };
    let of_topic: Vec<PathBuf> =
        segments(&first).into_iter().filter(|path| path.parent() == Some(&first.join("topics/orders"))).collect();
    assert!(of_topic.len() > 2, "{of_topic:?}");
    let (last, sealed) = of_topic.split_last().expect("some");
    let in_store = |path: &Path| store.path().join(path.strip_prefix(&first).expect("below"));
    for path in sealed {
        assert_eq!(inode(path.clone()), inode(in_store(path)), "{path:?}");
        assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o400);
    }
    assert_ne!(inode(last.clone()), inode(in_store(last)), "the last one still grows");
    // What did not change is shared with the snapshot before, the last segment too.
    let second = snapshot(&store, &["--verify"]);
    for path in segments(&first) {
        assert_eq!(inode(path.clone()), inode(second.join(path.strip_prefix(&first).expect("below"))), "{path:?}");
    }
    // A log that has lost what comes after a sealed segment does not go on in it.
    let bytes = std::fs::read(&sealed[sealed.len() - 1]).expect("there");
    std::fs::remove_file(in_store(last)).expect("removed");
    std::fs::remove_file(store.path().join("topics/orders/head")).expect("removed");
    store.ok(&["publish", "orders", "after"]);
    assert_eq!(std::fs::read(&sealed[sealed.len() - 1]).expect("there"), bytes);
    assert_eq!(restored(&store, &second, &["--verify"]).code(), 0);
}

#[test]
fn on_another_file_system_only_what_is_new_is_copied() {
    let store = made();
    let Ok(place) = tempfile::tempdir_in("/dev/shm") else { return };
    let made = || -> serde_json::Value {
        let said = store.ok(&["snapshot", place.path().to_str().expect("UTF-8"), "--json", "--verify"]);
        serde_json::from_slice(&said).expect("JSON")
    };
    let first = made();
    store.ok(&["publish", "orders", "more"]);
    let second = made();
    assert!(first["bytes_copied"].as_u64() > second["bytes_copied"].as_u64().map(|bytes| 2 * bytes), "{first} {second}");
    assert_eq!(restored(&store, place.path(), &["--verify"]).code(), 0);
    assert_eq!(contents(&store.beside().join("restored")), contents(&store.path()));
}

#[test]
fn a_killed_snapshot_or_restore_is_as_if_it_had_not_been() {
    let mut seed = Seed::new();
    let store = made();
    let lines: String = (0..20_000).map(|line| format!("{line:0100}\n")).collect();
    store.ok_with(&["publish", "orders"], lines.as_bytes());
    let made = snapshot(&store, &[]);
    let before = contents(&store.path());
    let dest = copies(&store);
    let into = store.beside().join("restored");
    for round in 0..16 {
        let words: &[&str] = if round % 2 == 0 {
            &["snapshot", dest.to_str().expect("UTF-8"), "--verify"]
        } else {
            &["restore", made.to_str().expect("UTF-8"), "--into", into.to_str().expect("UTF-8")]
        };
        let mut child = store.start(words);
        std::thread::sleep(std::time::Duration::from_micros(seed.below(40_000)));
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        child.wait().expect("it ends");
        if into.join("store.toml").exists() {
            assert_eq!(contents(&into), before);
        } else if into.exists() {
            // Nobody takes what is there for a store, or makes one of it.
            let ran = on(&into, &["topic", "list"], b"");
            assert_eq!(ran.code(), 11, "{}", ran.stderr());
            if into.join(".restoring").exists() {
                assert_eq!(on(&into, &["publish", "orders", "x"], b"").code(), 11);
            }
            let ran = restored(&store, &made, &[]);
            assert_eq!(ran.code(), 0, "{}", ran.stderr());
            assert_eq!(contents(&into), before);
        }
        let _ = std::fs::remove_dir_all(&into);
        if round % 2 == 0 {
            let newest = store.beside().join("newest");
            assert_eq!(restored_into(&store, &dest, &newest, &[]).code(), 0);
            assert_eq!(contents(&newest), before);
            std::fs::remove_dir_all(&newest).expect("removed");
        }
    }
    snapshot(&store, &[]);
    assert!(
        std::fs::read_dir(&dest).expect("listed").all(|entry| !entry
            .expect("one")
            .file_name()
            .to_string_lossy()
            .starts_with(".new-"))
    );
    assert_eq!(contents(&store.path()), before);
}

#[test]
fn a_full_disk_is_an_error_and_with_room_again_it_works() {
    let store = made();
    let lines: String = (0..80_000).map(|line| format!("{line:0100}\n")).collect();
    store.ok_with(&["publish", "big"], lines.as_bytes());
    let disk = store.beside().join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]) else { return };
    let made = snapshot(&store, &[]);
    let (dest, into) = (disk.join("copies"), disk.join("restored"));
    let again = |room: &str| {
        let words = ["-o", &format!("remount,size={room}")];
        assert!(Command::new("mount").args(words).arg(&disk).status().expect("mount runs").success());
    };
    let copy = || store.run(&["snapshot", dest.to_str().expect("UTF-8")]);
    for ran in [copy(), restored_into(&store, &made, &into, &[])] {
        assert_eq!(ran.code(), 1, "{}", ran.stderr());
        assert!(ran.stderr().contains("no space left on device"), "{}", ran.stderr());
    }
    assert_eq!(files(&disk).len(), 1, "the lock, and nothing else: {:?}", files(&disk));
    again("64m");
    let ran = copy();
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let ran = restored_into(&store, &dest, &into, &["--verify"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(contents(&into), contents(&store.path()));
}

#[test]
fn under_load_every_snapshot_is_consistent() {
    let store = Store::new();
    store.ok(&["topic", "create", "orders", "segment-bytes=4KiB"]);
    for group in ["one", "two"] {
        store.ok(&["group", "create", "orders", group]);
    }
    let mut publishers: Vec<_> = (0..8).map(|_| store.start(&["publish", "orders"])).collect();
    let mut inputs: Vec<_> = publishers.iter_mut().map(|child| child.stdin.take().expect("a pipe")).collect();
    let consume = |group| {
        store
            .command(&["consume", "orders", "-g", group])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts")
    };
    let mut consumers = [consume("one"), consume("two")];
    let feeding = std::thread::spawn(move || {
        for number in 0_u64.. {
            // As fast as they can would make more than is read back in a test's time.
            std::thread::sleep(std::time::Duration::from_millis(1));
            for (publisher, input) in inputs.iter_mut().enumerate() {
                if input.write_all(format!("{publisher} {number}\n").as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    wait_until("there are segments", || files(&store.path().join("topics/orders")).len() > 8);
    let made: Vec<PathBuf> = (0..4).map(|_| snapshot(&store, &["--verify"])).collect();
    for child in publishers.iter_mut().chain(&mut consumers) {
        child.kill().expect("it ran until now");
        child.wait().expect("it ends");
    }
    feeding.join().expect("no failure");
    store.ok(&["publish", "orders", "last"]);
    let whole = store.ok(&["replay", "orders", "--json"]);
    for snapshot in made {
        let into = store.beside().join("restored");
        let ran = restored_into(&store, &snapshot, &into, &["--verify"]);
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        let records = on(&into, &["replay", "orders", "--json"], b"");
        assert!(!records.stdout().is_empty() && whole.starts_with(records.stdout().as_bytes()), "a beginning of the topic");
        let end = records.stdout().lines().count() as u64;
        for line in on(&into, &["inspect", "groups", "--json"], b"").stdout().lines() {
            let group: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(group["committed"].as_u64().expect("a number") <= end, "{line}: of {end}");
        }
        assert_eq!(on(&into, &["verify"], b"").stdout().lines().count(), 1);
        std::fs::remove_dir_all(&into).expect("removed");
    }
    verify_clean(&store, "orders");
}

#[test]
fn serve_makes_snapshots_by_itself() {
    let store = made();
    let dest = copies(&store);
    let to = dest.to_str().expect("UTF-8");
    let mut server = store.start(&["serve", "--snapshot-every", "100ms", "--snapshot-to", to, "--snapshot-keep", "2"]);
    let names = || -> BTreeSet<String> {
        let Ok(entries) = std::fs::read_dir(&dest) else { return BTreeSet::new() };
        let names = entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    };
    wait_until("there is one", || !names().is_empty());
    let first = names();
    wait_until("it is gone, and others are there", || names().is_disjoint(&first));
    kill_process(Pid::from_child(&server), Signal::TERM).expect("it runs");
    assert!(server.wait().expect("it ends").success());
    assert_eq!(restored(&store, &dest, &["--verify"]).code(), 0);
    assert!(drave(&["serve", "--snapshot-every", "1h"]).output().expect("it runs").status.code() == Some(2));
}

/// The restore drill of the README.
#[test]
fn the_restore_drill_of_the_readme_works() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("text");
    let drill = readme.split("<!-- the restore drill -->").nth(1).expect("it is marked");
    let script = drill.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let store = made();
    let script = script.replace("/backup/drave", copies(&store).to_str().expect("UTF-8"));
    let script = script.replace("/tmp/drill", store.beside().join("drill").to_str().expect("UTF-8"));
    let ran = store.shell(&format!("set -e; {script}"));
    assert_eq!(ran.code(), 0, "{}{}", ran.stdout(), ran.stderr());
    assert!(ran.stdout().contains("same"), "{}", ran.stdout());
}
