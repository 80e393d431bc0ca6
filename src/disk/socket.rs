//! A socket in a directory, reached through the directory's descriptor: its path may be longer than
//! a socket's can be.

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode};

use super::dir::Dir;
use super::random::random_name;
use crate::error::{Error, Result};

/// Listens on a socket of this name that only its owner may use; `None` when another process listens
/// on it. What a process left that has died is replaced.
pub fn bind_socket(dir: &Dir, name: &str) -> Result<Option<UnixListener>> {
    let failed = |action: &'static str| move |source| Error::Io { action, path: dir.path().join(name), source };
    match UnixStream::connect(socket_path(dir, name)) {
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
        Err(error) => return Err(failed("look for another server on")(error)),
    }
    let temporary = format!(".sock-{}", random_name());
    let listener = UnixListener::bind(socket_path(dir, &temporary)).map_err(failed("listen on"))?;
    // Nobody knows the name yet, so nobody connects before this.
    let restricted = rustix::fs::chmodat(dir.descriptor(), &temporary, Mode::RUSR | Mode::WUSR, AtFlags::empty());
    let listening = restricted
        .map_err(|error| failed("restrict")(error.into()))
        .and_then(|()| listener.set_nonblocking(true).map_err(failed("listen on")))
        .and_then(|()| dir.rename(temporary.as_bytes(), dir, name.as_bytes()));
    match listening {
        Ok(()) => Ok(Some(listener)),
        Err(error) => {
            let _ = dir.unlink(temporary.as_bytes());
            Err(error)
        }
    }
}

/// By which path a socket can be reached, however long that of its directory is, while `dir` is open.
#[must_use]
pub fn socket_path(dir: &Dir, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", dir.descriptor().as_raw_fd()).into()
}

/// Removes the socket, if nobody listens on it.
pub fn remove_socket(dir: &Dir, name: &str) -> Result<()> {
    match UnixStream::connect(socket_path(dir, name)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => dir.unlink(name.as_bytes()),
        _ => Ok(()),
    }
}
