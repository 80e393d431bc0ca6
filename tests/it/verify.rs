use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::{Duration, SystemTime};

use crate::inspect::{filled, flip, segments, snapshot};
use crate::support::{Ran, Store};

/// Rows as `topic severity from until what`, without what differs from run to run.
fn findings(ran: &Ran) -> Vec<String> {
    let rows = ran.stdout().lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    rows.map(|row| [row[0], row[1], row[4], row[5], row[6]].join(" ")).collect()
}

#[test]
fn a_whole_store_is_summed_up() {
    let store = filled();
    let ran = store.run(&["verify"]);
    assert_eq!((ran.code(), ran.stdout()), (0, "topic\tseverity\tpath\tposition\tfrom\tuntil\twhat\n"));
    let summary = ran.stderr();
    assert!(summary.starts_with("verified 2 topics, 4 segments, "), "{summary}");
    assert!(summary.ends_with(" frames, 103 records, 11 kB: no damage\n"), "{summary}");
    let ran = store.run(&["verify", "a", "--quiet", "--json"]);
    assert_eq!((ran.code(), ran.stdout(), ran.stderr()), (0, "", ""));
    assert_eq!(store.run(&["verify", "a", "c"]).code(), 3);
}

#[test]
fn a_flipped_byte_is_found_with_its_place() {
    let store = filled();
    let path = segments(&store, "b")[1].clone();
    flip(&path, 2500);
    let ran = store.run(&["verify"]);
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
    let row: Vec<&str> = ran.stdout().lines().nth(1).expect("a row").split('\t').collect();
    assert_eq!(row[..3], ["b", "damage", path.to_str().expect("UTF-8")]);
    let position: u64 = row[3].parse().expect("a number");
    assert!(position > 256 && position <= 2500, "{position}");
    assert_eq!((row[4], row[5], row[6]), ("60", "80", "the checksum does not match"));
    assert!(ran.stderr().ends_with(": 1 damaged place with 20 lost records\n"), "{}", ran.stderr());
    assert_eq!(store.run(&["verify", "a"]).code(), 0);
}

#[test]
fn a_repair_needs_a_yes_where_nobody_can_be_asked() {
    let store = filled();
    flip(&segments(&store, "b")[1], 2500);
    let before = snapshot(&store.path());
    let ran = store.run_with(&["verify", "--repair"], b"y\n");
    assert_eq!((ran.code(), ran.stdout()), (2, ""));
    assert!(ran.stderr().contains("--yes"), "{}", ran.stderr());
    let ran = store.run(&["verify", "--repair", "--dry-run"]);
    assert_eq!((ran.code(), findings(&ran).len()), (7, 1));
    assert!(snapshot(&store.path()) == before);
    assert_eq!(store.run(&["verify", "--yes"]).code(), 2);
    assert_eq!(store.run(&["verify", "--dry-run"]).code(), 2);
}

#[test]
fn after_a_repair_all_is_whole_and_what_is_lost_is_told() {
    let store = filled();
    let original = fs::read(&segments(&store, "b")[1]).expect("it is there");
    flip(&segments(&store, "b")[1], 2500);
    let damaged = fs::read(&segments(&store, "b")[1]).expect("it is there");
    let before = store.run(&["replay", "b", "-o", "%o %v\n"]);
    assert_eq!(before.code(), 7);
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!((ran.code(), findings(&ran)), (0, vec!["b damage 60 80 the checksum does not match".to_owned()]));
    let said: Vec<&str> = ran.stderr().lines().skip(1).collect();
    let quarantine = store.path().join("quarantine/b");
    assert_eq!(
        said,
        [
            format!("b: wrote 1 segment anew, kept 1 file in {}", quarantine.display()).as_str(),
            "b: gave up records 60..80",
            "repaired; all of it is whole now",
        ]
    );
    let kept: Vec<_> = fs::read_dir(quarantine).expect("it was made").map(|entry| entry.expect("one").path()).collect();
    assert!(kept.len() == 1 && fs::read(&kept[0]).expect("it is kept") == damaged && damaged != original);

    let ran = store.run(&["verify"]);
    assert_eq!((ran.code(), findings(&ran)), (0, vec!["b note   records 60..80 were given up by an earlier repair".to_owned()]));
    let after = store.run(&["replay", "b", "-o", "%o %v\n"]);
    assert_eq!((after.code(), after.stdout()), (0, before.stdout()));
    assert_eq!(after.stderr(), "b: records 60..80 were damaged, and a repair gave them up\n");
    assert_eq!(store.ok(&["publish", "b", "--receipts", "more"]).split(|b| *b == b'\t').next(), Some(&b"100"[..]));
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stderr().lines().count(), 1, "nothing is left to do: {}", ran.stderr());
}

#[test]
fn a_topic_without_readable_settings_gets_the_defaults() {
    let store = filled();
    fs::write(store.path().join("topics/b/topic.toml"), b"[[[").expect("there is room");
    assert_eq!(store.run(&["verify"]).code(), 7);
    assert_eq!(store.run(&["replay", "b"]).code(), 11);
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("b: its settings could not be read and are the store's defaults now"), "{}", ran.stderr());
    assert_eq!(store.ok(&["replay", "b"]).len(), 100 * 85 + 50);
    let shown = String::from_utf8(store.ok(&["topic", "show", "b"])).expect("UTF-8");
    assert!(!shown.contains("\ttopic\n"), "{shown}");
    let kept: Vec<_> = fs::read_dir(store.path().join("quarantine/b")).expect("it was made").collect();
    assert_eq!(kept.len(), 1);
}

#[test]
fn what_was_left_beside_the_topics_is_removed() {
    let store = filled();
    let topics = store.path().join("topics");
    for name in [".new-0123", ".new-4567", ".trash-89ab", "Mine"] {
        fs::create_dir(topics.join(name)).expect("made");
    }
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::open(topics.join(".new-0123")).and_then(|dir| dir.set_modified(long_ago)).expect("it is ours");
    let ran = store.run(&["verify"]);
    assert_eq!((ran.code(), findings(&ran).len()), (0, 3), "{}", ran.stdout());
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(ran.code(), 0);
    assert!(ran.stderr().contains("removed what 2 topics had left"), "{}", ran.stderr());
    let left = [".new-0123", ".new-4567", ".trash-89ab", "Mine"].map(|name| topics.join(name).exists());
    assert_eq!(left, [false, true, false, true]);
}

#[test]
fn what_no_repair_can_mend_stays_damage() {
    let store = filled();
    fs::write(store.path().join("store.toml"), b"?").expect("there is room");
    flip(&segments(&store, "b")[1], 2500);
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(ran.code(), 7);
    assert!(ran.stderr().contains("was not repaired"), "{}", ran.stderr());
    assert_eq!(store.run(&["verify", "b"]).code(), 0);
}

#[test]
fn a_time_limit_ends_it_with_what_was_done() {
    let store = filled();
    let ran = store.run(&["verify", "--timeout", "0ms"]);
    assert_eq!(ran.code(), 124);
    assert!(ran.stderr().starts_with("stopped early; verified 0 topics"), "{}", ran.stderr());
    let before = snapshot(&store.path());
    flip(&segments(&store, "b")[1], 2500);
    assert_eq!(store.run(&["verify", "--repair", "--yes", "--timeout", "0ms"]).code(), 124);
    flip(&segments(&store, "b")[1], 2500);
    assert_eq!(snapshot(&store.path()).len(), before.len());
}

#[test]
fn publishers_and_followers_go_on_during_a_repair() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=16KiB"]);
    let line = |number: u32| format!("{number} {}", "x".repeat(60));
    let mut publisher = store.start(&["publish", "t"]);
    let mut input = publisher.stdin.take().expect("a pipe");
    let mut follower = store.start(&["tail", "t", "-n", "0", "-f", "--wait"]);
    let mut read = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    // A follower starts where the topic ends then; until it does, records are not for it.
    let mut number = 0;
    let mut publish = |count: u32| {
        for _ in 0..count {
            writeln!(input, "{}", line(number)).expect("it reads");
            number += 1;
        }
        number
    };
    publish(1);
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || read.by_ref().try_for_each(|line| sender.send(line.expect("UTF-8"))));
    while lines.recv_timeout(Duration::from_millis(20)).is_err() {
        publish(1);
    }
    let mut seen = None;
    for round in 0..30 {
        let until = publish(200);
        while seen != Some(line(until - 1)) {
            let next = lines.recv_timeout(Duration::from_secs(20)).expect("it follows");
            seen = Some(next);
        }
        // Of what all have read already, in an old segment or in the active one.
        let paths = segments(&store, "t");
        let path = if round % 2 == 0 { &paths[paths.len() - 1] } else { &paths[paths.len() / 2] };
        flip(path, fs::metadata(path).expect("it is there").len() as usize / 2);
        let ran = store.run(&["verify", "--repair", "--yes"]);
        assert_eq!(ran.code(), 0, "round {round}: {}{}", ran.stdout(), ran.stderr());
        assert!(ran.stderr().contains("anew"), "round {round}: {}{}", ran.stdout(), ran.stderr());
    }
    let until = publish(100);
    drop(input);
    let published = publisher.wait_with_output().expect("it ends");
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    while seen != Some(line(until - 1)) {
        seen = Some(lines.recv_timeout(Duration::from_secs(20)).expect("it follows"));
    }
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
    let ran = store.run(&["verify"]);
    assert!(ran.code() == 0 && findings(&ran).iter().all(|row| row.starts_with("t note ")), "{}", ran.stdout());
    let ran = store.run(&["replay", "t", "-o", "%o %v\n"]);
    assert_eq!(ran.code(), 0);
    for row in ran.stdout().lines() {
        let (offset, value) = row.split_once(' ').expect("both");
        assert!(value.starts_with(&format!("{offset} ")), "{row}");
    }
}

/// The journal of the group g of the topic t.
fn journal(store: &Store) -> std::path::PathBuf {
    store.path().join("topics/t/groups/g/00000000000000000000.log")
}

#[test]
fn a_groups_journal_is_verified_and_goes_on_without_what_is_damaged() {
    let store = Store::new();
    store.ok_with(&["publish", "t", "-q"], (0..100).map(|number| format!("{number}\n")).collect::<String>().as_bytes());
    let first = store.ok(&["consume", "t", "-g", "g", "-n", "10", "--consumer", "me"]);
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 10);
    let before = fs::read(journal(&store)).expect("it is there").len();
    store.ok(&["consume", "t", "-g", "g", "--drain", "--consumer", "me"]);
    let ran = store.run(&["verify"]);
    assert_eq!((ran.code(), ran.stdout().lines().count()), (0, 1), "{}", ran.stdout());
    assert!(ran.stderr().starts_with("verified 1 topic, 1 group, 2 segments, "), "{}", ran.stderr());
    // In what the second run said.
    flip(&journal(&store), before + 70);
    let ran = store.run(&["verify", "t"]);
    assert_eq!(ran.code(), 7, "{}", ran.stdout());
    let found = findings(&ran);
    assert!(found[0].starts_with("t damage  ") && found[0].contains("delivers records again"), "{found:?}");
    assert_eq!(store.run(&["verify", "--repair"]).code(), 2, "not without consent");
    let ran = store.run(&["verify", "--repair", "--yes"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("group g goes on without what its journal lost"), "{}", ran.stderr());
    let ran = store.run(&["verify", "--json"]);
    assert_eq!(ran.code(), 0, "{}", ran.stdout());
    assert!(ran.stdout().contains("a checkpoint holds what it said"), "{}", ran.stdout());
    let again = store.ok(&["consume", "t", "-g", "g", "--drain", "--consumer", "me"]);
    let again = String::from_utf8(again).expect("UTF-8");
    assert!(again.starts_with("10\n") && again.ends_with("99\n"), "what was settled before is not delivered again: {again}");
    // A checkpoint that is wrong costs nothing while there is another way.
    flip(&store.path().join("topics/t/groups/g/checkpoint-0"), 30);
    let ran = store.run(&["verify"]);
    assert!(ran.stdout().contains("the checksum does not match"), "{}", ran.stdout());
}

#[test]
fn a_group_that_is_lost_is_told_beside_those_that_are_well() {
    let store = Store::new();
    store.ok(&["publish", "t", "-q", "a"]);
    store.ok(&["group", "create", "t", "well"]);
    store.ok(&["group", "create", "t", "lost"]);
    fs::remove_file(store.path().join("topics/t/groups/lost/00000000000000000000.log")).expect("it is there");
    let ran = store.run(&["verify"]);
    assert_eq!(ran.code(), 7, "{}", ran.stdout());
    let ran = store.run(&["inspect", "groups"]);
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
    let rows: Vec<&str> = ran.stdout().lines().skip(1).collect();
    assert!(rows[0].starts_with("t\tlost\t\t") && rows[0].contains("make it anew"), "{rows:?}");
    assert!(rows[1].starts_with("t\twell\t0\t1\t"), "{rows:?}");
    store.ok(&["group", "delete", "t", "lost", "--yes"]);
    assert_eq!(store.run(&["inspect", "groups"]).code(), 0);
}
