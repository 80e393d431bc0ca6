//! Working through a topic as a member of a group: one consumer, in one process. Every decision is
//! the rules' ([`super::group`]); this hands them what they need to know and does what they say.

use std::time::{Duration, Instant};

mod ahead;
mod open_group;
mod pick;

pub use open_group::{OpenGroup, create_group};

use self::ahead::Ahead;
use self::pick::Picker;
use super::Flusher;
use super::group::{self, Delivery, Fresh, GroupState, Nack, Receipt, Take};
use super::members::Members;
use crate::codec::group_event::{EntryKey, Order, Source};
use crate::codec::records::Record;
use crate::config::Durability;
use crate::disk::random;
use crate::error::{Error, Result};
use crate::ids::{ConsumerId, GroupName, Lane, Offset, TimestampMs, TopicName};
use crate::job::Job;
use crate::log::{LogGap, Mode};
use crate::store::Store;

/// How often a consumer looks whether others have died, at least: what they held comes to others soon.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// How often a consumer says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(3);
/// At `sync`, acks that nobody waits for are synced together. A power cut has what was acked for so
/// long, and no more, done again.
const SYNC_AFTER: Duration = Duration::from_millis(10);
/// A consumer whose process lives and says nothing for longer than this has its lanes taken away.
const SESSION_MS: u64 = 10_000;

/// One consumer at work.
#[derive(Debug)]
pub struct GroupMember<'s> {
    pub(super) group: OpenGroup<'s>,
    pub(super) flusher: &'s Flusher,
    pub(super) members: Members,
    name: Vec<u8>,
    me: ConsumerId,
    /// Whether the name was made up for this process, and goes with it.
    is_passing: bool,
    ahead: Ahead,
    picker: Picker,
    pub(super) looked: Option<Instant>,
    beaten: Instant,
    seen: u32,
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
    /// Joins a group under a name; one that is made up if `consumer` is `None`.
    ///
    /// # Errors
    /// [`Error::NameMissing`] when there is no such group; [`Error::Busy`] when another process works
    /// under this name.
    pub fn join(
        store: &'s Store,
        flusher: &'s Flusher,
        topic: &TopicName,
        group: &GroupName,
        consumer: Option<&[u8]>,
        job: Job,
    ) -> Result<GroupMember<'s>> {
        let group = OpenGroup::open(store, topic, group, Mode::Write, job)?;
        let members = Members::open(group.journal.files())?;
        let made_up = || format!("{}-{:08x}", std::process::id(), u32::from_le_bytes(random())).into_bytes();
        let name = consumer.map_or_else(made_up, <[u8]>::to_vec);
        let mut member = GroupMember {
            ahead: Ahead::new(group.topic.log()),
            picker: Picker::new(group.topic.log()),
            group,
            flusher,
            members,
            name,
            me: ConsumerId::FIRST,
            is_passing: consumer.is_none(),
            looked: None,
            beaten: Instant::now(),
            seen: 0,
        };
        member.take_place()?;
        member.finish_burials()?;
        Ok(member)
    }

    fn take_place(&mut self) -> Result<()> {
        let name = self.name.clone();
        // It has to exist before its byte can be locked, and to be locked before it is a member.
        self.me = self.group.decide(|state, now| {
            let (consumer, events) = group::create(state, &name, now);
            (events, consumer)
        })?;
        let now = self.group.now();
        if !self.members.hold(self.me, now)? {
            let path = self.group.journal.files().dir().path().join(String::from_utf8_lossy(&name).as_ref());
            return Err(Error::Busy { what: "the consumer's name", path, holder: None, waited: Duration::ZERO });
        }
        self.group.decide(|state, now| (group::join(state, &name, now).1, ()))
    }

    /// The group's state, as this process knows it.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        self.group.state()
    }

    /// The name it works under.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Takes up to `count` records and hands them out, those that are tried again first.
    pub fn take(&mut self, count: usize, no_ack: bool, mut each: impl FnMut(&Delivery, &Record<'_>)) -> Result<Handed> {
        self.seen = self.group.topic.log().watch();
        self.look_after_others()?;
        self.group.topic.settings()?;
        let until = self.group.topic.log().high_watermark();
        let has_read = self.read_ahead(count, until)?;
        let (me, ahead) = (self.me, &self.ahead);
        let taken = self.group.decide(|state, now| {
            let fresh = match has_read {
                false => Fresh::Below { until },
                true => ahead.offer(state.committed().epoch),
            };
            let mut taken = group::take(state, &Take { consumer: me, count, no_ack, fresh }, now);
            (std::mem::take(&mut taken.events), taken)
        })?;
        let mut handed = Handed { deliveries: taken.deliveries, ..Handed::default() };
        for key in taken.exhausted {
            handed.dead += u64::from(self.bury(key, None, b"all attempts failed")?);
        }
        self.hand_out(&mut handed, &mut each)?;
        handed.gaps.append(&mut self.group.untold);
        self.group.journal.keep_short(&self.group.job)?;
        Ok(handed)
    }

    /// In a group of order `key`: reads on from where this consumer's lanes stand, until there is
    /// enough for it. Whether the group is one.
    fn read_ahead(&mut self, count: usize, until: Offset) -> Result<bool> {
        self.group.journal.catch_up()?;
        let state = self.group.journal.state();
        if state.settings().order != Order::Key {
            return Ok(false);
        }
        let from = state.read_from(self.me).filter(|from| *from < until).unwrap_or(until);
        let mut own = vec![false; usize::from(Lane::COUNT)];
        group::lanes_of(state, self.me).iter().for_each(|lane| own[lane.index()] = true);
        self.ahead.read(self.group.topic.log(), from, until, |lane| own[lane.index()], count)?;
        Ok(true)
    }

    /// Reads what was delivered. An entry whose record there is no more is settled.
    fn hand_out(&mut self, handed: &mut Handed, each: &mut impl FnMut(&Delivery, &Record<'_>)) -> Result<()> {
        let mut found = vec![false; handed.deliveries.len()];
        let dead_letters = self.dead_letter_topic_for(&handed.deliveries)?;
        for source in [Source::Topic, Source::DeadLetter] {
            let topic = if source == Source::Topic { Some(&self.group.topic) } else { dead_letters.as_ref() };
            let Some(log) = topic.map(|topic| topic.log()) else { continue };
            let mut wanted: Vec<(Offset, usize)> = Vec::with_capacity(found.len());
            let of_source = handed.deliveries.iter().enumerate().filter(|(_, delivery)| delivery.key.source == source);
            wanted.extend(of_source.map(|(index, delivery)| (delivery.key.offset, index)));
            wanted.sort_unstable();
            let mut letters = Picker::new(log);
            let picker = if source == Source::Topic { &mut self.picker } else { &mut letters };
            let gaps = picker.pick(log, &wanted, |index, record| {
                found[index] = true;
                each(&handed.deliveries[index], record);
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
        self.group.decide(|state, now| (group::ack_any(state, &lost, now).0, ()))
    }

    /// Settles what was delivered; the receipts that came late are returned. Written when this
    /// returns, at the topic's level once [`GroupMember::settle`] has said so.
    pub fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        let late = self.group.decide(|state, now| {
            let settled = group::ack(state, receipts, now);
            (settled.events, settled.late)
        })?;
        self.start_sync()?;
        Ok(late)
    }

    /// Gives back what was delivered, to be tried again; what has had all its attempts is
    /// dead-lettered for `reason`.
    pub fn nack(&mut self, receipts: &[Receipt], counted: bool, delay_ms: Option<u64>, reason: &[u8]) -> Result<u64> {
        let nack = Nack { counted, delay_ms, jitter: u64::from_le_bytes(random()) };
        let exhausted = self.group.decide(|state, now| {
            let settled = group::nack(state, receipts, nack, now);
            (settled.events, settled.exhausted)
        })?;
        let mut dead = 0;
        for key in exhausted {
            dead += u64::from(self.bury(key, None, reason)?);
        }
        self.start_sync()?;
        Ok(dead)
    }

    /// Acks follow the topic's level, in the background: who works on does not wait for the disk.
    fn start_sync(&self) -> Result<()> {
        let (settings, _) = self.group.topic.settings()?;
        let pause = match settings.durability {
            Durability::None => return Ok(()),
            Durability::Async => settings.flush_interval,
            Durability::Sync => SYNC_AFTER,
        };
        self.flusher.order(&self.group.journal.files().journal, Instant::now() + pause);
        Ok(())
    }

    /// Waits until what was said is at the topic's level.
    pub fn settle(&mut self) -> Result<()> {
        let (settings, _) = self.group.topic.settings()?;
        let journal = &self.group.journal.files().journal;
        match settings.durability {
            Durability::None | Durability::Async => self.start_sync(),
            Durability::Sync => journal.sync_to(journal.end_place(), &self.group.job),
        }
    }

    /// Says that this consumer lives, and takes their places from those that do not.
    pub fn look_after_others(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.group.journal.check_in_force()?;
        let now = self.group.now();
        if self.beaten.elapsed() >= BEAT_EVERY {
            self.members.beat(self.me, now);
            self.beaten = Instant::now();
        }
        self.group.journal.catch_up()?;
        if self.group.journal.state().consumer(self.me).is_none_or(|me| !me.is_member) {
            // Others took this one for dead: it was stopped for too long.
            self.take_place()?;
        }
        let me = self.me;
        let mut heard: Vec<(ConsumerId, Option<TimestampMs>)> = Vec::new();
        let others =
            self.group.journal.state().consumers().filter(|(id, other)| *id != me && (other.is_member || other.leased > 0));
        for (id, _) in others {
            heard.push((id, self.members.heard(id)?));
        }
        if heard.is_empty() && self.group.journal.state().consumer(me).is_none_or(|me| me.leased == 0) {
            return Ok(());
        }
        let is_silent = |heard: &Option<TimestampMs>| heard.is_none_or(|at| now.0.saturating_sub(at.0) > SESSION_MS);
        let gone: Vec<ConsumerId> = heard.iter().filter(|(_, heard)| is_silent(heard)).map(|(id, _)| *id).collect();
        for consumer in gone {
            self.group.decide(|state, now| (group::leave(state, consumer, now), ()))?;
        }
        let known = |consumer: ConsumerId| {
            if consumer == me { Some(now) } else { heard.iter().find(|(id, _)| *id == consumer).and_then(|(_, at)| *at) }
        };
        self.group.decide(|state, now| (group::lapse(state, known, now), ()))
    }

    /// Sleeps until there may be something to take, `at_most` so long.
    pub fn wait(&mut self, at_most: Duration) {
        let now = self.group.now();
        let due = self.group.journal.state().next_due().map(|due| Duration::from_millis(due.0.saturating_sub(now.0).max(1)));
        let at_most = at_most.min(due.unwrap_or(LOOK_EVERY)).min(LOOK_EVERY);
        self.group.topic.log().wait(self.seen, at_most);
    }

    /// Whether all that is in the topic now was settled by the group.
    pub fn is_drained(&mut self) -> Result<bool> {
        self.group.journal.catch_up()?;
        let state = self.group.journal.state();
        Ok(state.pending_count() == 0 && state.undelivered(self.group.topic.log().high_watermark()) == 0)
    }

    /// Leaves the group in order: what it holds goes to others at once.
    pub fn leave(&mut self) -> Result<()> {
        let (me, is_passing) = (self.me, self.is_passing);
        self.group.decide(|state, now| (group::release(state, me, now), ()))?;
        self.group.decide(|state, now| (if is_passing { group::remove(state, me) } else { group::leave(state, me, now) }, ()))?;
        self.members.give_back(me)?;
        self.settle()
    }
}

#[cfg(test)]
mod tests;
