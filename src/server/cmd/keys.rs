//! Topics as keys: what there is, what it is called, and getting rid of it.

use super::{Done, parse};
use crate::codec::resp::Reply;
use crate::codec::resp::glob::matches;
use crate::disk::random;
use crate::error::Error;
use crate::ids::TopicName;
use crate::job::Job;
use crate::server::dispatch::Call;
use crate::server::names;
use crate::server::refusal::{Answer, NO_SUCH_KEY, Refusal, SYNTAX};
use crate::server::removals::WAIT_MAX;
use crate::server::state::Server;
use crate::server::topics::{Topics, name_refused};

/// Names that SCAN looks at if it is not told how many.
const SCAN_COUNT: usize = 10;

/// DEL and UNLINK: the reply is sent when the topics are gone durably.
pub(super) fn del(call: &mut Call<'_>) -> Answer<Done> {
    let mut names: Vec<TopicName> = Vec::new();
    for key in &call.args[1..] {
        if call.server.topics.exists(call.server, key)? {
            names.extend(TopicName::new(key));
        }
    }
    names.sort_unstable();
    names.dedup();
    let count = names.len();
    delete(call, names, |reply| reply.unsigned(count as u64));
    Ok(Done::Replied)
}

/// Deletes topics that are there, and has `answer` sent afterwards.
pub(super) fn delete(call: &mut Call<'_>, names: Vec<TopicName>, answer: impl FnOnce(&mut Reply)) {
    let from = call.reply().len();
    answer(call.reply());
    if !names.is_empty() {
        let ticket = call.server.removals.begin(call.server, names);
        call.session.output.hold(&ticket, from);
    }
}

/// FLUSHALL and FLUSHDB: there is one database.
pub(super) fn flush(call: &mut Call<'_>) -> Answer<Done> {
    match call.args.get(1..).unwrap_or_default() {
        [] => {}
        [word] if parse::is(word, "async") || parse::is(word, "sync") => {}
        _ => return Err(SYNTAX),
    }
    if !call.server.options.allow_flush {
        return Err(Refusal::text("ERR deleting all topics is not allowed: start drave serve with --allow-flush"));
    }
    let names = there(call.server)?;
    delete(call, names, Reply::ok);
    Ok(Done::Replied)
}

/// All topics but those on their way out.
fn there(server: &Server) -> Answer<Vec<TopicName>> {
    let all = server.names.all(server)?;
    let is_there = |name: &&TopicName| !Topics::is_away(server, name.as_bytes());
    Ok(all.iter().map(|(_, name)| name).filter(is_there).cloned().collect())
}

fn count(call: &mut Call<'_>, is_counted: fn(&Call<'_>, &[u8]) -> Answer<bool>) -> Answer<Done> {
    let mut count = 0;
    for key in &call.args[1..] {
        count += u64::from(is_counted(call, key)?);
    }
    call.reply().unsigned(count);
    Ok(Done::Replied)
}

/// A key that is named twice counts twice.
pub(super) fn exists(call: &mut Call<'_>) -> Answer<Done> {
    count(call, |call, key| call.server.topics.exists(call.server, key))
}

pub(super) fn touch(call: &mut Call<'_>) -> Answer<Done> {
    count(call, |call, key| Ok(call.server.topics.find(call.server, key)?.is_some()))
}

pub(super) fn kind(call: &mut Call<'_>) -> Answer<Done> {
    let is_there = call.server.topics.exists(call.server, call.arg(1))?;
    call.reply().simple(if is_there { "stream" } else { "none" });
    Ok(Done::Replied)
}

pub(super) fn dbsize(call: &mut Call<'_>) -> Answer<Done> {
    let count = there(call.server)?.len();
    call.reply().unsigned(count as u64);
    Ok(Done::Replied)
}

pub(super) fn keys(call: &mut Call<'_>) -> Answer<Done> {
    let pattern = call.arg(1);
    let mut names = there(call.server)?;
    names.retain(|name| is_match(pattern, name));
    let reply = call.reply();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(Done::Replied)
}

fn is_match(pattern: &[u8], name: &TopicName) -> bool {
    pattern == b"*" || matches(pattern, name.as_bytes())
}

pub(super) fn randomkey(call: &mut Call<'_>) -> Answer<Done> {
    let names = there(call.server)?;
    let at = u64::from_le_bytes(random()).checked_rem(names.len() as u64);
    match at.and_then(|at| names.get(usize::try_from(at).unwrap_or_default())) {
        Some(name) => call.reply().bulk(name.as_bytes()),
        None => call.reply().null(),
    }
    Ok(Done::Replied)
}

pub(super) fn scan(call: &mut Call<'_>) -> Answer<Done> {
    let cursor: u64 = std::str::from_utf8(call.arg(1))
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(Refusal::text("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut is_stream): (&[u8], usize, bool) = (b"*", SCAN_COUNT, true);
    for option in call.args[2..].chunks(2) {
        match option {
            [word, value] if parse::is(word, "match") => pattern = value,
            [word, value] if parse::is(word, "count") => {
                count = usize::try_from(parse::integer(value)?).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
            }
            [word, value] if parse::is(word, "type") => is_stream = parse::is(value, "stream"),
            _ => return Err(SYNTAX),
        }
    }
    let server = call.server;
    let all = if cursor == 0 { server.names.all(server)? } else { server.names.since_then(server)? };
    let (some, next) = names::step(&all, cursor, count);
    let mut found = Vec::new();
    for (_, name) in some.iter().filter(|(_, name)| is_stream && is_match(pattern, name)) {
        // The list may be older than a deletion.
        if server.topics.exists(server, name.as_bytes())? {
            found.push(name.as_bytes());
        }
    }
    let reply = call.session.output.reply();
    reply.array(2);
    reply.bulk_display(next);
    reply.array(found.len());
    found.into_iter().for_each(|name| reply.bulk(name));
    Ok(Done::Replied)
}

/// RENAME.
pub(super) fn rename(call: &mut Call<'_>) -> Answer<Done> {
    move_key(call, true, Reply::ok)
}

/// RENAMENX.
pub(super) fn renamenx(call: &mut Call<'_>) -> Answer<Done> {
    let is_free = call.arg(1) != call.arg(2) && !call.server.topics.exists(call.server, call.arg(2))?;
    if !is_free && call.server.topics.exists(call.server, call.arg(1))? {
        call.reply().integer(0);
        return Ok(Done::Replied);
    }
    move_key(call, false, |reply| reply.integer(1))
}

/// The new name is in force at once; the reply is sent when it is durable.
fn move_key(call: &mut Call<'_>, replace: bool, answer: fn(&mut Reply)) -> Answer<Done> {
    let server = call.server;
    let Some(entry) = server.topics.find(server, call.arg(1))? else { return Err(NO_SUCH_KEY) };
    let from = &entry.name;
    let to = TopicName::new(call.arg(2)).ok_or_else(name_refused)?;
    if *from != to {
        server.topics.make_way(server, &to)?;
        let job = Job::with_limit(Some(WAIT_MAX));
        server.store.move_topic(from, &to, replace, &job).map_err(|error| match error {
            Error::TimedOut => Refusal::text("BUSY somebody else has the locks of the topic; try again"),
            error => error.into(),
        })?;
        let is_unwritten = server.expiry.is_unwritten(&entry);
        for name in [from, &to] {
            server.topics.forget(name.as_bytes());
        }
        server.expiry.rename(from.as_bytes(), to.as_bytes());
        if is_unwritten && let Some(renamed) = server.topics.find(server, to.as_bytes())? {
            // Who was to write it does not find the topic any more.
            server.expiry.set(&renamed, server.expiry.at(to.as_bytes()));
        }
        for name in [from, &to] {
            server.waiters.wake(name.as_bytes());
        }
    }
    let at = call.reply().len();
    answer(call.reply());
    let ticket = server.removals.sync_names();
    call.session.output.hold(&ticket, at);
    Ok(Done::Replied)
}
