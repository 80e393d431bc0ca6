//! Files: positioned reads and writes, sync, truncate.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::{Errno, ReadWriteFlags};

use super::{Disk, Op, Verdict};
use crate::error::{Error, Result};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What becomes of an open file while others can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Bytes.
    pub length: u64,
    /// Whether it is still in a directory. What is written to a file without a name is lost.
    pub has_name: bool,
}

/// So much is copied between two looks whether the work is to stop.
const COPY_BYTES: u64 = 8 << 20;
/// As much as stays in the processor's cache on its way.
const BUFFER_BYTES: usize = 256 << 10;

/// An open regular file of a store.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    path: PathBuf,
    disk: Arc<Disk>,
    inode: u64,
}

impl File {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, disk: Arc<Disk>, inode: u64) -> File {
        File { fd, path, disk, inode }
    }

    /// Where it was opened, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    pub(super) fn failed(&self, action: &'static str) -> impl Fn(Errno) -> Error + '_ {
        move |errno| Error::io(action, &self.path, errno)
    }

    /// Bytes.
    pub fn length(&self) -> Result<u64> {
        Ok(self.standing()?.length)
    }

    /// How the file stands now.
    pub fn standing(&self) -> Result<Standing> {
        let stat = rustix::fs::fstat(&self.fd).map_err(self.failed("stat"))?;
        Ok(Standing { length: u64::try_from(stat.st_size).unwrap_or(0), has_name: stat.st_nlink > 0 })
    }

    /// Reads from `position` until `buffer` is full or the file ends; says how many bytes.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::pread(&self.fd, &mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read")(errno)),
            }
        }
        Ok(done)
    }

    /// Writes all parts, one after another, from `position` on. After an error any part of it may
    /// have been written.
    pub fn write_all_at(&self, parts: &[&[u8]], position: u64) -> Result<()> {
        self.write(parts, position, ReadWriteFlags::empty())
    }

    /// Writes all parts, one after another, behind the last byte of the file: nothing that is in it
    /// can be written over. The caller believes that to be `expected`; whether it was, the length
    /// tells afterwards.
    pub fn append_all(&self, parts: &[&[u8]], expected: u64) -> Result<()> {
        self.write(parts, expected, ReadWriteFlags::APPEND)
    }

    fn write(&self, parts: &[&[u8]], position: u64, flags: ReadWriteFlags) -> Result<()> {
        match self.disk.ask(&Op::Write { file: self.inode, position, parts }) {
            Verdict::Go => self.write_parts(parts, position, flags).map_err(self.failed("write")),
            Verdict::Fail(errno) => Err(self.failed("write")(errno)),
            Verdict::Short(bytes, errno) => {
                let whole = parts.concat();
                self.write_parts(&[&whole[..bytes.min(whole.len())]], position, flags).map_err(self.failed("write"))?;
                Err(self.failed("write")(errno))
            }
        }
    }

    fn write_parts(&self, parts: &[&[u8]], mut position: u64, flags: ReadWriteFlags) -> rustix::io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev2(&self.fd, left, position, flags) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    IoSlice::advance_slices(&mut left, n);
                    position += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether it is not to be written to any more: it is read-only, or has more than one name, so that a
    /// copy of the store may be standing on it.
    pub fn is_frozen(&self) -> Result<bool> {
        let stat = rustix::fs::fstat(&self.fd).map_err(self.failed("stat"))?;
        Ok(stat.st_nlink > 1 || stat.st_mode & 0o200 == 0)
    }

    /// Takes the right to write from everybody.
    pub fn freeze(&self) -> Result<()> {
        let stat = rustix::fs::fstat(&self.fd).map_err(self.failed("stat"))?;
        let mode = stat.st_mode & 0o777 & !0o222;
        match rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)) {
            // Somebody else's, who let us give it a name.
            Err(Errno::PERM) => Ok(()),
            other => other.map_err(self.failed("change the mode of")),
        }
    }

    /// Copies the first `length` bytes of `source`, in the kernel where it can; file systems that share
    /// blocks share them. `each` is told what was copied, and may end it.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the source is shorter.
    pub fn copy_from(&self, source: &File, length: u64, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let mut position = 0;
        let mut by_kernel = !self.disk.is_watched();
        while position < length {
            let wanted = (length - position).min(COPY_BYTES);
            let copied = if by_kernel { self.copy_by_kernel(source, position, wanted)? } else { None };
            let copied = match copied {
                Some(copied) => copied,
                None => {
                    by_kernel = false;
                    self.copy_by_hand(source, position, wanted)?
                }
            };
            if copied == 0 {
                let what = format!("it has {position} bytes, and {length} were in it");
                return Err(Error::Damaged { path: source.path.clone(), position, what });
            }
            position += copied;
            each(copied)?;
        }
        Ok(())
    }

    /// `None` = between these two files the kernel does not.
    fn copy_by_kernel(&self, source: &File, position: u64, wanted: u64) -> Result<Option<u64>> {
        let (mut from, mut to) = (position, position);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(&source.fd, Some(&mut from), &self.fd, Some(&mut to), wanted) {
            Ok(copied) => Ok(Some(copied as u64)),
            Err(Errno::INTR) => self.copy_by_kernel(source, position, wanted as u64),
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
            Err(errno) => Err(self.failed("copy to")(errno)),
        }
    }

    fn copy_by_hand(&self, source: &File, position: u64, wanted: u64) -> Result<u64> {
        let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        let mut done = 0;
        while done < wanted {
            let part = buffer.len().min(usize::try_from(wanted - done).unwrap_or(usize::MAX));
            let n = source.read_at(&mut buffer[..part], position + done)?;
            if n == 0 {
                break;
            }
            self.write_all_at(&[&buffer[..n]], position + done)?;
            done += n as u64;
        }
        Ok(done)
    }

    /// Cuts the file, or extends it with zeros.
    pub fn truncate(&self, length: u64) -> Result<()> {
        self.disk.ask(&Op::Truncate { file: self.inode, length }).check().map_err(self.failed("truncate"))?;
        rustix::fs::ftruncate(&self.fd, length).map_err(self.failed("truncate"))
    }

    /// Waits until the contents, and the length, are on the disk.
    pub fn sync(&self) -> Result<()> {
        self.disk.ask(&Op::SyncFile { file: self.inode }).check().map_err(self.failed("sync"))?;
        rustix::fs::fdatasync(&self.fd).map_err(self.failed("sync"))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
