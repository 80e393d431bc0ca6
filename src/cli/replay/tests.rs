use super::*;
use crate::cli::exit::code_of;
use crate::cli::testing::drained_pipe;
use crate::cli::testing::memory::{Memory, name};
use clap::Parser;
use drave::ids::Offset;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

fn typed(words: &[&str]) -> Args {
    Typed::try_parse_from(std::iter::once(&"replay").chain(words)).expect("what can be typed").args
}

fn run(memory: &Memory, words: &[&str], job: &Job) -> (Result<Exit, Exit>, String) {
    let args = typed(words);
    let (fd, drain) = drained_pipe();
    let mut output = Output::new(fd, args.output.clone(), false);
    let ended = replay(memory, args, &mut output, job);
    drop(output);
    let text = String::from_utf8(drain.join().expect("no panic")).expect("UTF-8");
    (ended.map_err(|error| code_of(&error, None)), text.replace('\n', " "))
}

fn replay(memory: &Memory, args: Args, sink: &mut dyn Sink, job: &Job) -> Result {
    let range = args.range.unwrap_or(Range { from: args.from, until: args.until });
    let mut replay = Replay::open(memory, in_merge_order(args.topics), &range, job)?;
    replay.selection = Selection { filter: args.filter.resolve(), left: args.count, ..Selection::default() };
    replay.run_at(args.speed, sink, None, None)?;
    Ok(if replay.damaged { Exit::Damaged } else { Exit::Done })
}

fn printed(memory: &Memory, words: &[&str]) -> String {
    let (ended, text) = run(memory, words, &Job::new());
    assert_eq!(ended, Ok(Exit::Done));
    text
}

#[test]
fn positions_and_counts_choose_what_is_printed() {
    let memory = Memory::with_numbers("t", 8);
    for (words, expected) in [
        (&["t"][..], "0 1 2 3 4 5 6 7 "),
        (&["t", "--from", "5"], "5 6 7 "),
        (&["t", "--from", "-2"], "6 7 "),
        (&["t", "--until", "-6"], "0 1 "),
        (&["t", "--from", "+2", "--until", "4-0"], "2 3 "),
        (&["t", "--range", "-3..-1"], "5 6 "),
        (&["t", "--range", "6.."], "6 7 "),
        (&["t", "--range", "5..2"], ""),
        (&["t", "--from", "8"], ""),
        (&["t", "--from", "3", "-n", "2"], "3 4 "),
        (&["t", "-n", "0"], ""),
        (&["t", "-n", "1", "--grep", "[67]"], "6 "),
        (&["t", "-n", "4"], "0 1 2 3 "),
        (&["--from", "end", "t"], ""),
    ] {
        assert_eq!(printed(&memory, words), expected, "{words:?}");
    }
}

#[test]
fn an_offset_past_the_end_is_refused() {
    let memory = Memory::with_numbers("t", 8);
    assert_eq!(run(&memory, &["t", "--from", "9"], &Job::new()).0, Err(Exit::Missing));
    assert_eq!(run(&memory, &["t", "--until", "9"], &Job::new()).0, Err(Exit::Missing));
    assert_eq!(run(&memory, &["t", "--from", "group:g"], &Job::new()).0, Err(Exit::Missing));
    assert_eq!(run(&memory, &["none"], &Job::new()).0, Err(Exit::Missing));
}

#[test]
fn below_the_log_start_is_the_log_start() {
    let memory = Memory::with_numbers("t", 8);
    memory.trim_topic(&name("t"), Offset(6), &Job::new()).expect("in memory");
    assert_eq!(printed(&memory, &["t", "--from", "2"]), "6 7 ");
    assert_eq!(printed(&memory, &["t", "--from", "2", "--until", "4"]), "");
}

#[test]
fn damage_is_skipped_and_decides_the_exit_code() {
    let memory = Memory::with_numbers("t", 4);
    memory.damage("t", 1);
    assert_eq!(run(&memory, &["t"], &Job::new()), (Ok(Exit::Damaged), "0 2 3 ".to_owned()));
}

#[test]
fn topics_are_merged_and_ties_are_in_the_order_of_names() {
    let memory = Memory::default();
    for ms in 0..3 {
        memory.add("b", ms, &format!("b{ms}"));
        memory.add("a", ms, &format!("a{ms}"));
    }
    assert_eq!(printed(&memory, &["b", "a", "-o", "%t:%v\\x20"]), "a:a0 b:b0 a:a1 b:b1 a:a2 b:b2 ");
}

#[test]
fn the_time_limit_keeps_what_was_done() {
    let memory = Memory::default();
    memory.add("t", 0, "first");
    memory.add("t", 3_600_000, "an hour later");
    let job = Job::with_limit(Some(Duration::from_millis(30)));
    assert_eq!(run(&memory, &["t", "--speed", "1x"], &job), (Err(Exit::TimedOut), "first ".to_owned()));
}

#[test]
fn the_pace_is_that_of_the_ids() {
    let memory = Memory::default();
    for ms in [0, 20, 40] {
        memory.add("t", ms, "x");
    }
    let began = Instant::now();
    assert_eq!(printed(&memory, &["t", "--speed", "2x"]), "x x x ");
    assert!(began.elapsed() >= Duration::from_millis(20));
    for (text, speed) in [("1x", Speed::Times(1.0)), ("0.5x", Speed::Times(0.5)), ("max", Speed::Max)] {
        assert_eq!(Speed::parse(text), Ok(speed));
    }
    for bad in ["", "x", "0x", "-1x", "+1x", "1", "infx", "nanx", "1e999x", "fast"] {
        assert!(Speed::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn into_another_topic_all_fields_are_kept() {
    let memory = Memory::default();
    let mut sink = Into::open(&memory, &name("t"), Duration::ZERO, &Job::new()).expect("in memory");
    let records: [(&[FieldRef<'_>], bool); 5] = [
        (&[(b"value", b"plain")], false),
        (&[(b"key", b"k"), (b"value", b"\xff\n"), (b"h", b"1"), (b"h", b"2")], false),
        (&[(b"key", b"k"), (b"why", b"gone")], true),
        (&[(b"user", b"7"), (b"key", b"late")], false),
        (&[], false),
    ];
    for (fields, null) in records {
        crate::cli::testing::with_record(fields, null, |record| sink.take(&name("any"), record).expect("in memory"));
    }
    sink.finish().expect("in memory");
    assert_eq!(sink.outlet.written(), Tally { records: 5, last: Some(Offset(4)) });

    let mut copy = Into::open(&memory, &name("copy"), Duration::ZERO, &Job::new()).expect("in memory");
    assert_eq!(replay(&memory, typed(&["t"]), &mut copy, &Job::new()).expect("in memory"), Exit::Done);
    copy.finish().expect("in memory");
    let kept = |topic| memory.records(topic).into_iter().map(|r| (r.fields, r.null)).collect::<Vec<_>>();
    assert_eq!(kept("t").len(), 5);
    assert_eq!(kept("copy"), kept("t"));
}

#[test]
fn what_contradicts_itself_cannot_be_typed() {
    for words in [
        &["t", "--range", "1..2", "--from", "1"][..],
        &["t", "--into", "u", "--json"],
        &["t", "--limit-wait", "1s"],
        &["t", "--json", "-0"],
        &["t", "-o", "%q"],
        &["t", "--from", "nowhere"],
        &["t", "--grep", "("],
        &[],
        &[""],
    ] {
        assert!(Typed::try_parse_from(std::iter::once(&"replay").chain(words)).is_err(), "{words:?}");
    }
}
