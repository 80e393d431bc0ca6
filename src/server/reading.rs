//! Records as replies.
//!
//! What a client has added, it reads at once, and so does every other client, also where records are
//! not durable yet and the topic is `sync`: the reply waits until they are ([`hold`]). So clients see one
//! order of things, and nobody sees what a power cut can take back.

use std::collections::VecDeque;
use std::rc::Rc;

use tracing::warn;

use super::commit;
use super::output::Ticket;
use super::refusal::Answer;
use super::session::Session;
use super::state::Server;
use super::topics::Entry;
use crate::codec::records::Record;
use crate::codec::resp::Reply;
use crate::config::Durability;
use crate::ids::{Offset, Place, RecordId};
use crate::log::{GapReason, LogReader, Step};

/// So many places are kept a topic: as many clients can page through it at once and be found at once.
const PLACES_MAX: usize = 32;
/// How many records more than asked for are looked at at once when reading backwards, at least.
const BACKWARDS_MIN: u64 = 16;

/// Where IDs lie that somebody has just read up to: they will go on there.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<(RecordId, Place)>);

impl Places {
    fn find(&self, id: RecordId) -> Option<Place> {
        self.0.iter().rev().find(|(known, _)| *known == id).map(|(_, place)| *place)
    }

    fn note(&mut self, before: Option<RecordId>, id: RecordId, place: Place) {
        // Who goes on takes his place along.
        self.0.retain(|(known, _)| Some(*known) != before && *known != id);
        if self.0.len() == PLACES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, place));
    }
}

/// What a reply tells of a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// How many entries.
    pub(super) count: usize,
    /// Bytes of the names and values in them.
    pub(super) bytes: u64,
    /// None of them lies here or beyond.
    pub(super) end: Offset,
}

/// Writes a record as an entry: its ID, and its fields as a flat array. Says how many bytes they have.
pub(super) fn put_entry(reply: &mut Reply, record: &Record<'_>) -> u64 {
    reply.array(2);
    put_row(reply, record)
}

/// The ID and the fields, for rows that have more.
pub(super) fn put_row(reply: &mut Reply, record: &Record<'_>) -> u64 {
    reply.id(record.id);
    reply.array(record.field_count() * 2);
    let mut bytes = 0;
    for (name, value) in record.fields() {
        reply.bulk(name);
        reply.bulk(value);
        bytes += name.len() + value.len();
    }
    bytes as u64
}

/// The first offset whose record has an ID of at least `id`.
pub(super) fn find(entry: &Entry, id: RecordId) -> Answer<Offset> {
    let log = entry.log();
    if id == RecordId::ZERO {
        return Ok(log.log_start());
    }
    if id > log.counters().last_id {
        return Ok(log.visible_end());
    }
    if let Some(place) = entry.places.borrow().find(id)
        && place.epoch == log.epoch()
    {
        return Ok(place.offset);
    }
    let mut reader = entry.reader.take().unwrap_or_else(|| LogReader::new(log.log_start(), log.epoch()));
    let found = reader.find(log, id, log.visible_end())?;
    *entry.reader.borrow_mut() = Some(reader);
    Ok(found)
}

/// Writes the entries from `from` on whose IDs are at most `last`, `count` of them at most; says how many.
pub(super) fn put_forward(reply: &mut Reply, entry: &Rc<Entry>, from: Offset, last: RecordId, count: usize) -> Answer<Told> {
    let (mut written, mut bytes) = (0, 0);
    let mut after: Option<(RecordId, Offset)> = None;
    for_each(entry, from, |record| {
        if record.id > last || written == count || reply.is_full() {
            return false;
        }
        bytes += put_entry(reply, record);
        written += 1;
        after = Some((record.id, record.offset.plus(1)));
        written < count
    })?;
    if let Some((id, next)) = after
        && let Some(successor) = id.successor()
    {
        let place = Place { offset: next, epoch: entry.log().epoch() };
        entry.places.borrow_mut().note(None, successor, place);
    }
    Ok(Told { count: written, bytes, end: after.map_or(Offset::ZERO, |(_, next)| next) })
}

/// Hands out the records from `from` on that may be seen, until `each` says that it has enough.
pub(super) fn for_each(entry: &Rc<Entry>, from: Offset, mut each: impl FnMut(&Record<'_>) -> bool) -> Answer {
    let log = entry.log();
    let place = Place { offset: from, epoch: log.epoch() };
    let mut reader = entry.reader.take().unwrap_or_else(|| LogReader::new(from, place.epoch));
    reader.go_to(place);
    let until = log.visible_end();
    let mut scratch = Vec::new();
    'reading: loop {
        match reader.step(log, until)? {
            Step::CaughtUp => break,
            Step::Gap(gap) => {
                if let GapReason::Damaged { path, position, what } = &gap.reason {
                    let path = path.display();
                    warn!(topic = %entry.name, %path, position, what, from = %gap.from, until = %gap.until, "records are damaged, and left out");
                }
            }
            Step::Frame { frame, from, until } => {
                let records = frame.records_in(&mut scratch, from, until);
                let records = records.map_err(super::refusal::Refusal::err)?;
                for record in records {
                    if !each(&record.map_err(super::refusal::Refusal::err)?) {
                        break 'reading;
                    }
                }
            }
        }
    }
    *entry.reader.borrow_mut() = Some(reader);
    Ok(())
}

/// Hands out a few records, of which the last one is the last that may be seen; nothing if there is none.
pub(super) fn for_last(entry: &Rc<Entry>, mut each: impl FnMut(&Record<'_>)) -> Answer {
    let (start, mut end) = (entry.log().log_start(), entry.log().visible_end());
    let mut stretch = BACKWARDS_MIN;
    while end > start {
        let from = Offset(end.0.saturating_sub(stretch)).max(start);
        let mut found = false;
        for_each(entry, from, |record| {
            let is_within = record.offset < end;
            if is_within {
                found = true;
                each(record);
            }
            is_within
        })?;
        if found {
            break;
        }
        // They were deleted.
        (end, stretch) = (from, stretch.saturating_mul(2));
    }
    Ok(())
}

/// Writes the entries with IDs in `first..=last` backwards, `count` at most; says how many.
pub(super) fn put_backward(reply: &mut Reply, entry: &Rc<Entry>, first: RecordId, last: RecordId, count: usize) -> Answer<Told> {
    let (mut written, mut bytes, mut told_end) = (0, 0, Offset::ZERO);
    let start = find(entry, first)?;
    let mut end = match last.successor() {
        Some(after) => find(entry, after)?,
        None => entry.log().visible_end(),
    };
    let mut chunk = Reply::new(reply.protocol());
    while written < count && end > start && !reply.is_full() {
        // Offsets are dense but for what was deleted, so this is mostly all that is wanted.
        let wanted = ((count - written) as u64).clamp(BACKWARDS_MIN, 4096);
        let from = Offset(end.0.saturating_sub(wanted)).max(start);
        let mut ends = Vec::new();
        for_each(entry, from, |record| {
            if record.offset >= end {
                return false;
            }
            if record.id >= first && record.id <= last {
                let record_bytes = put_entry(&mut chunk, record);
                told_end = told_end.max(record.offset.plus(1));
                ends.push((chunk.len(), record_bytes));
            }
            true
        })?;
        for index in (0..ends.len()).rev().take(count - written) {
            let begin = if index == 0 { 0 } else { ends[index - 1].0 };
            let (end, record_bytes) = ends[index];
            reply.append(&chunk.bytes()[begin..end]);
            bytes += record_bytes;
            written += 1;
        }
        chunk.truncate(0);
        end = from;
    }
    Ok(Told { count: written, bytes, end: told_end })
}

/// Has the reply that begins at `from` wait until all that it tells is durable, where the topic promises
/// that to who reads it. `told` = of which topics, and up to where.
pub(super) fn hold(server: &Rc<Server>, session: &mut Session, from: usize, told: &[(Rc<Entry>, Offset)]) -> Answer {
    let mut owed = Vec::new();
    for (entry, end) in told {
        if *end > entry.log().durable() && entry.settings()?.durability == Durability::Sync {
            owed.push((entry, *end));
        }
    }
    let Ok(count @ 1..) = u32::try_from(owed.len()) else { return Ok(()) };
    let ticket = Ticket::of(count);
    for (entry, offset) in owed {
        let place = Place { offset, epoch: entry.log().epoch() };
        commit::owe(server, entry.log(), place, &ticket, Some(entry));
    }
    session.output.hold(&ticket, from);
    Ok(())
}
