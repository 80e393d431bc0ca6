//! Consumer groups in bad times: consumers that are killed and stopped, topics that go, disks that
//! are full, journals that are damaged, and commands that do not behave.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Seed, run_bounded, wait_until};
use crate::room::{Mount, on};
use crate::support::{Ran, Store};

/// Publishes the numbers, under keys of which each gets every seventh.
fn publish(store: &Store, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.map(|number| format!("k{}:{number}\n", number % 7)).collect();
    store.ok_with(&["publish", "jobs", "-q", "-K", ":"], lines.as_bytes());
}

/// Starts a consumer that runs a shell script with `$OUT` for each record, and says nothing.
fn start(store: &Store, words: &[&str], script: &str) -> Child {
    let words = [&["--timeout", "50s", "consume", "jobs", "-g", "g"], words, &["--exec", "sh", "-c", script]].concat();
    let mut command = store.command(&words);
    command.env("OUT", store.beside().join("out"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn ended(child: Child) -> (i32, String) {
    let ran = Ran(child.wait_with_output().expect("it ends"));
    (ran.code(), ran.stderr().to_owned())
}

#[track_caller]
fn consume(store: &Store, words: &[&str]) -> Ran {
    run_bounded(store.command(&[&["--timeout", "50s", "consume", "jobs", "-g", "g"], words].concat()), b"")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is ours");
}

/// Key and number of each run that came to its end.
fn written(store: &Store) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(store.beside().join("out")).unwrap_or_default();
    let lines = text.lines().map(|line| line.split_once(' ').expect("two words"));
    lines.map(|(key, number)| (key.to_owned(), number.parse().expect("a number"))).collect()
}

/// Everything was worked, and in a group that keeps order nothing before what its key has before it:
/// a record may come again.
#[track_caller]
fn assert_worked(store: &Store, count: u64, order: &str) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (key, number) in written(store) {
        if !seen.insert(number) {
            continue;
        }
        let line = if order == "topic" { String::new() } else { key };
        let before = last.insert(line.clone(), number);
        assert!(order == "none" || before < Some(number), "{line}: {number} was done after {before:?}");
    }
    assert!(seen.iter().copied().eq(0..count), "{} of {count} were worked", seen.len());
}

#[track_caller]
fn assert_quiet(store: &Store, count: u64) {
    let info = String::from_utf8(store.ok(&["inspect", "groups", "--json"])).expect("UTF-8");
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    for (name, value) in [("committed", count), ("lag", 0), ("undelivered", 0), ("pending", 0), ("dead", 0)] {
        assert_eq!(info[name], value, "{name}: {info}");
    }
}

const WRITES: &str = r#"read x; echo "$DRAVE_KEY $x" >> "$OUT""#;

/// Kills consumers, and stops them for longer than the lease, while they work.
fn strike(order: &str, records: u64, strikes: u64) {
    let mut seed = Seed::new();
    let store = Store::new();
    store.ok(&["topic", "create", "jobs", "durability=async"]);
    store.ok(&["group", "create", "jobs", "g", &format!("order={order}"), "lease=150ms", "max-attempts=0"]);
    let join = || start(&store, &["-P", "3"], WRITES);
    let mut consumers: Vec<Child> = (0..3).map(|_| join()).collect();
    for strike in 0..strikes {
        publish(&store, records * strike / strikes..records * (strike + 1) / strikes);
        let which = seed.below(3) as usize;
        let is_kill = seed.below(2) == 0;
        signal(&consumers[which], if is_kill { Signal::KILL } else { Signal::STOP });
        let pause = Duration::from_millis(if is_kill { seed.below(30) } else { seed.below(250) });
        let before = Instant::now();
        wait_until("some time has passed", || before.elapsed() >= pause);
        if is_kill {
            let (code, said) = ended(std::mem::replace(&mut consumers[which], join()));
            assert_eq!(code, 128 + 9, "{said}");
        } else {
            signal(&consumers[which], Signal::CONT);
        }
    }
    consumers.iter().for_each(|child| signal(child, Signal::TERM));
    for child in consumers {
        let (code, said) = ended(child);
        assert_eq!(code, 143, "{said}");
    }
    let (code, said) = ended(start(&store, &["-P", "3", "--drain"], WRITES));
    assert_eq!((code, said.as_str()), (0, ""));
    assert_worked(&store, records, order);
    assert_quiet(&store, records);
}

#[test]
fn killed_and_stopped_consumers_without_order_skip_nothing() {
    strike("none", 500, 34);
}

#[test]
fn killed_and_stopped_consumers_keep_the_order_of_each_key() {
    strike("key", 500, 34);
}

#[test]
fn killed_and_stopped_consumers_keep_the_order_of_the_topic() {
    strike("topic", 300, 34);
}

#[test]
fn a_topic_that_is_deleted_ends_its_consumers_and_one_made_anew_is_another() {
    for script in [None, Some(WRITES)] {
        let store = Store::new();
        publish(&store, 0..3);
        let child = match script {
            None => store.start(&["--timeout", "50s", "consume", "jobs", "-g", "g", "--consumer", "me"]),
            Some(script) => start(&store, &["--consumer", "me"], script),
        };
        let is_quiet = || String::from_utf8_lossy(&store.run(&["inspect", "groups"]).0.stdout).contains("\t3\t0\t");
        wait_until("all is worked", is_quiet);
        store.ok(&["topic", "delete", "jobs", "--yes"]);
        publish(&store, 10..12);
        let (code, said) = ended(child);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("jobs: the topic was deleted"), "{said}");
        let ran = consume(&store, &["--consumer", "me", "--drain"]);
        assert_eq!((ran.code(), ran.stdout(), ran.stderr()), (0, "10\n11\n", ""));
        // Between runs it is told by nothing: the group went with the topic.
        store.ok(&["topic", "delete", "jobs", "--yes"]);
        assert_eq!(consume(&store, &["--drain"]).code(), 3, "there is no topic");
        publish(&store, 20..21);
        assert_eq!(consume(&store, &["--drain"]).stdout(), "20\n");
    }
}

#[test]
fn a_group_is_sent_to_the_ends_of_its_topic_and_not_beyond() {
    let store = Store::new();
    publish(&store, 0..10);
    store.ok(&["group", "create", "jobs", "g"]);
    let seek = |to: &str| store.run(&["group", "seek", "jobs", "g", "--to", to, "--yes"]);
    let ran = seek("11");
    assert_eq!(ran.code(), 3, "{}", ran.stderr());
    assert!(ran.stderr().contains("offset 11 is past the end (next offset is 10)"), "{}", ran.stderr());
    assert_eq!(seek("10").code(), 0);
    assert_eq!(consume(&store, &["--drain"]).stdout(), "");
    store.ok(&["topic", "trim", "jobs", "--before", "6", "--yes"]);
    let ran = seek("2");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("went from offset 10 to 6"), "{}", ran.stderr());
    assert_eq!(consume(&store, &["--drain"]).stdout(), "6\n7\n8\n9\n");
}

#[test]
fn by_key_records_without_one_are_spread_and_none_is_left_out() {
    let store = Store::new();
    store.ok_with(&["publish", "jobs", "-q"], (0..400).map(|n| format!("{n}\n")).collect::<String>().as_bytes());
    store.ok(&["group", "create", "jobs", "g", "order=key"]);
    let script = r#"read x; echo "$PPID $x" >> "$OUT""#;
    let children: Vec<Child> = (0..2).map(|_| start(&store, &["--drain", "-P", "2"], script)).collect();
    for child in children {
        assert_eq!(ended(child), (0, String::new()));
    }
    let worked = written(&store);
    let numbers: BTreeSet<u64> = worked.iter().map(|(_, number)| *number).collect();
    assert!(worked.len() == 400 && numbers.into_iter().eq(0..400), "each once: {worked:?}");
    let consumers: BTreeSet<&String> = worked.iter().map(|(consumer, _)| consumer).collect();
    assert_eq!(consumers.len(), 2, "both had a share");
}

#[test]
fn a_command_that_floods_stderr_and_leaves_others_behind_is_done_when_it_ends() {
    let store = Store::new();
    publish(&store, 0..6);
    let gate = store.beside().join("gate");
    // What it leaves behind has its streams open, and sees to the end itself, also when the test fails.
    let script = format!(
        r#"read x; : >> "$OUT"; (while [ -e "$OUT" ] && [ ! -e {} ]; do sleep 0.01; done) & head -c 3000000 /dev/zero | tr '\0' e >&2; echo "$DRAVE_KEY $x" >> "$OUT""#,
        gate.display()
    );
    let (code, said) = ended(start(&store, &["--drain", "-P", "2"], &script));
    std::fs::write(gate, "").expect("room");
    assert_eq!(code, 0);
    assert!(said.len() >= 6 * 3_000_000, "{} bytes on stderr", said.len());
    assert_worked(&store, 6, "none");
    assert_quiet(&store, 6);
}

#[test]
fn a_disk_that_is_full_while_acks_are_written_skips_nothing() {
    let beside = Store::new();
    let disk = beside.beside().join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) else { return };
    let (store, out) = (disk.join("store"), beside.beside().join("out"));
    let lines: String = (0..3000).map(|number| format!("{number}\n")).collect();
    assert_eq!(on(&store, &["publish", "jobs", "-q"], lines.as_bytes()).code(), 0);
    assert_eq!(on(&store, &["group", "create", "jobs", "g", "lease=100ms"], b"").code(), 0);
    fill(&disk.join("filler"));
    // Not a byte for an ack, or little before it is full.
    for words in [&["--drain"][..], &["-n", "100"]] {
        let ran = on(&store, &[&["--timeout", "50s", "consume", "jobs", "-g", "g"], words].concat(), b"");
        assert_eq!(ran.code(), 1, "{}", ran.stderr());
        assert!(ran.stderr().contains("no space left on device"), "{}", ran.stderr());
        append(&out, ran.stdout());
    }
    std::fs::remove_file(disk.join("filler")).expect("it is there");
    let ran = on(&store, &["--timeout", "50s", "consume", "jobs", "-g", "g", "--drain"], b"");
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
    append(&out, ran.stdout());
    let text = std::fs::read_to_string(out).expect("UTF-8");
    let seen: BTreeSet<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(seen.iter().copied().eq(0..3000), "{} of 3000", seen.len());
}

/// Takes all the room there is.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("room for a name");
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).expect("room");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("room");
}

#[test]
fn a_damaged_journal_is_told_and_records_come_again() {
    let store = Store::new();
    publish(&store, 0..100);
    for _ in 0..10 {
        assert_eq!(consume(&store, &["-n", "5"]).code(), 0);
    }
    let journal = store.path().join("topics/jobs/groups/g/00000000000000000000.log");
    let mut bytes = std::fs::read(&journal).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).expect("room");
    let ran = consume(&store, &["--drain"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("a group's journal is damaged") && ran.stderr().contains("groups/g"), "{}", ran.stderr());
    let got: Vec<u64> = ran.stdout().lines().map(|line| line.parse().expect("a number")).collect();
    assert!((10..50).contains(&got[0]) && got.iter().copied().eq(got[0]..100), "from {}", got[0]);
    assert_quiet(&store, 100);
    // That is over with.
    let ran = consume(&store, &["--drain"]);
    assert_eq!((ran.code(), ran.stdout(), ran.stderr()), (0, "", ""));
}
