//! A page of a file that all processes map and change at once.
#![expect(unsafe_code, reason = "shared memory is atomics at raw addresses")]

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::sigbus::Guard;
use super::{Disk, File};
use crate::error::{Error, Result};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// One shared-mapped page, or several in a row. All access is by atomics at aligned places; a page of a file that was
/// cut under us reads as zeros and says so ([`Page::is_lost`]).
#[derive(Debug)]
pub struct Page {
    // Dropped before the map: the handler must not touch memory that is somebody else's by then.
    guard: Guard,
    map: MmapRaw,
    bytes: usize,
    writable: bool,
    disk: Arc<Disk>,
}

impl Page {
    /// Maps the first page of `file`, which must have been written out in full: a hole could turn
    /// a full disk into a signal.
    pub fn map(file: &File, writable: bool) -> Result<Page> {
        Page::map_first(file, PAGE_BYTES, writable)
    }

    /// As [`Page::map`], so many bytes.
    pub fn map_first(file: &File, bytes: usize, writable: bool) -> Result<Page> {
        let length = file.length()?;
        if length < bytes as u64 {
            let what = format!("{length} bytes long, it should have {bytes}");
            return Err(Error::Damaged { path: file.path().to_owned(), position: length, what });
        }
        let fd = file.as_fd().as_raw_fd();
        let mut options = MmapOptions::new();
        options.len(bytes);
        let map = if writable { options.map_raw(fd) } else { options.map_raw_read_only(fd) };
        let map = map.map_err(|source| Error::io("map", file.path(), source))?;
        let guard = Guard::new(map.as_ptr() as usize, bytes, writable);
        Ok(Page { guard, map, bytes, writable, disk: Arc::clone(file.disk()) })
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether this process may change the page.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether the file was cut under the map: what is read since is zeros.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    fn u64(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.bytes, "an aligned word inside the page");
        // SAFETY: the map is `bytes` long and page-aligned, so the address is valid and aligned
        // for as long as `self` lives; every process accesses these bytes by atomics only.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    pub(super) fn u32(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.bytes, "an aligned word inside the page");
        // SAFETY: as in `u64`.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    /// Reads the number at byte `at` (a multiple of 8).
    #[must_use]
    pub fn load(&self, at: usize) -> u64 {
        self.u64(at).load(Ordering::SeqCst)
    }

    /// Changes the number at byte `at`. The page must be writable.
    pub fn store(&self, at: usize, value: u64) {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).store(value, Ordering::SeqCst);
    }

    /// Adds to the number at byte `at`, wrapping.
    pub fn add(&self, at: usize, value: u64) {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).fetch_add(value, Ordering::SeqCst);
    }

    /// Changes the number at byte `at` if it is `old`; `false` when somebody was faster.
    pub fn exchange(&self, at: usize, old: u64, new: u64) -> bool {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Sets the number at byte `at` to 0; returns what it was.
    pub fn take(&self, at: usize) -> u64 {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).swap(0, Ordering::SeqCst)
    }

    /// Sets bits of the number at byte `at`.
    pub fn set_bits(&self, at: usize, bits: u64) {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).fetch_or(bits, Ordering::SeqCst);
    }

    /// Clears bits of the number at byte `at`.
    pub fn clear_bits(&self, at: usize, bits: u64) {
        assert!(self.writable, "a read-only page is never stored to");
        self.u64(at).fetch_and(!bits, Ordering::SeqCst);
    }

    pub(super) fn add_u32(&self, at: usize, value: u32) {
        assert!(self.writable, "a read-only page is never stored to");
        self.u32(at).fetch_add(value, Ordering::SeqCst);
    }
}
