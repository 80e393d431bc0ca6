//! Channels: who gets what, in which form and order, and what becomes of those who do not read.

use super::rig::{Client, Server};
use crate::support::Store;

/// Sends a line and reads so many replies.
#[track_caller]
fn replies(client: &mut Client, line: &str, count: usize) -> Vec<String> {
    client.send(&line.split(' ').collect::<Vec<_>>());
    (0..count).map(|_| client.read().line()).collect()
}

#[test]
fn subscribing_is_answered_once_a_channel() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(replies(&mut client, "SUBSCRIBE a b a", 3), ["[subscribe a :1]", "[subscribe b :2]", "[subscribe a :2]"]);
    assert_eq!(replies(&mut client, "psubscribe c* *h", 2), ["[psubscribe c* :3]", "[psubscribe *h :4]"]);
    assert_eq!(replies(&mut client, "SSUBSCRIBE s", 1), ["[ssubscribe s :1]"]);
    assert_eq!(replies(&mut client, "UNSUBSCRIBE a zzz", 2), ["[unsubscribe a :3]", "[unsubscribe zzz :3]"]);
    assert_eq!(replies(&mut client, "PUNSUBSCRIBE", 2), ["[punsubscribe *h :2]", "[punsubscribe c* :1]"]);
    assert_eq!(replies(&mut client, "UNSUBSCRIBE", 1), ["[unsubscribe b :0]"]);
    assert_eq!(replies(&mut client, "UNSUBSCRIBE", 1), ["[unsubscribe nil :0]"]);
    assert_eq!(replies(&mut client, "SUNSUBSCRIBE", 1), ["[sunsubscribe s :0]"]);
    assert_eq!(client.say("XLEN s").line(), ":0");
    let mut client = server.client3();
    assert_eq!(replies(&mut client, "SUBSCRIBE a b", 2), [">[subscribe a :1]", ">[subscribe b :2]"]);
    assert_eq!(replies(&mut client, "PUNSUBSCRIBE", 1), [">[punsubscribe _ :2]"]);
}

#[test]
fn a_message_goes_to_all_who_listen_in_their_own_form() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut two, mut three, mut publisher) = (server.client(), server.client3(), server.client());
    replies(&mut two, "SUBSCRIBE news", 1);
    replies(&mut two, "SUBSCRIBE news", 1);
    replies(&mut two, "PSUBSCRIBE n* *s", 2);
    replies(&mut three, "SUBSCRIBE news", 1);
    replies(&mut three, "SSUBSCRIBE news", 1);
    assert_eq!(publisher.say("PUBLISH news hi").line(), ":4");
    assert_eq!(publisher.say("PUBLISH other hi").line(), ":0");
    assert_eq!(publisher.say("SPUBLISH news shard").line(), ":1");
    assert_eq!(two.read().line(), "[message news hi]");
    let mut patterns = [two.read().line(), two.read().line()];
    patterns.sort();
    assert_eq!(patterns, ["[pmessage *s news hi]", "[pmessage n* news hi]"]);
    assert_eq!(three.read().line(), ">[message news hi]");
    assert_eq!(three.read().line(), ">[smessage news shard]");
}

#[test]
fn a_client_that_publishes_to_itself_gets_the_reply_first() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    replies(&mut client, "SUBSCRIBE c", 1);
    assert_eq!(replies(&mut client, "PUBLISH c m", 2), [":1", ">[message c m]"]);
    client.send_bytes(b"MULTI\r\nPUBLISH c 1\r\nXADD s 1-0 a b\r\nPUBLISH c 2\r\nEXEC\r\nPING\r\n");
    let lines: Vec<String> = (0..8).map(|_| client.read().line()).collect();
    assert_eq!(lines[4], "[:1 1-0 :1]");
    assert_eq!(&lines[5..], ["+PONG", ">[message c 1]", ">[message c 2]"]);
    client.send_bytes(b"PUBLISH c before\r\nMULTI\r\nPUBLISH c 3\r\nUNSUBSCRIBE c\r\nEXEC\r\n");
    let lines: Vec<String> = (0..7).map(|_| client.read().line()).collect();
    assert_eq!(&lines[..2], [":1", "+OK"]);
    assert_eq!(&lines[4..], [">[message c before]", "[:1 >[unsubscribe c :0]]", ">[message c 3]"], "never within the array");
}

#[test]
fn nothing_comes_after_the_end_of_a_subscription() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    // The message waits for the commands of the packet: in RESP2 it would be taken for a reply.
    for end in ["UNSUBSCRIBE c", "UNSUBSCRIBE", "RESET"] {
        assert_eq!(client.say("HELLO 3").get("proto").int(), 3);
        client.send_bytes(format!("SUBSCRIBE c\r\nPUBLISH c m\r\n{end}\r\nECHO end\r\n").as_bytes());
        let lines: Vec<String> = (0..5).map(|_| client.read().line()).collect();
        let last = if end == "RESET" { "+RESET" } else { ">[unsubscribe c :0]" };
        assert_eq!(lines, [">[subscribe c :1]", ":1", ">[message c m]", last, "end"]);
    }
}

#[test]
fn a_message_keeps_the_form_that_was_in_force() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.send_bytes(b"SUBSCRIBE c\r\nPUBLISH c m\r\nHELLO 2\r\n");
    let lines: Vec<String> = (0..4).map(|_| client.read().line()).collect();
    assert_eq!(&lines[..3], [">[subscribe c :1]", ":1", ">[message c m]"]);
    assert!(lines[3].starts_with("[server redis version 8.6.0 proto :2"), "{lines:?}");
    server.client().say("PUBLISH c n");
    assert_eq!(client.read().line(), "[message c n]");
}

#[test]
fn a_subscribed_client_of_resp2_may_say_little() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    replies(&mut client, "SUBSCRIBE c", 1);
    assert_eq!(
        client.say("XLEN s").line(),
        "-ERR Can't execute 'xlen': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    assert!(client.say("PUBSUB NUMPAT").line().starts_with("-ERR Can't execute 'pubsub|numpat'"));
    assert_eq!(client.say("PING").line(), "[pong ]");
    assert_eq!(client.say("PING hi").line(), "[pong hi]");
    assert_eq!(client.say("RESET").line(), "+RESET");
    assert_eq!(client.say("PING").line(), "+PONG");
    assert_eq!(server.client().say("PUBLISH c m").line(), ":0");
    let mut client = server.client3();
    replies(&mut client, "SUBSCRIBE c", 1);
    assert_eq!(client.say("XLEN s").line(), ":0");
    assert_eq!(client.say("PING hi").line(), "hi");
}

#[test]
fn pubsub_tells_who_listens() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut one, mut other) = (server.client(), server.client3());
    replies(&mut one, "SUBSCRIBE a ab", 2);
    replies(&mut one, "PSUBSCRIBE p*", 1);
    replies(&mut other, "PSUBSCRIBE p* q*", 2);
    replies(&mut other, "SUBSCRIBE a", 1);
    replies(&mut other, "SSUBSCRIBE s", 1);
    for mut client in [server.client(), server.client3()] {
        assert_eq!(client.say("PUBSUB CHANNELS").line(), "[a ab]");
        assert_eq!(client.say("pubsub channels a?").line(), "[ab]");
        assert_eq!(client.say("PUBSUB NUMSUB a p none").line(), "[a :2 p :0 none :0]");
        assert_eq!(client.say("PUBSUB NUMSUB").line(), "[]");
        assert_eq!(client.say("PUBSUB NUMPAT").line(), ":2");
        assert_eq!(client.say("PUBSUB SHARDCHANNELS").line(), "[s]");
        assert_eq!(client.say("PUBSUB SHARDNUMSUB s a").line(), "[s :1 a :0]");
        assert_eq!(client.say("PUBSUB NOPE").line(), "-ERR unknown subcommand 'NOPE'. Try PUBSUB HELP.");
        assert!(client.say("PUBSUB HELP").line().contains("SHARDNUMSUB"));
    }
    // Those who go are forgotten.
    drop((one, other));
    let mut client = server.client();
    while client.say("PUBSUB CHANNELS").line() != "[]" || client.say("PUBSUB NUMPAT").line() != ":0" {}
}

#[test]
fn client_reply_off_silences_replies_and_no_messages() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.send_bytes(b"CLIENT REPLY OFF\r\nPING\r\nSUBSCRIBE c\r\nPUBLISH c m\r\nNOPE\r\nCLIENT REPLY ON\r\n");
    let lines: Vec<String> = (0..3).map(|_| client.read().line()).collect();
    assert_eq!(lines, [">[subscribe c :1]", "+OK", ">[message c m]"]);
}
/// Publishes some MB to a subscriber that does not read; then what it reads, and what was dropped.
fn flood(policy: &str) -> (Vec<usize>, i64) {
    const COUNT: usize = 40_000;
    let store = Store::new();
    let server = Server::start(&store, &["--slow-subscriber", policy, "--subscriber-buffer", "64KiB"]);
    let mut slow = server.client();
    replies(&mut slow, "SUBSCRIBE c", 1);
    let mut publisher = server.client3();
    let filler = "x".repeat(1000);
    for n in 0..COUNT {
        // What the kernel's buffers take does not count, so there is more.
        publisher.send(&["PUBLISH".to_owned(), "c".to_owned(), format!("{n}:{filler}")]);
        publisher.read();
    }
    let list = publisher.say("CLIENT LIST TYPE pubsub").text();
    let omem = |list: &str| {
        let at = list.find(" omem=").map(|at| &list[at + 6..])?;
        at.split(' ').next()?.parse::<usize>().ok()
    };
    if policy == "close" {
        assert_eq!(list, "");
    } else {
        let omem = omem(&list).expect("a number");
        assert!((32 << 10..512 << 10).contains(&omem), "{list}");
        assert!(list.contains(" dropped="), "{list}");
    }
    let info = publisher.say("INFO stats").text();
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {info}"));
        line.parse::<i64>().expect("a number")
    };
    let dropped = field("pubsub_messages_dropped:");
    assert_eq!(field("pubsub_subscribers_closed:"), i64::from(policy == "close"));
    publisher.say("PUBLISH c last");
    let mut got = Vec::new();
    while let Some(message) = slow.try_read() {
        let text = message.array()[2].text();
        match text.split_once(':') {
            Some((n, _)) => got.push(n.parse().expect("a number")),
            None => break,
        }
        if policy == "drop-newest" && got.len() as i64 + dropped == COUNT as i64 {
            break;
        }
    }
    if policy != "close" {
        assert_eq!(got.len() as i64 + dropped, COUNT as i64, "each message came or was counted");
    }
    (got, dropped)
}

#[test]
fn a_subscriber_that_does_not_read_loses_the_oldest_messages() {
    let (got, dropped) = flood("drop-oldest");
    assert!(dropped > 1000 && got.is_sorted());
    assert_eq!((got.first(), got.last()), (Some(&0), Some(&39_999)));
}

#[test]
fn or_the_newest_ones() {
    let (got, dropped) = flood("drop-newest");
    assert!(dropped > 1000);
    assert!(got.iter().enumerate().all(|(index, n)| index == *n), "without a hole");
}

#[test]
fn or_is_closed() {
    let (got, dropped) = flood("close");
    assert!(dropped >= 1 && got.len() < 39_999);
}
