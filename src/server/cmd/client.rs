//! CLIENT: the connections, as seen by one of them.

use std::fmt::Write as _;
use std::rc::Rc;

use super::{Done, Flags, Keys, Spec, command, connection, help, parse};
use crate::codec::resp::Protocol;
use crate::server::client::{Client, ClientId, Unblock};
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::session::Replies;
use crate::server::state::Server;

const ADMIN: Flags = Flags::ADMIN;
const NONE: Flags = Flags::NONE;
const fn since(version: &'static str) -> (&'static str, &'static str) {
    ("connection", version)
}

/// What CLIENT does.
#[rustfmt::skip] // A table.
pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("client|getname", 2, NONE, Keys::NONE, since("2.6.9"), "Returns the name of the connection.", getname),
    command("client|help", 2, NONE, Keys::NONE, since("5.0.0"), "Returns helpful text about the different subcommands.", help),
    command("client|id", 2, NONE, Keys::NONE, since("5.0.0"), "Returns the unique client ID of the connection.", id),
    command("client|info", 2, NONE, Keys::NONE, since("6.2.0"), "Returns information about the connection.", info),
    command("client|kill", -3, ADMIN, Keys::NONE, since("2.4.0"), "Terminates open connections.", kill),
    command("client|list", -2, ADMIN, Keys::NONE, since("2.4.0"), "Lists open connections.", list),
    command("client|no-evict", 3, ADMIN, Keys::NONE, since("7.0.0"), "Sets the client eviction mode of the connection.", no_evict),
    command("client|no-touch", 3, NONE, Keys::NONE, since("7.2.0"), "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.", no_touch),
    command("client|reply", 3, NONE, Keys::NONE, since("3.2.0"), "Instructs the server whether to reply to commands.", reply),
    command("client|setinfo", 4, NONE, Keys::NONE, since("7.2.0"), "Sets information specific to the client or connection.", setinfo),
    command("client|setname", 3, NONE, Keys::NONE, since("2.6.9"), "Sets the connection name.", setname),
    command("client|tracking", -3, NONE, Keys::NONE, since("6.0.0"), "Controls server-assisted client-side caching for the connection.", tracking),
    command("client|unblock", -3, ADMIN, Keys::NONE, since("5.0.0"), "Unblocks a client blocked by a blocking command from a different connection.", unblock),
];

fn id(call: &mut Call<'_>) -> Answer<Done> {
    let id = call.client.id;
    call.reply().unsigned(id);
    Ok(Done::Replied)
}

fn getname(call: &mut Call<'_>) -> Answer<Done> {
    let name = call.client.facts.name.borrow();
    let reply = call.session.output.reply();
    if name.is_empty() {
        reply.null()
    } else {
        reply.bulk(&name)
    }
    Ok(Done::Replied)
}

/// CLIENT SETNAME name; an empty one is none.
fn setname(call: &mut Call<'_>) -> Answer<Done> {
    connection::check_word(call.arg(2), "Client names")?;
    *call.client.facts.name.borrow_mut() = call.arg(2).into();
    call.reply().ok();
    Ok(Done::Replied)
}

/// CLIENT SETINFO LIB-NAME|LIB-VER value
fn setinfo(call: &mut Call<'_>) -> Answer<Done> {
    let facts = &call.client.facts;
    let (slot, what) = if parse::is(call.arg(2), "lib-name") {
        (&facts.lib_name, "lib-name")
    } else if parse::is(call.arg(2), "lib-ver") {
        (&facts.lib_version, "lib-ver")
    } else {
        let shown = String::from_utf8_lossy(call.arg(2));
        return Err(Refusal::err(format_args!("Unrecognized option '{shown}'")));
    };
    connection::check_word(call.arg(3), what)?;
    *slot.borrow_mut() = call.arg(3).into();
    call.reply().ok();
    Ok(Done::Replied)
}

fn on_or_off(arg: &[u8]) -> Answer<bool> {
    match () {
        () if parse::is(arg, "on") => Ok(true),
        () if parse::is(arg, "off") => Ok(false),
        () => Err(SYNTAX),
    }
}

/// CLIENT NO-EVICT ON|OFF: nothing is evicted here; it is kept for CLIENT LIST.
fn no_evict(call: &mut Call<'_>) -> Answer<Done> {
    call.client.facts.no_evict.set(on_or_off(call.arg(2))?);
    call.reply().ok();
    Ok(Done::Replied)
}

/// CLIENT NO-TOUCH ON|OFF: nothing is evicted here; it is kept for CLIENT LIST.
fn no_touch(call: &mut Call<'_>) -> Answer<Done> {
    call.client.facts.no_touch.set(on_or_off(call.arg(2))?);
    call.reply().ok();
    Ok(Done::Replied)
}

/// CLIENT TRACKING OFF. What a client has cached cannot be told it is stale: others write the files.
fn tracking(call: &mut Call<'_>) -> Answer<Done> {
    if on_or_off(call.arg(2))? {
        return Err(Refusal::text("ERR client side caching is not supported: other processes write the topics too"));
    }
    if call.args.len() > 3 {
        return Err(SYNTAX);
    }
    call.reply().ok();
    Ok(Done::Replied)
}

/// CLIENT REPLY ON|OFF|SKIP
fn reply(call: &mut Call<'_>) -> Answer<Done> {
    let session = &mut *call.session;
    if parse::is(call.args[2], "on") {
        session.replies = Replies::On;
        session.output.unmute();
        session.output.reply().ok();
    } else if parse::is(call.args[2], "off") {
        session.replies = Replies::Off;
    } else if parse::is(call.args[2], "skip") {
        if session.replies != Replies::Off {
            session.replies = Replies::SkipNext;
        }
    } else {
        return Err(SYNTAX);
    }
    Ok(Done::Replied)
}

/// CLIENT UNBLOCK id [TIMEOUT|ERROR]
fn unblock(call: &mut Call<'_>) -> Answer<Done> {
    let how = match call.args.get(3..).unwrap_or_default() {
        [] => Unblock::Timeout,
        [word] if parse::is(word, "timeout") => Unblock::Timeout,
        [word] if parse::is(word, "error") => Unblock::Error,
        [_] => return Err(Refusal::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(super::unknown_form("CLIENT", call.arg(1))),
    };
    let id = ClientId::try_from(parse::integer(call.arg(2))?).ok();
    let client = id.and_then(|id| call.server.clients.borrow().get(id));
    let is_unblocked = client.is_some_and(|client| client.unblock(how));
    call.reply().integer(i64::from(is_unblocked));
    Ok(Done::Replied)
}

fn info(call: &mut Call<'_>) -> Answer<Done> {
    let mut text = String::new();
    describe(&mut text, call.server, call.client, Some(call.args));
    call.reply().verbatim("txt", text.as_bytes());
    Ok(Done::Replied)
}

/// Kinds of clients. There are no replicas here, but they may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Pubsub,
    Replica,
    Master,
}

impl Kind {
    fn named(arg: &[u8]) -> Answer<Kind> {
        match () {
            () if parse::is(arg, "normal") => Ok(Kind::Normal),
            () if parse::is(arg, "pubsub") => Ok(Kind::Pubsub),
            () if parse::is(arg, "replica") || parse::is(arg, "slave") => Ok(Kind::Replica),
            () if parse::is(arg, "master") => Ok(Kind::Master),
            () => Err(Refusal::err(format_args!("Unknown client type '{}'", String::from_utf8_lossy(arg)))),
        }
    }

    fn of(client: &Client) -> Kind {
        if client.facts.subscriptions() > 0 { Kind::Pubsub } else { Kind::Normal }
    }
}

/// CLIENT LIST [TYPE type] [ID id ...]
fn list(call: &mut Call<'_>) -> Answer<Done> {
    let mut text = String::new();
    let mut describe_line = |client: &Rc<Client>| {
        // Of the others none has a command under way now.
        let args = (client.id == call.client.id).then_some(call.args);
        describe(&mut text, call.server, client, args);
    };
    let clients = call.server.clients.borrow();
    let living = || clients.iter().filter(|client| !client.is_killed());
    match call.args.get(2..).unwrap_or_default() {
        [] => living().for_each(describe_line),
        [word, kind] if parse::is(word, "type") => {
            let kind = Kind::named(kind)?;
            living().filter(|client| Kind::of(client) == kind).for_each(describe_line);
        }
        [word, ids @ ..] if parse::is(word, "id") && !ids.is_empty() => {
            let ids: Answer<Vec<i64>> = ids.iter().map(|id| parse::integer(id)).collect();
            let ids = ids.map_err(|_| Refusal::text("ERR Invalid client ID"))?;
            for id in ids {
                let client = ClientId::try_from(id).ok().and_then(|id| clients.get(id));
                client.iter().filter(|client| !client.is_killed()).for_each(&mut describe_line);
            }
        }
        _ => return Err(SYNTAX),
    }
    call.session.output.reply().verbatim("txt", text.as_bytes());
    Ok(Done::Replied)
}

/// A client in one line: Redis's fields, in Redis's order, and `dropped` behind them.
fn describe(text: &mut String, server: &Server, client: &Client, args: Option<&[&[u8]]>) {
    let facts = &client.facts;
    let name = facts.name.borrow();
    let (lib_name, lib_version) = (facts.lib_name.borrow(), facts.lib_version.borrow());
    let (pending, mail) = (facts.output_bytes.get(), client.mailbox.bytes());
    let (query, queued) = (facts.query_bytes.get(), facts.queued_bytes.get());
    let argument_bytes: usize = args.unwrap_or_default().iter().map(|arg| arg.len()).sum();
    let age_ms = server.now().0.saturating_sub(client.since.0);
    let written = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db=0 sub={} psub={} ssub={} multi={} watch={} qbuf={query} \
         qbuf-free={} argv-mem={argument_bytes} multi-mem={queued} rbs={} rbp={} obl={pending} oll={} omem={mail} tot-mem={} events={} \
         cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} tot-net-out={} tot-cmds={} dropped={}",
        client.id,
        client.address,
        client.local_address,
        client.descriptor,
        String::from_utf8_lossy(&name),
        age_ms / 1000,
        facts.active.get().elapsed().as_secs(),
        flags(client),
        facts.channels.get(),
        facts.patterns.get(),
        facts.shard_channels.get(),
        facts.queued.get().map_or_else(|| "-1".to_owned(), |count| count.to_string()),
        facts.watching.get(),
        facts.query_free.get(),
        facts.reply_room.get(),
        facts.reply_peak.get().max(pending),
        client.mailbox.len(),
        query + facts.query_free.get() + argument_bytes + queued + facts.reply_room.get().max(pending) + mail,
        if pending + mail > 0 { "rw" } else { "r" },
        facts.command.get(),
        if facts.protocol.get() == Protocol::Resp3 { 3 } else { 2 },
        String::from_utf8_lossy(&lib_name),
        String::from_utf8_lossy(&lib_version),
        facts.bytes_in.get(),
        facts.bytes_out.get(),
        facts.commands.get(),
        client.mailbox.dropped(),
    );
    written.expect("a string takes whatever is written");
}

/// Letters, in Redis's order.
fn flags(client: &Client) -> String {
    let facts = &client.facts;
    let letters = [
        (facts.subscriptions() > 0, 'P'),
        (facts.queued.get().is_some(), 'x'),
        (facts.is_blocked.get(), 'b'),
        (client.is_unix, 'U'),
        (facts.no_evict.get(), 'e'),
        (facts.no_touch.get(), 'T'),
    ];
    let set: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// Whom CLIENT KILL is to close: those of whom all of it is true.
#[derive(Debug)]
struct Filter<'a> {
    id: Option<ClientId>,
    kind: Option<Kind>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    age_min_s: Option<u64>,
    skips_me: bool,
}

fn filter<'a>(args: &[&'a [u8]]) -> Answer<Filter<'a>> {
    let mut filter =
        Filter { id: None, kind: None, address: None, local_address: None, user: None, age_min_s: None, skips_me: true };
    let pairs = args.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(SYNTAX);
    }
    for pair in pairs {
        let (word, value) = (pair[0], pair[1]);
        let positive = |what: &str| {
            let number = parse::integer(value).ok().and_then(|number| u64::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or_else(|| Refusal::err(format_args!("{what} should be greater than 0")))
        };
        match () {
            () if parse::is(word, "id") => filter.id = Some(positive("client-id")?),
            () if parse::is(word, "type") => filter.kind = Some(Kind::named(value)?),
            () if parse::is(word, "addr") => filter.address = Some(value),
            () if parse::is(word, "laddr") => filter.local_address = Some(value),
            () if parse::is(word, "user") && value == b"default" => filter.user = Some(value),
            () if parse::is(word, "user") => {
                return Err(Refusal::err(format_args!("No such user '{}'", String::from_utf8_lossy(value))));
            }
            () if parse::is(word, "maxage") => filter.age_min_s = Some(positive("maxage")?),
            () if parse::is(word, "skipme") && parse::is(value, "yes") => filter.skips_me = true,
            () if parse::is(word, "skipme") && parse::is(value, "no") => filter.skips_me = false,
            () => return Err(SYNTAX),
        }
    }
    Ok(filter)
}

/// CLIENT KILL address, or CLIENT KILL [ID n] [TYPE t] [ADDR a] [LADDR a] [USER u] [MAXAGE s] [SKIPME yes|no]
fn kill(call: &mut Call<'_>) -> Answer<Done> {
    let args = call.args;
    let is_old_form = args.len() == 3;
    let filter = if is_old_form { Filter { skips_me: false, ..filter(&[b"addr", args[2]])? } } else { filter(&args[2..])? };
    let now = call.server.now();
    let own = call.client.id;
    let is_meant = |client: &&Rc<Client>| {
        let is_spared = client.is_killed() || filter.skips_me && client.id == own;
        !is_spared
            && filter.id.is_none_or(|id| client.id == id)
            && filter.kind.is_none_or(|kind| Kind::of(client) == kind)
            && filter.address.is_none_or(|address| client.address.as_bytes() == address)
            && filter.local_address.is_none_or(|address| client.local_address.as_bytes() == address)
            && filter.age_min_s.is_none_or(|age| now.0.saturating_sub(client.since.0) / 1000 >= age)
    };
    let meant: Vec<Rc<Client>> = call.server.clients.borrow().iter().filter(is_meant).cloned().collect();
    if is_old_form && meant.is_empty() {
        return Err(Refusal::text("ERR No such client"));
    }
    // Who kills itself is told so first.
    meant.iter().filter(|client| client.id != own).for_each(|client| client.kill());
    if is_old_form {
        call.reply().ok()
    } else {
        call.reply().unsigned(meant.len() as u64)
    }
    Ok(if meant.iter().any(|client| client.id == own) { Done::Close } else { Done::Replied })
}
