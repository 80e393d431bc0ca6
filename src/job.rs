//! What a long piece of work is told from outside: stop, a time limit; and what it tells: progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Handed down by value to whatever may take long or wait. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Job(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    deadline: Option<Instant>,
    patience: Option<Duration>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Job {
    /// Work without a time limit.
    #[must_use]
    pub fn new() -> Job {
        Job::default()
    }

    /// Work that must be over `limit` from now; `None` = no limit.
    #[must_use]
    pub fn with_limit(limit: Option<Duration>) -> Job {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        Job(Arc::new(State { deadline, ..State::default() }))
    }

    /// Work on a thread that others wait for: it gives up with [`Error::Busy`] when somebody holds a lock
    /// for longer than `patience`, and leaves repairs to others.
    #[must_use]
    pub fn with_patience(patience: Duration) -> Job {
        Job(Arc::new(State { patience: Some(patience), ..State::default() }))
    }

    /// How long each lock is waited for at most; `None` = as long as is usual.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.0.patience
    }

    /// Asks the work to end at its next safe place.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }

    /// Whether somebody called [`Job::stop`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    /// Whether the time limit has run out.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.0.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// `wait`, cut short to what is left of the time limit.
    #[must_use]
    pub fn at_most(&self, wait: Duration) -> Duration {
        match self.0.deadline {
            Some(deadline) => wait.min(deadline.saturating_duration_since(Instant::now())),
            None => wait,
        }
    }

    /// An error when the work should end now.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_stopped() {
            Err(Error::Stopped)
        } else if self.is_late() {
            Err(Error::TimedOut)
        } else {
            Ok(())
        }
    }

    /// Says how much there is to do, in bytes.
    pub fn expect_bytes(&self, total: u64) {
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Says that `bytes` more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes done, and bytes in all (0 = unknown).
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.0.done.load(Ordering::Relaxed), self.0.total.load(Ordering::Relaxed))
    }
}
