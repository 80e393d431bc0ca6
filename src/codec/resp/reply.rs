//! Replies, in RESP2 or RESP3.
//!
//! ```text
//!                RESP2                RESP3
//!   simple       +OK                  +OK
//!   error        -ERR ...             -ERR ...
//!   integer      :7                   :7
//!   bulk         $2 hi                $2 hi
//!   null         $-1                  _
//!   null array   *-1                  _
//!   array        *n                   *n
//!   map          *2n                  %n
//!   set          *n                   ~n
//!   push         *n                   >n
//!   verbatim     $2 hi                =6 txt:hi
//!   double       $3 1.5               ,1.5
//!   boolean      :1                   #t
//! ```

use std::fmt::Display;
use std::io::Write;

use crate::ids::RecordId;

/// Which form of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Every connection begins with this one.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// What is to be sent on one connection. A reply is written piece by piece: the head of an array,
/// then as many elements as it says.
#[derive(Debug, Default)]
pub struct Reply {
    out: Vec<u8>,
    protocol: Protocol,
    /// `None` = no bound.
    bytes_max: Option<usize>,
    is_cut_short: bool,
}

impl Reply {
    /// Nothing to send yet.
    #[must_use]
    pub fn new(protocol: Protocol) -> Reply {
        Reply { protocol, ..Reply::default() }
    }

    /// The form in which the next reply is written.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the form of what is written from now on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes are to be sent. Kept before a reply is begun, it is what [`truncate`](Reply::truncate)
    /// takes the reply back with, and up to where the replies before it may be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Sets a bound for who writes replies of any length, and asks [`is_full`](Reply::is_full) meanwhile.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = Some(bytes_max);
    }

    /// Whether there is more to be sent than the bound allows. Who asks and is told so stops in the middle
    /// of a reply: nothing of it can be sent any more.
    #[must_use]
    pub fn is_full(&mut self) -> bool {
        self.is_cut_short |= self.bytes_max.is_some_and(|max| self.out.len() > max);
        self.is_cut_short
    }

    /// Whether somebody was told that it is full.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// Bytes that it takes without growing.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.out.capacity()
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What is to be sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Takes back what was written since [`len`](Reply::len) was `len`.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Forgets the first `count` bytes, which have been sent.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.out.drain(..count);
    }

    /// All that is to be sent; nothing is left.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Cuts off what was written from `at` on, and hands it out.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Vec<u8> {
        self.out.split_off(at)
    }

    /// Trades what was written for what another has.
    pub fn swap(&mut self, other: &mut Reply) {
        std::mem::swap(&mut self.out, &mut other.out);
    }

    /// Puts the beginning of an array of `len` elements before what was written from `at` on: for those
    /// who know how many there are only once they have written them.
    pub fn begin_array_at(&mut self, at: usize, len: usize) {
        self.begin_at(at, |reply| reply.array(len));
    }

    /// The same for a map of `len` pairs.
    pub fn begin_map_at(&mut self, at: usize, len: usize) {
        self.begin_at(at, |reply| reply.map(len));
    }

    fn begin_at(&mut self, at: usize, head: impl FnOnce(&mut Reply)) {
        let end = self.out.len();
        head(self);
        let bytes = self.out.len() - end;
        self.out[at..].rotate_right(bytes);
    }

    /// Appends a reply that was written elsewhere, in the same form.
    pub fn append(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }

    /// A status such as `OK`. One line: CR and LF become blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// The status `OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error: its code and its sentence, such as `ERR syntax error`. One line: CR and LF become
    /// blanks, so that no client's argument quoted in it can forge a reply.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// A number.
    pub fn integer(&mut self, value: i64) {
        self.number(b':', value);
    }

    /// A count. Clients read 63 bits; what is above them is written all the same.
    pub fn unsigned(&mut self, value: u64) {
        self.number(b':', value);
    }

    /// Bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// What `value` displays as, as bytes.
    pub fn bulk_display(&mut self, value: impl Display) {
        let start = self.out.len();
        write!(self.out, "{value}").expect("writing to memory never fails");
        // The length comes first and is known last.
        let mut head = Reply::default();
        head.head(b'$', self.out.len() - start);
        self.out.splice(start..start, head.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An ID, as the bytes `ms-seq`.
    pub fn id(&mut self, id: RecordId) {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(id.ms), seq.format(id.seq));
        self.head(b'$', ms.len() + 1 + seq.len());
        self.out.extend_from_slice(ms.as_bytes());
        self.out.push(b'-');
        self.out.extend_from_slice(seq.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value, where there might be one.
    pub fn null(&mut self) {
        self.either(b"$-1\r\n", b"_\r\n");
    }

    /// No array, where there might be one. Clients that speak RESP2 tell it from [`null`](Reply::null).
    pub fn null_array(&mut self) {
        self.either(b"*-1\r\n", b"_\r\n");
    }

    /// An array, whose `len` elements follow.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// A map, whose `len` keys follow, each with its value behind it.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', len * 2),
            Protocol::Resp3 => self.head(b'%', len),
        }
    }

    /// A set, whose `len` elements follow.
    pub fn set(&mut self, len: usize) {
        self.head(self.either_mark(b'~'), len);
    }

    /// What no request asked for, such as a message on a channel; its `len` elements follow.
    pub fn push(&mut self, len: usize) {
        self.head(self.either_mark(b'>'), len);
    }

    /// Text for people. `format` is three letters, `txt` or `mkd`, which only RESP3 sends.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        debug_assert_eq!(format.len(), 3);
        self.head(b'=', format.len() + 1 + text.len());
        self.out.extend_from_slice(format.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number that may have a fraction, with as many digits as it takes to read the same one back.
    pub fn double(&mut self, value: f64) {
        let size = value.abs();
        // Not NaN, which RESP3 wants in small letters, and no hundreds of zeros.
        let text = if value.is_nan() {
            "nan".to_owned()
        } else if size.is_finite() && size != 0.0 && !(1e-5..1e17).contains(&size) {
            format!("{value:e}")
        } else {
            value.to_string()
        };
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Yes or no.
    pub fn boolean(&mut self, value: bool) {
        if value { self.either(b":1\r\n", b"#t\r\n") } else { self.either(b":0\r\n", b"#f\r\n") }
    }

    fn either(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.out.extend_from_slice(if self.protocol == Protocol::Resp2 { resp2 } else { resp3 });
    }

    /// RESP2 has arrays only.
    fn either_mark(&self, resp3: u8) -> u8 {
        if self.protocol == Protocol::Resp2 { b'*' } else { resp3 }
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        self.out.push(mark);
        self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, mark: u8, len: usize) {
        // Most lengths are short.
        if len < 10 { self.out.extend_from_slice(&[mark, b'0' + len as u8, b'\r', b'\n']) } else { self.number(mark, len) }
    }

    fn number(&mut self, mark: u8, value: impl itoa::Integer) {
        self.out.push(mark);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::resp::testing::{Value, decode, decode_all};
    use proptest::prelude::*;

    /// What `write` writes, in both forms, read back.
    fn both(write: impl Fn(&mut Reply)) -> (Value, Value) {
        let form = |protocol| {
            let mut reply = Reply::new(protocol);
            write(&mut reply);
            decode(reply.bytes())
        };
        (form(Protocol::Resp2), form(Protocol::Resp3))
    }

    /// What `write` writes where the forms do not differ.
    #[track_caller]
    fn same(write: impl Fn(&mut Reply)) -> Value {
        let (resp2, resp3) = both(write);
        assert_eq!(resp2, resp3);
        resp2
    }

    #[test]
    fn each_form_reads_back() {
        let ints = || vec![Value::Integer(1), Value::Integer(2)];
        let two = |reply: &mut Reply| (1..=2).for_each(|i| reply.integer(i));

        assert_eq!(same(Reply::ok), Value::Simple("OK".to_owned()));
        assert_eq!(same(|r| r.simple("QUEUED")), Value::Simple("QUEUED".to_owned()));
        assert_eq!(same(|r| r.error("ERR syntax error")), Value::Error(b"ERR syntax error".to_vec()));
        assert_eq!(same(|r| r.integer(i64::MIN)), Value::Integer(i64::MIN));
        assert_eq!(same(|r| r.unsigned(i64::MAX as u64)), Value::Integer(i64::MAX));
        assert_eq!(same(|r| r.bulk_display(format_args!("{}ms", 1234))), Value::bulk("1234ms"));
        assert_eq!(same(|r| r.bulk_display("x".repeat(300))), Value::bulk("x".repeat(300)));
        assert_eq!(same(|r| r.array(0)), Value::Array(vec![]));
        assert_eq!(same(|r| (r.array(2), two(r)).1), Value::Array(ints()));

        assert_eq!(both(Reply::null), (Value::NullBulk, Value::Null));
        assert_eq!(both(Reply::null_array), (Value::NullArray, Value::Null));
        let map = Value::Map(vec![(Value::Integer(1), Value::Integer(2))]);
        assert_eq!(both(|r| (r.map(1), two(r)).1), (Value::Array(ints()), map));
        assert_eq!(both(|r| (r.set(2), two(r)).1), (Value::Array(ints()), Value::Set(ints())));
        assert_eq!(both(|r| (r.push(2), two(r)).1), (Value::Array(ints()), Value::Push(ints())));
        let info = Value::Verbatim("txt".to_owned(), b"a:1\r\n".to_vec());
        assert_eq!(both(|r| r.verbatim("txt", b"a:1\r\n")), (Value::bulk("a:1\r\n"), info));
        assert_eq!(both(|r| r.boolean(true)), (Value::Integer(1), Value::Boolean(true)));
        assert_eq!(both(|r| r.boolean(false)), (Value::Integer(0), Value::Boolean(false)));
    }

    #[test]
    fn long_heads_keep_their_count() {
        for len in [9usize, 10, 11, 99, 100, 70_000] {
            assert_eq!(same(|r| r.bulk(&vec![b'x'; len])), Value::bulk(vec![b'x'; len]));
            let ones = |r: &mut Reply| (0..len).for_each(|_| r.integer(1));
            assert_eq!(same(|r| (r.array(len), ones(r)).1), Value::Array(vec![Value::Integer(1); len]));
        }
    }

    #[test]
    fn doubles_are_short_and_read_back() {
        let texts = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in texts {
            let mut reply = Reply::new(Protocol::Resp3);
            reply.double(value);
            assert_eq!(reply.bytes(), format!(",{text}\r\n").as_bytes());
            reply = Reply::new(Protocol::Resp2);
            reply.double(value);
            assert_eq!(decode(reply.bytes()), Value::bulk(text));
        }
    }

    #[test]
    fn no_line_can_be_broken() {
        let mut reply = Reply::default();
        reply.error("ERR a\r\n+OK\r\nb");
        reply.error(b"ERR '\xff'");
        reply.simple("a\nb");
        let expected =
            [Value::Error(b"ERR a  +OK  b".to_vec()), Value::Error(b"ERR '\xff'".to_vec()), Value::Simple("a b".to_owned())];
        assert_eq!(decode_all(reply.bytes()), expected);
    }

    #[test]
    fn a_reply_half_written_is_taken_back_and_one_sent_is_forgotten() {
        let mut reply = Reply::default();
        reply.integer(1);
        let before = reply.len();
        reply.array(3);
        reply.bulk(b"half");
        reply.truncate(before);
        reply.error("ERR no");
        reply.append(b":2\r\n");
        reply.consume(before);
        assert_eq!(reply.bytes(), b"-ERR no\r\n:2\r\n");
        assert_eq!(reply.take(), b"-ERR no\r\n:2\r\n");
        assert!(reply.is_empty());
    }

    #[test]
    fn the_form_changes_between_replies() {
        let mut reply = Reply::default();
        reply.null();
        reply.set_protocol(Protocol::Resp3);
        reply.null();
        assert_eq!((reply.bytes(), reply.protocol()), (&b"$-1\r\n_\r\n"[..], Protocol::Resp3));
    }

    proptest! {
        #[test]
        fn any_value_reads_back(bytes: Vec<u8>, ms: u64, seq: u64, number: i64, double: f64) {
            let id = RecordId { ms, seq };
            prop_assert_eq!(same(|r| r.bulk(&bytes)), Value::bulk(&bytes));
            prop_assert_eq!(same(|r| r.id(id)), Value::bulk(id.to_string()));
            prop_assert_eq!(same(|r| r.integer(number)), Value::Integer(number));
            prop_assert_eq!(both(|r| r.double(double)).1, Value::Double(double));
            prop_assert!(matches!(same(|r| r.error(&bytes)), Value::Error(text) if text.len() == bytes.len()));
        }
    }
}
