//! Publishing into an engine in memory, from a pipe.

use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use clap::Parser as _;
use drave::codec::frame::FRAME_BYTES_AIM;
use drave::ids::Offset;

use super::*;
use crate::cli::exit::code_of;
use crate::cli::fake::{Fake, FakeRecord};
use crate::cli::{Cli, Command};

/// What a run printed and how it went.
struct Ran {
    receipts: String,
    result: Result<()>,
    tally: Tally,
}

impl Ran {
    fn exit(&self) -> Exit {
        self.result.as_ref().map_or_else(|error| code_of(error, None), |()| Exit::Done)
    }

    fn said(&self) -> String {
        self.result.as_ref().expect_err("it failed").to_string()
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn run_from(engine: &Fake, words: &[&str], stdin: BorrowedFd<'_>) -> Ran {
    let cli = Cli::try_parse_from(["drave", "publish"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
    let Command::Publish(args) = cli.command else { panic!("publish was asked for") };
    let context = Context::new(&cli.global);
    let out = Shared::default();
    let publish = Publish { engine, context: &context, job: &context.job, stdin, stop: None };
    let (result, tally, _) = publish.all(&args, args.receipts.then(|| Receipts::new(out.clone())));
    let receipts = String::from_utf8(out.0.borrow().clone()).expect("receipts are ASCII");
    Ran { receipts, result, tally }
}

/// Runs with `input` on stdin.
fn run(engine: &Fake, words: &[&str], input: &[u8]) -> Ran {
    let (reader, mut writer): (PipeReader, PipeWriter) = std::io::pipe().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The reader may have given up.
            let _ = writer.write_all(input);
        });
        let ran = run_from(engine, words, reader.as_fd());
        drop(reader);
        ran
    })
}

fn values(words: &[&str], input: &[u8]) -> Vec<Vec<u8>> {
    let engine = Fake::default();
    let ran = run(&engine, words, input);
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.result);
    engine.values("t")
}

fn record(fields: &[(&[u8], &[u8])]) -> FakeRecord {
    (fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(), false)
}

#[test]
fn a_line_is_a_record_byte_for_byte() {
    assert_eq!(values(&["t"], b"a\n\nb\r\n\xff\0\nlast"), [&b"a"[..], b"", b"b\r", b"\xff\0", b"last"]);
    assert_eq!(values(&["t"], b"a\n"), [b"a"]);
    assert!(values(&["t"], b"").is_empty());
    assert!(values(&["t", "--whole"], b"").is_empty());
}

#[test]
fn records_are_cut_where_an_option_says() {
    assert_eq!(values(&["t", "-0"], b"a\nb\0c\0"), [&b"a\nb"[..], b"c"]);
    assert_eq!(values(&["t", "-d", "--"], b"a-b--c"), [&b"a-b"[..], b"c"]);
    assert_eq!(values(&["t", "-d", r"\x00\n"], b"a\0b\0\nc"), [&b"a\0b"[..], b"c"]);
    assert_eq!(values(&["t", "--whole"], b"a\nb\n"), [b"a\nb\n"]);
}

#[test]
fn messages_are_one_batch_and_stdin_is_left_alone() {
    let engine = Fake::default();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"not read").expect("there is room");
    let ran = run_from(&engine, &["t", "a", "", "--", "-b"], reader.as_fd());
    assert_eq!(ran.exit(), Exit::Done);
    assert_eq!(engine.values("t"), [&b"a"[..], b"", b"-b"]);
    assert_eq!(*engine.events.borrow(), ["publish 3", "close"]);
    assert_eq!(ran.tally, Tally { records: 3, last: Some(Offset(2)) });
}

#[test]
fn keys_and_headers_become_fields() {
    let engine = Fake::default();
    run(&engine, &["t", "-k", "fixed", "-H", "a=1", "-H", "a=x=y"], b"v\n");
    run(&engine, &["t", "-K", ":"], b"k:v:w\nnone\n:empty\n");
    run(&engine, &["t", "--key-from", ".a.b"], b"{\"a\":{\"b\":\"k\"}}\n{}\n");
    run(&engine, &["t", "--tombstone", "-k", "gone"], b"");
    assert_eq!(
        engine.records("t"),
        [
            record(&[(b"key", b"fixed"), (b"value", b"v"), (b"a", b"1"), (b"a", b"x=y")]),
            record(&[(b"key", b"k"), (b"value", b"v:w")]),
            record(&[(b"value", b"none")]),
            record(&[(b"key", b""), (b"value", b"empty")]),
            record(&[(b"key", b"k"), (b"value", b"{\"a\":{\"b\":\"k\"}}")]),
            record(&[(b"value", b"{}")]),
            (vec![(b"key".to_vec(), b"gone".to_vec())], true),
        ]
    );
}

#[test]
fn nothing_complete_is_held_while_input_waits_and_receipts_come_at_once() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"one\n").expect("there is room");
    // The next line is written only once the one before it is settled: a publisher that kept one
    // back would wait for ever.
    let mut writer = Some(writer);
    let mut rest = [&b"two\nthr"[..], b"ee\n"].into_iter();
    let engine = Fake::default();
    engine.on_event.replace(Some(Box::new(move |event| {
        if event == "settle" {
            match rest.next() {
                Some(bytes) => writer.as_mut().expect("still open").write_all(bytes).expect("there is room"),
                None => writer = None,
            }
        }
    })));
    let ran = run_from(&engine, &["t", "--receipts"], reader.as_fd());
    assert_eq!(ran.exit(), Exit::Done);
    assert_eq!(engine.values("t"), [&b"one"[..], b"two", b"three"]);
    assert_eq!(ran.receipts, "0\t1000-0\tsync\n1\t1000-1\tsync\n2\t1000-2\tsync\n");
    assert_eq!(*engine.events.borrow(), ["publish 1", "settle", "publish 1", "settle", "publish 1", "settle", "close"]);
}

#[test]
fn flowing_lines_go_out_in_frames_of_about_a_mebibyte() {
    let engine = Fake::default();
    let lines = b"0123456789abcdef0123456789abcdef\n".repeat(100_000);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&lines).expect("there is room");
    std::io::Seek::rewind(&mut file).expect("seeks");
    let ran = run_from(&engine, &["t"], file.as_fd());
    assert_eq!((ran.exit(), ran.tally.records), (Exit::Done, 100_000));
    assert_eq!(engine.values("t").concat().len(), 32 * 100_000);
    let batches = engine.events.borrow().iter().filter(|event| event.starts_with("publish")).count();
    assert!((lines.len() / FRAME_BYTES_AIM..lines.len() / FRAME_BYTES_AIM + 30).contains(&batches), "{batches}");
}

#[test]
fn a_huge_line_passes_between_small_ones() {
    for words in [&["t"][..], &["t", "-k", "k"]] {
        let huge = vec![b'x'; 5 * FRAME_BYTES_AIM + 7];
        let input = [b"a\n", huge.as_slice(), b"\nb\n", huge.as_slice()].concat();
        assert_eq!(values(words, &input), [&b"a"[..], &huge, b"b", &huge]);
    }
}

#[test]
fn a_record_over_the_topics_limit_is_named_and_those_before_it_are_kept() {
    for words in [&["t"][..], &["t", "-H", "a=b"]] {
        let mut engine = Fake::default();
        engine.settings.record_bytes_max = 100;
        for long in [101, 3 * FRAME_BYTES_AIM] {
            let before = engine.values("t").len();
            let input = [b"a\nb\n", vec![b'x'; long].as_slice(), b"\nc\n"].concat();
            let ran = run(&engine, words, &input);
            assert_eq!(ran.exit(), Exit::Rejected);
            assert!(ran.said().starts_with("t: line 3: "), "{}", ran.said());
            assert_eq!(engine.values("t").len(), before + 2);
            assert_eq!(ran.tally.records, 2);
        }
    }
}

#[test]
fn the_expected_offset_is_that_of_the_first_record() {
    let engine = Fake::default();
    assert_eq!(run(&engine, &["t", "--expect-offset", "1", "x"], b"").exit(), Exit::Conflict);
    let big = [&[b'x'; 99][..], b"\n"].concat().repeat(30_000);
    assert_eq!(run(&engine, &["t", "--expect-offset", "0"], &big).exit(), Exit::Done);
    assert_eq!(run(&engine, &["t", "--expect-offset", "30000", "a", "b"], b"").exit(), Exit::Done);
    assert_eq!(run(&engine, &["t", "--expect-offset", "30001", "a"], b"").exit(), Exit::Conflict);
    assert_eq!(engine.values("t").len(), 30_002);
}

#[test]
fn objects_become_records_and_a_bad_one_is_named() {
    let engine = Fake::default();
    let input =
        b"{\"value\":\"a\",\"key\":\"k\"}\n\n{\"fields\":[[\"x\",\"1\"]],\"null\":true}\n{\"value\":7}\n{\"value\":\"b\"}\n";
    let ran = run(&engine, &["t", "--json"], input);
    assert_eq!(ran.exit(), Exit::Rejected);
    assert!(ran.said().starts_with("t: line 4: value is neither"), "{}", ran.said());
    assert_eq!(engine.records("t"), [record(&[(b"key", b"k"), (b"value", b"a")]), (vec![(b"x".to_vec(), b"1".to_vec())], true)]);
    let ran = run(&engine, &["t", "--json", "--skip-bad"], input);
    assert_eq!((ran.exit(), ran.tally.records), (Exit::Rejected, 3));
    assert!(ran.said().starts_with("skipped 1 record that could not be read; the first: t: line 4: "), "{}", ran.said());
}

#[test]
fn objects_find_their_topics() {
    let engine = Fake::default();
    let mut input = Vec::new();
    for n in 0..1000 {
        writeln!(input, "{{\"topic\":\"t{}\",\"value\":\"{n}\"}}", n % 200).expect("memory");
    }
    let ran = run(&engine, &["--json", "--by-topic", "--receipts"], &input);
    assert_eq!((ran.exit(), ran.tally), (Exit::Done, Tally { records: 1000, last: None }));
    assert_eq!(engine.values("t7"), [&b"7"[..], b"207", b"407", b"607", b"807"]);
    let offsets: Vec<u64> =
        ran.receipts.lines().map(|line| line.split('\t').next().expect("one").parse().expect("a number")).collect();
    let expected: Vec<u64> = (0..1000).map(|n| n / 200).collect();
    assert_eq!(offsets, expected);

    let ran = run(&engine, &["--json", "--by-topic"], b"{\"topic\":\"u\",\"value\":\"a\"}\n{\"value\":\"b\"}\n");
    assert_eq!((ran.exit(), ran.said()), (Exit::Rejected, "line 2: the object names no topic".to_owned()));
    assert_eq!(engine.values("u"), [b"a"]);
}

#[test]
fn what_a_failed_sync_left_open_is_not_counted() {
    let engine = Fake::default();
    engine.breaks.replace(true);
    let ran = run(&engine, &["t", "--receipts"], b"a\nb\n");
    assert_eq!((ran.exit(), ran.tally.records), (Exit::Failed, 0));
    assert_eq!(ran.receipts, "");
}

#[test]
fn files_are_a_record_each_also_empty_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    for (path, bytes) in [(&a, &b"a\n\xff"[..]), (&b, b"")] {
        let fd = rustix::fs::open(path, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).expect("a file");
        rustix::io::write(fd, bytes).expect("there is room");
    }
    let engine = Fake::default();
    let (a, b) = (a.to_str().expect("UTF-8"), b.to_str().expect("UTF-8"));
    let ran = run(&engine, &["t", "--file", a, b, "/nonexistent", a], b"");
    assert_eq!((ran.exit(), ran.tally.records), (Exit::Failed, 2));
    assert_eq!(engine.values("t"), [&b"a\n\xff"[..], b""]);
}

#[test]
fn a_time_limit_keeps_what_was_complete() {
    let engine = Fake::default();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"whole\nhalf").expect("there is room");
    let ran = run_from(&engine, &["t", "--timeout", "20ms"], reader.as_fd());
    assert_eq!(ran.exit(), Exit::TimedOut);
    assert_eq!(engine.values("t"), [b"whole"]);
    assert_eq!(ran.tally.records, 1);
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    for words in [
        &["publish"][..],
        &["publish", ""],
        &["publish", "t", "--by-topic"],
        &["publish", "t", "--json", "--by-topic"],
        &["publish", "t", "-k", "a", "-K", ":"],
        &["publish", "t", "-0", "message"],
        &["publish", "t", "--whole", "-0"],
        &["publish", "t", "--json", "-k", "a"],
        &["publish", "t", "--tombstone"],
        &["publish", "t", "--tombstone", "-k", "a", "message"],
        &["publish", "t", "--skip-bad"],
        &["publish", "t", "-H", "key=a", "x"],
        &["publish", "t", "-H", "value=a", "x"],
        &["publish", "t", "-H", "none", "x"],
        &["publish", "t", "-d", ""],
        &["publish", "t", "-d", r"\q"],
        &["publish", "t", "-K", r"\x4"],
        &["publish", "t", "--durability", "fsync", "x"],
        &["publish", "t", "--expect-offset", "-1", "x"],
        &["publish", "t", "--key-from", "a"],
        &["publish", "t", "--timeout", "5", "x"],
    ] {
        let parsed = Cli::try_parse_from(["drave"].iter().chain(words));
        assert_eq!(parsed.expect_err("refused").exit_code(), 2, "{words:?}");
    }
}
