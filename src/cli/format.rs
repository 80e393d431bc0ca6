//! The `-o FORMAT` language: literal text with `%` directives, compiled once into parts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use drave::codec::Record;

use super::{escape, json};

/// What can stand in a format, for help texts.
pub(crate) const FORMAT_HELP: &str = "\
Format:
  %v value   %k key   %t topic   %h{NAME} the header NAME
  %o offset   %i ID   %T time in ms   %V, %K length of value, key   %h all headers as a=1,b=2   %% a %
  %v{hex} %v{base64} %v{json}   the same after %k, %t and %h{NAME}; %T{rfc3339}
  \\n newline   \\t tab   \\0 NUL   \\xNN byte   \\\\ backslash
  %r receipt (consume --manual)   %a attempt (consume)
What is absent prints as nothing, its {json} as null. Nothing is added: write the \\n.";

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Text(Text, Encoding),
    Offset,
    Id,
    TimeMs,
    TimeRfc3339,
    Headers,
    ValueBytes,
    KeyBytes,
    Receipt,
    Attempt,
}

/// What there is to say of a record that was delivered to a member of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered<'a> {
    /// What settles it, if somebody else is to do that.
    pub(crate) receipt: Option<&'a str>,
    /// Which delivery of the record it is, counted from 1.
    pub(crate) attempt: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Value,
    Key,
    Topic,
    Header(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Bytes,
    Hex,
    Base64,
    Json,
}

impl Format {
    /// As clap calls it.
    ///
    /// # Errors
    /// As [`Format::parse`].
    pub(crate) fn from_os(text: OsString) -> Result<Format, String> {
        Format::parse(text.as_bytes())
    }

    /// Compiles `text`.
    ///
    /// # Errors
    /// A sentence that names what is wrong, and at which byte, counted from 1.
    pub(crate) fn parse(text: &[u8]) -> Result<Format, String> {
        let mut parser = Parser { text, at: 0 };
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        while let Some(byte) = parser.take() {
            let part = match byte {
                b'%' => parser.directive()?,
                b'\\' => Part::Literal(vec![parser.escape()?]),
                _ => Part::Literal(vec![byte]),
            };
            if let Part::Literal(bytes) = part {
                literal.extend_from_slice(&bytes);
                continue;
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Format(parts))
    }

    /// Appends what the format makes of a record. With `terminal`, nothing that comes from the
    /// record drives a terminal; what stands in the format itself is its writer's own doing.
    pub(crate) fn push_record(
        &self,
        out: &mut Vec<u8>,
        topic: &[u8],
        record: &Record<'_>,
        delivered: Delivered<'_>,
        terminal: bool,
    ) {
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Text(text, encoding) => {
                    let bytes = match text {
                        Text::Value => record.value(),
                        Text::Key => record.key(),
                        Text::Topic => Some(topic),
                        Text::Header(wanted) => record.headers().find(|(name, _)| name == wanted).map(|(_, value)| value),
                    };
                    encoding.push(out, bytes, terminal);
                }
                Part::Offset => json::push_number(out, record.offset.0),
                Part::Id => {
                    json::push_number(out, record.id.ms);
                    out.push(b'-');
                    json::push_number(out, record.id.seq);
                }
                Part::TimeMs => json::push_number(out, record.id.ms),
                Part::TimeRfc3339 => json::push_rfc3339(out, record.id.ms),
                Part::Headers => push_headers(out, record, terminal),
                Part::ValueBytes => push_length(out, record.value()),
                Part::KeyBytes => push_length(out, record.key()),
                Part::Receipt => out.extend_from_slice(delivered.receipt.unwrap_or_default().as_bytes()),
                Part::Attempt => {
                    if let Some(attempt) = delivered.attempt {
                        json::push_number(out, u64::from(attempt));
                    }
                }
            }
        }
    }
}

impl Encoding {
    fn push(self, out: &mut Vec<u8>, bytes: Option<&[u8]>, terminal: bool) {
        match (self, bytes) {
            (Encoding::Json, None) => out.extend_from_slice(b"null"),
            (_, None) => {}
            (Encoding::Bytes, Some(bytes)) if terminal => escape::push(out, bytes),
            (Encoding::Bytes, Some(bytes)) => out.extend_from_slice(bytes),
            (Encoding::Hex, Some(bytes)) => push_hex(out, bytes),
            (Encoding::Base64, Some(bytes)) => json::push_base64(out, bytes),
            (Encoding::Json, Some(bytes)) => {
                let from = out.len();
                json::push_text(out, bytes);
                if terminal {
                    escape::harden_json(out, from);
                }
            }
        }
    }
}

fn push_headers(out: &mut Vec<u8>, record: &Record<'_>, terminal: bool) {
    for (index, (name, value)) in record.headers().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        Encoding::Bytes.push(out, Some(name), terminal);
        out.push(b'=');
        Encoding::Bytes.push(out, Some(value), terminal);
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

fn push_length(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        json::push_number(out, bytes.len() as u64);
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// An error about what begins at byte `from` (counted from 0) and has been read so far.
    fn refuse(&self, from: usize, why: &str) -> String {
        format!("'{}' at byte {} of the format {why}", escape::escape(&self.text[from..self.at]), from + 1)
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<u8, String> {
        let from = self.at - 1;
        match self.take() {
            Some(b'n') => Ok(b'\n'),
            Some(b't') => Ok(b'\t'),
            Some(b'0') => Ok(0),
            Some(b'\\') => Ok(b'\\'),
            Some(b'x') => {
                let mut digit = || self.take().and_then(|byte| char::from(byte).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
                    _ => Err(self.refuse(from, "wants two hexadecimal digits, as \\x1f")),
                }
            }
            _ => Err(self.refuse(from, "is no escape: \\n \\t \\0 \\xNN \\\\")),
        }
    }

    /// What follows a `%`.
    fn directive(&mut self) -> Result<Part, String> {
        let from = self.at - 1;
        let Some(letter) = self.take() else {
            return Err(self.refuse(from, "stands alone: write %% for a %"));
        };
        let text = match letter {
            b'%' => return Ok(Part::Literal(vec![b'%'])),
            b'v' => Text::Value,
            b'k' => Text::Key,
            b't' => Text::Topic,
            b'h' => match self.braces()? {
                None => return Ok(Part::Headers),
                Some(name) => Text::Header(name),
            },
            b'T' => {
                return match self.braces()?.as_deref() {
                    None => Ok(Part::TimeMs),
                    Some(b"rfc3339") => Ok(Part::TimeRfc3339),
                    Some(_) => Err(self.refuse(from, "is unknown: %T has {rfc3339}")),
                };
            }
            b'o' => return self.bare(from, Part::Offset),
            b'i' => return self.bare(from, Part::Id),
            b'V' => return self.bare(from, Part::ValueBytes),
            b'K' => return self.bare(from, Part::KeyBytes),
            b'r' => return self.bare(from, Part::Receipt),
            b'a' => return self.bare(from, Part::Attempt),
            _ => return Err(self.refuse(from, "is unknown: %v %k %o %i %t %T %h %h{NAME} %V %K %r %a %%")),
        };
        let encoding = match self.braces()?.as_deref() {
            None => Encoding::Bytes,
            Some(b"hex") => Encoding::Hex,
            Some(b"base64") => Encoding::Base64,
            Some(b"json") => Encoding::Json,
            Some(_) => return Err(self.refuse(from, "is unknown: text has {hex}, {base64} and {json}")),
        };
        self.bare(from, Part::Text(text, encoding))
    }

    /// A part after which no brace may follow: what was meant by it would be a guess.
    fn bare(&mut self, from: usize, part: Part) -> Result<Part, String> {
        match self.braces()? {
            None => Ok(part),
            Some(_) => Err(self.refuse(from, "has a modifier too many; write \\x7b for a { that is meant as such")),
        }
    }

    /// `{...}`, if that is what follows.
    fn braces(&mut self) -> Result<Option<Vec<u8>>, String> {
        if self.text.get(self.at) != Some(&b'{') {
            return Ok(None);
        }
        let from = self.at;
        self.at += 1;
        let mut inside = Vec::new();
        while let Some(byte) = self.take() {
            match byte {
                b'}' => return Ok(Some(inside)),
                b'\\' => inside.push(self.escape()?),
                _ => inside.push(byte),
            }
        }
        Err(self.refuse(from, "is not closed; write \\x7b for a { that is meant as such"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::with_record;
    use drave::codec::FieldRef;
    use proptest::prelude::*;

    fn shown(format: &str, fields: &[FieldRef<'_>], null: bool) -> String {
        let format = Format::parse(format.as_bytes()).expect("a format");
        let mut out = Vec::new();
        with_record(fields, null, |record| format.push_record(&mut out, b"orders", record, Delivered::default(), false));
        String::from_utf8(out).expect("UTF-8")
    }

    const RECORD: &[FieldRef<'_>] = &[(b"key", b"k1"), (b"value", b"v\"1"), (b"a", b"1"), (b"b", b"2"), (b"a", b"3")];

    #[test]
    fn every_directive_prints_its_part() {
        for (format, expected) in [
            ("%k\\t%v\\n", "k1\tv\"1\n"),
            ("%o %i %t", "42 1700000000123-4 orders"),
            ("%T %T{rfc3339}", "1700000000123 2023-11-14T22:13:20.123Z"),
            ("%h|%h{a}|%h{b}|%h{none}", "a=1,b=2,a=3|1|2|"),
            ("%V,%K", "3,2"),
            ("100%%", "100%"),
            ("%v{hex} %v{base64} %v{json}", "762231 diIx \"v\\\"1\""),
            ("%t{hex} %k{json} %h{a}{hex} %h{a}{json}", "6f7264657273 \"k1\" 31 \"1\""),
            ("a\\x41\\\\\\t}", "aA\\\t}"),
            ("%h{\\x61}", "1"),
            ("", ""),
        ] {
            assert_eq!(shown(format, RECORD, false), expected, "{format}");
        }
    }

    #[test]
    fn what_is_absent_prints_nothing() {
        assert_eq!(shown("[%v|%V|%K|%k|%h]", &[], true), "[||||]");
        assert_eq!(shown("%v{json} %k{json} %h{x}{json} %v{hex}", &[], true), "null null null ");
        assert_eq!(shown("%V %v{json}", &[(b"value", b"")], false), "0 \"\"");
    }

    #[test]
    fn bytes_are_exact_in_a_pipe_and_harmless_on_a_terminal() {
        let format = Format::parse(b"%v\\x1b\\xff%k{json}").expect("a format");
        let (mut piped, mut terminal) = (Vec::new(), Vec::new());
        with_record(&[(b"key", b"\xff"), (b"value", b"\x1b\xff")], false, |record| {
            format.push_record(&mut piped, b"t", record, Delivered::default(), false);
            format.push_record(&mut terminal, b"t", record, Delivered::default(), true);
        });
        assert_eq!(piped, b"\x1b\xff\x1b\xff{\"b64\":\"/w==\"}");
        assert_eq!(terminal, b"\\u{1b}\\xff\x1b\xff{\"b64\":\"/w==\"}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (format, words) in [
            ("ab%q", "'%q' at byte 3 of the format is unknown"),
            ("%", "'%' at byte 1 of the format stands alone"),
            ("x\\q", "'\\q' at byte 2 of the format is no escape"),
            ("x\\", "'\\' at byte 2 of the format is no escape"),
            ("\\x4", "'\\x4' at byte 1 of the format wants two"),
            ("\\xg0", "wants two"),
            ("%v{rot13}", "'%v{rot13}' at byte 1 of the format is unknown"),
            ("%T{hex}", "%T has {rfc3339}"),
            ("%o{hex}", "a modifier too many"),
            ("%v{hex}{json}", "a modifier too many"),
            ("%v{hex", "'{hex' at byte 3 of the format is not closed"),
        ] {
            let refusal = Format::parse(format.as_bytes()).expect_err(format);
            assert!(refusal.contains(words), "{format}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_written_as_a_format(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let literal = if bytes.is_empty() { vec![] } else { vec![Part::Literal(bytes)] };
            prop_assert_eq!(Format::parse(text.as_bytes()), Ok(Format(literal)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'%'), Just(b'{'), Just(b'}'), Just(b'\\'), any::<u8>()], 0..20)) {
            let _ = Format::parse(&bytes);
        }
    }
}
