//! `drave dlq`: what a group gave up, and what becomes of it.

use serde_json::Value;

use crate::rig::run_bounded;
use crate::support::{Ran, Store};

/// A store whose group g gave up the records 0 to `count`, all of one topic.
fn with_dead(count: u64) -> Store {
    let store = Store::new();
    let lines: String = (0..count).map(|number| format!("k{number}:{number}\n")).collect();
    store.ok_with(&["publish", "jobs", "-q", "-K", ":", "-H", "from=test"], lines.as_bytes());
    let ran = work(&store, "g", "echo no such thing >&2; exit 65");
    assert_eq!(ran.code(), i32::from(count > 0), "{}", ran.stderr());
    store
}

/// Works through the group with a shell script for each record.
fn work(store: &Store, group: &str, script: &str) -> Ran {
    let words = ["consume", "jobs", "-g", group, "--drain", "--backoff", "1ms..1ms", "--max-attempts", "2"];
    run_bounded(store.command(&[&words[..], &["--exec", "sh", "-c", script]].concat()), b"")
}

/// Works through the group, and says which values it was given.
fn worked(store: &Store, group: &str) -> Vec<String> {
    let ran = work(store, group, "cat; echo");
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
    let mut values: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    values.sort();
    values
}

fn listed(store: &Store, words: &[&str]) -> Vec<Value> {
    let all = store.ok(&[&["dlq", "list", "jobs", "-g", "g", "--json"], words].concat());
    let text = String::from_utf8(all).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

fn letters(store: &Store) -> Vec<u64> {
    listed(store, &[]).iter().map(|letter| letter["letter"].as_u64().expect("a number")).collect()
}

#[test]
fn a_dead_letter_is_listed_and_goes_back_to_its_group_alone() {
    let store = with_dead(3);
    assert_eq!(worked(&store, "other"), ["0", "1", "2"]);
    let all = listed(&store, &[]);
    let one = &all[1];
    assert_eq!(all.len(), 3);
    assert_eq!((&one["letter"], &one["state"], &one["offset"]), (&1.into(), &"dead".into(), &1.into()));
    assert_eq!((&one["attempts"], &one["key"], &one["reason"]), (&1.into(), &"k1".into(), &"no such thing".into()));
    let table = String::from_utf8(store.ok(&["dlq", "list", "jobs", "-g", "g"])).expect("UTF-8");
    assert!(table.starts_with("letter\tstate\toffset\tid\tattempts\ttime\tkey\treason\n0\tdead\t0\t"), "{table}");
    let ran = store.run(&["dlq", "retry", "jobs", "-g", "g", "1"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "jobs: 1 dead letters are tried again by group g\n"));
    assert_eq!(listed(&store, &[])[1]["state"], "retrying");
    let pending = String::from_utf8(store.ok(&["inspect", "pending", "jobs", "g"])).expect("UTF-8");
    assert!(pending.contains("\n1\tyes\twaiting\t"), "{pending}");
    assert_eq!(worked(&store, "other"), [""; 0], "another group does not see it again");
    assert_eq!(worked(&store, "g"), ["1"]);
    assert_eq!(letters(&store), [0, 2]);
    let ran = store.run(&["dlq", "retry", "jobs", "-g", "g", "1"]);
    assert_eq!(ran.code(), 3, "{}", ran.stderr());
    assert!(ran.stderr().contains("group g has no dead letter 1"), "{}", ran.stderr());
    assert_eq!(store.run(&["dlq", "list", "jobs", "-g", "none"]).code(), 3);
    let info: Value =
        serde_json::from_slice(store.ok(&["inspect", "groups", "jobs", "--json"]).split(|b| *b == b'\n').next().expect("a line"))
            .expect("an object");
    assert_eq!((&info["pending"], &info["lag"], &info["dead"]), (&0.into(), &0.into(), &3.into()));
}

#[test]
fn what_fails_once_more_is_a_new_letter_that_knows_where_it_came_from() {
    let store = with_dead(2);
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "0"]);
    let ran = work(&store, "g", "echo still not >&2; exit 1");
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    let all = listed(&store, &[]);
    assert_eq!(all.len(), 2, "{all:?}");
    let (old, new) = (&all[0], &all[1]);
    assert_eq!((&old["letter"], &old["offset"]), (&1.into(), &1.into()));
    assert_eq!((&new["letter"], &new["offset"], &new["attempts"]), (&2.into(), &0.into(), &2.into()));
    let shown = store.ok(&["replay", "jobs.dlq", "--from", "2", "-o", r"%k %v %h\n"]);
    let shown = String::from_utf8(shown).expect("UTF-8");
    assert!(shown.starts_with("k0 0 dlq-retry-of=0,dlq-group=g,"), "{shown}");
    assert!(shown.contains("dlq-topic=jobs") && shown.contains("from=test"), "{shown}");
    assert_eq!(shown.matches("dlq-reason=").count(), 1, "{shown}");
    // And again, from the new letter.
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "-n", "1", "-k", "k0"]);
    let again = work(&store, "g", r#"read n; echo "$n $DRAVE_OFFSET $DRAVE_ID $DRAVE_H_DLQ_REASON""#);
    let id = String::from_utf8(store.ok(&["replay", "jobs", "-n", "1", "-o", "%i"])).expect("UTF-8");
    assert_eq!(again.stdout(), format!("0 0 {id} exited with 1: still not\n"), "it is the record that died");
    assert_eq!(letters(&store), [1]);
}

#[test]
fn letters_are_chosen_by_filter_and_count_and_dropped_for_good() {
    let store = with_dead(6);
    assert_eq!(store.run(&["dlq", "drop", "jobs", "-g", "g"]).code(), 2, "not without consent");
    let ran = store.run(&["dlq", "drop", "jobs", "-g", "g", "--grep", "[23]", "--dry-run"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "jobs: 2 dead letters of group g would be dropped\n"));
    assert_eq!(letters(&store).len(), 6);
    let ran = store.run(&["dlq", "drop", "jobs", "-g", "g", "--grep", "[23]", "--yes"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "jobs: 2 dead letters of group g were dropped\n"));
    assert_eq!(letters(&store), [0, 1, 4, 5]);
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "-n", "2"]);
    // One that waits for its next delivery can be dropped, too.
    store.ok(&["dlq", "drop", "jobs", "-g", "g", "1", "--yes"]);
    assert_eq!(worked(&store, "g"), ["0"]);
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "-H", "dlq-offset=5", "--rate", "100/s"]);
    assert_eq!(worked(&store, "g"), ["5"]);
    assert_eq!(letters(&store), [4]);
    assert_eq!(listed(&store, &["-H", "dlq-group=x"]).len(), 0);
    assert_eq!(store.ok(&["replay", "jobs.dlq", "-o", r"%v\n"]), b"0\n1\n2\n3\n4\n5\n", "the records stay");
    let ran = store.run(&["dlq", "retry", "jobs", "-g", "g", "--dry-run"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "jobs: 1 dead letters would be tried again by group g\n"));
}

#[test]
fn letters_are_given_back_at_the_rate_that_was_asked_for() {
    let store = with_dead(5);
    let began = std::time::Instant::now();
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "--rate", "10/s"]);
    // Never faster; how much slower is the machine's business.
    assert!(began.elapsed() >= std::time::Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(worked(&store, "g").len(), 5);
    assert_eq!(store.run(&["dlq", "retry", "jobs", "-g", "g", "--rate", "0/s"]).code(), 2);
}

#[test]
fn a_dead_letter_topic_that_is_gone_takes_its_letters_along() {
    let store = with_dead(2);
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "0"]);
    store.ok(&["topic", "delete", "jobs.dlq", "--yes"]);
    assert_eq!(letters(&store), [0u64; 0]);
    let ran = store.run(&["dlq", "retry", "jobs", "-g", "g", "0"]);
    assert_eq!(ran.code(), 3, "{}", ran.stderr());
    assert_eq!(worked(&store, "g"), [""; 0], "nothing is left to work on, and nothing waits for ever");
    // The same offsets in another topic of that name are other letters.
    store.ok_with(&["publish", "jobs", "-q"], b"new\n");
    assert_eq!(work(&store, "g", "exit 65").code(), 1);
    assert_eq!(letters(&store), [0]);
    store.ok(&["dlq", "retry", "jobs", "-g", "g", "0"]);
    assert_eq!(worked(&store, "g"), ["new"]);
    assert_eq!(letters(&store), [0u64; 0]);
}

#[test]
fn by_key_a_dead_letter_comes_back_too() {
    let store = Store::new();
    store.ok_with(&["publish", "jobs", "-q", "-K", ":"], b"a:1\nb:2\na:3\n");
    store.ok(&["group", "create", "jobs", "g", "order=key", "max-attempts=2", "backoff=1ms..1ms"]);
    assert_eq!(work(&store, "g", "exit 65").code(), 1);
    assert_eq!(letters(&store).len(), 3);
    store.ok(&["dlq", "retry", "jobs", "-g", "g"]);
    assert_eq!(worked(&store, "g"), ["1", "2", "3"]);
    assert_eq!(letters(&store), [0u64; 0]);
}
