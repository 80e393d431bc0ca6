//! How fast a compaction goes, and when it ends early.

use std::time::{Duration, Instant};

use crate::disk::Dir;
use crate::error::Error;
use crate::job::Job;
use crate::log::head::Head;

/// So often it is looked at the clock, and at who waits.
const STEP_BYTES: u64 = 1 << 20;
/// So long at most is slept at a time.
const NAP: Duration = Duration::from_millis(20);

/// Why a compaction ends early.
#[derive(Debug)]
pub(super) enum Cut {
    /// Somebody waits for the lock.
    Wanted,
    Error(Error),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Cut {
        Cut::Error(error)
    }
}

pub(super) type Result<T> = std::result::Result<T, Cut>;

/// Counts what is read.
pub(super) struct Pace<'a> {
    job: &'a Job,
    dir: &'a Dir,
    head: &'a Head,
    /// What the page said when the lock was taken; `None` = whoever waits has to go on waiting.
    wanted: Option<u64>,
    bytes_per_second: Option<u64>,
    began: Instant,
    bytes: u64,
    untold: u64,
    step_bytes: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(job: &'a Job, dir: &'a Dir, head: &'a Head, heeds: bool, bytes_per_second: Option<u64>) -> Pace<'a> {
        let wanted = heeds.then(|| head.maintenance_wanted());
        // A slow one does not read for long before it rests.
        let step_bytes = bytes_per_second.map_or(STEP_BYTES, |rate| (rate / 16).clamp(1, STEP_BYTES));
        Pace { job, dir, head, wanted, bytes_per_second, began: Instant::now(), bytes: 0, untold: 0, step_bytes }
    }

    pub(super) fn spend(&mut self, bytes: u64) -> Result<()> {
        self.untold += bytes;
        if self.untold < self.step_bytes { Ok(()) } else { self.check() }
    }

    pub(super) fn check(&mut self) -> Result<()> {
        self.job.advance(self.untold);
        self.bytes += std::mem::take(&mut self.untold);
        loop {
            self.job.check()?;
            if self.wanted.is_some_and(|wanted| wanted != self.head.maintenance_wanted()) {
                return Err(Cut::Wanted);
            }
            let Some(rate) = self.bytes_per_second else { return Ok(()) };
            let due = Duration::from_secs_f64(self.bytes as f64 / rate.max(1) as f64);
            let early = due.saturating_sub(self.began.elapsed());
            if early.is_zero() {
                return Ok(());
            }
            self.dir.pause(early.min(NAP));
        }
    }
}
