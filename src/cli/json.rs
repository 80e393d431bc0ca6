//! Records as NDJSON: `{"topic","offset","id","time","key","headers","value"}`, in this order.
//!
//! Text is a string when it is valid UTF-8. A key or value that is not is named `key_b64`,
//! `value_b64`; anything else becomes `{"b64":"..."}` in the string's place. An absent key and the
//! value of a null are `null`. A record that is not key?, value, headers in this order has
//! `"fields":[[name,value],...]` in place of the three, so that a record whose value is absent is
//! never taken for a null. `publish --json` reads all of it back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drave::codec::{FieldRef, Record};

use super::escape;

const DAY_MS: u64 = 86_400_000;

/// Appends the object and a newline. With `terminal`, nothing in it drives a terminal.
pub(crate) fn push_record(out: &mut Vec<u8>, topic: &[u8], record: &Record<'_>, terminal: bool) {
    let from = out.len();
    out.push(b'{');
    push_member(out, "topic", Some(topic));
    out.extend_from_slice(b",\"offset\":");
    push_number(out, record.offset.0);
    out.extend_from_slice(b",\"id\":\"");
    push_number(out, record.id.ms);
    out.push(b'-');
    push_number(out, record.id.seq);
    out.extend_from_slice(b"\",\"time\":\"");
    push_rfc3339(out, record.id.ms);
    out.extend_from_slice(b"\",");
    if record.is_shaped() && (record.null || record.value().is_some()) {
        push_member(out, "key", record.key());
        out.extend_from_slice(b",\"headers\":");
        push_pairs(out, record.headers());
        out.push(b',');
        push_member(out, "value", record.value());
    } else {
        out.extend_from_slice(b"\"fields\":");
        push_pairs(out, record.fields());
        if record.null {
            out.extend_from_slice(b",\"null\":true");
        }
    }
    out.push(b'}');
    if terminal {
        escape::harden_json(out, from);
    }
    out.push(b'\n');
}

/// Appends to the last object what somebody needs who is to settle its record.
pub(crate) fn extend_with_receipt(out: &mut Vec<u8>, receipt: &str, attempt: u32) {
    out.truncate(out.len() - b"}\n".len());
    out.push(b',');
    push_member(out, "receipt", Some(receipt.as_bytes()));
    out.extend_from_slice(b",\"attempt\":");
    push_number(out, u64::from(attempt));
    out.extend_from_slice(b"}\n");
}

/// Appends `[[name,value],...]`.
pub(crate) fn push_pairs<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = FieldRef<'a>>) {
    out.push(b'[');
    for (index, (name, value)) in pairs.enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        push_text(out, name);
        out.push(b',');
        push_text(out, value);
        out.push(b']');
    }
    out.push(b']');
}

/// Appends a string, or `{"b64":"..."}` if `bytes` are not UTF-8.
pub(crate) fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        push_plain(out, bytes);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        push_string(out, text);
    } else {
        out.extend_from_slice(b"{\"b64\":");
        push_base64_string(out, bytes);
        out.push(b'}');
    }
}

/// Appends `"name":...` or `"name_b64":...`.
pub(crate) fn push_member(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    let Some(bytes) = bytes else {
        out.extend_from_slice(b"\":null");
        return;
    };
    if is_plain(bytes) {
        out.extend_from_slice(b"\":");
        push_plain(out, bytes);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        out.extend_from_slice(b"\":");
        push_string(out, text);
    } else {
        out.extend_from_slice(b"_b64\":");
        push_base64_string(out, bytes);
    }
}

/// Whether this is ASCII that a JSON string holds as it is. Whole chunks are looked at without a
/// branch a byte, so that the compiler makes vector instructions of it: most values are such text.
fn is_plain(bytes: &[u8]) -> bool {
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
    bytes.chunks(32).all(|chunk| chunk.iter().fold(true, |plain, byte| plain & is_plain(*byte)))
}

fn push_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a Vec cannot fail.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "a string into memory");
}

fn push_base64_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    push_base64(out, bytes);
    out.push(b'"');
}

/// Appends `bytes` in base64, with padding.
pub(crate) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]);
    debug_assert_eq!(written.ok(), Some(out.len() - from), "room was made");
}

/// Appends a decimal number.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds since 1970 as RFC 3339 in UTC, as `2026-01-31T10:00:00.123Z`. Years beyond
/// 9999, which a record's own ID may name, have more digits.
///
/// The days are counted as in "`chrono`-Compatible Low-Level Date Algorithms", Howard Hinnant:
/// years begin in March, so that the leap day is the last one.
pub(crate) fn push_rfc3339(out: &mut Vec<u8>, ms: u64) {
    let (days, of_day) = (ms / DAY_MS + 719_468, ms % DAY_MS);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    if year < 10_000 {
        push_digits(out, year, 4);
    } else {
        push_number(out, year);
    }
    for (before, number, width) in [
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', of_day / 3_600_000, 2),
        (b':', of_day / 60_000 % 60, 2),
        (b':', of_day / 1000 % 60, 2),
        (b'.', of_day % 1000, 3),
    ] {
        out.push(before);
        push_digits(out, number, width);
    }
    out.push(b'Z');
}

fn push_digits(out: &mut Vec<u8>, number: u64, width: u32) {
    for power in (0..width).rev() {
        out.push(b'0' + (number / 10u64.pow(power) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::with_record;
    use proptest::prelude::*;

    const FRONT: &str = r#"{"topic":"orders","offset":42,"id":"1700000000123-4","time":"2023-11-14T22:13:20.123Z","#;

    fn shown(fields: &[FieldRef<'_>], null: bool) -> String {
        let mut out = Vec::new();
        with_record(fields, null, |record| push_record(&mut out, b"orders", record, false));
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        text.strip_prefix(FRONT).expect("the same front").strip_suffix("}\n").expect("one line").to_owned()
    }

    #[test]
    fn the_members_stand_in_their_order() {
        assert_eq!(shown(&[(b"value", b"v")], false), r#""key":null,"headers":[],"value":"v""#);
        assert_eq!(
            shown(&[(b"key", b"k"), (b"value", b"a\"\\\n\x01/"), (b"h", b"1"), (b"h", b"")], false),
            r#""key":"k","headers":[["h","1"],["h",""]],"value":"a\"\\\n\u0001/""#
        );
    }

    #[test]
    fn null_and_empty_differ() {
        assert_eq!(shown(&[(b"key", b""), (b"value", b"")], false), r#""key":"","headers":[],"value":"""#);
        assert_eq!(shown(&[(b"key", b"k")], true), r#""key":"k","headers":[],"value":null"#);
        assert_eq!(shown(&[(b"h", b"1")], true), r#""key":null,"headers":[["h","1"]],"value":null"#);
    }

    #[test]
    fn what_is_not_utf8_is_base64() {
        assert_eq!(
            shown(&[(b"key", b"\xff"), (b"value", b"\xfe\xfd"), (b"h\xff", b"\x80"), (b"b64", b"x")], false),
            r#""key_b64":"/w==","headers":[[{"b64":"aP8="},{"b64":"gA=="}],["b64","x"]],"value_b64":"/v0=""#
        );
        let mut out = Vec::new();
        with_record(&[(b"value", b"")], false, |record| push_record(&mut out, b"\xff", record, false));
        assert!(out.starts_with(br#"{"topic_b64":"/w==","offset":42,"#));
    }

    #[test]
    fn records_of_another_shape_list_their_fields() {
        assert_eq!(shown(&[(b"user", b"7")], false), r#""fields":[["user","7"]]"#);
        assert_eq!(shown(&[(b"value", b"v"), (b"key", b"k")], false), r#""fields":[["value","v"],["key","k"]]"#);
        assert_eq!(shown(&[(b"key", b"k")], false), r#""fields":[["key","k"]]"#);
        assert_eq!(shown(&[], false), r#""fields":[]"#);
        assert_eq!(shown(&[(b"a", b"1"), (b"key", b"k")], true), r#""fields":[["a","1"],["key","k"]],"null":true"#);
    }

    #[test]
    fn on_a_terminal_nothing_is_obeyed() {
        let mut out = Vec::new();
        with_record(&[(b"value", "\u{7f}\u{9b}\u{1b}".as_bytes())], false, |record| push_record(&mut out, b"t", record, true));
        assert!(
            String::from_utf8(out)
                .expect("UTF-8")
                .ends_with("\"value\":\"\\u007f\\u009f\"}\n".replace("9f", "9b\\u001b").as_str())
        );
    }

    #[test]
    fn years_beyond_9999_are_written_out() {
        let mut out = Vec::new();
        push_rfc3339(&mut out, 253_402_300_800_000);
        assert_eq!(out, b"10000-01-01T00:00:00.000Z");
        push_rfc3339(&mut out, u64::MAX);
    }

    proptest! {
        #[test]
        fn times_are_those_of_the_calendar(ms in 0i64..253_402_300_800_000) {
            let mut out = Vec::new();
            push_rfc3339(&mut out, ms.unsigned_abs());
            let expected = jiff::Timestamp::from_millisecond(ms).expect("in range");
            prop_assert_eq!(String::from_utf8(out).expect("ASCII"), format!("{expected:.3}"));
        }

        #[test]
        fn any_record_is_one_line_of_json(
            fields in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..5), proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
            null in any::<bool>(),
            terminal in any::<bool>(),
        ) {
            let fields: Vec<FieldRef<'_>> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let mut out = Vec::new();
            with_record(&fields, null, |record| push_record(&mut out, b"t", record, terminal));
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(!out.contains(&b'\n'));
            let object: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            prop_assert_eq!(&object["offset"], 42);
        }

        #[test]
        fn a_string_is_what_serde_json_makes_of_it(text in "(\\PC|[ -~]){0,80}") {
            let mut out = Vec::new();
            push_text(&mut out, text.as_bytes());
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), serde_json::to_string(&text).expect("a string"));
        }
    }
}
