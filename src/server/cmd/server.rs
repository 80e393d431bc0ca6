//! The server as a whole: its time, its end, what it has stored, and what it is to others.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Done, Flags, Keys, Spec, command, help, parse};
use crate::server::commit;
use crate::server::dispatch::Call;
use crate::server::output::Ticket;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::session::{Session, Waiting};
use crate::server::state::Server;

/// What ACL tells: there is one user, who may do everything.
#[rustfmt::skip] // A table.
pub(super) const ACL: &[Spec] = &[
    command("acl|help", 2, Flags::NONE, Keys::NONE, ("server", "6.0.0"), "Returns helpful text about the different subcommands.", help),
    command("acl|whoami", 2, Flags::NONE, Keys::NONE, ("server", "6.0.0"), "Returns the authenticated username of the current connection.", whoami),
];

fn whoami(call: &mut Call<'_>) -> Answer<Done> {
    call.reply().bulk(b"default");
    Ok(Done::Replied)
}

/// TIME
pub(super) fn time(call: &mut Call<'_>) -> Answer<Done> {
    let now = call.server.now().0;
    let reply = call.reply();
    reply.array(2);
    reply.bulk_display(now / 1000);
    reply.bulk_display(now % 1000 * 1000);
    Ok(Done::Replied)
}

/// LASTSAVE: when the last sync ended.
pub(super) fn lastsave(call: &mut Call<'_>) -> Answer<Done> {
    let at = call.server.stats.synced_at.get();
    call.reply().unsigned(at.0 / 1000);
    Ok(Done::Replied)
}

/// ROLE
pub(super) fn role(call: &mut Call<'_>) -> Answer<Done> {
    let reply = call.reply();
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array(0);
    Ok(Done::Replied)
}

/// READONLY, READWRITE, CLUSTER ...
pub(super) fn no_cluster(_: &mut Call<'_>) -> Answer<Done> {
    Err(Refusal::text("ERR This instance has cluster support disabled"))
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]: all is saved anyhow.
pub(super) fn shutdown(call: &mut Call<'_>) -> Answer<Done> {
    let words = &call.args[1..];
    let count = |word: &str| words.iter().filter(|arg| parse::is(arg, word)).count();
    let (saves, aborts) = (count("nosave") + count("save"), count("abort"));
    if saves > 1 || saves + aborts + count("now") + count("force") != words.len() || aborts > 0 && words.len() > 1 {
        return Err(SYNTAX);
    }
    if aborts > 0 {
        return Err(Refusal::text("ERR No shutdown in progress."));
    }
    call.server.stopper.stop();
    Ok(Done::Close)
}

/// WAIT numreplicas timeout: there are none to wait for.
pub(super) fn wait(call: &mut Call<'_>) -> Answer<Done> {
    parse::integer(call.arg(1))?;
    timeout(call.arg(2))?;
    call.reply().integer(0);
    Ok(Done::Replied)
}

/// A time in milliseconds; `None` = for ever.
fn timeout(arg: &[u8]) -> Answer<Option<Instant>> {
    let ms = parse::integer(arg).map_err(|_| Refusal::text("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Refusal::text("ERR timeout is negative"))?;
    // What is too far away to be told is for ever.
    Ok(if ms == 0 { None } else { Instant::now().checked_add(Duration::from_millis(ms)) })
}

/// DEBUG SLEEP seconds
pub(super) fn debug_sleep(call: &mut Call<'_>) -> Answer<Done> {
    let text = std::str::from_utf8(call.arg(2)).ok();
    let seconds = text.and_then(|text| text.parse::<f64>().ok()).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.ok_or(Refusal::text("ERR value is not a valid float"))?;
    Ok(Done::Wait { command: Box::new(Sleep), limit: Instant::now().checked_add(seconds) })
}

#[derive(Debug)]
struct Sleep;

impl Waiting for Sleep {
    fn try_again(&mut self, _: &Rc<Server>, _: &mut Session) -> Answer<bool> {
        Ok(false)
    }

    fn keys(&self) -> Vec<&[u8]> {
        Vec::new()
    }

    fn give_up(&mut self, session: &mut Session) {
        session.output.reply().ok();
    }
}

/// WAITAOF numlocal numreplicas timeout: until what this client has written is durable, whatever the
/// level of its topics.
pub(super) fn waitaof(call: &mut Call<'_>) -> Answer<Done> {
    let local = parse::integer(call.arg(1))?;
    if !(0..=1).contains(&local) {
        return Err(Refusal::text("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = parse::integer(call.arg(2))?;
    if replicas < 0 {
        return Err(Refusal::text("ERR value is out of range, must be positive"));
    }
    let limit = timeout(call.arg(3))?;
    let mut waiting = WaitAof { tickets: order_syncs(call)?, needs_local: local == 1, needs_replicas: replicas > 0 };
    if waiting.try_again(call.server, call.session)? {
        return Ok(Done::Replied);
    }
    waiting.tickets.iter().for_each(|ticket| ticket.wake_later(call.client));
    Ok(Done::Wait { command: Box::new(waiting), limit })
}

/// Has all topics synced that the client has written to; a ticket each that is not durable yet.
fn order_syncs(call: &mut Call<'_>) -> Answer<Vec<Rc<Ticket>>> {
    call.server.appender.flush_all(call.server);
    let names: Vec<Box<[u8]>> = match call.session.written.names() {
        Some(names) => names.cloned().collect(),
        None => call.server.store.list_topics()?.iter().map(|topic| topic.name.as_bytes().into()).collect(),
    };
    let mut tickets = Vec::new();
    for name in names {
        // What was deleted since is not waited for.
        let Some(entry) = call.server.topics.find(call.server, &name)? else { continue };
        let log = entry.log();
        if log.durable() < log.log_end() {
            let ticket = Ticket::new();
            commit::owe(call.server, log, log.end_place(), &ticket, Some(&entry));
            tickets.push(ticket);
        }
    }
    Ok(tickets)
}

#[derive(Debug)]
struct WaitAof {
    tickets: Vec<Rc<Ticket>>,
    needs_local: bool,
    /// There are none, so its time runs out.
    needs_replicas: bool,
}

impl WaitAof {
    fn is_durable(&self) -> bool {
        self.tickets.iter().all(|ticket| ticket.outcome() == Some(Ok(())))
    }

    fn answer(&self, session: &mut Session) {
        let reply = session.output.reply();
        reply.array(2);
        reply.integer(i64::from(self.is_durable()));
        reply.integer(0);
    }
}

impl Waiting for WaitAof {
    fn try_again(&mut self, _: &Rc<Server>, session: &mut Session) -> Answer<bool> {
        if let Some(Err(refusal)) = self.tickets.iter().find_map(|ticket| ticket.outcome().filter(Result::is_err)) {
            return Err(refusal);
        }
        if self.needs_replicas || self.needs_local && !self.is_durable() {
            return Ok(false);
        }
        self.answer(session);
        Ok(true)
    }

    fn keys(&self) -> Vec<&[u8]> {
        Vec::new()
    }

    fn give_up(&mut self, session: &mut Session) {
        self.answer(session);
    }
}
