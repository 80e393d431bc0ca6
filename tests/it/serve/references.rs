//! Trimming by what groups refer to: KEEPREF, DELREF and ACKED in XADD and XTRIM; and what XACKDEL waits for.

use rustix::process::Signal;

use super::groups::{expect, five};
use super::rig::{Client, Server};
use crate::rig::traced;
use crate::support::Store;

const LEVELS: [&[&str]; 3] = [&[], &["durability=async"], &["durability=none"]];

/// A topic of five, in each level of durability.
fn each_level(run: impl Fn(&mut Client)) {
    for settings in LEVELS {
        let store = Store::new();
        if !settings.is_empty() {
            store.ok(&[&["topic", "create", "s"], settings].concat());
        }
        let server = Server::start(&store, &[]);
        let mut client = server.client();
        for n in 1..=5 {
            assert_eq!(client.say(&format!("XADD s {n}-0 n {n}")).line(), format!("{n}-0"));
        }
        run(&mut client);
    }
}

#[test]
fn what_is_trimmed_is_pending_nowhere() {
    each_level(|client| {
        client.say("XGROUP CREATE s g 0");
        client.say("XGROUP CREATE s h 0");
        client.say("XREADGROUP GROUP g a COUNT 4 STREAMS s >");
        client.say("XREADGROUP GROUP h b COUNT 3 STREAMS s >");
        expect(
            client,
            &[
                ("XTRIM s MAXLEN = 3 DELREF", ":2"),
                ("XPENDING s g", "[:2 3-0 4-0 [[a 2]]]"),
                ("XPENDING s h", "[:1 3-0 3-0 [[b 1]]]"),
                ("XADD s DELREF MINID 4 6-0 n 6", "6-0"),
                ("XPENDING s g", "[:1 4-0 4-0 [[a 1]]]"),
                ("XPENDING s h", "[:0 nil nil nil*]"),
                ("XRANGE s - +", "[[4-0 [n 4]] [5-0 [n 5]] [6-0 [n 6]]]"),
                ("XTRIM s KEEPREF MAXLEN 3", ":0"),
                ("XTRIM s MAXLEN 3 DELREF", ":0"),
            ],
        );
    });
}

#[test]
fn what_is_not_acknowledged_everywhere_is_skipped() {
    each_level(|client| {
        expect(
            client,
            &[
                ("XGROUP CREATE s g 0", "+OK"),
                // Nobody has read any.
                ("XADD s MAXLEN = 1 ACKED 6-0 n 6", "6-0"),
                ("XLEN s", ":6"),
                (
                    "XREADGROUP GROUP g a COUNT 5 STREAMS s >",
                    "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]] [4-0 [n 4]] [5-0 [n 5]]]]]",
                ),
                ("XACK s g 1-0 3-0 5-0", ":3"),
                // It stops at the threshold.
                ("XTRIM s ACKED MAXLEN 4", ":2"),
                ("XRANGE s - +", "[[2-0 [n 2]] [4-0 [n 4]] [5-0 [n 5]] [6-0 [n 6]]]"),
                ("XTRIM s MAXLEN 1 ACKED", ":1"),
                ("XRANGE s - +", "[[2-0 [n 2]] [4-0 [n 4]] [6-0 [n 6]]]"),
                ("XTRIM s MAXLEN 1 ACKED", ":0"),
                ("XACK s g 4-0", ":1"),
                // Below an ID, too; another group has not read any of it.
                ("XGROUP CREATE s h 2-0", "+OK"),
                ("XTRIM s MINID 6 ACKED", ":0"),
                ("XREADGROUP GROUP h b COUNT 1 STREAMS s >", "[[s [[4-0 [n 4]]]]]"),
                ("XTRIM s MINID 6 ACKED", ":0"),
                ("XACK s h 4-0", ":1"),
                ("XTRIM s MINID 6 ACKED", ":1"),
                ("XRANGE s - +", "[[2-0 [n 2]] [6-0 [n 6]]]"),
                ("XACK s g 2-0", ":1"),
                ("XADD s MAXLEN 1 ACKED 7-0 n 7", "7-0"),
                ("XRANGE s - +", "[[6-0 [n 6]] [7-0 [n 7]]]"),
            ],
        );
        // Trimming does not count as deleting.
        assert_eq!(client.say("XINFO STREAM s").get("max-deleted-entry-id").text(), "0-0");
    });
}

#[test]
fn without_groups_everything_is_acknowledged() {
    each_level(|client| {
        expect(
            client,
            &[
                ("XDEL s 1-0 4-0", ":2"),
                ("XTRIM s MAXLEN 1 ACKED", ":2"),
                ("XRANGE s - +", "[[5-0 [n 5]]]"),
                ("XTRIM s MAXLEN ~ 0 ACKED", ":0"),
                ("XTRIM none MAXLEN 0 ACKED", ":0"),
            ],
        );
    });
}

#[test]
fn only_one_word_says_what_becomes_of_references() {
    let (_store, _server, mut client) = five(&[]);
    expect(
        &mut client,
        &[
            ("XTRIM s MAXLEN 1 ACKED DELREF", "-ERR syntax error"),
            ("XTRIM s DELREF KEEPREF", "-ERR syntax error"),
            ("XADD s DELREF KEEPREF * f v", "-ERR Invalid stream ID specified as stream command argument"),
            ("XADD s DELREF 9-0 f v", "9-0"),
            ("XLEN s", ":6"),
        ],
    );
}

#[test]
fn what_was_trimmed_by_references_stays_so() {
    let (store, server, mut client) = five(&[]);
    client.say("XGROUP CREATE s g 0");
    client.say("XREADGROUP GROUP g a STREAMS s >");
    expect(&mut client, &[("XACK s g 2-0 4-0", ":2"), ("XTRIM s MAXLEN 0 ACKED", ":2"), ("XTRIM s MAXLEN 2 DELREF", ":1")]);
    drop(client);
    server.end(Signal::KILL);
    let server = Server::start(&store, &[]);
    expect(&mut server.client(), &[("XRANGE s - +", "[[3-0 [n 3]] [5-0 [n 5]]]"), ("XPENDING s g", "[:2 3-0 5-0 [[a 2]]]")]);
}

/// Each of the files that a reply of XACKDEL depends on, in turn, cannot be synced. The first deletion of a topic
/// goes another way than those after it.
#[test]
fn xackdel_waits_for_the_deletion_and_for_all_journals() {
    for (file, is_first) in [("deleted", false), ("groups/g", false), ("groups/h", false), ("groups/g", true), ("groups/h", true)]
    {
        for broken in [false, true] {
            let (store, server, mut client) = five(&[]);
            for group in ["g", "h"] {
                client.say(&format!("XGROUP CREATE s {group} 0"));
                client.say(&format!("XREADGROUP GROUP {group} a STREAMS s >"));
            }
            if !is_first {
                client.say("XDEL s 5-0");
            }
            drop(client);
            server.end(Signal::TERM);
            let path = store.path().join("topics/s").join(file).join("00000000000000000000.log");
            assert!(path.exists(), "{}", path.display());
            let inject = if broken { "fdatasync:error=EIO" } else { "fdatasync:delay_enter=1" };
            let server = Server::started(traced(&store, &["serve", "--resp", "127.0.0.1:0"], &path, inject).child);
            let reply = server.client().say("XACKDEL s g DELREF IDS 1 2-0").line();
            if broken {
                // Of the sync that failed, or of the repair that did not help.
                assert!(reply.starts_with('-') && reply.contains("sync"), "{file}: {reply}");
            } else {
                assert_eq!(reply, "[:1]", "{file}");
            }
        }
    }
}
