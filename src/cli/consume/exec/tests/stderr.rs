//! What commands say on stderr, and who reads it.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use super::*;

/// A runner whose stderr nobody reads yet.
fn heard(script: &str) -> (Runner, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (Runner::with_stderr(words(&["sh", "-c", script]), 1, Duration::MAX, writer.into()).expect("a command"), reader)
}

#[test]
fn what_a_command_says_goes_on_to_stderr_at_once_and_to_the_last_byte() {
    let (mut runner, mut reader) = heard("echo ready >&2; read -r line < \"$FIFO\"; printf end >&2");
    let mut fifo = Fifo::new();
    runner.start(fifo.task(0));
    assert_eq!(runner.wait(LONG, &[reader.as_fd()]).expect("poll works"), []);
    let mut said = [0; 6];
    reader.read_exact(&mut said).expect("a pipe");
    assert_eq!(&said, b"ready\n");
    fifo.file.write_all(b"go\n").expect("a fifo");
    assert_eq!(next(&mut runner), Verdict::Acked);
    drop(runner);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("a pipe");
    assert_eq!(said, "end");
}

#[test]
fn a_stderr_that_nobody_reads_holds_up_the_commands_but_not_us() {
    let (mut runner, mut reader) = heard("cat >&2");
    let said: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    runner.start(Task { stdin: said.clone(), ..Task::default() });
    assert_eq!(runner.wait(Duration::from_millis(20), &[]).expect("poll works"), []);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all)
    });
    while runner.running() > 0 {
        runner.wait(LONG, &[]).expect("poll works");
    }
    drop(runner);
    assert!(reader.join().expect("no panic").expect("a pipe") == said);
}

#[test]
fn nothing_is_started_until_stderr_has_taken_what_was_said() {
    let (mut runner, mut reader) = heard("cat >&2");
    // More than the pipe behind stderr takes, but not more than it and what we hold.
    runner.start(Task { stdin: vec![b'x'; 100 << 10], ..Task::default() });
    assert_eq!(next(&mut runner), Verdict::Acked);
    assert_eq!((runner.running(), runner.is_full()), (0, true));
    reader.read_exact(&mut [0; 60 << 10]).expect("a pipe");
    let start = Instant::now();
    assert_eq!(runner.wait(LONG, &[]).expect("poll works"), []);
    assert!(start.elapsed() < LONG && !runner.is_full());
}

#[test]
fn the_last_words_are_handed_on_before_the_runner_goes() {
    let (mut runner, mut reader) = heard("cat >&2");
    runner.start(Task { stdin: vec![b'x'; 100 << 10], ..Task::default() });
    assert_eq!(next(&mut runner), Verdict::Acked);
    let reader = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    drop(runner);
    assert_eq!(reader.join().expect("no panic").expect("a pipe"), 100 << 10);
}

#[test]
fn the_reason_is_heard_also_while_nobody_reads_stderr() {
    let (mut runner, reader) = heard("cat >&2; echo said > \"$FIFO\"; read -r line < \"$GO\"; echo >&2; echo why >&2; exit 65");
    let (mut said, mut go) = (Fifo::new(), Fifo::new());
    let mut task = Task { stdin: vec![b'x'; 100 << 10], ..said.task(0) };
    task.environment.push(("GO".into(), (&go.path).into()));
    runner.start(task);
    said.expect(&mut runner, "said\n");
    assert_eq!(runner.wait(Duration::ZERO, &[]).expect("poll works"), []);
    assert!(runner.is_full(), "stderr has not taken all of it");
    go.file.write_all(b"go\n").expect("a fifo");
    assert_eq!(next(&mut runner), Verdict::DeadLetter { reason: "why".to_owned() });
    // It would be waited for.
    drop(reader);
}

#[test]
fn a_stderr_that_was_closed_is_not_looked_at_again() {
    let mut fifo = Fifo::new();
    let mut runner = shell("exec 2>&-; echo closed > \"$FIFO\"; exec sleep 100");
    runner.start(fifo.task(0));
    fifo.expect(&mut runner, "closed\n");
    assert_eq!(runner.wait(Duration::ZERO, &[]).expect("poll works"), []);
    assert!(runner.runs[0].stderr().is_none());
    runner.terminate().expect("poll works");
    assert_eq!(next(&mut runner), Verdict::GivenBack);
}

#[test]
fn a_stderr_that_is_gone_harms_nobody() {
    let (mut runner, reader) = heard("cat >&2; echo why >&2; exit 65");
    drop(reader);
    runner.start(Task { stdin: vec![b'x'; 1_000_000], ..Task::default() });
    let reason = loop {
        match runner.wait(LONG, &[]).expect("poll works").pop() {
            Some(Finished { verdict: Verdict::DeadLetter { reason }, .. }) => break reason,
            other => assert_eq!(other, None, "it reads on"),
        }
    };
    assert_eq!(reason.trim_start_matches('x').trim(), "");
}
