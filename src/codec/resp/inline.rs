//! A line of words, as a person types it into a raw connection.

use super::request::Span;

/// Splits `line` at blanks, appends the bytes of its words to `bytes` and where each lies to `words`.
/// `None` when a quote is never closed, or is closed in the middle of a word.
///
/// A word may be quoted, also in part: within `"..."` there are `\n \r \t \b \a`, `\x` with two
/// hexadecimal digits and a backslash before any other byte, within `'...'` only `\'`.
pub(super) fn split(line: &[u8], bytes: &mut Vec<u8>, words: &mut Vec<Span>) -> Option<()> {
    let mut rest = line;
    loop {
        rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
        if rest.is_empty() {
            return Some(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        words.push(Span::new(start, bytes.len()));
    }
}

/// Takes one word off the front, and gives what follows it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    while let [byte, after @ ..] = rest {
        match byte {
            b'"' => return closed(double_quoted(after, out)?),
            b'\'' => return closed(single_quoted(after, out)?),
            b' ' | b'\n' | b'\r' | b'\t' => break,
            byte => out.push(*byte),
        }
        rest = after;
    }
    Some(rest)
}

/// What follows a closing quote has to be a blank.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescaped(*escaped), after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        out.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        out.push(byte);
        rest = after;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// As C's `isspace`, which Rust's `is_ascii_whitespace` is not: a vertical tab is a space, too.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut bytes, mut words) = (Vec::new(), Vec::new());
        split(line, &mut bytes, &mut words)?;
        Some(words.iter().map(|word| bytes[word.range()].to_vec()).collect())
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does_it() {
        let cases: [(&[u8], &[&[u8]]); 16] = [
            (b"", &[]),
            (b" \t\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a\tb ", &[b"set", b"a", b"b"]),
            (b"\"\" ''", &[b"", b""]),
            (br#""a b" 'c d'"#, &[b"a b", b"c d"]),
            (br#"ab"cd" x"#, &[b"abcd", b"x"]),
            (br#"ab'c"d'"#, &[b"abc\"d"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br#""\x00\xfF\xg1\x1""#, &[b"\x00\xffxg1x1"]),
            (br#"'\n\x41\'\\a'"#, &[br"\n\x41'\\a"]),
            (br"a\nb", &[br"a\nb"]),
            (b"a\x0bb", &[b"a\x0bb"]),
            (b"\"a\"\x0bb", &[b"a", b"b"]),
            (b"a\rb", &[b"a", b"b"]),
            (b"\xff\x00 \x80", &[b"\xff\x00", b"\x80"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).expect("balanced"), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_quote_left_open_or_closed_within_a_word_is_refused() {
        for line in
            [&br#"""#[..], b"'", br#""a"#, br#""a\"#, br#""a\""#, br"'a\'", br"'a\\'", br#""a"b"#, b"'a'b", br#"''"""#, b"a\"b"]
        {
            assert_eq!(words(line), None, "{}", line.escape_ascii());
        }
    }
}
