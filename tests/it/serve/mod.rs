//! `drave serve`, tried by a client that knows nothing of it.

mod faults;
mod faults_disk;
mod faults_kill;
mod rig;
mod streams;
