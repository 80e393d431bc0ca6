use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::broker::create_group;
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::codec::group_event::GroupSettings;
use crate::config::{Compression, Overrides};
use crate::disk::{BootId, Disk, Op, Verdict, Watch};
use crate::ids::{GroupName, Place};
use crate::store::StoreOptions;

/// A machine whose uptime a test sets.
#[derive(Debug, Default)]
struct Machine {
    uptime_ms: AtomicU64,
}

impl Watch for Machine {
    fn before(&self, _: &Op<'_>) -> Verdict {
        Verdict::Go
    }

    fn yields(&self) -> bool {
        false
    }

    fn uptime_ms(&self) -> Option<u64> {
        Some(self.uptime_ms.load(Ordering::Relaxed))
    }
}

const HOUR_MS: u64 = 3_600_000;

struct Rig {
    _dir: tempfile::TempDir,
    store: Store,
    hand: Arc<AtomicU64>,
    machine: Arc<Machine>,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().expect("a directory");
        let hand = Arc::new(AtomicU64::new(1_700_000_000_000));
        let machine = Arc::new(Machine::default());
        let disk = Disk::watched(BootId([1; 16]), Arc::clone(&machine) as Arc<dyn Watch>);
        let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::manual(Arc::clone(&hand)) };
        let store = Store::open_on(dir.path(), &options, disk).expect("opens");
        Rig { _dir: dir, store, hand, machine }
    }

    fn topic(&self, settings: &[(&str, &str)]) -> Arc<Topic> {
        let mut overrides = Overrides::default();
        overrides.set("segment-bytes", "4KiB").expect("legal");
        settings.iter().for_each(|(name, value)| overrides.set(name, value).expect("legal"));
        let name = TopicName::new(b"t").expect("legal");
        self.store.create_topic(&name, &overrides, true).expect("made");
        self.store.topic(&name, Mode::Write, &Job::new()).expect("opens")
    }

    fn keep(&self, topic: &Arc<Topic>) -> Expired {
        let how = Upkeep { dry_run: true, ..Upkeep::default() };
        let (mut told, mut done) = (Kept::default(), Kept::default());
        keep_topic(&self.store, topic, how, &mut told, &Job::new()).expect("looked");
        let start = topic.log().log_start();
        assert_eq!(told.expired.from, start);
        keep_topic(&self.store, topic, Upkeep::default(), &mut done, &Job::new()).expect("kept");
        let (told, done) = (told.expired, done.expired);
        assert!(done.until >= told.until && topic.log().log_start() == done.until, "{told:?} {done:?}");
        done
    }

    fn pass(&self, ms: u64) {
        self.hand.fetch_add(ms, Ordering::Relaxed);
        self.machine.uptime_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// About 13 records a segment.
fn publish(topic: &Topic, count: usize) {
    for _ in 0..count {
        let mut batch = BatchBuilder::new();
        batch.push_value(&[b'x'; 200]);
        let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
        topic.log().append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appended");
    }
}

fn group(rig: &Rig, topic: &Topic, name: &str, at: u64) {
    let (name, place) =
        (GroupName::new(name.as_bytes()).expect("legal"), Place { offset: Offset(at), epoch: topic.log().epoch() });
    assert!(create_group(&rig.store, topic, &name, &GroupSettings::default(), place, &Job::new()).expect("made"));
}

#[test]
fn no_more_goes_than_a_limit_says_and_at_most_a_segment_more_stays() {
    let rig = Rig::new();
    let topic = rig.topic(&[("max-records", "100")]);
    publish(&topic, 1000);
    let expired = rig.keep(&topic);
    let left = topic.log().live_count().expect("counted");
    assert!((100..120).contains(&left), "{left}");
    assert_eq!(expired.records, 1000 - left);
    assert!(expired.segments > 50 && expired.bytes > 50 * 3000, "{expired:?}");
    assert_eq!(rig.keep(&topic).segments, 0);
}

#[test]
fn what_a_group_has_not_committed_stays_up_to_a_size() {
    let rig = Rig::new();
    let topic = rig.topic(&[("max-records", "10")]);
    publish(&topic, 500);
    group(&rig, &topic, "far", 400);
    group(&rig, &topic, "slow", 100);
    let expired = rig.keep(&topic);
    assert!((80..=100).contains(&expired.until.0) && expired.protected_bytes > 300 * 200, "{expired:?}");
    let set = |name: &str, value: &str| {
        rig.store.configure(&topic, &[(name.to_owned(), value.to_owned())], &Job::new()).expect("set");
    };
    set("protect-bytes-max", "40KiB");
    let expired = rig.keep(&topic);
    assert!((300..400).contains(&expired.until.0), "{expired:?}");
    set("protect-groups", "off");
    assert!(rig.keep(&topic).until.0 > 450);
    // A trim obeys whatever a group needs.
    topic.log().trim(Offset(499), &Job::new()).expect("trimmed");
}

#[test]
fn a_clock_that_jumps_expires_nothing_and_time_that_passes_does() {
    let rig = Rig::new();
    let topic = rig.topic(&[("max-age", "1h")]);
    publish(&topic, 100);
    rig.hand.fetch_add(365 * 24 * HOUR_MS, Ordering::Relaxed);
    assert_eq!(rig.keep(&topic).segments, 0);
    // Nobody was there before: it is idle from now on.
    rig.pass(HOUR_MS / 2);
    assert_eq!(rig.keep(&topic).segments, 0);
    rig.pass(HOUR_MS / 2 + 1);
    assert!(rig.keep(&topic).segments > 0);
    assert_eq!(topic.log().live_count().expect("counted"), 0, "also what was in the active segment");
    // What is published with the clock a year ahead is as new as anything.
    publish(&topic, 100);
    rig.pass(HOUR_MS / 2);
    publish(&topic, 1);
    assert_eq!(rig.keep(&topic).segments, 0);
    rig.pass(HOUR_MS);
    publish(&topic, 1);
    assert!(rig.keep(&topic).segments > 0);
}

#[test]
fn an_idle_segment_that_is_old_is_sealed() {
    let rig = Rig::new();
    let topic = rig.topic(&[("compact", "on"), ("segment-age", "1h")]);
    let mut batch = BatchBuilder::new();
    for value in [b"1", b"2"] {
        batch.push(&[(b"key", b"k"), (b"value", value)], false, None).expect("legal");
    }
    let mut packed = Packed::records(&batch.batch(), Compression::None).expect("fits");
    topic.log().append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appended");
    rig.keep(&topic);
    assert_eq!(topic.log().live_count().expect("counted"), 2, "it is appended to");
    rig.pass(HOUR_MS);
    rig.keep(&topic);
    assert_eq!(topic.log().live_count().expect("counted"), 1);
}
