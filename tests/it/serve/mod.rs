//! `drave serve`, tried by a client that knows nothing of it.

mod connection;
mod groups;
mod groups_entries;
mod groups_together;
mod groups_told;
mod keys;
mod pubsub;
mod rig;
mod server;
mod streams;
mod transactions;
