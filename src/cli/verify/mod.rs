//! `drave verify`: reads every byte and checks it; `--repair` makes good what can be made good.
//! Below the engine: an engine works on what opens.

mod repair;
mod report;

use clap::Args as ClapArgs;
use drave::Error;
use drave::broker::verify_group;
use drave::ids::{GroupName, TopicName};
use drave::log::Mode;
use drave::store::{ListedTopic, Store, is_damage};

use super::confirm::Consent;
use super::context::Context;
use super::exit::Exit;
use super::progress::Bar;
use super::{Result, topic_name};

use report::Report;

/// Read every byte, check every checksum and link
///
/// Without TOPIC all topics are read, and what lies beside them is looked at, too. The groups of a topic are read with it. Topics may be in use
/// meanwhile. Reading changes nothing.
///
/// What is found is printed, a row for each finding. Columns: topic, severity ("damage": stored records are lost or wrong, exit 7; "note": no record
/// that was acknowledged is concerned), path, position (in the file, in bytes), from, until (the offsets that are concerned), what.
/// A summary goes to stderr.
///
/// --repair writes damaged segments anew without the bad records, in place of which readers are told that they were given up; no other record
/// changes its offset. A group whose journal is damaged goes on from what was before. It rebuilds indexes, and moves aside what does not belong there. What is replaced or moved is kept in the
/// store's directory quarantine. Publishers and readers may go on meanwhile. Afterwards all is read again: exit 0 means that it is whole now.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The topics; default: all
    #[arg(value_name = "TOPIC", value_parser = topic_name())]
    topics: Vec<TopicName>,

    /// Repair what is found
    #[arg(long)]
    repair: bool,

    /// Say what is to be repaired, and repair nothing
    #[arg(long, requires = "repair")]
    dry_run: bool,

    /// Do not ask
    #[arg(long, requires = "repair")]
    yes: bool,

    /// Print an object for each finding: {"topic","severity","path","position","from","until","what"}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  drave verify                            all topics
  drave verify orders --json              what is wrong with one, for scripts
  drave verify orders --repair            ask, then make it whole again";

/// Runs the verb.
pub(super) fn run(args: &Args, context: &Context) -> Result {
    let consent = if args.repair && !args.dry_run { Some(Consent::needed(args.yes)?) } else { None };
    context.handle_signals()?;
    let store = context.open_to_look()?;
    let topics = listed(args, &store)?;
    let mut report = Report::begin(args.json);
    let ended = check(args, context, &store, &topics, &mut report);
    report.end(context, ended.is_err())?;
    ended?;
    let exit = match consent {
        Some(consent) => repair::run(&consent, context, &store, &report)?,
        None => report.exit(),
    };
    match report.first_error {
        Some(error) if exit == Exit::Done => Err(error),
        _ => Ok(exit),
    }
}

/// The topics that were named, or all.
fn listed(args: &Args, store: &Store) -> Result<Vec<ListedTopic>> {
    let (mut topics, _) = store.look_at_topics()?;
    if args.topics.is_empty() {
        return Ok(topics);
    }
    if let Some(missing) = args.topics.iter().find(|name| !topics.iter().any(|topic| topic.name == **name)) {
        return Err(Error::TopicMissing { topic: missing.clone() }.into());
    }
    topics.retain(|topic| args.topics.contains(&topic.name));
    Ok(topics)
}

/// Checks all of it. An error is a stop, or nobody reading the findings any more.
fn check(args: &Args, context: &Context, store: &Store, topics: &[ListedTopic], report: &mut Report) -> Result<()> {
    let bar = Bar::start(&context.job, !context.quiet);
    if bar.is_some() {
        let bytes = topics.iter().map(|topic| store.segment_bytes(topic)).sum::<drave::Result<u64>>();
        // Topics that cannot be listed are told below.
        context.job.expect_bytes(bytes.unwrap_or(0));
    }
    if args.topics.is_empty() {
        report.surroundings(store)?;
    }
    for topic in topics {
        context.job.check()?;
        let (verified, ended) = store.verify_topic(&topic.name, &context.job);
        report.topic(&topic.name, &verified)?;
        let ended = ended.and_then(|()| store.topic(&topic.name, Mode::Read, &context.job));
        let ended = match ended.and_then(|opened| store.list_groups(&opened)) {
            Ok(groups) => {
                check_groups(context, store, &topic.name, &groups, report)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(error @ (Error::Stopped | Error::TimedOut)) => return Err(error.into()),
            // Deleted since it was listed.
            Err(Error::TopicMissing { .. } | Error::TopicGone { .. }) if args.topics.is_empty() => {}
            Err(error) if is_damage(&error) => report.unopened(&topic.name, &error)?,
            Err(error) => report.failed(context, &topic.name, error),
        }
    }
    Ok(())
}

fn check_groups(context: &Context, store: &Store, topic: &TopicName, groups: &[GroupName], report: &mut Report) -> Result<()> {
    for group in groups {
        context.job.check()?;
        let (verified, ended) = verify_group(store, topic, group, &context.job);
        report.group(topic, group, &verified)?;
        match ended {
            Ok(()) | Err(Error::NameMissing { .. } | Error::TopicMissing { .. } | Error::TopicGone { .. }) => {}
            Err(error @ (Error::Stopped | Error::TimedOut)) => return Err(error.into()),
            Err(error) if is_damage(&error) => report.unopened_group(topic, &error)?,
            Err(error) => report.failed(context, topic, error),
        }
    }
    Ok(())
}
