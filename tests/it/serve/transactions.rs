//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::rig::{Server, Value};
use crate::support::Store;

#[test]
fn queued_commands_run_at_exec_and_their_replies_stay_in_order() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(client.say("MULTI").line(), "+OK");
    for line in ["XADD s 1-1 a b", "XLEN s", "XADD s * c d", "PING", "XADD s 1-1 too low", "ECHO hi"] {
        assert_eq!(client.say(line).line(), "+QUEUED");
    }
    assert_eq!(other.say("XLEN s").line(), ":0");
    let replies = client.say("EXEC");
    let lines: Vec<String> = replies.array().iter().map(Value::line).collect();
    assert_eq!(&lines[..2], ["1-1", ":1"]);
    assert!(lines[2].contains('-') && lines[2].as_str() > "1700", "{lines:?}");
    assert_eq!(lines[3], "+PONG");
    assert!(lines[4].starts_with("-ERR The ID specified in XADD is equal or smaller"), "{lines:?}");
    assert_eq!(&lines[5..], ["hi"]);
    assert_eq!(other.say("XLEN s").line(), ":2");
    assert_eq!(client.say("EXEC").line(), "-ERR EXEC without MULTI");
}

#[test]
fn a_command_that_cannot_be_queued_spoils_the_transaction() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("MULTI");
    client.say("XADD s * a b");
    assert_eq!(client.say("XLEN").line(), "-ERR wrong number of arguments for 'xlen' command");
    assert_eq!(client.say("XLEN s").line(), "+QUEUED");
    assert_eq!(client.say("EXEC").line(), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(client.say("XLEN s").line(), ":0");
    // What runs at once and fails spoils nothing.
    client.say("MULTI");
    assert_eq!(client.say("MULTI").line(), "-ERR MULTI calls can not be nested");
    assert_eq!(client.say("WATCH s").line(), "-ERR WATCH inside MULTI is not allowed");
    assert_eq!(client.say("EXEC").line(), "[]");
}

#[test]
fn discard_forgets_what_was_queued_and_watched() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(client.say("DISCARD").line(), "-ERR DISCARD without MULTI");
    client.say("WATCH s");
    client.say("MULTI");
    client.say("XADD s 1-0 a b");
    assert_eq!(client.say("DISCARD").line(), "+OK");
    other.say("XADD s 2-0 a b");
    client.say("MULTI");
    client.say("XLEN s");
    assert_eq!(client.say("EXEC").line(), "[:1]");
}

#[test]
fn exec_does_nothing_when_a_watched_topic_has_changed() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut client, mut client3, mut other) = (server.client(), server.client3(), server.client());
    // Both a topic that is there and one that is not.
    for (n, nil) in [(1, "nil*"), (2, "nil*")] {
        assert_eq!(client.say("WATCH s t").line(), "+OK");
        other.say(&format!("XADD s {n}-0 a b"));
        client.say("MULTI");
        client.say("XADD s * a b");
        assert_eq!(client.say("EXEC").line(), nil);
    }
    client3.say("WATCH t s");
    other.say("XADD s 3-0 a b");
    client3.say("MULTI");
    assert_eq!(client3.say("EXEC").line(), "_");
    // EXEC has dropped the watch; so does UNWATCH; and reads change nothing.
    client.say("WATCH s");
    other.say("XRANGE s - +");
    client.say("MULTI");
    client.say("PING");
    assert_eq!(client.say("EXEC").line(), "[+PONG]");
    client.say("WATCH s");
    client.say("UNWATCH");
    other.say("XADD s 4-0 a b");
    client.say("MULTI");
    assert_eq!(client.say("EXEC").line(), "[]");
    assert_eq!(client.say("XLEN s").line(), ":4");
}

#[test]
fn what_a_client_adds_itself_after_watching_aborts_its_transaction() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    // In one packet: the record is in a batch only when EXEC looks.
    client.send_bytes(b"WATCH s\r\nXADD s * a b\r\nMULTI\r\nPING\r\nEXEC\r\nWATCH s\r\nMULTI\r\nPING\r\nEXEC\r\n");
    let lines: Vec<String> = (0..9).map(|_| client.read().line()).collect();
    assert_eq!(&lines[2..], ["+OK", "+QUEUED", "nil*", "+OK", "+OK", "+QUEUED", "[+PONG]"]);
    // And what was added before is no change.
    client.send_bytes(b"XADD s * a b\r\nWATCH s\r\nMULTI\r\nPING\r\nEXEC\r\n");
    let lines: Vec<String> = (0..5).map(|_| client.read().line()).collect();
    assert_eq!(lines[4], "[+PONG]");
    // Of a topic that was there already, only the batch tells.
    client.send_bytes(b"WATCH s\r\nXADD s * a b\r\nMULTI\r\nPING\r\nEXEC\r\n");
    let lines: Vec<String> = (0..5).map(|_| client.read().line()).collect();
    assert_eq!(lines[4], "nil*");
}

#[test]
fn what_is_added_in_a_row_becomes_one_frame() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("MULTI");
    for n in 0..50 {
        client.say(&format!("XADD s * n {n}"));
    }
    assert_eq!(client.say("EXEC").array().len(), 50);
    drop(server);
    let frames = store.ok(&["inspect", "frames", "s"]);
    let frames = String::from_utf8(frames).expect("text");
    let lines: Vec<&str> = frames.lines().collect();
    assert_eq!(lines.len(), 2, "a head and one frame: {frames}");
    assert!(lines[1].split_whitespace().any(|word| word == "50"), "{frames}");
}

#[test]
fn queued_commands_take_no_more_than_the_query_buffer() {
    let store = Store::new();
    let server = Server::start(&store, &["--query-buffer", "64KiB"]);
    let mut client = server.client();
    client.say("MULTI");
    let words = ["ECHO".to_owned(), "x".repeat(10_000)];
    let lines: Vec<String> = (0..10).map(|_| client.ask(&words).line()).collect();
    assert_eq!(lines[5], "+QUEUED");
    assert_eq!(lines[6], "-ERR the commands of the transaction take more than the query buffer");
    assert_eq!(lines[9], lines[6]);
    assert_eq!(client.say("EXEC").line(), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(client.say("PING").line(), "+PONG");
}
