//! One client's task: reads what is there, has all of it executed, and writes all replies at once.
//!
//! It is a state machine that is polled, not a sequence of awaits: whatever happens (bytes, a message,
//! a sync that is over, a limit), it looks at everything once and sleeps again.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;
use tracing::debug;

use super::client::{Client, Unblock};
use super::dispatch;
use super::refusal::Refusal;
use super::session::{Blocked, Session};
use super::state::Server;
use super::stats::Stats;
use crate::codec::resp::{Progress, Reply, RequestLimits, RequestParser};

/// A client gets so many reads in a row before others have their turn.
const READS_IN_A_ROW: u32 = 4;
/// Buffers that grew beyond this are given back once they are empty.
const KEPT_BYTES: usize = 16 << 10;
/// Requests are executed until there are so many bytes of replies, and go on once the client has taken
/// them: what it asks for at once may be far more than what is kept for it.
const REPLIES_AT_ONCE: usize = 256 << 10;
/// Messages are taken out of the mailbox, where they are counted, up to so many bytes at a time.
const MAIL_BYTES: usize = 64 << 10;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client's task.
#[derive(Debug)]
pub(super) struct Connection {
    server: Rc<Server>,
    client: Rc<Client>,
    session: Session,
    stream: Stream,
    parser: RequestParser,
    /// Read, and not executed.
    input: Vec<u8>,
    /// There may be whole requests in `input`, which wait until replies were sent.
    has_more: bool,
    /// Ready to be sent, of which this many bytes were.
    unsent: Reply,
    sent: usize,
    /// The client has closed its end.
    is_at_end: bool,
    limit: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// Says why it is closed, if that is possible without waiting.
    pub(super) fn refuse(self, text: &[u8]) {
        // Nothing more can be done for whom there is no room.
        let _ = match self {
            Stream::Tcp(stream) => stream.try_write(text),
            Stream::Unix(stream) => stream.try_write(text),
        };
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
}

impl Connection {
    pub(super) fn new(server: Rc<Server>, client: Rc<Client>, stream: Stream) -> Connection {
        let limits = &server.options.limits;
        let parser = RequestParser::new(RequestLimits {
            bulk_bytes_max: limits.argument_bytes_max,
            request_bytes_max: limits.query_bytes_max,
            ..RequestLimits::default()
        });
        let mut session = Session::new(server.options.password.is_none());
        session.output.reply().set_bytes_max(limits.output_bytes_max);
        Connection {
            session,
            unsent: Reply::default(),
            server,
            client,
            stream,
            parser,
            input: Vec::new(),
            has_more: false,
            sent: 0,
            is_at_end: false,
            limit: None,
        }
    }

    /// Ends when the connection is over.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.client.set_waker(context.waker());
        for _ in 0..READS_IN_A_ROW {
            if self.client.is_killed() {
                return Poll::Ready(());
            }
            if self.client.is_ending() {
                self.stop();
            }
            if self.session.blocked.is_some() && self.may_read() {
                // Whoever has gone gets nothing any more: that is known before it is served.
                match self.read(context) {
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    _ if self.is_over() => return Poll::Ready(()),
                    _ => {}
                }
            }
            self.work_on_blocked(context);
            self.execute_input();
            match self.write(context) {
                Ok(()) => {}
                Err(error) => {
                    debug!(client = self.client.id, %error, "a connection broke");
                    return Poll::Ready(());
                }
            }
            if self.is_over() {
                return Poll::Ready(());
            }
            if self.has_more && self.sent == self.unsent.len() && !self.session.output.is_waiting() {
                continue;
            }
            if !self.may_read() {
                return Poll::Pending;
            }
            match self.read(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    debug!(client = self.client.id, %error, "a connection broke");
                    return Poll::Ready(());
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What was executed is answered, and no more.
    fn stop(&mut self) {
        if let Some(blocked) = self.session.blocked.take() {
            self.end_waiting(&blocked);
        }
        self.session.is_closing = true;
        self.has_more = false;
        self.input = Vec::new();
    }

    /// Whether all was said and done.
    fn is_over(&self) -> bool {
        if let Some(blocked) = &self.session.blocked {
            // Nobody is there to take what it waits for; what is done for it is finished.
            return self.is_at_end && blocked.command.is_blocking();
        }
        let is_done = self.session.is_closing || (self.is_at_end && self.input.is_empty());
        is_done && self.sent == self.unsent.len() && !self.session.output.is_waiting()
    }

    /// A client whose replies wait for a sync is not asked for more: that bounds what waits.
    fn may_read(&self) -> bool {
        !self.is_at_end && !self.session.is_closing && !self.session.output.is_waiting()
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let server = Rc::clone(&self.server);
        let mut buffer = server.read_buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        match self.stream.poll_read(context, &mut read) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let bytes = read.filled();
        if bytes.is_empty() {
            self.is_at_end = true;
            self.drop_cut_off();
            return Poll::Ready(Ok(()));
        }
        Stats::add(&server.stats.bytes_in, bytes.len() as u64);
        Stats::add(&self.client.facts.bytes_in, bytes.len() as u64);
        self.client.facts.active.set(Instant::now());
        if self.input.is_empty() && self.session.blocked.is_none() && !self.has_much_to_send() {
            // Mostly whole requests: executed where they were read to.
            let done = self.execute(bytes);
            self.input.extend_from_slice(&bytes[done..]);
        } else {
            self.input.extend_from_slice(bytes);
        }
        if self.input.len() > server.options.limits.query_bytes_max {
            Stats::add(&server.stats.closed_for_query, 1);
            self.refuse("ERR Protocol error: more was sent than the query buffer takes");
        }
        Poll::Ready(Ok(()))
    }

    /// A request that was cut off by the end is none.
    fn drop_cut_off(&mut self) {
        if !self.has_more {
            self.input.clear();
        }
    }

    fn refuse(&mut self, text: &'static str) {
        self.server.stats.note_error(text);
        self.session.output.reply().error(text);
        self.stop();
    }

    fn has_much_to_send(&self) -> bool {
        let bytes_max = self.server.options.limits.output_bytes_max;
        self.unsent.len() - self.sent + self.session.output.len() >= REPLIES_AT_ONCE.min(bytes_max)
    }

    fn execute_input(&mut self) {
        if self.input.is_empty() || self.session.blocked.is_some() {
            return;
        }
        if self.has_much_to_send() || (self.has_more && self.session.output.is_waiting()) {
            self.has_more = true;
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        let done = self.execute(&input);
        input.drain(..done);
        if input.is_empty() && input.capacity() > KEPT_BYTES {
            input = Vec::new();
        }
        self.input = input;
        if self.is_at_end {
            self.drop_cut_off();
        }
        self.client.facts.query_bytes.set(self.input.len());
        self.client.facts.query_free.set(self.input.capacity() - self.input.len());
    }

    /// Executes all whole requests in `bytes`; says how far it came.
    fn execute(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        self.has_more = false;
        while !self.session.is_closing && self.session.blocked.is_none() {
            if self.has_much_to_send() {
                self.has_more = at < bytes.len();
                break;
            }
            match self.parser.step(&bytes[at..]) {
                Ok(Progress::Request { bytes: length }) => {
                    let args: SmallVec<[&[u8]; 16]> = self.parser.args(&bytes[at..]).iter().collect();
                    dispatch::run(&self.server, &self.client, &mut self.session, &args);
                    at += length;
                }
                Ok(Progress::Skip { bytes: length }) => at += length,
                Ok(Progress::More { .. }) => break,
                Err(error) => {
                    let text = error.text();
                    self.server.stats.note_error("ERR");
                    self.session.output.reply().error(&text);
                    self.session.is_closing = true;
                }
            }
        }
        if self.session.is_closing { bytes.len() } else { at }
    }

    /// A command that waits: it tries again, or its time is over.
    fn work_on_blocked(&mut self, context: &mut Context<'_>) {
        let Some(mut blocked) = self.session.blocked.take() else { return };
        // Batches are not flushed here: whoever flushes them wakes those who wait, the first one first.
        let from = self.session.output.reply().len();
        let is_done = match blocked.command.try_again(&self.server, &mut self.session) {
            Ok(is_served) => is_served || self.is_given_up(&mut blocked, context),
            Err(refusal) => {
                self.session.output.reply().truncate(from);
                self.say_refusal(&refusal);
                true
            }
        };
        if !is_done {
            self.session.blocked = Some(blocked);
            return;
        }
        self.end_waiting(&blocked);
    }

    fn is_given_up(&mut self, blocked: &mut Blocked, context: &mut Context<'_>) -> bool {
        let unblocked = self.client.take_unblock();
        if unblocked == Some(Unblock::Error) {
            self.say_refusal(&Refusal::text("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
            return true;
        }
        let is_late = blocked.limit.is_some_and(|limit| limit <= Instant::now());
        if unblocked.is_some() || is_late {
            blocked.command.give_up(&mut self.session);
            return true;
        }
        let look = blocked.command.look_again_after(&self.server).map(|after| Instant::now() + after);
        if let Some(next) = blocked.limit.into_iter().chain(look).min() {
            let sleep = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next.into())));
            if sleep.deadline() != next.into() {
                sleep.as_mut().reset(next.into());
            }
            if std::future::Future::poll(sleep.as_mut(), context).is_ready() {
                // It ended between two looks at the clock: look again.
                context.waker().wake_by_ref();
            }
        }
        false
    }

    fn end_waiting(&mut self, blocked: &Blocked) {
        self.limit = None;
        self.client.take_unblock();
        if self.client.facts.is_blocked.replace(false) {
            let stats = &self.server.stats;
            stats.blocked_clients.set(stats.blocked_clients.get().saturating_sub(1));
        }
        self.server.waiters.remove(blocked.waiter, &blocked.command.keys());
    }

    fn say_refusal(&mut self, refusal: &Refusal) {
        self.server.stats.note_error(refusal.as_str());
        self.session.output.reply().error(refusal.as_str());
    }

    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.session.output.reply().is_cut_short() {
            return Err(self.too_much());
        }
        loop {
            if self.sent == self.unsent.len() {
                self.unsent.truncate(0);
                self.sent = 0;
                self.take_mail();
                self.session.output.settle(&mut self.unsent, &self.client);
                let facts = &self.client.facts;
                facts.reply_peak.set(facts.reply_peak.get().max(self.unsent.len()));
                if self.unsent.is_empty() {
                    let _given_back = (self.unsent.capacity() > KEPT_BYTES).then(|| self.unsent.take());
                    return self.check_output();
                }
            }
            match self.stream.poll_write(context, &self.unsent.bytes()[self.sent..]) {
                Poll::Pending => return self.check_output(),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    Stats::add(&self.server.stats.bytes_out, count as u64);
                    Stats::add(&self.client.facts.bytes_out, count as u64);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    /// Messages go out behind the replies that are ready, and before those that wait.
    fn take_mail(&mut self) {
        if self.client.mailbox.is_empty() || self.session.output.is_waiting() {
            return;
        }
        self.session.output.settle(&mut self.unsent, &self.client);
        while self.unsent.len() < MAIL_BYTES
            && let Some(message) = self.client.mailbox.take()
        {
            self.unsent.append(&message);
        }
    }

    /// A client that does not read has its replies kept up to a bound.
    fn check_output(&mut self) -> io::Result<()> {
        let bytes = self.unsent.len() - self.sent + self.session.output.len();
        self.client.facts.output_bytes.set(bytes);
        self.client.facts.reply_room.set(self.unsent.capacity() + self.session.output.reply().capacity());
        if bytes <= self.server.options.limits.output_bytes_max {
            return Ok(());
        }
        Err(self.too_much())
    }

    fn too_much(&self) -> io::Error {
        Stats::add(&self.server.stats.closed_for_output, 1);
        io::Error::other("the client does not read its replies, or asks for more than the output buffer takes at once")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(blocked) = self.session.blocked.take() {
            self.end_waiting(&blocked);
        }
        for member in self.session.memberships.drain(..) {
            if let Err(error) = member.group.shared.borrow_mut().leave(member.consumer, self.client.id) {
                // Others find its place empty.
                debug!(client = self.client.id, %error, "a consumer could not leave its group");
            }
        }
        self.server.hub.leave(&self.client, &mut self.session.subscriptions);
        self.server.clients.borrow_mut().remove(self.client.id);
        self.server.quiet.notify_one();
    }
}
