//! What others do to our files must not kill us: a SIGBUS inside one of our maps (the file was cut,
//! or a sector cannot be read) becomes a page of zeros, which the checksums then report.
#![expect(unsafe_code, reason = "a signal handler that maps a page")]

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::PAGE_BYTES;

/// Slots are found by the handler without locks; full blocks get a successor, and none is freed.
const SLOTS: usize = 256;

struct Block {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Block>,
}

/// One map. `start == 0` is free, `start == TAKEN` is being filled.
struct Slot {
    start: AtomicUsize,
    length: AtomicUsize,
    writable: AtomicBool,
    lost: AtomicBool,
}

const TAKEN: usize = 1;

static FIRST: Block = Block::new();
static INSTALL: Once = Once::new();
static mut PREVIOUS: libc::sigaction = const {
    // SAFETY: all zeros is a `sigaction` with the default handler and an empty mask.
    unsafe { std::mem::zeroed() }
};

impl Block {
    const fn new() -> Block {
        Block {
            slots: [const {
                Slot {
                    start: AtomicUsize::new(0),
                    length: AtomicUsize::new(0),
                    writable: AtomicBool::new(false),
                    lost: AtomicBool::new(false),
                }
            }; SLOTS],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn successor(&self) -> Option<&'static Block> {
        // SAFETY: `next` is null or a leaked block.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }
}

/// Keeps a map registered while it lives. Drop it before the memory is unmapped.
#[derive(Debug)]
pub(super) struct Guard(&'static Slot);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(start: usize, length: usize, writable: bool) -> Guard {
        INSTALL.call_once(install);
        let slot = take_slot();
        slot.length.store(length.next_multiple_of(PAGE_BYTES), Ordering::Relaxed);
        slot.writable.store(writable, Ordering::Relaxed);
        slot.lost.store(false, Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
        Guard(slot)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

fn take_slot() -> &'static Slot {
    let mut block: &'static Block = &FIRST;
    loop {
        for slot in &block.slots {
            if slot.start.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return slot;
            }
        }
        block = match block.successor() {
            Some(next) => next,
            None => {
                let fresh = Box::into_raw(Box::new(Block::new()));
                match block.next.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
                    // SAFETY: `fresh` has just been leaked into the list.
                    Ok(_) => unsafe { &*fresh },
                    Err(other) => {
                        // SAFETY: `fresh` was not published, and `other` is a leaked block.
                        unsafe {
                            drop(Box::from_raw(fresh));
                            &*other
                        }
                    }
                }
            }
        };
    }
}

fn install() {
    // SAFETY: the handler is async-signal-safe (atomics, mmap and sigaction only), and PREVIOUS is
    // written here, before the handler can run, and only read afterwards.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut PREVIOUS);
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}

extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid `siginfo_t` to a SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() } as usize;
    if !give_zeros(address) {
        // Not ours: put back what was there and let the fault happen again.
        // SAFETY: `install` has filled PREVIOUS.
        unsafe {
            libc::sigaction(libc::SIGBUS, &raw const PREVIOUS, ptr::null_mut());
        }
    }
}

fn give_zeros(address: usize) -> bool {
    let mut block: &'static Block = &FIRST;
    loop {
        for slot in &block.slots {
            let start = slot.start.load(Ordering::Acquire);
            if start <= TAKEN || !(start..start + slot.length.load(Ordering::Relaxed)).contains(&address) {
                continue;
            }
            let mut protection = libc::PROT_READ;
            if slot.writable.load(Ordering::Relaxed) {
                protection |= libc::PROT_WRITE;
            }
            let page = address & !(PAGE_BYTES - 1);
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: the page lies inside a map that this process holds (its guard is alive), so
            // nothing else is replaced.
            let mapped = unsafe { libc::mmap(page as *mut libc::c_void, PAGE_BYTES, protection, flags, -1, 0) };
            slot.lost.store(true, Ordering::Release);
            return mapped != libc::MAP_FAILED;
        }
        match block.successor() {
            Some(next) => block = next,
            None => return false,
        }
    }
}
