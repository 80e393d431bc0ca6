//! Names on disk: any bytes as a file name that cannot leave its directory.
//!
//! Lower-case letters, digits, `-`, `_` and inner dots stand for themselves, all else is `%xx`;
//! upper-case letters too, so that a file system that folds case does not merge two topics. A name
//! that would exceed 200 bytes is cut and followed by `%~` and a hash of the whole; the directory
//! then holds the full name beside it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

const BYTES_MAX: usize = 200;
const HASH_MARK: &str = "%~";
const HASH_DIGITS: usize = 32;

/// The file name for `name`.
#[must_use]
pub fn escape(name: &[u8]) -> String {
    let mut escaped = String::with_capacity(name.len() + 8);
    let mut cut = 0;
    for (index, &byte) in name.iter().enumerate() {
        let literal = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') || (byte == b'.' && index > 0);
        if literal {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02x}");
        }
        if escaped.len() <= BYTES_MAX - HASH_MARK.len() - HASH_DIGITS {
            cut = escaped.len();
        }
    }
    if escaped.len() > BYTES_MAX {
        escaped.truncate(cut);
        escaped.push_str(HASH_MARK);
        for byte in &Sha256::digest(name)[..HASH_DIGITS / 2] {
            let _ = write!(escaped, "{byte:02x}");
        }
    }
    escaped
}

/// What a file name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Unescaped {
    /// The whole name.
    Name(Vec<u8>),
    /// A name too long for a file name; only the directory's contents tell it.
    Hashed,
    /// Nothing that [`escape`] makes.
    Foreign,
}

/// Reads a file name back.
#[must_use]
pub fn unescape(file_name: &[u8]) -> Unescaped {
    let Ok(text) = std::str::from_utf8(file_name) else { return Unescaped::Foreign };
    if let Some((_, hash)) = text.split_once(HASH_MARK) {
        let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit());
        return if is_hash { Unescaped::Hashed } else { Unescaped::Foreign };
    }
    let mut name = Vec::with_capacity(file_name.len());
    let mut bytes = file_name.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let hex: Option<u8> = match (bytes.next(), bytes.next()) {
                (Some(&high), Some(&low)) => {
                    std::str::from_utf8(&[high, low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
                }
                _ => None,
            };
            match hex {
                Some(byte) => name.push(byte),
                None => return Unescaped::Foreign,
            }
        } else {
            name.push(byte);
        }
    }
    if !name.is_empty() && escape(&name).as_bytes() == file_name { Unescaped::Name(name) } else { Unescaped::Foreign }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_comes_back_or_is_hashed(name in proptest::collection::vec(any::<u8>(), 1..512)) {
            let escaped = escape(&name);
            prop_assert!(escaped.len() <= BYTES_MAX);
            prop_assert!(!escaped.contains('/') && !escaped.starts_with('.'));
            match unescape(escaped.as_bytes()) {
                Unescaped::Name(back) => prop_assert_eq!(back, name),
                other => { prop_assert_eq!(other, Unescaped::Hashed); prop_assert!(name.len() > 60); }
            }
        }
    }

    #[test]
    fn names_that_look_like_paths_stay_where_they_are() {
        assert_eq!(escape(b"orders"), "orders");
        assert_eq!(escape(b"../etc/passwd"), "%2e.%2fetc%2fpasswd");
        assert_eq!(escape(b"."), "%2e");
        assert_eq!(escape(b"Orders"), "%4frders");
        assert_eq!(escape(b"a\0b"), "a%00b");
        assert_ne!(escape(&[b'a'; 300]), escape(&[b'a'; 301]));
    }

    #[test]
    fn foreign_file_names_are_told() {
        for foreign in [&b"lost+found"[..], b"%", b"%2", b"%41x%zz", b"A", b".hidden", b"%61", b"\xff", b"x%~1234", b""] {
            assert_eq!(unescape(foreign), Unescaped::Foreign, "{foreign:?}");
        }
    }
}
