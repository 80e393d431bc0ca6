//! How long does a line take from the stdin of a running `publish` to the stdout of a running
//! `tail -f`? At `none`, one line each 500 us, both processes' pipes held here. Beside it, `cat | cat`.

use std::io::{BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod common;

const EVERY: Duration = Duration::from_micros(500);

fn main() -> std::io::Result<()> {
    let lines = if common::is_quick() { 200 } else { 10_000 };
    let dir = common::directory();
    drop(common::store(dir.path(), "none"));
    let drave = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drave"));
        command.arg("--store").arg(dir.path()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn()
    };
    let mut tail = drave(&["tail", "-n", "0", "-f", "t"])?;
    let mut publish = drave(&["publish", "t"])?;
    let mut input = publish.stdin.take().expect("piped");
    let mut output = BufReader::new(tail.stdout.take().expect("piped"));
    wait_for_follower(&mut input, &mut output)?;
    report("publish, tail -f", lines, &mut input, &mut output)?;
    tail.kill()?;
    drop(input);
    publish.wait()?;
    tail.wait()?;

    // The limit: as many processes, and nothing but pipes between them.
    let mut cats = Command::new("sh").args(["-c", "cat | cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = cats.stdin.take().expect("piped");
    let mut output = BufReader::new(cats.stdout.take().expect("piped"));
    report("cat | cat", lines, &mut input, &mut output)?;
    drop(input);
    cats.wait().map(|_| ())
}

/// Sends a line each half millisecond, and says how long they took until they came out.
fn report(name: &str, lines: usize, input: &mut impl std::io::Write, output: &mut impl std::io::BufRead) -> std::io::Result<()> {
    let mut took: Vec<Duration> = Vec::with_capacity(lines);
    let mut line = String::new();
    // The first lines find the follower still starting up, or a page cold; they are not counted.
    let warm_up = 20;
    let mut due = Instant::now();
    for index in 0..lines + warm_up {
        while Instant::now() < due {
            std::thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_micros(60)));
            std::hint::spin_loop();
        }
        due += EVERY;
        let text = format!("{index:0100}\n");
        let began = Instant::now();
        input.write_all(text.as_bytes())?;
        line.clear();
        output.read_line(&mut line)?;
        assert_eq!(line, text, "the line that was written comes out");
        if index >= warm_up {
            took.push(began.elapsed());
        }
    }
    took.sort_unstable();
    let at = |percent: f64| took[((took.len() - 1) as f64 * percent / 100.0) as usize].as_secs_f64() * 1e6;
    let times = format!("p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us", at(50.0), at(99.0), at(99.9));
    writeln!(std::io::stdout(), "line to line, {name}, n = {lines}: {times}")
}

/// `tail -n 0` shows what comes after it has looked: lines are sent until one comes through.
fn wait_for_follower(input: &mut impl std::io::Write, output: &mut (impl std::io::BufRead + Send)) -> std::io::Result<()> {
    let seen = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut line = String::new();
            while output.read_line(&mut line)? > 0 {
                seen.store(true, std::sync::atomic::Ordering::SeqCst);
                if line.ends_with("last\n") {
                    return Ok(());
                }
                line.clear();
            }
            Err(std::io::Error::other("tail ended"))
        });
        while !seen.load(std::sync::atomic::Ordering::SeqCst) {
            input.write_all(b"first\n")?;
            std::thread::sleep(Duration::from_millis(5));
        }
        input.write_all(b"last\n")?;
        reader.join().expect("the reader does not panic")
    })
}
