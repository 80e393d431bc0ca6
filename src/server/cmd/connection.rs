//! What concerns the connection itself.

use constant_time_eq::constant_time_eq;

use super::{Done, parse, transaction};
use crate::codec::resp::Protocol;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::session::Replies;

/// What clients are told they speak to: they decide by it what they may use.
pub(super) const REDIS_VERSION: &str = "8.6.0";

/// The only user.
const USER: &[u8] = b"default";

/// PING [message]
pub(super) fn ping(call: &mut Call<'_>) -> Answer<Done> {
    if call.args.len() > 2 {
        return Err(Refusal::wrong_arity("ping"));
    }
    let message = call.args.get(1).copied();
    if call.session.output.protocol() == Protocol::Resp2 && !call.session.subscriptions.is_empty() {
        let reply = call.reply();
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
        return Ok(Done::Replied);
    }
    match message {
        Some(message) => call.reply().bulk(message),
        None => call.reply().simple("PONG"),
    }
    Ok(Done::Replied)
}

/// ECHO message
pub(super) fn echo(call: &mut Call<'_>) -> Answer<Done> {
    let message = call.arg(1);
    call.reply().bulk(message);
    Ok(Done::Replied)
}

/// QUIT
pub(super) fn quit(call: &mut Call<'_>) -> Answer<Done> {
    call.reply().ok();
    Ok(Done::Close)
}

/// SELECT index
pub(super) fn select(call: &mut Call<'_>) -> Answer<Done> {
    if parse::integer(call.arg(1))? != 0 {
        return Err(Refusal::text("ERR DB index is out of range"));
    }
    call.reply().ok();
    Ok(Done::Replied)
}

/// AUTH [username] password
pub(super) fn auth(call: &mut Call<'_>) -> Answer<Done> {
    let (user, password) = match call.args {
        [_, password] if call.server.options.password.is_some() => (USER, *password),
        [_, _] => {
            return Err(Refusal::text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        [_, user, password] => (*user, *password),
        _ => return Err(SYNTAX),
    };
    check_password(call, user, password)?;
    call.session.is_authenticated = true;
    call.reply().ok();
    Ok(Done::Replied)
}

/// Without a password set, any will do.
fn check_password(call: &Call<'_>, user: &[u8], password: &[u8]) -> Answer {
    // Compared also when the user is unknown: the time it takes tells nothing.
    let is_right = call.server.options.password.as_deref().is_none_or(|own| constant_time_eq(own, password));
    if is_right && user == USER {
        return Ok(());
    }
    call.server.stats.note_auth_failed(&call.client.address);
    Err(Refusal::text("WRONGPASS invalid username-password pair or user is disabled."))
}

/// What HELLO is asked for.
#[derive(Debug, Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    user_and_password: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello_options<'a>(args: &[&'a [u8]]) -> Answer<Hello<'a>> {
    let mut hello = Hello::default();
    let Some((version, mut rest)) = args.split_first() else { return Ok(hello) };
    let version = parse::integer(version);
    hello.protocol = Some(match version {
        Ok(2) => Protocol::Resp2,
        Ok(3) => Protocol::Resp3,
        Ok(_) => return Err(Refusal::text("NOPROTO unsupported protocol version")),
        Err(_) => return Err(Refusal::text("ERR Protocol version is not an integer or out of range")),
    });
    loop {
        rest = match rest {
            [] => return Ok(hello),
            [word, user, password, rest @ ..] if parse::is(word, "auth") => {
                hello.user_and_password = Some((user, password));
                rest
            }
            [word, name, rest @ ..] if parse::is(word, "setname") => {
                check_word(name, "Client names")?;
                hello.name = Some(name);
                rest
            }
            [word, ..] => {
                let shown = String::from_utf8_lossy(word.get(..128).unwrap_or(word));
                return Err(Refusal::err(format_args!("Syntax error in HELLO option '{shown}'")));
            }
        }
    }
}

/// HELLO [2|3 [AUTH user password] [SETNAME name]]
///
/// All of it is checked before anything is changed.
pub(super) fn hello(call: &mut Call<'_>) -> Answer<Done> {
    let args = call.args;
    let hello = hello_options(&args[1..])?;
    if let Some((user, password)) = hello.user_and_password {
        check_password(call, user, password)?;
        call.session.is_authenticated = true;
    }
    if !call.session.is_authenticated {
        return Err(Refusal::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = hello.name {
        *call.client.facts.name.borrow_mut() = name.into();
    }
    if let Some(protocol) = hello.protocol {
        set_protocol(call, protocol);
    }
    let (id, protocol) = (call.client.id, call.session.output.protocol());
    let reply = call.reply();
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.unsigned(id);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(Done::Replied)
}

/// RESET: as if the client had just connected.
pub(super) fn reset(call: &mut Call<'_>) -> Answer<Done> {
    call.deliver_mail();
    call.server.hub.leave(call.client, &mut call.session.subscriptions);
    transaction::forget(call.session, call.client);
    call.session.is_authenticated = call.server.options.password.is_none();
    call.session.replies = Replies::On;
    let facts = &call.client.facts;
    *facts.name.borrow_mut() = Box::default();
    facts.no_evict.set(false);
    facts.no_touch.set(false);
    set_protocol(call, Protocol::Resp2);
    call.session.output.unmute();
    call.reply().simple("RESET");
    Ok(Done::Replied)
}

fn set_protocol(call: &mut Call<'_>, protocol: Protocol) {
    // Messages that wait are in the form that was in force when they came.
    call.deliver_mail();
    call.reply().set_protocol(protocol);
    call.client.facts.protocol.set(protocol);
}

/// Names stand in CLIENT LIST, where blanks part the fields.
pub(super) fn check_word(word: &[u8], what: &str) -> Answer {
    if word.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(Refusal::err(format_args!("{what} cannot contain spaces, newlines or special characters.")))
}
