//! The dead letters of a group: records of a topic of their own, which its topic's groups share. Headers
//! say whose they are and where they come from; which ones are done with, the group's journal knows.

use std::sync::Arc;

use super::consume::OpenGroup;
use super::group::{self, GroupState};
use crate::codec::Record;
use crate::codec::group_event::{EntryKey, Source};
use crate::error::{Error, Result};
use crate::ids::{GroupName, Lane, Offset, TopicName};
use crate::job::Job;
use crate::log::{LogGap, LogReader, Mode, Step};
use crate::store::{Store, Topic};

/// What is behind a topic's name in the name of its dead-letter topic.
const SUFFIX: &[u8] = b".dlq";

/// The topic that the record died in.
pub const DLQ_TOPIC: &[u8] = b"dlq-topic";
/// Which of those that had this name, one after the other.
pub const DLQ_INCARNATION: &[u8] = b"dlq-incarnation";
/// Its offset there.
pub const DLQ_OFFSET: &[u8] = b"dlq-offset";
/// Its ID there.
pub const DLQ_ID: &[u8] = b"dlq-id";
/// The group that gave it up.
pub const DLQ_GROUP: &[u8] = b"dlq-group";
/// How many attempts it had, since it was tried again if it was.
pub const DLQ_ATTEMPTS: &[u8] = b"dlq-attempts";
/// Why it was given up.
pub const DLQ_REASON: &[u8] = b"dlq-reason";
/// When, in ms since 1970.
pub const DLQ_TIME: &[u8] = b"dlq-time";
/// The dead letter that was tried again in vain, and of which this one is a copy.
pub const DLQ_RETRY_OF: &[u8] = b"dlq-retry-of";

/// The dead-letter topic of a topic.
///
/// # Errors
/// [`Error::SettingRefused`] when its name would be too long.
pub fn dead_letter_topic(topic: &TopicName) -> Result<TopicName> {
    let name = [topic.as_bytes(), SUFFIX].concat();
    TopicName::new(&name).ok_or_else(|| Error::SettingRefused {
        why: format!("{topic}: its name is too long for a dead-letter topic (508 bytes at most)"),
    })
}

/// A dead letter as who tries it again is to see it: with the offset and the ID of the record that died.
pub(super) fn as_it_was<'a>(letter: &Record<'a>) -> Record<'a> {
    let header = |wanted: &[u8]| letter.headers().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let text = |name| header(name).and_then(|value| std::str::from_utf8(value).ok());
    let offset = text(DLQ_OFFSET).and_then(|text| text.parse().ok()).map_or(letter.offset, Offset);
    let id = text(DLQ_ID).and_then(|text| text.parse().ok()).unwrap_or(letter.id);
    let mut record = *letter;
    (record.offset, record.id) = (offset, id);
    record
}

/// A dead letter that its group is not done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it is in the dead-letter topic.
    pub offset: Offset,
    /// The lane in which it is tried again.
    pub lane: Lane,
    /// Whether it is being tried again already.
    pub is_retried: bool,
}

/// The dead letters of one group.
#[derive(Debug)]
pub struct DeadLetters<'s> {
    group: OpenGroup<'s>,
    /// `None` while no record of the topic ever died.
    topic: Option<Arc<Topic>>,
}

impl<'s> DeadLetters<'s> {
    /// Opens those of a group.
    ///
    /// # Errors
    /// [`Error::NameMissing`] when there is no such group.
    pub fn open(store: &'s Store, topic: &TopicName, group: &GroupName, mode: Mode, job: Job) -> Result<DeadLetters<'s>> {
        let group = OpenGroup::open(store, topic, group, mode, job)?;
        let topic = match store.topic(&dead_letter_topic(topic)?, Mode::Read, &group.job) {
            Err(Error::TopicMissing { .. }) => None,
            other => Some(other?),
        };
        Ok(DeadLetters { group, topic })
    }

    /// Hands out those that the group is not done with, by offset, while `each` says to go on.
    pub fn read(&mut self, mut each: impl FnMut(&DeadLetter, &Record<'_>) -> bool) -> Result<Vec<LogGap>> {
        let Some(topic) = &self.topic else { return Ok(Vec::new()) };
        let (log, state) = (topic.log(), self.group.state());
        let is_known = state.letters().topic() == Some(log.incarnation());
        let own = self.group.journal.files().name().as_bytes();
        let (mut gaps, mut scratch) = (Vec::new(), Vec::new());
        let end = log.high_watermark();
        let mut reader = LogReader::new(log.log_start(), log.epoch());
        loop {
            self.group.job.check()?;
            match reader.step(log, end)? {
                Step::CaughtUp => return Ok(gaps),
                Step::Gap(gap) => gaps.push(gap),
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    for record in records.flatten() {
                        let is_own = record.headers().find(|(name, _)| *name == DLQ_GROUP).is_some_and(|(_, of)| of == own);
                        if !is_own || (is_known && state.letters().is_settled(record.offset)) {
                            continue;
                        }
                        let key = EntryKey { source: Source::DeadLetter, offset: record.offset };
                        let is_retried = is_known && state.entry(key).is_some();
                        let letter = DeadLetter { offset: record.offset, lane: lane_in(state, &record), is_retried };
                        if !each(&letter, &record) {
                            return Ok(gaps);
                        }
                    }
                }
            }
        }
    }

    /// Gives letters back to the group, and to no other, durably; says how many were not being tried
    /// again already.
    pub fn retry(&mut self, letters: &[DeadLetter]) -> Result<u64> {
        self.find()?;
        let letters: Vec<(Offset, Lane)> = letters.iter().map(|letter| (letter.offset, letter.lane)).collect();
        let count = self.group.decide(|state, now| {
            let events = group::revive(state, &letters, now);
            let count = events.len() as u64;
            (events, count)
        })?;
        self.group.sync()?;
        Ok(count)
    }

    /// Is done with letters, durably; says with how many. The records stay in the dead-letter topic.
    pub fn drop_letters(&mut self, letters: &[Offset]) -> Result<u64> {
        self.find()?;
        let count = self.group.decide(|state, _| {
            let (event, count) = group::drop_letters(state, letters);
            (event.into_iter().collect(), count)
        })?;
        self.group.sync()?;
        Ok(count)
    }

    fn find(&mut self) -> Result<()> {
        match &self.topic {
            Some(topic) => self.group.find_letters_in(topic),
            None => Ok(()),
        }
    }
}

fn lane_in(state: &GroupState, record: &Record<'_>) -> Lane {
    if state.lanes().len() == 1 { Lane::ONLY } else { group::lane_of(record.key(), record.offset) }
}
