//! Every change failing: no acknowledgement for what is not stored, a clear error, and afterwards
//! all is well again.

use rustix::io::Errno;

use super::check::{Crash, check, find, use_again};
use super::ledger::Ledger;
use super::work::{Fate, INODE_WORDS, Run, Writer, run};
use super::{Case, clock, name, open, seeds};
use crate::broker::Flusher;
use crate::disk::sim::{DataFate, Fault, HeadFate, Kind, NameFate, Policy, Random, Sim, scratch};
use crate::error::Error;
use crate::job::Job;
use crate::log::Mode;

const STEPS: usize = 12;

fn power_cut(run: &Run, ledger: &Ledger, turn: usize) {
    let data = [DataFate::Lost, DataFate::Shuffled, DataFate::Kept, DataFate::Torn][turn % 4];
    let names = if turn.is_multiple_of(2) { NameFate::Kept } else { NameFate::Lost };
    let head = if turn.is_multiple_of(3) { HeadFate::Lost } else { HeadFate::Ahead };
    let policy = Policy { data, names, head, inode_words: INODE_WORDS };
    let _case = Case(format!("then a power cut, {policy:?}"));
    let (dir, end) = (scratch(), run.sim.now());
    run.sim.crash(end, policy, &mut Random::new(turn as u64), dir.path());
    check(dir.path(), &ledger.lock().until(end), &run.clock, Crash::Power);
}

/// Runs the usual work with these faults; says whether all of them struck.
fn work_with(seed: u64, turn: usize, faults: Vec<Fault>) -> bool {
    let mut case = Case(format!("seed {seed}, {faults:?}"));
    let fate = Fate::Faults(faults);
    let run = run(seed, STEPS, &fate);
    case.0 = format!("{}: {:?}\n{}", case.0, run.errors, run.sim.story());
    let struck = run.sim.struck();
    run.sim.arm(Vec::new());
    let Fate::Faults(faults) = fate else { unreachable!("made above") };
    // A trim may come too late for records that a sync has lost.
    for error in run.errors.iter().filter(|error| !matches!(error, Error::OffsetPastEnd { .. })) {
        let text = error.to_string();
        assert!(text.contains(&*run.path.to_string_lossy()), "the error names its file: {text}");
    }
    let loses = faults.iter().any(|fault| fault.loses);
    let ledger = Ledger::of(run.ledger.lock().until(run.sim.now()));
    // What was lost with a sync was not acknowledged, but its writer was told where it was.
    let crash = if loses { Crash::Power } else { Crash::Kill };
    if loses {
        ledger.lock().forget_receipts();
    }
    if faults.iter().any(|fault| fault.kind == Some(Kind::Truncate)) {
        // A whole frame that was refused and could not be cut off is taken in by the next append.
        ledger.lock().sent.iter_mut().for_each(|sent| sent.refused = false);
    }
    use_again(&run.path, &ledger, &run.clock, &run.sim, (run.sim.disk(1), crash, None));
    power_cut(&run, &ledger, turn);
    struck == faults.iter().map(|fault| fault.count).sum::<usize>()
}

#[test]
fn any_change_may_fail_without_a_false_acknowledgement() {
    for seed in seeds([300]) {
        for n in 0.. {
            if !work_with(seed, n, vec![Fault::nth(None, n, Errno::IO)]) {
                assert!(n > 100, "all {n} changes have failed once");
                break;
            }
        }
    }
}

#[test]
fn a_disk_may_be_full_at_any_write_and_take_any_part_of_it() {
    for seed in seeds([344]) {
        for n in 0.. {
            let short = [None, Some(1), Some(64), Some(100_000), Some(300), Some(8)][n % 6];
            let fault = Fault { short, ..Fault::nth(Some(Kind::Write), n, Errno::NOSPC) };
            let mut faults = vec![fault];
            if n % 4 == 3 {
                // Nor can the rest be cut off.
                faults.push(Fault::nth(Some(Kind::Truncate), 0, Errno::IO));
            }
            let begun = work_with(seed, n, faults);
            if !begun && n > 60 {
                break;
            }
        }
    }
}

#[test]
fn any_sync_may_fail_and_its_repair_too_with_what_it_was_to_write_lost_or_not() {
    for seed in seeds([320, 354, 359]) {
        for n in 0.. {
            let loses = n % 2 == 1;
            let fault = Fault { loses, ..Fault::nth(Some(Kind::SyncFile), n / 2, Errno::IO) };
            let again = Fault { count: n % 3, skip: n % 5, ..Fault::nth(Some(Kind::SyncFile), 0, Errno::IO) };
            let begun = work_with(seed, n, vec![fault, again]);
            if !begun && n > 80 {
                break;
            }
        }
    }
}

/// A sync fails, and then a change of the repair. The one after that succeeds, whoever makes it, and
/// whether the records that are in doubt have a segment to themselves or not.
#[test]
fn a_failed_sync_poisons_until_a_repair_has_come_through() {
    for turn in 0..8 * 16 {
        let (loses, fresh, same) = (turn & 1 != 0, turn & 2 != 0, turn & 4 != 0);
        break_a_repair(loses, fresh, same, turn / 8);
    }
}

fn break_a_repair(loses: bool, fresh: bool, same: bool, broken: usize) {
    let _case = Case(format!("loses {loses}, fresh {fresh}, same {same}, change {broken} of the repair fails"));
    let dir = scratch();
    let sim = Sim::new(dir.path(), 1);
    let (clock, hand) = clock();
    let stores = [1, 2, 3].map(|_| open(dir.path(), true, &clock, sim.disk(1)).expect("opens"));
    let (flusher, ledger) = (Flusher::default(), Ledger::default());
    let [mut one, mut two] = [0, 1].map(|who| Writer::new(&stores[who], &flusher, &ledger, &sim, (who as u32, 0, hand.clone())));
    one.make_topics().unwrap();
    let mut durable = 0;
    if !fresh {
        one.send("s", 2).unwrap();
        one.settle("s").unwrap();
        two.send("s", 1).unwrap();
        two.settle("s").unwrap();
        durable = 3;
    }
    // Two of them, so that it rolls in between.
    one.send("s", 3).unwrap();
    one.send("s", 3).unwrap();
    let topic = stores[0].topic(&name("s"), Mode::Write, &Job::new()).unwrap();
    let log = topic.log();
    stores[2].topic(&name("s"), Mode::Write, &Job::new()).unwrap();
    sim.arm(vec![Fault { loses, ..Fault::nth(Some(Kind::SyncFile), 0, Errno::IO) }]);
    let error = one.settle("s").unwrap_err();
    assert!(matches!(error, Error::Io { action: "sync", .. }), "{error:?}");
    assert!(log.is_poisoned());
    assert!(matches!(one.settle("s"), Err(Error::Poisoned { .. })));
    let before = find(&stores[1], "s").unwrap().unwrap();
    assert_eq!(before.records.len(), durable, "reads go on");
    sim.arm(vec![Fault::nth(None, broken, Errno::IO)]);
    let repaired = two.send("s", 1);
    let told = format!("{repaired:?}\n{}", sim.story());
    let has_struck = sim.struck() == 1;
    sim.arm(Vec::new());
    if has_struck && repaired.is_err() {
        let mut late = Writer::new(&stores[2], &flusher, &ledger, &sim, (2, 0, hand.clone()));
        let next = if same { &mut two } else { &mut late };
        next.send("s", 1).unwrap_or_else(|error| panic!("{error:?} after {told}"));
        next.settle("s").unwrap();
    } else {
        two.settle("s").unwrap();
    }
    assert!(!log.is_poisoned(), "{told}");
    // The one whose records the sync was to cover: they were rewritten, or it is told.
    let found = find(&stores[0], "s").unwrap().unwrap();
    assert_eq!(found.records[..durable], before.records);
    let are_there = found.records.iter().filter(|(_, _, ident)| ident.0 == 0).count() == if fresh { 6 } else { 8 };
    assert!(are_there || loses, "{told}");
    assert_eq!(one.settle("s").is_ok(), are_there, "{told}");
    let run = Run { sim, ledger, clock, path: dir.path().to_owned(), _dir: dir, whole: true, errors: Vec::new() };
    if loses {
        run.ledger.lock().forget_receipts();
    }
    let _case = Case(run.sim.story());
    power_cut(&run, &run.ledger, broken);
}

#[test]
fn a_failed_write_is_an_error_and_no_more() {
    let writes = [None, Some(0), Some(1), Some(63), Some(64), Some(200), Some(100_000)];
    for (short, errno) in writes.into_iter().flat_map(|short| [(short, Errno::IO), (short, Errno::NOSPC)]) {
        let _case = Case(format!("{short:?} {errno:?}"));
        let dir = scratch();
        let sim = Sim::new(dir.path(), 1);
        let (clock, hand) = clock();
        let store = open(dir.path(), true, &clock, sim.disk(1)).expect("opens");
        let (flusher, ledger) = (Flusher::default(), Ledger::default());
        let mut writer = Writer::new(&store, &flusher, &ledger, &sim, (0, 0, hand));
        writer.send("s", 2).unwrap();
        sim.arm(vec![Fault { short, ..Fault::nth(Some(Kind::Write), 0, errno) }]);
        let error = writer.send("s", 3).unwrap_err();
        assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
        let log = store.topic(&name("s"), Mode::Write, &Job::new()).unwrap();
        assert!(!log.log().is_poisoned());
        writer.settle("s").unwrap();
        writer.send("s", 1).unwrap();
        writer.settle("s").unwrap();
        let found = find(&store, "s").unwrap().unwrap();
        assert_eq!(found.records.iter().map(|(offset, ..)| offset.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
