//! `drave serve`, tried by a client that knows nothing of it.

mod groups;
mod groups_entries;
mod groups_together;
mod groups_told;
mod rig;
mod streams;
