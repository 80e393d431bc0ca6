//! SLOWLOG, LATENCY and MEMORY: what to look at when something is slow or large.

use super::{Done, Flags, Keys, Spec, command, help, info, parse};
use crate::ids::TopicName;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::store::ListedTopic;

const ADMIN: Flags = Flags::ADMIN;
const fn since(version: &'static str) -> (&'static str, &'static str) {
    ("server", version)
}

/// What SLOWLOG does.
#[rustfmt::skip] // A table.
pub(super) const SLOWLOG: &[Spec] = &[
    command("slowlog|get", -2, ADMIN, Keys::NONE, since("2.2.12"), "Returns the slow log's entries.", slowlog_get),
    command("slowlog|help", 2, Flags::NONE, Keys::NONE, since("6.2.0"), "Returns helpful text about the different subcommands.", help),
    command("slowlog|len", 2, ADMIN, Keys::NONE, since("2.2.12"), "Returns the number of entries in the slow log.", slowlog_len),
    command("slowlog|reset", 2, ADMIN, Keys::NONE, since("2.2.12"), "Clears all entries from the slow log.", slowlog_reset),
];

/// What LATENCY does.
#[rustfmt::skip] // A table.
pub(super) const LATENCY: &[Spec] = &[
    command("latency|doctor", 2, ADMIN, Keys::NONE, since("2.8.13"), "Returns a human-readable latency analysis report.", latency_doctor),
    command("latency|help", 2, Flags::NONE, Keys::NONE, since("2.8.13"), "Returns helpful text about the different subcommands.", help),
    command("latency|histogram", -2, ADMIN, Keys::NONE, since("7.0.0"), "Returns the cumulative distribution of latencies of a subset or all commands.", latency_histogram),
    command("latency|history", 3, ADMIN, Keys::NONE, since("2.8.13"), "Returns timestamp-latency samples for an event.", latency_history),
    command("latency|latest", 2, ADMIN, Keys::NONE, since("2.8.13"), "Returns the latest latency samples for all events.", latency_latest),
    command("latency|reset", -2, ADMIN, Keys::NONE, since("2.8.13"), "Resets the latency data for one or more events.", latency_reset),
];

/// What MEMORY does.
#[rustfmt::skip] // A table.
pub(super) const MEMORY: &[Spec] = &[
    command("memory|doctor", 2, Flags::NONE, Keys::NONE, since("4.0.0"), "Outputs a memory problems report.", memory_doctor),
    command("memory|help", 2, Flags::NONE, Keys::NONE, since("4.0.0"), "Returns helpful text about the different subcommands.", help),
    command("memory|purge", 2, Flags::NONE, Keys::NONE, since("4.0.0"), "Lets go of topics that nobody uses now.", memory_purge),
    command("memory|stats", 2, Flags::NONE, Keys::NONE, since("4.0.0"), "Returns details about memory usage.", memory_stats),
    command("memory|usage", -3, Flags::READ, Keys(2, 2, 1), since("4.0.0"), "Returns the bytes of a topic on disk.", memory_usage),
];

/// SLOWLOG GET [count]
fn slowlog_get(call: &mut Call<'_>) -> Answer<Done> {
    let count = match call.args.get(2..).unwrap_or_default() {
        [] => 10,
        [count] => match parse::integer(count) {
            Ok(-1) => usize::MAX,
            Ok(count) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return Err(Refusal::text("ERR count should be greater than or equal to -1")),
        },
        _ => return Err(super::unknown_form("SLOWLOG", call.arg(1))),
    };
    let entries = call.server.slow_log.last(count);
    let reply = call.reply();
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.unsigned(entry.id);
        reply.unsigned(entry.at.0 / 1000);
        reply.unsigned(u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX));
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(Done::Replied)
}

fn slowlog_len(call: &mut Call<'_>) -> Answer<Done> {
    let count = call.server.slow_log.len();
    call.reply().unsigned(count as u64);
    Ok(Done::Replied)
}

fn slowlog_reset(call: &mut Call<'_>) -> Answer<Done> {
    call.server.slow_log.reset();
    call.reply().ok();
    Ok(Done::Replied)
}

fn latency_latest(call: &mut Call<'_>) -> Answer<Done> {
    let events = call.server.latency.events();
    let reply = call.reply();
    reply.array(events.len());
    for (name, event) in events {
        let (second, took_ms) = event.samples.back().copied().unwrap_or_default();
        reply.array(4);
        reply.bulk(name.as_bytes());
        [second, took_ms, event.longest_ms].into_iter().for_each(|number| reply.unsigned(number));
    }
    Ok(Done::Replied)
}

/// LATENCY HISTORY event
fn latency_history(call: &mut Call<'_>) -> Answer<Done> {
    let events = call.server.latency.events();
    let event = events.into_iter().find(|(name, _)| parse::is(call.args[2], name));
    let samples = event.map(|(_, event)| event.samples).unwrap_or_default();
    let reply = call.reply();
    reply.array(samples.len());
    for (second, took_ms) in samples {
        reply.array(2);
        reply.unsigned(second);
        reply.unsigned(took_ms);
    }
    Ok(Done::Replied)
}

/// LATENCY RESET [event ...]
fn latency_reset(call: &mut Call<'_>) -> Answer<Done> {
    let count = call.server.latency.reset(&call.args[2..]);
    call.reply().unsigned(count as u64);
    Ok(Done::Replied)
}

/// LATENCY HISTOGRAM [command ...]: how many calls took at most 1, 2, 4 ... microseconds.
fn latency_histogram(call: &mut Call<'_>) -> Answer<Done> {
    let names = &call.args[2..];
    let by_command = call.server.stats.by_command.borrow();
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| parse::is(asked, name));
    let found: Vec<_> = by_command.iter().filter(|(name, stats)| stats.calls > 0 && is_asked(name)).collect();
    let reply = call.session.output.reply();
    reply.map(found.len());
    for (name, stats) in found {
        let counts = stats.latency.cumulative();
        reply.bulk(name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.unsigned(stats.calls);
        reply.bulk(b"histogram_usec");
        reply.map(counts.len());
        for (micros, count) in counts {
            reply.unsigned(micros);
            reply.unsigned(count);
        }
    }
    Ok(Done::Replied)
}

fn latency_doctor(call: &mut Call<'_>) -> Answer<Done> {
    let mut text = String::new();
    if call.server.latency.threshold.get().is_none() {
        text.push_str("Latency monitoring is off: CONFIG SET latency-monitor-threshold MILLISECONDS turns it on.\n");
    }
    for (name, event) in call.server.latency.events() {
        let (count, longest) = (event.samples.len(), event.longest_ms);
        text.push_str(&format!("{name}: in {count} seconds it took too long, at worst {longest} ms.\n"));
    }
    let stats = &call.server.stats;
    for (what, latency) in [("append", &stats.append), ("sync", &stats.sync), ("command", &stats.command)] {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| latency.percentile(percent));
        text.push_str(&format!("{what}: half take at most {p50} us, 99% at most {p99} us, 99.9% at most {p999} us.\n"));
    }
    call.reply().verbatim("txt", text.as_bytes());
    Ok(Done::Replied)
}

/// MEMORY USAGE key [SAMPLES count]: bytes on disk, where the data is.
fn memory_usage(call: &mut Call<'_>) -> Answer<Done> {
    match call.args.get(3..).unwrap_or_default() {
        [] => {}
        [word, count] if parse::is(word, "samples") && parse::integer(count)? >= 0 => {}
        _ => return Err(SYNTAX),
    }
    let name = TopicName::new(call.arg(2));
    let listed: Option<ListedTopic> = match name {
        Some(name) if call.server.topics.find(call.server, call.arg(2))?.is_some() => {
            call.server.store.list_topics()?.into_iter().find(|topic| topic.name == name)
        }
        _ => None,
    };
    match listed {
        Some(listed) => {
            let bytes = call.server.store.segment_bytes(&listed)?;
            call.reply().unsigned(bytes);
        }
        None => call.reply().null(),
    }
    Ok(Done::Replied)
}

/// MEMORY PURGE
fn memory_purge(call: &mut Call<'_>) -> Answer<Done> {
    call.server.appender.flush_all(call.server);
    call.server.topics.forget_idle();
    call.reply().ok();
    Ok(Done::Replied)
}

fn memory_stats(call: &mut Call<'_>) -> Answer<Done> {
    let used = crate::disk::process_memory();
    let keys = call.server.store.list_topics()?.len() as u64;
    let clients = info::client_bytes(call.server);
    let topics = call.server.topics.len() as u64;
    let numbers = [
        ("peak.allocated", used.peak_bytes),
        ("total.allocated", used.resident_bytes),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", clients),
        ("aof.buffer", 0),
        ("keys.count", keys),
        ("topics.in-hand", topics),
    ];
    let reply = call.reply();
    reply.map(numbers.len() + 1);
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.unsigned(number);
    }
    reply.bulk(b"peak.percentage");
    reply.double(used.resident_bytes as f64 * 100.0 / used.peak_bytes.max(1) as f64);
    Ok(Done::Replied)
}

fn memory_doctor(call: &mut Call<'_>) -> Answer<Done> {
    let used = crate::disk::process_memory();
    let text = format!(
        "The process takes {}, at its peak {}; clients' buffers take {}; {} topics are in hand. What is stored takes disk, not memory.\n",
        info::human(used.resident_bytes),
        info::human(used.peak_bytes),
        info::human(info::client_bytes(call.server)),
        call.server.topics.len(),
    );
    call.reply().verbatim("txt", text.as_bytes());
    Ok(Done::Replied)
}
