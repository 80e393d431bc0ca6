//! How much more do 16 long-lived publishers at `sync` get done than one, when each waits for a
//! record's receipt before it sends the next? Processes of their own, one topic.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

mod common;

fn main() -> std::io::Result<()> {
    let (rounds, span) = if common::is_quick() { (1, Duration::from_millis(200)) } else { (5, Duration::from_secs(2)) };
    let dir = common::directory();
    drop(common::store(dir.path(), "sync"));
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let one = rate(dir.path(), 1, span)?;
        let sixteen = rate(dir.path(), 16, span)?;
        ratios.push(sixteen / one);
        rates.push((one, sixteen));
    }
    ratios.sort_by(f64::total_cmp);
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (one, sixteen) = rates[rates.len() / 2];
    let report = format!(
        "receipts at sync: 1 publisher {one:.0}/s, 16 publishers {sixteen:.0}/s, median ratio {:.1}\n",
        ratios[ratios.len() / 2]
    );
    std::io::stdout().write_all(report.as_bytes())
}

fn rate(store: &std::path::Path, publishers: usize, span: Duration) -> std::io::Result<f64> {
    let mut children = Vec::new();
    for _ in 0..publishers {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drave"));
        command.arg("--store").arg(store).args(["publish", "t", "--receipts"]);
        children.push(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    }
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = children.iter_mut().map(|child| scope.spawn(|| work(child, &stop, &done))).collect();
        std::thread::sleep(span / 4);
        let before = done.load(Ordering::Relaxed);
        std::thread::sleep(span);
        let after = done.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("no panic")?;
        }
        Ok((after - before) as f64 / span.as_secs_f64())
    })
}

fn work(child: &mut Child, stop: &AtomicBool, done: &AtomicU64) -> std::io::Result<()> {
    let mut input = child.stdin.take().expect("piped");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let line = [&common::LINE[..], b"\n"].concat();
    let mut receipt = String::new();
    while !stop.load(Ordering::Relaxed) {
        input.write_all(&line)?;
        receipt.clear();
        if output.read_line(&mut receipt)? == 0 {
            return Err(std::io::Error::other("publish ended"));
        }
        assert!(receipt.ends_with("\tsync\n"), "{receipt}");
        done.fetch_add(1, Ordering::Relaxed);
    }
    drop(input);
    child.wait()?;
    Ok(())
}
