//! `drave publish`: append records to a topic.

mod args;
mod by_topic;
mod outlet;
mod recipe;
mod split;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use drave::config::RECORD_BYTES_LIMIT;
use drave::engine::{Engine, PublishOptions};
use drave::job::Job;
use rustix::fs::{Mode, OFlags};

pub(crate) use args::Args;

use self::by_topic::ByTopic;
use self::outlet::Receipts;
pub(super) use self::outlet::{Outlet, Tally};
use self::stream::Sink;
use self::writer::{ToTopic, Writer};
use super::context::Context;
use super::exit::{Exit, InTopic as _};
use super::input::Input;
use super::{Result, progress};

/// Runs the verb.
pub(super) fn run(args: Args, context: &Context) -> Result {
    let engine = context.open(!args.no_create)?;
    let receipts = args.receipts.then(|| Receipts::new(std::io::stdout()));
    let stop = args.reads_input().then(|| context.handle_signals()).transpose()?;
    let stdin = std::io::stdin();
    let publish = Publish {
        engine: engine.as_ref(),
        context,
        job: &context.job,
        stdin: stdin.as_fd(),
        stop: stop.map(|stop| stop.as_fd()),
    };
    let (result, tally, total) = publish.all(&args, receipts);
    report(&result, tally, total, context);
    result.map(|()| Exit::Done)
}

/// "1 record", "7 records".
fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

/// After a failure or a signal, says what was published all the same.
fn report(result: &Result<()>, tally: Tally, total: Option<u64>, context: &Context) {
    let Err(error) = result else { return };
    let stopped = matches!(error.downcast_ref(), Some(drave::Error::Stopped));
    if (stopped && context.quiet) || (tally.records == 0 && total.is_none_or(|total| total <= 1) && !stopped) {
        return;
    }
    let of = total.map_or_else(|| records(tally.records), |total| format!("{} of {}", tally.records, records(total)));
    let last = tally.last.map_or_else(String::new, |last| format!(", last offset {last}"));
    super::exit::say(&format!("published {of}{last}"));
}

/// One run of the verb.
struct Publish<'c> {
    engine: &'c dyn Engine,
    context: &'c Context,
    job: &'c Job,
    stdin: BorrowedFd<'c>,
    /// Readable once the job is to stop.
    stop: Option<BorrowedFd<'c>>,
}

impl<'c> Publish<'c> {
    /// Publishes all there is. Returns how it went, what is stored, and how many records there
    /// were to be, where that is known.
    fn all(&self, args: &Args, receipts: Option<Receipts<'c>>) -> (Result<()>, Tally, Option<u64>) {
        if args.by_topic {
            return self.by_topic(args, receipts);
        }
        let mut writer = match self.writer(args, receipts) {
            Ok(writer) => writer,
            Err(error) => return (Err(error), Tally::default(), args.total()),
        };
        let result = self.append(args, &mut writer);
        // Also after a failure: what was written before it counts once it is at its level.
        let closed = writer.outlet.close();
        let result = result.and(closed).and_then(|()| writer.skipped.check());
        (result, writer.outlet.settled(), args.total())
    }

    fn options(&self, args: &Args) -> PublishOptions {
        PublishOptions {
            durability: args.durability,
            create: !args.no_create,
            limit_wait: args.limit_wait,
            job: self.job.clone(),
        }
    }

    fn writer(&self, args: &Args, receipts: Option<Receipts<'c>>) -> Result<Writer<'c>> {
        let topic = args.topic.as_ref().context("clap requires a topic")?;
        let outlet = Outlet::open(self.engine, topic, &self.options(args))?;
        let outlet = outlet.expect(args.expect_offset).with_receipts(receipts);
        let record_bytes_max = if args.reads_input() {
            self.engine.settings(topic).in_topic(topic)?.0.record_bytes_max
        } else {
            // One batch, which the engine takes or refuses.
            RECORD_BYTES_LIMIT
        };
        Ok(Writer::new(outlet, args.recipe(record_bytes_max), args.noun(), args.skip_bad))
    }

    fn append(&self, args: &Args, writer: &mut Writer<'c>) -> Result<()> {
        if args.tombstone {
            writer.push_tombstone()?;
        } else if !args.messages.is_empty() {
            args.messages.iter().try_for_each(|message| writer.push(message.as_bytes()))?;
        } else if !args.file.is_empty() {
            self.read_files(&args.file, writer)?;
        } else {
            return self.read_stdin(args, |input| match args.whole {
                true => stream::run_whole(input, writer, self.job, false).and_then(|()| writer.flush()),
                false => stream::run(input, &mut ToTopic::new(writer, &args.delimiter()), self.job),
            });
        }
        writer.flush()
    }

    fn by_topic(&self, args: &Args, receipts: Option<Receipts<'c>>) -> (Result<()>, Tally, Option<u64>) {
        let recipe = args.recipe(RECORD_BYTES_LIMIT);
        let mut sink = ByTopic::new(self.engine, self.options(args), recipe, args.skip_bad, receipts);
        let result = self.read_stdin(args, |input| stream::run(input, &mut sink, self.job));
        let closed = sink.close();
        let result = result.and(closed).and_then(|()| sink.skipped().check());
        (result, sink.settled(), None)
    }

    /// Hands stdin to `work`, and shows its progress.
    fn read_stdin(&self, args: &Args, work: impl FnOnce(&mut Input<'_>) -> Result<()>) -> Result<()> {
        let by_hand = rustix::termios::isatty(self.stdin);
        if by_hand {
            let each = if args.whole { "all of it is one record" } else { args.by_hand() };
            self.context.say(&format!("reading from the terminal, {each}; Ctrl-D at the start of a line ends"));
        }
        let _bar = progress::Bar::start(self.job, !by_hand && !self.context.quiet);
        work(&mut Input::new(self.stdin, "stdin", self.stop, self.job)?)
    }

    fn read_files(&self, files: &[OsString], writer: &mut Writer<'c>) -> Result<()> {
        for path in files {
            let name = path.to_string_lossy();
            let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            // What came before a file that is not there is published.
            let file = opened.or_else(|error| writer.flush().and(Err(error).with_context(|| format!("cannot open {name}"))))?;
            stream::run_whole(&mut Input::new(file.as_fd(), &name, self.stop, self.job)?, writer, self.job, true)?;
        }
        Ok(())
    }
}
