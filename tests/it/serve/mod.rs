//! `drave serve`, tried by a client that knows nothing of it.

mod clients;
mod connection;
mod faults;
mod faults_disk;
mod faults_kill;
mod groups;
mod groups_entries;
mod groups_together;
mod groups_told;
mod idmp;
mod keys;
mod pubsub;
pub(crate) mod references;
pub(crate) mod rig;
mod server;
mod streams;
mod transactions;
mod upkeep;
mod watch;
