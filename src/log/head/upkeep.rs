//! What the page says of deletions, of origins, and of maintenance.

use super::{
    COMPACTIONS_GENERATION_AT, DELETIONS_GENERATION_AT, Head, MAINTENANCE_WANTED_AT, ORIGINS_ADDED_AT, ORIGINS_END_AT,
    ORIGINS_REPEATED_AT,
};
use crate::codec::Origins;
use crate::ids::Offset;

impl Head {
    pub(in crate::log) fn bump_deletions_generation(&self) {
        self.page.add(DELETIONS_GENERATION_AT, 1);
    }

    /// See [`Origins`].
    pub(in crate::log) fn origins(&self) -> Origins {
        let [added, repeated] = [ORIGINS_ADDED_AT, ORIGINS_REPEATED_AT].map(|at| self.page.load(at));
        Origins { end: Offset(self.page.load(ORIGINS_END_AT)), added, repeated }
    }

    /// Before a frame with so many origins is written, up to `end`; says what was known before, if there
    /// are any.
    pub(in crate::log) fn note_origins(&self, end: Offset, count: u32) -> Option<Origins> {
        let before = (count > 0).then(|| self.origins())?;
        self.page.store(ORIGINS_END_AT, end.0.max(before.end.0));
        self.page.store(ORIGINS_ADDED_AT, before.added + u64::from(count));
        Some(before)
    }

    pub(in crate::log) fn put_back_origins(&self, origins: Option<Origins>) {
        if let Some(origins) = origins {
            self.page.store(ORIGINS_END_AT, origins.end.0);
            self.page.store(ORIGINS_ADDED_AT, origins.added);
        }
    }

    pub(in crate::log) fn add_repeat(&self) {
        self.page.add(ORIGINS_REPEATED_AT, 1);
    }

    /// Changes whenever segments were compacted; 0 = there never were any.
    pub(in crate::log) fn compactions_generation(&self) -> u64 {
        self.page.load(COMPACTIONS_GENERATION_AT)
    }

    pub(in crate::log) fn bump_compactions_generation(&self) {
        self.page.add(COMPACTIONS_GENERATION_AT, 1);
    }

    /// Changes for as long as somebody waits for the lock of maintenance.
    pub(in crate::log) fn maintenance_wanted(&self) -> u64 {
        self.page.load(MAINTENANCE_WANTED_AT)
    }

    pub(in crate::log) fn want_maintenance(&self) {
        self.page.add(MAINTENANCE_WANTED_AT, 1);
    }
}
