//! Consumer groups, as pure rules: `state = fold(events)`, and decisions that say which events come
//! next. Nothing here locks, reads a file, asks the time or draws a number: `now`, signs of life and
//! jitter are handed in, so that every process that folds a group's journal has the same group.
//!
//! Who uses it, under the append lock of the group's journal, catches up (decodes what others wrote
//! and [`GroupState::apply`]s it), asks [`clamp`] and [`expire`] whether the topic has moved under
//! the group, decides ([`join`], [`lapse`], [`take`], [`ack`], [`nack`] ...), writes the events as
//! one batch, and applies them. Receipts hold the number of their delivery, which never comes again:
//! a late one is refused.
//!
//! | file | job |
//! |---|---|
//! | `lanes` | which lane a record belongs to |
//! | `assign` | how lanes are dealt to consumers |
//! | `settings` | what can be set |
//! | `pending` | entries by offset, in little memory |
//! | `books` | what is known of entries per consumer, per lane, by time |
//! | `letters` | which dead letters are done with |
//! | `pace` | deliveries a second |
//! | `state`, `fold` | the state, and what each event does to it |
//! | `decide`, `members`, `lapse`, `claim` | decisions: about records, about the group, about the silent, by others |
//! | `checkpoint` | the state as it is stored |
//! | `model`, `tests` | random work against promises kept by hand; single promises |

mod assign;
mod books;
mod checkpoint;
mod claim;
mod decide;
mod fold;
mod lanes;
mod lapse;
mod letters;
mod members;
#[cfg(test)]
mod model;
mod pace;
mod pending;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use assign::deal;
pub use books::{Consumer, LaneState};
pub use checkpoint::{Checkpoint, StoredCheckpoint};
pub use claim::{AutoClaimed, Claim, Claimed, HandBack, auto_claim, claim, hand_back};
pub use decide::{
    Delivery, Fresh, Nack, Receipt, Settled, TAKE_MAX, Take, Taken, ack, ack_any, bury, drop_letters, find_letters_in, give_up,
    nack, release, revive, take,
};
pub use lanes::{lane_count, lane_of};
pub use lapse::lapse;
pub use letters::Letters;
pub use members::{clamp, configure, create, expire, forget_passed, join, lanes_of, leave, pause, remove, seek};
pub use pace::Pace;
pub use pending::{Entry, Hold, Lease};
pub use settings::{GROUP_SETTINGS, GroupSetting};
pub use state::{Counters, GroupState, Intent};
