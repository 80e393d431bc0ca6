//! A server on a store of its own, and a client that is written from the protocol's documentation.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Store;

/// Longer than anything takes here, on the busiest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// `drave serve`, ready for clients. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    /// Serves `store` on a free port, with these words behind `serve --resp 127.0.0.1:0`.
    #[track_caller]
    pub(crate) fn start(store: &Store, words: &[&str]) -> Server {
        let words = [&["serve", "--resp", "127.0.0.1:0"], words].concat();
        Server::started(store.command(&words).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts"))
    }

    /// Waits until it is ready; its stderr is a pipe.
    #[track_caller]
    pub(crate) fn started(mut child: Child) -> Server {
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let port = loop {
            let mut line = String::new();
            let n = stderr.read_line(&mut line).expect("a line");
            assert!(n > 0, "the server ended: {said}");
            said.push_str(&line);
            if let Some(at) = line.find("127.0.0.1:").filter(|_| line.contains("ready on")) {
                let digits: String = line[at + 10..].chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().expect("a port");
            }
        };
        Server { child, port, stderr }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that speaks RESP2.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client { stream: Box::new(self.socket()), buffer: Vec::new(), at: 0 }
    }

    /// A connection for bytes that are no requests.
    #[track_caller]
    pub(crate) fn socket(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream
    }

    /// What `/proc` says of it: `RssAnon` in KiB, as an example.
    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("there is such a line");
        line.split_whitespace().nth(1).expect("a value").parse().expect("a number")
    }

    /// How many descriptors it has open.
    #[track_caller]
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).expect("a process"), signal).expect("it lives");
    }

    /// A client that speaks RESP3.
    #[track_caller]
    pub(crate) fn client3(&self) -> Client {
        let mut client = self.client();
        assert!(matches!(client.ask(&["HELLO", "3"]), Value::Map(_)));
        client
    }

    /// Sends a signal and waits for the end; the exit status, and what was said on stderr.
    #[track_caller]
    pub(crate) fn end(self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it ends");
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        (status.code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Stream: std::io::Read + std::io::Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    at: usize,
}

impl Client {
    /// By the store's own socket.
    #[track_caller]
    pub(crate) fn of_store(store: &Store) -> Client {
        let stream = UnixStream::connect(store.path().join("drave.sock")).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        Client { stream: Box::new(stream), buffer: Vec::new(), at: 0 }
    }

    /// Sends a request, and returns its reply.
    #[track_caller]
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Value {
        self.send(words);
        self.read()
    }

    /// Sends a request whose words have no blanks in them.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) -> Value {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// Asks until so many clients are blocked.
    #[track_caller]
    pub(crate) fn wait_for_blocked(&mut self, count: usize) {
        let wanted = format!("blocked_clients:{count}\r\n");
        let began = std::time::Instant::now();
        while !self.ask(&["INFO", "clients"]).text().contains(&wanted) {
            assert!(began.elapsed() < LIMIT, "never {count} blocked clients");
        }
    }

    /// Sends a request, and does not wait.
    #[track_caller]
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        let request = encode(words);
        self.send_bytes(&request);
    }

    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The same; `false` = the server is gone.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next reply, or how the connection ended, perhaps in the middle of it.
    #[track_caller]
    fn next(&mut self) -> Result<Value, ErrorKind> {
        loop {
            let mut rest = &self.buffer[self.at..];
            if let Some(value) = take(&mut rest) {
                self.at = self.buffer.len() - rest.len();
                return Ok(value);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let mut more = [0; 65_536];
            match self.stream.read(&mut more) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof),
                Ok(n) => self.buffer.extend_from_slice(&more[..n]),
                // It was stopped, and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(ErrorKind::ConnectionReset),
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// The next reply if it comes whole; `None` = the server is gone, perhaps in the middle of it.
    #[track_caller]
    pub(crate) fn try_read_whole(&mut self) -> Option<Value> {
        self.next().ok()
    }

    /// The next reply.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Value {
        self.try_read().expect("a reply, and not the end")
    }

    /// Whether the server has closed the connection: what is asked is not answered any more.
    #[track_caller]
    pub(crate) fn is_over(&mut self) -> bool {
        self.stream.write_all(b"PING\r\n").is_err() || self.try_read_whole().is_none()
    }

    /// The next reply; `None` = the server has closed the connection.
    #[track_caller]
    pub(crate) fn try_read(&mut self) -> Option<Value> {
        let next = self.next();
        if let Err(ErrorKind::UnexpectedEof) = next {
            assert!(self.buffer.is_empty(), "cut off: {}", self.buffer.escape_ascii());
        }
        next.ok()
    }
}

/// A request as a client sends it.
pub(crate) fn encode<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend(word);
        out.extend(b"\r\n");
    }
    out
}

/// A reply as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    NullBulk,
    NullArray,
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Push(Vec<Value>),
    Set(Vec<Value>),
    Verbatim(String),
    Double(f64),
    Bool(bool),
}

impl Value {
    /// The reply as one line, as in `[1-0 [a b]]`: bulk strings bare, errors with `-`, statuses with `+`, RESP2's nulls as
    /// `nil` and `nil*`, RESP3's as `_`, maps as `{k: v}`, pushes as `>[..]`, sets as `~[..]`.
    pub(crate) fn line(&self) -> String {
        let list = |values: &[Value]| values.iter().map(Value::line).collect::<Vec<_>>().join(" ");
        match self {
            Value::Simple(text) => format!("+{text}"),
            Value::Error(text) => format!("-{text}"),
            Value::Int(number) => format!(":{number}"),
            Value::Bulk(bytes) => bytes.escape_ascii().to_string(),
            Value::NullBulk => "nil".to_owned(),
            Value::NullArray => "nil*".to_owned(),
            Value::Null => "_".to_owned(),
            Value::Array(values) => format!("[{}]", list(values)),
            Value::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| format!("{}: {}", key.line(), value.line()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
            Value::Push(values) => format!(">[{}]", list(values)),
            Value::Set(values) => format!("~[{}]", list(values)),
            Value::Verbatim(text) => format!("txt:{text}"),
            Value::Double(number) => format!(",{number}"),
            Value::Bool(value) => format!("#{value}"),
        }
    }

    #[track_caller]
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("text"),
            Value::Simple(text) | Value::Verbatim(text) | Value::Error(text) => text.clone(),
            other => panic!("no text: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn array(&self) -> &[Value] {
        match self {
            Value::Array(values) | Value::Push(values) => values,
            other => panic!("no array: {other:?}"),
        }
    }

    /// What stands under a name, in a map or a flat array of names and values.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Value {
        let found = match self {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value.clone()),
            Value::Array(values) => values.chunks(2).find(|pair| pair[0].text() == name).map(|pair| pair[1].clone()),
            other => panic!("no map: {other:?}"),
        };
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

fn take(bytes: &mut &[u8]) -> Option<Value> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[1..end]).unwrap_or_default().to_owned();
    let kind = bytes[0];
    *bytes = &bytes[end + 2..];
    let number = || line.parse::<i64>().unwrap_or_else(|_| panic!("a number: {line}"));
    let elements = |bytes: &mut &[u8], count: i64| (0..count).map(|_| take(bytes)).collect::<Option<Vec<_>>>();
    Some(match kind {
        b'+' => Value::Simple(line),
        b'-' => Value::Error(line),
        b':' => Value::Int(number()),
        b'$' | b'*' if number() < 0 => {
            if kind == b'$' {
                Value::NullBulk
            } else {
                Value::NullArray
            }
        }
        b'$' => Value::Bulk(take_bulk(bytes, number())?),
        b'*' => Value::Array(elements(bytes, number())?),
        b'>' => Value::Push(elements(bytes, number())?),
        b'~' => Value::Set(elements(bytes, number())?),
        b'%' => {
            let flat = elements(bytes, number() * 2)?;
            Value::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        b'=' => Value::Verbatim(String::from_utf8(take_bulk(bytes, number())?.split_off(4)).expect("text")),
        b'_' => Value::Null,
        b',' => Value::Double(line.parse().expect("a number")),
        b'#' => Value::Bool(line == "t"),
        other => panic!("no reply begins with {:?}", other as char),
    })
}

fn take_bulk(bytes: &mut &[u8], length: i64) -> Option<Vec<u8>> {
    let length = usize::try_from(length).expect("a length");
    let bulk = bytes.get(..length)?.to_vec();
    assert_eq!(bytes.get(length..length + 2)?, b"\r\n");
    *bytes = &bytes[length + 2..];
    Some(bulk)
}
