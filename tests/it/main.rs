//! The binary, from outside: one file a verb.

mod generate;
mod pipelines;
mod publish;
mod replay;
mod stores;
mod support;
mod tail;
mod topic;
