//! The one door to the operating system: directories, files, maps, shared pages, locks, waiting.
//!
//! No other floor names `std::fs`, and all `unsafe` of the crate lives here. Every call that changes
//! something on the disk, and every wait, can be watched ([`Watch`]): that is how the simulation in
//! `sim.rs` records them, lets them fail, and decides who runs next. Nothing else is known here: not
//! what a topic is, not what the bytes mean.

mod boot;
mod dir;
mod file;
mod filesystem;
mod futex;
mod limits;
mod lock;
mod map;
mod page;
mod process;
mod random;
mod sigbus;
#[cfg(test)]
pub(crate) mod sim;
mod socket;

use std::fmt;
use std::sync::Arc;

pub use boot::BootId;
pub use dir::{Dir, Entry, EntryKind, Meta};
pub use file::{Access, File, Standing};
pub use filesystem::{Room, check as check_filesystem, room};
pub use futex::Word;
pub use limits::raise_file_limit;
pub use lock::LockKind;
pub use map::Map;
pub use page::{PAGE_BYTES, Page};
pub use process::{CpuTime, ProcessMemory, Whose, cpu_time, process_memory};
pub use random::{random, random_name};
pub use socket::{bind_socket, remove_socket, socket_path};

/// What all files of one store have in common.
#[derive(Debug)]
pub struct Disk {
    boot: BootId,
    watch: Option<Arc<dyn Watch>>,
}

impl Disk {
    /// This machine's disk.
    ///
    /// # Errors
    /// When the kernel does not tell the boot id (no `/proc`).
    pub fn open() -> crate::error::Result<Arc<Disk>> {
        Ok(Arc::new(Disk { boot: BootId::current()?, watch: None }))
    }

    /// A disk in the hands of a test.
    #[cfg(test)]
    pub(crate) fn watched(boot: BootId, watch: Arc<dyn Watch>) -> Arc<Disk> {
        Arc::new(Disk { boot, watch: Some(watch) })
    }

    /// The boot this process runs in.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    fn ask(&self, op: &Op<'_>) -> Verdict {
        match &self.watch {
            None => Verdict::Go,
            Some(watch) => watch.before(op),
        }
    }

    /// Whether somebody sees every change, so that each has to be made by itself.
    fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// How long the machine has been up, in ms, asleep or not: who sets the clock does not change it.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        if let Some(uptime) = self.watch.as_ref().and_then(|watch| watch.uptime_ms()) {
            return uptime;
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
    }

    /// Whether a wait is to return at once, because somebody else decides who runs next.
    fn yields(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.yields())
    }
}

/// Sees every change before it is made, and may refuse it.
pub(crate) trait Watch: Send + Sync + fmt::Debug {
    /// Called before each change.
    fn before(&self, op: &Op<'_>) -> Verdict;

    /// Called in place of each wait; `true` = do not sleep.
    fn yields(&self) -> bool;

    /// In place of the machine's own.
    fn uptime_ms(&self) -> Option<u64> {
        None
    }
}

/// A change of something on the disk. Files and directories are told apart by inode number.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "read by the simulation only"))]
pub(crate) enum Op<'a> {
    Write {
        file: u64,
        position: u64,
        parts: &'a [&'a [u8]],
    },
    Truncate {
        file: u64,
        length: u64,
    },
    SyncFile {
        file: u64,
    },
    SyncDir {
        dir: u64,
    },
    /// A new file or directory; its inode number is not known yet.
    Create {
        dir: u64,
        name: &'a [u8],
        is_dir: bool,
    },
    Rename {
        from: u64,
        name: &'a [u8],
        to: u64,
        new_name: &'a [u8],
    },
    Link {
        from: u64,
        name: &'a [u8],
        to: u64,
        new_name: &'a [u8],
    },
    Unlink {
        dir: u64,
        name: &'a [u8],
    },
    Exchange {
        dir: u64,
        name: &'a [u8],
        other: &'a [u8],
    },
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "made by the simulation only"))]
pub(crate) enum Verdict {
    /// It is made.
    Go,
    /// It fails with this error, and nothing happens.
    Fail(rustix::io::Errno),
    /// A write puts down only this many bytes, and fails with this error.
    Short(usize, rustix::io::Errno),
}

impl Verdict {
    fn check(self) -> rustix::io::Result<()> {
        match self {
            Verdict::Go => Ok(()),
            Verdict::Fail(errno) | Verdict::Short(_, errno) => Err(errno),
        }
    }
}
