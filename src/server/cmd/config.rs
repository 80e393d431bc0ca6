//! CONFIG: settings by the names that Redis gives them, where they mean something here.

use std::time::Duration;

use super::{Done, Flags, Keys, Spec, command, help};
use crate::codec::resp::glob;
use crate::config::Durability;
use crate::server::dispatch::Call;
use crate::server::options::SlowSubscriber;
use crate::server::refusal::{Answer, Refusal};
use crate::server::state::Server;

const ADMIN: Flags = Flags::ADMIN;
const SINCE_2: (&str, &str) = ("server", "2.0.0");

/// What CONFIG does.
#[rustfmt::skip] // A table.
pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("config|get", -3, ADMIN, Keys::NONE, SINCE_2, "Returns the effective values of configuration parameters.", get),
    command("config|help", 2, Flags::NONE, Keys::NONE, ("server", "5.0.0"), "Returns helpful text about the different subcommands.", help),
    command("config|resetstat", 2, ADMIN, Keys::NONE, SINCE_2, "Resets the server's statistics.", resetstat),
    command("config|rewrite", 2, ADMIN, Keys::NONE, ("server", "2.8.0"), "Persists the effective configuration to file.", rewrite),
    command("config|set", -4, ADMIN, Keys::NONE, SINCE_2, "Sets configuration parameters in-flight.", set),
];

struct Setting {
    name: &'static str,
    get: fn(&Server) -> String,
    set: Change,
}

#[derive(Clone, Copy)]
enum Change {
    /// Not while the server runs.
    Never,
    /// Nowhere here: the sentence says where.
    Elsewhere(&'static str),
    /// To a number in this range.
    Number { min: i64, max: i64, set: Setter },
}

type Setter = fn(&Server, i64);

const TOPICS: &str = "each topic has its own durability: drave topic set TOPIC durability=sync|async|none";

/// Settings, sorted by name.
#[rustfmt::skip] // A table.
const SETTINGS: &[Setting] = &[
    Setting { name: "appendfsync", get: appendfsync, set: Change::Elsewhere(TOPICS) },
    Setting { name: "appendonly", get: |_| "yes".into(), set: Change::Never },
    Setting { name: "bind", get: |server| joined(server.options.tcp.iter().map(|address| address.ip().to_string())), set: Change::Never },
    Setting { name: "client-output-buffer-limit", get: output_limits, set: Change::Never },
    Setting { name: "client-query-buffer-limit", get: |server| server.options.limits.query_bytes_max.to_string(), set: Change::Never },
    Setting { name: "cluster-enabled", get: |_| "no".into(), set: Change::Never },
    Setting { name: "databases", get: |_| "1".into(), set: Change::Never },
    Setting { name: "dir", get: |server| server.store.path().display().to_string(), set: Change::Never },
    Setting { name: "drave-slow-subscriber", get: slow_subscriber, set: Change::Never },
    Setting { name: "latency-monitor-threshold", get: |server| millis(server.latency.threshold.get()),
        set: Change::Number { min: 0, max: i64::MAX, set: |server, ms| server.latency.threshold.set(positive_millis(ms)) } },
    Setting { name: "maxclients", get: |server| server.tunables.clients_max.get().to_string(),
        set: Change::Number { min: 1, max: u32::MAX as i64, set: |server, count| server.tunables.clients_max.set(size(count)) } },
    Setting { name: "maxmemory", get: |_| "0".into(), set: Change::Never },
    Setting { name: "maxmemory-policy", get: |_| "noeviction".into(), set: Change::Never },
    Setting { name: "port", get: |server| server.tcp_port.get().to_string(), set: Change::Never },
    Setting { name: "proto-max-bulk-len", get: |server| server.options.limits.argument_bytes_max.to_string(), set: Change::Never },
    Setting { name: "save", get: |_| String::new(), set: Change::Never },
    Setting { name: "slowlog-log-slower-than", get: |server| server.slow_log.slower_than.get().map_or_else(|| "-1".into(), |time| time.as_micros().to_string()),
        set: Change::Number { min: -1, max: i64::MAX, set: |server, us| server.slow_log.slower_than.set(u64::try_from(us).ok().map(Duration::from_micros)) } },
    Setting { name: "slowlog-max-len", get: |server| server.slow_log.count_max.get().to_string(),
        set: Change::Number { min: 0, max: SLOW_MAX, set: set_slow_count } },
    Setting { name: "stream-idmp-duration", get: |server| server.store.defaults().dedup_window.as_secs().to_string(), set: Change::Never },
    Setting { name: "stream-idmp-maxsize", get: |server| server.store.defaults().dedup_size.to_string(), set: Change::Never },
    Setting { name: "stream-node-max-entries", get: |_| "100".into(), set: Change::Never },
    Setting { name: "timeout", get: |server| server.tunables.idle_max.get().map_or(0, |time| time.as_secs()).to_string(),
        set: Change::Number { min: 0, max: i32::MAX as i64, set: |server, s| server.tunables.idle_max.set(u64::try_from(s).ok().filter(|s| *s > 0).map(Duration::from_secs)) } },
    Setting { name: "unixsocket", get: |server| server.store.path().join("drave.sock").display().to_string(), set: Change::Never },
];

/// 128 bytes of 32 arguments each: 40 MB.
const SLOW_MAX: i64 = 10_000;

fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn millis(time: Option<Duration>) -> String {
    time.map_or(0, |time| time.as_millis()).to_string()
}

fn positive_millis(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

fn set_slow_count(server: &Server, count: i64) {
    server.slow_log.count_max.set(size(count));
    server.slow_log.cut();
}

/// The level of topics that say nothing else, in Redis's words.
fn appendfsync(server: &Server) -> String {
    match server.store.defaults().durability {
        Durability::Sync => "always",
        Durability::Async => "everysec",
        Durability::None => "no",
    }
    .to_owned()
}

fn output_limits(server: &Server) -> String {
    let limits = &server.options.limits;
    let (normal, pubsub) = (limits.output_bytes_max, limits.subscriber_bytes_max);
    format!("normal {normal} 0 0 slave 0 0 0 pubsub {pubsub} 0 0")
}

fn slow_subscriber(server: &Server) -> String {
    match server.options.slow_subscriber {
        SlowSubscriber::DropOldest => "drop-oldest",
        SlowSubscriber::DropNewest => "drop-newest",
        SlowSubscriber::Close => "close",
    }
    .to_owned()
}

/// CONFIG GET pattern [pattern ...]
fn get(call: &mut Call<'_>) -> Answer<Done> {
    let patterns: Vec<Vec<u8>> = call.args[2..].iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
    let matches = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes()));
    let found: Vec<&Setting> = SETTINGS.iter().filter(|setting| matches(setting.name)).collect();
    let reply = call.session.output.reply();
    reply.map(found.len());
    for setting in found {
        reply.bulk(setting.name.as_bytes());
        reply.bulk((setting.get)(call.server).as_bytes());
    }
    Ok(Done::Replied)
}

/// CONFIG SET name value [name value ...]: all of it or nothing.
fn set(call: &mut Call<'_>) -> Answer<Done> {
    let pairs = call.args[2..].chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(Refusal::wrong_arity("config|set"));
    }
    let mut changes: Vec<(&str, Setter, i64)> = Vec::new();
    for pair in pairs {
        let setting = SETTINGS.iter().find(|setting| setting.name.as_bytes().eq_ignore_ascii_case(pair[0]));
        let Some(setting) = setting else {
            let shown = String::from_utf8_lossy(pair[0]);
            return Err(Refusal::err(format_args!("Unknown option or number of arguments for CONFIG SET - '{shown}'")));
        };
        let failed = |why: &str| {
            let name = setting.name;
            Refusal::err(format_args!("CONFIG SET failed (possibly related to argument '{name}') - {why}"))
        };
        if changes.iter().any(|(name, _, _)| *name == setting.name) {
            return Err(failed("duplicate parameter"));
        }
        match setting.set {
            Change::Never => return Err(failed("can't set immutable config")),
            Change::Elsewhere(where_then) => return Err(failed(where_then)),
            Change::Number { min, max, set } => {
                let number = super::parse::integer(pair[1]).map_err(|_| failed("argument couldn't be parsed into an integer"))?;
                if !(min..=max).contains(&number) {
                    return Err(failed(&format!("argument must be between {min} and {max} inclusive")));
                }
                changes.push((setting.name, set, number));
            }
        }
    }
    changes.iter().for_each(|(_, set, number)| set(call.server, *number));
    call.reply().ok();
    Ok(Done::Replied)
}

fn resetstat(call: &mut Call<'_>) -> Answer<Done> {
    call.server.stats.reset();
    call.server.hub.reset_losses();
    call.reply().ok();
    Ok(Done::Replied)
}

fn rewrite(_: &mut Call<'_>) -> Answer<Done> {
    Err(Refusal::text("ERR The server is running without a config file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_in_lower_case() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        assert!(SETTINGS.iter().all(|setting| setting.name == setting.name.to_lowercase()));
    }
}
