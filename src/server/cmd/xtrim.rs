//! Leaving out what is oldest: XTRIM, and what XADD says of it.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::offload::offload_held;
use super::references::{Owed, References, next_referred};
use super::{Done, parse};
use crate::config::Durability;
use crate::ids::{Epoch, Offset, Place, RecordId};
use crate::job::Job;
use crate::log::{Deleted, LiveCounter, Log};
use crate::server::dispatch::Call;
use crate::server::output::Ticket;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::state::Server;
use crate::server::topics::Entry;
use crate::server::{commit, groups};

/// So many single records are deleted at once.
const DELETED_AT_ONCE: usize = 1 << 16;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Trim {
    keep: Keep,
    /// Whole segments only.
    is_rough: bool,
    /// The most records that may go; `None` = any number.
    limit: Option<u64>,
    references: References,
}

/// What goes by a trim.
#[derive(Debug)]
struct Cut {
    /// All below.
    start: Offset,
    /// And, beyond it, what of these is not deleted yet.
    among: Vec<Range<Offset>>,
    /// How many records that is.
    count: u64,
    /// The epoch of these offsets.
    epoch: Epoch,
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
        Ok(Some(Trim { keep, is_rough, limit: None, references: References::Keep }))
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

    /// With this limit, if there is one (0 = none), and what becomes of references.
    pub(super) fn completed(trim: Option<Trim>, limit: Option<u64>, references: References) -> Answer<Option<Trim>> {
        match (trim, limit) {
            (None, Some(_)) => {
                Err(Refusal::text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            (Some(trim), Some(_)) if !trim.is_rough => {
                Err(Refusal::text("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            (trim, limit) => Ok(trim.map(|trim| Trim { limit: limit.filter(|limit| *limit > 0), references, ..trim })),
        }
    }

    /// What it comes to now.
    fn cut(self, server: &Server, entry: &Rc<Entry>) -> Answer<Cut> {
        let log = entry.log();
        let epoch = log.epoch();
        let (start, end) = (log.log_start(), log.log_end());
        let counter = log.live_counter()?;
        let deleted = log.deleted()?;
        let live = |range: Range<Offset>| counter.count(range);
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
        let mut among = Vec::new();
        if self.references == References::Acked && target > start {
            // By length, what is skipped is made up for by what lies beyond.
            let (until, most) = match self.keep {
                Keep::Last(_) => (end, live(start..target)?),
                Keep::From(_) => (target, u64::MAX),
            };
            among = unreferred(&groups::all(server, entry)?, start..until, most, &counter, &deleted)?;
            // What goes from the front on goes at once, and gives its space back.
            let is_front = among.first().is_some_and(|front| front.start == deleted.next_live(start));
            target = if is_front { among.remove(0).end } else { start };
        }
        if let Some(limit) = self.limit {
            let beyond = first(&|at| Ok(live(start..at)? > limit))?;
            target = target.min(if beyond > start { Offset(beyond.0 - 1) } else { start });
        }
        if self.is_rough {
            among.clear();
            target = log.whole_segments_before(target)?;
        }
        let start = target.max(start);
        let mut count = live(log.log_start()..start)?;
        for range in &among {
            count += live(range.clone())?;
        }
        Ok(Cut { start, among, count, epoch })
    }

    /// Trims at once, as durable as what is appended next.
    pub(in crate::server) fn run(self, server: &Rc<Server>, entry: &Rc<Entry>) -> Answer<u64> {
        let cut = self.cut(server, entry)?;
        if let Some(place) = cut.make(entry.log(), false, &server.job)?
            && entry.settings()?.durability > Durability::None
        {
            // Nobody waits for it.
            commit::owe_deletions(server, entry.log(), place, &Ticket::new());
        }
        self.references.let_go(server, entry)?;
        Ok(cut.count)
    }
}

/// The ranges in which no group refers to a record, up to `most` records.
fn unreferred(
    groups: &[Rc<groups::Group>],
    within: Range<Offset>,
    most: u64,
    counter: &LiveCounter<'_>,
    deleted: &Deleted,
) -> Answer<Vec<Range<Offset>>> {
    let (mut ranges, mut at, mut left) = (Vec::new(), within.start, most);
    while left > 0 {
        at = deleted.next_live(at);
        let until = next_referred(groups, at).unwrap_or(within.end).min(within.end);
        if at >= within.end {
            break;
        }
        if until <= at {
            at = at.plus(1);
            continue;
        }
        let mut end = until;
        if counter.count(at..until)? > left {
            // The first offset up to which there are so many.
            let mut low = at;
            while low < end {
                let middle = Offset(low.0 + (end.0 - low.0) / 2);
                if counter.count(at..middle)? >= left { end = middle } else { low = middle.plus(1) }
            }
        }
        left -= counter.count(at..end)?;
        ranges.push(at..end);
        at = end;
    }
    Ok(ranges)
}

impl Cut {
    /// Makes it: durably, or as durable as what is appended next. Says up to where deletions are to be
    /// synced, if there are any.
    fn make(&self, log: &Log, is_durable: bool, job: &Job) -> crate::Result<Option<Place>> {
        if self.start > log.log_start() {
            let trim = if is_durable { Log::trim } else { Log::trim_unsynced };
            trim(log, self.start, job)?;
        }
        let mut place = None;
        let mut offsets = self.among.iter().flat_map(|range| (range.start.0..range.end.0).map(Offset));
        loop {
            let some: Vec<Offset> = offsets.by_ref().take(DELETED_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            // Trimming does not count as deleting.
            let greatest = log.deleted()?.greatest_id();
            place = Some(log.delete(&some, self.epoch, greatest, job)?.place);
        }
        if let (Some(place), true) = (place, is_durable) {
            log.sync_deleted(place, job)?;
        }
        Ok(place)
    }
}

/// XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]
pub(super) fn xtrim(call: &mut Call<'_>) -> Answer<Done> {
    let (mut at, mut trim, mut limit, mut references) = (2, None, None, None);
    while at < call.args.len() {
        if let Some(read) = Trim::read(call.args, &mut at, trim)? {
            trim = Some(read);
        } else if let Some(read) = Trim::read_limit(call.args, &mut at)? {
            limit = Some(read);
        } else if let Some(read) = References::read(call.args[at])
            && references.is_none()
        {
            references = Some(read);
            at += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    let trim = Trim::completed(trim, limit, references.unwrap_or(References::Keep))?.ok_or(SYNTAX)?;
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    if entry.settings()?.durability != Durability::Sync {
        let count = trim.run(call.server, &entry)?;
        order_flush(call, &entry)?;
        call.reply().unsigned(count);
        return Ok(Done::Replied);
    }
    let cut = trim.cut(call.server, &entry)?;
    if cut.count == 0 {
        call.reply().integer(0);
        return Ok(Done::Replied);
    }
    let log = Arc::clone(entry.log());
    let count = cut.count;
    offload_held(
        call,
        move || cut.make(&log, true, &Job::new()),
        move |server, _, session| {
            let from = session.output.reply().len();
            let owed = trim.references.let_go(server, &entry)?;
            session.output.reply().unsigned(count);
            Owed::hold(owed, server, session, from);
            Ok(())
        },
    )
}

/// What was done at `async` is synced within the topic's interval.
pub(super) fn order_flush(call: &Call<'_>, entry: &Rc<Entry>) -> Answer {
    let settings = entry.settings()?;
    if settings.durability == Durability::Async {
        call.server.flusher.order(entry.log(), std::time::Instant::now() + settings.flush_interval);
    }
    Ok(())
}
