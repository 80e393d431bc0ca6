//! Input into topics: when to write, when to sync, when to wait.

use drave::job::Job;

use super::outlet::Tally;
use super::writer::{Skipped, Writer};
use crate::cli::Result;
use crate::cli::input::{Fill, Input};

/// Where the records of a stream go.
pub(super) trait Sink {
    /// Writes the records that are complete in `bytes`; with `end`, also what follows them. Returns
    /// how many bytes that used; the next call's `bytes` begin after them.
    fn take(&mut self, bytes: &[u8], end: bool) -> Result<usize>;

    /// Begins to make durable what is written.
    fn start_sync(&mut self) -> Result<()>;

    /// Waits until all that is written is stored at its level.
    fn settle(&mut self) -> Result<()>;

    /// Settles for good; also after a failure.
    fn close(&mut self) -> Result<()>;

    /// What is stored at its level.
    fn settled(&self) -> Tally;

    /// What was left out.
    fn skipped(&self) -> &Skipped;
}

/// Takes all of `input`. Nothing complete is kept back while it waits for more.
pub(super) fn run(input: &mut Input<'_>, sink: &mut dyn Sink, job: &Job) -> Result<()> {
    loop {
        let fill = input.fill()?;
        let used = sink.take(input.bytes(), fill == Fill::End)?;
        input.consume(used);
        match fill {
            Fill::Full => {}
            Fill::Due => sink.start_sync()?,
            Fill::Blocks => {
                sink.settle()?;
                input.wait()?;
            }
            Fill::End => return Ok(()),
            // The last line is not complete, and will not be.
            Fill::Stopped => return Ok(job.check()?),
        }
    }
}

/// Takes all of `input` as one record; an empty one only if `even_empty`.
pub(super) fn run_whole(input: &mut Input<'_>, writer: &mut Writer<'_>, job: &Job, even_empty: bool) -> Result<()> {
    loop {
        // What came before an input that cannot be read is published.
        let fill = input.fill().or_else(|error| writer.flush().and(Err(error)))?;
        match fill {
            Fill::Full | Fill::Due => {
                writer.refuse_longer(input.bytes().len())?;
                input.consume(0);
            }
            Fill::Blocks => {
                writer.flush()?;
                writer.outlet.settle()?;
                input.wait()?;
            }
            Fill::End if input.bytes().is_empty() && !even_empty => return Ok(()),
            Fill::End => return writer.push(input.bytes()),
            Fill::Stopped => {
                writer.flush()?;
                return Ok(job.check()?);
            }
        }
    }
}
