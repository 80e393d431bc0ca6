//! COMMAND: the table of commands, as clients read it.

use super::{COMMANDS, Done, Flags, Keys, Spec, command, find, find_name, help, parse};
use crate::codec::resp::{Reply, glob};
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal, SYNTAX};

const NONE: Flags = Flags::NONE;
const fn since(version: &'static str) -> (&'static str, &'static str) {
    ("server", version)
}

/// What COMMAND does.
#[rustfmt::skip] // A table.
pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("command|count", 2, NONE, Keys::NONE, since("2.8.13"), "Returns a count of commands.", count),
    command("command|docs", -2, NONE, Keys::NONE, since("7.0.0"), "Returns documentary information about one, multiple or all commands.", docs),
    command("command|getkeys", -3, NONE, Keys::NONE, since("2.8.13"), "Extracts the key names from an arbitrary command.", getkeys),
    command("command|getkeysandflags", -3, NONE, Keys::NONE, since("7.0.0"), "Extracts the key names and access flags for an arbitrary command.", getkeysandflags),
    command("command|help", 2, NONE, Keys::NONE, since("5.0.0"), "Returns helpful text about the different subcommands.", help),
    command("command|info", -2, NONE, Keys::NONE, since("2.8.13"), "Returns information about one, multiple or all commands.", info),
    command("command|list", -2, NONE, Keys::NONE, since("7.0.0"), "Returns a list of command names.", list),
];

/// COMMAND
pub(super) fn all(call: &mut Call<'_>) -> Answer<Done> {
    let reply = call.reply();
    reply.array(COMMANDS.len());
    COMMANDS.iter().for_each(|spec| put_info(reply, spec));
    Ok(Done::Replied)
}

fn count(call: &mut Call<'_>) -> Answer<Done> {
    call.reply().unsigned(COMMANDS.len() as u64);
    Ok(Done::Replied)
}

/// A command, or a subcommand as in `xgroup|create`.
fn named(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|byte| *byte == b'|') {
        None => find_name(COMMANDS, name, 0),
        Some(at) => find_name(find_name(COMMANDS, &name[..at], 0)?.subcommands, &name[at + 1..], at + 1),
    }
}

/// COMMAND INFO [name ...]
fn info(call: &mut Call<'_>) -> Answer<Done> {
    let names = &call.args[2..];
    if names.is_empty() {
        return all(call);
    }
    let reply = call.session.output.reply();
    reply.array(names.len());
    for name in names {
        match named(name) {
            Some(spec) => put_info(reply, spec),
            None => reply.null_array(),
        }
    }
    Ok(Done::Replied)
}

fn put_info(reply: &mut Reply, spec: &Spec) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(i64::from(spec.arity));
    put_set(reply, &flags(spec));
    let Keys(first, last, step) = if spec.flags.has(Flags::MOVABLE_KEYS) { Keys::NONE } else { spec.keys };
    [first, last, step].into_iter().for_each(|number| reply.integer(i64::from(number)));
    put_set(reply, &categories(spec));
    // No tips: there is one server.
    reply.array(0);
    put_key_specs(reply, spec);
    reply.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|spec| put_info(reply, spec));
}

fn put_set<T: AsRef<str>>(reply: &mut Reply, words: &[T]) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word.as_ref()));
}

/// Flags by the names that Redis gives them.
fn flags(spec: &Spec) -> Vec<&'static str> {
    let names = [
        (Flags::WRITE, "write"),
        (Flags::READ, "readonly"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::BLOCKING, "blocking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::UNLOGGED, "skip_slowlog"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
        (Flags::NO_MULTI, "no_multi"),
    ];
    names.into_iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| name).collect()
}

/// The categories by which access to commands is given.
fn categories(spec: &Spec) -> Vec<&'static str> {
    let mut found = Vec::new();
    let by_flag = [
        (Flags::WRITE, "@write"),
        (Flags::READ, "@read"),
        (Flags::ADMIN, "@admin"),
        (Flags::ADMIN, "@dangerous"),
        (Flags::BLOCKING, "@blocking"),
    ];
    found.extend(by_flag.into_iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| name));
    found.push(if spec.flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    match spec.group {
        "connection" => found.push("@connection"),
        "generic" => found.push("@keyspace"),
        "pubsub" => found.push("@pubsub"),
        "stream" => found.push("@stream"),
        "transactions" => found.push("@transaction"),
        _ => {}
    }
    found
}

fn access(spec: &Spec) -> &'static [&'static str] {
    match () {
        () if spec.flags.has(Flags::WRITE) => &["RW", "update"],
        () if spec.flags.has(Flags::READ) => &["RO", "access"],
        // Of channels, or of keys that are only looked at.
        () => &["RO"],
    }
}

/// Where the keys are.
fn put_key_specs(reply: &mut Reply, spec: &Spec) {
    if spec.keys == Keys::NONE && !spec.flags.has(Flags::MOVABLE_KEYS) {
        reply.array(0);
        return;
    }
    reply.array(1);
    reply.map(3);
    reply.bulk(b"flags");
    put_set(reply, access(spec));
    reply.bulk(b"begin_search");
    let Keys(first, last, step) = spec.keys;
    reply.map(2);
    reply.bulk(b"type");
    if spec.flags.has(Flags::MOVABLE_KEYS) {
        reply.bulk(b"keyword");
        reply.bulk(b"spec");
        reply.map(2);
        reply.bulk(b"keyword");
        reply.bulk(b"STREAMS");
        put_number(reply, "startfrom", 1);
        put_range(reply, -1, 1, 2);
    } else {
        reply.bulk(b"index");
        reply.bulk(b"spec");
        reply.map(1);
        put_number(reply, "index", first);
        // Counted from the first one, or from the end.
        put_range(reply, if last < 0 { last } else { last - first }, step, 0);
    }
}

fn put_range(reply: &mut Reply, last: i32, step: i32, limit: i32) {
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    put_number(reply, "lastkey", last);
    put_number(reply, "keystep", step);
    put_number(reply, "limit", limit);
}

fn put_number(reply: &mut Reply, name: &str, number: i32) {
    reply.bulk(name.as_bytes());
    reply.integer(i64::from(number));
}

/// COMMAND DOCS [name ...]
fn docs(call: &mut Call<'_>) -> Answer<Done> {
    let names = &call.args[2..];
    let specs: Vec<&Spec> =
        if names.is_empty() { COMMANDS.iter().collect() } else { names.iter().filter_map(|name| named(name)).collect() };
    put_docs(call.session.output.reply(), &specs);
    Ok(Done::Replied)
}

fn put_docs(reply: &mut Reply, specs: &[&Spec]) {
    reply.map(specs.len());
    for spec in specs {
        reply.bulk(spec.name.as_bytes());
        reply.map(3 + usize::from(!spec.subcommands.is_empty()));
        for (name, text) in [("summary", spec.summary), ("since", spec.since), ("group", spec.group)] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if !spec.subcommands.is_empty() {
            reply.bulk(b"subcommands");
            put_docs(reply, &spec.subcommands.iter().collect::<Vec<_>>());
        }
    }
}

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
fn list(call: &mut Call<'_>) -> Answer<Done> {
    let all = || COMMANDS.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let found: Vec<&Spec> = match call.args.get(2..).unwrap_or_default() {
        [] => COMMANDS.iter().collect(),
        // There are no modules.
        [by, kind, _] if parse::is(by, "filterby") && parse::is(kind, "module") => Vec::new(),
        [by, kind, name] if parse::is(by, "filterby") && parse::is(kind, "aclcat") => {
            let is_it = |category: &&str| parse::is(name, category.trim_start_matches('@'));
            all().filter(|spec| categories(spec).iter().any(is_it)).collect()
        }
        [by, kind, pattern] if parse::is(by, "filterby") && parse::is(kind, "pattern") => {
            let pattern = pattern.to_ascii_lowercase();
            all().filter(|spec| glob::matches(&pattern, spec.name.as_bytes())).collect()
        }
        _ => return Err(SYNTAX),
    };
    let reply = call.reply();
    reply.array(found.len());
    found.iter().for_each(|spec| reply.bulk(spec.name.as_bytes()));
    Ok(Done::Replied)
}

/// The keys among the words of a command.
fn keys<'a>(args: &'a [&'a [u8]]) -> Answer<(&'static Spec, Vec<&'a [u8]>)> {
    let spec = find(args).map_err(|_| Refusal::text("ERR Invalid command specified"))?;
    if spec.keys == Keys::NONE && !spec.flags.has(Flags::MOVABLE_KEYS) {
        return Err(Refusal::text("ERR The command has no key arguments"));
    }
    if !spec.takes(args.len()) {
        return Err(Refusal::text("ERR Invalid number of arguments specified for command"));
    }
    let invalid = Refusal::text("ERR Invalid arguments specified for command");
    if spec.flags.has(Flags::MOVABLE_KEYS) {
        // As many keys as there are IDs behind them.
        let at = args.iter().position(|arg| parse::is(arg, "streams")).ok_or(invalid.clone())?;
        let rest = &args[at + 1..];
        if rest.is_empty() || !rest.len().is_multiple_of(2) {
            return Err(invalid);
        }
        return Ok((spec, rest[..rest.len() / 2].to_vec()));
    }
    let found: Vec<&[u8]> = spec.keys_in(args).collect();
    if found.is_empty() { Err(invalid) } else { Ok((spec, found)) }
}

/// COMMAND GETKEYS command [argument ...]
fn getkeys(call: &mut Call<'_>) -> Answer<Done> {
    let (_, keys) = keys(&call.args[2..])?;
    let reply = call.session.output.reply();
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(Done::Replied)
}

/// COMMAND GETKEYSANDFLAGS command [argument ...]
fn getkeysandflags(call: &mut Call<'_>) -> Answer<Done> {
    let (spec, keys) = keys(&call.args[2..])?;
    let reply = call.session.output.reply();
    reply.array(keys.len());
    for key in keys {
        reply.array(2);
        reply.bulk(key);
        put_set(reply, access(spec));
    }
    Ok(Done::Replied)
}
