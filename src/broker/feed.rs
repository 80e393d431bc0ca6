//! Reading one or more topics, merged in ID order among what is readable.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Amount, Gate, Stretch};
use crate::codec::{Records, RecordsMark};
use crate::error::{Error, Result};
use crate::ids::{Offset, Place, RecordId, TopicName};
use crate::job::Job;
use crate::log::{Bell, GapReason, Log, LogGap, LogReader, Mode, Step};
use crate::store::{Store, Topic};

/// Who follows a log that nobody has recovered walks over its files anew this often: it is somebody
/// who changes them without a word, as a copy does that is still being written.
const SURVEY_EVERY: Duration = Duration::from_secs(1);

/// Several topics, read as one.
#[derive(Debug)]
pub struct TopicFeed<'s> {
    store: &'s Store,
    job: Job,
    lanes: Vec<Lane>,
    waker: Arc<FeedWaker>,
    /// The bell's word, read before any lane was looked at.
    rung: u32,
    /// Under which name is read, and what holds it up.
    reader: Option<Reader>,
}

/// A name that is read under.
#[derive(Debug)]
struct Reader {
    name: Box<[u8]>,
    /// In which generation of the settings the gate was made.
    generation: Option<u64>,
    gate: Gate,
    /// For how long it was told to wait since it last got records.
    waits: Duration,
}

/// One topic of a feed.
#[derive(Debug)]
struct Lane {
    topic: Arc<Topic>,
    reader: LogReader,
    until: Option<Offset>,
    /// After the last record that was handed out.
    place: Place,
    /// A frame of which records are left.
    held: Option<Held>,
    scratch: Vec<u8>,
    /// The log's word, read before its high watermark.
    seen: u32,
    /// When the topic was opened.
    surveyed: Instant,
}

#[derive(Debug)]
struct Held {
    position: u64,
    length: u32,
    first_id: RecordId,
    left: RecordsMark,
}

/// What a feed found.
#[derive(Debug)]
pub enum Fed<'a> {
    /// Records of one topic.
    Records {
        /// Which topic, by index.
        topic: usize,
        /// They.
        records: Records<'a>,
    },
    /// Offsets without records.
    Gap {
        /// Which topic, by index.
        topic: usize,
        /// Which offsets, and why.
        gap: FeedGap,
    },
    /// Not before so much time is over: a rate limit.
    Limited(Duration),
    /// Nothing now.
    CaughtUp,
    /// Nothing any more.
    End,
}

/// Offsets without records, and why.
pub type FeedGap = LogGap;

/// What loading a lane found.
enum Loaded {
    Ready,
    Gap(LogGap),
    Dry {
        for_ever: bool,
    },
    /// The files at the topic's path are others by now.
    Gone,
}

impl<'s> TopicFeed<'s> {
    /// Opens the topics for reading, from their log starts on, for ever.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn open(store: &'s Store, names: &[TopicName], job: Job) -> Result<TopicFeed<'s>> {
        let lanes: Vec<Lane> = names.iter().map(|name| Lane::open(store, name, &job)).collect::<Result<_>>()?;
        let waker = Arc::new(FeedWaker { rung: AtomicBool::new(false), logs: Mutex::default(), bell: Arc::clone(store.bell()) });
        let feed = TopicFeed { store, job, lanes, waker, rung: 0, reader: None };
        feed.tell_waker();
        Ok(feed)
    }

    fn tell_waker(&self) {
        let logs = self.lanes.iter().map(|lane| Arc::clone(lane.topic.log())).collect();
        *self.waker.logs.lock().unwrap_or_else(PoisonError::into_inner) = logs;
    }

    /// From now on what is read counts against the limit of this name; of none, if it is empty, against that of all who
    /// have none.
    pub fn limit_as(&mut self, name: &[u8]) {
        self.reader = Some(Reader { name: name.into(), generation: None, gate: Gate::free(), waits: Duration::ZERO });
    }

    /// How much may be read now.
    fn stretch(&mut self) -> Result<Option<Stretch>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        // A change of a reader's limit is told through every topic.
        let generation = Some(self.lanes[0].topic.log().settings_generation());
        if reader.generation != generation {
            (reader.gate, reader.generation) = (Gate::to_read(self.store, &reader.name)?, generation);
        }
        if reader.gate.is_free() { Ok(None) } else { reader.gate.stretch(self.store).map(Some) }
    }

    /// First offset kept, and first that may not be read; and the epoch of the latter.
    pub fn bounds(&mut self, topic: usize) -> Result<(Offset, Place)> {
        let lane = &self.lanes[topic];
        lane.topic.settings()?;
        let log = lane.topic.log();
        let end = log.high_watermark();
        Ok((log.log_start().min(end), Place { offset: end, epoch: log.epoch() }))
    }

    /// The first offset whose record's ID is not below `id`.
    pub fn find(&mut self, topic: usize, id: RecordId) -> Result<Offset> {
        self.lanes[topic].topic.log().find(id)
    }

    /// Goes to an offset of the current epoch.
    pub fn seek(&mut self, topic: usize, from: Offset) {
        let lane = &mut self.lanes[topic];
        let epoch = lane.topic.log().epoch();
        lane.go_to(Place { offset: from, epoch });
    }

    /// Goes to a stored place; tells what had to be clamped.
    pub fn resume(&mut self, topic: usize, place: Place) -> Result<Option<LogGap>> {
        let lane = &mut self.lanes[topic];
        let log = lane.topic.log();
        let (clamped, epoch) = (log.clamp(place)?, log.epoch());
        lane.go_to(Place { offset: clamped, epoch });
        Ok((clamped < place.offset).then_some(LogGap { from: clamped, until: place.offset, reason: GapReason::Rewound }))
    }

    /// Where to stop; `None` = never.
    pub fn stop_at(&mut self, topic: usize, until: Option<Offset>) {
        let lane = &mut self.lanes[topic];
        lane.until = until;
        lane.go_to(lane.place);
    }

    /// After the last record that was handed out.
    #[must_use]
    pub fn place(&self, topic: usize) -> Place {
        self.lanes[topic].place
    }

    /// The next records in merge order.
    pub fn read_on(&mut self) -> Result<Fed<'_>> {
        let follows_many = self.lanes.len() > 1;
        if follows_many {
            self.rung = self.store.bell().watch();
        }
        let mut ended = true;
        let mut best: Option<(RecordId, usize)> = None;
        let mut bound: Option<(RecordId, usize)> = None;
        for index in 0..self.lanes.len() {
            let loaded = match self.lanes[index].load()? {
                Loaded::Gone => {
                    self.reopen(index)?;
                    self.lanes[index].load()?
                }
                loaded => loaded,
            };
            match loaded {
                Loaded::Gap(gap) => return Ok(Fed::Gap { topic: index, gap }),
                Loaded::Dry { for_ever } => ended &= for_ever,
                Loaded::Gone => ended = false,
                Loaded::Ready => {
                    let held = self.lanes[index].held.as_ref().expect("it is ready");
                    let candidate = Some((held.first_id, index));
                    match best {
                        Some(first) if candidate > Some(first) => {
                            bound = if bound.is_none() { candidate } else { bound.min(candidate) };
                        }
                        _ => (best, bound) = (candidate, best.or(bound)),
                    }
                }
            }
        }
        match best {
            Some((_, topic)) => {
                let stretch = self.stretch()?;
                if let (Some(stretch), Some(reader)) = (&stretch, &mut self.reader)
                    && !stretch.wait.is_zero()
                {
                    reader.waits = reader.waits.max(stretch.wait);
                    return Ok(Fed::Limited(stretch.wait));
                }
                let (records, amount) = self.lanes[topic].take(bound, stretch)?;
                if let Some(reader) = self.reader.as_mut().filter(|_| stretch.is_some()) {
                    reader.gate.charge(amount, std::mem::take(&mut reader.waits));
                }
                Ok(Fed::Records { topic, records })
            }
            None if ended => Ok(Fed::End),
            None => Ok(Fed::CaughtUp),
        }
    }

    /// Sleeps until there may be more, or the waker is used.
    pub fn wait(&mut self, at_most: Duration) -> Result<()> {
        if self.waker.take() {
            return Ok(());
        }
        if self.lanes.iter().any(|lane| lane.topic.log().is_still()) {
            std::thread::sleep(at_most.min(Duration::from_millis(20)));
            return self.look_again();
        }
        match &self.lanes[..] {
            [lane] => lane.topic.log().wait(lane.seen, at_most),
            lanes => {
                let bell = self.store.bell();
                if bell.ensure().is_err() {
                    std::thread::sleep(at_most.min(Duration::from_millis(20)));
                } else {
                    // Whoever appended before the bit was set did not ring; a look finds that.
                    lanes.iter().for_each(|lane| lane.topic.log().ring_bell(bell));
                    if lanes.iter().all(Lane::is_dry) {
                        bell.wait(self.rung, at_most);
                    }
                }
            }
        }
        self.waker.take();
        Ok(())
    }

    /// Logs that were not believed when they were opened may be by now, and move again.
    fn look_again(&mut self) -> Result<()> {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            let is_due = lane.surveyed.elapsed() >= SURVEY_EVERY || lane.topic.log().is_live_by_now()?;
            if lane.topic.log().is_still() && is_due {
                self.reopen(index)?;
            }
        }
        Ok(())
    }

    /// Goes on at the same place in the files that are at the topic's path now, if they are of the
    /// same life: the shared page may have been lost, and made anew by somebody.
    fn reopen(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        let gone = || Error::TopicGone { path: lane.topic.log().path().to_owned() };
        let topic = match self.store.topic(lane.topic.name(), Mode::Read, &self.job) {
            Err(Error::TopicMissing { .. }) => return Err(gone()),
            other => other?,
        };
        if topic.log().incarnation() != lane.topic.log().incarnation() {
            return Err(gone());
        }
        (lane.topic, lane.surveyed) = (topic, Instant::now());
        lane.go_to(lane.place);
        self.tell_waker();
        Ok(())
    }

    /// Ends waits from other threads.
    #[must_use]
    pub fn waker(&self) -> Arc<FeedWaker> {
        Arc::clone(&self.waker)
    }

    /// The life of a topic that is read.
    #[must_use]
    pub fn log(&self, topic: usize) -> &Arc<Log> {
        self.lanes[topic].topic.log()
    }
}

impl Lane {
    fn open(store: &Store, name: &TopicName, job: &Job) -> Result<Lane> {
        let topic = store.topic(name, Mode::Read, job)?;
        let log = topic.log();
        if log.bytes_torn() > 0 {
            let (path, end, bytes_torn) = (log.path().display(), log.high_watermark().0, log.bytes_torn());
            warn!(%path, end, bytes_torn, "what lies behind the end cannot be read, and nothing tells that it was acknowledged");
        }
        let place = Place { offset: log.log_start(), epoch: log.epoch() };
        let reader = LogReader::new(place.offset, place.epoch);
        Ok(Lane { topic, reader, until: None, place, held: None, scratch: Vec::new(), seen: 0, surveyed: Instant::now() })
    }

    fn go_to(&mut self, place: Place) {
        self.place = place;
        self.reader = LogReader::new(place.offset, place.epoch);
        self.held = None;
    }

    fn is_dry(&self) -> bool {
        let high = self.topic.log().high_watermark();
        self.held.is_none() && self.place.offset >= self.until.map_or(high, |until| until.min(high))
    }

    /// Sees to it that the next records are held, if there are any.
    fn load(&mut self) -> Result<Loaded> {
        let log = Arc::clone(self.topic.log());
        if let Some(held) = &self.held {
            // What was deleted since it was read is not handed out any more.
            let deleted = log.deleted()?.next_deleted(held.left.next_offset());
            if deleted.is_none_or(|deleted| deleted >= held.left.end_offset()) {
                return Ok(Loaded::Ready);
            }
            self.held = None;
            self.reader.go_to(self.place);
        }
        self.seen = log.watch();
        self.topic.settings()?;
        loop {
            let high = log.high_watermark();
            let until = self.until.map_or(high, |until| until.min(high));
            let step = self.reader.step(&log, until)?;
            let (frame, from, until) = match step {
                Step::Frame { frame, from, until } => (frame, from, until),
                Step::Gap(gap) => {
                    // Back, if the gap is a rewind.
                    let next = if gap.reason == GapReason::Rewound { gap.from } else { gap.until };
                    self.place = self.reader.place_at(next);
                    return Ok(Loaded::Gap(gap));
                }
                Step::CaughtUp => return self.dry(&log),
            };
            let header = frame.header;
            match hold(&frame, &mut self.scratch, from, until) {
                Ok(Some((first_id, left))) => {
                    self.held = Some(Held { position: header.position, length: header.length, first_id, left });
                    return Ok(Loaded::Ready);
                }
                // Compaction took all of its records.
                Ok(None) => self.place = self.reader.place_at(header.end().min(until)),
                Err(what) => {
                    let until = header.end().min(until);
                    self.place = self.reader.place_at(until);
                    let path: PathBuf = log.path().join(crate::codec::segment::file_name(header.base));
                    let reason = GapReason::Damaged { path, position: header.position, what };
                    return Ok(Loaded::Gap(LogGap { from, until, reason }));
                }
            }
        }
    }

    fn dry(&self, log: &Log) -> Result<Loaded> {
        if self.until.is_some_and(|until| self.place.offset >= until) {
            return Ok(Loaded::Dry { for_ever: true });
        }
        if log.is_gone()? { Ok(Loaded::Gone) } else { Ok(Loaded::Dry { for_ever: false }) }
    }

    /// Hands out held records: those that come before `bound`, another lane's next record, and no more than `stretch`.
    fn take(&mut self, bound: Option<(RecordId, usize)>, stretch: Option<Stretch>) -> Result<(Records<'_>, Amount)> {
        let held = self.held.take().expect("the caller loaded it");
        let changed = || Error::Damaged {
            path: PathBuf::new(),
            position: held.position,
            what: "the frame changed while it was read".to_owned(),
        };
        let mut rest = None;
        let frame = self.reader.again(held.position, held.length).ok_or_else(changed)?;
        let body = frame.body_again(&self.scratch);
        let mut records = Records::resume(body, &held.left);
        let mut cut = bound.and_then(|(id, _)| first_at_or_above(&records, id));
        let mut amount = Amount::default();
        if let Some(stretch) = stretch {
            let until = cut.map_or(records.end_offset(), |(offset, _)| offset);
            cut = measure(&records, until, stretch, &mut amount).or(cut);
        }
        if let Some((cut, next_id)) = cut {
            let mut after = records.clone();
            after.narrow(cut, Offset(u64::MAX)).map_err(|_| changed())?;
            records.narrow(Offset::ZERO, cut).map_err(|_| changed())?;
            rest = Some(Held { first_id: next_id, left: after.mark(body), ..held });
        }
        self.held = rest;
        // Of the epoch in which they were read: later ones took nothing from them.
        self.place = self.reader.place_at(records.end_offset());
        Ok((records, amount))
    }
}

fn hold(
    frame: &crate::codec::Frame<'_>,
    scratch: &mut Vec<u8>,
    from: Offset,
    until: Offset,
) -> std::result::Result<Option<(RecordId, RecordsMark)>, String> {
    let words = |malformed: crate::codec::Malformed| malformed.to_string();
    let body = frame.body(scratch).map_err(words)?;
    let records = frame.records_of(body, from, until).map_err(words)?;
    match records.clone().next() {
        None => Ok(None),
        Some(first) => Ok(Some((first.map_err(words)?.id, records.mark(body)))),
    }
}

/// Adds up the records before `until` that fit `stretch`, the first one in any case; the first one that does not fit.
fn measure(records: &Records<'_>, until: Offset, stretch: Stretch, amount: &mut Amount) -> Option<(Offset, RecordId)> {
    for record in records.clone().flatten().take_while(|record| record.offset < until) {
        let bytes = record.bytes();
        if amount.records > 0 && (amount.records >= stretch.records || amount.bytes + bytes > stretch.bytes) {
            return Some((record.offset, record.id));
        }
        amount.records += 1;
        amount.bytes += bytes;
    }
    None
}

/// Offset and ID of the first record that does not come before `id`.
fn first_at_or_above(records: &Records<'_>, id: RecordId) -> Option<(Offset, RecordId)> {
    let mut records = records.clone();
    // The first one has been chosen as the next of all.
    records.next();
    records.flatten().find(|record| record.id >= id).map(|record| (record.offset, record.id))
}

/// Ends the waits of one feed.
#[derive(Debug)]
pub struct FeedWaker {
    rung: AtomicBool,
    logs: Mutex<Vec<Arc<Log>>>,
    bell: Arc<Bell>,
}

impl FeedWaker {
    /// Whether it was used since.
    fn take(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Ends the running wait, or the next one.
    pub fn wake(&self) {
        self.rung.store(true, Ordering::SeqCst);
        // The waiter may be between its look at the flag and its sleep: wake it until it has seen.
        for _ in 0..200 {
            for log in self.logs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                log.wake();
            }
            self.bell.wake();
            if !self.rung.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
