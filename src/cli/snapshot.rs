//! `drave snapshot`: consistent copies of a store. Below the engine: it copies files.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::num::NonZeroU32;
use std::path::Path;

use clap::Args as ClapArgs;
use drave::engine::dead_letters::dead_letter_topic;
use drave::ids::TopicName;
use drave::store::{Keep, SnapshotMade, SnapshotOptions, Store};

use super::context::Context;
use super::exit::{Exit, Failure, stdout_failed};
use super::progress::Bar;
use super::table::Table;
use super::{Result, topic_name};

/// Make a consistent copy of the store
///
/// DEST is a directory of snapshots, made if it is missing: each one is a directory in it, named by when it was made, in UTC. Its path is
/// printed. Publishing and consuming go on meanwhile. No group is ahead of its topic in it, and no dead letter is lost.
///
/// On the file system of the store, or after an earlier snapshot in DEST, only what is new is copied: the rest is shared by hard links. A snapshot
/// that was cut short is never taken for one, and its remains go with the next run; what cannot be removed: exit 1, after the path. While another process makes one in DEST: exit 5.
///
/// DEST - writes the snapshot to stdout, as a tar. When a compaction overtakes it: exit 5, try again; in a directory it begins that topic anew.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The directory of snapshots, or - for stdout
    #[arg(value_name = "DEST")]
    dest: OsString,

    /// These topics only, each with its groups, cursors and dead letters; default: all
    #[arg(value_name = "TOPIC", value_parser = topic_name())]
    topics: Vec<TopicName>,

    /// Then remove all but the N newest snapshots in DEST; counted, and removed, are those of this store and the same topics only
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    keep: Option<NonZeroU32>,

    /// Keep only the last snapshot of each of the last N days that have any; with --keep, also the newest
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    keep_daily: Option<NonZeroU32>,

    /// Read all of it back before it counts; what is wrong: exit 7, and there is no snapshot
    #[arg(long)]
    verify: bool,

    /// Print an object: {"snapshot","topics","files","bytes","bytes_copied"}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  drave snapshot /backup/drave --keep 24 --keep-daily 14      for cron, each hour
  drave snapshot - | zstd | ssh backup 'cat > store.tar.zst'
  drave restore /backup/drave --into /srv/restored            the newest one, as a store";

/// How many snapshots, or days of them, are to be kept.
pub(super) fn parse_keep(text: &str) -> std::result::Result<NonZeroU32, String> {
    let number: u32 = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    NonZeroU32::new(number).ok_or_else(|| "it would remove every snapshot; keep 1 at least".to_owned())
}

pub(super) fn run(args: Args, context: &Context) -> Result {
    let is_stream = args.dest == *"-";
    if is_stream && (args.keep.is_some() || args.keep_daily.is_some() || args.verify || args.json) {
        let sentence = "--keep, --keep-daily, --verify and --json are for a directory of snapshots, not for -";
        return Err(Failure::new(Exit::Usage, sentence).into());
    }
    if is_stream && io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a tar is nothing for a terminal; send it to a file or a program").into());
    }
    context.handle_signals()?;
    let store = context.open_store()?;
    let letters = args.topics.iter().filter_map(|topic| dead_letter_topic(topic).ok()).collect();
    let keep = Keep { newest: args.keep, daily: args.keep_daily };
    let options = SnapshotOptions { topics: args.topics, letters, keep, verify: args.verify };
    let bar = Bar::start(&context.job, !context.quiet);
    if bar.is_some() {
        expect(context, &store, &options.topics)?;
    }
    if is_stream {
        let made = stream(&store, &options, context)?;
        drop(bar);
        context.say(&told(&made));
        return Ok(Exit::Done);
    }
    refuse_inside(&store, &args.dest)?;
    let made = store.snapshot(Path::new(&args.dest), &options, &context.job)?;
    drop(bar);
    print(&made, args.json)?;
    tell_leftovers(context, made.leftovers);
    let removed = match made.removed.len() {
        0 => String::new(),
        removed => format!("; removed {removed} older ones"),
    };
    context.say(&format!("{}{removed}", told(&made)));
    for (path, why) in &made.kept_back {
        context.say(&format!("the snapshot was made, but {} could not be removed: {why}", path.display()));
    }
    Ok(if made.kept_back.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Says that something was removed that a run which was cut short had left.
pub(super) fn tell_leftovers(context: &Context, leftovers: u64) {
    if leftovers > 0 {
        context.say(&format!("removed what was left of {leftovers} that had been cut short"));
    }
}

fn print(made: &SnapshotMade, json: bool) -> Result<()> {
    let path = made.path.as_deref().unwrap_or(Path::new(""));
    if !json {
        let mut line = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
        line.push(b'\n');
        return io::stdout().lock().write_all(&line).map_err(stdout_failed);
    }
    let mut table = Table::new(&["snapshot", "topics", "files", "bytes", "bytes_copied"]);
    table.row(vec![path.into(), made.topics.into(), made.files.into(), made.bytes.into(), made.bytes_copied.into()]);
    table.print(true)
}

fn told(made: &SnapshotMade) -> String {
    format!("{} topics, {} files, {} bytes, {} of them copied", made.topics, made.files, made.bytes, made.bytes_copied)
}

fn expect(context: &Context, store: &Store, topics: &[TopicName]) -> Result<()> {
    let mut bytes = 0;
    for topic in store.list_topics()?.iter().filter(|topic| topics.is_empty() || topics.contains(&topic.name)) {
        bytes += store.segment_bytes(topic)?;
    }
    context.job.expect_bytes(bytes);
    Ok(())
}

/// A copy in the store itself is lost with it.
pub(super) fn refuse_inside(store: &Store, dest: &OsStr) -> Result<()> {
    let Ok(store) = std::fs::canonicalize(store.path()) else { return Ok(()) };
    let mut place = std::path::absolute(dest).unwrap_or_else(|_| dest.into());
    // Of what is not there yet, the part that is.
    let mut real = std::fs::canonicalize(&place);
    while real.is_err() && place.pop() {
        real = std::fs::canonicalize(&place);
    }
    if real.is_ok_and(|real| real.starts_with(&store)) {
        let sentence = "a snapshot inside its store would be lost with it; choose another directory, on another disk if you can";
        return Err(Failure::new(Exit::Usage, sentence).into());
    }
    Ok(())
}

fn stream(store: &Store, options: &SnapshotOptions, context: &Context) -> Result<SnapshotMade> {
    let mut out = Out { inner: BufWriter::with_capacity(1 << 18, io::stdout()), failed: None };
    match store.snapshot_to(&mut out, options, &context.job) {
        Ok(made) => Ok(made),
        Err(error) => Err(out.failed.map_or_else(|| error.into(), stdout_failed)),
    }
}

/// Stdout, which remembers how it failed.
struct Out {
    inner: BufWriter<Stdout>,
    failed: Option<io::Error>,
}

impl Out {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let told = error.kind().into();
            self.failed = Some(error);
            told
        })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.note(flushed)
    }
}
