//! The active segment: opened, caught up with what others did to it, sealed.

use std::sync::Arc;
use std::time::Instant;

use super::Log;
use super::head::Head;
use super::segment::{Segment, random_salt};
use super::slot::Slot;
use super::survey::last_id_of;
use crate::codec::SegmentHeader;
use crate::codec::frame::{self, Parsed};
use crate::codec::segment::{Compacted, HEADER_BYTES, file_name};
use crate::disk::{Access, File, Standing};
use crate::error::Result;
use crate::ids::Place;

/// What this process keeps open for appending.
#[derive(Debug, Default)]
pub(super) struct Appender {
    pub(super) active: Option<Arc<Segment>>,
    /// The index of the active segment, once it has one.
    pub(super) index: Option<File>,
    /// The log end that this process has seen last, and its epoch.
    pub(super) seen: Option<Place>,
    /// When this process has last seen the page at its path.
    pub(super) looked: Option<Instant>,
}

impl Appender {
    /// The active segment, once this process has appended to it.
    pub(super) fn active(&self) -> Option<&Segment> {
        self.active.as_deref()
    }

    /// Has the next append look whether the page is still at its path.
    pub(super) fn forget_path(&mut self) {
        self.looked = None;
    }
}

impl Log {
    /// Under the append lock: the state of the log, with the active segment open, and with what a
    /// dead writer left behind the end taken in or cut off.
    pub(super) fn catch_up(&self, head: &Head, appender: &mut Appender) -> Result<Slot> {
        if !head.is_of_file() {
            return Err(self.astray("it is another one's page"));
        }
        let Some(mut slot) = head.sound_slot() else { return Err(self.astray("its numbers do not fit together")) };
        self.check_goes_forward(head, appender, &slot)?;
        head.settle_words(&slot);
        let is_open =
            appender.active.as_ref().is_some_and(|open| open.base == slot.active_base && open.file.inode() == slot.active_inode);
        if !is_open {
            self.open_active(head, appender, &slot)?;
        }
        if head.is_writing() {
            let segment = Arc::clone(appender.active.as_ref().expect("opened above"));
            if segment.file.length()? < slot.end_position {
                return Err(self.astray("the active segment was cut"));
            }
            adopt(&segment, &mut slot)?;
            head.publish(&slot);
            if self.has_begun_roll(&slot)? {
                self.roll(head, appender, &mut slot)?;
            }
            head.set_writing(false);
        }
        Ok(slot)
    }

    fn open_active(&self, head: &Head, appender: &mut Appender, slot: &Slot) -> Result<()> {
        appender.index = None;
        let salt = slot.active_salt;
        let open = || match Segment::open(&self.dir, slot.active_base, Access::ReadWrite, || Ok(Some(salt))) {
            Err(error) if error.is_not_found() => Err(self.astray("the active segment is missing")),
            other => other,
        };
        let mut segment = open();
        if segment.as_ref().map_or(true, |segment| segment.file.inode() != slot.active_inode)
            && self.finish_mending(head, slot)?
        {
            segment = open();
        }
        let segment = segment?;
        if segment.file.inode() != slot.active_inode {
            return Err(self.astray("the active segment is another file"));
        }
        // A page that was put back from a copy knows an end from before.
        if !head.is_writing() && (segment.file.length()? != slot.end_position || self.has_begun_roll(slot)?) {
            return Err(self.astray("the active segment does not end where the page says"));
        }
        appender.active = Some(Arc::new(segment));
        Ok(())
    }

    /// An end that goes back within an epoch is no log's, nor is an epoch that goes back: somebody has written
    /// an old copy over the page.
    fn check_goes_forward(&self, head: &Head, appender: &mut Appender, slot: &Slot) -> Result<()> {
        let now = Place { offset: slot.log_end, epoch: head.epoch() };
        if appender.seen.is_some_and(|seen| (seen.epoch, seen.offset) > (now.epoch, now.offset)) {
            return Err(self.astray("it went back in time"));
        }
        appender.seen = Some(now);
        Ok(())
    }

    /// Whether a writer died, or met an error, while it made the next segment. That roll has to be
    /// finished before anything else: the file says where the active segment ends, and if it came
    /// back after a power cut, whatever had been appended behind that place would be lost.
    fn has_begun_roll(&self, slot: &Slot) -> Result<bool> {
        Ok(slot.log_end != slot.active_base && self.dir.stat(file_name(slot.log_end).as_bytes())?.is_some())
    }

    /// Seals the active segment and begins the next.
    pub(super) fn roll(&self, head: &Head, appender: &mut Appender, slot: &mut Slot) -> Result<()> {
        let active = appender.active.as_ref().expect("catch_up has opened it");
        if active.file.standing()? != (Standing { length: slot.end_position, has_name: true }) {
            return Err(self.astray("the active segment was removed, or changed by somebody else"));
        }
        let (epoch, epoch_start, incarnation) = match &active.header {
            Ok(header) => (header.epoch, header.epoch_start, header.incarnation),
            // Its header is damaged: the page knows the rest, and a start that is too low clamps
            // nobody who is not clamped anyway.
            Err(_) => (head.epoch(), active.base, head.incarnation()),
        };
        let header = SegmentHeader {
            salt: random_salt(),
            incarnation,
            boot: self.dir.boot().0,
            epoch,
            epoch_start,
            base: slot.log_end,
            previous: Some(active.as_previous(slot.end_position)),
            log_start: head.log_start(),
            last_id: slot.last_id,
            entries_added: slot.entries_added,
            durable: head.durable(),
            created: self.clock.now(),
            origins: head.origins(),
            compacted: Compacted::default(),
        };
        self.begin_segment(head, appender, slot, header)
    }

    /// Makes a segment and publishes it as the active one.
    pub(super) fn begin_segment(
        &self,
        head: &Head,
        appender: &mut Appender,
        slot: &mut Slot,
        header: SegmentHeader,
    ) -> Result<()> {
        let created = header.created;
        head.set_writing(true);
        let segment = Segment::create(&self.dir, header)?;
        slot.active_base = segment.base;
        slot.active_inode = segment.file.inode();
        slot.active_salt = segment.salt;
        slot.active_created = created;
        slot.end_position = HEADER_BYTES as u64;
        slot.index_bytes = 0;
        slot.indexed = HEADER_BYTES as u64;
        head.publish(slot);
        head.set_writing(false);
        head.bump_set_generation();
        *appender = Appender { active: Some(Arc::new(segment)), index: None, ..std::mem::take(appender) };
        Ok(())
    }
}

/// Takes in whole frames that a writer wrote and did not live to publish; cuts off the rest.
fn adopt(segment: &Segment, slot: &mut Slot) -> Result<()> {
    loop {
        let left = segment.file.length()?.saturating_sub(slot.end_position);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(frame::FRAME_BYTES_MAX)];
        let n = segment.file.read_at(&mut bytes, slot.end_position)?;
        match frame::parse(&bytes[..n], segment.salt, slot.end_position) {
            Parsed::Frame(frame)
                if frame.header.base == slot.log_end && (frame.header.count == 0 || frame.header.base_id > slot.last_id) =>
            {
                slot.end_position = frame.header.end_position();
                slot.log_end = frame.header.end();
                slot.entries_added += u64::from(frame.header.span);
                if let Some((last_id, entries_added)) = frame.counters() {
                    (slot.last_id, slot.entries_added) = (last_id, entries_added);
                }
                if frame.header.count > 0 {
                    slot.last_id = last_id_of(&frame);
                }
            }
            _ if left == 0 => return Ok(()),
            _ => return segment.file.truncate(slot.end_position),
        }
    }
}
