use std::io::{BufRead as _, BufReader};

use super::*;
use crate::cli::exit::code_of;
use crate::cli::testing::drained_pipe;
use crate::cli::testing::memory::{Memory, name};
use clap::Parser;
use proptest::prelude::*;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

fn options(words: &[&str]) -> (Vec<TopicName>, Options, OutputArgs) {
    let args = Typed::try_parse_from(std::iter::once(&"tail").chain(words)).expect("what can be typed").args;
    let options =
        Options { count: args.count, follow: args.follow, wait: args.wait, name: args.name, filter: args.filter.resolve() };
    (in_merge_order(args.topics), options, args.output)
}

fn run_with(memory: &Memory, words: &[&str], job: &Job) -> (Result<Exit, Exit>, String) {
    let (topics, options, output) = options(words);
    let (fd, drain) = drained_pipe();
    let ended = tail(memory, topics, options, Output::new(fd, output, false), job, None);
    let text = String::from_utf8(drain.join().expect("no panic")).expect("UTF-8");
    (ended.map_err(|error| code_of(&error, None)), text)
}

fn run(memory: &Memory, words: &[&str]) -> String {
    let (ended, text) = run_with(memory, words, &Job::new());
    assert_eq!(ended, Ok(Exit::Done));
    text.replace('\n', " ")
}

#[test]
fn the_last_ten_are_printed_or_as_many_as_asked_for() {
    let memory = Memory::with_numbers("t", 25);
    assert_eq!(run(&memory, &["t"]), "15 16 17 18 19 20 21 22 23 24 ");
    assert_eq!(run(&memory, &["t", "-n", "2"]), "23 24 ");
    assert_eq!(run(&memory, &["t", "-n", "0"]), "");
    assert_eq!(run(&memory, &["t", "-n", "18446744073709551615"]).split(' ').count(), 26);
    assert_eq!(run(&Memory::with_numbers("t", 3), &["t"]), "0 1 2 ");
    assert_eq!(run(&Memory::with_numbers("t", 0), &["t"]), "");
}

#[test]
fn records_are_counted_after_filters() {
    let memory = Memory::with_numbers("t", 20_000);
    assert_eq!(run(&memory, &["t", "-n", "3", "--grep", "^7"]), "7997 7998 7999 ");
    assert_eq!(run(&memory, &["t", "-n", "2", "--grep", "^77?$"]), "7 77 ");
    assert_eq!(run(&memory, &["t", "-n", "20", "--grep", "^77?$"]), "7 77 ");
    assert_eq!(run(&memory, &["t", "--grep", "x"]), "");
}

#[test]
fn of_several_topics_the_last_of_all_are_printed() {
    let memory = Memory::default();
    for ms in 0..10 {
        memory.add("b", ms * 2, &format!("b{ms}"));
        memory.add("a", ms * 2 + 1, &format!("a{ms}"));
    }
    memory.add("c", 18, "c");
    assert_eq!(run(&memory, &["b", "a", "-n", "3"]), "a8 b9 a9 ");
    assert_eq!(run(&memory, &["b", "c", "a", "-n", "4", "--grep", "[9c]"]), "b9 c a9 ");
    assert_eq!(run(&memory, &["c", "a", "-n", "100"]), "a0 a1 a2 a3 a4 a5 a6 a7 a8 c a9 ");
    assert_eq!(run(&memory, &["c", "c"]), "c ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_last_of_a_merge_are_the_end_of_the_whole_merge(
        topics in proptest::collection::vec(proptest::collection::vec((1u64..4, 0u8..3), 0..20), 1..4),
        count in 0u64..30,
        filtered in any::<bool>(),
    ) {
        let memory = Memory::default();
        let mut all = Vec::new();
        for (topic, records) in ["a", "b", "c"].iter().zip(&topics) {
            memory.create_topic(&name(topic), &drave::config::Overrides::default()).expect("in memory");
            let mut ms = 0;
            for (index, (step, kind)) in records.iter().enumerate() {
                ms += step;
                let value = format!("{topic}{index}k{kind}");
                memory.add(topic, ms, &value);
                all.push((ms, *topic, value));
            }
        }
        all.retain(|(_, _, value)| !filtered || value.ends_with("k1"));
        all.sort_by(|x, y| (x.0, x.1).cmp(&(y.0, y.1)));
        let expected: String = all.iter().skip(all.len().saturating_sub(count as usize)).map(|(_, _, value)| format!("{value} ")).collect();
        let count = count.to_string();
        let mut words = vec!["-n", &count];
        words.extend(&["a", "b", "c"][..topics.len()]);
        words.extend(if filtered { &["--grep", "k1$"][..] } else { &[] });
        prop_assert_eq!(run(&memory, &words), expected);
    }
}

#[test]
fn a_cursor_starts_after_what_its_name_has_printed() {
    let memory = Memory::with_numbers("t", 12);
    assert_eq!(run(&memory, &["t", "-n", "3", "--as", "x"]), "9 10 11 ");
    assert_eq!(run(&memory, &["t", "--as", "x"]), "");
    memory.add("t", 50, "new");
    assert_eq!(run(&memory, &["t", "--as", "x", "-n", "0"]), "new ");
    assert_eq!(memory.place("x", "t"), Some(13));
    assert_eq!(run(&memory, &["t", "--as", "y", "-n", "1"]), "new ");
    assert_eq!(memory.place("y", "t"), Some(13));
}

#[test]
fn a_new_cursor_at_the_end_misses_nothing_later() {
    let memory = Memory::with_numbers("t", 12);
    assert_eq!(run(&memory, &["t", "-n", "0", "--as", "x"]), "");
    memory.add("t", 50, "new");
    assert_eq!(run(&memory, &["t", "--as", "x"]), "new ");
}

#[test]
fn damage_is_skipped_and_decides_the_exit_code() {
    let memory = Memory::with_numbers("t", 12);
    memory.damage("t", 10);
    let (ended, text) = run_with(&memory, &["t", "-n", "3"], &Job::new());
    assert_eq!((ended, text.as_str()), (Ok(Exit::Damaged), "8\n9\n11\n"));
    assert_eq!(run(&memory, &["t", "-n", "1"]), "11 ");
}

#[test]
fn a_cursor_below_the_log_start_goes_on_at_the_log_start() {
    let memory = Memory::with_numbers("t", 5);
    assert_eq!(run(&memory, &["t", "--as", "x", "-n", "0"]), "");
    (5..12).for_each(|ms| memory.add("t", ms, &ms.to_string()));
    memory.trim_topic(&name("t"), Offset(9), &Job::new()).expect("in memory");
    assert_eq!(run(&memory, &["t", "--as", "x"]), "9 10 11 ");
    assert_eq!(memory.place("x", "t"), Some(12));
}

/// Runs a follower beside `check`, which gets the lines it prints.
fn following(memory: &Memory, words: &[&str], check: impl FnOnce(&mut dyn FnMut() -> String, Job)) -> Result<Exit, Exit> {
    let (topics, options, output) = options(words);
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let job = Job::new();
    let (memory, job_of_tail) = (memory.clone(), job.clone());
    let running = std::thread::spawn(move || {
        let ended = tail(&memory, topics, options, Output::new(writer, output, false), &job_of_tail, None);
        ended.map_err(|error| code_of(&error, None))
    });
    let mut reader = BufReader::new(std::fs::File::from(reader));
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).expect("readable");
        line
    };
    check(&mut line, job);
    drop(reader);
    running.join().expect("no panic")
}

#[test]
fn a_follower_prints_what_comes_and_ends_when_its_output_is_closed() {
    let memory = Memory::with_numbers("t", 12);
    let ended = following(&memory, &["t", "-f", "-n", "1"], |line, _| {
        assert_eq!(line(), "11\n");
        memory.add("t", 50, "new");
        assert_eq!(line(), "new\n");
        // Closed while nothing arrives.
    });
    assert_eq!(ended, Err(Exit::OutputClosed));
}

#[test]
fn a_follower_of_a_deleted_topic_ends() {
    let memory = Memory::with_numbers("t", 1);
    let ended = following(&memory, &["t", "-f"], |line, _| {
        assert_eq!(line(), "0\n");
        memory.delete_topic(&name("t"), &Job::new()).expect("in memory");
        assert_eq!(line(), "");
    });
    assert_eq!(ended, Err(Exit::Missing));
}

#[test]
fn a_stopped_follower_keeps_its_place() {
    let memory = Memory::with_numbers("t", 1);
    let ended = following(&memory, &["t", "-f", "--as", "x"], |line, job| {
        assert_eq!(line(), "0\n");
        job.stop();
        // As the signal handler would, through the waker.
        memory.add("u", 1, "wakes");
        assert_eq!(line(), "");
    });
    assert_eq!(ended, Err(Exit::Interrupted));
    assert_eq!(memory.place("x", "t"), Some(1));
}

#[test]
fn a_topic_that_was_waited_for_is_printed_from_its_start() {
    let memory = Memory::default();
    let ended = following(&memory, &["t", "-f", "--wait", "-n", "0"], |line, _| {
        memory.wait_until_missed();
        (0..15).for_each(|ms| memory.add("t", ms, &ms.to_string()));
        assert_eq!(line(), "0\n");
        (1..15).for_each(|ms| assert_eq!(line(), format!("{ms}\n")));
    });
    assert_eq!(ended, Err(Exit::OutputClosed));
    let (ended, _) = run_with(&memory, &["none"], &Job::new());
    assert_eq!(ended, Err(Exit::Missing));
}

#[test]
fn the_time_limit_ends_a_follower_and_a_wait() {
    let memory = Memory::with_numbers("t", 2);
    let job = || Job::with_limit(Some(Duration::from_millis(30)));
    assert_eq!(run_with(&memory, &["t", "-f"], &job()), (Err(Exit::TimedOut), "0\n1\n".to_owned()));
    assert_eq!(run_with(&memory, &["none", "--wait"], &job()), (Err(Exit::TimedOut), String::new()));
}
