//! The binary, from outside: one file a verb.

mod generate;
mod pipelines;
mod publish;
mod stores;
mod support;
mod topic;
