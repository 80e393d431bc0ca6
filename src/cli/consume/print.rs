//! Without `--exec`: records are printed, and settled once the output has accepted them.

use std::os::fd::BorrowedFd;

use drave::engine::{GroupReceipt, Receipt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Session;
use crate::cli::Result;
use crate::cli::exit::{Exit, Failure, InTopic as _};
use crate::cli::format::Delivered;
use crate::cli::output::Output;
use crate::cli::reading::Sink as _;

/// So many records are taken at a time: what is not accepted by the output is given back.
const TAKE: usize = 4096;
/// Where somebody else settles them, their leases run out while they wait to be read.
const TAKE_MANUAL: usize = 64;

pub(super) fn run(session: &mut Session<'_>, mut output: Output) -> Result<()> {
    let mut receipts: Vec<Receipt> = Vec::new();
    let (topic, tag, is_manual) = (session.topic, session.consumer.tag(), session.is_manual);
    loop {
        receipts.clear();
        let mut printed = Ok(());
        let taken = match session.room(if is_manual { TAKE_MANUAL } else { TAKE }) {
            0 => 0,
            room => session.take(room, &mut |delivery, record| {
                let receipt = delivery.receipt();
                receipts.push(receipt);
                if printed.is_ok() {
                    let text = is_manual.then(|| GroupReceipt { tag, receipt }.to_string());
                    let delivered = Delivered { receipt: text.as_deref(), attempt: Some(delivery.deliveries) };
                    printed = output.take_delivered(topic, record, delivered);
                }
            })?,
        };
        match printed.and_then(|()| output.flush()) {
            Err(error) if is_manual => {
                // Nobody can tell which of them were read.
                session.consumer.nack(&receipts, false, None, b"").in_topic(topic)?;
                return Err(error);
            }
            // What the output did not take all of is given back as the group is left.
            printed => printed?,
        }
        if !session.no_ack && !is_manual && !receipts.is_empty() {
            session.consumer.ack(&receipts).in_topic(topic)?;
        }
        if taken > 0 && session.context.signal().is_none() {
            session.context.job.check()?;
            continue;
        }
        if session.is_over()? {
            return Ok(());
        }
        if is_closed(output.fd()) {
            return Err(Failure::new(Exit::OutputClosed, "nobody reads the output any more").into());
        }
        session.consumer.wait().in_topic(topic)?;
    }
}

fn is_closed(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::ERR)
}
