//! `drave serve`, tried by a client that knows nothing of it.

mod groups;
mod keys;
mod pubsub;
mod rig;
mod streams;
mod transactions;
