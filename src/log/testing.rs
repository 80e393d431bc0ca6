//! Logs for tests of this floor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Log, LogOptions, Mode, Opening};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::codec::batch::BatchIds;
use crate::codec::frame::Packed;
use crate::config::Compression;
use crate::disk::{Dir, Disk};
use crate::ids::Incarnation;
use crate::job::Job;

pub(super) fn opening(segment_bytes: u64) -> Opening {
    Opening {
        options: LogOptions { read_durable: false, segment_bytes, segment_age: Duration::MAX, origin_age: Duration::ZERO },
        clock: Clock::system(),
        incarnation: Incarnation([7; 16]),
        bell: None,
    }
}

pub(super) fn make(place: &Path) -> Arc<Dir> {
    let above = Arc::new(Dir::open(place, Disk::open().expect("a disk")).expect("there"));
    above.make_dir(b"t").expect("made");
    Log::create(&above.dir(b"t").expect("there"), &opening(64 << 20)).expect("made");
    above
}

pub(super) fn open(above: &Arc<Dir>) -> Log {
    Log::open(vec![Arc::clone(above)], b"t", Mode::Write, &opening(64 << 20), &Job::new()).expect("opens")
}

pub(super) fn open_with(above: &Arc<Dir>, segment_bytes: u64) -> Log {
    Log::open(vec![Arc::clone(above)], b"t", Mode::Write, &opening(segment_bytes), &Job::new()).expect("opens")
}

/// Appends records with their numbers as values, in frames of so many.
pub(super) fn publish(log: &Log, numbers: std::ops::Range<u64>, at_once: usize, compression: Compression) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(at_once) {
        let mut batch = BatchBuilder::new();
        some.iter().for_each(|number| batch.push_value(number.to_string().as_bytes()));
        let mut packed = Packed::records(&batch.batch(), compression).expect("fits");
        log.append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appended");
    }
}
