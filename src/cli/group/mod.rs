//! `drave group`: consumer groups and their settings, and what holds receipts of them.

mod settle;

use clap::{Args as ClapArgs, Subcommand};
use drave::broker::group::GROUP_SETTINGS;
use drave::codec::group_event::GroupSettings;
use drave::engine::{Engine, GroupChange, Position};
use drave::ids::{GroupName, TopicName};

use crate::cli::confirm::Consent;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure, InTopic as _};
use crate::cli::position::{self, POSITIONS_HELP};
use crate::cli::table::Table;
use crate::cli::{Result, group_name, topic_name};

/// Create, change, move, delete and list consumer groups
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    Set(Set),
    Seek(Seek),
    Pause(Of),
    Resume(Of),
    Delete(Delete),
    List(List),
    Show(Show),
    Ack(settle::Ack),
    Nack(settle::Nack),
}

/// Create a group
///
/// consume creates missing groups too. A group that exists already is exit 12.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("Settings:\n{}\n\n{CREATE_EXAMPLES}", settings_help()), after_long_help = format!("Settings:\n{}\n\n{POSITIONS_HELP}\n\n{CREATE_EXAMPLES}", settings_help()))]
struct Create {
    #[command(flatten)]
    of: Of,

    /// What differs from the defaults
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,

    /// Where the group begins
    #[arg(long, value_name = "POSITION", default_value = "start", value_parser = position::parse, allow_hyphen_values = true)]
    from: Position,

    /// A group that exists already is left as it is
    #[arg(long)]
    if_missing: bool,
}

/// Change settings of a group
///
/// They hold at once, also for consumers that run already. The order can change only once all is settled.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("Settings:\n{}\n\n{SET_EXAMPLES}", settings_help()))]
struct Set {
    #[command(flatten)]
    of: Of,

    /// The changes; an empty value puts a setting back to the default
    #[arg(value_name = "NAME=VALUE", value_parser = setting, required = true)]
    settings: Vec<(String, String)>,
}

/// Send a group to another place of its topic
///
/// What was delivered and not settled is dropped: its receipts come late from then on.
#[derive(ClapArgs, Debug)]
#[command(after_help = format!("{POSITIONS_HELP}\n\n{SEEK_EXAMPLES}"))]
struct Seek {
    #[command(flatten)]
    of: Of,

    /// Where the group goes on
    #[arg(long, value_name = "POSITION", value_parser = position::parse, allow_hyphen_values = true)]
    to: Position,

    /// Say where the group would go on, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Name a group
#[derive(ClapArgs, Debug)]
struct Of {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// The group
    #[arg(value_parser = group_name())]
    group: GroupName,
}

/// Delete a group: its place, and what is pending
#[derive(ClapArgs, Debug)]
struct Delete {
    #[command(flatten)]
    of: Of,

    /// A missing group is no error
    #[arg(long)]
    if_exists: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// List the groups of a topic
///
/// Columns: group. How they stand: drave inspect groups.
#[derive(ClapArgs, Debug)]
struct List {
    /// The topic
    #[arg(value_parser = topic_name())]
    topic: TopicName,

    /// Print an object a line: {"group"}, or {"group_b64"} for a name that is not UTF-8
    #[arg(long)]
    json: bool,
}

/// Show the settings of a group
///
/// Columns: setting, value, from. From is "group" for what differs from the default.
#[derive(ClapArgs, Debug)]
struct Show {
    #[command(flatten)]
    of: Of,

    /// Print an object a line: {"setting","value","from"}
    #[arg(long)]
    json: bool,
}

const CREATE_EXAMPLES: &str = "\
Examples:
  drave group create jobs resize
  drave group create events mail order=key max-attempts=10 --from end";

const SET_EXAMPLES: &str = "\
Examples:
  drave group set jobs resize lease=5m
  drave group set jobs resize lease=      back to the default";

const SEEK_EXAMPLES: &str = "\
Examples:
  drave group seek jobs resize --to @2h       once more what came in the last two hours
  drave group seek jobs resize --to end       forget what waits";

fn settings_help() -> String {
    let line =
        |setting: &drave::broker::group::GroupSetting| format!("  {:<14}{:<44}{}", setting.name, setting.values, setting.help);
    GROUP_SETTINGS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Reads `name=value`, both known to be legal then.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    GroupSettings::default().set(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the verb.
pub(super) fn run(args: Args, context: &Context) -> Result {
    let change = |of: &Of, change: &GroupChange| {
        let engine = context.open(false)?;
        engine.change_group(&of.topic, &of.group, change, &context.job).in_topic(&of.topic)
    };
    match args.verb {
        Verb::Ack(args) => settle::ack(&args, context),
        Verb::Nack(args) => settle::nack(&args, context),
        Verb::Create(args) => create(&args, context),
        Verb::Set(args) => set(&args, context),
        Verb::Seek(args) => seek(&args, context),
        Verb::Pause(of) => change(&of, &GroupChange::Pause),
        Verb::Resume(of) => change(&of, &GroupChange::Resume),
        Verb::Delete(args) => delete(&args, context),
        Verb::List(args) => list(&args, context),
        Verb::Show(args) => show(&args, context),
    }?;
    Ok(Exit::Done)
}

fn apply(settings: &mut GroupSettings, changes: &[(String, String)]) -> Result<()> {
    for (name, value) in changes {
        settings.set(name, value).map_err(|why| Failure::new(Exit::Usage, why))?;
    }
    Ok(())
}

fn resolve(engine: &dyn Engine, topic: &TopicName, position: &Position, context: &Context) -> Result<drave::ids::Offset> {
    let mut feed = engine.feed(std::slice::from_ref(topic), &context.job).in_topic(topic)?;
    let start = feed.bounds(0).in_topic(topic)?.start;
    Ok(position.resolve(feed.as_mut(), 0).in_topic(topic)?.max(start))
}

fn create(args: &Create, context: &Context) -> Result<()> {
    let Of { topic, group } = &args.of;
    let engine = context.open(false)?;
    let mut settings = GroupSettings::default();
    apply(&mut settings, &args.settings)?;
    let from = resolve(&*engine, topic, &args.from, context)?;
    if engine.create_group(topic, group, &settings, from, &context.job).in_topic(topic)? || args.if_missing {
        return Ok(());
    }
    Err(Failure::new(Exit::Conflict, format!("{topic}: group {group} exists already")).into())
}

fn set(args: &Set, context: &Context) -> Result<()> {
    let Of { topic, group } = &args.of;
    let engine = context.open(false)?;
    let mut settings = engine.group(topic, group).in_topic(topic)?.settings;
    apply(&mut settings, &args.settings)?;
    engine.change_group(topic, group, &GroupChange::Settings(settings), &context.job).in_topic(topic)
}

fn seek(args: &Seek, context: &Context) -> Result<()> {
    let consent = Consent::needed(args.yes || args.dry_run)?;
    let Of { topic, group } = &args.of;
    let engine = context.open(false)?;
    let before = engine.group(topic, group).in_topic(topic)?.committed.offset;
    let to = resolve(&*engine, topic, &args.to, context)?;
    if args.dry_run {
        context.say(&format!("{topic}: group {group} would go from offset {before} to {to}"));
        return Ok(());
    }
    consent.ask(&format!("send group {group} of {topic} from offset {before} to {to}?"))?;
    engine.change_group(topic, group, &GroupChange::Seek(to), &context.job).in_topic(topic)?;
    context.say(&format!("{topic}: group {group} went from offset {before} to {to}"));
    Ok(())
}

fn delete(args: &Delete, context: &Context) -> Result<()> {
    let consent = Consent::needed(args.yes)?;
    let Of { topic, group } = &args.of;
    let engine = context.open(false)?;
    consent.ask(&format!("delete group {group} of {topic}?"))?;
    match engine.delete_group(topic, group, &context.job) {
        Err(drave::Error::NameMissing { .. }) if args.if_exists => Ok(()),
        result => result.in_topic(topic),
    }
}

fn list(args: &List, context: &Context) -> Result<()> {
    let mut table = Table::new(&["group"]);
    for group in context.open(false)?.groups(&args.topic).in_topic(&args.topic)? {
        table.row(vec![group.as_bytes().to_vec().into()]);
    }
    table.print(args.json)
}

fn show(args: &Show, context: &Context) -> Result<()> {
    let Of { topic, group } = &args.of;
    let settings = context.open(false)?.group(topic, group).in_topic(topic)?.settings;
    let defaults = GroupSettings::default();
    let mut table = Table::new(&["setting", "value", "from"]);
    for ((name, value), (_, default)) in settings.iter().zip(defaults.iter()) {
        let from = if value == default { "default" } else { "group" };
        table.row(vec![name.into(), value.into(), from.into()]);
    }
    table.print(args.json)
}
