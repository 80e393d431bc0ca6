//! `drave serve`, tried by a client that knows nothing of it.

mod rig;
mod streams;
