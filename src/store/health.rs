//! What there is to watch of a store beside its topics' own numbers.

use super::Store;
use super::settings_file;
use crate::disk::{Dir, EntryKind, Room, room};
use crate::error::Result;
use crate::ids::{TimestampMs, TopicName};
use crate::job::Job;
use crate::log::{LogReader, Mode, Step};

/// What repairs have put aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// The format's version, if `store.toml` can be read.
    #[must_use]
    pub fn format_version(&self) -> Option<u32> {
        settings_file::read_store(self.root()).ok().flatten().map(|file| file.version)
    }

    /// What the store's file system has left.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn room(&self) -> Result<Room> {
        room(self.root())
    }

    /// What lies in the quarantine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn quarantined(&self) -> Result<Quarantined> {
        let mut all = Quarantined::default();
        match self.root().dir(super::QUARANTINE) {
            Ok(dir) => count(&dir, &mut all)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(all)
    }

    /// When the first record was published that is kept and can be read.
    ///
    /// # Errors
    /// When the topic does not open, or its files cannot be read.
    pub fn first_record_time(&self, name: &TopicName) -> Result<Option<TimestampMs>> {
        let topic = self.topic(name, Mode::Read, &Job::new())?;
        let log = topic.log();
        let mut reader = LogReader::new(log.log_start(), log.epoch());
        let mut scratch = Vec::new();
        loop {
            match reader.step(log, log.high_watermark())? {
                Step::CaughtUp => return Ok(None),
                Step::Gap(_) => {}
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    if let Some(record) = records.flatten().next() {
                        return Ok(Some(TimestampMs(record.id.ms)));
                    }
                }
            }
        }
    }
}

fn count(dir: &Dir, all: &mut Quarantined) -> Result<()> {
    for entry in dir.list()? {
        match entry.kind {
            EntryKind::Dir => match dir.dir(&entry.name).and_then(|dir| count(&dir, all)) {
                // Removed while it was listed.
                Err(error) if error.is_not_found() => {}
                other => other?,
            },
            EntryKind::File => {
                all.files += 1;
                all.bytes += dir.stat(&entry.name)?.map_or(0, |meta| meta.length);
            }
            EntryKind::Other => {}
        }
    }
    Ok(())
}
