//! The embedded log behind the engine's traits.

use std::path::{Path, PathBuf};

use super::{Cursor, Engine, Feed, PublishOptions, Publisher, Trimmed};
use crate::clock::Clock;
use crate::config::{Overrides, TopicSettings};
use crate::error::Result;
use crate::ids::{Offset, TopicName};
use crate::job::Job;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Make the store if its directory is absent or empty.
    pub create: bool,
    /// Use it though its file system is not known to be safe.
    pub unsafe_fs: bool,
    /// The time.
    pub clock: Clock,
}

/// A store directory, opened by this process.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
}

impl Embedded {
    /// Opens the store at `path`.
    pub fn open(path: &Path, _options: &OpenOptions) -> Result<Embedded> {
        Ok(Embedded { path: path.to_owned() })
    }
}

#[expect(unused_variables, clippy::todo, reason = "being built")]
impl Engine for Embedded {
    fn publisher(&self, topic: &TopicName, options: &PublishOptions) -> Result<Box<dyn Publisher + '_>> {
        todo!("{}", self.path.display())
    }
    fn feed(&self, topics: &[TopicName], job: &Job) -> Result<Box<dyn Feed + '_>> {
        todo!()
    }
    fn create_topic(&self, topic: &TopicName, settings: &Overrides) -> Result<()> {
        todo!()
    }
    fn configure_topic(&self, topic: &TopicName, changes: &[(String, String)], job: &Job) -> Result<()> {
        todo!()
    }
    fn delete_topic(&self, topic: &TopicName, job: &Job) -> Result<()> {
        todo!()
    }
    fn trim_topic(&self, topic: &TopicName, before: Offset, job: &Job) -> Result<Trimmed> {
        todo!()
    }
    fn topics(&self) -> Result<Vec<TopicName>> {
        todo!()
    }
    fn settings(&self, topic: &TopicName) -> Result<(TopicSettings, Overrides)> {
        todo!()
    }
    fn cursor(&self, name: &[u8], topic: &TopicName) -> Result<Box<dyn Cursor>> {
        todo!()
    }
}
