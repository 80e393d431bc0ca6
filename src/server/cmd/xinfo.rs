//! XINFO: what there is to know of a topic, its groups and their consumers.

use std::rc::Rc;
use std::sync::Arc;

use super::offload::offload_held;
use super::xgroup::no_group;
use super::{Done, FAST, Keys, READ, Spec, command, help_in_words, parse};
use crate::broker::group::Hold;
use crate::broker::{Asked, Numbers, SharedGroup};
use crate::codec::group_event::Source;
use crate::codec::resp::Reply;
use crate::ids::{ConsumerId, Offset, RecordId, TimestampMs};
use crate::server::dispatch::Call;
use crate::server::groups::{Group, all};
use crate::server::once::{self, Knowing};
use crate::server::reading;
use crate::server::refusal::{Answer, NO_SUCH_KEY, SYNTAX};
use crate::server::session::Session;
use crate::server::state::Server;
use crate::server::topics::Entry;

const STREAM: (&str, &str) = ("stream", "5.0.0");

pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("xinfo|consumers", 4, READ, Keys::SECOND, STREAM, "Returns a list of the consumers in a consumer group.", consumers),
    command("xinfo|groups", 3, READ, Keys::SECOND, STREAM, "Returns a list of the consumer groups of a stream.", groups),
    command("xinfo|help", 2, FAST, Keys::NONE, STREAM, "Returns helpful text about the different subcommands.", show_help),
    command("xinfo|stream", -3, READ, Keys::SECOND, STREAM, "Returns information about a stream.", stream),
];

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

/// FULL shows so many of each list if it is not told how many.
const FULL_COUNT: usize = 10;
/// Records of a block of the index, about: what Redis calls a radix tree grows by one for as many.
const BLOCK_RECORDS: u64 = 100;

fn show_help(call: &mut Call<'_>) -> Answer<Done> {
    help_in_words(call, "XINFO", HELP)
}

fn topic(call: &Call<'_>) -> Answer<Rc<Entry>> {
    call.server.topics.find(call.server, call.arg(2))?.ok_or(NO_SUCH_KEY)
}

fn optional(reply: &mut Reply, count: Option<u64>) {
    match count {
        Some(count) => reply.unsigned(count),
        None => reply.null(),
    }
}

fn name(reply: &mut Reply, name: &str) {
    reply.bulk(name.as_bytes());
}

/// How far a group is: `last-delivered-id`, `entries-read`, `lag`.
fn progress(shared: &mut SharedGroup<'static>) -> Answer<(RecordId, Option<u64>, Option<u64>)> {
    let (last_id, numbers) = (shared.last_id()?, shared.numbers()?);
    let entries_read = shared.state().counters().entries_read;
    Ok((last_id, entries_read, numbers.lag(last_id, entries_read)))
}

fn groups(call: &mut Call<'_>) -> Answer<Done> {
    let entry = topic(call)?;
    let groups = all(call.server, &entry)?;
    let reply = call.session.output.reply();
    reply.array(groups.len());
    for group in groups {
        let mut shared = group.shared.borrow_mut();
        let (last_id, entries_read, lag) = progress(&mut shared)?;
        reply.map(6);
        name(reply, "name");
        reply.bulk(group.name.as_bytes());
        name(reply, "consumers");
        reply.unsigned(shared.state().consumers().count() as u64);
        name(reply, "pending");
        reply.unsigned(shared.state().pending_count());
        name(reply, "last-delivered-id");
        reply.id(last_id);
        name(reply, "entries-read");
        optional(reply, entries_read);
        name(reply, "lag");
        optional(reply, lag);
    }
    Ok(Done::Replied)
}

/// The group's consumers by name.
fn by_name(shared: &SharedGroup<'static>) -> Vec<(Box<[u8]>, ConsumerId)> {
    let mut consumers: Vec<(Box<[u8]>, ConsumerId)> =
        shared.state().consumers().map(|(id, consumer)| (consumer.name.clone(), id)).collect();
    consumers.sort_unstable();
    consumers
}

fn consumers(call: &mut Call<'_>) -> Answer<Done> {
    let entry = topic(call)?;
    let group = entry.groups.find(call.server, &entry, call.arg(3))?;
    let group = group.ok_or_else(|| no_group(call.arg(2), call.arg(3)))?;
    group.shared.borrow_mut().look()?;
    let shared = group.shared.borrow();
    let now = call.server.now();
    let since = |at: TimestampMs| i64::try_from(now.0.saturating_sub(at.0)).unwrap_or(i64::MAX);
    let reply = call.session.output.reply();
    let all = by_name(&shared);
    reply.array(all.len());
    for (consumer_name, id) in all {
        let known = shared.state().consumer(id);
        reply.map(4);
        name(reply, "name");
        reply.bulk(&consumer_name);
        name(reply, "pending");
        reply.unsigned(known.map_or(0, |known| known.leased));
        name(reply, "idle");
        reply.integer(shared.asked_at(id).map_or(0, since));
        name(reply, "inactive");
        reply.integer(known.and_then(|known| known.active_at).map_or(-1, since));
    }
    Ok(Done::Replied)
}

fn stream(call: &mut Call<'_>) -> Answer<Done> {
    let count = match call.args.get(3..).unwrap_or_default() {
        [] => None,
        [full] if parse::is(full, "full") => Some(FULL_COUNT),
        [full, word, count] if parse::is(full, "full") && parse::is(word, "count") => {
            Some(usize::try_from(parse::integer(count)?).ok().filter(|count| *count > 0).unwrap_or(usize::MAX))
        }
        _ => return Err(SYNTAX),
    };
    let entry = topic(call)?;
    let knowing = Knowing::of(call.server, &entry)?;
    if !knowing.is_long(&entry) {
        put_stream(call.server, call.session, &entry, count)?;
        return Ok(Done::Replied);
    }
    let log = Arc::clone(entry.log());
    offload_held(
        call,
        move || knowing.load(&log),
        move |server, seen, session| {
            once::take_over(server, &entry, seen);
            put_stream(server, session, &entry, count)
        },
    )
}

fn put_stream(server: &Rc<Server>, session: &mut Session, entry: &Rc<Entry>, count: Option<usize>) -> Answer {
    let mut groups = all(server, entry)?;
    let numbers = numbers(entry)?;
    let known = once::counts(server, entry)?;
    let now = server.now();
    let reply = session.output.reply();
    let (from, mut end) = (reply.len(), Offset::ZERO);
    reply.map(if count.is_some() { 15 } else { 16 });
    put_numbers(reply, &numbers);
    put_messages(reply, entry, known)?;
    match count {
        None => {
            name(reply, "groups");
            reply.unsigned(groups.len() as u64);
            end = put_ends(reply, entry, &numbers)?;
        }
        Some(count) => {
            name(reply, "entries");
            let at = reply.len();
            let told = reading::put_forward(reply, entry, entry.log().log_start(), parse::ID_MAX, count)?;
            reply.begin_array_at(at, told.count);
            end = end.max(told.end);
            name(reply, "groups");
            reply.array(groups.len());
            for group in &mut groups {
                put_group(reply, group, count, now)?;
            }
        }
    }
    reading::hold(server, session, from, &[(Rc::clone(entry), end)])
}

/// What is known of messages that may be sent again.
fn put_messages(reply: &mut Reply, entry: &Entry, (producers, messages): (usize, usize)) -> Answer {
    let (settings, origins) = (entry.settings()?, entry.log().origins());
    let rows = [
        ("idmp-duration", settings.dedup_window.as_secs()),
        ("idmp-maxsize", settings.dedup_size),
        ("pids-tracked", producers as u64),
        ("iids-tracked", messages as u64),
        ("iids-added", origins.added),
        ("iids-duplicates", origins.repeated),
    ];
    for (row, number) in rows {
        name(reply, row);
        reply.unsigned(number);
    }
    Ok(())
}

/// What the topic has counted.
fn numbers(entry: &Rc<Entry>) -> Answer<Numbers> {
    let log = entry.log();
    let (counters, deleted) = (log.counters(), log.deleted()?);
    let mut first_id = None;
    reading::for_each(entry, log.log_start(), |record| {
        first_id = Some(record.id);
        false
    })?;
    Ok(Numbers {
        entries_added: counters.entries_added,
        length: log.live_count()?,
        first_id,
        last_id: counters.last_id,
        max_deleted_id: deleted.greatest_id(),
    })
}

fn put_numbers(reply: &mut Reply, numbers: &Numbers) {
    let blocks = numbers.length.div_ceil(BLOCK_RECORDS);
    name(reply, "length");
    reply.unsigned(numbers.length);
    name(reply, "radix-tree-keys");
    reply.unsigned(blocks);
    name(reply, "radix-tree-nodes");
    reply.unsigned(blocks + 1);
    name(reply, "last-generated-id");
    reply.id(numbers.last_id);
    name(reply, "max-deleted-entry-id");
    reply.id(numbers.max_deleted_id);
    name(reply, "entries-added");
    reply.unsigned(numbers.entries_added);
    name(reply, "recorded-first-entry-id");
    reply.id(numbers.first_id.unwrap_or_default());
}

/// The first and the last entry; says before which offset they lie.
fn put_ends(reply: &mut Reply, entry: &Rc<Entry>, numbers: &Numbers) -> Answer<Offset> {
    let mut end = Offset::ZERO;
    for is_last in [false, true] {
        name(reply, if is_last { "last-entry" } else { "first-entry" });
        let told = match (numbers.first_id, is_last) {
            (None, _) => reading::Told { end, ..reading::Told::default() },
            (Some(first), true) => reading::put_backward(reply, entry, first, parse::ID_MAX, 1)?,
            (Some(_), false) => reading::put_forward(reply, entry, entry.log().log_start(), parse::ID_MAX, 1)?,
        };
        if told.count == 0 {
            reply.null();
        }
        end = end.max(told.end);
    }
    Ok(end)
}

fn put_group(reply: &mut Reply, group: &Group, count: usize, now: TimestampMs) -> Answer {
    let mut shared = group.shared.borrow_mut();
    let (last_id, entries_read, lag) = progress(&mut shared)?;
    let waiting = shared.state().pending(Source::Topic, Offset::ZERO);
    let nacked = waiting.filter(|(_, entry)| entry.hold == Hold::Waiting).count();
    // Clients older than XNACK refuse a name that they do not know.
    reply.map(if nacked == 0 { 7 } else { 8 });
    name(reply, "name");
    reply.bulk(group.name.as_bytes());
    name(reply, "last-delivered-id");
    reply.id(last_id);
    name(reply, "entries-read");
    optional(reply, entries_read);
    name(reply, "lag");
    optional(reply, lag);
    name(reply, "pel-count");
    reply.unsigned(shared.state().pending_count());
    if nacked > 0 {
        name(reply, "nacked-count");
        reply.unsigned(nacked as u64);
    }
    name(reply, "pending");
    let all = Asked { ids: RecordId::ZERO..=parse::ID_MAX, count, min_idle_ms: 0, consumer: None };
    let told = shared.tell(&all)?;
    reply.array(told.len());
    for entry in told {
        let holder = entry.consumer.and_then(|id| shared.state().consumer(id));
        reply.array(4);
        reply.id(entry.id);
        reply.bulk(holder.map_or(b"", |holder| &holder.name));
        reply.unsigned(entry.at.0);
        reply.unsigned(u64::from(entry.deliveries));
    }
    name(reply, "consumers");
    let consumers = by_name(&shared);
    reply.array(consumers.len());
    for (consumer_name, id) in consumers {
        put_consumer(reply, &mut shared, (&consumer_name, id), &all, now)?;
    }
    Ok(())
}

fn put_consumer(
    reply: &mut Reply,
    shared: &mut SharedGroup<'static>,
    (consumer_name, id): (&[u8], ConsumerId),
    all: &Asked,
    now: TimestampMs,
) -> Answer {
    let known = shared.state().consumer(id).map(|known| (known.active_at, known.leased));
    let (active_at, leased) = known.unwrap_or_default();
    reply.map(5);
    name(reply, "name");
    reply.bulk(consumer_name);
    name(reply, "seen-time");
    reply.unsigned(shared.asked_at(id).unwrap_or(now).0);
    name(reply, "active-time");
    reply.integer(active_at.map_or(-1, |at| i64::try_from(at.0).unwrap_or(i64::MAX)));
    name(reply, "pel-count");
    reply.unsigned(leased);
    name(reply, "pending");
    let own = shared.tell(&Asked { consumer: Some(id), ..all.clone() })?;
    reply.array(own.len());
    for entry in own {
        reply.array(3);
        reply.id(entry.id);
        reply.unsigned(entry.at.0);
        reply.unsigned(u64::from(entry.deliveries));
    }
    Ok(())
}
