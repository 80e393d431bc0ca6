//! What happened in a consumer group, as bytes: the records of its journal.
//!
//! ```text
//! event    = kind (one byte), then its fields in the order in which the enum lists them
//! number   = varint; a consumer, a time (ms), an offset, an epoch and a lane are numbers
//! bytes    = count, bytes
//! option   = 0, or 1 and the value
//! entries  = runs in the topic, runs in the dead-letter topic   (codec/runs.rs)
//! lanes    = count, then per run of lanes: gap from the end of the one before, length - 1, consumer
//! ```
//!
//! Events stand back to back: a batch of them is one frame of the journal. A delivery of 100
//! consecutive records takes about 15 bytes, and so does their ack.

mod wire;

use std::fmt;
use std::num::NonZeroU32;

use self::wire::{Reader, Writer};
use super::Runs;
use crate::ids::{ConsumerId, Epoch, Incarnation, Lane, Offset, Place, RecordId, TimestampMs};

/// Who may get what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Order {
    /// Any consumer gets the next record.
    None,
    /// Records of one key go to one consumer at a time, in order.
    Key,
    /// One consumer at a time works, others stand by.
    Topic,
}

/// How lanes are dealt to consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Assign {
    /// Each gets one stretch of lanes.
    Range,
    /// Lanes are dealt in turn.
    RoundRobin,
    /// As few lanes as possible change hands.
    Sticky,
    /// A lane's owner follows from the lane and the members alone.
    ConsistentHash,
}

/// The settings of a group, as they are in force.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GroupSettings {
    /// Who may get what.
    pub order: Order,
    /// How lanes are dealt to consumers.
    pub assign: Assign,
    /// How long a consumer may be silent before what it holds is given to others.
    pub lease_ms: u64,
    /// Deliveries before an entry is dead-lettered; `None` = for ever.
    pub attempts_max: Option<NonZeroU32>,
    /// The first pause before a retry.
    pub backoff_min_ms: u64,
    /// The longest pause before a retry.
    pub backoff_max_ms: u64,
    /// Delivered is settled: at most once.
    pub no_ack: bool,
    /// Nothing is delivered until the group is resumed.
    pub paused: bool,
}

/// Where the record of a pending entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// In the group's topic.
    Topic,
    /// In the group's dead-letter topic: a dead letter that is tried again.
    DeadLetter,
}

/// How a process works under a consumer's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manner {
    /// The name was made up for it: the consumer goes once it is no member and holds nothing.
    pub is_passing: bool,
    /// Somebody else settles what it gets: that it lives renews no lease.
    pub is_manual: bool,
}

/// What a pending entry is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct EntryKey {
    /// Which topic.
    pub source: Source,
    /// Which record of it.
    pub offset: Offset,
}

impl EntryKey {
    /// A record of the group's topic.
    #[must_use]
    pub fn topic(offset: Offset) -> EntryKey {
        EntryKey { source: Source::Topic, offset }
    }
}

/// Pending entries of both sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// In the group's topic.
    pub topic: Runs,
    /// In its dead-letter topic.
    pub dead_letter: Runs,
}

impl Entries {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.topic.count() + self.dead_letter.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The runs of one source.
    #[must_use]
    pub fn of(&self, source: Source) -> &Runs {
        match source {
            Source::Topic => &self.topic,
            Source::DeadLetter => &self.dead_letter,
        }
    }

    /// Every one: first the topic's, rising.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = EntryKey> {
        let of = |source| self.of(source).iter().map(move |offset| EntryKey { source, offset });
        of(Source::Topic).chain(of(Source::DeadLetter))
    }
}

impl FromIterator<EntryKey> for Entries {
    fn from_iter<T: IntoIterator<Item = EntryKey>>(keys: T) -> Entries {
        let mut dead_letters = Vec::new();
        let topic = keys.into_iter().filter_map(|key| match key.source {
            Source::Topic => Some(key.offset),
            Source::DeadLetter => {
                dead_letters.push(key.offset);
                None
            }
        });
        let topic = topic.collect();
        Entries { topic, dead_letter: dead_letters.into_iter().collect() }
    }
}

/// What a delivery does to an entry's delivery count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// One more.
    Add,
    /// As it was.
    Keep,
    /// This many.
    Set(u32),
    /// One less.
    Undo,
}

impl Count {
    /// What a count becomes.
    #[must_use]
    pub fn of(self, before: u32) -> u32 {
        match self {
            Count::Add => before.saturating_add(1),
            Count::Keep => before,
            Count::Set(count) => count,
            Count::Undo => before.saturating_sub(1),
        }
    }
}

/// Something that happened. The state of a group is the fold of these and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are told by the variants' words")]
pub enum GroupEvent {
    /// These settings are in force.
    Configured(GroupSettings),
    /// A consumer exists, without being a member yet.
    Created { consumer: ConsumerId, at: TimestampMs, name: Box<[u8]> },
    /// It is a member: lanes may be assigned to it. Said again when a new process takes up its name.
    Joined { consumer: ConsumerId, at: TimestampMs, manner: Manner },
    /// It is a member no longer. What it holds stays leased until it lapses.
    Left { consumer: ConsumerId, at: TimestampMs },
    /// It exists no longer, and what it held counts as settled.
    Removed { consumer: ConsumerId },
    /// These lanes belong to these consumers from the moment in which nothing of them is leased.
    Assigned { lanes: Vec<(Lane, ConsumerId)> },
    /// Records were delivered for the first time. `lanes` names the lane of each, or is empty in a
    /// group of one lane; `settled` = delivered without asking for an ack.
    Delivered { consumer: ConsumerId, at: TimestampMs, settled: bool, offsets: Runs, lanes: Vec<Lane> },
    /// The consumer has seen `[from, to)`: its lanes that had reached `from` have nothing more there.
    Scanned { consumer: ConsumerId, from: Offset, to: Offset },
    /// Pending entries were delivered again, to whomever; those that were not pending are now.
    Redelivered { consumer: ConsumerId, at: TimestampMs, count: Count, entries: Entries },
    /// Entries were settled.
    Acked { at: TimestampMs, entries: Entries },
    /// Leased entries were given back, to be delivered again after a pause. Not `counted`: the
    /// delivery counts as not made. Where order is kept, the lane's later leased entries are given
    /// back too, uncounted.
    GivenBack { at: TimestampMs, delay_ms: u32, counted: bool, entries: Entries },
    /// All that the consumer held was given back, uncounted.
    Released { consumer: ConsumerId, at: TimestampMs },
    /// The entry is going to the dead-letter topic, whose end was `dead_letter_end`: the copy, if it
    /// was made, lies there or beyond.
    DeadIntent { entry: EntryKey, dead_letter_end: Offset, reason: Box<[u8]> },
    /// The entry is in the dead-letter topic.
    Dead { entry: EntryKey },
    /// The group was sent to another place. Unless it keeps them, nothing is pending any more.
    Sought { to: Offset, epoch: Epoch, keep_pending: bool, entries_read: Option<u64> },
    /// Nothing is delivered.
    Paused,
    /// Deliveries go on.
    Resumed,
    /// The topic lost its records from `to` on in a crash, and is in this epoch now.
    Clamped { to: Offset, epoch: Epoch },
    /// The topic has no records below `below` any more.
    Expired { below: Offset },
    /// A dead letter is to be tried again, by this group alone.
    Revived { offset: Offset, lane: Lane, at: TimestampMs },
    /// These dead letters are done with, tried again or not.
    Dropped { letters: Runs },
    /// The dead-letter topic is this one from now on. What was known of letters in another of the
    /// same name is void.
    LettersIn { topic: Incarnation },
    /// The journal has lost events: those in `[from, at)`, or, where the two are one place, some that
    /// a crash took before it. What they said is void, also for those who know it, and what is leased
    /// is given back, uncounted. It stands alone in its batch, at `at`.
    Restarted { from: Offset, at: Place },
    /// The group's place as Redis tells it: nothing up to this ID is new to it any more, and so many
    /// records had been added up to there. Deliveries that tell no ID make it unknown.
    Placed { last_id: RecordId, entries_read: Option<u64> },
    /// Entries were given back, whoever had them, to be delivered again after a pause; those that were
    /// not pending are now. Where order is kept, the lane's later leased entries are given back too,
    /// uncounted.
    HandedBack { at: TimestampMs, delay_ms: u32, count: Count, entries: Entries },
}

/// Why bytes are not events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEvent {
    /// An event that this program does not know: a newer one wrote it.
    UnknownKind(u8),
    /// Bytes that no program wrote.
    Malformed(&'static str),
}

impl fmt::Display for BadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadEvent::UnknownKind(kind) => {
                write!(f, "a group event of kind {kind}, which this drave does not know; use a newer one")
            }
            BadEvent::Malformed(what) => write!(f, "a group event is malformed: {what}"),
        }
    }
}

impl std::error::Error for BadEvent {}

impl GroupEvent {
    /// Appends the bytes of this event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        let mut put = Writer::new(out);
        match self {
            GroupEvent::Configured(settings) => put.settings(settings),
            GroupEvent::Created { consumer, at, name } => put.consumer(*consumer).number(at.0).bytes(name),
            GroupEvent::Joined { consumer, at, manner } => {
                put.consumer(*consumer).number(at.0).flag(manner.is_passing).flag(manner.is_manual)
            }
            GroupEvent::Left { consumer, at } | GroupEvent::Released { consumer, at } => put.consumer(*consumer).number(at.0),
            GroupEvent::Removed { consumer } => put.consumer(*consumer),
            GroupEvent::Assigned { lanes } => put.assignment(lanes),
            GroupEvent::Delivered { consumer, at, settled, offsets, lanes } => {
                put.consumer(*consumer).number(at.0).flag(*settled).runs(offsets).lanes(lanes)
            }
            GroupEvent::Scanned { consumer, from, to } => put.consumer(*consumer).number(from.0).number(to.since(*from)),
            GroupEvent::Redelivered { consumer, at, count, entries } => {
                put.consumer(*consumer).number(at.0).count(*count).entries(entries)
            }
            GroupEvent::Acked { at, entries } => put.number(at.0).entries(entries),
            GroupEvent::GivenBack { at, delay_ms, counted, entries } => {
                put.number(at.0).number(u64::from(*delay_ms)).flag(*counted).entries(entries)
            }
            GroupEvent::DeadIntent { entry, dead_letter_end, reason } => {
                put.entry(*entry).number(dead_letter_end.0).bytes(reason)
            }
            GroupEvent::Dead { entry } => put.entry(*entry),
            GroupEvent::Sought { to, epoch, keep_pending, entries_read } => {
                put.number(to.0).number(epoch.0).flag(*keep_pending).option(*entries_read)
            }
            GroupEvent::Paused | GroupEvent::Resumed => &mut put,
            GroupEvent::Clamped { to, epoch } => put.number(to.0).number(epoch.0),
            GroupEvent::Expired { below } => put.number(below.0),
            GroupEvent::Revived { offset, lane, at } => put.number(offset.0).number(u64::from(lane.0)).number(at.0),
            GroupEvent::Dropped { letters } => put.runs(letters),
            GroupEvent::LettersIn { topic } => put.incarnation(*topic),
            GroupEvent::Restarted { from, at } => put.number(from.0).number(at.offset.0).number(at.epoch.0),
            GroupEvent::HandedBack { at, delay_ms, count, entries } => {
                put.number(at.0).number(u64::from(*delay_ms)).count(*count).entries(entries)
            }
            GroupEvent::Placed { last_id, entries_read } => put.number(last_id.ms).number(last_id.seq).option(*entries_read),
        };
    }

    fn kind(&self) -> u8 {
        match self {
            GroupEvent::Configured(_) => 1,
            GroupEvent::Created { .. } => 2,
            GroupEvent::Joined { .. } => 3,
            GroupEvent::Left { .. } => 4,
            GroupEvent::Removed { .. } => 5,
            GroupEvent::Assigned { .. } => 6,
            GroupEvent::Delivered { .. } => 7,
            GroupEvent::Scanned { .. } => 8,
            GroupEvent::Redelivered { .. } => 9,
            GroupEvent::Acked { .. } => 10,
            GroupEvent::GivenBack { .. } => 11,
            GroupEvent::Released { .. } => 12,
            GroupEvent::DeadIntent { .. } => 13,
            GroupEvent::Dead { .. } => 14,
            GroupEvent::Sought { .. } => 15,
            GroupEvent::Paused => 16,
            GroupEvent::Resumed => 17,
            GroupEvent::Clamped { .. } => 18,
            GroupEvent::Expired { .. } => 19,
            GroupEvent::Revived { .. } => 20,
            GroupEvent::Restarted { .. } => 21,
            GroupEvent::Dropped { .. } => 22,
            GroupEvent::LettersIn { .. } => 23,
            GroupEvent::Placed { .. } => 24,
            GroupEvent::HandedBack { .. } => 25,
        }
    }

    /// Takes one event off the front.
    ///
    /// # Errors
    /// When the bytes end first, or are no event; `bytes` is then somewhere inside it.
    pub fn decode(bytes: &mut &[u8]) -> Result<GroupEvent, BadEvent> {
        let mut take = Reader::new(bytes);
        Ok(match take.byte()? {
            1 => GroupEvent::Configured(take.settings()?),
            2 => GroupEvent::Created { consumer: take.consumer()?, at: take.time()?, name: take.bytes()? },
            3 => {
                let (consumer, at) = (take.consumer()?, take.time()?);
                GroupEvent::Joined { consumer, at, manner: Manner { is_passing: take.flag()?, is_manual: take.flag()? } }
            }
            4 => GroupEvent::Left { consumer: take.consumer()?, at: take.time()? },
            5 => GroupEvent::Removed { consumer: take.consumer()? },
            6 => GroupEvent::Assigned { lanes: take.assignment()? },
            7 => {
                let (consumer, at, settled, offsets) = (take.consumer()?, take.time()?, take.flag()?, take.runs()?);
                GroupEvent::Delivered { consumer, at, settled, lanes: take.lanes(offsets.count())?, offsets }
            }
            8 => {
                let (consumer, from) = (take.consumer()?, take.offset()?);
                GroupEvent::Scanned { consumer, from, to: from.plus(take.number()?) }
            }
            9 => GroupEvent::Redelivered {
                consumer: take.consumer()?,
                at: take.time()?,
                count: take.count()?,
                entries: take.entries()?,
            },
            10 => GroupEvent::Acked { at: take.time()?, entries: take.entries()? },
            11 => GroupEvent::GivenBack {
                at: take.time()?,
                delay_ms: take.small()?,
                counted: take.flag()?,
                entries: take.entries()?,
            },
            12 => GroupEvent::Released { consumer: take.consumer()?, at: take.time()? },
            13 => GroupEvent::DeadIntent { entry: take.entry()?, dead_letter_end: take.offset()?, reason: take.bytes()? },
            14 => GroupEvent::Dead { entry: take.entry()? },
            15 => GroupEvent::Sought {
                to: take.offset()?,
                epoch: Epoch(take.number()?),
                keep_pending: take.flag()?,
                entries_read: take.option()?,
            },
            16 => GroupEvent::Paused,
            17 => GroupEvent::Resumed,
            18 => GroupEvent::Clamped { to: take.offset()?, epoch: Epoch(take.number()?) },
            19 => GroupEvent::Expired { below: take.offset()? },
            20 => GroupEvent::Revived { offset: take.offset()?, lane: take.lane()?, at: take.time()? },
            21 => {
                let (from, offset, epoch) = (take.offset()?, take.offset()?, Epoch(take.number()?));
                GroupEvent::Restarted { from, at: Place { offset, epoch } }
            }
            22 => GroupEvent::Dropped { letters: take.runs()? },
            23 => GroupEvent::LettersIn { topic: take.incarnation()? },
            24 => {
                let last_id = RecordId { ms: take.number()?, seq: take.number()? };
                GroupEvent::Placed { last_id, entries_read: take.option()? }
            }
            25 => GroupEvent::HandedBack {
                at: take.time()?,
                delay_ms: take.small()?,
                count: take.count()?,
                entries: take.entries()?,
            },
            kind => return Err(BadEvent::UnknownKind(kind)),
        })
    }

    /// Reads a batch: all of `bytes`.
    ///
    /// # Errors
    /// When any of it is no event: a batch is taken whole or not at all.
    pub fn decode_batch(mut bytes: &[u8]) -> Result<Vec<GroupEvent>, BadEvent> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            events.push(GroupEvent::decode(&mut bytes)?);
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn consumer() -> impl Strategy<Value = ConsumerId> {
        (1u32..).prop_map(|n| ConsumerId(NonZeroU32::new(n).expect("from 1")))
    }

    fn runs() -> impl Strategy<Value = Runs> {
        let run = (any::<u32>(), 0u64..70).prop_map(|(start, count)| (0..count).map(move |n| Offset(u64::from(start) + n)));
        proptest::collection::vec(run, 0..5).prop_map(|runs| runs.into_iter().flatten().collect())
    }

    fn entries() -> impl Strategy<Value = Entries> {
        (runs(), runs()).prop_map(|(topic, dead_letter)| Entries { topic, dead_letter })
    }

    fn settings() -> impl Strategy<Value = GroupSettings> {
        let orders = prop_oneof![Just(Order::None), Just(Order::Key), Just(Order::Topic)];
        (orders, 0..4usize, any::<(u64, Option<NonZeroU32>, u64, u64, bool, bool)>()).prop_map(|(order, assign, rest)| {
            let (lease_ms, attempts_max, backoff_min_ms, backoff_max_ms, no_ack, paused) = rest;
            let assign = wire::ASSIGNS[assign];
            GroupSettings { order, assign, lease_ms, attempts_max, backoff_min_ms, backoff_max_ms, no_ack, paused }
        })
    }

    fn event() -> impl Strategy<Value = GroupEvent> {
        let at = || any::<u64>().prop_map(TimestampMs);
        let offset = || any::<u64>().prop_map(Offset);
        let bytes = || any::<Vec<u8>>().prop_map(Vec::into_boxed_slice);
        let lane = || (0..Lane::COUNT).prop_map(Lane);
        let entry = || {
            let source = prop_oneof![Just(Source::Topic), Just(Source::DeadLetter)];
            (source, offset()).prop_map(|(source, offset)| EntryKey { source, offset })
        };
        let count = prop_oneof![Just(Count::Add), Just(Count::Keep), any::<u32>().prop_map(Count::Set), Just(Count::Undo)];
        let back = any::<u32>().prop_map(|n| if n % 2 == 0 { Count::Set(n) } else { Count::Undo });
        let dealt = proptest::collection::btree_map(lane(), (1..4u32).prop_map(|n| NonZeroU32::new(n).map(ConsumerId)), 0..99)
            .prop_map(|lanes| lanes.into_iter().map(|(lane, consumer)| (lane, consumer.expect("from 1"))).collect());
        let members = prop_oneof![
            settings().prop_map(GroupEvent::Configured),
            (consumer(), at(), bytes()).prop_map(|(consumer, at, name)| GroupEvent::Created { consumer, at, name }),
            (consumer(), at(), any::<(bool, bool)>()).prop_map(|(consumer, at, (is_passing, is_manual))| {
                GroupEvent::Joined { consumer, at, manner: Manner { is_passing, is_manual } }
            }),
            (consumer(), at()).prop_map(|(consumer, at)| GroupEvent::Left { consumer, at }),
            consumer().prop_map(|consumer| GroupEvent::Removed { consumer }),
            dealt.prop_map(|lanes| GroupEvent::Assigned { lanes }),
            (consumer(), at()).prop_map(|(consumer, at)| GroupEvent::Released { consumer, at }),
        ];
        let work =
            prop_oneof![
                (consumer(), at(), any::<bool>(), runs(), any::<bool>(), 0..Lane::COUNT).prop_map(
                    |(consumer, at, settled, offsets, has_lanes, lane)| {
                        let lanes = if has_lanes { offsets.iter().map(|_| Lane(lane)).collect() } else { Vec::new() };
                        GroupEvent::Delivered { consumer, at, settled, offsets, lanes }
                    }
                ),
                (consumer(), any::<u32>(), any::<u32>()).prop_map(|(consumer, from, count)| {
                    let from = Offset(u64::from(from));
                    GroupEvent::Scanned { consumer, from, to: from.plus(u64::from(count)) }
                }),
                (consumer(), at(), count, entries()).prop_map(|(consumer, at, count, entries)| GroupEvent::Redelivered {
                    consumer,
                    at,
                    count,
                    entries
                }),
                (at(), entries()).prop_map(|(at, entries)| GroupEvent::Acked { at, entries }),
                (at(), any::<u32>(), back, entries()).prop_map(|(at, delay_ms, count, entries)| GroupEvent::HandedBack {
                    at,
                    delay_ms,
                    count,
                    entries
                }),
                (at(), any::<u32>(), any::<bool>(), entries())
                    .prop_map(|(at, delay_ms, counted, entries)| GroupEvent::GivenBack { at, delay_ms, counted, entries }),
                (entry(), offset(), bytes()).prop_map(|(entry, dead_letter_end, reason)| GroupEvent::DeadIntent {
                    entry,
                    dead_letter_end,
                    reason
                }),
                entry().prop_map(|entry| GroupEvent::Dead { entry }),
                (offset(), lane(), at()).prop_map(|(offset, lane, at)| GroupEvent::Revived { offset, lane, at }),
                runs().prop_map(|letters| GroupEvent::Dropped { letters }),
                any::<[u8; 16]>().prop_map(|topic| GroupEvent::LettersIn { topic: Incarnation(topic) }),
            ];
        let places = prop_oneof![
            Just(GroupEvent::Paused),
            Just(GroupEvent::Resumed),
            (offset(), any::<u64>(), any::<bool>(), any::<Option<u64>>()).prop_map(|(to, epoch, keep_pending, entries_read)| {
                GroupEvent::Sought { to, epoch: Epoch(epoch), keep_pending, entries_read }
            }),
            (offset(), any::<u64>()).prop_map(|(to, epoch)| GroupEvent::Clamped { to, epoch: Epoch(epoch) }),
            offset().prop_map(|below| GroupEvent::Expired { below }),
            any::<(u64, u64, Option<u64>)>()
                .prop_map(|(ms, seq, entries_read)| GroupEvent::Placed { last_id: RecordId { ms, seq }, entries_read }),
            (offset(), offset(), any::<u64>()).prop_map(|(from, offset, epoch)| {
                let at = Place { offset, epoch: Epoch(epoch) };
                GroupEvent::Restarted { from, at }
            }),
        ];
        prop_oneof![members, work, places]
    }

    fn encoded(event: &GroupEvent) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn group_events_come_back(events in proptest::collection::vec(event(), 0..8)) {
            let bytes: Vec<u8> = events.iter().flat_map(encoded).collect();
            prop_assert_eq!(GroupEvent::decode_batch(&bytes), Ok(events));
        }

        #[test]
        fn a_group_event_that_is_cut_off_is_refused(event in event()) {
            let bytes = encoded(&event);
            for end in 0..bytes.len() {
                prop_assert!(GroupEvent::decode(&mut &bytes[..end]).is_err());
            }
        }

        #[test]
        fn no_bytes_make_the_group_decoder_panic(kind in 0u8..27, rest in any::<Vec<u8>>()) {
            let bytes: Vec<u8> = [kind].into_iter().chain(rest).collect();
            let _ = GroupEvent::decode_batch(&bytes);
        }

        #[test]
        fn no_change_makes_the_group_decoder_panic(event in event(), at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = encoded(&event);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = GroupEvent::decode_batch(&bytes);
        }
    }

    #[test]
    fn a_hundred_consecutive_group_entries_are_about_15_bytes() {
        let (consumer, at) = (ConsumerId::FIRST, TimestampMs(1_700_000_000_000));
        let offsets = Runs::of(Offset(10_000_000)..Offset(10_000_100));
        let delivered = GroupEvent::Delivered { consumer, at, settled: false, offsets: offsets.clone(), lanes: Vec::new() };
        assert_eq!(
            encoded(&delivered),
            [
                7, // kind
                1, // consumer
                0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31, // at
                0,    // not settled
                1, 0x80, 0xad, 0xe2, 0x04, 99, // one run: from 10,000,000, 99 + 1 records
                0,  // no lanes
            ]
        );
        let entries = Entries { topic: offsets, ..Entries::default() };
        assert_eq!(encoded(&GroupEvent::Acked { at, entries }).len(), 14);
    }

    #[test]
    fn an_unknown_kind_of_group_event_is_told() {
        let error = GroupEvent::decode(&mut &[200u8, 1, 2][..]).expect_err("no such kind");
        assert_eq!(error.to_string(), "a group event of kind 200, which this drave does not know; use a newer one");
    }
}
