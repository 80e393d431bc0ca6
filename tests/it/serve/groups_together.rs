//! A group that is worked on by clients and by `drave consume` at the same time.

use std::collections::BTreeMap;

use super::groups::five;
use super::rig::{Server, Value};
use crate::support::Store;

#[test]
fn clients_and_shells_work_each_record_once() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(client.say("XGROUP CREATE s g 0 MKSTREAM").line(), "+OK");
    let records = 3000;
    for n in 0..records {
        client.send(&["XADD", "s", "*", "n", &n.to_string()]);
    }
    for _ in 0..records {
        client.read();
    }
    let shell = store.start(&["consume", "s", "-g", "g", "--drain", "-o", "%h\\n"]);
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut own = 0;
    loop {
        let got = client.say("XREADGROUP GROUP g wire COUNT 7 STREAMS s >");
        if got == Value::NullArray {
            break;
        }
        let mut ack = vec!["XACK".to_owned(), "s".to_owned(), "g".to_owned()];
        let mut last = None;
        for entry in got.array()[0].array()[1].array() {
            let n: u64 = entry.array()[1].array()[1].text().parse().expect("a number");
            assert!(last.replace(n) < Some(n), "in order");
            *seen.entry(n).or_default() += 1;
            ack.push(entry.array()[0].text());
        }
        own += ack.len() - 3;
        assert_eq!(client.ask(&ack).int() as usize, ack.len() - 3);
    }
    let out = shell.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut last = None;
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let n: u64 = line.trim_start_matches("n=").parse().expect("a number");
        assert!(last.replace(n) < Some(n), "in order");
        *seen.entry(n).or_default() += 1;
    }
    assert_eq!(seen.len(), records);
    assert!(seen.values().all(|times| *times == 1), "each once");
    assert!(own > 0, "the client had its share");
    assert_eq!(client.say("XPENDING s g").line(), "[:0 nil nil nil*]");
}

#[test]
fn what_a_client_has_is_its_own_until_the_lease_has_run_out() {
    let (store, _server, mut client) = five(&[]);
    client.say("DRAVE.GROUP CREATE s g 0 lease 1s");
    client.say("XREADGROUP GROUP g wire COUNT 2 STREAMS s >");
    let began = std::time::Instant::now();
    let out = store.ok(&["consume", "s", "-g", "g", "-n", "3", "-o", "%i\\n"]);
    assert_eq!(String::from_utf8_lossy(&out), "3-0\n4-0\n5-0\n", "not what the client has");
    let out = store.ok(&["consume", "s", "-g", "g", "-n", "2", "-o", "%i\\n"]);
    assert_eq!(String::from_utf8_lossy(&out), "1-0\n2-0\n", "it was silent for too long");
    assert!(began.elapsed().as_millis() >= 900, "{:?}", began.elapsed());
    assert_eq!(client.say("XACK s g 1 2").line(), ":0");
}

#[test]
fn a_group_in_order_gives_each_client_its_lanes_and_those_of_who_has_gone_to_others() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.say("DRAVE.GROUP CREATE s g 0 MKSTREAM order key lease 1s").line(), "+OK");
    let read = |name: &str| ["XREADGROUP", "GROUP", "g", name, "COUNT", "100", "STREAMS", "s", ">"].map(str::to_owned);
    assert_eq!(one.ask(&read("one")), Value::NullArray);
    assert_eq!(two.ask(&read("two")), Value::NullArray);
    for n in 0..200 {
        one.say(&format!("XADD s * key k{} n {n}", n % 40));
    }
    let keys = |value: &Value| -> Vec<(String, String)> {
        let entries = value.array()[0].array()[1].array().to_vec();
        entries.iter().map(|entry| (entry.array()[0].text(), entry.array()[1].array()[1].text())).collect()
    };
    let (first, second) = (keys(&one.ask(&read("one"))), keys(&two.ask(&read("two"))));
    assert!(first.iter().all(|(_, key)| second.iter().all(|(_, other)| key != other)), "no key goes to both");
    assert!(!first.is_empty() && !second.is_empty());
    let refused = "-ERR the group keeps the order of its records: single entries cannot be claimed";
    assert_eq!(one.say("XCLAIM s g one 0 1-0").line(), refused);
    // What the second one had goes to the first, once it is gone and its lease is over.
    drop(two);
    let mut seen: Vec<String> = first.iter().map(|(id, _)| id.clone()).collect();
    let mut got = first;
    while seen.len() < 200 {
        let ack: Vec<String> =
            ["XACK", "s", "g"].iter().map(ToString::to_string).chain(got.iter().map(|(id, _)| id.clone())).collect();
        if ack.len() > 3 {
            assert_eq!(one.ask(&ack).int() as usize, ack.len() - 3);
        }
        let next = ["XREADGROUP", "GROUP", "g", "one", "BLOCK", "20000", "COUNT", "100", "STREAMS", "s", ">"];
        let next = one.ask(&next);
        assert_ne!(next, Value::NullArray, "{} of 200", seen.len());
        got = keys(&next);
        seen.extend(got.iter().map(|(id, _)| id.clone()));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200, "each once");
}
