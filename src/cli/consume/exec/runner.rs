//! The commands that run at the same time.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::relay::Relay;
use super::run::{CutShort, Run};
use super::{Finished, Task, Verdict, environment};
use crate::cli::Result;
use crate::cli::exit::io_words;

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(5);

/// Runs one command again and again, several at a time. Dropping it leaves those alone that run.
pub(crate) struct Runner {
    command: Vec<OsString>,
    /// What of our environment is not for the command.
    pub(super) hidden: Vec<OsString>,
    /// How many bytes a task may add to the environment.
    room: usize,
    parallel: usize,
    timeout: Duration,
    pub(super) grace: Duration,
    relay: Relay,
    pub(super) runs: Vec<Run>,
    /// What `wait` has not told yet.
    finished: Vec<Finished>,
}

impl Runner {
    /// For `command` and its arguments: `parallel` of it at a time, each for `timeout` at most.
    pub(crate) fn new(command: Vec<OsString>, parallel: usize, timeout: Duration) -> Result<Runner> {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("cannot use stderr")?;
        Runner::with_stderr(command, parallel, timeout, stderr)
    }

    pub(super) fn with_stderr(command: Vec<OsString>, parallel: usize, timeout: Duration, stderr: OwnedFd) -> Result<Runner> {
        anyhow::ensure!(!command.is_empty() && parallel > 0, "there is nothing to run");
        let hidden = environment::of_another_record(std::env::vars_os().map(|(name, _)| name));
        let room = environment::room(&command);
        let relay = Relay::new(stderr);
        Ok(Runner { command, hidden, room, parallel, timeout, grace: GRACE, relay, runs: Vec::new(), finished: Vec::new() })
    }

    /// How many tasks were started that `wait` has not told the end of.
    pub(crate) fn running(&self) -> usize {
        self.runs.len() + self.finished.len()
    }

    /// Whether nothing may be started now: as many as may run do so, or nobody takes what they say.
    pub(crate) fn is_full(&self) -> bool {
        self.running() >= self.parallel || !self.relay.is_clear()
    }

    /// Starts the command. If that fails, `wait` tells it.
    pub(crate) fn start(&mut self, task: Task) {
        debug_assert!(self.running() < self.parallel, "the caller asks is_full");
        let token = task.token;
        match Run::start(self.command_for(&task), token, &task.stdin, self.timeout) {
            Ok(run) => self.runs.push(run),
            Err(error) => {
                let why = format!("cannot start {}: {}", self.program(), io_words(&error));
                self.finished.push(Finished { token, verdict: Verdict::CannotStart { why } });
            }
        }
    }

    /// Sleeps until commands have ended, `at_most` has passed, one of `wakers` is readable, or
    /// something may be started that could not before. Returns what has ended.
    ///
    /// A waker that stays readable (as [`crate::cli::signals::Stop`] does) is to be given only once.
    pub(crate) fn wait(&mut self, at_most: Duration, wakers: &[BorrowedFd<'_>]) -> Result<Vec<Finished>> {
        let until = Instant::now().checked_add(at_most);
        let was_full = self.is_full();
        loop {
            let next = self.runs.iter().filter_map(|run| run.deadline).chain(until).min();
            let woken = self.sleep(next, wakers)?;
            let now = Instant::now();
            for run in &mut self.runs {
                run.enforce_limit(now, self.grace);
            }
            let is_over = until.is_some_and(|until| until <= now);
            if woken || is_over || !self.finished.is_empty() || (was_full && !self.is_full()) {
                return Ok(std::mem::take(&mut self.finished));
            }
        }
    }

    /// Asks all commands to end because we are to end. What had not ended before is given back.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let now = Instant::now();
        // The word of those that have ended stands.
        self.sleep(Some(now), &[])?;
        for run in &mut self.runs {
            run.stop(now, self.grace);
        }
        Ok(())
    }

    fn program(&self) -> String {
        self.command[0].to_string_lossy().into_owned()
    }

    fn command_for(&self, task: &Task) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        for name in &self.hidden {
            command.env_remove(name);
        }
        let mut room = self.room;
        for (name, value) in &task.environment {
            if let Some(left) = room.checked_sub(environment::cost(name, value)) {
                room = left;
                command.env(name, value);
            }
        }
        command
    }

    /// Sleeps until there is something to do, and does it. Whether a waker is readable.
    fn sleep(&mut self, until: Option<Instant>, wakers: &[BorrowedFd<'_>]) -> Result<bool> {
        let may_listen = self.relay.is_clear();
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(wakers.len() + 2 * self.runs.len() + 1);
        polled.extend(wakers.iter().map(|waker| PollFd::from_borrowed_fd(*waker, PollFlags::IN)));
        polled.extend(self.runs.iter().map(|run| PollFd::from_borrowed_fd(run.pidfd(), PollFlags::IN)));
        if may_listen {
            let heard = self.runs.iter().filter_map(Run::stderr);
            polled.extend(heard.map(|stderr| PollFd::from_borrowed_fd(stderr, PollFlags::IN)));
        } else {
            polled.push(PollFd::from_borrowed_fd(self.relay.fd(), PollFlags::OUT));
        }
        let until = if self.finished.is_empty() { until } else { Some(Instant::now()) };
        poll_until(&mut polled, until)?;
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        let (woken, ready) = ready.split_at(wakers.len());
        let (ended, heard) = ready.split_at(self.runs.len());
        if may_listen {
            let speakers = self.runs.iter_mut().filter(|run| run.stderr().is_some());
            for (run, _) in speakers.zip(heard).filter(|(_, heard)| **heard) {
                run.listen(&mut self.relay);
            }
        }
        self.reap(ended);
        self.relay.flush();
        Ok(woken.contains(&true))
    }

    fn reap(&mut self, ended: &[bool]) {
        // From the end, so that removing one moves none that is still to be looked at.
        for (index, _) in ended.iter().enumerate().rev().filter(|(_, ended)| **ended) {
            let status = match self.runs[index].status(&mut self.relay) {
                Ok(None) => continue,
                Ok(Some(status)) => Ok(status),
                Err(error) => Err(error),
            };
            let run = self.runs.swap_remove(index);
            let token = run.token;
            let verdict = match (run.into_parts(), status) {
                ((_, Some(CutShort::TimedOut)), _) => Verdict::TimedOut,
                ((_, Some(CutShort::Stopped)), _) => Verdict::GivenBack,
                ((last_line, None), Ok(status)) => Verdict::of(&self.program(), status, last_line),
                // Whoever started us has SIGCHLD ignored: it is lost whether any command succeeds.
                ((_, None), Err(error)) => {
                    Verdict::CannotStart { why: format!("cannot learn how {} ended: {}", self.program(), io_words(&error)) }
                }
            };
            self.finished.push(Finished { token, verdict });
        }
    }
}

fn poll_until(polled: &mut [PollFd<'_>], until: Option<Instant>) -> Result<()> {
    loop {
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        match poll(polled, timeout.and_then(|timeout| Timespec::try_from(timeout).ok()).as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(anyhow::Error::new(errno).context("cannot wait for commands")),
        }
    }
}
