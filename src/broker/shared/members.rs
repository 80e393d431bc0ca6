//! Consumers of a group whose lanes have owners: there a name has to be a member to get anything.
//!
//! A consumer is a member from its first read on, for as long as the client that read last under its
//! name is connected; meanwhile this process holds the consumer's lock and says that it lives, so no
//! other process can work under the name. That it is connected renews no lease: what it was given goes
//! to others if it is not settled in time, as with everybody who settles by hand. When its client goes,
//! its lanes go to others, those of which it has something once that is settled, or over.

use std::time::{Duration, Instant};

use super::SharedGroup;
use crate::broker::consume::SESSION_MS;
use crate::broker::group;
use crate::codec::group_event::{Manner, Order};
use crate::error::{Error, Result};
use crate::ids::{ConsumerId, TimestampMs};

/// How often it is looked whether others have died, at most.
const LOOK_EVERY: Duration = Duration::from_millis(40);

impl SharedGroup<'_> {
    /// Makes the consumer a member on behalf of a client, where lanes have owners.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process works under its name.
    pub(super) fn join(&mut self, name: &[u8], me: ConsumerId, client: u64) -> Result<()> {
        if self.state().settings().order == Order::None {
            return Ok(());
        }
        let now = self.settler.group.now();
        if self.held.contains_key(&me) && self.state().consumer(me).is_some_and(|me| me.is_member) {
            self.held.insert(me, client);
            self.settler.members.beat(me, now);
            return Ok(());
        }
        if !self.settler.members.hold(me, now)? {
            let path = self.settler.group.journal.files().dir().path().to_owned();
            return Err(Error::Busy { what: "the consumer's name", path, holder: None, waited: Duration::ZERO });
        }
        let manner = Manner { is_passing: false, is_manual: true };
        self.settler.group.decide(|state, now| (group::join(state, name, manner, now).1, ()))?;
        self.held.insert(me, client);
        Ok(())
    }

    /// The consumer of this name, if it is a member on behalf of this client.
    #[must_use]
    pub fn member_of(&self, client: u64, name: &[u8]) -> Option<ConsumerId> {
        let consumer = self.state().find(name)?;
        (self.held.get(&consumer) == Some(&client)).then_some(consumer)
    }

    /// The client has gone: the consumer is a member no longer, unless another one reads under its name.
    pub fn leave(&mut self, consumer: ConsumerId, client: u64) -> Result<()> {
        if self.held.get(&consumer) != Some(&client) {
            return Ok(());
        }
        self.held.remove(&consumer);
        let left = self.settler.group.decide(|state, now| (group::leave(state, consumer, now), ()));
        self.settler.members.give_back(consumer)?;
        left
    }

    /// Says that the members live whose clients are connected.
    pub fn beat(&self) {
        let now = self.settler.group.now();
        self.held.keys().for_each(|consumer| self.settler.members.beat(*consumer, now));
    }

    /// Where lanes have owners: takes their places from those who have died, and what they had too long.
    pub(super) fn look_after_others(&mut self) -> Result<()> {
        let is_ordered = self.state().settings().order != Order::None;
        if !is_ordered || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let now = self.settler.group.now();
        let mut heard: Vec<(ConsumerId, Option<TimestampMs>)> = Vec::new();
        for (id, other) in self.settler.group.state().consumers() {
            let is_own = self.held.contains_key(&id);
            if !is_own && (other.is_member || other.leased > 0) {
                heard.push((id, self.settler.members.heard(id)?));
            }
        }
        let is_silent = |at: Option<TimestampMs>| at.is_none_or(|at| now.0.saturating_sub(at.0) > SESSION_MS);
        for (consumer, _) in heard.iter().filter(|(_, at)| is_silent(*at)) {
            self.settler.group.decide(|state, now| (group::leave(state, *consumer, now), ()))?;
        }
        let held = &self.held;
        let known = |consumer: ConsumerId| {
            let other = heard.iter().find(|(id, _)| *id == consumer).and_then(|(_, at)| *at);
            if held.contains_key(&consumer) { Some(now) } else { other }
        };
        self.settler.group.decide(|state, now| (group::lapse(state, known, now), ()))
    }
}
