//! One topic, as publish sees it: batches go in, counts and receipts come out.

use std::io::Write;

use drave::codec::{Batch, Malformed};
use drave::engine::{Engine, PublishOptions, Published, Publisher};
use drave::ids::{Offset, TopicName};

use crate::cli::Result;
use crate::cli::exit::{InTopic as _, stdout_failed};

/// What has been published: stored at its level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Tally {
    pub(in crate::cli) records: u64,
    pub(in crate::cli) last: Option<Offset>,
}

/// A topic that is published to.
pub(in crate::cli) struct Outlet<'e> {
    topic: TopicName,
    publisher: Box<dyn Publisher + 'e>,
    expect: Option<Offset>,
    written: Tally,
    settled: Tally,
    receipts: Option<Receipts<'e>>,
}

impl<'e> Outlet<'e> {
    pub(in crate::cli) fn open(engine: &'e dyn Engine, topic: &TopicName, options: &PublishOptions) -> Result<Outlet<'e>> {
        Ok(Outlet {
            topic: topic.clone(),
            publisher: engine.publisher(topic, options).in_topic(topic)?,
            expect: None,
            written: Tally::default(),
            settled: Tally::default(),
            receipts: None,
        })
    }

    /// The first record must get this offset, and every further one the next.
    pub(in crate::cli) fn expect(mut self, offset: Option<Offset>) -> Outlet<'e> {
        self.expect = offset;
        self
    }

    /// Prints a receipt for every record once it is stored.
    pub(in crate::cli) fn with_receipts(mut self, receipts: Option<Receipts<'e>>) -> Outlet<'e> {
        self.receipts = receipts;
        self
    }

    pub(in crate::cli) fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// What is written, at its level or not yet.
    pub(in crate::cli) fn written(&self) -> Tally {
        self.written
    }

    /// What is stored at its level.
    pub(in crate::cli) fn settled(&self) -> Tally {
        self.settled
    }

    /// Writes a batch, in pieces where the rate limits do not let it through at once; tells of each. It counts once
    /// [`Outlet::settle`] has returned.
    pub(in crate::cli) fn publish(&mut self, batch: &Batch<'_>, mut each: impl FnMut(Published)) -> Result<()> {
        match self.publisher.batch_max().in_topic(&self.topic)? {
            None => each(self.publish_piece(batch)?),
            Some(most) => {
                let cut = batch.cut::<PieceError>(most.records, most.bytes, |piece| {
                    each(self.publish_piece(piece)?);
                    Ok(())
                });
                cut.map_err(|error| error.0)?;
            }
        }
        Ok(())
    }

    fn publish_piece(&mut self, batch: &Batch<'_>) -> Result<Published> {
        let published = self.publisher.publish(batch, self.expect).in_topic(&self.topic)?;
        let end = published.first.plus(u64::from(published.count));
        self.expect = self.expect.map(|_| end);
        self.written.records += u64::from(published.count);
        self.written.last = end.0.checked_sub(1).map(Offset);
        if let Some(receipts) = &mut self.receipts {
            receipts.pending.push(published);
        }
        Ok(published)
    }

    /// Begins to make durable what is written. Who waits for receipts waits for them here too, so
    /// that they come while input flows.
    pub(in crate::cli) fn start_sync(&mut self) -> Result<()> {
        if self.receipts.is_some() {
            return self.settle();
        }
        self.publisher.start_sync().in_topic(&self.topic)
    }

    /// Waits until all that is written is stored at its level.
    pub(in crate::cli) fn settle(&mut self) -> Result<()> {
        if self.written == self.settled {
            return Ok(());
        }
        self.publisher.settle().in_topic(&self.topic)?;
        self.now_settled()
    }

    /// Settles for good.
    pub(in crate::cli) fn close(&mut self) -> Result<()> {
        self.publisher.close().in_topic(&self.topic)?;
        self.now_settled()
    }

    fn now_settled(&mut self) -> Result<()> {
        self.settled = self.written;
        self.receipts.as_mut().map_or(Ok(()), Receipts::print)
    }
}

/// Why a piece was not published.
struct PieceError(anyhow::Error);

impl From<Malformed> for PieceError {
    fn from(malformed: Malformed) -> PieceError {
        PieceError(anyhow::anyhow!(malformed.to_string()))
    }
}

impl From<anyhow::Error> for PieceError {
    fn from(error: anyhow::Error) -> PieceError {
        PieceError(error)
    }
}

/// `offset<TAB>id<TAB>level` for every record.
pub(in crate::cli) struct Receipts<'e> {
    out: Box<dyn Write + 'e>,
    pending: Vec<Published>,
}

impl<'e> Receipts<'e> {
    pub(super) fn new(out: impl Write + 'e) -> Receipts<'e> {
        Receipts { out: Box::new(out), pending: Vec::new() }
    }

    fn print(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for published in self.pending.drain(..) {
            for nth in 0..published.count {
                push_receipt(&mut lines, &published, nth);
            }
            self.out.write_all(&lines).map_err(stdout_failed)?;
            lines.clear();
        }
        self.out.flush().map_err(stdout_failed)
    }

    /// Prints receipts of records that are stored, in this order.
    pub(super) fn print_these(&mut self, receipts: impl Iterator<Item = (Published, u32)>) -> Result<()> {
        let mut lines = Vec::new();
        receipts.for_each(|(published, nth)| push_receipt(&mut lines, &published, nth));
        self.out.write_all(&lines).and_then(|()| self.out.flush()).map_err(stdout_failed)
    }
}

/// Appends the receipt of the `nth` record of what was published in one go.
fn push_receipt(lines: &mut Vec<u8>, published: &Published, nth: u32) {
    let nth = u64::from(nth);
    let offset = published.first.plus(nth);
    // The last ID there can be has no successor; then none was assigned either.
    let id = published.first_id.advance(nth).unwrap_or(published.first_id);
    // Writing into a Vec cannot fail.
    let _ = writeln!(lines, "{offset}\t{id}\t{}", published.level);
}
