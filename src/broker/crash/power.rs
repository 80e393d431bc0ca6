//! Power cuts, after every change.

use super::check::{Crash, check, use_again};
use super::ledger::Ledger;
use super::work::{Fate, INODE_WORDS, Run, run};
use super::{Case, seeds};
use crate::disk::sim::{DataFate, HeadFate, NameFate, Policy, Random, Sim, scratch};

const DATA: [DataFate; 6] =
    [DataFate::Lost, DataFate::Kept, DataFate::Torn, DataFate::Prefix, DataFate::Shuffled, DataFate::Zeros];
const NAMES: [NameFate; 4] = [NameFate::Kept, NameFate::Lost, NameFate::Each, NameFate::Journal];
const HEADS: [HeadFate; 6] =
    [HeadFate::Ahead, HeadFate::Lost, HeadFate::Stale, HeadFate::First, HeadFate::Mixed, HeadFate::Short];

fn policy(random: &mut Random) -> Policy {
    Policy {
        data: DATA[random.below(DATA.len())],
        names: NAMES[random.below(NAMES.len())],
        head: HEADS[random.below(HEADS.len())],
        inode_words: INODE_WORDS,
    }
}

fn cut(run: &Run, seed: u64, ops: usize, policy: Policy) {
    let case = Case(format!("seed {seed}, power cut after change {ops}, {policy:?}"));
    let dir = scratch();
    let mut random = Random::new(seed ^ (ops as u64) << 20);
    run.sim.crash(ops, policy, &mut random, dir.path());
    let entries = run.ledger.lock().until(ops);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(dir.path(), &entries, &run.clock, Crash::Power)));
    if let Err(panic) = ended {
        let case = Case(format!("{}\n{}", case.0, run.sim.story()));
        let _case = case;
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn after_a_power_cut_all_that_was_acknowledged_is_there_and_nothing_else() {
    for seed in seeds([1, 2]) {
        let run = run(seed, 24, &Fate::Peace);
        assert!(run.whole);
        let end = run.sim.now();
        for ops in 0..=end {
            // Every data policy at every change; the others take turns, so that all pairs meet.
            for (index, data) in DATA.into_iter().enumerate() {
                let names = NAMES[(ops + index) % NAMES.len()];
                let head = HEADS[(ops / NAMES.len() + index * 5) % HEADS.len()];
                cut(&run, seed, ops, Policy { data, names, head, inode_words: INODE_WORDS });
            }
        }
    }
}

#[test]
fn a_power_cut_during_the_recovery_from_one_loses_nothing_either() {
    for seed in seeds([100, 103, 1007, 2003]) {
        let run = run(seed, 20, &Fate::Peace);
        let mut random = Random::new(seed);
        let end = run.sim.now();
        for round in 0..60 {
            let ops = random.below(end + 1);
            let (first, second) = (policy(&mut random), policy(&mut random));
            let mut case = Case(format!("seed {seed}, round {round}: after change {ops} {first:?}"));
            let dir = scratch();
            run.sim.crash(ops, first, &mut random, dir.path());
            let mut entries = run.ledger.lock().until(ops);
            entries.forget_receipts();
            let ledger = Ledger::of(entries);
            let sim = Sim::new(dir.path(), seed);
            use_again(dir.path(), &ledger, &run.clock, &sim, (sim.disk(4), Crash::Power, None));
            let again = random.below(sim.now() + 1);
            case.0 = format!("{}, after {again} more {second:?}\n{}\n{}", case.0, run.sim.story(), sim.story());
            let dir = scratch();
            sim.crash(again, second, &mut random, dir.path());
            check(dir.path(), &ledger.lock().until(again), &run.clock, Crash::Power);
        }
    }
}
