//! `drave serve`, tried by a client that knows nothing of it.

mod pubsub;
mod rig;
mod streams;
mod transactions;
