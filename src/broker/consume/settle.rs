//! Settling what a group delivered: by the consumer that got it, or by whoever has its receipts.

use std::time::{Duration, Instant};

use super::OpenGroup;
use crate::broker::Flusher;
use crate::broker::group::{self, Nack, Receipt};
use crate::broker::members::Members;
use crate::config::Durability;
use crate::disk::random;
use crate::error::Result;
use crate::ids::{GroupName, TopicName};
use crate::job::Job;
use crate::log::Mode;
use crate::store::Store;

/// At `sync`, acks that nobody waits for are synced together. A power cut has what was acked for so
/// long, and no more, done again.
const SYNC_AFTER: Duration = Duration::from_millis(10);

/// A group whose entries are settled.
#[derive(Debug)]
pub struct GroupSettler<'s> {
    pub(in crate::broker) group: OpenGroup<'s>,
    pub(in crate::broker) flusher: &'s Flusher,
    pub(in crate::broker) members: Members,
}

impl<'s> GroupSettler<'s> {
    /// Opens a group.
    ///
    /// # Errors
    /// [`crate::Error::NameMissing`] when there is no such group.
    pub fn open(
        store: &'s Store,
        flusher: &'s Flusher,
        topic: &TopicName,
        group: &GroupName,
        job: Job,
    ) -> Result<GroupSettler<'s>> {
        GroupSettler::of(OpenGroup::open(store, topic, group, Mode::Write, job)?, flusher)
    }

    /// Settles in a group that is open.
    pub(in crate::broker) fn of(group: OpenGroup<'s>, flusher: &'s Flusher) -> Result<GroupSettler<'s>> {
        let members = Members::open(group.journal.files())?;
        Ok(GroupSettler { group, flusher, members })
    }

    /// Tells the group from others.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.group.tag()
    }

    /// Settles what was delivered; the receipts that came late are returned. Written when this
    /// returns, at the topic's level once [`GroupSettler::settle`] has said so.
    pub fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>> {
        let late = self.group.decide(|state, now| {
            let settled = group::ack(state, receipts, now);
            (settled.events, settled.late)
        })?;
        self.start_sync()?;
        Ok(late)
    }

    /// Gives back what was delivered, to be tried again; what has had all its attempts is
    /// dead-lettered for `reason`. Returns the receipts that came late, and how many are dead.
    pub fn nack(
        &mut self,
        receipts: &[Receipt],
        counted: bool,
        delay_ms: Option<u64>,
        reason: &[u8],
    ) -> Result<(Vec<Receipt>, u64)> {
        let nack = Nack { counted, delay_ms, jitter: u64::from_le_bytes(random()) };
        let (late, exhausted) = self.group.decide(|state, now| {
            let settled = group::nack(state, receipts, nack, now);
            (settled.events, (settled.late, settled.exhausted))
        })?;
        let mut dead = 0;
        for key in exhausted {
            dead += u64::from(self.bury(key, None, reason)?);
        }
        self.start_sync()?;
        Ok((late, dead))
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
}
