//! Records read back from the body of a frame; `batch.rs` draws it. Every bound is checked, and
//! nothing is copied.

use std::ops::Range;

use super::batch::{FieldRef, HEADERS, ID, KEY, LISTED, Malformed, NULL, ORIGIN, SKIP, VALUE};
use super::origin::Origin;
use super::varint;
use crate::ids::{Offset, RecordId};

/// One record, borrowed from the body it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its ID.
    pub id: RecordId,
    /// A tombstone: the key's records before it are superseded by nothing.
    pub null: bool,
    /// Who sent it, and as what, if it was sent so.
    pub origin: Option<Origin<'a>>,
    fields: FieldsOf<'a>,
    /// How many fields are in the list, or how many headers.
    listed: u32,
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

    /// How many fields there are.
    #[must_use]
    pub fn field_count(&self) -> usize {
        let named = match self.fields {
            FieldsOf::Shaped { key, value, .. } => usize::from(key.is_some()) + usize::from(value.is_some()),
            FieldsOf::Listed(_) => 0,
        };
        named + self.listed as usize
    }

    /// About what it takes in a frame without compression, in bytes: what rate limits count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.fields().map(|(name, value)| field_bytes(name, value)).sum()
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

/// About what a field takes in a frame, in bytes.
#[must_use]
pub fn field_bytes(name: &[u8], value: &[u8]) -> u64 {
    let name_bytes = if name == b"key" || name == b"value" { 0 } else { name.len() + 1 };
    (name_bytes + value.len() + 2) as u64
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

impl RecordsMark {
    /// The offset of the next record, or a lower one.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.rest.next_offset()
    }

    /// The end of the offsets that are left (exclusive).
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.rest.end_offset
    }
}

/// The records of a frame, or of a part of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    /// What the next entry counts from.
    next_offset: Offset,
    /// The next record is not below.
    floor: Offset,
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
        Ok(Records { next_offset: base, floor: base, end_offset, next_id: Some(base_id), count, plain, table, values: rest })
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
            floor: self.floor,
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
        self.next_offset.max(self.floor)
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
        let mut last = None;
        for record in self.clone() {
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
        // An entry that skips offsets counts from its predecessor's.
        self.floor = self.floor.max(from);
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
        }
        if flags & SKIP != 0 {
            offset = offset.plus(varint::take(&mut table).ok_or(CUT)?);
        }
        if flags & ID != 0 {
            id = step_id(id, varint::take(&mut table).ok_or(CUT)?, varint::take(&mut table).ok_or(CUT)?)
                .ok_or(Malformed("an ID is beyond the last possible one"))?;
        }
        let mut origin = None;
        if flags & ORIGIN != 0 {
            origin = Some(Origin::take(&mut table).ok_or(CUT)?);
        }
        let mut key = None;
        if flags & KEY != 0 {
            let n = varint::take(&mut table).ok_or(CUT)?;
            key = Some(take_bytes(&mut table, n).ok_or(CUT)?);
        }
        let listed = flags & LISTED != 0;
        let mut list: &'a [u8] = &[];
        let mut listed_count = 0;
        if flags & (HEADERS | LISTED) != 0 {
            let fields = varint::take(&mut table).ok_or(CUT)?;
            listed_count = u32::try_from(fields).map_err(|_| CUT)?;
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
        Ok(Record { offset, id, null: flags & NULL != 0, origin, fields, listed: listed_count })
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
