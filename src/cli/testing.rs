//! Records to test with.

use drave::codec::{BatchBuilder, FieldRef, Record, Records};
use drave::ids::{Offset, RecordId};

/// The ID that [`with_record`] and [`body`] give the first record.
pub(crate) const FIRST_ID: RecordId = RecordId { ms: 1_700_000_000_123, seq: 4 };

/// A frame's body with these records.
pub(crate) fn body(records: &[(&[FieldRef<'_>], bool)]) -> (Vec<u8>, u32, bool) {
    let mut builder = BatchBuilder::new();
    for (fields, null) in records {
        builder.push(fields, *null, None).expect("a legal record");
    }
    let batch = builder.batch();
    let mut bytes = Vec::new();
    let mut length = batch.table.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(batch.table);
    bytes.extend_from_slice(batch.values);
    (bytes, batch.count, batch.plain)
}

/// Calls `check` with a record at offset 42 that has these fields.
pub(crate) fn with_record(fields: &[FieldRef<'_>], null: bool, check: impl FnOnce(&Record<'_>)) {
    let (bytes, count, plain) = body(&[(fields, null)]);
    let mut records = Records::new(&bytes, Offset(42), count, count, FIRST_ID, plain).expect("a body");
    check(&records.next().expect("one record").expect("well formed"));
}
