//! When topics are to be deleted.

use super::{Done, keys, parse};
use crate::codec::resp::Reply;
use crate::ids::TimestampMs;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal};

/// How a command says when.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// The command, as errors name it.
    name: &'static str,
    ms: i64,
    /// From now on, not from 1970 on.
    is_relative: bool,
}

/// Whether the time is to be set, seen what it is.
#[derive(Clone, Copy, Debug, Default)]
struct Only {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Only {
    fn read(args: &[&[u8]]) -> Answer<Only> {
        let mut only = Only::default();
        for arg in args {
            let flags = [("nx", &mut only.nx), ("xx", &mut only.xx), ("gt", &mut only.gt), ("lt", &mut only.lt)];
            match flags.into_iter().find(|(word, _)| parse::is(arg, word)) {
                Some((_, flag)) => *flag = true,
                None => return Err(Refusal::err(format_args!("Unsupported option {}", String::from_utf8_lossy(arg)))),
            }
        }
        if only.nx && (only.xx || only.gt || only.lt) {
            return Err(Refusal::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if only.gt && only.lt {
            return Err(Refusal::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(only)
    }

    /// No time is later than any.
    fn allows(self, now_set: Option<u64>, at: u64) -> bool {
        !(self.nx && now_set.is_some()
            || self.xx && now_set.is_none()
            || self.gt && now_set.is_none_or(|set| at <= set)
            || self.lt && now_set.is_some_and(|set| at >= set))
    }
}

/// Milliseconds since 1970; a time before that is 0.
fn read_time(arg: &[u8], unit: Unit, now: TimestampMs) -> Answer<u64> {
    let number = parse::integer(arg)?;
    let base = if unit.is_relative { i64::try_from(now.0).unwrap_or(i64::MAX) } else { 0 };
    let at = number.checked_mul(unit.ms).and_then(|ms| ms.checked_add(base));
    let at = at.ok_or_else(|| Refusal::err(format_args!("invalid expire time in '{}' command", unit.name)))?;
    Ok(u64::try_from(at).unwrap_or(0))
}

fn set(call: &mut Call<'_>, unit: Unit) -> Answer<Done> {
    let only = Only::read(&call.args[3..])?;
    let now = call.server.now();
    let at = read_time(call.arg(2), unit, now)?;
    let server = call.server;
    let Some(entry) = server.topics.find(server, call.arg(1))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    if !only.allows(server.expiry.at(call.arg(1)).map(|at| at.0), at) {
        call.reply().integer(0);
    } else if at <= now.0 {
        keys::delete(call, vec![entry.name.clone()], |reply| reply.integer(1));
    } else {
        let from = call.reply().len();
        call.reply().integer(1);
        let ticket = server.expiry.set(&entry, Some(TimestampMs(at)));
        call.session.output.hold(&ticket, from);
    }
    Ok(Done::Replied)
}

pub(super) fn expire(call: &mut Call<'_>) -> Answer<Done> {
    set(call, Unit { name: "expire", ms: 1000, is_relative: true })
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Answer<Done> {
    set(call, Unit { name: "pexpire", ms: 1, is_relative: true })
}

pub(super) fn expireat(call: &mut Call<'_>) -> Answer<Done> {
    set(call, Unit { name: "expireat", ms: 1000, is_relative: false })
}

pub(super) fn pexpireat(call: &mut Call<'_>) -> Answer<Done> {
    set(call, Unit { name: "pexpireat", ms: 1, is_relative: false })
}

pub(super) fn persist(call: &mut Call<'_>) -> Answer<Done> {
    let server = call.server;
    let entry = server.topics.find(server, call.arg(1))?;
    let Some(entry) = entry.filter(|entry| server.expiry.at(entry.name.as_bytes()).is_some()) else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    let from = call.reply().len();
    call.reply().integer(1);
    let ticket = server.expiry.set(&entry, None);
    call.session.output.hold(&ticket, from);
    Ok(Done::Replied)
}

/// -2 = no such topic, -1 = it stays.
fn tell(call: &mut Call<'_>, shown: fn(at: u64, now: u64) -> u64) -> Answer<Done> {
    let server = call.server;
    let put: Box<dyn FnOnce(&mut Reply)> = if server.topics.find(server, call.arg(1))?.is_none() {
        Box::new(|reply| reply.integer(-2))
    } else {
        match server.expiry.at(call.arg(1)) {
            None => Box::new(|reply| reply.integer(-1)),
            Some(at) => {
                let shown = shown(at.0, server.now().0);
                Box::new(move |reply| reply.unsigned(shown))
            }
        }
    };
    put(call.reply());
    Ok(Done::Replied)
}

/// As Redis rounds.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

pub(super) fn ttl(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, |at, now| seconds(at.saturating_sub(now)))
}

pub(super) fn pttl(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, u64::saturating_sub)
}

pub(super) fn expiretime(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, |at, _| seconds(at))
}

pub(super) fn pexpiretime(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, |at, _| at)
}
