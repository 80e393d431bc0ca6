//! One page of 64 words for a whole store: who waits for many logs sleeps on one of them.
//!
//! A waiter picks a word and sets its bit in the page of every log it follows; appenders ring the
//! words whose bits are set. Bits are never cleared: a ring that nobody waits for is one addition.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::lock_mutex;
use crate::disk::{Access, Dir, PAGE_BYTES, Page, Word};
use crate::error::{Error, Result};

const BELL: &[u8] = b"bell";
const WORDS: u32 = 64;

/// The bell of a store. The file is opened when it is first rung or waited for.
#[derive(Debug)]
pub struct Bell {
    root: Arc<Dir>,
    page: OnceLock<Option<Page>>,
    /// How many of the sleepers on the own word are of this process and know what it does by themselves.
    /// Changes together with the count of all.
    knowing: Mutex<u32>,
}

impl Bell {
    /// The bell in a store's directory.
    #[must_use]
    pub fn new(root: Arc<Dir>) -> Bell {
        Bell { root, page: OnceLock::new(), knowing: Mutex::default() }
    }

    /// The page, if there is one.
    fn page(&self) -> Option<&Page> {
        self.page.get_or_init(|| open(&self.root, Access::ReadWrite).ok()).as_ref()
    }

    /// Makes sure that there is a page to wait on.
    ///
    /// # Errors
    /// On a read-only store without one.
    pub fn ensure(&self) -> Result<()> {
        if matches!(self.root.stat(BELL)?, Some(meta) if meta.length >= PAGE_BYTES as u64) {
            return Ok(());
        }
        let name = format!(".bell-{}", std::process::id());
        let file = self.root.create_file(name.as_bytes())?;
        file.write_all_at(&[&[0; PAGE_BYTES]], 0)?;
        self.root.rename(name.as_bytes(), &self.root, BELL)
    }

    pub(super) fn ring(&self, mut bits: u64) {
        let Some(page) = self.page() else { return };
        while bits != 0 {
            let index = bits.trailing_zeros();
            let word = page.word(index as usize * 8);
            if index == self.own_word() {
                word.ring_if(|word| {
                    let knowing = lock_mutex(&self.knowing);
                    word.sleepers() > *knowing
                });
            } else {
                word.ring();
            }
            bits &= bits - 1;
        }
    }

    /// The word that waiters of this process share.
    pub(super) fn own_word(&self) -> u32 {
        std::process::id() % WORDS
    }

    /// What to hand to [`Bell::wait`]. Read it before looking for records.
    #[must_use]
    pub fn watch(&self) -> u32 {
        self.page().map_or(0, |page| page.word(self.own_word() as usize * 8).read())
    }

    /// Sleeps until the bell was rung since `seen` was read, at most this long.
    pub fn wait(&self, seen: u32, at_most: Duration) {
        match self.page() {
            Some(page) => page.word(self.own_word() as usize * 8).sleep(seen, at_most),
            None => std::thread::sleep(at_most.min(Duration::from_millis(20))),
        }
    }

    /// The same, but not for what this process does itself.
    pub fn wait_for_others(&self, seen: u32, at_most: Duration) {
        let Some(page) = self.page() else { return std::thread::sleep(at_most.min(Duration::from_millis(20))) };
        let word = page.word(self.own_word() as usize * 8);
        let count = |change: fn(&Word<'_>), knowing: fn(u32) -> u32| {
            let mut known = lock_mutex(&self.knowing);
            change(&word);
            *known = knowing(*known);
        };
        count(|word| word.enter(), |known| known + 1);
        word.sleep_entered(seen, at_most);
        count(|word| word.leave(), |known| known - 1);
    }

    /// Ends all running waits on the words of this process.
    pub fn wake(&self) {
        if let Some(page) = self.page() {
            page.word(self.own_word() as usize * 8).wake();
        }
    }
}

fn open(root: &Dir, access: Access) -> Result<Page> {
    match root.open_file(BELL, access) {
        Ok(file) => Page::map(&file, access == Access::ReadWrite),
        Err(Error::Io { .. }) if access == Access::ReadWrite => open(root, Access::Read),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    const LONG: Duration = Duration::from_secs(600);

    /// Two bells of one store, as two processes have them that share a word.
    fn two(place: &std::path::Path) -> (Bell, Bell) {
        let root = Arc::new(Dir::open(place, Disk::open().expect("a disk")).expect("there"));
        let bells = (Bell::new(Arc::clone(&root)), Bell::new(root));
        bells.0.ensure().expect("made");
        bells
    }

    fn sleepers(bell: &Bell) -> u32 {
        bell.page().expect("a page").word(bell.own_word() as usize * 8).sleepers()
    }

    fn until_there_are(bell: &Bell, count: u32) {
        while sleepers(bell) != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_knows_what_his_process_does_is_woken_by_others_only() {
        let place = tempfile::tempdir().expect("a directory");
        let (own, other) = two(place.path());
        let bit = 1 << own.own_word();
        let seen = own.watch();
        std::thread::scope(|scope| {
            let knowing = scope.spawn(|| own.wait_for_others(seen, LONG));
            until_there_are(&own, 1);
            let word = own.page().expect("a page").word(own.own_word() as usize * 8);
            word.ring_if(|word| {
                assert_eq!((word.sleepers(), *lock_mutex(&own.knowing)), (1, 1));
                false
            });
            own.ring(bit);
            // He sleeps on, though the bell was rung twice.
            assert_eq!((sleepers(&own), own.watch()), (1, seen + 2));
            other.ring(bit);
            knowing.join().expect("woken");
        });
        assert_eq!((sleepers(&own), *lock_mutex(&own.knowing)), (0, 0));
    }

    #[test]
    fn who_sleeps_beside_one_who_knows_is_woken() {
        let place = tempfile::tempdir().expect("a directory");
        let (own, other) = two(place.path());
        let seen = own.watch();
        std::thread::scope(|scope| {
            scope.spawn(|| own.wait_for_others(seen, LONG));
            until_there_are(&own, 1);
            let foreign = scope.spawn(|| other.wait(seen, LONG));
            until_there_are(&own, 2);
            own.ring(1 << own.own_word());
            foreign.join().expect("woken");
        });
    }
}
