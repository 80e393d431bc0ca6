//! Entries that change hands, or go back.

use std::collections::BTreeSet;

use super::SharedGroup;
use super::take::{Before, Handout};
use crate::broker::group::{self, AutoClaimed, Claim, Claimed, HandBack};
use crate::codec::group_event::{Count, EntryKey, GroupEvent, Source};
use crate::error::Result;
use crate::ids::{ConsumerId, Offset, RecordId, TimestampMs};

/// XAUTOCLAIM looks at so many entries for each that is asked for.
const LOOKED_AT_EACH: usize = 10;

/// How entries are claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claiming {
    /// Only what was delivered, or given back, at least so long ago.
    pub min_idle_ms: u64,
    /// What the delivery count becomes.
    pub count: Count,
    /// When it is taken to be delivered; `None` = now. No later than that.
    pub at: Option<TimestampMs>,
    /// Also records that are not pending.
    pub force: bool,
    /// The group is taken to have been delivered all up to here.
    pub last_id: Option<RecordId>,
    /// The records are not wanted.
    pub ids_only: bool,
}

impl Claiming {
    fn by(&self, consumer: ConsumerId, now: TimestampMs) -> Claim {
        let at = self.at.map_or(now, |at| at.min(now));
        Claim { consumer, min_idle_ms: self.min_idle_ms, count: self.count, at, force: self.force }
    }
}

/// What an automatic claim came to, beside what was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Where to go on; zero at the end.
    pub next: RecordId,
    /// Entries that were settled since their records are no more, as far as their IDs are known.
    pub gone: Vec<RecordId>,
}

impl SharedGroup<'_> {
    /// Which records there are, by offset. What compaction has taken is known of those that are `asked` for only:
    /// reading alone tells.
    fn existing(&mut self, asked: &[Offset]) -> Result<impl Fn(Offset) -> bool + use<>> {
        let log = self.settler.group.topic.log();
        let (deleted, kept) = (log.deleted()?, log.log_start()..log.log_end());
        let mut taken: BTreeSet<Offset> = BTreeSet::new();
        if log.has_compacted() {
            taken.extend(asked);
            let wanted: Vec<(Offset, usize)> = taken.iter().map(|offset| (*offset, 0)).collect();
            self.finder.pick(log, &wanted, |record| {
                taken.remove(&record.offset);
            })?;
        }
        Ok(move |offset: Offset| kept.contains(&offset) && !deleted.contains(offset) && !taken.contains(&offset))
    }

    /// Gives a consumer what others have, in the order in which it is named. Entries whose records are
    /// no more are settled.
    pub fn claim(&mut self, consumer: &[u8], ids: &[RecordId], how: &Claiming, out: &mut impl Handout) -> Result<()> {
        self.look()?;
        let (me, _) = self.consumer(consumer)?;
        let last_id = how.last_id.filter(|id| self.last_id().is_ok_and(|last| last < *id));
        let mut named = Vec::with_capacity(ids.len());
        for id in ids {
            named.extend(self.offset_of(*id)?);
        }
        let exists = self.existing(&named)?;
        let (there, gone): (Vec<Offset>, Vec<Offset>) = named.into_iter().partition(|offset| exists(*offset));
        let gone: Vec<EntryKey> = gone.into_iter().map(EntryKey::topic).collect();
        let claimed = self.settler.group.decide(|state, now| {
            let Claimed { mut events, deliveries } = group::claim(state, &there, &how.by(me, now), now);
            events.extend(group::ack_any(state, &gone, now).0);
            let entries_read = state.counters().entries_read;
            events.extend(last_id.map(|last_id| GroupEvent::Placed { last_id, entries_read }));
            (events, deliveries)
        })?;
        let claimed: BTreeSet<Offset> = claimed.iter().map(|delivery| delivery.key.offset).collect();
        let claimed: Vec<Offset> = there.into_iter().filter(|offset| claimed.contains(offset)).collect();
        self.hand_over(&claimed, how.ids_only, out)
    }

    /// Writes what was claimed, in this order.
    fn hand_over(&mut self, claimed: &[Offset], ids_only: bool, out: &mut impl Handout) -> Result<()> {
        if ids_only {
            for offset in claimed {
                if let Some(id) = self.id_of(*offset)? {
                    out.put_id(id);
                }
            }
            return Ok(());
        }
        let log = self.settler.group.topic.log();
        for rising in claimed.chunk_by(|one, next| one < next) {
            let wanted: Vec<(Offset, usize)> = rising.iter().map(|offset| (*offset, 0)).collect();
            self.finder.pick(log, &wanted, |record| out.put(record, Before::default()))?;
        }
        Ok(())
    }

    /// Gives a consumer what was idle for long, from an ID on: `count` entries at most.
    pub fn auto_claim(
        &mut self,
        consumer: &[u8],
        start: RecordId,
        count: usize,
        how: &Claiming,
        out: &mut impl Handout,
    ) -> Result<Scanned> {
        self.look()?;
        let (me, _) = self.consumer(consumer)?;
        let from = self.first_pending_at(start)?;
        let most = (count, count.saturating_mul(LOOKED_AT_EACH));
        let looked_at: Vec<Offset> = self.state().pending(Source::Topic, from).map(|(offset, _)| offset).take(most.1).collect();
        let exists = self.existing(&looked_at)?;
        let AutoClaimed { claimed, gone, next } = self.settler.group.decide(|state, now| {
            let mut auto = group::auto_claim(state, from, most, &exists, &how.by(me, now), now);
            (std::mem::take(&mut auto.claimed.events), auto)
        })?;
        let claimed: Vec<Offset> = claimed.deliveries.iter().map(|delivery| delivery.key.offset).collect();
        self.hand_over(&claimed, how.ids_only, out)?;
        let mut scanned = Scanned { next: RecordId::ZERO, gone: Vec::new() };
        for offset in gone {
            scanned.gone.extend(self.id_of(offset)?);
        }
        if let Some(next) = next {
            scanned.next = self.id_from_below(next)?;
        }
        Ok(scanned)
    }

    /// The ID of a record, or, if nobody knows it any more, one that is not above it and above that of
    /// every record before.
    fn id_from_below(&mut self, offset: Offset) -> Result<RecordId> {
        if let Some(id) = self.id_of(offset)? {
            return Ok(id);
        }
        let before = self.last_id_below(offset)?;
        Ok(before.successor().unwrap_or(before))
    }

    /// Gives entries back, whoever has them; says how many.
    pub fn hand_back(&mut self, ids: &[RecordId], how: &HandBack) -> Result<u64> {
        self.look()?;
        let keys = self.keys_of(ids)?;
        self.settler.group.decide(|state, now| group::hand_back(state, &keys, how, now))
    }

    /// Gives back what consumers have, as the group's settings say; what has had all its attempts goes
    /// to the dead-letter topic. Says how many entries it was, and how many of them are dead.
    pub fn nack(&mut self, ids: &[RecordId], delay_ms: Option<u64>, reason: &[u8]) -> Result<(u64, u64)> {
        self.look()?;
        let keys = self.keys_of(ids)?;
        let receipts = self.state().receipts(&keys);
        let (late, dead) = self.settler.nack(&receipts, true, delay_ms, reason)?;
        Ok(((receipts.len() - late.len()) as u64, dead))
    }

    /// Moves what consumers have to the dead-letter topic; says how many entries.
    pub fn bury(&mut self, ids: &[RecordId], reason: &[u8]) -> Result<u64> {
        self.look()?;
        let keys = self.keys_of(ids)?;
        let mut buried = 0;
        for receipt in self.state().receipts(&keys) {
            buried += u64::from(self.settler.bury(receipt.key, Some(receipt.lease), reason)?);
        }
        Ok(buried)
    }

    /// The first offset at or after `from` whose record was not delivered yet, or is pending.
    #[must_use]
    pub fn next_referred(&self, from: Offset) -> Offset {
        let undelivered = self.state().delivered_below().max(from);
        self.state().pending(Source::Topic, from).next().map_or(undelivered, |(at, _)| at.min(undelivered))
    }

    /// Settles the entries at these offsets, whoever has them.
    pub fn drop_entries(&mut self, offsets: &[Offset]) -> Result<u64> {
        let keys: Vec<EntryKey> = offsets.iter().copied().map(EntryKey::topic).collect();
        self.settler.group.decide(|state, now| group::ack_any(state, &keys, now))
    }

    /// Which of these are pending, one by one.
    pub fn are_pending(&mut self, ids: &[RecordId]) -> Result<Vec<bool>> {
        self.look()?;
        let mut pending = Vec::with_capacity(ids.len());
        for id in ids {
            let offset = self.pending_offset_of(*id)?;
            pending.push(offset.is_some_and(|offset| self.state().entry(EntryKey::topic(offset)).is_some()));
        }
        Ok(pending)
    }

    pub(super) fn keys_of(&mut self, ids: &[RecordId]) -> Result<Vec<EntryKey>> {
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            keys.extend(self.offset_of(*id)?.map(EntryKey::topic));
        }
        keys.dedup();
        Ok(keys)
    }

    /// The first and the last ID of what is pending.
    pub fn pending_ends(&mut self) -> Result<Option<(RecordId, RecordId)>> {
        let Some((first, last)) = self.state().pending_ends(Source::Topic) else { return Ok(None) };
        Ok(Some((self.id_from_below(first)?, self.id_from_below(last)?)))
    }
}
