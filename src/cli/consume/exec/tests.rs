mod ends;
mod stderr;

use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tempfile::TempDir;

use super::*;

/// No test waits that long, unless it fails.
const LONG: Duration = Duration::from_secs(60);

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Runs `sh -c script`, one at a time, for ever, and says nothing.
fn shell(script: &str) -> Runner {
    shells(script, 1)
}

fn shells(script: &str, parallel: usize) -> Runner {
    silent(words(&["sh", "-c", script]), parallel)
}

fn silent(command: Vec<OsString>, parallel: usize) -> Runner {
    let null = File::options().write(true).open("/dev/null").expect("there is one");
    Runner::with_stderr(command, parallel, Duration::MAX, null.into()).expect("a command")
}

/// The one verdict that is next.
fn next(runner: &mut Runner) -> Verdict {
    let mut finished = runner.wait(LONG, &[]).expect("poll works");
    assert_eq!(finished.len(), 1, "one command has ended");
    finished.remove(0).verdict
}

fn verdict_of(script: &str) -> Verdict {
    let mut runner = shell(script);
    runner.start(Task::default());
    next(&mut runner)
}

fn with_path(name: &str, path: &Path) -> Task {
    Task { environment: vec![(name.into(), path.into())], ..Task::default() }
}

/// A named pipe, `$FIFO`, between a test and its command.
struct Fifo {
    _dir: TempDir,
    path: PathBuf,
    file: File,
}

impl Fifo {
    fn new() -> Fifo {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a fifo");
        // Open at both ends: nobody waits for the other side to come.
        let file = File::options().read(true).write(true).open(&path).expect("a fifo");
        Fifo { _dir: dir, path, file }
    }

    fn task(&self, token: u64) -> Task {
        Task { token, ..with_path("FIFO", &self.path) }
    }

    /// Waits until the command says `line` there.
    fn expect(&mut self, runner: &mut Runner, line: &str) {
        assert_eq!(runner.wait(LONG, &[self.file.as_fd()]).expect("poll works"), []);
        let mut said = vec![0; line.len()];
        self.file.read_exact(&mut said).expect("a fifo");
        assert_eq!(said, line.as_bytes());
    }
}

#[test]
fn every_row_of_the_verdict_table() {
    let failed = |how: &str| Verdict::Failed { how: how.to_owned() };
    let dead = |reason: &str| Verdict::DeadLetter { reason: reason.to_owned() };
    let cannot = |why: &str| Verdict::CannotStart { why: why.to_owned() };
    let rows = [
        ("exit 0", Verdict::Acked),
        ("echo note >&2; exit 0", Verdict::Acked),
        ("exit 75", Verdict::GivenBack),
        ("echo first >&2; echo why >&2; echo >&2; exit 65", dead("why")),
        ("exit 65", dead("exited with 65")),
        ("exit 100", Verdict::AckedAndStop),
        ("exit 1", failed("exited with 1")),
        ("printf oops >&2; exit 255", failed("exited with 255: oops")),
        ("kill -KILL $$", failed("died of SIGKILL")),
        ("echo bad >&2; kill -TERM $$", failed("died of SIGTERM: bad")),
        ("exit 126", cannot("sh exited with 126")),
        ("echo 'x: not found' >&2; exit 127", cannot("sh exited with 127: x: not found")),
    ];
    for (script, verdict) in rows {
        assert_eq!(verdict_of(script), verdict, "{script}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_told_with_its_token() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing");
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").expect("a file");
    std::fs::set_permissions(&plain, Permissions::from_mode(0o600)).expect("our file");
    for (path, words) in [(&missing, "no such file or directory"), (&plain, "permission denied")] {
        let mut runner = silent(vec![path.into()], 1);
        runner.start(Task { token: 7, ..Task::default() });
        assert_eq!((runner.running(), runner.is_full()), (1, true));
        let why = format!("cannot start {}: {words}", path.display());
        let finished = Finished { token: 7, verdict: Verdict::CannotStart { why } };
        assert_eq!(runner.wait(LONG, &[]).expect("poll works"), [finished]);
        assert_eq!((runner.running(), runner.is_full()), (0, false));
    }
}

#[test]
fn the_value_is_on_stdin_byte_by_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let large: Vec<u8> = (0..10_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for value in [Vec::new(), b"a\0b\n".to_vec(), large] {
        let mut runner = shell("cat > \"$OUT\"");
        runner.start(Task { stdin: value.clone(), ..with_path("OUT", &out) });
        assert_eq!(next(&mut runner), Verdict::Acked);
        assert!(std::fs::read(&out).expect("the command wrote it") == value, "{} bytes", value.len());
    }
}

#[test]
fn a_command_need_not_read_its_stdin() {
    for script in ["exit 0", "exec <&-", "test $(head -c 1) = x"] {
        let mut runner = shell(script);
        runner.start(Task { stdin: vec![b'x'; 10_000_000], ..Task::default() });
        assert_eq!(next(&mut runner), Verdict::Acked, "{script}");
    }
}

/// What a command finds in its environment, of what begins with DRAVE.
fn seen_with(mut environment: Vec<(OsString, OsString)>) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    environment.push(("OUT".into(), (&out).into()));
    let mut runner = shell("env -0 > \"$OUT\"");
    runner.start(Task { environment, ..Task::default() });
    assert_eq!(next(&mut runner), Verdict::Acked);
    let all = std::fs::read(&out).expect("the command wrote it");
    let all = all.split(|byte| *byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned());
    let mut ours: Vec<String> = all.filter(|variable| variable.starts_with("DRAVE_")).collect();
    ours.sort();
    ours
}

#[test]
fn the_record_is_in_the_environment() {
    let headers: [(&[u8], &[u8]); 3] = [(b"content-type", b"a\n=b"), (b"x=\0y", b""), (b"nul", b"\0")];
    let seen = seen_with(environment("orders", 42, "1700-3", Some(b"k 1"), 2, headers.into_iter()));
    let expected = [
        "DRAVE_ATTEMPT=2",
        "DRAVE_H_CONTENT_TYPE=a\n=b",
        "DRAVE_H_X__Y=",
        "DRAVE_ID=1700-3",
        "DRAVE_KEY=k 1",
        "DRAVE_OFFSET=42",
        "DRAVE_TOPIC=orders",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_variable_is_held_up_to_the_last_byte_that_the_system_takes() {
    let longest = vec![b'x'; (128 << 10) - "DRAVE_H_A=\0".len()];
    let longer = vec![b'y'; longest.len() + 1];
    let headers = [(b"a".as_slice(), longer.as_slice()), (b"a", &longest), (b"b", &longer)];
    let seen = seen_with(environment("t", 0, "1-0", None, 1, headers.into_iter()));
    let of_headers: Vec<&String> = seen.iter().filter(|variable| variable.starts_with("DRAVE_H_")).collect();
    assert_eq!(of_headers.len(), 1);
    assert_eq!(of_headers[0].trim_end_matches('x'), "DRAVE_H_A=");
    assert_eq!(of_headers[0].len(), "DRAVE_H_A=".len() + longest.len());
}

#[test]
fn more_than_the_system_takes_at_once_is_left_out_and_the_command_runs() {
    let (value, few) = ([b'x'; 100_000], b"few".as_slice());
    let names: Vec<String> = (0..100).map(|n| format!("large{n}")).collect();
    let large = names.iter().map(|name| (name.as_bytes(), value.as_slice()));
    let all = environment("t", 0, "1-0", Some(b"k"), 1, large.chain([(b"small".as_slice(), few)]));
    let seen = seen_with(all);
    for name in ["DRAVE_TOPIC=t", "DRAVE_KEY=k", "DRAVE_H_SMALL=few"] {
        assert!(seen.iter().any(|variable| variable == name), "{name}");
    }
}

#[test]
fn what_tells_of_another_record_is_not_handed_down() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = "CARGO_MANIFEST_DIR";
    assert!(std::env::var_os(name).is_some(), "cargo sets it");
    for (hidden, verdict) in [(vec![], Verdict::Acked), (vec![name.into()], Verdict::GivenBack)] {
        let mut runner = shell("env | grep -q ^CARGO_MANIFEST_DIR= || exit 75");
        runner.hidden = hidden;
        runner.start(with_path("OUT", dir.path()));
        assert_eq!(next(&mut runner), verdict);
    }
}

#[test]
fn as_many_run_as_may_and_each_end_makes_room() {
    let mut runner = shells("read -r line < \"$FIFO\" && exit \"$line\"", 3);
    let mut fifos: Vec<Fifo> = (0..5).map(|_| Fifo::new()).collect();
    let mut started = 0;
    let mut fill = |runner: &mut Runner, fifos: &[Fifo]| {
        while !runner.is_full() && started < fifos.len() {
            runner.start(fifos[started].task(started as u64));
            started += 1;
        }
        (runner.running(), started)
    };
    assert_eq!(fill(&mut runner, &fifos), (3, 3));
    // Not in the order in which they were started.
    for (nth, (token, after)) in [(1, (3, 4)), (3, (3, 5)), (0, (2, 5)), (4, (1, 5)), (2, (0, 5))].into_iter().enumerate() {
        assert_eq!(runner.wait(Duration::ZERO, &[]).expect("poll works"), []);
        writeln!(fifos[token].file, "{}", 200 + nth).expect("a fifo");
        let verdict = Verdict::Failed { how: format!("exited with {}", 200 + nth) };
        assert_eq!(runner.wait(LONG, &[]).expect("poll works"), [Finished { token: token as u64, verdict }]);
        assert_eq!(fill(&mut runner, &fifos), after);
    }
}

#[test]
fn a_waker_ends_the_wait_whether_or_not_something_runs() {
    let mut fifo = Fifo::new();
    let waker = eventfd(1, EventfdFlags::CLOEXEC).expect("an eventfd");
    let mut runner = shell("read -r line < \"$FIFO\"");
    assert_eq!(runner.wait(LONG, &[waker.as_fd()]).expect("poll works"), []);
    runner.start(fifo.task(0));
    let start = Instant::now();
    assert_eq!(runner.wait(LONG, &[fifo.file.as_fd(), waker.as_fd()]).expect("poll works"), []);
    assert!(start.elapsed() < LONG, "it was the waker");
    assert_eq!(runner.running(), 1);
    fifo.file.write_all(b"go\n").expect("a fifo");
    assert_eq!(next(&mut runner), Verdict::Acked);
}

#[test]
fn a_command_leads_a_group_and_has_sigpipe() {
    let group = "read -r _ _ _ _ group _ < /proc/$$/stat; test \"$group\" = $$";
    assert_eq!(verdict_of(group), Verdict::Acked);
    assert_eq!(verdict_of("kill -PIPE $$"), Verdict::Failed { how: "died of SIGPIPE".to_owned() });
}

/// The tests share one process; what leaks is seen only in one that does nothing else.
const ALONE: &str = "DRAVE_TEST_ALONE";

fn run_all(runner: &mut Runner, count: u64) {
    let (mut started, mut acked) = (0, 0);
    while acked < count {
        while !runner.is_full() && started < count {
            runner.start(Task { token: started, stdin: b"x".to_vec(), ..Task::default() });
            started += 1;
        }
        for finished in runner.wait(LONG, &[]).expect("poll works") {
            assert_eq!(finished.verdict, Verdict::Acked);
            acked += 1;
        }
    }
}

#[test]
fn a_thousand_runs_leave_nothing_behind() {
    let name = "cli::consume::exec::tests::a_thousand_runs_leave_nothing_behind";
    if std::env::var_os(ALONE).is_none() {
        let mut again = Command::new(std::env::current_exe().expect("a test"));
        again.args(["--exact", name]).env(ALONE, "1").stdout(Stdio::piped());
        let output = again.output().expect("a test");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
    let before = descriptors();
    let mut runner = silent(words(&["true"]), 4);
    run_all(&mut runner, 1000);
    drop(runner);
    assert_eq!(descriptors(), before);
    let children = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    assert_eq!(children.expect_err("there are none"), rustix::io::Errno::CHILD);
}

#[test]
#[ignore = "a measurement: for a machine that does nothing else"]
fn runs_are_about_as_fast_as_those_of_xargs() {
    const COUNT: u64 = 3000;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        run_all(&mut silent(words(&["true"]), 2), COUNT);
        ours.push(start.elapsed());
        let start = Instant::now();
        let xargs = format!("seq {COUNT} | xargs -P 2 -n 1 true");
        assert!(Command::new("sh").args(["-c", &xargs]).status().expect("xargs").success());
        theirs.push(start.elapsed());
    }
    ours.sort();
    theirs.sort();
    let ratio = theirs[2].as_secs_f64() / ours[2].as_secs_f64();
    crate::cli::exit::say(&format!("{ratio:.2} times the runs/s of xargs; ours {ours:?}, theirs {theirs:?}"));
    assert!(ratio >= 0.9, "{ratio:.2} times the runs/s of xargs");
}
