//! Which logs and files a snapshot consists of, in which order, and what becomes of topics that are
//! renamed or deleted while it is made.

use std::collections::{BTreeMap, HashSet};

use super::{Sink, SnapshotOptions};
use crate::codec::name;
use crate::codec::{FileFacts, LogFacts, Manifest};
use crate::disk::{Dir, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{GroupName, TopicName};
use crate::job::Job;
use crate::log::{DELETED, Log, Mode};
use crate::store::limits::LIMITS_FILE;
use crate::store::settings_file::{STORE_FILE, TOPIC_FILE};
use crate::store::{CURSORS, ListedTopic, Store, TOPICS, Topic};

/// The two checkpoints of a group, and what tells its name if its directory's does not.
const GROUP_FILES: [&[u8]; 3] = [b"checkpoint-0", b"checkpoint-1", TOPIC_FILE.as_bytes()];
/// Far more than any of these has.
const FILE_BYTES_MAX: usize = 1 << 30;
/// A topic whose files are replaced under the copying is begun anew, so often.
const TRIES_MAX: u32 = 4;
/// Topics that are renamed all the time are taken under a name they had.
const ROUNDS_MAX: u32 = 8;

/// Collects what a snapshot consists of.
pub(super) struct Collector<'a> {
    store: &'a Store,
    sink: &'a mut dyn Sink,
    options: &'a SnapshotOptions,
    job: &'a Job,
    /// By the name of their directory, which for a topic's dead letters sorts behind the topic's.
    topics: BTreeMap<Vec<u8>, Part>,
    dropped: Vec<String>,
}

/// What was taken of a topic.
#[derive(Default)]
struct Part {
    /// Of its directory, which keeps it when it is renamed.
    inode: u64,
    files: Vec<FileFacts>,
    logs: Vec<LogFacts>,
}

/// A topic, and the inode of its directory.
type Found = (ListedTopic, u64);

impl<'a> Collector<'a> {
    pub(super) fn new(store: &'a Store, sink: &'a mut dyn Sink, options: &'a SnapshotOptions, job: &'a Job) -> Collector<'a> {
        Collector { store, sink, options, job, topics: BTreeMap::new(), dropped: Vec::new() }
    }

    /// All of it, or what belongs to the topics that are named.
    pub(super) fn collect(mut self) -> Result<Manifest> {
        let made = self.store.clock().now();
        let mut files = Vec::new();
        // Before the topics, so that none of them is ahead.
        self.cursors(&mut files)?;
        let found = self.found()?;
        for topic in &found {
            self.topic(topic)?;
        }
        self.follow_changes(&found)?;
        for name in [LIMITS_FILE, STORE_FILE] {
            self.file(self.store.root(), name.as_bytes(), name, &mut files)?;
        }
        let mut manifest = Manifest {
            made,
            store: self.store.id().to_owned(),
            topics: self.options.selection(),
            files,
            logs: Vec::new(),
            dropped: self.dropped,
        };
        for part in self.topics.into_values() {
            manifest.files.extend(part.files);
            manifest.logs.extend(part.logs);
        }
        Ok(manifest)
    }

    /// The topics as they are now, by name: a topic comes before the one of its dead letters, whose name
    /// is longer by what is put behind.
    fn found(&self) -> Result<Vec<Found>> {
        let mut listed = self.store.list_topics()?;
        let SnapshotOptions { topics: named, letters, .. } = self.options;
        if let Some(missing) = named.iter().find(|name| !listed.iter().any(|topic| topic.name == **name)) {
            return Err(Error::TopicMissing { topic: missing.clone() });
        }
        listed.retain(|topic| named.is_empty() || named.contains(&topic.name) || letters.contains(&topic.name));
        let mut found = Vec::with_capacity(listed.len());
        for topic in listed {
            // Deleted, or renamed, since it was listed.
            let Some(meta) = self.store.topics_dir().stat(&topic.file_name)? else { continue };
            found.push((topic, meta.inode));
        }
        Ok(found)
    }

    /// Takes topics under the names they have now, if they were there at the beginning; and with each the
    /// topics whose names begin with its, so that its dead letters come after it. In the first round it
    /// takes those too that were made meanwhile: one may be that of the dead letters that a group has sent.
    fn follow_changes(&mut self, at_first: &[Found]) -> Result<()> {
        let known: HashSet<u64> = at_first.iter().map(|(_, inode)| *inode).collect();
        for round in 0..ROUNDS_MAX {
            let now = self.found()?;
            let names: HashSet<&[u8]> = now.iter().map(|(topic, _)| &topic.file_name[..]).collect();
            let gone: Vec<Vec<u8>> = self.topics.keys().filter(|name| !names.contains(&name[..])).cloned().collect();
            for name in gone {
                self.forget(&name)?;
            }
            let mut moved: Vec<&TopicName> = Vec::new();
            for found in &now {
                let (topic, inode) = found;
                let taken = self.topics.get(&topic.file_name).map(|part| part.inode);
                let is_moved = if known.contains(inode) { taken != Some(*inode) } else { round == 0 && taken.is_none() };
                let follows = taken.is_some() && moved.iter().any(|name| topic.name.as_bytes().starts_with(name.as_bytes()));
                if is_moved || follows {
                    self.forget(&topic.file_name)?;
                    self.topic(found)?;
                    moved.push(&topic.name);
                }
            }
            if moved.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn forget(&mut self, file_name: &[u8]) -> Result<()> {
        match self.topics.remove(file_name) {
            Some(_) => self.discard(&topic_path(file_name)),
            None => Ok(()),
        }
    }

    fn discard(&mut self, path: &str) -> Result<()> {
        if !self.sink.discard(path)? {
            self.dropped.push(path.to_owned());
        }
        Ok(())
    }

    /// Takes a topic; `false` when it is gone.
    fn topic(&mut self, (listed, inode): &Found) -> Result<bool> {
        let path = topic_path(&listed.file_name);
        if self.dropped.contains(&path) {
            let (path, what) = (self.store.topics_dir().path().to_owned(), "topics were renamed while they were streamed");
            return Err(Error::Overtaken { path, what });
        }
        let mut tries = 0;
        loop {
            self.job.check()?;
            match self.try_topic(listed, &path) {
                Ok(Some(part)) => {
                    self.topics.insert(listed.file_name.clone(), Part { inode: *inode, ..part });
                    return Ok(true);
                }
                Ok(None) => {
                    self.discard(&path)?;
                    return Ok(false);
                }
                Err(error @ (Error::Astray { .. } | Error::Overtaken { .. })) => {
                    tries += 1;
                    if tries == TRIES_MAX || !self.sink.discard(&path)? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` when it is gone, whatever that made of the copying.
    fn try_topic(&mut self, listed: &ListedTopic, path: &str) -> Result<Option<Part>> {
        let topic = match self.store.topic(&listed.name, Mode::Write, self.job) {
            Err(Error::TopicMissing { .. } | Error::TopicGone { .. }) => return Ok(None),
            other => other?,
        };
        let taken = self.parts_of(&topic, path);
        if topic.log().is_gone()? { Ok(None) } else { taken.map(Some) }
    }

    /// Groups, then deletions, then the topic: what comes first says nothing of what the last does not hold.
    fn parts_of(&mut self, topic: &Topic, path: &str) -> Result<Part> {
        let mut part = Part::default();
        for group in self.store.list_groups(topic)? {
            self.group(topic, &group, path, &mut part)?;
        }
        let (deletions, facts) = self.logs_of(topic.log(), path)?;
        if let Some((deletions, facts)) = deletions {
            self.log(&deletions, facts, &mut part)?;
        }
        self.file(topic.log().dir(), TOPIC_FILE.as_bytes(), &format!("{path}/{TOPIC_FILE}"), &mut part.files)?;
        self.log(topic.log(), facts, &mut part)?;
        Ok(part)
    }

    /// The deletions, then the records, between which none was compacted away: a segment says how many of the
    /// records that it lacks are deleted ones.
    fn logs_of(&self, log: &Log, path: &str) -> Result<(Option<(Log, LogFacts)>, LogFacts)> {
        loop {
            self.job.check()?;
            let generation = log.compactions_generation();
            let deletions = match log.deletions_log(self.job)? {
                Some(deletions) => {
                    let facts = deletions.capture(&format!("{path}/{}", text(DELETED)), self.job)?;
                    Some((deletions, facts))
                }
                None => None,
            };
            let facts = log.capture(path, self.job)?;
            if deletions.is_none() || log.compactions_generation() == generation {
                return Ok((deletions, facts));
            }
        }
    }

    /// The checkpoints, then the journal, of which nothing is removed meanwhile: so no checkpoint is ahead
    /// of it, nor behind its beginning.
    fn group(&mut self, topic: &Topic, group: &GroupName, path: &str, part: &mut Part) -> Result<()> {
        let files = match self.store.group(topic, group, Mode::Write, self.job) {
            // Deleted since it was listed.
            Err(Error::NameMissing { .. }) => return Ok(()),
            other => other?,
        };
        let path = format!("{path}/groups/{}", name::escape(group.as_bytes()));
        let (journal, job) = (&files.journal, self.job);
        let (files_before, logs_before) = (part.files.len(), part.logs.len());
        let taken = journal.undisturbed(job, || {
            for file in GROUP_FILES {
                self.file(journal.dir(), file, &format!("{path}/{}", text(file)), &mut part.files)?;
            }
            let facts = journal.capture_undisturbed(&path, job)?;
            self.log(journal, facts, part)
        });
        if journal.is_gone()? && !topic.log().is_gone()? {
            part.files.truncate(files_before);
            part.logs.truncate(logs_before);
            return self.discard(&path);
        }
        taken
    }

    /// The segments of a log that was captured.
    fn log(&mut self, log: &Log, mut facts: LogFacts, part: &mut Part) -> Result<()> {
        for segment in facts.segments.clone() {
            self.job.check()?;
            if !facts.segments.contains(&segment) {
                continue;
            }
            let placed = match log.open_captured(&facts, &segment)? {
                Some(copied) => self.sink.segment(log.dir(), &facts, &segment, &copied)?,
                None => false,
            };
            if placed {
                continue;
            }
            let before = facts.segments.clone();
            if !log.dismiss(&mut facts, &segment) {
                let what = "its segments were written anew while it was copied, as by a compaction";
                return Err(Error::Overtaken { path: log.path().to_owned(), what });
            }
            // Those that were placed, and were trimmed since.
            for gone in before.iter().take_while(|gone| gone.base < segment.base) {
                self.discard(&format!("{}/{}", facts.path, gone.file_name()))?;
            }
        }
        part.logs.push(facts);
        Ok(())
    }

    /// A small file, if it is there.
    fn file(&mut self, dir: &Dir, name: &[u8], path: &str, into: &mut Vec<FileFacts>) -> Result<()> {
        let Some(bytes) = dir.read(name, FILE_BYTES_MAX)? else { return Ok(()) };
        self.sink.file(path, &bytes)?;
        into.push(FileFacts { path: path.to_owned(), bytes: bytes.len() as u64, crc: crc32fast::hash(&bytes) });
        Ok(())
    }

    fn cursors(&mut self, into: &mut Vec<FileFacts>) -> Result<()> {
        let cursors = match self.store.root().dir(CURSORS) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let is_name = |name: &[u8]| name::unescape(name) != name::Unescaped::Foreign && !name.ends_with(b".lock");
        let wanted: Vec<String> = self.options.topics.iter().map(|topic| name::escape(topic.as_bytes())).collect();
        for reader in cursors.list()?.into_iter().filter(|entry| entry.kind == EntryKind::Dir && is_name(&entry.name)) {
            let dir = cursors.dir(&reader.name)?;
            for topic in dir.list()?.into_iter().filter(|entry| entry.kind == EntryKind::File && is_name(&entry.name)) {
                if wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_bytes() == topic.name) {
                    let path = format!("{}/{}/{}", text(CURSORS), text(&reader.name), text(&topic.name));
                    self.file(&dir, &topic.name, &path, into)?;
                }
            }
        }
        Ok(())
    }
}

/// Names that were escaped are ASCII.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn topic_path(file_name: &[u8]) -> String {
    format!("{}/{}", text(TOPICS), text(file_name))
}
