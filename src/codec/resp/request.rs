//! Requests: `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`, or a line of words.
//!
//! The bytes stay where they were read to: the parser keeps places. It never looks at the bytes of an
//! argument, looks at a line once however it is cut, and sizes nothing by what is announced.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Index, Range};

use super::inline;

/// Places and unquoted bytes up to this many stay allocated for the next request.
const KEPT_MAX: usize = 256;

/// The most digits that cannot overflow 64 bits.
const DIGITS_MAX: usize = 19;

/// How much one request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// The longest argument.
    pub bulk_bytes_max: u64,
    /// The most arguments that may be announced. Announcing costs nothing.
    pub args_max: u32,
    /// The longest request, from its first byte to its last; 4 GiB - 1 at most, whatever is said here.
    pub request_bytes_max: usize,
    /// The longest inline request, and the longest line that announces a count or a length.
    pub line_bytes_max: usize,
}

impl Default for RequestLimits {
    /// The limits of Redis: `proto-max-bulk-len`, `INT_MAX`, `client-query-buffer-limit` and 64 KiB.
    fn default() -> RequestLimits {
        RequestLimits {
            bulk_bytes_max: 512 << 20,
            args_max: i32::MAX as u32,
            request_bytes_max: 1 << 30,
            line_bytes_max: 64 << 10,
        }
    }
}

/// What [`RequestParser::step`] made of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A request with at least one argument, which [`RequestParser::args`] gives.
    Request {
        /// How long it is: the next request begins behind them.
        bytes: usize,
    },
    /// An empty line or an array of no elements: nothing to run and nothing to answer.
    Skip {
        /// How long it is.
        bytes: usize,
    },
    /// The request is not all there yet.
    More {
        /// The buffer has to hold at least so many bytes to get on. It is what the client announces:
        /// no reason to allocate them before they arrive.
        bytes: usize,
    },
}

/// Bytes that are no request. They cannot be skipped: answer with [`text`](ProtocolError::text) and
/// close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// `*` is followed by what is no count, or by too high a one.
    Count,
    /// `$` is followed by what is no length, or by too high a one.
    BulkLength,
    /// An argument begins with this byte. Arrays in arrays are among these.
    NotBulk(u8),
    /// No end of an inline request within the longest line.
    LongInline,
    /// No end of the count within the longest line.
    LongCount,
    /// No end of the length within the longest line.
    LongBulkLength,
    /// A quote is never closed, or is closed in the middle of a word.
    Quotes,
    /// The request is longer than this, or is announced to be.
    LongRequest(usize),
}

impl ProtocolError {
    /// The error reply, without the leading `-`. Bytes, because a client gets the byte it sent back.
    #[must_use]
    pub fn text(&self) -> Cow<'static, [u8]> {
        let fixed = match *self {
            ProtocolError::Count => "ERR Protocol error: invalid multibulk length",
            ProtocolError::BulkLength => "ERR Protocol error: invalid bulk length",
            ProtocolError::LongInline => "ERR Protocol error: too big inline request",
            ProtocolError::LongCount => "ERR Protocol error: too big mbulk count string",
            ProtocolError::LongBulkLength => "ERR Protocol error: too big bulk count string",
            ProtocolError::Quotes => "ERR Protocol error: unbalanced quotes in request",
            ProtocolError::NotBulk(byte) => {
                return [&b"ERR Protocol error: expected '$', got '"[..], &[byte], b"'"].concat().into();
            }
            ProtocolError::LongRequest(bytes_max) => {
                return format!("ERR Protocol error: request longer than {bytes_max} bytes").into_bytes().into();
            }
        };
        fixed.as_bytes().into()
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
        write!(f, "{}", text.escape_ascii())
    }
}

impl std::error::Error for ProtocolError {}

/// Where an argument lies. Half the size of two `usize`: a request of six bytes an argument is legal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Both ends lie within a request, and so below 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Span { start: start as u32, end: end as u32 }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Finds the requests of one connection.
///
/// Call [`step`](RequestParser::step) until it says [`More`](Progress::More), also on an empty
/// buffer: that call lets go of what a request with many arguments took.
#[derive(Debug)]
pub struct RequestParser {
    limits: RequestLimits,
    /// Where the next argument begins; 0 while the count of them is not known.
    position: usize,
    /// No line ends before this.
    scanned: usize,
    /// How many arguments are still to come.
    missing: u32,
    args: Vec<Span>,
    /// What the spans of an inline request point into; empty for any other.
    unquoted: Vec<u8>,
}

impl RequestParser {
    /// A parser that has seen nothing.
    #[must_use]
    pub fn new(mut limits: RequestLimits) -> RequestParser {
        limits.request_bytes_max = limits.request_bytes_max.min(u32::MAX as usize);
        limits.line_bytes_max = limits.line_bytes_max.min(limits.request_bytes_max);
        RequestParser { limits, position: 0, scanned: 0, missing: 0, args: Vec::new(), unquoted: Vec::new() }
    }

    /// Gets on with the request at the front of `buffer`, which has only grown at its end since the
    /// last call that said [`More`](Progress::More).
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: there is no getting on, and every further call on this buffer says the same.
    pub fn step(&mut self, buffer: &[u8]) -> Result<Progress, ProtocolError> {
        if self.position > 0 {
            return self.bulks(buffer);
        }
        self.forget();
        match buffer.first() {
            None => Ok(Progress::More { bytes: 1 }),
            Some(b'*') => self.array(buffer),
            Some(_) => self.inline(buffer),
        }
    }

    /// The arguments of the request that [`step`](RequestParser::step) has just found in `buffer`.
    #[must_use]
    #[inline]
    pub fn args<'a>(&'a self, buffer: &'a [u8]) -> Args<'a> {
        let bytes = if self.unquoted.is_empty() { buffer } else { &self.unquoted };
        Args { bytes, spans: &self.args }
    }

    /// Lets go of the request before.
    fn forget(&mut self) {
        self.args.clear();
        self.args.shrink_to(KEPT_MAX);
        self.unquoted.clear();
        self.unquoted.shrink_to(KEPT_MAX);
    }

    fn array(&mut self, buffer: &[u8]) -> Result<Progress, ProtocolError> {
        let Some((count, start)) = announced(buffer, 0, b'*') else {
            let Some(end) = self.header_end(buffer, ProtocolError::LongCount)? else {
                return Ok(Progress::More { bytes: buffer.len() + 1 });
            };
            return if is_negative(&buffer[1..end]) { Ok(self.skip(end + 2)) } else { Err(ProtocolError::Count) };
        };
        match u32::try_from(count) {
            Ok(0) => Ok(self.skip(start)),
            Ok(count) if count <= self.limits.args_max => {
                (self.position, self.missing) = (start, count);
                self.bulks(buffer)
            }
            _ => Err(ProtocolError::Count),
        }
    }

    fn bulks(&mut self, buffer: &[u8]) -> Result<Progress, ProtocolError> {
        while self.missing > 0 {
            let Some((length, start)) = announced(buffer, self.position, b'$') else {
                return self.no_length(buffer);
            };
            if length > self.limits.bulk_bytes_max {
                return Err(ProtocolError::BulkLength);
            }
            // Two bytes end a bulk. Redis does not look what they are, and there are clients that count on it.
            let after = (start as u64).saturating_add(length).saturating_add(2);
            if after > self.limits.request_bytes_max as u64 {
                return Err(ProtocolError::LongRequest(self.limits.request_bytes_max));
            }
            let after = after as usize;
            if buffer.len() < after {
                return Ok(Progress::More { bytes: after });
            }
            self.args.push(Span::new(start, after - 2));
            self.position = after;
            self.missing -= 1;
        }
        self.scanned = 0;
        Ok(Progress::Request { bytes: std::mem::take(&mut self.position) })
    }

    /// Tells a header that is not all there from one that is wrong.
    #[cold]
    fn no_length(&mut self, buffer: &[u8]) -> Result<Progress, ProtocolError> {
        match self.header_end(buffer, ProtocolError::LongBulkLength)? {
            None => Ok(Progress::More { bytes: buffer.len() + 1 }),
            Some(_) if buffer[self.position] != b'$' => Err(ProtocolError::NotBulk(buffer[self.position])),
            Some(_) => Err(ProtocolError::BulkLength),
        }
    }

    fn inline(&mut self, buffer: &[u8]) -> Result<Progress, ProtocolError> {
        let Some(end) = self.line_end(buffer, b'\n', ProtocolError::LongInline)? else {
            return Ok(Progress::More { bytes: buffer.len() + 1 });
        };
        let line = &buffer[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.unquoted, &mut self.args).ok_or(ProtocolError::Quotes)?;
        let skipped = self.skip(end + 1);
        Ok(if self.args.is_empty() { skipped } else { Progress::Request { bytes: end + 1 } })
    }

    fn skip(&mut self, bytes: usize) -> Progress {
        self.scanned = 0;
        Progress::Skip { bytes }
    }

    /// Where the CR is that ends the header at `position`, once the byte behind it is there, too.
    fn header_end(&mut self, buffer: &[u8], too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        Ok(self.line_end(buffer, b'\r', too_long)?.filter(|end| end + 1 < buffer.len()))
    }

    /// Where `mark` first stands at or behind `position`; `None` when it may be still to come.
    fn line_end(&mut self, buffer: &[u8], mark: u8, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let from = self.scanned.max(self.position);
        let to = buffer.len().min(self.position + self.limits.line_bytes_max + 1);
        let found = memchr::memchr(mark, &buffer[from..to]).map(|at| from + at);
        self.scanned = found.unwrap_or(to);
        if found.is_none() && to > self.position + self.limits.line_bytes_max {
            return Err(too_long);
        }
        Ok(found)
    }
}

/// The number in the header at `position`, and where what it announces begins. `None` when the header
/// is not all there, or is not `mark`, digits without a leading zero, CR and one more byte.
#[inline]
fn announced(buffer: &[u8], position: usize, mark: u8) -> Option<(u64, usize)> {
    let header = buffer.get(position..)?;
    let (&[first, digit], rest) = header.split_first_chunk::<2>()?;
    let mut number = u64::from(digit.wrapping_sub(b'0'));
    if first != mark || number > 9 {
        return None;
    }
    for (index, &byte) in rest.iter().enumerate().take(DIGITS_MAX) {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit <= 9 && number > 0 && index + 1 < DIGITS_MAX {
            number = number * 10 + digit;
        } else {
            return (byte == b'\r' && rest.len() > index + 1).then_some((number, position + index + 4));
        }
    }
    None
}

/// Whether `text` is a number of 64 bits below zero as Redis writes one.
fn is_negative(text: &[u8]) -> bool {
    matches!(text, [b'-', b'1'..=b'9', ..]) && std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok())
}

/// The arguments of one request; the first is the name of the command.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none, as before the first request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The one at `index`.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        Some(&self.bytes[self.spans.get(index)?.range()])
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.range()])
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.bytes[self.spans[index].range()]
    }
}

impl fmt::Debug for Args<'_> {
    /// Only how many: what clients send is never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Args({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::resp::testing::encode_request;
    use proptest::prelude::*;
    use proptest::sample::Index as Cut;

    /// The requests of one connection, and how it ended.
    type Seen = (Vec<Vec<Vec<u8>>>, Result<usize, ProtocolError>);

    /// Plays a connection whose bytes arrive in `pieces`. With `patient` it does not ask before the
    /// bytes are there that the parser said it needs. `Ok` is how many bytes are left over.
    fn play<'a>(limits: RequestLimits, pieces: impl IntoIterator<Item = &'a [u8]>, patient: bool) -> Seen {
        let mut parser = RequestParser::new(limits);
        let (mut buffer, mut wanted, mut requests) = (Vec::new(), 0, Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while !patient || buffer.len() >= wanted {
                let bytes = match parser.step(&buffer) {
                    Ok(Progress::More { bytes }) => {
                        assert!(bytes > buffer.len(), "it asks for more than there is");
                        wanted = bytes;
                        break;
                    }
                    Ok(Progress::Skip { bytes }) => bytes,
                    Ok(Progress::Request { bytes }) => {
                        requests.push(parser.args(&buffer).iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                        assert!(!parser.args(&buffer).is_empty());
                        bytes
                    }
                    Err(error) => {
                        assert_eq!(parser.step(&buffer), Err(error), "an error stays");
                        return (requests, Err(error));
                    }
                };
                assert!((1..=buffer.len()).contains(&bytes), "it goes forward");
                buffer.drain(..bytes);
                wanted = 0;
            }
        }
        (requests, Ok(buffer.len()))
    }

    fn whole(limits: RequestLimits, bytes: &[u8]) -> Seen {
        play(limits, [bytes], false)
    }

    /// As [`whole`], and sure that it makes no difference how the bytes arrive.
    #[track_caller]
    fn seen(limits: RequestLimits, bytes: &[u8]) -> Seen {
        let seen = whole(limits, bytes);
        assert_eq!(play(limits, bytes.chunks(1), false), seen, "byte by byte: {}", bytes.escape_ascii());
        assert_eq!(play(limits, bytes.chunks(1), true), seen, "patiently: {}", bytes.escape_ascii());
        seen
    }

    fn requests(lines: &[&str]) -> Vec<Vec<Vec<u8>>> {
        lines.iter().map(|line| line.split(' ').map(|word| word.as_bytes().to_vec()).collect()).collect()
    }

    #[test]
    fn a_request_reads_back_wherever_it_is_cut() {
        let args: [&[u8]; 6] = [b"XADD", b"", b"*", b"a\r\nb", b"$5\r\n", &[0xff; 120]];
        let encoded = encode_request(&args);
        for cut in 0..=encoded.len() {
            let (before, after) = encoded.split_at(cut);
            let (read, rest) = play(RequestLimits::default(), [before, after], false);
            assert_eq!((read, rest), (vec![args.map(<[u8]>::to_vec).to_vec()], Ok(0)), "cut at {cut}");
        }
        assert_eq!(seen(RequestLimits::default(), &encoded).1, Ok(0));
    }

    #[test]
    fn arguments_are_got_by_index() {
        let encoded = encode_request(&["GET", "a"]);
        let mut parser = RequestParser::new(RequestLimits::default());
        assert!(parser.args(&encoded).is_empty());
        assert_eq!(parser.step(&encoded), Ok(Progress::Request { bytes: encoded.len() }));
        let args = parser.args(&encoded);
        assert_eq!((args.len(), &args[1], args.get(0), args.get(2)), (2, &b"a"[..], Some(&b"GET"[..]), None));
        assert!(args.iter().rev().eq([&b"a"[..], b"GET"]));
        assert_eq!(format!("{args:?}"), "Args(2)");
    }

    #[test]
    fn what_asks_for_nothing_is_skipped() {
        // As Redis 7.0.15 has it, except for the last: it looks for no end of a line behind a zero byte.
        let cases: [(&[u8], &[&str]); 8] = [
            (b"\r\n\n  \r\n", &[]),
            (b"*0\r\n*-10\r\n*-9223372036854775808\r\nPING\r\n", &["PING"]),
            (b"*1\r\n$4\rxPINGab*0\rx*-10\r\n\r\n\nPING\n", &["PING", "PING"]),
            (b"PING\r\r\n", &["PING"]),
            (b"\r\r\nPING\n", &["PING"]),
            (b"ec\"ho\" 'a'\n*1\r\n$1\r\nb\r\n", &["echo a", "b"]),
            (b"'' a\n", &[" a"]),
            (b"\x00\n", &["\0"]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(seen(RequestLimits::default(), bytes), (requests(expected), Ok(0)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_request_get_the_text_of_redis() {
        // Recorded from Redis 7.0.15.
        let ones = |before: &str, count| [before.as_bytes(), &b"1".repeat(count)].concat();
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"*\r\n".into(), "invalid multibulk length"),
            (b"*-0\r\n".into(), "invalid multibulk length"),
            (b"*+1\r\n".into(), "invalid multibulk length"),
            (b"*01\r\n".into(), "invalid multibulk length"),
            (b"* 1\r\n".into(), "invalid multibulk length"),
            (b"*1 \r\n".into(), "invalid multibulk length"),
            (b"*1\n2\r\n".into(), "invalid multibulk length"),
            (b"*2147483648\r\n".into(), "invalid multibulk length"),
            (b"*99999999999999999999\r\n".into(), "invalid multibulk length"),
            (b"*-9223372036854775809\r\n".into(), "invalid multibulk length"),
            (b"*1\r\n$\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$-1\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$+4\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$04\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$00\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$ 4\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$4 \r\n".into(), "invalid bulk length"),
            (b"*1\r\n$536870913\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$18446744073709551616\r\n".into(), "invalid bulk length"),
            (b"*1\r\n$99999999999999999999999\r\n".into(), "invalid bulk length"),
            (b"*2\r\n$4\r\nPINGxxx\r\n".into(), "expected '$', got 'x'"),
            (b"*1\r\n*1\r\n$4\r\nPING\r\n".into(), "expected '$', got '*'"),
            (b"*1\r\n'\r\n".into(), "expected '$', got '''"),
            (b"*1\r\n\r\n".into(), "expected '$', got '\r'"),
            (b"*1\r\n:1\r\n".into(), "expected '$', got ':'"),
            (b"ECHO \"a\r\n".into(), "unbalanced quotes in request"),
            (b"ECHO 'a'b\n".into(), "unbalanced quotes in request"),
            (ones("", 65537), "too big inline request"),
            (ones("*", 65536), "too big mbulk count string"),
            (ones("*1\r\n$", 65536), "too big bulk count string"),
            (ones("*1\r\n", 65537), "too big bulk count string"),
        ];
        for (bytes, expected) in cases {
            let shown = bytes[..bytes.len().min(40)].escape_ascii();
            let (read, end) = seen(RequestLimits::default(), &bytes);
            let error = end.expect_err("no request");
            assert_eq!((read.len(), error.text()), (0, format!("ERR Protocol error: {expected}").into_bytes().into()), "{shown}");
            let said = format!("Protocol error: {}", expected.replace('\'', "\\'").replace('\r', "\\r"));
            assert_eq!(error.to_string(), said);
        }
        let (_, end) = seen(RequestLimits::default(), b"*1\r\n\xff\r\n");
        assert_eq!(end.expect_err("no request").text().as_ref(), b"ERR Protocol error: expected '$', got '\xff'");
    }

    #[test]
    fn a_limit_may_be_reached_but_not_passed() {
        let encoded = encode_request(&["ECHO", "12345678", ""]);
        let exact = RequestLimits { bulk_bytes_max: 8, args_max: 3, request_bytes_max: encoded.len(), line_bytes_max: 3 };
        let fails = |limits| seen(limits, &encoded).1.expect_err("too much");
        assert_eq!(seen(exact, &encoded).0.len(), 1);
        assert_eq!(fails(RequestLimits { bulk_bytes_max: 7, ..exact }), ProtocolError::BulkLength);
        assert_eq!(fails(RequestLimits { args_max: 2, ..exact }), ProtocolError::Count);
        let shorter = RequestLimits { request_bytes_max: encoded.len() - 1, ..exact };
        assert_eq!(fails(shorter), ProtocolError::LongRequest(encoded.len() - 1));
        let text = format!("ERR Protocol error: request longer than {} bytes", encoded.len() - 1);
        assert_eq!(fails(shorter).text().as_ref(), text.as_bytes());

        assert_eq!(seen(exact, b"abc\n").0.len(), 1);
        assert_eq!(seen(exact, b"abcd\n").1, Err(ProtocolError::LongInline));
        assert_eq!(seen(exact, b"\nabcd").1, Err(ProtocolError::LongInline));
        assert_eq!(seen(exact, b"abc").1, Ok(3));
        assert_eq!(seen(exact, b"*-10\r\n").1, Err(ProtocolError::LongCount));
        // The longest line is no longer than the longest request.
        let tiny = RequestLimits { request_bytes_max: 2, ..exact };
        assert_eq!(seen(tiny, b"abc\n").1, Err(ProtocolError::LongInline));
    }

    #[test]
    fn a_request_is_refused_as_soon_as_it_announces_too_much() {
        let limits = RequestLimits { request_bytes_max: 100, ..RequestLimits::default() };
        assert_eq!(seen(limits, b"*2\r\n$4\r\nECHO\r\n$90\r\n").1, Err(ProtocolError::LongRequest(100)));
        // Spans hold 32 bits.
        let limits = RequestLimits { request_bytes_max: usize::MAX, bulk_bytes_max: u64::MAX, ..limits };
        let error = Err(ProtocolError::LongRequest(u32::MAX as usize));
        assert_eq!(seen(limits, b"*1\r\n$4294967296\r\n").1, error);
        assert_eq!(seen(limits, b"*1\r\n$9999999999999999999\r\n").1, error);
    }

    #[test]
    fn announcing_takes_no_memory() {
        let mut parser = RequestParser::new(RequestLimits::default());
        let buffer = b"*2147483647\r\n$536870912\r\n";
        assert_eq!(parser.step(buffer), Ok(Progress::More { bytes: buffer.len() + (512 << 20) + 2 }));
        assert_eq!((parser.args.capacity(), parser.unquoted.capacity()), (0, 0));
    }

    #[test]
    fn memory_of_a_long_request_is_let_go_of() {
        let mut parser = RequestParser::new(RequestLimits::default());
        let many = [&b"*100000\r\n"[..], &b"$0\r\n\r\n".repeat(100_000)].concat();
        let long = [&b"ECHO '"[..], &b"x".repeat(60_000), b"'\n"].concat();
        for buffer in [many, long] {
            assert_eq!(parser.step(&buffer), Ok(Progress::Request { bytes: buffer.len() }));
            assert!(parser.args.capacity() > KEPT_MAX || parser.unquoted.capacity() > KEPT_MAX);
            assert_eq!(parser.step(b""), Ok(Progress::More { bytes: 1 }));
            assert!(parser.args.capacity() <= KEPT_MAX && parser.unquoted.capacity() <= KEPT_MAX);
        }
    }

    #[test]
    fn a_line_is_looked_at_once() {
        for line in [&b"an inline request"[..], b"*-1111111111111", b"*1\r\n$-11111111111111111111"] {
            let mut parser = RequestParser::new(RequestLimits::default());
            for len in 6..=line.len() {
                assert!(matches!(parser.step(&line[..len]), Ok(Progress::More { .. })));
                assert_eq!(parser.scanned, len);
            }
        }
    }

    #[test]
    fn a_long_argument_is_not_looked_at_while_it_arrives() {
        let mut buffer = b"*2\r\n$67108864\r\n".to_vec();
        let wanted = buffer.len() + (64 << 20) + 2;
        buffer.resize(wanted - 1, b'x');
        let mut parser = RequestParser::new(RequestLimits::default());
        let begun = std::time::Instant::now();
        for missing in (0..100_000).rev() {
            assert_eq!(parser.step(&buffer[..buffer.len() - missing]), Ok(Progress::More { bytes: wanted }));
        }
        // Looking at all of it each time would be six terabytes.
        assert!(begun.elapsed().as_secs() < 20);
    }

    /// Limits near enough that random bytes reach them.
    const NEAR: RequestLimits = RequestLimits { bulk_bytes_max: 11, args_max: 4, request_bytes_max: 60, line_bytes_max: 14 };

    const PIECES: [&[u8]; 24] = [
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*",
        b"$",
        b"$4\r\nPING\r\n",
        b"$0\r\n\r\n",
        b"$11\r\n",
        b"$1\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"PING\r\n",
        b"\"",
        b"'",
        b"\\",
        b"\\x4",
        b" ",
        b"a",
        b"0",
        b"12",
        b"-",
    ];

    /// Bytes that look like requests for a while.
    fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec);
        let piece = prop_oneof![8 => known, 1 => prop::collection::vec(any::<u8>(), 1..4)];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn any_bytes_mean_the_same_however_they_arrive(bytes in nearly_requests(), cuts: [Cut; 3], patient: bool) {
            let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
            cuts.sort_unstable();
            let pieces = [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..cuts[2]], &bytes[cuts[2]..]];
            for limits in [NEAR, RequestLimits::default()] {
                prop_assert_eq!(play(limits, pieces, patient), seen(limits, &bytes));
            }
        }

        #[test]
        fn noise_never_panics(bytes: Vec<u8>) {
            let _ = seen(NEAR, &bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_pipeline_reads_back_however_it_is_cut(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8), 1..6),
            piece_bytes in 1usize..400,
        ) {
            let encoded = requests.iter().flat_map(|args| encode_request(args)).collect::<Vec<_>>();
            let expected = (requests, Ok(0));
            prop_assert_eq!(whole(RequestLimits::default(), &encoded), expected.clone());
            prop_assert_eq!(play(RequestLimits::default(), encoded.chunks(piece_bytes), false), expected);
        }

        #[test]
        fn quoted_words_read_back(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5), upper: bool) {
            let hex = |byte: &u8| if upper { format!("\\x{byte:02X}") } else { format!("\\x{byte:02x}") };
            let quote = |word: &Vec<u8>| format!("\"{}\"", word.iter().map(hex).collect::<String>());
            let line = words.iter().map(quote).collect::<Vec<_>>().join(" ") + "\n";
            prop_assert_eq!(seen(RequestLimits::default(), line.as_bytes()), (vec![words], Ok(0)));
        }
    }
}
