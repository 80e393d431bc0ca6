//! `drave compact`: retention and compaction now.

use clap::Args as ClapArgs;
use drave::Error;
use drave::engine::{Engine, Kept, Upkeep};
use drave::ids::TopicName;

use super::context::Context;
use super::exit::{Exit, InTopic as _};
use super::progress::Bar;
use super::table::Table;
use super::{Result, topic_name};

/// Free what topics are not to keep: retention and compaction now
///
/// For each topic, or those that are named, it does what the topic's settings say; for cron. A running server does the same every minute, and a
/// publisher that begins a new segment sees to retention.
///
/// Retention (max-age, max-bytes, max-records) removes whole segments, once every record in them is beyond a limit; drave topic trim is exact. What a
/// group has not committed is kept (protect-groups), of the newest protect-bytes-max bytes. Ages count from the newest record, or from now, whichever is
/// earlier: a clock that jumps expires nothing. How long an idle topic has been idle is seen from one run to the next.
///
/// Compaction (compact=on) keeps the newest record of each key. Records without a key are always kept; a null (publish --tombstone) that is the newest of
/// its key is kept for tombstone-age. Deleted records go. Offsets do not change. Only segments that are no longer appended to are compacted: see
/// segment-bytes and segment-age. Publishers and readers go on meanwhile.
///
/// Columns: topic, expired (records beyond the limits of retention), removed (records that compaction took), segments (how many there are less),
/// bytes (freed), protected_bytes (beyond the limits, and kept for a group). Without TOPIC, topics that neither retention nor compaction is set for
/// are left out.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The topics; default: all
    #[arg(value_name = "TOPIC", value_parser = topic_name())]
    topics: Vec<TopicName>,

    /// Say what would be freed, and free nothing
    #[arg(long)]
    dry_run: bool,

    /// Read so much a second at most, as 20MB/s
    #[arg(long, value_name = "SIZE/s", value_parser = drave::units::parse_byte_rate)]
    rate: Option<u64>,

    /// Print an object a line: {"topic","expired","removed","segments","bytes","protected_bytes"}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  drave topic set logs max-age=30d max-bytes=50GiB
  drave topic set prices compact=on
  drave compact --dry-run                 what would be freed, everywhere
  drave compact prices --rate 20MB/s";

/// Runs the verb.
pub(super) fn run(args: &Args, context: &Context) -> Result {
    context.handle_signals()?;
    let engine = context.open(false)?;
    let named = !args.topics.is_empty();
    let topics = if named { args.topics.clone() } else { engine.topics()? };
    let how = Upkeep { dry_run: args.dry_run, bytes_per_second: args.rate };
    let bar = Bar::start(&context.job, !context.quiet);
    let mut table = Table::new(&["topic", "expired", "removed", "segments", "bytes", "protected_bytes"]);
    let mut total = Kept::default();
    let mut first_error = None;
    for topic in &topics {
        let mut kept = Kept::default();
        let ended = keep(engine.as_ref(), topic, named, how, &mut kept, context);
        // What was done until it failed is done.
        if ended.as_ref().map_or(kept != Kept::default(), |is_set| *is_set) {
            total.expired += kept.expired;
            total.removed += kept.removed;
            total.bytes += kept.bytes;
            table.row(vec![
                topic.into(),
                kept.expired.into(),
                kept.removed.into(),
                kept.segments.into(),
                kept.bytes.into(),
                kept.protected_bytes.into(),
            ]);
        }
        match ended {
            Ok(_) => {}
            // Deleted since it was listed.
            Err(Error::TopicMissing { .. } | Error::TopicGone { .. }) if !named => {}
            Err(error) => {
                let is_stop = matches!(error, Error::Stopped | Error::TimedOut);
                let error = Err::<(), _>(error).in_topic(topic).err();
                if let Some(before) = std::mem::replace(&mut first_error, error) {
                    // The first one is told at the end, the others here.
                    let later = first_error.replace(before);
                    later.iter().for_each(|error| context.say(&format!("{error:#}")));
                }
                if is_stop {
                    break;
                }
            }
        }
    }
    drop(bar);
    table.print(args.json)?;
    let would = if args.dry_run { "would free" } else { "freed" };
    let Kept { expired, removed, bytes, .. } = total;
    context.say(&format!("{would} {bytes} bytes: {expired} records expired, {removed} superseded or deleted"));
    first_error.map_or(Ok(Exit::Done), Err)
}

/// `false` = there is nothing that the topic's settings say.
fn keep(
    engine: &dyn Engine,
    topic: &TopicName,
    named: bool,
    how: Upkeep,
    kept: &mut Kept,
    context: &Context,
) -> drave::Result<bool> {
    context.job.check()?;
    if !named {
        let (settings, _) = engine.settings(topic)?;
        if !settings.has_retention() && !settings.compact {
            return Ok(false);
        }
    }
    engine.keep_topic(topic, how, kept, &context.job).map(|()| true)
}
