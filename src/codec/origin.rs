//! Who sent a record, and as which of its messages: by that, a message that is sent again is known.
//!
//! ```text
//!   origin  = varint n, n bytes: the producer     varint m, m bytes: the message, among the producer's
//!             varint: when it was sent, ms since 1970
//! ```
//!
//! It lies in the record's own entry (`batch.rs` draws that): as durable as the record, and in its order.
//! It is no field, and who reads records does not see it.

use sha2::{Digest as _, Sha256};

use super::batch::FieldRef;
use super::varint;
use crate::ids::TimestampMs;

const DIGEST_BYTES: usize = 16;

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Who sent it.
    pub producer: &'a [u8],
    /// What its producer calls it.
    pub message: &'a [u8],
    /// When it was sent, by the clock of who appended it: an ID may be ahead of that.
    pub at: TimestampMs,
}

/// An origin in 32 bytes, whatever its length: so much of two SHA-256 that no two are the same by chance
/// or design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginKey {
    /// Of the producer.
    pub producer: [u8; DIGEST_BYTES],
    /// Of the producer and the message.
    pub message: [u8; DIGEST_BYTES],
}

impl<'a> Origin<'a> {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for part in [self.producer, self.message] {
            varint::put(out, part.len() as u64);
            out.extend_from_slice(part);
        }
        varint::put(out, self.at.0);
    }

    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Origin<'a>> {
        let mut part = || {
            let n = usize::try_from(varint::take(bytes)?).ok()?;
            let (part, rest) = bytes.split_at_checked(n)?;
            *bytes = rest;
            Some(part)
        };
        let (producer, message) = (part()?, part()?);
        Some(Origin { producer, message, at: TimestampMs(varint::take(bytes)?) })
    }

    /// What it is looked up by.
    #[must_use]
    pub fn key(&self) -> OriginKey {
        OriginKey { producer: digest([self.producer]), message: digest([self.producer, self.message]) }
    }
}

/// What a message is called that has no name: by its fields, in whatever order.
#[must_use]
pub fn name_of_fields(fields: &[FieldRef<'_>]) -> [u8; DIGEST_BYTES] {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    digest(fields.iter().flat_map(|(name, value)| [*name, *value]))
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    for part in parts {
        // With its length, so that nothing moves from one part to the next.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&hasher.finalize()[..DIGEST_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back_and_no_part_of_it_does() {
        let origin = Origin { producer: b"p", message: &[0xff; 300], at: TimestampMs(1_700_000_000_000) };
        let mut bytes = Vec::new();
        origin.put(&mut bytes);
        assert_eq!(bytes.len(), 1 + 1 + 2 + 300 + 6);
        (0..bytes.len()).for_each(|cut| assert_eq!(Origin::take(&mut &bytes[..cut]), None));
        bytes.push(7);
        let mut rest = &bytes[..];
        assert_eq!((Origin::take(&mut rest), rest), (Some(origin), &[7][..]));
    }

    #[test]
    fn keys_tell_producers_and_their_messages_apart() {
        let key = |producer, message| Origin { producer, message, at: TimestampMs(0) }.key();
        assert_eq!(key(b"ab", b"c"), Origin { producer: b"ab", message: b"c", at: TimestampMs(9) }.key());
        assert_ne!(key(b"ab", b"c").message, key(b"a", b"bc").message);
        assert_ne!(key(b"a", b"c").message, key(b"b", b"c").message);
        assert_eq!(key(b"a", b"c").producer, key(b"a", b"d").producer);
    }

    #[test]
    fn fields_name_a_message_in_any_order() {
        let one = name_of_fields(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"1")]);
        assert_eq!(one, name_of_fields(&[(b"b", b"2"), (b"a", b"1"), (b"a", b"1")]));
        for other in [&[(&b"a"[..], &b"1"[..]), (b"b", b"2")][..], &[(b"a", b"2"), (b"b", b"1"), (b"a", b"1")], &[(b"a1", b"")]] {
            assert_ne!(one, name_of_fields(other));
        }
    }
}
