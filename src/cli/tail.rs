//! `drave tail`: the last records, and those that come.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use drave::engine::{Cursor, Engine, Feed, Next};
use drave::ids::{Offset, Place, TopicName};
use drave::job::Job;

use super::exit::{Exit, InTopic as _, stdout_failed};
use super::filter::{Filter, FilterArgs};
use super::format::FORMAT_HELP;
use super::output::{Output, OutputArgs};
use super::reading::{Gaps, InTopics as _, Selection, Sink as _, in_merge_order, parse_topic, say_gap};
use super::signals::Stop;
use super::watch::{Watch, pause};
use super::{Context, Result};

/// How long a wait for new records lasts before it is looked whether something else happened.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How often at least a cursor is saved while records are printed.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether a topic that is waited for is there.
const AWAIT_INTERVAL: Duration = Duration::from_millis(20);

/// Print the last records of topics, and follow them
///
/// Prints the last 10 records, oldest first, and stops; with --follow it goes on and prints each record as
/// it is published. Several topics are merged in the order of their record IDs, which is that of time.
///
/// Records that expired, or that are damaged, are told on stderr with their offsets.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{FORMAT_HELP}"))]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC", value_parser = OsStringValueParser::new().try_map(parse_topic))]
    topics: Vec<TopicName>,

    /// Start N records before the end, counted after filters
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: u64,

    /// Go on with what is published, until stopped or until nobody reads the output
    #[arg(short, long)]
    follow: bool,

    /// Wait for topics that do not exist yet; all their records are printed
    #[arg(long)]
    wait: bool,

    /// Keep under NAME which records were printed, and start after them the next time
    ///
    /// The first time, -n decides where to start. The place is saved once the output has been accepted: after
    /// a crash some records may be printed again, none is left out. It expires after 30 days without use.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<OsString>,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  drave tail orders                       the last 10 records
  drave tail orders -n 0 -f               only what is published from now on
  drave tail orders invoices -f --json    two topics, merged, as JSON
  drave tail logs --grep 'ERROR|FATAL'    the last 10 that match
  drave tail orders --as report           what came since the last time";

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Result {
    let topics = in_merge_order(args.topics);
    let waits = args.follow || args.wait || args.name.is_some();
    let stop = if waits { Some(context.handle_signals()?) } else { None };
    let engine = context.open(false)?;
    let mut output = Output::stdout(args.output)?;
    output.interrupt_with(&context.job, stop);
    let options =
        Options { count: args.count, follow: args.follow, wait: args.wait, name: args.name, filter: args.filter.resolve() };
    tail(&*engine, topics, options, output, &context.job, stop)
}

/// What was asked for.
struct Options {
    count: u64,
    follow: bool,
    wait: bool,
    name: Option<OsString>,
    filter: Filter,
}

fn tail(engine: &dyn Engine, topics: Vec<TopicName>, options: Options, output: Output, job: &Job, stop: Option<&Stop>) -> Result {
    let (mut feed, awaited) = open_feed(engine, &topics, options.wait, &output, job, stop)?;
    if let Some(stop) = stop {
        let waker = feed.waker();
        stop.wake_also(move || waker.wake());
    }
    let mut cursors = match &options.name {
        Some(name) => Some(Cursors::open(engine, name.as_bytes(), &topics)?),
        None => None,
    };
    let mut selection = Selection { filter: options.filter, ..Selection::default() };
    let start = Start { engine, topics: &topics, awaited: &awaited, count: options.count, job };
    start.seek(&mut *feed, cursors.as_mut(), &mut selection)?;
    let watch = match options.follow {
        true => Some(Watch::start(output.watched()?, feed.waker())?),
        false => None,
    };
    if options.follow {
        (0..topics.len()).for_each(|topic| feed.stop_at(topic, None));
    }
    feed.limit_as(options.name.as_ref().map_or(b"", |name| name.as_bytes()));
    let mut tailing =
        Tailing { feed, topics: &topics, selection, output, cursors, job, stop, watch, gaps: Gaps::default(), damaged: false };
    let read = tailing.read();
    let finished = tailing.finish();
    read.and(finished)?;
    Ok(if tailing.damaged { Exit::Damaged } else { Exit::Done })
}

/// Opens the topics; with `wait`, once they are there. Also tells which had to be waited for.
fn open_feed<'a>(
    engine: &'a dyn Engine,
    topics: &[TopicName],
    wait: bool,
    output: &Output,
    job: &Job,
    stop: Option<&Stop>,
) -> Result<(Box<dyn Feed + 'a>, Vec<bool>)> {
    let mut awaited = vec![false; topics.len()];
    loop {
        match engine.feed(topics, job) {
            Ok(feed) => return Ok((feed, awaited)),
            Err(drave::Error::TopicMissing { topic }) if wait => {
                awaited.iter_mut().zip(topics).filter(|(_, name)| **name == topic).for_each(|(awaited, _)| *awaited = true);
                job.check()?;
                pause(Some(output.fd()), stop, job.at_most(AWAIT_INTERVAL))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Finds where to begin.
struct Start<'a> {
    engine: &'a dyn Engine,
    topics: &'a [TopicName],
    awaited: &'a [bool],
    count: u64,
    job: &'a Job,
}

impl Start<'_> {
    /// Sets every topic of `feed` to its first record, and to stop at what is its end now.
    fn seek(&self, feed: &mut dyn Feed, mut cursors: Option<&mut Cursors>, selection: &mut Selection) -> Result<()> {
        let mut last = Vec::new();
        let mut all_last = true;
        for (index, topic) in self.topics.iter().enumerate() {
            let bounds = feed.bounds(index).in_topic(topic)?;
            let place = match &mut cursors {
                Some(cursors) => cursors.load(index).in_topic(topic)?,
                None => None,
            };
            if let Some(place) = place {
                all_last = false;
                if let Some(gap) = feed.resume(index, place).in_topic(topic)? {
                    say_gap(topic, &gap);
                }
            } else if self.awaited[index] {
                // Nobody had seen it before: all of it is new.
                all_last = false;
                feed.seek(index, bounds.start).in_topic(topic)?;
            } else {
                last.push((index, bounds.start, bounds.end));
            }
            feed.stop_at(index, Some(bounds.end));
        }
        // Of the last records of each topic, only the last of all are wanted.
        let mut found = 0;
        for (index, start, end) in last {
            let topic = &self.topics[index];
            let (from, records) = if self.topics.len() == 1 {
                self.find_last(feed, start, end, &selection.filter).in_topic(topic)?
            } else {
                // Alone: the others would have to be read along.
                let mut alone = self.engine.feed(std::slice::from_ref(topic), self.job)?;
                self.find_last(&mut *alone, start, end, &selection.filter).in_topic(topic)?
            };
            found += records;
            feed.seek(index, from).in_topic(topic)?;
            feed.stop_at(index, Some(end));
        }
        selection.skip = if all_last { found.saturating_sub(self.count) } else { 0 };
        Ok(())
    }

    /// The offset from which the last `count` records before `end` are read that pass `filter`, and how
    /// many these are. Goes back in growing windows; keeps two numbers however large `count` is.
    fn find_last(&self, feed: &mut dyn Feed, start: Offset, end: Offset, filter: &Filter) -> drave::Result<(Offset, u64)> {
        let wanted = self.count;
        let mut window = if filter.is_open() { wanted } else { wanted.saturating_mul(4).max(4096) };
        let (mut until, mut found) = (end, 0);
        while until > start && found < wanted {
            let from = Offset(until.0.saturating_sub(window)).max(start);
            let (passing, _) = self.scan(feed, from, until, filter, None)?;
            if found + passing >= wanted {
                let surplus = found + passing - wanted;
                let (_, at) = self.scan(feed, from, until, filter, Some(surplus))?;
                return Ok((at.unwrap_or(from), wanted));
            }
            found += passing;
            until = from;
            window = window.saturating_mul(2);
        }
        Ok((until, found))
    }

    /// Counts the records of `[from, until)` that pass. With `nth`, stops at the one that so many come
    /// before, and tells its offset.
    fn scan(
        &self,
        feed: &mut dyn Feed,
        from: Offset,
        until: Offset,
        filter: &Filter,
        nth: Option<u64>,
    ) -> drave::Result<(u64, Option<Offset>)> {
        if nth == Some(0) && filter.is_open() {
            return Ok((0, Some(from)));
        }
        feed.seek(0, from)?;
        feed.stop_at(0, Some(until));
        let mut passing = 0;
        loop {
            self.job.check()?;
            let records = match feed.next()? {
                Next::Records { records, .. } => records,
                // Told when it is read for the user.
                Next::Gap { .. } | Next::Limited(_) => continue,
                Next::CaughtUp | Next::End => return Ok((passing, None)),
            };
            if filter.is_open() && nth.is_none_or(|nth| passing + u64::from(records.len()) <= nth) {
                passing += u64::from(records.len());
                continue;
            }
            for record in records.flatten().filter(|record| filter.accepts(record)) {
                if nth == Some(passing) {
                    return Ok((passing, Some(record.offset)));
                }
                passing += 1;
            }
        }
    }
}

/// The cursors of one NAME, one a topic.
struct Cursors {
    cursors: Vec<Box<dyn Cursor>>,
    /// What each holds on disk.
    saved: Vec<Option<Place>>,
    saved_at: Instant,
}

impl Cursors {
    fn open(engine: &dyn Engine, name: &[u8], topics: &[TopicName]) -> Result<Cursors> {
        let mut cursors = Vec::with_capacity(topics.len());
        for topic in topics {
            cursors.push(engine.cursor(name, topic).in_topic(topic)?);
        }
        let saved = vec![None; topics.len()];
        Ok(Cursors { cursors, saved, saved_at: Instant::now() })
    }

    fn load(&mut self, topic: usize) -> drave::Result<Option<Place>> {
        let place = self.cursors[topic].load()?;
        self.saved[topic] = place;
        Ok(place)
    }

    /// Stores how far `feed` has been read. All that was read must have been accepted by the output.
    fn save(&mut self, feed: &dyn Feed) -> Result<()> {
        for (index, topic) in feed.topics().iter().enumerate() {
            let place = Some(feed.place(index));
            if let Some(place) = place.filter(|_| place != self.saved[index]) {
                self.cursors[index].save(place).in_topic(topic)?;
            }
            self.saved[index] = place;
        }
        self.saved_at = Instant::now();
        Ok(())
    }

    /// How long until they should be saved again.
    fn due_in(&self) -> Duration {
        SAVE_INTERVAL.saturating_sub(self.saved_at.elapsed())
    }

    fn is_behind(&self, feed: &dyn Feed) -> bool {
        (0..self.saved.len()).any(|topic| self.saved[topic] != Some(feed.place(topic)))
    }
}

/// A running tail.
struct Tailing<'a> {
    feed: Box<dyn Feed + 'a>,
    topics: &'a [TopicName],
    selection: Selection,
    output: Output,
    cursors: Option<Cursors>,
    job: &'a Job,
    stop: Option<&'a Stop>,
    watch: Option<Watch>,
    gaps: Gaps,
    damaged: bool,
}

impl Tailing<'_> {
    /// Prints until the end or until something stops it.
    fn read(&mut self) -> Result<()> {
        loop {
            self.job.check()?;
            match self.feed.next() {
                Ok(Next::Records { topic, records }) => {
                    let topic = &self.topics[topic];
                    if let Some(undecodable) = self.selection.pass(topic, records, &mut self.output)? {
                        undecodable.say(topic);
                        self.damaged = true;
                    }
                    self.save_if_due()?;
                }
                Ok(Next::Gap { topic, gap }) if self.gaps.keep(&self.topics[topic], &gap) => {}
                Ok(Next::Gap { topic, gap }) => {
                    self.output.flush()?;
                    self.damaged |= say_gap(&self.topics[topic], &gap);
                }
                Ok(Next::Limited(wait)) => self.hold(wait)?,
                Ok(Next::CaughtUp) => self.wait()?,
                Ok(Next::End) => return Ok(()),
                Err(error) => return Err(error).in_topics(self.topics),
            }
        }
    }

    /// Waits for a rate limit.
    fn hold(&mut self, wait: Duration) -> Result<()> {
        self.output.flush()?;
        self.save_if_due()?;
        pause(Some(self.output.fd()), self.stop, self.job.at_most(wait.min(WAIT_MAX)))
    }

    fn wait(&mut self) -> Result<()> {
        self.output.flush()?;
        self.gaps.say_kept();
        self.save_if_due()?;
        let mut at_most = self.job.at_most(WAIT_MAX);
        if let Some(cursors) = self.cursors.as_ref().filter(|cursors| cursors.is_behind(&*self.feed)) {
            at_most = at_most.min(cursors.due_in());
        }
        self.feed.wait(at_most).in_topics(self.topics)?;
        match &self.watch {
            Some(watch) if watch.is_closed() => Err(stdout_failed(io::ErrorKind::BrokenPipe.into())),
            _ => Ok(()),
        }
    }

    fn save_if_due(&mut self) -> Result<()> {
        match &mut self.cursors {
            Some(cursors) if cursors.due_in().is_zero() && cursors.is_behind(&*self.feed) => {
                self.output.flush()?;
                cursors.save(&*self.feed)
            }
            _ => Ok(()),
        }
    }

    /// Prints what is held back, however the reading ended, and keeps the place.
    fn finish(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        self.gaps.say_kept();
        flushed?;
        match &mut self.cursors {
            Some(cursors) => cursors.save(&*self.feed),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
