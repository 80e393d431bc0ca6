//! The one API for what happens to records: publishing and reading, across topics.
//!
//! A publish passes its gates in order (settings, size, level), is packed before any lock is taken,
//! let through by the rate limits, appended, and made durable as its level asks. A feed merges the logs of several topics.
//! What is not to be kept goes by `upkeep`.

mod bury;
mod consume;
pub mod dead_letters;
pub mod dedup;
mod feed;
mod flusher;
mod gate;
pub mod group;
mod journal;
mod keeper;
pub mod limits;
mod members;
mod publish;
mod seen;
mod shared;
mod upkeep;

pub use consume::{GroupMember, GroupSettler, Handed, Joining, OpenGroup, create_group};
pub use feed::{Fed, FeedGap, FeedWaker, TopicFeed};
pub use flusher::Flusher;
pub use gate::{Amount, Gate, Lag, Stretch, Work};
pub use journal::{Journal, mend_group, verify_group};
pub use publish::{Level, TopicPublisher, slowest_group};
pub use seen::{Message, Seen, Sent};
pub use shared::{Asked, Before, Claiming, Handout, Numbers, Scanned, SharedGroup, Start, Told, Want};
pub use upkeep::{Kept, Upkeep, keep_store, keep_topic};

#[cfg(test)]
mod crash;
