//! Being done with entries.

use super::SharedGroup;
use crate::broker::group;
use crate::codec::group_event::EntryKey;
use crate::error::Result;
use crate::ids::RecordId;

impl SharedGroup<'_> {
    /// Settles entries, whoever has them; says how many were pending.
    pub fn ack(&mut self, ids: &[RecordId]) -> Result<u64> {
        self.settler.group.decide(|_, _| (Vec::new(), ()))?;
        if self.state().pending_count() == 0 {
            return Ok(0);
        }
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            keys.extend(self.pending_offset_of(*id)?.map(EntryKey::topic));
        }
        if keys.is_empty() {
            return Ok(0);
        }
        self.settler.group.decide(|state, now| group::ack_any(state, &keys, now))
    }
}
