//! Whose turn it is.

use std::cell::Cell;

use super::Random;

/// So often the turn passes at a change: often enough that most pairs of neighbouring changes are
/// torn apart in one seed or another, seldom enough that each thread also gets through something.
const SWITCH_PERCENT: usize = 35;

/// A wait that nobody ends would turn for ever.
const IDLE_TURNS_MAX: usize = 200_000;

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Which of the scheduled threads this is.
pub(super) fn this_thread() -> Option<usize> {
    THREAD.get()
}

pub(super) fn name_thread(index: usize) {
    THREAD.set(Some(index));
}

#[derive(Debug)]
pub(super) struct Schedule {
    random: Random,
    alive: Vec<bool>,
    turn: usize,
    dead: bool,
    idle_turns: usize,
}

impl Schedule {
    pub(super) fn new(random: Random) -> Schedule {
        Schedule { random, alive: Vec::new(), turn: 0, dead: false, idle_turns: 0 }
    }

    pub(super) fn begin(&mut self, threads: usize) {
        self.alive = vec![true; threads];
        self.turn = self.random.below(threads);
        self.dead = false;
    }

    pub(super) fn is_turn(&self, me: usize) -> bool {
        self.dead || self.turn == me
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    pub(super) fn die(&mut self) {
        self.dead = true;
    }

    /// Decides who runs next; true when it is another.
    pub(super) fn choose(&mut self, me: usize, must: bool) -> bool {
        self.idle_turns = if must { self.idle_turns + 1 } else { 0 };
        assert!(self.idle_turns < IDLE_TURNS_MAX, "all threads wait for something that does not happen");
        if self.dead || !(must || self.random.percent(SWITCH_PERCENT)) {
            return false;
        }
        let others: Vec<usize> = (0..self.alive.len()).filter(|other| self.alive[*other] && *other != me).collect();
        if others.is_empty() {
            return false;
        }
        self.turn = others[self.random.below(others.len())];
        true
    }

    pub(super) fn end(&mut self, me: usize) {
        self.alive[me] = false;
        let left: Vec<usize> = (0..self.alive.len()).filter(|other| self.alive[*other]).collect();
        if !left.is_empty() && self.turn == me {
            self.turn = left[self.random.below(left.len())];
        }
    }
}
