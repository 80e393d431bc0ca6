//! A client's replies, in the order of its requests. Some have to wait until what they say is true.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::client::Client;
use super::refusal::Refusal;
use crate::codec::resp::{Protocol, Reply};
use crate::ids::RecordId;

/// Something that will be at its level of durability, or will have failed. Many replies may wait for
/// one.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    outcome: RefCell<Option<Result<(), Refusal>>>,
    /// How many more things have to come true.
    left: Cell<u32>,
    /// The ID of the first record of a batch.
    first_id: Cell<RecordId>,
    /// The IDs of those that were records already, by index.
    known: RefCell<Vec<(u32, RecordId)>>,
    waiting: RefCell<Vec<Weak<Client>>>,
}

impl Ticket {
    pub(super) fn new() -> Rc<Ticket> {
        Ticket::of(1)
    }

    /// A ticket for so many things at once: the first failure is the outcome of all.
    pub(super) fn of(count: u32) -> Rc<Ticket> {
        Rc::new(Ticket { left: Cell::new(count), ..Ticket::default() })
    }

    /// Tells all who wait, once there is nothing more to wait for.
    pub(super) fn resolve(&self, outcome: Result<(), Refusal>) {
        self.left.set(self.left.get().saturating_sub(1));
        if self.is_resolved() || (outcome.is_ok() && self.left.get() > 0) {
            return;
        }
        *self.outcome.borrow_mut() = Some(outcome);
        for client in self.waiting.take() {
            if let Some(client) = client.upgrade() {
                client.wake();
            }
        }
    }

    pub(super) fn set_first_id(&self, id: RecordId) {
        self.first_id.set(id);
    }

    /// Which of the batch are not new, rising by index.
    pub(super) fn set_known(&self, known: Vec<(u32, RecordId)>) {
        *self.known.borrow_mut() = known;
    }

    /// The ID that a record of the batch got.
    pub(super) fn id_of(&self, index: u32) -> RecordId {
        let known = self.known.borrow();
        let before = known.partition_point(|(other, _)| *other < index);
        if let Some((_, id)) = known.get(before).filter(|(other, _)| *other == index) {
            return *id;
        }
        self.first_id.get().advance(u64::from(index) - before as u64).unwrap_or(RecordId { ms: u64::MAX, seq: u64::MAX })
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    pub(super) fn outcome(&self) -> Option<Result<(), Refusal>> {
        self.outcome.borrow().clone()
    }

    /// How many clients wait.
    pub(super) fn clients(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Has the client woken when there is an outcome.
    pub(super) fn wake_later(&self, client: &Rc<Client>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.last().is_none_or(|last| !std::ptr::eq(last.as_ptr(), Rc::as_ptr(client))) {
            waiting.push(Rc::downgrade(client));
        }
    }
}

/// Replies that wait, and those behind them.
#[derive(Debug)]
enum Part {
    Ready(Vec<u8>),
    /// The IDs of records of a batch.
    Added {
        ticket: Rc<Ticket>,
        from: u32,
        count: u32,
    },
    /// True once the ticket says so.
    Held {
        ticket: Rc<Ticket>,
        reply: Vec<u8>,
    },
}

/// The replies of one client.
#[derive(Debug)]
pub(super) struct Output {
    /// The end: what is written now.
    reply: Reply,
    parts: VecDeque<Part>,
    /// Bytes in `parts`.
    held_bytes: usize,
    /// Where replies are dropped from, while the client wants none.
    muted_at: Option<usize>,
}

impl Output {
    pub(super) fn new() -> Output {
        Output { reply: Reply::new(Protocol::Resp2), parts: VecDeque::new(), held_bytes: 0, muted_at: None }
    }

    pub(super) fn reply(&mut self) -> &mut Reply {
        &mut self.reply
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.reply.protocol()
    }

    /// Bytes that the client has not been sent.
    pub(super) fn len(&self) -> usize {
        self.held_bytes + self.reply.len()
    }

    /// From here on replies are dropped, until [`Output::unmute`].
    pub(super) fn mute(&mut self) {
        self.muted_at = Some(self.reply.len());
    }

    pub(super) fn unmute(&mut self) {
        if let Some(at) = self.muted_at.take() {
            self.reply.truncate(at);
        }
    }

    /// Writes what is no reply, and is sent whether the client wants replies or not.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Reply)) {
        if let Some(at) = self.muted_at {
            self.reply.truncate(at);
        }
        write(&mut self.reply);
        if self.muted_at.is_some() {
            self.muted_at = Some(self.reply.len());
        }
    }

    /// The reply is the ID that a record of a batch gets.
    pub(super) fn owe_id(&mut self, ticket: &Rc<Ticket>, index: u32) {
        if self.muted_at.is_some() {
            return;
        }
        if self.reply.is_empty()
            && let Some(Part::Added { ticket: last, from, count }) = self.parts.back_mut()
            && Rc::ptr_eq(last, ticket)
            && *from + *count == index
        {
            *count += 1;
            return;
        }
        self.close_part();
        self.parts.push_back(Part::Added { ticket: Rc::clone(ticket), from: index, count: 1 });
    }

    /// What was written since `from` is sent once the ticket says that it is true.
    pub(super) fn hold(&mut self, ticket: &Rc<Ticket>, from: usize) {
        if self.muted_at.is_some() || ticket.is_resolved() && ticket.outcome() == Some(Ok(())) {
            return;
        }
        let held = self.reply.split_off(from);
        self.close_part();
        self.held_bytes += held.len();
        self.parts.push_back(Part::Held { ticket: Rc::clone(ticket), reply: held });
    }

    fn close_part(&mut self) {
        let bytes = self.reply.take();
        if !bytes.is_empty() {
            self.held_bytes += bytes.len();
            self.parts.push_back(Part::Ready(bytes));
        }
    }

    /// Moves to `ready` all that may be sent now. `false` when something waits still; `client` is woken
    /// then.
    pub(super) fn settle(&mut self, ready: &mut Reply, client: &Rc<Client>) -> bool {
        while let Some(part) = self.parts.front() {
            if let Part::Added { ticket, .. } | Part::Held { ticket, .. } = part
                && !ticket.is_resolved()
            {
                ticket.wake_later(client);
                return false;
            }
            match self.parts.pop_front() {
                None => break,
                Some(Part::Ready(bytes)) => {
                    self.held_bytes -= bytes.len();
                    ready.append(&bytes);
                }
                Some(Part::Added { ticket, from, count }) => put_ids(ready, &ticket, from..from + count),
                Some(Part::Held { ticket, reply }) => {
                    self.held_bytes -= reply.len();
                    match ticket.outcome() {
                        Some(Err(refusal)) => ready.error(refusal.as_str()),
                        _ => ready.append(&reply),
                    }
                }
            }
        }
        if ready.is_empty() {
            // Most replies wait for nothing: no copy.
            ready.swap(&mut self.reply);
        } else {
            ready.append(self.reply.bytes());
            self.reply.truncate(0);
        }
        true
    }

    /// Whether a reply waits for something.
    pub(super) fn is_waiting(&self) -> bool {
        !self.parts.is_empty()
    }
}

fn put_ids(out: &mut Reply, ticket: &Ticket, indices: std::ops::Range<u32>) {
    let outcome = ticket.outcome();
    for index in indices {
        match &outcome {
            Some(Err(refusal)) => out.error(refusal.as_str()),
            _ => out.id(ticket.id_of(index)),
        }
    }
}
