//! The groups of a topic. Each is a directory that holds a log of the same kind, the group's journal,
//! its checkpoints, and a page in which its consumers say that they live.

use std::sync::Arc;

use super::topics::{NEW, TRASH, is_hashed};
use super::{Store, Topic, exists_already, settings_file};
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::name::{self, Unescaped};
use crate::codec::{Batch, BatchBuilder};
use crate::config::Overrides;
use crate::disk::{Access, Dir, EntryKind, File, random, random_name};
use crate::error::{Error, Result};
use crate::ids::{GroupName, Incarnation, TopicName};
use crate::job::Job;
use crate::log::{Log, LogOptions, Mode, Opening};

const GROUPS: &[u8] = b"groups";
const MEMBERS: &[u8] = b"members";
const SEGMENT_BYTES: u64 = 16 << 20;
const SEGMENT_AGE: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// The files of one group.
#[derive(Debug)]
pub struct GroupFiles {
    name: GroupName,
    /// The group's journal.
    pub journal: Arc<Log>,
}

impl GroupFiles {
    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The group's directory.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        self.journal.dir()
    }

    /// The page of signs of life, made if it is missing.
    pub fn members(&self) -> Result<File> {
        match self.dir().create_file(MEMBERS) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {
                self.dir().open_file(MEMBERS, Access::ReadWrite)
            }
            Ok(file) => Ok(file),
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// Opens a group of a topic.
    ///
    /// # Errors
    /// [`Error::NameMissing`].
    pub fn group(&self, topic: &Topic, name: &GroupName, mode: Mode, job: &Job) -> Result<GroupFiles> {
        let missing = |error: Error| if error.is_not_found() { missing(name) } else { error };
        let groups = Arc::new(topic.log().dir().dir(GROUPS).map_err(missing)?);
        let file_name = name::escape(name.as_bytes());
        let log = self.open_group(topic, &groups, file_name.as_bytes(), mode, job).map_err(missing)?;
        let full_names = settings_file::read_topic(log.dir())?.0;
        if full_names.iter().any(|full| full.as_bytes() != name.as_bytes()) {
            let why = "holds another group whose name has the same hash; rename one of the two".to_owned();
            return Err(Error::StoreUnusable { path: log.dir().path().to_owned(), why });
        }
        Ok(GroupFiles { name: name.clone(), journal: Arc::new(log) })
    }

    /// Makes a group whose journal begins with `first`, durably; `false` when there is one.
    pub fn create_group(&self, topic: &Topic, name: &GroupName, first: &[u8], job: &Job) -> Result<bool> {
        let dir = topic.log().dir();
        dir.make_dir(GROUPS).or_else(exists_already)?;
        let groups = Arc::new(dir.dir(GROUPS)?);
        let file_name = name::escape(name.as_bytes());
        if groups.stat(file_name.as_bytes())?.is_some() {
            return Ok(false);
        }
        let temporary = format!("{NEW}{}", random_name());
        groups.make_dir(temporary.as_bytes())?;
        let made = self.fill_group(topic, &groups, temporary.as_bytes(), name, first, job);
        let made = made.and_then(|()| groups.rename_new(temporary.as_bytes(), &groups, file_name.as_bytes()));
        if !matches!(made, Ok(true)) {
            let _ = groups.remove_dir_all(temporary.as_bytes());
        }
        if made? {
            groups.sync()?;
            dir.sync()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn fill_group(
        &self,
        topic: &Topic,
        groups: &Arc<Dir>,
        temporary: &[u8],
        name: &GroupName,
        first: &[u8],
        job: &Job,
    ) -> Result<()> {
        let dir = groups.dir(temporary)?;
        let full_name = TopicName::new(name.as_bytes()).filter(|name| is_hashed(name.as_bytes()));
        settings_file::write_topic(&dir, full_name.as_ref().as_slice(), &Overrides::default(), true)?;
        Log::create(&dir, &self.group_opening())?;
        let log = self.open_group(topic, groups, temporary, Mode::Write, job)?;
        let mut builder = BatchBuilder::new();
        builder.push_value(first);
        let batch: Batch<'_> = builder.batch();
        let packed = Packed::records(&batch, crate::config::Compression::None);
        let mut packed = packed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
        let appended = log.append(&mut packed, BatchIds::Auto, None, job)?;
        log.sync_to(appended.end_place(), job)?;
        dir.sync()
    }

    fn open_group(&self, topic: &Topic, groups: &Arc<Dir>, file_name: &[u8], mode: Mode, job: &Job) -> Result<Log> {
        let above = Arc::new(topic.log().dir().dir(b".")?);
        let parents = vec![Arc::clone(groups), above, Arc::clone(&self.topics), Arc::clone(&self.root)];
        Log::open(parents, file_name, mode, &self.group_opening(), job)
    }

    fn group_opening(&self) -> Opening {
        Opening {
            options: LogOptions {
                read_durable: false,
                segment_bytes: SEGMENT_BYTES,
                segment_age: SEGMENT_AGE,
                origin_age: std::time::Duration::ZERO,
            },
            clock: self.clock.clone(),
            incarnation: Incarnation(random()),
            bell: None,
        }
    }

    /// Removes a group. Who works in it is told.
    ///
    /// # Errors
    /// [`Error::NameMissing`].
    pub fn delete_group(&self, topic: &Topic, name: &GroupName, job: &Job) -> Result<()> {
        let group = self.group(topic, name, Mode::Write, job)?;
        let groups = topic.log().dir().dir(GROUPS)?;
        let file_name = name::escape(name.as_bytes());
        let trash = format!("{TRASH}{}", random_name());
        group.journal.retire(job, || groups.rename(file_name.as_bytes(), &groups, trash.as_bytes()))?;
        groups.sync()?;
        groups.remove_dir_all(trash.as_bytes())
    }

    /// The groups of a topic, by name. Opens none of them.
    pub fn list_groups(&self, topic: &Topic) -> Result<Vec<GroupName>> {
        let groups = match topic.log().dir().dir(GROUPS) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in groups.list()?.into_iter().filter(|entry| entry.kind == EntryKind::Dir && !entry.name.starts_with(b".")) {
            let name = match name::unescape(&entry.name) {
                Unescaped::Name(name) => GroupName::new(&name),
                Unescaped::Hashed => super::hashed_name(&groups, &entry.name)?.and_then(|full| GroupName::new(full.as_bytes())),
                Unescaped::Foreign => None,
            };
            names.extend(name);
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn missing(name: &GroupName) -> Error {
    Error::NameMissing { kind: "group", name: String::from_utf8_lossy(name.as_bytes()).into_owned() }
}
