//! What XINFO tells, and what survives.

use rustix::process::Signal;

use super::groups::{add, expect, five};
use super::rig::{Client, Server};

/// `entries-read` and `lag` of the group.
#[track_caller]
fn progress(client: &mut Client, group: usize) -> String {
    let groups = client.say("XINFO GROUPS s");
    let group = &groups.array()[group];
    format!("{} {} {}", group.get("last-delivered-id").line(), group.get("entries-read").line(), group.get("lag").line())
}

#[test]
fn a_group_says_how_far_it_is_as_redis_would() {
    let (_store, _server, mut client) = five(&[]);
    for line in ["XGROUP CREATE s a 0", "XGROUP CREATE s b $", "XGROUP CREATE s c 3", "XGROUP CREATE s d 3 ENTRIESREAD 3"] {
        assert_eq!(client.say(line).line(), "+OK");
    }
    client.say("XGROUP CREATE s e 3 ENTRIESREAD 99");
    let told: Vec<String> = (0..5).map(|group| progress(&mut client, group)).collect();
    assert_eq!(told, ["0-0 nil :5", "5-0 nil :0", "3-0 nil nil", "3-0 :3 :2", "3-0 :5 :0"]);
    client.say("XREADGROUP GROUP a x COUNT 2 STREAMS s >");
    client.say("XREADGROUP GROUP c x COUNT 1 STREAMS s >");
    client.say("XREADGROUP GROUP d x COUNT 1 NOACK STREAMS s >");
    let told: Vec<String> = (0..4).map(|group| progress(&mut client, group)).collect();
    assert_eq!(told, ["2-0 :2 :3", "5-0 nil :0", "4-0 nil nil", "4-0 :4 :1"]);
    // Deleted ahead of them.
    client.say("XDEL s 5");
    let told: Vec<String> = (0..4).map(|group| progress(&mut client, group)).collect();
    assert_eq!(told[0], "2-0 :2 nil");
    assert_eq!(told[2], "4-0 nil nil");
    client.say("XGROUP SETID s a 0");
    add(&mut client, 6..=6);
    client.say("XREADGROUP GROUP c x STREAMS s >");
    assert_eq!(progress(&mut client, 2), "6-0 :6 :0", "at the end it is known again");
    client.say("XTRIM s MAXLEN 2");
    assert_eq!(client.say("XLEN s").line(), ":2");
    client.say("XCLAIM s d x 0 1 LASTID 4");
    assert_eq!(progress(&mut client, 3), "4-0 :4 nil");
}

#[test]
fn xinfo_has_redis_s_names_in_their_order() {
    let (_store, server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XGROUP CREATECONSUMER s g idle");
    client.say("XREADGROUP GROUP g a COUNT 2 STREAMS s >");
    client.say("XDEL s 4");
    let stream = "length: :4, radix-tree-keys: :1, radix-tree-nodes: :2, last-generated-id: 5-0, max-deleted-entry-id: 4-0, \
                  entries-added: :5, recorded-first-entry-id: 1-0, idmp-duration: :100, idmp-maxsize: :100, pids-tracked: :0, \
                  iids-tracked: :0, iids-added: :0, iids-duplicates: :0";
    let mut three = server.client3();
    expect(
        &mut three,
        &[
            ("XINFO STREAM s", &format!("{{{stream}, groups: :1, first-entry: [1-0 [n 1]], last-entry: [5-0 [n 5]]}}")),
            ("XINFO GROUPS s", "[{name: g, consumers: :2, pending: :2, last-delivered-id: 2-0, entries-read: :2, lag: _}]"),
            ("XINFO STREAM none", "-ERR no such key"),
            ("XINFO GROUPS none", "-ERR no such key"),
            ("XINFO CONSUMERS none g", "-ERR no such key"),
            ("XINFO CONSUMERS s x", "-NOGROUP No such consumer group 'x' for key name 's'"),
            ("XINFO STREAM s FULL COUNT x", "-ERR value is not an integer or out of range"),
            ("XINFO STREAM s HALF", "-ERR syntax error"),
        ],
    );
    let consumers = three.say("XINFO CONSUMERS s g");
    let [a, idle] = consumers.array() else { panic!("{consumers:?}") };
    assert_eq!((a.get("name").text().as_str(), a.get("pending").int()), ("a", 2));
    assert!(a.get("idle").int() >= 0 && a.get("inactive").int() >= 0);
    assert_eq!((idle.get("name").text().as_str(), idle.get("pending").int(), idle.get("inactive").int()), ("idle", 0, -1));
    let full = three.say("XINFO STREAM s FULL COUNT 1");
    assert!(full.line().starts_with(&format!("{{{stream}, entries: [[1-0 [n 1]]], groups: [{{name: g, ")), "{}", full.line());
    let group = &full.get("groups").array()[0].clone();
    assert_eq!((group.get("pel-count").int(), group.get("pending").array().len()), (2, 1));
    let pending = group.get("pending").array()[0].line();
    assert!(pending.starts_with("[1-0 a :") && pending.ends_with(" :1]"), "{pending}");
    let consumer = &group.get("consumers").array()[0].clone();
    assert_eq!((consumer.get("name").text().as_str(), consumer.get("pel-count").int()), ("a", 2));
    assert_eq!(consumer.get("pending").array().len(), 1);
    assert_eq!(client.say("XINFO STREAM s").array().len(), 32);
    assert_eq!(client.say("XINFO STREAM s FULL").array().len(), 30);
    client.say("XTRIM s MAXLEN 0");
    let empty = client.say("XINFO STREAM s");
    let of = |name: &str| empty.get(name).line();
    assert_eq!((of("first-entry"), of("last-entry"), of("recorded-first-entry-id")), ("nil".into(), "nil".into(), "0-0".into()));
    assert_eq!((of("radix-tree-keys"), of("radix-tree-nodes"), of("entries-added")), (":0".into(), ":1".into(), ":5".into()));
}

#[test]
fn all_that_is_told_of_a_group_survives_a_killed_server() {
    let (store, server, mut client) = five(&[]);
    for line in [
        "XGROUP CREATE s g 0",
        "XGROUP CREATECONSUMER s g idle",
        "XREADGROUP GROUP g a COUNT 3 STREAMS s >",
        "XCLAIM s g b 0 2 RETRYCOUNT 9 JUSTID",
        "XNACK s g FAIL IDS 1 3",
        "XGROUP CREATE s h 77-7 ENTRIESREAD 2",
    ] {
        assert!(!client.say(line).line().starts_with('-'), "{line}");
    }
    let ask = |client: &mut Client| {
        let groups = client.say("XINFO GROUPS s").line();
        let pending = client.say("XPENDING s g - + 10");
        let pending: Vec<String> =
            pending.array().iter().map(|row| [0, 1, 3].map(|at| row.array()[at].line()).join(" ")).collect();
        (groups, pending, client.say("XINFO CONSUMERS s g").array().len())
    };
    let before = ask(&mut client);
    assert_eq!(before.1, ["1-0 a :1", "2-0 b :9", "3-0  :1"]);
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    assert_eq!(ask(&mut server.client()), before);
}

#[test]
fn groups_have_settings_of_their_own() {
    let (_store, server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("DRAVE.GROUP CREATE s g 0 lease 5s order none backoff 1s..2s", "+OK"),
            ("DRAVE.GROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists"),
            ("DRAVE.GROUP CREATE none g $ MKSTREAM LEASE 1m", "+OK"),
            (
                "DRAVE.GROUP SET s g max-attempts 3 colour red",
                "-ERR there is no group setting 'colour'; there are order, assign, lease, max-attempts, backoff, no-ack, paused",
            ),
            ("DRAVE.GROUP SET s g max-attempts 3", "+OK"),
            ("DRAVE.GROUP SHOW s x", "-NOGROUP No such consumer group 'x' for key name 's'"),
            ("DRAVE.GROUP PAUSE s g", "+OK"),
            ("XREADGROUP GROUP g c STREAMS s >", "nil*"),
            ("DRAVE.GROUP RESUME s g", "+OK"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "[[s [[1-0 [n 1]]]]]"),
            (
                "DRAVE.GROUP SET s g order key",
                "-ERR order: can change only once the group has settled all records; let it drain first",
            ),
            ("DRAVE.GROUP SEEK s g 3", "+OK"),
            ("XPENDING s g", "[:0 nil nil nil*]"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "[[s [[4-0 [n 4]]]]]"),
        ],
    );
    let shown = server.client3().say("DRAVE.GROUP SHOW s g").line();
    assert_eq!(shown, "{order: none, assign: sticky, lease: 5s, max-attempts: 3, backoff: 1s..2s, no-ack: off, paused: off}");
}
