//! What stores topics. The commands talk to these traits and to nothing below them, so that they
//! work the same on the embedded log and, later, on a Redis or NATS server.

mod embedded;
mod embedded_group;
pub mod position;
mod receipt;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use crate::codec::group_event::GroupSettings;
use crate::codec::{Batch, Record, Records};
use crate::config::{Durability, LimitOf, LimitSettings, Overrides, TopicSettings};
use crate::error::Result;
use crate::ids::{Epoch, GroupName, Offset, Place, RecordId, TopicName};
use crate::job::Job;

pub use crate::broker::dead_letters::{self, DeadLetter};
pub use crate::broker::group::{Delivery, Hold, Receipt};
pub use crate::broker::{Amount, Joining};
pub use embedded::{Embedded, OpenOptions};
pub use position::Position;
pub use receipt::GroupReceipt;
pub use upkeep::{Kept, Upkeep};

/// A place where topics live.
pub trait Engine {
    /// Opens a topic for publishing. A missing one is created, unless `options` say otherwise.
    fn publisher(&self, topic: &TopicName, options: &PublishOptions) -> Result<Box<dyn Publisher + '_>>;

    /// Opens topics for reading, merged in ID order. A missing one is [`crate::Error::TopicMissing`].
    /// Every topic is set to read from its log start and to follow for ever.
    fn feed(&self, topics: &[TopicName], job: &Job) -> Result<Box<dyn Feed + '_>>;

    /// Makes a topic; an existing one is [`crate::Error::TopicExists`].
    fn create_topic(&self, topic: &TopicName, settings: &Overrides) -> Result<()>;

    /// Changes settings of a topic; `(name, "")` puts that one back to the default.
    fn configure_topic(&self, topic: &TopicName, changes: &[(String, String)], job: &Job) -> Result<()>;

    /// Changes a rate limit; `(name, "")` takes that setting back.
    fn set_limit(&self, of: &LimitOf, changes: &[(String, String)], job: &Job) -> Result<()> {
        let _ = (of, changes, job);
        no_limits()
    }

    /// Everything that is limited, and how.
    fn limits(&self) -> Result<Vec<(LimitOf, LimitSettings)>> {
        no_limits()
    }

    /// Removes a topic and all its records.
    fn delete_topic(&self, topic: &TopicName, job: &Job) -> Result<()>;

    /// Removes all records below `before`.
    fn trim_topic(&self, topic: &TopicName, before: Offset, job: &Job) -> Result<Trimmed>;

    /// Does to a topic what its settings say of retention and compaction. Puts into `kept` what it did, also where it
    /// fails then.
    fn keep_topic(&self, topic: &TopicName, how: Upkeep, kept: &mut Kept, job: &Job) -> Result<()> {
        let _ = (topic, how, kept, job);
        Err(crate::Error::Unsupported { what: "this engine keeps its topics itself".to_owned() })
    }

    /// The names of all topics, sorted bytewise.
    fn topics(&self) -> Result<Vec<TopicName>>;

    /// What is in force for a topic, and which of it differs from the defaults.
    fn settings(&self, topic: &TopicName) -> Result<(TopicSettings, Overrides)>;

    /// Opens the durable cursor `name` on a topic for this process alone; a cursor that another
    /// process holds is [`crate::Error::Busy`].
    fn cursor(&self, name: &[u8], topic: &TopicName) -> Result<Box<dyn Cursor>>;

    /// Makes a group of a topic, which begins at `from`, an offset of the topic's epoch; `false` when
    /// there is one of this name.
    fn create_group(
        &self,
        topic: &TopicName,
        group: &GroupName,
        settings: &GroupSettings,
        from: Offset,
        job: &Job,
    ) -> Result<bool> {
        let _ = (topic, group, settings, from, job);
        no_groups()
    }

    /// How a group is set and where it stands; a missing one is [`crate::Error::NameMissing`].
    fn group(&self, topic: &TopicName, group: &GroupName) -> Result<GroupInfo> {
        let _ = (topic, group);
        no_groups()
    }

    /// The names of a topic's groups, sorted bytewise.
    fn groups(&self, topic: &TopicName) -> Result<Vec<GroupName>> {
        let _ = topic;
        no_groups()
    }

    /// Changes a group.
    fn change_group(&self, topic: &TopicName, group: &GroupName, change: &GroupChange, job: &Job) -> Result<()> {
        let _ = (topic, group, change, job);
        no_groups()
    }

    /// Removes a group, and what it knows.
    fn delete_group(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<()> {
        let _ = (topic, group, job);
        no_groups()
    }

    /// Hands out the pending entries of a group, by offset, those of the topic first, while `each` says
    /// to go on.
    fn pending(&self, topic: &TopicName, group: &GroupName, each: &mut dyn FnMut(&PendingEntry<'_>) -> bool) -> Result<()> {
        let _ = (topic, group, each);
        no_groups()
    }

    /// Settles what a group delivered, by its receipts.
    fn settler(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<Box<dyn Settler + '_>> {
        let _ = (topic, group, job);
        no_groups()
    }

    /// The dead letters of a group.
    fn dead_letters(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<Box<dyn DeadLetters + '_>> {
        let _ = (topic, group, job);
        no_groups()
    }

    /// Joins a group.
    fn consumer(&self, topic: &TopicName, group: &GroupName, how: &Joining<'_>) -> Result<Box<dyn Consumer + '_>> {
        let _ = (topic, group, how);
        no_groups()
    }
}

fn no_limits<T>() -> Result<T> {
    Err(crate::Error::Unsupported { what: "this engine has no rate limits".to_owned() })
}

fn no_groups<T>() -> Result<T> {
    Err(crate::Error::Unsupported { what: "this engine has no consumer groups".to_owned() })
}

/// How a publisher wants its records stored.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// A level above the topic's; `None` = the topic's.
    pub durability: Option<Durability>,
    /// Whether a missing topic is created.
    pub create: bool,
    /// How long a batch may wait for the rate limits; zero = it is refused at once.
    pub limit_wait: Duration,
    /// Stops waits and long work.
    pub job: Job,
}

/// Appends to one topic. A topic that is deleted under it is opened (or created) anew.
pub trait Publisher {
    /// Appends a batch: written when this returns, but not yet at its level; see
    /// [`Publisher::settle`]. With `expect`, only if that is the next offset.
    ///
    /// # Errors
    /// [`crate::Error::Limited`]: nothing of it was appended. A batch larger than [`Publisher::batch_max`] goes as soon as
    /// a smaller one might that takes all there is, and keeps the next one waiting for longer.
    fn publish(&mut self, batch: &Batch<'_>, expect: Option<Offset>) -> Result<Published>;

    /// The most that the rate limits let through at once; `None` = any.
    fn batch_max(&mut self) -> Result<Option<Amount>> {
        Ok(None)
    }

    /// Begins to make durable what has been published, in the background, without waiting.
    fn start_sync(&mut self) -> Result<()>;

    /// Waits until every record published so far is stored at the publisher's level. At `async`
    /// that is at once, the background flush follows; at `none` there is nothing to wait for.
    fn settle(&mut self) -> Result<()>;

    /// Settles; at `async` it also syncs, as a normal exit does. Call it before dropping.
    fn close(&mut self) -> Result<()>;
}

/// What a publish did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The offset of the first record.
    pub first: Offset,
    /// The ID of the first record; the following ones rise by 1 in `seq` when IDs are assigned.
    pub first_id: RecordId,
    /// How many records.
    pub count: u32,
    /// The level they have once [`Publisher::settle`] has returned.
    pub level: Durability,
}

/// Reads one or more topics, merged in ID order (ties by the order in which they were named; the
/// commands name them sorted).
pub trait Feed {
    /// The topics, in the order that the indexes below count.
    fn topics(&self) -> &[TopicName];

    /// Where the topic begins and ends now.
    fn bounds(&mut self, topic: usize) -> Result<Bounds>;

    /// The first offset whose record's ID is not below `id`; the end if there is none.
    fn find(&mut self, topic: usize, id: RecordId) -> Result<Offset>;

    /// The committed offset of a group of the topic.
    fn committed(&mut self, topic: usize, group: &[u8]) -> Result<Offset> {
        let _ = topic;
        Err(crate::Error::NameMissing { kind: "group", name: String::from_utf8_lossy(group).into_owned() })
    }

    /// From where the topic is read next. An offset below the log start is read as a gap.
    fn seek(&mut self, topic: usize, from: Offset) -> Result<()>;

    /// As [`Feed::seek`], from a stored place: clamped to the start of an epoch that is later than
    /// the place's and starts at or below it. `Some` tells what was clamped.
    fn resume(&mut self, topic: usize, place: Place) -> Result<Option<Gap>>;

    /// Where to stop (exclusive); `None` = follow for ever.
    fn stop_at(&mut self, topic: usize, until: Option<Offset>);

    /// The place after the last record that [`Feed::next`] handed out.
    fn place(&self, topic: usize) -> Place;

    /// From now on what is read counts against the rate limit of this name; without one, against that of all who have
    /// none.
    fn limit_as(&mut self, reader: &[u8]) {
        let _ = reader;
    }

    /// The next records, of one topic, in merge order. What is lent is counted as read.
    fn next(&mut self) -> Result<Next<'_>>;

    /// Sleeps until there may be more to read, the [`Waker`] is used, or `at_most` has passed.
    fn wait(&mut self, at_most: Duration) -> Result<()>;

    /// Ends a running [`Feed::wait`] from another thread.
    fn waker(&self) -> Arc<dyn Waker>;
}

/// Ends a wait from outside.
pub trait Waker: Send + Sync {
    /// The running wait returns, or the next one does at once.
    fn wake(&self);
}

/// What [`Feed::next`] found.
#[derive(Debug)]
pub enum Next<'a> {
    /// Records of one topic.
    Records {
        /// Which one.
        topic: usize,
        /// They.
        records: Records<'a>,
    },
    /// Offsets that hold no record any more.
    Gap {
        /// Of which topic.
        topic: usize,
        /// Which offsets, and why.
        gap: Gap,
    },
    /// There is something to read, but a rate limit allows it only after this time.
    Limited(Duration),
    /// Nothing to read now, but at least one topic is followed.
    CaughtUp,
    /// Every topic has been read to where it was to stop.
    End,
}

/// Offsets that a reader does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub from: Offset,
    /// The first after them.
    pub until: Offset,
    /// Why.
    pub cause: GapCause,
}

/// Why offsets hold no record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// Retention or a trim removed them.
    Expired,
    /// Their bytes are not what was written.
    Damaged {
        /// The file.
        path: std::path::PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// They were deleted, one by one.
    Deleted,
    /// Damaged records that `verify --repair` gave up.
    GivenUp,
    /// A crash lost records after this reader had seen them, and their offsets are used anew:
    /// reading goes back to `from`, up to `until` had been read before.
    Rewound,
}

/// Where a topic begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset kept.
    pub start: Offset,
    /// The first offset that a reader may not see (high watermark).
    pub end: Offset,
    /// The epoch of the end.
    pub epoch: Epoch,
}

/// What a trim removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The log start before.
    pub from: Offset,
    /// The log start now.
    pub until: Offset,
    /// Whole segments removed.
    pub segments: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// Settles what a group delivered, whoever got it.
pub trait Settler {
    /// What the group's receipts carry, so that no other takes them.
    fn tag(&self) -> u32;

    /// Settles what was delivered; returns the receipts that came late. Written when this returns,
    /// at the topic's level after [`Settler::settle`].
    fn ack(&mut self, receipts: &[Receipt]) -> Result<Vec<Receipt>>;

    /// Gives back what was delivered. Not `counted`: as if it had not been. With `delay` in place of
    /// the group's backoff.
    fn nack(&mut self, receipts: &[Receipt], counted: bool, delay: Option<Duration>, reason: &[u8]) -> Result<Nacked>;

    /// Moves what was delivered to the dead-letter topic; `false` when the receipt came late.
    fn bury(&mut self, receipt: &Receipt, reason: &[u8]) -> Result<bool>;

    /// Waits until all that was acked and nacked is at the topic's level.
    fn settle(&mut self) -> Result<()>;
}

/// What became of entries that were given back.
#[derive(Debug, Default)]
pub struct Nacked {
    /// Receipts that came late: nothing was done.
    pub late: Vec<Receipt>,
    /// Entries that had their last attempt, and are dead letters now.
    pub dead: u64,
}

/// A member of a group at work.
pub trait Consumer: Settler {
    /// Takes up to `count` records and hands each out, those that are tried again first. With
    /// `no_ack` they are settled by that.
    fn take(&mut self, count: usize, no_ack: bool, each: &mut dyn FnMut(&Delivery, &Record<'_>)) -> Result<Taken>;

    /// Says that this consumer lives, and takes their work from those that do not. To be called at
    /// least every few seconds; taking and waiting do it too.
    fn beat(&mut self) -> Result<()>;

    /// Sleeps until there may be something to take, for a twentieth of a second at most.
    fn wait(&mut self) -> Result<()>;

    /// Whether the group has settled all that is in the topic now.
    fn is_drained(&mut self) -> Result<bool>;

    /// Settles, and leaves the group: what is held goes to others at once.
    fn leave(&mut self) -> Result<()>;
}

/// What a [`Consumer::take`] came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// How many records were handed out.
    pub count: usize,
    /// None were, for a rate limit does not allow it yet. [`Consumer::wait`] waits until it does.
    pub is_limited: bool,
    /// Offsets that the group will never get.
    pub gaps: Vec<Gap>,
    /// Entries that had their last attempt, and are dead letters now.
    pub dead: u64,
}

/// The dead letters of one group, which its topic's groups share a topic for.
pub trait DeadLetters {
    /// Hands out those that the group is not done with, by offset, while `each` says to go on; and
    /// tells which offsets of the dead-letter topic cannot be read.
    fn read(&mut self, each: &mut dyn FnMut(&DeadLetter, &Record<'_>) -> bool) -> Result<Vec<Gap>>;

    /// Gives letters back to the group, and to no other, durably. Says how many were not being tried
    /// again already.
    fn retry(&mut self, letters: &[DeadLetter]) -> Result<u64>;

    /// Is done with letters, durably; says with how many. Their records stay.
    fn drop_letters(&mut self, letters: &[Offset]) -> Result<u64>;
}

/// A record that was delivered and is not settled.
#[derive(Clone, Copy, Debug)]
pub struct PendingEntry<'a> {
    /// Which delivery of which record.
    pub receipt: GroupReceipt,
    /// Whether a consumer works on it, it waits for its next delivery, or it is on its way to the
    /// dead letters.
    pub hold: Hold,
    /// Who has it, or had it last.
    pub consumer: Option<&'a [u8]>,
    /// Deliveries that count.
    pub attempts: u32,
    /// How long ago it was delivered, or, if it waits, given back, in ms.
    pub idle_ms: u64,
    /// If it waits: in how many ms it may be delivered again.
    pub due_ms: Option<u64>,
}

/// A change of a group.
#[derive(Clone, Debug)]
pub enum GroupChange {
    /// Other settings.
    Settings(GroupSettings),
    /// Another place; what is pending is dropped.
    Seek(Offset),
    /// No deliveries any more.
    Pause,
    /// Deliveries again.
    Resume,
}

/// How a group is set, and where it stands.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// Its settings.
    pub settings: GroupSettings,
    /// Everything below is settled.
    pub committed: Place,
    /// Records up to the high watermark that nobody got yet; where lanes stand apart, at most.
    pub undelivered: u64,
    /// Entries delivered and not settled, or waiting to be delivered again.
    pub pending: u64,
    /// Records from the committed offset to the high watermark.
    pub lag: u64,
    /// How old the first record that is not settled is, in ms; 0 when there is none.
    pub lag_ms: u64,
    /// Deliveries a second in the last minute.
    pub rate: f64,
    /// Since when the entry is pending that was delivered or given back first, in ms; 0 when there is none.
    pub oldest_pending_ms: u64,
    /// Records delivered for the first time.
    pub delivered: u64,
    /// Deliveries of records that had been delivered before.
    pub redelivered: u64,
    /// Entries that were settled by an ack.
    pub acked: u64,
    /// Entries that became dead letters.
    pub dead: u64,
    /// Its consumers.
    pub consumers: Vec<ConsumerInfo>,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is a member now.
    pub is_member: bool,
    /// Entries that it holds.
    pub pending: u64,
    /// How many lanes it owns.
    pub lanes: u64,
    /// Since when it has got nothing, in ms; `None` = it never got anything.
    pub idle_ms: Option<u64>,
}

/// A stored place that belongs to a name.
pub trait Cursor {
    /// The stored place; `None` when the cursor is new, expired, or belongs to an earlier topic of
    /// the same name.
    fn load(&mut self) -> Result<Option<Place>>;

    /// Stores a place, so that it survives a crash of this process.
    fn save(&mut self, place: Place) -> Result<()>;
}
