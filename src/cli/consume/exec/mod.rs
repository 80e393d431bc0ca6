//! Runs a command for each record: what is behind `--exec`.
//!
//! Knows of no topic and no group. A [`Task`] goes in: bytes for stdin, an environment, and a token
//! that means something to the caller. A [`Finished`] comes out: the token, and what the end of the
//! command says about the record. One thread does it all: [`Runner::wait`] sleeps in `poll` on the
//! ends of the commands and on what they say on stderr.

mod environment;
mod relay;
mod run;
mod runner;
#[cfg(test)]
mod tests;
mod verdict;

use std::ffi::OsString;

pub(crate) use environment::{environment, environment_of_batch};
pub(crate) use runner::Runner;
pub(crate) use verdict::Verdict;

/// One run of the command.
#[derive(Debug, Default)]
pub(crate) struct Task {
    /// Comes back in [`Finished`].
    pub(crate) token: u64,
    pub(crate) stdin: Vec<u8>,
    /// What is added to our own environment. What finds no room is left out.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// A run that has ended, or that could not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) token: u64,
    pub(crate) verdict: Verdict,
}
