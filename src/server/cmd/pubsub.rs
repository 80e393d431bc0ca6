//! Channels: SUBSCRIBE, PUBLISH and their kin.

use super::{Done, Flags, Keys, Spec, command, help};
use crate::server::dispatch::Call;
use crate::server::hub::Kind;
use crate::server::refusal::Answer;

const PUBSUB: Flags = Flags::PUBSUB;
const SINCE_2: (&str, &str) = ("pubsub", "2.8.0");
const SINCE_7: (&str, &str) = ("pubsub", "7.0.0");

/// What PUBSUB tells.
#[rustfmt::skip] // A table.
pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("pubsub|channels", -2, PUBSUB, Keys::NONE, SINCE_2, "Returns the active channels.", |call| channels(call, Kind::Channel)),
    command("pubsub|help", 2, Flags::NONE, Keys::NONE, ("pubsub", "6.2.0"), "Returns helpful text about the different subcommands.", help),
    command("pubsub|numpat", 2, PUBSUB, Keys::NONE, SINCE_2, "Returns a count of unique pattern subscriptions.", numpat),
    command("pubsub|numsub", -2, PUBSUB, Keys::NONE, SINCE_2, "Returns a count of subscribers to channels.", |call| numsub(call, Kind::Channel)),
    command("pubsub|shardchannels", -2, PUBSUB, Keys::NONE, SINCE_7, "Returns the active shard channels.", |call| channels(call, Kind::Shard)),
    command("pubsub|shardnumsub", -2, PUBSUB, Keys::NONE, SINCE_7, "Returns the count of subscribers of shard channels.", |call| numsub(call, Kind::Shard)),
];

/// SUBSCRIBE channel [channel ...]
pub(super) fn subscribe(call: &mut Call<'_>) -> Answer<Done> {
    begin(call, Kind::Channel, "subscribe")
}

/// PSUBSCRIBE pattern [pattern ...]
pub(super) fn psubscribe(call: &mut Call<'_>) -> Answer<Done> {
    begin(call, Kind::Pattern, "psubscribe")
}

/// SSUBSCRIBE channel [channel ...]
pub(super) fn ssubscribe(call: &mut Call<'_>) -> Answer<Done> {
    begin(call, Kind::Shard, "ssubscribe")
}

/// UNSUBSCRIBE [channel ...]
pub(super) fn unsubscribe(call: &mut Call<'_>) -> Answer<Done> {
    end(call, Kind::Channel, "unsubscribe")
}

/// PUNSUBSCRIBE [pattern ...]
pub(super) fn punsubscribe(call: &mut Call<'_>) -> Answer<Done> {
    end(call, Kind::Pattern, "punsubscribe")
}

/// SUNSUBSCRIBE [channel ...]
pub(super) fn sunsubscribe(call: &mut Call<'_>) -> Answer<Done> {
    end(call, Kind::Shard, "sunsubscribe")
}

fn begin(call: &mut Call<'_>, kind: Kind, word: &str) -> Answer<Done> {
    for name in &call.args[1..] {
        call.server.hub.subscribe(call.client, &mut call.session.subscriptions, kind, name);
        tell(call, kind, word, Some(name));
    }
    Ok(Done::Replied)
}

fn end(call: &mut Call<'_>, kind: Kind, word: &str) -> Answer<Done> {
    // Nothing may follow the reply that says that nothing follows.
    call.deliver_mail();
    let all: Vec<Box<[u8]>>;
    let names: Vec<&[u8]> = if call.args.len() > 1 {
        call.args[1..].to_vec()
    } else {
        all = call.session.subscriptions.of(kind).iter().cloned().collect();
        all.iter().map(|name| &**name).collect()
    };
    for name in &names {
        call.server.hub.unsubscribe(call.client, &mut call.session.subscriptions, kind, name);
        tell(call, kind, word, Some(name));
    }
    if names.is_empty() {
        tell(call, kind, word, None);
    }
    Ok(Done::Replied)
}

/// Says what the client listens to now. It is no reply, so CLIENT REPLY does not silence it.
fn tell(call: &mut Call<'_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    let count = call.session.subscriptions.count(kind);
    call.session.output.push(|reply| {
        reply.push(3);
        reply.bulk(word.as_bytes());
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.unsigned(count as u64);
    });
}

/// PUBLISH channel message
pub(super) fn publish(call: &mut Call<'_>) -> Answer<Done> {
    let count = call.server.hub.publish(call.arg(1), call.arg(2));
    call.reply().unsigned(count);
    Ok(Done::Replied)
}

/// SPUBLISH channel message
pub(super) fn spublish(call: &mut Call<'_>) -> Answer<Done> {
    let count = call.server.hub.publish_to_shard(call.arg(1), call.arg(2));
    call.reply().unsigned(count);
    Ok(Done::Replied)
}

fn channels(call: &mut Call<'_>, kind: Kind) -> Answer<Done> {
    if call.args.len() > 3 {
        return Err(super::unknown_form("PUBSUB", call.arg(1)));
    }
    let names = call.server.hub.channels(kind, call.args.get(2).copied());
    let reply = call.reply();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    Ok(Done::Replied)
}

fn numsub(call: &mut Call<'_>, kind: Kind) -> Answer<Done> {
    let names = &call.args[2..];
    let hub = &call.server.hub;
    let reply = call.session.output.reply();
    reply.array(names.len() * 2);
    for name in names {
        reply.bulk(name);
        reply.unsigned(hub.subscribers(kind, name) as u64);
    }
    Ok(Done::Replied)
}

fn numpat(call: &mut Call<'_>) -> Answer<Done> {
    let count = call.server.hub.pattern_count();
    call.reply().unsigned(count as u64);
    Ok(Done::Replied)
}
