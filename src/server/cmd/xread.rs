//! XREAD: what came after certain IDs, at once or when it comes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Done, parse};
use crate::ids::{Offset, RecordId};
use crate::server::dispatch::Call;
use crate::server::limits::Room;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::session::{Session, Waiting};
use crate::server::state::Server;
use crate::server::topics::Entry;

/// `COUNT`, `BLOCK`, and what follows `STREAMS`.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) count: Option<usize>,
    pub(super) block: Option<Block>,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) ids: &'a [&'a [u8]],
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    ForEver,
    For(Duration),
}

impl Block {
    /// Reads milliseconds; 0 = for ever.
    pub(super) fn read(arg: &[u8]) -> Answer<Block> {
        let ms = parse::integer(arg).map_err(|_| Refusal::text("ERR timeout is not an integer or out of range"))?;
        match u64::try_from(ms) {
            Err(_) => Err(Refusal::text("ERR timeout is negative")),
            Ok(0) => Ok(Block::ForEver),
            Ok(ms) => Ok(Block::For(Duration::from_millis(ms))),
        }
    }

    /// When it is over; what is too far away to be told is never.
    pub(super) fn limit(self) -> Option<Instant> {
        match self {
            Block::ForEver => None,
            Block::For(time) => Instant::now().checked_add(time),
        }
    }
}

/// Some of a request's words.
type Words<'a> = &'a [&'a [u8]];

/// Splits what stands behind `STREAMS` into keys and IDs.
pub(super) fn split_streams<'a>(rest: Words<'a>, unbalanced: &'static str) -> Answer<(Words<'a>, Words<'a>)> {
    if rest.is_empty() {
        return Err(SYNTAX);
    }
    if !rest.len().is_multiple_of(2) {
        return Err(Refusal::text(unbalanced));
    }
    Ok(rest.split_at(rest.len() / 2))
}

/// A count as XREAD reads one: zero and below are all.
pub(super) fn count_of(arg: &[u8]) -> Answer<Option<usize>> {
    Ok(usize::try_from(parse::integer(arg)?).ok().filter(|count| *count > 0))
}

const UNBALANCED: &str = "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.";

fn plan<'a>(args: &'a [&'a [u8]]) -> Answer<Plan<'a>> {
    let mut plan = Plan { count: None, block: None, keys: &[], ids: &[] };
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        let value = args.get(at + 1).copied();
        if parse::is(arg, "streams") {
            (plan.keys, plan.ids) = split_streams(&args[at + 1..], UNBALANCED)?;
            return Ok(plan);
        }
        for word in ["GROUP", "NOACK", "CLAIM"] {
            if parse::is(arg, word) {
                let text = format_args!("The {word} option is only supported by XREADGROUP. You called XREAD instead.");
                return Err(Refusal::err(text));
            }
        }
        match value {
            Some(value) if parse::is(arg, "count") => plan.count = count_of(value)?,
            Some(value) if parse::is(arg, "block") => plan.block = Some(Block::read(value)?),
            _ => return Err(SYNTAX),
        }
        at += 2;
    }
    Err(SYNTAX)
}

/// XREAD reads under no name.
const NO_NAME: &[u8] = b"";

/// What a client wants of one topic.
#[derive(Debug)]
struct Wanted {
    key: Box<[u8]>,
    from: From,
}

#[derive(Clone, Copy, Debug)]
enum From {
    /// Above this ID.
    Above(RecordId),
    /// The last entry alone.
    Last,
}

/// An XREAD that may wait.
#[derive(Debug)]
struct Read {
    wanted: Vec<Wanted>,
    count: usize,
    /// A rate limit allows entries from this time on.
    due: Option<Instant>,
}

pub(super) fn xread(call: &mut Call<'_>) -> Answer<Done> {
    let plan = plan(call.args)?;
    let wanted = plan.keys.iter().zip(plan.ids).map(|(key, id)| wanted(call.server, key, id));
    let wanted = wanted.collect::<Answer<Vec<Wanted>>>()?;
    let mut read = Read { wanted, count: plan.count.unwrap_or(usize::MAX), due: None };
    if read.try_again(call.server, call.session)? {
        return Ok(Done::Replied);
    }
    match plan.block {
        Some(block) if !call.session.is_in_exec => Ok(Done::Wait { command: Box::new(read), limit: block.limit() }),
        _ => {
            call.reply().null_array();
            Ok(Done::Replied)
        }
    }
}

/// `$` is what it is when the command comes.
fn wanted(server: &Server, key: &[u8], id: &[u8]) -> Answer<Wanted> {
    let from = match id {
        b"$" => From::Above(server.topics.find(server, key)?.map_or(RecordId::ZERO, |entry| entry.log().counters().last_id)),
        b"+" => From::Last,
        b">" => {
            let text = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
            return Err(Refusal::text(text));
        }
        id => From::Above(parse::id(id, 0)?),
    };
    Ok(Wanted { key: key.into(), from })
}

impl Waiting for Read {
    fn try_again(&mut self, server: &Rc<Server>, session: &mut Session) -> Answer<bool> {
        let reply = session.output.reply();
        let is_map = reply.protocol() == crate::codec::resp::Protocol::Resp3;
        let at = reply.len();
        let mut count = 0;
        let mut told_of: Vec<(Rc<Entry>, Offset)> = Vec::new();
        self.due = None;
        for wanted in &self.wanted {
            let Some(entry) = server.topics.find(server, &wanted.key)? else { continue };
            let room = match entry.room(server, NO_NAME)? {
                Room::Free => usize::MAX,
                Room::Entries(most) => most,
                Room::NotBefore(due) => {
                    self.due = Some(self.due.map_or(due, |known| known.min(due)));
                    continue;
                }
            };
            let before = reply.len();
            if !is_map {
                reply.array(2);
            }
            reply.bulk(&wanted.key);
            let entries_at = reply.len();
            let told = match wanted.from {
                From::Last => reading::put_backward(reply, &entry, RecordId::ZERO, parse::ID_MAX, 1)?,
                From::Above(id) => match id.successor() {
                    Some(first) => {
                        let from = reading::find(&entry, first)?;
                        reading::put_forward(reply, &entry, from, parse::ID_MAX, self.count.min(room))?
                    }
                    None => reading::Told::default(),
                },
            };
            if told.count == 0 {
                reply.truncate(before);
                continue;
            }
            if room < usize::MAX {
                entry.charge(NO_NAME, told.count, reply.len() - entries_at);
            }
            reply.begin_array_at(entries_at, told.count);
            entry.traffic.note_read(told.count, told.bytes);
            told_of.push((entry, told.end));
            count += 1;
        }
        if count == 0 {
            return Ok(false);
        }
        if is_map {
            reply.begin_map_at(at, count);
        } else {
            reply.begin_array_at(at, count);
        }
        reading::hold(server, session, at, &told_of)?;
        Ok(true)
    }

    fn look_again_after(&self, _server: &Server) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    fn keys(&self) -> Vec<&[u8]> {
        self.wanted.iter().map(|wanted| &wanted.key[..]).collect()
    }
}
