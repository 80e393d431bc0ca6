//! Bytes from a file descriptor, in chunks of about 1 MiB, without ever keeping back what is there
//! while waiting for more.
//!
//! Reads go straight into one buffer that is used again and again. Before a read that would block
//! the caller is told, so that it can write what it has; then it sleeps until there is more, or a
//! signal comes.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use drave::codec::frame::FRAME_BYTES_AIM;
use drave::job::Job;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Result;
use super::read_ahead::{HEADROOM, ReadAhead};

/// While input flows, it is handed on at least this often: 50 ms is what the contract promises, and
/// at 20 syncs a second a disk does little else.
const HAND_ON_AFTER: Duration = Duration::from_millis(50);

/// Below this a second thread is not worth its start.
const READ_AHEAD_MIN: u64 = 8 << 20;

/// A buffer that one huge record has made larger than this is given back.
const BUFFER_KEEP_BYTES: usize = 4 * FRAME_BYTES_AIM;

/// Why [`Input::fill`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// There is a chunk of about 1 MiB.
    Full,
    /// More would come, but what is there has waited long enough.
    Due,
    /// Nothing more is there now. [`Input::wait`] waits for it.
    Blocks,
    /// Nothing more will come.
    End,
    /// The job is to stop.
    Stopped,
}

/// A stream of bytes.
pub(crate) struct Input<'a> {
    fd: BorrowedFd<'a>,
    /// For messages.
    name: String,
    stop: Option<BorrowedFd<'a>>,
    job: Job,
    /// Regular files never do, and polling them tells nothing.
    can_block: bool,
    buffer: Vec<u8>,
    /// What has not been used lies in `start..filled`.
    start: usize,
    filled: usize,
    /// For large files.
    ahead: Option<ReadAhead>,
    /// How far this chunk may fill the buffer.
    goal: usize,
    handed_on: Instant,
}

impl<'a> Input<'a> {
    /// Reads from `fd`, which messages call `name`; `stop` becomes readable when the job is stopped.
    pub(crate) fn new(fd: BorrowedFd<'a>, name: &str, stop: Option<BorrowedFd<'a>>, job: &Job) -> Result<Input<'a>> {
        let stat = rustix::fs::fstat(fd).with_context(|| format!("cannot look at {name}"))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let mut ahead = None;
        if regular {
            let position = rustix::fs::tell(fd).unwrap_or(0);
            let bytes = u64::try_from(stat.st_size).unwrap_or(0).saturating_sub(position);
            job.expect_bytes(bytes);
            if bytes >= READ_AHEAD_MIN {
                // Without a thread it is read as others are.
                ahead = ReadAhead::start(fd).ok();
            }
        }
        Ok(Input {
            fd,
            name: name.to_owned(),
            stop,
            job: job.clone(),
            can_block: !regular,
            buffer: if ahead.is_some() { Vec::new() } else { vec![0; FRAME_BYTES_AIM] },
            start: 0,
            filled: 0,
            ahead,
            goal: FRAME_BYTES_AIM,
            handed_on: Instant::now(),
        })
    }

    /// Reads on until there is a reason to return.
    pub(crate) fn fill(&mut self) -> Result<Fill> {
        loop {
            if self.job.check().is_err() {
                return Ok(Fill::Stopped);
            }
            if self.handed_on.elapsed() >= HAND_ON_AFTER {
                self.handed_on = Instant::now();
                return Ok(Fill::Due);
            }
            if self.ahead.is_some() {
                return self.take_ahead();
            }
            if self.filled >= self.goal {
                return Ok(Fill::Full);
            }
            if self.can_block && !self.is_readable()? {
                return Ok(Fill::Blocks);
            }
            match rustix::io::read(self.fd, &mut self.buffer[self.filled..self.goal]) {
                Ok(0) => return Ok(Fill::End),
                Ok(bytes) => {
                    self.filled += bytes;
                    self.job.advance(bytes as u64);
                }
                // Somebody gave us a descriptor that does not block.
                Err(Errno::AGAIN) => return Ok(Fill::Blocks),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.name)),
            }
        }
    }

    /// Takes the next chunk that was read ahead, with what is left of the one before in front.
    fn take_ahead(&mut self) -> Result<Fill> {
        let Some(ahead) = &self.ahead else { return Ok(Fill::End) };
        let failed = || format!("cannot read {}", self.name);
        let rest = self.filled - self.start;
        let read = if rest <= HEADROOM {
            let kept = self.bytes().to_vec();
            (self.start, self.filled) = (0, 0);
            self.buffer = ahead.next(std::mem::take(&mut self.buffer)).with_context(failed)?;
            self.start = HEADROOM - rest;
            self.buffer[self.start..HEADROOM].copy_from_slice(&kept);
            self.buffer.len() - HEADROOM
        } else {
            let chunk = ahead.next(Vec::new()).with_context(failed)?;
            self.buffer.drain(..self.start);
            self.buffer.extend_from_slice(&chunk[HEADROOM..]);
            self.start = 0;
            chunk.len() - HEADROOM
        };
        self.filled = self.buffer.len();
        self.job.advance(read as u64);
        Ok(if read == 0 { Fill::End } else { Fill::Full })
    }

    /// Sleeps until there is more to read, the job is stopped, or its time is over.
    pub(crate) fn wait(&mut self) -> Result<()> {
        loop {
            // Capped, so that a deadline is found to be none again and again at no cost.
            let at_most = self.job.at_most(Duration::from_secs(3600));
            let timeout = Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: i64::from(at_most.subsec_nanos()) };
            // A job that nothing can stop waits for its input twice.
            let stop = self.stop.unwrap_or(self.fd);
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) if self.job.check().is_ok() => {}
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot wait for {}", self.name)),
            }
        }
        self.handed_on = Instant::now();
        Ok(())
    }

    /// What has been read and not been used.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.filled]
    }

    /// The first `used` bytes are done with; what is left comes first in the next chunk.
    pub(crate) fn consume(&mut self, used: usize) {
        if self.ahead.is_some() {
            self.start += used;
            if self.start == self.filled && self.buffer.capacity() > BUFFER_KEEP_BYTES {
                (self.buffer, self.start, self.filled) = (Vec::new(), 0, 0);
            }
            return;
        }
        if used > 0 {
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
        }
        self.goal = self.filled + FRAME_BYTES_AIM;
        if self.buffer.len() < self.goal {
            self.buffer.reserve_exact(self.goal - self.buffer.len());
            self.buffer.resize(self.goal, 0);
        } else if self.buffer.len() > BUFFER_KEEP_BYTES && self.goal <= BUFFER_KEEP_BYTES {
            self.buffer.truncate(BUFFER_KEEP_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// Whether a read would return at once. The end of the input counts as readable.
    fn is_readable(&self) -> Result<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&now)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot look at {}", self.name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_there_is_told_before_a_read_would_block() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut input = Input::new(reader.as_fd(), "it", None, &Job::new()).expect("an input");
        assert_eq!(input.fill().expect("reads"), Fill::Blocks);
        writer.write_all(b"a\nrest").expect("there is room");
        input.wait().expect("waits");
        assert_eq!(input.fill().expect("reads"), Fill::Blocks);
        assert_eq!(input.bytes(), b"a\nrest");
        input.consume(2);
        drop(writer);
        input.wait().expect("the end wakes");
        assert_eq!(input.fill().expect("reads"), Fill::End);
        assert_eq!(input.bytes(), b"rest");
    }

    #[test]
    fn a_stopped_job_ends_the_wait() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let (stop, mut stopper) = std::io::pipe().expect("a pipe");
        let job = Job::new();
        let mut input = Input::new(reader.as_fd(), "it", Some(stop.as_fd()), &job).expect("an input");
        job.stop();
        stopper.write_all(b"!").expect("there is room");
        input.wait().expect("wakes");
        assert_eq!(input.fill().expect("says so"), Fill::Stopped);
    }

    #[test]
    fn a_time_limit_ends_the_wait() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let job = Job::with_limit(Some(Duration::from_millis(1)));
        let mut input = Input::new(reader.as_fd(), "it", None, &job).expect("an input");
        input.wait().expect("wakes");
        assert_eq!(input.fill().expect("says so"), Fill::Stopped);
    }

    #[test]
    fn the_buffer_grows_for_a_huge_record_and_shrinks_after_it() {
        use std::io::Seek as _;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![b'x'; 10 * FRAME_BYTES_AIM]).expect("there is room");
        file.rewind().expect("seeks");
        let mut input = Input::new(file.as_fd(), "it", None, &Job::new()).expect("an input");
        while input.fill().expect("reads") != Fill::End {
            input.consume(0);
        }
        assert_eq!(input.bytes().len(), 10 * FRAME_BYTES_AIM);
        input.consume(10 * FRAME_BYTES_AIM);
        assert!(input.buffer.capacity() <= BUFFER_KEEP_BYTES);
    }
}
