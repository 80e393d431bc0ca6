//! `drave serve`, tried by a client that knows nothing of it.

mod clients;
mod connection;
mod faults;
mod faults_disk;
mod faults_kill;
mod groups;
mod keys;
mod pubsub;
mod rig;
mod server;
mod streams;
mod transactions;
