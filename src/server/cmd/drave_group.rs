//! What groups can do that Redis has no words for: DRAVE.GROUP, DRAVE.NACK.

use std::rc::Rc;

use super::xgroup::{Wanted, make, no_group, no_key, start};
use super::{Done, FAST, Keys, READ, Spec, WRITE, command, help_in_words, parse};
use crate::codec::group_event::GroupSettings;
use crate::error::Error;
use crate::server::dispatch::Call;
use crate::server::groups::{self, Group};
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::topics::Entry;

const DRAVE: (&str, &str) = ("stream", "drave");

pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("drave.group|create", -5, WRITE, Keys::SECOND, DRAVE, "Creates a consumer group with settings.", create),
    command("drave.group|help", 2, FAST, Keys::NONE, DRAVE, "Returns helpful text about the different subcommands.", show_help),
    command("drave.group|pause", 4, WRITE, Keys::SECOND, DRAVE, "Stops the deliveries of a consumer group.", pause),
    command("drave.group|resume", 4, WRITE, Keys::SECOND, DRAVE, "Resumes the deliveries of a consumer group.", resume),
    command("drave.group|seek", 5, WRITE, Keys::SECOND, DRAVE, "Sends a group behind an ID; nothing is pending then.", seek),
    command("drave.group|set", -6, WRITE, Keys::SECOND, DRAVE, "Puts settings of a consumer group in force.", set),
    command("drave.group|show", 4, READ, Keys::SECOND, DRAVE, "Returns the settings of a consumer group.", show),
];

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [MKSTREAM] [<setting> <value> ...]",
    "    Create a consumer group. Settings are order, assign, lease, max-attempts, backoff, no-ack, paused.",
    "PAUSE <key> <groupname>",
    "    Deliver nothing until the group is resumed.",
    "RESUME <key> <groupname>",
    "    Go on.",
    "SEEK <key> <groupname> <id|$>",
    "    Send the group behind an ID. What is pending is dropped.",
    "SET <key> <groupname> <setting> <value> [<setting> <value> ...]",
    "    Put settings in force. An empty value is the default.",
    "SHOW <key> <groupname>",
    "    Show the settings in force.",
];

fn show_help(call: &mut Call<'_>) -> Answer<Done> {
    help_in_words(call, "DRAVE.GROUP", HELP)
}

/// Reads settings by name, on top of others.
fn with_settings(mut settings: GroupSettings, pairs: &[&[u8]]) -> Answer<GroupSettings> {
    for pair in pairs.chunks(2) {
        let [name, value] = pair else { return Err(SYNTAX) };
        let (name, value) = (String::from_utf8_lossy(name).to_lowercase(), String::from_utf8_lossy(value));
        settings.set(&name, &value).map_err(Refusal::err)?;
    }
    Ok(settings)
}

fn create(call: &mut Call<'_>) -> Answer<Done> {
    let make_stream = call.args.get(5).is_some_and(|word| parse::is(word, "mkstream"));
    let settings = with_settings(
        GroupSettings { attempts_max: None, ..GroupSettings::default() },
        &call.args[if make_stream { 6 } else { 5 }..],
    )?;
    make(call, settings, None, make_stream)
}

fn existing(call: &Call<'_>) -> Answer<(Rc<Entry>, Rc<Group>)> {
    let (key, name) = (call.arg(2), call.arg(3));
    let entry = call.server.topics.find(call.server, key)?.ok_or_else(no_key)?;
    let group = entry.groups.find(call.server, &entry, name)?.ok_or_else(|| no_group(key, name))?;
    group.shared.borrow_mut().look().map_err(|error| gone(call, error))?;
    Ok((entry, group))
}

fn gone(call: &Call<'_>, error: Error) -> Refusal {
    groups::gone_or(error, || no_group(call.arg(2), call.arg(3)))
}

/// Says OK once it is stored, and has those look who wait.
fn done(call: &mut Call<'_>, entry: &Rc<Entry>, group: &Rc<Group>) -> Answer<Done> {
    let from = call.reply().len();
    call.reply().ok();
    group.owe(call, entry, from)?;
    call.server.waiters.wake(call.arg(2));
    Ok(Done::Replied)
}

fn set(call: &mut Call<'_>) -> Answer<Done> {
    let (entry, group) = existing(call)?;
    let settings = with_settings(group.shared.borrow().state().settings().clone(), &call.args[4..])?;
    let configured = group.shared.borrow_mut().configure(&settings);
    configured.map_err(|error| gone(call, error))?;
    done(call, &entry, &group)
}

fn show(call: &mut Call<'_>) -> Answer<Done> {
    let (_, group) = existing(call)?;
    let shared = group.shared.borrow();
    let settings: Vec<(&str, String)> = shared.state().settings().iter().collect();
    let reply = call.reply();
    reply.map(settings.len());
    for (name, value) in settings {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(Done::Replied)
}

fn pause(call: &mut Call<'_>) -> Answer<Done> {
    set_paused(call, true)
}

fn resume(call: &mut Call<'_>) -> Answer<Done> {
    set_paused(call, false)
}

fn set_paused(call: &mut Call<'_>, paused: bool) -> Answer<Done> {
    let (entry, group) = existing(call)?;
    let set = group.shared.borrow_mut().pause(paused);
    set.map_err(|error| gone(call, error))?;
    done(call, &entry, &group)
}

fn seek(call: &mut Call<'_>) -> Answer<Done> {
    let (entry, group) = existing(call)?;
    let start = start(&entry, Wanted::read(call.arg(4))?, None)?;
    let sought = group.shared.borrow_mut().go_to(&start, false);
    sought.map_err(|error| gone(call, error))?;
    done(call, &entry, &group)
}

/// DRAVE.NACK key group [DELAY ms] [REASON text] [DEAD] IDS n id ...: gives back what consumers have, to
/// be tried again after a pause, or moves it to the dead-letter topic. Replies with how many entries it
/// was, and how many of them are dead.
pub(super) fn nack(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (key, name) = (call.arg(1), call.arg(2));
    let (mut delay_ms, mut reason, mut is_dead, mut at) = (None, &b"given back by a client"[..], false, 3);
    while let Some(arg) = call.args.get(at).filter(|arg| !parse::is(arg, "ids")) {
        let value = call.args.get(at + 1).copied();
        at += 2;
        match value {
            _ if parse::is(arg, "dead") => (is_dead, at) = (true, at - 1),
            Some(value) if parse::is(arg, "delay") => {
                let bad = || Refusal::text("ERR DELAY must be a number of milliseconds from 0 on");
                delay_ms = Some(parse::integer(value).ok().and_then(|ms| u64::try_from(ms).ok()).ok_or_else(bad)?);
            }
            Some(value) if parse::is(arg, "reason") => reason = value,
            _ => return Err(SYNTAX),
        }
    }
    let ids = super::xdel::read_ids(call.args, at)?;
    let no_group = || super::xpending::no_group(key, name);
    let (entry, group) = groups::find(call.server, key, name)?.ok_or_else(no_group)?;
    let mut shared = group.shared.borrow_mut();
    let settled = if is_dead { shared.bury(&ids, reason).map(|dead| (dead, dead)) } else { shared.nack(&ids, delay_ms, reason) };
    drop(shared);
    let (count, dead) = settled.map_err(|error| groups::gone_or(error, no_group))?;
    let reply = call.reply();
    reply.array(2);
    reply.unsigned(count);
    reply.unsigned(dead);
    group.owe(call, &entry, from)?;
    call.server.waiters.wake(key);
    Ok(Done::Replied)
}
