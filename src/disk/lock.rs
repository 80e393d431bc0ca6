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

    /// Whether anybody else holds a lock on a byte, through another descriptor.
    pub fn is_locked_elsewhere(&self, byte: u64) -> Result<bool> {
        let mut request = whole(byte, libc::F_WRLCK);
        // SAFETY: F_OFD_GETLK reads and writes one `flock`, which lives until the call returns.
        let result = unsafe { libc::fcntl(self.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
        if result == 0 {
            return Ok(libc::c_int::from(request.l_type) != libc::F_UNLCK);
        }
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Err(self.failed("look at the locks of")(Errno::from_raw_os_error(code)))
    }

    /// Gives the lock on a byte back.
    pub fn unlock(&self, byte: u64) -> Result<()> {
        self.set_lock(byte, libc::F_UNLCK).map_err(self.failed("unlock"))
    }

    fn set_lock(&self, byte: u64, kind: libc::c_int) -> rustix::io::Result<()> {
        let request = whole(byte, kind);
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

fn whole(byte: u64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}
