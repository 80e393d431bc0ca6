//! Records to test with, and a store of them in memory.

pub(crate) mod memory;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use drave::codec::{BatchBuilder, FieldRef, Record, Records};
use drave::ids::{Offset, RecordId};

/// The ID that [`with_record`] and [`body`] give the first record.
pub(crate) const FIRST_ID: RecordId = RecordId { ms: 1_700_000_000_123, seq: 4 };

/// A frame's body with these records.
pub(crate) fn body(records: &[(&[FieldRef<'_>], bool)]) -> (Vec<u8>, u32, bool) {
    body_with_ids(records.iter().map(|(fields, null)| (*fields, *null, None)))
}

/// A frame's body with these records, which have their own IDs.
pub(crate) fn body_with_ids<'a>(
    records: impl Iterator<Item = (&'a [FieldRef<'a>], bool, Option<RecordId>)>,
) -> (Vec<u8>, u32, bool) {
    let mut builder = BatchBuilder::new();
    for (fields, null, id) in records {
        builder.push(fields, null, id).expect("a legal record");
    }
    let batch = builder.batch();
    let mut bytes = Vec::new();
    put_length(&mut bytes, batch.table.len());
    bytes.extend_from_slice(batch.table);
    bytes.extend_from_slice(batch.values);
    (bytes, batch.count, batch.plain)
}

/// The varint at the start of a body.
fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Calls `check` with a record at offset 42 that has these fields.
pub(crate) fn with_record(fields: &[FieldRef<'_>], null: bool, check: impl FnOnce(&Record<'_>)) {
    let (bytes, count, plain) = body(&[(fields, null)]);
    let mut records = Records::new(&bytes, Offset(42), count, count, FIRST_ID, plain).expect("a body");
    check(&records.next().expect("one record").expect("well formed"));
}

/// A pipe, and the thread that reads it to the end.
pub(crate) fn drained_pipe() -> (OwnedFd, JoinHandle<Vec<u8>>) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let drain = std::thread::spawn(move || {
        let mut all = Vec::new();
        File::from(reader).read_to_end(&mut all).expect("readable");
        all
    });
    (writer, drain)
}
