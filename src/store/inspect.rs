//! Looking at a store that may not open: listing, facts, checks, repairs.

use std::path::Path;
use std::sync::Arc;

use super::{CursorInfo, Store, StoreOptions, TOPICS, settings_file};
use crate::codec::name;
use crate::config::{Overrides, TopicSettings};
use crate::disk::{Access, Dir, Disk, File};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TopicName};
use crate::job::Job;
use crate::log::inspect::{SegmentFacts, Thing, Verified, frames, segments, verify};
use crate::log::{Log, Mended, Mode};

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
    /// The cursor.
    pub cursor: CursorInfo,
    /// How many records wait for it; `None` when its topic is gone.
    pub waiting: Option<u64>,
}

impl Store {
    /// Opens a store for looking only: its `store.toml` may be missing or damaged.
    ///
    /// # Errors
    /// [`Error::StoreMissing`] when nothing there looks like a store.
    pub fn open_to_look(path: &Path, options: &StoreOptions) -> Result<Store> {
        let options = StoreOptions { create: false, ..options.clone() };
        match Store::open(path, &options) {
            Err(error @ Error::StoreUnusable { .. }) => {
                let root = Dir::open(path, Disk::open()?)?;
                match root.dir(TOPICS) {
                    Ok(topics) => Ok(Store::without_file(root, topics, &options)),
                    Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    /// Whether `store.toml` can be read, and the error if it cannot.
    pub fn check_file(&self) -> Result<()> {
        match settings_file::read_store(self.root())? {
            Some(_) => Ok(()),
            None => Err(Error::StoreMissing { path: self.path().to_owned() }),
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
        let mut bytes = 0;
        for entry in log.dir().list()? {
            bytes += log.dir().stat(&entry.name)?.map_or(0, |meta| meta.length);
        }
        Ok(TopicFacts {
            name: name.clone(),
            directory: name::escape(name.as_bytes()),
            incarnation: log.incarnation(),
            log_start: log.log_start(),
            log_end: log.log_end(),
            high_watermark: log.high_watermark(),
            durable: log.durable(),
            epoch: log.epoch(),
            last_id: log.last_id(),
            entries_added: log.entries_added(),
            segments: segments(log.dir())?.len() as u64,
            bytes,
            poisoned: log.is_poisoned(),
            unrecovered: log.is_still(),
            settings,
            overrides,
        })
    }

    /// The segments of a topic; works when the topic does not open.
    pub fn segment_facts(&self, name: &TopicName) -> Result<Vec<SegmentFacts>> {
        segments(&self.topic_dir(name)?)
    }

    /// Walks the frames of all segments of a topic, or of the one with this base offset; `each` is
    /// given the segment's base offset too and says whether to go on. A segment that cannot be read
    /// ends the walk with its error.
    pub fn frame_facts(&self, name: &TopicName, base: Option<Offset>, mut each: impl FnMut(Offset, Thing) -> bool) -> Result<()> {
        let dir = self.topic_dir(name)?;
        for segment in segments(&dir)? {
            if base.is_some_and(|base| base != segment.base) {
                continue;
            }
            let file = dir.open_file(crate::codec::segment::file_name(segment.base).as_bytes(), Access::Read)?;
            let mut go_on = true;
            frames(&file, |thing| {
                go_on = each(segment.base, thing);
                go_on
            })?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    fn topic_dir(&self, name: &TopicName) -> Result<Dir> {
        let dir = self.topics_dir().dir(name::escape(name.as_bytes()).as_bytes());
        dir.map_err(|error| if error.is_not_found() { Error::TopicMissing { topic: name.clone() } } else { error })
    }

    /// Reads every byte of a topic and checks it.
    pub fn verify_topic(&self, name: &TopicName, job: &Job) -> Result<Verified> {
        verify(self.topic(name, Mode::Read, job)?.log(), job)
    }

    /// Repairs what a check finds: damaged segments are written anew without the bad records, and
    /// what they were goes to the store's `quarantine/`.
    pub fn mend_topic(&self, name: &TopicName, job: &Job) -> Result<(Verified, Mended)> {
        const QUARANTINE: &[u8] = b"quarantine";
        let topic = self.topic(name, Mode::Write, job)?;
        self.root().make_dir(QUARANTINE).or_else(super::exists_already)?;
        let quarantine = self.root().dir(QUARANTINE)?;
        topic.log().mend(&quarantine, &name::escape(name.as_bytes()), job)
    }

    /// All cursors, or those on one topic, with what waits for each.
    pub fn cursor_facts(&self, topic: Option<&TopicName>) -> Result<Vec<CursorFacts>> {
        let mut facts = Vec::new();
        for cursor in self.list_cursors(topic)? {
            let log: Option<Arc<Log>> = match self.topic(&cursor.topic, Mode::Read, &Job::new()) {
                Ok(topic) if topic.log().incarnation() == cursor.incarnation => Some(Arc::clone(topic.log())),
                Ok(_) | Err(Error::TopicMissing { .. }) => None,
                Err(error) => return Err(error),
            };
            let waiting = match &log {
                Some(log) => {
                    let from = log.clamp(cursor.place)?.max(log.log_start());
                    Some(log.high_watermark().since(from))
                }
                None => None,
            };
            facts.push(CursorFacts { cursor, waiting });
        }
        Ok(facts)
    }
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
