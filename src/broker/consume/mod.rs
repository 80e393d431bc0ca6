//! Working through a topic as a member of a group: one consumer, in one process. Every decision is
//! the rules' ([`super::group`]); this hands them what they need to know and does what they say.

use std::sync::Arc;
use std::time::{Duration, Instant};

mod ahead;
mod open_group;
mod pick;
mod settle;

pub(in crate::broker) use open_group::create_group_at;
pub use open_group::{OpenGroup, create_group};
pub use settle::GroupSettler;

pub(in crate::broker) use self::ahead::Ahead;
pub(in crate::broker) use self::pick::{Picker, first_record, last_record};
use super::Flusher;
use super::dead_letters::{as_it_was, dead_letter_topic};
use super::group::{self, Delivery, Fresh, GroupState, Take};
use crate::codec::group_event::{EntryKey, Manner, Order, Source};
use crate::codec::records::Record;
use crate::disk::random;
use crate::error::{Error, Result};
use crate::ids::{ConsumerId, GroupName, Lane, Offset, TimestampMs, TopicName};
use crate::job::Job;
use crate::log::{LogGap, Mode};
use crate::store::{Store, Topic};

/// How often a consumer looks whether others have died, at least: what they held comes to others soon.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// How often a consumer says that it lives.
const BEAT_EVERY_MS: u64 = 3_000;
/// A consumer whose process lives and says nothing for longer than this has its lanes taken away.
pub(in crate::broker) const SESSION_MS: u64 = 10_000;

/// One consumer at work.
#[derive(Debug)]
pub struct GroupMember<'s> {
    pub(in crate::broker) settler: GroupSettler<'s>,
    name: Vec<u8>,
    me: ConsumerId,
    manner: Manner,
    ahead: Ahead,
    picker: Picker,
    pub(super) looked: Option<Instant>,
    beaten: TimestampMs,
    seen: u32,
}

/// How a consumer joins.
#[derive(Clone, Debug)]
pub struct Joining<'a> {
    /// The name that no other process works under; `None` = one is made up, and goes with the consumer.
    pub name: Option<&'a [u8]>,
    /// Whether somebody else settles what it gets: then its lease runs from the delivery on.
    pub is_manual: bool,
    /// Stops waits and long work.
    pub job: Job,
}

/// Records that a consumer got.
#[derive(Debug, Default)]
pub struct Handed {
    /// What was delivered, in the order in which it was handed out.
    pub deliveries: Vec<Delivery>,
    /// Records of the topic that the group will never get.
    pub gaps: Vec<LogGap>,
    /// Entries that were moved to the dead-letter topic, having had all their attempts.
    pub dead: u64,
}

impl<'s> GroupMember<'s> {
    /// Joins a group.
    ///
    /// # Errors
    /// [`Error::NameMissing`] when there is no such group; [`Error::Busy`] when another process works
    /// under this name.
    pub fn join(
        store: &'s Store,
        flusher: &'s Flusher,
        topic: &TopicName,
        group: &GroupName,
        how: &Joining<'_>,
    ) -> Result<GroupMember<'s>> {
        let settler = GroupSettler::open(store, flusher, topic, group, how.job.clone())?;
        let log = settler.group.topic.log();
        let made_up = || format!("{}-{:08x}", std::process::id(), u32::from_le_bytes(random())).into_bytes();
        let name = how.name.map_or_else(made_up, <[u8]>::to_vec);
        let mut member = GroupMember {
            ahead: Ahead::new(log),
            picker: Picker::new(log),
            settler,
            name,
            me: ConsumerId::FIRST,
            manner: Manner { is_passing: how.name.is_none(), is_manual: how.is_manual },
            looked: None,
            beaten: TimestampMs::default(),
            seen: 0,
        };
        member.take_place()?;
        member.settler.finish_burials()?;
        Ok(member)
    }

    fn take_place(&mut self) -> Result<()> {
        let name = self.name.clone();
        // It has to exist before its byte can be locked, and to be locked before it is a member.
        let before = self.me;
        self.me = self.settler.group.decide(|state, now| {
            let (consumer, events) = group::create(state, &name, now);
            (events, consumer)
        })?;
        if self.me != before {
            // Removed by others, or lost with the journal's events: it has another number now.
            self.settler.members.give_back(before)?;
        }
        let now = self.settler.group.now();
        if !self.settler.members.hold(self.me, now)? {
            let path = self.settler.group.journal.files().dir().path().join(String::from_utf8_lossy(&name).as_ref());
            return Err(Error::Busy { what: "the consumer's name", path, holder: None, waited: Duration::ZERO });
        }
        let manner = self.manner;
        self.settler.group.decide(|state, now| (group::join(state, &name, manner, now).1, ()))
    }

    /// What settles what it gets.
    pub fn settler(&mut self) -> &mut GroupSettler<'s> {
        &mut self.settler
    }

    /// Tells the group from others.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.settler.tag()
    }

    /// The group's state, as this process knows it.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        self.settler.group.state()
    }

    /// The topic of its group.
    #[must_use]
    pub fn topic(&self) -> &Arc<Topic> {
        &self.settler.group.topic
    }

    /// The name it works under.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Takes up to `count` records and hands them out, those that are tried again first.
    pub fn take(&mut self, count: usize, no_ack: bool, mut each: impl FnMut(&Delivery, &Record<'_>)) -> Result<Handed> {
        self.seen = self.settler.group.topic.log().watch();
        self.look_after_others()?;
        self.settler.group.topic.settings()?;
        let until = self.settler.group.topic.log().high_watermark();
        let has_read = self.read_ahead(count, until)?;
        let (me, ahead) = (self.me, &self.ahead);
        let taken = self.settler.group.decide(|state, now| {
            let fresh = match has_read {
                false => Fresh::Below { until },
                true => ahead.offer(state.committed().epoch),
            };
            let mut taken = group::take(state, &Take { consumer: me, count, no_ack, letters: true, fresh }, now);
            (std::mem::take(&mut taken.events), taken)
        })?;
        let mut handed = Handed { deliveries: taken.deliveries, ..Handed::default() };
        for key in taken.exhausted {
            handed.dead += u64::from(self.settler.bury(key, None, b"all attempts failed")?);
        }
        self.hand_out(&mut handed, &mut each)?;
        handed.gaps.append(&mut self.settler.group.untold);
        self.settler.group.journal.keep_short(&self.settler.group.job)?;
        Ok(handed)
    }

    /// Where the next offsets do not tell which records are next, in a group of order `key` or where compaction
    /// has taken records: reads on from where this consumer's lanes stand, until there is enough for it.
    /// Whether it was so.
    fn read_ahead(&mut self, count: usize, until: Offset) -> Result<bool> {
        self.settler.group.journal.catch_up()?;
        let state = self.settler.group.journal.state();
        let is_by_key = state.settings().order == Order::Key;
        if !is_by_key && !self.settler.group.topic.log().has_compacted() {
            return Ok(false);
        }
        let from = state.read_from(self.me).filter(|from| *from < until).unwrap_or(until);
        let mut own = vec![!is_by_key; usize::from(Lane::COUNT)];
        group::lanes_of(state, self.me).iter().for_each(|lane| own[lane.index()] = true);
        self.ahead.read(self.settler.group.topic.log(), from, until, |lane| own[lane.index()], count)?;
        Ok(true)
    }

    /// Reads what was delivered. An entry whose record there is no more is settled.
    fn hand_out(&mut self, handed: &mut Handed, each: &mut impl FnMut(&Delivery, &Record<'_>)) -> Result<()> {
        let mut found = vec![false; handed.deliveries.len()];
        let dead_letters = self.dead_letters_of(&handed.deliveries)?;
        for source in [Source::Topic, Source::DeadLetter] {
            let topic = if source == Source::Topic { Some(&self.settler.group.topic) } else { dead_letters.as_ref() };
            let Some(log) = topic.map(|topic| topic.log()) else { continue };
            let mut wanted: Vec<(Offset, usize)> = Vec::with_capacity(found.len());
            let of_source = handed.deliveries.iter().enumerate().filter(|(_, delivery)| delivery.key.source == source);
            wanted.extend(of_source.map(|(index, delivery)| (delivery.key.offset, index)));
            wanted.sort_unstable();
            let mut letters = Picker::new(log);
            let picker = if source == Source::Topic { &mut self.picker } else { &mut letters };
            let gaps = picker.pick(log, &wanted, |index, record| {
                found[index] = true;
                let record = if source == Source::Topic { *record } else { as_it_was(record) };
                each(&handed.deliveries[index], &record);
            })?;
            handed.gaps.extend(gaps);
        }
        if found.iter().all(|found| *found) {
            return Ok(());
        }
        let lost: Vec<EntryKey> =
            handed.deliveries.iter().zip(&found).filter(|(_, found)| !**found).map(|(delivery, _)| delivery.key).collect();
        let mut each = found.iter();
        handed.deliveries.retain(|_| *each.next().expect("as many as deliveries"));
        self.settler.group.decide(|state, now| (group::ack_any(state, &lost, now).0, ()))
    }

    /// The topic of the dead letters among what was delivered. `None` = there are none of them, or it
    /// is gone, and they with it.
    fn dead_letters_of(&mut self, deliveries: &[Delivery]) -> Result<Option<Arc<Topic>>> {
        if deliveries.iter().all(|delivery| delivery.key.source == Source::Topic) {
            return Ok(None);
        }
        let name = dead_letter_topic(self.settler.group.topic.name())?;
        let topic = match self.settler.group.store.topic(&name, Mode::Read, &self.settler.group.job) {
            Err(Error::TopicMissing { .. }) => return Ok(None),
            other => other?,
        };
        // Another topic under the name holds other letters at these offsets.
        let is_known = self.settler.group.state().letters().topic() == Some(topic.log().incarnation());
        Ok(is_known.then_some(topic))
    }

    /// Says that this consumer lives, and takes their places from those that do not.
    pub fn look_after_others(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.settler.group.check_in_force()?;
        let now = self.settler.group.now();
        self.settler.group.journal.catch_up()?;
        // It has to be heard thrice in a lease, or what it works on is given to others; and at once
        // when the clock was set back.
        let beat_every = BEAT_EVERY_MS.min(self.state().settings().lease_ms / 3);
        if now.0.abs_diff(self.beaten.0) >= beat_every {
            self.settler.members.beat(self.me, now);
            self.beaten = now;
        }
        if self.settler.group.journal.state().consumer(self.me).is_none_or(|me| !me.is_member) {
            // Others took this one for dead: it was stopped for too long.
            self.take_place()?;
        }
        self.settler.finish_burials()?;
        self.settler.group.decide(|state, _| (group::forget_passed(state), ()))?;
        let me = self.me;
        let mut heard: Vec<(ConsumerId, Option<TimestampMs>)> = Vec::new();
        let others = self
            .settler
            .group
            .journal
            .state()
            .consumers()
            .filter(|(id, other)| *id != me && (other.is_member || other.leased > 0));
        for (id, _) in others {
            heard.push((id, self.settler.members.heard(id)?));
        }
        if heard.is_empty() && self.settler.group.journal.state().consumer(me).is_none_or(|me| me.leased == 0) {
            return Ok(());
        }
        let is_silent = |heard: &Option<TimestampMs>| heard.is_none_or(|at| now.0.saturating_sub(at.0) > SESSION_MS);
        let gone: Vec<ConsumerId> = heard.iter().filter(|(_, heard)| is_silent(heard)).map(|(id, _)| *id).collect();
        for consumer in gone {
            self.settler.group.decide(|state, now| (group::leave(state, consumer, now), ()))?;
        }
        let known = |consumer: ConsumerId| {
            if consumer == me { Some(now) } else { heard.iter().find(|(id, _)| *id == consumer).and_then(|(_, at)| *at) }
        };
        self.settler.group.decide(|state, now| (group::lapse(state, known, now), ()))
    }

    /// Sleeps until there may be something to take, `at_most` so long.
    pub fn wait(&mut self, at_most: Duration) {
        let now = self.settler.group.now();
        let due =
            self.settler.group.journal.state().next_due().map(|due| Duration::from_millis(due.0.saturating_sub(now.0).max(1)));
        let at_most = at_most.min(due.unwrap_or(LOOK_EVERY)).min(LOOK_EVERY);
        self.settler.group.topic.log().wait(self.seen, at_most);
    }

    /// Whether all that is in the topic now was settled by the group.
    pub fn is_drained(&mut self) -> Result<bool> {
        self.settler.group.journal.catch_up()?;
        let state = self.settler.group.journal.state();
        Ok(state.pending_count() == 0 && state.undelivered(self.settler.group.topic.log().high_watermark()) == 0)
    }

    /// Leaves the group in order: what it holds goes to others at once, unless somebody else is to
    /// settle it.
    pub fn leave(&mut self) -> Result<()> {
        let (me, manner) = (self.me, self.manner);
        if !manner.is_manual {
            self.settler.group.decide(|state, now| (group::release(state, me, now), ()))?;
        }
        self.settler.group.decide(|state, now| (group::leave(state, me, now), ()))?;
        self.settler.group.decide(|state, _| (group::forget_passed(state), ()))?;
        self.settler.members.give_back(me)?;
        self.settler.settle()
    }
}

#[cfg(test)]
mod tests;
