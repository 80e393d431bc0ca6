//! Publishing to one topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Amount, Flusher, Gate, Lag, OpenGroup, Work};
use crate::codec::Batch;
use crate::codec::frame::Packed;
use crate::config::{Durability, LimitSettings, TopicSettings};
use crate::error::{Error, Result};
use crate::ids::{Incarnation, Offset, Place, TopicName};
use crate::job::Job;
use crate::log::{Appended, Mode};
use crate::store::{Counts, Store, Topic};

/// A topic can be deleted under a publisher, and the next one too; at some point it is a fight.
const REOPEN_MAX: usize = 16;

/// How long closing waits for a sync when the time limit is over. Far more than a sync takes, unless
/// the process that is inside one is stopped.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// What a publisher asks for.
#[derive(Clone, Debug)]
pub struct Level {
    /// A level above the topic's; `None` = the topic's.
    pub durability: Option<Durability>,
    /// Whether a missing topic is made.
    pub create: bool,
    /// How long each batch may wait for rate limits; `None` = they do not hold for it.
    pub limit_wait: Option<Duration>,
}

/// Appends to a topic, reopening it when it is deleted meanwhile.
#[derive(Debug)]
pub struct TopicPublisher<'s> {
    store: &'s Store,
    flusher: &'s Flusher,
    name: TopicName,
    level: Level,
    job: Job,
    topic: Option<Arc<Topic>>,
    /// What holds up publishing, and in which generation of the topic's settings.
    gate: (Option<u64>, Gate),
    /// The life of the topic that was published to last.
    life: Option<Incarnation>,
    /// What is written by this publisher, and has to be durable.
    owed: Option<Place>,
    /// Some of it was lost by a sync that failed, which is still to be told.
    has_lost: bool,
    reached: Durability,
}

impl<'s> TopicPublisher<'s> {
    /// Opens the topic.
    ///
    /// # Errors
    /// [`Error::TopicMissing`] when it is not to be made; [`Error::DurabilityLowered`].
    pub fn open(store: &'s Store, flusher: &'s Flusher, name: &TopicName, level: Level, job: Job) -> Result<TopicPublisher<'s>> {
        let mut publisher = TopicPublisher {
            store,
            flusher,
            name: name.clone(),
            level,
            job,
            topic: None,
            gate: (None, Gate::free()),
            life: None,
            owed: None,
            has_lost: false,
            reached: Durability::None,
        };
        let topic = publisher.topic()?;
        publisher.level_of(&topic.settings()?.0)?;
        Ok(publisher)
    }

    fn topic(&mut self) -> Result<Arc<Topic>> {
        if let Some(topic) = &self.topic {
            return Ok(Arc::clone(topic));
        }
        let topic = if self.level.create {
            self.store.topic_or_new(&self.name, &self.job)?
        } else {
            self.store.topic(&self.name, Mode::Write, &self.job)?
        };
        self.take_up(Arc::clone(&topic));
        Ok(topic)
    }

    /// Goes on with a topic that was opened, perhaps anew: if it is another one by now, what was owed
    /// went with the one before.
    fn take_up(&mut self, topic: Arc<Topic>) {
        let life = Some(topic.log().incarnation());
        if self.life != life {
            (self.life, self.owed, self.has_lost) = (life, None, false);
        }
        self.topic = Some(topic);
        self.gate = (None, Gate::free());
    }

    fn level_of(&self, settings: &TopicSettings) -> Result<Durability> {
        match self.level.durability {
            Some(asked) if asked < settings.durability => Err(Error::DurabilityLowered { asked, level: settings.durability }),
            Some(asked) => Ok(asked),
            None => Ok(settings.durability),
        }
    }

    /// Appends a batch: written when this returns, not yet at its level.
    pub fn publish(&mut self, batch: &Batch<'_>, expect: Option<Offset>) -> Result<(Appended, Durability)> {
        for _ in 0..REOPEN_MAX {
            let topic = self.topic()?;
            match self.publish_to(&topic, batch, expect) {
                Err(Error::TopicGone { .. }) => self.topic = None,
                other => return other,
            }
        }
        Err(Error::TopicGone { path: self.store.path().to_owned() })
    }

    fn publish_to(&mut self, topic: &Arc<Topic>, batch: &Batch<'_>, expect: Option<Offset>) -> Result<(Appended, Durability)> {
        let (settings, _) = topic.settings()?;
        let level = self.level_of(&settings)?;
        if batch.record_bytes_max > settings.record_bytes_max {
            let why = format!(
                "a record of {} bytes is larger than the topic takes (record-bytes-max is {})",
                batch.record_bytes_max, settings.record_bytes_max
            );
            return Err(Error::RecordRefused { why });
        }
        let packed = Packed::records(batch, settings.compression);
        let mut packed = packed.map_err(|why| Error::RecordRefused { why: why.to_string() })?;
        self.pass(topic, &settings, batch)?;
        let began = self.gate.1.notes(Work::Append).then(Instant::now);
        let appended = topic.log().append(&mut packed, batch.ids, expect, &self.job);
        let appended = appended.inspect_err(|_| self.gate.1.give_back())?;
        if let Some(began) = began {
            self.gate.1.note(Work::Append, began.elapsed());
        }
        self.reached = level;
        if let Some(owed) = self.owed
            && owed.epoch != appended.epoch
            && topic.log().clamp(owed)? < owed.offset
        {
            self.has_lost = true;
        }
        if level > Durability::None {
            self.owed = Some(appended.end_place());
        }
        if appended.rolled {
            self.flusher.keep(self.store, topic);
        }
        if level == Durability::Async {
            self.flusher.order(topic.log(), Instant::now() + settings.flush_interval);
        }
        Ok((appended, level))
    }

    /// Waits, or not, until the rate limits let the batch through.
    fn pass(&mut self, topic: &Arc<Topic>, settings: &TopicSettings, batch: &Batch<'_>) -> Result<()> {
        let Some(mut patience) = self.level.limit_wait else { return Ok(()) };
        self.renew_gate(topic, &settings.limit)?;
        let mut generation = self.gate.0;
        if self.gate.1.is_free() {
            return Ok(());
        }
        self.gate.1.adapt(|| slowest_group(self.store, topic))?;
        let amount = Amount { records: u64::from(batch.count), bytes: batch.body_bytes() as u64 };
        loop {
            let began = Instant::now();
            let is_changed = || Some(topic.log().settings_generation()) != generation;
            let stop = || if is_changed() { Err(Error::Stopped) } else { self.job.check() };
            // What is written already does not wait for the limit.
            let sync = || order_sync(self.flusher, topic, self.owed, self.reached);
            match self.gate.1.pass_slowly(self.store, amount, patience, sync, stop) {
                Err(Error::Stopped) if is_changed() && !self.job.is_stopped() => {
                    // The limits were changed meanwhile: they are passed anew, as they are now.
                    patience = patience.saturating_sub(began.elapsed());
                    let settings = topic.settings()?.0;
                    self.renew_gate(topic, &settings.limit)?;
                    generation = self.gate.0;
                }
                other => return other,
            }
        }
    }

    /// Takes up limits that were changed.
    fn renew_gate(&mut self, topic: &Topic, settings: &LimitSettings) -> Result<()> {
        let generation = Some(topic.log().settings_generation());
        if self.gate.0 != generation {
            self.gate = (generation, Gate::to_publish(self.store, topic.name(), settings)?);
        }
        Ok(())
    }

    /// The most that passes the limits at once; `None` = any.
    pub fn batch_max(&mut self) -> Result<Option<Amount>> {
        let topic = self.topic()?;
        if self.gate.0 != Some(topic.log().settings_generation()) {
            self.renew_gate(&topic, &topic.settings()?.0.limit)?;
        }
        let gate = &self.gate.1;
        if gate.is_free() || self.level.limit_wait.is_none() {
            return Ok(None);
        }
        let most = |counts| gate.burst(counts).unwrap_or(u64::MAX);
        Ok(Some(Amount { records: most(Counts::Records), bytes: most(Counts::Bytes) }))
    }

    /// Begins a sync of what is written, in the background.
    pub fn start_sync(&mut self) {
        if let Some(topic) = &self.topic {
            order_sync(self.flusher, topic, self.owed, self.reached);
        }
    }

    /// Waits until all that was published is at its level.
    pub fn settle(&mut self) -> Result<()> {
        if self.reached == Durability::Sync { self.sync(&self.job.clone()) } else { Ok(()) }
    }

    fn sync(&mut self, job: &Job) -> Result<()> {
        for _ in 0..REOPEN_MAX {
            let Some(owed) = self.owed else { return Ok(()) };
            let topic = match &self.topic {
                Some(topic) => Arc::clone(topic),
                None => match self.store.topic(&self.name, Mode::Write, job) {
                    // Deleted since: nobody has promised to keep it.
                    Err(Error::TopicMissing { .. }) => {
                        self.owed = None;
                        return Ok(());
                    }
                    other => {
                        self.take_up(other?);
                        continue;
                    }
                },
            };
            if std::mem::take(&mut self.has_lost) {
                return Err(Error::Poisoned { path: topic.log().path().to_owned() });
            }
            let began = Instant::now();
            match topic.log().sync_to(owed, job) {
                Ok(()) => {
                    self.gate.1.note(Work::Sync, began.elapsed());
                    self.owed = None;
                    return Ok(());
                }
                // Deleted, or its files are reached by another page by now.
                Err(Error::TopicGone { .. }) => self.topic = None,
                Err(error) => return Err(error),
            }
        }
        Err(Error::TopicGone { path: self.store.path().to_owned() })
    }

    /// Settles, syncs what `async` still owes, and notes in the log that it is complete.
    pub fn close(&mut self) -> Result<()> {
        // A little beyond the time limit too: what was done until then is kept, and a sync that runs
        // already tells whether it is.
        match self.sync(&self.job.clone()) {
            Err(Error::TimedOut) => self.sync(&Job::with_limit(Some(CLOSE_LIMIT)))?,
            other => other?,
        }
        if self.reached > Durability::None
            && let Some(topic) = &self.topic
        {
            // Evidence for a later recovery, not a promise: what hinders it here hurts nobody.
            let _ = topic.log().mark(&self.job);
        }
        Ok(())
    }
}

/// Has what is owed at `sync` synced in the background.
fn order_sync(flusher: &Flusher, topic: &Topic, owed: Option<Place>, reached: Durability) {
    if owed.is_some() && reached == Durability::Sync {
        flusher.order(topic.log(), Instant::now());
    }
}

/// How far the group of a topic is behind that is the furthest.
pub fn slowest_group(store: &Store, topic: &Topic) -> Result<Lag> {
    let mut slowest = Lag::default();
    for name in store.list_groups(topic)? {
        // One that was deleted since, or that does not open, holds nobody up.
        let Ok(group) = OpenGroup::open(store, topic.name(), &name, Mode::Read, Job::new()) else { continue };
        let (records, ms) = group.lag(store.clock().now())?;
        slowest = Lag { records: slowest.records.max(records), ms: slowest.ms.max(ms) };
    }
    Ok(slowest)
}
