//! A group as whoever serves many of its consumers has it open: they come by name, ask for records
//! by ID, and hold no lock. All that is decided about them is decided by the rules, and journalled.
//!
//! In a group of order `none` any name may take, and what it takes stays its own until somebody
//! claims it, or until the group's lease has run out since and a member beside it says so
//! ([`group::lapse`]): that it lives nobody knows.
//!
//! | file | job |
//! |---|---|
//! | `take` | records for a consumer: new ones, and those it has |
//! | `settle`, `claim` | acks; entries that change hands, or go back |
//! | `tell` | what is pending |
//! | `members` | consumers of groups whose lanes have owners |
//! | `find` | offsets of IDs, IDs of offsets |
//! | `recent` | those that were read lately |
//! | `place` | how far a group is, as Redis counts it |

mod claim;
mod find;
mod members;
mod place;
mod recent;
mod settle;
mod take;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use self::claim::{Claiming, Scanned};
use self::find::Finder;
pub use self::place::Numbers;
pub use self::take::{Before, Handout, Want};
pub use self::tell::{Asked, Told};
use super::consume::{Ahead, OpenGroup, Picker, create_group_at};
use super::group::{self, GroupState};
use super::{Flusher, GroupSettler};
use crate::codec::group_event::{GroupEvent, GroupSettings};
use crate::error::{Error, Result};
use crate::ids::{ConsumerId, GroupName, Lane, Offset, Place, RecordId, TimestampMs};
use crate::job::Job;
use crate::log::{Log, Mode};
use crate::store::{Store, Topic};

/// A group, open for many.
#[derive(Debug)]
pub struct SharedGroup<'s> {
    settler: GroupSettler<'s>,
    /// Goes forward with the group.
    picker: Picker,
    ahead: Ahead,
    finder: Finder,
    /// What a take offers: kept for its memory.
    fresh: Vec<(Offset, Lane)>,
    fresh_ids: Vec<RecordId>,
    /// When consumers asked last, whether or not they got something: the journal knows the latter.
    asked: HashMap<ConsumerId, TimestampMs>,
    /// Members for whom this process holds the lock, and the client that read last under the name.
    held: HashMap<ConsumerId, u64>,
    looked: Option<Instant>,
}

/// Where a group is to stand.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The first record that is new to it.
    pub place: Place,
    /// The last ID that is not.
    pub last_id: RecordId,
    /// How many records were added up to there, if it is known.
    pub entries_read: Option<u64>,
}

impl Start {
    fn events(&self, keep_pending: bool) -> [GroupEvent; 2] {
        let Start { place, last_id, entries_read } = *self;
        let sought = GroupEvent::Sought { to: place.offset, epoch: place.epoch, keep_pending, entries_read };
        [sought, GroupEvent::Placed { last_id, entries_read }]
    }
}

impl<'s> SharedGroup<'s> {
    /// Makes a group; `false` when there is one.
    pub fn create(
        store: &Store,
        topic: &Topic,
        name: &GroupName,
        settings: &GroupSettings,
        start: &Start,
        job: &Job,
    ) -> Result<bool> {
        create_group_at(store, topic, name, settings, &start.events(false), job)
    }

    /// Opens a group.
    ///
    /// # Errors
    /// [`crate::Error::NameMissing`] when there is no such group.
    pub fn open(
        store: &'s Store,
        flusher: &'s Flusher,
        topic: Arc<Topic>,
        name: &GroupName,
        job: Job,
    ) -> Result<SharedGroup<'s>> {
        let group = OpenGroup::of_topic(store, topic, name, Mode::Write, job)?;
        let log = group.topic().log();
        Ok(SharedGroup {
            picker: Picker::new(log),
            ahead: Ahead::new(log),
            finder: Finder::new(log),
            fresh: Vec::new(),
            fresh_ids: Vec::new(),
            asked: HashMap::new(),
            held: HashMap::new(),
            looked: None,
            settler: GroupSettler::of(group, flusher)?,
        })
    }

    /// The group's state, as of the last look.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        self.settler.group.state()
    }

    /// The group's journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<Log> {
        &self.settler.group.journal.files().journal
    }

    /// Whether it is time for a checkpoint: it takes syncs, so it is for another thread to write.
    pub fn is_checkpoint_due(&mut self) -> bool {
        self.settler.group.journal.is_checkpoint_due()
    }

    fn log(&self) -> &Log {
        self.settler.group.topic.log()
    }

    /// Takes in what others did, and what the topic has lost.
    ///
    /// # Errors
    /// [`crate::Error::NameMissing`] when the group was deleted.
    pub fn look(&mut self) -> Result<()> {
        self.settler.group.check_in_force()?;
        self.settler.group.decide(|_, _| (Vec::new(), ()))?;
        // What was lost is in the group's counters, and no client asks for more.
        self.settler.group.untold.clear();
        Ok(())
    }

    /// The consumer of this name; made if there is none, which the second says.
    pub fn consumer(&mut self, name: &[u8]) -> Result<(ConsumerId, bool)> {
        let found = match self.state().find(name) {
            Some(consumer) => (consumer, false),
            None => self.settler.group.decide(|state, now| {
                let (consumer, events) = group::create(state, name, now);
                let is_new = !events.is_empty();
                (events, (consumer, is_new))
            })?,
        };
        let now = self.settler.group.now();
        self.asked.insert(found.0, now);
        Ok(found)
    }

    /// When a consumer asked for something last.
    #[must_use]
    pub fn asked_at(&self, consumer: ConsumerId) -> Option<TimestampMs> {
        let known = self.state().consumer(consumer).map(|known| known.seen_at);
        known.max(self.asked.get(&consumer).copied())
    }

    /// Ends a consumer; says how many entries were pending for it, which count as settled.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Result<u64> {
        self.settler.group.decide(|state, _| match state.find(name) {
            None => (Vec::new(), 0),
            Some(consumer) => {
                let leased = state.consumer(consumer).map_or(0, |known| known.leased);
                (group::remove(state, consumer), leased)
            }
        })
    }

    /// Sends the group elsewhere. What is pending may stay so where no order is kept.
    pub fn go_to(&mut self, start: &Start, keep_pending: bool) -> Result<()> {
        self.settler.group.decide(|state, _| {
            let Start { place, entries_read, .. } = *start;
            let [_, placed] = start.events(keep_pending);
            (vec![group::seek(state, place.offset, place.epoch, keep_pending, entries_read), placed], ())
        })
    }

    /// Puts settings in force.
    ///
    /// # Errors
    /// [`Error::SettingRefused`] when the order cannot change now.
    pub fn configure(&mut self, settings: &GroupSettings) -> Result<()> {
        let refused = self.settler.group.decide(|state, _| match group::configure(state, settings) {
            Ok(events) => (events, None),
            Err(why) => (Vec::new(), Some(why)),
        })?;
        refused.map_or(Ok(()), |why| Err(Error::SettingRefused { why }))
    }

    /// Stops or resumes deliveries.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        self.settler.group.decide(|state, _| (group::pause(state, paused).into_iter().collect(), ()))
    }
}
