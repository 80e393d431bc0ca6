//! SIGINT and SIGTERM. The first one asks the work to end at a safe place, the second ends the
//! process at once. The only file that may name `ctrlc`.
//!
//! Installed only by commands that read stdin or wait: it costs two threads, and a command that is
//! over in a millisecond needs no more than the default.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use drave::job::Job;
use rustix::event::{EventfdFlags, eventfd};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

type Waker = Box<dyn Fn() + Send>;

/// Tells that the process was asked to stop. Clones share one state.
#[derive(Clone)]
pub(crate) struct Stop(Arc<State>);

struct State {
    job: Job,
    /// Readable once a signal came, and for ever after: for `poll`.
    fd: OwnedFd,
    /// The signal that came first; 0 = none.
    signal: AtomicI32,
    wakers: Mutex<Vec<Waker>>,
    /// Called by the second signal, once; the one after it ends the process.
    second: Mutex<Option<Waker>>,
}

impl Stop {
    /// Installs the handlers. A signal that the parent had us ignore (as `nohup` and shells do for
    /// jobs in the background) stays ignored.
    pub(crate) fn install(job: &Job) -> super::Result<Stop> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("cannot make an eventfd")?;
        let state = State { job: job.clone(), fd, signal: AtomicI32::new(0), wakers: Mutex::default(), second: Mutex::default() };
        let stop = Stop(Arc::new(state));
        let on_int = stop.clone();
        match ctrlc::try_set_handler(move || on_int.raise(SIGINT)) {
            Ok(()) | Err(ctrlc::Error::MultipleHandlers) => {}
            Err(ctrlc::Error::System(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).context("cannot handle SIGINT"),
        }
        let mut signals = Signals::new([SIGTERM]).context("cannot handle SIGTERM")?;
        let on_term = stop.clone();
        std::thread::Builder::new()
            .name("sigterm".to_owned())
            .spawn(move || signals.forever().for_each(|signal| on_term.raise(signal)))
            .context("cannot start a thread for SIGTERM")?;
        Ok(stop)
    }

    /// The signal that came first.
    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.0.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Has `waker` called when a signal comes; at once if one came already.
    pub(crate) fn wake_also(&self, waker: impl Fn() + Send + 'static) {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.signal().is_some() {
            waker();
        } else {
            wakers.push(Box::new(waker));
        }
    }

    /// Has `act` called by a second signal, in place of the end of the process.
    pub(crate) fn on_second(&self, act: impl Fn() + Send + 'static) {
        *self.0.second.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
    }

    fn raise(&self, signal: i32) {
        if self.0.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            if let Some(act) = self.0.second.lock().unwrap_or_else(PoisonError::into_inner).take() {
                act();
                return;
            }
            // It cannot fail for these two, and there is nobody to tell.
            let _ = emulate_default_handler(signal);
            return;
        }
        self.0.job.stop();
        // A full counter is readable too.
        let _ = rustix::io::write(&self.0.fd, &1u64.to_ne_bytes());
        for waker in self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waker();
        }
    }
}

impl AsFd for Stop {
    /// Readable once a signal came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
