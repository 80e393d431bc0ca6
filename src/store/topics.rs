//! Topics: making, opening, listing, changing and deleting them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Store, settings_file};
use crate::codec::name::{self, Unescaped};
use crate::config::{Durability, Overrides, TopicSettings};
use crate::disk::{Dir, EntryKind, random, random_name};
use crate::error::{Error, Result};
use crate::ids::{Incarnation, TopicName};
use crate::job::Job;
use crate::log::{Log, LogOptions, Mode, Opening};

pub(super) const NEW: &str = ".new-";
pub(super) const TRASH: &str = ".trash-";

/// An open topic.
#[derive(Debug)]
pub struct Topic {
    name: TopicName,
    log: Arc<Log>,
    defaults: TopicSettings,
    settings: Mutex<Settings>,
}

#[derive(Debug)]
struct Settings {
    generation: u64,
    in_force: TopicSettings,
    overrides: Overrides,
}

/// A directory under `topics/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTopic {
    /// The topic's name.
    pub name: TopicName,
    /// Its directory's name.
    pub file_name: Vec<u8>,
}

impl Topic {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The settings in force, read again if some process has changed them.
    pub fn settings(&self) -> Result<(TopicSettings, Overrides)> {
        let generation = self.log.settings_generation();
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if settings.generation != generation {
            let (_, overrides) = settings_file::read_topic(self.log.dir())?;
            let in_force = overrides.over(&self.defaults);
            self.log.set_options(log_options(&in_force));
            *settings = Settings { generation, in_force, overrides };
        }
        Ok((settings.in_force.clone(), settings.overrides.clone()))
    }
}

fn log_options(settings: &TopicSettings) -> LogOptions {
    LogOptions {
        read_durable: settings.durability == Durability::Sync,
        segment_bytes: settings.segment_bytes,
        segment_age: settings.segment_age,
        origin_age: settings.dedup_window,
    }
}

impl Store {
    /// Opens a topic. For writing, a log that needs it is recovered first.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic(&self, name: &TopicName, mode: Mode, job: &Job) -> Result<Arc<Topic>> {
        if mode == Mode::Write
            && let Some(topic) = self.cache().get(name)
            && !topic.log.is_gone()?
        {
            return Ok(topic);
        }
        let file_name = name::escape(name.as_bytes());
        let missing = |error: Error| if error.is_not_found() { Error::TopicMissing { topic: name.clone() } } else { error };
        let dir = self.topics.dir(file_name.as_bytes()).map_err(missing)?;
        let (full_names, overrides) = settings_file::read_topic(&dir)?;
        if is_hashed(name.as_bytes()) && !full_names.is_empty() && !full_names.contains(name) {
            let why = "holds another topic whose name has the same hash; rename one of the two".to_owned();
            return Err(Error::StoreUnusable { path: dir.path().to_owned(), why });
        }
        let in_force = overrides.over(&self.defaults);
        let opening = self.opening(&in_force);
        let log = Log::open(vec![Arc::clone(&self.topics), Arc::clone(&self.root)], file_name.as_bytes(), mode, &opening, job);
        let log = Arc::new(log.map_err(missing)?);
        // Read before the log was opened, so before its generation: a change in between is noticed.
        let settings = Settings { generation: u64::MAX, in_force, overrides };
        let topic = Topic { name: name.clone(), log, defaults: self.defaults.clone(), settings: Mutex::new(settings) };
        let topic = Arc::new(topic);
        topic.settings()?;
        if mode == Mode::Write {
            self.cache().put(&topic);
        }
        Ok(topic)
    }

    /// Opens a topic for writing, making it if it is missing.
    pub fn topic_or_new(&self, name: &TopicName, job: &Job) -> Result<Arc<Topic>> {
        loop {
            match self.topic(name, Mode::Write, job) {
                Err(Error::TopicMissing { .. }) => match self.create_topic(name, &Overrides::default(), false) {
                    Ok(()) | Err(Error::TopicExists { .. }) => {}
                    Err(error) => return Err(error),
                },
                other => return other,
            }
        }
    }

    /// Makes a topic. With `durable` it survives a power loss once this returns; without, once
    /// something in it has been synced.
    ///
    /// # Errors
    /// [`Error::TopicExists`].
    pub fn create_topic(&self, name: &TopicName, overrides: &Overrides, durable: bool) -> Result<()> {
        let file_name = name::escape(name.as_bytes());
        if self.topics.stat(file_name.as_bytes())?.is_some() {
            return Err(Error::TopicExists { topic: name.clone() });
        }
        let temporary = format!("{NEW}{}", random_name());
        self.topics.make_dir(temporary.as_bytes())?;
        let made = self.fill(temporary.as_bytes(), name, overrides, durable);
        let made = made.and_then(|()| self.topics.rename_new(temporary.as_bytes(), &self.topics, file_name.as_bytes()));
        if !matches!(made, Ok(true)) {
            let _ = self.topics.remove_dir_all(temporary.as_bytes());
        }
        match made {
            Ok(true) if durable => self.topics.sync(),
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::TopicExists { topic: name.clone() }),
            Err(error) => Err(error),
        }
    }

    fn fill(&self, temporary: &[u8], name: &TopicName, overrides: &Overrides, durable: bool) -> Result<()> {
        let dir = self.topics.dir(temporary)?;
        settings_file::write_topic(&dir, full_name(name).as_slice(), overrides, durable)?;
        Log::create(&dir, &self.opening(&overrides.over(&self.defaults)))?;
        if durable { dir.sync() } else { Ok(()) }
    }

    fn opening(&self, settings: &TopicSettings) -> Opening {
        Opening {
            options: log_options(settings),
            clock: self.clock.clone(),
            incarnation: Incarnation(random()),
            bell: Some(Arc::clone(&self.bell)),
        }
    }

    /// Changes settings; an empty value puts one back to the default. Every process notices.
    pub fn configure_topic(&self, name: &TopicName, changes: &[(String, String)], job: &Job) -> Result<()> {
        let topic = self.topic(name, Mode::Write, job)?;
        self.configure(&topic, changes, job)
    }

    /// As [`Store::configure_topic`], for a topic that is open.
    ///
    /// # Errors
    /// [`Error::TopicGone`] when it was deleted, or renamed.
    pub fn configure(&self, topic: &Topic, changes: &[(String, String)], job: &Job) -> Result<()> {
        let change = |overrides: &mut Overrides| {
            let mut set = |(setting, value): &(String, String)| overrides.set(setting, value);
            changes.iter().try_for_each(&mut set).map_err(|why| Error::SettingRefused { why })
        };
        let mut overrides = settings_file::read_topic(topic.log.dir())?.1;
        change(&mut overrides)?;
        if overrides.over(&self.defaults).durability == Durability::Sync {
            // What readers have seen must not vanish from their sight.
            topic.log.sync_to(topic.log.end_place(), job)?;
        }
        // Nobody else changes it meanwhile, nor its name.
        topic.log.exclusively(job, || {
            let mut overrides = settings_file::read_topic(topic.log.dir())?.1;
            change(&mut overrides)?;
            settings_file::write_topic(topic.log.dir(), full_name(&topic.name).as_slice(), &overrides, true)?;
            self.topic_limit_changed(topic, changes)?;
            topic.log.settings_changed()
        })
    }

    /// Removes a topic and all its records, durably. Who has it open is told.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn delete_topic(&self, name: &TopicName, job: &Job) -> Result<()> {
        self.retire_topic(name, job)?;
        self.topics.sync()?;
        self.empty_trash()
    }

    /// The first part of [`Store::delete_topic`]: the topic is gone for everybody, but not durably (for
    /// that, [`Store::topics_dir`] is to be synced), and its files are still in the trash.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn retire_topic(&self, name: &TopicName, job: &Job) -> Result<()> {
        let file_name = name::escape(name.as_bytes());
        let trash = trash_name();
        let topic = self.topic(name, Mode::Write, job)?;
        topic.log.retire(job, || self.topics.rename(file_name.as_bytes(), &self.topics, trash.as_bytes()))?;
        self.cache().forget(name);
        Ok(())
    }

    /// What differs from the defaults in all topics that differ in anything. Opens none of their logs.
    pub fn all_overrides(&self) -> Result<Vec<(TopicName, Overrides)>> {
        let mut found = Vec::new();
        for ListedTopic { name, file_name } in self.list_topics()? {
            if settings_file::has_settings(&self.topics, &file_name)? {
                let read = self.topics.dir(&file_name).and_then(|dir| settings_file::read_topic(&dir));
                // One that cannot be read, unless it was just deleted, is told when it is opened.
                found.extend(read.ok().map(|(_, overrides)| (name, overrides)));
            }
        }
        Ok(found)
    }

    /// The settings of all topics.
    pub fn all_settings(&self) -> Result<Vec<(TopicName, TopicSettings)>> {
        let mut own: std::collections::HashMap<TopicName, Overrides> = self.all_overrides()?.into_iter().collect();
        let topics = self.list_topics()?.into_iter();
        Ok(topics
            .map(|ListedTopic { name, .. }| {
                let settings = own.remove(&name).unwrap_or_default().over(&self.defaults);
                (name, settings)
            })
            .collect())
    }

    /// Closes the topics that nobody uses now.
    pub fn close_topics(&self) {
        *self.cache() = super::Cache::default();
    }

    /// Removes what deleted topics left, this one's or an earlier one's that was interrupted.
    pub fn empty_trash(&self) -> Result<()> {
        for entry in self.topics.list()? {
            if entry.kind == EntryKind::Dir && entry.name.starts_with(TRASH.as_bytes()) {
                match self.topics.remove_dir_all(&entry.name) {
                    // Another process may be at it too.
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// All topics, sorted by name. Opens none of them.
    pub fn list_topics(&self) -> Result<Vec<ListedTopic>> {
        let mut topics = Vec::new();
        for entry in self.topics.list()? {
            if entry.kind != EntryKind::Dir || entry.name.starts_with(b".") {
                continue;
            }
            let name = match name::unescape(&entry.name) {
                Unescaped::Name(name) => TopicName::new(&name),
                Unescaped::Hashed => hashed_name(&self.topics, &entry.name)?,
                Unescaped::Foreign => None,
            };
            topics.extend(name.map(|name| ListedTopic { name, file_name: entry.name }));
        }
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, super::Cache> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the directory of a topic of this name has only a hash of it.
pub(super) fn is_hashed(name: &[u8]) -> bool {
    name::unescape(name::escape(name).as_bytes()) == Unescaped::Hashed
}

/// The name, if it has to be written down beside the log.
pub(super) fn full_name(name: &TopicName) -> Option<&TopicName> {
    is_hashed(name.as_bytes()).then_some(name)
}

pub(super) fn trash_name() -> String {
    format!("{TRASH}{}", random_name())
}

pub(super) fn hashed_name(topics: &Dir, file_name: &[u8]) -> Result<Option<TopicName>> {
    match topics.dir(file_name).and_then(|dir| settings_file::read_topic(&dir)) {
        Ok((mut names, _)) => {
            let fits = |full: &TopicName| name::escape(full.as_bytes()).as_bytes() == file_name;
            let at = names.iter().position(fits).unwrap_or(0);
            Ok((!names.is_empty()).then(|| names.swap_remove(at)))
        }
        // Deleted while it was listed.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
