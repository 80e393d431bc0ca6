//! A group as this process has it open: its topic, its journal, and decisions in its newest state.

use std::sync::Arc;

use crate::broker::group::{self, GroupState};
use crate::broker::journal::Journal;
use crate::codec::group_event::{GroupEvent, GroupSettings};
use crate::error::{Error, Result};
use crate::ids::{GroupName, Offset, Place, TimestampMs, TopicName};
use crate::job::Job;
use crate::log::{GapReason, LogGap, LogReader, Mode, Step};
use crate::store::{Store, Topic};

/// A group, open.
#[derive(Debug)]
pub struct OpenGroup<'s> {
    pub(in crate::broker) store: &'s Store,
    pub(in crate::broker) topic: Arc<Topic>,
    pub(in crate::broker) journal: Journal,
    pub(in crate::broker) job: Job,
    /// What the topic lost under the group, and nobody was told yet.
    pub(in crate::broker) untold: Vec<LogGap>,
}

/// Makes a group that begins at `from`; `false` when there is one.
pub fn create_group(
    store: &Store,
    topic: &Topic,
    name: &GroupName,
    settings: &GroupSettings,
    from: Place,
    job: &Job,
) -> Result<bool> {
    let place = GroupEvent::Sought { to: from.offset, epoch: from.epoch, keep_pending: false, entries_read: None };
    create_group_at(store, topic, name, settings, &[place], job)
}

/// Makes a group whose place these events say.
pub(in crate::broker) fn create_group_at(
    store: &Store,
    topic: &Topic,
    name: &GroupName,
    settings: &GroupSettings,
    place: &[GroupEvent],
    job: &Job,
) -> Result<bool> {
    let mut first = Vec::new();
    GroupEvent::Configured(settings.clone()).encode(&mut first);
    place.iter().for_each(|event| event.encode(&mut first));
    store.create_group(topic, name, &first, job)
}

impl<'s> OpenGroup<'s> {
    /// How far the group is behind the high watermark: in records, and how old the first of them is, in ms.
    pub fn lag(&self, now: TimestampMs) -> Result<(u64, u64)> {
        let log = self.topic.log();
        let (from, high) = (self.journal.state().committed().offset, log.high_watermark());
        let lag = high.since(from);
        let mut reader = LogReader::new(from, log.epoch());
        let mut scratch = Vec::new();
        loop {
            match reader.step(log, high)? {
                Step::Frame { frame, from, until } => {
                    let Ok(records) = frame.records_in(&mut scratch, from, until) else { continue };
                    if let Some(first) = records.flatten().next() {
                        return Ok((lag, now.0.saturating_sub(first.id.ms)));
                    }
                }
                // Trimmed, deleted or damaged: the next one counts.
                Step::Gap(_) => {}
                Step::CaughtUp => return Ok((lag, 0)),
            }
        }
    }

    /// Opens a group; for reading it is looked at as it is, whatever its topic has become since.
    ///
    /// # Errors
    /// [`Error::NameMissing`] when there is no such group.
    pub fn open(store: &'s Store, topic: &TopicName, group: &GroupName, mode: Mode, job: Job) -> Result<OpenGroup<'s>> {
        let topic = store.topic(topic, mode, &job)?;
        OpenGroup::of_topic(store, topic, group, mode, job)
    }

    /// Opens a group of a topic that is open.
    pub(in crate::broker) fn of_topic(
        store: &'s Store,
        topic: Arc<Topic>,
        group: &GroupName,
        mode: Mode,
        job: Job,
    ) -> Result<OpenGroup<'s>> {
        let journal = Journal::open(store.group(&topic, group, mode, &job)?)?;
        Ok(OpenGroup { store, topic, journal, job, untold: Vec::new() })
    }

    /// The group's state, as of the last look.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        self.journal.state()
    }

    /// Tells this group from others, also from those that had its name before.
    #[must_use]
    pub fn tag(&self) -> u32 {
        let [a, b, c, d, ..] = self.journal.files().journal.incarnation().0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The topic it reads.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Writes a checkpoint of its state, unless somebody else is at it.
    pub fn write_checkpoint(&mut self) -> Result<()> {
        self.journal.write_checkpoint(&self.job)
    }

    pub(in crate::broker) fn now(&self) -> TimestampMs {
        self.store.clock().now()
    }

    /// Puts settings in force, durably.
    ///
    /// # Errors
    /// [`Error::SettingRefused`] when the order cannot change now.
    pub fn configure(&mut self, settings: &GroupSettings) -> Result<()> {
        let refused = self.decide(|state, _| match group::configure(state, settings) {
            Ok(events) => (events, None),
            Err(why) => (Vec::new(), Some(why)),
        })?;
        match refused {
            Some(why) => Err(Error::SettingRefused { why }),
            None => self.sync(),
        }
    }

    /// Stops or resumes deliveries, durably.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        self.decide(|state, _| (group::pause(state, paused).into_iter().collect(), ()))?;
        self.sync()
    }

    /// Sends the group to another place, durably; what is pending is dropped.
    pub fn seek(&mut self, to: Offset) -> Result<()> {
        let epoch = self.topic.log().epoch();
        self.decide(|state, _| (vec![group::seek(state, to, epoch, false, None)], ()))?;
        self.sync()
    }

    /// Says to the group which topic holds its dead letters now.
    pub(in crate::broker) fn find_letters_in(&mut self, letters: &Topic) -> Result<()> {
        let incarnation = letters.log().incarnation();
        self.decide(|state, _| (group::find_letters_in(state, incarnation).into_iter().collect(), ()))
    }

    pub(in crate::broker) fn sync(&self) -> Result<()> {
        let journal = &self.journal.files().journal;
        journal.sync_to(journal.end_place(), &self.job)
    }

    /// Has the rules decide in the newest state, writes down what they decided, and folds it. What
    /// `decide` is told the topic has become comes first.
    pub(in crate::broker) fn decide<R>(
        &mut self,
        decide: impl FnMut(&GroupState, TimestampMs) -> (Vec<GroupEvent>, R),
    ) -> Result<R> {
        let decided = self.decide_and_commit(decide);
        decided.map_err(|error| self.name_what_is_gone(error))
    }

    /// Whether the group or its topic was deleted.
    pub(in crate::broker) fn check_in_force(&self) -> Result<()> {
        self.journal.check_in_force().map_err(|error| self.name_what_is_gone(error))
    }

    /// The journal goes with the topic, or alone.
    fn name_what_is_gone(&self, error: Error) -> Error {
        match error {
            Error::TopicGone { .. } if self.topic.log().is_gone().is_ok_and(|gone| !gone) => {
                let name = String::from_utf8_lossy(self.journal.files().name().as_bytes()).into_owned();
                Error::NameMissing { kind: "group", name }
            }
            other => other,
        }
    }

    fn decide_and_commit<R>(&mut self, mut decide: impl FnMut(&GroupState, TimestampMs) -> (Vec<GroupEvent>, R)) -> Result<R> {
        loop {
            self.journal.catch_up()?;
            if self.journal.restart(&self.job)? {
                continue;
            }
            if let Some(event) = self.follow_topic()? {
                let before = self.journal.state().committed().offset;
                if self.journal.commit(std::slice::from_ref(&event), &self.job)?.is_some() {
                    self.untold.extend(gap_of(&event, before));
                }
                continue;
            }
            let (events, result) = decide(self.journal.state(), self.now());
            if events.is_empty() || self.journal.commit(&events, &self.job)?.is_some() {
                return Ok(result);
            }
        }
    }

    /// What the topic has lost since the group last looked.
    fn follow_topic(&self) -> Result<Option<GroupEvent>> {
        let (log, state) = (self.topic.log(), self.journal.state());
        let (epoch, known) = (log.epoch(), state.committed().epoch);
        if epoch > known {
            let to = log.clamp(Place { offset: Offset(u64::MAX), epoch: known })?;
            return Ok(group::clamp(state, to, epoch));
        }
        Ok(group::expire(state, log.log_start()))
    }
}

/// What an event about the topic means for a group that stood at `before`.
fn gap_of(event: &GroupEvent, before: Offset) -> Option<LogGap> {
    let (from, until, reason) = match event {
        GroupEvent::Expired { below } => (before, *below, GapReason::Expired),
        GroupEvent::Clamped { to, .. } => (*to, before, GapReason::Rewound),
        _ => return None,
    };
    (from < until).then_some(LogGap { from, until, reason })
}
