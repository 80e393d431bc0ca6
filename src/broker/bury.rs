//! Dead letters. The move is exact: an intent with the end of the dead-letter topic is journalled,
//! the record is appended there and synced whatever that topic's level is, and `dead` is journalled.
//! Who finds an intent that was not carried out looks from that end on whether the copy was made.

use std::sync::Arc;
use std::time::Duration;

use super::consume::GroupMember;
use super::group::{self, Delivery};
use super::{Level, TopicPublisher};
use crate::codec::BatchBuilder;
use crate::codec::batch::FieldRef;
use crate::codec::group_event::{EntryKey, Source};
use crate::codec::records::Record;
use crate::config::Durability;
use crate::error::{Error, Result};
use crate::ids::{Offset, TopicName};
use crate::log::{LogReader, Mode, Step};
use crate::store::Topic;

/// What is behind a topic's name in the name of its dead-letter topic.
const SUFFIX: &[u8] = b".dlq";

const TOPIC: &[u8] = b"dlq-topic";
const INCARNATION: &[u8] = b"dlq-incarnation";
const OFFSET: &[u8] = b"dlq-offset";
const ID: &[u8] = b"dlq-id";
const GROUP: &[u8] = b"dlq-group";
const ATTEMPTS: &[u8] = b"dlq-attempts";
const REASON: &[u8] = b"dlq-reason";
const TIME: &[u8] = b"dlq-time";

/// The dead-letter topic of a topic.
pub fn dead_letter_topic(topic: &TopicName) -> Result<TopicName> {
    let name = [topic.as_bytes(), SUFFIX].concat();
    TopicName::new(&name).ok_or_else(|| Error::SettingRefused {
        why: format!("{topic}: its name is too long for a dead-letter topic (508 bytes at most)"),
    })
}

impl GroupMember<'_> {
    pub(super) fn dead_letter_topic_for(&self, deliveries: &[Delivery]) -> Result<Option<Arc<Topic>>> {
        if deliveries.iter().all(|delivery| delivery.key.source == Source::Topic) {
            return Ok(None);
        }
        let name = dead_letter_topic(self.group.topic.name())?;
        self.group.store.topic(&name, Mode::Read, &self.group.job).map(Some)
    }

    /// Moves an entry to the dead-letter topic: one that this consumer holds, or one that has had all
    /// its attempts. `false` when somebody else was faster.
    pub fn bury(&mut self, key: EntryKey, lease: Option<group::Lease>, reason: &[u8]) -> Result<bool> {
        let name = dead_letter_topic(self.group.topic.name())?;
        let letters = self.group.store.topic_or_new(&name, &self.group.job)?;
        self.hold_burial()?;
        let end = letters.log().log_end();
        let given_up = self.group.decide(|state, _| {
            let event = group::give_up(state, key, lease, end, reason);
            let given_up = event.is_some();
            (event.into_iter().collect(), given_up)
        });
        // The intent comes before the copy, also for the disk.
        let done = given_up.and_then(|given_up| {
            let journal = &self.group.journal.files().journal;
            journal.sync_to(journal.end_place(), &self.group.job)?;
            self.carry_out().map(|()| given_up)
        });
        self.members.end_burial()?;
        done
    }

    /// Carries out what a consumer that died had begun.
    pub(super) fn finish_burials(&mut self) -> Result<()> {
        if self.group.journal.state().open_intents().next().is_none() {
            return Ok(());
        }
        self.hold_burial()?;
        let done = self.group.journal.catch_up().and_then(|()| self.carry_out());
        self.members.end_burial()?;
        done
    }

    fn hold_burial(&self) -> Result<()> {
        let began = std::time::Instant::now();
        while !self.members.begin_burial()? {
            self.group.job.check()?;
            if began.elapsed() > Duration::from_secs(30) {
                let path = self.group.journal.files().dir().path().to_owned();
                return Err(Error::Busy { what: "moving dead letters", path, holder: None, waited: began.elapsed() });
            }
            self.group.topic.log().dir().pause(Duration::from_millis(2));
        }
        Ok(())
    }

    fn carry_out(&mut self) -> Result<()> {
        let open: Vec<(EntryKey, Offset, Box<[u8]>)> = self
            .group
            .journal
            .state()
            .open_intents()
            .map(|(key, intent)| (key, intent.dead_letter_end, intent.reason.clone()))
            .collect();
        for (key, end, reason) in open {
            let name = dead_letter_topic(self.group.topic.name())?;
            let letters = self.group.store.topic_or_new(&name, &self.group.job)?;
            if !self.is_copied(&letters, key, end)? {
                self.copy(&name, &letters, key, &reason)?;
            }
            self.group.decide(|state, _| (group::bury(state, key).into_iter().collect(), ()))?;
        }
        Ok(())
    }

    /// Whether the copy of an entry lies at or behind `end`.
    fn is_copied(&self, letters: &Topic, key: EntryKey, end: Offset) -> Result<bool> {
        let log = letters.log();
        let own = self.marks(key);
        let mut reader = LogReader::new(end.min(log.log_end()), log.epoch());
        let mut scratch = Vec::new();
        loop {
            match reader.step(log, log.log_end())? {
                Step::CaughtUp => return Ok(false),
                Step::Gap(_) => {}
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    let is_own = |record: &Record<'_>| {
                        own.iter().all(|(name, value)| record.headers().any(|(n, v)| n == *name && v == &value[..]))
                    };
                    if records.flatten().any(|record| is_own(&record)) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// What tells the copy of one entry of this group from every other.
    fn marks(&self, key: EntryKey) -> [(&'static [u8], Vec<u8>); 4] {
        let source = match key.source {
            Source::Topic => self.group.topic.name().as_bytes().to_vec(),
            Source::DeadLetter => [self.group.topic.name().as_bytes(), SUFFIX].concat(),
        };
        [
            (TOPIC, source),
            (INCARNATION, self.group.topic.log().incarnation().to_string().into_bytes()),
            (OFFSET, key.offset.to_string().into_bytes()),
            (GROUP, self.group.journal.files().name().as_bytes().to_vec()),
        ]
    }

    /// Appends the entry's record with all its fields, and where it comes from, durably.
    pub(super) fn copy(&mut self, name: &TopicName, letters: &Topic, key: EntryKey, reason: &[u8]) -> Result<()> {
        let log = if key.source == Source::Topic { self.group.topic.log() } else { letters.log() };
        let attempts = self.group.journal.state().entry(key).map_or(0, |entry| entry.deliveries).to_string();
        let marks = self.marks(key);
        let time = self.group.store.clock().now().to_string();
        let mut batch = BatchBuilder::new();
        let mut reader = LogReader::new(key.offset, log.epoch());
        let mut scratch = Vec::new();
        let pushed = loop {
            match reader.step(log, key.offset.plus(1))? {
                // There is no record any more: nothing to keep.
                Step::CaughtUp | Step::Gap(_) => return Ok(()),
                Step::Frame { frame, from, until } => {
                    let malformed = |why: crate::codec::batch::Malformed| Error::RecordRefused { why: why.to_string() };
                    let mut records = frame.records_in(&mut scratch, from, until).map_err(malformed)?.flatten();
                    let Some(record) = records.find(|record| record.offset == key.offset) else { continue };
                    let id = record.id.to_string();
                    let is_mark = |name: &[u8]| name.starts_with(b"dlq-");
                    let mut fields: Vec<FieldRef<'_>> = record.fields().filter(|(name, _)| !is_mark(name)).collect();
                    fields.extend(marks.iter().map(|(name, value)| (*name, &value[..])));
                    fields.extend([
                        (ID, id.as_bytes()),
                        (ATTEMPTS, attempts.as_bytes()),
                        (REASON, reason),
                        (TIME, time.as_bytes()),
                    ]);
                    break batch.push(&fields, record.null, None);
                }
            }
        };
        pushed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
        let level = Level { durability: Some(Durability::Sync), create: true };
        let mut publisher = TopicPublisher::open(self.group.store, self.flusher, name, level, self.group.job.clone())?;
        publisher.publish(&batch.batch(), None)?;
        publisher.settle()
    }
}
