//! What clients see of a topic that is compacted under the server.

use rustix::process::Signal;

use super::rig::Server;
use crate::support::Store;

#[test]
fn lengths_ranges_and_groups_agree_on_what_compaction_has_left() {
    let store = Store::new();
    store.ok(&["topic", "create", "s", "segment-bytes=4KiB", "durability=async", "compact=on"]);
    let server = Server::start(&store, &["--upkeep-every", "1h"]);
    let mut client = server.client();
    let value = "x".repeat(100);
    client.say("XADD s 1-0 key k value first");
    client.say("XGROUP CREATE s g 0");
    for n in 2..=200 {
        client.say(&format!("XADD s {n}-0 key k{} value {value}", n % 10));
    }
    // Pending entries of keys that have newer records.
    assert_eq!(client.say("XREADGROUP GROUP g me COUNT 30 STREAMS s >").array()[0].array()[1].array().len(), 30);
    store.ok(&["compact"]);
    let count = |client: &mut super::rig::Client, words: &str| client.say(words).array().len() as i64;
    let length = client.say("XLEN s").int();
    assert!((11..100).contains(&length), "{length}");
    assert_eq!((count(&mut client, "XRANGE s - +"), count(&mut client, "XREVRANGE s + -")), (length, length));
    assert_eq!(client.say("XINFO STREAM s").get("length").int(), length);
    // The first record is the only one of its key; of the others the newest are left.
    assert_eq!(client.say("XRANGE s - 5-0").line(), "[[1-0 [key k value first]]]");
    let claimed = client.say("XAUTOCLAIM s g other 0 0 COUNT 100");
    assert_eq!((claimed.array()[1].array().len(), claimed.array()[0].line()), (1, "0-0".to_owned()));
    assert_eq!(client.say("XPENDING s g").array()[0].int(), 1, "entries whose records are no more are settled");
    // The group goes on behind them.
    let mut rest = 0;
    loop {
        let told = client.say("XREADGROUP GROUP g me COUNT 7 STREAMS s >");
        if told.line() == "nil*" {
            break;
        }
        rest += told.array()[0].array()[1].array().len() as i64;
    }
    assert_eq!(rest, length - 1);
    let last = client.say("XTRIM s MAXLEN 5").int();
    assert_eq!((last, client.say("XLEN s").int(), count(&mut client, "XRANGE s - +")), (length - 5, 5, 5));
    let (status, said) = server.end(Signal::TERM);
    assert_eq!((status, said.as_str()), (Some(0), ""));
}
