//! Which file systems keep the promises that a store stands on: `mmap` and `write` of several
//! processes see one page cache, locks die with their holder, `fsync` means it.

use rustix::fs::StatVfsMountFlags;

use super::Dir;
use crate::error::{Error, Result};

const SAFE: [(u64, &str); 5] =
    [(0xef53, "ext4"), (0x5846_5342, "xfs"), (0x9123_683e, "btrfs"), (0x0102_1994, "tmpfs"), (0x794c_7630, "overlay")];

const UNSAFE: [(u64, &str); 12] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x0116_1970, "GFS2"),
];

/// What a file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written by somebody who is not root.
    pub free_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Files that may still be made; `None` = it has as many as there is room for.
    pub free_files: Option<u64>,
    /// Whether it is mounted read-only.
    pub is_readonly: bool,
}

/// What the file system of a directory has left.
///
/// # Errors
/// When the system does not tell.
pub fn room(dir: &Dir) -> Result<Room> {
    let stat = rustix::fs::fstatvfs(dir).map_err(|source| Error::io("stat the file system of", dir.path(), source))?;
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        // btrfs has no fixed number of them, and says 0.
        free_files: (stat.f_files > 0).then_some(stat.f_favail),
        is_readonly: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Refuses a directory on a file system that is not known to be safe.
///
/// # Errors
/// [`Error::StoreUnusable`], naming the file system and the way to insist.
pub fn check(dir: &Dir) -> Result<()> {
    let stat = rustix::fs::fstatfs(dir).map_err(|source| Error::io("stat the file system of", dir.path(), source))?;
    // f_type is signed and of different width on different machines; the magic is its low 32 bits.
    let magic = (stat.f_type as u64) & 0xffff_ffff;
    if SAFE.iter().any(|(safe, _)| *safe == magic) {
        return Ok(());
    }
    let name = UNSAFE.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name);
    let kind = match name {
        Some(name) => format!("the {name} file system"),
        None => format!("a file system of unknown kind (0x{magic:x})"),
    };
    let why = format!(
        "this directory is on {kind}, where several processes cannot share a store safely; \
         use ext4, xfs, btrfs or tmpfs, or insist with --unsafe-fs"
    );
    Err(Error::StoreUnusable { path: dir.path().to_owned(), why })
}
