//! How many records a group has read and has before it, as Redis tells it: exactly where nothing was
//! deleted ahead of the group, as an estimate where one can be made, else not at all.
//!
//! The rules are those that Redis documents for `entries-read` and `lag` of XINFO GROUPS.

use crate::ids::RecordId;

/// What a topic has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Records ever added.
    pub entries_added: u64,
    /// Records that there are.
    pub length: u64,
    /// The first of them.
    pub first_id: Option<RecordId>,
    /// The last that there was.
    pub last_id: RecordId,
    /// The greatest that was deleted by itself; zero if none was.
    pub max_deleted_id: RecordId,
}

impl Numbers {
    fn first(&self) -> RecordId {
        self.first_id.unwrap_or_default()
    }

    /// Whether a record above this ID, or the one that has it, was deleted.
    #[must_use]
    pub fn has_deleted_from(&self, id: RecordId) -> bool {
        self.length > 0 && self.max_deleted_id != RecordId::ZERO && id <= self.max_deleted_id
    }

    /// How many records had been added up to this ID.
    #[must_use]
    pub fn entries_up_to(&self, id: RecordId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last_id) || id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id || (self.max_deleted_id != RecordId::ZERO && id < self.max_deleted_id) {
            return None;
        }
        let is_whole = self.max_deleted_id == RecordId::ZERO || self.max_deleted_id < self.first();
        let before = self.entries_added.saturating_sub(self.length);
        match id.cmp(&self.first()) {
            std::cmp::Ordering::Less if is_whole => Some(before),
            std::cmp::Ordering::Equal if is_whole => Some(before + 1),
            _ => None,
        }
    }

    /// How many records a group has before it that stands behind `last_id`.
    #[must_use]
    pub fn lag(&self, last_id: RecordId, entries_read: Option<u64>) -> Option<u64> {
        if self.entries_added == 0 || self.length == 0 {
            return Some(0);
        }
        if last_id < self.first() && self.max_deleted_id < self.first() {
            return Some(self.length);
        }
        let known = entries_read.filter(|_| !self.has_deleted_from(last_id));
        let read = known.or_else(|| self.entries_up_to(last_id))?;
        Some(self.entries_added.saturating_sub(read))
    }

    /// `entries-read` once records with these IDs were delivered to a group that stood behind
    /// `last_id` and had read so many.
    #[must_use]
    pub fn read(&self, mut last_id: RecordId, mut entries_read: Option<u64>, ids: &[RecordId]) -> Option<u64> {
        for (index, id) in ids.iter().enumerate() {
            entries_read = match entries_read {
                Some(read) if !self.has_deleted_from(last_id) => {
                    // From here on nothing changes any more but the count.
                    return Some(read.saturating_add((ids.len() - index) as u64));
                }
                _ => self.entries_up_to(*id),
            };
            last_id = *id;
        }
        entries_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> RecordId {
        RecordId { ms, seq: 0 }
    }

    /// Records 1 to 5 of which the first `gone` are trimmed.
    fn five(gone: u64) -> Numbers {
        let first_id = (gone < 5).then(|| id(gone + 1));
        Numbers { entries_added: 5, length: 5 - gone, first_id, last_id: id(5), max_deleted_id: RecordId::ZERO }
    }

    #[test]
    fn a_group_that_told_no_count_has_one_once_it_was_delivered_something() {
        assert_eq!(five(0).lag(RecordId::ZERO, None), Some(5));
        assert_eq!(five(0).lag(id(5), None), Some(0));
        assert_eq!(five(0).lag(id(3), None), None, "in the middle nobody knows");
        assert_eq!(five(0).read(RecordId::ZERO, None, &[id(1), id(2)]), Some(2));
        assert_eq!(five(2).read(RecordId::ZERO, None, &[id(3)]), Some(3), "what was trimmed was added");
        assert_eq!(five(0).read(id(2), None, &[id(3)]), None);
        assert_eq!(five(0).read(id(2), None, &[id(3), id(4), id(5)]), Some(5), "the last one is known");
        assert_eq!(five(0).read(id(2), Some(2), &[id(3)]), Some(3));
        assert_eq!(five(5).lag(id(1), None), Some(0), "an empty topic");
    }

    #[test]
    fn deletions_ahead_make_the_count_unknown() {
        let holed = Numbers { length: 4, max_deleted_id: id(3), ..five(0) };
        assert_eq!(holed.lag(id(1), Some(1)), None);
        assert_eq!(holed.lag(id(4), Some(4)), Some(1), "the hole is behind it");
        assert_eq!(holed.read(id(1), Some(1), &[id(2)]), None);
        assert_eq!(holed.read(id(1), Some(1), &[id(2), id(4), id(5)]), Some(5));
        let first_gone = Numbers { length: 4, first_id: Some(id(2)), max_deleted_id: id(1), ..five(0) };
        assert_eq!(first_gone.lag(RecordId::ZERO, None), Some(4));
        assert_eq!(Numbers::default().lag(id(9), None), Some(0));
    }
}
