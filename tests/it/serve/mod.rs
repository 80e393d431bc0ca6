//! `drave serve`, tried by a client that knows nothing of it.

mod clients;
mod connection;
mod groups;
mod keys;
mod pubsub;
mod rig;
mod server;
mod streams;
mod transactions;
