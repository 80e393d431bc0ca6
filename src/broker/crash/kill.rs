//! Processes killed, at every change: what was written is there, at every level.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::check::{Crash, check, use_again};
use super::ledger::Ledger;
use super::work::{Fate, INODE_WORDS, Run, run};
use super::{Case, seeds};
use crate::disk::sim::{DataFate, HeadFate, NameFate, Policy, Random, scratch};

const STEPS: usize = 16;

/// Adds the story to the name of the case, if it fails.
fn told(run: &Run, case: String, test: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(test)) {
        let _case = Case(format!("{case}\n{}", run.sim.story()));
        resume_unwind(panic);
    }
}

#[test]
fn a_kill_of_all_processes_loses_nothing_that_was_published_at_any_level() {
    for seed in seeds([200]) {
        let mut ops = 0;
        loop {
            let run = run(seed, STEPS, &Fate::Killed(ops, None));
            told(&run, format!("seed {seed}, killed before change {ops}"), || {
                let entries = run.ledger.lock().until(ops);
                check(&run.path, &entries, &run.clock, Crash::Kill);
            });
            if run.whole {
                break;
            }
            ops += 1;
        }
        assert!(ops > 100, "the work takes more than {ops} changes");
    }
}

/// Those who come after go on where the dead have stopped, in the middle of a roll too, and what
/// they are promised survives a power cut.
#[test]
fn a_power_cut_after_a_kill_loses_nothing_that_was_acknowledged() {
    let data = [DataFate::Lost, DataFate::Shuffled, DataFate::Kept];
    for seed in seeds([210, 211]) {
        for ops in 0.. {
            let run = run(seed, STEPS, &Fate::Killed(ops, None));
            told(&run, format!("seed {seed}, killed before change {ops}, then a power cut"), || {
                run.sim.revive();
                let ledger = Ledger::of(run.ledger.lock().until(ops));
                use_again(&run.path, &ledger, &run.clock, &run.sim, (run.sim.disk(1), Crash::Kill, None));
                let dir = scratch();
                let names = if ops % 2 == 0 { NameFate::Kept } else { NameFate::Lost };
                let head = if ops % 3 == 0 { HeadFate::Lost } else { HeadFate::Ahead };
                let policy = Policy { data: data[ops % data.len()], names, head, inode_words: INODE_WORDS };
                let end = run.sim.now();
                run.sim.crash(end, policy, &mut Random::new(seed), dir.path());
                check(dir.path(), &ledger.lock().until(end), &run.clock, Crash::Power);
            });
            if run.whole {
                break;
            }
        }
    }
}

#[test]
fn when_one_process_is_killed_the_others_go_on() {
    for seed in seeds([220]) {
        for ops in 0.. {
            let victim = ops % 2;
            let run = run(seed, STEPS, &Fate::Killed(ops, Some(victim)));
            told(&run, format!("seed {seed}, {victim} killed before change {ops}"), || {
                let end = run.sim.now();
                check(&run.path, &run.ledger.lock().until(end), &run.clock, Crash::Kill);
            });
            if run.whole {
                break;
            }
        }
    }
}
