//! How runs come to an end: by their time limit, by our own end, and what they leave behind.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::*;

#[test]
fn the_time_limit_is_each_runs_own() {
    let mut fifo = Fifo::new();
    let mut runner = shells("read -r line < \"$FIFO\"", 2);
    runner.start(fifo.task(1));
    runner.start(fifo.task(2));
    runner.runs[0].deadline = Some(Instant::now());
    let finished = runner.wait(LONG, &[]).expect("poll works");
    assert_eq!(finished, [Finished { token: 1, verdict: Verdict::TimedOut }]);
    fifo.file.write_all(b"go\n").expect("a fifo");
    assert_eq!(next(&mut runner), Verdict::Acked);
}

#[test]
fn a_run_is_limited_from_its_start() {
    let limit = Duration::from_millis(20);
    let mut runner = Runner::new(words(&["sleep", "100"]), 1, limit).expect("a command");
    let start = Instant::now();
    runner.start(Task::default());
    assert_eq!(next(&mut runner), Verdict::TimedOut);
    assert!(start.elapsed() >= limit);
}

/// Says `ready` once it is proof against TERM, and `asked` when that comes. So is what it starts.
const STUBBORN: &str = "exec 3>\"$FIFO\"; trap 'echo asked >&3' TERM; (trap '' TERM; echo ready >&3; exec sleep 100) & \
     while :; do wait; done";

/// Fails unless nobody holds `$FIFO` any more but the test.
fn expect_nobody(fifo: Fifo) {
    let reader = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&fifo.path).expect("a fifo");
    drop(fifo.file);
    let mut polled = [PollFd::new(&reader, PollFlags::empty())];
    let timeout = Timespec::try_from(LONG).expect("it fits");
    poll(&mut polled, Some(&timeout)).expect("poll works");
    assert!(polled[0].revents().contains(PollFlags::HUP), "the whole group has ended");
}

#[test]
fn a_group_that_minds_no_term_is_killed() {
    let mut fifo = Fifo::new();
    let mut runner = shell(STUBBORN);
    runner.grace = Duration::from_millis(1);
    runner.start(fifo.task(0));
    fifo.expect(&mut runner, "ready\n");
    runner.grace = Duration::MAX;
    runner.runs[0].deadline = Some(Instant::now());
    fifo.expect(&mut runner, "asked\n");
    runner.runs[0].deadline = Some(Instant::now());
    assert_eq!(next(&mut runner), Verdict::TimedOut);
    expect_nobody(fifo);
}

#[test]
fn the_kill_comes_when_the_grace_is_over() {
    let mut fifo = Fifo::new();
    let mut runner = shell(STUBBORN);
    runner.grace = Duration::from_millis(20);
    runner.start(fifo.task(0));
    fifo.expect(&mut runner, "ready\n");
    let start = Instant::now();
    runner.runs[0].deadline = Some(start);
    assert_eq!(next(&mut runner), Verdict::TimedOut);
    assert!(start.elapsed() >= runner.grace);
}

#[test]
fn what_runs_on_in_the_background_is_neither_waited_for_nor_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let mut runner = shell("sleep 100 & echo $! > \"$OUT\"; echo why >&2; exit 65");
    runner.start(with_path("OUT", &out));
    assert_eq!(next(&mut runner), Verdict::DeadLetter { reason: "why".to_owned() });
    let left = std::fs::read_to_string(&out).expect("the command wrote it");
    let left = Pid::from_raw(left.trim().parse().expect("a number")).expect("a process");
    kill_process(left, Signal::KILL).expect("it still runs");
}

#[test]
fn what_ends_because_we_are_to_end_is_given_back() {
    let mut fifo = Fifo::new();
    // A shutdown that looks like a success is none.
    let mut runner = shell("exec 3>\"$FIFO\"; trap 'exit 0' TERM; (echo ready >&3; exec sleep 100) & wait");
    runner.start(fifo.task(0));
    fifo.expect(&mut runner, "ready\n");
    runner.terminate().expect("poll works");
    assert_eq!(next(&mut runner), Verdict::GivenBack);
    expect_nobody(fifo);
}

#[test]
fn what_had_ended_before_we_are_to_end_keeps_its_verdict() {
    let mut runner = shell("exit 65");
    runner.start(Task::default());
    poll(&mut [PollFd::from_borrowed_fd(runner.runs[0].pidfd(), PollFlags::IN)], None).expect("poll works");
    runner.terminate().expect("poll works");
    assert_eq!(next(&mut runner), Verdict::DeadLetter { reason: "exited with 65".to_owned() });
}

#[test]
fn a_stopped_command_can_be_asked_to_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let mut runner = shell("echo $$ > \"$OUT\"; kill -STOP $$; exit 0");
    runner.start(with_path("OUT", &out));
    let pidfd = runner.runs[0].pidfd();
    waitid(WaitId::PidFd(pidfd), WaitIdOptions::STOPPED).expect("it stops");
    runner.terminate().expect("poll works");
    assert_eq!(next(&mut runner), Verdict::GivenBack);
}

#[test]
fn the_time_limit_holds_also_when_we_are_to_end() {
    let mut fifo = Fifo::new();
    let mut runner = shell(STUBBORN);
    runner.grace = Duration::from_millis(1);
    runner.start(fifo.task(0));
    fifo.expect(&mut runner, "ready\n");
    runner.runs[0].deadline = Instant::now().checked_add(Duration::from_millis(20));
    runner.terminate().expect("poll works");
    assert_eq!(next(&mut runner), Verdict::GivenBack);
    expect_nobody(fifo);
}
