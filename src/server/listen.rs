//! Sockets: who may connect, how many, and how all of it ends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tracing::{info, warn};

use super::append::Appender;
use super::bell;
use super::client::{Client, Peer};
use super::connection::{Connection, Stream};
use super::expiry;
use super::options::ServeOptions;
use super::removals;
use super::state::Server;
use super::stats::Stats;
use super::upkeep;
use crate::broker::Flusher;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::store::Store;

/// How long clients may take to be told what they are owed when the server ends.
const END_LIMIT: Duration = Duration::from_secs(4);
/// How long the thread that executes commands waits for a lock. Appends of other processes take
/// microseconds; what lasts longer may last long.
const PATIENCE: Duration = Duration::from_millis(2);
/// What cannot accept now (no descriptors left) tries again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// CLIENT LIST tells the fullest that a buffer was in so many seconds, as Redis does.
const PEAK_S: u64 = 5;

/// The socket in the store's directory.
pub(super) const SOCKET: &str = "drave.sock";

/// Asks a server to end. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Stopping>);

#[derive(Debug, Default)]
struct Stopping {
    is_asked: AtomicBool,
    notify: Notify,
}

impl Stopper {
    /// A server that was not asked to end.
    #[must_use]
    pub fn new() -> Stopper {
        Stopper::default()
    }

    /// Has the server end: no new clients, what runs is finished and synced.
    pub fn stop(&self) {
        self.0.is_asked.store(true, Ordering::SeqCst);
        self.0.notify.notify_one();
    }

    async fn asked(&self) {
        while !self.0.is_asked.load(Ordering::SeqCst) {
            self.0.notify.notified().await;
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The socket in the store's directory.
    Unix(std::path::PathBuf),
    /// The port that was asked for, or, for port 0, the one that was got.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => path.display().fmt(f),
            Address::Tcp(address) => address.fmt(f),
        }
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Serves the store until `stopper` says so. `ready` is told once clients can connect.
///
/// The store is handed over for ever: the server's threads have it until the process ends.
///
/// # Errors
/// When a socket cannot be had, or another server has the store's.
pub fn serve(store: Store, options: ServeOptions, stopper: &Stopper, ready: impl FnOnce(&[Address])) -> Result<()> {
    let store: &'static Store = Box::leak(Box::new(store));
    let flusher: &'static Flusher = Box::leak(Box::new(Flusher::default()));
    let files = crate::disk::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| io_error("start the server's thread", store, source))?;
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, async {
        let server = Server::new(store, flusher, options, Job::with_patience(PATIENCE), stopper.clone(), files);
        server.expiry.load(store)?;
        let listeners = bind(&server).await?;
        let addresses: Vec<Address> = listeners.iter().map(|(address, _)| address.clone()).collect();
        ready(&addresses);
        run(&server, listeners).await;
        Ok(())
    });
    drop(tasks);
    // What waits for a lock still was acknowledged to nobody.
    runtime.shutdown_background();
    flusher.finish();
    outcome
}

fn io_error(action: &'static str, store: &Store, source: io::Error) -> Error {
    Error::Io { action, path: store.path().to_owned(), source }
}

async fn bind(server: &Rc<Server>) -> Result<Vec<(Address, Listener)>> {
    let mut listeners = Vec::new();
    match crate::disk::bind_socket(server.store.root(), SOCKET)? {
        Some(socket) => {
            let unix = UnixListener::from_std(socket);
            let unix = unix.map_err(|source| io_error("listen on the socket in", server.store, source))?;
            listeners.push((Address::Unix(server.store.path().join(SOCKET)), Listener::Unix(unix)));
        }
        None if server.options.tcp.is_empty() => {
            let path = server.store.path().join(SOCKET);
            return Err(Error::Busy { what: "the store's socket", path, holder: None, waited: Duration::ZERO });
        }
        None => warn!("another server has the store's socket: this one listens on its own addresses only"),
    }
    for address in &server.options.tcp {
        let refused = |source| Error::Io { action: "listen on", path: address.to_string().into(), source };
        let tcp = TcpListener::bind(address).await.map_err(refused)?;
        let bound = tcp.local_addr().map_err(refused)?;
        server.tcp_port.set(bound.port());
        listeners.push((Address::Tcp(bound), Listener::Tcp(tcp)));
    }
    Ok(listeners)
}

async fn run(server: &Rc<Server>, listeners: Vec<(Address, Listener)>) {
    tokio::task::spawn_local(Appender::run(Rc::clone(server)));
    tokio::task::spawn_local(bell::run(Rc::clone(server)));
    tokio::task::spawn_local(removals::run(Rc::clone(server)));
    tokio::task::spawn_local(removals::empty_trash(Rc::clone(server)));
    tokio::task::spawn_local(expiry::run(Rc::clone(server)));
    tokio::task::spawn_local(expiry::write(Rc::clone(server)));
    tokio::task::spawn_local(look_after(Rc::clone(server)));
    let upkeep = Job::new();
    tokio::task::spawn_local(upkeep::run(Rc::clone(server), upkeep.clone()));
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|(address, listener)| tokio::task::spawn_local(accept(Rc::clone(server), address, listener)))
        .collect();
    server.stopper.asked().await;
    upkeep.stop();
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    for task in accepting {
        // Only then its socket is closed.
        let _ = task.await;
    }
    if let Err(error) = crate::disk::remove_socket(server.store.root(), SOCKET) {
        warn!(%error, "the socket could not be removed");
    }
    end(server).await;
}

/// Finishes what was asked for, and tells it.
async fn end(server: &Rc<Server>) {
    let clients: Vec<Rc<Client>> = server.clients.borrow().iter().cloned().collect();
    info!(clients = clients.len(), "ending");
    clients.iter().for_each(|client| client.end());
    let over = async {
        let is_busy =
            || !server.commits.is_idle() || !server.removals.is_idle() || !server.expiry.is_idle() || !server.appender.is_idle();
        while server.clients.borrow().len() > 0 || is_busy() {
            server.quiet.notified().await;
        }
    };
    if tokio::time::timeout(END_LIMIT, over).await.is_err() {
        warn!(clients = server.clients.borrow().len(), "clients did not take their last replies in time");
    }
    server.appender.flush_all(server);
}

async fn accept(server: Rc<Server>, address: Address, listener: Listener) {
    loop {
        let accepted = match &listener {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let name = format!("{address}:0");
                let descriptor = stream.as_raw_fd();
                let peer = Peer { address: name.clone(), local_address: name, is_unix: true, descriptor };
                (Stream::Unix(stream), peer)
            }),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                // Replies are written whole: there is nothing to wait for.
                let _ = stream.set_nodelay(true);
                // Of an address for all, the one that was connected to.
                let local = stream.local_addr().map_or_else(|_| address.to_string(), |local| local.to_string());
                let descriptor = stream.as_raw_fd();
                let peer = Peer { address: peer.to_string(), local_address: local, is_unix: false, descriptor };
                (Stream::Tcp(stream), peer)
            }),
        };
        match accepted {
            Ok((stream, peer)) => begin(&server, stream, peer),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn begin(server: &Rc<Server>, stream: Stream, peer: Peer) {
    Stats::add(&server.stats.connections, 1);
    let mut clients = server.clients.borrow_mut();
    if clients.len() >= server.tunables.clients_max.get() {
        Stats::add(&server.stats.connections_rejected, 1);
        stream.refuse(b"-ERR max number of clients reached\r\n");
        return;
    }
    let client = Client::new(clients.next_id(), peer, server.now());
    clients.add(&client);
    tokio::task::spawn_local(Connection::new(Rc::clone(server), client, stream).run());
}

/// Counts, and closes those who idle.
async fn look_after(server: Rc<Server>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for second in 0u64.. {
        every.tick().await;
        server.stats.tick();
        server.traffics.tick(Instant::now());
        server.topics.beat();
        server.names.let_go();
        if second.is_multiple_of(PEAK_S) {
            server.clients.borrow().iter().for_each(|client| client.facts.reply_peak.set(client.facts.output_bytes.get()));
        }
        let Some(idle_max) = server.tunables.idle_max.get() else { continue };
        let now = Instant::now();
        for client in server.clients.borrow().iter() {
            // Who waits for something is not idle, as Redis has it.
            let facts = &client.facts;
            let waits = facts.is_blocked.get() || facts.subscriptions() > 0;
            if !waits && now.duration_since(facts.active.get()) > idle_max {
                Stats::add(&server.stats.closed_for_idling, 1);
                client.kill();
            }
        }
    }
}
