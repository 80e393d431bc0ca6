//! Records for a consumer: those that nobody got before, and those that it has.

use super::SharedGroup;
use super::place::Numbers;
use crate::broker::consume::{first_record, last_record};
use crate::broker::group::{self, Claim, Delivery, Fresh, GroupState, Hold, TAKE_MAX, Take};
use crate::codec::group_event::{Count, EntryKey, GroupEvent, Order, Source};
use crate::codec::records::Record;
use crate::error::Result;
use crate::ids::{ConsumerId, Offset, RecordId, TimestampMs};

/// So many offsets are asked for at a time.
const STRETCH: usize = 4096;

/// What a consumer wants.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Its name.
    pub consumer: &'a [u8],
    /// The client that asks.
    pub client: u64,
    /// How many at most; beyond [`TAKE_MAX`] it is that.
    pub count: usize,
    /// Delivered is settled.
    pub no_ack: bool,
    /// First what others have had for so long.
    pub claim_idle_ms: Option<u64>,
}

/// What was known of an entry before this delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Since its last delivery.
    pub idle_ms: u64,
    /// How many it had had.
    pub deliveries: u32,
}

/// Takes records as they are handed out.
pub trait Handout {
    /// One more.
    fn put(&mut self, record: &Record<'_>, before: Before);

    /// One more, of which the ID is enough.
    fn put_id(&mut self, id: RecordId);

    /// One that the consumer has, whose record is no more.
    fn put_gone(&mut self, id: RecordId);

    /// All that was put went to somebody else meanwhile.
    fn forget(&mut self);
}

/// What was decided of a take, by kind.
struct Decided {
    /// Had been delivered before.
    again: Vec<(Offset, Before)>,
    /// Nobody got them before.
    new: Vec<Offset>,
    exhausted: Vec<EntryKey>,
}

impl SharedGroup<'_> {
    /// Hands out records to a consumer, which are its own from now on: those that wait for another
    /// delivery first.
    pub fn take(&mut self, want: &Want<'_>, out: &mut impl Handout) -> Result<()> {
        self.look()?;
        let (me, _) = self.consumer(want.consumer)?;
        self.join(want.consumer, me, want.client)?;
        self.look_after_others()?;
        loop {
            if self.try_take(me, want, out)? {
                return Ok(());
            }
            out.forget();
            self.look()?;
        }
    }

    /// `false` when others were faster.
    fn try_take(&mut self, me: ConsumerId, want: &Want<'_>, out: &mut impl Handout) -> Result<bool> {
        let count = want.count.min(TAKE_MAX);
        let group = &self.settler.group;
        let (state, until, epoch) = (group.state(), group.topic.log().visible_end(), group.topic.log().epoch());
        let from = state.read_from(me);
        let is_plain = want.claim_idle_ms.is_none() && state.lanes().len() == 1 && !has_due(state, group.now());
        let start = from.filter(|from| *from < until).unwrap_or(until);
        let to = self.read_fresh(me, start..until, count, |record| {
            if is_plain {
                out.put(record, Before::default());
            }
        })?;
        if is_plain && self.fresh.is_empty() && to == start {
            return Ok(true);
        }
        let numbers = self.numbers_for_take(want)?;
        let last_before = self.last_id()?;
        let (fresh, ids) = (&self.fresh, &self.fresh_ids);
        let decided = self.settler.group.decide(|state, now| {
            let is_same = state.read_from(me) == from && state.committed().epoch == epoch;
            if !is_same || (is_plain && has_due(state, now)) {
                return (Vec::new(), None);
            }
            let fresh = Fresh::Read { from: start, to, records: fresh };
            let (mut events, decided) = decide(state, me, want, fresh, now);
            if !decided.new.is_empty() && state.settings().order == Order::None {
                let delivered = &ids[..decided.new.len().min(ids.len())];
                let entries_read = numbers.read(last_before, state.counters().entries_read, delivered);
                events.extend(delivered.last().map(|id| GroupEvent::Placed { last_id: *id, entries_read }));
            }
            (events, Some(decided))
        })?;
        let Some(decided) = decided else { return Ok(false) };
        self.note_fresh(epoch);
        if !is_plain || decided.new.len() != self.fresh.len() {
            out.forget();
            self.hand_out(&decided, out)?;
        }
        for key in decided.exhausted {
            self.settler.bury(key, None, b"all attempts failed")?;
        }
        Ok(true)
    }

    /// Reads on for the group; says up to where.
    fn read_fresh(
        &mut self,
        me: ConsumerId,
        range: std::ops::Range<Offset>,
        count: usize,
        mut each: impl FnMut(&Record<'_>),
    ) -> Result<Offset> {
        self.fresh.clear();
        self.fresh_ids.clear();
        let group = &self.settler.group;
        let (log, state) = (group.topic.log(), group.state());
        if state.settings().order == Order::Key {
            let mut own = vec![false; state.lanes().len()];
            group::lanes_of(state, me).iter().for_each(|lane| own[lane.index()] = true);
            self.ahead.read(log, range.start, range.end, |lane| own[lane.index()], count)?;
            let Fresh::Read { to, records, .. } = self.ahead.offer(log.epoch()) else { return Ok(range.start) };
            self.fresh.extend_from_slice(records);
            return Ok(to);
        }
        let floor = state.counters().last_id;
        let mut next = range.start;
        let mut wanted = Vec::new();
        while self.fresh.len() < count && next < range.end {
            let stretch = (count - self.fresh.len()).min(STRETCH) as u64;
            let end = next.plus(stretch).min(range.end);
            wanted.clear();
            wanted.extend((next.0..end.0).map(|offset| (Offset(offset), 0)));
            let (fresh, ids) = (&mut self.fresh, &mut self.fresh_ids);
            self.picker.pick(log, &wanted, |_, record| {
                if floor.is_none_or(|floor| record.id > floor) {
                    fresh.push((record.offset, crate::ids::Lane::ONLY));
                    ids.push(record.id);
                    each(record);
                }
            })?;
            next = end;
            if self.fresh.is_empty() && log.has_compacted() {
                next = first_record(log, next, range.end)?.map_or(range.end, |(offset, _)| offset);
            }
        }
        Ok(next)
    }

    fn note_fresh(&mut self, epoch: crate::ids::Epoch) {
        for ((offset, _), id) in self.fresh.iter().zip(&self.fresh_ids) {
            self.finder.recent.note(epoch, *id, *offset);
        }
    }

    /// Reads what was delivered. An entry that was to be delivered again, and whose record there is no
    /// more, is settled.
    fn hand_out(&mut self, decided: &Decided, out: &mut impl Handout) -> Result<()> {
        let new: Vec<(Offset, Before)> = decided.new.iter().map(|offset| (*offset, Before::default())).collect();
        let mut lost = Vec::new();
        // What goes out again does so as it is due, or lane by lane.
        let rising = decided.again.chunk_by(|one, next| one.0 < next.0).chain([&new[..]]);
        for part in rising {
            let wanted: Vec<(Offset, usize)> = part.iter().enumerate().map(|(index, (offset, _))| (*offset, index)).collect();
            let mut found = vec![false; part.len()];
            let log = self.settler.group.topic.log();
            self.picker.pick(log, &wanted, |index, record| {
                found[index] = true;
                out.put(record, part[index].1);
            })?;
            lost.extend(part.iter().zip(found).filter(|(_, found)| !found).map(|((offset, _), _)| EntryKey::topic(*offset)));
        }
        if lost.is_empty() {
            return Ok(());
        }
        self.settler.group.decide(|state, now| (group::ack_any(state, &lost, now).0, ()))
    }

    /// Hands out again what the consumer has above an ID, which counts as a delivery.
    pub fn history(&mut self, consumer: &[u8], after: RecordId, count: usize, out: &mut impl Handout) -> Result<()> {
        self.look()?;
        let (me, _) = self.consumer(consumer)?;
        let Some(first) = after.successor() else { return Ok(()) };
        let from = if after == RecordId::ZERO { Offset::ZERO } else { self.first_pending_at(first)? };
        loop {
            let is_mine = |entry: &group::Entry| entry.hold == Hold::Leased && entry.consumer == Some(me);
            let mine = self.state().pending(Source::Topic, from).filter(|(_, entry)| is_mine(entry));
            let wanted: Vec<(Offset, usize)> = mine.take(count.min(TAKE_MAX)).map(|(offset, _)| offset).zip(0..).collect();
            if wanted.is_empty() {
                return Ok(());
            }
            let found = self.read_history(&wanted, out)?;
            let claim = |at| Claim { consumer: me, min_idle_ms: 0, count: Count::Add, at, force: false };
            let claimed = self.settler.group.decide(|state, now| {
                let claimed = group::claim(state, &found, &claim(now), now);
                let is_all = claimed.deliveries.len() == found.len();
                (if is_all { claimed.events } else { Vec::new() }, is_all)
            })?;
            if claimed {
                return Ok(());
            }
            out.forget();
        }
    }

    /// Says which of the records there are.
    fn read_history(&mut self, wanted: &[(Offset, usize)], out: &mut impl Handout) -> Result<Vec<Offset>> {
        let log = self.settler.group.topic.log();
        let (epoch, mut found, mut next) = (log.epoch(), Vec::new(), 0);
        let recent = &mut self.finder.recent;
        let gone = |recent: &super::recent::Recent, range: std::ops::Range<usize>, out: &mut _| {
            for (offset, _) in &wanted[range] {
                if let Some(id) = recent.id_of(epoch, *offset) {
                    Handout::put_gone(out, id);
                }
            }
        };
        self.picker.pick(log, wanted, |index, record| {
            gone(recent, next..index, out);
            next = index + 1;
            recent.note(epoch, record.id, record.offset);
            out.put(record, Before::default());
            found.push(record.offset);
        })?;
        gone(recent, next..wanted.len(), out);
        Ok(found)
    }

    /// The last ID that the group was delivered.
    pub fn last_id(&mut self) -> Result<RecordId> {
        if let Some(id) = self.state().counters().last_id {
            return Ok(id);
        }
        self.last_id_below(self.state().delivered_below())
    }

    /// The last ID before an offset.
    pub(super) fn last_id_below(&mut self, offset: Offset) -> Result<RecordId> {
        let start = self.log().log_start();
        if offset > start
            && let Some(id) = self.id_of(Offset(offset.0 - 1))?
        {
            return Ok(id);
        }
        Ok(last_record(self.log(), start, offset)?.map_or(RecordId::ZERO, |(_, id)| id))
    }

    /// What the topic has counted.
    pub fn numbers(&mut self) -> Result<Numbers> {
        let log = self.settler.group.topic.log();
        let (length, deleted, counters) = (log.live_count()?, log.deleted()?, log.counters());
        let (first, end) = (deleted.next_live(log.log_start()), log.visible_end());
        let mut first_id = if first < end { self.id_of(first)? } else { None };
        if first_id.is_none() {
            first_id = first_record(self.log(), first, end)?.map(|(_, id)| id);
        }
        let (entries_added, last_id, max_deleted_id) = (counters.entries_added, counters.last_id, deleted.greatest_id());
        Ok(Numbers { entries_added, length, first_id, last_id, max_deleted_id })
    }

    /// The same as far as a delivery has to know it: mostly one that was counted all along only goes on.
    fn numbers_for_take(&mut self, want: &Want<'_>) -> Result<Numbers> {
        let is_known = !self.log().has_deletions() && self.state().counters().entries_read.is_some() || want.count == 0;
        if is_known { Ok(Numbers::default()) } else { self.numbers() }
    }
}

fn has_due(state: &GroupState, now: TimestampMs) -> bool {
    state.next_due().is_some_and(|due| due <= now)
}

/// Has the rules decide. What is claimed is journalled behind what is taken, and handed out before it.
fn decide(state: &GroupState, me: ConsumerId, want: &Want<'_>, fresh: Fresh<'_>, now: TimestampMs) -> (Vec<GroupEvent>, Decided) {
    let count = want.count.min(TAKE_MAX);
    let before = |offset: Offset| {
        let entry = state.entry(EntryKey::topic(offset));
        let of = |entry: &group::Entry| Before { idle_ms: now.0.saturating_sub(entry.at.0), deliveries: entry.deliveries };
        entry.map(of).unwrap_or_default()
    };
    let idle: Vec<Offset> = match want.claim_idle_ms {
        Some(min_idle_ms) if state.settings().order == Order::None && !state.settings().paused => {
            let is_idle = |entry: &group::Entry| entry.hold == Hold::Leased && now.0.saturating_sub(entry.at.0) >= min_idle_ms;
            let idle = state.pending(Source::Topic, Offset::ZERO).filter(|(_, entry)| is_idle(entry));
            idle.map(|(offset, _)| offset).take(count).collect()
        }
        _ => Vec::new(),
    };
    let claim = Claim { consumer: me, min_idle_ms: 0, count: Count::Add, at: now, force: false };
    let claimed = group::claim(state, &idle, &claim, now);
    let take = Take { consumer: me, count: count - claimed.deliveries.len(), no_ack: want.no_ack, letters: false, fresh };
    let taken = group::take(state, &take, now);
    let is_new = |event: &GroupEvent| if let GroupEvent::Delivered { offsets, .. } = event { offsets.count() } else { 0 };
    let new = usize::try_from(taken.events.iter().map(is_new).sum::<u64>()).unwrap_or(usize::MAX);
    let (again, new) = taken.deliveries.split_at(taken.deliveries.len() - new);
    let of = |delivery: &Delivery| (delivery.key.offset, before(delivery.key.offset));
    let again = claimed.deliveries.iter().chain(again).map(of).collect();
    let new = new.iter().map(|delivery| delivery.key.offset).collect();
    let mut events = taken.events;
    events.extend(claimed.events);
    (events, Decided { again, new, exhausted: taken.exhausted })
}
