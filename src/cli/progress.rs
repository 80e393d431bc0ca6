//! A progress bar on stderr. The only file that may name `indicatif`.

use std::io::IsTerminal as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use drave::job::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over sooner needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// The style for a total that is known, and for one that is not.
type Style = fn(bool) -> ProgressStyle;

/// Shows what a job says of its progress, until it is dropped.
pub(crate) struct Bar {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Begins to watch `job`, if `wanted` and stderr is a terminal. Nothing is shown in the first second.
    pub(crate) fn start(job: &Job, wanted: bool) -> Option<Bar> {
        Bar::with_style(job, wanted, style)
    }

    /// As [`Bar::start`], for a job that counts records where others count bytes.
    pub(crate) fn counting_records(job: &Job, wanted: bool) -> Option<Bar> {
        Bar::with_style(job, wanted, style_of_records)
    }

    fn with_style(job: &Job, wanted: bool, style: Style) -> Option<Bar> {
        if !wanted || !std::io::stderr().is_terminal() {
            return None;
        }
        let (end, ended) = channel();
        let job = job.clone();
        // Without a thread there is no bar, and the job is done all the same.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || watch(&job, &ended, style)).ok()?;
        Some(Bar { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            // A bar that broke is no reason to fail.
            let _ = thread.join();
        }
    }
}

fn watch(job: &Job, ended: &Receiver<()>, style: Style) {
    if ended.recv_timeout(SHOWN_AFTER) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // indicatif counts from here; without this the first second would count as no time at all.
    let bar = bar.with_elapsed(SHOWN_AFTER);
    let mut known = None;
    loop {
        let (done, total) = job.progress();
        if known != Some(total > 0) {
            known = Some(total > 0);
            bar.set_style(style(total > 0));
        }
        if total > 0 {
            bar.set_length(total.max(done));
        }
        bar.set_position(done);
        bar.tick();
        if ended.recv_timeout(REDRAWN_EVERY) != Err(RecvTimeoutError::Timeout) {
            bar.finish_and_clear();
            return;
        }
    }
}

fn style(total_known: bool) -> ProgressStyle {
    styled(if total_known {
        "{bytes} of {total_bytes} [{wide_bar}] {percent}% {bytes_per_sec}, {eta} left"
    } else {
        "{spinner} {bytes} in {elapsed}, {bytes_per_sec}"
    })
}

fn style_of_records(total_known: bool) -> ProgressStyle {
    styled(if total_known {
        "{human_pos} of {human_len} records [{wide_bar}] {percent}% {per_sec}, {eta} left"
    } else {
        "{spinner} {human_pos} records in {elapsed}, {per_sec}"
    })
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
