//! What the page says of syncs that failed, or whose end nobody saw.

use super::{FLAG_POISONED, FLAG_SYNCER_DIED, FLAGS_AT, Head};

/// Why what is not durable has to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Poison {
    /// A sync failed, and who waited for it was told.
    SyncFailed,
    /// A process died inside a sync, and nobody knows how it went.
    SyncerDied,
}

impl Poison {
    pub(super) fn flags(self) -> u64 {
        match self {
            Poison::SyncFailed => FLAG_POISONED,
            Poison::SyncerDied => FLAG_POISONED | FLAG_SYNCER_DIED,
        }
    }
}

impl Head {
    pub(in crate::log) fn is_poisoned(&self) -> bool {
        self.page.load(FLAGS_AT) & FLAG_POISONED != 0
    }

    pub(in crate::log) fn poison(&self, why: Poison) {
        self.page.set_bits(FLAGS_AT, why.flags());
    }

    /// Whether no sync is known to have failed: a process died inside one.
    pub(in crate::log) fn has_syncer_died(&self) -> bool {
        self.page.load(FLAGS_AT) & FLAG_SYNCER_DIED != 0
    }

    /// What whoever sets up the page anew has to keep.
    pub(in crate::log) fn poison_left(&self) -> Option<Poison> {
        match self.is_poisoned() {
            true if self.has_syncer_died() => Some(Poison::SyncerDied),
            true => Some(Poison::SyncFailed),
            false => (self.syncing() != 0).then_some(Poison::SyncerDied),
        }
    }

    pub(in crate::log) fn clear_poison(&self) {
        self.page.clear_bits(FLAGS_AT, FLAG_POISONED | FLAG_SYNCER_DIED);
    }
}
