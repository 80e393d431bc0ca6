//! INFO: what the server is, does and has counted, as monitoring reads it.

use std::fmt::Write as _;

use super::connection::REDIS_VERSION;
use super::{Done, parse};
use crate::disk::{Whose, cpu_time};
use crate::server::dispatch::Call;
use crate::server::hub::Kind;
use crate::server::refusal::Answer;
use crate::server::state::Server;
use crate::server::stats::Latency;

type Section = (&'static str, fn(&mut String, &Server));

/// In the order in which they are shown.
const SECTIONS: [Section; 11] = [
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cpu", cpu),
    ("errorstats", errorstats),
    ("cluster", cluster),
    ("drave", drave),
    ("keyspace", keyspace),
];

/// Shown when asked for.
const MORE: [Section; 3] = [("commandstats", commandstats), ("latencystats", latencystats), ("topics", topics)];

/// INFO [section ...]
pub(super) fn info(call: &mut Call<'_>) -> Answer<Done> {
    let asked = &call.args[1..];
    let has = |name: &str| asked.iter().any(|arg| parse::is(arg, name));
    let all = has("all") || has("everything");
    let default = asked.is_empty() || has("default");
    let mut text = String::new();
    let chosen = SECTIONS.iter().filter(|(name, _)| default || all || has(name));
    for (name, write) in chosen.chain(MORE.iter().filter(|(name, _)| all || has(name))) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        put(&mut text, format_args!("# {}", title(name)));
        write(&mut text, call.server);
    }
    call.reply().verbatim("txt", text.as_bytes());
    Ok(Done::Replied)
}

/// As Redis writes the names of sections.
fn title(name: &str) -> String {
    match name {
        "cpu" => "CPU".to_owned(),
        name => {
            let (first, rest) = name.split_at(1);
            format!("{}{rest}", first.to_uppercase())
        }
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    write!(text, "{line}\r\n").expect("a string takes whatever is written");
}

/// Lines `name:value`.
macro_rules! fields {
    ($text:expr, $($name:literal: $value:expr),+ $(,)?) => {
        $(put($text, format_args!(concat!($name, ":{}"), $value));)+
    };
}

fn server(text: &mut String, server: &Server) {
    let uptime = server.stats.started.elapsed().as_secs();
    fields!(text,
        "redis_version": REDIS_VERSION,
        "drave_version": env!("CARGO_PKG_VERSION"),
        "redis_mode": "standalone",
        "os": std::env::consts::OS,
        "arch_bits": usize::BITS,
        "process_id": std::process::id(),
        "run_id": server.run_id,
        "tcp_port": server.tcp_port.get(),
        "server_time_usec": server.now().0.saturating_mul(1000),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "config_file": "",
    );
}

fn clients(text: &mut String, server: &Server) {
    let clients = server.clients.borrow();
    let facts = || clients.iter().map(|client| &client.facts);
    fields!(text,
        "connected_clients": clients.len(),
        "cluster_connections": 0,
        "maxclients": server.tunables.clients_max.get(),
        "client_recent_max_input_buffer": facts().map(|facts| facts.query_bytes.get()).max().unwrap_or(0),
        "client_recent_max_output_buffer": facts().map(|facts| facts.output_bytes.get()).max().unwrap_or(0),
        "blocked_clients": server.stats.blocked_clients.get(),
        "tracking_clients": 0,
        "pubsub_clients": facts().filter(|facts| facts.subscriptions() > 0).count(),
        "watching_clients": facts().filter(|facts| facts.watching.get() > 0).count(),
        "clients_in_timeout_table": 0,
    );
}

/// Bytes as people read them, as Redis writes them.
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2}G", bytes as f64 / 1_073_741_824.0),
    }
}

/// Bytes that clients take: what they have sent, and what waits for them.
pub(super) fn client_bytes(server: &Server) -> u64 {
    let of = |client: &crate::server::client::Client| {
        let facts = &client.facts;
        facts.query_bytes.get() + facts.queued_bytes.get() + facts.output_bytes.get() + client.mailbox.bytes()
    };
    server.clients.borrow().iter().map(|client| of(client) as u64).sum()
}

fn memory(text: &mut String, server: &Server) {
    let used = crate::disk::process_memory();
    let peak = used.peak_bytes.max(1);
    fields!(text,
        "used_memory": used.resident_bytes,
        "used_memory_human": human(used.resident_bytes),
        "used_memory_rss": used.resident_bytes,
        "used_memory_rss_human": human(used.resident_bytes),
        "used_memory_peak": used.peak_bytes,
        "used_memory_peak_human": human(used.peak_bytes),
        "used_memory_peak_perc": format_args!("{:.2}%", used.resident_bytes as f64 * 100.0 / peak as f64),
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": "1.00",
        "mem_clients_slaves": 0,
        "mem_clients_normal": client_bytes(server),
        "lazyfree_pending_objects": server.removals.len(),
    );
}

fn persistence(text: &mut String, server: &Server) {
    let failed = server.stats.syncs_failed.get();
    fields!(text,
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": server.stats.synced_at.get().0 / 1000,
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_bgrewrite_status": "ok",
        "aof_last_write_status": if failed == 0 { "ok" } else { "err" },
        "syncs_failed": failed,
    );
}

fn stats(text: &mut String, server: &Server) {
    let stats = &server.stats;
    let (dropped, closed) = server.hub.losses();
    let recent = stats.per_second();
    fields!(text,
        "total_connections_received": stats.connections.get(),
        "total_commands_processed": stats.commands.get(),
        "instantaneous_ops_per_sec": recent.commands as u64,
        "total_net_input_bytes": stats.bytes_in.get(),
        "total_net_output_bytes": stats.bytes_out.get(),
        "instantaneous_input_kbps": format_args!("{:.2}", recent.bytes_in / 1024.0),
        "instantaneous_output_kbps": format_args!("{:.2}", recent.bytes_out / 1024.0),
        "rejected_connections": stats.connections_rejected.get(),
        "sync_full": 0,
        "expired_keys": stats.topics_expired.get(),
        "evicted_keys": 0,
        "evicted_clients": 0,
        "pubsub_channels": server.hub.channels(Kind::Channel, None).len(),
        "pubsub_patterns": server.hub.pattern_count(),
        "pubsubshard_channels": server.hub.channels(Kind::Shard, None).len(),
        "total_error_replies": stats.errors.get(),
        "acl_access_denied_auth": stats.auth_failed.get(),
        "client_query_buffer_limit_disconnections": stats.closed_for_query.get(),
        "client_output_buffer_limit_disconnections": stats.closed_for_output.get(),
        "idle_clients_closed": stats.closed_for_idling.get(),
        "pubsub_messages_dropped": dropped,
        "pubsub_subscribers_closed": closed,
    );
}

fn replication(text: &mut String, server: &Server) {
    fields!(text,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": server.run_id,
        "master_replid2": "0000000000000000000000000000000000000000",
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
    );
}

fn cpu(text: &mut String, _: &Server) {
    let [process, thread, children] = [Whose::Process, Whose::Thread, Whose::Children].map(cpu_time);
    let seconds = |time: std::time::Duration| format!("{:.6}", time.as_secs_f64());
    fields!(text,
        "used_cpu_sys": seconds(process.system),
        "used_cpu_user": seconds(process.user),
        "used_cpu_sys_children": seconds(children.system),
        "used_cpu_user_children": seconds(children.user),
        "used_cpu_sys_main_thread": seconds(thread.system),
        "used_cpu_user_main_thread": seconds(thread.user),
    );
}

fn errorstats(text: &mut String, server: &Server) {
    for (kind, count) in &*server.stats.errors_by_kind.borrow() {
        put(text, format_args!("errorstat_{kind}:count={count}"));
    }
}

fn cluster(text: &mut String, _: &Server) {
    fields!(text, "cluster_enabled": 0);
}

fn put_percentiles(text: &mut String, name: &str, latency: &Latency) {
    let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| latency.percentile(percent));
    put(text, format_args!("{name}:p50={p50},p99={p99},p99.9={p999}"));
}

/// What Redis does not have. Times are microseconds, rates those of the last seconds.
fn drave(text: &mut String, server: &Server) {
    let (added, read) = (&server.traffics.all().added, &server.traffics.all().read);
    fields!(text,
        "topics_in_hand": server.topics.len(),
        "records_added": added.total().records,
        "frames_appended": server.appender.batches(),
        "bytes_added": added.total().bytes,
        "records_read": read.total().records,
        "bytes_read": read.total().bytes,
        "records_added_per_sec": format_args!("{:.1}", added.rate().records),
        "bytes_added_per_sec": format_args!("{:.1}", added.rate().bytes),
        "records_read_per_sec": format_args!("{:.1}", read.rate().records),
        "bytes_read_per_sec": format_args!("{:.1}", read.rate().bytes),
    );
    put_percentiles(text, "append_usec", &server.stats.append);
    put_percentiles(text, "sync_usec", &server.stats.sync);
    put_percentiles(text, "command_usec", &server.stats.command);
}

fn keyspace(text: &mut String, server: &Server) {
    // A store that cannot be listed has other voices.
    let count = server.store.list_topics().map_or(0, |topics| topics.len());
    if count > 0 {
        let (expires, avg_ttl) = server.expiry.outlook(server.now());
        put(text, format_args!("db0:keys={count},expires={expires},avg_ttl={avg_ttl}"));
    }
}

fn commandstats(text: &mut String, server: &Server) {
    for (name, stats) in &*server.stats.by_command.borrow() {
        let usec = stats.time.as_micros();
        let per_call = if stats.calls == 0 { 0.0 } else { usec as f64 / stats.calls as f64 };
        let (calls, rejected, failed) = (stats.calls, stats.rejected, stats.failed);
        put(
            text,
            format_args!(
                "cmdstat_{name}:calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn latencystats(text: &mut String, server: &Server) {
    for (name, stats) in &*server.stats.by_command.borrow() {
        if stats.calls > 0 {
            put_percentiles(text, &format!("latency_percentiles_usec_{name}"), &stats.latency);
        }
    }
}

/// So many topics are shown.
const TOPICS_MAX: usize = 100;

/// Topics in hand, the busiest first: what their logs tell, then what went through this server.
fn topics(text: &mut String, server: &Server) {
    let mut entries = server.topics.all_in_hand();
    entries.sort_by(|a, b| b.traffic.busyness().total_cmp(&a.traffic.busyness()));
    for entry in entries.iter().take(TOPICS_MAX) {
        let log = entry.log();
        let name = entry.name.as_bytes().escape_ascii();
        let (count, all_added) = (log.live_count_until(log.log_end()).unwrap_or_default(), log.counters().entries_added);
        let (end, durable) = (log.log_end().0, log.durable().0);
        let (added, read) = (entry.traffic.added.total(), entry.traffic.read.total());
        let (adding, reading) = (entry.traffic.added.rate(), entry.traffic.read.rate());
        put(
            text,
            format_args!(
                "topic_{name}:records={count},added={all_added},log_end={end},durable={durable},records_added={},bytes_added={},\
                 records_read={},bytes_read={},records_added_per_sec={:.1},bytes_added_per_sec={:.1},\
                 records_read_per_sec={:.1},bytes_read_per_sec={:.1}",
                added.records,
                added.bytes,
                read.records,
                read.bytes,
                adding.records,
                adding.bytes,
                reading.records,
                reading.bytes,
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_redis_writes_them() {
        let written = [0, 1023, 1024, 1_572_864, 3_221_225_472].map(human);
        assert_eq!(written, ["0B", "1023B", "1.00K", "1.50M", "3.00G"]);
    }
}
