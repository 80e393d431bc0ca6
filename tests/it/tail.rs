//! `drave tail`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Store;

fn numbers(count: u32) -> Store {
    let store = Store::new();
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    store.ok_with(&["publish", "t", "-q"], lines.as_bytes());
    store
}

fn values(store: &Store, words: &[&str]) -> String {
    String::from_utf8(store.ok(words)).expect("UTF-8").replace('\n', " ")
}

/// A running `drave tail`.
struct Follower {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn start(store: &Store, words: &[&str]) -> Follower {
        let mut child = store.start(words);
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Follower { child, lines }
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        let mut printed = String::new();
        self.lines.read_line(&mut printed).expect("readable");
        assert_eq!(printed, format!("{line}\n"));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// How it ended, as a shell tells it, and what it said.
    fn end(mut self) -> (i32, String) {
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or_else(|| 128 + status.signal().expect("a signal")), said)
    }
}

#[test]
fn the_last_records_are_counted_after_filters() {
    let store = numbers(20_000);
    assert_eq!(values(&store, &["tail", "t", "-n", "3"]), "19997 19998 19999 ");
    assert_eq!(values(&store, &["tail", "t"]).split(' ').count(), 11);
    assert_eq!(values(&store, &["tail", "t", "-n", "2", "--grep", "^12.?$"]), "128 129 ");
    assert_eq!(values(&store, &["tail", "t", "-n", "0"]), "");
    assert_eq!(store.run(&["tail", "none"]).code(), 3);
}

#[test]
fn a_follower_prints_what_comes() {
    let store = numbers(3);
    let mut follower = Follower::start(&store, &["tail", "t", "-f", "-n", "1"]);
    follower.expect("2");
    for value in ["a", "b"] {
        store.ok(&["publish", "t", value]);
        follower.expect(value);
    }
    follower.signal(Signal::TERM);
    assert_eq!(follower.end(), (143, String::new()));
    let mut follower = Follower::start(&store, &["tail", "t", "-f", "-n", "1"]);
    follower.expect("b");
    follower.signal(Signal::INT);
    assert_eq!(follower.end(), (130, String::new()));
}

#[test]
fn a_follower_ends_when_its_output_is_closed_though_nothing_arrives() {
    let store = numbers(3);
    let mut follower = Follower::start(&store, &["tail", "t", "-f", "-n", "1"]);
    follower.expect("2");
    let Follower { mut child, lines } = follower;
    drop(lines);
    assert_eq!(child.wait().expect("it ends").signal(), Some(13));
    let ran = store.shell("drave tail t -f | head -1");
    assert_eq!((ran.stdout(), ran.stderr()), ("0\n", ""));
}

#[test]
fn a_follower_of_several_topics_hears_of_each() {
    let store = Store::new();
    for topic in ["a", "b", "c"] {
        store.ok(&["publish", topic, topic]);
    }
    let mut follower = Follower::start(&store, &["tail", "c", "a", "b", "-f"]);
    for value in ["a", "b", "c"] {
        follower.expect(value);
    }
    for topic in ["b", "a", "c", "a"] {
        store.ok(&["publish", topic, &format!("new {topic}")]);
        follower.expect(&format!("new {topic}"));
    }
}

#[test]
fn a_follower_of_a_deleted_topic_ends_and_says_why() {
    let store = numbers(1);
    let mut follower = Follower::start(&store, &["tail", "t", "-f"]);
    follower.expect("0");
    store.ok(&["topic", "delete", "t", "--yes"]);
    let (code, said) = follower.end();
    assert_eq!(code, 3);
    assert!(said.starts_with("drave: ") && said.contains("deleted"), "{said}");
}

#[test]
fn a_cursor_goes_on_after_what_was_printed() {
    let store = numbers(12);
    assert_eq!(values(&store, &["tail", "t", "--as", "report", "-n", "2"]), "10 11 ");
    assert_eq!(values(&store, &["tail", "t", "--as", "report"]), "");
    store.ok(&["publish", "t", "new"]);
    assert_eq!(values(&store, &["tail", "t", "--as", "other", "-n", "0"]), "");
    assert_eq!(values(&store, &["tail", "t", "--as", "report", "-n", "100"]), "new ");
    // A topic made anew under the old name is another topic.
    store.ok(&["topic", "delete", "t", "--yes"]);
    store.ok(&["publish", "t", "of a new life"]);
    assert_eq!(values(&store, &["tail", "t", "--as", "report"]), "of a new life ");
}

#[test]
fn a_stopped_follower_goes_on_where_it_was() {
    let store = numbers(2);
    let words = ["tail", "t", "-f", "--as", "me"];
    let mut follower = Follower::start(&store, &words);
    follower.expect("0");
    follower.expect("1");
    store.ok(&["publish", "t", "while running"]);
    follower.expect("while running");
    follower.signal(Signal::TERM);
    assert_eq!(follower.end().0, 143);
    store.ok(&["publish", "t", "while stopped"]);
    let mut follower = Follower::start(&store, &words);
    follower.expect("while stopped");
    assert_eq!(store.run(&["tail", "t", "--as", "me", "--timeout", "1s"]).code(), 5, "held by the follower");
}

#[test]
fn a_cursor_survives_its_process_being_killed() {
    let store = numbers(1);
    let words = ["tail", "t", "-f", "--as", "me"];
    let mut follower = Follower::start(&store, &words);
    follower.expect("0");
    // Saved at least every second: then there is a file that holds it.
    let cursors = store.path().join("cursors");
    while !std::fs::read_dir(&cursors).is_ok_and(|mut entries| entries.next().is_some()) {
        std::thread::yield_now();
    }
    follower.signal(Signal::KILL);
    assert_eq!(follower.end().0, 137);
    store.ok(&["publish", "t", "new"]);
    let printed = values(&store, &["tail", "t", "--as", "me"]);
    assert!(printed == "new " || printed == "0 new ", "at least once, and nothing left out: {printed}");
}

#[test]
fn a_topic_that_is_waited_for_is_printed_once_it_is_there() {
    let store = numbers(1);
    let mut follower = Follower::start(&store, &["tail", "later", "-f", "--wait"]);
    // No more than it would print too if it had not had to wait.
    store.ok_with(&["publish", "later"], b"a\nb\nc\n");
    ["a", "b", "c"].iter().for_each(|value| follower.expect(value));
    let ran = store.run(&["tail", "never", "--wait", "--timeout", "50ms"]);
    assert_eq!(ran.code(), 124);
}

#[test]
fn a_time_limit_ends_a_follower() {
    let store = numbers(2);
    let ran = store.run(&["tail", "t", "-f", "--timeout", "50ms"]);
    assert_eq!((ran.code(), ran.stdout()), (124, "0\n1\n"));
    assert_eq!(ran.stderr(), "drave: the time limit ran out\n");
}

#[test]
fn a_stuck_reader_does_not_keep_a_follower_from_stopping() {
    let store = Store::new();
    store.ok_with(&["publish", "t", "--whole"], &vec![b'x'; 8 << 20]);
    let follower = Follower::start(&store, &["tail", "t", "-f"]);
    let mut child = follower.child;
    // Reads nothing: the write of 8 MiB cannot end. The handlers stand once a byte has come.
    let mut lines = follower.lines;
    lines.read_exact(&mut [0]).expect("a byte");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
}
