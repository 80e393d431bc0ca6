//! Open-file-description locks on single bytes of a file. The kernel frees them when their holder
//! dies. Threads of a process that share a descriptor share its locks: put a mutex before.
#![expect(unsafe_code, reason = "no well-kept crate offers open-file-description locks")]

use std::os::fd::{AsFd as _, AsRawFd as _};

use rustix::io::Errno;

use super::File;
use crate::error::Result;

/// Who else may hold the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Others that want it shared.
    Shared,
    /// Nobody.
    Exclusive,
}

impl File {
    /// Takes the lock on a byte if it can be had at once; changes the kind of one held already.
    /// The byte need not exist.
    pub fn try_lock(&self, byte: u64, kind: LockKind) -> Result<bool> {
        let kind = match kind {
            LockKind::Shared => libc::F_RDLCK,
            LockKind::Exclusive => libc::F_WRLCK,
        };
        match self.set_lock(byte, kind) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(errno) => Err(self.failed("lock")(errno)),
        }
    }

    /// Gives the lock on a byte back.
    pub fn unlock(&self, byte: u64) -> Result<()> {
        self.set_lock(byte, libc::F_UNLCK).map_err(self.failed("unlock"))
    }

    fn set_lock(&self, byte: u64, kind: libc::c_int) -> rustix::io::Result<()> {
        let request = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: byte as libc::off_t,
            l_len: 1,
            l_pid: 0,
        };
        loop {
            // SAFETY: F_OFD_SETLK reads one `flock`, which lives until the call returns, and
            // touches no other memory of this process.
            let result = unsafe { libc::fcntl(self.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
            if result == 0 {
                return Ok(());
            }
            match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                code => return Err(Errno::from_raw_os_error(code.unwrap_or(libc::EIO))),
            }
        }
    }
}
