//! Replies as a client reads them that has not asked for RESP3.

use std::fmt;

/// Arrays in arrays, at most.
const DEPTH_MAX: usize = 16;
/// The longest status, error or length.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A status, such as `OK`.
    Simple(Vec<u8>),
    /// An error: its code and its sentence.
    Error(Vec<u8>),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// No value, or no array.
    Null,
    /// Several replies.
    Array(Vec<Value>),
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReply(&'static str);

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoReply {}

/// Reads the reply that `bytes` begin with; says how long it is. `None` = it is not all there: read more, and
/// begin anew with all of it. For who asks for a lot at once that is slow.
///
/// # Errors
/// [`NoReply`] when no reply begins like that; nothing that follows can be understood either.
pub fn read(bytes: &[u8]) -> Result<Option<(Value, usize)>, NoReply> {
    let mut reader = Reader { bytes, at: 0 };
    Ok(reader.value(0)?.map(|value| (value, reader.at)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Option<Value>, NoReply> {
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((mark, text)) = line.split_first() else { return Err(NoReply("an empty line")) };
        Ok(Some(match mark {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Integer(number(text)?),
            b'$' | b'*' if text == b"-1" => Value::Null,
            b'$' => match self.bulk(length(text)?)? {
                Some(bytes) => Value::Bulk(bytes.to_vec()),
                None => return Ok(None),
            },
            b'*' if depth == DEPTH_MAX => return Err(NoReply("arrays in arrays without end")),
            b'*' => {
                // Sized by what comes, not by what is announced.
                let mut values = Vec::new();
                for _ in 0..length(text)? {
                    match self.value(depth + 1)? {
                        Some(value) => values.push(value),
                        None => return Ok(None),
                    }
                }
                Value::Array(values)
            }
            _ => return Err(NoReply("a line that begins like no reply")),
        }))
    }

    /// Up to CR LF, which is taken too.
    fn line(&mut self) -> Result<Option<&'a [u8]>, NoReply> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_BYTES_MAX)]) else {
            return if rest.len() >= LINE_BYTES_MAX { Err(NoReply("a line without end")) } else { Ok(None) };
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").map(Some).ok_or(NoReply("a line that does not end in CR LF"))
    }

    fn bulk(&mut self, length: usize) -> Result<Option<&'a [u8]>, NoReply> {
        let rest = &self.bytes[self.at..];
        let Some(whole) = length.checked_add(2).and_then(|whole| rest.get(..whole)) else { return Ok(None) };
        self.at += whole.len();
        whole.strip_suffix(b"\r\n").map(Some).ok_or(NoReply("a string that does not end in CR LF"))
    }
}

fn number(text: &[u8]) -> Result<i64, NoReply> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NoReply("a number that is none"))
}

fn length(text: &[u8]) -> Result<usize, NoReply> {
    usize::try_from(number(text)?).map_err(|_| NoReply("a length below zero"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::resp::{Protocol, Reply};

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn what_the_server_writes_reads_back_however_it_is_cut() {
        let mut reply = Reply::new(Protocol::Resp2);
        reply.array(7);
        reply.ok();
        reply.error("ERR no");
        reply.integer(-7);
        reply.verbatim("txt", b"a\r\nb");
        reply.null();
        reply.null_array();
        reply.map(1);
        reply.bulk(b"");
        reply.array(0);
        let value = Value::Array(vec![
            Value::Simple(b"OK".to_vec()),
            Value::Error(b"ERR no".to_vec()),
            Value::Integer(-7),
            bulk("a\r\nb"),
            Value::Null,
            Value::Null,
            Value::Array(vec![bulk(""), Value::Array(Vec::new())]),
        ]);
        let bytes = [reply.bytes(), b"+next"].concat();
        let length = reply.len();
        for end in 0..length {
            assert_eq!(read(&bytes[..end]), Ok(None), "{end}");
        }
        assert_eq!(read(&bytes), Ok(Some((value, length))));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        let long = format!("+{}", "x".repeat(LINE_BYTES_MAX));
        for bad in ["HTTP/1.1 400\r\n", "\r\n", ":x\r\n", "$-2\r\n", "*-2\r\n", "+a\n", "$1\r\nabc", &deep, &long] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        // Announcing costs nothing.
        assert_eq!(read(b"*9223372036854775807\r\n"), Ok(None));
        assert_eq!(read(b"$9223372036854775807\r\n"), Ok(None));
    }
}
