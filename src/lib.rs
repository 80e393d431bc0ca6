//! drave: durable, append-only logs in a directory, with no daemon. The log drive, when a winter's
//! logs go down the river together.
//!
//! Folders are floors. A file imports from floors strictly below and from its own folder; a test
//! (`tests/it/tidy.rs`) holds that.
//!
//! ```text
//!    bin   main.rs  cli/        one file per subcommand; output, format, progress, signals
//!  =======================================================================================
//!    lib   server/              the Redis protocol: sessions, one file for each family of commands
//!          engine/              trait Engine: what the commands talk to; the embedded log
//!          broker/              publish and read, across topics; groups; rate limits
//!          store/               the directory: many topics, settings, cursors
//!          log/                 one topic's log: append, sync, read, recover, repair
//!          disk/  |  codec/     syscalls, maps, shared pages, locks  |  bytes: frame, record
//!          ids units clock error config job        std and serde derive only
//! ```
//!
//! **A write** travels: `cli/publish` -> [`engine::Publisher`] -> `broker/publish` (settings, size,
//! level; the batch is packed before any lock is taken) -> `store` finds the topic -> `log/append`:
//! append lock, catch up with what others appended, one write behind the last byte of the file, a look
//! at its length, the shared page's log end moves, followers wake. At `sync`, `log/sync`: one process syncs for all who wait, the durable
//! offset covers the record, ack.
//!
//! **A read**: `cli/tail` -> [`engine::Feed`] -> `broker/feed` (merges topics by ID) -> `log/read`:
//! find the segment by its name, the frame by the index, its bytes by a map (long stretches) or a
//! positioned read (a follower's); copy the frame, verify the copy, hand out records borrowed from it. A
//! reader takes no lock.
//!
//! **A group's work**: `cli/consume` -> [`engine::Consumer`] -> `broker/consume` reads the group's journal (a log
//! of the same kind) up to its end, has the pure rules in `broker/group` decide, appends their events at the offset it has
//! read to, or, if somebody was faster, begins again; then reads the records that were delivered.
//!
//! **Rate limits** are passed before an append and before records are handed out (`broker/gate.rs`): all processes count in one
//! mapped file (`store/limit_table.rs`), by the pure rules in `broker/limits`.
//!
//! **A client's command**: `server/connection` reads all that is there, `server/dispatch` finds the command, `server/cmd` does it
//! against `store`, `log` and [`broker::SharedGroup`]; records of all clients that were ready become one frame, and replies wait
//! in order until what they say is durable. One thread executes, others sync.
//!
//! **Many processes.** Each opens the directory itself. What they share is `head`, one mapped page
//! per topic (`log/head.rs`), and locks that the kernel frees when their holder dies. After a crash
//! or a reboot the page is not believed, and the first writer rebuilds it from the files
//! (`log/recover.rs`).
//!
//! **Deliberately absent.** `log` knows no topic names; `codec` knows no files; nothing below the
//! binary reads the environment; there is no global state but the signal handler for cut maps
//! (`disk/sigbus.rs`). No consensus and no gossip of our own: beyond one machine topics live on an
//! existing engine behind [`engine::Engine`]. Retention, compaction and snapshots come in rooms
//! of their own.

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
pub mod server;
pub mod store;
pub mod units;

pub use error::{Error, Result};
