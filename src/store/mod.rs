//! The directory: many topics by name, their settings, cursors, copies of all of it.
//!
//! What it promises: nothing leaves the directory, no link inside it is followed, and it is made
//! only where there was nothing. It knows names and settings; records are the log's.
//!
//! ```text
//!   STORE/store.toml                format version, store id, defaults
//!   STORE/bell                      see log/bell.rs
//!   STORE/limits, limits.toml       see limit_table.rs, limits.rs
//!   STORE/cursors/<name>/<topic>    durable single-reader cursors
//!   STORE/quarantine/<topic>/       what `verify --repair` replaced or moved aside
//!   STORE/topics/<escaped name>/    a topic: topic.toml, if anything differs, and its log
//! ```

mod cache;
mod cursor;
mod groups;
mod health;
mod inspect;
mod limit_table;
mod limits;
mod mend;
mod rename;
mod restore;
mod settings_file;
mod snapshot;
mod topics;

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::codec::manifest::MANIFEST;
use crate::config::TopicSettings;
use crate::disk::{self, Dir, Disk};
use crate::error::{Error, Result};
use crate::log::Bell;

pub use cursor::{CURSOR_LIFE, CursorFile, CursorInfo, ListedCursor};
pub use groups::GroupFiles;
pub use health::Quarantined;
pub use inspect::{CursorFacts, StoreFacts, Stray, StrayKind, TopicFacts, file_frames, is_damage};
pub use limit_table::{CLASSES, Counters, Counts, LimitSlot, LimitTable};
pub use limits::LimitRules;
#[cfg(test)]
pub(crate) use restore::find_on;
pub use restore::{FoundSnapshot, RestoreOptions, Restored, find_snapshot, restore, restore_stream};
pub use snapshot::{FoundSnapshots, Keep, SnapshotMade, SnapshotOptions, look_at_snapshots};
pub use topics::{ListedTopic, Topic};

use cache::Cache;
use settings_file::{STORE_FILE, StoreFile};
use topics::hashed_name;

pub(crate) const TOPICS: &[u8] = b"topics";
pub(crate) const CURSORS: &[u8] = b"cursors";
const QUARANTINE: &[u8] = b"quarantine";

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Make it if its directory is absent or empty.
    pub create: bool,
    /// Use it though its file system is not known to be safe.
    pub unsafe_fs: bool,
    /// The time.
    pub clock: Clock,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: Arc<Dir>,
    topics: Arc<Dir>,
    clock: Clock,
    defaults: TopicSettings,
    id: String,
    bell: Arc<Bell>,
    limits: LimitTable,
    open: Mutex<Cache>,
}

impl Store {
    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`Error::StoreMissing`] when there is none and it is not to be made;
    /// [`Error::StoreUnusable`] when something else is there.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Store> {
        Store::open_on(path, options, Disk::open()?)
    }

    pub(crate) fn open_on(path: &Path, options: &StoreOptions, disk: Arc<Disk>) -> Result<Store> {
        let root = match Dir::open(path, Arc::clone(&disk)) {
            Err(error) if error.is_not_found() && options.create => {
                Dir::create_path(path)?;
                Dir::sync_parent(path)?;
                Dir::open(path, disk)?
            }
            Err(error) if error.is_not_found() => return Err(Error::StoreMissing { path: path.to_owned() }),
            other => other?,
        };
        if !options.unsafe_fs {
            disk::check_filesystem(&root)?;
        }
        refuse_copies(&root)?;
        let file = match settings_file::read_store(&root)? {
            Some(file) => file,
            None => make(&root, options)?,
        };
        let topics = match root.dir(TOPICS) {
            Err(error) if error.is_not_found() && options.create => {
                root.make_dir(TOPICS).or_else(exists_already)?;
                root.dir(TOPICS)?
            }
            Err(error) if error.is_not_found() => {
                let why = "the store has lost its topics directory; restore it from a copy".to_owned();
                return Err(Error::StoreUnusable { path: path.to_owned(), why });
            }
            other => other?,
        };
        Ok(Store::assemble(root, topics, options, file))
    }

    /// A store whose `store.toml` cannot be used, for looking at it.
    fn without_file(root: Dir, topics: Dir, options: &StoreOptions) -> Store {
        Store::assemble(root, topics, options, StoreFile { version: 0, id: String::new(), defaults: TopicSettings::default() })
    }

    fn assemble(root: Dir, topics: Dir, options: &StoreOptions, file: StoreFile) -> Store {
        let root = Arc::new(root);
        Store {
            bell: Arc::new(Bell::new(Arc::clone(&root))),
            limits: LimitTable::new(Arc::clone(&root)),
            topics: Arc::new(topics),
            root,
            clock: options.clock.clone(),
            defaults: file.defaults,
            id: file.id,
            open: Mutex::new(Cache::default()),
        }
    }

    /// The same store for another thread, with topics of its own in hand.
    #[must_use]
    pub fn share(&self) -> Store {
        Store {
            root: Arc::clone(&self.root),
            topics: Arc::clone(&self.topics),
            clock: self.clock.clone(),
            defaults: self.defaults.clone(),
            id: self.id.clone(),
            bell: Arc::clone(&self.bell),
            limits: LimitTable::new(Arc::clone(&self.root)),
            open: Mutex::new(Cache::default()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Its random id, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What topics get that set nothing else.
    #[must_use]
    pub fn defaults(&self) -> &TopicSettings {
        &self.defaults
    }

    /// The bell that appends of its topics ring.
    #[must_use]
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// What all processes count against its rate limits.
    #[must_use]
    pub fn limits(&self) -> &LimitTable {
        &self.limits
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The directory of its topics.
    #[must_use]
    pub fn topics_dir(&self) -> &Arc<Dir> {
        &self.topics
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Makes a store of a directory that holds nothing, or what an earlier try left.
fn make(root: &Dir, options: &StoreOptions) -> Result<StoreFile> {
    let is_left_over = |name: &[u8]| name == TOPICS || name.starts_with(b".tmp-");
    let entries = root.list()?;
    if entries.iter().any(|entry| entry.name == STORE_FILE.as_bytes())
        && let Some(file) = settings_file::read_store(root)?
    {
        // Another process has made it since we looked.
        return Ok(file);
    }
    let foreign = entries.iter().find(|entry| !is_left_over(&entry.name));
    if let Some(foreign) = foreign {
        let name = String::from_utf8_lossy(&foreign.name).into_owned();
        let why = format!("this directory is not a store, and holds other things ({name}); name a store, or an empty directory");
        return Err(Error::StoreUnusable { path: root.path().to_owned(), why });
    }
    if !options.create {
        return Err(Error::StoreMissing { path: root.path().to_owned() });
    }
    root.make_dir(TOPICS).or_else(exists_already)?;
    // store.toml comes last: whoever sees it sees a whole store.
    root.sync()?;
    settings_file::create_store(root)?;
    root.sync()?;
    settings_file::read_store(root)?.ok_or_else(|| Error::StoreMissing { path: root.path().to_owned() })
}

/// Refuses a snapshot, which is not to change, and what a restore has not finished.
fn refuse_copies(root: &Dir) -> Result<()> {
    let refused = |why: &str| Err(Error::StoreUnusable { path: root.path().to_owned(), why: why.to_owned() });
    if root.stat(MANIFEST.as_bytes())?.is_some() {
        return refused("is a snapshot, not a store; make a store of it with: drave restore SNAPSHOT --into STORE");
    }
    if root.stat(restore::RESTORING)?.is_some() && root.stat(STORE_FILE.as_bytes())?.is_none() {
        return refused("a restore into this directory is under way, or was cut short; run it again, or remove the directory");
    }
    Ok(())
}

fn exists_already(error: Error) -> Result<()> {
    if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) { Ok(()) } else { Err(error) }
}

/// The name of the file that makes a directory a store.
#[must_use]
pub fn store_file_name() -> &'static str {
    STORE_FILE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_another_process_made_meanwhile_is_taken() {
        let place = tempfile::tempdir().expect("a directory");
        let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::system() };
        let store = Store::open(place.path(), &options).expect("made");
        // As for one who looked for store.toml just before the other wrote it.
        let root = Dir::open(place.path(), Disk::open().expect("a disk")).expect("there");
        assert_eq!(make(&root, &options).expect("taken").id, store.id());
    }
}
