//! The other side of the protocol, for tests: written from its documentation, not from the writer.

/// A reply as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Simple(String),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    NullBulk,
    NullArray,
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Verbatim(String, Vec<u8>),
    Double(f64),
    Boolean(bool),
}

impl Value {
    /// A bulk string.
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(bytes.as_ref().to_vec())
    }
}

/// All replies in `bytes`, which have to end with the last one.
#[track_caller]
pub(crate) fn decode_all(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(take(&mut bytes).unwrap_or_else(|| panic!("no reply: {}", bytes.escape_ascii())));
    }
    values
}

/// The only reply in `bytes`.
#[track_caller]
pub(crate) fn decode(bytes: &[u8]) -> Value {
    let mut values = decode_all(bytes);
    assert_eq!(values.len(), 1, "{}", bytes.escape_ascii());
    values.remove(0)
}

/// A request as a client sends it.
pub(crate) fn encode_request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        out.extend(format!("${}\r\n", arg.len()).into_bytes());
        out.extend(arg);
        out.extend(b"\r\n");
    }
    out
}

/// Takes one reply off the front; `None` when that is no whole one.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<Value> {
    let line = take_line(bytes)?;
    let (mark, text) = line.split_first()?;
    let string = || String::from_utf8(text.to_vec()).ok();
    let number = || string()?.parse::<i64>().ok();
    Some(match mark {
        b'+' => Value::Simple(string()?),
        b'-' => Value::Error(text.to_vec()),
        b':' => Value::Integer(number()?),
        b'$' if text == b"-1" => Value::NullBulk,
        b'*' if text == b"-1" => Value::NullArray,
        b'_' if text.is_empty() => Value::Null,
        b'$' => Value::Bulk(take_bytes(bytes, number()?)?),
        b'*' => Value::Array(take_many(bytes, number()?)?),
        b'~' => Value::Set(take_many(bytes, number()?)?),
        b'>' => Value::Push(take_many(bytes, number()?)?),
        b'%' => Value::Map((0..number()?).map(|_| Some((take(bytes)?, take(bytes)?))).collect::<Option<_>>()?),
        b'=' => {
            let text = take_bytes(bytes, number()?)?;
            let (format, text) = (text.get(..3)?, text.get(3..)?.strip_prefix(b":")?);
            Value::Verbatim(String::from_utf8(format.to_vec()).ok()?, text.to_vec())
        }
        b',' => Value::Double(string()?.parse().ok()?),
        b'#' if text == b"t" => Value::Boolean(true),
        b'#' if text == b"f" => Value::Boolean(false),
        _ => return None,
    })
}

fn take_many(bytes: &mut &[u8], count: i64) -> Option<Vec<Value>> {
    (0..count).map(|_| take(bytes)).collect()
}

fn take_line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    // A lone CR or LF within a line would be taken for its end by some clients.
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some(line)
}

fn take_bytes(bytes: &mut &[u8], len: i64) -> Option<Vec<u8>> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest.strip_prefix(b"\r\n")?;
    Some(taken.to_vec())
}
