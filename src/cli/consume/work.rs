//! `--exec`: a command for each record, whose end settles it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drave::engine::{Delivery, Receipt};
use drave::ids::{Lane, TopicName};

use super::exec::{Finished, Runner, Task, Verdict, environment, environment_of_batch};
use super::{Args, Session};
use crate::cli::Result;
use crate::cli::exit::{Exit, Failure, InTopic as _};
use crate::cli::json;
use crate::cli::signals::Stop;

/// How long a wait for commands lasts before it is looked whether there are new records.
const WAIT_MAX: Duration = Duration::from_millis(40);

/// Commands that run, and records that wait for one.
struct Work {
    runner: Runner,
    queue: VecDeque<(Delivery, Input)>,
    /// What each command is to settle.
    running: HashMap<u64, Vec<Delivery>>,
    /// Of commands that ended well.
    acks: Vec<Receipt>,
    /// Where order is kept, one command for a lane at a time.
    busy: HashSet<Lane>,
    is_ordered: bool,
    /// So many records a command at most; `None` = one, with its value as it is.
    batch: Option<usize>,
    /// So many records fit the commands that may run.
    window: usize,
    next: u64,
    is_stopping: bool,
    failure: Option<String>,
}

/// What a command is to read, and to find in its environment.
struct Input {
    stdin: Vec<u8>,
    environment: Vec<(OsString, OsString)>,
}

pub(super) fn run(session: &mut Session<'_>, args: &Args, stop: &Stop) -> Result<()> {
    let mut work = Work {
        runner: Runner::new(args.exec.clone(), usize::from(args.parallel), args.exec_timeout)?,
        queue: VecDeque::new(),
        running: HashMap::new(),
        acks: Vec::new(),
        busy: HashSet::new(),
        is_ordered: session.is_ordered,
        batch: args.batch.map(NonZeroUsize::get),
        window: usize::from(args.parallel) * args.batch.map_or(1, NonZeroUsize::get),
        next: 0,
        is_stopping: false,
        failure: None,
    };
    let second = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&second);
    stop.on_second(move || asked.store(true, Ordering::SeqCst));
    let mut is_terminated = false;
    let mut seen = Instant::now();
    loop {
        // Stopped, or asleep with its machine: nobody was told meanwhile that it lives.
        if std::mem::replace(&mut seen, Instant::now()).elapsed() >= session.lease / 2 {
            work.ack(session)?;
            work.give_back_queue(session)?;
        }
        work.is_stopping |= session.context.signal().is_some() || session.context.job.is_late();
        if second.load(Ordering::SeqCst) && !is_terminated {
            work.runner.terminate()?;
            is_terminated = true;
        }
        if work.is_stopping {
            // Given back as the group is left.
            work.queue.clear();
            work.ack(session)?;
        } else {
            // Before anything is written: a command less would run meanwhile.
            work.start(session.topic);
            work.ack(session)?;
            work.fill(session)?;
            work.start(session.topic);
        }
        if work.runner.running() == 0 {
            if let Some(failure) = work.failure {
                return Err(Failure::new(Exit::Failed, failure).into());
            }
            if work.is_stopping || (work.queue.is_empty() && session.is_over()?) {
                return Ok(());
            }
            session.consumer.wait().in_topic(session.topic)?;
            continue;
        }
        let finished =
            if work.is_stopping { work.runner.wait(WAIT_MAX, &[])? } else { work.runner.wait(WAIT_MAX, &[stop.as_fd()])? };
        work.settle(session, finished)?;
        session.consumer.beat().in_topic(session.topic)?;
    }
}

impl Work {
    /// Takes records for the commands that may run, and as many again, so that none waits for the
    /// journal. Where order is kept there are more: those of a lane wait for each other.
    fn fill(&mut self, session: &mut Session<'_>) -> Result<()> {
        let most = self.window * if self.is_ordered { 8 } else { 2 };
        let running: usize = self.running.values().map(Vec::len).sum();
        let wanted = session.room(most.saturating_sub(self.queue.len() + running));
        if wanted == 0 {
            return Ok(());
        }
        let (queue, batch, topic) = (&mut self.queue, self.batch, session.topic);
        let name = topic.to_string();
        session.take(wanted, &mut |delivery, record| {
            let mut input = Input { stdin: Vec::new(), environment: Vec::new() };
            if batch.is_some() {
                json::push_record(&mut input.stdin, topic.as_bytes(), record, false);
            } else {
                let attempt = u64::from(delivery.deliveries);
                input.environment = environment(&name, record.offset.0, record.id, record.key(), attempt, record.headers());
                input.stdin.extend_from_slice(record.value().unwrap_or_default());
            }
            queue.push_back((*delivery, input));
        })?;
        Ok(())
    }

    fn start(&mut self, topic: &TopicName) {
        while !self.runner.is_full() {
            let (deliveries, mut inputs) = self.next_inputs();
            let Some(first) = inputs.next() else { return };
            let Input { mut stdin, mut environment } = first;
            inputs.for_each(|input| stdin.extend_from_slice(&input.stdin));
            if self.batch.is_some() {
                environment = environment_of_batch(&topic.to_string());
            }
            self.busy.extend(deliveries.iter().map(|delivery| delivery.lane).filter(|_| self.is_ordered));
            self.running.insert(self.next, deliveries);
            self.runner.start(Task { token: self.next, stdin, environment });
            self.next += 1;
        }
    }

    /// What the next command is for: what has waited longest, of lanes that no other command is for.
    fn next_inputs(&mut self) -> (Vec<Delivery>, impl Iterator<Item = Input> + use<>) {
        let most = self.batch.unwrap_or(1);
        let (mut deliveries, mut inputs) = (Vec::new(), Vec::new());
        let mut index = 0;
        while index < self.queue.len() && deliveries.len() < most {
            if self.busy.contains(&self.queue[index].0.lane) {
                index += 1;
                continue;
            }
            let (delivery, input) = self.queue.remove(index).expect("inside the queue");
            deliveries.push(delivery);
            inputs.push(input);
        }
        (deliveries, inputs.into_iter())
    }

    fn ack(&mut self, session: &mut Session<'_>) -> Result<()> {
        if self.acks.is_empty() {
            return Ok(());
        }
        let topic = session.topic;
        let late = session.consumer.ack(&self.acks).in_topic(topic)?;
        self.acks.clear();
        if late.is_empty() {
            return Ok(());
        }
        session.context.say(&format!("{topic}: {} acks came late: others had the records by then", late.len()));
        self.give_back_queue(session)
    }

    /// What waits here may be with others by now: who still has it gets it again.
    fn give_back_queue(&mut self, session: &mut Session<'_>) -> Result<()> {
        let queued: Vec<Receipt> = self.queue.drain(..).map(|(delivery, _)| delivery.receipt()).collect();
        if !queued.is_empty() {
            session.consumer.nack(&queued, false, Some(Duration::ZERO), b"").in_topic(session.topic)?;
        }
        Ok(())
    }

    /// Does what the commands' ends say.
    fn settle(&mut self, session: &mut Session<'_>, finished: Vec<Finished>) -> Result<()> {
        let topic = session.topic;
        let mut lost: HashSet<Lane> = HashSet::new();
        for Finished { token, verdict } in finished {
            let Some(deliveries) = self.running.remove(&token) else { continue };
            for delivery in &deliveries {
                self.busy.remove(&delivery.lane);
            }
            let receipts: Vec<Receipt> = deliveries.iter().map(Delivery::receipt).collect();
            let (counted, reason) = match verdict {
                Verdict::Acked => {
                    self.acks.extend(receipts);
                    continue;
                }
                Verdict::AckedAndStop => {
                    self.acks.extend(receipts);
                    self.is_stopping = true;
                    continue;
                }
                Verdict::DeadLetter { reason } => {
                    for receipt in &receipts {
                        let is_dead = session.consumer.bury(receipt, reason.as_bytes()).in_topic(topic)?;
                        session.dead += u64::from(is_dead);
                    }
                    continue;
                }
                Verdict::CannotStart { why } => {
                    self.is_stopping = true;
                    self.failure = Some(why);
                    (false, String::new())
                }
                Verdict::GivenBack => (false, String::new()),
                Verdict::Failed { how } => (true, how),
                Verdict::TimedOut => (true, "ran for longer than --exec-timeout".to_owned()),
            };
            session.dead += session.consumer.nack(&receipts, counted, None, reason.as_bytes()).in_topic(topic)?.dead;
            lost.extend(deliveries.iter().map(|delivery| delivery.lane));
        }
        if self.is_ordered {
            // What was taken behind it was given back with it, and comes again in order.
            self.queue.retain(|(delivery, _)| !lost.contains(&delivery.lane));
        }
        Ok(())
    }
}
