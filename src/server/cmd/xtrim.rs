//! Leaving out what is oldest: XTRIM, and what XADD says of it.

use std::rc::Rc;

use super::offload::offload;
use super::{Done, parse};
use crate::config::Durability;
use crate::ids::{Offset, RecordId};
use crate::job::Job;
use crate::server::dispatch::Call;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::topics::Entry;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Trim {
    keep: Keep,
    /// Whole segments only.
    is_rough: bool,
    /// The most records that may go; `None` = any number.
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// So many, the newest.
    Last(u64),
    /// Those with this ID or a higher one.
    From(RecordId),
}

impl Trim {
    /// Reads `MAXLEN|MINID [=|~] threshold [LIMIT count]` if it stands at `at`; moves `at` behind it.
    pub(super) fn read(args: &[&[u8]], at: &mut usize, before: Option<Trim>) -> Answer<Option<Trim>> {
        let Some(word) = args.get(*at) else { return Ok(None) };
        let is_length = parse::is(word, "maxlen");
        if !is_length && !parse::is(word, "minid") {
            return Ok(None);
        }
        if let Some(before) = before {
            return Err(match (before.keep, is_length) {
                (Keep::Last(_), false) | (Keep::From(_), true) => {
                    Refusal::text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
                }
                _ => SYNTAX,
            });
        }
        let mut next = *at + 1;
        let is_rough = args.get(next) == Some(&&b"~"[..]);
        if is_rough || args.get(next) == Some(&&b"="[..]) {
            next += 1;
        }
        let threshold = args.get(next).ok_or(SYNTAX)?;
        let keep = if is_length {
            let length = parse::integer(threshold)?;
            Keep::Last(u64::try_from(length).map_err(|_| Refusal::text("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            Keep::From(parse::id(threshold, 0)?)
        };
        *at = next + 1;
        Ok(Some(Trim { keep, is_rough, limit: None }))
    }

    /// Reads `LIMIT count` if it stands at `at`; moves `at` behind it.
    pub(super) fn read_limit(args: &[&[u8]], at: &mut usize) -> Answer<Option<u64>> {
        if !args.get(*at).is_some_and(|word| parse::is(word, "limit")) {
            return Ok(None);
        }
        let limit = parse::integer(args.get(*at + 1).ok_or(SYNTAX)?)?;
        *at += 2;
        u64::try_from(limit).map(Some).map_err(|_| Refusal::text("ERR The LIMIT argument must be >= 0."))
    }

    /// With this limit, if there is one; 0 = none.
    pub(super) fn limited(trim: Option<Trim>, limit: Option<u64>) -> Answer<Option<Trim>> {
        match (trim, limit) {
            (None, Some(_)) => {
                Err(Refusal::text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            (Some(trim), Some(_)) if !trim.is_rough => {
                Err(Refusal::text("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            (trim, limit) => Ok(trim.map(|trim| Trim { limit: limit.filter(|limit| *limit > 0), ..trim })),
        }
    }

    /// The log start that does it, and how many records that leaves out.
    fn target(self, entry: &Entry) -> Answer<(Offset, u64)> {
        let log = entry.log();
        let (start, end) = (log.log_start(), log.log_end());
        let counter = log.live_counter()?;
        let live = |range: std::ops::Range<Offset>| counter.count(range);
        // The first offset for which no more than so many records lie behind it, or before it.
        let first = |is_enough: &dyn Fn(Offset) -> Answer<bool>| -> Answer<Offset> {
            let (mut low, mut high) = (start, end);
            while low < high {
                let middle = Offset(low.0 + (high.0 - low.0) / 2);
                if is_enough(middle)? { high = middle } else { low = middle.plus(1) }
            }
            Ok(low)
        };
        let mut target = match self.keep {
            Keep::Last(count) => first(&|at| Ok(live(at..end)? <= count))?,
            // What is not durable yet cannot be seen, and so not be found: it is newer than all that can.
            Keep::From(id) if id > log.counters().last_id => end,
            Keep::From(id) => reading::find(entry, id)?,
        };
        if let Some(limit) = self.limit {
            let beyond = first(&|at| Ok(live(start..at)? > limit))?;
            target = target.min(if beyond > start { Offset(beyond.0 - 1) } else { start });
        }
        if self.is_rough {
            target = log.whole_segments_before(target)?;
        }
        let target = target.max(start);
        Ok((target, live(start..target)?))
    }

    /// Trims at once, as durable as what is appended next.
    pub(in crate::server) fn run(self, entry: &Entry, job: &Job) -> Answer<u64> {
        let (target, count) = self.target(entry)?;
        entry.log().trim_unsynced(target, job)?;
        Ok(count)
    }
}

pub(super) fn xtrim(call: &mut Call<'_>) -> Answer<Done> {
    let mut at = 2;
    let mut trim = None;
    let mut limit = None;
    let mut references = super::references::References::Keep;
    while at < call.args.len() {
        if let Some(read) = Trim::read(call.args, &mut at, trim)? {
            trim = Some(read);
        } else if let Some(read) = Trim::read_limit(call.args, &mut at)? {
            limit = Some(read);
        } else if let Some(read) = super::references::References::read(call.args[at]) {
            references = read;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    let trim = Trim::limited(trim, limit)?.ok_or(SYNTAX)?;
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    references.check(&entry)?;
    let (target, count) = trim.target(&entry)?;
    if entry.settings()?.durability == Durability::Sync && target > entry.log().log_start() {
        let log = std::sync::Arc::clone(entry.log());
        return offload(
            call,
            move || log.trim(target, &Job::new()),
            move |_, _, reply| {
                reply.unsigned(count);
                Ok(())
            },
        );
    }
    entry.log().trim_unsynced(target, &call.server.job)?;
    order_flush(call, &entry)?;
    call.reply().unsigned(count);
    Ok(Done::Replied)
}

/// What was done at `async` is synced within the topic's interval.
pub(super) fn order_flush(call: &Call<'_>, entry: &Rc<Entry>) -> Answer {
    let settings = entry.settings()?;
    if settings.durability == Durability::Async {
        call.server.flusher.order(entry.log(), std::time::Instant::now() + settings.flush_interval);
    }
    Ok(())
}
