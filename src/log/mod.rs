//! One topic's log: a directory of segments and a shared page, appended to by many processes.
//!
//! What it promises: a record that was acknowledged is there, at its level; nothing at or below the
//! log end is ever overwritten or cut; every byte that is handed out has had its checksum verified.
//! It knows no topic names and no settings files: its options come from above.
//!
//! Lock order: maintenance, append, sync. Each has a mutex before it, since threads share locks.
//!
//! | file | job |
//! |---|---|
//! | `head`, `slot` | the shared page: its layout, and who may believe it |
//! | `locks` | taking the locks, with a limit |
//! | `segment` | segment files, their headers, the set of them |
//! | `index`, `index_cache` | the sparse index of a segment; what a reader knows of it |
//! | `walk` | from frame to frame, over rubbish |
//! | `open` | opening a log, or making one |
//! | `survey` | what the files say when nobody can be asked |
//! | `recover` | making a log of them again |
//! | `append`, `sync`, `trim` | what writers do |
//! | `active` | the segment that is appended to |
//! | `repair` | after a failed sync |
//! | `read`, `step`, `window`, `opened`, `find` | what readers do |
//! | `origins` | who sent which record |
//! | `deletions`, `deleted` | deleting single records, and which are deleted |
//! | `retain` | which segments retention lets go |
//! | `compact/`, `compacted` | keeping the newest record of each key; counting what is left |
//! | `memory` | what both remember from one run to the next |
//! | `bell` | waking those who wait for many logs |
//! | `inspect` | looking at files, whatever state they are in |
//! | `verify`, `sweep` | reading and checking every byte |
//! | `mend`, `rewrite` | making a damaged log whole again |
//! | `capture`, `establish` | what a copy of a log has to hold; making a log of a copy |

mod active;
mod append;
mod bell;
mod capture;
mod compact;
mod compacted;
mod deleted;
mod deletions;
mod establish;
mod find;
mod head;
mod index;
mod index_cache;
pub mod inspect;
mod locks;
mod memory;
mod mend;
mod open;
mod opened;
mod origins;
mod read;
mod recover;
mod repair;
mod retain;
mod rewrite;
mod segment;
mod slot;
mod step;
mod survey;
mod sweep;
mod sync;
#[cfg(test)]
mod testing;
mod trim;
mod verify;
mod walk;
mod window;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Dir, PAGE_BYTES};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, Place};
use crate::job::Job;

pub use append::Appended;
pub use bell::Bell;
pub use capture::Copied;
pub use compact::{CompactedLog, Compaction};
pub use compacted::LiveCounter;
pub use deleted::Deleted;
pub use deletions::{DELETED, DeletedNow};
pub use establish::{check_segment, establish};
#[cfg(test)]
pub(crate) use head::INODE_WORDS_AT;
pub use head::{HEAD, announce_settings};
pub use mend::Mended;
pub use open::{Mode, Opening};
pub use origins::OriginReader;
pub use read::LogReader;
pub use recover::Recovered;
pub use retain::{Expired, Retention};
pub use step::{GapReason, LogGap, Step};
pub use trim::TrimmedLog;
pub use verify::{Finding, Severity, Verified, verify};

use active::Appender;
use compacted::Counted;
use deletions::Deletions;
use head::Head;
use survey::Survey;
use sync::Syncer;

/// What the log needs to know of a topic's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether readers see only what is durable.
    pub read_durable: bool,
    /// A segment that would grow beyond this is sealed.
    pub segment_bytes: u64,
    /// A segment older than this is sealed.
    pub segment_age: Duration,
    /// A segment whose records have origins stays so long, also when all of them are trimmed.
    pub origin_age: Duration,
}

/// An open log. Threads may share it.
#[derive(Debug)]
pub struct Log {
    /// The directories above, nearest first: a new log's name is durable once they are synced.
    parents: Vec<Arc<Dir>>,
    name: Vec<u8>,
    dir: Dir,
    clock: Clock,
    options: RwLock<LogOptions>,
    bell: Option<Arc<Bell>>,
    /// Kept here, since the page may be lost.
    incarnation: Incarnation,
    state: State,
    maintain: Mutex<()>,
    append: Mutex<Appender>,
    sync: Mutex<Syncer>,
    deletions: Deletions,
    counted: Counted,
}

/// Where a log's state is known from.
#[derive(Debug)]
enum State {
    /// The shared page, which is believed.
    Live(Head),
    /// A walk over the files, by a reader that found no believable page and may not make one.
    Walked(Box<Survey>),
}

impl Log {
    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Takes new options, from the next call on.
    pub fn set_options(&self, options: LogOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    fn options(&self) -> LogOptions {
        self.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn head(&self) -> Result<&Head> {
        match &self.state {
            State::Live(head) => Ok(head),
            State::Walked(_) => Err(Error::Unsupported { what: format!("{} was opened for reading", self.path().display()) }),
        }
    }

    /// The shared page, if it is the source of this log's state.
    fn live(&self) -> Option<&Head> {
        match &self.state {
            State::Live(head) => Some(head),
            State::Walked(_) => None,
        }
    }

    /// Whether this log's state is a walk over the files: it does not move, and a reader that
    /// follows has to open the log anew to see more.
    #[must_use]
    pub fn is_still(&self) -> bool {
        matches!(self.state, State::Walked(_))
    }

    /// Bytes behind the end of a log that was walked over: nothing tells that anybody was promised
    /// them.
    #[must_use]
    pub fn bytes_torn(&self) -> u64 {
        match &self.state {
            State::Live(_) => 0,
            State::Walked(survey) => survey.torn_bytes,
        }
    }

    /// Whether a log that was walked over can be opened as a moving one by now.
    pub fn is_live_by_now(&self) -> Result<bool> {
        open::is_live(&self.dir)
    }

    /// Which life of the topic this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The next offset to be assigned.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        match &self.state {
            State::Live(head) => head.log_end(),
            State::Walked(survey) => survey.end,
        }
    }

    /// The first offset not known to be on stable storage.
    #[must_use]
    pub fn durable(&self) -> Offset {
        match &self.state {
            State::Live(head) => head.durable(),
            State::Walked(survey) => survey.durable.min(survey.end),
        }
    }

    /// The first offset kept.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        match &self.state {
            State::Live(head) => head.log_start(),
            State::Walked(survey) => survey.log_start,
        }
    }

    /// The epoch of the log end.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match &self.state {
            State::Live(head) => head.epoch(),
            State::Walked(survey) => survey.epoch,
        }
    }

    /// What [`crate::log::Log::sync_to`] has to cover for all that is written now.
    #[must_use]
    pub fn end_place(&self) -> Place {
        // In this order: a repair in between makes the place one of the past, never of the future.
        let epoch = self.epoch();
        Place { offset: self.log_end(), epoch }
    }

    /// The first offset a reader may not see.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        let read_durable = self.options.read().unwrap_or_else(PoisonError::into_inner).read_durable;
        match &self.state {
            State::Live(head) if read_durable => head.durable().min(head.log_end()),
            // After a walk, what is in the files is what a recovery would keep.
            _ => self.log_end(),
        }
    }

    /// Up to where those read who wait for what they have read to be durable before they tell anybody: all
    /// there is. While a failed sync waits for its repair, what is in doubt is for nobody.
    #[must_use]
    pub fn visible_end(&self) -> Offset {
        if self.is_poisoned() { self.high_watermark() } else { self.log_end() }
    }

    /// Counts the changes of this topic's settings, so that processes notice.
    #[must_use]
    pub fn settings_generation(&self) -> u64 {
        self.live().map_or(0, Head::settings_generation)
    }

    /// Says that the settings were changed.
    pub fn settings_changed(&self) -> Result<()> {
        let head = self.head()?;
        head.bump_settings_generation();
        self.announce(head);
        Ok(())
    }

    /// Whether a sync failed and was not repaired yet.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.live().is_some_and(Head::is_poisoned)
    }

    /// Whether the topic was deleted, or the files at its path are others by now.
    pub fn is_gone(&self) -> Result<bool> {
        let Some(head) = self.live() else { return Ok(false) };
        Ok(head.is_gone() || !self.is_at_path(head)?)
    }

    /// Whether the topic was deleted, as far as its page tells: as cheap as can be, for who asks at every
    /// command.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.live().is_some_and(|head| head.is_gone() || head.page().is_lost())
    }

    /// Whether the file at the page's path is this page, all of it.
    fn is_at_path(&self, head: &Head) -> Result<bool> {
        let path = [&self.name[..], b"/", HEAD].concat();
        let meta = self.parents[0].stat(&path)?;
        Ok(meta.is_some_and(|meta| meta.inode == head.inode() && meta.length >= PAGE_BYTES as u64) && !head.page().is_lost())
    }

    /// Wakes whoever waits for this log to move.
    fn announce(&self, head: &Head) {
        head.tail_word().ring();
        let bells = head.bells();
        if bells != 0
            && let Some(bell) = &self.bell
        {
            bell.ring(bells);
        }
    }

    /// What to hand to [`Log::wait`]. Read it before looking for records.
    #[must_use]
    pub fn watch(&self) -> u32 {
        self.live().map_or(0, |head| head.tail_word().read())
    }

    /// Sleeps until the high watermark may have moved since `seen` was read, at most this long.
    pub fn wait(&self, seen: u32, at_most: Duration) {
        match self.live() {
            Some(head) => head.tail_word().sleep(seen, at_most),
            None => std::thread::sleep(at_most.min(Duration::from_millis(50))),
        }
    }

    /// Ends all running [`Log::wait`]s, in every process; each looks again and goes on waiting.
    pub fn wake(&self) {
        if let Some(head) = self.live() {
            head.tail_word().wake();
        }
    }

    /// Has every append ring `bell` too, for a reader of many logs.
    pub fn ring_bell(&self, bell: &Bell) {
        if let Some(head) = self.live() {
            head.add_bell(bell.own_word());
        }
    }

    /// Deletes the log: takes all locks, has `remove` take its name away, and tells every process
    /// that has it open.
    pub fn retire(&self, job: &Job, remove: impl FnOnce() -> Result<()>) -> Result<()> {
        self.exclusively(job, || {
            remove()?;
            self.head()?.set_gone();
            Ok(())
        })
    }

    /// Takes all locks for `change`, which nobody else's change runs beside. Everybody who has the log
    /// open looks afterwards whether it is still at its path; this process does so before it appends.
    pub fn exclusively(&self, job: &Job, change: impl FnOnce() -> Result<()>) -> Result<()> {
        let head = self.head()?;
        let _maintain = locks::take_mutex(&self.maintain, locks::MAINTENANCE, self, job)?;
        let _maintaining = locks::take(head, locks::MAINTENANCE, self, job)?;
        let mut appender = locks::take_mutex(&self.append, locks::APPEND, self, job)?;
        let _appending = locks::take(head, locks::APPEND, self, job)?;
        let _sync = self.sync_mutex();
        let _syncing = self.hold_sync(head, job)?;
        self.check_in_force()?;
        appender.forget_path();
        change()?;
        head.durable_word().ring();
        self.announce(head);
        Ok(())
    }
}

/// A mutex whose holder panicked protects nothing that the shared page does not say better.
fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
