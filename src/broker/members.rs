//! Signs of life of a group's consumers, in a page that their processes share and that is never in
//! the journal: each holds a lock on a byte of its own, which the kernel frees when it dies, and
//! notes now and then that it is not stuck.

use crate::disk::{File, LockKind, PAGE_BYTES, Page};
use crate::error::Result;
use crate::ids::{ConsumerId, TimestampMs};
use crate::store::GroupFiles;

/// The lock of who moves entries to the dead-letter topic.
const BURIAL_BYTE: u64 = 1;
/// The lock of who writes a checkpoint, or says that the group goes on without events that are lost.
pub(super) const CHECKPOINT_BYTE: u64 = 2;
/// From here on each consumer has a byte.
const CONSUMERS_AT: u64 = 1 << 20;
const WORDS: u32 = (PAGE_BYTES / 8) as u32;

/// The page, open.
#[derive(Debug)]
pub(super) struct Members {
    file: File,
    page: Page,
}

impl Members {
    pub(super) fn open(files: &GroupFiles) -> Result<Members> {
        let file = files.members()?;
        if file.length()? < PAGE_BYTES as u64 {
            // Whoever comes at the same time writes the same.
            file.write_all_at(&[&[0; PAGE_BYTES]], 0)?;
        }
        let page = Page::map(&file, true)?;
        Ok(Members { file, page })
    }

    /// Takes the place of a consumer for this process; `false` when another one has it.
    pub(super) fn hold(&self, consumer: ConsumerId, now: TimestampMs) -> Result<bool> {
        let held = self.file.try_lock(byte_of(consumer), LockKind::Exclusive)?;
        if held {
            self.beat(consumer, now);
        }
        Ok(held)
    }

    pub(super) fn give_back(&self, consumer: ConsumerId) -> Result<()> {
        self.file.unlock(byte_of(consumer))
    }

    /// Says that the consumer lives. Those whose numbers meet in one word speak for each other; that
    /// one of them has died the locks tell all the same.
    pub(super) fn beat(&self, consumer: ConsumerId, now: TimestampMs) {
        self.page.store(word_of(consumer), now.0);
    }

    /// When a consumer that runs in another process was last heard of; `None` = that process has ended.
    pub(super) fn heard(&self, consumer: ConsumerId) -> Result<Option<TimestampMs>> {
        let lives = self.file.is_locked_elsewhere(byte_of(consumer))?;
        Ok(lives.then(|| TimestampMs(self.page.load(word_of(consumer)))))
    }

    /// Keeps others from moving entries to the dead-letter topic; `false` when somebody does.
    pub(super) fn begin_burial(&self) -> Result<bool> {
        self.file.try_lock(BURIAL_BYTE, LockKind::Exclusive)
    }

    pub(super) fn end_burial(&self) -> Result<()> {
        self.file.unlock(BURIAL_BYTE)
    }
}

fn byte_of(consumer: ConsumerId) -> u64 {
    CONSUMERS_AT + u64::from(consumer.get())
}

fn word_of(consumer: ConsumerId) -> usize {
    (consumer.get() % WORDS) as usize * 8
}
