//! XPENDING: what a group has delivered and is not settled.

use super::xrange::{end_of, start_of};
use super::{Done, parse};
use crate::broker::Asked;
use crate::server::dispatch::Call;
use crate::server::groups::{self, Group};
use crate::server::refusal::{Answer, Refusal, SYNTAX};

/// That there is no such topic, or no such group of it.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Refusal {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Refusal::with_prefix(format!("NOGROUP No such key '{key}' or consumer group '{group}'"))
}

/// The long form.
#[derive(Debug)]
struct Range<'a> {
    min_idle_ms: u64,
    start: &'a [u8],
    end: &'a [u8],
    count: i64,
    consumer: Option<&'a [u8]>,
}

fn range<'a>(args: &'a [&'a [u8]]) -> Answer<Option<Range<'a>>> {
    let (min_idle, rest) = match args.get(3..).unwrap_or_default() {
        [] => return Ok(None),
        [word, idle, rest @ ..] if parse::is(word, "idle") => (parse::integer(idle)?, rest),
        rest => (0, rest),
    };
    let (start, end, count, consumer) = match rest {
        [start, end, count] => (start, end, count, None),
        [start, end, count, consumer] => (start, end, count, Some(*consumer)),
        _ => return Err(SYNTAX),
    };
    let min_idle_ms = u64::try_from(min_idle).unwrap_or(0);
    Ok(Some(Range { min_idle_ms, start, end, count: parse::integer(count)?, consumer }))
}

pub(super) fn xpending(call: &mut Call<'_>) -> Answer<Done> {
    let (key, name) = (call.arg(1), call.arg(2));
    let range = range(call.args)?;
    let ids = match &range {
        Some(range) => Some(start_of(range.start)?..=end_of(range.end)?),
        None => None,
    };
    let (_, group) = groups::find(call.server, key, name)?.ok_or_else(|| no_group(key, name))?;
    group.shared.borrow_mut().look().map_err(|error| groups::gone_or(error, || no_group(key, name)))?;
    match range.zip(ids) {
        None => summary(call, &group),
        Some((range, ids)) => {
            let consumer = range.consumer.map(|name| group.shared.borrow().state().find(name));
            let count = if consumer == Some(None) { 0 } else { usize::try_from(range.count).unwrap_or(0) };
            rows(call, &group, &Asked { ids, count, min_idle_ms: range.min_idle_ms, consumer: consumer.flatten() })
        }
    }
}

fn summary(call: &mut Call<'_>, group: &Group) -> Answer<Done> {
    let mut shared = group.shared.borrow_mut();
    let ends = shared.pending_ends()?;
    let reply = call.reply();
    reply.array(4);
    let Some((first, last)) = ends else {
        reply.integer(0);
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(Done::Replied);
    };
    let state = shared.state();
    reply.unsigned(state.pending_count());
    reply.id(first);
    reply.id(last);
    let mut holders: Vec<(&[u8], u64)> = state
        .consumers()
        .filter(|(_, consumer)| consumer.leased > 0)
        .map(|(_, consumer)| (&consumer.name[..], consumer.leased))
        .collect();
    holders.sort_unstable();
    reply.array(holders.len());
    for (name, count) in holders {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_display(count);
    }
    Ok(Done::Replied)
}

fn rows(call: &mut Call<'_>, group: &Group, asked: &Asked) -> Answer<Done> {
    let mut shared = group.shared.borrow_mut();
    let told = shared.tell(asked)?;
    let now = call.server.now();
    let reply = call.reply();
    reply.array(told.len());
    for entry in told {
        let holder = entry.consumer.and_then(|id| shared.state().consumer(id));
        reply.array(4);
        reply.id(entry.id);
        reply.bulk(holder.map_or(b"", |holder| &holder.name));
        reply.unsigned(now.0.saturating_sub(entry.at.0));
        reply.unsigned(u64::from(entry.deliveries));
    }
    Ok(Done::Replied)
}
