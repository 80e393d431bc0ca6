//! Taking the locks of a log, with a limit.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::head::{self, Head};
use super::{Log, lock_mutex};
use crate::disk::LockKind;
use crate::error::{Error, Result};
use crate::job::Job;

/// How long a lock is waited for. Scripts rather fail than hang; an append takes microseconds, a
/// sync on a bad day a second.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Sleeps between tries end early when the lock is given back; when its holder died nobody says so,
/// and this is how long it takes to notice.
const NOTICE_DEATH: Duration = Duration::from_millis(10);

/// Who has little patience looks this often whether another thread has given a mutex back.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Which lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub(super) byte: u64,
    what: &'static str,
    word_at: Option<usize>,
    holder_at: usize,
}

pub(super) const APPEND: Lock = Lock {
    byte: head::APPEND_BYTE,
    what: "the append lock",
    word_at: Some(head::APPEND_WORD_AT),
    holder_at: head::APPEND_HOLDER_AT,
};
pub(super) const SYNC: Lock =
    Lock { byte: head::SYNC_BYTE, what: "the sync lock", word_at: None, holder_at: head::SYNC_HOLDER_AT };
pub(super) const MAINTENANCE: Lock = Lock {
    byte: head::MAINTENANCE_BYTE,
    what: "the maintenance lock",
    word_at: Some(head::MAINTENANCE_WORD_AT),
    holder_at: head::MAINTENANCE_HOLDER_AT,
};

/// A lock that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    head: &'a Head,
    lock: Lock,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.head.page().store(self.lock.holder_at, 0);
        // Unlocking fails only for a descriptor that is not open.
        let _ = self.head.file().unlock(self.lock.byte);
        if let Some(at) = self.lock.word_at {
            self.head.page().word(at).ring();
        }
    }
}

pub(super) fn try_take<'a>(head: &'a Head, lock: Lock) -> Result<Option<Held<'a>>> {
    if !head.file().try_lock(lock.byte, LockKind::Exclusive)? {
        return Ok(None);
    }
    head.page().store(lock.holder_at, u64::from(std::process::id()));
    Ok(Some(Held { head, lock }))
}

/// The lock of maintenance and the mutex before it.
pub(super) type Maintaining<'a> = (Held<'a>, MutexGuard<'a, ()>);

impl Log {
    /// Takes the lock of maintenance, if it is free.
    pub(super) fn try_maintain<'a>(&'a self, head: &'a Head) -> Result<Maintaining<'a>> {
        let refused = || busy(head, MAINTENANCE, self, Duration::ZERO);
        let mutex = match self.maintain.try_lock() {
            Ok(mutex) => mutex,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(refused()),
        };
        let held = try_take(head, MAINTENANCE)?.ok_or_else(refused)?;
        Ok((held, mutex))
    }

    /// Takes the lock of maintenance once it is free.
    pub(super) fn maintain<'a>(&'a self, head: &'a Head, job: &Job) -> Result<Maintaining<'a>> {
        let mutex = take_mutex(&self.maintain, MAINTENANCE, self, job)?;
        Ok((take(head, MAINTENANCE, self, job)?, mutex))
    }
}

pub(super) fn take<'a>(head: &'a Head, lock: Lock, log: &Log, job: &Job) -> Result<Held<'a>> {
    if let Some(held) = try_take(head, lock)? {
        return Ok(held);
    }
    let began = Instant::now();
    let limit = job.patience().map_or(LIMIT, |patience| patience.min(LIMIT));
    loop {
        let word = head.page().word(lock.word_at.unwrap_or(head::APPEND_WORD_AT));
        let seen = word.read();
        if let Some(held) = try_take(head, lock)? {
            return Ok(held);
        }
        let waited = began.elapsed();
        if waited >= limit {
            return Err(busy(head, lock, log, waited));
        }
        if job.is_late() {
            return Err(Error::TimedOut);
        }
        if lock.byte == MAINTENANCE.byte {
            // Long work lets others go first.
            head.want_maintenance();
        }
        word.sleep(seen, job.at_most(NOTICE_DEATH.min(limit.saturating_sub(waited))));
    }
}

/// Takes the mutex that comes before `lock` among the threads of this process. One of them may hold it
/// for as long as it waits for the lock, or syncs under it.
pub(super) fn take_mutex<'a, T>(mutex: &'a Mutex<T>, lock: Lock, log: &Log, job: &Job) -> Result<MutexGuard<'a, T>> {
    let Some(patience) = job.patience() else { return Ok(lock_mutex(mutex)) };
    let began = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                return Err(busy(log.head()?, lock, log, began.elapsed()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Whoever holds the lock has done so for too long.
pub(super) fn busy(head: &Head, lock: Lock, log: &Log, waited: Duration) -> Error {
    let holder = u32::try_from(head.page().load(lock.holder_at)).ok().filter(|pid| *pid != 0);
    Error::Busy { what: lock.what, path: log.path().to_owned(), holder, waited }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{make, open};
    use super::*;

    #[test]
    fn work_of_little_patience_gives_up_on_a_lock_and_on_the_mutex_before_it() {
        let place = tempfile::tempdir().expect("a directory");
        let above = make(place.path());
        let (one, other) = (open(&above), open(&above));
        let hasty = Job::with_patience(Duration::from_millis(2));
        let refused = |log: &Log| {
            let began = Instant::now();
            let refused = log.mark(&hasty);
            assert!(matches!(refused, Err(Error::Busy { what: "the append lock", .. })), "{refused:?}");
            assert!(began.elapsed() < LIMIT / 2);
        };
        {
            let _held = take(one.head().expect("live"), APPEND, &one, &Job::new()).expect("free");
            refused(&other);
        }
        {
            let _own = lock_mutex(&other.append);
            std::thread::scope(|scope| scope.spawn(|| refused(&other)).join().expect("refused"));
        }
        other.mark(&hasty).expect("nobody has it");
    }
}
