//! One command that runs.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::relay::{LastLine, Relay};

/// Dropping it leaves the command alone.
pub(super) struct Run {
    pub(super) token: u64,
    child: Child,
    group: Pid,
    /// Readable once the command has ended.
    pidfd: OwnedFd,
    /// `None` once nobody can say anything more.
    stderr: Option<PipeReader>,
    last_line: LastLine,
    /// When the next signal is due, if one ever is.
    pub(super) deadline: Option<Instant>,
    cut_short: Option<CutShort>,
}

/// Why a command was told to end.
#[derive(Clone, Copy)]
pub(super) enum CutShort {
    TimedOut,
    Stopped,
}

impl Run {
    /// Starts the command in a process group of its own.
    ///
    /// std then takes `posix_spawn`, which costs no copy of our page tables, and which gives the
    /// command back the SIGPIPE that we ignore. Handlers of ours do not survive `execve`.
    pub(super) fn start(mut command: Command, token: u64, stdin: &[u8], timeout: Duration) -> io::Result<Run> {
        let (stderr, writer) = io::pipe()?;
        command.stdin(file_of(stdin)?).stdout(Stdio::inherit()).stderr(writer).process_group(0);
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let pidfd = match pidfd_open(group, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // We could not learn of its end.
                let _ = kill_process_group(group, Signal::KILL);
                child.wait()?;
                return Err(errno.into());
            }
        };
        let deadline = Instant::now().checked_add(timeout);
        Ok(Run { token, child, group, pidfd, stderr: Some(stderr), last_line: LastLine::default(), deadline, cut_short: None })
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(|stderr| stderr.as_fd())
    }

    /// Hands on what the command says. To be called when there is something to read.
    pub(super) fn listen(&mut self, relay: &mut Relay) {
        let Some(stderr) = &self.stderr else { return };
        match relay.read(stderr, &mut self.last_line) {
            Ok(1..) | Err(Errno::INTR) => {}
            Ok(0) | Err(_) => self.stderr = None,
        }
    }

    /// Hands on what a command that has ended did say, but waits for no more: what it left behind
    /// in the background may hold its stderr for ever.
    fn listen_to_the_end(&mut self, relay: &mut Relay) {
        let Some(stderr) = self.stderr.take() else { return };
        let mut left = rustix::io::ioctl_fionread(&stderr).unwrap_or(0);
        while left > 0 {
            match relay.read(&stderr, &mut self.last_line) {
                Ok(bytes @ 1..) => left = left.saturating_sub(bytes as u64),
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// How the command ended, if it did.
    pub(super) fn status(&mut self, relay: &mut Relay) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait();
        if !matches!(status, Ok(None)) {
            self.listen_to_the_end(relay);
        }
        status
    }

    /// The last line that it said, and why it was told to end, if it was.
    pub(super) fn into_parts(self) -> (Option<String>, Option<CutShort>) {
        (self.last_line.into_text(), self.cut_short)
    }

    /// At the time limit: TERM. `grace` later: KILL.
    pub(super) fn enforce_limit(&mut self, now: Instant, grace: Duration) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.cut_short.is_none() {
            self.cut_short = Some(CutShort::TimedOut);
            self.terminate();
            self.deadline = now.checked_add(grace);
        } else {
            self.signal(Signal::KILL);
            self.deadline = None;
        }
    }

    /// Asks it to end because we are to end. Its time limit stays in force, with KILL at its end.
    pub(super) fn stop(&mut self, now: Instant, grace: Duration) {
        if self.cut_short.is_none() {
            self.cut_short = Some(CutShort::Stopped);
            self.terminate();
            self.deadline = self.deadline.zip(now.checked_add(grace)).map(|(limit, earliest)| limit.max(earliest));
        }
    }

    fn terminate(&self) {
        self.signal(Signal::TERM);
        // A stopped process (as by SIGTTIN: it is in no foreground group) sees it only when it goes on.
        self.signal(Signal::CONT);
    }

    /// The group's number cannot be another's: the command has not been waited for.
    fn signal(&self, signal: Signal) {
        // Fails only when nobody is left who would see it.
        let _ = kill_process_group(self.group, signal);
    }
}

/// A file in memory, at its beginning. Unlike a pipe it takes any size at once, and does not mind
/// a command that never reads it.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let create = |flags| memfd_create("drave", MemfdFlags::CLOEXEC | flags);
    // Linux before 6.3 does not know the flag; later ones may insist on it.
    let fd = match create(MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(MemfdFlags::empty())?,
        created => created?,
    };
    let file = File::from(fd);
    file.write_all_at(bytes, 0)?;
    Ok(file)
}
