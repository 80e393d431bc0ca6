//! One page of 64 words for a whole store: who waits for many logs sleeps on one of them.
//!
//! A waiter picks a word and sets its bit in the page of every log it follows; appenders ring the
//! words whose bits are set. Bits are never cleared: a ring that nobody waits for is one addition.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::disk::{Access, Dir, PAGE_BYTES, Page};
use crate::error::{Error, Result};

const BELL: &[u8] = b"bell";
const WORDS: u32 = 64;

/// The bell of a store. The file is opened when it is first rung or waited for.
#[derive(Debug)]
pub struct Bell {
    root: Arc<Dir>,
    page: OnceLock<Option<Page>>,
}

impl Bell {
    /// The bell in a store's directory.
    #[must_use]
    pub fn new(root: Arc<Dir>) -> Bell {
        Bell { root, page: OnceLock::new() }
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
            page.word(bits.trailing_zeros() as usize * 8).ring();
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
