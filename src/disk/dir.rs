//! Directories. Everything inside a store is reached from an open directory by one plain name, and
//! no symbolic link is followed on the way.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::random::random_name;
use super::{Access, BootId, Disk, File, Op};
use crate::error::{Error, Result};

/// An open directory of a store.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    disk: Arc<Disk>,
    owner: Owner,
    inode: u64,
}

/// What new files and directories take over from the store's directory.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
    /// Whether what this process creates would differ in owner, group or mode.
    differs: bool,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A link, a socket, a device ...
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// Facts about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub length: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Last change of the contents, in ms since 1970.
    pub modified_ms: u64,
}

impl Dir {
    /// Opens the directory at `path`, which may lead through links: it is the user's. What is made
    /// inside takes its owner, group and mode.
    pub fn open(path: &Path, disk: Arc<Disk>) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|source| Error::io("open", path, source))?;
        let stat = rustix::fs::fstat(&fd).map_err(|source| Error::io("stat", path, source))?;
        let owner = Owner::of(stat.st_uid, stat.st_gid, stat.st_mode & 0o777);
        Ok(Dir { fd, path: path.to_owned(), disk, owner, inode: stat.st_ino })
    }

    /// Makes a directory and what is missing above it, the last one with mode 0700.
    pub fn create_path(path: &Path) -> Result<()> {
        let wrap = |source: std::io::Error| Error::io("make the directory", path, source);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(wrap)?;
        }
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(source) => Err(wrap(source.into())),
        }
    }

    /// Syncs the directory that holds `path`, so that its name survives a power loss.
    pub fn sync_parent(path: &Path) -> Result<()> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = std::fs::File::open(parent).map_err(|source| Error::io("open", parent, source))?;
        file.sync_all().map_err(|source| Error::io("sync", parent, source))
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What all files of the store have in common.
    #[must_use]
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Its descriptor.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The boot this process runs in.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.disk.boot()
    }

    /// How long the machine has been up, in ms.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        self.disk.uptime_ms()
    }

    /// Waits before trying again what another process is at.
    pub fn pause(&self, time: Duration) {
        if !self.disk.yields() {
            std::thread::sleep(time);
        }
    }

    fn join(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    fn failed<'a>(&'a self, action: &'static str, name: &'a [u8]) -> impl Fn(Errno) -> Error + 'a {
        move |errno| {
            let path = self.join(name);
            if errno == Errno::LOOP {
                let why = "is a symbolic link, and inside a store none is followed; remove it".to_owned();
                return Error::StoreUnusable { path, why };
            }
            Error::io(action, path, errno)
        }
    }

    /// Opens a directory in it.
    pub fn dir(&self, name: &[u8]) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = |flags| rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        // With DIRECTORY, a link answers "not a directory"; ask what it is to say so.
        let fd = open(flags).map_err(|errno| match self.stat(name) {
            Ok(Some(meta)) if errno == Errno::NOTDIR && meta.kind == EntryKind::Other => self.failed("open", name)(Errno::LOOP),
            _ => self.failed("open", name)(errno),
        })?;
        let inode = rustix::fs::fstat(&fd).map_err(self.failed("stat", name))?.st_ino;
        Ok(Dir { fd, path: self.join(name), disk: Arc::clone(&self.disk), owner: self.owner, inode })
    }

    /// Makes a directory in it; an existing one is an error.
    pub fn make_dir(&self, name: &[u8]) -> Result<()> {
        let failed = self.failed("make the directory", name);
        self.disk.ask(&Op::Create { dir: self.inode, name, is_dir: true }).check().map_err(&failed)?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(self.owner.mode)).map_err(&failed)?;
        if self.owner.differs {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(&failed)?;
            self.owner.apply(fd.as_fd(), self.owner.mode).map_err(&failed)?;
        }
        Ok(())
    }

    /// Opens a file in it.
    pub fn open_file(&self, name: &[u8], access: Access) -> Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        self.file(name, flags, "open")
    }

    /// Makes a file in it, open for reading and writing; an existing one is an error.
    pub fn create_file(&self, name: &[u8]) -> Result<File> {
        self.disk.ask(&Op::Create { dir: self.inode, name, is_dir: false }).check().map_err(self.failed("create", name))?;
        let file = self.file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, "create")?;
        if self.owner.differs {
            self.owner.apply(file.as_fd(), self.owner.mode & 0o666).map_err(self.failed("set the owner of", name))?;
        }
        Ok(file)
    }

    fn file(&self, name: &[u8], flags: OFlags, action: &'static str) -> Result<File> {
        // NONBLOCK: a fifo that somebody put there must not hang us. It means nothing for files.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(self.owner.mode & 0o666);
        let fd = rustix::fs::openat(&self.fd, name, flags, mode).map_err(self.failed(action, name))?;
        let stat = rustix::fs::fstat(&fd).map_err(self.failed("stat", name))?;
        if kind_of(FileType::from_raw_mode(stat.st_mode)) != EntryKind::File {
            let why = "is not a regular file; remove it".to_owned();
            return Err(Error::StoreUnusable { path: self.join(name), why });
        }
        Ok(File::new(fd, self.join(name), Arc::clone(&self.disk), stat.st_ino))
    }

    /// Facts about `name`, or about `name/inner`; `None` when it is not there.
    pub fn stat(&self, name: &[u8]) -> Result<Option<Meta>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Meta {
                inode: stat.st_ino,
                length: u64::try_from(stat.st_size).unwrap_or(0),
                kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
                modified_ms: u64::try_from(stat.st_mtime * 1000 + stat.st_mtime_nsec as i64 / 1_000_000).unwrap_or(0),
            })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.failed("stat", name)(errno)),
        }
    }

    /// All entries but `.` and `..`, in no order.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let failed = |errno| Error::io("list", &self.path, errno);
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.stat(name)?.map_or(EntryKind::Other, |meta| meta.kind),
                known => kind_of(known),
            };
            entries.push(Entry { name: name.to_vec(), kind });
        }
        Ok(entries)
    }

    /// Renames `name` to `new_name` in `to`, replacing what is there.
    pub fn rename(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<()> {
        self.rename_with(name, to, new_name, RenameFlags::empty()).map_err(self.failed("rename", name))
    }

    /// Renames `name` to `new_name` in `to`; `false` when something is there already.
    pub fn rename_new(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<bool> {
        match self.rename_with(name, to, new_name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(self.failed("rename", name)(errno)),
        }
    }

    fn rename_with(&self, name: &[u8], to: &Dir, new_name: &[u8], flags: RenameFlags) -> rustix::io::Result<()> {
        if flags.contains(RenameFlags::NOREPLACE) && matches!(to.stat(new_name), Ok(Some(_))) {
            return Err(Errno::EXIST);
        }
        self.disk.ask(&Op::Rename { from: self.inode, name, to: to.inode, new_name }).check()?;
        rustix::fs::renameat_with(&self.fd, name, &to.fd, new_name, flags)
    }

    /// Gives two entries each other's name, at once: at no time is one of the names missing.
    pub fn exchange(&self, name: &[u8], other: &[u8]) -> Result<()> {
        let failed = self.failed("exchange", name);
        self.disk.ask(&Op::Exchange { dir: self.inode, name, other }).check().map_err(&failed)?;
        rustix::fs::renameat_with(&self.fd, name, &self.fd, other, RenameFlags::EXCHANGE).map_err(&failed)
    }

    /// Gives a file a second name, in `to`.
    pub fn link(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<()> {
        let failed = self.failed("link", name);
        self.disk.ask(&Op::Link { from: self.inode, name, to: to.inode, new_name }).check().map_err(&failed)?;
        rustix::fs::linkat(&self.fd, name, &to.fd, new_name, AtFlags::empty()).map_err(&failed)
    }

    /// Removes a file.
    pub fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name, AtFlags::empty())
    }

    /// Removes a directory and everything in it.
    pub fn remove_dir_all(&self, name: &[u8]) -> Result<()> {
        let dir = self.dir(name)?;
        for entry in dir.list()? {
            match entry.kind {
                EntryKind::Dir => dir.remove_dir_all(&entry.name)?,
                EntryKind::File | EntryKind::Other => dir.unlink(&entry.name)?,
            }
        }
        self.remove(name, AtFlags::REMOVEDIR)
    }

    fn remove(&self, name: &[u8], flags: AtFlags) -> Result<()> {
        let failed = self.failed("remove", name);
        self.disk.ask(&Op::Unlink { dir: self.inode, name }).check().map_err(&failed)?;
        rustix::fs::unlinkat(&self.fd, name, flags).map_err(&failed)
    }

    /// Waits until all changes of names in it are on the disk.
    pub fn sync(&self) -> Result<()> {
        let failed = |errno| Error::io("sync", &self.path, errno);
        self.disk.ask(&Op::SyncDir { dir: self.inode }).check().map_err(failed)?;
        rustix::fs::fsync(&self.fd).map_err(failed)
    }

    /// Waits until everything below it is on the disk, names and contents.
    pub fn sync_tree(&self) -> Result<()> {
        if !self.disk.is_watched() {
            // One flush for all of it, where one for each of many thousand files would take seconds.
            return rustix::fs::syncfs(&self.fd).map_err(|errno| Error::io("sync", &self.path, errno));
        }
        for entry in self.list()? {
            match entry.kind {
                EntryKind::Dir => self.dir(&entry.name)?.sync_tree()?,
                EntryKind::File => self.open_file(&entry.name, Access::Read)?.sync()?,
                EntryKind::Other => {}
            }
        }
        self.sync()
    }

    /// Reads a small file whole; `None` when it is not there.
    pub fn read(&self, name: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let file = match self.open_file(name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX).min(bytes_max)];
        let n = file.read_at(&mut bytes, 0)?;
        bytes.truncate(n);
        Ok(Some(bytes))
    }

    /// Puts a small file in place, whole and durable but for its name, unless one is there already.
    pub fn create_new(&self, name: &[u8], bytes: &[u8]) -> Result<()> {
        let temporary = self.write_temporary(bytes, true)?;
        match self.rename_new(&temporary, self, name) {
            Ok(true) => Ok(()),
            Ok(false) => self.unlink(&temporary),
            Err(error) => {
                let _ = self.unlink(&temporary);
                Err(error)
            }
        }
    }

    /// Puts a small file in place so that after a crash it is the old one or the new one, whole.
    /// With `durable` it is the new one once this returns.
    pub fn replace(&self, name: &[u8], bytes: &[u8], durable: bool) -> Result<()> {
        let temporary = self.write_temporary(bytes, durable)?;
        if let Err(error) = self.rename(&temporary, self, name) {
            let _ = self.unlink(&temporary);
            return Err(error);
        }
        if durable { self.sync() } else { Ok(()) }
    }

    fn write_temporary(&self, bytes: &[u8], durable: bool) -> Result<Vec<u8>> {
        let name = format!(".tmp-{}", random_name()).into_bytes();
        let file = self.create_file(&name)?;
        let written = file.write_all_at(&[bytes], 0).and_then(|()| if durable { file.sync() } else { Ok(()) });
        match written {
            Ok(()) => Ok(name),
            Err(error) => {
                let _ = self.unlink(&name);
                Err(error)
            }
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Owner {
    fn of(uid: u32, gid: u32, mode: u32) -> Owner {
        let is_ours = uid == rustix::process::geteuid().as_raw() && gid == rustix::process::getegid().as_raw();
        // Bits for others may fall to the umask.
        Owner { uid, gid, mode, differs: !is_ours || mode & 0o077 != 0 }
    }

    fn apply(self, fd: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
        let uid = rustix::fs::Uid::from_raw(self.uid);
        let gid = rustix::fs::Gid::from_raw(self.gid);
        match rustix::fs::fchown(fd, Some(uid), Some(gid)) {
            // Only root may give files away; for others the group alone may work, and if it does
            // not, the file is at least theirs.
            Err(Errno::PERM) => match rustix::fs::fchown(fd, None, Some(gid)) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            },
            other => other?,
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))
    }
}

fn kind_of(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Dir,
        _ => EntryKind::Other,
    }
}
