//! `drave serve`: the Redis protocol in front of a store. One more process beside all others: what it
//! appends, shells read at once, and the other way round.
//!
//! Sockets are tokio's, on **one** thread, which also executes all commands, one after another: so
//! nothing runs between the commands of one EXEC, and nothing here needs a lock. What may block (a
//! sync) runs on other threads.
//!
//! ```text
//!   listen ──> connection ──> dispatch ──> cmd/…  ──> append ──> log            (XADD: into a batch)
//!   (accept)   (one task a     (arity, AUTH, │           │ one frame for all clients that
//!               client: read,   MULTI)       │           │ were ready at the same time
//!               execute all     ▲            │           ▼
//!               that is there,  │            │        commit ──> one sync for all who wait
//!               write once)     │            └──> waiters, hub (XREAD BLOCK, SUBSCRIBE)
//!                    ▲          │                        ▲
//!                    └── output ┘ (replies in order,     bell: what other processes publish
//!                        held until they are durable)
//! ```
//!
//! **A write**: XADD puts its record into the topic's batch and leaves a place in the client's output.
//! Once every client that was ready has been executed, each batch becomes one frame (`append`); at
//! `sync` the place is filled when the frame is durable (`commit`), and meanwhile others go on.
//!
//! | file | job |
//! |---|---|
//! | `listen` | sockets, the limit of clients, stopping |
//! | `connection` | one client's task: bytes in, requests, bytes out |
//! | `session`, `output` | what a client has set up; its replies, in order |
//! | `client` | what others may know of a client, and do to it |
//! | `dispatch` | which command, and whether it may run now |
//! | `cmd/` | the commands: a file for each family, one table |
//! | `topics`, `groups` | topics in hand, and their groups |
//! | `names` | what all topics are called |
//! | `removals`, `expiry` | topics on their way out, and those whose time will come |
//! | `append`, `commit` | records of many clients as one frame; syncs for all who wait |
//! | `once` | messages that may come again |
//! | `hub` | channels, their subscribers, and what is on its way to them |
//! | `waiters`, `bell` | clients that wait for records, from this process or another |
//! | `reading` | records as replies |
//! | `ask` | the other end of the store's socket |
//! | `stats`, `traffic`, `slow` | what is counted, of the server and of topics; what took long |
//! | `upkeep` | retention and compaction |

mod append;
mod ask;
mod bell;
mod client;
mod cmd;
mod commit;
mod connection;
mod dispatch;
mod expiry;
mod groups;
mod hub;
mod limits;
mod listen;
mod names;
mod once;
mod options;
mod output;
mod reading;
mod refusal;
mod removals;
mod session;
mod slow;
mod state;
mod stats;
mod topics;
mod traffic;
mod upkeep;
mod waiters;

pub use ask::{Heard, ask};
pub use listen::{Address, Stopper, serve};
pub use options::{Limits, ServeOptions, SlowSubscriber};
