//! Group commit, across threads and processes: one leader syncs for all who wait.

use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

use super::append::RECOVERIES_MAX;
use super::head::{Head, Poison};
use super::locks::{self, APPEND, Held, SYNC};
use super::segment;
use super::{Log, lock_mutex};
use crate::codec::segment::file_name;
use crate::disk::{Access, File};
use crate::error::{Error, Result};
use crate::ids::{Offset, Place};
use crate::job::Job;

/// How long a follower waits for the leader before it tries to be one. Longer than any sync on a
/// healthy disk; it matters only when a leader died, or could not see our records any more.
const LEADER_LIMIT: Duration = Duration::from_millis(10);

/// What this process keeps open for syncing.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    active: Option<(Offset, Arc<File>)>,
}

impl Log {
    /// Waits until everything below `target` is on stable storage.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when a sync failed, here or in another process, whose records these may
    /// be, or when the repair after it has lost them; the system's error for the one whose sync it
    /// was; [`Error::Busy`] when another process holds the sync lock for longer than the limit.
    pub fn sync_to(&self, target: Place, job: &Job) -> Result<()> {
        let head = self.head()?;
        // Counts from the last time that anything became durable: a slow disk is not a stuck one.
        let mut moved = (head.durable(), Instant::now());
        let mut recoveries = 0;
        loop {
            let word = head.durable_word();
            let seen = word.read();
            let is_durable = head.durable() >= target.offset;
            // A repair names its epoch before it moves the durable offset. If it has lost records,
            // these offsets are used again, and what is durable now may be somebody else's.
            if head.epoch() != target.epoch && self.clamp(target)? < target.offset {
                return Err(Error::Poisoned { path: self.path().to_owned() });
            }
            if is_durable {
                return Ok(());
            }
            if head.is_gone() {
                return Err(Error::TopicGone { path: self.path().to_owned() });
            }
            if head.is_poisoned() {
                if !head.has_syncer_died() {
                    return Err(Error::Poisoned { path: self.path().to_owned() });
                }
                // Nobody was told that a sync failed. What is in doubt is rewritten as the next append
                // would do it, so that a publish does not fail of another publisher's death.
                self.heal(head, job)?;
            } else if !self.try_lead(head)? {
                if job.is_late() {
                    return Err(Error::TimedOut);
                }
                if head.durable() != moved.0 {
                    moved = (head.durable(), Instant::now());
                } else if moved.1.elapsed() >= locks::LIMIT {
                    return Err(locks::busy(head, SYNC, self, moved.1.elapsed()));
                }
                word.sleep(seen, job.at_most(LEADER_LIMIT));
            } else if head.durable() < target.offset && !head.is_poisoned() {
                // All is synced that the page knows of, and it does not know of what it was told.
                if recoveries == RECOVERIES_MAX {
                    return Err(self.astray("its end is before what was appended"));
                }
                recoveries += 1;
                self.settle_astray(job)?;
            }
        }
    }

    /// Repairs like the next append.
    fn heal(&self, head: &Head, job: &Job) -> Result<()> {
        let healed = {
            let mut appender = lock_mutex(&self.append);
            let _held = locks::take(head, APPEND, self, job)?;
            self.check_in_force()?;
            self.repair(head, &mut appender, job)
        };
        match healed {
            Err(Error::Astray { .. }) => self.recover_in_place(job),
            other => other,
        }
    }

    /// Syncs everything that is written, for all who wait; `false` when somebody else is at it.
    fn try_lead(&self, head: &Head) -> Result<bool> {
        let mut syncer = match self.sync.try_lock() {
            Ok(syncer) => syncer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        let Some(_held) = locks::try_take(head, SYNC)? else { return Ok(false) };
        self.sync_locked(head, &mut syncer)?;
        Ok(true)
    }

    /// Under the sync lock.
    fn sync_locked(&self, head: &Head, syncer: &mut Syncer) -> Result<()> {
        if head.is_poisoned() || self.finds_dead_sync(head) {
            // Since the caller looked; it looks again.
            return Ok(());
        }
        self.sync_from(head, syncer, Offset::ZERO)
    }

    /// Under the sync lock: syncs what is not durable, from `start` on.
    fn sync_from(&self, head: &Head, syncer: &mut Syncer, start: Offset) -> Result<()> {
        self.sync_guarded(head, || {
            // Read once: a roll during the sync must not move what this sync is said to cover.
            let end = head.log_end();
            let durable = head.durable();
            if end > durable {
                self.sync_files(head, syncer, durable, (durable.max(start), end))?;
                head.raise_durable(end);
            }
            Ok(())
        })?;
        self.announce_durable(head);
        Ok(())
    }

    /// Under the sync lock: a sync whose failure poisons the log, and the death of this process in
    /// it as well, since nobody can know then whether it failed.
    pub(super) fn sync_guarded(&self, head: &Head, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        if head.is_poisoned() || self.finds_dead_sync(head) {
            return Err(Error::Poisoned { path: self.path().to_owned() });
        }
        head.set_syncing(u64::from(std::process::id()));
        let synced = sync();
        if synced.is_err() {
            if head.is_gone() || !self.is_at_path(head)? {
                head.set_syncing(0);
                return Err(Error::TopicGone { path: self.path().to_owned() });
            }
            head.poison(Poison::SyncFailed);
        }
        head.set_syncing(0);
        if synced.is_err() {
            self.announce_durable(head);
        }
        synced
    }

    /// Under the sync lock: whether somebody died inside a sync. It may have failed, and a second one
    /// would not tell, since the kernel reports an error once: the log is poisoned.
    fn finds_dead_sync(&self, head: &Head) -> bool {
        let is_dead = head.syncing() != 0;
        if is_dead {
            head.set_durable(head.durable_at_least());
            head.poison(Poison::SyncerDied);
            head.set_syncing(0);
            self.announce_durable(head);
        }
        is_dead
    }

    /// Before an append: if somebody died inside a sync, the append repairs what that left in doubt,
    /// and nobody who comes later is told of it.
    pub(super) fn notice_dead_sync(&self, head: &Head) -> Result<()> {
        if head.syncing() != 0
            && let Ok(_mutex) = self.sync.try_lock()
            && let Some(_held) = locks::try_take(head, SYNC)?
        {
            self.finds_dead_sync(head);
        }
        Ok(())
    }

    fn announce_durable(&self, head: &Head) {
        head.durable_word().ring();
        if self.options().read_durable {
            self.announce(head);
        }
    }

    /// Syncs what is written of the active segment, so that the next sync of it is short. Nothing is said of it.
    pub(super) fn sync_ahead(&self, head: &Head, job: &Job) -> Result<()> {
        let mut syncer = self.sync_mutex();
        let _held = self.hold_sync(head, job)?;
        self.sync_guarded(head, || self.active_file(head, &mut syncer, head.active_base())?.sync())
    }

    /// Syncs everything that is written from `start` on, below which nothing is kept: that it is the log start is
    /// durable.
    pub(super) fn sync_kept(&self, head: &Head, start: Offset, job: &Job) -> Result<()> {
        let mut syncer = self.sync_mutex();
        let _held = self.hold_sync(head, job)?;
        self.sync_from(head, &mut syncer, start)
    }

    /// Syncs every segment that holds offsets in `[from, end)`, and the names of those that were
    /// begun from `durable` on: their creator may have died before it could.
    fn sync_files(&self, head: &Head, syncer: &mut Syncer, durable: Offset, (from, end): (Offset, Offset)) -> Result<()> {
        let active = head.active_base();
        if active > from {
            let bases = segment::list(&self.dir)?;
            let first = bases.partition_point(|base| *base <= from).saturating_sub(1);
            for base in bases[first..].iter().filter(|base| **base < end && **base != active) {
                self.dir.open_file(file_name(*base).as_bytes(), Access::Read)?.sync()?;
            }
        }
        if active < end {
            let slot = head.sound_slot().filter(|slot| slot.active_base == active);
            let file = self.active_file(head, syncer, active)?;
            file.sync()?;
            // A sync of bytes that nobody can reach says nothing.
            let standing = file.standing()?;
            if !standing.has_name || slot.is_some_and(|slot| standing.length < slot.end_position) {
                return Err(self.astray("the active segment was removed or cut before it was durable"));
            }
        }
        if active >= durable {
            self.dir.sync()?;
            if durable == Offset::ZERO {
                // The topic itself may be as young as its records.
                for parent in &self.parents {
                    parent.sync()?;
                }
            }
        }
        Ok(())
    }

    fn active_file(&self, head: &Head, syncer: &mut Syncer, base: Offset) -> Result<Arc<File>> {
        let inode = head.slot().active_inode;
        if let Some((open, file)) = &syncer.active
            && *open == base
            && file.inode() == inode
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.dir.open_file(file_name(base).as_bytes(), Access::Read)?);
        syncer.active = Some((base, Arc::clone(&file)));
        Ok(file)
    }

    /// Keeps everybody else from syncing.
    pub(super) fn hold_sync<'a>(&self, head: &'a Head, job: &Job) -> Result<Held<'a>> {
        locks::take(head, SYNC, self, job)
    }

    /// Keeps the threads of this process from syncing while the lock itself is held.
    pub(super) fn sync_mutex(&self) -> std::sync::MutexGuard<'_, Syncer> {
        lock_mutex(&self.sync)
    }
}
