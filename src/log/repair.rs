//! After a failed sync: nobody knows which of the bytes that were not durable are on the disk, and
//! asking the kernel again would not tell. So they are read back, checked, written into a new
//! segment, and that is synced. Only then may anything be acknowledged again.

use std::ops::Range;

use tracing::{info, warn};

use super::active::Appender;
use super::head::Head;
use super::read::LogReader;
use super::segment::{self, Segment, random_salt};
use super::slot::Slot;
use super::{Log, Step};
use crate::codec::frame::{HEADER_BYTES as FRAME_HEADER_BYTES, Packed, Placing};
use crate::codec::segment::{Compacted, HEADER_BYTES, Previous, file_name, index_name};
use crate::codec::{FrameKind, SegmentHeader};
use crate::disk::{Access, File};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset};
use crate::job::Job;

/// What a rewrite found.
#[derive(Clone, Copy, Debug)]
struct Rewritten {
    end: Offset,
    end_position: u64,
}

impl Log {
    /// Rewrites what is not durable, if a sync failed. Under the append lock, like an append.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when the rewritten records cannot be synced either: the log stays
    /// poisoned, and the next append tries again.
    pub(super) fn repair(&self, head: &Head, appender: &mut Appender, job: &Job) -> Result<()> {
        let _mutex = self.sync_mutex();
        let _held = self.hold_sync(head, job)?;
        if !head.is_poisoned() {
            return Ok(());
        }
        let mut slot = match self.catch_up(head, appender) {
            // A repair died between putting its segment in place and saying so: this one reads
            // what that one wrote.
            Err(Error::Astray { .. }) if head.is_of_file() && head.sound_slot().is_some() => head.slot(),
            other => other?,
        };
        let durable = head.durable();
        let before = slot.log_end;
        match self.rewrite(head, appender, &mut slot, durable) {
            Ok(()) => {}
            Err(error @ (Error::Io { action: "sync", .. } | Error::Poisoned { .. })) => {
                warn!(path = %self.path().display(), error = %error, "the repair after a failed sync failed too");
                return Err(Error::Poisoned { path: self.path().to_owned() });
            }
            Err(error) => return Err(error),
        }
        head.set_durable(slot.log_end);
        head.bump_set_generation();
        head.clear_poison();
        head.durable_word().ring();
        self.announce(head);
        let records_lost = before.since(slot.log_end);
        let (path, durable) = (self.path().display(), durable.0);
        if records_lost > 0 {
            warn!(%path, durable, records_lost, "rewrote what a failed sync had left in doubt");
        } else {
            info!(%path, durable, "rewrote what a sync had left in doubt, and lost nothing");
        }
        Ok(())
    }

    fn rewrite(&self, head: &Head, appender: &mut Appender, slot: &mut Slot, durable: Offset) -> Result<()> {
        let mut reader = LogReader::of_all_frames(durable, head.epoch());
        let (previous, epoch, epoch_start) = self.place_of_repair(&mut reader, durable, head)?;
        let mut header = SegmentHeader {
            salt: random_salt(),
            incarnation: head.incarnation(),
            boot: self.dir.boot().0,
            epoch,
            epoch_start,
            base: durable,
            previous,
            log_start: head.log_start(),
            last_id: slot.last_id,
            entries_added: slot.entries_added - slot.log_end.since(durable).min(slot.entries_added),
            durable,
            created: self.clock.now(),
            origins: head.origins(),
            compacted: Compacted::default(),
        };
        let name = format!(".repair-{:08x}", random_salt());
        let file = self.dir.create_file(name.as_bytes())?;
        let written = copy_frames(self, &file, &mut reader, header.salt, durable..slot.log_end).and_then(|mut rewritten| {
            // The log start never falls: what it has passed is not assigned again.
            let start = head.log_start().min(slot.log_end);
            pad(
                &file,
                &mut rewritten,
                start,
                Placing { salt: header.salt, position: 0, base: durable, base_id: slot.last_id, durable },
            )?;
            if rewritten.end < slot.log_end {
                // Offsets that readers may have seen are used again from here on.
                (header.epoch, header.epoch_start) = (Epoch(epoch.0 + 1), rewritten.end);
            }
            file.write_all_at(&[&header.encode()], 0)?;
            file.sync()?;
            Ok(rewritten)
        });
        let rewritten = match written {
            Ok(rewritten) => rewritten,
            Err(error) => {
                let _ = self.dir.unlink(name.as_bytes());
                return Err(error);
            }
        };
        let superseded = match self.fence_before_repair(head, slot) {
            Ok(superseded) => superseded,
            Err(error) => {
                let _ = self.dir.unlink(name.as_bytes());
                return Err(error);
            }
        };
        self.dir.rename(name.as_bytes(), &self.dir, file_name(durable).as_bytes())?;
        // Each offset is counted once, though it may be used twice.
        slot.entries_added -= slot.log_end.since(rewritten.end).min(slot.entries_added);
        slot.log_end = rewritten.end;
        slot.end_position = rewritten.end_position;
        slot.active_base = durable;
        slot.active_inode = file.inode();
        slot.active_salt = header.salt;
        slot.active_created = header.created;
        slot.index_bytes = 0;
        slot.indexed = HEADER_BYTES as u64;
        // At once, and still poisoned: the segment that was active may be the one replaced, and
        // if what follows fails, another process has to find its way all the same.
        head.set_epoch(header.epoch);
        head.publish(slot);
        head.bump_set_generation();
        *appender = Appender::default();
        self.make_it_last(durable, &superseded)
    }

    /// What the new segment says of its predecessor: the segment that holds the durable offset, or
    /// that one's predecessor if it begins there and is replaced.
    fn place_of_repair(&self, reader: &mut LogReader, durable: Offset, head: &Head) -> Result<(Option<Previous>, Epoch, Offset)> {
        let bases = segment::list(&self.dir)?;
        let holder = bases[..bases.partition_point(|base| *base <= durable)].last().copied();
        let Some(holder) = holder else { return Ok((None, head.epoch(), durable)) };
        let header = segment::header_of(&self.dir, holder)?;
        // The records may be of several epochs; the newest one goes on, or its number would be given
        // out twice.
        let (mut epoch, mut epoch_start) = header.as_ref().map_or((head.epoch(), holder), |h| (h.epoch, h.epoch_start));
        for base in bases.iter().filter(|base| **base > holder) {
            if let Some(later) = segment::header_of(&self.dir, *base)?.filter(|later| later.epoch > epoch) {
                (epoch, epoch_start) = (later.epoch, later.epoch_start);
            }
        }
        if holder == durable {
            return Ok((header.and_then(|header| header.previous), epoch, epoch_start));
        }
        let spare = head.slot().active_salt;
        let segment = Segment::open(&self.dir, holder, Access::Read, || Ok(Some(spare)))?;
        let previous = segment.as_previous(reader.position_of(self, durable)?);
        Ok((Some(previous), epoch, epoch_start))
    }

    /// Whoever appends by another page, since ours was removed or is an old copy, is not to be acknowledged
    /// what the repair removes, and what was acknowledged to them stops it. Returns the segments that there are.
    fn fence_before_repair(&self, head: &Head, slot: &Slot) -> Result<Vec<Offset>> {
        self.check_in_force()?;
        let bases = segment::list(&self.dir)?;
        for base in bases.iter().filter(|base| **base >= slot.active_base) {
            let name = file_name(*base);
            let Some(meta) = self.dir.stat(name.as_bytes())? else { continue };
            let end_position = match *base == slot.active_base {
                // A repair that died has put another one in its place.
                true if meta.inode != slot.active_inode => continue,
                true => slot.end_position,
                false => HEADER_BYTES as u64,
            };
            let before = segment::fence_unless_frozen(&self.dir, &name)?;
            let went_on = match *base > slot.log_end {
                // What a repair superseded that lost records and died, or failed, is of an earlier epoch.
                true => segment::header_of(&self.dir, *base)?.is_some_and(|header| header.epoch >= head.epoch()),
                // A repair that failed may have left its fence.
                false => before >= end_position + FRAME_HEADER_BYTES as u64,
            };
            if went_on {
                return Err(self.astray("the log goes on behind its end"));
            }
        }
        Ok(bases)
    }

    /// Syncs the name of the new segment, and removes what it supersedes.
    fn make_it_last(&self, durable: Offset, bases: &[Offset]) -> Result<()> {
        self.dir.sync()?;
        if durable == Offset::ZERO {
            // The sync that failed was to make the topic itself durable, too.
            for parent in &self.parents {
                parent.sync()?;
            }
        }
        let unlink = |name: String| match self.dir.unlink(name.as_bytes()) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        };
        unlink(index_name(durable))?;
        for base in bases.iter().filter(|base| **base > durable) {
            unlink(index_name(*base))?;
            unlink(file_name(*base))?;
        }
        // Before anything is durable beyond them: if they came back with a power cut, a recovery
        // would take them for the end of the log.
        self.dir.sync()
    }
}

/// Has the segment go on to `until`, with a hole if records below that are lost.
fn pad(file: &File, rewritten: &mut Rewritten, until: Offset, placing: Placing) -> Result<()> {
    while rewritten.end < until {
        let span = u32::try_from(until.since(rewritten.end)).unwrap_or(u32::MAX);
        let mut hole = Packed::control(FrameKind::Hole, span, &[]);
        let placing = Placing { position: rewritten.end_position, base: rewritten.end, ..placing };
        file.write_all_at(&hole.place(&placing), rewritten.end_position)?;
        rewritten.end_position += hole.length();
        rewritten.end = rewritten.end.plus(u64::from(span));
    }
    Ok(())
}

/// Copies the frames in `[from, until)` behind the room for the header; stops where they end.
fn copy_frames(log: &Log, file: &File, reader: &mut LogReader, salt: u32, range: Range<Offset>) -> Result<Rewritten> {
    let (from, until) = (range.start, range.end);
    let mut end = from;
    let mut position = HEADER_BYTES as u64;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.step(log, until)? {
            // The reader comes from an indexed place, or from the beginning of the segment.
            Step::Frame { frame, .. } if frame.header.base < from => continue,
            Step::Frame { frame, .. } if frame.header.base == end => {
                frame.put_moved(&mut bytes, salt, position, from);
                end = frame.header.end();
            }
            Step::Frame { .. } | Step::Gap(_) | Step::CaughtUp => break,
        }
        file.write_all_at(&[&bytes], position)?;
        position += bytes.len() as u64;
    }
    Ok(Rewritten { end, end_position: position })
}
