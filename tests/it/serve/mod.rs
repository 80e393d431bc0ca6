//! `drave serve`, tried by a client that knows nothing of it.

mod groups;
mod rig;
mod streams;
