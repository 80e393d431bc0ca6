//! A frame: records appended together, or a note of the log to itself.
//!
//! ```text
//!         +0          +1          +2          +3          +4          +5          +6          +7
//!      +-----------------------------------------------+-----------------------------------------------+
//!    0 | magic "DRVf"                                  | CRC-32 of all that follows it                 |
//!      +-----------------------------------------------+-----------------------------------------------+
//!    8 | length of the frame in bytes, header included | kind      | compress. | flags     | 0         |
//!      +-----------------------------------------------+-----------------------------------------------+
//!   16 | base offset                                                                                   |
//!      +-----------------------------------------------+-----------------------------------------------+
//!   24 | span: how many offsets the frame covers       | count: how many records it holds, <= span     |
//!      +-----------------------------------------------+-----------------------------------------------+
//!   32 | base ID: ms                                                                                   |
//!      +-----------------------------------------------------------------------------------------------+
//!   40 | base ID: seq                                                                                  |
//!      +-----------------------------------------------------------------------------------------------+
//!   48 | position: where in its segment the frame begins                                               |
//!      +-----------------------------------------------------------------------------------------------+
//!   56 | durable: the topic's durable offset when the frame was written                                |
//!      +-----------------------------------------------------------------------------------------------+
//!   64 | body (batch.rs draws it); with zstd: u32 its length without compression, then one zstd frame  |
//!      +-----------------------------------------------------------------------------------------------+
//! ```
//!
//! All numbers are little-endian. The CRC starts from the segment's salt, and the frame says where it
//! lies: so bytes of another segment, or of another place in this one, are never taken for a frame,
//! even when somebody publishes a segment file. `next.base == this.base + this.span` always holds, so
//! that a hole can be told from the headers alone.

use super::batch::Malformed;
use super::compress::unpack;
use super::records::{Records, RecordsMark};
use crate::config::RECORD_BYTES_LIMIT;
use crate::ids::{Offset, RecordId};

pub use super::packed::{Packed, Placing};

const MAGIC: [u8; 4] = *b"DRVf";

const MAGIC_AT: usize = 0;
const CRC_AT: usize = MAGIC_AT + 4;
const LENGTH_AT: usize = CRC_AT + 4;
const KIND_AT: usize = LENGTH_AT + 4;
const COMPRESSION_AT: usize = KIND_AT + 1;
const FLAGS_AT: usize = COMPRESSION_AT + 1;
const RESERVED_AT: usize = FLAGS_AT + 1;
const BASE_AT: usize = RESERVED_AT + 1;
const SPAN_AT: usize = BASE_AT + 8;
const COUNT_AT: usize = SPAN_AT + 4;
const ID_MS_AT: usize = COUNT_AT + 4;
const ID_SEQ_AT: usize = ID_MS_AT + 8;
const POSITION_AT: usize = ID_SEQ_AT + 8;
const DURABLE_AT: usize = POSITION_AT + 8;

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = DURABLE_AT + 8;
const _: () = assert!(HEADER_BYTES == 64);

/// What writers fill a frame up to. A frame is larger only for a larger single record. 1 MiB: one
/// write and one checksum over so much cost more than all that is paid per frame, and the memory for
/// it is nothing.
pub const FRAME_BYTES_AIM: usize = 1 << 20;

/// No frame is longer: the largest record, and as much again for names and lengths.
pub const FRAME_BYTES_MAX: usize = 2 * RECORD_BYTES_LIMIT as usize;

const FLAG_PLAIN: u8 = 1;
const FLAG_ORIGINS: u8 = 2;
const COMPRESSION_ZSTD: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Records.
    Records,
    /// "Everything below my durable offset is synced": written on a clean close. Span 0, no body.
    Mark,
    /// The log start moved. Span 0, the body is the new log start (u64).
    LogStart,
    /// Stands where damaged records stood: span > 0, no records, no body.
    Hole,
    /// The counters were set by hand. Span 0, the body is the last ID (ms, seq) and how many records
    /// were ever added (u64 each).
    Counters,
}

impl FrameKind {
    const ALL: [FrameKind; 5] = [FrameKind::Records, FrameKind::Mark, FrameKind::LogStart, FrameKind::Hole, FrameKind::Counters];

    fn from_byte(byte: u8) -> Option<FrameKind> {
        FrameKind::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    fn byte(self) -> u8 {
        match self {
            FrameKind::Records => 0,
            FrameKind::Mark => 1,
            FrameKind::LogStart => 2,
            FrameKind::Hole => 3,
            FrameKind::Counters => 4,
        }
    }

    /// The word for listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FrameKind::Records => "records",
            FrameKind::Mark => "mark",
            FrameKind::LogStart => "log-start",
            FrameKind::Hole => "hole",
            FrameKind::Counters => "counters",
        }
    }
}

/// The header of a frame, without magic and CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the whole frame.
    pub length: u32,
    /// What it is.
    pub kind: FrameKind,
    /// Whether the body is a zstd frame.
    pub zstd: bool,
    /// Every record has its value among the values.
    pub plain: bool,
    /// Some record has an origin.
    pub has_origins: bool,
    /// The first offset it covers.
    pub base: Offset,
    /// How many offsets it covers.
    pub span: u32,
    /// How many records it holds.
    pub count: u32,
    /// The ID of its first record, or of one that compaction took from before it; of a control frame: the last ID before it.
    pub base_id: RecordId,
    /// Where in its segment it begins, in bytes.
    pub position: u64,
    /// The topic's durable offset when it was written.
    pub durable: Offset,
}

impl FrameHeader {
    /// The offset after the last one it covers.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.span))
    }

    /// Where in its segment the next frame begins.
    #[must_use]
    pub fn end_position(&self) -> u64 {
        self.position + u64::from(self.length)
    }

    fn put(&self, out: &mut [u8; HEADER_BYTES]) {
        out[MAGIC_AT..CRC_AT].copy_from_slice(&MAGIC);
        out[LENGTH_AT..KIND_AT].copy_from_slice(&self.length.to_le_bytes());
        out[KIND_AT] = self.kind.byte();
        out[COMPRESSION_AT] = if self.zstd { COMPRESSION_ZSTD } else { 0 };
        out[FLAGS_AT] = (u8::from(self.plain) * FLAG_PLAIN) | (u8::from(self.has_origins) * FLAG_ORIGINS);
        out[RESERVED_AT] = 0;
        out[BASE_AT..SPAN_AT].copy_from_slice(&self.base.0.to_le_bytes());
        out[SPAN_AT..COUNT_AT].copy_from_slice(&self.span.to_le_bytes());
        out[COUNT_AT..ID_MS_AT].copy_from_slice(&self.count.to_le_bytes());
        out[ID_MS_AT..ID_SEQ_AT].copy_from_slice(&self.base_id.ms.to_le_bytes());
        out[ID_SEQ_AT..POSITION_AT].copy_from_slice(&self.base_id.seq.to_le_bytes());
        out[POSITION_AT..DURABLE_AT].copy_from_slice(&self.position.to_le_bytes());
        out[DURABLE_AT..HEADER_BYTES].copy_from_slice(&self.durable.0.to_le_bytes());
    }

    /// Reads a header that claims to begin at `position`. Nothing is verified but what could make
    /// the claim impossible: the CRC needs the whole frame.
    fn read(bytes: &[u8; HEADER_BYTES], position: u64) -> Result<FrameHeader, &'static str> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[MAGIC_AT..CRC_AT] != MAGIC {
            return Err("no frame begins here");
        }
        let header = FrameHeader {
            length: u32_at(LENGTH_AT),
            kind: FrameKind::from_byte(bytes[KIND_AT]).ok_or("a frame of unknown kind")?,
            zstd: match bytes[COMPRESSION_AT] {
                0 => false,
                COMPRESSION_ZSTD => true,
                _ => return Err("a frame of unknown compression"),
            },
            plain: bytes[FLAGS_AT] & FLAG_PLAIN != 0,
            has_origins: bytes[FLAGS_AT] & FLAG_ORIGINS != 0,
            base: Offset(u64_at(BASE_AT)),
            span: u32_at(SPAN_AT),
            count: u32_at(COUNT_AT),
            base_id: RecordId { ms: u64_at(ID_MS_AT), seq: u64_at(ID_SEQ_AT) },
            position: u64_at(POSITION_AT),
            durable: Offset(u64_at(DURABLE_AT)),
        };
        if header.position != position {
            return Err("a frame that belongs elsewhere");
        }
        if !(HEADER_BYTES..=FRAME_BYTES_MAX).contains(&(header.length as usize)) {
            return Err("a frame of impossible length");
        }
        if header.count > header.span || header.base.0.checked_add(u64::from(header.span)).is_none() {
            return Err("a frame with impossible counts");
        }
        Ok(header)
    }
}

/// What the bytes at a position turned out to be.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A whole frame, checksum verified.
    Frame(Frame<'a>),
    /// The bytes end before the frame does: it needs this many from its beginning.
    Incomplete(usize),
    /// Not a frame, or not the one that was written.
    Bad(&'static str),
}

/// A verified frame.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    body: &'a [u8],
    /// The body without compression, and a place in it: who hands out a frame in pieces finds the next
    /// one without going through those before.
    opened: Option<(&'a [u8], &'a RecordsMark)>,
}

/// The header of the frame that `bytes` seem to begin with, at `position` of its segment. Nothing of
/// it is verified.
#[must_use]
pub fn claimed(bytes: &[u8], position: u64) -> Option<FrameHeader> {
    FrameHeader::read(bytes.first_chunk::<HEADER_BYTES>()?, position).ok()
}

/// Says whether `bytes` begin with a frame that lies at `position` of the segment with this salt.
#[must_use]
pub fn parse(bytes: &[u8], salt: u32, position: u64) -> Parsed<'_> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Parsed::Incomplete(HEADER_BYTES);
    };
    let header = match FrameHeader::read(head, position) {
        Ok(header) => header,
        Err(why) => return Parsed::Bad(why),
    };
    let length = header.length as usize;
    let Some(frame) = bytes.get(..length) else {
        return Parsed::Incomplete(length);
    };
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&frame[LENGTH_AT..]);
    if crc.finalize().to_le_bytes() != frame[CRC_AT..LENGTH_AT] {
        return Parsed::Bad("the checksum does not match");
    }
    Parsed::Frame(Frame { header, body: &frame[HEADER_BYTES..], opened: None })
}

/// A frame that [`parse`] has verified before, at the same place, without verifying it again.
#[must_use]
pub fn verified(bytes: &[u8], position: u64) -> Option<Frame<'_>> {
    let header = FrameHeader::read(bytes.first_chunk::<HEADER_BYTES>()?, position).ok()?;
    Some(Frame { body: bytes.get(HEADER_BYTES..header.length as usize)?, header, opened: None })
}

/// The first place at or after `from` in `bytes` where a whole valid frame begins; `bytes` begin at
/// `position` of their segment.
#[must_use]
pub fn find(bytes: &[u8], salt: u32, position: u64, from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    memchr::memmem::find_iter(tail, &MAGIC)
        .map(|at| from + at)
        .find(|&at| matches!(parse(&bytes[at..], salt, position + at as u64), Parsed::Frame(_)))
}

impl<'a> Frame<'a> {
    /// The frame's records; the body is unpacked into `scratch` if it is compressed.
    ///
    /// # Errors
    /// When the body does not follow the drawing.
    pub fn records<'s>(&self, scratch: &'s mut Vec<u8>) -> Result<Records<'s>, Malformed>
    where
        'a: 's,
    {
        let header = self.header;
        Records::new(self.body(scratch)?, header.base, header.span, header.count, header.base_id, header.plain)
    }

    /// The same frame, of which `mark` was made when its `body` was unpacked before; `body` is needed
    /// only of a compressed one.
    #[must_use]
    pub fn with_opened<'b>(self, body: &'b [u8], mark: &'b RecordsMark) -> Frame<'b>
    where
        'a: 'b,
    {
        let body = if self.header.zstd { body } else { self.body };
        Frame { opened: Some((body, mark)), ..self }
    }

    /// The records of this frame with offsets in `[from, until)`.
    ///
    /// # Errors
    /// When the body does not follow the drawing.
    pub fn records_in<'s>(&self, scratch: &'s mut Vec<u8>, from: Offset, until: Offset) -> Result<Records<'s>, Malformed>
    where
        'a: 's,
    {
        self.records_of(self.body(scratch)?, from, until)
    }

    /// The same, from what [`Frame::body`] has returned.
    ///
    /// # Errors
    /// When the body does not follow the drawing.
    pub fn records_of<'s>(&self, body: &'s [u8], from: Offset, until: Offset) -> Result<Records<'s>, Malformed> {
        let header = self.header;
        let mut records = match &self.opened {
            Some((_, mark)) if mark.next_offset() <= from => Records::resume(body, mark),
            _ => Records::new(body, header.base, header.span, header.count, header.base_id, header.plain)?,
        };
        records.narrow(from, until)?;
        Ok(records)
    }

    /// The frame's body without compression; it is unpacked into `scratch` if it is compressed.
    ///
    /// # Errors
    /// When it does not unpack.
    pub fn body<'s>(&self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Malformed>
    where
        'a: 's,
    {
        if self.header.zstd && self.opened.is_none() {
            unpack(self.body, scratch)?;
        }
        Ok(self.body_again(scratch))
    }

    /// What [`Frame::body`] has returned before, with the same `scratch`.
    #[must_use]
    pub fn body_again<'s>(&self, scratch: &'s [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        match &self.opened {
            Some((body, _)) => body,
            None if self.header.zstd => scratch,
            None => self.body,
        }
    }

    /// The new log start that a [`FrameKind::LogStart`] frame holds.
    #[must_use]
    pub fn log_start(&self) -> Option<Offset> {
        let bytes: [u8; 8] = self.body.try_into().ok()?;
        (self.header.kind == FrameKind::LogStart).then(|| Offset(u64::from_le_bytes(bytes)))
    }

    /// The last ID and the number of records added that a [`FrameKind::Counters`] frame holds.
    #[must_use]
    pub fn counters(&self) -> Option<(RecordId, u64)> {
        let bytes: &[u8; 24] = self.body.try_into().ok().filter(|_| self.header.kind == FrameKind::Counters)?;
        let [ms, seq, added] = [0, 8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index])));
        Some((RecordId { ms, seq }, added))
    }

    /// Appends the frame as it has to be at another place: body unchanged, position and durable
    /// offset new.
    pub fn put_moved(&self, out: &mut Vec<u8>, salt: u32, position: u64, durable: Offset) {
        let header = FrameHeader { position, durable, ..self.header };
        let at = out.len();
        out.resize(at + HEADER_BYTES, 0);
        out.extend_from_slice(self.body);
        seal(&header, salt, &mut out[at..], &[]);
    }
}

/// Writes the header into the room before `front`'s body part, and the CRC over all of it.
pub(super) fn seal(header: &FrameHeader, salt: u32, front: &mut [u8], back: &[u8]) {
    let room = front.first_chunk_mut::<HEADER_BYTES>().expect("the caller left room for the header");
    header.put(room);
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&front[LENGTH_AT..]);
    crc.update(back);
    front[CRC_AT..LENGTH_AT].copy_from_slice(&crc.finalize().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{BatchBuilder, Origin};
    use crate::config::Compression;
    use crate::ids::TimestampMs;
    use proptest::prelude::*;

    const PLACING: Placing = Placing {
        salt: 0x5a17_0001,
        position: 512,
        base: Offset(7),
        base_id: RecordId { ms: 0x0102, seq: 3 },
        durable: Offset(6),
    };

    fn frame(values: &[&[u8]], compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        values.iter().for_each(|value| builder.push_value(value));
        Packed::records(&builder.batch(), compression).expect("fits").place(&PLACING).concat()
    }

    fn whole(bytes: &[u8]) -> Frame<'_> {
        match parse(bytes, PLACING.salt, PLACING.position) {
            Parsed::Frame(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_frame_is_exactly_these_bytes() {
        let mut expected = Vec::new();
        expected.extend_from_slice(b"DRVf"); // magic
        expected.extend_from_slice(&[0x8c, 0xad, 0x15, 0x6e]); // CRC
        expected.extend_from_slice(&[72, 0, 0, 0]); // length
        expected.extend_from_slice(&[0, 0, 1, 0]); // records, not compressed, plain
        expected.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0]); // base offset
        expected.extend_from_slice(&[2, 0, 0, 0]); // span
        expected.extend_from_slice(&[2, 0, 0, 0]); // count
        expected.extend_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0]); // base ms
        expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]); // base seq
        expected.extend_from_slice(&[0, 2, 0, 0, 0, 0, 0, 0]); // position
        expected.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 0]); // durable
        expected.extend_from_slice(&[2]); // the table has two bytes
        expected.extend_from_slice(&[2 * 2, 2]); // two values, of 2 bytes and of 1
        expected.extend_from_slice(b"hi\nx\n");
        let actual = frame(&[b"hi", b"x"], Compression::None);
        let mut crc = crc32fast::Hasher::new_with_initial(PLACING.salt);
        crc.update(&expected[8..]);
        assert_eq!(actual[4..8], crc.finalize().to_le_bytes());
        assert_eq!(actual, expected);
    }

    #[test]
    fn a_frame_says_whether_it_has_origins() {
        let origin = Origin { producer: b"p", message: b"m", at: TimestampMs(1) };
        for (is_sent, flags) in [(false, FLAG_PLAIN), (true, FLAG_PLAIN | FLAG_ORIGINS)] {
            let mut builder = BatchBuilder::new();
            builder.push_value(b"x");
            if is_sent {
                builder.push_sent(&[(b"value", b"y")], false, &origin).expect("legal");
            }
            let mut packed = Packed::records(&builder.batch(), Compression::None).expect("fits");
            assert_eq!(packed.origins(), u32::from(is_sent));
            let bytes = packed.place(&PLACING).concat();
            assert_eq!((bytes[FLAGS_AT], whole(&bytes).header.has_origins), (flags, is_sent));
        }
    }

    #[test]
    fn every_cut_is_incomplete_and_every_flipped_bit_is_bad() {
        for compression in [Compression::None, Compression::Zstd(3)] {
            let bytes = frame(&[b"hello hello hello hello hello hello", b"", b"hello hello hello hello hello"], compression);
            assert_eq!(whole(&bytes).header.zstd, compression != Compression::None);
            for cut in 0..bytes.len() {
                assert!(matches!(parse(&bytes[..cut], PLACING.salt, 512), Parsed::Incomplete(n) if n > cut), "cut at {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!matches!(parse(&flipped, PLACING.salt, 512), Parsed::Frame(_)), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_segment_or_place_is_not_one() {
        let bytes = frame(&[b"x"], Compression::None);
        assert!(matches!(parse(&bytes, PLACING.salt + 1, 512), Parsed::Bad(_)));
        assert!(matches!(parse(&bytes, PLACING.salt, 513), Parsed::Bad(_)));
    }

    #[test]
    fn the_next_valid_frame_is_found_behind_rubbish_and_behind_copies() {
        let at = 300usize;
        let placing = Placing { position: 512 + at as u64, ..PLACING };
        let mut builder = BatchBuilder::new();
        builder.push_value(b"found");
        let good = Packed::records(&builder.batch(), Compression::None).expect("fits").place(&placing).concat();
        let copy = frame(&[b"a copy of a frame, inside a payload"], Compression::None);
        let mut bytes = vec![0x44; 17];
        bytes.extend_from_slice(&copy);
        bytes.resize(at, b'D');
        bytes.extend_from_slice(&good);
        assert_eq!(find(&bytes, PLACING.salt, 512, 1), Some(at));
        assert_eq!(find(&bytes, PLACING.salt, 512, at + 1), None);
    }

    #[test]
    fn a_moved_frame_is_whole_at_its_new_place_only() {
        let bytes = frame(&[b"x", b"y"], Compression::None);
        let mut moved = Vec::new();
        whole(&bytes).put_moved(&mut moved, 99, 4096, Offset(7));
        assert!(matches!(parse(&moved, 99, 512), Parsed::Bad(_)));
        let Parsed::Frame(frame) = parse(&moved, 99, 4096) else { panic!("whole") };
        let mut scratch = Vec::new();
        let records = frame.records(&mut scratch).expect("records");
        let values: Vec<&[u8]> = records.map(|record| record.expect("record").value().expect("value")).collect();
        assert_eq!(values, [b"x", b"y"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), like_a_frame in any::<bool>()) {
            if like_a_frame && bytes.len() >= 64 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[48..56].copy_from_slice(&512u64.to_le_bytes());
            }
            let _ = parse(&bytes, 1, 512);
            let _ = find(&bytes, 1, 512, 0);
        }
    }
}
