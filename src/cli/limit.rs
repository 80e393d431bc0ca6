//! `drave limit`: rate limits.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args as ClapArgs, Subcommand};
use drave::config::{Adaptive, LIMIT_SETTINGS, LimitOf};
use drave::units::{Counted, Rate, format_size, parse_size};

use super::Result;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::table::Table;

/// Set, clear and list rate limits
///
/// A limit holds for all processes that use the store, together; no server is needed. What they did to whom: drave inspect limits.
///
/// A publish that is over a limit is refused at once with exit 9, or waits with --limit-wait. Reading is slowed, never refused.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Set(Set),
    Clear(Clear),
    List(List),
}

/// Set a limit, or change one
///
/// It holds at once, also for commands that run, and begins with a full burst. What is not given stays as it is. For a topic it is the same as drave topic set with the settings rate, rate-bytes, burst, burst-bytes and adaptive.
#[derive(ClapArgs, Debug)]
#[command(after_help = SET_HELP)]
struct Set {
    /// What is limited: global, all that is published; topic:NAME, what is published to a topic; reader:NAME, what is read by a group or by tail --as NAME; reader: (without a name), what all others read together with tail, replay and XREAD
    #[arg(value_name = "WHAT", value_parser = limit_of())]
    of: LimitOf,

    /// How fast: 1000/s records, or 10MB/s; also /m and /h. Both may be given
    #[arg(value_name = "RATE", value_parser = Rate::parse, num_args = 0..=2)]
    rates: Vec<(Rate, Counted)>,

    /// So much at once: records, or with a unit bytes, as 64KiB; without, what comes in a second
    #[arg(long, value_name = "N")]
    burst: Option<String>,

    /// Go slower, at half the rate at worst, while the load is high: off, on, append:DURATION, sync:DURATION, lag:RECORDS, lag:DURATION
    #[arg(long, value_name = "TARGET")]
    adaptive: Option<Adaptive>,
}

/// Remove limits
///
/// A topic then has the limit that store.toml gives all topics, if it does.
#[derive(ClapArgs, Debug)]
struct Clear {
    /// Of what, as in limit set
    #[arg(value_name = "WHAT", value_parser = limit_of(), required = true)]
    of: Vec<LimitOf>,
}

/// List all limits
///
/// Columns: limit, rate, burst, rate_bytes, burst_bytes, adaptive.
#[derive(ClapArgs, Debug)]
struct List {
    /// Print an object a line: {"limit","rate","burst","rate_bytes","burst_bytes","adaptive"}, null for what is not set
    #[arg(long)]
    json: bool,
}

const SET_HELP: &str = "\
A limit is a bucket: it holds a burst, and fills at the rate. A batch larger than the burst is published in pieces of it; a single record that is larger goes when the bucket is full, and what comes after it waits for longer. Bytes are those of records as they are stored without compression.

Adaptive: every ten seconds the rate is lowered while the load is above its target, and raised again while it is well below. append, sync: the time that 99 of 100 of them do not exceed; on: sync:100ms; lag: of the topic's slowest group.

Examples:
  drave limit set global 50MB/s
  drave limit set topic:orders 1000/s --burst 200
  drave limit set topic:orders --adaptive lag:30s
  drave limit set reader:billing 100/s";

/// Reads what a limit is for: any bytes.
fn limit_of() -> impl TypedValueParser<Value = LimitOf> {
    OsStringValueParser::new().try_map(|text: OsString| LimitOf::parse(text.as_bytes()))
}

/// Runs the verb.
pub(super) fn run(args: Args, context: &Context) -> Result {
    match args.verb {
        Verb::Set(args) => set(&args, context),
        Verb::Clear(args) => clear(&args, context),
        Verb::List(args) => list(&args, context),
    }?;
    Ok(Exit::Done)
}

fn set(args: &Set, context: &Context) -> Result<()> {
    let changes = changes(args).map_err(|why| Failure::new(Exit::Usage, why))?;
    Ok(context.open(false)?.set_limit(&args.of, &changes, &context.job)?)
}

/// As settings of a topic are changed.
fn changes(args: &Set) -> Result<Vec<(String, String)>, String> {
    let mut changes: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| match changes.iter().any(|(known, _)| known == name) {
        true => Err(format!("there are two of {name}")),
        false => {
            changes.push((name.to_owned(), value));
            Ok(())
        }
    };
    for (rate, counted) in &args.rates {
        match counted {
            Counted::Records => put("rate", rate.to_string())?,
            Counted::Bytes => put("rate-bytes", rate.format_bytes())?,
        }
    }
    if let Some(burst) = &args.burst {
        let size = parse_size(burst).map_err(|_| format!("'{burst}' is neither a number of records nor a size, as 64KiB"))?;
        let has_unit = !burst.bytes().all(|byte| byte.is_ascii_digit());
        let is_of_bytes = !args.rates.is_empty() && args.rates.iter().all(|(_, counted)| *counted == Counted::Bytes);
        match has_unit || is_of_bytes {
            true => put("burst-bytes", format_size(size))?,
            false => put("burst", size.to_string())?,
        }
    }
    if let Some(adaptive) = &args.adaptive {
        put("adaptive", adaptive.to_string())?;
    }
    if changes.is_empty() { Err("what is the limit? give a RATE, --burst or --adaptive".to_owned()) } else { Ok(changes) }
}

fn clear(args: &Clear, context: &Context) -> Result<()> {
    let engine = context.open(false)?;
    let changes: Vec<(String, String)> = LIMIT_SETTINGS.iter().map(|name| ((*name).to_owned(), String::new())).collect();
    for of in &args.of {
        engine.set_limit(of, &changes, &context.job)?;
    }
    Ok(())
}

fn list(args: &List, context: &Context) -> Result<()> {
    let mut table = Table::new(&["limit", "rate", "burst", "rate_bytes", "burst_bytes", "adaptive"]);
    for (of, limit) in context.open(false)?.limits()? {
        table.row(vec![
            of.to_bytes().into(),
            limit.rate.map(|rate| rate.to_string()).into(),
            limit.burst.into(),
            limit.rate_bytes.map(Rate::format_bytes).into(),
            limit.burst_bytes.map(format_size).into(),
            limit.adaptive.to_string().into(),
        ]);
    }
    table.print(args.json)
}
