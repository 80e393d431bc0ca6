//! Records, as they lie in the body of a frame.
//!
//! ```text
//!   body    = varint(table bytes)  table  values
//!   table   = one entry a record, in order
//!   values  = the `value` of each record that has one there, each followed by '\n'
//!
//!   entry   = varint(value bytes * 2 + more)                 more = 0: a record with a value and no more
//!             if more = 1:
//!             flags u8     NULL KEY VALUE HEADERS LISTED ID SKIP
//!             SKIP         varint: offsets left out before this record (compaction removed them)
//!             ID           varint ms step, varint seq         seq: absolute if the ms stepped, else step - 1
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
use std::ops::Range;

use super::varint;
use crate::ids::{Offset, RecordId};

const NULL: u8 = 1;
const KEY: u8 = 2;
const VALUE: u8 = 4;
const HEADERS: u8 = 8;
const LISTED: u8 = 16;
const ID: u8 = 32;
const SKIP: u8 = 64;
const FLAGS_KNOWN: u8 = NULL | KEY | VALUE | HEADERS | LISTED | ID | SKIP;

/// The most fields one record can have.
pub const FIELDS_MAX: usize = 65_535;

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
        self.put_entry(&shape, null, id_step);
        self.count += 1;
        let bytes: u64 = fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        self.record_bytes_max = self.record_bytes_max.max(bytes);
        Ok(())
    }

    fn put_entry(&mut self, shape: &Shape<'_>, null: bool, id_step: Option<(u64, u64)>) {
        let mut flags = if null { NULL } else { 0 };
        if id_step.is_some() {
            flags |= ID;
        }
        let (key, value, headers, listed): (_, _, &[FieldRef<'_>], Option<&[FieldRef<'_>]>) = match *shape {
            Shape::Shaped { key, value, headers } => (key, value, headers, None),
            Shape::Listed(fields) => (None, None, &[], Some(fields)),
        };
        flags |= if key.is_some() { KEY } else { 0 };
        flags |= if value.is_some() { VALUE } else { 0 };
        flags |= if headers.is_empty() { 0 } else { HEADERS };
        flags |= if listed.is_some() { LISTED } else { 0 };
        varint::put(&mut self.table, value.map_or(0, |value| value.len() as u64) * 2 + 1);
        self.table.push(flags);
        if let Some((ms_step, seq)) = id_step {
            varint::put(&mut self.table, ms_step);
            varint::put(&mut self.table, seq);
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

/// One record, borrowed from the body it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its ID.
    pub id: RecordId,
    /// A tombstone: the key's records before it are superseded by nothing.
    pub null: bool,
    fields: FieldsOf<'a>,
}

#[derive(Clone, Copy, Debug)]
enum FieldsOf<'a> {
    Shaped { key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [u8] },
    Listed(&'a [u8]),
}

impl<'a> Record<'a> {
    /// The field `key`, the first of that name.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        match self.fields {
            FieldsOf::Shaped { key, .. } => key,
            FieldsOf::Listed(_) => self.field(b"key"),
        }
    }

    /// The field `value`, the first of that name.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        match self.fields {
            FieldsOf::Shaped { value, .. } => value,
            FieldsOf::Listed(_) => self.field(b"value"),
        }
    }

    fn field(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// All fields in order.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        match self.fields {
            FieldsOf::Shaped { key, value, headers } => Fields { key, value, rest: headers, listed: false },
            FieldsOf::Listed(list) => Fields { key: None, value: None, rest: list, listed: true },
        }
    }

    /// Whether the fields are key?, value?, headers, in this order.
    #[must_use]
    pub fn is_shaped(&self) -> bool {
        matches!(self.fields, FieldsOf::Shaped { .. })
    }

    /// The fields other than `key` and `value`.
    pub fn headers(&self) -> impl Iterator<Item = FieldRef<'a>> {
        self.fields().filter(|(name, _)| *name != b"key" && *name != b"value")
    }
}

/// The fields of a record, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    rest: &'a [u8],
    listed: bool,
}

impl<'a> Iterator for Fields<'a> {
    type Item = FieldRef<'a>;

    fn next(&mut self) -> Option<FieldRef<'a>> {
        if let Some(key) = self.key.take() {
            return Some((b"key", key));
        }
        if let Some(value) = self.value.take() {
            return Some((b"value", value));
        }
        // The bytes were checked by Records::next: None here is the end.
        take_field(&mut self.rest, self.listed)
    }
}

fn take_field<'a>(bytes: &mut &'a [u8], listed: bool) -> Option<FieldRef<'a>> {
    if bytes.is_empty() {
        return None;
    }
    let name: &'a [u8] = if listed {
        match varint::take(bytes)? {
            0 => b"key",
            1 => b"value",
            n => take_bytes(bytes, n - 2)?,
        }
    } else {
        let n = varint::take(bytes)?;
        take_bytes(bytes, n)?
    };
    let n = varint::take(bytes)?;
    Some((name, take_bytes(bytes, n)?))
}

fn take_bytes<'a>(bytes: &mut &'a [u8], n: u64) -> Option<&'a [u8]> {
    let n = usize::try_from(n).ok()?;
    let (taken, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(taken)
}

/// See [`Records::mark`].
#[derive(Clone, Debug)]
pub struct RecordsMark {
    rest: Records<'static>,
    table: Range<usize>,
    values: Range<usize>,
}

/// The records of a frame, or of a part of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    next_offset: Offset,
    end_offset: Offset,
    next_id: Option<RecordId>,
    count: u32,
    plain: bool,
    table: &'a [u8],
    values: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of `body`, which belongs to a frame with this header data.
    ///
    /// # Errors
    /// When the body does not begin as the drawing says.
    pub fn new(
        body: &'a [u8],
        base: Offset,
        span: u32,
        count: u32,
        base_id: RecordId,
        plain: bool,
    ) -> Result<Records<'a>, Malformed> {
        let mut rest = body;
        let table_bytes = varint::take(&mut rest).ok_or(Malformed("no table"))?;
        let table = take_bytes(&mut rest, table_bytes).ok_or(Malformed("the table is longer than the body"))?;
        let end_offset = base.plus(u64::from(span));
        Ok(Records { next_offset: base, end_offset, next_id: Some(base_id), count, plain, table, values: rest })
    }

    /// Remembers what is left, so that [`Records::resume`] can go on with it later.
    #[must_use]
    pub fn mark(&self, body: &[u8]) -> RecordsMark {
        let at = |part: &[u8]| {
            let from = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
            from..from + part.len()
        };
        let (table, values) = (at(self.table), at(self.values));
        let rest = Records {
            next_offset: self.next_offset,
            end_offset: self.end_offset,
            next_id: self.next_id,
            count: self.count,
            plain: self.plain,
            table: &[],
            values: &[],
        };
        RecordsMark { rest, table, values }
    }

    /// The records that were left when `mark` was made of the same `body`.
    #[must_use]
    pub fn resume(body: &'a [u8], mark: &RecordsMark) -> Records<'a> {
        let part = |range: &Range<usize>| body.get(range.clone()).unwrap_or_default();
        let mut records: Records<'a> = mark.rest.clone();
        (records.table, records.values) = (part(&mark.table), part(&mark.values));
        records
    }

    /// The offset of the next record, or a lower one if records before it were compacted away.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The end of the offsets this part covers (exclusive).
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// How many records are left.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that the default output prints for all records that are left, if every one of
    /// them has its value among the values: each value and a newline.
    #[must_use]
    pub fn plain_values(&self) -> Option<&'a [u8]> {
        self.plain.then_some(self.values)
    }

    /// Leaves out records below `from` and those at or above `until`.
    ///
    /// # Errors
    /// When an entry does not follow the drawing.
    pub fn narrow(&mut self, from: Offset, until: Offset) -> Result<(), Malformed> {
        self.skip_below(from)?;
        if until >= self.end_offset {
            return Ok(());
        }
        let mut rest = self.clone();
        rest.skip_below(until)?;
        self.table = &self.table[..self.table.len() - rest.table.len()];
        self.values = &self.values[..self.values.len() - rest.values.len()];
        self.count -= rest.count;
        self.end_offset = until;
        Ok(())
    }

    /// The ID of the last record; `None` when there are none, or an entry does not follow the drawing.
    #[must_use]
    pub fn last_id(&self) -> Option<RecordId> {
        let mut records = self.clone();
        let mut last = None;
        while let Some(record) = records.next() {
            last = Some(record.ok()?.id);
        }
        last
    }

    fn skip_below(&mut self, from: Offset) -> Result<(), Malformed> {
        while self.count > 0 && self.next_offset < from {
            let before = self.clone();
            match self.next() {
                Some(Ok(record)) if record.offset >= from => {
                    *self = before;
                    break;
                }
                Some(Ok(_)) | None => {}
                Some(Err(malformed)) => return Err(malformed),
            }
        }
        self.next_offset = self.next_offset.max(from);
        Ok(())
    }

    fn take(&mut self) -> Result<Record<'a>, Malformed> {
        const CUT: Malformed = Malformed("an entry is cut off");
        let mut table = self.table;
        let first = varint::take(&mut table).ok_or(CUT)?;
        let mut id = self.next_id.ok_or(Malformed("an ID is beyond the last possible one"))?;
        let mut offset = self.next_offset;
        let mut flags = VALUE;
        if first & 1 == 1 {
            let (&byte, rest) = table.split_first().ok_or(CUT)?;
            (flags, table) = (byte, rest);
            if flags & !FLAGS_KNOWN != 0 {
                return Err(Malformed("an entry has an unknown flag"));
            }
        }
        if flags & SKIP != 0 {
            offset = offset.plus(varint::take(&mut table).ok_or(CUT)?);
        }
        if flags & ID != 0 {
            id = step_id(id, varint::take(&mut table).ok_or(CUT)?, varint::take(&mut table).ok_or(CUT)?)
                .ok_or(Malformed("an ID is beyond the last possible one"))?;
        }
        let mut key = None;
        if flags & KEY != 0 {
            let n = varint::take(&mut table).ok_or(CUT)?;
            key = Some(take_bytes(&mut table, n).ok_or(CUT)?);
        }
        let listed = flags & LISTED != 0;
        let mut list: &'a [u8] = &[];
        if flags & (HEADERS | LISTED) != 0 {
            let fields = varint::take(&mut table).ok_or(CUT)?;
            let whole = table;
            for _ in 0..fields {
                take_field(&mut table, listed).ok_or(CUT)?;
            }
            list = &whole[..whole.len() - table.len()];
        }
        let mut value = None;
        if flags & VALUE != 0 {
            let bytes = take_bytes(&mut self.values, first >> 1).ok_or(Malformed("the values end early"))?;
            self.values = self.values.split_first().ok_or(Malformed("the values end early"))?.1;
            value = Some(bytes);
        }
        if offset >= self.end_offset {
            return Err(Malformed("more records than offsets"));
        }
        self.table = table;
        self.next_offset = offset.plus(1);
        self.next_id = id.successor();
        let fields = if listed { FieldsOf::Listed(list) } else { FieldsOf::Shaped { key, value, headers: list } };
        Ok(Record { offset, id, null: flags & NULL != 0, fields })
    }
}

/// `id` is one step above the predecessor's.
fn step_id(id: RecordId, ms_step: u64, seq: u64) -> Option<RecordId> {
    if ms_step == 0 {
        Some(RecordId { ms: id.ms, seq: id.seq.checked_add(seq)? })
    } else if id.seq == 0 && id.ms > 0 {
        // The predecessor had the last seq of its ms, so one step had already carried.
        Some(RecordId { ms: (id.ms - 1).checked_add(ms_step)?, seq })
    } else {
        Some(RecordId { ms: id.ms.checked_add(ms_step)?, seq })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        let taken = self.take();
        if taken.is_err() {
            self.count = 0;
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type OwnedRecord = (Vec<(Vec<u8>, Vec<u8>)>, bool, Option<RecordId>);

    fn encode(records: &[OwnedRecord]) -> (Vec<u8>, BatchBuilder) {
        let mut builder = BatchBuilder::new();
        for (fields, null, id) in records {
            let fields: Vec<FieldRef<'_>> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
            builder.push(&fields, *null, *id).expect("a legal record");
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
                let fields = record.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
                (record.offset.0, record.id, (fields, record.null, None))
            })
            .collect()
    }

    fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let name = prop_oneof![Just(b"key".to_vec()), Just(b"value".to_vec()), proptest::collection::vec(any::<u8>(), 0..4),];
        (name, proptest::collection::vec(any::<u8>(), 0..200))
    }

    fn records() -> impl Strategy<Value = Vec<OwnedRecord>> {
        let record = (proptest::collection::vec(field(), 0..5), any::<bool>(), any::<bool>(), 0u64..3, 0u64..300);
        (proptest::collection::vec(record, 1..20), any::<bool>()).prop_map(|(records, explicit)| {
            let mut id = RecordId { ms: 5, seq: u64::MAX - 2 };
            records
                .into_iter()
                .map(|(fields, null, jump, ms, seq)| {
                    id = id.successor().expect("far from the end");
                    if jump {
                        id = if ms > 0 { RecordId { ms: id.ms + ms, seq } } else { id.advance(seq).expect("far") };
                    }
                    (fields, null, explicit.then_some(id))
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
            let mut expected_id = base_id;
            for (index, ((offset, id, (fields, null, _)), (want_fields, want_null, want_id))) in back.iter().zip(&records).enumerate() {
                prop_assert_eq!(*offset, 7 + index as u64);
                prop_assert_eq!(fields, want_fields);
                prop_assert_eq!(null, want_null);
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
    fn some_ids_or_falling_ids_are_refused() {
        let mut builder = BatchBuilder::new();
        builder.push(&[], false, Some(RecordId { ms: 5, seq: 5 })).expect("legal");
        assert!(builder.push(&[], false, None).is_err());
        assert!(builder.push(&[], false, Some(RecordId { ms: 5, seq: 5 })).is_err());
        assert!(builder.push(&vec![(&b"a"[..], &b"b"[..]); FIELDS_MAX + 1], false, Some(RecordId { ms: 6, seq: 0 })).is_err());
    }
}
