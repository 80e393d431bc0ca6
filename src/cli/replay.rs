//! `drave replay`: records of the past, to stdout or into another topic.

use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use drave::codec::{BatchBuilder, FieldRef, Record, Records};
use drave::engine::{Engine, Feed, Next, Position, PublishOptions};
use drave::ids::TopicName;
use drave::job::Job;

use super::exit::{Exit, Failure, InTopic as _, say};
use super::filter::FilterArgs;
use super::format::FORMAT_HELP;
use super::output::{Output, OutputArgs};
use super::position::{self, POSITIONS_HELP, Range};
use super::progress::Bar;
use super::publish::{Outlet, Tally};
use super::reading::{Gaps, InTopics as _, Selection, Sink, in_merge_order, parse_topic, say_gap};
use super::signals::Stop;
use super::watch::pause;
use super::{Context, Result};

/// A batch on its way into another topic is published at this size.
const BATCH_BYTES: usize = 1 << 20;
/// How often at least a sync is begun of what has been published.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Who waits for a rate limit looks this often whether to stop.
const LIMIT_SLICE: Duration = Duration::from_millis(50);

/// Print the records of topics, from the start to the end
///
/// The end is where the topics end when the command begins: what is published meanwhile is left out, see
/// "drave tail --follow" for that. Several topics are merged in the order of their record IDs, which is that of
/// time.
///
/// Records that expired, or that are damaged, are told on stderr with their offsets.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{POSITIONS_HELP}\n\n{FORMAT_HELP}"))]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC", value_parser = OsStringValueParser::new().try_map(parse_topic))]
    topics: Vec<TopicName>,

    /// The first record; see Positions below
    #[arg(long, value_name = "POSITION", value_parser = position::parse, allow_hyphen_values = true, default_value = "start")]
    from: Position,

    /// The first record that is left out
    #[arg(long, value_name = "POSITION", value_parser = position::parse, allow_hyphen_values = true, default_value = "end")]
    until: Position,

    /// Both at once, as 100..200, -10..end or @2h..@1h
    #[arg(long, value_name = "A..B", value_parser = position::parse_range, allow_hyphen_values = true, conflicts_with_all = ["from", "until"])]
    range: Option<Range>,

    /// Stop after N records, counted after filters
    #[arg(short = 'n', value_name = "N")]
    count: Option<u64>,

    /// The pace: 1x as it was, 10x ten times as fast, max without waiting
    #[arg(long, value_name = "SPEED", value_parser = Speed::parse, default_value = "max")]
    speed: Speed,

    /// Publish the records to this topic instead of printing them; they keep their fields and get new IDs
    #[arg(
        long,
        value_name = "TOPIC",
        value_parser = OsStringValueParser::new().try_map(parse_topic),
        conflicts_with_all = ["nul", "json", "format"]
    )]
    into: Option<TopicName>,

    /// With --into: how long each batch waits where rate limits hold it up. Without: it is refused at once, exit 9. A batch larger than a limit's burst is published in pieces
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration, default_value = "0s", hide_default_value = true, requires = "into")]
    limit_wait: Duration,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  drave replay orders                            all of it
  drave replay orders --range @1h..end           the last hour
  drave replay orders --from -100 --key c42      of the last hundred, those of one key
  drave replay orders -o '%o %k %v\\n'            with offset and key
  drave replay orders --json | drave publish copy --json
  drave replay orders --into copy                the same, faster
  drave replay orders --speed 10x | ./consumer   as it was, ten times as fast";

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Max,
    /// So many times the original pace.
    Times(f64),
}

impl Speed {
    fn parse(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        let number = text.strip_suffix('x').filter(|number| number.starts_with(|first: char| first.is_ascii_digit()));
        match number.and_then(|number| number.parse().ok()) {
            Some(times) if f64::is_finite(times) && times > 0.0 => Ok(Speed::Times(times)),
            _ => Err(format!("'{text}' is not a speed: write 1x, 10x, 0.5x or max")),
        }
    }
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Result {
    let topics = in_merge_order(args.topics);
    let waits = args.into.is_some() || args.speed != Speed::Max;
    let stop = if waits { Some(context.handle_signals()?) } else { None };
    let engine = context.open(false)?;
    let job = &context.job;
    let range = args.range.unwrap_or(Range { from: args.from, until: args.until });
    let mut replay = Replay::open(&*engine, topics, &range, job)?;
    replay.selection = Selection { filter: args.filter.resolve(), left: args.count, ..Selection::default() };
    // Between the lines of a terminal a bar would only be in the way.
    let _bar = Bar::counting_records(job, !context.quiet && (args.into.is_some() || !std::io::stdout().is_terminal()));
    match args.into {
        Some(into) => {
            let mut sink = Into::open(&*engine, &into, args.limit_wait, job)?;
            let read = replay.run_at(args.speed, &mut sink, None, stop);
            let finished = sink.finish();
            if read.is_err() || finished.is_err() {
                sink.say_published();
            }
            finished.and(read)?;
        }
        None => {
            let mut sink = Output::stdout(args.output)?;
            sink.interrupt_with(job, stop);
            let watched = if waits { Some(sink.watched()?) } else { None };
            replay.run_at(args.speed, &mut sink, watched, stop)?;
        }
    }
    Ok(if replay.damaged { Exit::Damaged } else { Exit::Done })
}

/// A running replay.
struct Replay<'a> {
    feed: Box<dyn Feed + 'a>,
    topics: Vec<TopicName>,
    selection: Selection,
    job: &'a Job,
    gaps: Gaps,
    damaged: bool,
}

impl<'a> Replay<'a> {
    fn open(engine: &'a dyn Engine, topics: Vec<TopicName>, range: &Range, job: &'a Job) -> Result<Replay<'a>> {
        let mut feed = engine.feed(&topics, job)?;
        // All ends first: "now" is the moment when the command began.
        let mut ends = Vec::with_capacity(topics.len());
        for (index, topic) in topics.iter().enumerate() {
            ends.push(range.until.resolve(&mut *feed, index).in_topic(topic)?);
        }
        let mut total = 0;
        for (index, topic) in topics.iter().enumerate() {
            let from = range.from.resolve(&mut *feed, index).in_topic(topic)?;
            total += ends[index].since(from);
            feed.seek(index, from.min(ends[index])).in_topic(topic)?;
            feed.stop_at(index, Some(ends[index]));
        }
        feed.limit_as(b"");
        // Records, not bytes: how many bytes they have is known when they have been read.
        job.expect_bytes(total);
        Ok(Replay { feed, topics, selection: Selection::default(), job, gaps: Gaps::default(), damaged: false })
    }

    fn run_at(&mut self, speed: Speed, sink: &mut dyn Sink, watched: Option<OwnedFd>, stop: Option<&Stop>) -> Result<()> {
        let result = match speed {
            Speed::Max => self.run(sink),
            Speed::Times(times) => {
                let job = self.job.clone();
                self.run(&mut Paced { sink, times, job, watched, stop, began: None })
            }
        };
        result.map_err(|error| match error.downcast_ref() {
            Some(drave::Error::TimedOut) => {
                let sentence = format!("the time limit ran out after {} records", self.selection.taken);
                Failure::new(Exit::TimedOut, sentence).into()
            }
            _ => error,
        })
    }

    fn run(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let result = self.read(sink);
        self.gaps.say_kept();
        result
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<()> {
        while !self.selection.is_full() {
            let next = self.job.check().and_then(|()| self.feed.next());
            match next {
                Ok(Next::Records { topic, records }) => {
                    let topic = &self.topics[topic];
                    self.job.advance(u64::from(records.len()));
                    if let Some(undecodable) = self.selection.pass(topic, records, sink)? {
                        undecodable.say(topic);
                        self.damaged = true;
                    }
                }
                Ok(Next::Gap { topic, gap }) => {
                    self.job.advance(gap.until.since(gap.from));
                    if self.gaps.keep(&self.topics[topic], &gap) {
                        continue;
                    }
                    sink.flush()?;
                    self.damaged |= say_gap(&self.topics[topic], &gap);
                }
                Ok(Next::Limited(wait)) => {
                    sink.flush()?;
                    pause(None, None, self.job.at_most(wait.min(LIMIT_SLICE)))?;
                }
                Ok(Next::CaughtUp | Next::End) => break,
                Err(error) => {
                    // What was read before is good. If it cannot be written, the first error is told.
                    let _ = sink.flush();
                    return Err(error).in_topics(&self.topics);
                }
            }
        }
        sink.flush()
    }
}

/// Waits before each record until it is due.
struct Paced<'a> {
    sink: &'a mut dyn Sink,
    times: f64,
    job: Job,
    watched: Option<OwnedFd>,
    stop: Option<&'a Stop>,
    /// When the first record went on, and its ms.
    began: Option<(Instant, u64)>,
}

impl Paced<'_> {
    fn wait_for(&mut self, ms: u64) -> Result<()> {
        let (began, first_ms) = *self.began.get_or_insert_with(|| (Instant::now(), ms));
        // A hundred years is for ever.
        let due_ms = (ms.saturating_sub(first_ms) as f64 / self.times).min(3.2e12);
        let due = Duration::from_secs_f64(due_ms / 1000.0);
        if began.elapsed() >= due {
            return Ok(());
        }
        self.sink.flush()?;
        loop {
            self.job.check()?;
            let left = due.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            pause(self.watched.as_ref().map(|fd| fd.as_fd()), self.stop, self.job.at_most(left))?;
        }
    }
}

impl Sink for Paced<'_> {
    fn take_all(&mut self, _topic: &TopicName, _records: &Records<'_>) -> Result<bool> {
        Ok(false)
    }

    fn take(&mut self, topic: &TopicName, record: &Record<'_>) -> Result<()> {
        self.wait_for(record.id.ms)?;
        self.sink.take(topic, record)
    }

    fn flush(&mut self) -> Result<()> {
        self.sink.flush()
    }
}

/// Publishes records to a topic.
struct Into<'a> {
    outlet: Outlet<'a>,
    builder: BatchBuilder,
    synced_at: Instant,
}

impl<'a> Into<'a> {
    fn open(engine: &'a dyn Engine, topic: &TopicName, limit_wait: Duration, job: &Job) -> Result<Into<'a>> {
        let options = PublishOptions { durability: None, create: true, limit_wait, job: job.clone() };
        let outlet = Outlet::open(engine, topic, &options)?;
        Ok(Into { outlet, builder: BatchBuilder::new(), synced_at: Instant::now() })
    }

    /// Stores what has been published at the topic's level.
    fn finish(&mut self) -> Result<()> {
        let flushed = self.flush();
        let closed = self.outlet.close();
        flushed.and(closed)
    }

    fn say_published(&self) {
        let Tally { records, last } = self.outlet.written();
        let last = last.map_or(String::new(), |last| format!(", last offset {last}"));
        say(&format!("{}: published {records} records{last}", self.outlet.topic()));
    }
}

impl Sink for Into<'_> {
    fn take_all(&mut self, _topic: &TopicName, _records: &Records<'_>) -> Result<bool> {
        Ok(false)
    }

    fn take(&mut self, _topic: &TopicName, record: &Record<'_>) -> Result<()> {
        let fields: Vec<FieldRef<'_>> = record.fields().collect();
        self.builder.push(&fields, record.null, None).map_err(|malformed| anyhow::anyhow!(malformed.to_string()))?;
        if self.builder.bytes() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let published = self.outlet.publish(&self.builder.batch(), |_| ());
        // Also where it failed: pieces of it may have gone.
        self.builder.clear();
        published?;
        if self.synced_at.elapsed() >= SYNC_INTERVAL {
            self.outlet.start_sync()?;
            self.synced_at = Instant::now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
