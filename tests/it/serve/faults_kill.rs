//! Servers that are killed and told to end under load, and two servers on one store: what was
//! acknowledged is there, once, in order, and publishers beside them notice nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drave::ids::RecordId;
use rustix::process::Signal;

use super::rig::{Client, Server, Value, encode};
use crate::rig::{Read, Receipt, Seed, read, run_bounded, verify_clean, wait_until};
use crate::support::Store;

const TOPICS: [&str; 3] = ["sync", "async", "other"];

/// A store with a topic of each kind, small segments in them.
fn store() -> Store {
    let store = Store::new();
    store.ok(&["topic", "create", "sync", "segment-bytes=64KiB"]);
    store.ok(&["topic", "create", "async", "segment-bytes=64KiB", "durability=async", "flush-interval=10ms"]);
    store.ok(&["topic", "create", "other", "segment-bytes=64KiB"]);
    store
}

/// What one connection was told: for each of its records, in the order in which it sent them, the
/// topic and the ID.
struct Told {
    name: String,
    acked: Vec<(&'static str, RecordId)>,
}

/// Adds `name-0`, `name-1` ... to the topics in turn, up to `window` of them on their way, until the
/// server goes or `stop` says so.
fn load(stream: TcpStream, name: &str, window: u64, stop: &AtomicBool, acked: &AtomicU64) -> Told {
    let (mut told, mut sent) = (Told { name: name.to_owned(), acked: Vec::new() }, 0);
    let mut writer = stream.try_clone().expect("a socket");
    let mut replies = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        if stopping && told.acked.len() as u64 == sent {
            return told;
        }
        let mut requests = Vec::new();
        while !stopping && sent < told.acked.len() as u64 + window {
            let value = format!("{name}-{sent}");
            requests.extend(encode(&["XADD", TOPICS[sent as usize % 3], "*", "value", &value]));
            sent += 1;
        }
        if writer.write_all(&requests).is_err() {
            // What was answered before is there to be read still.
            sent = u64::MAX;
        }
        // "$15", and the ID behind it. What the end of the server cut off was not said.
        for part in 0..2 {
            line.clear();
            if replies.read_until(b'\n', &mut line).is_err() || !line.ends_with(b"\r\n") {
                return told;
            }
            if part == 0 {
                assert_eq!(line[0], b'$', "{name}: {}", line.escape_ascii());
            }
        }
        let id = std::str::from_utf8(line.trim_ascii_end()).expect("an ID").parse().expect("an ID");
        told.acked.push((TOPICS[told.acked.len() % 3], id));
        acked.fetch_add(1, Ordering::SeqCst);
    }
}

/// A `drave publish` that runs beside the servers.
struct Publisher {
    topic: &'static str,
    receipts: Vec<Receipt>,
}

fn publish(store: &Store, topic: &'static str, stop: &AtomicBool) -> Publisher {
    let mut child = store.start(&["publish", topic, "--receipts"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut receipts = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let lines: String = (0..5).map(|nth| format!("direct-{}\n", receipts.len() + nth)).collect();
        stdin.write_all(lines.as_bytes()).expect("it reads");
        for _ in 0..5 {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("readable");
            receipts.push(Receipt::parse(&line));
        }
    }
    drop(stdin);
    let ended = child.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stderr.is_empty(), "it noticed something: {}", String::from_utf8_lossy(&ended.stderr));
    Publisher { topic, receipts }
}

/// Each record that was acknowledged is there, with its ID, once; and whatever is there of a connection
/// is all that it had sent up to some record, in order.
#[track_caller]
fn check(store: &Store, told: &[Told], publishers: &[Publisher]) {
    let mut topics: BTreeMap<&str, Read> = BTreeMap::new();
    for topic in TOPICS {
        topics.insert(topic, read(store, topic).whole());
        verify_clean(store, topic);
    }
    let mut stored: BTreeMap<(&str, &str), Vec<(u64, RecordId)>> = BTreeMap::new();
    for (topic, read) in &topics {
        for (id, value) in read.records.values() {
            let value = std::str::from_utf8(value).expect("UTF-8");
            let (name, nth) = value.rsplit_once('-').expect("name-number");
            stored.entry((topic, name)).or_default().push((nth.parse().expect("a number"), *id));
        }
    }
    for Told { name, acked } in told {
        for (nth, topic) in TOPICS.iter().enumerate() {
            let there = stored.get(&(*topic, name)).map_or(&[][..], Vec::as_slice);
            let wanted = (0..).map(|index| nth as u64 + 3 * index);
            assert!(there.iter().map(|(nth, _)| *nth).eq(wanted.take(there.len())), "{name} in {topic}: {there:?}");
            let acked: Vec<RecordId> = acked.iter().filter(|(of, _)| of == topic).map(|(_, id)| *id).collect();
            assert!(there.len() >= acked.len(), "{name} in {topic}: {} acknowledged, {} there", acked.len(), there.len());
            assert!(there.iter().map(|(_, id)| *id).take(acked.len()).eq(acked.iter().copied()), "{name} in {topic}: other IDs");
        }
    }
    for Publisher { topic, receipts } in publishers {
        let there = &topics[topic].records;
        let count = there.values().filter(|(_, value)| value.starts_with(b"direct-")).count();
        assert_eq!(count, receipts.len(), "{topic}: the direct publisher's, once each");
        for (nth, receipt) in receipts.iter().enumerate() {
            let (id, value) = &there[&receipt.offset];
            assert_eq!((*id, String::from_utf8_lossy(value).into_owned()), (receipt.id, format!("direct-{nth}")));
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_of_the_server_and_publishers_beside_it_notice_nothing() {
    let mut seed = Seed::new();
    let store = store();
    let (mut told, over) = (Vec::new(), AtomicBool::new(false));
    let publishers = std::thread::scope(|scope| {
        let publishers: Vec<_> = ["sync", "async"].map(|topic| scope.spawn(|| publish(&store, topic, &over))).into();
        for round in 0..12 {
            let server = Server::start(&store, &[]);
            let (acked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
            let enough = 1 + seed.below(3_000);
            let windows = [1, 16, 64, 200];
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|nth| {
                        let (stream, name) = (server.socket(), format!("r{round}c{nth}"));
                        let (acked, stop) = (&acked, &stop);
                        scope.spawn(move || load(stream, &name, windows[nth], stop, acked))
                    })
                    .collect();
                wait_until("records are acknowledged", || acked.load(Ordering::SeqCst) >= enough);
                server.end(Signal::KILL);
                told.extend(threads.into_iter().map(|thread| thread.join().expect("no failure")));
            });
        }
        over.store(true, Ordering::SeqCst);
        publishers.into_iter().map(|thread| thread.join().expect("no failure")).collect::<Vec<_>>()
    });
    // One more, who takes in or cuts off what the last kill left.
    let server = Server::start(&store, &[]);
    for topic in TOPICS {
        assert!(matches!(server.client().ask(&["XADD", topic, "*", "value", "last-0"]), Value::Bulk(_)));
    }
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
    assert!(publishers.iter().all(|publisher| !publisher.receipts.is_empty()));
    check(&store, &told, &publishers);
}

#[test]
fn sigterm_under_load_ends_it_in_time_with_every_acknowledged_record_stored() {
    let store = store();
    let server = Server::start(&store, &[]);
    let (acked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let told: Vec<Told> = std::thread::scope(|scope| {
        let threads: Vec<_> = [1, 16, 64, 200]
            .map(|window| {
                let stream = server.socket();
                let (acked, stop) = (&acked, &stop);
                scope.spawn(move || load(stream, &format!("w{window}"), window, stop, acked))
            })
            .into();
        wait_until("records are acknowledged", || acked.load(Ordering::SeqCst) >= 2_000);
        let began = Instant::now();
        assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        threads.into_iter().map(|thread| thread.join().expect("no failure")).collect()
    });
    assert!(!store.path().join("drave.sock").exists(), "it has removed its socket");
    check(&store, &told, &[]);
}

#[test]
fn clients_that_wait_or_do_not_read_do_not_keep_it_from_ending() {
    let store = Store::new();
    store.ok(&["topic", "create", "big", "durability=none"]);
    store.ok_with(&["publish", "big"], format!("{}\n", "x".repeat(1000)).repeat(4_000).as_bytes());
    for second in [false, true] {
        let server = Server::start(&store, &[]);
        let mut waiting: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for client in &mut waiting {
            client.send_bytes(b"PING\r\nXREAD BLOCK 0 STREAMS none 0\r\n");
            assert_eq!(client.read().line(), "+PONG");
        }
        let mut silent = server.client();
        silent.send_bytes(&encode(&["XRANGE", "big", "-", "+"]).repeat(50));
        // Its first reply has begun to come: it is being answered.
        let mut idle = server.client();
        assert_eq!(idle.say("PING").line(), "+PONG");
        let began = Instant::now();
        server.signal(Signal::TERM);
        if second {
            wait_until("it is ending", || idle.is_over());
            server.signal(Signal::TERM);
            let (status, _) = server.wait();
            assert_ne!(status, Some(0));
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        } else {
            let (status, said) = server.wait();
            assert_eq!(status, Some(0), "{said}");
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            assert!(said.contains("did not take their last replies"), "{said}");
        }
        for mut client in waiting {
            assert_eq!(client.try_read_whole(), None, "its connection is closed, and nothing was said");
        }
    }
}

#[test]
fn two_servers_on_one_store_count_as_one() {
    let store = store();
    let first = Server::start(&store, &[]);
    let second = Server::start(&store, &[]);
    // A client that waits on one wakes for what is added on the other.
    for (here, there, id) in [(&first, &second, "0"), (&second, &first, "$")] {
        let mut reader = here.client();
        reader.send_bytes(format!("PING\r\nXREAD BLOCK 0 STREAMS wake {id}\r\n").as_bytes());
        assert_eq!(reader.read().line(), "+PONG");
        let added = there.client().say("XADD wake * a b").line();
        assert_eq!(reader.read().line(), format!("[[wake [[{added} [a b]]]]]"));
    }
    let (acked, stop, over) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let (told, publishers) = std::thread::scope(|scope| {
        let publishers: Vec<_> = ["sync", "async"].map(|topic| scope.spawn(|| publish(&store, topic, &over))).into();
        let of = |server: &Server, name: &'static str| {
            let stream = server.socket();
            let (acked, stop) = (&acked, &stop);
            scope.spawn(move || load(stream, name, 32, stop, acked))
        };
        let threads = [of(&first, "a"), of(&second, "b"), of(&first, "c"), of(&second, "d")];
        wait_until("both have acknowledged much", || acked.load(Ordering::SeqCst) >= 3_000);
        first.end(Signal::KILL);
        let before = acked.load(Ordering::SeqCst);
        wait_until("the other one goes on", || acked.load(Ordering::SeqCst) >= before + 1_000);
        stop.store(true, Ordering::SeqCst);
        let told: Vec<Told> = threads.into_iter().map(|thread| thread.join().expect("no failure")).collect();
        over.store(true, Ordering::SeqCst);
        (told, publishers.into_iter().map(|thread| thread.join().expect("no failure")).collect::<Vec<_>>())
    });
    assert!(told.iter().all(|told| !told.acked.is_empty()));
    check(&store, &told, &publishers);
    assert_eq!(second.end(Signal::TERM).0, Some(0));
}

/// The line with which a server says that it is ready.
fn ready(stderr: ChildStderr) -> String {
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    line
}

#[test]
fn the_stores_own_socket_belongs_to_one_server_and_to_the_next_once_that_is_gone() {
    let store = Store::new();
    let first = Server::start(&store, &[]);
    let refused = run_bounded(store.command(&["serve"]), b"");
    assert_eq!(refused.code(), 5, "{}", refused.stderr());
    assert!(refused.stderr().contains("drave.sock") && refused.stderr().lines().count() == 1, "{}", refused.stderr());
    assert_eq!(Client::of_store(&store).say("PING").line(), "+PONG");
    // With an address of its own it listens there.
    let second = Server::start(&store, &[]);
    assert_eq!(second.client().say("PING").line(), "+PONG");
    assert_eq!(second.end(Signal::TERM).0, Some(0));
    assert_eq!(Client::of_store(&store).say("PING").line(), "+PONG", "its end left the socket alone");
    first.end(Signal::KILL);
    let mut next = store.command(&["serve"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let said = ready(next.stderr.take().expect("a pipe"));
    assert!(said.contains("ready on") && said.contains("drave.sock"), "{said}");
    assert_eq!(Client::of_store(&store).say("XADD t 1-0 a b").line(), "1-0");
    next.kill().expect("it runs");
    next.wait().expect("it ends");
}

#[test]
fn what_a_shell_publishes_wakes_all_who_wait() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut waiting: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for (nth, client) in waiting.iter_mut().enumerate() {
        client.send_bytes(format!("PING\r\nXREAD BLOCK 0 STREAMS t{} t{} 0 0\r\n", nth % 5, nth % 5 + 5).as_bytes());
        assert_eq!(client.read().line(), "+PONG");
    }
    for nth in 0..5 {
        store.ok(&["publish", &format!("t{nth}"), "hello"]);
    }
    for (nth, client) in waiting.iter_mut().enumerate() {
        let got = client.read().line();
        assert!(got.starts_with(&format!("[[t{} [[", nth % 5)) && got.ends_with("[value hello]]]]]"), "{got}");
    }
}
