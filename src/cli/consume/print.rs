//! Without `--exec`: records are printed, and settled once the output has accepted them.

use std::os::fd::BorrowedFd;

use drave::engine::Receipt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Session;
use crate::cli::Result;
use crate::cli::exit::{Exit, Failure, InTopic as _};
use crate::cli::output::Output;
use crate::cli::reading::Sink as _;

/// So many records are taken at a time: what is not accepted by the output is given back.
const TAKE: usize = 4096;

pub(super) fn run(session: &mut Session<'_>, mut output: Output) -> Result<()> {
    let mut receipts: Vec<Receipt> = Vec::new();
    loop {
        receipts.clear();
        let room = session.room(TAKE);
        let mut printed = Ok(());
        let topic = session.topic;
        let taken = match room {
            0 => 0,
            room => session.take(room, &mut |delivery, record| {
                receipts.push(delivery.receipt());
                if printed.is_ok() {
                    printed = output.take(topic, record);
                }
            })?,
        };
        // What the output did not take all of is given back as the group is left.
        printed.and_then(|()| output.flush())?;
        if !session.no_ack && !receipts.is_empty() {
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
