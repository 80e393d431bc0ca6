//! `drave serve`, tried by a client that knows nothing of it.

mod keys;
mod rig;
mod streams;
