//! Segments and frames.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use drave::Error;
use drave::ids::{Offset, TopicName};
use drave::log::inspect::Thing;
use drave::store::{Store, file_frames};

use super::{Frames, Status, of_topic};
use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::table::{Cell, Rows};

const SEGMENTS: [&str; 10] =
    ["base", "end", "bytes", "epoch", "created", "durable", "previous", "previous_end", "index_bytes", "problem"];

/// Prints a row for each segment.
pub(super) fn segments(topic: &TopicName, json: bool, context: &Context) -> Result {
    let store = context.open_to_look()?;
    let mut status = Status::default();
    let mut rows = Rows::begin(SEGMENTS, json);
    for segment in of_topic(store.segment_facts(topic), topic)? {
        let header = segment.header.as_ref().ok();
        let previous = header.and_then(|header| header.previous);
        if segment.header.is_err() {
            status.note_damage();
        }
        rows.row(vec![
            segment.base.into(),
            segment.end.into(),
            segment.bytes.into(),
            header.map(|header| header.epoch.0).into(),
            header.map_or(Cell::Absent, |header| Cell::time(header.created.0)),
            header.map(|header| header.durable).into(),
            previous.map(|previous| previous.base).into(),
            previous.map(|previous| previous.end_position).into(),
            segment.index_bytes.into(),
            segment.header.err().into(),
        ])?;
    }
    rows.end()?;
    Ok(status.exit())
}

const FRAMES: [&str; 12] =
    ["segment", "position", "length", "kind", "base", "span", "count", "id", "time", "durable", "zstd", "problem"];
/// Whether the work should end is looked at every so many rows.
const CHECK_ROWS: u64 = 256;

/// Prints a row for each frame.
pub(super) fn frames(args: &Frames, json: bool, context: &Context) -> Result {
    let place = Place::resolve(args, context)?;
    let mut listing = Listing { rows: Rows::begin(FRAMES, json), context, count: 0, status: Status::default(), failed: None };
    match &place {
        Place::File(path) => {
            // Of a segment, the header tells the base; it is read first.
            let base = file_frames(path, |_| false)?.base;
            file_frames(path, |thing| listing.take(base, thing))?;
        }
        Place::Topic(store, topic) => {
            let only = args.segment.map(Offset);
            let mut found = only.is_none();
            let walked = store.frame_facts(topic, only, |base, thing| {
                found = true;
                listing.take(base, thing)
            });
            of_topic(walked, topic)?;
            if !found && !of_topic(store.segment_facts(topic), topic)?.iter().any(|segment| Some(segment.base) == only) {
                let sentence = format!("{topic}: there is no segment with base offset {}", only.unwrap_or_default());
                return Err(Failure::new(Exit::Missing, sentence).into());
            }
        }
    }
    listing.end()
}

/// What was named.
enum Place<'a> {
    Topic(Box<Store>, TopicName),
    File(&'a Path),
}

impl Place<'_> {
    fn resolve<'a>(args: &'a Frames, context: &Context) -> Result<Place<'a>> {
        let path = Path::new(&args.place);
        let bytes = args.place.as_bytes();
        let is_path = [&b"/"[..], b"./", b"../"].iter().any(|start| bytes.starts_with(start));
        if is_path && path.exists() {
            return file(path, args);
        }
        let topic = TopicName::new(bytes);
        let looked = topic.map(|topic| -> Result<_> {
            let store = context.open_to_look()?;
            Ok((store.has_topic(&topic)?, store, topic))
        });
        match looked {
            Some(Ok((true, store, topic))) => Ok(Place::Topic(Box::new(store), topic)),
            _ if path.exists() => file(path, args),
            Some(Ok((false, _, topic))) => Err(Error::TopicMissing { topic }.into()),
            Some(Err(error)) => Err(error),
            None => Err(Failure::new(Exit::Missing, format!("there is no topic and no file {}", path.display())).into()),
        }
    }
}

fn file<'a>(path: &'a Path, args: &Frames) -> Result<Place<'a>> {
    match args.segment {
        None => Ok(Place::File(path)),
        Some(_) => Err(Failure::new(Exit::Usage, "--segment chooses a file of a topic; here a file is named already").into()),
    }
}

struct Listing<'a> {
    rows: Rows,
    context: &'a Context,
    count: u64,
    status: Status,
    failed: Option<anyhow::Error>,
}

impl Listing<'_> {
    /// Prints what was met; says whether to go on.
    fn take(&mut self, segment: Offset, thing: Thing) -> bool {
        if matches!(thing, Thing::Bad { .. }) {
            self.status.note_damage();
        }
        self.count += 1;
        let printed = self.rows.row(row(segment, thing));
        let checked = if self.count.is_multiple_of(CHECK_ROWS) { self.context.job.check() } else { Ok(()) };
        self.failed = printed.and_then(|()| Ok(checked?)).err();
        self.failed.is_none()
    }

    fn end(self) -> Result {
        match self.failed {
            Some(error) => Err(error),
            None => {
                self.rows.end()?;
                Ok(self.status.exit())
            }
        }
    }
}

fn row(segment: Offset, thing: Thing) -> Vec<Cell> {
    let bytes = |kind: &str, position: u64, until: u64, problem: Cell| {
        let mut cells: Vec<Cell> = vec![segment.into(), position.into(), until.saturating_sub(position).into(), kind.into()];
        cells.resize(FRAMES.len() - 1, Cell::Absent);
        cells.push(problem);
        cells
    };
    match thing {
        Thing::Bad { position, until, why } => bytes("bad", position, until, why.into()),
        Thing::Behind { position, until } => bytes("behind", position, until, Cell::Absent),
        Thing::Frame(frame) => vec![
            segment.into(),
            frame.position.into(),
            u64::from(frame.length).into(),
            frame.kind.as_str().into(),
            frame.base.into(),
            u64::from(frame.span).into(),
            u64::from(frame.count).into(),
            frame.base_id.to_string().into(),
            Cell::time(frame.base_id.ms),
            frame.durable.into(),
            frame.zstd.into(),
            Cell::Absent,
        ],
    }
}
