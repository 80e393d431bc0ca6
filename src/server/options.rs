//! What a server is told when it starts.

use std::net::SocketAddr;
use std::time::Duration;

/// How to serve a store.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen beside the store's own socket.
    pub tcp: Vec<SocketAddr>,
    /// What clients have to say first; `None` = nothing.
    pub password: Option<Vec<u8>>,
    /// What one client, and all of them, may take.
    pub limits: Limits,
    /// What becomes of messages for a subscriber that does not keep up.
    pub slow_subscriber: SlowSubscriber,
    /// Whether FLUSHDB and FLUSHALL delete every topic.
    pub allow_flush: bool,
    /// How often retention and compaction look after the topics.
    pub upkeep_every: Duration,
}

/// What clients may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once.
    pub clients_max: usize,
    /// Bytes of one argument.
    pub argument_bytes_max: u64,
    /// Bytes that a client has sent and that were not executed yet: the bound of one request.
    pub query_bytes_max: usize,
    /// Bytes of replies that a client has not read. Beyond it is closed.
    pub output_bytes_max: usize,
    /// Bytes of messages that a subscriber has not read.
    pub subscriber_bytes_max: usize,
    /// A client that says nothing for so long is closed; `None` = never.
    pub idle_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients_max: 10_000,
            argument_bytes_max: 512 << 20,
            query_bytes_max: 1 << 30,
            output_bytes_max: 256 << 20,
            subscriber_bytes_max: 1 << 20,
            idle_max: None,
        }
    }
}

/// What becomes of messages for a subscriber whose buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowSubscriber {
    /// The oldest ones that wait are dropped.
    DropOldest,
    /// The new one is dropped.
    DropNewest,
    /// The subscriber is closed.
    Close,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            tcp: Vec::new(),
            password: None,
            limits: Limits::default(),
            slow_subscriber: SlowSubscriber::DropOldest,
            allow_flush: false,
            upkeep_every: Duration::from_secs(60),
        }
    }
}
