//! XREADGROUP: records for a consumer of a group, at once or when something comes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::xread::{Block, Plan, count_of, split_streams};
use super::{Done, parse};
use crate::broker::{Before, Handout, SharedGroup, Want};
use crate::codec::group_event::Source;
use crate::codec::records::Record;
use crate::codec::resp::{Protocol, Reply};
use crate::ids::{Offset, RecordId};
use crate::server::client::ClientId;
use crate::server::dispatch::Call;
use crate::server::groups::{self, Group};
use crate::server::limits::Room;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::session::{Membership, Session, Waiting};
use crate::server::state::Server;
use crate::server::topics::Entry;

/// How often a group is looked at in which something may be given back by another process.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked at whether a group is there still.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

const UNBALANCED: &str = "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.";

/// What stands before `STREAMS`, too.
#[derive(Debug)]
struct GroupPlan<'a> {
    plan: Plan<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
    no_ack: bool,
    claim_idle_ms: Option<u64>,
}

fn plan<'a>(args: &'a [&'a [u8]]) -> Answer<GroupPlan<'a>> {
    let plan = Plan { count: None, block: None, keys: &[], ids: &[] };
    let mut all = GroupPlan { plan, group: &[], consumer: &[], no_ack: false, claim_idle_ms: None };
    let mut has_group = false;
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        let value = args.get(at + 1).copied();
        if parse::is(arg, "streams") {
            (all.plan.keys, all.plan.ids) = split_streams(&args[at + 1..], UNBALANCED)?;
            return if has_group { Ok(all) } else { Err(Refusal::text("ERR Missing GROUP option for XREADGROUP")) };
        }
        at += match value {
            _ if parse::is(arg, "noack") => {
                all.no_ack = true;
                1
            }
            Some(value) if parse::is(arg, "count") => {
                all.plan.count = count_of(value)?;
                2
            }
            Some(value) if parse::is(arg, "block") => {
                all.plan.block = Some(Block::read(value)?);
                2
            }
            Some(value) if parse::is(arg, "claim") => {
                all.claim_idle_ms = Some(min_idle(value)?);
                2
            }
            Some(value) if parse::is(arg, "group") && args.len() > at + 2 => {
                (all.group, all.consumer, has_group) = (value, args[at + 2], true);
                3
            }
            _ => return Err(SYNTAX),
        };
    }
    Err(SYNTAX)
}

fn min_idle(arg: &[u8]) -> Answer<u64> {
    let ms = parse::integer(arg).map_err(|_| Refusal::text("ERR min-idle-time is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| Refusal::text("ERR min-idle-time must be a positive integer"))
}

/// Where reading begins in one topic.
#[derive(Clone, Copy, Debug)]
enum From {
    /// What nobody got yet.
    New,
    /// What the consumer has above this ID.
    Above(RecordId),
}

/// An XREADGROUP that may wait.
#[derive(Debug)]
struct ReadGroup {
    wanted: Vec<(Box<[u8]>, From)>,
    group: Box<[u8]>,
    consumer: Box<[u8]>,
    count: usize,
    no_ack: bool,
    claim_idle_ms: Option<u64>,
    client: ClientId,
    /// A rate limit allows entries from this time on.
    due: Cell<Option<Instant>>,
}

pub(super) fn xreadgroup(call: &mut Call<'_>) -> Answer<Done> {
    let GroupPlan { plan, group, consumer, no_ack, claim_idle_ms } = plan(call.args)?;
    let mut read = ReadGroup {
        wanted: Vec::with_capacity(plan.keys.len()),
        group: group.into(),
        consumer: consumer.into(),
        count: plan.count.unwrap_or(usize::MAX),
        no_ack,
        claim_idle_ms,
        client: call.client.id,
        due: Cell::default(),
    };
    for (key, id) in plan.keys.iter().zip(plan.ids) {
        if groups::find(call.server, key, group)?.is_none() {
            return Err(read.no_group(key));
        }
        read.wanted.push(((*key).into(), from(id)?));
    }
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

fn from(id: &[u8]) -> Answer<From> {
    match id {
        b">" => Ok(From::New),
        b"$" | b"+" => {
            let id = String::from_utf8_lossy(id);
            let text = format_args!(
                "The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
                 specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
            );
            Err(Refusal::err(text))
        }
        id => parse::id(id, 0).map(From::Above),
    }
}

/// Writes what is handed out.
pub(super) struct Rows<'a> {
    reply: &'a mut Reply,
    at: usize,
    count: usize,
    /// How many of them are whole records, and the bytes in those.
    records: (usize, u64),
    /// What was known before stands in each row.
    has_before: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(reply: &'a mut Reply, has_before: bool) -> Rows<'a> {
        let at = reply.len();
        Rows { reply, at, count: 0, records: (0, 0), has_before }
    }

    /// How many were written.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Counts what was written as read.
    pub(super) fn note_read(&self, entry: &Entry) {
        entry.traffic.note_read(self.records.0, self.records.1);
    }
}

impl Handout for Rows<'_> {
    fn put(&mut self, record: &Record<'_>, before: Before) {
        self.count += 1;
        let bytes = if self.has_before {
            self.reply.array(4);
            let bytes = reading::put_row(self.reply, record);
            self.reply.unsigned(before.idle_ms);
            self.reply.unsigned(u64::from(before.deliveries));
            bytes
        } else {
            reading::put_entry(self.reply, record)
        };
        self.records = (self.records.0 + 1, self.records.1 + bytes);
    }

    fn put_id(&mut self, id: RecordId) {
        self.count += 1;
        self.reply.id(id);
    }

    fn put_gone(&mut self, id: RecordId) {
        self.count += 1;
        self.reply.array(2);
        self.reply.id(id);
        self.reply.null_array();
    }

    fn forget(&mut self) {
        self.reply.truncate(self.at);
        (self.count, self.records) = (0, (0, 0));
    }
}

impl ReadGroup {
    fn no_group(&self, key: &[u8]) -> Refusal {
        let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&self.group));
        let text = format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option");
        Refusal::with_prefix(text)
    }

    /// Writes the entries of one topic; says how many.
    fn read(&self, server: &Rc<Server>, session: &mut Session, key: &[u8], from: From) -> Answer<usize> {
        let reply = session.output.reply();
        let Some((entry, group)) = groups::find(server, key, &self.group)? else { return Err(self.no_group(key)) };
        let is_new = matches!(from, From::New);
        // What it has already it may see again.
        let room = if is_new { entry.room(server, &self.group)? } else { Room::Free };
        let count = match room {
            Room::Free => self.count,
            Room::Entries(most) => self.count.min(most),
            Room::NotBefore(due) => {
                self.due.set(Some(self.due.get().map_or(due, |known| known.min(due))));
                return Ok(0);
            }
        };
        let begin = reply.len();
        let mut rows = Rows::new(reply, is_new && self.claim_idle_ms.is_some());
        let before = group.shared.borrow().journal().log_end();
        {
            let mut shared = group.shared.borrow_mut();
            let read = match from {
                From::New => shared.take(&self.want(count), &mut rows),
                From::Above(id) => shared.history(&self.consumer, id, self.count, &mut rows),
            };
            read.map_err(|error| groups::gone_or(error, || self.no_group(key)))?;
        }
        let count = rows.count;
        rows.note_read(&entry);
        if matches!(room, Room::Entries(_)) {
            entry.charge(&self.group, count, session.output.reply().len() - begin);
        }
        self.note_membership(&mut session.memberships, &entry, &group);
        self.note(server, &entry, &group, before, count)?;
        Ok(count)
    }

    /// A member is one as long as its client is connected.
    fn note_membership(&self, known: &mut Vec<Membership>, entry: &Rc<Entry>, group: &Rc<Group>) {
        let Some(consumer) = group.shared.borrow().member_of(self.client, &self.consumer) else { return };
        if !known.iter().any(|member| Rc::ptr_eq(&member.group, group) && member.consumer == consumer) {
            known.push(Membership { _entry: Rc::clone(entry), group: Rc::clone(group), consumer });
        }
    }

    fn note(&self, server: &Rc<Server>, entry: &Rc<Entry>, group: &Rc<Group>, before: Offset, count: usize) -> Answer {
        if count > 0 {
            entry.touch();
        }
        let has_moved = group.shared.borrow().journal().log_end() > before;
        if has_moved { group.changed(server, entry) } else { Ok(()) }
    }

    fn want(&self, count: usize) -> Want<'_> {
        Want { consumer: &self.consumer, client: self.client, count, no_ack: self.no_ack, claim_idle_ms: self.claim_idle_ms }
    }

    /// When something in the group may be had that nobody tells of.
    fn next_look(&self, server: &Server, shared: &SharedGroup<'static>) -> Duration {
        let (state, now) = (shared.state(), server.now());
        let claimable = self.claim_idle_ms.and_then(|idle| {
            let oldest = state.pending(Source::Topic, Offset::ZERO).map(|(_, entry)| entry.at.0).min();
            oldest.map(|at| at.saturating_add(idle))
        });
        let due = state.next_due().map(|due| due.0).into_iter().chain(claimable).min();
        let at_most = if state.pending_count() == 0 { LOOK_AT_LEAST_EVERY } else { LOOK_EVERY };
        due.map_or(at_most, |due| Duration::from_millis(due.saturating_sub(now.0).max(1)).min(at_most))
    }
}

impl Waiting for ReadGroup {
    fn try_again(&mut self, server: &Rc<Server>, session: &mut Session) -> Answer<bool> {
        let is_map = session.output.protocol() == Protocol::Resp3;
        let at = session.output.reply().len();
        let mut count = 0;
        let mut told_of = Vec::new();
        self.due.set(None);
        for (key, from) in &self.wanted {
            let reply = session.output.reply();
            let before = reply.len();
            if !is_map {
                reply.array(2);
            }
            reply.bulk(key);
            let entries_at = reply.len();
            let written = self.read(server, session, key, *from)?;
            let reply = session.output.reply();
            if written == 0 && matches!(from, From::New) {
                reply.truncate(before);
                continue;
            }
            reply.begin_array_at(entries_at, written);
            count += 1;
            if written > 0 {
                told_of.extend(server.topics.find(server, key)?.map(|entry| (Rc::clone(&entry), entry.log().log_end())));
            }
        }
        if count == 0 {
            return Ok(false);
        }
        let reply = session.output.reply();
        if is_map {
            reply.begin_map_at(at, count);
        } else {
            reply.begin_array_at(at, count);
        }
        reading::hold(server, session, at, &told_of)?;
        Ok(true)
    }

    fn keys(&self) -> Vec<&[u8]> {
        self.wanted.iter().map(|(key, _)| &key[..]).collect()
    }

    fn look_again_after(&self, server: &Server) -> Option<Duration> {
        let looks = self.wanted.iter().map(|(key, _)| match groups::find(server, key, &self.group) {
            Ok(Some((_, group))) => self.next_look(server, &group.shared.borrow()),
            _ => LOOK_EVERY,
        });
        let due = self.due.get().map(|due| due.saturating_duration_since(Instant::now()));
        looks.chain(due).min()
    }
}
