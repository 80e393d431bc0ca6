//! What the server tells of itself: rates by topic, processor time, times to live, buffers.

use super::rig::{Client, Server};
use crate::rig::wait_until;
use crate::support::Store;

/// A value from one of INFO's lines: of `name:value`, or of `line:name=value,...`.
#[track_caller]
fn number(info: &str, line: &str, name: Option<&str>) -> f64 {
    let found = info.lines().find_map(|own| own.strip_prefix(line)?.strip_prefix(':'));
    let rest = found.unwrap_or_else(|| panic!("no {line} in {info}"));
    let value = match name {
        None => rest,
        Some(name) => rest.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).expect("such a value"),
    };
    value.parse().expect("a number")
}

fn topics(client: &mut Client) -> String {
    client.say("INFO topics").text()
}

#[test]
fn info_tells_what_goes_through_each_topic() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for n in 1..=3 {
        client.say(&format!("XADD busy {n}-0 field value{n}"));
    }
    client.say("XADD busy * a b");
    client.say("XADD quiet * a b");
    client.say("DRAVE.PUBLISH quiet KEY k FIELDS 1 c d");
    client.say("XRANGE busy - + COUNT 2");
    client.say("XREVRANGE busy 3 - COUNT 2");
    client.say("XREAD STREAMS busy 2-0");
    client.say("XGROUP CREATE busy g 0");
    client.say("XREADGROUP GROUP g c COUNT 1 STREAMS busy >");
    client.say("XREADGROUP GROUP g c STREAMS busy 0");
    client.say("XCLAIM busy g other 0 1-0");
    client.say("XCLAIM busy g other 0 1-0 JUSTID");
    client.say("XINFO STREAM busy FULL");
    client.say("XRANGE busy 9 8");
    let of = |info: &str, topic: &str| {
        let names = ["records_added", "bytes_added", "records_read", "bytes_read"];
        names.map(|name| number(info, &format!("topic_{topic}"), Some(name)) as u64)
    };
    // Names and values: `field` and `value1`. Read were 2 + 2 + 2 by XREAD and the like, and 1-0 thrice by the group.
    let busy = [4, 3 * 11 + 2, 9, 22 + 22 + 13 + 33];
    let text = topics(&mut client);
    assert_eq!(of(&text, "busy"), busy);
    assert_eq!(of(&text, "quiet"), [2, 2 + 6, 0, 0]);
    let all = client.say("INFO drave").text();
    let sums = ["records_added", "bytes_added", "records_read", "bytes_read"].map(|name| number(&all, name, None) as u64);
    assert_eq!(sums, [6, 43, 9, 90]);
    // A topic that was let go and is taken up again has its numbers still; another one of its name has not.
    client.say("DEL quiet");
    client.say("MEMORY PURGE");
    assert!(!topics(&mut client).contains("topic_busy"));
    client.say("XLEN busy");
    client.say("XADD quiet * a b");
    let text = topics(&mut client);
    assert_eq!(of(&text, "busy"), busy);
    assert_eq!(of(&text, "quiet"), [1, 2, 0, 0]);
    assert!(!client.say("INFO").text().contains("# Topics"), "that may be long");
}

#[test]
fn info_tells_how_fast_and_begins_with_the_busiest() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for n in 0..120 {
        client.say(&format!("XADD t{n:03} * a b"));
    }
    let shown = topics(&mut client);
    assert_eq!(shown.lines().filter(|line| line.starts_with("topic_")).count(), 100);
    wait_until("there is a rate", || {
        // Of the last by name: it would not be shown if it were not the busiest.
        for _ in 0..100 {
            client.say("XADD t119 * a b");
        }
        client.say("XRANGE t119 - + COUNT 50");
        let text = topics(&mut client);
        text.lines().nth(1).is_some_and(|line| line.starts_with("topic_t119:"))
            && number(&text, "topic_t119", Some("records_read_per_sec")) > 0.0
    });
    let text = topics(&mut client);
    let [added, added_bytes, read] = ["records_added_per_sec", "bytes_added_per_sec", "records_read_per_sec"]
        .map(|name| number(&text, "topic_t119", Some(name)));
    assert!(added > 1.0 && added_bytes > 1.0 && read > 0.0, "{text}");
    assert!((added_bytes / added - 2.0).abs() < 0.2, "a record has two bytes: {text}");
    let all = client.say("INFO all").text();
    assert!(number(&all, "records_added_per_sec", None) > 1.0);
    assert!(number(&all, "instantaneous_input_kbps", None) > 0.0 && number(&all, "instantaneous_output_kbps", None) > 0.0);
}

#[test]
fn info_tells_processor_time_and_what_is_to_expire() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let text = client.say("INFO").text();
    assert!(text.contains("\r\n# CPU\r\n"), "{text}");
    let spent = |text: &str| number(text, "used_cpu_user", None) + number(text, "used_cpu_sys", None);
    let before = spent(&text);
    wait_until("it has worked", || spent(&client.say("INFO cpu").text()) >= before + 0.01);
    let text = client.say("INFO cpu").text();
    let thread = number(&text, "used_cpu_user_main_thread", None) + number(&text, "used_cpu_sys_main_thread", None);
    assert!(thread > 0.0 && thread <= spent(&text) + 0.02, "{text}");
    client.say("XADD a * a b");
    client.say("XADD b * a b");
    client.say("XADD c * a b");
    client.say("EXPIRE a 1000");
    client.say("EXPIRE b 2000");
    let text = client.say("INFO keyspace").text();
    assert_eq!(number(&text, "db0", Some("expires")), 2.0);
    let left = number(&text, "db0", Some("avg_ttl"));
    assert!((1_400_000.0..=1_500_000.0).contains(&left), "{text}");
    assert_eq!(number(&client.say("INFO stats").text(), "expired_keys", None), 0.0);
    client.say("PEXPIRE a 1");
    wait_until("it is gone", || number(&client.say("INFO stats").text(), "expired_keys", None) > 0.0);
    let text = client.say("INFO").text();
    assert_eq!((number(&text, "db0", Some("expires")), number(&text, "expired_keys", None)), (1.0, 1.0));
    client.say("CONFIG RESETSTAT");
    assert_eq!(number(&client.say("INFO stats").text(), "expired_keys", None), 0.0);
}

#[test]
fn client_list_tells_how_large_the_buffers_are() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut client, mut other) = (server.client(), server.client());
    let value = |line: &str, name: &str| {
        let found = line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {line}")).parse::<u64>().expect("a number")
    };
    other.ask(&["ECHO".to_owned(), "x".repeat(3000)]);
    // The beginning of a request, of which 3000 bytes are there.
    other.send_bytes(b"*2\r\n$4\r\nECHO\r\n$5000\r\n");
    other.send_bytes(&[b'x'; 3000]);
    wait_until("it has come", || {
        let list = client.say("CLIENT LIST").text();
        value(list.lines().nth(1).expect("two clients"), "qbuf") > 3000
    });
    let list = client.say("CLIENT LIST").text();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(value(lines[0], "argv-mem"), 10, "CLIENT and LIST");
    assert_eq!(value(lines[1], "argv-mem"), 0);
    assert!(value(lines[1], "rbs") > 0 && value(lines[1], "tot-mem") > value(lines[1], "qbuf") + value(lines[1], "rbs") - 1);
    other.send_bytes(&[b'x'; 2000]);
    other.send_bytes(b"\r\n");
    other.read();
    wait_until("the fullest is told", || {
        other.ask(&["ECHO".to_owned(), "x".repeat(9000)]);
        let list = client.say("CLIENT LIST").text();
        value(list.lines().nth(1).expect("two clients"), "rbp") >= 9000
    });
}
