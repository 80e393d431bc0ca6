//! Topics as keys: finding, deleting, renaming them, and their times to go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Client, Server};
use crate::support::Store;

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn expect(client: &mut Client, pairs: &[(&str, &str)]) {
    for (request, reply) in pairs {
        assert_eq!(client.say(request).line(), *reply, "{request}");
    }
}

/// Sends all at once; the replies in one line.
#[track_caller]
fn pipeline(client: &mut Client, requests: &[&str]) -> Vec<String> {
    let bytes: Vec<u8> = requests.iter().flat_map(|line| super::rig::encode(&line.split(' ').collect::<Vec<_>>())).collect();
    client.send_bytes(&bytes);
    requests.iter().map(|_| client.read().line()).collect()
}

/// Asks until the reply is this one.
#[track_caller]
fn wait_for(client: &mut Client, request: &str, reply: &str) {
    let began = Instant::now();
    while client.say(request).line() != reply {
        assert!(began.elapsed() < LIMIT, "{request} never gives {reply}");
    }
}

fn now_ms() -> u64 {
    drave::clock::Clock::system().now().0
}

/// What lies in the directory of topics.
fn directories(store: &Store) -> BTreeSet<String> {
    let entries = std::fs::read_dir(store.path().join("topics")).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

#[track_caller]
fn wait_for_directories(store: &Store, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let began = Instant::now();
    while directories(store) != wanted {
        assert!(began.elapsed() < LIMIT, "{:?}", directories(store));
    }
}

#[test]
fn keys_are_told_and_deleted() {
    let store = Store::new();
    store.ok_with(&["publish", "shell"], b"1\n2\n");
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let pairs = [
        ("DBSIZE", ":1"),
        ("XADD a 1-0 f 1", "1-0"),
        ("XADD b 1-0 f 1", "1-0"),
        ("EXISTS a", ":1"),
        ("EXISTS a none a shell", ":3"),
        ("TOUCH a none a", ":2"),
        ("TYPE a", "+stream"),
        ("TYPE none", "+none"),
        ("TYPE shell", "+stream"),
        ("DBSIZE", ":3"),
        ("DEL none", ":0"),
        ("DEL a none a shell", ":2"),
        ("EXISTS a shell b", ":1"),
        ("XLEN a", ":0"),
        ("XLEN shell", ":0"),
        ("DEL a", ":0"),
        ("UNLINK b a", ":1"),
        ("DBSIZE", ":0"),
        ("KEYS *", "[]"),
        ("RANDOMKEY", "nil"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
    ];
    expect(&mut client, &pairs);
    // The files go as well.
    wait_for_directories(&store, &[]);
    let (status, said) = server.end(Signal::TERM);
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[test]
fn a_deleted_key_is_gone_at_once_for_every_client_and_can_be_made_anew_at_once() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut one, mut two) = (server.client(), server.client());
    for round in 0..100 {
        // What was added before is stored: nobody is told otherwise because it is deleted then.
        let requests = ["XADD s 7-1 f 1", "XADD s 8-1 f 1", "DEL s", "EXISTS s", "XADD s 1-1 f 2", "EXISTS s", "XADD s 2-2 f 3"];
        assert_eq!(pipeline(&mut one, &requests), ["7-1", "8-1", ":1", ":0", "1-1", ":1", "2-2"], "{round}");
        assert_eq!(two.say("XRANGE s - +").line(), "[[1-1 [f 2]] [2-2 [f 3]]]");
        assert_eq!(pipeline(&mut one, &["DEL s", "DEL s", "XADD s 3-3 f 4", "DEL s", "XLEN s"]), [":1", ":0", "3-3", ":1", ":0"]);
        assert_eq!(two.say("EXISTS s").line(), ":0");
    }
    one.say("XADD s 5-5 f 5");
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    assert_eq!(server.client().say("XRANGE s - +").line(), "[[5-5 [f 5]]]");
}

#[test]
fn what_other_processes_delete_or_rename_is_noticed() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("XADD a 1-0 f 1");
    client.say("XADD b 1-0 f 1");
    store.ok(&["topic", "delete", "--yes", "a"]);
    expect(&mut client, &[("EXISTS a", ":0"), ("XADD a 1-0 f 2", "1-0"), ("DBSIZE", ":2")]);
    let topics = store.path().join("topics");
    std::fs::rename(topics.join("b"), topics.join("c")).expect("renamed");
    wait_for(&mut client, "XLEN b", ":0");
    let pairs = [("EXISTS b c", ":1"), ("XLEN c", ":1"), ("XADD b 1-0 f 9", "1-0"), ("XADD c 2-0 f 9", "2-0"), ("DBSIZE", ":3")];
    expect(&mut client, &pairs);
}

#[test]
fn names_are_matched_and_picked() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for name in ["one", "two", "three", "Four", "f[x"] {
        client.say(&format!("XADD {name} 1-0 f 1"));
    }
    let mut keys = |pattern: &str| {
        let reply = client.say(&format!("KEYS {pattern}"));
        let mut names: Vec<String> = reply.array().iter().map(super::rig::Value::text).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(keys("*"), "Four f[x one three two");
    assert_eq!(keys("t*"), "three two");
    assert_eq!(keys("?w?"), "two");
    assert_eq!(keys("[Ff]*"), "Four f[x");
    assert_eq!(keys("[^Ff]*"), "one three two");
    assert_eq!(keys("f\\[x"), "f[x");
    assert_eq!(keys("none"), "");
    let picked: BTreeSet<String> = (0..300).map(|_| client.say("RANDOMKEY").text()).collect();
    assert_eq!(picked.len(), 5);
}

#[test]
fn a_scan_meets_all_that_is_there_all_the_time() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let name = |n: usize| format!("{}{n}", if n.is_multiple_of(2) { "stays:" } else { "goes:" });
    for n in 0..400 {
        client.say(&format!("XADD {} 1-0 f 1", name(n)));
    }
    let mut other = server.client();
    for count in [1, 7, 1000] {
        let mut met: Vec<String> = Vec::new();
        let (mut cursor, mut steps) = ("0".to_owned(), 0);
        loop {
            let reply = client.say(&format!("SCAN {cursor} COUNT {count}"));
            met.extend(reply.array()[1].array().iter().map(super::rig::Value::text));
            cursor = reply.array()[0].text();
            steps += 1;
            // Meanwhile some go and come.
            let n = (steps * 2 + 1) % 400;
            other.say(&format!("DEL {}", name(n)));
            other.say(&format!("XADD new:{count}:{steps} 1-0 f 1"));
            assert!(!met.contains(&name(n)) || other.say(&format!("EXISTS {}", name(n))).line() == ":0");
            if cursor == "0" {
                break;
            }
        }
        assert!(steps >= 400 / count, "{steps}");
        let distinct: BTreeSet<&String> = met.iter().collect();
        assert_eq!(distinct.len(), met.len(), "each once");
        assert!((0..400).step_by(2).all(|n| distinct.contains(&name(n))), "count {count}");
        for n in (1..400).step_by(2) {
            other.say(&format!("XADD {} * f 1", name(n)));
        }
        for n in 1..=steps {
            other.say(&format!("DEL new:{count}:{n}"));
        }
    }
    // A cursor means the same to the next server.
    let first = client.say("SCAN 0 COUNT 200");
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let second = client.say(&format!("SCAN {} COUNT 1000", first.array()[0].text()));
    assert_eq!(second.array()[0].text(), "0");
    let met: BTreeSet<String> =
        [first, second].iter().flat_map(|reply| reply.array()[1].array().to_vec()).map(|name| name.text()).collect();
    assert_eq!(met.len(), 400);
    let matched = client.say("SCAN 0 MATCH stays:1* COUNT 1000 TYPE stream");
    assert_eq!(matched.array()[1].array().len(), 1 + 5 + 50 - 1);
    let pairs = [
        ("SCAN 0 COUNT 1000 TYPE list", "[0 []]"),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN -1", "-ERR invalid cursor"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 18446744073709551615", "[0 []]"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT a", "-ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("SCAN 0 x y", "-ERR syntax error"),
    ];
    expect(&mut client, &pairs);
}

#[test]
fn a_topic_is_renamed_with_all_it_has() {
    let store = Store::new();
    store.ok(&["topic", "create", "a", "segment-age=2s"]);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let long = "l".repeat(400);
    let requests = [
        "XADD a 1-0 f 1",
        "XADD a 2-0 f 2",
        "EXPIRE a 1000",
        "RENAME a b",
        "XADD b 3-0 f 3",
        "XLEN a",
        "EXISTS b",
        "TTL b",
        "TTL a",
    ];
    assert_eq!(pipeline(&mut client, &requests), ["1-0", "2-0", ":1", "+OK", "3-0", ":0", ":1", ":1000", ":-2"]);
    let pairs = [
        ("RENAME none x", "-ERR no such key"),
        ("RENAME none none", "-ERR no such key"),
        ("RENAMENX none b", "-ERR no such key"),
        ("RENAME b b", "+OK"),
        ("RENAMENX b b", ":0"),
        ("XADD c 9-9 f 1", "9-9"),
        ("RENAMENX b c", ":0"),
        ("RENAMENX b d", ":1"),
        ("XADD b 1-1 new 1", "1-1"),
        ("RENAME d c", "+OK"),
        ("XRANGE c 2 +", "[[2-0 [f 2]] [3-0 [f 3]]]"),
        ("EXISTS b c", ":2"),
    ];
    expect(&mut client, &pairs);
    assert_eq!(pipeline(&mut client, &["DEL b", "RENAME c b", "XLEN b", "XLEN c"]), [":1", "+OK", ":3", ":0"]);
    assert_eq!(client.say(&format!("RENAME b {long}")).line(), "+OK");
    assert!(
        client.say(&format!("RENAME {long} {}", "x".repeat(513))).line().starts_with("-ERR a topic's name has 1 to 512 bytes")
    );
    let other = "m".repeat(400);
    assert_eq!(client.say(&format!("RENAME {long} {other}")).line(), "+OK");
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(client.say("KEYS *").line(), format!("[{other}]"));
    assert_eq!(client.say(&format!("XLEN {other}")).line(), ":3");
    let ttl = client.say(&format!("TTL {other}")).int();
    assert!((900..=1000).contains(&ttl), "{ttl}");
    let shown = String::from_utf8(store.ok(&["topic", "show", &other])).expect("text");
    assert!(shown.lines().any(|line| line.contains("segment-age") && line.contains("2s")), "{shown}");
    // Whoever waits for the new name gets what is there.
    let mut waiting = server.client();
    waiting.send(&["XREAD", "BLOCK", "0", "STREAMS", "z", "2-0"]);
    client.say(&format!("RENAME {other} z"));
    assert_eq!(waiting.read().line(), "[[z [[3-0 [f 3]]]]]");
}

#[test]
fn times_to_go_are_set_told_and_taken_back() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let pairs = [
        ("TTL s", ":-2"),
        ("PTTL s", ":-2"),
        ("EXPIRETIME s", ":-2"),
        ("PEXPIRETIME s", ":-2"),
        ("EXPIRE s 10", ":0"),
        ("PERSIST s", ":0"),
        ("XADD s 1-0 f 1", "1-0"),
        ("TTL s", ":-1"),
        ("PTTL s", ":-1"),
        ("EXPIRETIME s", ":-1"),
        ("PERSIST s", ":0"),
        ("EXPIRE s 100 XX", ":0"),
        ("EXPIRE s 100 GT", ":0"),
        ("EXPIRE s 100 LT", ":1"),
        ("TTL s", ":100"),
        ("EXPIRE s 100 NX", ":0"),
        ("EXPIRE s 50 gt", ":0"),
        ("EXPIRE s 200 lt", ":0"),
        ("EXPIRE s 200 XX GT", ":1"),
        ("TTL s", ":200"),
        ("PERSIST s", ":1"),
        ("TTL s", ":-1"),
        ("PEXPIREAT s 99999999999999", ":1"),
        ("PEXPIRETIME s", ":99999999999999"),
        ("EXPIRETIME s", ":100000000000"),
        ("EXPIREAT s 99999999998", ":1"),
        ("PEXPIRETIME s", ":99999999998000"),
        ("PEXPIRE s 30000000", ":1"),
        ("TTL s", ":30000"),
        ("EXPIRE s a", "-ERR value is not an integer or out of range"),
        ("EXPIRE none a", "-ERR value is not an integer or out of range"),
        ("EXPIRE s 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE s 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE s 10 foo", "-ERR Unsupported option foo"),
        ("EXPIRE s 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("PEXPIRE s 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT s 9223372036854775807", "-ERR invalid expire time in 'expireat' command"),
        ("EXPIRE s", "-ERR wrong number of arguments for 'expire' command"),
        ("XLEN s", ":1"),
        ("EXPIRE s -1", ":1"),
        ("EXISTS s", ":0"),
        ("XADD s 1-0 f 1", "1-0"),
        ("TTL s", ":-1"),
        ("EXPIREAT s 1", ":1"),
        ("XLEN s", ":0"),
    ];
    expect(&mut client, &pairs);
    let requests = ["XADD s 1-0 f 1", "EXPIRE s 7", "EXPIRE s 9000", "PERSIST s", "EXPIRE s 5000", "TTL s"];
    assert_eq!(pipeline(&mut client, &requests), ["1-0", ":1", ":1", ":1", ":1", ":5000"]);
    // Told to shells, and by them.
    let shown = String::from_utf8(store.ok(&["topic", "show", "s"])).expect("text");
    let line = shown.lines().find(|line| line.contains("expire-at")).expect("a line");
    let at: u64 = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    assert!((4_000_000..=5_000_000).contains(&(at - now_ms())), "{line}");
    store.ok(&["topic", "set", "s", "expire-at=88888888888888"]);
    expect(&mut client, &[("PEXPIRETIME s", ":88888888888888")]);
    store.ok(&["topic", "set", "s", "expire-at="]);
    expect(&mut client, &[("PEXPIRETIME s", ":-1")]);
}

#[test]
fn what_is_due_is_missing_at_once_and_its_files_go() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("XADD s 1-0 f 1");
    client.say("XADD stays 1-0 f 1");
    client.say("XADD later 1-0 f 1");
    assert_eq!(client.say("PEXPIRE s 40").line(), ":1");
    assert_eq!(client.say("EXPIRE later 500").line(), ":1");
    // Nobody asks for it.
    wait_for_directories(&store, &["later", "stays"]);
    expect(&mut client, &[("EXISTS s", ":0"), ("TTL s", ":-2"), ("XADD s 1-0 g 2", "1-0"), ("TTL s", ":-1")]);
    // One that is asked for all the time is never there again once it was gone.
    assert_eq!(client.say("PEXPIRE s 30").line(), ":1");
    wait_for(&mut client, "XLEN s", ":0");
    expect(&mut client, &[("EXISTS s", ":0"), ("DBSIZE", ":2"), ("SCAN 0 MATCH s", "[0 []]")]);
    assert_eq!(client.say("PEXPIRE later 1").line(), ":1");
    wait_for(&mut client, "XADD later NOMKSTREAM * f 1", "nil");
    expect(&mut client, &[("XADD later 1-0 f 1", "1-0"), ("XRANGE later - +", "[[1-0 [f 1]]]"), ("TTL later", ":-1")]);
}

#[test]
fn times_to_go_survive_the_server() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for name in ["soon", "late", "never"] {
        client.say(&format!("XADD {name} 1-0 f 1"));
    }
    let soon = now_ms() + 300;
    assert_eq!(client.say(&format!("PEXPIREAT soon {soon}")).line(), ":1");
    assert_eq!(client.say("EXPIRE late 5000").line(), ":1");
    client.say("EXPIRE never 5000");
    client.say("PERSIST never");
    server.end(Signal::KILL);
    while now_ms() <= soon {
        std::thread::yield_now();
    }
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    expect(&mut client, &[("EXISTS soon late never", ":2"), ("XLEN soon", ":0"), ("TTL never", ":-1"), ("DBSIZE", ":2")]);
    let ttl = client.say("TTL late").int();
    assert!((4900..=5000).contains(&ttl), "{ttl}");
    wait_for_directories(&store, &["late", "never"]);
}

#[test]
fn a_flush_has_to_be_allowed() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("XADD s 1-0 f 1");
    let refused = "-ERR deleting all topics is not allowed: start drave serve with --allow-flush";
    expect(
        &mut client,
        &[("FLUSHALL", refused), ("FLUSHDB ASYNC", refused), ("FLUSHALL x", "-ERR syntax error"), ("XLEN s", ":1")],
    );
    server.end(Signal::TERM);
    let server = Server::start(&store, &["--allow-flush"]);
    let mut client = server.client();
    for n in 0..50 {
        client.say(&format!("XADD s{n} 1-0 f 1"));
    }
    let requests =
        ["FLUSHALL", "DBSIZE", "XADD s 1-1 f 1", "KEYS *", "FLUSHDB SYNC", "FLUSHDB ASYNC", "EXISTS s", "XADD s 3-3 f 1"];
    assert_eq!(pipeline(&mut client, &requests), ["+OK", ":0", "1-1", "[s]", "+OK", "+OK", ":0", "3-3"]);
    wait_for_directories(&store, &["s"]);
}

#[test]
fn closing_and_reading_again_changes_nothing() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let requests =
        ["XADD s 1-0 f 1", "XADD s 2-0 f 2", "EXPIRE s 1000", "DEBUG RELOAD", "EXISTS s", "XADD s 3-0 f 3", "DEBUG LOADAOF"];
    assert_eq!(pipeline(&mut client, &requests), ["1-0", "2-0", ":1", "+OK", ":1", "3-0", "+OK"]);
    let pairs = [
        ("XRANGE s 2 +", "[[2-0 [f 2]] [3-0 [f 3]]]"),
        ("TTL s", ":1000"),
        ("DEBUG RELOAD NOSAVE", "+OK"),
        ("XADD s 3-0 f 3", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
        ("DEBUG", "-ERR wrong number of arguments for 'debug' command"),
        ("DEBUG x", "-ERR unknown subcommand 'x'. Try DEBUG HELP."),
    ];
    expect(&mut client, &pairs);
}

#[test]
fn objects_are_streams() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let lfu = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    let pairs = [
        ("XADD s 1-0 f 1", "1-0"),
        ("OBJECT ENCODING s", "stream"),
        ("object encoding none", "nil"),
        ("OBJECT REFCOUNT s", ":1"),
        ("OBJECT IDLETIME none", "nil"),
        ("OBJECT FREQ s", lfu),
        ("OBJECT FREQ none", "nil"),
        ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT foo s", "-ERR unknown subcommand 'foo'. Try OBJECT HELP."),
    ];
    expect(&mut client, &pairs);
    // Looking is no use of it.
    let began = Instant::now();
    while client.say("OBJECT IDLETIME s").int() < 1 {
        assert!(began.elapsed() < LIMIT, "it idles");
    }
    client.say("XLEN s");
    let help = client.say("OBJECT HELP");
    assert_eq!(help.array().len(), 15);
    assert_eq!(help.array()[1].line(), "+ENCODING <key>");
}
