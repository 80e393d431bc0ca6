//! What a server does for clients that redis-benchmark cannot play: `cargo bench --bench wire -- PORT ROW [SECONDS]` prints
//! one figure for whatever speaks the Redis protocol on that port of this machine.
//!
//! Rows: `fill COUNT` (adds so many records of 100 bytes to the topic `big`), `xrange`, `xread` (1,000 entries at random places
//! of `big`, 10 connections), `group` (XREADGROUP COUNT 100 and XACK of the 100, 4 connections), `wake` (XADD until a blocked
//! XREAD has it), `pubsub` (deliveries a second to 10 subscribers), `idle COUNT` (holds so many connections until stdin ends).

#![expect(clippy::print_stdout, reason = "its figures")]

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A connection that knows just enough of the protocol to tell where a reply ends.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    fn new(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server on this port");
        stream.set_nodelay(true).expect("a socket");
        Client { stream, buffer: vec![0; 1 << 16], filled: 0 }
    }

    fn send(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).expect("the server reads");
    }

    /// Hands the next reply to `each`, as the bytes it is.
    fn read<R>(&mut self, each: impl FnOnce(&[u8]) -> R) -> R {
        loop {
            if let Some(end) = end_of(&self.buffer[..self.filled], 0) {
                let result = each(&self.buffer[..end]);
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                return result;
            }
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            let n = self.stream.read(&mut self.buffer[self.filled..]).expect("a reply");
            assert!(n > 0, "the server closed the connection");
            self.filled += n;
        }
    }

    fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.send(words);
        self.read(<[u8]>::to_vec)
    }
}

/// Where the reply that begins at `at` ends.
fn end_of(bytes: &[u8], at: usize) -> Option<usize> {
    let line = at + memchr::memchr(b'\r', bytes.get(at..)?)?;
    let number = || std::str::from_utf8(&bytes[at + 1..line]).ok()?.parse::<i64>().ok();
    let after = line + 2;
    match bytes[at] {
        b'$' => match number()? {
            -1 => Some(after),
            length => Some(after + length as usize + 2),
        },
        b'*' | b'>' => {
            let mut next = after;
            for _ in 0..number()?.max(0) {
                next = end_of(bytes, next)?;
            }
            Some(next)
        }
        _ => Some(after),
    }
    .filter(|end| *end <= bytes.len())
}

/// The IDs in a reply: all words that look like one.
fn ids(reply: &[u8]) -> Vec<Vec<u8>> {
    let is_id = |word: &&[u8]| word.len() > 14 && word.contains(&b'-') && word.iter().all(|b| b.is_ascii_digit() || *b == b'-');
    reply.split(|b| *b == b'\r' || *b == b'\n').filter(is_id).map(<[u8]>::to_vec).collect()
}

const VALUE: [u8; 100] = [b'x'; 100];

fn fill(port: u16, topic: &[u8], count: u64) {
    let mut client = Client::new(port);
    const AT_ONCE: u64 = 512;
    for _ in 0..count / AT_ONCE {
        for _ in 0..AT_ONCE {
            client.send(&[b"XADD", topic, b"*", b"f", &VALUE]);
        }
        for _ in 0..AT_ONCE {
            client.read(|_| ());
        }
    }
}

/// Runs `work` on so many connections for a while; its results are added up.
fn for_a_while(port: u16, connections: usize, seconds: f64, work: impl Fn(usize, &mut Client) -> u64 + Sync) -> f64 {
    let (total, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Barrier::new(connections + 1);
    let mut elapsed = Duration::ZERO;
    std::thread::scope(|scope| {
        for index in 0..connections {
            let (total, over, start, work) = (&total, &over, &start, &work);
            scope.spawn(move || {
                let mut client = Client::new(port);
                start.wait();
                while !over.load(Ordering::Relaxed) {
                    total.fetch_add(work(index, &mut client), Ordering::Relaxed);
                }
            });
        }
        start.wait();
        let began = Instant::now();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        over.store(true, Ordering::Relaxed);
        elapsed = began.elapsed();
    });
    total.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64()
}

fn ranges(port: u16, seconds: f64, is_xread: bool) {
    let mut client = Client::new(port);
    let ms = |reply: Vec<u8>| -> u64 {
        let id = ids(&reply).remove(0);
        std::str::from_utf8(&id).expect("digits").split('-').next().expect("ms").parse().expect("a number")
    };
    let first = ms(client.ask(&[b"XRANGE", b"big", b"-", b"+", b"COUNT", b"1"]));
    let last = ms(client.ask(&[b"XREVRANGE", b"big", b"+", b"-", b"COUNT", b"1"]));
    let seed = AtomicU64::new(1);
    let rate = for_a_while(port, 10, seconds, |_, client| {
        let random = seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_mul(0xD134_2543_DE82_EF95) >> 16;
        let id = (first + random % ((last - first) * 98 / 100).max(1)).to_string();
        if is_xread {
            client.send(&[b"XREAD", b"COUNT", b"1000", b"STREAMS", b"big", id.as_bytes()]);
        } else {
            client.send(&[b"XRANGE", b"big", id.as_bytes(), b"+", b"COUNT", b"1000"]);
        }
        client.read(|reply| assert!(reply.len() > 100_000, "1,000 entries"));
        1
    });
    println!("{rate:.0} requests/s");
}

fn group(port: u16, seconds: f64) {
    let mut client = Client::new(port);
    client.ask(&[b"DEL", b"work"]);
    fill(port, b"work", 2_000_000);
    client.ask(&[b"XGROUP", b"CREATE", b"work", b"g", b"0"]);
    let rate = for_a_while(port, 4, seconds, |index, client| {
        let name = format!("c{index}");
        client.send(&[b"XREADGROUP", b"GROUP", b"g", name.as_bytes(), b"COUNT", b"100", b"STREAMS", b"work", b">"]);
        let got = client.read(ids);
        if got.is_empty() {
            return 0;
        }
        let mut words: Vec<&[u8]> = vec![b"XACK", b"work", b"g"];
        words.extend(got.iter().map(|id| &id[..]));
        client.send(&words);
        client.read(|reply| assert_eq!(reply, format!(":{}\r\n", got.len()).as_bytes()));
        got.len() as u64
    });
    println!("{rate:.0} records/s");
}

fn wake(port: u16, count: usize) {
    let (mut writer, mut reader) = (Client::new(port), Client::new(port));
    writer.ask(&[b"XADD", b"woken", b"*", b"f", b"0"]);
    let mut times: Vec<u64> = Vec::new();
    let asleep = Barrier::new(2);
    std::thread::scope(|scope| {
        let asleep = &asleep;
        let reading = scope.spawn(move || {
            let mut at = Vec::new();
            for _ in 0..count {
                reader.send(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"woken", b"$"]);
                asleep.wait();
                reader.read(|_| at.push(Instant::now()));
            }
            at
        });
        let mut sent = Vec::new();
        for _ in 0..count {
            asleep.wait();
            // Until it is asleep in the server: nothing tells, and being early spoils a figure, not a test.
            std::thread::sleep(Duration::from_millis(1));
            sent.push(Instant::now());
            writer.ask(&[b"XADD", b"woken", b"*", b"f", b"1"]);
        }
        let got = reading.join().expect("it reads");
        times = sent.iter().zip(got).map(|(sent, got)| (got - *sent).as_nanos() as u64 / 1000).collect();
    });
    times.sort_unstable();
    println!("p50 {} us, p99 {} us", times[count / 2], times[count * 99 / 100]);
}

fn pubsub(port: u16, seconds: f64) {
    let (got, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            let (got, over) = (&got, &over);
            scope.spawn(move || {
                let mut client = Client::new(port);
                client.ask(&[b"SUBSCRIBE", b"channel"]);
                while !over.load(Ordering::Relaxed) {
                    client.read(|_| got.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        let mut client = Client::new(port);
        while client.ask(&[b"PUBLISH", b"channel", &VALUE]) != b":10\r\n" {}
        let (began, before) = (Instant::now(), got.load(Ordering::Relaxed));
        while began.elapsed().as_secs_f64() < seconds {
            for _ in 0..16 {
                client.send(&[b"PUBLISH", b"channel", &VALUE]);
            }
            for _ in 0..16 {
                client.read(|_| ());
            }
        }
        println!("{:.0} deliveries/s", (got.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64());
        over.store(true, Ordering::Relaxed);
        client.ask(&[b"PUBLISH", b"channel", &VALUE]);
    });
}

fn idle(port: u16, count: usize) {
    let clients: Vec<Client> = (0..count).map(|_| Client::new(port)).collect();
    println!("{} connections", clients.len());
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [port, row, rest @ ..] = &words[..] else {
        println!("wire: give a port and a row, as `cargo bench --bench wire -- 7379 xrange`");
        return;
    };
    let port: u16 = port.parse().expect("a port");
    let number = |default: f64| rest.first().map_or(default, |word| word.parse().expect("a number"));
    match row.as_str() {
        "fill" => fill(port, b"big", number(2_000_000.0) as u64),
        "xrange" => ranges(port, number(3.0), false),
        "xread" => ranges(port, number(3.0), true),
        "group" => group(port, number(2.0)),
        "wake" => wake(port, number(2000.0) as usize),
        "pubsub" => pubsub(port, number(3.0)),
        "idle" => idle(port, number(10_000.0) as usize),
        other => panic!("there is no row '{other}'"),
    }
}
