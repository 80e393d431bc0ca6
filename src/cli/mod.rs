//! The commands. One verb, one file: its `Args` (whose comments are the help text), then `run`.
//!
//! What was typed is parsed here, resolved once in [`context`], and then handed to the verb. A verb
//! talks to `drave::engine` and returns how it ended; [`exit`] turns that into words and a status.

mod compact;
mod confirm;
mod consume;
mod context;
mod dlq;
mod escape;
mod exit;
#[cfg(test)]
mod fake;
mod filter;
mod format;
mod generate;
mod group;
mod input;
mod inspect;
mod json;
mod key_path;
mod limit;
mod metrics;
mod ndjson;
mod output;
mod password;
mod position;
mod progress;
mod publish;
mod read_ahead;
mod reading;
mod replay;
mod restore;
mod schedule;
mod serve;
mod server_info;
mod signals;
mod snapshot;
mod systemd;
mod table;
mod tail;
#[cfg(test)]
mod testing;
mod topic;
mod verify;
mod watch;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, ColorChoice, Parser, Subcommand};

use drave::ids::{GroupName, TopicName};

use context::Context;
use exit::Exit;

/// How a verb ends. An error carries its exit code, see [`exit::code_of`].
type Result<T = Exit, E = anyhow::Error> = std::result::Result<T, E>;

/// Durable, append-only logs in a directory, with no daemon
///
/// A store is a directory of topics. A topic is a log: records are appended at its end and keep their
/// offset for ever. Any number of processes may publish to a topic and read it at the same time.
///
/// What a command prints on stdout is data; words go to stderr. Exit status 0 means that all of it was done.
#[derive(Debug, Parser)]
#[command(name = "drave", version, after_help = EXAMPLES, after_long_help = AFTER_LONG_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  seq 1000 | drave publish numbers        append a record a line, create what is missing
  drave topic list                        which topics there are
  drave help publish                      all about one command";

const AFTER_LONG_HELP: &str = "\
Examples:
  seq 1000 | drave publish numbers        append a record a line, create what is missing
  drave topic list                        which topics there are
  drave help publish                      all about one command

Exit status:
  0    all done, at the level asked for
  1    failed, or only partly done
  2    usage
  3    no such topic, group, snapshot or offset
  5    busy: held by another process for longer than the time limit
  6    not allowed
  7    damage found
  9    rate limit or quota
  10   input rejected
  11   the store is missing or cannot be reached
  12   conflict
  13   this engine cannot do that
  20   a threshold was crossed
  124  the time limit of --timeout ran out
  130  SIGINT, 143 SIGTERM: stopped cleanly; 141 SIGPIPE: nobody reads the output any more

Environment:
  DRAVE_STORE     the store, where --store is not given
  DRAVE_PASSWORD  the password of its server, where --password-file is not given
  NO_COLOR        set to anything: no colours";

/// What every command understands.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]
    #[arg(short, long, value_name = "WHERE", global = true)]
    store: Option<OsString>,

    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Show the causes of an error; twice: a debug log on stderr
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,

    /// When to colour what is said on a terminal
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    color: ColorChoice,

    /// An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration, global = true)]
    timeout: Option<Duration>,

    /// Use a store though its file system is not known to keep what it has synced (network, FUSE)
    #[arg(long, global = true)]
    unsafe_fs: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(publish::Args),
    Tail(tail::Args),
    Replay(replay::Args),
    Consume(consume::Args),
    Group(group::Args),
    Dlq(dlq::Args),
    Topic(topic::Args),
    Limit(limit::Args),
    Compact(compact::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Metrics(metrics::Args),
    Snapshot(snapshot::Args),
    Restore(restore::Args),
    Serve(serve::Args),
    Generate(generate::Args),
}

/// Parses, resolves, runs, and says how it went.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::after_parsing(&error),
    };
    let context = Context::new(&cli.global);
    let result = context.start_log().and_then(|()| run(cli.command, &context));
    exit::conclude(result, &context)
}

fn run(command: Command, context: &Context) -> Result {
    match command {
        Command::Publish(args) => publish::run(args, context),
        Command::Tail(args) => tail::run(args, context),
        Command::Replay(args) => replay::run(args, context),
        Command::Consume(args) => consume::run(args, context),
        Command::Group(args) => group::run(args, context),
        Command::Dlq(args) => dlq::run(args, context),
        Command::Topic(args) => topic::run(args, context),
        Command::Limit(args) => limit::run(args, context),
        Command::Compact(args) => compact::run(&args, context),
        Command::Inspect(args) => inspect::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Metrics(args) => metrics::run(&args, context),
        Command::Snapshot(args) => snapshot::run(args, context),
        Command::Restore(args) => restore::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Generate(args) => generate::run(&args, context),
    }
}

/// Reads a group's name: any bytes.
fn group_name() -> impl TypedValueParser<Value = GroupName> {
    OsStringValueParser::new().try_map(|name| {
        let why = || format!("a group's name has 1 to {} bytes", GroupName::BYTES_MAX);
        GroupName::new(name.as_bytes()).ok_or_else(why)
    })
}

/// Reads a topic's name: any bytes.
fn topic_name() -> impl TypedValueParser<Value = TopicName> {
    OsStringValueParser::new().try_map(reading::parse_topic)
}
