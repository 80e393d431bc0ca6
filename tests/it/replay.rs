//! `drave replay`, and the output that it shares with `drave tail`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Stdio;

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

#[test]
fn a_range_is_half_open_and_its_ends_may_be_any_positions() {
    let store = numbers(12);
    let id = String::from_utf8(store.ok(&["replay", "t", "--range", "5..6", "-o", "%i"])).expect("UTF-8");
    let time = String::from_utf8(store.ok(&["replay", "t", "-n", "1", "-o", "%T"])).expect("UTF-8");
    for (words, expected) in [
        (&["--range", "2..5"][..], "2 3 4 "),
        (&["--range", "-2..end"], "10 11 "),
        (&["--from", "-2"], "10 11 "),
        (&["--from", "+9"], "9 10 11 "),
        (&["--until", "+2"], "0 1 "),
        (&["--range", "..1"], "0 "),
        (&["--from", &id, "-n", "2"], "5 6 "),
        (&["--from", &format!("@{time}"), "-n", "1"], "0 "),
        (&["--from", "@2h", "--until", "2"], "0 1 "),
        (&["--until", "@2h"], ""),
        (&["--from", "@2999-01-01"], ""),
        (&["--from", "12"], ""),
        (&["--range", "7..3"], ""),
        (&["-n", "0"], ""),
    ] {
        assert_eq!(values(&store, &[&["replay", "t"], words].concat()), expected, "{words:?}");
    }
}

#[test]
fn an_offset_past_the_end_is_refused_and_names_the_end() {
    let store = numbers(12);
    let ran = store.run(&["replay", "t", "--from", "90"]);
    assert_eq!((ran.code(), ran.stdout()), (3, ""));
    assert_eq!(ran.stderr(), "drave: t: offset 90 is past the end (next offset is 12)\n");
    assert_eq!(store.run(&["replay", "none"]).code(), 3);
    assert_eq!(store.run(&["replay", "t", "--from", "group:g"]).code(), 3);
    assert_eq!(Store::new().run(&["replay", "t"]).code(), 11);
    for words in [&["--from", "nowhere"][..], &["--range", "5"], &["-o", "%q"], &["--json", "-0"], &["--grep", "("]] {
        assert_eq!(store.run(&[&["replay", "t"], words].concat()).code(), 2, "{words:?}");
    }
}

#[test]
fn what_expired_is_told_and_is_no_failure() {
    let store = numbers(12);
    store.ok(&["topic", "trim", "t", "--before", "9", "--yes", "-q"]);
    let ran = store.run(&["replay", "t", "--from", "2", "--quiet"]);
    assert_eq!((ran.code(), ran.stdout()), (0, "9\n10\n11\n"));
    assert_eq!(ran.stderr(), "t: records 2..9 expired before they were read\n");
    let ran = store.run(&["replay", "t"]);
    assert_eq!((ran.stdout(), ran.stderr()), ("9\n10\n11\n", ""));
}

/// The only segment of topic `t`.
fn segment(store: &Store) -> PathBuf {
    let topic = store.path().join("topics/t");
    let mut files = std::fs::read_dir(topic).expect("a topic").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "log")).expect("a segment")
}

#[test]
fn damage_is_told_with_its_place_and_skipped_and_the_rest_is_printed() {
    let store = Store::new();
    for value in ["first", "second", "third"] {
        store.ok(&["publish", "t", value]);
    }
    let path = segment(&store);
    let mut bytes = Vec::new();
    File::open(&path).expect("a segment").read_to_end(&mut bytes).expect("readable");
    let at = bytes.windows(6).position(|window| window == b"second").expect("stored as it is");
    let file = File::options().write(true).open(&path).expect("a segment");
    file.write_all_at(b"X", at as u64).expect("writable");
    let ran = store.run(&["replay", "t"]);
    assert_eq!((ran.code(), ran.stdout()), (7, "first\nthird\n"));
    assert!(ran.stderr().starts_with("t: records 1..2 are damaged and were skipped: "), "{}", ran.stderr());
    assert!(ran.stderr().contains(path.to_str().expect("UTF-8")), "{}", ran.stderr());
    let ran = store.run(&["tail", "t", "-n", "1"]);
    assert_eq!((ran.code(), ran.stdout()), (0, "third\n"));
}

#[test]
fn records_are_printed_as_they_are_or_as_asked_for() {
    let store = Store::new();
    store.ok_with(&["publish", "t", "--whole"], b"a\nb\0\xff\x1b[2J");
    assert_eq!(store.ok(&["replay", "t"]), b"a\nb\0\xff\x1b[2J\n");
    assert_eq!(store.ok(&["replay", "t", "-0"]), b"a\nb\0\xff\x1b[2J\0");
    assert_eq!(store.ok(&["replay", "t", "-o", "%v"]), b"a\nb\0\xff\x1b[2J");
    assert_eq!(store.ok(&["replay", "t", "-o", "%v{hex} %v{base64} %V\\n"]), b"610a6200ff1b5b324a YQpiAP8bWzJK 9\n");
    store.ok(&["publish", "n", "--tombstone", "-k", "gone"]);
    store.ok_with(&["publish", "n", "--json"], b"{\"fields\":[[\"user\",\"7\"]]}");
    assert_eq!(store.ok(&["replay", "n"]), b"\n[[\"user\",\"7\"]]\n");
    assert_eq!(store.ok(&["replay", "n", "-o", "%k|%v|%V|%h|%h{user}\\n"]), b"gone||||\n|||user=7|7\n");
}

#[test]
fn json_has_its_members_in_their_order() {
    let store = Store::new();
    store.ok(&["publish", "t", "v\u{e4}l\"ue", "-k", "k", "-H", "a=1", "-H", "a=2"]);
    store.ok_with(&["publish", "t", "--whole"], b"\xff");
    store.ok(&["publish", "t", "--tombstone", "-k", "k"]);
    store.ok_with(&["publish", "t", "--json"], b"{\"fields\":[[\"value\",\"v\"],[\"key\",\"k\"]]}");
    let lines = String::from_utf8(store.ok(&["replay", "t", "--json"])).expect("UTF-8");
    let front =
        String::from_utf8(store.ok(&["replay", "t", "-o", r#"{"topic":%t{json},"offset":%o,"id":"%i","time":"%T{rfc3339}",\n"#]));
    let tails = [
        r#""key":"k","headers":[["a","1"],["a","2"]],"value":"väl\"ue"}"#,
        r#""key":null,"headers":[],"value_b64":"/w=="}"#,
        r#""key":"k","headers":[],"value":null}"#,
        r#""fields":[["value","v"],["key","k"]]}"#,
    ];
    for ((line, front), tail) in lines.lines().zip(front.expect("UTF-8").lines()).zip(tails) {
        assert_eq!(line, format!("{front}{tail}"));
    }
    assert_eq!(lines.lines().count(), 4);
}

#[test]
fn topics_are_merged_in_the_order_of_their_ids() {
    let store = Store::new();
    for number in 0..6 {
        store.ok(&["publish", ["b", "a", "c"][number % 3], &number.to_string()]);
    }
    assert_eq!(values(&store, &["replay", "c", "b", "a", "b"]), "0 1 2 3 4 5 ");
}

#[test]
fn filters_choose_by_key_header_and_value() {
    let store = Store::new();
    store.ok(&["publish", "t", "one", "-k", "a", "-H", "h=1"]);
    store.ok(&["publish", "t", "two", "-k", "b", "-H", "h=1"]);
    store.ok(&["publish", "t", "three", "-k", "a", "-H", "h=2"]);
    assert_eq!(values(&store, &["replay", "t", "--key", "a"]), "one three ");
    assert_eq!(values(&store, &["replay", "t", "-H", "h=1"]), "one two ");
    assert_eq!(values(&store, &["replay", "t", "--grep", "^t", "-n", "1"]), "two ");
    assert_eq!(values(&store, &["replay", "t", "--key", "a", "--grep", "^t"]), "three ");
}

#[test]
fn a_copy_into_another_topic_keeps_every_field() {
    let store = Store::new();
    store.ok(&["publish", "t", "v", "-k", "k", "-H", "a=1"]);
    store.ok_with(&["publish", "t", "--whole"], b"\xff\n");
    store.ok(&["publish", "t", "--tombstone", "-k", "k", "-H", "why=gone"]);
    store.ok_with(&["publish", "t", "--json"], b"{\"fields\":[[\"b\",\"1\"],[\"key\",\"k\"]]}");
    assert_eq!(store.ok(&["replay", "t", "--into", "copy"]), b"");
    let shown = |topic| {
        let lines = String::from_utf8(store.ok(&["replay", topic, "--json"])).expect("UTF-8");
        let fields = |line: &str| line.split_once("Z\",").expect("a time").1.to_owned();
        lines.lines().map(fields).collect::<Vec<_>>()
    };
    assert_eq!(shown("copy"), shown("t"));
    assert_eq!(shown("t").len(), 4);
    // Into itself: up to the end as it was.
    store.ok(&["replay", "t", "--into", "t"]);
    assert_eq!(shown("t").len(), 8);
}

#[test]
fn a_reader_that_goes_away_ends_it_silently() {
    let store = numbers(500_000);
    let mut child = store.start(&["replay", "t"]);
    drop(child.stdout.take());
    let ran = child.wait_with_output().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ran.status), Some(13));
    assert_eq!(ran.stderr, b"");
}

#[test]
fn a_reader_that_does_not_read_holds_it_no_longer_than_the_time_limit() {
    let store = numbers(500_000);
    let child = store.start(&["replay", "t", "--timeout", "100ms"]);
    let mut child = child;
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(124));
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert!(said.starts_with("drave: the time limit ran out after "), "{said}");
    // Large and small writes: what did get out is the beginning, without a hole.
    let mut printed = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut printed).expect("UTF-8");
    let expected: String = (0..500_000).map(|number| format!("{number}\n")).collect();
    assert!(!printed.is_empty() && expected.starts_with(&printed));
}

#[test]
fn the_pace_is_kept_and_can_be_stopped() {
    let store = numbers(1);
    // The second record comes later by the time that the first command takes, at least.
    let began = std::time::Instant::now();
    while began.elapsed().as_millis() < 30 {
        store.ok(&["replay", "t"]);
    }
    store.ok(&["publish", "t", "last"]);
    let began = std::time::Instant::now();
    assert_eq!(values(&store, &["replay", "t", "--speed", "1x"]), "0 last ");
    assert!(began.elapsed().as_millis() >= 30);
    let mut command = store.command(&["replay", "t", "--speed", "0.00001x", "--timeout", "200ms"]);
    let ran = command.stdin(Stdio::null()).output().expect("it ends");
    assert_eq!((ran.status.code(), ran.stdout), (Some(124), b"0\n".to_vec()));
}
