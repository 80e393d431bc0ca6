//! Reading arguments: numbers and IDs, as strict as Redis is.

use crate::ids::RecordId;
use crate::server::refusal::{Answer, INVALID_ID, NOT_AN_INTEGER};

pub(in crate::server) const ID_MAX: RecordId = RecordId { ms: u64::MAX, seq: u64::MAX };

/// Whether the argument is this word, in any case.
pub(in crate::server) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A decimal number without sign, blanks or leading zeros.
fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// A signed integer as Redis reads one: no `+`, no blanks, no leading zeros.
pub(in crate::server) fn integer(arg: &[u8]) -> Answer<i64> {
    let unsigned = arg.strip_prefix(b"-").unwrap_or(arg);
    let is_canonical = unsigned == b"0" && arg == b"0" || unsigned.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    let number = std::str::from_utf8(arg).ok().filter(|_| is_canonical && unsigned.iter().all(u8::is_ascii_digit));
    number.and_then(|text| text.parse().ok()).ok_or(NOT_AN_INTEGER)
}

/// `ms-seq`, or `ms` with this sequence.
pub(in crate::server) fn id(arg: &[u8], seq: u64) -> Answer<RecordId> {
    let parsed = match arg.iter().position(|byte| *byte == b'-') {
        None => digits(arg).map(|ms| RecordId { ms, seq }),
        Some(at) => digits(&arg[..at]).zip(digits(&arg[at + 1..])).map(|(ms, seq)| RecordId { ms, seq }),
    };
    parsed.ok_or(INVALID_ID)
}

/// `ms-*`: the milliseconds.
pub(in crate::server) fn id_of_ms(arg: &[u8]) -> Option<u64> {
    arg.strip_suffix(b"-*").and_then(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_does() {
        for (text, number) in [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)] {
            assert_eq!(integer(text.as_bytes()), Ok(number));
        }
        for text in ["", "-", "+1", " 1", "1 ", "01", "-0", "1.0", "9223372036854775808", "abc", "0x1"] {
            assert_eq!(integer(text.as_bytes()), Err(NOT_AN_INTEGER), "{text}");
        }
    }

    #[test]
    fn ids_may_lack_their_sequence() {
        assert_eq!(id(b"5", 7), Ok(RecordId { ms: 5, seq: 7 }));
        assert_eq!(id(b"05-018446744073709551615", 0), Ok(RecordId { ms: 5, seq: u64::MAX }));
        for bad in [&b""[..], b"-", b"5-", b"-5", b"a", b"5-5-5", b"18446744073709551616", b"5 ", b"+5"] {
            assert_eq!(id(bad, 0), Err(INVALID_ID));
        }
        assert_eq!(id_of_ms(b"12-*"), Some(12));
        assert_eq!((id_of_ms(b"*"), id_of_ms(b"-*"), id_of_ms(b"12")), (None, None, None));
    }
}
