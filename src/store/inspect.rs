//! Looking at a store that may not open: listing, facts, checks, repairs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ListedTopic, Store, StoreOptions, TOPICS, hashed_name, settings_file};
use crate::codec::name::{self, Unescaped};
use crate::config::{Overrides, TopicSettings};
use crate::disk::{Access, Dir, Disk, Entry, EntryKind, File};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, Place, RecordId, TopicName};
use crate::job::Job;
use crate::log::inspect::{SegmentFacts, Thing, frames, frames_of, segments};
use crate::log::{Log, Mode, Verified, verify};

/// What can be told of a store without opening its topics.
#[derive(Clone, Debug)]
pub struct StoreFacts {
    /// Where it is.
    pub path: PathBuf,
    /// Its random id, in hexadecimal; `None` when `store.toml` cannot be read.
    pub id: Option<String>,
    /// Its format version; `None` when `store.toml` cannot be read.
    pub version: Option<u32>,
    /// What is wrong with `store.toml`.
    pub problem: Option<String>,
    /// How many topics it has.
    pub topics: u64,
    /// How many cursors.
    pub cursors: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Which of its defaults differ from drave's, name and value.
    pub defaults: Vec<(&'static str, String)>,
}

/// What can be told of a topic without reading its records.
#[derive(Clone, Debug)]
pub struct TopicFacts {
    /// Its name.
    pub name: TopicName,
    /// Its directory's name.
    pub directory: String,
    /// Which life of the topic.
    pub incarnation: Incarnation,
    /// First offset kept.
    pub log_start: Offset,
    /// Next offset to be assigned.
    pub log_end: Offset,
    /// Records deleted one by one, from the log start to the log end.
    pub deleted: u64,
    /// Records that can be read, from the log start to the log end.
    pub records: u64,
    /// First offset that readers may not see.
    pub high_watermark: Offset,
    /// First offset not known to be on stable storage.
    pub durable: Offset,
    /// The epoch of the end.
    pub epoch: Epoch,
    /// The last ID that was assigned.
    pub last_id: RecordId,
    /// Records ever appended.
    pub entries_added: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// A sync failed, and the next append has to repair that.
    pub poisoned: bool,
    /// No process had it open since it was written last, in a way that this one could believe: the
    /// facts are from a walk over the files, and the next writer will recover it.
    pub unrecovered: bool,
    /// What is in force.
    pub settings: TopicSettings,
    /// Which of it differs from the defaults.
    pub overrides: Overrides,
}

/// A cursor, and how far behind it is.
#[derive(Clone, Debug)]
pub struct CursorFacts {
    /// Its name.
    pub name: Vec<u8>,
    /// The topic it reads.
    pub topic: Vec<u8>,
    /// Where it stands; `None` when its file is damaged.
    pub place: Option<Place>,
    /// When it was saved, in ms since 1970.
    pub saved_ms: Option<u64>,
    /// How many records wait for it; `None` when its topic is gone or does not open.
    pub waiting: Option<u64>,
    /// What is wrong.
    pub problem: Option<String>,
    /// Whether that is damage.
    pub damaged: bool,
}

/// Something in the topics' directory that is no topic.
#[derive(Clone, Debug)]
pub struct Stray {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: StrayKind,
}

/// What something is that is no topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrayKind {
    /// A topic that was being made. `true` = longer than a day ago, so whoever made it is dead.
    Unfinished(bool),
    /// What a deleted topic left.
    Trash,
    /// A topic whose long name cannot be told any more: why.
    Nameless(String),
    /// None of drave's.
    Foreign,
}

/// So old is what was left behind by somebody who is gone.
const LEFT_BEHIND_MS: u64 = 86_400_000;

impl Store {
    /// Opens a store for looking only: its `store.toml` may be missing or damaged.
    ///
    /// # Errors
    /// [`Error::StoreMissing`] when nothing there looks like a store.
    pub fn open_to_look(path: &Path, options: &StoreOptions) -> Result<Store> {
        Store::look_on(path, options, Disk::open()?)
    }

    /// As [`Store::open_to_look`], on a test's disk.
    #[cfg(test)]
    pub(crate) fn open_to_look_on(path: &Path, clock: &crate::clock::Clock, disk: Arc<Disk>) -> Result<Store> {
        Store::look_on(path, &StoreOptions { create: false, unsafe_fs: false, clock: clock.clone() }, disk)
    }

    fn look_on(path: &Path, options: &StoreOptions, disk: Arc<Disk>) -> Result<Store> {
        let options = StoreOptions { create: false, ..options.clone() };
        match Store::open_on(path, &options, Arc::clone(&disk)) {
            Err(error @ (Error::StoreUnusable { .. } | Error::StoreMissing { .. })) => {
                let Ok(root) = Dir::open(path, disk) else { return Err(error) };
                super::refuse_copies(&root)?;
                match root.dir(TOPICS) {
                    Ok(topics) if !topics.list()?.is_empty() => Ok(Store::without_file(root, topics, &options)),
                    _ => Err(error),
                }
            }
            other => other,
        }
    }

    /// Facts about the store.
    pub fn facts(&self) -> Result<StoreFacts> {
        let (file, problem) = match settings_file::read_store(self.root()) {
            Ok(Some(file)) => (Some(file), None),
            _ => (None, self.check_file().err().map(|error| error.to_string())),
        };
        let drave: Vec<(&str, String)> = TopicSettings::default().iter().collect();
        Ok(StoreFacts {
            path: self.path().to_owned(),
            id: file.as_ref().map(|file| file.id.clone()),
            version: file.as_ref().map(|file| file.version),
            problem,
            topics: self.look_at_topics()?.0.len() as u64,
            cursors: self.list_cursors(None)?.len() as u64,
            bytes: bytes_below(self.root())?,
            defaults: self.defaults().iter().filter(|setting| !drave.contains(setting)).collect(),
        })
    }

    /// All topics, sorted by name, and what else lies beside them. Opens none of them.
    pub fn look_at_topics(&self) -> Result<(Vec<ListedTopic>, Vec<Stray>)> {
        let (mut topics, mut strays) = (Vec::new(), Vec::new());
        for entry in self.topics_dir().list()? {
            match self.standing(&entry)? {
                Standing::Topic(name) => topics.push(ListedTopic { name, file_name: entry.name }),
                Standing::Stray(kind) => {
                    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&entry.name);
                    strays.push(Stray { path: self.topics_dir().path().join(name), kind });
                }
                Standing::Gone => {}
            }
        }
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        strays.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok((topics, strays))
    }

    fn standing(&self, entry: &Entry) -> Result<Standing> {
        let nameless = |why: String| Ok(Standing::Stray(StrayKind::Nameless(why)));
        if entry.kind != EntryKind::Dir {
            return Ok(Standing::Stray(StrayKind::Foreign));
        }
        if entry.name.starts_with(super::topics::NEW.as_bytes()) {
            let Some(meta) = self.topics_dir().stat(&entry.name)? else { return Ok(Standing::Gone) };
            let age_ms = self.clock().now().0.saturating_sub(meta.modified_ms);
            return Ok(Standing::Stray(StrayKind::Unfinished(age_ms > LEFT_BEHIND_MS)));
        }
        if entry.name.starts_with(super::topics::TRASH.as_bytes()) {
            return Ok(Standing::Stray(StrayKind::Trash));
        }
        match name::unescape(&entry.name) {
            Unescaped::Name(name) => Ok(match TopicName::new(&name) {
                Some(name) => Standing::Topic(name),
                None => Standing::Stray(StrayKind::Foreign),
            }),
            Unescaped::Foreign => Ok(Standing::Stray(StrayKind::Foreign)),
            Unescaped::Hashed => match hashed_name(self.topics_dir(), &entry.name) {
                Ok(Some(name)) if name::escape(name.as_bytes()).as_bytes() == entry.name => Ok(Standing::Topic(name)),
                Ok(Some(name)) => nameless(format!("a topic whose name ({name}) belongs to another directory")),
                Ok(None) if self.topics_dir().stat(&entry.name)?.is_none() => Ok(Standing::Gone),
                Ok(None) => nameless("a topic whose topic.toml, which holds its name, is missing".to_owned()),
                Err(error) => nameless(format!("a topic whose name is lost: {error}")),
            },
        }
    }

    /// Whether there is a topic of this name, in whatever state.
    pub fn has_topic(&self, name: &TopicName) -> Result<bool> {
        Ok(self.topics_dir().stat(name::escape(name.as_bytes()).as_bytes())?.is_some_and(|meta| meta.kind == EntryKind::Dir))
    }

    /// Removes what deleted topics and interrupted creations left; says how many of them.
    pub fn remove_leftovers(&self) -> Result<u64> {
        let (_, strays) = self.look_at_topics()?;
        let mut removed = 0;
        for stray in strays.iter().filter(|stray| matches!(stray.kind, StrayKind::Unfinished(true) | StrayKind::Trash)) {
            let Some(name) = stray.path.file_name() else { continue };
            match self.topics_dir().remove_dir_all(std::os::unix::ffi::OsStrExt::as_bytes(name)) {
                // Another process may be at it too.
                Err(error) if !error.is_not_found() => return Err(error),
                _ => removed += 1,
            }
        }
        Ok(removed)
    }

    /// Bytes of the segments of a topic, at little cost.
    pub fn segment_bytes(&self, topic: &ListedTopic) -> Result<u64> {
        let dir = match self.topics_dir().dir(&topic.file_name) {
            Err(error) if error.is_not_found() => return Ok(0),
            other => other?,
        };
        let mut bytes = 0;
        for entry in dir.list()?.iter().filter(|entry| entry.name.ends_with(b".log")) {
            bytes += dir.stat(&entry.name)?.map_or(0, |meta| meta.length);
        }
        Ok(bytes)
    }

    /// Whether `store.toml` can be read, and the error if it cannot.
    pub fn check_file(&self) -> Result<()> {
        match settings_file::read_store(self.root())? {
            Some(_) => Ok(()),
            None => {
                let path = self.path().join(super::store_file_name());
                Err(Error::StoreUnusable { path, why: "is missing; restore it from a copy".to_owned() })
            }
        }
    }

    /// Facts about a topic.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic_facts(&self, name: &TopicName) -> Result<TopicFacts> {
        let topic = self.topic(name, Mode::Read, &Job::new())?;
        let (settings, overrides) = topic.settings()?;
        let log = topic.log();
        let counters = log.counters();
        let (mut bytes, mut segments) = (0, 0);
        for entry in log.dir().list()? {
            bytes += log.dir().stat(&entry.name)?.map_or(0, |meta| meta.length);
            segments += u64::from(crate::codec::segment::base_of(&entry.name).is_some());
        }
        Ok(TopicFacts {
            name: name.clone(),
            directory: name::escape(name.as_bytes()),
            incarnation: log.incarnation(),
            log_start: log.log_start(),
            log_end: log.log_end(),
            deleted: log.deleted()?.count(),
            records: log.live_count_until(log.log_end())?,
            high_watermark: log.high_watermark(),
            durable: log.durable(),
            epoch: log.epoch(),
            last_id: counters.last_id,
            entries_added: counters.entries_added,
            segments,
            bytes,
            poisoned: log.is_poisoned(),
            unrecovered: log.is_still(),
            settings,
            overrides,
        })
    }

    /// The segments of a topic; works when the topic does not open.
    pub fn segment_facts(&self, name: &TopicName) -> Result<Vec<SegmentFacts>> {
        let dir = self.topic_dir(name)?;
        let topic = self.topic(name, Mode::Read, &Job::new()).ok();
        segments(&dir, topic.as_ref().map(|topic| &**topic.log()))
    }

    /// Walks the frames of all segments of a topic, or of the one with this base offset; `each` is
    /// given the segment's base offset too and says whether to go on. Works when the topic does not
    /// open.
    pub fn frame_facts(&self, name: &TopicName, base: Option<Offset>, each: impl FnMut(Offset, Thing) -> bool) -> Result<()> {
        let dir = self.topic_dir(name)?;
        let topic = self.topic(name, Mode::Read, &Job::new()).ok();
        frames_of(&dir, topic.as_ref().map(|topic| &**topic.log()), base, each)
    }

    fn topic_dir(&self, name: &TopicName) -> Result<Dir> {
        let dir = self.topics_dir().dir(name::escape(name.as_bytes()).as_bytes());
        dir.map_err(|error| if error.is_not_found() { Error::TopicMissing { topic: name.clone() } } else { error })
    }

    /// Reads every byte of a topic and checks it. Says what was found, and how it ended.
    pub fn verify_topic(&self, name: &TopicName, job: &Job) -> (Verified, Result<()>) {
        match self.topic(name, Mode::Read, job) {
            Ok(topic) => verify(topic.log(), job),
            Err(error) => (Verified::default(), Err(error)),
        }
    }

    /// All cursors, or those on one topic, with what waits for each.
    pub fn cursor_facts(&self, topic: Option<&TopicName>) -> Result<Vec<CursorFacts>> {
        let mut facts = Vec::new();
        for listed in self.list_cursors(topic)? {
            let mut found = CursorFacts {
                name: listed.name,
                topic: listed.topic,
                place: None,
                saved_ms: None,
                waiting: None,
                problem: None,
                damaged: false,
            };
            match listed.info {
                Ok(cursor) => {
                    (found.place, found.saved_ms) = (Some(cursor.place), Some(cursor.saved_ms));
                    match self.waiting(&cursor) {
                        Ok(waiting) => found.waiting = Some(waiting),
                        Err(error) => {
                            found.damaged = is_damage(&error);
                            found.problem = Some(error.to_string());
                        }
                    }
                }
                Err(error) => (found.damaged, found.problem) = (is_damage(&error), Some(error.to_string())),
            }
            facts.push(found);
        }
        Ok(facts)
    }

    fn waiting(&self, cursor: &super::CursorInfo) -> Result<u64> {
        let topic = self.topic(&cursor.topic, Mode::Read, &Job::new())?;
        let log: &Log = topic.log();
        if log.incarnation() != cursor.incarnation {
            return Err(Error::TopicGone { path: log.path().to_owned() });
        }
        let from = log.clamp(cursor.place)?.max(log.log_start());
        Ok(log.high_watermark().since(from))
    }
}

enum Standing {
    Topic(TopicName),
    Stray(StrayKind),
    /// Removed while it was listed.
    Gone,
}

/// Whether a failure to open something means that what is stored is damaged.
#[must_use]
pub fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. } | Error::StoreUnusable { .. })
}

fn bytes_below(dir: &Dir) -> Result<u64> {
    let mut bytes = 0;
    for entry in dir.list()? {
        bytes += match entry.kind {
            EntryKind::Dir => match dir.dir(&entry.name).and_then(|dir| bytes_below(&dir)) {
                // Removed while it was listed.
                Err(error) if error.is_not_found() => 0,
                other => other?,
            },
            EntryKind::File => dir.stat(&entry.name)?.map_or(0, |meta| meta.length),
            EntryKind::Other => 0,
        };
    }
    Ok(bytes)
}

/// Walks the frames of a segment file that may lie anywhere.
///
/// # Errors
/// [`Error::Damaged`] when it is not a segment.
pub fn file_frames(path: &Path, each: impl FnMut(Thing) -> bool) -> Result<crate::codec::SegmentHeader> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| Error::io("open", path, std::io::Error::from(std::io::ErrorKind::NotFound)))?;
    let dir = Dir::open(parent, Disk::open()?)?;
    let file: File = dir.open_file(std::os::unix::ffi::OsStrExt::as_bytes(name), Access::Read)?;
    frames(&file, each)
}
