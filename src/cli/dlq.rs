//! `drave dlq`: the dead letters of a group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use drave::codec::Record;
use drave::engine::DeadLetter;
use drave::engine::dead_letters::{DLQ_ATTEMPTS, DLQ_ID, DLQ_OFFSET, DLQ_REASON, DLQ_TIME, dead_letter_topic};
use drave::ids::{GroupName, Offset, TopicName};
use drave::units::parse_rate;

use super::confirm::Consent;
use super::context::Context;
use super::exit::{Exit, Failure, InTopic as _};
use super::filter::{Filter, FilterArgs};
use super::reading::{Gaps, say_gap};
use super::table::{Cell, Rows};
use super::watch::pause;
use super::{Result, group_name, topic_name};

/// With --rate: how often letters are given back.
const TICK: Duration = Duration::from_millis(100);

/// List, retry and drop the dead letters of a group
///
/// What a group gave up is a record of the topic <TOPIC>.dlq, with all its fields, and with headers that say where it comes from: dlq-topic,
/// dlq-offset, dlq-id, dlq-group, dlq-attempts, dlq-reason, dlq-time (ms). Read them with: drave replay TOPIC.dlq.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Retry(Retry),
    Drop(Drop),
}

/// List the dead letters that a group is not done with
///
/// Columns: letter (its offset in TOPIC.dlq), state (dead, or retrying), offset (of the record in TOPIC), id (of the record), attempts, time (when
/// it died), key, reason.
#[derive(ClapArgs, Debug)]
struct List {
    #[command(flatten)]
    which: Which,

    /// Print an object a line, its members named as the columns
    #[arg(long)]
    json: bool,
}

/// Have a group try dead letters again
///
/// They go to that group alone, with all their attempts before them; what is settled then is listed no more, what fails again is a new letter.
#[derive(ClapArgs, Debug)]
#[command(after_help = RETRY_EXAMPLES)]
struct Retry {
    #[command(flatten)]
    which: Which,

    /// So many a time at most, as 10/s, 100/m or 1000/h
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<f64>,

    /// Say how many would be tried again, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Be done with dead letters without trying them again
///
/// They are listed no more. Their records stay in TOPIC.dlq, until they are trimmed or expire there.
#[derive(ClapArgs, Debug)]
#[command(after_help = DROP_EXAMPLES)]
struct Drop {
    #[command(flatten)]
    which: Which,

    /// Say how many would be dropped, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Which letters.
#[derive(ClapArgs, Debug)]
struct Which {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// Only these letters, as dlq list numbers them
    #[arg(value_name = "LETTER")]
    letters: Vec<u64>,

    /// The group
    #[arg(short, long, value_parser = group_name())]
    group: GroupName,

    /// The first N only
    #[arg(short = 'n', value_name = "N")]
    count: Option<u64>,

    #[command(flatten)]
    filter: FilterArgs,
}

const RETRY_EXAMPLES: &str = "\
Examples:
  drave dlq retry jobs -g resize                  all of them
  drave dlq retry jobs -g resize 12 15            two of them
  drave dlq retry jobs -g resize -H dlq-reason=timeout --rate 10/s";

const DROP_EXAMPLES: &str = "\
Examples:
  drave dlq drop jobs -g resize 12 --yes
  drave dlq drop jobs -g resize --grep '^test' --dry-run";

/// Runs the verb.
pub(super) fn run(args: Args, context: &Context) -> Result {
    match args.verb {
        Verb::List(args) => list(args, context),
        Verb::Retry(args) => retry(args, context),
        Verb::Drop(args) => drop_letters(args, context),
    }
}

/// Those that were asked for, while they are looked through.
struct Wanted {
    filter: Filter,
    /// `None` = all.
    letters: Option<BTreeSet<u64>>,
    left: Option<u64>,
}

impl Wanted {
    fn new(which: &Which) -> Wanted {
        let letters = (!which.letters.is_empty()).then(|| which.letters.iter().copied().collect());
        Wanted { filter: which.filter.clone().resolve(), letters, left: which.count }
    }

    fn takes(&mut self, letter: &DeadLetter, record: &Record<'_>) -> bool {
        let takes = self.letters.as_mut().is_none_or(|letters| letters.remove(&letter.offset.0)) && self.filter.accepts(record);
        if takes {
            self.left = self.left.map(|left| left.saturating_sub(1));
        }
        takes
    }

    fn is_done(&self) -> bool {
        self.left == Some(0) || self.letters.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// That each letter that was named was there.
    fn check(&self, which: &Which) -> Result<()> {
        match self.letters.as_ref().and_then(|letters| letters.first()).filter(|_| self.left != Some(0)) {
            None => Ok(()),
            Some(letter) => {
                let Which { topic, group, .. } = which;
                let sentence =
                    format!("{topic}: group {group} has no dead letter {letter}; see: drave dlq list {topic} -g {group}");
                Err(Failure::new(Exit::Missing, sentence).into())
            }
        }
    }
}

fn list(args: List, context: &Context) -> Result {
    let which = &args.which;
    let (engine, mut wanted) = (context.open(false)?, Wanted::new(which));
    let mut rows = Rows::begin(["letter", "state", "offset", "id", "attempts", "time", "key", "reason"], args.json);
    if which.count == Some(0) {
        rows.end()?;
        return Ok(Exit::Done);
    }
    let mut printed = Ok(());
    let mut letters = engine.dead_letters(&which.topic, &which.group, &context.job).in_topic(&which.topic)?;
    let gaps = letters.read(&mut |letter, record| {
        if wanted.takes(letter, record) {
            printed = rows.row(row(letter, record));
        }
        printed.is_ok() && !wanted.is_done()
    });
    let gaps = gaps.in_topic(&which.topic)?;
    printed?;
    rows.end()?;
    let exit = say_gaps(which, &gaps)?;
    wanted.check(which)?;
    Ok(exit)
}

fn row(letter: &DeadLetter, record: &Record<'_>) -> Vec<Cell> {
    let header = |wanted: &[u8]| record.headers().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let number = |name| header(name).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    vec![
        letter.offset.into(),
        if letter.is_retried { "retrying" } else { "dead" }.into(),
        number(DLQ_OFFSET).into(),
        header(DLQ_ID).map(<[u8]>::to_vec).into(),
        number(DLQ_ATTEMPTS).into(),
        number(DLQ_TIME).map_or(Cell::Absent, Cell::time),
        record.key().map(<[u8]>::to_vec).into(),
        header(DLQ_REASON).map(<[u8]>::to_vec).into(),
    ]
}

fn say_gaps(which: &Which, gaps: &[drave::engine::Gap]) -> Result {
    let topic = dead_letter_topic(&which.topic)?;
    let mut kept = Gaps::default();
    let told = gaps.iter().filter(|gap| !kept.keep(&topic, gap));
    let is_damaged = told.fold(false, |is_damaged, gap| say_gap(&topic, gap) | is_damaged);
    kept.say_kept();
    Ok(if is_damaged { Exit::Damaged } else { Exit::Done })
}

/// The letters that a change is for. Whatever cannot be read is left alone, and said.
fn choose(which: &Which, letters: &mut dyn drave::engine::DeadLetters, with_retried: bool) -> Result<(Vec<DeadLetter>, Exit)> {
    let (mut wanted, mut chosen) = (Wanted::new(which), Vec::new());
    if which.count == Some(0) {
        return Ok((chosen, Exit::Done));
    }
    let gaps = letters.read(&mut |letter, record| {
        if (with_retried || !letter.is_retried || wanted.letters.is_some()) && wanted.takes(letter, record) {
            chosen.push(*letter);
        }
        !wanted.is_done()
    });
    let exit = say_gaps(which, &gaps.in_topic(&which.topic)?)?;
    wanted.check(which)?;
    Ok((chosen, exit))
}

fn retry(args: Retry, context: &Context) -> Result {
    let Which { topic, group, .. } = &args.which;
    let stop = context.handle_signals()?;
    let engine = context.open(false)?;
    let mut letters = engine.dead_letters(topic, group, &context.job).in_topic(topic)?;
    let (chosen, exit) = choose(&args.which, &mut *letters, false)?;
    if args.dry_run {
        context.say(&format!("{topic}: {} dead letters would be tried again by group {group}", chosen.len()));
        return Ok(exit);
    }
    let (began, mut done, mut retried) = (Instant::now(), 0, 0);
    let mut worked = Ok(());
    while done < chosen.len() {
        let may = args.rate.map_or(chosen.len(), |rate| 1 + (began.elapsed().as_secs_f64() * rate) as usize);
        let upto = may.clamp(done, chosen.len());
        if upto > done {
            retried += letters.retry(&chosen[done..upto]).in_topic(topic)?;
            done = upto;
            continue;
        }
        worked = context.job.check().map_err(Into::into).and_then(|()| pause(None, Some(stop), context.job.at_most(TICK)));
        if worked.is_err() || context.signal().is_some() {
            break;
        }
    }
    context.say(&format!("{topic}: {retried} dead letters are tried again by group {group}"));
    worked?;
    if context.signal().is_some() {
        return Err(drave::Error::Stopped.into());
    }
    Ok(exit)
}

fn drop_letters(args: Drop, context: &Context) -> Result {
    let Which { topic, group, .. } = &args.which;
    let consent = Consent::needed(args.yes || args.dry_run)?;
    let engine = context.open(false)?;
    let mut letters = engine.dead_letters(topic, group, &context.job).in_topic(topic)?;
    let (chosen, exit) = choose(&args.which, &mut *letters, true)?;
    if args.dry_run {
        context.say(&format!("{topic}: {} dead letters of group {group} would be dropped", chosen.len()));
        return Ok(exit);
    }
    consent.ask(&format!("drop {} dead letters of group {group} of {topic}?", chosen.len()))?;
    let offsets: Vec<Offset> = chosen.iter().map(|letter| letter.offset).collect();
    let dropped = letters.drop_letters(&offsets).in_topic(topic)?;
    context.say(&format!("{topic}: {dropped} dead letters of group {group} were dropped"));
    Ok(exit)
}
