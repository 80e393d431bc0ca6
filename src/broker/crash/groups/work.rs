//! Two members of a group at work: they take, settle, bury, leave and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{name, open};
use crate::broker::group::{Lease, Receipt};
use crate::broker::{Flusher, GroupMember, Joining, Level, TopicPublisher, create_group};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::group_event::{GroupSettings, Order};
use crate::config::Overrides;
use crate::disk::sim::Sim;
use crate::error::{Error, Result};
use crate::ids::{GroupName, Offset, Place};
use crate::job::Job;
use crate::log::Mode;
use crate::store::Store;

const ROUNDS: u64 = 5;
/// So many records are there before, and so many more are published in each round.
const FIRST: u64 = 16;
const BATCH: u64 = 3;

/// Something that was begun after so many changes, and had come through after so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) began: usize,
    pub(super) through: Option<usize>,
}

/// What was done, by offset.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) group_made: Option<usize>,
    pub(super) published: BTreeMap<u64, Span>,
    pub(super) acked: BTreeMap<u64, Span>,
    pub(super) buried: BTreeMap<u64, Span>,
    /// All that were handed out, printed perhaps: they stand for their deliveries for ever.
    pub(super) receipts: BTreeSet<(u64, Lease)>,
    /// What the members were told when something failed.
    pub(super) errors: Vec<Error>,
}

fn group() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

pub(super) fn join<'s>(store: &'s Store, flusher: &'s Flusher, name_of: &str) -> Result<GroupMember<'s>> {
    let how = Joining { name: Some(name_of.as_bytes()), is_manual: false, job: Job::new() };
    GroupMember::join(store, flusher, &name("t"), &group(), &how)
}

/// Takes at once, however soon after the last time; every record is what its offset says.
pub(super) fn take(member: &mut GroupMember<'_>, count: usize) -> Result<Vec<(u64, Receipt)>> {
    let mut got = Vec::new();
    member.looked = None;
    member.take(count, false, |delivery, record| {
        let value = std::str::from_utf8(record.value().expect("a value")).expect("a number");
        assert_eq!(value.parse(), Ok(record.offset.0));
        got.push((record.offset.0, delivery.receipt()));
    })?;
    Ok(got)
}

/// One run: what the members do it for, and on.
pub(super) struct Run<'a> {
    pub(super) sim: &'a Arc<Sim>,
    pub(super) path: &'a Path,
    pub(super) clock: &'a Clock,
    pub(super) order: Order,
    pub(super) done: Mutex<Done>,
}

impl Run<'_> {
    pub(super) fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the topic, with some records, and the group.
    pub(super) fn make(&self) -> Result<()> {
        let store = open(self.path, true, self.clock, self.sim.disk(1))?;
        let mut settings = Overrides::default();
        settings.set("segment-bytes", "4KiB").expect("legal");
        store.create_topic(&name("t"), &settings, true)?;
        let topic = store.topic(&name("t"), Mode::Write, &Job::new())?;
        let settings = GroupSettings { order: self.order, attempts_max: None, ..GroupSettings::default() };
        let from = Place { offset: Offset::ZERO, epoch: topic.log().epoch() };
        create_group(&store, &topic, &group(), &settings, from, &Job::new())?;
        self.done().group_made = Some(self.sim.now());
        self.publish(&store, &Flusher::idle(), 0..FIRST)
    }

    fn begin(&self) -> Span {
        Span { began: self.sim.now(), through: None }
    }

    fn publish(&self, store: &Store, flusher: &Flusher, offsets: Range<u64>) -> Result<()> {
        let level = Level { durability: None, create: false, limit_wait: None };
        let mut publisher = TopicPublisher::open(store, flusher, &name("t"), level, Job::new())?;
        let mut batch = BatchBuilder::new();
        for offset in offsets.clone() {
            let key = format!("k{}", offset % 3);
            batch.push(&[(b"key", key.as_bytes()), (b"value", offset.to_string().as_bytes())], false, None).expect("legal");
        }
        let span = self.begin();
        publisher.publish(&batch.batch(), None)?;
        publisher.settle()?;
        let span = Span { through: Some(self.sim.now()), ..span };
        self.done().published.extend(offsets.map(|offset| (offset, span)));
        Ok(())
    }

    fn note(&self, error: Error) {
        self.done().errors.push(error);
    }

    /// A process: it works under one name, and starts again after every error.
    pub(super) fn work(&self, who: usize) {
        let store = loop {
            match open(self.path, false, self.clock, self.sim.disk(1)) {
                Ok(store) => break store,
                Err(error) => self.note(error),
            }
        };
        let flusher = Flusher::idle();
        let name = ["a", "b"][who];
        let mut member = None;
        for round in 0..ROUNDS {
            let offsets = FIRST + round * BATCH..FIRST + (round + 1) * BATCH;
            if who == 0
                && let Err(error) = self.publish(&store, &flusher, offsets)
            {
                self.note(error);
                // The values of the next ones would not be their offsets.
                break;
            }
            if member.is_none() {
                match join(&store, &flusher, name) {
                    Ok(joined) => member = Some(joined),
                    Err(error) => self.note(error),
                }
            }
            let Some(at_work) = &mut member else { continue };
            if let Err(error) = self.round(at_work, round) {
                self.note(error);
                member = None;
            } else if (round + who as u64).is_multiple_of(3) {
                member = None;
            }
        }
    }

    fn round(&self, member: &mut GroupMember<'_>, round: u64) -> Result<()> {
        let got = take(member, 4)?;
        self.done().receipts.extend(got.iter().map(|(offset, receipt)| (*offset, receipt.lease)));
        let (bad, good): (Vec<_>, Vec<_>) =
            got.into_iter().filter(|(offset, _)| offset % 7 != 3).partition(|(offset, _)| offset % 5 == 4);
        if round % 2 == 1 {
            // Of a journal that is not durable yet.
            member.settler.group.journal.write_checkpoint(&Job::new())?;
        }
        let span = self.begin();
        self.done().acked.extend(good.iter().map(|(offset, _)| (*offset, span)));
        let receipts: Vec<Receipt> = good.iter().map(|(_, receipt)| *receipt).collect();
        let late = member.settler().ack(&receipts)?;
        member.settler().settle()?;
        let through = Some(self.sim.now());
        let settled = good.iter().filter(|(_, receipt)| !late.contains(receipt));
        self.done().acked.extend(settled.map(|(offset, _)| (*offset, Span { through, ..span })));
        for (offset, receipt) in bad {
            let span = self.begin();
            self.done().buried.insert(offset, span);
            if member.settler().bury(receipt.key, Some(receipt.lease), b"bad")? {
                self.done().buried.insert(offset, Span { through: Some(self.sim.now()), ..span });
            }
        }
        if round % 3 == 2 {
            member.leave()?;
            // As another process under its name.
            *member =
                join(member.settler.group.store, member.settler.flusher, std::str::from_utf8(member.name()).expect("a or b"))?;
        }
        Ok(())
    }
}
