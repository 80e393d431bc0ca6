//! Maps of files that only grow.
#![expect(unsafe_code, reason = "mapping a file is unsafe: somebody could change it")]

use std::ops::Deref;
use std::os::fd::{AsFd as _, AsRawFd as _};

use memmap2::{Advice, Mmap, MmapOptions};

use super::File;
use super::sigbus::Guard;
use crate::error::{Error, Result};

/// The first bytes of a file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    // Dropped before the map: the handler must not touch memory that is somebody else's by then.
    guard: Guard,
    map: Mmap,
}

impl Map {
    /// Maps the first `length` bytes, which must be in the file and must not change any more:
    /// segments only grow, and what is below the log end is never written again.
    pub fn new(file: &File, length: u64) -> Result<Map> {
        let length = usize::try_from(length).expect("a segment fits into the address space");
        // SAFETY: drave never changes or cuts bytes below a log end, which is all that is mapped.
        // Whoever else does so can make reads differ from one another, which the checksum of every
        // frame is there to find; a file that is cut is caught by the guard and reads as zeros.
        let map = unsafe { MmapOptions::new().len(length).map(file.as_fd().as_raw_fd()) };
        let map = map.map_err(|source| Error::io("map", file.path(), source))?;
        let guard = Guard::new(map.as_ptr() as usize, length, false);
        Ok(Map { guard, map })
    }

    /// Has the kernel bring `range` into memory, and the map, in one go.
    pub fn populate(&self, from: usize, length: usize) {
        let from = from & !(super::PAGE_BYTES - 1);
        let length = length.min(self.map.len().saturating_sub(from));
        if length > 0 {
            let _ = self.map.advise_range(Advice::PopulateRead, from, length);
        }
    }

    /// Whether the file was cut under the map.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
