//! Snapshots that `serve` makes by itself, each so long after the one before, whoever made that.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use drave::clock::Clock;
use drave::job::Job;
use drave::store::{SnapshotOptions, Store};

use super::Result;

/// After a failure it is tried again this soon, or as soon as the next one is due; never before.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What to make, where and how often.
pub(super) struct Plan {
    pub(super) every: Duration,
    pub(super) dest: PathBuf,
    pub(super) options: SnapshotOptions,
}

/// Makes snapshots until it is dropped.
pub(super) struct Schedule {
    job: Job,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    pub(super) fn start(store: Store, plan: Plan) -> Result<Schedule> {
        let (end, ended) = channel();
        let job = Job::new();
        let own = job.clone();
        let thread = std::thread::Builder::new().name("snapshots".to_owned());
        let thread = thread.spawn(move || run(&store, &plan, &own, &ended)).context("cannot start a thread for snapshots")?;
        Ok(Schedule { job, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        // One that is being made is given up.
        self.job.stop();
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, plan: &Plan, job: &Job, ended: &Receiver<()>) {
    let mut wait = due_in(store, plan);
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = match store.snapshot(&plan.dest, &plan.options, job) {
            Ok(made) => {
                for (path, why) in &made.kept_back {
                    tracing::error!(path = %path.display(), why, "a snapshot was made, but this could not be removed");
                }
                let path = made.path.unwrap_or_default();
                tracing::info!(path = %path.display(), bytes_copied = made.bytes_copied, "made a snapshot");
                due_in(store, plan)
            }
            Err(drave::Error::Stopped) => return,
            Err(error) => {
                tracing::error!(dest = %plan.dest.display(), %error, "no snapshot was made");
                plan.every.min(AGAIN_AFTER).max(due_in(store, plan))
            }
        };
    }
}

/// How long until the newest snapshot is so old.
fn due_in(store: &Store, plan: &Plan) -> Duration {
    match store.newest_snapshot(&plan.dest, &plan.options) {
        Ok(Some(made)) => plan.every.saturating_sub(Duration::from_millis(Clock::system().now().0.saturating_sub(made.0))),
        // If it cannot be read, making one tells why.
        Ok(None) | Err(_) => Duration::ZERO,
    }
}
