//! Repairing a topic. What is replaced or does not belong there is kept in the store's `quarantine/`.

use super::{QUARANTINE, Store, exists_already, settings_file};
use crate::codec::name::{self, Unescaped};
use crate::disk::Dir;
use crate::error::{Error, Result};
use crate::ids::TopicName;
use crate::job::Job;
use crate::log::{Mended, Mode};

impl Store {
    /// Repairs what [`Store::verify_topic`] finds: damaged segments are written anew without the bad
    /// records. A `topic.toml` that cannot be read is moved aside: the topic has the default
    /// settings then.
    ///
    /// # Errors
    /// What could be repaired until then stays repaired. [`Error::StoreUnusable`] when the lost
    /// `topic.toml` held the topic's name, too.
    pub fn mend_topic(&self, name: &TopicName, job: &Job) -> Result<Mended> {
        let file_name = name::escape(name.as_bytes());
        let missing = |error: Error| if error.is_not_found() { Error::TopicMissing { topic: name.clone() } } else { error };
        let dir = self.topics_dir().dir(file_name.as_bytes()).map_err(missing)?;
        self.root().make_dir(QUARANTINE).or_else(exists_already)?;
        let quarantine = self.root().dir(QUARANTINE)?;
        quarantine.make_dir(file_name.as_bytes()).or_else(exists_already)?;
        quarantine.sync()?;
        self.root().sync()?;
        let quarantine = quarantine.dir(file_name.as_bytes())?;
        let is_reset = match settings_file::read_topic(&dir) {
            Err(Error::StoreUnusable { .. }) if name::unescape(file_name.as_bytes()) != Unescaped::Hashed => {
                move_settings(&dir, &quarantine)?;
                true
            }
            other => other.map(|_| false)?,
        };
        let topic = self.topic(name, Mode::Write, job)?;
        let mut mended = topic.log().mend(&quarantine, job)?;
        if is_reset {
            topic.log().settings_changed()?;
            mended.settings_lost = true;
        }
        Ok(mended)
    }
}

fn move_settings(dir: &Dir, quarantine: &Dir) -> Result<()> {
    let kept = format!("{}.{}", settings_file::TOPIC_FILE, crate::disk::random_name());
    dir.link(settings_file::TOPIC_FILE.as_bytes(), quarantine, kept.as_bytes())?;
    quarantine.sync()?;
    dir.unlink(settings_file::TOPIC_FILE.as_bytes())?;
    dir.sync()
}
