//! Sleeping on a word that other processes can see.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::futex;

use super::Page;

/// A word in a shared page to sleep on, with the count of sleepers in the word behind it, so that
/// nobody pays for a wake-up that no one waits for.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    page: &'a Page,
    at: usize,
}

impl Page {
    /// The word at byte `at`; its sleepers are counted at `at + 4`.
    #[must_use]
    pub fn word(&self, at: usize) -> Word<'_> {
        Word { page: self, at }
    }
}

impl Word<'_> {
    fn value(&self) -> &AtomicU32 {
        self.page.u32(self.at)
    }

    /// What to hand to [`Word::sleep`]. Read it *before* looking at what is waited for.
    #[must_use]
    pub fn read(&self) -> u32 {
        self.value().load(Ordering::SeqCst)
    }

    /// Says that what is waited for may have changed.
    pub fn ring(&self) {
        self.ring_if(|_| true);
    }

    /// The same, for all but some sleepers who know it by themselves: they are woken only together with
    /// others. `is_for_others` tells whether there are any, and is asked only if anybody sleeps.
    pub fn ring_if(&self, is_for_others: impl FnOnce(&Self) -> bool) {
        if !self.page.is_writable() {
            return;
        }
        self.page.add_u32(self.at, 1);
        if self.sleepers() > 0 && is_for_others(self) {
            self.wake();
        }
    }

    /// How many sleep.
    pub fn sleepers(&self) -> u32 {
        self.page.u32(self.at + 4).load(Ordering::SeqCst)
    }

    /// Wakes the sleepers though nothing has changed.
    pub fn wake(&self) {
        let _ = futex::wake(self.value(), futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps while the word is `seen`, at most this long. May return early.
    ///
    /// A sleeper that was killed stays counted: that costs wake-ups, never a missed one. On a
    /// read-only store nobody can be counted, so sleeps are short there.
    pub fn sleep(&self, seen: u32, at_most: Duration) {
        self.enter();
        self.sleep_entered(seen, at_most);
        self.leave();
    }

    /// Counts a sleeper, for who sleeps by [`Word::sleep_entered`].
    pub fn enter(&self) {
        self.count(1);
    }

    /// Counts it no more.
    pub fn leave(&self) {
        self.count(u32::MAX);
    }

    fn count(&self, by: u32) {
        if self.page.is_writable() {
            self.page.add_u32(self.at + 4, by);
        }
    }

    /// What [`Word::sleep`] does for a sleeper that is counted.
    pub fn sleep_entered(&self, seen: u32, at_most: Duration) {
        if self.page.disk().yields() {
            return;
        }
        let at_most = if self.page.is_writable() { at_most } else { at_most.min(Duration::from_millis(20)) };
        let limit = rustix::time::Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let _ = futex::wait(self.value(), futex::Flags::empty(), seen, Some(&limit));
    }
}
