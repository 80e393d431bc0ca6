//! What all clients share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::append::Appender;
use super::client::Clients;
use super::commit::Commits;
use super::expiry::Expiry;
use super::hub::Hub;
use super::names::Names;
use super::once::Room;
use super::options::ServeOptions;
use super::removals::Removals;
use super::slow::{LatencyMonitor, SlowLog};
use super::stats::Stats;
use super::topics::Topics;
use super::traffic::Traffics;
use super::waiters::Waiters;
use crate::broker::Flusher;
use crate::ids::TimestampMs;
use crate::job::Job;
use crate::store::Store;

/// A server. One thread has it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: &'static Store,
    pub(super) flusher: &'static Flusher,
    pub(super) options: ServeOptions,
    /// Settings that CONFIG SET changes.
    pub(super) tunables: Tunables,
    pub(super) topics: Topics,
    pub(super) names: Names,
    pub(super) removals: Removals,
    pub(super) expiry: Expiry,
    pub(super) appender: Appender,
    pub(super) room: Room,
    pub(super) commits: Commits,
    pub(super) waiters: Waiters,
    pub(super) hub: Hub,
    pub(super) clients: RefCell<Clients>,
    pub(super) stats: Stats,
    pub(super) traffics: Traffics,
    pub(super) slow_log: SlowLog,
    pub(super) latency: LatencyMonitor,
    /// Ends when the server is asked to stop.
    pub(super) job: Job,
    pub(super) stopper: super::listen::Stopper,
    /// Identifies this run.
    pub(super) run_id: String,
    pub(super) tcp_port: Cell<u16>,
    /// Told when a client has gone.
    pub(super) quiet: tokio::sync::Notify,
    /// What was read from a socket, while it is executed.
    pub(super) read_buffer: RefCell<Vec<u8>>,
}

/// What may be changed while the server runs.
#[derive(Debug)]
pub(super) struct Tunables {
    pub(super) clients_max: Cell<usize>,
    pub(super) idle_max: Cell<Option<std::time::Duration>>,
}

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 << 10;

impl Server {
    pub(super) fn new(
        store: &'static Store,
        flusher: &'static Flusher,
        options: ServeOptions,
        job: Job,
        stopper: super::listen::Stopper,
        files: u64,
    ) -> Rc<Server> {
        let run_id = crate::disk::random::<20>().iter().map(|byte| format!("{byte:02x}")).collect();
        let tunables =
            Tunables { clients_max: Cell::new(options.limits.clients_max), idle_max: Cell::new(options.limits.idle_max) };
        Rc::new(Server {
            store,
            flusher,
            tunables,
            topics: Topics::new(files),
            names: Names::default(),
            removals: Removals::default(),
            expiry: Expiry::default(),
            appender: Appender::default(),
            room: Room::default(),
            commits: Commits::default(),
            waiters: Waiters::default(),
            hub: Hub::new(options.slow_subscriber, options.limits.subscriber_bytes_max),
            clients: RefCell::default(),
            stats: Stats::new(store.clock().now()),
            traffics: Traffics::new(),
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            job,
            stopper,
            run_id,
            tcp_port: Cell::new(0),
            quiet: tokio::sync::Notify::new(),
            read_buffer: RefCell::new(vec![0; READ_BYTES]),
            options,
        })
    }

    pub(super) fn now(&self) -> TimestampMs {
        self.store.clock().now()
    }
}
