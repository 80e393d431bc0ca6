//! Records, as they lie in the body of a frame.
//!
//! ```text
//!   body    = varint(table bytes)  table  values
//!   table   = one entry a record, in order
//!   values  = the `value` of each record that has one there, each followed by '\n'
//!
//!   entry   = varint(value bytes * 2 + more)                 more = 0: a record with a value and no more
//!             if more = 1:
//!             flags u8     NULL KEY VALUE HEADERS LISTED ID SKIP ORIGIN
//!             SKIP         varint: offsets left out before this record (compaction removed them)
//!             ID           varint ms step, varint seq         seq: absolute if the ms stepped, else step - 1
//!             ORIGIN       who sent it, and as what (origin.rs draws it)
//!             KEY          varint n, n bytes
//!             HEADERS      varint count, count * (varint n, name, varint m, value)
//!             LISTED       varint count, count * (name code, varint m, value)
//!                          name code: 0 = "key", 1 = "value", else n + 2 and n bytes
//! ```
//!
//! A record whose fields are key?, value?, headers, in this order, is *shaped*: its value lies among
//! the values. All others are LISTED whole in the table. A record without ID has the ID after its
//! predecessor's; the first record has the frame's base ID.
//!
//! Why two parts: the values of a stream of lines are that stream, byte for byte. They are written
//! from the buffer they were read into, and read back with one write of the mapped file.

use std::fmt;

use smallvec::SmallVec;

use super::origin::Origin;
use super::records::Record;
use super::varint;
use crate::ids::{Offset, RecordId};

pub(super) const NULL: u8 = 1;
pub(super) const KEY: u8 = 2;
pub(super) const VALUE: u8 = 4;
pub(super) const HEADERS: u8 = 8;
pub(super) const LISTED: u8 = 16;
pub(super) const ID: u8 = 32;
pub(super) const SKIP: u8 = 64;
pub(super) const ORIGIN: u8 = 128;

/// The most fields one record can have.
pub const FIELDS_MAX: usize = 65_535;

/// What lengths take beside what [`super::Record::bytes`] says, at most, where records are not huge.
const TABLE_BYTES_MORE: u64 = 16;

/// Name and value of one field.
pub type FieldRef<'a> = (&'a [u8], &'a [u8]);

/// A body that does not follow the drawing though its checksum holds: a bug, or an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Which IDs the records of a new batch want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchIds {
    /// Whatever the log assigns.
    Auto,
    /// Their own, strictly rising.
    Explicit {
        /// The ID of the first record.
        first: RecordId,
        /// The ID of the last record.
        last: RecordId,
    },
}

/// Encoded records on their way into a log.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many records.
    pub count: u32,
    /// Every record has its value among the values, so that printing them is writing `values`.
    pub plain: bool,
    /// Which IDs they want.
    pub ids: BatchIds,
    /// How many of them have an origin.
    pub origins: u32,
    /// Field bytes of the largest record.
    pub record_bytes_max: u64,
    /// See the drawing.
    pub table: &'a [u8],
    /// See the drawing.
    pub values: &'a [u8],
}

impl Batch<'_> {
    /// Bytes of the body without compression.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        varint::width(self.table.len() as u64) + self.table.len() + self.values.len()
    }

    /// Cuts it into batches of at most so many records and bytes, or of one record that has more, and hands them out in
    /// order. For batches whose IDs are assigned.
    pub fn cut<E: From<Malformed>>(
        &self,
        records_max: u64,
        bytes_max: u64,
        mut each: impl FnMut(&Batch<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let fits = u64::from(self.count) <= records_max && self.body_bytes() as u64 <= bytes_max;
        if fits || self.count == 1 || self.ids != BatchIds::Auto {
            return each(self);
        }
        let mut body = Vec::with_capacity(self.body_bytes());
        self.put_front(&mut body);
        body.extend_from_slice(self.values);
        let records = super::Records::new(&body, Offset::ZERO, self.count, self.count, RecordId::ZERO, self.plain)?;
        let mut piece = BatchBuilder::new();
        for record in records {
            let record = record?;
            let fields: Vec<FieldRef<'_>> = record.fields().collect();
            let is_full =
                u64::from(piece.len()) >= records_max || piece.bytes() as u64 + record.bytes() + TABLE_BYTES_MORE > bytes_max;
            if is_full && !piece.is_empty() {
                each(&piece.batch())?;
                piece.clear();
            }
            piece.push(&fields, record.null, None)?;
        }
        each(&piece.batch())
    }

    /// The body, as it is without compression.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body_bytes());
        self.put_front(&mut body);
        body.extend_from_slice(self.values);
        body
    }

    /// Appends what stands before the values in the body.
    pub(super) fn put_front(&self, out: &mut Vec<u8>) {
        varint::put(out, self.table.len() as u64);
        out.extend_from_slice(self.table);
    }
}

/// Encodes records one after another.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    table: Vec<u8>,
    values: Vec<u8>,
    count: u32,
    not_plain: bool,
    ids: Option<(RecordId, RecordId)>,
    origins: u32,
    record_bytes_max: u64,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Appends a record with a value and no other field.
    pub fn push_value(&mut self, value: &[u8]) {
        varint::put(&mut self.table, value.len() as u64 * 2);
        self.put_value(value);
        self.count += 1;
        self.record_bytes_max = self.record_bytes_max.max(value.len() as u64);
    }

    /// Appends a record with these fields, in this order. `null` makes it a tombstone. With `id`
    /// it keeps that ID; either all records of a batch have one or none.
    ///
    /// # Errors
    /// More than [`FIELDS_MAX`] fields; an ID that does not rise, or IDs on some records only.
    pub fn push(&mut self, fields: &[FieldRef<'_>], null: bool, id: Option<RecordId>) -> Result<(), Malformed> {
        if fields.len() > FIELDS_MAX {
            return Err(Malformed("a record has at most 65,535 fields"));
        }
        let id_step = self.step_to(id)?;
        let shape = Shape::of(fields, null);
        let plain = matches!(shape, Shape::Shaped { key: None, value: Some(_), headers: [] });
        if plain && !null && id_step.is_none() {
            if let Shape::Shaped { value: Some(value), .. } = shape {
                self.push_value(value);
            }
            return Ok(());
        }
        self.put_entry(&shape, null, id_step, 0, None);
        self.note(fields);
        Ok(())
    }

    /// The same for a record that gets its ID from the log, and is to tell where it comes from.
    ///
    /// # Errors
    /// More than [`FIELDS_MAX`] fields; other records of the batch have IDs.
    pub fn push_sent(&mut self, fields: &[FieldRef<'_>], null: bool, origin: &Origin<'_>) -> Result<(), Malformed> {
        if fields.len() > FIELDS_MAX {
            return Err(Malformed("a record has at most 65,535 fields"));
        }
        self.step_to(None)?;
        self.put_entry(&Shape::of(fields, null), null, None, 0, Some(origin));
        self.origins += 1;
        self.note(fields);
        Ok(())
    }

    /// Appends a record that compaction keeps: with its ID and its origin, and `skipped` offsets after its
    /// predecessor, or after the base of the frame.
    ///
    /// # Errors
    /// An ID that does not rise.
    pub fn push_kept(&mut self, record: &Record<'_>, skipped: u64) -> Result<(), Malformed> {
        let fields: SmallVec<[FieldRef<'_>; 8]> = record.fields().collect();
        let id_step = self.step_to(Some(record.id))?;
        let is_bare = skipped == 0 && !record.null && id_step.is_none() && record.origin.is_none();
        match Shape::of(&fields, record.null) {
            Shape::Shaped { key: None, value: Some(value), headers: [] } if is_bare => self.push_value(value),
            shape => {
                self.put_entry(&shape, record.null, id_step, skipped, record.origin.as_ref());
                self.count += 1;
                self.origins += u32::from(record.origin.is_some());
            }
        }
        Ok(())
    }

    fn note(&mut self, fields: &[FieldRef<'_>]) {
        self.count += 1;
        let bytes: u64 = fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        self.record_bytes_max = self.record_bytes_max.max(bytes);
    }

    fn put_entry(
        &mut self,
        shape: &Shape<'_>,
        null: bool,
        id_step: Option<(u64, u64)>,
        skipped: u64,
        origin: Option<&Origin<'_>>,
    ) {
        let mut flags = if null { NULL } else { 0 };
        if skipped > 0 {
            flags |= SKIP;
        }
        if id_step.is_some() {
            flags |= ID;
        }
        let (key, value, headers, listed): (_, _, &[FieldRef<'_>], Option<&[FieldRef<'_>]>) = match *shape {
            Shape::Shaped { key, value, headers } => (key, value, headers, None),
            Shape::Listed(fields) => (None, None, &[], Some(fields)),
        };
        flags |= if origin.is_some() { ORIGIN } else { 0 };
        flags |= if key.is_some() { KEY } else { 0 };
        flags |= if value.is_some() { VALUE } else { 0 };
        flags |= if headers.is_empty() { 0 } else { HEADERS };
        flags |= if listed.is_some() { LISTED } else { 0 };
        varint::put(&mut self.table, value.map_or(0, |value| value.len() as u64) * 2 + 1);
        self.table.push(flags);
        if skipped > 0 {
            varint::put(&mut self.table, skipped);
        }
        if let Some((ms_step, seq)) = id_step {
            varint::put(&mut self.table, ms_step);
            varint::put(&mut self.table, seq);
        }
        if let Some(origin) = origin {
            origin.put(&mut self.table);
        }
        if let Some(key) = key {
            self.put_bytes(key);
        }
        if !headers.is_empty() {
            varint::put(&mut self.table, headers.len() as u64);
            for (name, value) in headers {
                self.put_bytes(name);
                self.put_bytes(value);
            }
        }
        if let Some(fields) = listed {
            varint::put(&mut self.table, fields.len() as u64);
            for (name, value) in fields {
                match *name {
                    b"key" => self.table.push(0),
                    b"value" => self.table.push(1),
                    _ => {
                        varint::put(&mut self.table, name.len() as u64 + 2);
                        self.table.extend_from_slice(name);
                    }
                }
                self.put_bytes(value);
            }
        }
        match value {
            Some(value) => self.put_value(value),
            None => self.not_plain = true,
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        varint::put(&mut self.table, bytes.len() as u64);
        self.table.extend_from_slice(bytes);
    }

    fn put_value(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.values.push(b'\n');
    }

    /// Notes the ID, and says how far it is from its predecessor's if that is not one step.
    fn step_to(&mut self, id: Option<RecordId>) -> Result<Option<(u64, u64)>, Malformed> {
        let Some(id) = id else {
            return if self.ids.is_some() {
                Err(Malformed("either all records of a batch have an ID or none"))
            } else {
                Ok(None)
            };
        };
        match self.ids {
            None if self.count > 0 => Err(Malformed("either all records of a batch have an ID or none")),
            None => {
                self.ids = Some((id, id));
                Ok(None)
            }
            Some((_, last)) if id <= last => Err(Malformed("IDs must rise")),
            Some((first, last)) => {
                self.ids = Some((first, id));
                let step = if Some(id) == last.successor() {
                    None
                } else if id.ms == last.ms {
                    Some((0, id.seq - last.seq - 1))
                } else {
                    Some((id.ms - last.ms, id.seq))
                };
                Ok(step)
            }
        }
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.len() + self.values.len()
    }

    /// What has been pushed.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            count: self.count,
            plain: !self.not_plain,
            ids: match self.ids {
                Some((first, last)) => BatchIds::Explicit { first, last },
                None => BatchIds::Auto,
            },
            origins: self.origins,
            record_bytes_max: self.record_bytes_max,
            table: &self.table,
            values: &self.values,
        }
    }

    /// Forgets all records. Memory beyond 4 MiB, which one huge record may have taken, is given back.
    pub fn clear(&mut self) {
        let (mut table, mut values) = (std::mem::take(&mut self.table), std::mem::take(&mut self.values));
        table.clear();
        values.clear();
        table.shrink_to(4 << 20);
        values.shrink_to(4 << 20);
        *self = BatchBuilder { table, values, ..BatchBuilder::default() };
    }
}

enum Shape<'a> {
    Shaped { key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [FieldRef<'a>] },
    Listed(&'a [FieldRef<'a>]),
}

impl<'a> Shape<'a> {
    fn of(fields: &'a [FieldRef<'a>], null: bool) -> Shape<'a> {
        let mut rest = fields;
        let mut take = |name: &[u8]| match rest.split_first() {
            Some(((first, value), others)) if *first == name => {
                rest = others;
                Some(*value)
            }
            _ => None,
        };
        let key = take(b"key");
        let value = take(b"value");
        let well_known = |name: &[u8]| name == b"key" || name == b"value";
        if rest.iter().any(|(name, _)| well_known(name)) || (null && value.is_some()) {
            Shape::Listed(fields)
        } else {
            Shape::Shaped { key, value, headers: rest }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Records;
    use crate::ids::{Offset, TimestampMs};
    use proptest::prelude::*;

    type OwnedRecord = (Vec<(Vec<u8>, Vec<u8>)>, bool, Option<RecordId>, OwnedOrigin);
    type OwnedOrigin = Option<(Vec<u8>, Vec<u8>, u64)>;

    fn encode(records: &[OwnedRecord]) -> (Vec<u8>, BatchBuilder) {
        let mut builder = BatchBuilder::new();
        for (fields, null, id, origin) in records {
            let fields: Vec<FieldRef<'_>> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
            match origin {
                None => builder.push(&fields, *null, *id),
                Some((producer, message, at)) => {
                    builder.push_sent(&fields, *null, &Origin { producer, message, at: TimestampMs(*at) })
                }
            }
            .expect("a legal record");
        }
        let mut body = Vec::new();
        builder.batch().put_front(&mut body);
        body.extend_from_slice(builder.batch().values);
        (body, builder)
    }

    fn decode(body: &[u8], base: u64, count: u32, base_id: RecordId, plain: bool) -> Vec<(u64, RecordId, OwnedRecord)> {
        Records::new(body, Offset(base), count, count, base_id, plain)
            .expect("a table")
            .map(|record| {
                let record = record.expect("well formed");
                let fields: Vec<_> = record.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
                assert_eq!(record.field_count(), fields.len());
                let origin = record.origin.map(|origin| (origin.producer.to_vec(), origin.message.to_vec(), origin.at.0));
                (record.offset.0, record.id, (fields, record.null, None, origin))
            })
            .collect()
    }

    fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let name = prop_oneof![Just(b"key".to_vec()), Just(b"value".to_vec()), proptest::collection::vec(any::<u8>(), 0..4),];
        (name, proptest::collection::vec(any::<u8>(), 0..200))
    }

    fn origin() -> impl Strategy<Value = OwnedOrigin> {
        let name = || proptest::collection::vec(any::<u8>(), 0..200);
        proptest::option::weighted(0.3, (name(), name(), any::<u64>()))
    }

    /// Records have IDs of their own, or come from somewhere, or neither; those of a batch have IDs or none.
    fn records() -> impl Strategy<Value = Vec<OwnedRecord>> {
        let record = (proptest::collection::vec(field(), 0..5), any::<bool>(), any::<bool>(), 0u64..3, 0u64..300, origin());
        (proptest::collection::vec(record, 1..20), any::<bool>()).prop_map(|(records, explicit)| {
            let mut id = RecordId { ms: 5, seq: u64::MAX - 2 };
            records
                .into_iter()
                .map(|(fields, null, jump, ms, seq, origin)| {
                    id = id.successor().expect("far from the end");
                    if jump {
                        id = if ms > 0 { RecordId { ms: id.ms + ms, seq } } else { id.advance(seq).expect("far") };
                    }
                    (fields, null, explicit.then_some(id), origin.filter(|_| !explicit))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn records_read_back_as_they_were_pushed(records in records()) {
            let (body, builder) = encode(&records);
            let batch = builder.batch();
            prop_assert_eq!(batch.body_bytes(), body.len());
            let base_id = match batch.ids { BatchIds::Explicit { first, .. } => first, BatchIds::Auto => RecordId::ZERO };
            let back = decode(&body, 7, batch.count, base_id, batch.plain);
            prop_assert_eq!(back.len(), records.len());
            prop_assert_eq!(batch.origins as usize, records.iter().filter(|(_, _, _, origin)| origin.is_some()).count());
            let mut expected_id = base_id;
            for (index, ((offset, id, back), (fields, null, want_id, origin))) in back.iter().zip(&records).enumerate() {
                prop_assert_eq!(*offset, 7 + index as u64);
                prop_assert_eq!(back, &(fields.clone(), *null, None, origin.clone()));
                prop_assert_eq!(*id, want_id.unwrap_or(expected_id));
                expected_id = expected_id.successor().expect("far from the end");
            }
        }

        #[test]
        fn a_part_of_a_batch_holds_exactly_its_records(records in records(), from in 0u64..25, length in 0u64..25) {
            let (body, builder) = encode(&records);
            let count = builder.batch().count;
            let mut part = Records::new(&body, Offset(0), count, count, RecordId::ZERO, builder.batch().plain).expect("a table");
            part.narrow(Offset(from), Offset(from + length)).expect("well formed");
            let plain = part.plain_values().map(<[u8]>::to_vec);
            let offsets: Vec<u64> = part.clone().map(|r| r.expect("well formed").offset.0).collect();
            let expected: Vec<u64> = (from..(from + length).min(u64::from(count))).collect();
            prop_assert_eq!(&offsets, &expected);
            if let Some(plain) = plain {
                let mut lines = Vec::new();
                for record in part {
                    lines.extend_from_slice(record.expect("well formed").value().expect("plain"));
                    lines.push(b'\n');
                }
                prop_assert_eq!(plain, lines);
            }
        }

        #[test]
        fn what_compaction_keeps_of_a_batch_is_where_it_was(records in records(), kept in any::<u32>(), from in 0u64..25, length in 0u64..25) {
            let (body, builder) = encode(&records);
            let (count, plain) = (builder.batch().count, builder.batch().plain);
            let first_id = records.first().and_then(|record| record.2).unwrap_or(RecordId::ZERO);
            let all: Vec<_> = Records::new(&body, Offset(0), count, count, first_id, plain).expect("a table").map(|r| r.expect("well formed")).collect();
            let mut packed = BatchBuilder::new();
            let (mut next, mut expected) = (0, Vec::new());
            for record in all.iter().filter(|record| kept >> (record.offset.0 % 32) & 1 == 1) {
                packed.push_kept(record, record.offset.0 - next).expect("rising");
                next = record.offset.0 + 1;
                expected.push((record.offset, record.id, record.null, record.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect::<Vec<_>>()));
            }
            let base_id = expected.first().map_or(RecordId::ZERO, |record| record.1);
            let mut body = Vec::new();
            packed.batch().put_front(&mut body);
            body.extend_from_slice(packed.batch().values);
            let part = |from: u64, until: u64| {
                let batch = packed.batch();
                let mut part = Records::new(&body, Offset(0), count, batch.count, base_id, batch.plain).expect("a table");
                part.narrow(Offset(from), Offset(until)).expect("well formed");
                assert!(part.next_offset() >= Offset(from));
                let mark = part.mark(&body);
                let read = |records: Records<'_>| records.map(|record| {
                    let record = record.expect("well formed");
                    (record.offset, record.id, record.null, record.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect::<Vec<_>>())
                }).collect::<Vec<_>>();
                assert_eq!(read(Records::resume(&body, &mark)), read(part.clone()));
                read(part)
            };
            prop_assert_eq!(&part(0, u64::from(count)), &expected);
            expected.retain(|record| (from..from + length).contains(&record.0.0));
            prop_assert_eq!(part(from, from + length), expected);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..200), count in 0u32..50) {
            if let Ok(records) = Records::new(&body, Offset(0), count, count, RecordId::ZERO, false) {
                for record in records.flatten() {
                    let _ = record.fields().count();
                }
            }
        }
    }

    #[test]
    fn a_line_costs_three_bytes() {
        let mut builder = BatchBuilder::new();
        builder.push_value(&[b'x'; 100]);
        assert_eq!(builder.bytes(), 103);
    }

    #[test]
    fn an_origin_is_exactly_these_bytes_and_costs_others_none() {
        let mut builder = BatchBuilder::new();
        builder.push_value(b"x");
        builder
            .push_sent(&[(b"value", b"hi")], false, &Origin { producer: b"p", message: b"mm", at: TimestampMs(300) })
            .expect("legal");
        let mut expected = vec![10]; // the table has ten bytes
        expected.extend_from_slice(&[2]); // a value of 1 byte and no more
        expected.extend_from_slice(&[2 * 2 + 1, ORIGIN | VALUE]); // one of 2, and more
        expected.extend_from_slice(&[1, b'p', 2, b'm', b'm']); // producer, message
        expected.extend_from_slice(&[0xac, 2]); // 300 ms
        expected.extend_from_slice(b"x\nhi\n");
        assert_eq!(builder.batch().to_body(), expected);
        assert_eq!((builder.batch().plain, builder.batch().origins), (true, 1));
    }

    #[test]
    fn some_ids_or_falling_ids_are_refused() {
        let mut builder = BatchBuilder::new();
        builder.push(&[], false, Some(RecordId { ms: 5, seq: 5 })).expect("legal");
        assert!(builder.push(&[], false, None).is_err());
        assert!(builder.push(&[], false, Some(RecordId { ms: 5, seq: 5 })).is_err());
        assert!(builder.push(&vec![(&b"a"[..], &b"b"[..]); FIELDS_MAX + 1], false, Some(RecordId { ms: 6, seq: 0 })).is_err());
    }
}
