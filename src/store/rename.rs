//! Giving a topic another name.

use super::topics::{full_name, is_hashed, trash_name};
use super::{Store, settings_file};
use crate::codec::name;
use crate::error::{Error, Result};
use crate::ids::TopicName;
use crate::job::Job;
use crate::log::Mode;

/// Somebody may make a topic of the new name again and again.
const TRIES_MAX: usize = 8;

impl Store {
    /// Renames a topic, durably: its records, settings and groups stay what they are. With `replace` a
    /// topic that has the new name is deleted. Who has it open under the old name finds it missing.
    ///
    /// After a crash the topic is whole under one of the two names.
    ///
    /// # Errors
    /// [`Error::TopicMissing`]; [`Error::TopicExists`] without `replace`.
    pub fn rename_topic(&self, from: &TopicName, to: &TopicName, replace: bool, job: &Job) -> Result<()> {
        self.move_topic(from, to, replace, job)?;
        self.topics_dir().sync()?;
        if replace { self.empty_trash() } else { Ok(()) }
    }

    /// The first part of [`Store::rename_topic`]: everybody sees the new name, but not durably (for that,
    /// [`Store::topics_dir`] is to be synced), and the files of a topic that had it are still in the trash.
    ///
    /// # Errors
    /// As [`Store::rename_topic`].
    pub fn move_topic(&self, from: &TopicName, to: &TopicName, replace: bool, job: &Job) -> Result<()> {
        if from == to {
            return if self.has_topic(from)? { Ok(()) } else { Err(Error::TopicMissing { topic: from.clone() }) };
        }
        for _ in 0..TRIES_MAX {
            match self.move_once(from, to, replace, job) {
                // Made, or deleted, since we looked.
                Err(Error::TopicExists { .. }) if replace => {}
                Err(Error::TopicGone { .. }) => {}
                other => return other,
            }
        }
        Err(Error::TopicExists { topic: to.clone() })
    }

    fn move_once(&self, from: &TopicName, to: &TopicName, replace: bool, job: &Job) -> Result<()> {
        let source = self.topic(from, Mode::Write, job)?;
        let target = match self.topic(to, Mode::Write, job) {
            Ok(_) if !replace => return Err(Error::TopicExists { topic: to.clone() }),
            Ok(target) => Some(target),
            Err(Error::TopicMissing { .. }) => None,
            Err(error) => return Err(error),
        };
        let (old, new) = (name::escape(from.as_bytes()), name::escape(to.as_bytes()));
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let topics = self.topics_dir();
        let trash = trash_name();
        let change = || {
            let dir = source.log().dir();
            let (_, overrides) = settings_file::read_topic(dir)?;
            let names: Vec<&TopicName> = full_name(from).into_iter().chain(full_name(to)).collect();
            if is_hashed(to.as_bytes()) {
                // Whichever of the two names the directory has after a crash, it is found here.
                settings_file::write_topic(dir, &names, &overrides, true)?;
            }
            if target.is_some() {
                topics.rename(new, topics, trash.as_bytes())?;
            }
            match topics.rename_new(old, topics, new) {
                Ok(true) => {}
                failed => {
                    if target.is_some() {
                        topics.rename_new(trash.as_bytes(), topics, new)?;
                    }
                    return failed.and(Err(Error::TopicExists { topic: to.clone() }));
                }
            }
            if !names.is_empty() && topics.sync().is_ok() {
                // Not before the new name is durable. If it stays, the old one does no harm.
                let _ = settings_file::write_topic(dir, full_name(to).as_slice(), &overrides, true);
            }
            Ok(())
        };
        // Locks of topics are taken in the order of their names.
        match &target {
            None => source.log().exclusively(job, change)?,
            Some(target) if from < to => source.log().exclusively(job, || target.log().retire(job, change))?,
            Some(target) => target.log().retire(job, || source.log().exclusively(job, change))?,
        }
        self.cache().forget(from);
        self.cache().forget(to);
        Ok(())
    }
}
