//! Power cuts while a group works: what was acked is not delivered again, and no record is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::work::INODE_WORDS;
use super::{Case, clock, name, open};
use crate::broker::group::Receipt;
use crate::broker::{Flusher, GroupMember, Joining, Level, TopicPublisher, create_group};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::group_event::{GroupSettings, Order};
use crate::config::Overrides;
use crate::disk::sim::{DataFate, HeadFate, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::Error;
use crate::ids::{GroupName, Offset, Place};
use crate::job::Job;
use crate::log::Mode;
use crate::store::Store;

const ROUNDS: u64 = 6;

/// What was done, and after how many changes.
#[derive(Default)]
struct Done {
    group_made: usize,
    published: BTreeMap<u64, usize>,
    /// When the ack began, and when it had come through.
    acked: BTreeMap<u64, (usize, usize)>,
    /// All that were handed out, printed perhaps: they stand for their deliveries for ever.
    receipts: BTreeSet<(u64, u64)>,
}

fn group() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

fn publish(store: &Store, flusher: &Flusher, offsets: std::ops::Range<u64>) {
    let level = Level { durability: None, create: false };
    let mut publisher = TopicPublisher::open(store, flusher, &name("t"), level, Job::new()).expect("opens");
    let mut batch = BatchBuilder::new();
    for offset in offsets {
        let key = format!("k{}", offset % 3);
        batch.push(&[(b"key", key.as_bytes()), (b"value", offset.to_string().as_bytes())], false, None).expect("legal");
    }
    publisher.publish(&batch.batch(), None).expect("appends");
    publisher.settle().expect("syncs");
}

fn join<'s>(store: &'s Store, flusher: &'s Flusher, name_of: &str) -> crate::Result<GroupMember<'s>> {
    let how = Joining { name: Some(name_of.as_bytes()), is_manual: false, job: Job::new() };
    GroupMember::join(store, flusher, &name("t"), &group(), &how)
}

fn take(member: &mut GroupMember<'_>, count: usize) -> Vec<(u64, Receipt)> {
    let mut got = Vec::new();
    let handed = member.take(count, false, |delivery, record| {
        let value = std::str::from_utf8(record.value().expect("a value")).expect("a number");
        assert_eq!(value.parse(), Ok(record.offset.0));
        got.push((record.offset.0, delivery.receipt()));
    });
    handed.expect("takes");
    got
}

/// Publishes and works in turns; some of what is taken is never settled.
fn work(sim: &Arc<Sim>, path: &Path, clock: &Clock, order: Order) -> Done {
    let store = open(path, true, clock, sim.disk(1)).expect("made");
    let flusher = Flusher::default();
    let mut done = Done::default();
    let mut settings = Overrides::default();
    settings.set("segment-bytes", "4KiB").expect("legal");
    store.create_topic(&name("t"), &settings, true).expect("made");
    let topic = store.topic(&name("t"), Mode::Write, &Job::new()).expect("opens");
    let settings = GroupSettings { order, attempts_max: None, ..GroupSettings::default() };
    let from = Place { offset: Offset::ZERO, epoch: topic.log().epoch() };
    create_group(&store, &topic, &group(), &settings, from, &Job::new()).expect("made");
    done.group_made = sim.now();
    let mut member = join(&store, &flusher, "a").expect("joins");
    for round in 0..ROUNDS {
        publish(&store, &flusher, round * 5..round * 5 + 5);
        done.published.extend((round * 5..round * 5 + 5).map(|offset| (offset, sim.now())));
        let got = take(&mut member, 4);
        done.receipts.extend(got.iter().map(|(offset, receipt)| (*offset, receipt.lease.0)));
        let settled: Vec<(u64, Receipt)> = got.into_iter().filter(|(offset, _)| offset % 7 != 3).collect();
        if round % 2 == 1 {
            // Of a journal that is not durable yet.
            member.settler.group.journal.write_checkpoint(&Job::new()).expect("written");
        }
        let began = sim.now();
        let receipts: Vec<Receipt> = settled.iter().map(|(_, receipt)| *receipt).collect();
        assert!(member.settler().ack(&receipts).expect("acks").is_empty());
        member.settler().settle().expect("settles");
        done.acked.extend(settled.iter().map(|(offset, _)| (*offset, (began, sim.now()))));
    }
    done
}

/// After a cut: all that was published and not acked is delivered, and what was acked is not.
fn check(path: &Path, clock: &Clock, hand: &AtomicU64, done: &Done, ops: usize) {
    let disk = Arc::new(Plain::default()).disk(9);
    let Ok(store) = open(path, false, clock, disk) else { return assert!(ops < done.group_made, "the store is lost") };
    let flusher = Flusher::default();
    let mut member = match join(&store, &flusher, "b") {
        Err(Error::TopicMissing { .. } | Error::NameMissing { .. }) => {
            return assert!(ops < done.group_made, "the group is lost");
        }
        other => other.expect("joins"),
    };
    let mut delivered = BTreeSet::new();
    for _ in 0..100 {
        hand.fetch_add(31_000, Ordering::SeqCst);
        member.looked = None;
        let got = take(&mut member, 100);
        let receipts: Vec<Receipt> = got.iter().map(|(_, receipt)| *receipt).collect();
        delivered.extend(got.iter().map(|(offset, _)| *offset));
        let is_used = |(offset, receipt): &&(u64, Receipt)| done.receipts.contains(&(*offset, receipt.lease.0));
        assert_eq!(got.iter().find(is_used), None, "a receipt of before the cut stands for a new delivery");
        member.settler().ack(&receipts).expect("acks");
        if member.is_drained().expect("looks") {
            break;
        }
    }
    assert!(member.is_drained().expect("looks"), "it does not come to an end");
    for (offset, published) in done.published.iter().filter(|(_, published)| **published <= ops) {
        let acked = done.acked.get(offset);
        let may_be_settled = acked.is_some_and(|(began, _)| *began < ops);
        assert!(may_be_settled || delivered.contains(offset), "{offset}, published at {published}, was skipped");
        let must_be_settled = acked.is_some_and(|(_, came_through)| *came_through <= ops);
        assert!(!must_be_settled || !delivered.contains(offset), "{offset} was acked and came again");
    }
}

#[test]
fn a_power_cut_while_a_group_works_skips_nothing_and_forgets_no_ack() {
    let data = [DataFate::Lost, DataFate::Kept, DataFate::Shuffled, DataFate::Torn, DataFate::Prefix, DataFate::Zeros];
    let names = [NameFate::Lost, NameFate::Kept, NameFate::Each, NameFate::Journal];
    let heads = [HeadFate::Ahead, HeadFate::Lost, HeadFate::First, HeadFate::Stale, HeadFate::Mixed, HeadFate::Short];
    for order in [Order::None, Order::Key] {
        let (clock, hand) = clock();
        let dir = scratch();
        let sim = Sim::new(dir.path(), 1);
        let done = work(&sim, dir.path(), &clock, order);
        let end = sim.now();
        assert!(end > 60 && done.acked.len() > 10, "{end} changes, {} acks", done.acked.len());
        for ops in 0..=end {
            for (index, data) in data.into_iter().enumerate() {
                let (names, head) = (names[(ops + index) % names.len()], heads[(ops / 4 + index) % heads.len()]);
                let policy = Policy { data, names, head, inode_words: INODE_WORDS };
                let _case = Case(format!("{order:?}, power cut after change {ops} of {end}, {policy:?}\n{}", sim.story()));
                let target = scratch();
                sim.crash(ops, policy, &mut Random::new(ops as u64), target.path());
                check(target.path(), &clock, &hand, &done, ops);
            }
        }
    }
}
