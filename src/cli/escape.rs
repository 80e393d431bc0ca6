//! Bytes for a terminal: nothing in them can drive it.

use std::fmt::Write as _;

/// `bytes` as text in which control characters and what is not UTF-8 are written as escapes.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() => {
                    let _ = write!(text, "\\x{:02x}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_gets_through() {
        assert_eq!(escape(b"a\x1b[2J\n\xff\xc2\x9bz"), "a\\x1b[2J\\n\\xff\\x9bz");
        assert_eq!(escape("grün".as_bytes()), "grün");
    }
}
