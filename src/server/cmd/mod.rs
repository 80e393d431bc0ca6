//! The commands. One table is the only source for names, arity, flags, keys and docs; each family of
//! commands has a file, whose functions read arguments, do what is asked and write the reply.

mod connection;
mod drave;
mod drave_group;
mod offload;
mod parse;
mod references;
mod xack;
mod xadd;
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

const READ: Flags = Flags::READ;
const WRITE: Flags = Flags::WRITE;
const FAST: Flags = Flags::FAST;
/// Of a connection's own business: before AUTH, in the middle of everything.
const HANDSHAKE: Flags = FAST.and(Flags::NO_AUTH).and(Flags::UNQUEUED);

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

/// A command that is nothing without a subcommand.
const fn container(
    name: &'static str,
    (group, since): (&'static str, &'static str),
    summary: &'static str,
    subcommands: &'static [Spec],
) -> Spec {
    Spec { name, arity: -2, flags: Flags::NONE, keys: Keys::NONE, group, since, summary, subcommands, run: lacks_subcommand }
}

fn lacks_subcommand(call: &mut Call<'_>) -> Answer<Done> {
    Err(Refusal::wrong_arity(&String::from_utf8_lossy(call.arg(0)).to_lowercase()))
}

/// Replies what a container's HELP says.
fn help(call: &mut Call<'_>, name: &str, lines: &[&str]) -> Answer<Done> {
    let reply = call.reply();
    reply.array(lines.len() + 3);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Print this help.");
    Ok(Done::Replied)
}

/// Every command, sorted by name.
pub(super) const COMMANDS: &[Spec] = &[
    container("drave.group", ("stream", "drave"), "A container for what consumer groups can do here.", drave_group::SUBCOMMANDS),
    command(
        "drave.nack",
        -6,
        WRITE,
        Keys::FIRST,
        ("stream", "drave"),
        "Gives pending messages of a consumer group back, after a pause, or to the dead-letter topic.",
        drave_group::nack,
    ),
    command(
        "drave.offset",
        4,
        READ,
        Keys::FIRST,
        ("stream", "drave"),
        "Returns the ID of the record at an offset, or the offset of the first record whose ID is not lower.",
        drave::offset,
    ),
    command(
        "drave.publish",
        -4,
        WRITE,
        Keys::FIRST,
        ("stream", "drave"),
        "Appends a record: with a key, as a tombstone, at a certain offset only, at a higher level of durability.",
        drave::publish,
    ),
    command("echo", 2, FAST, Keys::NONE, ("connection", "1.0.0"), "Returns the given string.", connection::echo),
    command(
        "ping",
        -1,
        FAST.and(Flags::WHILE_SUBSCRIBED),
        Keys::NONE,
        ("connection", "1.0.0"),
        "Returns the server's liveliness response.",
        connection::ping,
    ),
    command(
        "quit",
        -1,
        HANDSHAKE.and(Flags::WHILE_SUBSCRIBED),
        Keys::NONE,
        ("connection", "1.0.0"),
        "Closes the connection.",
        connection::quit,
    ),
    command(
        "xack",
        -4,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.",
        xack::xack,
    ),
    command(
        "xackdel",
        -6,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "8.2.0"),
        "Acknowledges and deletes one or multiple messages for a stream consumer group.",
        xack::xackdel,
    ),
    command(
        "xadd",
        -5,
        WRITE.and(FAST).and(Flags::BATCHED),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Appends a new message to a stream. Creates the key if it doesn't exist.",
        xadd::xadd,
    ),
    command(
        "xautoclaim",
        -6,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "6.2.0"),
        "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member.",
        xclaim::xautoclaim,
    ),
    command(
        "xclaim",
        -6,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member.",
        xclaim::xclaim,
    ),
    command(
        "xdel",
        -3,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Returns the number of messages after removing them from a stream.",
        xdel::xdel,
    ),
    command(
        "xdelex",
        -5,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "8.2.0"),
        "Deletes one or multiple entries from the stream.",
        xdel::xdelex,
    ),
    container("xgroup", ("stream", "5.0.0"), "A container for consumer groups commands.", xgroup::SUBCOMMANDS),
    container("xinfo", ("stream", "5.0.0"), "A container for stream introspection commands.", xinfo::SUBCOMMANDS),
    command(
        "xlen",
        2,
        READ.and(FAST),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Return the number of messages in a stream.",
        xrange::xlen,
    ),
    command(
        "xnack",
        -7,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "8.8.0"),
        "Gives pending messages of a consumer group back, to be delivered again at once.",
        xack::xnack,
    ),
    command(
        "xpending",
        -3,
        READ,
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Returns the information and entries from a stream consumer group's pending entries list.",
        xpending::xpending,
    ),
    command(
        "xrange",
        -4,
        READ,
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Returns the messages from a stream within a range of IDs.",
        xrange::xrange,
    ),
    command(
        "xread",
        -4,
        READ.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
        Keys::NONE,
        ("stream", "5.0.0"),
        "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise.",
        xread::xread,
    ),
    command(
        "xreadgroup",
        -7,
        WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
        Keys::NONE,
        ("stream", "5.0.0"),
        "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise.",
        xreadgroup::xreadgroup,
    ),
    command(
        "xrevrange",
        -4,
        READ,
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Returns the messages from a stream within a range of IDs in reverse order.",
        xrange::xrevrange,
    ),
    command(
        "xsetid",
        -3,
        WRITE.and(FAST),
        Keys::FIRST,
        ("stream", "5.0.0"),
        "An internal command for replicating stream values.",
        xdel::xsetid,
    ),
    command(
        "xtrim",
        -4,
        WRITE,
        Keys::FIRST,
        ("stream", "5.0.0"),
        "Deletes messages from the beginning of a stream.",
        xtrim::xtrim,
    ),
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
    fn names_are_found_in_any_case_and_unknown_ones_are_worded_as_clients_expect() {
        assert_eq!(find(&[b"xAdD", b"s"]).expect("known").name, "xadd");
        let refused = |args: &[&[u8]]| find(args).expect_err("unknown").as_str().to_owned();
        assert_eq!(refused(&[b"LPUSH"]), "ERR unknown command 'LPUSH'");
        assert_eq!(refused(&[b"SET", b"a", b"1"]), "ERR unknown command 'SET', with args beginning with: 'a' '1' ");
        assert!(find(&[&[b'x'; 1000]]).is_err());
    }
}
