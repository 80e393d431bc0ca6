//! drave: durable, append-only logs in a directory.
pub mod broker;
pub mod clock;
pub mod codec;
pub mod config;
pub mod disk;
pub mod engine;
pub mod error;
pub mod ids;
pub mod job;
pub mod log;
pub mod store;
pub mod units;
pub use error::{Error, Result};
