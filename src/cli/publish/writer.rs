//! Records into one topic.

use drave::codec::BatchBuilder;
use drave::codec::frame::FRAME_BYTES_AIM;
use drave::codec::lines::LineTable;

use super::outlet::{Outlet, Tally};
use super::recipe::Recipe;
use super::split::Splitter;
use super::stream::Sink;
use crate::cli::Result;
use crate::cli::exit::{Exit, Failure};

/// Records that were left out because they could not be read.
#[derive(Default)]
pub(super) struct Skipped {
    allowed: bool,
    count: u64,
    first: Option<String>,
}

impl Skipped {
    /// With `allowed`, bad records are counted; without, the first one ends the work.
    pub(super) fn new(allowed: bool) -> Skipped {
        Skipped { allowed, ..Skipped::default() }
    }

    /// Notes a bad record, or fails if none is to be skipped.
    pub(super) fn note(&mut self, what: String) -> Result<()> {
        if !self.allowed {
            return Err(Failure::new(Exit::Rejected, what).into());
        }
        self.count += 1;
        self.first.get_or_insert(what);
        Ok(())
    }

    /// An error, if something was left out.
    pub(super) fn check(&self) -> Result<()> {
        match &self.first {
            Some(first) => {
                let sentence = format!("skipped {} that could not be read; the first: {first}", super::records(self.count));
                Err(Failure::new(Exit::Rejected, sentence).into())
            }
            None => Ok(()),
        }
    }
}

/// Gathers records for one topic into batches of about 1 MiB.
pub(super) struct Writer<'e> {
    pub(super) outlet: Outlet<'e>,
    recipe: Recipe,
    builder: BatchBuilder,
    /// What a record is called where it is counted: a line, a message ...
    noun: &'static str,
    /// How many records there were, with the one in hand.
    seen: u64,
    pub(super) skipped: Skipped,
}

impl<'e> Writer<'e> {
    pub(super) fn new(outlet: Outlet<'e>, recipe: Recipe, noun: &'static str, skip_bad: bool) -> Writer<'e> {
        Writer { outlet, recipe, builder: BatchBuilder::new(), noun, seen: 0, skipped: Skipped::new(skip_bad) }
    }

    /// Takes one record. It is written with those that follow, or by [`Writer::flush`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        // A frame is larger than its aim only for one large record.
        if self.builder.bytes() + bytes.len() > FRAME_BYTES_AIM {
            self.flush()?;
        }
        self.seen += 1;
        if self.recipe.json && bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        self.recipe.push(bytes, &mut self.builder).or_else(|why| self.refuse(&why))
    }

    /// Takes a null.
    pub(super) fn push_tombstone(&mut self) -> Result<()> {
        self.seen += 1;
        self.recipe.push_tombstone(&mut self.builder).or_else(|why| self.refuse(&why))
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.builder.is_empty() {
            self.outlet.publish(&self.builder.batch(), |_| {})?;
            self.builder.clear();
        }
        Ok(())
    }

    /// Refuses a record of which there are `bytes` so far and no end, if that is too long already.
    pub(super) fn refuse_longer(&mut self, bytes: usize) -> Result<()> {
        if let Err(why) = self.recipe.check_size(bytes) {
            self.seen += 1;
            // Where the next one begins cannot be told without reading on.
            self.skipped.allowed = false;
            return self.refuse(&why);
        }
        Ok(())
    }

    /// The record in hand is bad. What came before it is written.
    fn refuse(&mut self, why: &str) -> Result<()> {
        if !self.skipped.allowed {
            self.flush()?;
        }
        let topic = self.outlet.topic();
        self.skipped.note(format!("{topic}: {} {}: {why}", self.noun, self.seen))
    }
}

/// A stream of which every record goes into one topic.
pub(super) struct ToTopic<'w, 'e> {
    writer: &'w mut Writer<'e>,
    cut: Cut,
}

enum Cut {
    Lines(Lines),
    At(Box<Splitter>),
}

impl<'w, 'e> ToTopic<'w, 'e> {
    pub(super) fn new(writer: &'w mut Writer<'e>, delimiter: &[u8]) -> ToTopic<'w, 'e> {
        let is_lines = delimiter == b"\n" && writer.recipe.is_plain();
        let cut = if is_lines { Cut::Lines(Lines::default()) } else { Cut::At(Box::new(Splitter::new(delimiter))) };
        ToTopic { writer, cut }
    }
}

impl Sink for ToTopic<'_, '_> {
    fn take(&mut self, bytes: &[u8], end: bool) -> Result<usize> {
        let used = match &mut self.cut {
            Cut::Lines(lines) => lines.take(bytes, end, self.writer)?,
            Cut::At(splitter) => splitter.split(bytes, end, |record| self.writer.push(record))?,
        };
        self.writer.flush()?;
        self.writer.refuse_longer(bytes.len() - used)?;
        Ok(used)
    }

    fn start_sync(&mut self) -> Result<()> {
        self.writer.outlet.start_sync()
    }

    fn settle(&mut self) -> Result<()> {
        self.writer.outlet.settle()
    }

    fn close(&mut self) -> Result<()> {
        self.writer.outlet.close()
    }

    fn settled(&self) -> Tally {
        self.writer.outlet.settled()
    }

    fn skipped(&self) -> &Skipped {
        &self.writer.skipped
    }
}

/// Lines that are values and no more: published from the buffer they were read into.
#[derive(Default)]
struct Lines {
    table: LineTable,
    /// So many bytes at the buffer's front hold no newline.
    searched: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], end: bool, writer: &mut Writer<'_>) -> Result<usize> {
        let complete = memchr::memrchr(b'\n', &bytes[self.searched..]).map_or(0, |at| self.searched + at + 1);
        self.searched = bytes.len() - complete;
        let mut from = 0;
        if complete > 2 * FRAME_BYTES_AIM {
            // A line that took several chunks has a frame of its own.
            from = memchr::memchr(b'\n', bytes).map_or(0, |at| at + 1);
            self.publish(&bytes[..from], writer)?;
        }
        self.publish(&bytes[from..complete], writer)?;
        if !end {
            return Ok(complete);
        }
        if complete < bytes.len() {
            writer.push(&bytes[complete..])?;
        }
        Ok(bytes.len())
    }

    /// Publishes lines, the last of which ends in a newline.
    fn publish(&mut self, lines: &[u8], writer: &mut Writer<'_>) -> Result<()> {
        let Some(batch) = self.table.scan(lines) else { return Ok(()) };
        if batch.record_bytes_max > writer.recipe.record_bytes_max {
            // One of them is too long: those before it are published, then it is named.
            return lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| writer.push(&line[..line.len() - 1]));
        }
        writer.outlet.publish(&batch, |_| {})?;
        writer.seen += u64::from(batch.count);
        Ok(())
    }
}
