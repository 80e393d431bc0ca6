//! XADD IDMP and IDMPAUTO, XCFGSET, and what XINFO tells of them.

use std::collections::BTreeMap;
use std::sync::Barrier;

use rustix::process::Signal;

use super::groups::expect;
use super::rig::{Client, Server, Value, encode};
use crate::rig::wait_until;
use crate::support::Store;

fn served() -> (Store, Server, Client) {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let client = server.client();
    (store, server, client)
}

/// Adds; the ID.
#[track_caller]
fn id(client: &mut Client, line: &str) -> String {
    let reply = client.say(line);
    let text = reply.text();
    assert!(text.contains('-') && !text.contains("ERR"), "{line}: {text}");
    text
}

/// The six numbers of XINFO STREAM: duration, maxsize, pids, iids, added, duplicates.
#[track_caller]
fn numbers(client: &mut Client) -> [i64; 6] {
    let info = client.say("XINFO STREAM s");
    let full = client.say("XINFO STREAM s FULL");
    ["idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked", "iids-added", "iids-duplicates"].map(|name| {
        assert_eq!(info.get(name), full.get(name));
        info.get(name).int()
    })
}

#[test]
fn a_message_that_comes_again_is_the_record_it_was() {
    let (_store, _server, mut client) = served();
    let first = id(&mut client, "XADD s IDMP p m * f 1");
    assert_eq!(id(&mut client, "XADD s IDMP p m * f other"), first);
    let second = id(&mut client, "XADD s MAXLEN 100 IDMP p n NOMKSTREAM * f 2");
    assert_ne!(second, first);
    let foreign = id(&mut client, "XADD s IDMP q m * key k value v");
    assert_eq!(id(&mut client, "XADD s IDMP p m MAXLEN 1 * f 1"), first, "and trims nothing");
    let all = format!("[[{first} [f 1]] [{second} [f 2]] [{foreign} [key k value v]]]");
    assert_eq!(client.say("XRANGE s - +").line(), all);
    // What has become of the record does not matter.
    client.say(&format!("XDEL s {first}"));
    client.say("XTRIM s MAXLEN 1");
    assert_eq!(id(&mut client, "XADD s IDMP p m * f 1"), first);
    assert_eq!(id(&mut client, "XADD s IDMP p n * f 1"), second);
    assert_eq!(client.say("XLEN s").line(), ":1");
    assert_eq!(numbers(&mut client), [100, 100, 2, 3, 3, 4]);
    assert_eq!(client.say("XADD none NOMKSTREAM IDMP p m * f 1").line(), "nil");
}

#[test]
fn without_a_name_a_message_is_its_fields_in_any_order() {
    let (_store, _server, mut client) = served();
    let first = id(&mut client, "XADD s IDMPAUTO p * a 1 b 2");
    assert_eq!(id(&mut client, "XADD s idmpauto p * b 2 a 1"), first);
    for other in ["XADD s IDMPAUTO q * a 1 b 2", "XADD s IDMPAUTO p * a 1 b 3", "XADD s IDMPAUTO p * a 1 b 2 a 1"] {
        assert_ne!(id(&mut client, other), first, "{other}");
    }
    assert_eq!(client.say("XLEN s").line(), ":4");
}

#[test]
fn what_is_not_understood_is_refused_and_adds_nothing() {
    let (_store, _server, mut client) = served();
    let twice = "-ERR syntax error, IDMP/IDMPAUTO specified multiple times";
    let auto = "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs";
    let both = "-ERR At least one parameter must be specified";
    let number = "-ERR value is not an integer or out of range";
    let seconds = "-ERR IDMP-DURATION must be between 1 and 86400 seconds";
    let entries = "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries";
    expect(
        &mut client,
        &[
            ("XADD s IDMP p m IDMP q n * f v", twice),
            ("XADD s IDMPAUTO p IDMP q n * f v", twice),
            ("XADD s IDMP p m 1-1 f v", auto),
            ("XADD s IDMPAUTO p 1-* f v", auto),
            ("XADD s IDMP p * f v", "-ERR Invalid stream ID specified as stream command argument"),
            ("XADD s IDMP  m * f v", "-ERR IDMP requires a non-empty producer ID"),
            ("XADD s IDMP p  * f v", "-ERR IDMP requires a non-empty idempotent ID"),
            ("XADD s IDMPAUTO  * f v", "-ERR IDMPAUTO requires a non-empty producer ID"),
            ("XADD s f v IDMP p", "-ERR Invalid stream ID specified as stream command argument"),
            ("EXISTS s", ":0"),
            ("XCFGSET s IDMP-DURATION 5", "-ERR no such key"),
            ("XADD s 1-1 f v", "1-1"),
            ("XCFGSET s", both),
            ("XCFGSET s IDMP-DURATION", "-ERR syntax error"),
            ("XCFGSET s WHAT 5", "-ERR syntax error"),
            ("XCFGSET s IDMP-DURATION x IDMP-MAXSIZE", number),
            ("XCFGSET s IDMP-DURATION 0", seconds),
            ("XCFGSET s IDMP-DURATION 86401", seconds),
            ("XCFGSET s IDMP-MAXSIZE -1", entries),
            ("XCFGSET s IDMP-DURATION 5 IDMP-MAXSIZE 10001", entries),
        ],
    );
    assert_eq!(numbers(&mut client), [100, 100, 0, 0, 0, 0]);
}

#[test]
fn the_newest_of_a_producer_are_known_and_a_change_forgets_all() {
    let (store, server, mut client) = served();
    let first = id(&mut client, "XADD s IDMP p m * f 1");
    expect(&mut client, &[("XCFGSET s IDMP-DURATION 100 IDMP-MAXSIZE 100", "+OK")]);
    assert_eq!(id(&mut client, "XADD s IDMP p m * f 1"), first, "nothing changed");
    expect(&mut client, &[("XCFGSET s IDMP-MAXSIZE 2", "+OK")]);
    assert_eq!(numbers(&mut client), [100, 2, 0, 0, 1, 1]);
    let again = id(&mut client, "XADD s IDMP p m * f 1");
    assert_ne!(again, first);
    let ids = [1, 2, 3].map(|n| id(&mut client, &format!("XADD s IDMP p n{n} * f {n}")));
    assert_eq!(numbers(&mut client), [100, 2, 1, 2, 5, 1]);
    assert_eq!([2, 3].map(|n| id(&mut client, &format!("XADD s IDMP p n{n} * f {n}"))), ids[1..]);
    assert_ne!(id(&mut client, "XADD s IDMP p n1 * f 1"), ids[0]);
    client.say("XCFGSET s IDMP-DURATION 300");
    drop(client);
    server.end(Signal::KILL);
    // It says so in the topic's settings, and stays so.
    let shown = String::from_utf8(store.ok(&["topic", "show", "s", "--json"])).expect("text");
    for setting in
        [r#"{"setting":"dedup-window","value":"5m","from":"topic"}"#, r#"{"setting":"dedup-size","value":"2","from":"topic"}"#]
    {
        assert!(shown.contains(setting), "{shown}");
    }
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(numbers(&mut client), [300, 2, 0, 0, 6, 3]);
    assert_ne!(id(&mut client, "XADD s IDMP p n3 * f 3"), ids[2]);
    assert_eq!(numbers(&mut client), [300, 2, 1, 1, 7, 3]);
}

#[test]
fn a_message_is_known_after_a_kill_and_after_the_loss_of_the_page() {
    let store = Store::new();
    store.ok(&["topic", "create", "s", "segment-bytes=4KiB"]);
    let filler = "x".repeat(1500);
    let mut known = Vec::new();
    for round in 0..4 {
        let server = Server::start(&store, &[]);
        let mut client = server.client();
        for (number, first) in known.iter().enumerate() {
            assert_eq!(id(&mut client, &format!("XADD s IDMP p m{number} * f again")), *first, "round {round}");
        }
        for number in known.len()..known.len() + 5 {
            // Segments come and go beside; the records themselves too.
            known.push(id(&mut client, &format!("XADD s IDMP p m{number} MAXLEN 2 * value {number}{filler}")));
            client.say(&format!("XADD s MAXLEN 2 * value {filler}"));
        }
        assert_eq!(client.say("XLEN s").line(), ":2");
        let repeated: usize = (0..=round).map(|round| round * 5).sum();
        let [_, _, pids, iids, added, duplicates] = numbers(&mut client);
        assert_eq!((pids, iids, added), (1, known.len() as i64, known.len() as i64));
        if round < 3 {
            assert_eq!(duplicates, repeated as i64);
        }
        drop(client);
        server.end(Signal::KILL);
        if round == 2 {
            // The files alone know it, too.
            std::fs::remove_file(store.path().join("topics/s/head")).expect("removed");
        }
    }
    // Nobody but who sends sees anything of it.
    assert_eq!(String::from_utf8(store.ok(&["replay", "s"])).expect("text"), format!("19{filler}\n{filler}\n"));
    store.ok(&["verify"]);
}

#[test]
fn of_many_that_wait_in_one_batch_each_is_added_once() {
    let (_store, server, mut client) = served();
    expect(&mut client, &[("XADD s 1-1 f v", "1-1"), ("XCFGSET s IDMP-MAXSIZE 10000", "+OK")]);
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        for n in 0..500 {
            client.send(&["XADD", "s", "IDMP", "p", &format!("m{}", n % 250), "*", "n", &(n % 250).to_string()]);
            client.send(&["XADD", "s", "*", "plain", "v"]);
        }
    }
    let told: Vec<Vec<String>> =
        clients.iter_mut().map(|client| (0..1000).map(|_| client.read().text()).step_by(2).collect()).collect();
    assert!(told.iter().all(|ids| ids[..250] == told[0][..250] && ids[250..] == told[0][..250]));
    let read = client.say("XRANGE s - +");
    assert_eq!(read.array().len(), 1 + 250 + 4 * 500);
    assert_eq!(sent(&read), told[0][..250]);
    assert_eq!(numbers(&mut client), [100, 10_000, 1, 250, 250, 4 * 500 - 250]);
    // Within one EXEC, too.
    client.say("XADD t IDMP p a * n 1");
    client.say("MULTI");
    for line in ["XADD t IDMP p a * n 2", "XADD t IDMP p b * n 3", "XADD t * n 4", "XADD t IDMP p b * n 5"] {
        assert_eq!(client.say(line).line(), "+QUEUED");
    }
    let ids: Vec<String> = client.say("EXEC").array().iter().map(Value::text).collect();
    assert_eq!((&ids[1], client.say("XLEN t").line().as_str()), (&ids[3], ":3"));
    assert!(ids[0] < ids[1] && ids[1] < ids[2]);
}

/// The IDs of the records `[n NUMBER]`, by number; each number is there once.
#[track_caller]
fn sent(read: &Value) -> Vec<String> {
    let mut by_number = BTreeMap::new();
    for entry in read.array() {
        let [name, number] = entry.array()[1].array() else { panic!("{entry:?}") };
        if name.text() == "n" {
            let number: usize = number.text().parse().expect("a number");
            assert_eq!(by_number.insert(number, entry.array()[0].text()), None, "{number} is there twice");
        }
    }
    assert!(by_number.keys().copied().eq(0..by_number.len()), "{:?}", by_number.keys());
    by_number.into_values().collect()
}

/// Sends messages `m0` to `m(count)` in an order of its own, some at once, with records that are none between
/// them. What it was told of each, until the server was gone.
fn send_all(mut client: Client, count: usize, order: usize) -> Vec<Option<String>> {
    let mut told = vec![None; count];
    // 7, 11, 13 and 17 share no divisor with the count.
    let (step, first) = ([1, 7, 11, 13, 17][order % 5], order * 5);
    let numbers: Vec<usize> = (0..count).map(|n| (first + n * step) % count).collect();
    for some in numbers.chunks(1 + order * 3) {
        let words = |n: &usize| encode(&["XADD", "s", "IDMP", "p", &format!("m{n}"), "*", "n", &n.to_string()]);
        let mut requests: Vec<u8> = some.iter().flat_map(words).collect();
        requests.extend(encode(&["XADD", "s", "*", "plain", "v"]));
        if !client.try_send_bytes(&requests) {
            return told;
        }
        for n in some.iter().copied().map(Some).chain([None]) {
            let Some(reply) = client.try_read_whole() else { return told };
            if let Some(n) = n {
                told[n] = Some(reply.text());
            }
        }
    }
    told
}

const COUNT: usize = 300;

/// Many clients of these servers at once, each of whom sends the same messages.
fn all_at_once(servers: &[&Server], clients: usize, meanwhile: impl FnOnce()) -> Vec<Vec<Option<String>>> {
    let start = Barrier::new(servers.len() * clients);
    std::thread::scope(|scope| {
        let (start, mut threads) = (&start, Vec::new());
        for order in 0..servers.len() * clients {
            let client = servers[order % servers.len()].client();
            threads.push(scope.spawn(move || {
                start.wait();
                send_all(client, COUNT, order)
            }));
        }
        meanwhile();
        threads.into_iter().map(|thread| thread.join().expect("it goes well")).collect()
    })
}

/// A topic that remembers as many messages as there can be.
fn topic_of_many(store: &Store) {
    store.ok(&["topic", "create", "s", "dedup-size=10000", "dedup-window=1h", "segment-bytes=16KiB"]);
}

#[test]
fn of_what_clients_of_two_servers_send_at_once_each_is_added_once() {
    let store = Store::new();
    topic_of_many(&store);
    let servers = [Server::start(&store, &[]), Server::start(&store, &[])];
    let told = all_at_once(&[&servers[0], &servers[1]], 4, || ());
    let all = servers[1].client().say("XRANGE s - +");
    let ids: Vec<Option<String>> = sent(&all).into_iter().map(Some).collect();
    assert_eq!(ids.len(), COUNT);
    told.iter().enumerate().for_each(|(client, told)| assert_eq!(*told, ids, "client {client}"));
    // Both count the same: it is the log that counts.
    for server in &servers {
        let [_, size, producers, known, added, duplicates] = numbers(&mut server.client());
        let count = COUNT as i64;
        assert_eq!([size, producers, known, added, duplicates], [10_000, 1, count, count, 7 * count]);
    }
}

#[test]
fn a_server_that_is_killed_among_them_has_added_each_once_or_not_at_all() {
    let store = Store::new();
    topic_of_many(&store);
    let stays = Server::start(&store, &[]);
    let mut told = Vec::new();
    for round in 0..3 {
        let dies = Server::start(&store, &[]);
        let mut watcher = stays.client();
        let before = watcher.say("XLEN s").int();
        told.extend(all_at_once(&[&stays, &dies], 3, || {
            // In the middle of it.
            wait_until("they have begun", || watcher.say("XLEN s").int() > before + 20);
            dies.signal(Signal::KILL);
        }));
        let ids: Vec<Option<String>> = sent(&stays.client().say("XRANGE s - +")).into_iter().map(Some).collect();
        assert_eq!(ids.len(), COUNT, "round {round}");
        for told in &told {
            // Who was told something was told what is so; who asked the one that stays was told all.
            assert!(told.iter().zip(&ids).all(|(told, id)| told.is_none() || told == id), "round {round}");
        }
    }
    assert!(told.iter().filter(|told| told.iter().all(Option::is_some)).count() >= 9);
    assert!(told.iter().any(|told| told.iter().any(Option::is_none)), "none was interrupted");
    drop(stays);
    store.ok(&["verify"]);
}
