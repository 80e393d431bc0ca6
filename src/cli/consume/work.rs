//! `--exec`: a command for each record, whose end settles it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drave::engine::{Delivery, Receipt};
use drave::ids::Lane;

use super::exec::{Finished, Runner, Task, Verdict, environment};
use super::{Args, Session};
use crate::cli::Result;
use crate::cli::exit::{Exit, Failure, InTopic as _};
use crate::cli::signals::Stop;

/// How long a wait for commands lasts before it is looked whether there are new records.
const WAIT_MAX: Duration = Duration::from_millis(40);

/// Commands that run, and records that wait for one.
struct Work {
    runner: Runner,
    queue: VecDeque<(Delivery, Task)>,
    running: HashMap<u64, Delivery>,
    /// Of commands that ended well.
    acks: Vec<Receipt>,
    /// Where order is kept, one record of a lane at a time.
    busy: HashSet<Lane>,
    is_ordered: bool,
    next: u64,
    is_stopping: bool,
    failure: Option<String>,
}

pub(super) fn run(session: &mut Session<'_>, args: &Args, stop: &Stop) -> Result<()> {
    let parallel = usize::from(args.parallel);
    let mut work = Work {
        runner: Runner::new(args.exec.clone(), parallel, args.exec_timeout)?,
        queue: VecDeque::new(),
        running: HashMap::new(),
        acks: Vec::new(),
        busy: HashSet::new(),
        is_ordered: session.is_ordered,
        next: 0,
        is_stopping: false,
        failure: None,
    };
    let second = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&second);
    stop.on_second(move || asked.store(true, Ordering::SeqCst));
    let mut is_terminated = false;
    loop {
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
            work.start();
            work.ack(session)?;
            work.fill(session, parallel)?;
            work.start();
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
    /// Takes records for the commands that may run.
    fn fill(&mut self, session: &mut Session<'_>, parallel: usize) -> Result<()> {
        let wanted = session.room((2 * parallel).saturating_sub(self.queue.len() + self.running.len()));
        if wanted == 0 || (self.is_ordered && !self.queue.is_empty()) {
            return Ok(());
        }
        let topic = session.topic;
        let (queue, next) = (&mut self.queue, &mut self.next);
        session.take(wanted, &mut |delivery, record| {
            let environment = environment(
                &topic.to_string(),
                record.offset.0,
                record.id,
                record.key(),
                u64::from(delivery.deliveries),
                record.headers(),
            );
            let stdin = record.value().unwrap_or_default().to_vec();
            queue.push_back((*delivery, Task { token: *next, stdin, environment }));
            *next += 1;
        })?;
        Ok(())
    }

    fn start(&mut self) {
        let mut index = 0;
        while index < self.queue.len() && !self.runner.is_full() {
            let lane = self.queue[index].0.lane;
            if self.is_ordered && !self.busy.insert(lane) {
                index += 1;
                continue;
            }
            let (delivery, task) = self.queue.remove(index).expect("inside the queue");
            self.running.insert(task.token, delivery);
            self.runner.start(task);
        }
    }

    fn ack(&mut self, session: &mut Session<'_>) -> Result<()> {
        if !self.acks.is_empty() {
            session.consumer.ack(&self.acks).in_topic(session.topic)?;
            self.acks.clear();
        }
        Ok(())
    }

    /// Does what the commands' ends say.
    fn settle(&mut self, session: &mut Session<'_>, finished: Vec<Finished>) -> Result<()> {
        let topic = session.topic;
        let mut lost: HashSet<Lane> = HashSet::new();
        for Finished { token, verdict } in finished {
            let Some(delivery) = self.running.remove(&token) else { continue };
            self.busy.remove(&delivery.lane);
            let receipt = delivery.receipt();
            let (counted, reason) = match verdict {
                Verdict::Acked => {
                    self.acks.push(receipt);
                    continue;
                }
                Verdict::AckedAndStop => {
                    self.acks.push(receipt);
                    self.is_stopping = true;
                    continue;
                }
                Verdict::DeadLetter { reason } => {
                    let is_dead = session.consumer.bury(&receipt, reason.as_bytes()).in_topic(topic)?;
                    session.dead += u64::from(is_dead);
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
            session.dead += session.consumer.nack(&[receipt], counted, None, reason.as_bytes()).in_topic(topic)?;
            lost.insert(delivery.lane);
        }
        if self.is_ordered {
            // What was taken behind it was given back with it, and comes again in order.
            self.queue.retain(|(delivery, _)| !lost.contains(&delivery.lane));
        }
        Ok(())
    }
}
