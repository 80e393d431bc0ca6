//! What a group tells of its entries.

use std::ops::RangeInclusive;

use super::SharedGroup;
use crate::broker::group::{Entry, Hold};
use crate::codec::group_event::Source;
use crate::error::Result;
use crate::ids::{ConsumerId, Offset, RecordId, TimestampMs};

/// Which entries are to be told.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Between these.
    pub ids: RangeInclusive<RecordId>,
    /// So many at most.
    pub count: usize,
    /// Delivered, or given back, at least so long ago.
    pub min_idle_ms: u64,
    /// This one's alone.
    pub consumer: Option<ConsumerId>,
}

/// An entry that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its ID.
    pub id: RecordId,
    /// Who has it; `None` = nobody: it waits.
    pub consumer: Option<ConsumerId>,
    /// When it was delivered, or given back.
    pub at: TimestampMs,
    /// How many deliveries it has had.
    pub deliveries: u32,
}

impl SharedGroup<'_> {
    /// Entries, by ID. Those whose record is no more and whose ID nobody knows are left out.
    pub fn tell(&mut self, asked: &Asked) -> Result<Vec<Told>> {
        let (first, last) = (*asked.ids.start(), *asked.ids.end());
        if first > last || asked.count == 0 {
            return Ok(Vec::new());
        }
        let from = self.first_pending_at(first)?;
        let until = match last.successor() {
            Some(after) => self.first_at(after)?,
            None => Offset(u64::MAX),
        };
        let now = self.settler.group.now();
        let is_asked = |entry: &Entry| {
            let holder = entry.consumer.filter(|_| entry.hold == Hold::Leased);
            asked.consumer.is_none_or(|consumer| holder == Some(consumer))
                && now.0.saturating_sub(entry.at.0) >= asked.min_idle_ms
        };
        let between = self.state().pending(Source::Topic, from).take_while(|(offset, _)| *offset < until);
        let found = between.filter(|(_, entry)| is_asked(entry)).take(asked.count);
        let found: Vec<(Offset, Entry)> = found.map(|(offset, entry)| (offset, *entry)).collect();
        let mut told = Vec::with_capacity(found.len());
        for (offset, entry) in found {
            let consumer = entry.consumer.filter(|_| entry.hold == Hold::Leased);
            let told_of = |id| Told { id, consumer, at: entry.at, deliveries: entry.deliveries };
            told.extend(self.id_of(offset)?.filter(|id| asked.ids.contains(id)).map(told_of));
        }
        Ok(told)
    }
}
