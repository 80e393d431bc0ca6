//! What commands say on stderr goes on to our own; the last line of each is remembered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::cli::output::never_waiting;

/// What a pipe holds, unless somebody made it larger.
const CHUNK_BYTES: usize = 64 << 10;
/// How much of a line is remembered.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Our stderr, and what it has not taken yet.
///
/// Whoever reads it may stop doing so (Ctrl-S). As with a stderr that is handed down, the commands
/// then stop at their next word; but we must not: somebody has to keep the leases.
pub(super) struct Relay {
    fd: OwnedFd,
    pending: Vec<u8>,
    /// How much of `pending` was taken.
    sent: usize,
}

impl Relay {
    pub(super) fn new(stderr: OwnedFd) -> Relay {
        Relay { fd: never_waiting(&stderr).unwrap_or(stderr), pending: Vec::new(), sent: 0 }
    }

    /// Whether all was taken. Otherwise `fd` is to be polled for room.
    pub(super) fn is_clear(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads once from a command's stderr. `Ok(0)`: nobody will say anything more.
    pub(super) fn read(&mut self, from: impl AsFd, last_line: &mut LastLine) -> Result<usize, Errno> {
        self.pending.reserve(CHUNK_BYTES);
        let known = self.pending.len();
        let bytes = rustix::io::read(from, spare_capacity(&mut self.pending))?;
        last_line.observe(&self.pending[known..]);
        Ok(bytes)
    }

    /// Hands on what is taken without waiting. When stderr is gone there is nobody to tell.
    pub(super) fn flush(&mut self) {
        while self.sent < self.pending.len() {
            match rustix::io::write(&self.fd, &self.pending[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => break,
            }
        }
        self.sent = 0;
        self.pending.clear();
        self.pending.shrink_to(2 * CHUNK_BYTES);
    }
}

impl Drop for Relay {
    /// Waits for a slow reader, as any other word on stderr would.
    fn drop(&mut self) {
        self.flush();
        while !self.is_clear() && matches!(poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], None), Ok(_) | Err(Errno::INTR)) {
            self.flush();
        }
    }
}

/// Remembers the last line that is not blank: what a command says before it gives up.
#[derive(Default)]
pub(super) struct LastLine {
    whole: Vec<u8>,
    growing: Vec<u8>,
}

impl LastLine {
    fn observe(&mut self, bytes: &[u8]) {
        // A progress bar ends its lines with CR.
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        for piece in bytes.split_inclusive(is_end) {
            let (ends, text) = match piece.split_last() {
                Some((last, text)) if is_end(last) => (true, text),
                _ => (false, piece),
            };
            let room = LINE_BYTES_MAX - self.growing.len();
            self.growing.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                if !self.growing.trim_ascii().is_empty() {
                    std::mem::swap(&mut self.whole, &mut self.growing);
                }
                self.growing.clear();
            }
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        [&self.growing, &self.whole]
            .map(|line| line.trim_ascii())
            .into_iter()
            .find(|line| !line.is_empty())
            .map(|line| String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_line(said: &[&[u8]]) -> Option<String> {
        let mut line = LastLine::default();
        said.iter().for_each(|bytes| line.observe(bytes));
        line.into_text()
    }

    #[test]
    fn the_last_line_that_is_not_blank_is_remembered() {
        assert_eq!(last_line(&[]), None);
        assert_eq!(last_line(&[b"\n \r\n"]), None);
        assert_eq!(last_line(&[b"first\nsecond\n\n \n"]).as_deref(), Some("second"));
        assert_eq!(last_line(&[b"first\nsec", b"ond"]).as_deref(), Some("second"));
        assert_eq!(last_line(&[b"first\nsec", b"ond\r", b"\n"]).as_deref(), Some("second"));
        assert_eq!(last_line(&[b"10%\r20%\r"]).as_deref(), Some("20%"));
        assert_eq!(last_line(&[b"first\n  "]).as_deref(), Some("first"));
        assert_eq!(last_line(&[b"\xff!\n"]).as_deref(), Some("\u{fffd}!"));
    }

    #[test]
    fn a_long_line_is_remembered_by_its_beginning() {
        let chunk = [b'x'; 1000];
        let mut line = LastLine::default();
        (0..100).for_each(|_| line.observe(&chunk));
        assert_eq!(line.into_text().map(|text| text.len()), Some(LINE_BYTES_MAX));
        assert_eq!(last_line(&[&[b'x'; 2 * LINE_BYTES_MAX], b"\nshort\n"]).as_deref(), Some("short"));
    }
}
