//! Messages that may come again: what a topic's log says of them, under the rule ([`super::dedup`]).
//!
//! **Where it is kept.** In the records themselves: each has its origin beside its fields, in the same
//! write. So it survives what the record survives, and nothing else has to. Here it is folded, from the
//! files of as long ago as the topic remembers; the log keeps those, also where their records are trimmed.
//!
//! **Decided under the append lock.** Before a frame goes in, what others have appended meanwhile is folded
//! too. Of two processes that send the same message at the same moment, one finds the other's record.

use super::dedup::{Dedup, DedupRules};
use crate::codec::OriginKey;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId, TimestampMs};
use crate::job::Job;
use crate::log::{Appended, Log, OriginReader};

/// The messages of a topic that are known.
#[derive(Debug)]
pub struct Seen {
    dedup: Dedup,
    reader: OriginReader,
}

/// A message on its way into a log.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What it is known by.
    pub key: OriginKey,
    /// When it was sent.
    pub at: TimestampMs,
    /// Its record's place in the frame.
    pub index: u32,
}

/// What came of an append.
#[derive(Debug)]
pub enum Sent {
    /// All went in.
    Appended(Appended),
    /// None did: these, by their place in the frame, are records already.
    Known(Vec<(u32, RecordId)>),
}

impl Seen {
    /// Reads what was sent to a topic as long ago as it remembers. Takes as long as that takes to read,
    /// but no time where no message was ever sent so.
    pub fn load(log: &Log, rules: DedupRules, now: TimestampMs) -> Result<Seen> {
        loop {
            let reader = log.origins_since(TimestampMs(now.0.saturating_sub(rules.window_ms)))?;
            let mut seen = Seen { dedup: Dedup::new(rules), reader };
            if seen.fold(log, log.log_end(), now)? {
                return Ok(seen);
            }
        }
    }

    fn fold(&mut self, log: &Log, until: Offset, now: TimestampMs) -> Result<bool> {
        let Seen { dedup, reader } = self;
        reader.read(log, until, |origin, id| dedup.note(&origin.key(), origin.at, id, now))
    }

    /// Takes in what others have sent.
    pub fn catch_up(&mut self, log: &Log, until: Offset, now: TimestampMs) -> Result<()> {
        if !self.fold(log, until, now)? {
            *self = Seen::load(log, self.rules(), now)?;
        }
        Ok(())
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> DedupRules {
        self.dedup.rules()
    }

    /// The record that a message is, as far as was read.
    #[must_use]
    pub fn find(&self, key: &OriginKey, now: TimestampMs) -> Option<RecordId> {
        self.dedup.find(key, now)
    }

    /// No record that was found lies at this offset or beyond.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.reader.place().offset
    }

    /// How many messages take room, known or not.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.dedup.messages()
    }

    /// How many producers and messages are known now.
    pub fn counts(&mut self, now: TimestampMs) -> (usize, usize) {
        self.dedup.sweep(now);
        (self.dedup.producers(), self.dedup.messages())
    }

    /// Appends a frame, unless one of its messages is a record already when its turn comes.
    ///
    /// # Errors
    /// As of [`Log::append`].
    pub fn append(
        &mut self,
        log: &Log,
        (frame, ids): (&mut Packed<'_>, BatchIds),
        messages: &[Message],
        now: TimestampMs,
        job: &Job,
    ) -> Result<Sent> {
        let mut known = Vec::new();
        let mut check = |end: Offset| {
            self.catch_up(log, end, now)?;
            known = messages.iter().filter_map(|sent| Some((sent.index, self.find(&sent.key, now)?))).collect();
            if known.is_empty() { Ok(()) } else { Err(Error::OffsetConflict { expected: end, next: end }) }
        };
        let appended = match log.append_if(frame, ids, &mut check, job) {
            Err(Error::OffsetConflict { .. }) if !known.is_empty() => return Ok(Sent::Known(known)),
            other => other?,
        };
        for sent in messages {
            if let Some(id) = appended.first_id.advance(u64::from(sent.index)) {
                self.dedup.note(&sent.key, sent.at, id, now);
            }
        }
        self.reader.go_to(appended.end_place());
        Ok(Sent::Appended(appended))
    }
}
