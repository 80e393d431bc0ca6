//! Durable cursors: how far the reader of a name has come in a topic.
//!
//! A file is MessagePack with a CRC-32 behind it, replaced as a whole. The lock is on a file beside
//! it, since a file that is replaced takes its locks along.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CURSORS, Store, exists_already};
use crate::clock::Clock;
use crate::codec::name::{self, Unescaped};
use crate::disk::{Access, Dir, EntryKind, File, LockKind};
use crate::error::{Error, Result};
use crate::ids::{Incarnation, Place, TopicName};

/// A cursor that was not saved for this long is gone.
pub const CURSOR_LIFE: Duration = Duration::from_secs(30 * 86_400);

const VERSION: u32 = 1;
const BYTES_MAX: usize = 64 << 10;
const LOCK_SUFFIX: &str = ".lock";

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    name: Vec<u8>,
    topic: Vec<u8>,
    incarnation: Incarnation,
    place: Place,
    saved_ms: u64,
}

/// A cursor that this process holds.
#[derive(Debug)]
pub struct CursorFile {
    dir: Dir,
    file_name: String,
    name: Vec<u8>,
    topic: TopicName,
    incarnation: Incarnation,
    clock: Clock,
    /// Holds the lock while it is open.
    _lock: File,
}

/// A cursor as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// The topic it reads.
    pub topic: TopicName,
    /// The life of the topic it belongs to.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub place: Place,
    /// When it was saved, in ms since 1970.
    pub saved_ms: u64,
}

/// A cursor's file.
#[derive(Debug)]
pub struct ListedCursor {
    /// The cursor's name; of a file that cannot be read, as much as its path tells.
    pub name: Vec<u8>,
    /// The topic it reads, likewise.
    pub topic: Vec<u8>,
    /// What it holds.
    pub info: Result<CursorInfo>,
}

impl Store {
    /// Opens the cursor `name` on a topic, for this process alone.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process holds it.
    pub fn cursor(&self, name: &[u8], topic: &TopicName, incarnation: Incarnation) -> Result<CursorFile> {
        self.root.make_dir(CURSORS).or_else(exists_already)?;
        let cursors = self.root.dir(CURSORS)?;
        let dir_name = name::escape(name);
        cursors.make_dir(dir_name.as_bytes()).or_else(exists_already)?;
        let dir = cursors.dir(dir_name.as_bytes())?;
        let file_name = name::escape(topic.as_bytes());
        let lock_name = format!("{file_name}{LOCK_SUFFIX}");
        let lock = match dir.create_file(lock_name.as_bytes()) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {
                dir.open_file(lock_name.as_bytes(), Access::ReadWrite)?
            }
            other => other?,
        };
        if !lock.try_lock(0, LockKind::Exclusive)? {
            let path = dir.path().join(&file_name);
            return Err(Error::Busy { what: "the cursor", path, holder: None, waited: Duration::ZERO });
        }
        let (name, topic, clock) = (name.to_vec(), topic.clone(), self.clock.clone());
        Ok(CursorFile { dir, file_name, name, topic, incarnation, clock, _lock: lock })
    }

    /// All cursors, or those on one topic, by name and topic. Expired ones are left out.
    pub fn list_cursors(&self, topic: Option<&TopicName>) -> Result<Vec<ListedCursor>> {
        let cursors = match self.root.dir(CURSORS) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for name in cursors.list()?.into_iter().filter(|entry| entry.kind == EntryKind::Dir) {
            let dir = match cursors.dir(&name.name) {
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            for entry in dir.list()? {
                let is_cursor =
                    !entry.name.ends_with(LOCK_SUFFIX.as_bytes()) && name::unescape(&entry.name) != Unescaped::Foreign;
                if entry.kind == EntryKind::File && is_cursor {
                    found.extend(self.listed(&dir, &name.name, &entry.name));
                }
            }
        }
        found.retain(|cursor| topic.is_none_or(|topic| *topic.as_bytes() == *cursor.topic));
        found.sort_unstable_by(|a, b| (&a.name, &a.topic).cmp(&(&b.name, &b.topic)));
        Ok(found)
    }

    fn listed(&self, dir: &Dir, dir_name: &[u8], file_name: &[u8]) -> Option<ListedCursor> {
        let info = match read(dir, file_name) {
            Ok(None) => return None,
            Ok(Some(stored)) if is_expired(&stored, &self.clock) => return None,
            Ok(Some(stored)) => CursorInfo::of(stored, dir, file_name),
            Err(error) => Err(error),
        };
        let told = |name: &[u8]| match name::unescape(name) {
            Unescaped::Name(name) => name,
            Unescaped::Hashed | Unescaped::Foreign => name.to_vec(),
        };
        let (name, topic) = match &info {
            Ok(info) => (info.name.clone(), info.topic.as_bytes().to_vec()),
            Err(_) => (told(dir_name), told(file_name)),
        };
        Some(ListedCursor { name, topic, info })
    }
}

impl CursorInfo {
    fn of(stored: Stored, dir: &Dir, file_name: &[u8]) -> Result<CursorInfo> {
        let topic = TopicName::new(&stored.topic).ok_or_else(|| damaged(dir, file_name, "the cursor names no topic"))?;
        let Stored { name, incarnation, place, saved_ms, .. } = stored;
        Ok(CursorInfo { name, topic, incarnation, place, saved_ms })
    }
}

impl CursorFile {
    /// The stored place, if there is one of this life of the topic that has not expired.
    pub fn load(&mut self) -> Result<Option<Place>> {
        let stored = read(&self.dir, self.file_name.as_bytes())?;
        Ok(stored
            .filter(|stored| stored.incarnation == self.incarnation && !is_expired(stored, &self.clock))
            .map(|stored| stored.place))
    }

    /// Stores a place. Durable, since a cursor that is lost starts where a new one does, and would
    /// skip what lies between.
    pub fn save(&mut self, place: Place) -> Result<()> {
        let stored = Stored {
            version: VERSION,
            name: self.name.clone(),
            topic: self.topic.as_bytes().to_vec(),
            incarnation: self.incarnation,
            place,
            saved_ms: self.clock.now().0,
        };
        let mut bytes = rmp_serde::to_vec(&stored).expect("numbers and bytes always encode");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        self.dir.replace(self.file_name.as_bytes(), &bytes, true)
    }
}

fn is_expired(stored: &Stored, clock: &Clock) -> bool {
    let age_ms = clock.now().0.saturating_sub(stored.saved_ms);
    u128::from(age_ms) > CURSOR_LIFE.as_millis()
}

fn damaged(dir: &Dir, file_name: &[u8], what: &str) -> Error {
    Error::Damaged {
        path: dir.path().join(String::from_utf8_lossy(file_name).as_ref()),
        position: 0,
        what: format!("{what}; remove it to begin anew"),
    }
}

fn read(dir: &Dir, file_name: &[u8]) -> Result<Option<Stored>> {
    let Some(bytes) = dir.read(file_name, BYTES_MAX)? else { return Ok(None) };
    let damaged = |what: &str| damaged(dir, file_name, what);
    let Some((bytes, crc)) = bytes.split_last_chunk::<4>() else { return Err(damaged("the cursor is cut off")) };
    if crc32fast::hash(bytes).to_le_bytes() != *crc {
        return Err(damaged("the checksum of the cursor does not match"));
    }
    let stored: Stored = rmp_serde::from_slice(bytes).map_err(|_| damaged("the cursor cannot be read"))?;
    if stored.version > VERSION {
        let path = dir.path().join(String::from_utf8_lossy(file_name).as_ref());
        return Err(Error::VersionTooNew { path, found: stored.version, supported: VERSION });
    }
    Ok(Some(stored))
}

/// So that the whole of a store's cursors can be shared between threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<CursorFile>();
    is_send::<Arc<Store>>();
};
