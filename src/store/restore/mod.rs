//! Making a store, or topics of one, of a snapshot.
//!
//! Everything is copied under other names, every byte is verified, and all of it is on the disk before
//! anybody can see any of it. A store that is made has `store.toml` last, and a file beside it that says
//! that it is being made; a topic that comes into a store that is there gets its name by one rename. What
//! is cut short is recognised by these names, is no store and no topic, and goes with the next restore.
//!
//! | file | job |
//! |---|---|
//! | `staging` | the place that is restored into, until all of it is in force |
//! | `unpack` | from a tar |

mod staging;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::snapshot::shelf;
use super::{STORE_FILE, Store, StoreOptions};
use crate::clock::Clock;
use crate::codec::manifest::{MANIFEST, Place};
use crate::codec::{Manifest, name};
use crate::disk::{Access, Dir, Disk, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{TimestampMs, TopicName};
use crate::job::Job;

pub(super) use staging::RESTORING;
pub use unpack::restore_stream;

use staging::Staging;

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// These topics; none = all.
    pub topics: Vec<TopicName>,
    /// Those of these, too, that are in the snapshot: the topics of their dead letters.
    pub letters: Vec<TopicName>,
    /// Topics that are there already are replaced.
    pub replace: bool,
    /// Use a directory though its file system is not known to be safe.
    pub unsafe_fs: bool,
    /// The time.
    pub clock: Clock,
}

/// What was restored.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// When the snapshot was made.
    pub made: TimestampMs,
    /// The topics, by name.
    pub topics: Vec<TopicName>,
    /// Their records, from log start to log end.
    pub records: u64,
    /// Bytes that were copied and verified.
    pub bytes: u64,
    /// What restores that were cut short had left, and was removed.
    pub leftovers: u64,
}

/// A whole snapshot in a directory.
#[derive(Debug)]
pub struct FoundSnapshot {
    dir: Dir,
    manifest: Manifest,
    /// Newer ones beside it that are not whole, and why.
    pub passed_over: Vec<(PathBuf, String)>,
    /// There is none of all topics beside it.
    pub is_only_partial: bool,
}

/// The snapshot in the directory `path`, or of those in it the newest whole one of all topics; if there are
/// only such of some topics, the newest of these.
///
/// # Errors
/// [`Error::EntryRefused`] when there are snapshots of several stores;
/// [`Error::NameMissing`] when there is none; [`Error::Damaged`] and [`Error::VersionTooNew`] of its manifest.
pub fn find_snapshot(path: &Path) -> Result<FoundSnapshot> {
    find_on(path, Disk::open()?)
}

pub(crate) fn find_on(path: &Path, disk: Arc<Disk>) -> Result<FoundSnapshot> {
    let missing = || Error::NameMissing { kind: "snapshot", name: path.to_string_lossy().into_owned() };
    let dir = match Dir::open(path, disk) {
        Err(error) if error.is_not_found() => return Err(missing()),
        other => other?,
    };
    if dir.stat(MANIFEST.as_bytes())?.is_some() {
        let manifest = shelf::read_manifest(&dir)?;
        return Ok(FoundSnapshot { dir, manifest, passed_over: Vec::new(), is_only_partial: false });
    }
    newest_in(dir)?.ok_or_else(missing)
}

fn newest_in(dir: Dir) -> Result<Option<FoundSnapshot>> {
    let (mut whole, mut partial, mut store) = (None, None, None);
    let (mut passed_over, mut partials) = (Vec::new(), Vec::new());
    for name in shelf::names(&dir)?.into_iter().rev() {
        let path = dir.path().join(&name);
        match dir.dir(name.as_bytes()).and_then(|snapshot| shelf::read_manifest(&snapshot)) {
            Ok(manifest) if *store.get_or_insert_with(|| manifest.store.clone()) != manifest.store => {
                let why = "it holds snapshots of several stores; name the snapshot that is to be restored".to_owned();
                return Err(Error::EntryRefused { path: dir.path().to_owned(), why });
            }
            Ok(_) if whole.is_some() => {}
            Ok(manifest) if manifest.topics.is_empty() => whole = Some((name, manifest)),
            Ok(manifest) => {
                partials.push((path, "it was made of some topics only".to_owned()));
                partial = partial.or(Some((name, manifest)));
            }
            Err(error) if whole.is_none() => passed_over.push((path, error.to_string())),
            Err(_) => {}
        }
    }
    if whole.is_some() {
        passed_over.append(&mut partials);
    }
    let is_only_partial = whole.is_none();
    match (whole.or(partial), passed_over.pop()) {
        (Some((name, manifest)), last) => {
            passed_over.extend(last);
            Ok(Some(FoundSnapshot { dir: dir.dir(name.as_bytes())?, manifest, passed_over, is_only_partial }))
        }
        (None, Some((path, what))) => Err(Error::Damaged { path, position: 0, what }),
        (None, None) => Ok(None),
    }
}

impl FoundSnapshot {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Bytes of its logs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.manifest.logs.iter().map(crate::codec::LogFacts::bytes).sum()
    }

    /// Which topics a restore would replace in the store at `into`.
    pub fn conflicts(&self, into: &Path, options: &RestoreOptions) -> Result<Vec<TopicName>> {
        let opening = StoreOptions { create: false, unsafe_fs: options.unsafe_fs, clock: options.clock.clone() };
        let disk = Arc::clone(self.dir.disk());
        match Dir::open(into, Arc::clone(&disk)) {
            Ok(root) if root.stat(STORE_FILE.as_bytes())?.is_some() => {}
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let wanted = Wanted::of(options);
        let own: BTreeSet<&str> = self.manifest.logs.iter().filter_map(|log| topic_of(&log.path)).collect();
        let listed = Store::open_on(into, &opening, disk)?.list_topics()?;
        let is_both = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| own.contains(name) && wanted.has_topic(name));
        Ok(listed.into_iter().filter(|topic| is_both(&topic.file_name)).map(|topic| topic.name).collect())
    }
}

/// Restores a snapshot into `into`: an absent or empty directory, or a store.
///
/// # Errors
/// [`Error::Damaged`], naming the file of the snapshot that is not what was copied, or missing;
/// [`Error::EntryRefused`] for one that does not belong there; [`Error::NotEmpty`] when `into` is
/// something else than a store; [`Error::TopicExists`] for a topic that is there and is not to be replaced;
/// [`Error::TopicMissing`] for one that the snapshot does not have. After an error nothing has changed, but
/// that topics of a store that were in their places by then stay.
pub fn restore(found: &FoundSnapshot, into: &Path, options: &RestoreOptions, job: &Job) -> Result<Restored> {
    let wanted = Wanted::of(options);
    let mut seen = BTreeMap::new();
    list(&found.dir, "", &mut seen)?;
    wanted.check(&found.manifest, &seen, found.path())?;
    let disk = Arc::clone(found.dir.disk());
    let mut staging = Staging::open(into, options, disk)?;
    let done = copy(found, &wanted, &mut staging, job).and_then(|()| staging.finish(&found.manifest, found.path(), job));
    if done.is_err() {
        staging.abandon();
    }
    done
}

fn copy(found: &FoundSnapshot, wanted: &Wanted, staging: &mut Staging<'_>, job: &Job) -> Result<()> {
    for file in found.manifest.files.iter().filter(|file| wanted.has(&file.path)) {
        copy_file(found, &file.path, file.bytes, staging, job)?;
    }
    for log in found.manifest.logs.iter().filter(|log| wanted.has(&log.path)) {
        for segment in &log.segments {
            copy_file(found, &format!("{}/{}", log.path, segment.file_name()), segment.bytes, staging, job)?;
        }
    }
    Ok(())
}

fn copy_file(found: &FoundSnapshot, path: &str, bytes: u64, staging: &mut Staging<'_>, job: &Job) -> Result<()> {
    job.check()?;
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = found.dir.dir(b".")?;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        dir = dir.dir(part.as_bytes())?;
    }
    let source = dir.open_file(name.as_bytes(), Access::Read)?;
    if staging.is_small(path) {
        let mut contents = vec![0; usize::try_from(source.length()?.min(bytes.saturating_add(1))).unwrap_or(usize::MAX)];
        let n = source.read_at(&mut contents, 0)?;
        contents.truncate(n);
        return staging.keep(path, contents);
    }
    staging.create(path)?.copy_from(&source, bytes, |bytes| {
        job.advance(bytes);
        job.check()
    })
}

/// Which parts of a snapshot are restored.
#[derive(Debug)]
struct Wanted {
    /// Directories of topics; `None` = all.
    topics: Option<BTreeMap<String, TopicName>>,
    /// Those of these, too, that are there.
    letters: BTreeSet<String>,
}

impl Wanted {
    fn of(options: &RestoreOptions) -> Wanted {
        let named = options.topics.iter().map(|topic| (name::escape(topic.as_bytes()), topic.clone()));
        let letters = options.letters.iter().map(|topic| name::escape(topic.as_bytes())).collect();
        Wanted { topics: (!options.topics.is_empty()).then(|| named.collect()), letters }
    }

    fn has_topic(&self, file_name: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.contains_key(file_name) || self.letters.contains(file_name))
    }

    /// Whether the file, or log, at `path` is wanted. Without topic, it is the store's.
    fn has(&self, path: &str) -> bool {
        topic_of(path).is_none_or(|topic| self.has_topic(topic))
    }

    /// What there is has to be what the manifest names: no more, and of what is wanted no less.
    fn check(&self, manifest: &Manifest, seen: &BTreeMap<String, EntryKind>, origin: &Path) -> Result<()> {
        if let Some(missing) = self.topics.iter().flatten().find(|(name, _)| !has_topic(manifest, name)) {
            return Err(Error::TopicMissing { topic: missing.1.clone() });
        }
        let mut files: BTreeSet<String> = manifest.files.iter().map(|file| file.path.clone()).collect();
        for log in &manifest.logs {
            files.extend(log.segments.iter().map(|segment| format!("{}/{}", log.path, segment.file_name())));
        }
        for (path, kind) in seen {
            let is_below = |above: &String| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let is_dropped = manifest.dropped.iter().any(is_below);
            let is_named = match kind {
                EntryKind::File => path == MANIFEST || files.contains(path),
                // It holds what is named, or nothing: a group that was deleted meanwhile, say.
                EntryKind::Dir => path.is_empty() || Place::is_dir(path),
                EntryKind::Other => false,
            };
            if !is_named && !is_dropped {
                let why = "its manifest does not name it; nothing was restored".to_owned();
                return Err(Error::EntryRefused { path: origin.join(path), why });
            }
        }
        match files.iter().find(|path| self.has(path) && !seen.contains_key(*path)) {
            Some(missing) => {
                let what = "it is missing, and the manifest names it".to_owned();
                Err(Error::Damaged { path: origin.join(missing), position: 0, what })
            }
            None => Ok(()),
        }
    }
}

fn has_topic(manifest: &Manifest, file_name: &str) -> bool {
    manifest.logs.iter().any(|log| log.path.strip_prefix("topics/") == Some(file_name))
}

/// The directory of the topic that a path belongs to.
fn topic_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    match parts.next() {
        Some("topics") => parts.next(),
        Some("cursors") => parts.nth(1),
        _ => None,
    }
}

/// All that is in a directory, by its path.
fn list(dir: &Dir, above: &str, into: &mut BTreeMap<String, EntryKind>) -> Result<()> {
    for entry in dir.list()? {
        let path = match std::str::from_utf8(&entry.name) {
            Ok(name) if above.is_empty() => name.to_owned(),
            Ok(name) => format!("{above}/{name}"),
            Err(_) => {
                let why = "its name is none that drave makes; nothing was restored".to_owned();
                return Err(Error::EntryRefused { path: dir.path().to_owned(), why });
            }
        };
        if entry.kind == EntryKind::Dir {
            list(&dir.dir(&entry.name)?, &path, into)?;
        }
        into.insert(path, entry.kind);
    }
    Ok(())
}
