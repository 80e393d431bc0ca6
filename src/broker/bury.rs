//! Moving entries to the dead-letter topic, exactly once: an intent with the end of the dead-letter
//! topic is journalled, the record is appended there and synced whatever that topic's level is, and
//! `dead` is journalled. Who finds an intent that was not carried out looks from that end on whether
//! the copy was made.

use std::time::Duration;

use super::consume::GroupSettler;
use super::dead_letters::{
    DLQ_ATTEMPTS, DLQ_GROUP, DLQ_ID, DLQ_INCARNATION, DLQ_OFFSET, DLQ_REASON, DLQ_RETRY_OF, DLQ_TIME, DLQ_TOPIC,
    dead_letter_topic,
};
use super::group;
use super::{Level, TopicPublisher};
use crate::codec::BatchBuilder;
use crate::codec::batch::FieldRef;
use crate::codec::group_event::{EntryKey, Source};
use crate::codec::records::Record;
use crate::config::Durability;
use crate::error::{Error, Result};
use crate::ids::{Offset, TopicName};
use crate::log::{LogReader, Step};
use crate::store::Topic;

impl GroupSettler<'_> {
    /// Moves an entry to the dead-letter topic: one that a receipt is for, or one that has had all
    /// its attempts. `false` when somebody else was faster.
    pub fn bury(&mut self, key: EntryKey, lease: Option<group::Lease>, reason: &[u8]) -> Result<bool> {
        let name = dead_letter_topic(self.group.topic.name())?;
        let letters = self.group.store.topic_or_new(&name, &self.group.job)?;
        self.hold_burial()?;
        let done = self.bury_in(&letters, key, lease, reason);
        self.members.end_burial()?;
        done
    }

    fn bury_in(&mut self, letters: &Topic, key: EntryKey, lease: Option<group::Lease>, reason: &[u8]) -> Result<bool> {
        self.group.find_letters_in(letters)?;
        let end = letters.log().log_end();
        let given_up = self.group.decide(|state, _| {
            let event = group::give_up(state, key, lease, end, reason);
            let given_up = event.is_some();
            (event.into_iter().collect(), given_up)
        })?;
        self.carry_out()?;
        Ok(given_up)
    }

    /// Carries out what a consumer that died had begun. One that lives does so itself, with all that
    /// is open.
    pub(super) fn finish_burials(&mut self) -> Result<()> {
        if self.group.journal.state().open_intents().next().is_none() || !self.members.begin_burial()? {
            return Ok(());
        }
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
        if self.group.journal.state().open_intents().next().is_none() {
            return Ok(());
        }
        let name = dead_letter_topic(self.group.topic.name())?;
        let letters = self.group.store.topic_or_new(&name, &self.group.job)?;
        self.group.find_letters_in(&letters)?;
        let open: Vec<(EntryKey, Offset, Box<[u8]>)> = self
            .group
            .journal
            .state()
            .open_intents()
            .map(|(key, intent)| (key, intent.dead_letter_end, intent.reason.clone()))
            .collect();
        if !open.is_empty() {
            // The intent comes before the copy, also for the disk, and whoever had it: it may have died
            // before it could see to that.
            let journal = &self.group.journal.files().journal;
            journal.sync_to(journal.end_place(), &self.group.job)?;
        }
        for (key, end, reason) in open {
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
                    if records.flatten().any(|record| has_marks(&record, key.source, &own)) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// What tells the copy of one entry of this group from every other.
    fn marks(&self, key: EntryKey) -> Vec<(&'static [u8], Vec<u8>)> {
        let offset = key.offset.to_string().into_bytes();
        let group = (DLQ_GROUP, self.group.journal.files().name().as_bytes().to_vec());
        match key.source {
            Source::Topic => vec![
                (DLQ_TOPIC, self.group.topic.name().as_bytes().to_vec()),
                (DLQ_INCARNATION, self.group.topic.log().incarnation().to_string().into_bytes()),
                (DLQ_OFFSET, offset),
                group,
            ],
            Source::DeadLetter => vec![(DLQ_RETRY_OF, offset), group],
        }
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
                    let mut new: Vec<FieldRef<'_>> = marks.iter().map(|(name, value)| (*name, &value[..])).collect();
                    if key.source == Source::Topic {
                        new.push((DLQ_ID, id.as_bytes()));
                    }
                    new.extend([(DLQ_ATTEMPTS, attempts.as_bytes()), (DLQ_REASON, reason), (DLQ_TIME, time.as_bytes())]);
                    break batch.push(&with_marks(&record, key.source, new), record.null, None);
                }
            }
        };
        pushed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
        // What a group gives up is not held up by limits.
        let level = Level { durability: Some(Durability::Sync), create: true, limit_wait: None };
        let mut publisher = TopicPublisher::open(self.group.store, self.flusher, name, level, self.group.job.clone())?;
        publisher.publish(&batch.batch(), None)?;
        publisher.settle()
    }
}

/// The first of a name counts: a record of a topic that holds dead letters itself brings its own.
fn has_marks(record: &Record<'_>, source: Source, marks: &[(&[u8], Vec<u8>)]) -> bool {
    let first = |wanted: &[u8]| record.headers().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    is_retry(record) == (source == Source::DeadLetter) && marks.iter().all(|(name, value)| first(name) == Some(value))
}

/// Whether a dead letter is one that was tried again: then that is the first thing it says of itself.
fn is_retry(record: &Record<'_>) -> bool {
    record.headers().find(|(name, _)| name.starts_with(b"dlq-")).is_some_and(|(name, _)| name == DLQ_RETRY_OF)
}

/// All fields of the record, and the marks in front of its headers. A dead letter that dies again
/// keeps where it came from; what is said anew replaces what was said before.
fn with_marks<'a>(record: &Record<'a>, source: Source, marks: Vec<FieldRef<'a>>) -> Vec<FieldRef<'a>> {
    let mut fields: Vec<FieldRef<'a>> = record.fields().collect();
    if source == Source::DeadLetter {
        let anew = marks.iter().filter(|(name, _)| *name != DLQ_RETRY_OF || is_retry(record));
        for (said, _) in anew {
            if let Some(before) = fields.iter().position(|(name, _)| name == said) {
                fields.remove(before);
            }
        }
    }
    let is_header = |(name, _): &FieldRef<'_>| *name != b"key" && *name != b"value";
    let place = fields.iter().position(is_header).unwrap_or(fields.len());
    fields.splice(place..place, marks);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Records;
    use crate::ids::RecordId;

    fn with_record<R>(fields: &[FieldRef<'_>], each: impl FnOnce(&Record<'_>) -> R) -> R {
        let mut builder = BatchBuilder::new();
        builder.push(fields, false, None).expect("legal");
        let batch = builder.batch();
        let mut body = Vec::new();
        // One byte of a varint.
        body.push(u8::try_from(batch.table.len()).ok().filter(|length| *length < 0x80).expect("short"));
        body.extend_from_slice(batch.table);
        body.extend_from_slice(batch.values);
        let mut records = Records::new(&body, Offset(7), 1, 1, RecordId::ZERO, batch.plain).expect("a body");
        each(&records.next().expect("one").expect("well formed"))
    }

    const TOPIC_MARKS: [FieldRef<'_>; 3] = [(DLQ_TOPIC, b"t"), (DLQ_OFFSET, b"3"), (DLQ_GROUP, b"g")];
    const RETRY_MARKS: [FieldRef<'_>; 3] = [(DLQ_RETRY_OF, b"7"), (DLQ_GROUP, b"g"), (DLQ_REASON, b"again")];

    fn owned<'a>(marks: &[FieldRef<'a>]) -> Vec<(&'a [u8], Vec<u8>)> {
        marks.iter().map(|(name, value)| (*name, value.to_vec())).collect()
    }

    #[test]
    fn the_copy_of_a_retry_is_not_taken_for_the_first_copy_of_its_record() {
        let plain: [FieldRef<'_>; 3] = [(b"key", b"k"), (b"value", b"v"), (b"a", b"1")];
        let first: Vec<FieldRef<'_>> = with_record(&plain, |record| {
            let marked = with_marks(record, Source::Topic, [&TOPIC_MARKS[..], &[(DLQ_REASON, b"no")]].concat());
            assert_eq!(marked[2], TOPIC_MARKS[0], "in front of the headers");
            marked.iter().map(|(name, value)| (&*name.to_vec().leak(), &*value.to_vec().leak())).collect()
        });
        let is_first = |record: &Record<'_>| has_marks(record, Source::Topic, &owned(&TOPIC_MARKS));
        let is_retry = |record: &Record<'_>| has_marks(record, Source::DeadLetter, &owned(&RETRY_MARKS[..2]));
        with_record(&first, |letter| {
            assert!(is_first(letter) && !is_retry(letter));
            let again = with_marks(letter, Source::DeadLetter, RETRY_MARKS.to_vec());
            assert_eq!(again.iter().filter(|(name, _)| *name == DLQ_REASON).count(), 1, "said anew");
            assert!(again.contains(&(DLQ_OFFSET, b"3")) && again.contains(&(b"a", b"1")), "it keeps where it came from");
            with_record(&again, |copy| assert!(is_retry(copy) && !is_first(copy)));
        });
        // A letter that dies in a group of the dead-letter topic itself keeps what it was told before.
        let inner = with_record(&first, |letter| with_marks(letter, Source::Topic, TOPIC_MARKS.to_vec()).len());
        assert_eq!(inner, first.len() + TOPIC_MARKS.len());
    }
}
