//! `drave inspect`: looks at a store, its topics, segments, frames and cursors, whatever state they
//! are in. Below the engine: an engine works on what opens.

mod files;
mod groups;
mod limits;
mod server;
mod topics;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use drave::ids::{GroupName, TopicName};
use drave::store::is_damage;
use drave::units::parse_duration;

use super::context::Context;
use super::exit::{Exit, Failure, InTopic as _, code_of_library, stdout_failed};
use super::watch::pause;
use super::{Result, group_name, topic_name};

/// Look at a store, its topics, segments, frames and cursors
///
/// Without a command: at the store. Names: path, id, version, problem (of store.toml), topics, cursors, bytes (of all files), defaults (what
/// store.toml sets, as "durability=none compression=zstd:3").
///
/// Looking changes nothing and needs no right to write. It works while others publish, after a crash, and where something is damaged: the column
/// problem tells that, and the exit status is 7.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,

    /// Print objects, one a line; their members are named as the columns, and null where a table has nothing
    #[arg(long, global = true)]
    json: bool,

    /// Print it again after each DURATION, as 2s, until stopped
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, global = true)]
    watch: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum What {
    Topics(Topics),
    Topic(Topic),
    Segments(Segments),
    Frames(Frames),
    Cursors(Cursors),
    Groups(Groups),
    Group(Group),
    Pending(Pending),
    Server(server::Server),
    Limits(Limits),
}

/// All topics
///
/// Columns: topic, records (from log start to log end, without deleted ones), bytes (of all its files), segments, log_start (first offset kept), log_end (next offset to be
/// assigned), durable (first offset not known to be on stable storage), last_time (of the last record ever), problem.
#[derive(ClapArgs, Debug)]
struct Topics {}

/// All that is known of a topic
///
/// Names: topic, directory, incarnation, records, deleted (records deleted one by one), log_start, log_end, high_watermark (first offset that readers may not see), durable, epoch,
/// last_id, last_time, entries_added, segments, bytes, poisoned (a sync failed, the next publish repairs that), unrecovered (the next publish
/// looks for what a crash left), then the settings in force, as topic show lists them.
#[derive(ClapArgs, Debug)]
struct Topic {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,
}

/// The segment files of a topic
///
/// Columns: base (first offset, and the file's name), end (the offset after its last one), bytes, epoch, created, durable (the topic's durable
/// offset then), previous (base of the segment before), previous_end (where that one ends, in bytes), index_bytes, problem (of the header).
#[derive(ClapArgs, Debug)]
struct Segments {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,
}

/// The frames in the segment files of a topic, or in one such file
///
/// Columns: segment (base offset), position (in the file, in bytes), length (bytes), kind, base (first offset), span (how many offsets),
/// count (how many records), id (of the first record), time (of that ID), durable (the topic's durable offset then), zstd (whether it is
/// compressed), problem. Kinds: records; mark (all below the durable offset is synced); log-start (the log start moved); hole (records given
/// up by a repair); behind (bytes that are not part of the log); bad (bytes that are not what was written).
#[derive(ClapArgs, Debug)]
struct Frames {
    /// A topic; or a file, if there is no such topic, or if it begins with / or ./ or ../
    #[arg(value_name = "TOPIC|FILE")]
    place: OsString,

    /// Only the segment with this base offset
    #[arg(long, value_name = "BASE")]
    segment: Option<u64>,
}

/// The places that tail --as NAME keeps
///
/// Columns: name, topic, offset (of the next record), epoch, saved (when), waiting (how many records wait for it), problem.
#[derive(ClapArgs, Debug)]
struct Cursors {
    /// Only those on this topic
    #[arg(value_parser = topic_name())]
    topic: Option<TopicName>,
}

/// Consumer groups, and how far behind they are
///
/// Columns: topic, group, committed (everything below is settled), lag (records from there to the end), lag_ms (how old the first of them is),
/// undelivered (records that nobody got yet), pending (delivered and not settled), rate (deliveries a second in the last minute), delivered (ever),
/// dead (dead letters), members, problem.
#[derive(ClapArgs, Debug)]
struct Groups {
    /// Only those of this topic
    #[arg(value_parser = topic_name())]
    topic: Option<TopicName>,

    /// Exit 20 if a lag is above this: a number of records, or how old they are, as 30s
    #[arg(long, value_name = "LAG", value_parser = groups::Threshold::parse)]
    fail_above: Option<groups::Threshold>,
}

/// The consumers of a group
///
/// Columns: consumer, member (whether it works now), lanes (that it owns), pending (entries that it holds), idle_ms (since it last got records).
#[derive(ClapArgs, Debug)]
struct Group {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// The group
    #[arg(value_parser = group_name())]
    group: GroupName,
}

/// What a group has been given and has not settled
///
/// Columns: offset, letter (whether that is in the dead-letter topic: a dead letter that is tried again), state (leased to a consumer; waiting for
/// its next delivery; dying: on its way to the dead letters), consumer (who has it, or had it last), attempts, idle_ms (since it was delivered
/// or given back), due_ms (until it may be delivered again, if it waits), receipt (for group ack and nack, if it is leased).
#[derive(ClapArgs, Debug)]
struct Pending {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// The group
    #[arg(value_parser = group_name())]
    group: GroupName,
}

/// Rate limits, and what they did
///
/// Columns: limit, counts (records or bytes), rate, burst, factor_percent (of the rate that holds now, if the limit is adaptive), allowed (records
/// or bytes), denied (those that were refused), waited (how often somebody waited), waited_ms (for how long, in all). They count since the limit
/// was first used.
#[derive(ClapArgs, Debug)]
struct Limits {}

const EXAMPLES: &str = "\
Examples:
  drave inspect                           the store
  drave inspect topics --watch 2s         a row a topic, again and again
  drave inspect topic orders --json       all that is known of one
  drave inspect frames orders             what lies in its files
  drave inspect cursors                   how many records wait for each tail --as NAME
  drave inspect groups --fail-above 30s   exit 20 if a group is behind by more
  drave inspect pending jobs resize       who holds what, and since when
  drave inspect server --by topic         what goes through drave serve, and how fast";

/// Runs the verb.
pub(super) fn run(args: &Args, context: &Context) -> Result {
    let Some(interval) = args.watch else { return look(args, context) };
    let stop = context.handle_signals()?;
    let mut stdout = std::io::stdout();
    let mut is_first = true;
    loop {
        let before: &[u8] = match (stdout.is_terminal(), args.json || is_first) {
            (true, _) => b"\x1b[H\x1b[2J",
            (false, true) => b"",
            (false, false) => b"\n",
        };
        stdout.write_all(before).map_err(stdout_failed)?;
        let exit = look(args, context)?;
        if exit == Exit::Threshold {
            return Ok(exit);
        }
        is_first = false;
        pause(Some(stdout.as_fd()), Some(stop), context.job.at_most(interval))?;
        context.job.check()?;
    }
}

fn look(args: &Args, context: &Context) -> Result {
    match &args.what {
        None => topics::store(args.json, context),
        Some(What::Topics(_)) => topics::all(args.json, context),
        Some(What::Topic(of)) => topics::one(&of.topic, args.json, context),
        Some(What::Cursors(of)) => topics::cursors(of.topic.as_ref(), args.json, context),
        Some(What::Groups(of)) => groups::all(of.topic.as_ref(), of.fail_above, args.json, context),
        Some(What::Group(of)) => groups::one(&of.topic, &of.group, args.json, context),
        Some(What::Pending(of)) => groups::pending(&of.topic, &of.group, args.json, context),
        Some(What::Server(of)) => server::server(of, args.json, context),
        Some(What::Limits(_)) => limits::all(args.json, context),
        Some(What::Segments(of)) => files::segments(&of.topic, args.json, context),
        Some(What::Frames(of)) => files::frames(of, args.json, context),
    }
}

/// What the exit status will be: damage comes before all other problems.
#[derive(Debug, Default)]
struct Status(Option<Exit>);

impl Status {
    fn note(&mut self, error: &drave::Error) {
        let exit = exit_of(error);
        if exit == Exit::Damaged || self.0.is_none() {
            self.0 = Some(exit);
        }
    }

    fn note_damage(&mut self) {
        self.0 = Some(Exit::Damaged);
    }

    fn exit(&self) -> Exit {
        self.0.unwrap_or(Exit::Done)
    }
}

/// What is wrong with one of many things is damage of that one, also where it would be the store's.
fn exit_of(error: &drave::Error) -> Exit {
    if is_damage(error) { Exit::Damaged } else { code_of_library(error, None) }
}

/// Names the topic, with the exit status that its state deserves.
fn of_topic<T>(result: drave::Result<T>, topic: &TopicName) -> Result<T> {
    match result {
        Err(error) if is_damage(&error) => Err(Failure::new(Exit::Damaged, format!("{topic}: {error}")).into()),
        other => other.in_topic(topic),
    }
}
