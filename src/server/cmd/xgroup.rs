//! XGROUP: groups and their consumers, made and ended.

use std::rc::Rc;
use std::sync::Arc;

use super::offload::offload;
use super::{Done, FAST, Keys, Spec, WRITE, command, help_in_words, parse};
use crate::broker::{SharedGroup, Start};
use crate::codec::group_event::GroupSettings;
use crate::error::Error;
use crate::ids::{GroupName, Place, RecordId};
use crate::job::Job;
use crate::server::dispatch::Call;
use crate::server::groups::{self, Group};
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal};
use crate::server::topics::Entry;

const STREAM: (&str, &str) = ("stream", "5.0.0");

pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("xgroup|create", -5, WRITE, Keys::SECOND, STREAM, "Creates a consumer group.", create),
    command(
        "xgroup|createconsumer",
        5,
        WRITE,
        Keys::SECOND,
        ("stream", "6.2.0"),
        "Creates a consumer in a consumer group.",
        create_consumer,
    ),
    command("xgroup|delconsumer", 5, WRITE, Keys::SECOND, STREAM, "Deletes a consumer from a consumer group.", delete_consumer),
    command("xgroup|destroy", 4, WRITE, Keys::SECOND, STREAM, "Destroys a consumer group.", destroy),
    command("xgroup|help", 2, FAST, Keys::NONE, STREAM, "Returns helpful text about the different subcommands.", show_help),
    command("xgroup|setid", -5, WRITE, Keys::SECOND, STREAM, "Sets the last-delivered ID of a consumer group.", set_id),
];

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

fn show_help(call: &mut Call<'_>) -> Answer<Done> {
    help_in_words(call, "XGROUP", HELP)
}

/// What stands behind the ID.
#[derive(Debug, Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

fn options(args: &[&[u8]], may_make: bool) -> Answer<Options> {
    let mut options = Options::default();
    let mut at = 5;
    while let Some(arg) = args.get(at) {
        if may_make && parse::is(arg, "mkstream") {
            options.make_stream = true;
            at += 1;
        } else if parse::is(arg, "entriesread")
            && let Some(value) = args.get(at + 1)
        {
            options.entries_read = match parse::integer(value)? {
                -1 => None,
                count => {
                    let text = "ERR value for ENTRIESREAD must be positive or -1";
                    Some(u64::try_from(count).map_err(|_| Refusal::text(text))?)
                }
            };
            at += 2;
        } else {
            let shown = String::from_utf8_lossy(args[1]);
            let text = format_args!("unknown subcommand or wrong number of arguments for '{shown}'. Try XGROUP HELP.");
            return Err(Refusal::err(text));
        }
    }
    Ok(options)
}

/// That the topic has to be there.
pub(super) fn no_key() -> Refusal {
    Refusal::text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to \
         create an empty stream automatically.",
    )
}

/// That there is no such group of a topic that there is.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Refusal {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Refusal::with_prefix(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

/// The topic and the group, which both have to exist.
fn existing(call: &Call<'_>) -> Answer<(Rc<Entry>, Rc<Group>)> {
    let (key, name) = (call.arg(2), call.arg(3));
    let entry = call.server.topics.find(call.server, key)?.ok_or_else(no_key)?;
    let group = entry.groups.find(call.server, &entry, name)?;
    group.map(|group| (entry, group)).ok_or_else(|| no_group(key, name))
}

/// Which ID: `$` is the last one now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Last,
    Behind(RecordId),
}

impl Wanted {
    pub(super) fn read(arg: &[u8]) -> Answer<Wanted> {
        if arg == b"$" { Ok(Wanted::Last) } else { parse::id(arg, 0).map(Wanted::Behind) }
    }
}

/// Where a group stands behind this ID.
pub(super) fn start(entry: &Entry, wanted: Wanted, entries_read: Option<u64>) -> Answer<Start> {
    let log = entry.log();
    let (epoch, counters) = (log.epoch(), log.counters());
    let last_id = match wanted {
        Wanted::Last => counters.last_id,
        Wanted::Behind(id) => id,
    };
    let offset = match last_id.successor() {
        Some(first) if last_id < counters.last_id => reading::find(entry, first)?,
        _ => log.visible_end(),
    };
    let entries_read = entries_read.map(|read| read.min(counters.entries_added));
    Ok(Start { place: Place { offset, epoch }, last_id, entries_read })
}

fn create(call: &mut Call<'_>) -> Answer<Done> {
    let options = options(call.args, true)?;
    // Redis has no dead letters: what nobody acks is tried for ever.
    let settings = GroupSettings { attempts_max: None, ..GroupSettings::default() };
    make(call, settings, options.entries_read, options.make_stream)
}

/// Makes a group, on another thread: its files are synced.
pub(super) fn make(call: &mut Call<'_>, settings: GroupSettings, entries_read: Option<u64>, make_stream: bool) -> Answer<Done> {
    let (key, name) = (call.arg(2), call.arg(3));
    let found = call.server.topics.find(call.server, key)?;
    if found.is_none() && !make_stream {
        return Err(no_key());
    }
    let wanted = Wanted::read(call.arg(4))?;
    let too_long = || Refusal::err(format_args!("a group's name has 1 to {} bytes", GroupName::BYTES_MAX));
    let group = GroupName::new(name).ok_or_else(too_long)?;
    let entry = match found {
        Some(entry) => entry,
        None => call.server.topics.find_or_new(call.server, key)?,
    };
    let start = start(&entry, wanted, entries_read)?;
    let (store, topic) = (call.server.store, Arc::clone(&entry.topic));
    let work = move || SharedGroup::create(store, &topic, &group, &settings, &start, &Job::new());
    offload(call, work, move |_, is_new, reply| {
        if !is_new {
            return Err(Refusal::text("BUSYGROUP Consumer Group name already exists"));
        }
        entry.touch();
        reply.ok();
        Ok(())
    })
}

fn set_id(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let options = options(call.args, false)?;
    let (entry, group) = existing(call)?;
    let wanted = match call.arg(4) {
        b"-" => Wanted::Behind(RecordId::ZERO),
        b"+" => Wanted::Behind(parse::ID_MAX),
        id => Wanted::read(id)?,
    };
    let start = start(&entry, wanted, options.entries_read)?;
    group.shared.borrow_mut().go_to(&start, true).map_err(|error| gone(call, error))?;
    call.reply().ok();
    group.owe(call, &entry, from)?;
    call.server.waiters.wake(call.arg(2));
    Ok(Done::Replied)
}

fn gone(call: &Call<'_>, error: Error) -> Refusal {
    groups::gone_or(error, || no_group(call.arg(2), call.arg(3)))
}

fn destroy(call: &mut Call<'_>) -> Answer<Done> {
    let (key, name) = (call.arg(2), call.arg(3));
    let entry = call.server.topics.find(call.server, key)?.ok_or_else(no_key)?;
    let Some(group) = GroupName::new(name) else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    entry.groups.forget(name);
    let (store, topic) = (call.server.store, Arc::clone(&entry.topic));
    let work = move || match store.delete_group(&topic, &group, &Job::new()) {
        Ok(()) => Ok(true),
        Err(Error::NameMissing { .. } | Error::TopicGone { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    offload(call, work, move |server, was_there, reply| {
        reply.integer(i64::from(was_there));
        if was_there {
            entry.touch();
            server.waiters.wake(entry.name.as_bytes());
        }
        Ok(())
    })
}

fn create_consumer(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (entry, group) = existing(call)?;
    let made = (|| {
        let mut shared = group.shared.borrow_mut();
        shared.look()?;
        shared.consumer(call.arg(4))
    })();
    let (_, is_new) = made.map_err(|error| gone(call, error))?;
    call.reply().integer(i64::from(is_new));
    if is_new {
        group.owe(call, &entry, from)?;
    }
    Ok(Done::Replied)
}

fn delete_consumer(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (entry, group) = existing(call)?;
    let removed = group.shared.borrow_mut().remove_consumer(call.arg(4));
    let count = removed.map_err(|error| gone(call, error))?;
    call.reply().unsigned(count);
    group.owe(call, &entry, from)?;
    Ok(Done::Replied)
}
