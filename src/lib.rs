//! drave: durable, append-only logs in a directory.
pub mod clock;
pub mod codec;
pub mod config;
pub mod engine;
pub mod error;
pub mod ids;
pub mod job;
pub mod units;
pub use error::{Error, Result};
