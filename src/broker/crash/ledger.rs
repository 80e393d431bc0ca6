//! What was tried, what was promised, and when, counted in changes of the disk.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::BatchBuilder;
use crate::codec::{FieldRef, Record};
use crate::ids::{Incarnation, Offset, Place, RecordId};

/// Who wrote a record, and which of that writer's it is.
pub(super) type Ident = (u32, u32);

/// A batch that was handed to a publisher.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) topic: &'static str,
    pub(super) writer: u32,
    /// The number of its first record.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) started: usize,
    /// `publish` has said that it failed.
    pub(super) refused: bool,
    /// What `publish` returned, and when.
    pub(super) receipt: Option<(usize, Receipt)>,
    /// When it was acknowledged as synced.
    pub(super) acked: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) life: Incarnation,
    pub(super) offset: Offset,
    pub(super) id: RecordId,
}

/// Something that was begun and perhaps finished.
#[derive(Clone, Debug)]
pub(super) struct Span<T> {
    pub(super) topic: &'static str,
    pub(super) life: Incarnation,
    pub(super) what: T,
    pub(super) started: usize,
    pub(super) ended: Option<usize>,
}

/// How far a reader had come.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) topic: &'static str,
    pub(super) life: Incarnation,
    pub(super) place: Place,
    pub(super) at: usize,
    /// All that it had read.
    pub(super) seen: BTreeSet<Ident>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) sent: Vec<Sent>,
    pub(super) deletes: Vec<Span<()>>,
    pub(super) trims: Vec<Span<Offset>>,
    pub(super) saved: Vec<Saved>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

impl Ledger {
    pub(super) fn of(entries: Entries) -> Ledger {
        Ledger(Mutex::new(entries))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, topic: &'static str, writer: u32, first: u32, count: u32, started: usize) -> usize {
        let mut entries = self.lock();
        entries.sent.push(Sent { topic, writer, first, count, started, refused: false, receipt: None, acked: None });
        entries.sent.len() - 1
    }

    pub(super) fn receive(&self, index: usize, at: usize, receipt: Receipt) {
        self.lock().sent[index].receipt = Some((at, receipt));
    }

    pub(super) fn ack(&self, indexes: &[usize], at: usize) {
        let mut entries = self.lock();
        for &index in indexes {
            entries.sent[index].acked.get_or_insert(at);
        }
    }
}

impl Entries {
    /// What the world knew when `ops` changes had been made, as the past of what comes next.
    pub(super) fn until(&self, ops: usize) -> Entries {
        // What a reader had seen earlier it had seen later too: the last two places tell all.
        let mut saved: Vec<Saved> = Vec::new();
        for later in self.saved.iter().rev().filter(|saved| saved.at <= ops) {
            if saved.iter().filter(|kept| (kept.topic, kept.life) == (later.topic, later.life)).count() < 2 {
                saved.insert(0, later.clone());
            }
        }
        let mut past = Entries {
            sent: self.sent.iter().filter(|sent| sent.started <= ops).cloned().collect(),
            deletes: self.deletes.clone(),
            trims: self.trims.clone(),
            saved,
        };
        for sent in &mut past.sent {
            sent.started = 0;
            sent.acked = sent.acked.filter(|at| *at <= ops).map(|_| 0);
            sent.receipt = sent.receipt.filter(|(at, _)| *at <= ops).map(|(_, receipt)| (0, receipt));
        }
        past.deletes.retain_mut(|span| span.cut(ops));
        past.trims.retain_mut(|span| span.cut(ops));
        past.saved.iter_mut().for_each(|saved| saved.at = 0);
        past
    }

    /// After a power cut, what was not acknowledged may be gone and its offset used again.
    pub(super) fn forget_receipts(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.acked.is_none()) {
            sent.receipt = None;
        }
    }

    pub(super) fn is_deleted(&self, topic: &str, life: Incarnation) -> bool {
        self.deletes.iter().any(|delete| delete.topic == topic && delete.life == life)
    }
}

impl<T> Span<T> {
    fn cut(&mut self, ops: usize) -> bool {
        let stays = self.started <= ops;
        self.started = 0;
        self.ended = self.ended.filter(|at| *at <= ops).map(|_| 0);
        stays
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields of a record; everything about it follows from who it is.
fn fields(topic: &str, (writer, number): Ident) -> (Fields, bool) {
    let ident = format!("{topic}:{writer}:{number}:");
    let mix = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let length = [20, 60, 400, 900, 1500][(mix % 5) as usize] + (mix % 37) as usize;
    let filler = ident.bytes().cycle().take(length);
    let value: Vec<u8> = ident.bytes().chain(filler).collect();
    match number % 7 {
        0 => (vec![(b"key".to_vec(), value)], true),
        1 => (vec![(b"key".to_vec(), b"k".to_vec()), (b"value".to_vec(), value), (b"h".to_vec(), Vec::new())], false),
        _ => (vec![(b"value".to_vec(), value)], false),
    }
}

pub(super) fn push(batch: &mut BatchBuilder, topic: &str, ident: Ident) {
    let (fields, null) = fields(topic, ident);
    let fields: Vec<FieldRef<'_>> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    batch.push(&fields, null, None).expect("legal");
}

/// Who a record is. Panics when a single byte of it is not what that one wrote.
pub(super) fn identify(topic: &str, record: &Record<'_>) -> Ident {
    let text = String::from_utf8_lossy(record.value().or(record.key()).expect("all have one")).into_owned();
    let mut parts = text.split(':');
    assert_eq!(parts.next(), Some(topic), "a record of another topic: {text}");
    let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("no writer wrote this record");
    let ident = (number(), number());
    let (want, null) = fields(topic, ident);
    let have: Fields = record.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert!(have == want && record.null == null, "record {ident:?} was altered");
    ident
}
