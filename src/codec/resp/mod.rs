//! The protocol of Redis, RESP2 and RESP3, as bytes.
//!
//! | file | what |
//! |---|---|
//! | `request` | what a client sends: arrays of bulk strings, cut anywhere |
//! | `inline` | what a person types: a line of words, some of them quoted |
//! | `reply` | what the server answers, in the form that the connection speaks |
//! | `value` | replies as a client reads them |
//! | `glob` | the patterns of PSUBSCRIBE, KEYS and SCAN |
//!
//! Texts of errors are the ones of Redis: clients and test suites match on them.

pub mod glob;
mod inline;
pub mod reply;
pub mod request;
pub mod value;

#[cfg(test)]
pub(crate) mod testing;

pub use reply::{Protocol, Reply};
pub use request::{Args, Progress, ProtocolError, RequestLimits, RequestParser};
