//! A group at work when the power is cut, when processes die, and when the disk fails: what was acked
//! is not delivered again, what was buried is there once, and no record is skipped.

mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use self::work::{Done, Run, Span, join, take};
use super::work::{Fate, INODE_WORDS};
use super::{Case, clock, name, open, seeds};
use crate::broker::Flusher;
use crate::broker::dead_letters::dead_letter_topic;
use crate::broker::group::Receipt;
use crate::clock::Clock;
use crate::codec::group_event::Order;
use crate::disk::Disk;
use crate::disk::sim::{DataFate, Fault, HeadFate, Kind, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::Error;
use crate::ids::Offset;
use crate::job::Job;
use crate::log::{LogReader, Mode, Step};
use crate::store::Store;

const ORDERS: [Order; 3] = [Order::None, Order::Key, Order::Topic];

/// What a run has left.
struct Left {
    sim: Arc<Sim>,
    dir: tempfile::TempDir,
    clock: Clock,
    hand: Arc<AtomicU64>,
    done: Done,
    /// Whether both members came to their ends.
    whole: bool,
}

fn run(seed: u64, order: Order, fate: &Fate) -> Left {
    let dir = scratch();
    let (clock, hand) = clock();
    let sim = Sim::new(dir.path(), seed);
    let run = Run { sim: &sim, path: dir.path(), clock: &clock, order, done: Mutex::default() };
    run.make().expect("made");
    match fate {
        Fate::Peace => {}
        Fate::Killed(at, victim) => sim.die_at(sim.now() + at, *victim),
        Fate::Faults(faults) => sim.arm(faults.clone()),
    }
    let run_ref = &run;
    let bodies = (0..2).map(|who| Box::new(move || run_ref.work(who)) as Box<dyn FnOnce() + Send + '_>).collect();
    let whole = sim.run(bodies).into_iter().all(|ended| ended);
    let done = run.done.into_inner().unwrap();
    let is_expected = |error: &Error| match fate {
        Fate::Peace => false,
        // One died inside a sync, and what it was to write is lost.
        Fate::Killed(..) => matches!(error, Error::Poisoned { .. }),
        Fate::Faults(_) => true,
    };
    assert!(done.errors.iter().all(is_expected), "{:?}", done.errors);
    Left { sim, dir, clock, hand, done, whole }
}

/// How often each record is in the dead-letter topic.
fn letters(store: &Store) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    let topic = match store.topic(&dead_letter_topic(&name("t")).expect("short"), Mode::Write, &Job::new()) {
        Err(Error::TopicMissing { .. }) => return found,
        other => other.expect("opens"),
    };
    let mut reader = LogReader::new(Offset::ZERO, topic.log().epoch());
    let mut scratch = Vec::new();
    loop {
        match reader.step(topic.log(), topic.log().log_end()).expect("reads") {
            Step::CaughtUp => return found,
            Step::Gap(gap) => panic!("{gap:?}"),
            Step::Frame { frame, .. } => {
                for record in frame.records(&mut scratch).expect("records") {
                    let record = record.expect("well formed");
                    let value = std::str::from_utf8(record.value().expect("a value")).expect("a number");
                    *found.entry(value.parse().expect("a number")).or_default() += 1;
                }
            }
        }
    }
}

/// Another member works through all that is left. What had begun before `ops` may have come to
/// pass; what had come through by then has.
fn check(path: &Path, disk: Arc<Disk>, (clock, hand): (&Clock, &AtomicU64), done: &Done, ops: usize, name_of: &str) {
    let was_made = done.group_made.is_some_and(|made| made <= ops);
    let Ok(store) = open(path, false, clock, disk) else { return assert!(!was_made, "the store is lost") };
    let flusher = Flusher::idle();
    let mut member = match join(&store, &flusher, name_of) {
        Err(Error::TopicMissing { .. } | Error::NameMissing { .. }) => return assert!(!was_made, "the group is lost"),
        other => other.expect("joins"),
    };
    let mut delivered = BTreeSet::new();
    for _ in 0..100 {
        hand.fetch_add(31_000, Ordering::SeqCst);
        let got = take(&mut member, 100).expect("takes");
        let is_used = |(offset, receipt): &&(u64, Receipt)| done.receipts.contains(&(*offset, receipt.lease));
        assert_eq!(got.iter().find(is_used), None, "a receipt of before stands for a new delivery");
        let receipts: Vec<Receipt> = got.iter().map(|(_, receipt)| *receipt).collect();
        delivered.extend(got.iter().map(|(offset, _)| *offset));
        member.settler().ack(&receipts).expect("acks");
        if member.is_drained().expect("looks") {
            break;
        }
    }
    assert!(member.is_drained().expect("looks"), "it does not come to an end: {:#?}", member.state());
    let letters = letters(&store);
    for (offset, published) in &done.published {
        let was_begun = |done: &BTreeMap<u64, Span>| done.get(offset).is_some_and(|span| span.began < ops);
        let is_through =
            |done: &BTreeMap<u64, Span>| done.get(offset).is_some_and(|span| span.through.is_some_and(|at| at <= ops));
        let (was_delivered, copies) = (delivered.contains(offset), letters.get(offset).copied().unwrap_or_default());
        let is_stored = published.through.is_some_and(|at| at <= ops);
        let may_be_settled = was_begun(&done.acked) || copies > 0;
        assert!(!is_stored || may_be_settled || was_delivered, "{offset} was skipped");
        assert!(!is_through(&done.acked) || !was_delivered, "{offset} was acked and came again");
        assert!(copies <= usize::from(was_begun(&done.buried)), "{offset} is among the dead letters {copies} times");
        assert!(!is_through(&done.buried) || copies == 1, "{offset} was buried and is not there");
        assert!(copies == 0 || !was_delivered, "{offset} was buried and came again");
    }
}

#[test]
fn a_power_cut_while_a_group_works_skips_nothing_and_forgets_no_ack() {
    let data = [DataFate::Lost, DataFate::Kept, DataFate::Shuffled, DataFate::Torn, DataFate::Prefix, DataFate::Zeros];
    let names = [NameFate::Lost, NameFate::Kept, NameFate::Each, NameFate::Journal];
    let heads = [HeadFate::Ahead, HeadFate::Lost, HeadFate::First, HeadFate::Stale, HeadFate::Mixed, HeadFate::Short];
    for seed in seeds(0..3) {
        let order = ORDERS[seed as usize % 3];
        let left = run(seed, order, &Fate::Peace);
        let (sim, done, end) = (&left.sim, &left.done, left.sim.now());
        assert!(end > 100 && done.acked.len() > 5 && !done.buried.is_empty(), "{end} changes, {done:?}");
        for ops in 0..=end {
            for (index, data) in data.into_iter().enumerate().skip(ops % 2).step_by(2) {
                let (names, head) = (names[(ops + index) % names.len()], heads[(ops / 4 + index) % heads.len()]);
                let policy = Policy { data, names, head, inode_words: INODE_WORDS };
                let _case =
                    Case(format!("seed {seed}, {order:?}, power cut after change {ops} of {end}, {policy:?}\n{}", sim.story()));
                let target = scratch();
                sim.crash(ops, policy, &mut Random::new(ops as u64), target.path());
                check(target.path(), Arc::new(Plain::default()).disk(9), (&left.clock, &left.hand), done, ops, "c");
            }
        }
    }
}

/// The one that comes after may be called as the one that died.
#[test]
fn when_members_die_at_any_change_others_do_what_they_have_left() {
    for seed in seeds(10..13) {
        let order = ORDERS[seed as usize % 3];
        for ops in 0.. {
            let victim = [Some(0), Some(1), None][ops % 3];
            let left = run(seed, order, &Fate::Killed(ops, victim));
            let _case = Case(format!("seed {seed}, {order:?}, {victim:?} killed before change {ops}\n{}", left.sim.story()));
            let name_of = ["a", "b", "c"][ops / 3 % 3];
            left.sim.revive();
            check(left.dir.path(), left.sim.disk(1), (&left.clock, &left.hand), &left.done, usize::MAX, name_of);
            if left.whole && ops > 100 {
                break;
            }
        }
    }
}

#[test]
fn any_change_may_fail_while_a_group_works_and_nothing_is_skipped() {
    for seed in seeds(20..23) {
        let order = ORDERS[seed as usize % 3];
        for turn in 0.. {
            let nth = turn / 3;
            let fault = match turn % 3 {
                0 => Fault::nth(None, nth, Errno::IO),
                1 => Fault { short: [None, Some(1), Some(70)][nth % 3], ..Fault::nth(Some(Kind::Write), nth, Errno::NOSPC) },
                // Those who work in the group know of events that are no more.
                _ => Fault { loses: true, ..Fault::nth(Some(Kind::SyncFile), nth, Errno::IO) },
            };
            let left = run(seed, order, &Fate::Faults(vec![fault]));
            let mut case = Case(format!("seed {seed}, {order:?}, {fault:?}"));
            case.0 = format!("{}: {:?}\n{}", case.0, left.done.errors, left.sim.story());
            let struck = left.sim.struck();
            left.sim.arm(Vec::new());
            for error in &left.done.errors {
                let text = error.to_string();
                assert!(text.contains(&*left.dir.path().to_string_lossy()), "the error names its file: {text}");
            }
            check(left.dir.path(), left.sim.disk(1), (&left.clock, &left.hand), &left.done, usize::MAX, ["a", "c"][nth % 2]);
            if struck == 0 && turn % 3 == 0 {
                assert!(nth > 100, "all {nth} changes have failed once");
                break;
            }
        }
    }
}
