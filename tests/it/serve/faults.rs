//! Bytes that are no requests, clients that do not read, clients in crowds: the server answers others
//! throughout, and takes no more memory than it was told it may.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Client, Server, Value, encode};
use crate::rig::{Seed, wait_until};
use crate::support::Store;

/// Everything that comes until the server closes the connection.
#[track_caller]
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 65_536];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("not closed: {error}, after {}", all.escape_ascii()),
        }
    }
}

/// Sends it; the server may have closed the connection before all of it was sent.
fn put(mut stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

#[track_caller]
fn answers(server: &Server) {
    assert_eq!(server.client().say("PING").line(), "+PONG");
}

/// Fills a topic with records of 1,000 bytes.
fn fill(store: &Store, topic: &str, records: usize) {
    store.ok(&["topic", "create", topic, "durability=none"]);
    let lines = format!("{}\n", "x".repeat(1000)).repeat(records);
    store.ok_with(&["publish", topic], lines.as_bytes());
}

#[test]
fn what_is_no_request_is_refused_by_name_and_the_connection_closed() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let count = "-ERR Protocol error: invalid multibulk length\r\n";
    let length = "-ERR Protocol error: invalid bulk length\r\n";
    let long_inline = vec![b'x'; 70_000];
    let long_count = [&b"*"[..], &[b'1'; 70_000]].concat();
    let long_length = [&b"*1\r\n$"[..], &[b'1'; 70_000]].concat();
    let nested = b"*1\r\n".repeat(10_000);
    let table: &[(&[u8], &str)] = &[
        (b"*x\r\n", count),
        (b"*2147483648\r\n", count),
        (b"*9223372036854775808\r\n", count),
        (b"*99999999999999999999999999999999\r\n", count),
        (b"*1e3\r\n", count),
        (b"*+\r\n", count),
        (b"*1\r\n$x\r\n", length),
        (b"*1\r\n$-1\r\n", length),
        (b"*1\r\n$-9223372036854775808\r\n", length),
        (b"*1\r\n$536870913\r\n", length),
        (b"*1\r\n$18446744073709551616\r\n", length),
        (b"*1\r\n$\r\n", length),
        (b"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\nx\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (&nested, "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*1\r\n\0\r\n", "-ERR Protocol error: expected '$', got '\0'\r\n"),
        (b"PING \"x\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"PING 'x'y\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (&long_inline, "-ERR Protocol error: too big inline request\r\n"),
        (&long_count, "-ERR Protocol error: too big mbulk count string\r\n"),
        (&long_length, "-ERR Protocol error: too big bulk count string\r\n"),
    ];
    for (bytes, error) in table {
        let shown = bytes[..bytes.len().min(60)].escape_ascii().to_string();
        let stream = server.socket();
        // What was whole before it is answered.
        put(&stream, &[b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", *bytes].concat());
        let said = String::from_utf8_lossy(&rest(&stream)).into_owned();
        assert_eq!(said, format!("$2\r\nhi\r\n{error}"), "{shown}");
        answers(&server);
    }
    // Nothing to do, and nothing wrong.
    let mut client = server.client();
    client.send_bytes(b"*0\r\n*-1\r\n\r\n\r\n*-5\r\n   \r\nPING\r\n");
    assert_eq!(client.read().line(), "+PONG");
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn a_request_that_is_cut_off_does_nothing_and_one_in_pieces_does_all() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let request = encode(&["XADD", "cut", "*", "field", "a value\r\nof two lines"]);
    for length in 0..request.len() {
        let stream = server.socket();
        put(&stream, &request[..length]);
        stream.shutdown(Shutdown::Write).expect("a socket");
        assert_eq!(rest(&stream), b"", "cut at {length}");
    }
    let mut client = server.client();
    assert_eq!(client.say("XLEN cut").line(), ":0");
    for at in 0..=request.len() {
        let (first, second) = request.split_at(at);
        client.send_bytes(first);
        // Another request on another connection in between: the first part has been read by then, mostly.
        answers(&server);
        client.send_bytes(second);
        assert!(matches!(client.read(), Value::Bulk(_)), "cut at {at}");
    }
    assert_eq!(client.say("XLEN cut").line(), format!(":{}", request.len() + 1));

    let several = [&request[..], b"PING\r\n", &request].concat();
    for byte in &several {
        client.send_bytes(&[*byte]);
    }
    let replies: Vec<Value> = (0..3).map(|_| client.read()).collect();
    assert!(matches!(replies[0], Value::Bulk(_)) && matches!(replies[2], Value::Bulk(_)));
    assert_eq!(replies[1].line(), "+PONG");
    assert_eq!(client.say("XLEN cut").line(), format!(":{}", request.len() + 3));
}

#[test]
fn random_bytes_are_answered_with_something_or_nothing_and_never_with_the_end() {
    let mut seed = Seed::new();
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let words: [&[u8]; 16] = [
        b"*3\r\n",
        b"$4\r\n",
        b"XADD",
        b"\r\n",
        b"XLEN k\r\n",
        b"*1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"-",
        b"+",
        b"XRANGE",
        b" ",
        b"\"",
        b"\0",
        b"*",
        b"9",
    ];
    for round in 0..300 {
        let stream = server.socket();
        let mut bytes = Vec::new();
        for _ in 0..1 + seed.below(60) {
            match seed.below(3) {
                0 => bytes.extend((0..seed.below(40)).map(|_| seed.below(256) as u8)),
                _ => bytes.extend_from_slice(words[seed.below(16) as usize]),
            }
        }
        put(&stream, &bytes);
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Write);
        rest(&stream);
        if round % 20 == 0 {
            answers(&server);
        }
    }
    answers(&server);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn what_is_announced_and_not_sent_takes_no_memory() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    answers(&server);
    let before = server.status("RssAnon");
    let streams: Vec<TcpStream> = (0..200)
        .map(|nth| {
            let stream = server.socket();
            let announced: &[u8] =
                if nth % 2 == 0 { b"*2\r\n$4\r\nECHO\r\n$536870912\r\nx" } else { b"*2147483647\r\n$4\r\nXADD\r\n" };
            put(&stream, announced);
            stream
        })
        .collect();
    // These were read before: connections are accepted and read in order.
    answers(&server);
    answers(&server);
    let grown = server.status("RssAnon").saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    drop(streams);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn a_client_that_asks_and_does_not_read_is_answered_no_further() {
    let store = Store::new();
    fill(&store, "big", 4_000);
    let server = Server::start(&store, &["--idle-timeout", "2s"]);
    assert_eq!(server.client().say("XLEN big").line(), ":4000");
    answers(&server);
    let before = server.status("VmHWM");
    // Requests of 50 bytes for 1 MB each: a read of 64 KiB is worth more than 1 GB.
    let request = encode(&["XRANGE", "big", "-", "+", "COUNT", "1000"]);
    let stream = server.socket();
    put(&stream, &request.repeat(2_000));
    for _ in 0..100 {
        answers(&server);
    }
    let grown = server.status("VmHWM").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more at the worst");
    // It says nothing any more, and so idles.
    let files = server.files();
    wait_until("it is closed", || server.files() < files);
    drop(stream);
}

#[test]
fn a_reply_beyond_the_output_buffer_closes_the_connection() {
    let store = Store::new();
    fill(&store, "big", 40_000);
    let server = Server::start(&store, &["--output-buffer", "4MiB"]);
    let mut others = server.client();
    let before = server.status("VmHWM");
    for request in ["XRANGE big - +", "XREVRANGE big + -", "XREAD STREAMS big big big 0 0 0", "XREAD BLOCK 0 STREAMS big 0"] {
        let mut reader = server.client();
        reader.send(&request.split(' ').collect::<Vec<_>>());
        assert_eq!(reader.try_read_whole(), None, "{request}");
        assert_eq!(others.say("PING").line(), "+PONG");
    }
    assert_eq!(others.say("XRANGE big - + COUNT 3000").array().len(), 3000);
    let grown = server.status("VmHWM").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more at the worst");
}

#[test]
fn who_reads_may_ask_for_far_more_at_once_than_the_bound() {
    let store = Store::new();
    fill(&store, "big", 2_000);
    let server = Server::start(&store, &["--output-buffer", "4MiB"]);
    let mut client = server.client();
    let request = encode(&["XRANGE", "big", "-", "+", "COUNT", "1000"]);
    client.send_bytes(&request.repeat(100));
    for nth in 0..100 {
        assert_eq!(client.read().array().len(), 1000, "reply {nth}");
    }
    // Also behind replies that wait for the disk.
    let added = encode(&["XADD", "small", "*", "a", "b"]);
    client.send_bytes(&[&added[..], &request.repeat(20)].concat());
    assert!(matches!(client.read(), Value::Bulk(_)));
    for nth in 0..20 {
        assert_eq!(client.read().array().len(), 1000, "reply {nth}");
    }
    assert_eq!(client.say("PING").line(), "+PONG");
    // And by somebody who has said all that he will say, and begins to read then.
    let stream = server.socket();
    put(&stream, &[&request.repeat(20)[..], b"PING\r\n*1\r\n$4\r\nPI"].concat());
    stream.shutdown(Shutdown::Write).expect("a socket");
    let said = rest(&stream);
    assert!(said.len() > 20_000_000 && said.ends_with(b"\r\n+PONG\r\n"), "{} bytes", said.len());
}

#[test]
fn a_request_beyond_the_query_buffer_closes_the_connection() {
    let store = Store::new();
    let server = Server::start(&store, &["--query-buffer", "1MiB"]);
    let mut client = server.client();
    let fits = vec![b'x'; 1_000_000];
    assert_eq!(client.ask(&[&b"ECHO"[..], &fits]), Value::Bulk(fits));
    let large = vec![b'x'; 2 << 20];
    let stream = server.socket();
    put(&stream, &encode(&[&b"ECHO"[..], &large]));
    let said = rest(&stream);
    assert!(said.starts_with(b"-ERR Protocol error") || said.is_empty(), "{}", said.escape_ascii());
    // What a client sends while it waits is kept up to the same bound.
    let stream = server.socket();
    put(&stream, b"XREAD BLOCK 0 STREAMS none 0\r\n");
    put(&stream, &b"PING\r\n".repeat(400_000));
    let said = rest(&stream);
    assert!(!said.windows(4).any(|some| some == b"PONG"), "{}", said[..said.len().min(99)].escape_ascii());
    assert_eq!(client.say("PING").line(), "+PONG");
    assert!(server.status("VmHWM") < 100 << 10);
}

#[test]
fn slow_readers_cost_others_nothing_but_their_bound() {
    const READERS: usize = 200;
    let store = Store::new();
    fill(&store, "big", 3_000);
    let server = Server::start(&store, &[]);
    let request = encode(&["XREAD", "COUNT", "500", "STREAMS", "big", "0"]).repeat(20);
    let readers: Vec<TcpStream> = (0..READERS)
        .map(|_| {
            let stream = server.socket();
            put(&stream, &request);
            stream
        })
        .collect();
    let mut publisher = server.client();
    for nth in 0..500 {
        assert!(matches!(publisher.say(&format!("XADD t * n {nth}")), Value::Bulk(_)));
    }
    assert_eq!(publisher.say("XLEN t").line(), ":500");
    let used = server.status("VmHWM");
    assert!(used < (64 << 10) + READERS as u64 * (2 << 10), "{used} KiB");
    drop(readers);
    wait_until("they have gone", || server.files() < READERS);
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn clients_come_and_go_and_leave_nothing() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    answers(&server);
    for _ in 0..200 {
        drop(server.socket());
    }
    answers(&server);
    let (files, memory) = (server.files(), server.status("RssAnon"));
    for nth in 0..5_000 {
        let stream = server.socket();
        match nth % 4 {
            0 => {}
            1 => put(&stream, b"PING\r\n"),
            2 => put(&stream, b"*1\r\n$4\r\nPI"),
            _ => put(&stream, b"XREAD BLOCK 0 STREAMS none 0\r\n"),
        }
    }
    wait_until("all have gone", || server.files() <= files);
    let grown = server.status("RssAnon").saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more");
    answers(&server);
}

#[test]
fn clients_that_vanish_while_they_wait_leave_no_waiter() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    // While anybody waits for a topic that is not there, it is looked for 50 times a second.
    let wakes = || {
        let count = || server.status("voluntary_ctxt_switches");
        let before = count();
        std::thread::sleep(Duration::from_millis(500));
        count() - before
    };
    let mut waiting: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for client in &mut waiting {
        // The first reply says that the second request has begun to wait.
        client.send_bytes(b"PING\r\nXREAD BLOCK 0 STREAMS none other 0 0\r\n");
        assert_eq!(client.read().line(), "+PONG");
    }
    assert!(wakes() >= 10, "they are waited for");
    drop(waiting);
    wait_until("nobody is looked for any more", || wakes() < 10);
    let mut client = server.client();
    assert!(matches!(client.say("XADD none * a b"), Value::Bulk(_)));
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
}

#[test]
fn beyond_the_most_clients_one_is_told_so_and_closed() {
    let store = Store::new();
    let server = Server::start(&store, &["--max-clients", "3"]);
    let mut three: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut three {
        assert_eq!(client.say("PING").line(), "+PONG");
    }
    assert_eq!(rest(&server.socket()), b"-ERR max number of clients reached\r\n");
    three.pop();
    wait_until("there is room again", || {
        let mut fourth = server.client();
        fourth.send_bytes(b"PING\r\n");
        fourth.try_read().is_some_and(|value| value.line() == "+PONG")
    });
}

#[test]
fn who_says_nothing_is_closed_after_the_idle_timeout_and_who_waits_is_not() {
    let store = Store::new();
    let server = Server::start(&store, &["--idle-timeout", "1s"]);
    let mut waiting = server.client();
    waiting.send_bytes(b"PING\r\nXREAD BLOCK 0 STREAMS t 0\r\n");
    assert_eq!(waiting.read().line(), "+PONG");
    let began = Instant::now();
    assert_eq!(rest(&server.socket()), b"");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(server.client().say("XADD t 1-0 a b").line(), "1-0");
    assert_eq!(waiting.read().line(), "[[t [[1-0 [a b]]]]]");
}

#[test]
fn a_clock_that_goes_back_does_not_turn_ids_back() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    // As if the clock had been in the year 2255 before.
    assert_eq!(client.say("XADD t 9000000000000-5 a b").line(), "9000000000000-5");
    assert_eq!(client.say("XADD t * a b").line(), "9000000000000-6");
    client.send_bytes(&encode(&["XADD", "t", "*", "a", "b"]).repeat(3));
    let ids: Vec<String> = (0..3).map(|_| client.read().line()).collect();
    assert_eq!(ids, ["9000000000000-7", "9000000000000-8", "9000000000000-9"]);
    store.ok(&["publish", "t", "x"]);
    assert_eq!(client.say("XADD t * a b").line(), "9000000000000-11");
    assert_eq!(
        client.say("XADD last 18446744073709551615-18446744073709551615 a b").line(),
        "18446744073709551615-18446744073709551615"
    );
    assert_eq!(
        client.say("XADD last * a b").line(),
        "-ERR The stream has exhausted the last possible ID, unable to add more items"
    );
    assert_eq!(client.say("XLEN last").line(), ":1");
}

#[test]
fn keys_that_look_like_paths_are_names() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let keys: Vec<Vec<u8>> = [
        &b"../x"[..],
        b"..",
        b".",
        b"/",
        b"/etc/passwd",
        b"a/b",
        b"./a",
        b"..\0",
        b"\0",
        b"%2e%2e",
        b"%",
        b"~",
        b"-",
        b".new-x",
        b".trash-x",
        b"con\r\nfig",
        b"\xff\xfe",
        b"A",
        b"a",
        b"topic.toml",
        b"head",
        b"*",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain([vec![0xff; 512], vec![b'/'; 512], vec![b'.'; 512]])
    .collect();
    for (nth, key) in keys.iter().enumerate() {
        let nth = nth.to_string();
        let added = client.ask(&[b"XADD", &key[..], b"1-0", b"n", nth.as_bytes()]);
        assert_eq!(added.line(), "1-0", "{}", key.escape_ascii());
    }
    drop(client);
    drop(server);
    // Told apart after a restart too, and all within the store.
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for (nth, key) in keys.iter().enumerate() {
        assert_eq!(client.ask(&[b"XRANGE", &key[..], b"-", b"+"]).line(), format!("[[1-0 [n {nth}]]]"), "{}", key.escape_ascii());
    }
    assert_eq!(std::fs::read_dir(store.path().join("topics")).expect("there").count(), keys.len());
    let mut beside: Vec<_> =
        std::fs::read_dir(store.beside()).expect("there").map(|entry| entry.expect("there").file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["store"]);
    for long in [vec![0xff; 513], vec![b'a'; 100_000]] {
        let refused = client.ask(&[b"XADD", &long[..], b"*", b"a", b"b"]);
        assert_eq!(refused.line(), "-ERR a topic's name has 1 to 512 bytes");
        assert_eq!(client.ask(&[b"XLEN", &long[..]]).line(), ":0");
    }
    assert_eq!(client.ask(&["XADD", "", "*", "a", "b"]).line(), "-ERR a topic's name has 1 to 512 bytes");
}
