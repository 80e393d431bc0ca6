//! XGROUP, XREADGROUP, XACK and what else concerns consumer groups.

use rustix::process::Signal;

use super::rig::{Client, Server, Value};
use crate::support::Store;

/// A server with a topic `s` of the records `1-0` to `5-0`, each with the field `n`.
pub(super) fn five(words: &[&str]) -> (Store, Server, Client) {
    let store = Store::new();
    let server = Server::start(&store, words);
    let mut client = server.client();
    add(&mut client, 1..=5);
    (store, server, client)
}

pub(super) fn add(client: &mut Client, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        assert_eq!(client.say(&format!("XADD s {n}-0 n {n}")).line(), format!("{n}-0"));
    }
}

#[track_caller]
pub(super) fn expect(client: &mut Client, pairs: &[(&str, &str)]) {
    for (line, reply) in pairs {
        assert_eq!(client.say(line).line(), *reply, "{line}");
    }
}

const NO_KEY: &str = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                      MKSTREAM option to create an empty stream automatically.";

#[test]
fn groups_are_made_and_ended() {
    let (_store, _server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XGROUP CREATE none g 0", NO_KEY),
            ("XGROUP CREATE none g 0 MKSTREAM", "+OK"),
            ("XLEN none", ":0"),
            ("XGROUP CREATE s g 0", "+OK"),
            ("xgroup create s g $", "-BUSYGROUP Consumer Group name already exists"),
            ("XGROUP CREATE s h +", "-ERR Invalid stream ID specified as stream command argument"),
            ("XGROUP CREATE s h 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
            ("XGROUP CREATE s h 0 ENTRIESREAD x", "-ERR value is not an integer or out of range"),
            ("XGROUP Create s h 0 what", "-ERR unknown subcommand or wrong number of arguments for 'Create'. Try XGROUP HELP."),
            ("XGROUP CREATE s h", "-ERR wrong number of arguments for 'xgroup|create' command"),
            ("XGROUP", "-ERR wrong number of arguments for 'xgroup' command"),
            ("XGROUP WHAT s", "-ERR unknown subcommand 'WHAT'. Try XGROUP HELP."),
            ("XGROUP CREATECONSUMER s g c", ":1"),
            ("XGROUP CREATECONSUMER s g c", ":0"),
            ("XGROUP CREATECONSUMER s x c", "-NOGROUP No such consumer group 'x' for key name 's'"),
            ("XGROUP CREATECONSUMER x g c", NO_KEY),
            ("XGROUP DELCONSUMER s g nobody", ":0"),
            ("XGROUP SETID s x 0", "-NOGROUP No such consumer group 'x' for key name 's'"),
            ("XGROUP DESTROY x g", NO_KEY),
            ("XGROUP DESTROY s x", ":0"),
            ("XGROUP DESTROY s g", ":1"),
            ("XGROUP DESTROY s g", ":0"),
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
            ),
        ],
    );
    assert!(client.say("XGROUP HELP").array()[0].text().starts_with("XGROUP <subcommand>"));
}

#[test]
fn a_consumer_gets_new_records_once_and_what_it_has_again() {
    let (_store, server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XGROUP CREATE s g 0", "+OK"),
            ("XREADGROUP GROUP g a COUNT 2 STREAMS s >", "[[s [[1-0 [n 1]] [2-0 [n 2]]]]]"),
            ("XREADGROUP GROUP g b COUNT 1 STREAMS s >", "[[s [[3-0 [n 3]]]]]"),
            ("XREADGROUP GROUP g a STREAMS s 0", "[[s [[1-0 [n 1]] [2-0 [n 2]]]]]"),
            ("XREADGROUP GROUP g a STREAMS s 1", "[[s [[2-0 [n 2]]]]]"),
            ("XREADGROUP GROUP g a STREAMS s 2", "[[s []]]"),
            ("XREADGROUP GROUP g c STREAMS s 0", "[[s []]]"),
            ("XACK s g 1", ":1"),
            ("XACK s g 1-0 2-0 2-0 4-0 9-0", ":1"),
            ("XREADGROUP GROUP g a STREAMS s 0", "[[s []]]"),
            ("XREADGROUP GROUP g a NOACK STREAMS s >", "[[s [[4-0 [n 4]] [5-0 [n 5]]]]]"),
            ("XREADGROUP GROUP g a STREAMS s >", "nil*"),
            ("XREADGROUP GROUP g a STREAMS s 0", "[[s []]]"),
            ("XGROUP DELCONSUMER s g b", ":1"),
            ("XACK s g 3", ":0"),
            ("XGROUP SETID s g 3", "+OK"),
            ("XREADGROUP GROUP g a COUNT 1 STREAMS s >", "[[s [[4-0 [n 4]]]]]"),
        ],
    );
    let mut client = server.client3();
    expect(
        &mut client,
        &[
            ("XREADGROUP GROUP g a STREAMS s >", "{s: [[5-0 [n 5]]]}"),
            ("XREADGROUP GROUP g a STREAMS s >", "_"),
            ("XREADGROUP GROUP g a STREAMS s s 4 5", "{s: [[5-0 [n 5]]], s: []}"),
        ],
    );
}

#[test]
fn xreadgroup_refuses_as_redis_does() {
    let (_store, _server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    let meaningless = |id: &str| {
        format!(
            "-ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
        )
    };
    expect(
        &mut client,
        &[
            ("XREADGROUP GROUP g c STREAMS s $", &meaningless("$")),
            ("XREADGROUP GROUP g c STREAMS s +", &meaningless("+")),
            ("XREADGROUP GROUP g c STREAMS s x", "-ERR Invalid stream ID specified as stream command argument"),
            (
                "XREADGROUP GROUP g c STREAMS s s >",
                "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
            ),
            ("XREADGROUP COUNT 1 BLOCK 1 STREAMS s >", "-ERR Missing GROUP option for XREADGROUP"),
            ("XREADGROUP GROUP g c BLOCK -1 STREAMS s >", "-ERR timeout is negative"),
            ("XREADGROUP GROUP g c BLOCK x STREAMS s >", "-ERR timeout is not an integer or out of range"),
            ("XREADGROUP GROUP g c CLAIM x STREAMS s >", "-ERR min-idle-time is not an integer or out of range"),
            ("XREADGROUP GROUP g c CLAIM -1 STREAMS s >", "-ERR min-idle-time must be a positive integer"),
            ("XREADGROUP GROUP g c WHAT 1 STREAMS s >", "-ERR syntax error"),
            (
                "XREADGROUP GROUP x c STREAMS s x",
                "-NOGROUP No such key 's' or consumer group 'x' in XREADGROUP with GROUP option",
            ),
            ("XACK none g abc", ":0"),
            ("XACK s none abc", ":0"),
            ("XREADGROUP GROUP g c COUNT 2 STREAMS s >", "[[s [[1-0 [n 1]] [2-0 [n 2]]]]]"),
            ("XACK s g 1 abc", "-ERR Invalid stream ID specified as stream command argument"),
            ("XACK s g 1", ":1"),
            ("XACK s g", "-ERR wrong number of arguments for 'xack' command"),
        ],
    );
}

#[test]
fn a_group_waits_behind_the_id_it_was_given() {
    let (_store, _server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XGROUP CREATE s g 7-0", "+OK"),
            ("XGROUP CREATE s h 3", "+OK"),
            ("XADD s 6-0 n 6", "6-0"),
            ("XADD s 8-0 n 8", "8-0"),
            ("XREADGROUP GROUP g c STREAMS s >", "[[s [[8-0 [n 8]]]]]"),
            ("XREADGROUP GROUP h c COUNT 2 STREAMS s >", "[[s [[4-0 [n 4]] [5-0 [n 5]]]]]"),
        ],
    );
}

#[test]
fn what_is_claimed_by_a_reader_comes_first_and_says_how_it_was() {
    let (_store, _server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a COUNT 2 STREAMS s >");
    let rows = |value: Value| -> Vec<(String, i64)> {
        let rows = value.array()[0].array()[1].array().to_vec();
        rows.iter().map(|row| (row.array()[0].text(), row.array()[3].int())).collect()
    };
    assert_eq!(client.say("XREADGROUP GROUP g b CLAIM 600000 COUNT 1 STREAMS s >").line(), "[[s [[3-0 [n 3] :0 :0]]]]");
    let got = rows(client.say("XREADGROUP GROUP g b COUNT 4 CLAIM 0 STREAMS s >"));
    assert_eq!(got, [("1-0".to_owned(), 1), ("2-0".to_owned(), 1), ("3-0".to_owned(), 1), ("4-0".to_owned(), 0)]);
    expect(&mut client, &[("XREADGROUP GROUP g a STREAMS s 0", "[[s []]]"), ("XACK s g 1 2 3 4", ":4")]);
}

#[test]
fn who_blocked_first_is_served_first_and_who_has_gone_gets_nothing() {
    let (_store, server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g $");
    let mut gone = server.client();
    gone.say("PING");
    gone.send(&["XREADGROUP", "GROUP", "g", "gone", "BLOCK", "0", "STREAMS", "s", ">"]);
    client.wait_for_blocked(1);
    drop(gone);
    client.wait_for_blocked(0);
    let mut waiting: Vec<Client> = Vec::new();
    for n in 0..3 {
        let mut blocked = server.client();
        blocked.send(&["XREADGROUP", "GROUP", "g", &format!("c{n}"), "BLOCK", "0", "COUNT", "1", "STREAMS", "s", ">"]);
        client.wait_for_blocked(n + 1);
        waiting.push(blocked);
    }
    for (n, waiting) in (6..).zip(&mut waiting) {
        client.say(&format!("XADD s {n}-0 n {n}"));
        assert_eq!(waiting.read().line(), format!("[[s [[{n}-0 [n {n}]]]]]"));
    }
    assert_eq!(client.say("XREADGROUP GROUP g c BLOCK 20 STREAMS s >").line(), "nil*", "its time is over");
    let mut blocked = server.client();
    blocked.send(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]);
    client.wait_for_blocked(1);
    assert_eq!(client.say("XGROUP DESTROY s g").line(), ":1");
    let told = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    assert_eq!(blocked.read().line(), told);
}

#[test]
fn a_group_that_a_shell_deletes_is_gone_and_its_namesake_is_another() {
    let (store, _server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a STREAMS s >");
    store.ok(&["group", "delete", "--yes", "s", "g"]);
    let told = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    assert_eq!(client.say("XREADGROUP GROUP g a STREAMS s >").line(), told);
    store.ok(&["group", "create", "s", "g", "--from", "start"]);
    expect(&mut client, &[("XREADGROUP GROUP g a COUNT 1 STREAMS s >", "[[s [[1-0 [n 1]]]]]"), ("XACK s g 1 2 3", ":1")]);
}

#[test]
fn a_group_goes_on_after_the_server_was_killed() {
    let (store, server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XGROUP CREATE s g 0", "+OK"),
            ("XGROUP CREATECONSUMER s g idle", ":1"),
            ("XREADGROUP GROUP g a COUNT 3 STREAMS s >", "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]]]]]"),
            ("XACK s g 2", ":1"),
        ],
    );
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("XGROUP CREATECONSUMER s g idle", ":0"),
            ("XREADGROUP GROUP g a STREAMS s 0", "[[s [[1-0 [n 1]] [3-0 [n 3]]]]]"),
            ("XACK s g 3 2 1", ":2"),
            ("XREADGROUP GROUP g b STREAMS s >", "[[s [[4-0 [n 4]] [5-0 [n 5]]]]]"),
        ],
    );
}
