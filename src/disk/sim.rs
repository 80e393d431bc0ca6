//! A disk in the hands of a test: it records every change, lets chosen ones fail, decides which
//! thread runs next, and builds what a crash could have left.
//!
//! Threads stand for processes: each opens the store by itself, so the kernel's locks conflict
//! between them as they do between processes. One runs at a time; at every change and every wait
//! the turn may pass to another, chosen by a seeded generator, so a run can be repeated.
//!
//! | file | job |
//! |---|---|
//! | `schedule` | whose turn it is |
//! | `fault` | which change fails, and how |
//! | `tree` | files and directories, with everything that happened to them |
//! | `crash` | what a power cut could have left of a tree |
//! | `random` | numbers from a seed |

mod crash;
mod fault;
mod random;
mod schedule;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use crash::{DataFate, HeadFate, NameFate, Policy};
pub(crate) use fault::{Fault, Kind};
pub(crate) use random::Random;

use super::{BootId, Disk, Op, Verdict, Watch};
use schedule::Schedule;
use tree::Tree;

/// A simulated machine's disk and scheduler.
#[derive(Debug)]
pub(crate) struct Sim {
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    tree: Tree,
    faults: Vec<Fault>,
    /// How many faults have struck.
    struck: usize,
    /// When this many changes were made, all threads end, or this one.
    die_at: Option<(usize, Option<usize>)>,
}

impl State {
    /// Whether the thread whose turn it is comes to its end now.
    fn is_dying(&self) -> bool {
        let is_me = |victim: Option<usize>| victim.is_none() || victim == schedule::this_thread();
        !self.schedule.is_dead() && self.die_at.is_some_and(|(at, victim)| self.tree.now() >= at && is_me(victim))
    }
}

/// What a thread unwinds with when its process is killed.
struct Killed;

impl Sim {
    /// Watches the directory `root`; what is in it counts as durable.
    pub(crate) fn new(root: &Path, seed: u64) -> Arc<Sim> {
        Sim::on(Tree::of(root), seed)
    }

    /// Watches nothing: for work on a plain disk that wants to be told the time.
    pub(crate) fn idle() -> Arc<Sim> {
        Sim::on(Tree::default(), 0)
    }

    fn on(tree: Tree, seed: u64) -> Arc<Sim> {
        let state = State { schedule: Schedule::new(Random::new(seed)), tree, faults: Vec::new(), struck: 0, die_at: None };
        Arc::new(Sim { state: Mutex::new(state), turn: Condvar::new() })
    }

    /// Lets changes fail, counted from now on.
    pub(crate) fn arm(&self, faults: Vec<Fault>) {
        let mut state = self.lock();
        (state.faults, state.struck) = (faults, 0);
    }

    /// How many of the armed faults have struck.
    pub(crate) fn struck(&self) -> usize {
        self.lock().struck
    }

    /// Kills all threads before the change after the first `ops`; or one, when it is its turn then.
    pub(crate) fn die_at(&self, ops: usize, victim: Option<usize>) {
        self.lock().die_at = Some((ops, victim));
    }

    /// After a kill: lets new threads live.
    pub(crate) fn revive(&self) {
        let mut state = self.lock();
        state.die_at = None;
        state.schedule.begin(1);
    }

    /// A disk of this machine in the boot `boot`.
    pub(crate) fn disk(self: &Arc<Sim>, boot: u8) -> Arc<Disk> {
        Disk::watched(BootId([boot; 16]), Arc::clone(self) as Arc<dyn Watch>)
    }

    /// How many changes have been made.
    pub(crate) fn now(&self) -> usize {
        self.lock().tree.now()
    }

    /// What the changes were, for messages.
    pub(crate) fn story(&self) -> String {
        let mut state = self.lock();
        state.tree.resolve();
        state.tree.story()
    }

    /// Builds in the empty directory `target` what a power cut after the first `ops` changes could
    /// have left.
    pub(crate) fn crash(&self, ops: usize, policy: Policy, random: &mut Random, target: &Path) {
        let mut state = self.lock();
        state.tree.resolve();
        crash::build(&state.tree, ops, policy, random, target);
    }

    /// After a kill: puts the shared pages back as they were when it struck. The threads have given
    /// their locks back since, which leaves traces that a dead process would not.
    pub(crate) fn settle_after_kill(&self) {
        self.lock().tree.restore_heads();
    }

    /// Runs `bodies` as threads that take turns. Says for each whether it came to its end: `false`
    /// when it was killed. A panic in one of them is passed on.
    pub(crate) fn run<'a>(self: &Arc<Sim>, bodies: Vec<Box<dyn FnOnce() + Send + 'a>>) -> Vec<bool> {
        self.lock().schedule.begin(bodies.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = bodies
                .into_iter()
                .enumerate()
                .map(|(index, body)| {
                    let sim = Arc::clone(self);
                    scope.spawn(move || {
                        schedule::name_thread(index);
                        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            sim.wait_for_turn(index);
                            body();
                        }));
                        let mut state = sim.lock();
                        state.tree.resolve();
                        state.schedule.end(index);
                        sim.turn.notify_all();
                        ended
                    })
                })
                .collect();
            let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("panics are caught inside")).collect();
            ended
                .into_iter()
                .map(|ended| match ended {
                    Ok(()) => true,
                    Err(payload) if payload.is::<Killed>() => false,
                    Err(payload) => std::panic::resume_unwind(payload),
                })
                .collect()
        })
    }

    /// A place where the turn may pass, for threads that change nothing.
    pub(crate) fn pass(&self) {
        if let Some(me) = schedule::this_thread() {
            let state = self.lock();
            let state = self.give_turn(state, me, true);
            self.check_alive(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_turn(&self, me: usize) {
        let mut state = self.lock();
        while !state.schedule.is_turn(me) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.check_alive(state);
    }

    /// Passes the turn, perhaps, and waits until it comes back.
    fn give_turn<'s>(&'s self, mut state: MutexGuard<'s, State>, me: usize, must: bool) -> MutexGuard<'s, State> {
        state.tree.resolve();
        if state.schedule.choose(me, must) {
            self.turn.notify_all();
            while !state.schedule.is_turn(me) {
                state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.tree.resolve();
        }
        state
    }

    /// Ends this thread if the processes have been killed.
    fn check_alive(&self, mut state: MutexGuard<'_, State>) {
        let is_dying = state.is_dying();
        if is_dying && matches!(state.die_at, Some((_, None))) {
            state.tree.keep_heads();
            state.schedule.die();
            self.turn.notify_all();
        }
        if is_dying || state.schedule.is_dead() {
            drop(state);
            std::panic::resume_unwind(Box::new(Killed));
        }
    }
}

impl Watch for Sim {
    fn before(&self, op: &Op<'_>) -> Verdict {
        let mut state = self.lock();
        state.tree.resolve();
        let entered = state.tree.now();
        if let Some(me) = schedule::this_thread() {
            state = self.give_turn(state, me, false);
        }
        if let (Op::SyncFile { file }, true) = (op, state.is_dying()) {
            // Its process dies inside the sync: if it fails, nobody is told, and the next one succeeds.
            state.tree.doom(*file);
        }
        self.check_alive(state);
        let mut state = self.lock();
        let state = &mut *state;
        let verdict = fault::strike(&mut state.faults, &mut state.struck, op);
        state.tree.note(op, verdict, entered);
        verdict.0
    }

    fn yields(&self) -> bool {
        let state = self.lock();
        match schedule::this_thread() {
            Some(me) => {
                let state = self.give_turn(state, me, true);
                self.check_alive(state);
            }
            None => {
                drop(state);
                std::thread::yield_now();
            }
        }
        true
    }
}

/// Passes everything on: a real disk, but with a boot id of the test's choice. It counts changes.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    changes: std::sync::atomic::AtomicUsize,
}

impl Plain {
    /// A disk that counts its changes here.
    pub(crate) fn disk(self: &Arc<Plain>, boot: u8) -> Arc<Disk> {
        Disk::watched(BootId([boot; 16]), Arc::clone(self) as Arc<dyn Watch>)
    }

    /// How many changes were made.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Watch for Plain {
    fn before(&self, _op: &Op<'_>) -> Verdict {
        self.changes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Verdict::Go
    }

    fn yields(&self) -> bool {
        false
    }
}

/// A directory for a test, in memory if there is room for that.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// All files under `root` with their contents, to see that nothing changed.
pub(crate) fn contents(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path.clone());
                all.push((path, None));
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                all.push((path, Some(bytes)));
            }
        }
    }
    all.sort();
    all
}
