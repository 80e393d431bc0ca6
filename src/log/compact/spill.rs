//! Entries that do not fit into memory, in one temporary file: sorted into parts, each written a block at a
//! time and read back alone.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::disk::{Dir, File};
use crate::error::Result;

/// One write. 256 parts then take 4 MiB of memory.
const BLOCK_BYTES: usize = 16 << 10;

/// The parts, and the file that they lie in, which is removed with them.
#[derive(Debug)]
pub(super) struct Spill<'a> {
    dir: &'a Dir,
    name: String,
    file: File,
    entry_bytes: usize,
    blocks: u64,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Default)]
struct Part {
    /// Which blocks of the file are its own, in order.
    blocks: Vec<u32>,
    /// What is not written yet.
    buffer: Vec<u8>,
    entries: u64,
}

impl<'a> Spill<'a> {
    pub(super) fn create(dir: &'a Dir, prefix: &str, parts: usize, entry_bytes: usize) -> Result<Spill<'a>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}{:08x}-{}", super::random_salt(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = dir.create_file(name.as_bytes())?;
        Ok(Spill { dir, name, file, entry_bytes, blocks: 0, parts: vec![Part::default(); parts] })
    }

    pub(super) fn push(&mut self, part: usize, entry: &[u8]) -> Result<()> {
        debug_assert_eq!(entry.len(), self.entry_bytes);
        let part = &mut self.parts[part];
        part.entries += 1;
        part.buffer.extend_from_slice(entry);
        if part.buffer.len() + self.entry_bytes > BLOCK_BYTES {
            self.file.write_all_at(&[&part.buffer], self.blocks * BLOCK_BYTES as u64)?;
            part.blocks.push(u32::try_from(self.blocks).expect("a file of 64 TiB"));
            part.buffer.clear();
            self.blocks += 1;
        }
        Ok(())
    }

    pub(super) fn entries(&self, part: usize) -> u64 {
        self.parts[part].entries
    }

    /// Hands out the entries of a part, in the order in which they came.
    pub(super) fn for_each(&self, part: usize, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let part = &self.parts[part];
        let length = BLOCK_BYTES / self.entry_bytes * self.entry_bytes;
        let mut block = vec![0; length];
        for at in &part.blocks {
            let n = self.file.read_at(&mut block, u64::from(*at) * BLOCK_BYTES as u64)?;
            block[..n].chunks_exact(self.entry_bytes).try_for_each(&mut each)?;
        }
        part.buffer.chunks_exact(self.entry_bytes).try_for_each(each)
    }
}

impl Drop for Spill<'_> {
    fn drop(&mut self) {
        // What cannot be removed now goes with the next run.
        let _ = self.dir.unlink(self.name.as_bytes());
    }
}
