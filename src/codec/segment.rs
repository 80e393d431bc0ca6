//! The header of a segment file. Whatever `head` does not hold can be rebuilt from the last segment.
//!
//! ```text
//!        bytes    what
//!     0      8    magic "DRAVElog"
//!     8      4    format version
//!    12      4    salt: the CRC of this segment's frames starts from it
//!    16     16    incarnation of the topic
//!    32     16    boot id of the machine when the segment was made
//!    48      8    epoch
//!    56      8    first offset of that epoch
//!    64      8    base offset of this segment (its file name)
//!    72      8    base offset of the predecessor
//!    80      8    where the predecessor ends, in bytes; 0 = there is none
//!    88      4    salt of the predecessor (its own header may be the damaged one)
//!    92      4    0
//!    96      8    log start
//!   104     16    ID of the last record before this segment: ms, seq
//!   120      8    records ever added before this segment
//!   128     16    0
//!   144      8    durable offset
//!   152      8    made at, in ms since 1970
//!   160     24    of records with an origin before this segment: the offset after the last one, how many
//!                 there ever were, how many came again
//!   184      8    offsets in it without a record: compaction took those
//!   192      8    how many of them were among the deleted ones then
//!   200      8    where in the log of deletions that was
//!   208      8    where its offsets end; 0 = it was never compacted
//!   216     36    0
//!   252      4    CRC-32 of bytes 0..252
//! ```
//!
//! Little-endian. The length and the place of the CRC stay for ever, so that any drave can tell a
//! newer version from damage.

use crate::ids::{Epoch, Incarnation, Offset, RecordId, TimestampMs};

const MAGIC: [u8; 8] = *b"DRAVElog";

/// The format this drave writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// Bytes of the header; the first frame begins there.
pub const HEADER_BYTES: usize = 256;
const CRC_AT: usize = HEADER_BYTES - 4;

/// What the header holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The CRC of this segment's frames starts from it.
    pub salt: u32,
    /// Which life of the topic it belongs to.
    pub incarnation: Incarnation,
    /// The boot in which it was made.
    pub boot: [u8; 16],
    /// Its epoch.
    pub epoch: Epoch,
    /// Where that epoch starts.
    pub epoch_start: Offset,
    /// Its first offset.
    pub base: Offset,
    /// The segment before it.
    pub previous: Option<Previous>,
    /// First offset kept, when it was made.
    pub log_start: Offset,
    /// The last ID before it.
    pub last_id: RecordId,
    /// Records ever added before it.
    pub entries_added: u64,
    /// The durable offset when it was made.
    pub durable: Offset,
    /// When it was made.
    pub created: TimestampMs,
    /// What origins there were before it.
    pub origins: Origins,
    /// What compaction took from it.
    pub compacted: Compacted,
}

/// What there ever was of records with an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// None lies here or beyond.
    pub end: Offset,
    /// How many were added.
    pub added: u64,
    /// How many messages came again, and were not added; a power cut may cost some of this.
    pub repeated: u64,
}

/// What compaction took from a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Offsets without a record.
    pub removed: u64,
    /// How many of them were among the deleted ones then.
    pub deleted: u64,
    /// Up to where the log of deletions had been read then: what was deleted later is still there.
    pub deletions: Offset,
    /// Where the segment's offsets end: segments that begin below are what it was made of.
    pub end: Offset,
}

/// What a segment knows of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its base offset.
    pub base: Offset,
    /// Where it ends, in bytes: what lies behind is not part of the log.
    pub end_position: u64,
    /// Its salt.
    pub salt: u32,
}

/// What the first bytes of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum ParsedHeader {
    /// A header this drave can read.
    Header(Box<SegmentHeader>),
    /// A whole header of a newer format.
    TooNew(u32),
    /// Cut off, or not what was written.
    Bad(&'static str),
}

impl SegmentHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        let none = Previous { base: Offset::ZERO, end_position: 0, salt: 0 };
        let previous = self.previous.unwrap_or(none);
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&self.salt.to_le_bytes());
        put(&self.incarnation.0);
        put(&self.boot);
        for number in [self.epoch.0, self.epoch_start.0, self.base.0, previous.base.0, previous.end_position] {
            put(&number.to_le_bytes());
        }
        put(&previous.salt.to_le_bytes());
        put(&[0; 4]);
        let numbers =
            [self.log_start.0, self.last_id.ms, self.last_id.seq, self.entries_added, 0, 0, self.durable.0, self.created.0];
        let origins = [self.origins.end.0, self.origins.added, self.origins.repeated];
        let compacted = [self.compacted.removed, self.compacted.deleted, self.compacted.deletions.0, self.compacted.end.0];
        for number in numbers.into_iter().chain(origins).chain(compacted) {
            put(&number.to_le_bytes());
        }
        let mut bytes = [0; HEADER_BYTES];
        bytes[..out.len()].copy_from_slice(&out);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What tells it from all others: its own checksum. That of all of its bytes would be the same for every header.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let bytes = self.encode();
        crc32fast::hash(&bytes[..CRC_AT])
    }

    /// Says what the beginning of a segment file holds.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> ParsedHeader {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return ParsedHeader::Bad("the segment header is cut off");
        };
        if bytes[..8] != MAGIC {
            return ParsedHeader::Bad("not a segment");
        }
        if crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return ParsedHeader::Bad("the checksum of the segment header does not match");
        }
        let mut rest = &bytes[8..];
        let mut array = [0; 16];
        let version = take_u32(&mut rest);
        if version > VERSION {
            return ParsedHeader::TooNew(version);
        }
        let salt = take_u32(&mut rest);
        let mut take_array = |rest: &mut &[u8]| {
            let (taken, after) = rest.split_at(16);
            array.copy_from_slice(taken);
            *rest = after;
            array
        };
        let incarnation = Incarnation(take_array(&mut rest));
        let boot = take_array(&mut rest);
        let epoch = Epoch(take_u64(&mut rest));
        let epoch_start = Offset(take_u64(&mut rest));
        let base = Offset(take_u64(&mut rest));
        let previous =
            Previous { base: Offset(take_u64(&mut rest)), end_position: take_u64(&mut rest), salt: take_u32(&mut rest) };
        take_u32(&mut rest);
        let log_start = Offset(take_u64(&mut rest));
        let last_id = RecordId { ms: take_u64(&mut rest), seq: take_u64(&mut rest) };
        let entries_added = take_u64(&mut rest);
        let mut rest = &rest[16..];
        let (durable, created) = (Offset(take_u64(&mut rest)), TimestampMs(take_u64(&mut rest)));
        let origins = Origins { end: Offset(take_u64(&mut rest)), added: take_u64(&mut rest), repeated: take_u64(&mut rest) };
        let [removed, deleted, deletions, end] = [(); 4].map(|()| take_u64(&mut rest));
        ParsedHeader::Header(Box::new(SegmentHeader {
            salt,
            incarnation,
            boot,
            epoch,
            epoch_start,
            base,
            previous: (previous.end_position != 0).then_some(previous),
            log_start,
            last_id,
            entries_added,
            durable,
            created,
            origins,
            compacted: Compacted { removed, deleted, deletions: Offset(deletions), end: Offset(end) },
        }))
    }
}

fn take_u32(rest: &mut &[u8]) -> u32 {
    let (taken, after) = rest.split_first_chunk::<4>().expect("the header is longer than its fields");
    *rest = after;
    u32::from_le_bytes(*taken)
}

fn take_u64(rest: &mut &[u8]) -> u64 {
    let (taken, after) = rest.split_first_chunk::<8>().expect("the header is longer than its fields");
    *rest = after;
    u64::from_le_bytes(*taken)
}

/// The file name of the segment with this base offset.
#[must_use]
pub fn file_name(base: Offset) -> String {
    format!("{:020}.log", base.0)
}

/// The file name of the index of the segment with this base offset.
#[must_use]
pub fn index_name(base: Offset) -> String {
    format!("{:020}.idx", base.0)
}

/// The base offset that a file name stands for, if it is a segment's.
#[must_use]
pub fn base_of(name: &[u8]) -> Option<Offset> {
    let digits = name.strip_suffix(b".log")?;
    if digits.len() != 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            salt: 0xdead_beef,
            incarnation: Incarnation([1; 16]),
            boot: [2; 16],
            epoch: Epoch(3),
            epoch_start: Offset(4),
            base: Offset(5),
            previous: Some(Previous { base: Offset(6), end_position: 7, salt: 8 }),
            log_start: Offset(9),
            last_id: RecordId { ms: 10, seq: 11 },
            entries_added: 12,
            durable: Offset(15),
            created: TimestampMs(16),
            origins: Origins { end: Offset(17), added: 18, repeated: 19 },
            compacted: Compacted { removed: 20, deleted: 21, deletions: Offset(22), end: Offset(23) },
        }
    }

    #[test]
    fn a_fingerprint_tells_headers_apart() {
        let one = header();
        let others = [
            SegmentHeader { salt: one.salt ^ 1, ..one },
            SegmentHeader { durable: one.durable.plus(1), ..one },
            SegmentHeader { compacted: Compacted { removed: one.compacted.removed + 1, ..one.compacted }, ..one },
        ];
        assert_eq!(one.fingerprint(), header().fingerprint());
        assert!(others.iter().all(|other| other.fingerprint() != one.fingerprint()));
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_seen() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::parse(&bytes), ParsedHeader::Header(Box::new(header())));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::parse(&flipped), ParsedHeader::Bad(_)), "bit {bit}");
        }
        assert!(matches!(SegmentHeader::parse(&bytes[..255]), ParsedHeader::Bad(_)));
    }

    #[test]
    fn the_fields_lie_where_the_drawing_says() {
        let bytes = header().encode();
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!(&bytes[..8], b"DRAVElog");
        assert_eq!(bytes[16..32], [1; 16]);
        assert_eq!(bytes[32..48], [2; 16]);
        let places = [
            (48, 3),
            (56, 4),
            (64, 5),
            (72, 6),
            (80, 7),
            (96, 9),
            (104, 10),
            (112, 11),
            (120, 12),
            (128, 0),
            (136, 0),
            (144, 15),
            (152, 16),
            (160, 17),
            (168, 18),
            (176, 19),
            (184, 20),
            (192, 21),
            (200, 22),
            (208, 23),
            (216, 0),
        ];
        for (at, value) in places {
            assert_eq!(u64_at(at), value, "at {at}");
        }
        assert_eq!(bytes[88], 8);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        assert!(matches!(SegmentHeader::parse(&bytes), ParsedHeader::Bad(_)));
        let crc = crc32fast::hash(&bytes[..252]);
        bytes[252..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&bytes), ParsedHeader::TooNew(2));
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(base_of(b"00000000000000000042.log"), Some(Offset(42)));
        assert_eq!(file_name(Offset(42)), "00000000000000000042.log");
        for bad in ["42.log", "00000000000000000042.idx", "0000000000000000004x.log", "99999999999999999999.log", ".log"] {
            assert_eq!(base_of(bad.as_bytes()), None, "{bad}");
        }
    }
}
