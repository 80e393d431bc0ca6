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
    assert_eq!(client.say("XREVRANGE s (5 3 COUNT 10").line(), "[[4-0 [a 4 a again]] [3-0 [a 3 a again]]]");
    assert_eq!(client.say("XRANGE none - +").line(), "[]");
    assert_eq!(client.say("XRANGE s - + COUNT 0").line(), "nil*");
    assert!(client.say("XADD s 5-0 a b").line().contains("equal or smaller"));
    let (status, said) = server.end(Signal::TERM);
    assert_eq!((status, said.as_str()), (Some(0), ""));
}
