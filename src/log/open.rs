//! Opening a log, and making one.

use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use super::active::Appender;
use super::compacted::Counted;
use super::deletions::Deletions;
use super::head::{self, APPEND_BYTE, HEAD, Head, MAINTENANCE_BYTE, SYNC_BYTE, Setup};
use super::locks::LIMIT;
use super::recover;
use super::segment::{Segment, random_salt};
use super::slot::Slot;
use super::survey::{self, Hint};
use super::sync::Syncer;
use super::{Bell, Log, LogOptions, State};
use crate::clock::Clock;
use crate::codec::Origins;
use crate::codec::SegmentHeader;
use crate::codec::segment::{Compacted, HEADER_BYTES};
use crate::disk::{Access, Dir, LockKind};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, RecordId};
use crate::job::Job;

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading: changes nothing, works on a read-only store and after a crash.
    Read,
    /// Writing: recovers the log first, if nobody else has.
    Write,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The topic's settings, as far as the log has to know them.
    pub options: LogOptions,
    /// The time.
    pub clock: Clock,
    /// The life that begins if this log has to be made anew.
    pub incarnation: Incarnation,
    /// The page of words for those who wait on many topics.
    pub bell: Option<Arc<Bell>>,
}

impl Log {
    /// Fills the empty directory `dir` with a log that has no records.
    pub fn create(dir: &Dir, opening: &Opening) -> Result<()> {
        let segment = Segment::create(
            dir,
            SegmentHeader {
                salt: random_salt(),
                incarnation: opening.incarnation,
                boot: dir.boot().0,
                epoch: Epoch(0),
                epoch_start: Offset::ZERO,
                base: Offset::ZERO,
                previous: None,
                log_start: Offset::ZERO,
                last_id: RecordId::ZERO,
                entries_added: 0,
                durable: Offset::ZERO,
                created: opening.clock.now(),
                origins: Origins::default(),
                compacted: Compacted::default(),
            },
        )?;
        let slot = Slot {
            log_end: Offset::ZERO,
            end_position: HEADER_BYTES as u64,
            active_base: Offset::ZERO,
            active_inode: segment.file.inode(),
            active_salt: segment.salt,
            active_created: opening.clock.now(),
            last_id: RecordId::ZERO,
            entries_added: 0,
            index_bytes: 0,
            indexed: HEADER_BYTES as u64,
        };
        let setup = Setup {
            incarnation: opening.incarnation,
            slot,
            durable: Offset::ZERO,
            log_start: Offset::ZERO,
            epoch: Epoch(0),
            poison: None,
            has_deletions: false,
            origins: Origins::default(),
            is_compacted: false,
        };
        Head::create(dir, HEAD)?.set_up(&setup, dir.boot());
        Ok(())
    }

    /// Opens the log in the directory `name` of `parents[0]`.
    ///
    /// # Errors
    /// Not found when there is no such directory; [`Error::Busy`] when another process recovers the
    /// log for longer than the limit.
    pub fn open(parents: Vec<Arc<Dir>>, name: &[u8], mode: Mode, opening: &Opening, job: &Job) -> Result<Log> {
        let began = Instant::now();
        loop {
            let dir = parents[0].dir(name)?;
            let state = match mode {
                Mode::Write => match open_for_writing(&dir, &parents, opening) {
                    // Somebody with another page appends meanwhile: what it wrote is to be surveyed too.
                    Err(Error::Astray { .. }) => None,
                    other => other?,
                },
                Mode::Read => Some(open_for_reading(&dir)?),
            };
            let incarnation = state.as_ref().map(|state| match state {
                State::Live(head) => head.incarnation(),
                State::Walked(survey) => survey.incarnation,
            });
            if let (Some(state), Some(incarnation)) = (state, incarnation)
                // Cut since it was believed, it tells nothing.
                && !matches!(&state, State::Live(head) if head.page().is_lost())
            {
                return Ok(Log {
                    parents,
                    name: name.to_vec(),
                    dir,
                    clock: opening.clock.clone(),
                    options: RwLock::new(opening.options.clone()),
                    bell: opening.bell.clone(),
                    incarnation,
                    state,
                    maintain: Mutex::new(()),
                    append: Mutex::new(Appender::default()),
                    sync: Mutex::new(Syncer::default()),
                    deletions: Deletions::default(),
                    counted: Counted::default(),
                });
            }
            let waited = began.elapsed();
            if waited >= LIMIT {
                return Err(Error::Busy { what: "recovery", path: dir.path().to_owned(), holder: None, waited });
            }
            job.check()?;
            dir.pause(Duration::from_millis(2));
        }
    }
}

/// One try; `None` = somebody else is at it, try again.
fn open_for_writing(dir: &Dir, parents: &[Arc<Dir>], opening: &Opening) -> Result<Option<State>> {
    let head = match Head::open(dir, Access::ReadWrite) {
        Ok(head) => head,
        Err(error) if error.is_not_found() => return make_head(dir).map(|()| None),
        // Cut short. Whoever still has it mapped finds another file at its path, and reopens.
        Err(Error::Damaged { .. }) => {
            dir.unlink(HEAD)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    head::check_version(&head)?;
    if head.is_believable(dir)? {
        return Ok(Some(State::Live(head)));
    }
    // Under all locks, and after a second look: two openers after a reboot must not both recover.
    let is_current = dir.stat(HEAD)?.is_some_and(|meta| meta.inode == head.inode());
    if !is_current || !take_all(&head)? {
        // What was taken is given back as the file is closed.
        return Ok(None);
    }
    if !head.is_believable(dir)? {
        recover::recover(dir, parents, &head, opening)?;
    }
    for byte in [MAINTENANCE_BYTE, APPEND_BYTE, SYNC_BYTE] {
        head.file().unlock(byte)?;
    }
    Ok(Some(State::Live(head)))
}

fn take_all(head: &Head) -> Result<bool> {
    for byte in [MAINTENANCE_BYTE, APPEND_BYTE, SYNC_BYTE] {
        if !head.file().try_lock(byte, LockKind::Exclusive)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn make_head(dir: &Dir) -> Result<()> {
    let name = format!(".head-{:08x}", random_salt());
    let made = Head::create(dir, name.as_bytes()).and_then(|_| dir.rename_new(name.as_bytes(), dir, HEAD));
    match made {
        Ok(true) => Ok(()),
        // Somebody was faster, or the disk is full.
        Ok(false) => dir.unlink(name.as_bytes()),
        Err(error) => {
            let _ = dir.unlink(name.as_bytes());
            Err(error)
        }
    }
}

fn open_for_reading(dir: &Dir) -> Result<State> {
    let Some(head) = head_for_reading(dir)? else {
        return Ok(State::Walked(Box::new(survey::survey(dir, Hint::default())?)));
    };
    if head.is_believable(dir)? {
        return Ok(State::Live(head));
    }
    let hint = if head.page().is_lost() { Hint::default() } else { Hint::of(&head, dir.boot()) };
    Ok(State::Walked(Box::new(survey::survey(dir, hint)?)))
}

/// Whether the log in `dir` has a page to be believed.
pub(super) fn is_live(dir: &Dir) -> Result<bool> {
    head_for_reading(dir)?.map_or(Ok(false), |head| head.is_believable(dir))
}

/// The page, unless it is missing or cut.
fn head_for_reading(dir: &Dir) -> Result<Option<Head>> {
    let head = match Head::open(dir, Access::ReadWrite) {
        Err(error) if is_read_only(&error) => Head::open(dir, Access::Read),
        other => other,
    };
    match head {
        Ok(head) => head::check_version(&head).map(|()| Some(head)),
        Err(error) if error.is_not_found() || matches!(error, Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_read_only(error: &Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.io_kind(), Some(PermissionDenied | ReadOnlyFilesystem))
}
