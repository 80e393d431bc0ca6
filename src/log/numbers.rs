//! Numbers of a log that others ask for.

use super::Log;

impl Log {
    /// Whether the topic was deleted: as cheap as can be, for who asks at every command.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.live().is_some_and(|head| head.is_gone() || head.page().is_lost())
    }

    #[must_use]
    #[allow(missing_docs)]
    pub fn deletions_generation(&self) -> u64 {
        0
    }

    #[must_use]
    #[allow(missing_docs)]
    pub fn live_count(&self) -> u64 {
        self.log_end().since(self.log_start())
    }
}
