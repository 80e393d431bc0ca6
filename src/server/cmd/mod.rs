//! The commands. One table is the only source for names, arity, flags, keys and docs; each family of
//! commands has a file, whose functions read arguments, do what is asked and write the reply.

mod client;
mod config;
mod connection;
mod debug;
mod drave;
mod drave_group;
mod expire;
mod info;
mod keys;
mod monitor;
mod object;
mod offload;
mod parse;
mod pubsub;
mod references;
mod server;
mod table;
mod transaction;
mod xack;
mod xadd;
mod xcfgset;
mod xclaim;
mod xdel;
mod xgroup;
mod xinfo;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
pub(super) mod xtrim;

use std::time::Instant;

use super::dispatch::Call;
use super::refusal::{Answer, Refusal};
use super::session::Waiting;

/// What a command does after it has run.
#[derive(Debug)]
pub(super) enum Done {
    /// The reply is written.
    Replied,
    /// It is written, and the last one.
    Close,
    /// There is nothing to reply yet.
    Wait {
        /// Tries again when one of its topics changes.
        command: Box<dyn Waiting>,
        /// When it gives up; `None` = never.
        limit: Option<Instant>,
    },
}

/// What runs a command.
pub(super) type Run = fn(&mut Call<'_>) -> Answer<Done>;

/// One command, or one subcommand.
#[derive(Debug)]
pub(super) struct Spec {
    /// In lower case; of a subcommand as `xgroup|create`.
    pub(super) name: &'static str,
    /// How many words, the name included; negative = at least so many.
    pub(super) arity: i32,
    pub(super) flags: Flags,
    pub(super) keys: Keys,
    pub(super) group: &'static str,
    /// The version of Redis that had it first, or `drave`.
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
    pub(super) subcommands: &'static [Spec],
    pub(super) run: Run,
}

/// Which arguments are keys, counted from the command's name: first, last (from the end if negative),
/// step. All 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys(pub(super) i32, pub(super) i32, pub(super) i32);

impl Keys {
    pub(super) const NONE: Keys = Keys(0, 0, 0);
    pub(super) const FIRST: Keys = Keys(1, 1, 1);
    /// Of a subcommand.
    pub(super) const SECOND: Keys = Keys(2, 2, 1);
    pub(super) const ALL: Keys = Keys(1, -1, 1);
}

/// What is true of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u32);

impl Flags {
    pub(super) const NONE: Flags = Flags(0);
    /// It reads topics.
    pub(super) const READ: Flags = Flags(1);
    /// It changes topics.
    pub(super) const WRITE: Flags = Flags(1 << 1);
    /// It may wait.
    pub(super) const BLOCKING: Flags = Flags(1 << 2);
    /// It takes the same time whatever there is.
    pub(super) const FAST: Flags = Flags(1 << 3);
    pub(super) const ADMIN: Flags = Flags(1 << 4);
    pub(super) const PUBSUB: Flags = Flags(1 << 5);
    /// It runs before the password was said.
    pub(super) const NO_AUTH: Flags = Flags(1 << 6);
    /// It runs while a RESP2 client is subscribed.
    pub(super) const WHILE_SUBSCRIBED: Flags = Flags(1 << 7);
    /// It runs at once within MULTI.
    pub(super) const UNQUEUED: Flags = Flags(1 << 8);
    /// It puts its record into a batch, and needs nothing of those before it.
    pub(super) const BATCHED: Flags = Flags(1 << 9);
    /// Where its keys are follows from its other arguments.
    pub(super) const MOVABLE_KEYS: Flags = Flags(1 << 10);
    /// EXEC does not run it.
    pub(super) const NO_MULTI: Flags = Flags(1 << 11);
    /// SLOWLOG does not show it: it has a password among its arguments, or others did its work.
    pub(super) const UNLOGGED: Flags = Flags(1 << 12);

    /// Whether any of these is set.
    pub(super) fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.and(other)
    }
}

impl Spec {
    /// Whether it takes so many words, its name included.
    pub(super) fn takes(&self, words: usize) -> bool {
        let arity = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// The keys among its words, where they follow from the table.
    pub(super) fn keys_in<'a>(&self, args: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Keys(first, last, step) = self.keys;
        let index = |number: i32| {
            let from_the_end = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
            if number < 0 { (args.len() + 1).saturating_sub(from_the_end) } else { from_the_end + 1 }
        };
        let (first, end) = (index(first).saturating_sub(1), index(last).min(args.len()));
        let range = if self.keys == Keys::NONE { 0..0 } else { first..end.max(first) };
        let step = usize::try_from(step).unwrap_or(1).max(1);
        args.get(range).unwrap_or_default().iter().step_by(step).copied()
    }
}

const READ: Flags = Flags::READ;
const WRITE: Flags = Flags::WRITE;
const FAST: Flags = Flags::FAST;
/// Before AUTH.
const HANDSHAKE: Flags = FAST.and(Flags::NO_AUTH);
/// Never queued: it ends what is queued, or the connection, or says that it cannot be.
const AT_ONCE: Flags = FAST.and(Flags::UNQUEUED);
/// While a RESP2 client is subscribed.
const LISTENING: Flags = Flags::PUBSUB.and(Flags::WHILE_SUBSCRIBED);

/// A command without subcommands.
const fn command(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: Keys,
    (group, since): (&'static str, &'static str),
    summary: &'static str,
    run: Run,
) -> Spec {
    Spec { name, arity, flags, keys, group, since, summary, subcommands: &[], run }
}

/// A command that does nothing without one of its subcommands.
const fn container(
    name: &'static str,
    (group, since): (&'static str, &'static str),
    summary: &'static str,
    subcommands: &'static [Spec],
) -> Spec {
    let run: Run = |call| Err(Refusal::wrong_arity(&String::from_utf8_lossy(call.arg(0)).to_lowercase()));
    Spec { name, arity: -2, flags: Flags::NONE, keys: Keys::NONE, group, since, summary, subcommands, run }
}

/// Every command, sorted by name.
#[rustfmt::skip] // A table: a line a command.
pub(super) const COMMANDS: &[Spec] = &[
    container("acl", ("server", "6.0.0"), "A container for Access List Control commands.", server::ACL),
    command("auth", -2, HANDSHAKE.and(Flags::UNLOGGED), Keys::NONE, ("connection", "1.0.0"), "Authenticates the connection.", connection::auth),
    container("client", ("connection", "2.4.0"), "A container for client connection commands.", client::SUBCOMMANDS),
    command("cluster", -2, Flags::NONE, Keys::NONE, ("cluster", "3.0.0"), "A container for Redis Cluster commands.", server::no_cluster),
    Spec { arity: -1, run: table::all, ..container("command", ("server", "2.8.13"), "Returns detailed information about all commands.", table::SUBCOMMANDS) },
    container("config", ("server", "2.0.0"), "A container for server configuration commands.", config::SUBCOMMANDS),
    command("dbsize", 1, READ.and(FAST), Keys::NONE, ("server", "1.0.0"), "Returns the number of keys in the database.", keys::dbsize),
    container("debug", ("server", "1.0.0"), "A container for debugging commands.", debug::SUBCOMMANDS),
    command("del", -2, WRITE, Keys::ALL, ("generic", "1.0.0"), "Deletes one or more keys.", keys::del),
    command("discard", 1, AT_ONCE, Keys::NONE, ("transactions", "2.0.0"), "Discards a transaction.", transaction::discard),
    container("drave.group", ("stream", "drave"), "A container for what consumer groups can do here.", drave_group::SUBCOMMANDS),
    command("drave.nack", -6, WRITE, Keys::FIRST, ("stream", "drave"), "Gives pending messages of a consumer group back, after a pause, or to the dead-letter topic.", drave_group::nack),
    command("drave.offset", 4, READ, Keys::FIRST, ("stream", "drave"), "Returns the ID of the record at an offset, or the offset of the first record whose ID is not lower.", drave::offset),
    command("drave.publish", -4, WRITE, Keys::FIRST, ("stream", "drave"), "Appends a record: with a key, as a tombstone, at a certain offset only, at a higher level of durability.", drave::publish),
    command("echo", 2, FAST, Keys::NONE, ("connection", "1.0.0"), "Returns the given string.", connection::echo),
    command("exec", 1, Flags::UNQUEUED.and(Flags::UNLOGGED), Keys::NONE, ("transactions", "1.2.0"), "Executes all commands in a transaction.", transaction::exec),
    command("exists", -2, READ.and(FAST), Keys::ALL, ("generic", "1.0.0"), "Determines whether one or more keys exist.", keys::exists),
    command("expire", -3, WRITE.and(FAST), Keys::FIRST, ("generic", "1.0.0"), "Sets the expiration time of a key in seconds.", expire::expire),
    command("expireat", -3, WRITE.and(FAST), Keys::FIRST, ("generic", "1.2.0"), "Sets the expiration time of a key to a Unix timestamp.", expire::expireat),
    command("expiretime", 2, READ.and(FAST), Keys::FIRST, ("generic", "7.0.0"), "Returns the expiration time of a key as a Unix timestamp.", expire::expiretime),
    command("flushall", -1, WRITE, Keys::NONE, ("server", "1.0.0"), "Removes all keys from all databases.", keys::flush),
    command("flushdb", -1, WRITE, Keys::NONE, ("server", "1.0.0"), "Remove all keys from the current database.", keys::flush),
    command("hello", -1, HANDSHAKE.and(Flags::UNLOGGED), Keys::NONE, ("connection", "6.0.0"), "Handshakes with the server.", connection::hello),
    command("info", -1, Flags::NONE, Keys::NONE, ("server", "1.0.0"), "Returns information and statistics about the server.", info::info),
    command("keys", 2, READ, Keys::NONE, ("generic", "1.0.0"), "Returns all key names that match a pattern.", keys::keys),
    command("lastsave", 1, FAST.and(Flags::ADMIN), Keys::NONE, ("server", "1.0.0"), "Returns the Unix timestamp of the last successful save to disk.", server::lastsave),
    container("latency", ("server", "2.8.13"), "A container for latency diagnostics commands.", monitor::LATENCY),
    container("memory", ("server", "4.0.0"), "A container for memory diagnostics commands.", monitor::MEMORY),
    command("multi", 1, AT_ONCE, Keys::NONE, ("transactions", "1.2.0"), "Starts a transaction.", transaction::multi),
    container("object", ("generic", "2.2.3"), "A container for object introspection commands.", object::SUBCOMMANDS),
    command("persist", 2, WRITE.and(FAST), Keys::FIRST, ("generic", "2.2.0"), "Removes the expiration time of a key.", expire::persist),
    command("pexpire", -3, WRITE.and(FAST), Keys::FIRST, ("generic", "2.6.0"), "Sets the expiration time of a key in milliseconds.", expire::pexpire),
    command("pexpireat", -3, WRITE.and(FAST), Keys::FIRST, ("generic", "2.6.0"), "Sets the expiration time of a key to a Unix milliseconds timestamp.", expire::pexpireat),
    command("pexpiretime", 2, READ.and(FAST), Keys::FIRST, ("generic", "7.0.0"), "Returns the expiration time of a key as a Unix milliseconds timestamp.", expire::pexpiretime),
    command("ping", -1, FAST.and(Flags::WHILE_SUBSCRIBED), Keys::NONE, ("connection", "1.0.0"), "Returns the server's liveliness response.", connection::ping),
    command("psubscribe", -2, LISTENING, Keys::NONE, ("pubsub", "2.0.0"), "Listens for messages published to channels that match one or more patterns.", pubsub::psubscribe),
    command("pttl", 2, READ.and(FAST), Keys::FIRST, ("generic", "2.6.0"), "Returns the expiration time in milliseconds of a key.", expire::pttl),
    command("publish", 3, FAST.and(Flags::PUBSUB), Keys::NONE, ("pubsub", "2.0.0"), "Posts a message to a channel.", pubsub::publish),
    container("pubsub", ("pubsub", "2.8.0"), "A container for Pub/Sub commands.", pubsub::SUBCOMMANDS),
    command("punsubscribe", -1, LISTENING, Keys::NONE, ("pubsub", "2.0.0"), "Stops listening to messages published to channels that match one or more patterns.", pubsub::punsubscribe),
    command("quit", -1, HANDSHAKE.and(AT_ONCE).and(Flags::WHILE_SUBSCRIBED), Keys::NONE, ("connection", "1.0.0"), "Closes the connection.", connection::quit),
    command("randomkey", 1, READ, Keys::NONE, ("generic", "1.0.0"), "Returns a random key name from the database.", keys::randomkey),
    command("readonly", 1, FAST, Keys::NONE, ("cluster", "3.0.0"), "Enables read-only queries for a connection to a Redis Cluster replica node.", server::no_cluster),
    command("readwrite", 1, FAST, Keys::NONE, ("cluster", "3.0.0"), "Enables read-write queries for a connection to a Redis Cluster replica node.", server::no_cluster),
    command("rename", 3, WRITE, Keys(1, 2, 1), ("generic", "1.0.0"), "Renames a key and overwrites the destination.", keys::rename),
    command("renamenx", 3, WRITE.and(FAST), Keys(1, 2, 1), ("generic", "1.0.0"), "Renames a key only when the target key name doesn't exist.", keys::renamenx),
    command("reset", 1, HANDSHAKE.and(AT_ONCE).and(Flags::WHILE_SUBSCRIBED), Keys::NONE, ("connection", "6.2.0"), "Resets the connection.", connection::reset),
    command("role", 1, FAST.and(Flags::ADMIN), Keys::NONE, ("server", "2.8.12"), "Returns the replication role.", server::role),
    command("scan", -2, READ, Keys::NONE, ("generic", "2.8.0"), "Iterates over the key names in the database.", keys::scan),
    command("select", 2, FAST, Keys::NONE, ("connection", "1.0.0"), "Changes the selected database.", connection::select),
    command("shutdown", -1, Flags::ADMIN.and(Flags::NO_MULTI), Keys::NONE, ("server", "1.0.0"), "Shuts down the server once what runs is finished and synced.", server::shutdown),
    container("slowlog", ("server", "2.2.12"), "A container for slow log commands.", monitor::SLOWLOG),
    command("spublish", 3, FAST.and(Flags::PUBSUB), Keys::FIRST, ("pubsub", "7.0.0"), "Posts a message to a shard channel.", pubsub::spublish),
    command("ssubscribe", -2, LISTENING, Keys::ALL, ("pubsub", "7.0.0"), "Listens for messages published to shard channels.", pubsub::ssubscribe),
    command("subscribe", -2, LISTENING, Keys::NONE, ("pubsub", "2.0.0"), "Listens for messages published to channels.", pubsub::subscribe),
    command("sunsubscribe", -1, LISTENING, Keys::ALL, ("pubsub", "7.0.0"), "Stops listening to messages posted to shard channels.", pubsub::sunsubscribe),
    command("time", 1, FAST, Keys::NONE, ("server", "2.6.0"), "Returns the server time.", server::time),
    command("touch", -2, READ.and(FAST), Keys::ALL, ("generic", "3.2.1"), "Returns the number of existing keys out of those specified after updating the time they were last accessed.", keys::touch),
    command("ttl", 2, READ.and(FAST), Keys::FIRST, ("generic", "1.0.0"), "Returns the expiration time in seconds of a key.", expire::ttl),
    command("type", 2, READ.and(FAST), Keys::FIRST, ("generic", "1.0.0"), "Determines the type of value stored at a key.", keys::kind),
    command("unlink", -2, WRITE.and(FAST), Keys::ALL, ("generic", "4.0.0"), "Asynchronously deletes one or more keys.", keys::del),
    command("unsubscribe", -1, LISTENING, Keys::NONE, ("pubsub", "2.0.0"), "Stops listening to messages posted to channels.", pubsub::unsubscribe),
    command("unwatch", 1, FAST, Keys::NONE, ("transactions", "2.2.0"), "Forgets about watched keys of a transaction.", transaction::unwatch),
    command("wait", 3, Flags::BLOCKING, Keys::NONE, ("generic", "3.0.0"), "Returns how many replicas have acknowledged earlier writes: there are none.", server::wait),
    command("waitaof", 4, Flags::BLOCKING, Keys::NONE, ("generic", "7.2.0"), "Blocks until what the connection has written is durable.", server::waitaof),
    command("watch", -2, AT_ONCE, Keys::ALL, ("transactions", "2.2.0"), "Monitors changes to keys to determine the execution of a transaction.", transaction::watch),
    command("xack", -4, WRITE.and(FAST), Keys::FIRST, ("stream", "5.0.0"), "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.", xack::xack),
    command("xackdel", -6, WRITE.and(FAST), Keys::FIRST, ("stream", "8.2.0"), "Acknowledges and deletes one or multiple messages for a stream consumer group.", xack::xackdel),
    command("xadd", -5, WRITE.and(FAST).and(Flags::BATCHED), Keys::FIRST, ("stream", "5.0.0"), "Appends a new message to a stream. Creates the key if it doesn't exist.", xadd::xadd),
    command("xautoclaim", -6, WRITE.and(FAST), Keys::FIRST, ("stream", "6.2.0"), "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member.", xclaim::xautoclaim),
    command("xcfgset", -2, WRITE.and(FAST), Keys::FIRST, ("stream", "8.6.0"), "Sets the IDMP configuration parameters for a stream.", xcfgset::xcfgset),
    command("xclaim", -6, WRITE.and(FAST), Keys::FIRST, ("stream", "5.0.0"), "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member.", xclaim::xclaim),
    command("xdel", -3, WRITE.and(FAST), Keys::FIRST, ("stream", "5.0.0"), "Returns the number of messages after removing them from a stream.", xdel::xdel),
    command("xdelex", -5, WRITE.and(FAST), Keys::FIRST, ("stream", "8.2.0"), "Deletes one or multiple entries from the stream.", xdel::xdelex),
    container("xgroup", ("stream", "5.0.0"), "A container for consumer groups commands.", xgroup::SUBCOMMANDS),
    container("xinfo", ("stream", "5.0.0"), "A container for stream introspection commands.", xinfo::SUBCOMMANDS),
    command("xlen", 2, READ.and(FAST), Keys::FIRST, ("stream", "5.0.0"), "Return the number of messages in a stream.", xrange::xlen),
    command("xnack", -7, WRITE.and(FAST), Keys::FIRST, ("stream", "8.8.0"), "Gives pending messages of a consumer group back, to be delivered again at once.", xack::xnack),
    command("xpending", -3, READ, Keys::FIRST, ("stream", "5.0.0"), "Returns the information and entries from a stream consumer group's pending entries list.", xpending::xpending),
    command("xrange", -4, READ, Keys::FIRST, ("stream", "5.0.0"), "Returns the messages from a stream within a range of IDs.", xrange::xrange),
    command("xread", -4, READ.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS), Keys::NONE, ("stream", "5.0.0"), "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise.", xread::xread),
    command("xreadgroup", -7, WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS), Keys::NONE, ("stream", "5.0.0"), "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise.", xreadgroup::xreadgroup),
    command("xrevrange", -4, READ, Keys::FIRST, ("stream", "5.0.0"), "Returns the messages from a stream within a range of IDs in reverse order.", xrange::xrevrange),
    command("xsetid", -3, WRITE.and(FAST), Keys::FIRST, ("stream", "5.0.0"), "An internal command for replicating stream values.", xdel::xsetid),
    command("xtrim", -4, WRITE, Keys::FIRST, ("stream", "5.0.0"), "Deletes messages from the beginning of a stream.", xtrim::xtrim),
];

/// The longest name is shorter.
const NAME_MAX: usize = 32;

/// The command that the words ask for.
pub(super) fn find(args: &[&[u8]]) -> Answer<&'static Spec> {
    let name = args.first().copied().unwrap_or_default();
    let spec = find_name(COMMANDS, name, 0).ok_or_else(|| unknown(args))?;
    if spec.subcommands.is_empty() || args.len() < 2 {
        return Ok(spec);
    }
    find_name(spec.subcommands, args[1], spec.name.len() + 1).ok_or_else(|| {
        let shown = String::from_utf8_lossy(args[1].get(..128).unwrap_or(args[1]));
        Refusal::err(format_args!("unknown subcommand '{shown}'. Try {} HELP.", spec.name.to_uppercase()))
    })
}

/// Looks for a name in a sorted table whose names have a prefix of this many bytes before it.
fn find_name(table: &'static [Spec], name: &[u8], prefix: usize) -> Option<&'static Spec> {
    let mut lower = [0; NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    table.binary_search_by(|spec| spec.name.as_bytes()[prefix..].cmp(lower)).ok().map(|index| &table[index])
}

/// `X HELP`: what its subcommands do, a line each and one for its words, as people read it.
fn help(call: &mut Call<'_>) -> Answer<Done> {
    let container = find_name(COMMANDS, call.arg(0), 0).ok_or_else(|| unknown(call.args))?;
    let title = container.name.to_uppercase();
    let reply = call.reply();
    reply.array(1 + container.subcommands.len() * 2);
    reply.simple(&format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for spec in container.subcommands {
        reply.simple(&spec.name[container.name.len() + 1..].to_uppercase());
        reply.simple(&format!("    {}", spec.summary));
    }
    Ok(Done::Replied)
}

/// The same for one whose subcommands have words of their own.
fn help_in_words(call: &mut Call<'_>, name: &str, lines: &[&str]) -> Answer<Done> {
    let reply = call.reply();
    reply.array(lines.len() + 3);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Print this help.");
    Ok(Done::Replied)
}

/// A subcommand that exists, with words that it does not take.
fn unknown_form(container: &str, subcommand: &[u8]) -> Refusal {
    let shown = String::from_utf8_lossy(subcommand.get(..128).unwrap_or(subcommand));
    Refusal::err(format_args!("unknown subcommand or wrong number of arguments for '{shown}'. Try {container} HELP."))
}

/// As Redis words it: some clients match on it.
fn unknown(args: &[&[u8]]) -> Refusal {
    let shown = |arg: &[u8]| String::from_utf8_lossy(arg.get(..128).unwrap_or(arg)).into_owned();
    let name = args.first().copied().map(shown).unwrap_or_default();
    let mut text = format!("unknown command '{name}'");
    if args.len() > 1 {
        text.push_str(", with args beginning with: ");
        for arg in args.iter().skip(1) {
            if text.len() > 256 {
                break;
            }
            text.push_str(&format!("'{}' ", shown(arg)));
        }
    }
    Refusal::err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_names_short() {
        fn check(table: &[Spec]) {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
            for spec in table {
                assert!(spec.name.len() < NAME_MAX && spec.name.to_ascii_lowercase() == spec.name, "{}", spec.name);
                check(spec.subcommands);
            }
        }
        check(COMMANDS);
    }

    #[test]
    fn keys_are_where_the_table_says() {
        let keys = |line: &str| -> Vec<String> {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let spec = find(&args).expect("known");
            spec.keys_in(&args).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
        };
        assert_eq!(keys("XADD s * a b"), ["s"]);
        assert_eq!(keys("WATCH a b c"), ["a", "b", "c"]);
        assert_eq!(keys("MEMORY USAGE k SAMPLES 5"), ["k"]);
        for none in ["PING a", "SUNSUBSCRIBE", "WATCH", "XADD"] {
            assert!(keys(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_unknown_ones_are_worded_as_clients_expect() {
        assert_eq!(find(&[b"xAdD", b"s"]).expect("known").name, "xadd");
        let refused = |args: &[&[u8]]| find(args).expect_err("unknown").as_str().to_owned();
        assert_eq!(refused(&[b"LPUSH"]), "ERR unknown command 'LPUSH'");
        assert_eq!(refused(&[b"SET", b"a", b"1"]), "ERR unknown command 'SET', with args beginning with: 'a' '1' ");
        assert!(find(&[&[b'x'; 1000]]).is_err());
    }
}
