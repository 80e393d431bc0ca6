//! The place that is restored into, until all of it is in force.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{RestoreOptions, Restored, Wanted, topic_of};
use crate::codec::name::{self, Unescaped};
use crate::codec::{FileFacts, LogFacts, Manifest};
use crate::disk::{self, Access, Dir, Disk, EntryKind, File, LockKind};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, TopicName};
use crate::job::Job;
use crate::log::{Mode, establish};
use crate::store::limits::{LIMITS_BYTES_MAX, LIMITS_FILE};
use crate::store::settings_file::{self, STORE_FILE};
use crate::store::snapshot::shelf::open_lock;
use crate::store::topics::{NEW, trash_name};
use crate::store::{CURSORS, Store, StoreOptions, TOPICS, exists_already, hashed_name, is_damage};

/// Beside it there is no store yet, and nothing but what a restore has made.
pub(in crate::store) const RESTORING: &[u8] = b".restoring";
/// Held by who restores into a store that is there.
const LOCK: &[u8] = b".restore.lock";
/// `limits.toml`, the largest; `store.toml`, or a cursor.
pub(super) const SMALL_BYTES_MAX: u64 = LIMITS_BYTES_MAX as u64;

/// What is being restored.
pub(super) struct Staging<'a> {
    root: Dir,
    topics: Dir,
    /// The store that is there; `None` = one is made.
    store: Option<Store>,
    /// Held while this lives.
    _lock: File,
    options: &'a RestoreOptions,
    wanted: Wanted,
    /// The directory that was used last, by its path in the snapshot.
    open: Option<(String, Dir)>,
    /// Files that lie beside the topics.
    small: BTreeMap<String, Vec<u8>>,
    /// The directories of topics that were begun, and the epoch that their logs are in now.
    begun: BTreeMap<String, Epoch>,
    leftovers: u64,
}

impl<'a> Staging<'a> {
    /// Opens the place. Nothing in it changes but what an earlier restore has left.
    pub(super) fn open(into: &Path, options: &'a RestoreOptions, disk: Arc<Disk>) -> Result<Staging<'a>> {
        let root = match Dir::open(into, Arc::clone(&disk)) {
            Err(error) if error.is_not_found() => {
                Dir::create_path(into)?;
                Dir::sync_parent(into)?;
                Dir::open(into, Arc::clone(&disk))?
            }
            other => other?,
        };
        if !options.unsafe_fs {
            disk::check_filesystem(&root)?;
        }
        let is_store = root.stat(STORE_FILE.as_bytes())?.is_some();
        let lock = if is_store { take_lock(&root, LOCK)? } else { claim(&root)? };
        let opening = StoreOptions { create: false, unsafe_fs: options.unsafe_fs, clock: options.clock.clone() };
        let store = is_store.then(|| Store::open_on(into, &opening, disk)).transpose()?;
        let mut leftovers = 0;
        if store.is_none() {
            for name in [TOPICS, CURSORS] {
                if root.stat(name)?.is_some() {
                    root.remove_dir_all(name)?;
                    leftovers += 1;
                }
            }
            if root.stat(LIMITS_FILE.as_bytes())?.is_some() {
                root.unlink(LIMITS_FILE.as_bytes())?;
            }
            root.make_dir(TOPICS)?;
        }
        let topics = root.dir(TOPICS)?;
        for entry in topics.list()?.into_iter().filter(|entry| entry.name.starts_with(prefix().as_bytes())) {
            topics.remove_dir_all(&entry.name)?;
            leftovers += 1;
        }
        let (wanted, small, begun) = (Wanted::of(options), BTreeMap::new(), BTreeMap::new());
        Ok(Staging { root, topics, store, _lock: lock, options, wanted, open: None, small, begun, leftovers })
    }

    /// Whether what lies at `path` of a snapshot is to be handed to [`Staging::keep`].
    #[expect(clippy::unused_self, reason = "reads as the question it is")]
    pub(super) fn is_small(&self, path: &str) -> bool {
        !path.starts_with("topics/")
    }

    pub(super) fn is_wanted(&self, path: &str) -> bool {
        self.wanted.has(path)
    }

    /// Keeps a file that lies beside the topics.
    pub(super) fn keep(&mut self, path: &str, contents: Vec<u8>) -> Result<()> {
        if contents.len() as u64 > SMALL_BYTES_MAX {
            return Err(Error::EntryRefused { path: path.into(), why: "it is larger than such a file ever is".to_owned() });
        }
        match self.small.insert(path.to_owned(), contents) {
            None => Ok(()),
            Some(_) => Err(twice(path)),
        }
    }

    /// Makes a file of a topic.
    pub(super) fn create(&mut self, path: &str) -> Result<File> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.dir(above)?.create_file(name.as_bytes()) {
            Err(error) if error.io_kind() == Some(ErrorKind::AlreadyExists) => Err(twice(path)),
            other => other,
        }
    }

    /// The directory that stands for the one at `path` of the snapshot.
    fn dir(&mut self, path: &str) -> Result<&Dir> {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let topic = topic_of(path).unwrap_or_default().to_owned();
            if !self.begun.contains_key(&topic) {
                self.begin(&topic)?;
            }
            let mut dir = self.topics.dir(staged(&topic).as_bytes())?;
            for part in path.split('/').skip(2) {
                dir.make_dir(part.as_bytes()).or_else(exists_already)?;
                dir = dir.dir(part.as_bytes())?;
            }
            self.open = Some((path.to_owned(), dir));
        }
        Ok(&self.open.as_ref().expect("set above").1)
    }

    fn begin(&mut self, topic: &str) -> Result<()> {
        if self.topics.stat(topic.as_bytes())?.is_some() && !self.options.replace {
            return Err(Error::TopicExists { topic: self.name_of(topic)? });
        }
        let epoch = self.epoch_of(topic);
        self.topics.make_dir(staged(topic).as_bytes())?;
        self.begun.insert(topic.to_owned(), epoch);
        Ok(())
    }

    /// The highest epoch of any log of the topic that is there: places and receipts of it are known.
    fn epoch_of(&self, topic: &str) -> Epoch {
        let Some(store) = &self.store else { return Epoch(0) };
        let job = Job::new();
        let found = self.name_of(topic).and_then(|name| store.topic(&name, Mode::Read, &job));
        // One that does not open knows no consumer that could show anything.
        let Ok(found) = found else { return Epoch(0) };
        let groups = store.list_groups(&found).unwrap_or_default();
        let of_groups = groups.iter().filter_map(|group| store.group(&found, group, Mode::Read, &job).ok());
        of_groups.map(|group| group.journal.epoch()).fold(found.log().epoch(), Epoch::max)
    }

    /// The highest epoch of each log that a cursor knows: those of a topic stay when it is deleted, and are not
    /// to be believed in the life that a restore begins.
    fn epochs_of_cursors(&self) -> Result<HashMap<Incarnation, Epoch>> {
        let mut highest: HashMap<Incarnation, Epoch> = HashMap::new();
        let Some(store) = &self.store else { return Ok(highest) };
        // One that cannot be read is believed by nobody.
        for cursor in store.list_cursors(None)?.into_iter().filter_map(|cursor| cursor.info.ok()) {
            let epoch = highest.entry(cursor.incarnation).or_default();
            *epoch = (*epoch).max(cursor.place.epoch);
        }
        Ok(highest)
    }

    /// The name of a topic, from its directory's or from what lies in it.
    fn name_of(&self, topic: &str) -> Result<TopicName> {
        let name = match name::unescape(topic.as_bytes()) {
            Unescaped::Name(name) => TopicName::new(&name),
            _ => match hashed_name(&self.topics, staged(topic).as_bytes())? {
                Some(name) => Some(name),
                None => hashed_name(&self.topics, topic.as_bytes())?,
            },
        };
        name.or_else(|| TopicName::new(topic.as_bytes()))
            .ok_or_else(|| Error::EntryRefused { path: topic.into(), why: "it is no name of a topic".to_owned() })
    }

    /// Checks all of it, makes logs of it, and puts it in force.
    pub(super) fn finish(&mut self, manifest: &Manifest, origin: &Path, job: &Job) -> Result<Restored> {
        for dropped in &manifest.dropped {
            self.drop_staged(dropped)?;
        }
        for file in &manifest.files {
            if self.wanted.has(&file.path) {
                self.check_file(file, origin)?;
            }
        }
        let store_file = self.small.get(STORE_FILE).cloned().unwrap_or_default();
        settings_file::parse_store(&store_file, &origin.join(STORE_FILE))?;
        let known = self.epochs_of_cursors()?;
        let mut restored = Restored { made: manifest.made, leftovers: self.leftovers, ..Restored::default() };
        for log in &manifest.logs {
            if !self.wanted.has(&log.path) {
                continue;
            }
            job.check()?;
            self.establish(log, known.get(&log.incarnation).copied().unwrap_or_default(), origin)?;
            restored.bytes += log.bytes();
            if log.path.matches('/').count() == 1 {
                restored.records += log.end.since(log.log_start);
                restored.topics.push(self.name_of(topic_of(&log.path).unwrap_or_default())?);
            }
        }
        restored.topics.sort_unstable();
        job.check()?;
        match self.store.take() {
            None => self.open_store(&store_file)?,
            Some(store) => {
                let put = self.put_into(&store, job);
                self.store = Some(store);
                put?;
            }
        }
        Ok(restored)
    }

    fn drop_staged(&mut self, path: &str) -> Result<()> {
        let topic = topic_of(path).unwrap_or_default().to_owned();
        self.open = None;
        if !self.begun.contains_key(&topic) {
            return Ok(());
        }
        let mut dir = self.topics.dir(b".")?;
        let mut parts = std::iter::once(staged(&topic)).chain(path.split('/').skip(2).map(str::to_owned)).peekable();
        while let Some(part) = parts.next() {
            match dir.stat(part.as_bytes())?.map(|meta| meta.kind) {
                None => return Ok(()),
                Some(EntryKind::Dir) if parts.peek().is_none() => dir.remove_dir_all(part.as_bytes())?,
                Some(_) if parts.peek().is_none() => dir.unlink(part.as_bytes())?,
                Some(_) => dir = dir.dir(part.as_bytes())?,
            }
        }
        if path.matches('/').count() == 1 {
            self.begun.remove(&topic);
        }
        Ok(())
    }

    fn check_file(&mut self, file: &FileFacts, origin: &Path) -> Result<()> {
        let read;
        let contents = if self.is_small(&file.path) {
            self.small.get(&file.path)
        } else {
            let (above, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            let bytes_max = usize::try_from(file.bytes.saturating_add(1)).unwrap_or(usize::MAX);
            read = self.dir(above)?.read(name.as_bytes(), bytes_max)?;
            read.as_ref()
        };
        match contents {
            Some(contents) if contents.len() as u64 == file.bytes && crc32fast::hash(contents) == file.crc => Ok(()),
            _ => {
                let what = "its contents are not what was copied".to_owned();
                Err(Error::Damaged { path: origin.join(&file.path), position: 0, what })
            }
        }
    }

    fn establish(&mut self, log: &LogFacts, above: Epoch, origin: &Path) -> Result<()> {
        let clock = self.options.clock.clone();
        let dir = self.dir(&log.path)?.dir(b".")?;
        let epoch = self.begun.get(topic_of(&log.path).unwrap_or_default()).copied().unwrap_or_default();
        for segment in &log.segments {
            // In a tar that others made of a directory, a segment may have more bytes than belong to it.
            let file = dir.open_file(segment.file_name().as_bytes(), Access::ReadWrite)?;
            if file.length()? > segment.bytes {
                file.truncate(segment.bytes)?;
            }
        }
        establish(&dir, log, epoch, above, &clock).map_err(|error| match error {
            // The file that is damaged is the snapshot's.
            Error::Damaged { path, position, what } => {
                let name = path.file_name().unwrap_or_default();
                Error::Damaged { path: origin.join(&log.path).join(name), position, what }
            }
            other => other,
        })
    }

    /// Makes a store of it: `store.toml` comes last.
    fn open_store(&mut self, store_file: &[u8]) -> Result<()> {
        for (path, contents) in self.small.iter().filter(|(path, _)| path.starts_with("cursors/") && self.wanted.has(path)) {
            let (dir, name) = cursor_dir(&self.root, path)?;
            dir.create_file(name.as_bytes())?.write_all_at(&[contents], 0)?;
        }
        for topic in self.begun.keys() {
            let is_new = self.topics.rename_new(staged(topic).as_bytes(), &self.topics, topic.as_bytes())?;
            if !is_new {
                return Err(Error::NotEmpty { path: self.root.path().to_owned() });
            }
        }
        // The limits of a store that is there stay its own.
        if let Some(contents) = self.small.get(LIMITS_FILE) {
            self.root.create_file(LIMITS_FILE.as_bytes())?.write_all_at(&[contents], 0)?;
        }
        self.root.sync_tree()?;
        self.root.create_new(STORE_FILE.as_bytes(), store_file)?;
        self.root.sync()?;
        self.begun.clear();
        self.root.unlink(RESTORING)?;
        self.root.sync()
    }

    /// Puts the topics into a store that is in use.
    fn put_into(&mut self, store: &Store, job: &Job) -> Result<()> {
        self.topics.sync_tree()?;
        let names: Vec<String> = self.begun.keys().cloned().collect();
        for topic in names {
            let name = self.name_of(&topic)?;
            self.put_topic(store, &topic, &name, job)?;
            self.begun.remove(&topic);
        }
        self.topics.sync()?;
        for (path, contents) in self.small.iter().filter(|(path, _)| path.starts_with("cursors/") && self.wanted.has(path)) {
            let (dir, name) = cursor_dir(&self.root, path)?;
            dir.replace(name.as_bytes(), contents, true)?;
        }
        store.empty_trash()?;
        self.root.unlink(LOCK)
    }

    fn put_topic(&self, store: &Store, topic: &str, name: &TopicName, job: &Job) -> Result<()> {
        let (fresh, own, trash) = (staged(topic), topic.as_bytes(), trash_name());
        let fresh = fresh.as_bytes();
        if self.topics.rename_new(fresh, &self.topics, own)? {
            return Ok(());
        }
        if !self.options.replace {
            return Err(Error::TopicExists { topic: name.clone() });
        }
        let change = || match self.topics.exchange(fresh, own) {
            Ok(()) => self.topics.rename(fresh, &self.topics, trash.as_bytes()),
            Err(error) if is_unsupported(&error) => {
                self.topics.rename(own, &self.topics, trash.as_bytes())?;
                self.topics.rename(fresh, &self.topics, own)
            }
            Err(error) => Err(error),
        };
        match store.topic(name, Mode::Write, job) {
            Ok(old) => old.log().retire(job, change)?,
            // It does not open, so nobody uses it.
            Err(error) if is_damage(&error) => change()?,
            Err(error) => return Err(error),
        }
        store.cache().forget(name);
        Ok(())
    }

    /// Removes what was staged. What cannot be removed now goes with the next restore.
    pub(super) fn abandon(&mut self) {
        if self.store.is_some() {
            for topic in self.begun.keys() {
                let _ = self.topics.remove_dir_all(staged(topic).as_bytes());
            }
            let _ = self.root.unlink(LOCK);
        } else if self.root.stat(STORE_FILE.as_bytes()).is_ok_and(|meta| meta.is_none()) {
            let _ = self.root.remove_dir_all(TOPICS);
            let _ = self.root.remove_dir_all(CURSORS);
            let _ = self.root.unlink(LIMITS_FILE.as_bytes());
            let _ = self.root.unlink(RESTORING);
        }
    }
}

fn prefix() -> String {
    format!("{NEW}restore-")
}

/// What a topic's directory is called while it is restored.
fn staged(topic: &str) -> String {
    format!("{}{topic}", prefix())
}

fn twice(path: &str) -> Error {
    Error::EntryRefused { path: path.into(), why: "it comes twice".to_owned() }
}

fn is_unsupported(error: &Error) -> bool {
    matches!(error.io_kind(), Some(ErrorKind::InvalidInput | ErrorKind::CrossesDevices | ErrorKind::Unsupported))
}

/// The directory of a cursor, made if it is missing, and its file's name.
fn cursor_dir<'p>(root: &Dir, path: &'p str) -> Result<(Dir, &'p str)> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = root.dir(b".")?;
    for part in above.split('/') {
        dir.make_dir(part.as_bytes()).or_else(exists_already)?;
        dir = dir.dir(part.as_bytes())?;
    }
    Ok((dir, name))
}

fn take_lock(root: &Dir, name: &[u8]) -> Result<File> {
    let lock = open_lock(root, name)?;
    let is_ours = lock.try_lock(0, LockKind::Exclusive)? && root.stat(name)?.is_some_and(|meta| meta.inode == lock.inode());
    if is_ours {
        return Ok(lock);
    }
    Err(Error::Busy { what: "a restore", path: root.path().to_owned(), holder: None, waited: Duration::ZERO })
}

/// Takes an empty directory for a store that is to be made.
fn claim(root: &Dir) -> Result<File> {
    // Twice: nobody may have begun a store in it while it was taken.
    check_is_free(root)?;
    let lock = take_lock(root, RESTORING)?;
    check_is_free(root)?;
    root.sync()?;
    Ok(lock)
}

fn check_is_free(root: &Dir) -> Result<()> {
    let is_claimed = root.stat(RESTORING)?.is_some();
    let ours = [TOPICS, CURSORS, LIMITS_FILE.as_bytes()];
    let is_ours = |name: &[u8]| name == RESTORING || is_claimed && (ours.contains(&name) || name.starts_with(b".tmp-"));
    match root.list()?.iter().any(|entry| !is_ours(&entry.name)) {
        true => Err(Error::NotEmpty { path: root.path().to_owned() }),
        false => Ok(()),
    }
}
