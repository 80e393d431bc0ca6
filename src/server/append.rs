//! Records on their way into logs: those of all clients that were ready at the same time become one
//! frame a topic.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use tracing::warn;

use super::cmd::xtrim::Trim;
use super::commit;
use super::once::{self, Knowing, Messages};
use super::output::Ticket;
use super::refusal::{Answer, Refusal};
use super::state::Server;
use super::topics::Entry;
use crate::broker::{Seen, Work};
use crate::codec::batch::FieldRef;
use crate::codec::frame::{FRAME_BYTES_AIM, Packed};
use crate::codec::{BatchBuilder, Malformed, Origin, OriginKey};
use crate::config::{Compression, Durability};
use crate::error::Error;
use crate::ids::{Offset, Place, RecordId};
use crate::job::Job;
use crate::log::{Appended, Log};

/// A topic can be deleted under a batch, and the next one too.
const REOPEN_MAX: usize = 4;
/// Batches that wait on other threads at once. There are many more threads: syncs find one at any time.
const SLOW_MAX: usize = 64;

/// Batches that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Appender {
    dirty: RefCell<Vec<Rc<Entry>>>,
    waker: RefCell<Option<Waker>>,
    /// A batch that nobody fills now: its memory is used again.
    spare: RefCell<Option<BatchBuilder>>,
    batches: Cell<u64>,
    /// Batches that wait on other threads.
    slow: Cell<usize>,
}

/// Records for one topic.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) load: Load,
    /// Of the names and values.
    bytes: u64,
    pub(super) ticket: Rc<Ticket>,
    /// What to leave out of the topic once they are in it.
    trim: Option<Trim>,
}

/// What goes into the log.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) builder: BatchBuilder,
    pub(super) messages: Messages,
}

/// One record to append.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) fields: &'a [FieldRef<'a>],
    pub(super) null: bool,
    pub(super) origin: Option<Origin<'a>>,
}

/// What came of a try to append a batch.
#[derive(Debug)]
enum Tried {
    /// With what; `None` = all of it was in the log before.
    Appended(Rc<Entry>, Option<Appended>),
    /// Not yet: somebody else has the topic, or it has to be repaired first.
    Held(Rc<Entry>),
    Refused(Refusal),
}

impl Load {
    /// Which of its records the message is.
    pub(super) fn index_of(&self, key: &OriginKey) -> Option<u32> {
        self.messages.index_of(key)
    }
}

impl Appender {
    /// Puts a record into the topic's batch; the ticket tells its ID once it is stored at the topic's
    /// level.
    pub(super) fn add(
        &self,
        server: &Rc<Server>,
        entry: &Rc<Entry>,
        record: NewRecord<'_>,
        trim: Option<Trim>,
    ) -> Answer<(Rc<Ticket>, u32)> {
        let bytes = check_size(entry, &record)?;
        if entry.batch.borrow().as_ref().is_some_and(|batch| batch.trim != trim) {
            // One frame is trimmed once.
            self.flush(server, entry);
        }
        check_room(entry, trim)?;
        entry.pass(server, record.fields)?;
        let sent = match &record.origin {
            None => None,
            Some(origin) => Some((origin, Knowing::of(server, entry).inspect_err(|_| entry.give_back())?)),
        };
        let mut slot = entry.batch.borrow_mut();
        let is_new = slot.is_none();
        let batch = slot.get_or_insert_with(|| Batch {
            load: Load { builder: self.spare.borrow_mut().take().unwrap_or_default(), messages: Messages::default() },
            bytes: 0,
            ticket: Ticket::new(),
            trim,
        });
        let builder = &mut batch.load.builder;
        let index = builder.len();
        match sent {
            None => builder.push(record.fields, record.null, None).map_err(|why| not_added(entry, why))?,
            Some((origin, knowing)) => {
                builder.push_sent(record.fields, record.null, origin).map_err(|why| not_added(entry, why))?;
                batch.load.messages.note(knowing, origin, index);
            }
        }
        batch.bytes += bytes;
        let added = (Rc::clone(&batch.ticket), index);
        let is_full = batch.load.builder.bytes() >= FRAME_BYTES_AIM;
        drop(slot);
        if is_new {
            self.dirty.borrow_mut().push(Rc::clone(entry));
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
        if is_full {
            self.flush(server, entry);
        }
        Ok(added)
    }

    /// Appends all batches.
    pub(super) fn flush_all(&self, server: &Rc<Server>) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        for entry in self.dirty.take() {
            self.flush(server, &entry);
        }
    }

    /// Appends the batches that would not wait for a sync which is under way.
    fn flush_due(&self, server: &Rc<Server>) {
        for entry in self.dirty.take() {
            let is_left = entry.batch.borrow().is_some();
            if is_left && entry.is_synced() && server.commits.put_off(&entry) {
                // Whoever reads the topic before that still finds it here.
                self.dirty.borrow_mut().push(entry);
            } else {
                self.flush(server, &entry);
            }
        }
    }

    /// Appends the topic's batch, if there is one and the one before is in.
    pub(super) fn flush(&self, server: &Rc<Server>, entry: &Rc<Entry>) {
        if entry.is_slow.get() {
            return;
        }
        let Some(batch) = entry.batch.borrow_mut().take() else { return };
        self.batches.set(self.batches.get() + 1);
        self.append(server, entry, batch);
    }

    fn append(&self, server: &Rc<Server>, entry: &Rc<Entry>, mut batch: Batch) {
        match append_anywhere(server, entry, &mut batch.load) {
            Tried::Appended(entry, appended) => self.settle(server, &entry, batch, appended),
            Tried::Held(entry) if self.slow.get() < SLOW_MAX => self.append_slowly(server, entry, batch),
            Tried::Held(entry) => batch.ticket.resolve(Err(busy(&entry))),
            Tried::Refused(refusal) => batch.ticket.resolve(Err(refusal)),
        }
    }

    /// Appends the batch on a thread that may wait; the topic's next one waits for it.
    fn append_slowly(&self, server: &Rc<Server>, entry: Rc<Entry>, mut batch: Batch) {
        entry.is_slow.set(true);
        self.slow.set(self.slow.get() + 1);
        let server = Rc::clone(server);
        tokio::task::spawn_local(async move {
            let (log, compression) = (Arc::clone(entry.log()), compression_of(&entry));
            let (mut load, mut seen) = (std::mem::take(&mut batch.load), entry.seen.take());
            // Not the server's own job: this one waits as long as others do, and repairs.
            let work = move || {
                let appended = append_load(&log, compression, &mut load, &mut seen, &Job::new());
                (load, seen, appended)
            };
            let done = tokio::task::spawn_blocking(work).await;
            let own = &server.appender;
            entry.is_slow.set(false);
            own.slow.set(own.slow.get() - 1);
            let done = done.map(|(load, seen, appended)| {
                *entry.seen.borrow_mut() = seen;
                (load, appended)
            });
            match done {
                Ok((load, Ok(appended))) => own.settle(&server, &entry, Batch { load, ..batch }, appended),
                // By the usual way, to a new topic of the name.
                Ok((load, Err(Error::TopicGone { .. }))) => own.append(&server, &entry, Batch { load, ..batch }),
                Ok((_, Err(error))) => batch.ticket.resolve(Err(error.into())),
                Err(_) => batch.ticket.resolve(Err(Refusal::text("ERR not known to be stored: the append did not end"))),
            }
            own.flush(&server, &entry);
            server.quiet.notify_one();
        });
    }

    /// The batch is in the log: sees to all that follows.
    fn settle(&self, server: &Rc<Server>, entry: &Rc<Entry>, batch: Batch, appended: Option<Appended>) {
        let Batch { load: Load { mut builder, messages }, bytes, ticket, trim } = batch;
        ticket.set_known(messages.into_known());
        let end = appended.map_or_else(|| entry.log().end_place(), |appended| appended.end_place());
        if let Some(appended) = appended {
            keep(server, entry, &appended);
            entry.traffic.note_added(u64::from(builder.len()), bytes);
            ticket.set_first_id(appended.first_id);
            self::trim(server, entry, trim);
        }
        written_at(server, entry, end, &ticket, None);
        builder.clear();
        *self.spare.borrow_mut() = Some(builder);
    }

    /// Appends one record at once, with an ID of its own or at a certain offset only; the ticket tells
    /// when it is at `level`, or the topic's if that is higher.
    pub(super) fn append_now(
        &self,
        server: &Rc<Server>,
        entry: &Rc<Entry>,
        record: NewRecord<'_>,
        how: How,
    ) -> Answer<(Appended, Rc<Ticket>)> {
        self.flush(server, entry);
        if entry.is_slow.get() {
            return Err(busy(entry));
        }
        let bytes = check_size(entry, &record)?;
        entry.pass(server, record.fields)?;
        let mut builder = BatchBuilder::new();
        builder.push(record.fields, record.null, how.id).map_err(|why| not_added(entry, why))?;
        let appended = append_once(server, entry, &builder, how.expect).inspect_err(|_| entry.give_back())?;
        entry.traffic.note_added(1, bytes);
        let ticket = Ticket::new();
        ticket.set_first_id(appended.first_id);
        keep(server, entry, &appended);
        trim(server, entry, how.trim);
        written_at(server, entry, appended.end_place(), &ticket, how.level);
        Ok((appended, ticket))
    }

    /// The task that appends what clients have left, whenever all that were ready had their turn.
    pub(super) async fn run(server: Rc<Server>) {
        std::future::poll_fn(|context| {
            server.appender.flush_due(&server);
            *server.appender.waker.borrow_mut() = Some(context.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }

    /// Whether no batch waits on another thread.
    pub(super) fn is_idle(&self) -> bool {
        self.slow.get() == 0
    }

    /// How many frames were appended.
    pub(super) fn batches(&self) -> u64 {
        self.batches.get()
    }
}

/// What is asked of a single append.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    pub(super) id: Option<RecordId>,
    pub(super) expect: Option<Offset>,
    pub(super) level: Option<Durability>,
    pub(super) trim: Option<Trim>,
}

/// How many bytes the record has, if it is not too large.
fn check_size(entry: &Entry, record: &NewRecord<'_>) -> Answer<u64> {
    let mut bytes: u64 = record.fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
    if let Some(origin) = &record.origin {
        bytes += (origin.producer.len() + origin.message.len()) as u64;
    }
    let max = entry.settings()?.record_bytes_max;
    if bytes > max {
        let why = format_args!("a record of {bytes} bytes is larger than the topic takes (record-bytes-max is {max})");
        return Err(Refusal::err(why));
    }
    Ok(bytes)
}

/// The record has passed the limits for nothing.
fn not_added(entry: &Entry, why: Malformed) -> Refusal {
    entry.give_back();
    Refusal::err(why)
}

/// While a batch waits on another thread, the topic takes what goes into one frame, and no more.
fn check_room(entry: &Entry, trim: Option<Trim>) -> Answer {
    let is_taken = |batch: &Batch| batch.trim != trim || batch.load.builder.bytes() >= FRAME_BYTES_AIM;
    if entry.is_slow.get() && entry.batch.borrow().as_ref().is_some_and(is_taken) {
        return Err(busy(entry));
    }
    Ok(())
}

pub(super) fn busy(entry: &Entry) -> Refusal {
    Refusal::with_prefix(format!("BUSY the topic {} is held by another process, or under repair; nothing was added", entry.name))
}

/// Appends a batch; to a new topic of the name, if the topic was deleted meanwhile.
fn append_anywhere(server: &Rc<Server>, entry: &Rc<Entry>, load: &mut Load) -> Tried {
    let mut entry = Rc::clone(entry);
    for _ in 0..REOPEN_MAX {
        match append_batch(server, &entry, load) {
            Ok(appended) => return Tried::Appended(entry, appended),
            Err(Error::TopicGone { .. }) => {
                server.topics.forget(entry.name.as_bytes());
                match server.topics.find_or_new(server, entry.name.as_bytes()) {
                    Ok(new) => entry = new,
                    Err(refusal) => return Tried::Refused(refusal),
                }
            }
            Err(Error::Busy { .. } | Error::Poisoned { .. } | Error::Astray { .. }) => return Tried::Held(entry),
            Err(error) => return Tried::Refused(error.into()),
        }
    }
    Tried::Refused(Refusal::text("ERR the topic is deleted again and again while it is appended to"))
}

fn append_batch(server: &Server, entry: &Entry, load: &mut Load) -> Result<Option<Appended>, Error> {
    timed(server, entry, || append_load(entry.log(), compression_of(entry), load, &mut entry.seen.borrow_mut(), &server.job))
}

/// Appends a batch, on whatever thread.
fn append_load(
    log: &Log,
    compression: Compression,
    load: &mut Load,
    seen: &mut Option<Seen>,
    job: &Job,
) -> Result<Option<Appended>, Error> {
    match load.messages.knowing() {
        None => append_to(log, compression, &load.builder, None, job).map(Some),
        Some(knowing) => once::append(log, compression, load, seen, knowing, job),
    }
}

fn append_once(server: &Server, entry: &Entry, builder: &BatchBuilder, expect: Option<Offset>) -> Result<Appended, Error> {
    timed(server, entry, || append_to(entry.log(), compression_of(entry), builder, expect, &server.job))
}

/// Notes how long an append took that came through.
fn timed<T>(server: &Server, entry: &Entry, append: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let began = Instant::now();
    let appended = append()?;
    let took = began.elapsed();
    server.stats.append.note(took);
    entry.note_work(Work::Append, took);
    Ok(appended)
}

fn compression_of(entry: &Entry) -> Compression {
    entry.settings().map_or(Compression::None, |settings| settings.compression)
}

fn append_to(
    log: &Log,
    compression: Compression,
    builder: &BatchBuilder,
    expect: Option<Offset>,
    job: &Job,
) -> Result<Appended, Error> {
    let batch = builder.batch();
    log.append(&mut packed(&batch, compression)?, batch.ids, expect, job)
}

/// A batch as it goes into the log.
pub(super) fn packed<'a>(batch: &crate::codec::Batch<'a>, compression: Compression) -> Result<Packed<'a>, Error> {
    Packed::records(batch, compression).map_err(|why| Error::RecordRefused { why: why.to_string() })
}

/// Has retention looked at where a segment was begun.
fn keep(server: &Server, entry: &Entry, appended: &Appended) {
    if appended.rolled {
        server.flusher.keep(server.store, &entry.topic);
    }
}

/// Leaves out what the topic is not to keep. The records are in it whatever comes of this.
fn trim(server: &Rc<Server>, entry: &Rc<Entry>, trim: Option<Trim>) {
    if let Some(trim) = trim
        && let Err(refusal) = trim.run(server, entry)
    {
        warn!(topic = %entry.name, why = refusal.as_str(), "the topic could not be trimmed after records were added");
    }
}

/// Sees to it that what was appended comes to its level, and tells who waits for records.
fn written_at(server: &Rc<Server>, entry: &Rc<Entry>, end: Place, ticket: &Rc<Ticket>, level: Option<Durability>) {
    let Ok(settings) = entry.settings() else {
        ticket.resolve(Err(Refusal::text("ERR the topic's settings cannot be read")));
        return;
    };
    // Before who has added it is answered: others wait for longer already.
    if settings.durability != Durability::Sync {
        server.waiters.wake(entry.name.as_bytes());
    }
    match level.map_or(settings.durability, |level| level.max(settings.durability)) {
        Durability::Sync => commit::owe(server, entry.log(), end, ticket, Some(entry)),
        // What cannot be synced in time is waited for: so the time holds, and no more is taken on than the
        // disk bears.
        Durability::Async if server.flusher.is_behind() => commit::owe(server, entry.log(), end, ticket, Some(entry)),
        level => {
            if level == Durability::Async {
                server.flusher.order(entry.log(), Instant::now() + settings.flush_interval);
            }
            ticket.resolve(Ok(()));
        }
    }
}
