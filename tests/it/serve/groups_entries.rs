//! Entries that change hands or go back: XCLAIM, XAUTOCLAIM, XNACK, DRAVE.NACK, XPENDING.

use super::groups::{expect, five};
use super::rig::Value;

const NO_GROUP: &str = "-NOGROUP No such key 's' or consumer group 'x'";

/// Rows of XPENDING as ID, consumer and deliveries.
#[track_caller]
fn rows(value: &Value) -> Vec<(String, String, i64)> {
    let row = |row: &Value| {
        let row = row.array();
        assert!(row[2].int() >= 0);
        (row[0].text(), row[1].text(), row[3].int())
    };
    value.array().iter().map(row).collect()
}

fn row(id: &str, consumer: &str, deliveries: i64) -> (String, String, i64) {
    (id.to_owned(), consumer.to_owned(), deliveries)
}

#[test]
fn what_is_pending_is_told_in_both_forms() {
    let (_store, server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XPENDING s x", NO_GROUP),
            ("XPENDING none x - + 10", "-NOGROUP No such key 'none' or consumer group 'x'"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XGROUP CREATECONSUMER s g idle", ":1"),
            ("XPENDING s g", "[:0 nil nil nil*]"),
            ("XPENDING s g - + 10", "[]"),
        ],
    );
    client.say("XREADGROUP GROUP g b COUNT 1 STREAMS s >");
    client.say("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    client.say("XREADGROUP GROUP g a COUNT 1 STREAMS s 0");
    expect(
        &mut client,
        &[
            ("XPENDING s g", "[:4 1-0 4-0 [[a 3] [b 1]]]"),
            ("XPENDING s g IDLE 600000 - + 10", "[]"),
            ("XPENDING s g - + 0", "[]"),
            ("XPENDING s g - + 10 nobody", "[]"),
            ("XPENDING s g - +", "-ERR syntax error"),
            ("XPENDING s g - + x", "-ERR value is not an integer or out of range"),
            ("XPENDING s g x + 10", "-ERR Invalid stream ID specified as stream command argument"),
        ],
    );
    let all = [row("1-0", "b", 1), row("2-0", "a", 2), row("3-0", "a", 1), row("4-0", "a", 1)];
    assert_eq!(rows(&client.say("XPENDING s g - + 10")), all);
    assert_eq!(rows(&client.say("XPENDING s g IDLE 0 (1 3 10")), all[1..3]);
    assert_eq!(rows(&client.say("XPENDING s g - + 2 a")), all[1..3]);
    assert_eq!(server.client3().say("XPENDING s x").line(), NO_GROUP);
}

#[test]
fn entries_are_claimed_as_they_are_named() {
    let (_store, _server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    expect(
        &mut client,
        &[
            ("XCLAIM s x c 0 1", NO_GROUP),
            ("XCLAIM s g c x 1", "-ERR Invalid min-idle-time argument for XCLAIM"),
            ("XCLAIM s g c 0 abc", "-ERR Unrecognized XCLAIM option 'abc'"),
            ("XCLAIM s g c 0 1 IDLE", "-ERR Unrecognized XCLAIM option 'IDLE'"),
            ("XCLAIM s g c 0 1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
            ("XCLAIM s g c 0 1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
            ("XCLAIM s g c 0 1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
            ("XCLAIM s g c 600000 1", "[]"),
            ("XCLAIM s g c 0 2 1 9 5", "[[2-0 [n 2]] [1-0 [n 1]]]"),
            ("XCLAIM s g c 0 3 JUSTID", "[3-0]"),
            ("XCLAIM s g d 0 5 FORCE RETRYCOUNT 7 LASTID 4", "[[5-0 [n 5]]]"),
            ("XREADGROUP GROUP g a STREAMS s >", "[[s [[5-0 [n 5]]]]]"),
            ("XREADGROUP GROUP g b STREAMS s 0", "[[s []]]"),
            ("XDEL s 2", ":1"),
            ("XCLAIM s g d 0 1 2 3 IDLE 700000 RETRYCOUNT 3 JUSTID", "[1-0 3-0]"),
            ("XCLAIM s g e 600000 1 JUSTID TIME 99999999999999", "[1-0]"),
            ("XCLAIM s g e 600000 1 JUSTID", "[]"),
        ],
    );
    let got = rows(&client.say("XPENDING s g - + 10"));
    assert_eq!(got, [row("1-0", "e", 3), row("3-0", "d", 3), row("5-0", "a", 1)]);
}

#[test]
fn what_is_idle_is_claimed_in_turns_until_all_was_looked_at() {
    let (_store, _server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a STREAMS s >");
    expect(
        &mut client,
        &[
            ("XAUTOCLAIM s x c 0 0", NO_GROUP),
            ("XAUTOCLAIM s g c x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
            ("XAUTOCLAIM s g c 0 x", "-ERR Invalid stream ID specified as stream command argument"),
            ("XAUTOCLAIM s g c 0 0 COUNT 0", "-ERR COUNT must be > 0"),
            ("XAUTOCLAIM s g c 0 0 WHAT", "-ERR syntax error"),
            ("XAUTOCLAIM s g c 600000 -", "[0-0 [] []]"),
            ("XAUTOCLAIM s g c -5 - COUNT 2", "[3-0 [[1-0 [n 1]] [2-0 [n 2]]] []]"),
            ("XDEL s 3 5", ":2"),
            ("XAUTOCLAIM s g c 0 (2 COUNT 2 JUSTID", "[5-0 [4-0] [3-0]]"),
            ("XAUTOCLAIM s g c 600000 5", "[0-0 [] [5-0]]"),
            ("XPENDING s g", "[:3 1-0 4-0 [[c 3]]]"),
        ],
    );
    assert_eq!(rows(&client.say("XPENDING s g - + 10")), [row("1-0", "c", 2), row("2-0", "c", 2), row("4-0", "c", 1)]);
}

#[test]
fn entries_that_are_given_back_go_out_before_new_ones() {
    let (_store, server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    expect(
        &mut client,
        &[
            ("XNACK s x FAIL IDS 1 1", NO_GROUP),
            ("XNACK s g MAYBE IDS 1 1", "-ERR syntax error"),
            ("XNACK s g FAIL IDS 0 1", "-ERR Number of IDs must be a positive integer"),
            ("XNACK s g FAIL IDS 2 1", "-ERR The `numids` parameter must match the number of arguments"),
            ("XNACK s g SILENT IDS 2 1 9", ":1"),
            ("XNACK s g FAIL IDS 1 2", ":1"),
            ("XNACK s g FATAL IDS 1 3", ":1"),
            ("XNACK s g FAIL IDS 1 5 RETRYCOUNT 4", ":0"),
            ("XNACK s g FAIL IDS 1 5 RETRYCOUNT 4 FORCE", ":1"),
            ("XPENDING s g", "[:4 1-0 5-0 []]"),
        ],
    );
    let most = i64::from(u32::MAX);
    let got = rows(&client.say("XPENDING s g - + 10"));
    assert_eq!(got, [row("1-0", "", 0), row("2-0", "", 1), row("3-0", "", most), row("5-0", "", 4)]);
    let told = "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]] [4-0 [n 4]] [5-0 [n 5]]]]]";
    let got = client.say("XREADGROUP GROUP g b COUNT 10 STREAMS s >").line();
    assert!(got.contains("[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]]") && got.contains("[4-0 [n 4]]"), "{got}, {told}");
    assert_eq!(client.say("XACK s g 1 2 3 4 5").line(), ":5");
    // Who waits gets what is given back.
    client.say("XADD s 6-0 n 6");
    client.say("XREADGROUP GROUP g a STREAMS s >");
    let mut waiting = server.client();
    waiting.send(&["XREADGROUP", "GROUP", "g", "w", "BLOCK", "0", "STREAMS", "s", ">"]);
    client.wait_for_blocked(1);
    assert_eq!(client.say("XNACK s g FAIL IDS 1 6").line(), ":1");
    assert_eq!(waiting.read().line(), "[[s [[6-0 [n 6]]]]]");
}

#[test]
fn a_client_gives_back_for_a_while_or_for_good() {
    let (store, server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    expect(
        &mut client,
        &[
            ("DRAVE.NACK s x IDS 1 1", NO_GROUP),
            ("DRAVE.NACK s g DELAY x IDS 1 1", "-ERR DELAY must be a number of milliseconds from 0 on"),
            ("DRAVE.NACK s g DELAY 600000 IDS 2 1 9", "[:1 :0]"),
            ("DRAVE.NACK s g DEAD REASON broken IDS 1 2", "[:1 :1]"),
            ("XREADGROUP GROUP g b COUNT 1 STREAMS s >", "[[s [[4-0 [n 4]]]]]"),
            ("DRAVE.NACK s g DELAY 50 IDS 1 3", "[:1 :0]"),
            ("XREADGROUP GROUP g b COUNT 1 BLOCK 0 STREAMS s >", "[[s [[5-0 [n 5]]]]]"),
            // It waits until it is due.
            ("XREADGROUP GROUP g b COUNT 1 BLOCK 0 STREAMS s >", "[[s [[3-0 [n 3]]]]]"),
        ],
    );
    drop(server);
    let letters = store.ok(&["dlq", "list", "-g", "g", "s"]);
    let letters = String::from_utf8_lossy(&letters);
    assert!(letters.contains("broken"), "{letters}");
}

#[test]
fn entries_are_acked_and_deleted_at_once() {
    let (_store, _server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XACKDEL s none IDS 2 1 2", "[:-1 :-1]"),
            ("XACKDEL none g IDS 1 1", "[:-1]"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("XGROUP CREATE s h 0", "+OK"),
            ("XREADGROUP GROUP g a COUNT 4 STREAMS s >", "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]] [4-0 [n 4]]]]]"),
            ("XACKDEL s g ACKED IDS 2 1 5", "[:2 :-1]"),
            ("XREADGROUP GROUP h a COUNT 3 STREAMS s >", "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]]]]]"),
            ("XACK s h 3", ":1"),
            ("XACKDEL s g ACKED IDS 2 2 3", "[:2 :1]"),
            ("XACKDEL s g IDS 1 4", "[:1]"),
            ("XDELEX s ACKED IDS 2 1 9", "[:2 :-1]"),
            ("XDELEX s DELREF IDS 1 1", "[:1]"),
            ("XPENDING s h", "[:1 2-0 2-0 [[a 1]]]"),
            ("XRANGE s - +", "[[2-0 [n 2]] [5-0 [n 5]]]"),
            ("XREADGROUP GROUP h a STREAMS s >", "[[s [[5-0 [n 5]]]]]"),
        ],
    );
}
