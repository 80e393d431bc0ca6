//! `drave serve`: the Redis protocol in front of the store.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use drave::server::{Address, Limits, ServeOptions, SlowSubscriber, Stopper, serve};
use drave::store::{Keep, SnapshotOptions};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::schedule::{Plan, Schedule};
use super::snapshot::{parse_keep, refuse_inside};
use super::{Result, password};

/// Serve the store to Redis clients, in any language
///
/// Topics are streams, durable and as large as the disk; groups are those of `drave consume`. All other commands go on working on the same
/// directory meanwhile. Without --resp only the socket drave.sock in the store's directory is listened on, which nobody but its owner may use.
///
/// One line on stderr says when it is ready. SIGINT and SIGTERM end it: no new clients, what runs is finished and synced; a second one ends it at once.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Also listen on this address, as 127.0.0.1:7379 or [::1]:7379; repeatable. Port 0: any free one
    #[arg(long, value_name = "ADDR")]
    resp: Vec<String>,

    /// Clients have to say the password that this file holds (its first line): AUTH, or HELLO 3 AUTH default PASSWORD
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// What becomes of messages for a subscriber that does not keep up
    #[arg(long, value_name = "POLICY", value_enum, default_value = "drop-oldest")]
    slow_subscriber: Policy,

    /// Bytes of messages kept for a subscriber that does not keep up
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size)]
    subscriber_buffer: usize,

    /// The most connections at once
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    max_clients: u32,

    /// The largest request: what a client has sent beyond it closes the connection
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    query_buffer: usize,

    /// The largest argument of a request
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = size)]
    argument_size: usize,

    /// The largest reply: beyond it the connection is closed. Who does not read has 256 KiB of replies made at a time
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    output_buffer: usize,

    /// Close connections that say nothing for so long; those that wait or listen are left alone [default: never]
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration)]
    idle_timeout: Option<Duration>,

    /// Let FLUSHDB and FLUSHALL delete every topic
    #[arg(long)]
    allow_flush: bool,

    /// Make a snapshot so long after the newest one in the directory of --snapshot-to
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration, requires = "snapshot_to")]
    snapshot_every: Option<Duration>,

    /// Where to make snapshots, as `drave snapshot DEST` does
    #[arg(long, value_name = "DIR", requires = "snapshot_every")]
    snapshot_to: Option<PathBuf>,

    /// Then remove all but the N newest of this store [default: none is removed]
    #[arg(long, value_name = "N", value_parser = parse_keep, requires = "snapshot_to")]
    snapshot_keep: Option<NonZeroU32>,
    /// How often retention and compaction look after the topics
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = drave::units::parse_duration)]
    upkeep_every: Duration,

    /// How the log on stderr is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  drave serve --resp 127.0.0.1:7379                     for this machine
  drave serve --resp 0.0.0.0:7379 --password-file pw    for others too
  redis-cli -p 7379 XADD orders '*' value hello         any Redis client";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// What waits longest goes
    DropOldest,
    /// What comes now goes
    DropNewest,
    /// The subscriber is closed
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Args {
    /// The files and directories that are named, and which option does it; those that are written to.
    pub(super) fn paths(&self) -> [(&'static str, Option<&Path>, bool); 2] {
        [("--password-file", self.password_file.as_deref(), false), ("--snapshot-to", self.snapshot_to.as_deref(), true)]
    }
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = drave::units::parse_size(text)?;
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).ok_or_else(|| "must be at least 1 byte".to_owned())
}

pub(crate) fn run(args: Args, context: &Context) -> Result {
    let password = args.password_file.as_deref().map(password::of_file).transpose()?;
    let tcp = addresses(&args.resp, password.is_some())?;
    let options = ServeOptions {
        tcp,
        password,
        slow_subscriber: match args.slow_subscriber {
            Policy::DropOldest => SlowSubscriber::DropOldest,
            Policy::DropNewest => SlowSubscriber::DropNewest,
            Policy::Close => SlowSubscriber::Close,
        },
        allow_flush: args.allow_flush,
        upkeep_every: args.upkeep_every,
        limits: Limits {
            clients_max: args.max_clients as usize,
            argument_bytes_max: args.argument_size as u64,
            query_bytes_max: args.query_buffer,
            output_bytes_max: args.output_buffer,
            subscriber_bytes_max: args.subscriber_buffer,
            idle_max: args.idle_timeout,
        },
    };
    if options.upkeep_every.is_zero() {
        return Err(Failure::new(Exit::Usage, "--upkeep-every must be longer than nothing").into());
    }
    let store = context.open_to_serve()?;
    let _snapshots = snapshots(args.snapshot_every.zip(args.snapshot_to), args.snapshot_keep, context)?;
    let stopper = Stopper::new();
    let on_signal = stopper.clone();
    context.handle_signals()?.wake_also(move || on_signal.stop());
    serve(store, options, &stopper, |addresses| ready(addresses, context))?;
    // It was asked to end, and did.
    Ok(Exit::Done)
}

fn snapshots(wanted: Option<(Duration, PathBuf)>, newest: Option<NonZeroU32>, context: &Context) -> Result<Option<Schedule>> {
    let Some((every, dest)) = wanted else { return Ok(None) };
    if every.is_zero() {
        return Err(Failure::new(Exit::Usage, "--snapshot-every must be longer than nothing").into());
    }
    let store = context.open_store()?;
    refuse_inside(&store, dest.as_os_str())?;
    let options = SnapshotOptions { keep: Keep { newest, daily: None }, ..SnapshotOptions::default() };
    Schedule::start(store, Plan { every, dest, options }).map(Some)
}

fn ready(addresses: &[Address], context: &Context) {
    let places: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    context.say(&format!("ready on {}", places.join(", ")));
    // Without a service manager nobody listens.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn addresses(texts: &[String], has_password: bool) -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for text in texts {
        let found = text.to_socket_addrs().map_err(|error| {
            Failure::new(Exit::Usage, format!("'{text}' is no address to listen on, as 127.0.0.1:7379: {error}"))
        });
        let found: Vec<SocketAddr> = found?.collect();
        let is_open = found.iter().any(|address| !address.ip().is_loopback());
        if is_open && !has_password {
            let sentence = format!("{text} can be reached from other machines: give --password-file, or listen on 127.0.0.1");
            return Err(Failure::new(Exit::Usage, sentence).into());
        }
        addresses.extend(found);
    }
    Ok(addresses)
}
