//! XCLAIM, XAUTOCLAIM: entries that another consumer is to have.

use super::xpending::no_group;
use super::xrange::start_of;
use super::xreadgroup::Rows;
use super::{Done, parse};
use crate::broker::Claiming;
use crate::codec::group_event::{Count, Order};
use crate::error::Error;
use crate::ids::{RecordId, TimestampMs};
use crate::server::dispatch::Call;
use crate::server::groups::{self, Group};
use crate::server::refusal::{Answer, Refusal, SYNTAX};

/// XAUTOCLAIM claims so many if it is not told how many.
const COUNT: i64 = 100;
/// No more than this, or ten times as many would not be a number any more.
const COUNT_MAX: i64 = i64::MAX / 16;

/// A number of milliseconds; below zero it is zero.
fn ms(arg: &[u8], what: &str, command: &str) -> Answer<u64> {
    let bad = || Refusal::err(format_args!("Invalid {what} argument for {command}"));
    Ok(u64::try_from(parse::integer(arg).map_err(|_| bad())?).unwrap_or(0))
}

fn claiming(min_idle_ms: u64) -> Claiming {
    Claiming { min_idle_ms, count: Count::Add, at: None, force: false, last_id: None, ids_only: false }
}

/// Reads what stands behind the IDs.
fn options(args: &[&[u8]], min_idle_ms: u64, now: TimestampMs) -> Answer<Claiming> {
    let mut how = claiming(min_idle_ms);
    let mut is_counted = false;
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let value = args.get(at + 1).copied();
        at += 2;
        match value {
            _ if parse::is(arg, "force") => (how.force, at) = (true, at - 1),
            _ if parse::is(arg, "justid") => (how.ids_only, at) = (true, at - 1),
            Some(value) if parse::is(arg, "idle") => {
                let idle = ms(value, "IDLE option", "XCLAIM")?;
                how.at = Some(TimestampMs(now.0.saturating_sub(idle)));
            }
            Some(value) if parse::is(arg, "time") => how.at = Some(TimestampMs(ms(value, "TIME option", "XCLAIM")?)),
            Some(value) if parse::is(arg, "retrycount") => {
                let count = ms(value, "RETRYCOUNT option", "XCLAIM")?;
                (how.count, is_counted) = (Count::Set(u32::try_from(count).unwrap_or(u32::MAX)), true);
            }
            Some(value) if parse::is(arg, "lastid") => how.last_id = Some(parse::id(value, 0)?),
            _ => {
                let shown = String::from_utf8_lossy(arg);
                return Err(Refusal::err(format_args!("Unrecognized XCLAIM option '{shown}'")));
            }
        }
    }
    if how.ids_only && !is_counted {
        how.count = Count::Keep;
    }
    Ok(how)
}

/// Where order is kept, who has an entry follows from its lane.
fn check_order(group: &Group) -> Answer {
    let order = group.shared.borrow().state().settings().order;
    let text = "ERR the group keeps the order of its records: single entries cannot be claimed";
    if order == Order::None { Ok(()) } else { Err(Refusal::text(text)) }
}

fn gone(call: &Call<'_>, error: Error) -> Refusal {
    groups::gone_or(error, || no_group(call.arg(1), call.arg(2)))
}

pub(super) fn xclaim(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (key, name, consumer) = (call.arg(1), call.arg(2), call.arg(3));
    let (entry, group) = groups::find(call.server, key, name)?.ok_or_else(|| no_group(key, name))?;
    let min_idle_ms = ms(call.arg(4), "min-idle-time", "XCLAIM")?;
    let named = call.args[5..].iter().map_while(|arg| parse::id(arg, 0).ok());
    let ids: Vec<RecordId> = named.collect();
    let how = options(&call.args[5 + ids.len()..], min_idle_ms, call.server.now())?;
    check_order(&group)?;
    let mut rows = Rows::new(call.session.output.reply(), false);
    let claimed = group.shared.borrow_mut().claim(consumer, &ids, &how, &mut rows);
    let count = rows.count();
    rows.note_read(&entry);
    claimed.map_err(|error| gone(call, error))?;
    call.reply().begin_array_at(from, count);
    group.owe(call, &entry, from)?;
    Ok(Done::Replied)
}

pub(super) fn xautoclaim(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (key, name, consumer) = (call.arg(1), call.arg(2), call.arg(3));
    let mut how = claiming(ms(call.arg(4), "min-idle-time", "XAUTOCLAIM")?);
    let start = start_of(call.arg(5))?;
    let mut count = COUNT;
    let mut at = 6;
    while let Some(arg) = call.args.get(at) {
        match call.args.get(at + 1) {
            Some(value) if parse::is(arg, "count") => {
                let range = 1..=COUNT_MAX;
                count = parse::integer(value).ok().filter(|count| range.contains(count)).ok_or(COUNT_REFUSED)?;
                at += 2;
            }
            _ if parse::is(arg, "justid") => {
                (how.ids_only, how.count) = (true, Count::Keep);
                at += 1;
            }
            _ => return Err(SYNTAX),
        }
    }
    let (entry, group) = groups::find(call.server, key, name)?.ok_or_else(|| no_group(key, name))?;
    check_order(&group)?;
    let mut rows = Rows::new(call.session.output.reply(), false);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let scanned = group.shared.borrow_mut().auto_claim(consumer, start, count, &how, &mut rows);
    let written = rows.count();
    rows.note_read(&entry);
    let scanned = scanned.map_err(|error| gone(call, error))?;
    let reply = call.session.output.reply();
    reply.begin_array_at(from, written);
    let entries = reply.split_off(from);
    reply.array(3);
    reply.id(scanned.next);
    reply.append(&entries);
    reply.array(scanned.gone.len());
    scanned.gone.iter().for_each(|id| reply.id(*id));
    group.owe(call, &entry, from)?;
    Ok(Done::Replied)
}

const COUNT_REFUSED: Refusal = Refusal::text("ERR COUNT must be > 0");
