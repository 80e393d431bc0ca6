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

    #[test]
    fn a_request_reads_back() {
        let mut parser = RequestParser::new(RequestLimits::default());
        let buffer = encode_request(&["XADD", "", "a\r\nb"]);
        assert_eq!(parser.step(&buffer), Ok(Progress::Request { bytes: buffer.len() }));
        let args = parser.args(&buffer);
        assert_eq!(args.iter().collect::<Vec<_>>(), [&b"XADD"[..], b"", b"a\r\nb"]);
    }
}
