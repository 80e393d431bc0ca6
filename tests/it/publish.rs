use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ran, Store};

#[test]
fn bytes_come_back_as_they_were() {
    let store = Store::new();
    let input = b"plain\n\n\r\nnul \0 and \xff\xfe\nthe last without newline";
    store.ok_with(&["publish", "t"], input);
    assert_eq!(store.ok(&["replay", "t"]), [&input[..], b"\n"].concat());
}

#[test]
fn messages_are_published_without_reading_stdin() {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "a", "", "--", "--b"]);
    // Held open: reading it would never end.
    let stdin = child.stdin.take();
    assert!(child.wait().expect("it ends").success());
    drop(stdin);
    assert_eq!(store.ok(&["replay", "t"]), b"a\n\n--b\n");
}

#[test]
fn an_empty_stdin_publishes_nothing() {
    let store = Store::new();
    for words in [&["publish", "t"][..], &["publish", "t", "--whole"], &["publish", "t", "-0"]] {
        assert_eq!(store.run(words).code(), 0);
    }
    assert_eq!(store.ok(&["replay", "t"]), b"");
}

#[test]
fn a_huge_line_is_one_record() {
    let store = Store::new();
    let mut input = vec![b'x'; 20_000_000];
    input.extend_from_slice(b"\nsmall\n");
    store.ok_with(&["publish", "t"], &input);
    assert_eq!(store.ok(&["replay", "t"]), input);
    assert_eq!(store.ok(&["replay", "t", "-o", "%o %V\n"]), b"0 20000000\n1 5\n");
}

#[test]
fn who_waits_for_a_receipt_gets_it_at_once() {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "--receipts"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for offset in 0..5 {
        stdin.write_all(b"line\n").expect("it reads");
        let mut receipt = String::new();
        stdout.read_line(&mut receipt).expect("it answers");
        let parts: Vec<&str> = receipt.trim_end().split('\t').collect();
        assert_eq!((parts[0], parts[2]), (offset.to_string().as_str(), "sync"));
        assert!(parts[1].split_once('-').is_some());
        // Acked means that readers see it.
        assert_eq!(store.ok(&["replay", "t", "-o", "%o\n"]).iter().filter(|byte| **byte == b'\n').count(), offset + 1);
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

fn stopped_by(signal: Signal) -> (Store, Ran) {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "--receipts"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"one\ntwo\nhalf a li").expect("it reads");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for _ in 0..2 {
        stdout.read_line(&mut String::new()).expect("a receipt");
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, signal).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    (store, Ran(output))
}

#[test]
fn a_signal_ends_it_cleanly_and_it_says_what_was_published() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (store, ran) = stopped_by(signal);
        assert_eq!((ran.0.status.code(), ran.stderr()), (Some(code), "published 2 records, last offset 1\n"));
        // What was not a whole line yet is not a record.
        assert_eq!(store.ok(&["replay", "t"]), b"one\ntwo\n");
    }
}

#[test]
fn a_time_limit_keeps_what_was_done() {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "--timeout", "300ms"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"whole\nhalf").expect("it reads");
    let ran = Ran(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code(), 124);
    assert_eq!(ran.stderr(), "published 1 record, last offset 0\ndrave: the time limit ran out\n");
    assert_eq!(store.ok(&["replay", "t"]), b"whole\n");
}

#[test]
fn delimiters_and_files_cut_records() {
    let store = Store::new();
    store.ok_with(&["publish", "nul", "-0"], b"a\nb\0c");
    assert_eq!(store.ok(&["replay", "nul", "-0"]), b"a\nb\0c\0");
    store.ok_with(&["publish", "own", "-d", r"\x1e\n"], b"a\nb\x1e\nc");
    assert_eq!(store.ok(&["replay", "own", "-0"]), b"a\nb\0c\0");
    store.ok_with(&["publish", "whole", "--whole"], b"a\nb\n");
    assert_eq!(store.ok(&["replay", "whole", "-0"]), b"a\nb\n\0");
    for (name, bytes) in [("x", &b"x\ny\n"[..]), ("empty", b"")] {
        std::fs::write(store.beside().join(name), bytes).expect("there is room");
    }
    let ran = store.shell("drave publish files --file x empty missing x");
    assert_eq!(ran.code(), 1);
    assert_eq!(ran.stderr(), "published 2 of 4 records, last offset 1\ndrave: cannot open missing: no such file or directory\n");
    assert_eq!(store.ok(&["replay", "files", "-0"]), b"x\ny\n\0\0");
}

#[test]
fn keys_and_headers_are_fields() {
    let store = Store::new();
    store.ok(&["publish", "t", "-k", "k", "-H", "a=1", "-H", "a=2", "v"]);
    store.ok_with(&["publish", "t", "-K", ":"], b"user7:login:ok\nno key\n");
    store.ok_with(&["publish", "t", "--key-from", ".a[1].b"], b"{\"a\":[0,{\"b\":\"deep\"}]}\n{\"a\":null}\n");
    store.ok(&["publish", "t", "--tombstone", "-k", "gone"]);
    let expected = concat!(
        r#""key":"k","headers":[["a","1"],["a","2"]],"value":"v"}"#,
        "\n",
        r#""key":"user7","headers":[],"value":"login:ok"}"#,
        "\n",
        r#""key":null,"headers":[],"value":"no key"}"#,
        "\n",
        r#""key":"deep","headers":[],"value":"{\"a\":[0,{\"b\":\"deep\"}]}"}"#,
        "\n",
        r#""key":null,"headers":[],"value":"{\"a\":null}"}"#,
        "\n",
        r#""key":"gone","headers":[],"value":null}"#,
        "\n",
    );
    assert_eq!(fields_of(&store, "t"), expected);
    let ran = store.run_with(&["publish", "t", "--key-from", ".a"], b"{}\nplain\n{}\n");
    assert_eq!(ran.code(), 10);
    assert!(ran.stderr().starts_with("published 1 record, last offset 6\ndrave: t: line 2: not JSON"), "{}", ran.stderr());
}

/// What `replay --json` prints, without what a copy does not keep.
fn fields_of(store: &Store, topic: &str) -> String {
    let printed = String::from_utf8(store.ok(&["replay", topic, "--json"])).expect("JSON is UTF-8");
    let fields = printed.lines().map(|line| line.split_once("Z\",").expect("a time").1.to_owned() + "\n");
    fields.collect()
}

#[test]
fn a_copy_through_json_keeps_every_field_of_every_record() {
    let store = Store::new();
    let objects = concat!(
        r#"{"key":"k","headers":[["h","1"],["h",""],[{"b64":"/w=="},{"b64":"gA=="}]],"value":"v\u0000\n\u00fc"}"#,
        "\n",
        r#"{"key":"","headers":[],"value":""}"#,
        "\n",
        r#"{"key":"gone","headers":[["why","test"]],"value":null}"#,
        "\n",
        r#"{"key_b64":"//79","value_b64":"AP8="}"#,
        "\n",
        r#"{"fields":[["value","v"],["key","a"],["key","b"]]}"#,
        "\n",
        r#"{"fields":[["user","7"]],"null":true}"#,
        "\n",
        r#"{"fields":[["key","only"]]}"#,
        "\n",
        r#"{"fields":[["value","x"]],"null":true}"#,
        "\n",
    );
    store.ok_with(&["publish", "a", "--json"], objects.as_bytes());
    let original = fields_of(&store, "a");
    assert_eq!(original.lines().count(), 8);
    let ran = store.shell("drave replay a --json | drave publish b --json");
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
    assert_eq!(fields_of(&store, "b"), original);
    assert!(original.contains(r#""key":"gone","headers":[["why","test"]],"value":null"#));
    assert!(original.contains(r#""fields":[["value","x"]],"null":true"#), "{original}");
}

#[test]
fn an_object_of_unknown_shape_is_refused_with_its_line() {
    let store = Store::new();
    let input = b"{\"value\":\"a\"}\n{\"value\":\"b\"}\n{\"value\":7}\n{\"value\":\"c\"}\n";
    let ran = store.run_with(&["publish", "t", "--json"], input);
    assert_eq!(ran.code(), 10);
    assert!(ran.stderr().contains("published 2 records, last offset 1\ndrave: t: line 3: value is neither"), "{}", ran.stderr());
    let ran = store.run_with(&["publish", "t", "--json", "--skip-bad"], input);
    assert_eq!(ran.code(), 10);
    assert!(ran.stderr().contains("drave: skipped 1 record that could not be read; the first: t: line 3"), "{}", ran.stderr());
    assert_eq!(store.ok(&["replay", "t"]), b"a\nb\na\nb\nc\n");
}

#[test]
fn objects_find_their_topics_however_many_there_are() {
    let store = Store::new();
    store.ok(&["topic", "create", "t7", "durability=none"]);
    let objects: String = (0..600).map(|n| format!("{{\"topic\":\"t{}\",\"value\":\"{n}\"}}\n", n % 200)).collect();
    store.ok_with(&["publish", "--json", "--by-topic"], objects.as_bytes());
    assert_eq!(store.ok(&["replay", "t7"]), b"7\n207\n407\n");
    assert_eq!(store.ok(&["topic", "list"]).iter().filter(|byte| **byte == b'\n').count(), 201);
}

#[test]
fn an_expected_offset_that_is_taken_is_a_conflict() {
    let store = Store::new();
    store.ok(&["publish", "t", "--expect-offset", "0", "a", "b"]);
    let ran = store.run(&["publish", "t", "--expect-offset", "1", "c"]);
    assert_eq!(ran.code(), 12);
    assert_eq!(ran.stderr(), "drave: t: expected offset 1 to be next, but it is 2; nothing was published\n");
    store.ok_with(&["publish", "t", "--expect-offset", "2"], b"c\nd\n");
    assert_eq!(store.ok(&["replay", "t"]), b"a\nb\nc\nd\n");
}

#[test]
fn a_level_may_be_raised_and_never_lowered() {
    let store = Store::new();
    store.ok(&["topic", "create", "low", "durability=none"]);
    assert!(String::from_utf8_lossy(&store.ok(&["publish", "low", "--receipts", "x"])).ends_with("\tnone\n"));
    let raised = store.ok(&["publish", "low", "--durability", "sync", "--receipts", "x"]);
    assert!(String::from_utf8_lossy(&raised).ends_with("\tsync\n"));
    let ran = store.run(&["publish", "high", "--durability", "async", "x"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("topic create"), "{}", ran.stderr());
}

#[test]
fn receipts_that_nobody_reads_end_it_like_any_program_in_a_pipeline() {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "--receipts"]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"stored\n").expect("it reads");
    let ran = Ran(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.0.status.code(), ran.code()), (None, 141));
    assert_eq!(store.ok(&["replay", "t"]), b"stored\n");
}

#[test]
fn a_record_beyond_the_topics_limit_is_rejected_with_its_line() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "record-bytes-max=10"]);
    let ran = store.run_with(&["publish", "t"], b"short\n0123456789\nlonger than ten\nafter\n");
    assert_eq!(ran.code(), 10);
    assert!(ran.stderr().contains("line 3"), "{}", ran.stderr());
    assert_eq!(store.ok(&["replay", "t"]), b"short\n0123456789\n");
    assert_eq!(store.run(&["publish", "t", "longer than ten"]).code(), 10);
}

#[test]
fn topics_of_any_name_keep_apart() {
    let store = Store::new();
    let long = "n".repeat(512);
    let names = ["a/b", "..", ".", "A", "a", "%41", "-", "ü", "new\nline", long.as_str()];
    for name in names {
        store.ok(&["publish", "--", name, name]);
    }
    for name in names {
        assert_eq!(store.ok(&["replay", "--", name]), [name.as_bytes(), b"\n"].concat());
    }
    assert_eq!(store.run(&["publish", &"n".repeat(513), "x"]).code(), 2);
    assert_eq!(store.run(&["publish", "", "x"]).code(), 2);
}

#[test]
fn a_topic_deleted_under_it_is_made_anew() {
    let store = Store::new();
    let mut child = store.start(&["publish", "t", "--receipts"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdin.write_all(b"before\n").expect("it reads");
    stdout.read_line(&mut String::new()).expect("a receipt");
    store.ok(&["topic", "delete", "t", "--yes"]);
    stdin.write_all(b"after\n").expect("it reads");
    let mut receipt = String::new();
    stdout.read_line(&mut receipt).expect("a receipt");
    assert!(receipt.starts_with("0\t"), "{receipt}");
    drop(stdin);
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), stderr.as_str()), (Some(0), ""));
    assert_eq!(store.ok(&["replay", "t"]), b"after\n");
}
