//! Channels: a message goes to those who listen now, at most once, and is kept nowhere.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::client::{Client, ClientId};
use super::options::SlowSubscriber;
use crate::codec::resp::{Protocol, Reply, glob};

/// What somebody listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
    Shard,
}

type Subscribers = BTreeMap<ClientId, Rc<Client>>;

/// Who listens to what.
#[derive(Debug)]
pub(super) struct Hub {
    channels: RefCell<HashMap<Box<[u8]>, Subscribers>>,
    patterns: RefCell<BTreeMap<Box<[u8]>, Subscribers>>,
    shards: RefCell<HashMap<Box<[u8]>, Subscribers>>,
    slow: Cell<SlowSubscriber>,
    bytes_max: usize,
    dropped: Cell<u64>,
    closed: Cell<u64>,
}

/// What a client listens to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: BTreeSet<Box<[u8]>>,
    patterns: BTreeSet<Box<[u8]>>,
    shards: BTreeSet<Box<[u8]>>,
}

impl Subscriptions {
    pub(super) fn of(&self, kind: Kind) -> &BTreeSet<Box<[u8]>> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeSet<Box<[u8]>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// The count that replies tell: channels and patterns together, shard channels apart.
    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty()
    }
}

/// Messages on their way to one client.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    messages: RefCell<VecDeque<Rc<[u8]>>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
}

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    pub(super) fn take(&self) -> Option<Rc<[u8]>> {
        let message = self.messages.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get() - message.len());
        Some(message)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// How many messages this client did not get since it was too slow.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn put(&self, message: &Rc<[u8]>) {
        self.bytes.set(self.bytes.get() + message.len());
        self.messages.borrow_mut().push_back(Rc::clone(message));
    }
}

/// One message in both forms, each written when the first client needs it.
struct Encoded<'a> {
    parts: &'a [&'a [u8]],
    resp2: Option<Rc<[u8]>>,
    resp3: Option<Rc<[u8]>>,
}

impl<'a> Encoded<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Encoded<'a> {
        Encoded { parts, resp2: None, resp3: None }
    }

    fn of(&mut self, protocol: Protocol) -> &Rc<[u8]> {
        let slot = if protocol == Protocol::Resp3 { &mut self.resp3 } else { &mut self.resp2 };
        slot.get_or_insert_with(|| {
            let mut reply = Reply::new(protocol);
            reply.push(self.parts.len());
            self.parts.iter().for_each(|part| reply.bulk(part));
            reply.take().into()
        })
    }
}

impl Hub {
    pub(super) fn new(slow: SlowSubscriber, bytes_max: usize) -> Hub {
        Hub {
            channels: RefCell::default(),
            patterns: RefCell::default(),
            shards: RefCell::default(),
            slow: Cell::new(slow),
            bytes_max,
            dropped: Cell::default(),
            closed: Cell::default(),
        }
    }

    /// Begins to listen; `false` when the client did already.
    pub(super) fn subscribe(&self, client: &Rc<Client>, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        let is_new = own.of_mut(kind).insert(name.into());
        if is_new {
            let enter = |subscribers: &mut Subscribers| drop(subscribers.insert(client.id, Rc::clone(client)));
            match kind {
                Kind::Channel => enter(self.channels.borrow_mut().entry(name.into()).or_default()),
                Kind::Pattern => enter(self.patterns.borrow_mut().entry(name.into()).or_default()),
                Kind::Shard => enter(self.shards.borrow_mut().entry(name.into()).or_default()),
            }
            note_counts(client, own);
        }
        is_new
    }

    /// Stops to listen; `false` when the client did not.
    pub(super) fn unsubscribe(&self, client: &Rc<Client>, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        let did = own.of_mut(kind).remove(name);
        if did {
            let is_last = |subscribers: Option<&mut Subscribers>| {
                subscribers.is_some_and(|subscribers| {
                    subscribers.remove(&client.id);
                    subscribers.is_empty()
                })
            };
            match kind {
                Kind::Channel => leave(&mut self.channels.borrow_mut(), name, is_last),
                Kind::Shard => leave(&mut self.shards.borrow_mut(), name, is_last),
                Kind::Pattern => {
                    let mut patterns = self.patterns.borrow_mut();
                    if is_last(patterns.get_mut(name)) {
                        patterns.remove(name);
                    }
                }
            }
            note_counts(client, own);
        }
        did
    }

    /// Forgets a client.
    pub(super) fn leave(&self, client: &Rc<Client>, own: &mut Subscriptions) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in own.of(kind).clone() {
                self.unsubscribe(client, own, kind, &name);
            }
        }
    }

    /// Hands a message to all who listen; says how many times.
    pub(super) fn publish(&self, channel: &[u8], message: &[u8]) -> u64 {
        let mut count = 0;
        if let Some(subscribers) = self.channels.borrow().get(channel) {
            count += self.deliver(subscribers, &mut Encoded::new(&[b"message", channel, message]));
        }
        for (pattern, subscribers) in &*self.patterns.borrow() {
            if glob::matches(pattern, channel) {
                count += self.deliver(subscribers, &mut Encoded::new(&[b"pmessage", pattern, channel, message]));
            }
        }
        count
    }

    /// The same for a shard channel, which no pattern matches.
    pub(super) fn publish_to_shard(&self, channel: &[u8], message: &[u8]) -> u64 {
        let shards = self.shards.borrow();
        let subscribers = shards.get(channel);
        subscribers.map_or(0, |subscribers| self.deliver(subscribers, &mut Encoded::new(&[b"smessage", channel, message])))
    }

    fn deliver(&self, subscribers: &Subscribers, message: &mut Encoded<'_>) -> u64 {
        for client in subscribers.values() {
            self.put(client, message.of(client.facts.protocol.get()));
            client.wake();
        }
        subscribers.len() as u64
    }

    /// Never waits: where there is no room, the policy says what goes.
    fn put(&self, client: &Client, message: &Rc<[u8]>) {
        let mailbox = &client.mailbox;
        let drop_one = || {
            mailbox.dropped.set(mailbox.dropped.get() + 1);
            self.dropped.set(self.dropped.get() + 1);
        };
        // One message there may always be, however large.
        while !mailbox.is_empty() && mailbox.bytes() + message.len() > self.bytes_max {
            match self.slow.get() {
                SlowSubscriber::DropNewest => return drop_one(),
                SlowSubscriber::DropOldest => {
                    mailbox.take();
                    drop_one();
                }
                SlowSubscriber::Close => {
                    if !client.is_killed() {
                        self.closed.set(self.closed.get() + 1);
                        client.kill();
                    }
                    return drop_one();
                }
            }
        }
        mailbox.put(message);
    }

    /// Channels that somebody listens to, and that match.
    pub(super) fn channels(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let table = if kind == Kind::Shard { self.shards.borrow() } else { self.channels.borrow() };
        let matching = table.keys().filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
        let mut names: Vec<Box<[u8]>> = matching.cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many listen to a channel by its name.
    pub(super) fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        let table = if kind == Kind::Shard { self.shards.borrow() } else { self.channels.borrow() };
        table.get(name).map_or(0, BTreeMap::len)
    }

    /// How many different patterns somebody listens to.
    pub(super) fn pattern_count(&self) -> usize {
        self.patterns.borrow().len()
    }

    /// Counts from 0 again.
    pub(super) fn reset_losses(&self) {
        self.dropped.set(0);
        self.closed.set(0);
    }

    /// Messages that slow subscribers did not get, and subscribers that were closed for it.
    pub(super) fn losses(&self) -> (u64, u64) {
        (self.dropped.get(), self.closed.get())
    }
}

fn leave(table: &mut HashMap<Box<[u8]>, Subscribers>, name: &[u8], is_last: impl FnOnce(Option<&mut Subscribers>) -> bool) {
    if is_last(table.get_mut(name)) {
        table.remove(name);
    }
}

fn note_counts(client: &Client, own: &Subscriptions) {
    client.facts.channels.set(own.channels.len());
    client.facts.patterns.set(own.patterns.len());
    client.facts.shard_channels.set(own.shards.len());
}
