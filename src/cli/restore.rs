//! `drave restore`: a store, or topics of one, of a snapshot. Below the engine: it copies files.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::Args as ClapArgs;
use drave::broker::verify_group;
use drave::clock::Clock;
use drave::engine::dead_letters::dead_letter_topic;
use drave::ids::TopicName;
use drave::log::{Mode, Severity, Verified};
use drave::store::{RestoreOptions, Restored, Store, StoreOptions, find_snapshot, restore, restore_stream};

use super::confirm::Consent;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::progress::Bar;
use super::snapshot::tell_leftovers;
use super::{Result, topic_name};

/// Make a store, or topics of one, of a snapshot
///
/// SRC is a snapshot, a directory of snapshots (its newest whole one; if it holds those of several stores: exit 10), or - for a tar on stdin. Every byte is verified before anybody sees any of it:
/// what is damaged or missing is exit 7 with the name of the file, and nothing is restored. To restore the other topics all the same, name them.
///
/// STORE is an absent or empty directory; or a store, which the topics are put into. Groups and cursors go on where the snapshot had them, and what was
/// leased then is delivered again. A topic that is there already: exit 12, or --replace, which destroys its records. Exit 12 also if STORE holds
/// something else.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot, a directory of them, or - for a tar on stdin
    #[arg(value_name = "SRC")]
    src: OsString,

    /// The store to make, or to put topics into
    #[arg(long, value_name = "STORE")]
    into: OsString,

    /// These topics only, each with its groups, cursors and dead letters; default: all
    #[arg(value_name = "TOPIC", value_parser = topic_name())]
    topics: Vec<TopicName>,

    /// Then read the restored topics and groups as `drave verify` does; damage: exit 7
    #[arg(long)]
    verify: bool,

    /// Replace topics that are there already
    #[arg(long)]
    replace: bool,

    /// Do not ask
    #[arg(long, requires = "replace")]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  drave restore /backup/drave --into /srv/drave --verify                  the newest one
  drave restore /backup/drave/2026-01-31T10-00-00.000Z --into /srv/drave
  zstd -d < store.tar.zst | drave restore - --into /srv/drave
  drave restore /backup/drave --into /srv/drave orders --replace          one topic, as it was";

pub(super) fn run(args: Args, context: &Context) -> Result {
    let is_stream = args.src == *"-";
    let consent = if args.replace { Some(Consent::needed(args.yes)?) } else { None };
    if is_stream && io::stdin().is_terminal() {
        return Err(
            Failure::new(Exit::Usage, "stdin is a terminal; send a snapshot's tar, as `drave snapshot -` makes it").into()
        );
    }
    if !is_stream && Path::new(&args.src).is_file() {
        let src = Path::new(&args.src).display();
        let sentence = format!("{src} is a file, no snapshot; a tar comes on stdin: drave restore - --into STORE < {src}");
        return Err(Failure::new(Exit::Usage, sentence).into());
    }
    let into = super::context::parse_place(args.into)?;
    context.handle_signals()?;
    let clock = Clock::system();
    let letters = args.topics.iter().filter_map(|topic| dead_letter_topic(topic).ok()).collect();
    let (topics, replace, unsafe_fs) = (args.topics, args.replace, context.unsafe_fs());
    let options = RestoreOptions { topics, letters, replace, unsafe_fs, clock };
    let restored = if is_stream {
        let _bar = Bar::start(&context.job, !context.quiet);
        restore_stream(&mut io::stdin().lock(), &into, &options, &context.job)?
    } else {
        let found = find_snapshot(Path::new(&args.src))?;
        for (path, why) in &found.passed_over {
            context.say(&format!("passed over {}, which is not whole: {why}", path.display()));
        }
        if found.is_only_partial {
            context.say("there is no snapshot of the whole store, only of some topics; this is the newest");
        }
        if let Some(consent) = consent {
            let conflicts = found.conflicts(&into, &options)?;
            if !conflicts.is_empty() {
                let names: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
                consent.ask(&format!("replace {} of {}, and all that is in it now?", names.join(", "), into.display()))?;
            }
        }
        let bar = Bar::start(&context.job, !context.quiet);
        if bar.is_some() {
            context.job.expect_bytes(found.bytes());
        }
        let restored = restore(&found, &into, &options, &context.job)?;
        drop(bar);
        context.say(&format!("restored {}", found.path().display()));
        restored
    };
    tell_leftovers(context, restored.leftovers);
    let Restored { topics, records, bytes, .. } = &restored;
    context.say(&format!("{} topics, {records} records, {bytes} bytes, verified", topics.len()));
    if args.verify { verify(&into, &restored.topics, context) } else { Ok(Exit::Done) }
}

/// Reads the restored topics, and their groups.
fn verify(into: &Path, topics: &[TopicName], context: &Context) -> Result {
    let options = StoreOptions { create: false, unsafe_fs: context.unsafe_fs(), clock: Clock::system() };
    let store = Store::open(into, &options)?;
    let mut exit = Exit::Done;
    let mut tell = |topic: &TopicName, (verified, ended): (Verified, drave::Result<()>)| -> Result<()> {
        for finding in verified.findings.iter().filter(|finding| finding.severity == Severity::Damage) {
            context.say(&format!("{topic}: {}: {}", finding.path.display(), finding.what));
            exit = Exit::Damaged;
        }
        Ok(ended?)
    };
    for topic in topics {
        tell(topic, store.verify_topic(topic, &context.job))?;
        let opened = store.topic(topic, Mode::Read, &context.job)?;
        for group in store.list_groups(&opened)? {
            tell(topic, verify_group(&store, topic, &group, &context.job))?;
        }
    }
    Ok(exit)
}
