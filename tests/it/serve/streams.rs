//! XADD, XLEN, XRANGE, XREVRANGE, XREAD and what shells see of it.

use rustix::process::Signal;

use super::rig::Server;
use crate::support::Store;

#[test]
fn what_is_added_is_read_in_both_directions() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for n in 1..=5 {
        assert_eq!(client.say(&format!("XADD s {n}-0 a {n} a again")).line(), format!("{n}-0"));
    }
    assert_eq!(client.say("XLEN s").line(), ":5");
    assert_eq!(client.say("XRANGE s - + COUNT 2").line(), "[[1-0 [a 1 a again]] [2-0 [a 2 a again]]]");
    assert_eq!(client.say("XREVRANGE s (5-0 3 COUNT 10").line(), "[[4-0 [a 4 a again]] [3-0 [a 3 a again]]]");
    assert_eq!(client.say("XRANGE none - +").line(), "[]");
    assert_eq!(client.say("XRANGE s - + COUNT 0").line(), "nil*");
    assert!(client.say("XADD s 5-0 a b").line().contains("equal or smaller"));
    let (status, said) = server.end(Signal::TERM);
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[test]
fn reads_have_a_shape_in_each_protocol() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut two, mut three) = (server.client(), server.client());
    three.say("XADD a 1-0 f 1");
    three.say("XADD a 2-0 f 2");
    three.say("XADD b 1-1 g 1");
    assert_eq!(two.say("XREAD COUNT 1 STREAMS a none b 0 0 0").line(), "[[a [[1-0 [f 1]]]] [b [[1-1 [g 1]]]]]");
    assert_eq!(two.say("XREAD STREAMS a b 2 1-1").line(), "nil*");
    assert_eq!(two.say("XREAD STREAMS a b + +").line(), "[[a [[2-0 [f 2]]]] [b [[1-1 [g 1]]]]]");
    assert_eq!(two.say("XREAD STREAMS a $").line(), "nil*");
    let refused = [
        ("XREAD STREAMS a", "-ERR wrong number of arguments for 'xread' command"),
        (
            "XREAD STREAMS a b 0",
            "-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
        ),
        ("XREAD BLOCK -1 STREAMS a 0", "-ERR timeout is negative"),
        ("XREAD BLOCK x STREAMS a 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD COUNT 1 a 0", "-ERR syntax error"),
        ("XREAD STREAMS a x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XREAD NOACK STREAMS a 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
    ];
    for (request, error) in refused {
        assert_eq!(two.say(request).line(), error);
    }
}

#[test]
fn a_blocked_reader_wakes_for_records_of_whoever_publishes() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut reader, mut writer) = (server.client(), server.client());
    // Of a topic that is not there yet, by a client.
    reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
    writer.wait_for_blocked(1);
    writer.say("XADD s 1-0 n 1");
    assert_eq!(reader.read().line(), "[[s [[1-0 [n 1]]]]]");
    // By a shell, of a topic that is there, and of one that is not.
    for topic in ["s", "new"] {
        reader.send(&["XREAD", "BLOCK", "0", "STREAMS", topic, "$"]);
        writer.wait_for_blocked(1);
        store.ok(&["publish", topic, "from a shell"]);
        let got = reader.read().line();
        assert!(got.contains("[value from a shell]"), "{got}");
    }
    // Nothing comes, and those who go leave nobody behind.
    assert_eq!(reader.say("XREAD BLOCK 10 STREAMS s $").line(), "nil*");
    reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
    writer.wait_for_blocked(1);
    drop(reader);
    writer.wait_for_blocked(0);
}

#[test]
fn what_the_shell_publishes_is_read_as_entries_and_the_other_way_round() {
    let store = Store::new();
    store.ok(&["publish", "t", "-k", "k", "-H", "h=1", "v"]);
    store.ok(&["publish", "t", "--tombstone", "-k", "gone"]);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let read = client.say("XRANGE t - +");
    let fields: Vec<String> = read.array().iter().map(|entry| entry.array()[1].line()).collect();
    assert_eq!(fields, ["[key k value v h 1]", "[key gone]"]);
    client.say("XADD t 9999999999999-1 value from-a-client");
    client.say("XADD t 9999999999999-2 a 1 a 2");
    let shown = store.ok(&["tail", "t", "-n", "2", "-o", "%i %v %h\\n"]);
    assert_eq!(String::from_utf8_lossy(&shown), "9999999999999-1 from-a-client \n9999999999999-2  a=1,a=2\n");
}
