//! `drave consume` and `drave group`: real processes that share a topic.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Seed, run_bounded, wait_until};
use crate::support::{Ran, Store};

fn jobs(count: u64) -> Store {
    let store = Store::new();
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    store.ok_with(&["publish", "jobs", "-q"], lines.as_bytes());
    store
}

#[track_caller]
fn consume(store: &Store, words: &[&str]) -> Ran {
    run_bounded(store.command(&[&["consume", "jobs"], words].concat()), b"")
}

fn numbers(ran: &Ran) -> Vec<u64> {
    ran.stdout().lines().map(|line| line.parse().expect("a number")).collect()
}

/// Values in the file that commands have written.
fn written(store: &Store) -> Vec<String> {
    std::fs::read_to_string(store.beside().join("out")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Starts `consume --exec` of a shell script that may write to `$OUT`.
fn start(store: &Store, words: &[&str], script: &str) -> Child {
    let words = [&["consume", "jobs", "-g", "g"], words, &["--exec", "sh", "-c", script]].concat();
    let mut command = store.command(&words);
    command.env("OUT", store.beside().join("out"));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.spawn().expect("it starts")
}

fn ended(child: Child) -> (i32, String) {
    let ran = Ran(child.wait_with_output().expect("it ends"));
    (ran.code(), ran.stderr().to_owned())
}

#[test]
fn each_record_is_worked_once_and_another_group_gets_all_again() {
    let store = jobs(5000);
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(store.start(&["consume", "jobs", "-g", "a", "--drain"]));
    }
    let mut seen = BTreeSet::new();
    for child in children {
        let ran = Ran(child.wait_with_output().expect("it ends"));
        assert_eq!((ran.code(), ran.stderr()), (0, ""));
        assert!(numbers(&ran).into_iter().all(|number| seen.insert(number)), "nothing twice");
    }
    assert_eq!(seen.len(), 5000);
    let again = consume(&store, &["-g", "a", "--drain"]);
    assert_eq!((again.code(), again.stdout()), (0, ""));
    assert_eq!(numbers(&consume(&store, &["-g", "b", "--drain"])), (0..5000).collect::<Vec<_>>());
    assert_eq!(numbers(&consume(&store, &["-g", "c", "--from", "-3", "--drain"])), [4997, 4998, 4999]);
    assert_eq!(numbers(&consume(&store, &["-g", "d", "-n", "2"])), [0, 1]);
    assert_eq!(numbers(&consume(&store, &["-g", "d", "-n", "2"])), [2, 3]);
    assert_eq!(store.ok(&["replay", "jobs", "--range", "group:d..6"]), b"4\n5\n");
}

#[test]
fn the_exit_status_of_the_command_settles_the_record() {
    let store = jobs(8);
    let script = r#"read x; echo "$x $DRAVE_ATTEMPT" >> "$OUT"
        case $x-$DRAVE_ATTEMPT in
            1-*) echo "no such thing" >&2; exit 65;;
            2-1) exit 1;;
            3-*) kill -9 $$;;
            4-1) [ -e "$OUT.4" ] || { : > "$OUT.4"; exit 75; };;
        esac"#;
    let (code, said) = ended(start(&store, &["--drain", "--backoff", "1ms..2ms", "--max-attempts", "3"], script));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("jobs: 2 records were moved to the dead letters"), "{said}");
    let mut ran = written(&store);
    ran.sort();
    assert_eq!(ran, ["0 1", "1 1", "2 1", "2 2", "3 1", "3 2", "3 3", "4 1", "4 1", "5 1", "6 1", "7 1"]);
    let dead = String::from_utf8(store.ok(&["replay", "jobs.dlq", "-o", r"%v %h{dlq-offset} %h{dlq-attempts} %h{dlq-reason}\n"]))
        .expect("UTF-8");
    let mut dead: Vec<&str> = dead.lines().collect();
    dead.sort_unstable();
    assert_eq!(dead, ["1 1 1 no such thing", "3 3 3 died of SIGKILL"]);
}

#[test]
fn a_command_can_end_the_run_and_one_that_cannot_start_gives_back() {
    let store = jobs(3);
    let (code, said) = ended(start(&store, &[], r#"read x; echo "$x" >> "$OUT"; exit 100"#));
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(written(&store), ["0"]);
    let ran = consume(&store, &["-g", "g", "--exec", "./not-there"]);
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    assert!(ran.stderr().contains("not-there"), "{}", ran.stderr());
    let (code, said) = ended(start(&store, &["--drain"], r#"read x; echo "$x $DRAVE_ATTEMPT" >> "$OUT""#));
    assert_eq!((code, said.as_str()), (0, ""));
    let mut worked = written(&store);
    worked.sort();
    assert_eq!(worked, ["0", "1 1", "2 1"], "given back, and not counted");
}

#[test]
fn a_killed_consumers_records_come_to_another_after_the_lease_and_its_fresh_ones_at_once() {
    let store = jobs(4);
    let mut dies = start(&store, &["--lease", "1s", "-P", "2"], r#"read x; echo "dies $x" >> "$OUT"; exec sleep 60"#);
    wait_until("it works", || written(&store).len() == 2);
    dies.kill().expect("it runs");
    dies.wait().expect("it ends");
    let (code, said) = ended(start(&store, &["--drain"], r#"read x; echo "$x $DRAVE_ATTEMPT" >> "$OUT""#));
    assert_eq!((code, said.as_str()), (0, ""));
    let mut worked: Vec<String> = written(&store).into_iter().filter(|line| !line.starts_with("dies")).collect();
    worked.sort();
    assert_eq!(worked.len(), 4, "{worked:?}");
    assert!(worked.contains(&"0 2".to_owned()) && worked.contains(&"1 2".to_owned()), "{worked:?}");
}

#[test]
fn by_key_the_records_of_a_key_are_worked_in_order_across_processes() {
    let store = Store::new();
    let lines: String = (0..600).map(|number| format!("k{}:{number}\n", number % 7)).collect();
    store.ok_with(&["publish", "jobs", "-q", "-K", ":"], lines.as_bytes());
    store.ok(&["group", "create", "jobs", "g", "order=key"]);
    let script = r#"read x; echo "$DRAVE_KEY $x" >> "$OUT""#;
    let children: Vec<Child> = (0..3).map(|_| start(&store, &["--drain", "-P", "2"], script)).collect();
    for child in children {
        assert_eq!(ended(child), (0, String::new()));
    }
    let written = written(&store);
    assert_eq!(written.len(), 600);
    for key in 0..7 {
        let of_key: Vec<u64> = written.iter().filter_map(|line| line.strip_prefix(&format!("k{key} "))?.parse().ok()).collect();
        assert!(of_key.is_sorted(), "k{key}: {of_key:?}");
    }
}

#[test]
fn what_the_output_did_not_take_is_given_back() {
    let store = jobs(100_000);
    let mut child = store.start(&["consume", "jobs", "-g", "g"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("readable");
    drop(lines);
    let ran = Ran(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code(), 141, "{}", ran.stderr());
    let rest = numbers(&consume(&store, &["-g", "g", "--drain"]));
    assert_eq!(rest.last(), Some(&99_999));
    assert!(rest.is_sorted_by(|a, b| a + 1 == *b), "none is left out from {} on", rest[0]);
    assert!(rest[0] < 90_000, "{}", rest[0]);
}

#[test]
fn a_signal_lets_running_commands_end_and_gives_the_rest_back() {
    let store = jobs(10);
    let gate = store.beside().join("gate");
    let script = format!(r#"read x; echo "$x" >> "$OUT"; while [ ! -e {} ]; do sleep 0.01; done"#, gate.display());
    let child = start(&store, &[], &script);
    wait_until("a command runs", || written(&store).len() == 1);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    std::fs::write(&gate, "").expect("written");
    let (code, said) = ended(child);
    assert_eq!(code, 130, "{said}");
    let first = written(&store);
    let rest = numbers(&consume(&store, &["-g", "g", "--drain"]));
    assert_eq!(first.len() + rest.len(), 10, "{first:?} {rest:?}");
}

#[test]
fn options_that_differ_are_a_conflict_and_groups_are_listed_set_and_deleted() {
    let store = jobs(3);
    store.ok(&["consume", "jobs", "-g", "g", "--lease", "5s", "--drain"]);
    let ran = consume(&store, &["-g", "g", "--lease", "6s"]);
    assert_eq!(ran.code(), 12);
    assert!(ran.stderr().contains("drave group set jobs g lease=6s"), "{}", ran.stderr());
    assert_eq!(store.ok(&["group", "list", "jobs"]), b"group\ng\n");
    store.ok(&["group", "set", "jobs", "g", "lease=6s"]);
    let shown = String::from_utf8(store.ok(&["group", "show", "jobs", "g"])).expect("UTF-8");
    assert!(shown.contains("lease\t6s\tgroup"), "{shown}");
    assert_eq!(consume(&store, &["-g", "g", "--lease", "6s", "--drain"]).code(), 0);
    assert_eq!(store.run(&["group", "create", "jobs", "g"]).code(), 12);
    store.ok(&["group", "create", "jobs", "g", "--if-missing"]);
    let ran = store.run(&["inspect", "groups", "--fail-above", "0"]);
    assert_eq!(ran.code(), 0, "{}", ran.stdout());
    store.ok(&["group", "seek", "jobs", "g", "--to", "1", "--yes"]);
    assert_eq!(store.run(&["inspect", "groups", "--fail-above", "1"]).code(), 20);
    store.ok(&["group", "pause", "jobs", "g"]);
    assert_eq!(numbers(&consume(&store, &["-g", "g", "--idle", "100ms"])), [0u64; 0]);
    store.ok(&["group", "resume", "jobs", "g"]);
    assert_eq!(numbers(&consume(&store, &["-g", "g", "--drain"])), [1, 2]);
    assert_eq!(store.run(&["group", "delete", "jobs", "g"]).code(), 2, "not without consent");
    store.ok(&["group", "delete", "jobs", "g", "--yes"]);
    assert_eq!(store.run(&["group", "show", "jobs", "g"]).code(), 3);
    assert_eq!(consume(&store, &["-g", ""]).code(), 2);
    assert_eq!(run_bounded(store.command(&["consume", "none", "-g", "g"]), b"").code(), 3);
}

#[test]
fn a_name_belongs_to_one_process_at_a_time() {
    let store = jobs(1);
    let mut child = store.start(&["consume", "jobs", "-g", "g", "--consumer", "me"]);
    let mut first = [0; 2];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("readable");
    let ran = consume(&store, &["-g", "g", "--consumer", "me"]);
    assert_eq!(ran.code(), 5, "{}", ran.stderr());
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(Ran(child.wait_with_output().expect("it ends")).code(), 143);
    assert_eq!(consume(&store, &["-g", "g", "--consumer", "me", "--drain"]).code(), 0);
}

#[test]
fn what_expired_before_the_group_got_it_is_told() {
    let store = jobs(10);
    assert_eq!(numbers(&consume(&store, &["-g", "g", "-n", "2"])), [0, 1]);
    store.ok(&["topic", "trim", "jobs", "--before", "6", "--yes"]);
    let ran = consume(&store, &["-g", "g", "--drain"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "jobs: records 2..6 expired before they were read\n"));
    assert_eq!(numbers(&ran), [6, 7, 8, 9]);
}

#[test]
fn whoever_is_killed_no_record_is_skipped() {
    const RECORDS: u64 = 6000;
    let mut seed = Seed::new();
    for order in ["none", "key"] {
        let store = Store::new();
        store.ok(&["topic", "create", "jobs", "durability=none"]);
        store.ok(&["group", "create", "jobs", "g", &format!("order={order}"), "lease=200ms"]);
        let mut publisher = store.start(&["publish", "jobs", "-K", ":"]);
        let mut stdin = publisher.stdin.take().expect("a pipe");
        let feeder = std::thread::spawn(move || {
            for number in 0..RECORDS {
                // Long enough that a consumer waits for its reader with most of what it took.
                writeln!(stdin, "k{}:{number:01000}", number % 50).expect("it reads");
            }
        });
        let mut seen = BTreeSet::new();
        let mut read = |child: Child| {
            let ran = Ran(child.wait_with_output().expect("it ends"));
            // The last line of one that was killed may be cut off.
            let whole = ran.0.stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let text = std::str::from_utf8(&ran.0.stdout[..whole]).expect("UTF-8").to_owned();
            seen.extend(text.lines().map(|line| line.parse::<u64>().expect("a number")));
        };
        for _ in 0..12 {
            let mut children: Vec<Child> = (0..3).map(|_| store.start(&["consume", "jobs", "-g", "g"])).collect();
            let before = std::time::Instant::now();
            let pause = std::time::Duration::from_millis(seed.below(60));
            wait_until("some time has passed", || before.elapsed() >= pause);
            let first = seed.below(3) as usize;
            for nth in 0..3 {
                children[(first + nth) % 3].kill().expect("it runs");
            }
            children.into_iter().for_each(&mut read);
        }
        feeder.join().expect("fed");
        assert!(publisher.wait().expect("it ends").success());
        let last = store.start(&["--timeout", "60s", "consume", "jobs", "-g", "g", "--drain"]);
        read(last);
        assert!(seen.iter().copied().eq(0..RECORDS), "{order}: {} of {RECORDS}", seen.len());
        let info = String::from_utf8(store.ok(&["inspect", "groups", "--json"])).expect("UTF-8");
        assert!(info.contains(&format!("\"committed\":{RECORDS},\"lag\":0")), "{info}");
    }
}

#[test]
fn a_command_may_work_on_many_records_with_one_verdict() {
    let store = jobs(10);
    let script = r#"n=$(tee -a "$OUT" | wc -l); [ $n -le 4 ] || exit 65; env | grep -c ^DRAVE_OFFSET >> "$OUT.env"; true"#;
    let (code, said) = ended(start(&store, &["--drain", "--batch", "4"], script));
    assert_eq!((code, said.as_str()), (0, ""));
    let lines = written(&store);
    let values: Vec<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object")["value"].to_string())
        .collect();
    assert_eq!(values, (0..10).map(|number| format!("\"{number}\"")).collect::<Vec<_>>());
    let told = std::fs::read_to_string(store.beside().join("out.env")).expect("written");
    assert!(told.lines().count() < 10 && told.lines().all(|line| line == "0"), "{told}");
    let ran = consume(&store, &["-g", "again", "--drain", "--batch", "100", "--max-attempts", "1", "--exec", "false"]);
    assert_eq!(ran.code(), 1);
    assert!(ran.stderr().contains("10 records were moved to the dead letters"), "{}", ran.stderr());
}

#[test]
fn by_key_batches_keep_the_order_of_each_key() {
    let store = Store::new();
    let lines: String = (0..400).map(|number| format!("k{}:{number}\n", number % 5)).collect();
    store.ok_with(&["publish", "jobs", "-q", "-K", ":"], lines.as_bytes());
    store.ok(&["group", "create", "jobs", "g", "order=key", "backoff=1ms..1ms", "max-attempts=0"]);
    // Each command writes at once what it was given; every fifth fails before it does.
    let script = r#"read -r first; rest=$(cat); [ $(($$ % 5)) -gt 0 ] || exit 1; printf '%s\n%s\n' "$first" "$rest" >> "$OUT""#;
    let children: Vec<Child> = (0..2).map(|_| start(&store, &["--drain", "-P", "2", "--batch", "7"], script)).collect();
    for child in children {
        assert_eq!(ended(child).0, 0);
    }
    let objects = written(&store).into_iter().filter(|line| !line.is_empty());
    let objects: Vec<serde_json::Value> = objects.map(|line| serde_json::from_str(&line).expect("an object")).collect();
    assert_eq!(objects.len(), 400);
    for key in 0..5 {
        let of_key = objects.iter().filter(|object| object["key"] == format!("k{key}").as_str());
        let values: Vec<u64> = of_key.map(|object| object["value"].as_str().expect("text").parse().expect("a number")).collect();
        assert!(values.is_sorted(), "k{key}: {values:?}");
    }
}

/// The first words of lines: what `consume --manual` prints before each value.
fn receipts(printed: &str) -> Vec<String> {
    printed.lines().map(|line| line.split_once('\t').expect("a receipt and a value").0.to_owned()).collect()
}

#[test]
fn whoever_has_a_receipt_settles_the_record() {
    let store = jobs(4);
    let taken = consume(&store, &["-g", "g", "--manual", "-n", "4", "--lease", "1h", "--backoff", "1ms..1ms"]);
    let held = receipts(taken.stdout());
    assert_eq!((taken.code(), held.len()), (0, 4), "{}", taken.stderr());
    let shown = String::from_utf8(store.ok(&["inspect", "pending", "jobs", "g"])).expect("UTF-8");
    assert!(held.iter().all(|receipt| shown.contains(&format!("\t\t{receipt}\n"))), "{shown}");
    store.ok(&["group", "ack", "jobs", "g", &held[0]]);
    let again = store.run(&["group", "ack", "jobs", "g", &held[0], &held[1]]);
    assert_eq!(again.code(), 12);
    assert!(again.stderr().contains("1 of 2 receipts came late"), "{}", again.stderr());
    store.ok_with(&["group", "nack", "jobs", "g", "--delay", "0ms"], format!("{}\tand more\n\n", held[2]).as_bytes());
    let dead = store.run(&["group", "nack", "jobs", "g", &held[3], "--dead", "--reason", "no image"]);
    assert_eq!((dead.code(), dead.stderr()), (0, "jobs: 1 records were moved to the dead letters\n"));
    assert_eq!(store.ok(&["replay", "jobs.dlq", "-o", r"%v %h{dlq-reason}\n"]), b"3 no image\n");
    assert_eq!(numbers(&consume(&store, &["-g", "g", "--drain"])), [2]);
    // None of these has anything to settle.
    let (offset, rest) = held[0].split_once('-').expect("numbers");
    let never = format!("9{offset}-{rest}");
    assert_eq!(store.run(&["group", "ack", "jobs", "g", &never]).code(), 12);
    let other = consume(&store, &["-g", "other", "--manual", "-n", "1"]);
    let foreign = store.run(&["group", "ack", "jobs", "g", &receipts(other.stdout())[0]]);
    assert_eq!(foreign.code(), 10);
    assert!(foreign.stderr().contains("is not of group g"), "{}", foreign.stderr());
    // Not even where this group has lent the same delivery of the same record.
    let twin = consume(&store, &["-g", "twin", "--manual", "-n", "1"]);
    let (theirs, ours) = (&receipts(other.stdout())[0], &receipts(twin.stdout())[0]);
    assert_eq!(theirs.rsplit_once('-').expect("a tag").0, ours.rsplit_once('-').expect("a tag").0);
    assert_eq!(store.run(&["group", "ack", "jobs", "twin", theirs]).code(), 10);
    store.ok(&["group", "ack", "jobs", "twin", ours]);
    assert_eq!(store.run(&["group", "ack", "jobs", "g", "1-2-x"]).code(), 2);
    let odd = run_bounded(store.command(&["group", "ack", "jobs", "g"]), b"what\n");
    assert_eq!(odd.code(), 10, "{}", odd.stderr());
    assert_eq!(store.run(&["group", "ack", "jobs", "none", &held[0]]).code(), 3);
}

#[test]
fn receipts_are_settled_though_the_group_is_made_at_the_other_end_of_the_pipe() {
    let store = Store::new();
    store.ok_with(&["publish", "jobs"], b"1\n2\n3\n");
    let ran = store.shell("drave consume jobs -g new --manual -n 2 | drave group ack jobs new");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let info = String::from_utf8(store.ok(&["inspect", "groups", "jobs", "--json"])).expect("text");
    assert!(info.contains("\"committed\":2"), "{info}");
    let none = store.shell("drave group ack jobs missing < /dev/null");
    assert_eq!(none.code(), 3, "{}", none.stderr());
}

#[test]
fn a_manual_lease_is_not_renewed_by_who_printed_the_record() {
    let store = jobs(1);
    let words = ["consume", "jobs", "-g", "g", "--manual", "--lease", "100ms", "--backoff", "1ms..1ms", "--json"];
    let mut child = store.start(&words);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next =
        || serde_json::from_str::<serde_json::Value>(&lines.next().expect("a line").expect("readable")).expect("an object");
    let (first, second) = (next(), next());
    assert_eq!((&first["offset"], &first["attempt"]), (&0.into(), &1.into()));
    assert_eq!((&second["offset"], &second["attempt"]), (&0.into(), &2.into()));
    let receipt = |printed: &serde_json::Value| printed["receipt"].as_str().expect("text").to_owned();
    assert_eq!(store.run(&["group", "ack", "jobs", "g", &receipt(&first)]).code(), 12, "it came late");
    store.ok(&["group", "set", "jobs", "g", "lease=1h"]);
    let last = loop {
        let pending = String::from_utf8(store.ok(&["inspect", "pending", "jobs", "g", "--json"])).expect("UTF-8");
        let entry: serde_json::Value = serde_json::from_str(pending.trim()).expect("an object");
        if let Some(receipt) = entry["receipt"].as_str() {
            break receipt.to_owned();
        }
    };
    store.ok(&["group", "ack", "jobs", "g", &last]);
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert_eq!(numbers(&consume(&store, &["-g", "g", "--drain"])), [0u64; 0]);
}

#[test]
fn receipts_go_through_a_pipe_and_made_up_names_are_forgotten() {
    let store = jobs(1000);
    let taken = consume(&store, &["-g", "g", "--manual", "-n", "600"]);
    assert_eq!(receipts(taken.stdout()).len(), 600);
    store.ok_with(&["group", "ack", "jobs", "g"], taken.stdout().as_bytes());
    let mut killed = store.start(&["consume", "jobs", "-g", "g"]);
    let mut lines = BufReader::new(killed.stdout.take().expect("a pipe"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("readable");
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    assert_eq!(first, "600\n");
    store.ok(&["group", "set", "jobs", "g", "lease=100ms"]);
    consume(&store, &["-g", "g", "--drain"]);
    consume(&store, &["-g", "g", "--idle", "200ms"]);
    let info = String::from_utf8(store.ok(&["inspect", "groups", "--json"])).expect("UTF-8");
    assert!(info.contains("\"committed\":1000,\"lag\":0"), "{info}");
    assert_eq!(store.ok(&["inspect", "group", "jobs", "g"]), b"consumer\tmember\tlanes\tpending\tidle_ms\n");
}

#[test]
fn a_group_that_is_deleted_ends_its_consumers() {
    let store = jobs(1);
    let mut child = store.start(&["consume", "jobs", "-g", "g"]);
    let mut first = [0; 2];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("readable");
    store.ok(&["group", "delete", "jobs", "g", "--yes"]);
    let ran = Ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code(), ran.stderr()), (3, "drave: jobs: there is no group g\n"));
}

#[test]
fn what_came_late_was_worked_by_others_and_what_waited_behind_it_too() {
    let store = jobs(3);
    let gate = store.beside().join("gate");
    let script = format!(r#"read x; echo "$x" >> "$OUT"; while [ ! -e {} ]; do sleep 0.01; done"#, gate.display());
    let stopped = start(&store, &["--lease", "300ms"], &script);
    wait_until("a command runs", || written(&store).len() == 1);
    let pid = Pid::from_child(&stopped);
    kill_process(pid, Signal::STOP).expect("it runs");
    let (code, said) = ended(start(&store, &["--drain"], r#"read x; echo "$x" >> "$OUT""#));
    assert_eq!((code, said.as_str()), (0, ""));
    store.ok(&["publish", "jobs", "-q", "last"]);
    kill_process(pid, Signal::CONT).expect("it is stopped");
    std::fs::write(&gate, "").expect("written");
    wait_until("it goes on", || written(&store).iter().any(|value| value == "last"));
    kill_process(pid, Signal::TERM).expect("it runs");
    let (code, said) = ended(stopped);
    assert_eq!(code, 143, "{said}");
    assert!(said.contains("jobs: 1 acks came late"), "{said}");
    let mut worked = written(&store);
    worked.sort();
    assert_eq!(worked, ["0", "0", "1", "2", "last"], "only what was in work is worked twice");
}
