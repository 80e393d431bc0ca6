//! A thread for short work that must not stop the one that executes commands: a sync takes a tenth of a
//! millisecond on a good disk, and waking a thread and being woken by it takes nearly as long. So this
//! one looks for its next work for a moment before it sleeps, and who waits for it looks for the end
//! for a moment too, while it goes on with whatever else there is to do.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long the thread looks for its next work. Longer than a client on this machine takes to come back.
const SPIN: Duration = Duration::from_micros(100);
/// How long the end is looked for. Work that takes longer gains nothing by it.
const LOOK: Duration = Duration::from_micros(400);

type Work = Box<dyn FnOnce() + Send>;

/// The thread, once it was needed.
#[derive(Debug, Default)]
pub(super) struct Quick(Option<Arc<Desk>>);

#[derive(Debug)]
struct Desk {
    work: Mutex<Option<WorkSlot>>,
    has_work: AtomicBool,
    /// Somebody has given it work, and has not got the end of it.
    is_taken: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

struct WorkSlot(Work);

impl std::fmt::Debug for WorkSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("work")
    }
}

/// What became of work.
#[derive(Debug)]
struct Outcome<T> {
    is_over: AtomicBool,
    result: Mutex<(Option<T>, Option<Waker>)>,
}

impl Quick {
    /// Starts the thread. Without one everything is done elsewhere.
    pub(super) fn start() -> Quick {
        let desk = Arc::new(Desk {
            work: Mutex::default(),
            has_work: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let own = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("quick".to_owned()).spawn(move || own.run());
        Quick(thread.ok().map(|thread| {
            *desk.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.thread().clone());
            desk
        }))
    }

    /// Does the work on the thread, or, if that is busy, on another one.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match &self.0 {
            Some(desk) if !desk.is_taken.swap(true, Ordering::SeqCst) => {
                let result = desk.run_here(work).await;
                desk.is_taken.store(false, Ordering::SeqCst);
                result
            }
            _ => tokio::task::spawn_blocking(work).await.ok(),
        }
    }
}

impl Desk {
    async fn run_here<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let outcome = Arc::new(Outcome { is_over: AtomicBool::new(false), result: Mutex::new((None, None)) });
        let told = Arc::clone(&outcome);
        let whole = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
            let waker = {
                let mut slot = told.result.lock().unwrap_or_else(PoisonError::into_inner);
                slot.0 = result;
                slot.1.take()
            };
            told.is_over.store(true, Ordering::SeqCst);
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(WorkSlot(Box::new(whole)));
        self.has_work.store(true, Ordering::SeqCst);
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
        let began = Instant::now();
        poll_fn(|context| {
            if outcome.is_over.load(Ordering::SeqCst) {
                let result = outcome.result.lock().unwrap_or_else(PoisonError::into_inner).0.take();
                return Poll::Ready(result);
            }
            if began.elapsed() < LOOK {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut slot = outcome.result.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.0.take() {
                Some(result) => Poll::Ready(Some(result)),
                None => {
                    slot.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn run(&self) {
        let mut idle_since = Instant::now();
        loop {
            if self.has_work.swap(false, Ordering::SeqCst) {
                let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(WorkSlot(work)) = work {
                    work();
                }
                idle_since = Instant::now();
            } else if idle_since.elapsed() < SPIN {
                std::hint::spin_loop();
            } else {
                std::thread::park();
            }
        }
    }
}
