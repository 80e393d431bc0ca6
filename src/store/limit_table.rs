//! `limits`: one mapped file in which all processes count against rate limits.
//!
//! ```text
//!      0  magic      8  version     16  boot id (16)
//!   4096  keys       1024 * u64     hash of what the slot's limit is for; 0 = free
//!  12288  slots      1024 * 512
//!
//!   slot: 0  bucket of records   64  bucket of bytes   128  pace   136  end of its window   192  classes (40 * u64)
//! bucket: 0  full at (ticks)      8  allowed  16  denied  24  waited  32  time waited (ns)
//! ```
//!
//! Native byte order, and times of this boot's clock: the first to open it after another boot empties the times and leaves
//! the counters. Nothing in it is promised to anybody: a file that is damaged or gone is made anew, and the limits start
//! anew with it. A slot whose buckets are full says nothing but its counters, so another limit may have it when all are
//! taken. Locks on bytes: 0 to claim slots, 1 to change `limits.toml`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tracing::warn;

use crate::config::LimitOf;
use crate::disk::{Access, Dir, File, LockKind, Page, random_name};
use crate::error::{Error, Result};

const LIMITS: &[u8] = b"limits";
const MAGIC: u64 = u64::from_le_bytes(*b"DRAVElim");
const VERSION: u64 = 1;
const VERSION_AT: usize = 8;
const BOOT_AT: usize = 16;
const KEYS_AT: usize = 4096;
/// So many limits can be in use at once.
const SLOTS: usize = 1024;
const SLOTS_AT: usize = KEYS_AT + SLOTS * 8;
const SLOT_BYTES: usize = 512;
const FILE_BYTES: usize = SLOTS_AT + SLOTS * SLOT_BYTES;

const BUCKETS_AT: [usize; 2] = [0, 64];
const PACE_AT: usize = 128;
const WINDOW_AT: usize = 136;
const CLASSES_AT: usize = 192;
/// Classes in which a load is counted.
pub const CLASSES: usize = 40;
const _: () = assert!(CLASSES_AT + CLASSES * 8 <= SLOT_BYTES);

const CLAIM_BYTE: u64 = 0;
const RULES_BYTE: u64 = 1;
/// Claiming takes microseconds: who holds the lock longer was stopped in the middle.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// One of a slot's two buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Records.
    Records = 0,
    /// Bytes.
    Bytes = 1,
}

/// What is counted of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records or bytes that went through.
    pub allowed: u64,
    /// Records or bytes that were refused.
    pub denied: u64,
    /// How often somebody waited.
    pub waited: u64,
    /// For how long, in all.
    pub waited_ns: u64,
}

/// The file, mapped when it is first needed.
#[derive(Debug)]
pub struct LimitTable {
    root: Arc<Dir>,
    open: Mutex<Option<Arc<Mapped>>>,
}

#[derive(Debug)]
struct Mapped {
    page: Page,
    file: File,
}

/// The slot of one limit. Clones are the same slot.
#[derive(Clone, Debug)]
pub struct LimitSlot {
    mapped: Arc<Mapped>,
    key: u64,
    key_at: usize,
    at: usize,
}

/// A lock on the file, until this is dropped.
pub(super) struct LimitLock(Arc<Mapped>, u64);

impl Drop for LimitLock {
    fn drop(&mut self) {
        // Fails only for a descriptor that is not open.
        let _ = self.0.file.unlock(self.1);
    }
}

impl LimitTable {
    pub(super) fn new(root: Arc<Dir>) -> LimitTable {
        LimitTable { root, open: Mutex::default() }
    }

    /// The slot of a limit, claimed if it has none. What has a free slot in its stead is one that nobody is slowed by.
    ///
    /// # Errors
    /// [`Error::Limited`] when all slots are in use.
    pub fn slot(&self, of: &LimitOf, now_ticks: u64) -> Result<LimitSlot> {
        let mapped = self.mapped()?;
        let key = key_of(of);
        let find = |wanted| (0..SLOTS).find(|index| mapped.page.load(KEYS_AT + index * 8) == wanted);
        if let Some(index) = find(key) {
            return Ok(LimitSlot::new(&mapped, index, key));
        }
        let _lock = self.lock_byte(CLAIM_BYTE)?;
        let idle = |index: &usize| {
            let slot = LimitSlot::new(&mapped, *index, key);
            [Counts::Records, Counts::Bytes].iter().all(|counts| slot.full_at(*counts) <= now_ticks)
        };
        let index = find(key).or_else(|| find(0)).or_else(|| (0..SLOTS).find(idle)).ok_or_else(|| Error::Limited {
            limit: format!("{of}: all of the {SLOTS} limits that a store can have in use at once are"),
            again_in: Duration::from_secs(1),
        })?;
        let slot = LimitSlot::new(&mapped, index, key);
        if mapped.page.load(slot.key_at) != key {
            (0..SLOT_BYTES).step_by(8).for_each(|at| mapped.page.store(slot.at + at, 0));
            mapped.page.store(slot.key_at, key);
        }
        Ok(slot)
    }

    /// The slot of a limit, for looking at it: `None` when it has none. Writes nothing.
    pub fn look(&self, of: &LimitOf) -> Result<Option<LimitSlot>> {
        let file = match self.root.open_file(LIMITS, Access::Read) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let page = Page::map_first(&file, FILE_BYTES, false)?;
        if page.load(0) != MAGIC || page.load(VERSION_AT) != VERSION {
            return Err(damaged(&file));
        }
        let (mapped, key) = (Arc::new(Mapped { page, file }), key_of(of));
        let index = (0..SLOTS).find(|index| mapped.page.load(KEYS_AT + index * 8) == key);
        Ok(index.map(|index| LimitSlot::new(&mapped, index, key)))
    }

    /// Sees to it that the file at the path is used: if it was removed, cut or replaced, the one that is there now.
    pub fn refresh(&self) -> Result<()> {
        let known = self.lock_open().clone();
        if let Some(mapped) = known {
            let is_there = matches!(self.root.stat(LIMITS)?, Some(meta) if meta.inode == mapped.file.inode());
            if is_there && !mapped.is_bad() {
                return Ok(());
            }
            let path = mapped.file.path().display();
            warn!(%path, "the file of the rate limits was removed, replaced or damaged; the limits start anew");
            *self.lock_open() = None;
        }
        Ok(())
    }

    /// Locks out others who change `limits.toml`.
    pub(super) fn lock_rules(&self) -> Result<LimitLock> {
        self.lock_byte(RULES_BYTE)
    }

    fn lock_open(&self) -> MutexGuard<'_, Option<Arc<Mapped>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapped(&self) -> Result<Arc<Mapped>> {
        let mut open = self.lock_open();
        if let Some(mapped) = &*open {
            return Ok(Arc::clone(mapped));
        }
        let mapped = Arc::new(self.open_or_make()?);
        *open = Some(Arc::clone(&mapped));
        Ok(mapped)
    }

    fn open_or_make(&self) -> Result<Mapped> {
        let mut is_told = false;
        loop {
            let file = match self.root.open_file(LIMITS, Access::ReadWrite) {
                Err(error) if error.is_not_found() => {
                    self.make(false)?;
                    continue;
                }
                other => other?,
            };
            match Page::map_first(&file, FILE_BYTES, true).map(|page| Mapped { page, file }) {
                Ok(mapped) if !mapped.is_bad() => {
                    mapped.enter_boot(self)?;
                    return Ok(mapped);
                }
                Ok(_) | Err(Error::Damaged { .. }) if !is_told => {
                    let path = self.root.path().join("limits");
                    warn!(path = %path.display(), "the file of the rate limits is damaged; the limits start anew");
                    is_told = true;
                    self.make(true)?;
                }
                Ok(mapped) => return Err(damaged(&mapped.file)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a new file in place, in place of another if it `replaces` one. Written out in full: a full disk is an error
    /// here, and no signal later.
    fn make(&self, replaces: bool) -> Result<()> {
        let mut bytes = vec![0; FILE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[VERSION_AT..VERSION_AT + 8].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[BOOT_AT..BOOT_AT + 16].copy_from_slice(&self.root.boot().0);
        let name = format!(".tmp-{}", random_name());
        let file = self.root.create_file(name.as_bytes())?;
        let put = file.write_all_at(&[&bytes], 0).and_then(|()| match replaces {
            true => self.root.rename(name.as_bytes(), &self.root, LIMITS).map(|()| true),
            false => self.root.rename_new(name.as_bytes(), &self.root, LIMITS),
        });
        if !matches!(put, Ok(true)) {
            let _ = self.root.unlink(name.as_bytes());
        }
        put.map(|_| ())
    }

    fn lock_byte(&self, byte: u64) -> Result<LimitLock> {
        let mapped = self.mapped()?;
        lock(&mapped.file, &self.root, byte)?;
        Ok(LimitLock(mapped, byte))
    }
}

fn lock(file: &File, root: &Dir, byte: u64) -> Result<()> {
    let began = Instant::now();
    while !file.try_lock(byte, LockKind::Exclusive)? {
        let waited = began.elapsed();
        if waited >= LOCK_LIMIT {
            return Err(Error::Busy { what: "the rate limits", path: file.path().to_owned(), holder: None, waited });
        }
        root.pause(Duration::from_millis(1));
    }
    Ok(())
}

fn damaged(file: &File) -> Error {
    Error::Damaged { path: file.path().to_owned(), position: 0, what: "not a file of rate limits".to_owned() }
}

fn key_of(of: &LimitOf) -> u64 {
    word_of(&Sha256::digest(of.to_bytes())[..8]).max(1)
}

fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

impl Mapped {
    fn is_bad(&self) -> bool {
        self.page.is_lost() || self.page.load(0) != MAGIC || self.page.load(VERSION_AT) != VERSION
    }

    fn boot(&self) -> [u8; 16] {
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&self.page.load(BOOT_AT).to_ne_bytes());
        boot[8..].copy_from_slice(&self.page.load(BOOT_AT + 8).to_ne_bytes());
        boot
    }

    /// What was written in another boot is of another clock.
    fn enter_boot(&self, table: &LimitTable) -> Result<()> {
        let boot = table.root.boot().0;
        if self.boot() == boot {
            return Ok(());
        }
        lock(&self.file, &table.root, CLAIM_BYTE)?;
        if self.boot() != boot {
            for index in 0..SLOTS {
                let at = SLOTS_AT + index * SLOT_BYTES;
                BUCKETS_AT.iter().for_each(|bucket| self.page.store(at + bucket, 0));
                self.page.store(at + WINDOW_AT, 0);
            }
            let (first, last) = boot.split_at(8);
            // Whoever sees both halves of the id sees the times emptied.
            self.page.store(BOOT_AT + 8, word_of(last));
            self.page.store(BOOT_AT, word_of(first));
        }
        self.file.unlock(CLAIM_BYTE)
    }
}

impl LimitSlot {
    fn new(mapped: &Arc<Mapped>, index: usize, key: u64) -> LimitSlot {
        LimitSlot { mapped: Arc::clone(mapped), key, key_at: KEYS_AT + index * 8, at: SLOTS_AT + index * SLOT_BYTES }
    }

    /// Whether another limit has it by now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.mapped.page.load(self.key_at) != self.key
    }

    fn bucket(&self, counts: Counts) -> usize {
        self.at + BUCKETS_AT[counts as usize]
    }

    /// When the bucket is full, in ticks.
    #[must_use]
    pub fn full_at(&self, counts: Counts) -> u64 {
        self.mapped.page.load(self.bucket(counts))
    }

    /// Changes that if it is `old`; `false` when somebody was faster.
    #[must_use]
    pub fn set_full_at(&self, counts: Counts, old: u64, new: u64) -> bool {
        self.mapped.page.exchange(self.bucket(counts), old, new)
    }

    /// Gives back what was taken.
    pub fn give_back(&self, counts: Counts, amount: u64, cost: u64) {
        self.mapped.page.add(self.bucket(counts), cost.wrapping_neg());
        self.mapped.page.add(self.bucket(counts) + 8, amount.wrapping_neg());
    }

    /// Counts what went through.
    pub fn count_allowed(&self, counts: Counts, amount: u64) {
        self.mapped.page.add(self.bucket(counts) + 8, amount);
    }

    /// Counts what was refused.
    pub fn count_denied(&self, counts: Counts, amount: u64) {
        self.mapped.page.add(self.bucket(counts) + 16, amount);
    }

    /// Counts a wait.
    pub fn count_wait(&self, counts: Counts, time: Duration) {
        self.mapped.page.add(self.bucket(counts) + 24, 1);
        self.mapped.page.add(self.bucket(counts) + 32, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self, counts: Counts) -> Counters {
        let at = self.bucket(counts);
        let page = &self.mapped.page;
        Counters {
            allowed: page.load(at + 8),
            denied: page.load(at + 16),
            waited: page.load(at + 24),
            waited_ns: page.load(at + 32),
        }
    }

    /// Fills both buckets, and forgets the pace: the limit was set anew.
    pub(super) fn start_anew(&self) {
        BUCKETS_AT.iter().for_each(|bucket| self.mapped.page.store(self.at + bucket, 0));
        self.mapped.page.store(self.at + PACE_AT, 0);
        self.mapped.page.store(self.at + WINDOW_AT, 0);
    }

    /// The pace, as a word.
    #[must_use]
    pub fn pace(&self) -> u64 {
        self.mapped.page.load(self.at + PACE_AT)
    }

    /// Sets the pace.
    pub fn set_pace(&self, word: u64) {
        self.mapped.page.store(self.at + PACE_AT, word);
    }

    /// When the window ends in which the load is counted, in ticks; 0 = none has begun.
    #[must_use]
    pub fn window_end(&self) -> u64 {
        self.mapped.page.load(self.at + WINDOW_AT)
    }

    /// Begins another window; `false` when somebody was faster.
    #[must_use]
    pub fn begin_window(&self, old_end: u64, end: u64) -> bool {
        self.mapped.page.exchange(self.at + WINDOW_AT, old_end, end)
    }

    /// Counts a load.
    pub fn count_load(&self, class: usize) {
        self.mapped.page.add(self.at + CLASSES_AT + class.min(CLASSES - 1) * 8, 1);
    }

    /// Takes what was counted.
    #[must_use]
    pub fn take_loads(&self) -> [u64; CLASSES] {
        std::array::from_fn(|class| self.mapped.page.take(self.at + CLASSES_AT + class * 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::Plain;

    fn table(place: &tempfile::TempDir, boot: u8) -> LimitTable {
        let disk = Arc::new(Plain::default()).disk(boot);
        LimitTable::new(Arc::new(Dir::open(place.path(), disk).expect("there")))
    }

    fn reader(name: usize) -> LimitOf {
        LimitOf::Reader(name.to_string().into_bytes().into())
    }

    #[test]
    fn two_openers_share_a_slot_and_names_have_their_own() {
        let place = tempfile::tempdir().expect("a directory");
        let (one, two) = (table(&place, 1), table(&place, 1));
        let slot = one.slot(&LimitOf::Global, 0).expect("claimed");
        assert!(slot.set_full_at(Counts::Records, 0, 77));
        slot.count_allowed(Counts::Bytes, 5);
        let same = two.slot(&LimitOf::Global, 0).expect("found");
        assert_eq!((same.full_at(Counts::Records), same.full_at(Counts::Bytes)), (77, 0));
        assert_eq!(same.counters(Counts::Bytes).allowed, 5);
        assert_eq!(two.slot(&reader(1), 0).expect("claimed").full_at(Counts::Records), 0);
        assert_eq!(one.look(&LimitOf::Global).expect("there").expect("found").full_at(Counts::Records), 77);
        assert!(one.look(&reader(2)).expect("there").is_none());
    }

    #[test]
    fn another_boot_empties_the_times_and_leaves_the_counters() {
        let place = tempfile::tempdir().expect("a directory");
        let slot = table(&place, 1).slot(&LimitOf::Global, 0).expect("claimed");
        assert!(slot.set_full_at(Counts::Records, 0, u64::MAX / 2));
        slot.count_denied(Counts::Records, 3);
        let after = table(&place, 2);
        let slot = after.slot(&LimitOf::Global, 0).expect("found");
        assert_eq!((slot.full_at(Counts::Records), slot.counters(Counts::Records).denied), (0, 3));
        assert_eq!(after.mapped().expect("open").boot(), [2; 16]);
        assert!(slot.set_full_at(Counts::Records, 0, 5));
        assert_eq!(table(&place, 2).slot(&LimitOf::Global, 0).expect("found").full_at(Counts::Records), 5);
    }

    #[test]
    fn when_all_slots_are_taken_an_idle_one_is_and_else_that_is_said() {
        let place = tempfile::tempdir().expect("a directory");
        let table = table(&place, 1);
        let slots: Vec<LimitSlot> = (0..SLOTS).map(|name| table.slot(&reader(name), 0).expect("free")).collect();
        assert!(slots.iter().all(|slot| slot.set_full_at(Counts::Records, 0, 100)));
        let refused = table.slot(&reader(SLOTS), 99);
        assert!(matches!(&refused, Err(Error::Limited { limit, .. }) if limit.contains("1024")), "{refused:?}");
        let taken = table.slot(&reader(SLOTS), 100).expect("all are full by then");
        assert_eq!(taken.full_at(Counts::Records), 0);
        assert_eq!(slots.iter().filter(|slot| slot.is_lost()).count(), 1);
    }

    #[test]
    fn a_damaged_or_removed_file_is_made_anew() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("limits");
        for damage in [&b""[..], b"short", &[0; FILE_BYTES]] {
            std::fs::write(&path, damage).expect("written");
            let slot = table(&place, 1).slot(&LimitOf::Global, 0).expect("made anew");
            assert_eq!(slot.full_at(Counts::Records), 0);
        }
        let table = table(&place, 1);
        let slot = table.slot(&LimitOf::Global, 0).expect("there");
        assert!(slot.set_full_at(Counts::Records, 0, 9));
        table.refresh().expect("looks");
        assert_eq!(table.slot(&LimitOf::Global, 0).expect("there").full_at(Counts::Records), 9, "nothing was wrong");
        std::fs::remove_file(&path).expect("removed");
        table.refresh().expect("looks");
        assert_eq!(table.slot(&LimitOf::Global, 0).expect("new").full_at(Counts::Records), 0);
        assert!(path.exists());
        // Cut under the map: reads as zeros, and is replaced.
        let file = std::fs::File::options().write(true).open(&path).expect("opened");
        file.set_len(0).expect("cut");
        let slot = table.slot(&LimitOf::Global, 0);
        assert!(slot.is_ok(), "no signal: {slot:?}");
        table.refresh().expect("looks");
        table.slot(&LimitOf::Global, 0).expect("new");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), FILE_BYTES as u64);
    }
}
