//! Messages that may come again, and become one record: what is known of them for a topic in hand.
//!
//! Those that wait in a batch are known by the batch; all others by [`Seen`], which reads the log the
//! first time that a topic is asked. That may take long, so another thread does it.
//!
//! **Memory.** A topic knows at most [`crate::broker::dedup::MESSAGES_MAX`] messages, and all topics in hand
//! together about [`MESSAGES_MAX`]. Beyond that, those that were used least recently are not known here for
//! a while: nothing is forgotten, the next message to such a topic has them read from its log again.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::append::{Load, NewRecord, busy, packed};
use super::cmd::xtrim::Trim;
use super::reading;
use super::refusal::{Answer, Refusal};
use super::session::Session;
use super::state::Server;
use super::topics::Entry;
use crate::broker::dedup::DedupRules;
use crate::broker::{Message, Seen, Sent};
use crate::codec::{BatchBuilder, Origin, OriginKey, Records};
use crate::config::{Compression, TopicSettings};
use crate::error::{Error, Result};
use crate::ids::{Offset, RecordId, TimestampMs};
use crate::job::Job;
use crate::log::{Appended, Log};

/// So many messages are known of all topics in hand, some 120 MB. More by what one topic has, and by
/// [`COUNT_EVERY`], until it is noticed.
const MESSAGES_MAX: usize = 1 << 20;
/// They are counted when there may be so many more: so rarely that going through all topics is nothing.
const COUNT_EVERY: usize = MESSAGES_MAX / 8;

/// Sees to it that the topics in hand do not know too many messages.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// So many have come since all were counted.
    more: Cell<usize>,
}

impl Room {
    /// A topic knows so many more.
    fn note(&self, server: &Server, entry: &Rc<Entry>, more: usize) {
        self.more.set(self.more.get() + more);
        if self.more.get() < COUNT_EVERY {
            return;
        }
        self.more.set(0);
        let mut topics = server.topics.all_in_hand();
        topics.sort_unstable_by_key(|topic| std::cmp::Reverse(topic.used_at()));
        let counts: Vec<usize> = topics.iter().map(|topic| topic.seen.borrow().as_ref().map_or(0, Seen::messages)).collect();
        for topic in &topics[fitting(&counts, MESSAGES_MAX)..] {
            // A batch is to go in without reading anything first.
            if !Rc::ptr_eq(topic, entry) && !topic.is_slow.get() && topic.batch.borrow().is_none() {
                topic.seen.take();
            }
        }
    }
}

/// How many of the first of these numbers have a sum of at most `max`.
fn fitting(counts: &[usize], max: usize) -> usize {
    let sums = counts.iter().scan(0usize, |sum, count| {
        *sum = sum.saturating_add(*count);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= max).count()
}

/// Takes over what another thread has read of a topic.
pub(super) fn take_over(server: &Server, entry: &Rc<Entry>, seen: Seen) {
    let more = seen.messages();
    entry.seen.replace(Some(seen));
    server.room.note(server, entry, more);
}

/// What a batch knows of the messages in it.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// By the index at which they were put into it.
    sent: HashMap<OriginKey, (u32, TimestampMs)>,
    /// Those that turned out to be records already, and were taken out, by that index.
    known: Vec<(u32, RecordId)>,
    /// By which rule; `None` = there was never any.
    knowing: Option<Knowing>,
}

impl Messages {
    /// By which rule they are known, if there are any.
    pub(super) fn knowing(&self) -> Option<Knowing> {
        self.knowing
    }

    pub(super) fn note(&mut self, knowing: Knowing, origin: &Origin<'_>, index: u32) {
        self.knowing = Some(knowing);
        self.sent.insert(origin.key(), (index, origin.at));
    }

    /// Where in the batch a message is.
    pub(super) fn index_of(&self, key: &OriginKey) -> Option<u32> {
        self.sent.get(key).map(|(index, _)| *index)
    }

    /// Those that are not the records of their indices.
    pub(super) fn into_known(self) -> Vec<(u32, RecordId)> {
        self.known
    }

    /// What is in the batch by now.
    fn to_append(&self) -> Vec<Message> {
        let place = |index: u32| index - self.known.partition_point(|(known, _)| *known < index) as u32;
        self.sent.iter().map(|(key, (index, at))| Message { key: *key, at: *at, index: place(*index) }).collect()
    }

    /// Takes out of the batch what is a record already; says what is left.
    fn leave_out(&mut self, builder: &BatchBuilder, known: &[(u32, RecordId)]) -> Result<BatchBuilder> {
        let refused = |why: crate::codec::Malformed| Error::RecordRefused { why: why.to_string() };
        let (batch, mut left) = (builder.batch(), BatchBuilder::new());
        let body = batch.to_body();
        let records =
            Records::new(&body, Offset::ZERO, batch.count, batch.count, RecordId::ZERO, batch.plain).map_err(refused)?;
        let left_out: Vec<u32> = known.iter().map(|(place, _)| *place).collect();
        for (place, record) in (0..).zip(records) {
            let record = record.map_err(refused)?;
            if left_out.contains(&place) {
                continue;
            }
            let fields: Vec<_> = record.fields().collect();
            match &record.origin {
                Some(origin) => left.push_sent(&fields, record.null, origin),
                None => left.push(&fields, record.null, None),
            }
            .map_err(refused)?;
        }
        // From places in what there was to the indices at which they were put in.
        let messages = self.to_append();
        for (place, id) in known {
            let Some(message) = messages.iter().find(|message| message.index == *place) else { continue };
            if let Some((index, _)) = self.sent.remove(&message.key) {
                self.known.push((index, *id));
            }
        }
        self.known.sort_unstable();
        Ok(left)
    }
}

/// What the rule is by these settings.
fn rules_of(settings: &TopicSettings) -> DedupRules {
    DedupRules {
        window_ms: u64::try_from(settings.dedup_window.as_millis()).unwrap_or(u64::MAX),
        size: usize::try_from(settings.dedup_size).unwrap_or(usize::MAX),
        after: settings.dedup_after,
    }
}

/// What is needed to know a topic's messages, on whatever thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowing {
    rules: DedupRules,
    now: TimestampMs,
}

impl Knowing {
    pub(super) fn of(server: &Server, entry: &Entry) -> Answer<Knowing> {
        Ok(Knowing { rules: rules_of(&*entry.settings()?), now: server.now() })
    }

    /// Reads what was sent to the topic.
    pub(super) fn load(&self, log: &Log) -> Result<Seen> {
        Seen::load(log, self.rules, self.now)
    }

    /// Whether that is to be done, and may take long.
    pub(super) fn is_long(&self, entry: &Entry) -> bool {
        let is_known = entry.seen.borrow().as_ref().is_some_and(|seen| seen.rules() == self.rules);
        !is_known && entry.log().origins().end > Offset::ZERO
    }

    /// What is known of the topic's messages, by all who sent some.
    fn current<'a>(&self, log: &Log, seen: &'a mut Option<Seen>) -> Result<&'a mut Seen> {
        match seen.take().filter(|seen| seen.rules() == self.rules) {
            Some(mut known) => {
                known.catch_up(log, log.log_end(), self.now)?;
                Ok(seen.insert(known))
            }
            None => Ok(seen.insert(self.load(log)?)),
        }
    }
}

/// Adds a record, unless its message is one already. The reply is its ID.
pub(super) fn add(
    server: &Rc<Server>,
    session: &mut Session,
    entry: &Rc<Entry>,
    record: NewRecord<'_>,
    trim: Option<Trim>,
) -> Answer {
    let Some(origin) = record.origin else { return Err(Refusal::text("ERR the record has no origin")) };
    if entry.is_slow.get() {
        // What is on its way there is not known here.
        return Err(busy(entry));
    }
    let (key, knowing) = (origin.key(), Knowing::of(server, entry)?);
    let waiting = entry.batch.borrow().as_ref().and_then(|batch| Some((Rc::clone(&batch.ticket), batch.load.index_of(&key)?)));
    if let Some((ticket, index)) = waiting {
        entry.log().note_repeat();
        session.output.owe_id(&ticket, index);
        return Ok(());
    }
    let known = {
        let mut seen = entry.seen.borrow_mut();
        let seen = knowing.current(entry.log(), &mut seen)?;
        seen.find(&key, knowing.now).map(|id| (id, seen.end()))
    };
    match known {
        Some((id, end)) => {
            entry.log().note_repeat();
            let reply = session.output.reply();
            let from = reply.len();
            reply.id(id);
            reading::hold(server, session, from, &[(Rc::clone(entry), end)])
        }
        None => {
            let (ticket, index) = server.appender.add(server, entry, record, trim)?;
            session.output.owe_id(&ticket, index);
            server.room.note(server, entry, 1);
            Ok(())
        }
    }
}

/// How many producers and messages are known, for who has seen to it that this takes no long.
pub(super) fn counts(server: &Server, entry: &Entry) -> Answer<(usize, usize)> {
    let knowing = Knowing::of(server, entry)?;
    let mut seen = entry.seen.borrow_mut();
    Ok(knowing.current(entry.log(), &mut seen)?.counts(knowing.now))
}

/// Appends a batch that has messages in it; `None` = there was nothing in it that is not a record already.
pub(super) fn append(
    log: &Log,
    compression: Compression,
    load: &mut Load,
    seen: &mut Option<Seen>,
    knowing: Knowing,
    job: &Job,
) -> Result<Option<Appended>> {
    let seen = knowing.current(log, seen)?;
    while !load.builder.is_empty() {
        let batch = load.builder.batch();
        match seen.append(log, (&mut packed(&batch, compression)?, batch.ids), &load.messages.to_append(), knowing.now, job)? {
            Sent::Appended(appended) => return Ok(Some(appended)),
            Sent::Known(known) => {
                known.iter().for_each(|_| log.note_repeat());
                load.builder = load.messages.leave_out(&load.builder, &known)?;
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_used_last_stay_as_long_as_they_fit() {
        assert_eq!(fitting(&[], 10), 0);
        assert_eq!(fitting(&[3, 0, 7, 0], 10), 4);
        assert_eq!(fitting(&[3, 0, 7, 0, 1, 0], 10), 4);
        assert_eq!(fitting(&[11, 0], 10), 0);
        assert_eq!(fitting(&[5, usize::MAX], 10), 1);
    }
}
