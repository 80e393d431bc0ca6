//! `drave group ack` and `nack`: settling what `consume --manual` printed.

use std::io::{BufRead as _, BufReader, Read};
use std::time::Duration;

use clap::Args as ClapArgs;
use drave::engine::{GroupReceipt, Receipt, Settler};

use super::Of;
use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::escape;
use crate::cli::exit::{Exit, Failure, InTopic as _};

/// A receipt that is longer is none.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Settle records that consume --manual printed
///
/// Takes their receipts as arguments, or from stdin, one a line: what follows a tab or a space there is not looked at. A receipt that comes late
/// (its lease ran out, or it was used) is refused with exit 12; all others are used.
#[derive(ClapArgs, Debug)]
#[command(after_help = ACK_EXAMPLES)]
pub(super) struct Ack {
    #[command(flatten)]
    of: Of,

    /// The receipts; without any, they are read from stdin
    #[arg(value_name = "RECEIPT")]
    receipts: Vec<GroupReceipt>,
}

/// Give back records that consume --manual printed
///
/// They are delivered again after the group's backoff, or are dead-lettered if this was their last attempt. Receipts are taken as by group ack.
#[derive(ClapArgs, Debug)]
#[command(after_help = NACK_EXAMPLES)]
pub(super) struct Nack {
    #[command(flatten)]
    of: Of,

    /// The receipts; without any, they are read from stdin
    #[arg(value_name = "RECEIPT")]
    receipts: Vec<GroupReceipt>,

    /// The pause before the next delivery, in place of the group's backoff
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration)]
    delay: Option<Duration>,

    /// Do not count the attempt
    #[arg(long, conflicts_with = "dead")]
    uncounted: bool,

    /// Dead-letter them now
    #[arg(long, conflicts_with = "delay")]
    dead: bool,

    /// Why, for the dead letter
    #[arg(long, value_name = "TEXT", default_value = "given back")]
    reason: String,
}

const ACK_EXAMPLES: &str = "\
Examples:
  drave group ack jobs resize 4711-12-0a1b2c3d
  drave consume jobs -g resize --manual -n 100 | ./work | drave group ack jobs resize";

const NACK_EXAMPLES: &str = "\
Examples:
  drave group nack jobs resize 4711-12-0a1b2c3d --delay 10m
  drave group nack jobs resize 4711-12-0a1b2c3d --dead --reason 'not an image'";

pub(super) fn ack(args: &Ack, context: &Context) -> Result<()> {
    settle(&args.of, &args.receipts, context, |settler, receipts| Ok((settler.ack(receipts)?, 0)))
}

pub(super) fn nack(args: &Nack, context: &Context) -> Result<()> {
    let reason = args.reason.as_bytes();
    settle(&args.of, &args.receipts, context, |settler, receipts| {
        if !args.dead {
            let nacked = settler.nack(receipts, !args.uncounted, args.delay, reason)?;
            return Ok((nacked.late, nacked.dead));
        }
        let (mut late, mut dead) = (Vec::new(), 0);
        for receipt in receipts {
            match settler.bury(receipt, reason)? {
                true => dead += 1,
                false => late.push(*receipt),
            }
        }
        Ok((late, dead))
    })
}

/// Has `each` settle the receipts in batches of those that are there: returns those that came late,
/// and how many records are dead letters now.
fn settle(
    of: &Of,
    receipts: &[GroupReceipt],
    context: &Context,
    mut each: impl FnMut(&mut dyn Settler, &[Receipt]) -> drave::Result<(Vec<Receipt>, u64)>,
) -> Result<()> {
    let Of { topic, group } = of;
    let mut stdin = BufReader::new(std::io::stdin().lock());
    if receipts.is_empty() {
        // The consumer at the other end of a pipe may be making the group.
        stdin.fill_buf().map_err(unreadable)?;
    }
    let engine = context.open(false)?;
    let mut settler = engine.settler(topic, group, &context.job).in_topic(topic)?;
    let tag = settler.tag();
    let (mut late, mut count, mut dead) = (Vec::new(), 0usize, 0);
    let mut use_all = |batch: &[GroupReceipt]| -> Result<()> {
        let own: Vec<Receipt> = batch.iter().filter(|receipt| receipt.tag == tag).map(|receipt| receipt.receipt).collect();
        let (refused, died) = each(&mut *settler, &own).in_topic(topic)?;
        late.extend(refused.into_iter().map(|receipt| GroupReceipt { tag, receipt }));
        settler.settle().in_topic(topic)?;
        (count, dead) = (count + own.len(), dead + died);
        match batch.iter().find(|receipt| receipt.tag != tag) {
            None => Ok(()),
            Some(foreign) => {
                let sentence = format!("{topic}: receipt {foreign} is not of group {group}, or of one that had its name before");
                Err(Failure::new(Exit::Rejected, sentence).into())
            }
        }
    };
    if receipts.is_empty() {
        read_batches(stdin, &mut use_all)?
    } else {
        use_all(receipts)?
    }
    if dead > 0 {
        context.say(&format!("{topic}: {dead} records were moved to the dead letters"));
    }
    let Some(first) = late.first() else { return Ok(()) };
    let sentence = format!(
        "{topic}: {} of {count} receipts came late, {first} for one: its lease ran out, or it was used; the record is not this receipt's to settle",
        late.len()
    );
    Err(Failure::new(Exit::Conflict, sentence).into())
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read stdin: {error}"))
}

/// Hands on the receipts that can be read without waiting, again and again. Those before a line that
/// is none are handed on.
fn read_batches(mut input: BufReader<impl Read>, use_all: &mut dyn FnMut(&[GroupReceipt]) -> Result<()>) -> Result<()> {
    let (mut batch, mut line, mut number) = (Vec::new(), Vec::new(), 0u64);
    loop {
        line.clear();
        let read = (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(unreadable)?;
        number += 1;
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let mut wrong = None;
        if !word.is_empty() {
            match String::from_utf8_lossy(word).parse::<GroupReceipt>() {
                Ok(receipt) => batch.push(receipt),
                Err(why) => wrong = Some(format!("stdin: line {number}: {}", escape::escape(why.as_bytes()))),
            }
        }
        let is_last = read == 0 || wrong.is_some();
        if (is_last || memchr::memchr(b'\n', input.buffer()).is_none()) && !batch.is_empty() {
            use_all(&batch)?;
            batch.clear();
        }
        if let Some(why) = wrong {
            return Err(Failure::new(Exit::Rejected, why).into());
        }
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read_up_to_the_first_line_that_is_none() {
        let mut all = Vec::new();
        let text = b"1-2-00000003\n\n  \n4-5-00000006\tvalue\nd7-8-00000009 x\nhuh\n1-1-00000001\n";
        let read = read_batches(BufReader::new(&text[..]), &mut |batch| {
            all.extend_from_slice(batch);
            Ok(())
        });
        let why = read.expect_err("a line is no receipt").to_string();
        assert!(why.starts_with("stdin: line 6: 'huh' is not a receipt"), "{why}");
        assert_eq!(
            all.iter().map(GroupReceipt::to_string).collect::<Vec<_>>(),
            ["1-2-00000003", "4-5-00000006", "d7-8-00000009"]
        );
    }
}
