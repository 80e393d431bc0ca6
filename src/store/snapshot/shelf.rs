//! A directory of snapshots. Each is named by when it was made, in UTC, so that names sort as they came:
//! `2026-01-31T10-00-00.000Z`. What begins with a dot is being made, or removed, and is never read: it
//! becomes a snapshot by a rename, when all of it is on the disk.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::codec::Manifest;
use crate::codec::manifest::{BadManifest, MANIFEST, VERSION};
use crate::disk::{Access, Dir, Disk, EntryKind, File, LockKind};
use crate::error::{Error, Result};
use crate::ids::TimestampMs;

/// What the name of a snapshot that is being made begins with.
pub(super) const NEW: &str = ".new-";
const TRASH: &str = ".trash-";
const LOCK: &[u8] = b".lock";
const FORMAT: &str = "%Y-%m-%dT%H-%M-%S%.3fZ";
/// The day, in a name.
const DAY_BYTES: usize = 10;
/// A million topics with three groups each.
const MANIFEST_BYTES_MAX: usize = 1 << 30;

/// Which older snapshots stay; none said = all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub newest: Option<NonZeroU32>,
    /// The last one of each of so many days that have any.
    pub daily: Option<NonZeroU32>,
}

/// Which snapshots stand for one another.
pub(super) struct Selection<'a> {
    /// The id of the store that they were made of.
    pub(super) store: &'a str,
    /// The topics, as the manifest names them.
    pub(super) topics: &'a [String],
}

impl Selection<'_> {
    pub(super) fn is_of(&self, manifest: &Manifest) -> bool {
        manifest.store == self.store && manifest.topics == self.topics
    }
}

/// A directory of snapshots, for the one process that changes it.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: Dir,
    /// Holds the lock while it is open.
    _lock: File,
}

impl Shelf {
    /// Opens it for changing, and makes it if it is missing.
    pub(super) fn open(path: &Path, disk: &Arc<Disk>) -> Result<Shelf> {
        let dir = match Dir::open(path, Arc::clone(disk)) {
            Err(error) if error.is_not_found() => {
                Dir::create_path(path)?;
                Dir::sync_parent(path)?;
                Dir::open(path, Arc::clone(disk))?
            }
            other => other?,
        };
        let lock = open_lock(&dir, LOCK)?;
        if !lock.try_lock(0, LockKind::Exclusive)? {
            let (what, path) = ("making snapshots", path.to_owned());
            return Err(Error::Busy { what, path, holder: None, waited: Duration::ZERO });
        }
        Ok(Shelf { dir, _lock: lock })
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes what was cut short, as far as it can be; says how many of them.
    pub(super) fn clear(&self, kept_back: &mut Vec<(PathBuf, String)>) -> Result<u64> {
        let mut removed = 0;
        for entry in self.dir.list()? {
            let is_left = [NEW, TRASH].iter().any(|prefix| entry.name.starts_with(prefix.as_bytes()));
            if is_left && entry.kind == EntryKind::Dir {
                match self.dir.remove_dir_all(&entry.name) {
                    Ok(()) => removed += 1,
                    Err(error) => {
                        let name = String::from_utf8_lossy(&entry.name).into_owned();
                        kept_back.push((self.dir.path().join(name), error.to_string()));
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Makes a snapshot of what is whole under a temporary name; says its name.
    pub(super) fn accept(&self, temporary: &str, made: TimestampMs) -> Result<String> {
        // The newest by name is the newest, also when the clock was set back.
        let last = names(&self.dir)?.last().and_then(|name| made_at(name)).unwrap_or_default();
        let mut made = made.0.max(last.0.saturating_add(1));
        loop {
            let name = name_of(TimestampMs(made));
            if self.dir.rename_new(temporary.as_bytes(), &self.dir, name.as_bytes())? {
                self.dir.sync()?;
                return Ok(name);
            }
            made += 1;
        }
    }

    /// Removes the snapshots that are not to be kept; says which. Those of another selection, and what is
    /// not whole, are not counted, and not removed.
    pub(super) fn prune(&self, keep: &Keep, of: &Selection<'_>, kept_back: &mut Vec<(PathBuf, String)>) -> Vec<PathBuf> {
        if *keep == Keep::default() {
            return Vec::new();
        }
        let mut whole = names(&self.dir).unwrap_or_else(|error| {
            kept_back.push((self.dir.path().to_owned(), error.to_string()));
            Vec::new()
        });
        whole.retain(|name| {
            self.dir.dir(name.as_bytes()).and_then(|dir| read_manifest(&dir)).is_ok_and(|manifest| of.is_of(&manifest))
        });
        let kept = kept(&whole, keep);
        let mut removed = Vec::new();
        for name in whole.iter().filter(|name| !kept.contains(*name)) {
            let trash = format!("{TRASH}{name}");
            let mut left = name;
            let renamed = self.dir.rename(name.as_bytes(), &self.dir, trash.as_bytes());
            let done = renamed.and_then(|()| {
                left = &trash;
                self.dir.remove_dir_all(trash.as_bytes())
            });
            match done {
                Ok(()) => removed.push(self.dir.path().join(name)),
                Err(error) => kept_back.push((self.dir.path().join(left), error.to_string())),
            }
        }
        removed
    }
}

/// A file for a lock, made if it is missing.
pub(in crate::store) fn open_lock(dir: &Dir, name: &[u8]) -> Result<File> {
    match dir.create_file(name) {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => dir.open_file(name, Access::ReadWrite),
        other => other,
    }
}

fn kept(names: &[String], keep: &Keep) -> BTreeSet<String> {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let count = |number: Option<NonZeroU32>| number.map_or(0, |number| number.get() as usize);
    kept.extend(names.iter().rev().take(count(keep.newest)).cloned());
    let mut days: BTreeSet<&str> = BTreeSet::new();
    for name in names.iter().rev() {
        if days.len() < count(keep.daily) && days.insert(&name[..DAY_BYTES]) {
            kept.insert(name.clone());
        }
    }
    kept
}

/// The names of all snapshots in `dir`, the oldest first.
pub(in crate::store) fn names(dir: &Dir) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.list()?.into_iter().filter(|entry| entry.kind == EntryKind::Dir) {
        let name = String::from_utf8(entry.name).ok();
        names.extend(name.filter(|name| made_at(name).is_some()));
    }
    names.sort_unstable();
    Ok(names)
}

/// The newest whole snapshot in `dir` that is `wanted`; `each` is told of newer ones that are not whole.
pub(in crate::store) fn newest(
    dir: &Dir,
    mut wanted: impl FnMut(&Manifest) -> bool,
    mut each: impl FnMut(&str, Error),
) -> Result<Option<(String, Manifest)>> {
    for name in names(dir)?.into_iter().rev() {
        match dir.dir(name.as_bytes()).and_then(|snapshot| read_manifest(&snapshot)) {
            Ok(manifest) if wanted(&manifest) => return Ok(Some((name, manifest))),
            Ok(_) => {}
            Err(error) => each(&name, error),
        }
    }
    Ok(None)
}

/// What is in a directory of snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundSnapshots {
    /// Those whose manifest can be read.
    pub whole: u64,
    /// Those whose manifest cannot.
    pub damaged: u64,
    /// When the newest whole one was made, and the bytes of its files.
    pub newest: Option<(TimestampMs, u64)>,
}

/// Looks at a directory of snapshots, by their manifests; one that is missing has none.
pub fn look_at_snapshots(path: &Path) -> Result<FoundSnapshots> {
    let dir = match Dir::open(path, Disk::open()?) {
        Err(error) if error.is_not_found() => return Ok(FoundSnapshots::default()),
        other => other?,
    };
    let mut found = FoundSnapshots::default();
    for name in names(&dir)? {
        match dir.dir(name.as_bytes()).and_then(|snapshot| read_manifest(&snapshot)) {
            Ok(manifest) => {
                found.whole += 1;
                found.newest = Some((manifest.made, manifest.bytes()));
            }
            Err(_) => found.damaged += 1,
        }
    }
    Ok(found)
}

/// Reads a snapshot's manifest.
///
/// # Errors
/// Not found when there is none; [`Error::Damaged`]; [`Error::VersionTooNew`].
pub(in crate::store) fn read_manifest(snapshot: &Dir) -> Result<Manifest> {
    let path = snapshot.path().join(MANIFEST);
    let bytes = snapshot.read(MANIFEST.as_bytes(), MANIFEST_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| Error::io("open", &path, std::io::ErrorKind::NotFound))?;
    parse_manifest(&bytes, path)
}

/// Reads the bytes of the manifest at `path`.
pub(in crate::store) fn parse_manifest(bytes: &[u8], path: PathBuf) -> Result<Manifest> {
    Manifest::parse(bytes).map_err(|bad| match bad {
        BadManifest::TooNew(found) => Error::VersionTooNew { path, found, supported: VERSION },
        BadManifest::Damaged(what) => Error::Damaged { path, position: 0, what },
    })
}

fn name_of(made: TimestampMs) -> String {
    let made = Timestamp::from_millisecond(i64::try_from(made.0).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    made.strftime(FORMAT).to_string()
}

/// `None` = not the name of a snapshot.
fn made_at(name: &str) -> Option<TimestampMs> {
    let time = jiff::civil::DateTime::strptime(FORMAT, name).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let made = TimestampMs(u64::try_from(time.timestamp().as_millisecond()).ok()?);
    (name_of(made) == name).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_and_nothing_else_is_one() {
        let made = TimestampMs(1_769_853_600_007);
        assert_eq!(name_of(made), "2026-01-31T10-00-00.007Z");
        assert_eq!(made_at("2026-01-31T10-00-00.007Z"), Some(made));
        for foreign in ["2026-01-31", "2026-01-31T10-00-00Z", "2026-13-31T10-00-00.007Z", ".new-x", "lost+found", ""] {
            assert_eq!(made_at(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_newest_and_the_last_of_each_day_are_kept() {
        let names: Vec<String> = [
            "2026-01-01T10-00-00.000Z",
            "2026-01-01T11-00-00.000Z",
            "2026-01-03T10-00-00.000Z",
            "2026-01-03T11-00-00.000Z",
            "2026-01-03T12-00-00.000Z",
        ]
        .map(str::to_owned)
        .into();
        let kept = |newest, daily| -> Vec<usize> {
            let keep = Keep { newest: NonZeroU32::new(newest), daily: NonZeroU32::new(daily) };
            let kept = super::kept(&names, &keep);
            (0..names.len()).filter(|at| kept.contains(&names[*at])).collect()
        };
        assert_eq!(kept(2, 0), [3, 4]);
        assert_eq!(kept(0, 1), [4]);
        assert_eq!(kept(2, 2), [1, 3, 4]);
        assert_eq!(kept(9, 9), [0, 1, 2, 3, 4]);
    }
}
