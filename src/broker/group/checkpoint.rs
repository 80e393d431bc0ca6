//! A snapshot of a group's state: a checkpoint and the events after it come to the same as all events.

use serde::{Deserialize, Serialize};

use super::books::LaneWork;
use super::lanes::lane_count;
use super::pending::Hold;
use super::state::GroupState;
use crate::codec::group_event::{EntryKey, Order, Source};
use crate::ids::Offset;

const VERSION: u32 = 1;

/// What is stored, borrowed from the state: nothing is copied, however much is pending.
#[derive(Debug, Serialize)]
pub struct Checkpoint<'a> {
    version: u32,
    state: &'a GroupState,
}

/// What was stored, read back but not yet believed.
#[derive(Debug, Deserialize)]
pub struct StoredCheckpoint {
    version: u32,
    state: GroupState,
}

impl GroupState {
    /// The state as it is to be stored.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { version: VERSION, state: self }
    }
}

impl StoredCheckpoint {
    /// The state, with all that follows from it.
    ///
    /// # Errors
    /// A sentence, when it is of a version that this program does not know, or contradicts itself.
    pub fn restore(self) -> Result<GroupState, String> {
        if self.version != VERSION {
            return Err(format!("a group checkpoint of version {}, this drave reads {VERSION}", self.version));
        }
        let mut state = self.state;
        let order = state.settings.order;
        let lanes = state.books.lanes.len();
        if lanes != lane_count(order) || state.books.is_ordered != (order != Order::None) {
            return Err(format!("a group checkpoint has {lanes} lanes, which does not fit its order"));
        }
        state.books.work = vec![LaneWork::default(); lanes];
        let names = state.books.consumers.iter().map(|(id, consumer)| (consumer.name.clone(), *id));
        state.names = names.collect();
        for source in [Source::Topic, Source::DeadLetter] {
            let GroupState { books, topic, dead_letter, .. } = &mut state;
            let pending = if source == Source::Topic { &*topic } else { &*dead_letter };
            for (offset, entry) in pending.iter_from(Offset::ZERO) {
                if entry.lane.index() >= lanes {
                    return Err("a group checkpoint has an entry in a lane that there is not".to_owned());
                }
                let holder = entry.consumer.filter(|_| entry.hold == Hold::Leased);
                // What only the events know is not to be touched by counting the entry.
                let known = holder.and_then(|id| books.consumers.get(&id)).map(|c| (c.leased_since, c.leased_until));
                books.enter(EntryKey { source, offset }, entry);
                if let (Some(known), Some(consumer)) = (known, holder.and_then(|id| books.consumers.get_mut(&id))) {
                    (consumer.leased_since, consumer.leased_until) = known;
                    consumer.inherited += u64::from(entry.lease < consumer.session);
                }
            }
        }
        Ok(state)
    }
}
