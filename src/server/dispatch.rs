//! From a request to a command: which one it is, whether it may run now, and what is counted of it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::cmd::{self, Done, Flags, Spec};
use super::refusal::{Answer, Refusal};
use super::session::{Blocked, Queued, Replies, Session};
use super::state::Server;
use crate::codec::resp::Protocol;

/// What an argument of a queued command takes beside its bytes, about.
const ARGUMENT_COST: usize = 32;

/// What a command is called with.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) server: &'a Rc<Server>,
    pub(super) client: &'a Rc<Client>,
    pub(super) session: &'a mut Session,
    /// All words, the command's name first.
    pub(super) args: &'a [&'a [u8]],
}

impl<'a> Call<'a> {
    /// Where to write the reply.
    pub(super) fn reply(&mut self) -> &mut crate::codec::resp::Reply {
        self.session.output.reply()
    }

    /// Puts the messages that wait before what is written next: they belong to what is in force now.
    /// Within EXEC they stay where they are.
    pub(super) fn deliver_mail(&mut self) {
        if !self.session.is_in_exec {
            while let Some(message) = self.client.mailbox.take() {
                self.session.output.push(|reply| reply.append(&message));
            }
        }
    }

    /// An argument; the arity has been checked.
    pub(super) fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).copied().unwrap_or_default()
    }
}

/// Runs one request, or says why not.
pub(super) fn run(server: &Rc<Server>, client: &Rc<Client>, session: &mut Session, args: &[&[u8]]) {
    if session.replies == Replies::SkipNext {
        session.replies = Replies::Skip;
    } else if session.replies == Replies::Skip {
        session.replies = Replies::On;
    }
    if session.replies != Replies::On {
        session.output.mute();
    }
    run_or_queue(server, client, session, args);
    session.output.unmute();
}

fn run_or_queue(server: &Rc<Server>, client: &Rc<Client>, session: &mut Session, args: &[&[u8]]) {
    let spec = match admit(server, session, args) {
        Ok(spec) => spec,
        Err(refusal) => {
            if let Some(transaction) = &mut session.transaction {
                transaction.is_spoilt = true;
            }
            refuse(server, session, &refusal);
            return;
        }
    };
    client.facts.command.set(spec.name);
    if session.transaction.is_some() && !spec.flags.has(Flags::UNQUEUED) {
        queue(server, client, session, spec, args);
        return;
    }
    execute(server, client, session, spec, args);
}

/// The command, if it may be run on this connection now.
fn admit(server: &Server, session: &Session, args: &[&[u8]]) -> Answer<&'static Spec> {
    let spec = cmd::find(args)?;
    let refused = if !spec.takes(args.len()) {
        Some(Refusal::wrong_arity(spec.name))
    } else if session.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) {
        Some(Refusal::text("ERR Command not allowed inside a transaction"))
    } else if !session.is_authenticated && !spec.flags.has(Flags::NO_AUTH) {
        Some(Refusal::text("NOAUTH Authentication required."))
    } else if session.output.protocol() == Protocol::Resp2
        && !session.subscriptions.is_empty()
        && !spec.flags.has(Flags::WHILE_SUBSCRIBED)
    {
        Some(Refusal::err(format_args!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            spec.name
        )))
    } else {
        None
    };
    match refused {
        Some(refusal) => {
            server.stats.note_rejected(spec.name);
            Err(refusal)
        }
        None => Ok(spec),
    }
}

/// Keeps a command for EXEC, if there is room: what is queued counts as a request that goes on.
fn queue(server: &Server, client: &Client, session: &mut Session, spec: &'static Spec, args: &[&[u8]]) {
    let Some(transaction) = &mut session.transaction else { return };
    transaction.bytes += args.iter().map(|arg| arg.len() + ARGUMENT_COST).sum::<usize>();
    if transaction.bytes > server.options.limits.query_bytes_max {
        transaction.is_spoilt = true;
        transaction.queued = Vec::new();
        client.facts.queued_bytes.set(0);
        refuse(server, session, &Refusal::text("ERR the commands of the transaction take more than the query buffer"));
        return;
    }
    transaction.queued.push(Queued { spec, args: args.iter().map(|arg| (*arg).into()).collect() });
    client.facts.queued.set(Some(transaction.queued.len()));
    client.facts.queued_bytes.set(transaction.bytes);
    session.output.reply().simple("QUEUED");
}

fn note_slow(server: &Server, client: &Client, spec: &Spec, args: &[&[u8]], took: Duration) {
    if server.slow_log.is_slow(took) && !spec.flags.has(Flags::UNLOGGED) {
        server.slow_log.note(client, args, took, server.now());
    }
    if server.latency.threshold.get().is_some_and(|threshold| took >= threshold) {
        let event = if spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        server.latency.note(event, took, server.now());
    }
}

/// Runs a command that was admitted.
pub(super) fn execute(server: &Rc<Server>, client: &Rc<Client>, session: &mut Session, spec: &'static Spec, args: &[&[u8]]) {
    if spec.flags.has(Flags::READ | Flags::WRITE) && !spec.flags.has(Flags::BATCHED) {
        // It sees what was added before it, by whomever.
        server.appender.flush_all(server);
    }
    client.facts.commands.set(client.facts.commands.get() + 1);
    let began = Instant::now();
    let from = session.output.reply().len();
    let mut call = Call { server, client, session, args };
    let done = (spec.run)(&mut call);
    let took = began.elapsed();
    let failed = done.is_err();
    match done {
        Ok(Done::Replied) => {}
        Ok(Done::Close) => session.is_closing = true,
        // Nothing comes between the commands of an EXEC, so there is nothing to wait for.
        Ok(Done::Wait { mut command, .. }) if session.is_in_exec => command.give_up(session),
        Ok(Done::Wait { command, limit }) => {
            let waiter = server.waiters.add(client, &command.keys());
            if command.is_blocking() {
                client.facts.is_blocked.set(true);
                server.stats.blocked_clients.set(server.stats.blocked_clients.get() + 1);
            }
            session.blocked = Some(Blocked { command, waiter, limit });
            // It looks once more when its task is polled: something may have come meanwhile.
            client.wake();
        }
        Err(refusal) => {
            session.output.reply().truncate(from);
            refuse(server, session, &refusal);
        }
    }
    server.stats.note_command(spec.name, took, failed);
    note_slow(server, client, spec, args, took);
    if spec.flags.has(Flags::WRITE) {
        spec.keys_in(args).for_each(|key| session.written.note(key));
    }
}

fn refuse(server: &Server, session: &mut Session, refusal: &Refusal) {
    server.stats.note_error(refusal.as_str());
    session.output.reply().error(refusal.as_str());
}
