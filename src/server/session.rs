//! What a client has set up on its connection.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::groups::Group;
use super::output::Output;
use super::refusal::Answer;
use super::state::Server;
use super::topics::Entry;
use super::waiters::WaiterId;
use crate::ids::ConsumerId;
use std::rc::Rc;

/// A client's side of the server: only its own task has it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) output: Output,
    pub(super) is_authenticated: bool,
    /// Nothing more is executed, and the connection is closed once its replies are out.
    pub(super) is_closing: bool,
    pub(super) transaction: Option<Transaction>,
    /// What WATCH looked at; `None` = there was no such topic.
    pub(super) watched: HashMap<Box<[u8]>, Option<Watched>>,
    /// Its commands are being executed by EXEC: nothing waits.
    pub(super) is_in_exec: bool,
    pub(super) replies: Replies,
    pub(super) subscriptions: super::hub::Subscriptions,
    pub(super) blocked: Option<Blocked>,
    /// Consumers that are members of their groups as long as this client is connected.
    pub(super) memberships: Vec<Membership>,
    pub(super) written: Written,
}

/// A consumer of a group whose lanes have owners.
#[derive(Debug)]
pub(super) struct Membership {
    /// Kept, so that the topic stays in hand.
    pub(super) _entry: Rc<Entry>,
    pub(super) group: Rc<Group>,
    pub(super) consumer: ConsumerId,
}

/// Which topics a client has written to, for WAITAOF.
#[derive(Debug, Default)]
pub(super) struct Written {
    names: BTreeSet<Box<[u8]>>,
    are_too_many: bool,
}

/// Names of topics that are kept for a client: 512 KiB at most.
const WRITTEN_MAX: usize = 1024;

impl Written {
    pub(super) fn note(&mut self, name: &[u8]) {
        if self.are_too_many || self.names.contains(name) {
            return;
        }
        if self.names.len() < WRITTEN_MAX && name.len() <= crate::ids::TopicName::BYTES_MAX {
            self.names.insert(name.into());
        } else {
            self.are_too_many = true;
            self.names.clear();
        }
    }

    /// `None` = so many that it may be any.
    pub(super) fn names(&self) -> Option<impl Iterator<Item = &Box<[u8]>>> {
        (!self.are_too_many).then(|| self.names.iter())
    }
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) queued: Vec<Queued>,
    /// One of them was refused: EXEC does nothing.
    pub(super) is_spoilt: bool,
    /// Bytes of their arguments: they count as not executed.
    pub(super) bytes: usize,
}

/// A command that EXEC is to run.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) spec: &'static super::cmd::Spec,
    pub(super) args: Box<[Box<[u8]>]>,
}

/// A topic, and what it was like when WATCH looked.
#[derive(Debug)]
pub(super) struct Watched {
    /// Kept in hand: what it counts would be lost otherwise.
    #[expect(dead_code, reason = "it is there to be there")]
    pub(super) entry: Rc<super::topics::Entry>,
    pub(super) version: super::topics::Version,
}

/// Which replies the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replies {
    On,
    Off,
    /// Not the next one.
    SkipNext,
    /// Not this one.
    Skip,
}

/// A command that waits.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) command: Box<dyn Waiting>,
    /// Its place among those who wait.
    pub(super) waiter: WaiterId,
    /// `None` = for ever.
    pub(super) limit: Option<std::time::Instant>,
}

/// A command that tries again when something may have changed.
pub(super) trait Waiting: std::fmt::Debug {
    /// Writes the reply if there is one now.
    fn try_again(&mut self, server: &Rc<Server>, session: &mut Session) -> Answer<bool>;

    /// The topics it waits for, by name; they may not exist yet.
    fn keys(&self) -> Vec<&[u8]>;

    /// When to try again though nobody says that something changed.
    fn look_again_after(&self, _server: &Server) -> Option<Duration> {
        None
    }

    /// Whether it waits for others, as Redis's blocking commands do, and not for the disk.
    fn is_blocking(&self) -> bool {
        true
    }

    /// Writes what is said when its time is over.
    fn give_up(&mut self, session: &mut Session) {
        session.output.reply().null_array();
    }
}

impl Session {
    pub(super) fn new(is_authenticated: bool) -> Session {
        Session {
            output: Output::new(),
            is_authenticated,
            is_closing: false,
            transaction: None,
            watched: HashMap::new(),
            is_in_exec: false,
            replies: Replies::On,
            subscriptions: super::hub::Subscriptions::default(),
            blocked: None,
            memberships: Vec::new(),
            written: Written::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_writes_to_many_topics_has_written_to_any() {
        let mut written = Written::default();
        for n in 0..WRITTEN_MAX {
            written.note(n.to_string().as_bytes());
            written.note(b"0");
        }
        assert_eq!(written.names().map(Iterator::count), Some(WRITTEN_MAX));
        written.note(b"one more");
        assert!(written.names().is_none());
        written.note(b"0");
        assert!(written.names().is_none() && written.names.is_empty());
    }
}
