//! Damage of every kind, found and repaired: through the library, so that there can be a lot of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use drave::clock::Clock;
use drave::codec::BatchBuilder;
use drave::config::Overrides;
use drave::engine::{Embedded, Engine as _, GapCause, Next, OpenOptions as EngineOptions, PublishOptions};
use drave::ids::{Offset, TopicName};
use drave::job::Job;
use drave::log::{Mended, Verified};
use drave::store::Store;
use tempfile::TempDir;

const BATCHES: u64 = 60;
const RECORDS: u64 = BATCHES * 7;

fn topic() -> TopicName {
    TopicName::new(b"t").expect("legal")
}

fn options(create: bool) -> EngineOptions {
    EngineOptions { create, unsafe_fs: false, clock: Clock::system() }
}

fn value(offset: u64) -> Vec<u8> {
    // Long enough for some segments, and not too easy for zstd.
    let noise: String = (0..12).map(|n| format!("{:08x}", (offset * 16 + n).wrapping_mul(0x9e37_79b9) as u32)).collect();
    format!("record {offset} {noise}").into_bytes()
}

struct Room {
    _directory: TempDir,
    store: PathBuf,
}

impl Room {
    /// A store with a topic of several segments.
    fn new(settings: &[(&str, &str)]) -> Room {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a directory");
        let room = Room { store: directory.path().join("store"), _directory: directory };
        let engine = Embedded::open(&room.store, &options(true)).expect("made");
        let mut overrides = Overrides::default();
        overrides.set("segment-bytes", "8KiB").expect("legal");
        for (name, value) in settings {
            overrides.set(name, value).expect("legal");
        }
        engine.create_topic(&topic(), &overrides).expect("made");
        publish(&engine, 0, BATCHES);
        room
    }

    fn files(&self) -> PathBuf {
        self.store.join("topics/t")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.files()).expect("a directory").map(|entry| entry.expect("an entry").path());
        let mut segments: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        segments.sort();
        segments
    }

    fn look(&self) -> Store {
        Store::open_to_look(&self.store, &options(false)).expect("it opens")
    }

    fn verify(&self) -> Verified {
        let (verified, ended) = self.look().verify_topic(&topic(), &Job::new());
        ended.expect("damage is no error");
        verified
    }

    fn mend(&self) -> Mended {
        self.look().mend_topic(&topic(), &Job::new()).expect("it can be repaired")
    }

    fn read(&self) -> Read {
        let engine = Embedded::open(&self.store, &options(false)).expect("it opens");
        let mut feed = engine.feed(&[topic()], &Job::new()).expect("it opens");
        let bounds = feed.bounds(0).expect("it has some");
        feed.stop_at(0, Some(bounds.end));
        let mut read = Read { end: bounds.end.0, ..Read::default() };
        let mut expected = bounds.start.0;
        loop {
            match feed.next().expect("damage is no error") {
                Next::Records { records, .. } => {
                    for record in records {
                        let record = record.expect("well formed");
                        assert_eq!(record.offset.0, expected, "told or handed out, one after the other");
                        read.values.push((record.offset.0, record.value().expect("a value").to_vec()));
                        expected += 1;
                    }
                }
                Next::Gap { gap, .. } => {
                    assert_eq!(gap.from.0, expected);
                    expected = gap.until.0;
                    match gap.cause {
                        GapCause::GivenUp => read.given_up += gap.until.0 - gap.from.0,
                        _ => read.damaged += gap.until.0 - gap.from.0,
                    }
                }
                Next::CaughtUp | Next::Limited(_) => panic!("it was to stop"),
                Next::End => break,
            }
        }
        assert_eq!(expected, bounds.end.0);
        read
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    values: Vec<(u64, Vec<u8>)>,
    given_up: u64,
    damaged: u64,
    end: u64,
}

fn publish(engine: &Embedded, from_batch: u64, until_batch: u64) {
    let options = PublishOptions { durability: None, create: false, limit_wait: std::time::Duration::ZERO, job: Job::new() };
    let mut publisher = engine.publisher(&topic(), &options).expect("it opens");
    for batch in from_batch..until_batch {
        let mut builder = BatchBuilder::new();
        (batch * 7..batch * 7 + 7).for_each(|offset| builder.push_value(&value(offset)));
        publisher.publish(&builder.batch(), None).expect("appended");
    }
    publisher.settle().expect("synced");
    publisher.close().expect("closed");
}

fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("it is there");
    file.write_all_at(bytes, position).expect("there is room");
}

fn flip(path: &Path, position: u64) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[position as usize] ^= 0x10;
    overwrite(path, position, &bytes[position as usize..=position as usize]);
}

fn truncate(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).expect("it is there").set_len(length).expect("cut");
}

/// What the damage costs, and that all else is whole again.
#[track_caller]
fn check(room: &Room, what: &str) -> Mended {
    check_down_to(room, what, RECORDS)
}

/// As [`check`], where the log may have lost its end together with the page that knew it.
#[track_caller]
fn check_down_to(room: &Room, what: &str, end_min: u64) -> Mended {
    let before = room.read();
    let found = room.verify();
    let lost: u64 = found.findings.iter().filter_map(|finding| finding.offsets).map(|(from, until)| until.since(from)).sum();
    assert_eq!(before.damaged, lost, "{what}: reading and verifying agree: {:#?}", found.findings);
    assert!(before.end <= RECORDS + 3 && before.end >= end_min, "{what}: {}", before.end);
    let mended = room.mend();
    let after = room.verify();
    assert!(!after.is_damaged(), "{what}: {:#?}\n{mended:#?}", after.findings);
    assert!(after.findings.iter().all(|finding| !finding.repairable), "{what}: {:#?}", after.findings);
    let read = room.read();
    assert_eq!((read.damaged, read.end), (0, before.end), "{what}");
    assert!(before.values == read.values, "{what}: no record that could be read is lost, none changes");
    assert_eq!((read.given_up, mended.records_lost()), (before.given_up + before.damaged, before.damaged), "{what}");
    for (offset, found) in &read.values {
        assert_eq!(*found, value(*offset), "{what}");
    }
    assert!(room.mend().is_nothing(), "{what}: a second repair finds nothing to do");
    // Appends go on, and all of it is there without the page, too.
    let engine = Embedded::open(&room.store, &options(false)).expect("it opens");
    let next = read.end;
    let mut publisher = engine
        .publisher(
            &topic(),
            &PublishOptions { durability: None, create: false, limit_wait: std::time::Duration::ZERO, job: Job::new() },
        )
        .expect("it opens");
    let mut builder = BatchBuilder::new();
    builder.push_value(&value(next));
    assert_eq!(publisher.publish(&builder.batch(), None).expect("appended").first, Offset(next), "{what}");
    publisher.close().expect("closed");
    drop(publisher);
    drop(engine);
    let again = room.read();
    assert_eq!(again.values.len(), read.values.len() + 1, "{what}");
    fs::remove_file(room.files().join("head")).expect("it is there");
    assert!(!room.verify().is_damaged(), "{what}: without head: {:#?}", room.verify().findings);
    assert_eq!(room.read(), again, "{what}: without head");
    mended
}

#[test]
fn a_whole_log_is_left_as_it_is() {
    let room = Room::new(&[]);
    assert!(room.segments().len() >= 5, "{:?}", room.segments());
    let verified = room.verify();
    assert_eq!((verified.records, verified.findings.len()), (RECORDS, 0), "{:#?}", verified.findings);
    assert_eq!(verified.segments, room.segments().len() as u64);
    assert!(check(&room, "nothing").is_nothing());
}

#[test]
fn every_flipped_byte_is_found_where_it_is() {
    let room = Room::new(&[]);
    let segments = room.segments();
    for segment in [&segments[0], &segments[2], &segments[segments.len() - 1]] {
        let length = fs::metadata(segment).expect("it is there").len();
        for position in (0..length).step_by(37) {
            flip(segment, position);
            let found = room.verify().findings;
            let is_in_place = |finding: &drave::log::Finding| finding.path == *segment && finding.position <= position;
            assert!(found.iter().any(is_in_place), "{} at {position}: {found:#?}", segment.display());
            flip(segment, position);
        }
    }
    assert_eq!(room.verify().findings.len(), 0);
}

#[test]
fn a_bad_frame_costs_that_frame() {
    for compression in ["none", "zstd"] {
        let room = Room::new(&[("compression", compression)]);
        flip(&room.segments()[1], 700);
        let mended = check(&room, compression);
        assert_eq!((mended.records_lost(), mended.segments.len(), mended.kept.len()), (7, 1, 1));
        let kept = fs::read(&mended.kept[0]).expect("it is kept");
        assert!(mended.kept[0].starts_with(room.store.join("quarantine/t")) && kept.len() > 7000);
    }
}

type Damage = fn(&Room, &[PathBuf]);

const DAMAGES: &[(&str, Damage)] = &[
    ("the header of the first segment", |_, s| flip(&s[0], 20)),
    ("the header of a segment in the middle", |_, s| flip(&s[2], 60)),
    ("the header of the last segment", |_, s| flip(s.last().expect("some"), 100)),
    ("the headers of two neighbours", |_, s| {
        flip(&s[2], 0);
        flip(&s[3], 0);
    }),
    ("all headers", |_, s| s.iter().for_each(|path| flip(path, 9))),
    ("no first segment", |_, s| fs::remove_file(&s[0]).expect("removed")),
    ("no segment in the middle", |_, s| fs::remove_file(&s[2]).expect("removed")),
    ("two segments missing", |_, s| s[2..4].iter().for_each(|path| fs::remove_file(path).expect("removed"))),
    ("no last segment", |_, s| fs::remove_file(s.last().expect("some")).expect("removed")),
    ("no segments", |_, s| s.iter().for_each(|path| fs::remove_file(path).expect("removed"))),
    ("a sealed segment cut short", |_, s| truncate(&s[1], 3000)),
    ("a sealed segment cut at a frame", |_, s| truncate(&s[1], 256)),
    ("a sealed segment cut to nothing", |_, s| truncate(&s[1], 0)),
    ("a header cut off", |_, s| truncate(&s[1], 100)),
    ("the first segment cut short", |_, s| truncate(&s[0], 2000)),
    ("the last segment cut short", |_, s| {
        let last = s.last().expect("some");
        truncate(last, fs::metadata(last).expect("it is there").len() / 2);
    }),
    ("a cut segment before a missing one", |_, s| {
        truncate(&s[1], 3000);
        fs::remove_file(&s[2]).expect("removed");
    }),
    ("a bad end before a missing one", |_, s| {
        flip(&s[1], fs::metadata(&s[1]).expect("it is there").len() - 5);
        fs::remove_file(&s[2]).expect("removed");
    }),
    ("a cut segment before a damaged header", |_, s| {
        truncate(&s[1], 3000);
        flip(&s[2], 30);
    }),
    ("zeros", |_, s| overwrite(&s[1], 1024, &[0; 4096])),
    ("zeros at an end", |_, s| {
        let length = fs::metadata(&s[1]).expect("it is there").len();
        overwrite(&s[1], length - 100, &[0; 100]);
    }),
    ("a segment of zeros", |_, s| {
        let length = fs::metadata(&s[1]).expect("it is there").len();
        overwrite(&s[1], 0, &vec![0; length as usize]);
    }),
    ("frames in the wrong order", |_, s| {
        let bytes = fs::read(&s[1]).expect("it is there");
        overwrite(&s[1], 256, &[&bytes[3000..5000], &bytes[256..3000]].concat());
    }),
    ("a segment in place of another", |_, s| assert!(fs::copy(&s[1], &s[2]).is_ok())),
    ("a segment under a name between", |room, s| {
        assert!(fs::copy(&s[1], room.files().join("00000000000000000100.log")).is_ok());
    }),
    ("something behind a sealed segment", |_, s| {
        let length = fs::metadata(&s[1]).expect("it is there").len();
        overwrite(&s[1], length, &[7; 300]);
    }),
    ("a foreign file", |room, _| fs::write(room.files().join("n\u{fc}ll".repeat(40)), b"x").expect("written")),
    ("a foreign directory", |room, _| fs::create_dir(room.files().join("mine")).expect("made")),
    ("no head", |room, _| fs::remove_file(room.files().join("head")).expect("removed")),
    ("a short head", |room, _| truncate(&room.files().join("head"), 1000)),
    ("a head of noise", |room, _| overwrite(&room.files().join("head"), 0, &[0xa5; 4096])),
];

#[test]
fn damage_of_every_kind_is_repaired() {
    for (what, damage) in DAMAGES {
        let room = Room::new(&[]);
        damage(&room, &room.segments());
        check(&room, what);
    }
}

#[test]
fn damage_is_repaired_without_the_page_too() {
    for (what, damage) in DAMAGES.iter().filter(|(what, _)| !what.contains("head")) {
        let room = Room::new(&[]);
        damage(&room, &room.segments());
        fs::remove_file(room.files().join("head")).expect("removed");
        let is_end = what.contains("last") || *what == "no segments" || *what == "all headers";
        check_down_to(&room, &format!("{what}, no head"), if is_end { 0 } else { RECORDS });
    }
}

#[test]
fn a_segment_of_another_topic_is_not_read() {
    let (room, other) = (Room::new(&[]), Room::new(&[]));
    for name in ["00000000000000000100.log", "00000000000000000003.log"] {
        fs::copy(&other.segments()[1], room.files().join(name)).expect("copied");
    }
    let from = fs::read(&other.segments()[1]).expect("it is there");
    // With a header that fits its name, which only the incarnation gives away.
    let mut header = drave_header(&from);
    header.base = Offset(150);
    let bytes = [&header.encode()[..], &from[256..]].concat();
    fs::write(room.files().join("00000000000000000150.log"), bytes).expect("written");
    let mended = check(&room, "foreign segments");
    assert_eq!((mended.records_lost(), mended.kept.len()), (0, 3));
}

fn drave_header(bytes: &[u8]) -> drave::codec::SegmentHeader {
    match drave::codec::segment::SegmentHeader::parse(bytes) {
        drave::codec::segment::ParsedHeader::Header(header) => *header,
        other => panic!("a header: {other:?}"),
    }
}

#[test]
fn damage_below_the_log_start_concerns_nobody() {
    let room = Room::new(&[]);
    let engine = Embedded::open(&room.store, &options(false)).expect("it opens");
    let start = 100;
    engine.trim_topic(&topic(), Offset(start), &Job::new()).expect("trimmed");
    drop(engine);
    flip(&room.segments()[0], 300);
    let verified = room.verify();
    assert!(!verified.is_damaged() && verified.findings.len() == 1, "{:#?}", verified.findings);
    assert!(room.mend().is_nothing());
    flip(&room.segments()[1], 300);
    let mended = room.mend();
    assert_eq!(mended.segments.len(), 1);
    assert!(!room.verify().is_damaged());
    let read = room.read();
    assert_eq!(read.given_up, mended.records_lost());
    assert!(read.values.iter().all(|(offset, found)| *offset >= start && *found == value(*offset)));
}

/// A number from a seed: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % limit
    }
}

fn damage_something(room: &Room, random: &mut Random) {
    let segments = room.segments();
    let Some(path) = segments.get(random.below(segments.len().max(1) as u64) as usize) else { return };
    let length = fs::metadata(path).expect("it is there").len();
    let at = random.below(length.max(1));
    match random.below(8) {
        _ if length == 0 => {}
        0 => truncate(path, at),
        1 => fs::remove_file(path).expect("removed"),
        2 => flip(path, at.min(255)),
        3 => overwrite(path, at, &vec![0; random.below(length - at).max(1) as usize]),
        _ => flip(path, at),
    }
}

#[test]
fn any_mixture_of_damage_is_repaired() {
    let seed = std::env::var("DRAVE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(1..100, |seed| seed..seed + 1);
    for seed in seeds {
        let mut random = Random(seed);
        let room = Room::new(&[("compression", if seed % 3 == 0 { "zstd" } else { "none" })]);
        for round in 0..3 {
            for _ in 0..=random.below(4) {
                damage_something(&room, &mut random);
            }
            let knows_end = random.below(4) > 0 && round == 0;
            if !knows_end {
                // The check has removed it already, in later rounds.
                let _ = fs::remove_file(room.files().join("head"));
            }
            check_down_to(&room, &format!("DRAVE_SEED={seed}, round {round}"), if knows_end { RECORDS } else { 0 });
        }
    }
}
