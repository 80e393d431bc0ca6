//! `drave consume`: work through a topic as a member of a group.

mod args;
pub(crate) mod exec;
mod print;
mod work;

use std::time::{Duration, Instant};

use drave::codec::group_event::{GroupSettings, Order};
use drave::engine::{Consumer, Engine, Joining};
use drave::ids::TopicName;

pub(crate) use args::Args;

use super::Result;
use super::context::Context;
use super::exit::{Exit, Failure, InTopic as _};
use super::output::Output;
use super::reading::{Gaps, say_gap};
use super::signals::Stop;
use super::watch::pause;

/// How often it is looked whether a topic that is waited for is there.
const AWAIT_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Result {
    let stop = context.handle_signals()?;
    let engine = context.open(false)?;
    let settings = ensure_group(&*engine, &args, context, stop)?;
    if args.manual && settings.no_ack {
        let (topic, group) = (&args.topic, &args.group);
        let sentence = format!("{topic}: group {group} has no-ack=on: nothing is left to settle with --manual");
        return Err(Failure::new(Exit::Conflict, sentence).into());
    }
    let name = args.consumer.as_deref().map(std::os::unix::ffi::OsStrExt::as_bytes);
    let how = Joining { name, is_manual: args.manual, job: context.job.clone() };
    let mut consumer = engine.consumer(&args.topic, &args.group, &how).in_topic(&args.topic)?;
    let mut session = Session {
        topic: &args.topic,
        consumer: &mut *consumer,
        context,
        left: args.count,
        drain: args.drain,
        idle: args.idle,
        no_ack: args.no_ack || settings.no_ack,
        is_manual: args.manual,
        is_ordered: settings.order != Order::None,
        lease: Duration::from_millis(settings.lease_ms),
        since: Instant::now(),
        dead: 0,
        gaps: Gaps::default(),
        damaged: false,
    };
    let worked = if args.exec.is_empty() {
        let mut output = Output::stdout(args.output.clone())?;
        output.interrupt_with(&context.job, Some(stop));
        print::run(&mut session, output)
    } else {
        work::run(&mut session, &args, stop)
    };
    session.gaps.say_kept();
    let (dead, damaged) = (session.dead, session.damaged);
    // Also after an error: what is held goes to others at once.
    let left = consumer.leave().in_topic(&args.topic);
    worked.and(left)?;
    if dead > 0 {
        context.say(&format!("{}: {dead} records were moved to the dead letters", args.topic));
    }
    // A stop is not an error of its own, unless it is what ended the work.
    if context.signal().is_some() {
        return Err(drave::Error::Stopped.into());
    }
    Ok(match (damaged, dead) {
        (true, _) => Exit::Damaged,
        (false, 0) => Exit::Done,
        _ => Exit::Failed,
    })
}

/// One run of the command.
struct Session<'a> {
    topic: &'a TopicName,
    consumer: &'a mut dyn Consumer,
    context: &'a Context,
    /// How many records may still be taken; `None` = all.
    left: Option<u64>,
    drain: bool,
    idle: Option<Duration>,
    no_ack: bool,
    is_manual: bool,
    is_ordered: bool,
    lease: Duration,
    /// Since when nothing came.
    since: Instant,
    dead: u64,
    gaps: Gaps,
    damaged: bool,
}

impl Session<'_> {
    /// How many records may be taken, of `most`.
    fn room(&self, most: usize) -> usize {
        self.left.map_or(most, |left| usize::try_from(left).unwrap_or(usize::MAX).min(most))
    }

    /// Takes records, and keeps account of them.
    fn take(&mut self, count: usize, each: &mut dyn FnMut(&drave::engine::Delivery, &drave::codec::Record<'_>)) -> Result<usize> {
        let taken = self.consumer.take(count, self.no_ack, each).in_topic(self.topic)?;
        for gap in taken.gaps.iter().filter(|gap| !self.gaps.keep(self.topic, gap)) {
            self.damaged |= say_gap(self.topic, gap);
        }
        self.dead += taken.dead;
        if taken.count > 0 || taken.is_limited {
            self.since = Instant::now();
            self.left = self.left.map(|left| left.saturating_sub(taken.count as u64));
        } else {
            self.gaps.say_kept();
        }
        Ok(taken.count)
    }

    /// With nothing to do: whether that is the end.
    fn is_over(&mut self) -> Result<bool> {
        if self.left == Some(0) || self.context.signal().is_some() {
            return Ok(true);
        }
        self.context.job.check()?;
        let is_idle = self.idle.is_some_and(|idle| self.since.elapsed() >= idle);
        Ok(is_idle || (self.drain && self.consumer.is_drained().in_topic(self.topic)?))
    }
}

/// Sees to it that there is a group, set as was asked for.
fn ensure_group(engine: &dyn Engine, args: &Args, context: &Context, stop: &Stop) -> Result<GroupSettings> {
    loop {
        match engine.group(&args.topic, &args.group) {
            Ok(info) => {
                check_settings(args, &info.settings)?;
                return Ok(info.settings);
            }
            Err(drave::Error::TopicMissing { .. }) if args.wait => {
                context.job.check()?;
                pause(None, Some(stop), context.job.at_most(AWAIT_INTERVAL))?;
            }
            Err(drave::Error::NameMissing { .. }) => {
                let mut settings = GroupSettings::default();
                args.apply(&mut settings)?;
                let from = {
                    let mut feed = engine.feed(std::slice::from_ref(&args.topic), &context.job).in_topic(&args.topic)?;
                    let start = feed.bounds(0).in_topic(&args.topic)?.start;
                    args.from.resolve(feed.as_mut(), 0).in_topic(&args.topic)?.max(start)
                };
                // If somebody was faster, its settings are compared.
                engine.create_group(&args.topic, &args.group, &settings, from, &context.job).in_topic(&args.topic)?;
            }
            Err(error) => return Err(error).in_topic(&args.topic),
        }
    }
}

fn check_settings(args: &Args, existing: &GroupSettings) -> Result<()> {
    let mut wanted = existing.clone();
    args.apply(&mut wanted)?;
    let Some((name, is, asked)) = wanted.differences(existing).into_iter().next().map(|(n, a, b)| (n, b, a)) else {
        return Ok(());
    };
    let (topic, group) = (&args.topic, &args.group);
    let sentence = format!(
        "{topic}: group {group} has {name}={is}, not {asked}; change it with: drave group set {topic} {group} {name}={asked}"
    );
    Err(Failure::new(Exit::Conflict, sentence).into())
}
