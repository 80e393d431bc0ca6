//! `head`: one page that all processes which have the log open map and change at once.
//!
//! ```text
//!     0  magic           8  version        16  boot id (16)     32  own inode
//!    48  incarnation (16)
//!    64  log end        72  durable        80  log start        88  epoch
//!    96  set gen.      104  settings gen. 112  flags           120  base of the active segment
//!   128  tail word     136  bells
//!   192  durable word  200  syncing       208  holder of sync
//!   256  append word   264  writing       272  holder of append
//!   320  maintenance word  328  holder of maintenance
//!   384  selector
//!   448  slot 0 (128)  576  slot 1 (128)
//! ```
//!
//! A slot holds what only appenders need: log end, end position, base, inode and salt of the active
//! segment, when it was made, last ID, records added, greatest deleted ID, bytes of the index, where
//! the index ends. It is filled while the selector points at the other one, so a writer that is
//! killed in between spoils nothing. Native byte order: the page is for one boot of one machine.
//!
//! Locks are on bytes 0..4 of the same file: append, sync, alive, maintenance.

use crate::codec::segment::file_name;
use crate::disk::{Access, BootId, Dir, File, PAGE_BYTES, Page, Word};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TimestampMs};

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
const DURABLE_WORD_AT: usize = 192;
const SYNCING_AT: usize = 200;
pub(super) const SYNC_HOLDER_AT: usize = 208;
pub(super) const APPEND_WORD_AT: usize = 256;
const WRITING_AT: usize = 264;
pub(super) const APPEND_HOLDER_AT: usize = 272;
pub(super) const MAINTENANCE_WORD_AT: usize = 320;
pub(super) const MAINTENANCE_HOLDER_AT: usize = 328;
const SELECTOR_AT: usize = 384;
const SLOTS_AT: [usize; 2] = [448, 576];
const _: () = assert!(SLOTS_AT[1] + 128 <= PAGE_BYTES);

/// Where the page holds inode numbers: a simulated reboot keeps them, though its files are copies.
#[cfg(test)]
pub(crate) const INODE_WORDS_AT: [usize; 3] = [INODE_AT, SLOTS_AT[0] + 24, SLOTS_AT[1] + 24];

pub(super) const APPEND_BYTE: u64 = 0;
pub(super) const SYNC_BYTE: u64 = 1;
pub(super) const ALIVE_BYTE: u64 = 2;
pub(super) const MAINTENANCE_BYTE: u64 = 3;

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

/// What appenders hand on to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) log_end: Offset,
    /// Where the next frame goes.
    pub(super) end_position: u64,
    pub(super) active_base: Offset,
    pub(super) active_inode: u64,
    pub(super) active_salt: u32,
    pub(super) active_created: TimestampMs,
    pub(super) last_id: RecordId,
    pub(super) entries_added: u64,
    pub(super) max_deleted_id: RecordId,
    /// Bytes of the active segment's index.
    pub(super) index_bytes: u64,
    /// The position of the last frame in the index.
    pub(super) indexed: u64,
}

/// All of the state that [`Head::set_up`] needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) incarnation: Incarnation,
    pub(super) slot: Slot,
    pub(super) durable: Offset,
    pub(super) log_start: Offset,
    pub(super) epoch: Epoch,
    /// A failed sync from before is still to be repaired.
    pub(super) poisoned: bool,
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

    /// Whether what the page says is true now: it was written in this boot, for this very file, and
    /// for the segment that lies in `dir`. A page from before a reboot, a restored copy, a foreign or
    /// a cut one is not.
    pub(super) fn is_believable(&self, dir: &Dir) -> Result<bool> {
        let own = !self.page.is_lost()
            && self.page.load(MAGIC_AT) == MAGIC
            && self.page.load(VERSION_AT) == VERSION
            && self.boot() == dir.boot()
            && self.page.load(INODE_AT) == self.inode();
        if !own {
            return Ok(false);
        }
        let slot = self.slot();
        let Some(meta) = dir.stat(file_name(slot.active_base).as_bytes())? else { return Ok(false) };
        if meta.inode != slot.active_inode || meta.length < slot.end_position {
            return Ok(false);
        }
        // Inode numbers are used again, and a file can be written over: a page that was put back
        // from a copy may have passed so far. But the log went on without it: beyond its end, or in
        // a segment that it does not know. While somebody has the log open, that is an append that
        // happens just now.
        let went_on = meta.length > slot.end_position
            || (slot.log_end != slot.active_base && dir.stat(file_name(slot.log_end).as_bytes())?.is_some());
        Ok(!went_on || self.is_writing() || self.file.is_locked_elsewhere(ALIVE_BYTE)?)
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
        page.store(DURABLE_AT, setup.durable.0);
        page.store(LOG_START_AT, setup.log_start.0);
        page.store(EPOCH_AT, setup.epoch.0);
        page.store(FLAGS_AT, if setup.poisoned { FLAG_POISONED } else { 0 });
        page.store(SYNCING_AT, 0);
        page.store(WRITING_AT, 0);
        page.add(SET_GENERATION_AT, 1);
        page.add(SETTINGS_GENERATION_AT, 1);
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

    pub(super) fn raise_durable(&self, durable: Offset) {
        self.page.raise(DURABLE_AT, durable.0);
    }

    /// After a repair lost records, the end is lower than it was.
    pub(super) fn set_durable(&self, durable: Offset) {
        self.page.store(DURABLE_AT, durable.0);
    }

    pub(super) fn log_start(&self) -> Offset {
        Offset(self.page.load(LOG_START_AT))
    }

    pub(super) fn raise_log_start(&self, start: Offset) {
        self.page.raise(LOG_START_AT, start.0);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.page.load(EPOCH_AT))
    }

    pub(super) fn set_epoch(&self, epoch: Epoch) {
        self.page.store(EPOCH_AT, epoch.0);
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

    pub(super) fn is_poisoned(&self) -> bool {
        self.page.load(FLAGS_AT) & FLAG_POISONED != 0
    }

    pub(super) fn poison(&self) {
        self.page.set_bits(FLAGS_AT, FLAG_POISONED);
    }

    /// Poisons because of a sync whose outcome nobody lived to see.
    pub(super) fn poison_by_death(&self) {
        self.page.set_bits(FLAGS_AT, FLAG_POISONED | FLAG_SYNCER_DIED);
    }

    /// Whether no sync is known to have failed: a process died inside one.
    pub(super) fn has_syncer_died(&self) -> bool {
        self.page.load(FLAGS_AT) & FLAG_SYNCER_DIED != 0
    }

    pub(super) fn clear_poison(&self) {
        self.page.clear_bits(FLAGS_AT, FLAG_POISONED | FLAG_SYNCER_DIED);
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
        let at = SLOTS_AT[(self.page.load(SELECTOR_AT) & 1) as usize];
        let load = |index: usize| self.page.load(at + index * 8);
        Slot {
            log_end: Offset(load(0)),
            end_position: load(1),
            active_base: Offset(load(2)),
            active_inode: load(3),
            active_salt: load(4) as u32,
            active_created: TimestampMs(load(5)),
            last_id: RecordId { ms: load(6), seq: load(7) },
            entries_added: load(8),
            max_deleted_id: RecordId { ms: load(9), seq: load(10) },
            index_bytes: load(11),
            indexed: load(12),
        }
    }

    /// Makes `slot` the state of the log, and moves the log end to it. Under the append lock.
    pub(super) fn publish(&self, slot: &Slot) {
        let selector = (self.page.load(SELECTOR_AT) & 1) ^ 1;
        let at = SLOTS_AT[selector as usize];
        let numbers = [
            slot.log_end.0,
            slot.end_position,
            slot.active_base.0,
            slot.active_inode,
            u64::from(slot.active_salt),
            slot.active_created.0,
            slot.last_id.ms,
            slot.last_id.seq,
            slot.entries_added,
            slot.max_deleted_id.ms,
            slot.max_deleted_id.seq,
            slot.index_bytes,
            slot.indexed,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            self.page.store(at + index * 8, number);
        }
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
