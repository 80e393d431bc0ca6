//! Text for a terminal: nothing in it can move the cursor, ring the bell or hide other text.
//!
//! Only for terminals. In a pipe bytes are exact.

use std::borrow::Cow;
use std::io::Write as _;

/// Whether `bytes` can be shown as they are.
fn is_harmless(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// Appends `bytes` with control characters and invalid UTF-8 escaped: `\n`, `\u{1b}`, `\xff`.
pub(crate) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_harmless(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            if c.is_control() {
                out.extend(c.escape_default().map(|c| c as u8));
            } else {
                out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// `bytes` as text that is safe to show.
pub(crate) fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if is_harmless(bytes) {
        return String::from_utf8_lossy(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    push(&mut out, bytes);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Replaces, in JSON text from `from` on, the control characters that JSON allows in strings but a
/// terminal obeys: DEL and U+0080 to U+009F.
pub(crate) fn harden_json(out: &mut Vec<u8>, from: usize) {
    let obeyed = |pair: &[u8]| pair[0] == 0x7f || (pair[0] == 0xc2 && (0x80..0xa0).contains(&pair[1]));
    let written = &out[from..];
    if !written.windows(2).any(obeyed) {
        return;
    }
    let text = String::from_utf8_lossy(written).into_owned();
    out.truncate(from);
    for c in text.chars() {
        let mut utf8 = [0; 4];
        if matches!(c, '\u{7f}'..='\u{9f}') {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_drives_a_terminal_is_shown_instead() {
        assert_eq!(escape(b"plain text"), "plain text");
        assert_eq!(escape(b"a\x1b[2J\r\n\t\x00"), "a\\u{1b}[2J\\r\\n\\t\\u{0}");
        assert_eq!(escape("gr\u{fc}n \u{9b}".as_bytes()), "gr\u{fc}n \\u{9b}");
        assert_eq!(escape(b"\xff\xfe"), "\\xff\\xfe");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = "a\u{7f}b\u{9b}c\u{fc}";
        let mut out = b"before \x7f ".to_vec();
        let from = out.len();
        serde_json::to_writer(&mut out, value).expect("a string");
        harden_json(&mut out, from);
        assert_eq!(&out[from..], "\"a\\u007fb\\u009bc\u{fc}\"".as_bytes());
        assert_eq!(serde_json::from_slice::<String>(&out[from..]).expect("still JSON"), value);
        assert_eq!(&out[..from], b"before \x7f ");
    }

    proptest! {
        #[test]
        fn no_bytes_get_through(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let shown = escape(&bytes);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
