//! What the rest of the server may know of a client, and do to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::codec::resp::Protocol;
use crate::ids::TimestampMs;

/// The number of a client: never used again.
pub(super) type ClientId = u64;

/// Why a blocked client is to stop waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    /// `host:port`, or the path of a socket.
    pub(super) address: String,
    pub(super) local_address: String,
    pub(super) is_unix: bool,
    /// The number of its socket in this process.
    pub(super) descriptor: i32,
    pub(super) since: TimestampMs,
    waker: RefCell<Option<Waker>>,
    /// Its connection is to be closed.
    is_killed: Cell<bool>,
    /// The same, once it has been told all that it is owed.
    is_ending: Cell<bool>,
    unblock: Cell<Option<Unblock>>,
    pub(super) facts: ClientFacts,
    /// Messages that it has not been sent.
    pub(super) mailbox: super::hub::Mailbox,
}

/// Who connected, and to what.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) local_address: String,
    pub(super) is_unix: bool,
    pub(super) descriptor: i32,
}

/// What CLIENT LIST shows beside the addresses.
#[derive(Debug)]
pub(super) struct ClientFacts {
    pub(super) name: RefCell<Box<[u8]>>,
    pub(super) lib_name: RefCell<Box<[u8]>>,
    pub(super) lib_version: RefCell<Box<[u8]>>,
    pub(super) protocol: Cell<Protocol>,
    /// Name of the last command, as in `client|list`.
    pub(super) command: Cell<&'static str>,
    pub(super) active: Cell<Instant>,
    pub(super) is_blocked: Cell<bool>,
    /// Commands queued by MULTI; `None` = no MULTI.
    pub(super) queued: Cell<Option<usize>>,
    /// Bytes of their arguments.
    pub(super) queued_bytes: Cell<usize>,
    pub(super) watching: Cell<usize>,
    pub(super) channels: Cell<usize>,
    pub(super) patterns: Cell<usize>,
    pub(super) shard_channels: Cell<usize>,
    /// Bytes received and not executed.
    pub(super) query_bytes: Cell<usize>,
    /// Bytes that are there for more of them.
    pub(super) query_free: Cell<usize>,
    /// Bytes not sent.
    pub(super) output_bytes: Cell<usize>,
    /// Bytes that the buffer of replies takes, and the most that were in it lately.
    pub(super) reply_room: Cell<usize>,
    pub(super) reply_peak: Cell<usize>,
    pub(super) bytes_in: Cell<u64>,
    pub(super) bytes_out: Cell<u64>,
    pub(super) commands: Cell<u64>,
    pub(super) no_evict: Cell<bool>,
    pub(super) no_touch: Cell<bool>,
}

impl ClientFacts {
    /// How many channels and patterns it listens to.
    pub(super) fn subscriptions(&self) -> usize {
        self.channels.get() + self.patterns.get() + self.shard_channels.get()
    }
}

impl Client {
    pub(super) fn new(id: ClientId, peer: Peer, since: TimestampMs) -> Rc<Client> {
        Rc::new(Client {
            id,
            address: peer.address,
            local_address: peer.local_address,
            is_unix: peer.is_unix,
            descriptor: peer.descriptor,
            since,
            waker: RefCell::default(),
            is_killed: Cell::new(false),
            is_ending: Cell::new(false),
            unblock: Cell::new(None),
            facts: ClientFacts {
                name: RefCell::default(),
                lib_name: RefCell::default(),
                lib_version: RefCell::default(),
                protocol: Cell::new(Protocol::Resp2),
                command: Cell::new("NULL"),
                active: Cell::new(Instant::now()),
                is_blocked: Cell::new(false),
                queued: Cell::new(None),
                queued_bytes: Cell::new(0),
                watching: Cell::new(0),
                channels: Cell::new(0),
                patterns: Cell::new(0),
                shard_channels: Cell::new(0),
                query_bytes: Cell::new(0),
                query_free: Cell::new(0),
                output_bytes: Cell::new(0),
                reply_room: Cell::new(0),
                reply_peak: Cell::new(0),
                bytes_in: Cell::new(0),
                bytes_out: Cell::new(0),
                commands: Cell::new(0),
                no_evict: Cell::new(false),
                no_touch: Cell::new(false),
            },
            mailbox: super::hub::Mailbox::default(),
        })
    }

    /// Has its task look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Who looks again from now on.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if slot.as_ref().is_none_or(|own| !own.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Closes its connection at once.
    pub(super) fn kill(&self) {
        self.is_killed.set(true);
        self.wake();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.is_killed.get()
    }

    /// Closes its connection once what was executed is answered.
    pub(super) fn end(&self) {
        self.is_ending.set(true);
        self.wake();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// Ends its waiting; `false` when it does not wait, or is being told already.
    pub(super) fn unblock(&self, how: Unblock) -> bool {
        let is_blocked = self.facts.is_blocked.get() && self.unblock.get().is_none();
        if is_blocked {
            self.unblock.set(Some(how));
            self.wake();
        }
        is_blocked
    }

    pub(super) fn take_unblock(&self) -> Option<Unblock> {
        self.unblock.take()
    }
}

/// All clients, by number.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_id: BTreeMap<ClientId, Rc<Client>>,
    last_id: ClientId,
}

impl Clients {
    pub(super) fn next_id(&mut self) -> ClientId {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn add(&mut self, client: &Rc<Client>) {
        self.by_id.insert(client.id, Rc::clone(client));
    }

    pub(super) fn remove(&mut self, id: ClientId) {
        self.by_id.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: ClientId) -> Option<Rc<Client>> {
        self.by_id.get(&id).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.by_id.values()
    }
}
