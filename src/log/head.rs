//! `head`: one page that all processes which have the log open map and change at once.
//!
//! ```text
//!     0  magic           8  version        16  boot id (16)     32  own inode
//!    48  incarnation (16)
//!    64  log end        72  durable        80  log start        88  epoch
//!    96  set gen.      104  settings gen. 112  flags           120  base of the active segment
//!   128  tail word     136  bells          144  deletions gen. 152  origins: end, added, repeated (24)
//!   176  compactions gen.
//!   192  durable word  200  syncing       208  holder of sync
//!   256  append word   264  writing       272  holder of append
//!   320  maintenance word  328  holder of maintenance   336  maintenance wanted
//!   384  selector     392  copies of durable, log start, epoch      416  check of 48..64
//!   448  slot 0 (128)  576  slot 1 (128)
//! ```
//!
//! A slot holds what only appenders need: log end, end position, base, inode and salt of the active
//! segment, when it was made, last ID, records added, bytes of the index, where the index ends, and a
//! checksum of these. It is filled while the selector points at the other one,
//! so a writer that is killed in between spoils nothing. The numbers that are in no slot have an
//! inverted copy, written first: a page whose numbers do not fit together is not believed, and a
//! flipped bit cannot hide records. Native byte order: the page is for one boot of one machine.
//!
//! Locks are on bytes of the same file: 0 append, 1 sync, 3 maintenance.

mod poison;
mod upkeep;

use std::time::Duration;

pub(super) use poison::Poison;

use super::segment::random_salt;
#[cfg(test)]
use super::slot::SLOT_INODE;
use super::slot::{SLOT_NUMBERS, Slot, check_of};
use crate::codec::Origins;
use crate::codec::segment::{HEADER_BYTES, file_name};
use crate::disk::{Access, BootId, Dir, File, PAGE_BYTES, Page, Word};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset};

/// The file's name.
pub const HEAD: &[u8] = b"head";

const MAGIC: u64 = u64::from_le_bytes(*b"DRAVEhed");
const VERSION: u64 = 1;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 8;
const BOOT_AT: usize = 16;
const INODE_AT: usize = 32;
const INCARNATION_AT: usize = 48;
const LOG_END_AT: usize = 64;
const DURABLE_AT: usize = 72;
const LOG_START_AT: usize = 80;
const EPOCH_AT: usize = 88;
const SET_GENERATION_AT: usize = 96;
const SETTINGS_GENERATION_AT: usize = 104;
const FLAGS_AT: usize = 112;
const ACTIVE_BASE_AT: usize = 120;
const TAIL_WORD_AT: usize = 128;
const BELLS_AT: usize = 136;
const DELETIONS_GENERATION_AT: usize = 144;
const ORIGINS_END_AT: usize = 152;
const ORIGINS_ADDED_AT: usize = 160;
const ORIGINS_REPEATED_AT: usize = 168;
const COMPACTIONS_GENERATION_AT: usize = 176;
const DURABLE_WORD_AT: usize = 192;
const SYNCING_AT: usize = 200;
pub(super) const SYNC_HOLDER_AT: usize = 208;
pub(super) const APPEND_WORD_AT: usize = 256;
const WRITING_AT: usize = 264;
pub(super) const APPEND_HOLDER_AT: usize = 272;
pub(super) const MAINTENANCE_WORD_AT: usize = 320;
pub(super) const MAINTENANCE_HOLDER_AT: usize = 328;
const MAINTENANCE_WANTED_AT: usize = 336;
const SELECTOR_AT: usize = 384;
const DURABLE_COPY_AT: usize = 392;
const LOG_START_COPY_AT: usize = 400;
const EPOCH_COPY_AT: usize = 408;
const INCARNATION_CHECK_AT: usize = 416;
const SLOTS_AT: [usize; 2] = [448, 576];
const _: () = assert!(SLOTS_AT[1] + 128 <= PAGE_BYTES);

/// Has every process that has the log in this directory open read its settings again. The log is neither opened nor
/// recovered: a page that nobody believes is written anew by who recovers it.
pub fn announce_settings(dir: &Dir) -> Result<()> {
    let file = match dir.open_file(HEAD, Access::ReadWrite) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    if file.length()? < PAGE_BYTES as u64 {
        return Ok(());
    }
    let page = Page::map(&file, true)?;
    if page.load(MAGIC_AT) == MAGIC && page.load(VERSION_AT) == VERSION {
        page.add(SETTINGS_GENERATION_AT, 1);
    }
    Ok(())
}

/// Where the page holds inode numbers: a simulated reboot keeps them, though its files are copies.
#[cfg(test)]
pub(crate) const INODE_WORDS_AT: [usize; 3] = [INODE_AT, SLOTS_AT[0] + SLOT_INODE * 8, SLOTS_AT[1] + SLOT_INODE * 8];

pub(super) const APPEND_BYTE: u64 = 0;
pub(super) const SYNC_BYTE: u64 = 1;
pub(super) const MAINTENANCE_BYTE: u64 = 3;

/// Numbers that do not fit together are looked at again so often, this far apart: whoever changes
/// them may have lost the processor.
const CHANGING_TRIES: u32 = 20;
const CHANGING_PAUSE: Duration = Duration::from_millis(1);

const FLAG_POISONED: u64 = 1;
const FLAG_GONE: u64 = 2;
/// Poisoned only because a process died inside a sync.
const FLAG_SYNCER_DIED: u64 = 4;

/// The page and the file it lies in.
#[derive(Debug)]
pub(super) struct Head {
    file: File,
    page: Page,
}

/// All of the state that [`Head::set_up`] needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) incarnation: Incarnation,
    pub(super) slot: Slot,
    pub(super) durable: Offset,
    pub(super) log_start: Offset,
    pub(super) epoch: Epoch,
    /// What is still to be repaired from before.
    pub(super) poison: Option<Poison>,
    /// There is a log of deletions.
    pub(super) has_deletions: bool,
    pub(super) origins: Origins,
    /// Segments may have been compacted.
    pub(super) is_compacted: bool,
}

impl Head {
    /// Makes a page that nobody believes yet, under a temporary name in `dir`.
    pub(super) fn create(dir: &Dir, name: &[u8]) -> Result<Head> {
        let file = dir.create_file(name)?;
        // Written out before it is mapped: a full disk is then an error and not a SIGBUS.
        let mut bytes = [0; PAGE_BYTES];
        bytes[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[VERSION_AT..VERSION_AT + 8].copy_from_slice(&VERSION.to_ne_bytes());
        file.write_all_at(&[&bytes], 0)?;
        let page = Page::map(&file, true)?;
        Ok(Head { file, page })
    }

    /// Opens the page of a log; without the right to write it is mapped for reading.
    pub(super) fn open(dir: &Dir, access: Access) -> Result<Head> {
        let file = dir.open_file(HEAD, access)?;
        let page = Page::map(&file, access == Access::ReadWrite)?;
        Ok(Head { file, page })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    pub(super) fn inode(&self) -> u64 {
        self.file.inode()
    }

    /// Whether what the page says is true now: it was written in this boot, for this very file, its
    /// numbers fit together, and they fit the segment that lies in `dir`. A page from before a
    /// reboot, a restored copy, a foreign or a cut one is not.
    pub(super) fn is_believable(&self, dir: &Dir) -> Result<bool> {
        if !self.is_own(dir) || self.is_gone() || !self.is_consistent(dir) {
            return Ok(false);
        }
        loop {
            let slot = self.slot();
            let is_writing = self.is_writing();
            let Some(meta) = dir.stat(file_name(slot.active_base).as_bytes())? else { return Ok(false) };
            if meta.inode != slot.active_inode || meta.length < slot.end_position {
                return Ok(false);
            }
            // Inode numbers are used again, and a file can be written over: a page that was put back
            // from a copy may have passed so far. But the log went on without it: beyond its end, or
            // in a segment that it does not know. Or that is an append which happens just now.
            let next = match slot.log_end == slot.active_base {
                true => None,
                false => dir.stat(file_name(slot.log_end).as_bytes())?,
            };
            let has_left = next.is_some_and(|next| next.length > HEADER_BYTES as u64);
            let went_on = meta.length > slot.end_position || next.is_some();
            if !went_on || !has_left && (is_writing || self.is_writing()) {
                return Ok(true);
            }
            if self.slot() == slot {
                return Ok(false);
            }
        }
    }

    /// Whether the page was written for this very file, in this boot: all processes that use the log
    /// then share it, and its locks.
    pub(super) fn is_own(&self, dir: &Dir) -> bool {
        !self.page.is_lost()
            && self.page.load(MAGIC_AT) == MAGIC
            && self.page.load(VERSION_AT) == VERSION
            && self.boot() == dir.boot()
            && self.is_of_file()
            && self.page.load(INCARNATION_CHECK_AT) == u64::from(crc32fast::hash(&self.load_16(INCARNATION_AT)))
    }

    /// Whether what the page says was written for the file that it lies in.
    pub(super) fn is_of_file(&self) -> bool {
        self.page.load(INODE_AT) == self.inode()
    }

    /// Whether the numbers fit together. They do not while somebody changes them, which is soon over;
    /// or for good if that process died, or a bit was flipped.
    fn is_consistent(&self, dir: &Dir) -> bool {
        for _ in 0..CHANGING_TRIES {
            let Some(slot) = self.sound_slot() else {
                dir.pause(CHANGING_PAUSE);
                continue;
            };
            // The next appender settles what one that died left, the next sync what a sync left.
            let words = self.log_end() == slot.log_end && self.active_base() == slot.active_base || self.is_writing();
            let durable = self.has_copy(DURABLE_AT, DURABLE_COPY_AT) && self.durable() <= self.log_end() || self.syncing() != 0;
            if words && durable && self.has_copy(LOG_START_AT, LOG_START_COPY_AT) && self.has_copy(EPOCH_AT, EPOCH_COPY_AT) {
                return true;
            }
            dir.pause(CHANGING_PAUSE);
        }
        false
    }

    fn has_copy(&self, at: usize, copy_at: usize) -> bool {
        self.page.load(at) == !self.page.load(copy_at)
    }

    /// The lower one of a number and its copy: of two that differ, one was not finished or is wrong.
    fn lower(&self, at: usize, copy_at: usize) -> u64 {
        self.page.load(at).min(!self.page.load(copy_at))
    }

    fn store_with_copy(&self, at: usize, copy_at: usize, value: u64) {
        self.page.store(copy_at, !value);
        self.page.store(at, value);
    }

    /// The version, if it is not this drave's though the page is whole.
    pub(super) fn newer_version(&self) -> Option<u32> {
        let version = self.page.load(VERSION_AT);
        (self.page.load(MAGIC_AT) == MAGIC && version > VERSION && version < 1000).then_some(version as u32)
    }

    /// Fills a page that nobody believes. The boot id goes first and comes last.
    pub(super) fn set_up(&self, setup: &Setup, boot: BootId) {
        self.disbelieve();
        let page = &self.page;
        page.store(MAGIC_AT, MAGIC);
        page.store(VERSION_AT, VERSION);
        page.store(INODE_AT, self.inode());
        self.store_16(INCARNATION_AT, setup.incarnation.0);
        page.store(INCARNATION_CHECK_AT, u64::from(crc32fast::hash(&setup.incarnation.0)));
        self.set_durable(setup.durable);
        self.store_with_copy(LOG_START_AT, LOG_START_COPY_AT, setup.log_start.0);
        self.set_epoch(setup.epoch);
        page.store(FLAGS_AT, setup.poison.map_or(0, Poison::flags));
        page.store(SYNCING_AT, 0);
        page.store(WRITING_AT, 0);
        // Generations that nobody has seen: the page may hold those of a copy from before.
        let generation = u64::from(random_salt()) << 32;
        page.store(SET_GENERATION_AT, generation);
        page.store(SETTINGS_GENERATION_AT, generation);
        page.store(DELETIONS_GENERATION_AT, if setup.has_deletions { generation | 1 } else { 0 });
        self.put_back_origins(Some(setup.origins));
        page.store(ORIGINS_REPEATED_AT, setup.origins.repeated);
        page.store(COMPACTIONS_GENERATION_AT, if setup.is_compacted { generation | 1 } else { 0 });
        self.publish(&setup.slot);
        self.store_16(BOOT_AT, boot.0);
    }

    /// From now on nobody who opens the log believes the page.
    pub(super) fn disbelieve(&self) {
        self.store_16(BOOT_AT, BootId::NONE.0);
    }

    fn boot(&self) -> BootId {
        BootId(self.load_16(BOOT_AT))
    }

    /// Whether the page was in force in this boot: its flags are then to be kept.
    pub(super) fn is_of_boot(&self, boot: BootId) -> bool {
        self.boot() == boot
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation(self.load_16(INCARNATION_AT))
    }

    pub(super) fn log_end(&self) -> Offset {
        Offset(self.page.load(LOG_END_AT))
    }

    pub(super) fn durable(&self) -> Offset {
        Offset(self.page.load(DURABLE_AT))
    }

    /// Under the sync lock.
    pub(super) fn raise_durable(&self, durable: Offset) {
        self.set_durable(self.durable().max(durable));
    }

    /// Under the sync lock. After a repair lost records, the end is lower than it was.
    pub(super) fn set_durable(&self, durable: Offset) {
        self.store_with_copy(DURABLE_AT, DURABLE_COPY_AT, durable.0);
    }

    /// What is durable at least, whatever has become of the page.
    pub(super) fn durable_at_least(&self) -> Offset {
        Offset(self.lower(DURABLE_AT, DURABLE_COPY_AT))
    }

    /// Where the log starts at least.
    pub(super) fn log_start_at_least(&self) -> Offset {
        Offset(self.lower(LOG_START_AT, LOG_START_COPY_AT))
    }

    pub(super) fn log_start(&self) -> Offset {
        Offset(self.page.load(LOG_START_AT))
    }

    /// Under the append lock.
    pub(super) fn raise_log_start(&self, start: Offset) {
        self.store_with_copy(LOG_START_AT, LOG_START_COPY_AT, self.log_start().max(start).0);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.page.load(EPOCH_AT))
    }

    pub(super) fn set_epoch(&self, epoch: Epoch) {
        self.store_with_copy(EPOCH_AT, EPOCH_COPY_AT, epoch.0);
    }

    pub(super) fn set_generation(&self) -> u64 {
        self.page.load(SET_GENERATION_AT)
    }

    pub(super) fn bump_set_generation(&self) {
        self.page.add(SET_GENERATION_AT, 1);
    }

    pub(super) fn settings_generation(&self) -> u64 {
        self.page.load(SETTINGS_GENERATION_AT)
    }

    pub(super) fn bump_settings_generation(&self) {
        self.page.add(SETTINGS_GENERATION_AT, 1);
    }

    /// See [`crate::log::Log::deleted`]; 0 = there never was a deletion.
    pub(super) fn deletions_generation(&self) -> u64 {
        self.page.load(DELETIONS_GENERATION_AT)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.page.load(FLAGS_AT) & FLAG_GONE != 0
    }

    pub(super) fn set_gone(&self) {
        self.page.set_bits(FLAGS_AT, FLAG_GONE);
    }

    pub(super) fn active_base(&self) -> Offset {
        Offset(self.page.load(ACTIVE_BASE_AT))
    }

    /// The process that is inside `fdatasync`, or died there; 0 = none.
    pub(super) fn syncing(&self) -> u64 {
        self.page.load(SYNCING_AT)
    }

    pub(super) fn set_syncing(&self, pid: u64) {
        self.page.store(SYNCING_AT, pid);
    }

    /// Whether an appender is, or died, between its write and its publish.
    pub(super) fn is_writing(&self) -> bool {
        self.page.load(WRITING_AT) != 0
    }

    pub(super) fn set_writing(&self, writing: bool) {
        self.page.store(WRITING_AT, u64::from(writing));
    }

    pub(super) fn tail_word(&self) -> Word<'_> {
        self.page.word(TAIL_WORD_AT)
    }

    pub(super) fn durable_word(&self) -> Word<'_> {
        self.page.word(DURABLE_WORD_AT)
    }

    pub(super) fn bells(&self) -> u64 {
        self.page.load(BELLS_AT)
    }

    pub(super) fn add_bell(&self, word: u32) {
        if self.page.is_writable() {
            self.page.set_bits(BELLS_AT, 1 << (word % 64));
        }
    }

    /// The slot that the selector points at. Exact under the append lock; without it, single
    /// numbers are exact but may be of different moments.
    pub(super) fn slot(&self) -> Slot {
        Slot::of(&self.numbers().0)
    }

    /// The same, if its checksum is right.
    pub(super) fn sound_slot(&self) -> Option<Slot> {
        let (numbers, check) = self.numbers();
        (check == check_of(&numbers)).then(|| Slot::of(&numbers))
    }

    fn numbers(&self) -> ([u64; SLOT_NUMBERS], u64) {
        let at = SLOTS_AT[(self.page.load(SELECTOR_AT) & 1) as usize];
        (std::array::from_fn(|index| self.page.load(at + index * 8)), self.page.load(at + SLOT_NUMBERS * 8))
    }

    /// Makes `slot` the state of the log, and moves the log end to it. Under the append lock.
    pub(super) fn publish(&self, slot: &Slot) {
        let selector = (self.page.load(SELECTOR_AT) & 1) ^ 1;
        let at = SLOTS_AT[selector as usize];
        let numbers = slot.numbers();
        for (index, number) in numbers.into_iter().enumerate() {
            self.page.store(at + index * 8, number);
        }
        self.page.store(at + SLOT_NUMBERS * 8, check_of(&numbers));
        self.page.store(SELECTOR_AT, selector);
        self.page.store(ACTIVE_BASE_AT, slot.active_base.0);
        self.page.store(LOG_END_AT, slot.log_end.0);
    }

    /// A writer that died between the selector and the words left them one publish behind.
    pub(super) fn settle_words(&self, slot: &Slot) {
        if self.log_end() != slot.log_end || self.active_base() != slot.active_base {
            self.page.store(ACTIVE_BASE_AT, slot.active_base.0);
            self.page.store(LOG_END_AT, slot.log_end.0);
        }
    }

    fn load_16(&self, at: usize) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.page.load(at).to_ne_bytes());
        bytes[8..].copy_from_slice(&self.page.load(at + 8).to_ne_bytes());
        bytes
    }

    fn store_16(&self, at: usize, bytes: [u8; 16]) {
        let half = |from: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[from..from + 8]);
            u64::from_ne_bytes(half)
        };
        self.page.store(at, half(0));
        self.page.store(at + 8, half(8));
    }
}

/// Refuses a page that a newer drave wrote.
pub(super) fn check_version(head: &Head) -> Result<()> {
    match head.newer_version() {
        Some(found) => Err(Error::VersionTooNew { path: head.file.path().to_owned(), found, supported: VERSION as u32 }),
        None => Ok(()),
    }
}
