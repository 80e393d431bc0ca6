//! The other end of the store's socket: asks the server that a store has what it is and does.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::listen::SOCKET;
use crate::codec::resp::value::{Value, read};
use crate::disk::socket_path;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::store::Store;

/// Replies larger than this come from no server of ours.
const BYTES_MAX: usize = 256 << 20;
/// Whether the work is to end is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The store has no server now.
    Nobody,
    /// It has one, and that has not answered in time.
    Silence,
    /// What it said, or that it ended the connection, makes no sense: why.
    Nonsense(String),
    /// A reply for each request; fewer if the last one is an error, behind which it ended the connection.
    Replies(Vec<Value>),
}

/// Sends requests to the store's server all at once, and waits so long for all the replies.
///
/// # Errors
/// When the socket may not be used, or `job` is to end.
pub fn ask(store: &Store, requests: &[Vec<&[u8]>], at_most: Duration, job: &Job) -> Result<Heard> {
    let path = store.path().join(SOCKET);
    let failed = |source: io::Error| Error::Io { action: "ask the server at", path: path.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let limit = Instant::now() + job.at_most(at_most);
        let asking = tokio::time::timeout_at(limit.into(), exchange(store, requests));
        tokio::pin!(asking);
        loop {
            tokio::select! {
                heard = &mut asking => return match heard {
                    Ok(heard) => heard.map_err(failed),
                    Err(_) => job.check().map(|()| Heard::Silence),
                },
                () = tokio::time::sleep(LOOK_EVERY) => job.check()?,
            }
        }
    })
}

async fn exchange(store: &Store, requests: &[Vec<&[u8]>]) -> io::Result<Heard> {
    let stream = match UnixStream::connect(socket_path(store.root(), SOCKET)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(Heard::Nobody);
        }
        // As many wait for it as may.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Silence),
        Err(error) => return Err(error),
    };
    // What it does not take it has ended for: its last word tells.
    let sent = send(&stream, &encode(requests)).await;
    let (mut replies, mut bytes) = (Vec::new(), Vec::new());
    loop {
        while let Some((value, length)) = match read(&bytes) {
            Ok(found) => found,
            Err(why) => return Ok(Heard::Nonsense(why.to_string())),
        } {
            replies.push(value);
            bytes.drain(..length);
        }
        if replies.len() >= requests.len() {
            return Ok(Heard::Replies(replies));
        }
        if bytes.len() > BYTES_MAX {
            return Ok(Heard::Nonsense("a reply without end".to_owned()));
        }
        if receive(&stream, &mut bytes).await? > 0 {
            continue;
        }
        return match replies.last() {
            Some(Value::Error(_)) => Ok(Heard::Replies(replies)),
            _ => sent.map(|()| Heard::Nonsense("it ended the connection".to_owned())),
        };
    }
}

async fn send(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends what comes; says how much, 0 at the end.
async fn receive(stream: &UnixStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            Err(error) => return Err(error),
        }
    }
}

fn encode(requests: &[Vec<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for word in request {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}
