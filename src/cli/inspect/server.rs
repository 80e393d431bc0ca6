//! The server that a store has: what it tells of itself.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use drave::store::Store;

use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::password;
use crate::cli::server_info::{self, Info, Item};
use crate::cli::table::{Cell, Facts, Rows};

/// The server of the store: connections, commands, errors, latencies, rates
///
/// It is asked by its socket, drave.sock in the store's directory; that counts as a connection and a command. Exit 11 if there is none.
///
/// Names: version, pid, uptime_s, clients, blocked (of them, waiting in XREAD BLOCK and the like), subscribed (of them, to channels), clients_max, connections (ever), rejected (of
/// them, beyond clients_max), commands (ever), commands_rate, errors (replies), bytes_in, bytes_out (of all connections), topics_in_hand, records_added, bytes_added,
/// records_read, bytes_read (through this server since it began; bytes of names and values), records_added_rate, bytes_added_rate, records_read_rate,
/// bytes_read_rate, frames_appended, syncs_failed, memory_bytes, cpu_ms, append_p50_us, append_p99_us, append_p999_us (99.9 % of all appends took no longer), the same of sync
/// and of command. A rate is a second's, of the last seconds.
///
/// --by topic, the 100 busiest of those in hand. Columns: topic, records, log_end, durable, records_added, bytes_added, records_read, bytes_read, and their rates.
///
/// --by command. Columns: command, calls, failed, rejected (not run), total_us, p50_us, p99_us, p999_us.
///
/// --by error. Columns: error (its first word), count.
///
/// --by client. Columns: client (its number), address, name, library, age_s, idle_s, flags and command (the last one) as in CLIENT LIST, subscriptions,
/// commands, bytes_in, bytes_out, query_bytes (received, not executed), output_bytes (not sent), dropped (messages).
#[derive(ClapArgs, Debug)]
pub(super) struct Server {
    /// A row for each, in place of the server as a whole
    #[arg(long, value_name = "WHAT", value_enum)]
    by: Option<By>,

    /// The file that holds the server's password in its first line [default: DRAVE_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Topic,
    Command,
    Error,
    Client,
}

/// Prints what the server tells.
pub(super) fn server(args: &Server, json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    let asking = Asking { store: &store, password: password::given(args.password_file.as_deref())?, context };
    match args.by {
        None => whole(&asking.info(&["server", "clients", "persistence", "stats", "memory", "cpu", "drave"])?).print(json)?,
        Some(By::Topic) => by_topic(&asking.info(&["topics"])?, json)?,
        Some(By::Command) => by_command(&asking.info(&["commandstats", "latencystats"])?, json)?,
        Some(By::Error) => by_error(&asking.info(&["errorstats"])?, json)?,
        Some(By::Client) => by_client(&asking.clients()?, json)?,
    }
    Ok(Exit::Done)
}

struct Asking<'a> {
    store: &'a Store,
    password: Option<Vec<u8>>,
    context: &'a Context,
}

impl Asking<'_> {
    fn info(&self, sections: &[&str]) -> Result<Info> {
        Info::ask(self.store, sections, self.password.as_deref(), self.context)?.ok_or_else(|| self.nobody())
    }

    fn clients(&self) -> Result<String> {
        let text = server_info::request(self.store, &["CLIENT", "LIST"], self.password.as_deref(), self.context)?;
        text.map(|text| String::from_utf8_lossy(&text).into_owned()).ok_or_else(|| self.nobody())
    }

    fn nobody(&self) -> anyhow::Error {
        let path = self.store.path().display();
        Failure::new(
            Exit::StoreMissing,
            format!("no server runs on the store {path}; start one with: drave serve --store {path}"),
        )
        .into()
    }
}

fn whole(info: &Info) -> Facts {
    let mut facts = Facts::new();
    facts.put("version", info.text("drave_version").map(str::to_owned));
    let counts = [
        ("pid", "process_id"),
        ("uptime_s", "uptime_in_seconds"),
        ("clients", "connected_clients"),
        ("blocked", "blocked_clients"),
        ("subscribed", "pubsub_clients"),
        ("clients_max", "maxclients"),
        ("connections", "total_connections_received"),
        ("rejected", "rejected_connections"),
        ("commands", "total_commands_processed"),
    ];
    counts.into_iter().for_each(|(name, line)| facts.put(name, info.count(line)));
    facts.put("commands_rate", rate(info.number("instantaneous_ops_per_sec")));
    let counts = [
        ("errors", "total_error_replies"),
        ("bytes_in", "total_net_input_bytes"),
        ("bytes_out", "total_net_output_bytes"),
        ("topics_in_hand", "topics_in_hand"),
        ("records_added", "records_added"),
        ("bytes_added", "bytes_added"),
        ("records_read", "records_read"),
        ("bytes_read", "bytes_read"),
    ];
    counts.into_iter().for_each(|(name, line)| facts.put(name, info.count(line)));
    facts.put("records_added_rate", rate(info.number("records_added_per_sec")));
    facts.put("bytes_added_rate", rate(info.number("bytes_added_per_sec")));
    facts.put("records_read_rate", rate(info.number("records_read_per_sec")));
    facts.put("bytes_read_rate", rate(info.number("bytes_read_per_sec")));
    facts.put("frames_appended", info.count("frames_appended"));
    facts.put("syncs_failed", info.count("syncs_failed"));
    facts.put("memory_bytes", info.count("used_memory"));
    let seconds = info.number("used_cpu_user").zip(info.number("used_cpu_sys")).map(|(user, system)| user + system);
    facts.put("cpu_ms", seconds.map(|seconds| (seconds * 1000.0) as u64));
    let latencies = [
        ("append_usec", ["append_p50_us", "append_p99_us", "append_p999_us"]),
        ("sync_usec", ["sync_p50_us", "sync_p99_us", "sync_p999_us"]),
        ("command_usec", ["command_p50_us", "command_p99_us", "command_p999_us"]),
    ];
    for (line, names) in latencies {
        let times = info.percentiles(line);
        (0..3).for_each(|index| facts.put(names[index], times.map(|times| times[index])));
    }
    facts
}

fn rate(number: Option<f64>) -> Cell {
    number.map_or(Cell::Absent, Cell::Rate)
}

const TOPICS: [&str; 12] = [
    "topic",
    "records",
    "log_end",
    "durable",
    "records_added",
    "bytes_added",
    "records_read",
    "bytes_read",
    "records_added_rate",
    "bytes_added_rate",
    "records_read_rate",
    "bytes_read_rate",
];

fn by_topic(info: &Info, json: bool) -> Result<()> {
    let mut rows = Rows::begin(TOPICS, json);
    for topic in info.list("topic_") {
        let count = |name: &str| topic.count(name).into();
        let rate = |name: &str| rate(topic.number(name));
        rows.row(vec![
            topic.name.clone().into(),
            count("records"),
            count("log_end"),
            count("durable"),
            count("records_added"),
            count("bytes_added"),
            count("records_read"),
            count("bytes_read"),
            rate("records_added_per_sec"),
            rate("bytes_added_per_sec"),
            rate("records_read_per_sec"),
            rate("bytes_read_per_sec"),
        ])?;
    }
    rows.end()
}

fn by_command(info: &Info, json: bool) -> Result<()> {
    let mut rows = Rows::begin(["command", "calls", "failed", "rejected", "total_us", "p50_us", "p99_us", "p999_us"], json);
    let latencies: Vec<Item<'_>> = info.list("latency_percentiles_usec_").collect();
    for command in info.list("cmdstat_") {
        let latency = latencies.iter().find(|latency| latency.name == command.name);
        let time = |name: &str| latency.and_then(|latency| latency.count(name)).into();
        rows.row(vec![
            command.name.clone().into(),
            command.count("calls").into(),
            command.count("failed_calls").into(),
            command.count("rejected_calls").into(),
            command.count("usec").into(),
            time("p50"),
            time("p99"),
            time("p99.9"),
        ])?;
    }
    rows.end()
}

fn by_error(info: &Info, json: bool) -> Result<()> {
    let mut rows = Rows::begin(["error", "count"], json);
    for error in info.list("errorstat_") {
        rows.row(vec![error.name.clone().into(), error.count("count").into()])?;
    }
    rows.end()
}

const CLIENTS: [&str; 15] = [
    "client",
    "address",
    "name",
    "library",
    "age_s",
    "idle_s",
    "flags",
    "command",
    "subscriptions",
    "commands",
    "bytes_in",
    "bytes_out",
    "query_bytes",
    "output_bytes",
    "dropped",
];

fn by_client(list: &str, json: bool) -> Result<()> {
    let mut rows = Rows::begin(CLIENTS, json);
    for line in list.lines() {
        let client = ClientLine(line);
        let text = |name: &str| client.text(name).filter(|text| !text.is_empty()).map(str::to_owned).into();
        let count = |name: &str| client.count(name).into();
        let subscriptions: u64 = ["sub", "psub", "ssub"].into_iter().filter_map(|name| client.count(name)).sum();
        rows.row(vec![
            count("id"),
            text("addr"),
            text("name"),
            text("lib-name"),
            count("age"),
            count("idle"),
            text("flags"),
            text("cmd"),
            subscriptions.into(),
            count("tot-cmds"),
            count("tot-net-in"),
            count("tot-net-out"),
            count("qbuf"),
            client.count("obl").zip(client.count("omem")).map(|(replies, messages)| replies + messages).into(),
            count("dropped"),
        ])?;
    }
    rows.end()
}

/// A line of CLIENT LIST. An address may be a path with blanks in it, and stands before `laddr`.
struct ClientLine<'a>(&'a str);

impl<'a> ClientLine<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let start = if name == "id" { self.0.strip_prefix("id=")? } else { self.0.split_once(&format!(" {name}="))?.1 };
        let end = if name == "addr" { " laddr=" } else { " " };
        Some(start.split_once(end).map_or(start, |(text, _)| text))
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}
