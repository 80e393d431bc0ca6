//! Deleting single entries, and what a topic counts: XDEL, XSETID.

use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use super::offload::{offload, offload_held};
use super::references::{Owed, References};
use super::{Done, parse};
use crate::codec::resp::Reply;
use crate::config::Durability;
use crate::ids::{Epoch, Offset, RecordId};
use crate::job::Job;
use crate::server::commit;
use crate::server::dispatch::Call;
use crate::server::output::Ticket;
use crate::server::reading;
use crate::server::refusal::{Answer, NO_SUCH_KEY, Refusal, SYNTAX};
use crate::server::topics::Entry;

/// Entries that were looked up, rising and each once.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The epoch of the topic before: what a crash has cost since is not to be taken for what uses its
    /// offset anew.
    epoch: Epoch,
    pub(super) entries: Vec<(Offset, RecordId)>,
}

/// Where the entries with these IDs lie, as far as there are any.
pub(super) fn look_up(entry: &Rc<Entry>, ids: &[RecordId]) -> Answer<Found> {
    let epoch = entry.log().epoch();
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::with_capacity(ids.len());
    let end = entry.log().log_end();
    for id in ids {
        let from = reading::find(entry, id)?;
        if from < end {
            reading::for_each(entry, from, |record| {
                if record.id == id {
                    found.push((record.offset, id));
                }
                false
            })?;
        }
    }
    Ok(Found { epoch, entries: found })
}

pub(super) fn xdel(call: &mut Call<'_>) -> Answer<Done> {
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    let ids = call.args[2..].iter().map(|arg| parse::id(arg, 0)).collect::<Answer<Vec<_>>>()?;
    let found = look_up(&entry, &ids)?;
    delete(call, &entry, &found, Vec::new(), |count, reply| reply.unsigned(count))
}

/// XDELEX key [KEEPREF|DELREF|ACKED] IDS n id ...: what became of each.
pub(super) fn xdelex(call: &mut Call<'_>) -> Answer<Done> {
    let mut at = 2;
    let references = References::read(call.arg(at)).inspect(|_| at += 1).unwrap_or(References::Keep);
    let ids = read_ids(call.args, at)?;
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        let reply = call.reply();
        reply.array(ids.len());
        ids.iter().for_each(|_| reply.integer(-1));
        return Ok(Done::Replied);
    };
    let mut found = look_up(&entry, &ids)?;
    let (kept, owed) = references.release(call.server, &entry, &mut found)?;
    let is_found = |id: &RecordId| found.entries.iter().any(|(_, known)| known == id);
    let code = |id: &RecordId| if is_found(id) { 1 } else { -1 };
    let codes: Vec<i64> = ids.iter().map(|id| if kept.contains(id) { 2 } else { code(id) }).collect();
    delete(call, &entry, &found, owed, move |_, reply| {
        reply.array(codes.len());
        codes.iter().for_each(|code| reply.integer(*code));
    })
}

/// Reads `IDS n id ...`, which has to be all that is left.
pub(super) fn read_ids(args: &[&[u8]], at: usize) -> Answer<Vec<RecordId>> {
    let (word, rest) = args.get(at..).and_then(<[_]>::split_first).ok_or(SYNTAX)?;
    let (count, ids) = rest.split_first().ok_or(SYNTAX)?;
    if !parse::is(word, "ids") {
        return Err(SYNTAX);
    }
    let not_positive = Refusal::text("ERR Number of IDs must be a positive integer");
    let count = parse::integer(count).ok().and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    match ids.len().cmp(&count.ok_or(not_positive)?) {
        Ordering::Less => Err(Refusal::text("ERR The `numids` parameter must match the number of arguments")),
        Ordering::Greater => Err(SYNTAX),
        Ordering::Equal => ids.iter().map(|arg| parse::id(arg, 0)).collect(),
    }
}

/// Deletes records; the reply, which is told how many went, waits until that is as durable as the topic
/// has it, and for all that is `owed` besides.
pub(super) fn delete(
    call: &mut Call<'_>,
    entry: &Rc<Entry>,
    found: &Found,
    owed: Vec<Owed>,
    write: impl FnOnce(u64, &mut Reply) + 'static,
) -> Answer<Done> {
    let from = call.reply().len();
    let Some((_, greatest)) = found.entries.last().copied() else {
        write(0, call.reply());
        Owed::hold(owed, call.server, call.session, from);
        return Ok(Done::Replied);
    };
    let offsets: Vec<Offset> = found.entries.iter().map(|(offset, _)| *offset).collect();
    let log = Arc::clone(entry.log());
    let (epoch, durability) = (found.epoch, entry.settings()?.durability);
    if !log.has_deletions() {
        // The first one makes files, and syncs their names.
        let work = move || {
            let deleted = log.delete(&offsets, epoch, greatest, &Job::new())?;
            if durability > Durability::None {
                log.sync_deleted(deleted.place, &Job::new())?;
            }
            Ok(deleted.count)
        };
        return offload_held(call, work, |server, count, session| {
            let from = session.output.reply().len();
            write(count, session.output.reply());
            Owed::hold(owed, server, session, from);
            Ok(())
        });
    }
    let deleted = log.delete(&offsets, epoch, greatest, &call.server.job)?;
    write(deleted.count, call.reply());
    if durability == Durability::None {
        return Ok(Done::Replied);
    }
    let ticket = Ticket::of(1 + u32::try_from(owed.len()).unwrap_or(u32::MAX));
    commit::owe_deletions(call.server, &log, deleted.place, &ticket);
    for Owed { journal, place } in &owed {
        commit::owe(call.server, journal, *place, &ticket, None);
    }
    if durability == Durability::Sync {
        call.session.output.hold(&ticket, from);
    }
    Ok(Done::Replied)
}

/// XSETID key last-id [ENTRIESADDED n] [MAXDELETEDID id].
pub(super) fn xsetid(call: &mut Call<'_>) -> Answer<Done> {
    let last_id = parse::id(call.arg(2), 0)?;
    let (mut added, mut deleted) = (None, None);
    for pair in call.args[3..].chunks(2) {
        match pair {
            [word, value] if parse::is(word, "entriesadded") => {
                let count = u64::try_from(parse::integer(value)?);
                added = Some(count.map_err(|_| Refusal::text("ERR entries_added must be positive"))?);
            }
            [word, value] if parse::is(word, "maxdeletedid") => deleted = Some(parse::id(value, 0)?),
            _ => return Err(SYNTAX),
        }
    }
    if deleted.is_some_and(|deleted| last_id < deleted) {
        return Err(Refusal::text("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"));
    }
    let entry = call.server.topics.find(call.server, call.arg(1))?.ok_or(NO_SUCH_KEY)?;
    let log = Arc::clone(entry.log());
    let length = log.live_count_until(log.log_end())?;
    let mut top = None;
    if length > 0 {
        reading::for_last(&entry, |record| top = Some(record.id))?;
    }
    if top.is_some_and(|top| last_id < top) {
        return Err(Refusal::text("ERR The ID specified in XSETID is smaller than the target stream top item"));
    }
    if last_id < log.deleted()?.greatest_id() {
        return Err(Refusal::text("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"));
    }
    if added.is_some_and(|added| added < length) {
        return Err(Refusal::text("ERR The entries_added specified in XSETID is smaller than the target stream length"));
    }
    entry.touch();
    offload(
        call,
        move || log.set_last_id(last_id, added, deleted, &Job::new()),
        |_, (), reply| {
            reply.ok();
            Ok(())
        },
    )
}
