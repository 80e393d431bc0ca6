//! What a store holds, against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::ledger::{Entries, Ident, Ledger, Receipt, identify};
use super::work::{TOPICS, Writer, read_on};
use super::{name, open};
use crate::broker::{Fed, Flusher, TopicFeed};
use crate::clock::Clock;
use crate::config::Durability;
use crate::disk::Disk;
use crate::disk::sim::{Plain, Sim, contents};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Incarnation, Offset, RecordId};
use crate::job::Job;
use crate::log::Mode;
use crate::store::Store;

/// What happened to the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// Everything that was not synced may be gone.
    Power,
    /// The processes are gone, what they wrote is there.
    Kill,
}

/// What a topic holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) life: Incarnation,
    pub(super) epoch: Epoch,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) records: Vec<(Offset, RecordId, Ident)>,
}

impl Found {
    pub(super) fn idents(&self) -> BTreeSet<Ident> {
        self.records.iter().map(|(_, _, ident)| *ident).collect()
    }
}

/// Reads a whole topic; every offset has its record. `None` when there is no such topic.
pub(super) fn find(store: &Store, topic: &'static str) -> Result<Option<Found>> {
    let mut feed = match TopicFeed::open(store, &[name(topic)], Job::new()) {
        Err(Error::TopicMissing { .. }) => return Ok(None),
        other => other?,
    };
    let (start, end) = feed.bounds(0)?;
    let log = Arc::clone(feed.log(0));
    feed.seek(0, start);
    feed.stop_at(0, Some(end.offset));
    let mut records: Vec<(Offset, RecordId, Ident)> = Vec::new();
    loop {
        match feed.read_on()? {
            Fed::Records { records: some, .. } => {
                for record in some {
                    let record = record.expect("well formed");
                    let expected = start.plus(records.len() as u64);
                    assert_eq!(record.offset, expected, "offsets of {topic} are dense");
                    records.push((record.offset, record.id, identify(topic, &record)));
                }
            }
            Fed::Gap { gap, .. } => panic!("{topic}: nothing is missing or damaged, but {gap:?} after {:?}", records.last()),
            Fed::Limited(_) | Fed::CaughtUp | Fed::End => break,
        }
    }
    assert_eq!(start.plus(records.len() as u64), end.offset, "{topic} is whole");
    assert!(records.is_sorted_by(|a, b| a.1 < b.1), "the IDs of {topic} rise: {records:?}");
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for (_, _, (writer, number)) in &records {
        let before = last.insert(*writer, *number);
        assert!(before < Some(*number), "{topic}: record {number} of writer {writer} comes after {before:?}");
    }
    Ok(Some(Found { life: log.incarnation(), epoch: end.epoch, start, end: end.offset, records }))
}

/// Every promise of the ledger, against what was found of one topic.
pub(super) fn verify(entries: &Entries, topic: &'static str, found: Option<&Found>, crash: Crash) {
    let by_ident: BTreeMap<Ident, (Offset, RecordId)> =
        found.iter().flat_map(|found| &found.records).map(|(offset, id, ident)| (*ident, (*offset, *id))).collect();
    let life = found.map(|found| found.life);
    for sent in entries.sent.iter().filter(|sent| sent.topic == topic) {
        let promised = match crash {
            Crash::Power => sent.acked.is_some(),
            Crash::Kill => sent.receipt.is_some(),
        };
        let of = sent.receipt.map(|(_, receipt)| receipt);
        let is_deleted = of.is_some_and(|receipt| entries.is_deleted(topic, receipt.life));
        if promised && !is_deleted {
            assert_eq!(life, of.map(|receipt| receipt.life), "{topic} is there, with all of {sent:?}");
        }
        for index in 0..u64::from(sent.count) {
            let ident = (sent.writer, sent.first + index as u32);
            let expected =
                of.map(|receipt: Receipt| (receipt.offset.plus(index), receipt.id.advance(index).expect("far from the end")));
            match by_ident.get(&ident) {
                Some(place) => {
                    assert!(crash == Crash::Power || !sent.refused, "{topic}: {ident:?} is there, though an error was told");
                    let is_other_life = of.is_some_and(|receipt| Some(receipt.life) != life);
                    assert!(!is_other_life, "{topic}: {ident:?} is from another life");
                    assert!(expected.is_none_or(|expected| expected == *place), "{ident:?} at {place:?}, not {expected:?}");
                }
                None => {
                    let is_trimmed = expected.is_some_and(|(offset, _)| found.is_some_and(|found| offset < found.start));
                    assert!(!promised || is_deleted || is_trimmed, "{topic}: {ident:?} of {sent:?} is lost; found {found:?}");
                }
            }
        }
    }
    let known = |ident: &Ident| {
        let sent = |sent: &&super::ledger::Sent| {
            sent.topic == topic && sent.writer == ident.0 && (sent.first..sent.first + sent.count).contains(&ident.1)
        };
        entries.sent.iter().find(sent).is_some()
    };
    assert!(by_ident.keys().all(known), "{topic}: a record that nobody had sent");
    if let Some(found) = found {
        verify_bounds(entries, topic, found);
        verify_seen(entries, topic, found, crash);
    }
    for delete in entries.deletes.iter().filter(|delete| delete.topic == topic && delete.ended.is_some()) {
        assert_ne!(life, Some(delete.life), "{topic} was deleted");
    }
}

fn verify_bounds(entries: &Entries, topic: &str, found: &Found) {
    let trims = || entries.trims.iter().filter(|trim| trim.topic == topic && trim.life == found.life);
    let at_least = trims().filter(|trim| trim.ended.is_some()).map(|trim| trim.what).max().unwrap_or_default();
    let at_most = trims().map(|trim| trim.what).max().unwrap_or_default();
    let start = found.start;
    assert!(start >= at_least.min(found.end) && start <= at_most, "{topic} starts at {start}, trimmed to {at_least}..{at_most}");
}

/// What any reader of a `sync` topic has seen survives.
fn verify_seen(entries: &Entries, topic: &str, found: &Found, crash: Crash) {
    let is_safe = crash == Crash::Kill || TOPICS.iter().any(|(of, level)| *of == topic && *level == Durability::Sync);
    if !is_safe {
        return;
    }
    let idents = found.idents();
    let trimmed = |ident: &Ident| {
        let of = |sent: &&super::ledger::Sent| {
            sent.topic == topic && sent.writer == ident.0 && (sent.first..sent.first + sent.count).contains(&ident.1)
        };
        let sent = entries.sent.iter().find(of).expect("it was sent");
        // Without a receipt its offset is not known; what was seen lies near it.
        sent.receipt.is_none_or(|(_, receipt)| receipt.offset.plus(u64::from(ident.1 - sent.first)) < found.start)
    };
    for saved in entries.saved.iter().filter(|saved| saved.topic == topic && saved.life == found.life) {
        for ident in saved.seen.difference(&idents) {
            assert!(found.start > Offset::ZERO && trimmed(ident), "{topic}: {ident:?} was seen, and is lost");
        }
    }
}

/// Everything that has to hold after a crash left `path` like this; the store is in use afterwards.
pub(super) fn check(path: &Path, entries: &Entries, clock: &Clock, crash: Crash) {
    let boot = if crash == Crash::Power { 2 } else { 1 };
    let looked = if crash == Crash::Power { Some(look(path, entries, clock)) } else { None };
    let plain = Arc::new(Plain::default());
    let ledger = Ledger::of(entries.clone());
    let sim = Sim::idle();
    let found = use_again(path, &ledger, clock, &sim, (plain.disk(boot), crash, looked));
    // Closed and opened again, in the same boot and in the next, it reads the same.
    for boot in [boot, 3] {
        let store = open(path, false, clock, plain.disk(boot)).expect("opens");
        for (topic, before) in TOPICS.iter().map(|(topic, _)| topic).zip(&found) {
            drop(store.topic(&name(topic), Mode::Write, &Job::new()).expect("opens"));
            let after = find(&store, topic).expect("reads").expect("is there");
            verify_bounds(entries, topic, &after);
            // A trim that was begun and not finished may be finished by the recovery.
            let kept: Vec<_> = before.records.iter().filter(|(offset, ..)| *offset >= after.start).copied().collect();
            assert_eq!((&after.records, after.life), (&kept, before.life), "{topic} after another opening");
        }
    }
}

/// A reader comes first: it sees what is there, and changes nothing.
fn look(path: &Path, entries: &Entries, clock: &Clock) -> Vec<Option<Found>> {
    let before = contents(path);
    let plain = Arc::new(Plain::default());
    let mut found = vec![None; TOPICS.len()];
    match open(path, false, clock, plain.disk(2)) {
        Ok(store) => {
            for (index, (topic, _)) in TOPICS.iter().enumerate() {
                found[index] = find(&store, topic).unwrap_or_else(|error| panic!("reading {topic}: {error:?}"));
                verify(entries, topic, found[index].as_ref(), Crash::Power);
            }
        }
        Err(Error::StoreMissing { .. } | Error::StoreUnusable { .. }) => {
            assert!(entries.sent.iter().all(|sent| sent.acked.is_none()), "the store is gone");
        }
        Err(error) => panic!("opening: {error:?}"),
    }
    assert_eq!(plain.changes(), 0, "looking changes nothing");
    assert!(contents(path) == before, "looking changes nothing");
    found
}

/// Opens the store for writing, which recovers it, publishes to all topics, and checks what is
/// there before and after.
pub(super) fn use_again(
    path: &Path,
    ledger: &Ledger,
    clock: &Clock,
    sim: &Sim,
    (disk, crash, looked): (Arc<Disk>, Crash, Option<Vec<Option<Found>>>),
) -> Vec<Found> {
    let store = open(path, true, clock, disk).expect("opens");
    let flusher = Flusher::default();
    let hand = Arc::default();
    let who = 10 + ledger.lock().sent.iter().map(|sent| sent.writer).max().unwrap_or(0);
    let mut writer = Writer::new(&store, &flusher, ledger, sim, (who, 0, hand));
    let mut all = Vec::new();
    for (index, (topic, level)) in TOPICS.iter().enumerate() {
        let mut before = None;
        match store.topic(&name(topic), Mode::Write, &Job::new()) {
            Ok(opened) => {
                // A reader of a `sync` topic is not shown what is not durable yet.
                make_durable(&opened, topic);
                before = find(&store, topic).unwrap_or_else(|error| panic!("reading {topic}: {error:?}"));
                let entries = ledger.lock();
                verify(&entries, topic, before.as_ref(), crash);
                if let Some(looked) = looked.as_ref().and_then(|looked| looked[index].as_ref()) {
                    let recovered = before.as_ref().expect("found again");
                    assert_eq!(looked.records, recovered.records, "{topic} recovered");
                }
            }
            Err(Error::TopicMissing { .. }) => verify(&ledger.lock(), topic, None, crash),
            Err(error) => panic!("opening {topic}: {error:?}"),
        }
        for count in [1, 3] {
            writer.send(topic, count).unwrap_or_else(|error| panic!("{topic}: {error:?}"));
            if *level == Durability::Sync || *topic == "b" {
                writer.settle(topic).unwrap_or_else(|error| panic!("{topic}: {error:?}"));
            }
        }
        writer.close(topic).unwrap_or_else(|error| panic!("{topic}: {error:?}"));
        let after = find(&store, topic).expect("reads").expect("is there");
        let entries = ledger.lock();
        verify(&entries, topic, Some(&after), crash);
        if let Some(before) = before {
            assert_eq!(after.records[..before.records.len()], before.records, "{topic} after appending");
            // And what was refused, could not be cut off, and is taken in.
            assert!(after.records.len() >= before.records.len() + 4);
        }
        resume(&store, &entries, topic, &after);
        all.push(after);
    }
    all
}

/// After a kill inside a sync the topic is poisoned until an append has repaired it.
fn make_durable(topic: &crate::store::Topic, what: &str) {
    let log = topic.log();
    match log.sync_to(log.end_place(), &Job::new()) {
        Ok(()) | Err(Error::Poisoned { .. }) => {}
        Err(error) => panic!("{what}: {error:?}"),
    }
    if log.is_poisoned() {
        log.trim(Offset::ZERO, &Job::new()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    }
}

/// Places saved before the crash skip nothing that is there now.
fn resume(store: &Store, entries: &Entries, topic: &'static str, after: &Found) {
    for saved in entries.saved.iter().rev().filter(|saved| saved.topic == topic && saved.life == after.life).take(2) {
        let reading = read_on(store, topic, Some((saved.life, saved.place))).expect("reads");
        let read: BTreeSet<Ident> = reading.idents.iter().copied().collect();
        for ident in &after.idents() {
            assert!(
                saved.seen.contains(ident) || read.contains(ident),
                "{topic}: {ident:?} is skipped by a reader that stood at {:?}; now {after:?}",
                saved.place
            );
        }
    }
}
