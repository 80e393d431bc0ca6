//! Offsets of IDs, and IDs of offsets. The group keeps offsets, its clients know IDs.

use super::SharedGroup;
use super::recent::Recent;
use crate::broker::consume::Picker;
use crate::codec::group_event::Source;
use crate::codec::records::Record;
use crate::error::Result;
use crate::ids::{Offset, RecordId};
use crate::log::Log;

/// So many records are read where one is looked for: who asks for one mostly asks for its neighbours.
const AROUND: u64 = 64;

/// Looks records up.
#[derive(Debug)]
pub(super) struct Finder {
    picker: Picker,
    /// What was delivered.
    pub(super) recent: Recent,
    /// What was looked up.
    looked: Recent,
}

impl Finder {
    pub(super) fn new(log: &Log) -> Finder {
        Finder { picker: Picker::new(log), recent: Recent::default(), looked: Recent::default() }
    }

    fn known_offset(&self, log: &Log, id: RecordId) -> Option<Offset> {
        let epoch = log.epoch();
        self.recent.offset_of(epoch, id).or_else(|| self.looked.offset_of(epoch, id))
    }

    fn known_id(&self, log: &Log, offset: Offset) -> Option<RecordId> {
        let epoch = log.epoch();
        self.recent.id_of(epoch, offset).or_else(|| self.looked.id_of(epoch, offset))
    }

    /// Reads what lies in `[from, until)`.
    fn look(&mut self, log: &Log, from: Offset, until: Offset) -> Result<()> {
        let wanted: Vec<(Offset, usize)> = (from.0..until.0).map(|offset| (Offset(offset), 0)).collect();
        self.pick(log, &wanted, |_| {})
    }

    /// Hands out the records at these offsets, which rise.
    pub(super) fn pick(&mut self, log: &Log, wanted: &[(Offset, usize)], mut each: impl FnMut(&Record<'_>)) -> Result<()> {
        let (epoch, looked) = (log.epoch(), &mut self.looked);
        self.picker.pick(log, wanted, |_, record| {
            looked.note(epoch, record.id, record.offset);
            each(record);
        })?;
        Ok(())
    }

    /// Where the record with this ID is; `None` = there is none.
    fn offset_of(&mut self, log: &Log, id: RecordId) -> Result<Option<Offset>> {
        if let Some(offset) = self.known_offset(log, id) {
            return Ok(Some(offset));
        }
        if id > log.counters().last_id {
            return Ok(None);
        }
        let from = log.find(id)?;
        self.look(log, from, from.plus(AROUND).min(log.visible_end()))?;
        Ok(self.looked.offset_of(log.epoch(), id))
    }
}

impl SharedGroup<'_> {
    /// Where the entry with this ID is, if it may be pending.
    pub(super) fn pending_offset_of(&mut self, id: RecordId) -> Result<Option<Offset>> {
        let group = &self.settler.group;
        if group.state().pending_ends(Source::Topic).is_none() {
            return Ok(None);
        }
        self.finder.offset_of(group.topic().log(), id)
    }

    /// Where the record with this ID is, or was.
    pub(super) fn offset_of(&mut self, id: RecordId) -> Result<Option<Offset>> {
        self.finder.offset_of(self.settler.group.topic.log(), id)
    }

    /// The ID of a record; `None` = there is none any more.
    pub(super) fn id_of(&mut self, offset: Offset) -> Result<Option<RecordId>> {
        let log = self.settler.group.topic.log();
        if let Some(id) = self.finder.known_id(log, offset) {
            return Ok(Some(id));
        }
        self.finder.look(log, offset, offset.plus(AROUND).min(log.visible_end()))?;
        Ok(self.finder.looked.id_of(log.epoch(), offset))
    }

    /// Where to look for entries with this ID and above. Records that were deleted just before are
    /// among them, unless their IDs are known to be lower.
    pub(super) fn first_pending_at(&self, id: RecordId) -> Result<Offset> {
        let (mut at, log) = (self.first_at(id)?, self.log());
        let Some((first, _)) = self.state().pending_ends(Source::Topic) else { return Ok(at) };
        let deleted = log.deleted()?;
        while at > first && deleted.contains(Offset(at.0 - 1)) {
            let before = Offset(at.0 - 1);
            if self.finder.known_id(log, before).is_some_and(|known| known < id) {
                break;
            }
            at = before;
        }
        Ok(at)
    }

    /// The first offset at or above which all IDs are at least `id`.
    pub(super) fn first_at(&self, id: RecordId) -> Result<Offset> {
        let log = self.log();
        match id {
            RecordId::ZERO => Ok(Offset::ZERO),
            id if id > log.counters().last_id => Ok(log.visible_end()),
            id => match self.finder.known_offset(log, id) {
                Some(offset) => Ok(offset),
                None => log.find(id),
            },
        }
    }
}
