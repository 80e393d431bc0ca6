//! Notices that nobody reads stdout any more, also while there is nothing to write.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use drave::engine::Waker;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::Result;
use super::exit::stdout_failed;
use super::signals::Stop;

/// A thread that sleeps until the reader of stdout is gone. Dropping it ends the thread.
pub(crate) struct Watch {
    closed: Arc<AtomicBool>,
    /// Readable once the thread is to end.
    done: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches `fd`; once nobody reads it, `waker` is used.
    pub(crate) fn start(fd: OwnedFd, waker: Arc<dyn Waker>) -> Result<Watch> {
        let closed = Arc::new(AtomicBool::new(false));
        let done = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("cannot make an eventfd")?;
        let done = Arc::new(done);
        let (seen, end) = (closed.clone(), done.clone());
        let thread = std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                if wait_for_hangup(&fd, &end) {
                    seen.store(true, Ordering::SeqCst);
                    waker.wake();
                }
            })
            .context("cannot start a thread that watches stdout")?;
        Ok(Watch { closed, done, thread: Some(thread) })
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A counter of 0 has room for 1.
        let _ = rustix::io::write(&*self.done, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sleeps until the other end is gone: no event is asked for, so only that wakes it. Never for a
/// file. `false` if `end` is readable, or if it cannot be watched.
fn wait_for_hangup(fd: &OwnedFd, end: &OwnedFd) -> bool {
    loop {
        let mut polled = [PollFd::new(fd, PollFlags::empty()), PollFd::new(end, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return true,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

/// Sleeps, unless a signal comes or nobody reads the output any more.
pub(crate) fn pause(output: Option<BorrowedFd<'_>>, stop: Option<&Stop>, at_most: Duration) -> Result<()> {
    let mut polled = Vec::with_capacity(2);
    polled.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
    polled.extend(output.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())));
    match poll(&mut polled, Timespec::try_from(at_most).ok().as_ref()) {
        Ok(_) if polled.iter().any(|polled| polled.revents().intersects(PollFlags::ERR | PollFlags::HUP)) => {
            Err(stdout_failed(io::ErrorKind::BrokenPipe.into()))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(anyhow::Error::new(errno).context("cannot wait")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    struct Woken(Sender<()>);

    impl Waker for Woken {
        fn wake(&self) {
            self.0.send(()).expect("the test waits");
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_noticed_while_nothing_is_written() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let (sender, woken) = channel();
        let watch = Watch::start(writer, Arc::new(Woken(sender))).expect("a thread");
        assert!(!watch.is_closed());
        drop(reader);
        woken.recv().expect("the thread wakes us");
        assert!(watch.is_closed());
    }
}
