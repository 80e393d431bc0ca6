//! OBJECT: what Redis tells of the value at a key.

use super::{Done, Flags, Keys, READ, Spec, command};
use crate::codec::resp::Reply;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal};

const GROUP: &str = "generic";

pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("object|encoding", 3, READ, Keys::SECOND, (GROUP, "2.2.3"), "Returns the internal encoding of a key.", encoding),
    command(
        "object|freq",
        3,
        READ,
        Keys::SECOND,
        (GROUP, "4.0.0"),
        "Returns the logarithmic access frequency counter of a key.",
        freq,
    ),
    command(
        "object|help",
        2,
        Flags::NONE,
        Keys::NONE,
        (GROUP, "6.2.0"),
        "Returns helpful text about the different subcommands.",
        help,
    ),
    command(
        "object|idletime",
        3,
        READ,
        Keys::SECOND,
        (GROUP, "2.2.3"),
        "Returns the time since the last access to a key.",
        idletime,
    ),
    command(
        "object|refcount",
        3,
        READ,
        Keys::SECOND,
        (GROUP, "2.2.3"),
        "Returns the reference count of a value of a key.",
        refcount,
    ),
];

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Print this help.",
];

fn help(call: &mut Call<'_>) -> Answer<Done> {
    let reply = call.reply();
    reply.array(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
    Ok(Done::Replied)
}

/// Nothing, for a key that does not exist.
fn tell(call: &mut Call<'_>, put: impl FnOnce(&mut Reply)) -> Answer<Done> {
    if call.server.topics.exists(call.server, call.arg(2))? {
        put(call.reply());
    } else {
        call.reply().null();
    }
    Ok(Done::Replied)
}

fn encoding(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, |reply| reply.bulk(b"stream"))
}

/// Nobody but the store refers to a topic.
fn refcount(call: &mut Call<'_>) -> Answer<Done> {
    tell(call, |reply| reply.integer(1))
}

/// Since a command of this server has last used it: a topic that is not in hand was not used for as long
/// as the server runs, or has been let go.
fn idletime(call: &mut Call<'_>) -> Answer<Done> {
    let since = call.server.topics.in_hand(call.arg(2)).map_or(call.server.stats.started, |entry| entry.used_at());
    tell(call, |reply| reply.unsigned(since.elapsed().as_secs()))
}

fn freq(call: &mut Call<'_>) -> Answer<Done> {
    if call.server.topics.exists(call.server, call.arg(2))? {
        return Err(Refusal::text(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    call.reply().null();
    Ok(Done::Replied)
}
