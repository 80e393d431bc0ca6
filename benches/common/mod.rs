//! What the benches share: a store in a temporary directory, and lines of 100 bytes.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::Path;
use std::time::Duration;

use drave::clock::Clock;
use drave::config::Overrides;
use drave::engine::{Embedded, Engine as _, OpenOptions, PublishOptions};
use drave::ids::TopicName;
use drave::job::Job;

/// One line, without its newline.
pub(crate) const LINE: [u8; 100] = [b'x'; 100];

/// A store at `path`, with a topic `t` of this durability.
pub(crate) fn store(path: &Path, durability: &str) -> Embedded {
    let options = OpenOptions { create: true, unsafe_fs: false, clock: Clock::system() };
    let engine = Embedded::open(path, &options).expect("a store");
    let mut settings = Overrides::default();
    settings.set("durability", durability).expect("a level");
    engine.create_topic(&topic(), &settings).expect("a topic");
    engine
}

/// The topic of every bench.
pub(crate) fn topic() -> TopicName {
    TopicName::new(b"t").expect("a legal name")
}

/// At the topic's own level.
pub(crate) fn options() -> PublishOptions {
    PublishOptions { durability: None, create: false, limit_wait: Duration::ZERO, job: Job::new() }
}

/// A directory on the disk that holds the build, not on a tmpfs.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Whether only one quick round is wanted, as `cargo bench -- --test` asks for.
pub(crate) fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--test" || argument == "--quick")
}
