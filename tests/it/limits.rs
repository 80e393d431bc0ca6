//! Rate limits: across processes, without a server; refused, waited for, changed, counted.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::wait_until;
use crate::serve::rig::Server;
use crate::support::Store;

/// What `inspect limits` says of one bucket.
fn counted(store: &Store, limit: &str, counts: &str) -> serde_json::Map<String, serde_json::Value> {
    let printed = String::from_utf8(store.ok(&["inspect", "limits", "--json"])).expect("UTF-8");
    let rows = printed.lines().map(|line| serde_json::from_str::<serde_json::Map<_, _>>(line).expect("an object"));
    rows.into_iter().find(|row| row["limit"] == limit && row["counts"] == counts).expect("the limit is listed")
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

#[test]
fn over_the_limit_is_exit_9_and_nothing_of_it_is_stored() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=3"]);
    store.ok(&["publish", "t", "a", "b"]);
    let refused = store.run(&["publish", "t", "c", "d"]);
    assert_eq!(refused.code(), 9);
    assert!(refused.stderr().contains("t: over the rate limit of topic:t; try again in 3"), "{}", refused.stderr());
    store.ok(&["publish", "t", "c"]);
    let refused = store.run(&["publish", "t", "x", "--limit-wait", "1s"]);
    assert_eq!((refused.code(), refused.stdout()), (9, ""), "it is not waited in vain");
    assert_eq!(store.ok(&["replay", "t"]), b"a\nb\nc\n");
    let row = counted(&store, "topic:t", "records");
    assert_eq!((&row["allowed"], &row["denied"]), (&3.into(), &3.into()));
}

#[test]
fn what_is_more_than_a_burst_goes_in_pieces() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=4"]);
    let refused = store.run_with(&["publish", "t", "--receipts"], &lines(10));
    assert_eq!(refused.code(), 9);
    assert_eq!(refused.stdout().lines().count(), 4);
    assert!(refused.stderr().contains("published 4 records, last offset 3"), "{}", refused.stderr());
    // Pieces of ten, a thousand a second; each has its receipt, in the input's order.
    store.ok(&["limit", "set", "topic:t", "1000/s", "--burst", "10"]);
    let objects: Vec<u8> = (0..200).flat_map(|n| format!("{{\"topic\":\"t\",\"value\":\"{n}\"}}\n").into_bytes()).collect();
    let printed = store.ok_with(&["publish", "--json", "--by-topic", "--receipts", "--limit-wait", "1m"], &objects);
    let offsets: Vec<&str> =
        std::str::from_utf8(&printed).expect("UTF-8").lines().map(|l| l.split('\t').next().expect("one")).collect();
    assert_eq!(offsets, (4..204).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(store.ok(&["replay", "t", "--from", "4"]), lines(200));
    // One record that is larger than the burst goes when the bucket is full.
    store.ok(&["limit", "set", "topic:t", "1KB/h", "--burst", "10"]);
    store.ok(&["publish", "t", "a record of more than ten bytes"]);
    assert_eq!(store.run(&["publish", "t", ""]).code(), 9);
}

#[test]
fn a_replay_into_a_topic_passes_its_limits_in_pieces() {
    let store = Store::new();
    store.ok_with(&["publish", "from"], &lines(50));
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=5"]);
    let refused = store.run(&["replay", "from", "--into", "t"]);
    assert_eq!(refused.code(), 9);
    assert!(refused.stderr().contains("t: published 5 records, last offset 4"), "{}", refused.stderr());
    assert_eq!(store.ok(&["replay", "t"]), lines(5));
    store.ok(&["limit", "set", "topic:t", "1000/s", "--burst", "10"]);
    store.ok(&["replay", "from", "--into", "t", "--limit-wait", "1m"]);
    assert_eq!(store.ok(&["replay", "t", "--from", "5"]), lines(50));
    assert!(counted(&store, "topic:t", "records")["waited"].as_u64() >= Some(1));
}

#[test]
fn many_processes_share_a_limit_and_one_that_is_killed_holds_up_nobody() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "durability=none", "rate=200/s", "burst=1"]);
    let mut children: Vec<_> = (0..4).map(|_| store.start(&["publish", "t", "--limit-wait", "5m"])).collect();
    for child in &mut children {
        child.stdin.take().expect("a pipe").write_all(&lines(100)).expect("it reads");
    }
    let began = Instant::now();
    let mut killed = children.pop().expect("four");
    let pid = Pid::from_raw(i32::try_from(killed.id()).expect("small")).expect("not 0");
    kill_process(pid, Signal::KILL).expect("it runs");
    killed.wait().expect("it ends");
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
    // 300 at least at 200 a second. Above, the machine may be as slow as it likes.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1300), "{took:?}");
    let row = counted(&store, "topic:t", "records");
    assert!(row["allowed"].as_u64() >= Some(300) && row["waited"].as_u64() >= Some(290), "{row:?}");
    assert!(row["waited_ms"].as_u64() >= Some(1000), "{row:?}");
}

#[test]
fn a_change_holds_at_once_for_who_waits_already() {
    let store = Store::new();
    store.ok(&["topic", "create", "t"]);
    store.ok(&["limit", "set", "global", "2/m"]);
    store.ok(&["publish", "t", "the burst"]);
    let began = Instant::now();
    let waiting = store.start(&["publish", "t", "waits", "--limit-wait", "3h"]);
    // It has taken its turn, for which it would sleep half a minute.
    while counted(&store, "global", "records")["waited"].as_u64() == Some(0) {
        std::thread::yield_now();
    }
    store.ok(&["limit", "set", "global", "1000/s"]);
    let output = waiting.wait_with_output().expect("it ends");
    assert!(output.status.success() && began.elapsed() < Duration::from_secs(25), "{output:?}");
    assert_eq!(store.ok(&["replay", "t"]), b"the burst\nwaits\n");
}

#[test]
fn what_is_refused_for_another_reason_takes_nothing() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=3"]);
    for _ in 0..4 {
        assert_eq!(store.run(&["publish", "t", "a", "b", "--expect-offset", "7"]).code(), 12);
    }
    store.ok(&["publish", "t", "a", "b"]);
    assert_eq!(counted(&store, "topic:t", "records")["allowed"], 2);
    let server = Server::start(&store, &[]);
    store.ok(&["topic", "create", "s", "rate=1/h", "burst=2"]);
    let mut client = server.client();
    assert_eq!(client.say("XADD s 5-1 f v").line(), "5-1");
    for _ in 0..4 {
        assert!(client.say("XADD s 5-1 f v").line().contains("equal or smaller"));
    }
    assert_eq!(client.say("XADD s 6-1 f v").line(), "6-1");
    assert!(client.say("XADD s 7-1 f v").line().starts_with("-LIMIT"));
}

#[test]
fn all_limits_are_taken_or_none() {
    let store = Store::new();
    store.ok(&["topic", "create", "narrow", "rate=1/h", "burst=1"]);
    store.ok(&["limit", "set", "global", "1/h", "--burst", "5"]);
    store.ok(&["publish", "narrow", "x"]);
    for _ in 0..10 {
        assert_eq!(store.run(&["publish", "narrow", "x"]).code(), 9);
    }
    // Ten refusals took nothing of what is global.
    store.ok(&["publish", "wide", "a", "b", "c", "d"]);
    let refused = store.run(&["publish", "wide", "e"]);
    assert!(refused.code() == 9 && refused.stderr().contains("of global"), "{}", refused.stderr());
    assert_eq!(counted(&store, "global", "records")["allowed"], 5);
    store.ok(&["limit", "clear", "global", "topic:narrow"]);
    store.ok(&["publish", "narrow", "x", "y"]);
    assert_eq!(store.ok(&["limit", "list", "--json"]), b"");
}

#[test]
fn reading_is_slowed_and_never_refused() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], &lines(60));
    store.ok(&["limit", "set", "reader:", "100/s", "--burst", "10"]);
    store.ok(&["limit", "set", "reader:g", "100/s", "--burst", "10"]);
    store.ok(&["limit", "set", "reader:me", "2KB/s", "--burst", "200"]);
    for words in [&["replay", "t"][..], &["consume", "t", "-g", "g", "--drain"], &["tail", "t", "-n", "60", "--as", "me"]] {
        let began = Instant::now();
        assert_eq!(store.ok(words), lines(60), "{words:?}");
        // A burst at once; fifty at a hundred a second, or some 80 bytes of 200 more at 2,000.
        let took = began.elapsed();
        let least = if words[0] == "tail" { 10 } else { 450 };
        assert!(took >= Duration::from_millis(least), "{words:?}: {took:?}");
    }
    assert_eq!(counted(&store, "reader:", "records")["allowed"], 60);
    assert_eq!(counted(&store, "reader:g", "records")["allowed"], 60);
    assert!(counted(&store, "reader:g", "records")["waited"].as_u64() >= Some(1));
    assert!(counted(&store, "reader:me", "bytes")["allowed"].as_u64() >= Some(170));
}

#[test]
fn a_server_refuses_adds_and_slows_reads() {
    let store = Store::new();
    store.ok(&["topic", "create", "s", "rate=1/h", "burst=2"]);
    let server = Server::start(&store, &[]);
    let (mut client, mut reader) = (server.client(), server.client());
    assert_eq!(client.say("XADD s 1-0 f 1").line(), "1-0");
    assert_eq!(client.say("DRAVE.PUBLISH s FIELDS 1 f 2").line().split(' ').next(), Some("[:1"));
    for request in ["XADD s * f 3", "XADD s 9999999999999-0 f 3", "DRAVE.PUBLISH s FIELDS 1 f 3"] {
        let refused = client.say(request).line();
        assert!(refused.starts_with("-LIMIT try again in 3") && refused.ends_with(" ms"), "{refused}");
    }
    // Other processes are bound by what it took, and a change reaches it while it runs.
    assert_eq!(store.run(&["publish", "s", "x"]).code(), 9);
    store.ok(&["limit", "set", "topic:s", "1000000/s"]);
    for n in 0..20 {
        assert!(!client.say(&format!("XADD s * n {n}")).line().starts_with('-'));
    }
    store.ok(&["limit", "set", "reader:", "20/s", "--burst", "5"]);
    store.ok(&["limit", "set", "reader:g", "20/s", "--burst", "5"]);
    reader.say("XGROUP CREATE s g 0");
    for words in ["XREAD COUNT 100 BLOCK 0 STREAMS s 0", "XREADGROUP GROUP g me COUNT 100 BLOCK 0 STREAMS s >"] {
        let first = reader.say(words).line();
        assert_eq!(first.matches("-").count(), 5, "a burst of them: {first}");
        // What is there already is waited for as if it came later.
        let began = Instant::now();
        let second = reader.say(words).line();
        assert!(second.matches("-").count() >= 1 && began.elapsed() >= Duration::from_millis(20), "{second}");
    }
    assert_eq!(client.say("PING").line(), "+PONG", "nobody else waits");
}

#[test]
fn a_file_of_limits_that_is_damaged_or_gone_is_made_anew_and_said_once() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=1"]);
    store.ok(&["publish", "t", "x"]);
    assert_eq!(store.run(&["publish", "t", "x"]).code(), 9);
    let path = store.path().join("limits");
    std::fs::write(&path, b"rubbish").expect("written");
    let ran = store.run_with(&["publish", "t"], b"x\n");
    assert_eq!((ran.code(), ran.stderr().matches("start anew").count()), (0, 1), "{}", ran.stderr());
    std::fs::remove_file(&path).expect("removed");
    store.ok(&["publish", "t", "x"]);
    assert_eq!(store.run(&["publish", "t", "x"]).code(), 9);
    // Rules that cannot be read hinder nobody, and are said.
    std::fs::write(store.path().join("limits.toml"), b"[global]\nrate = 7").expect("written");
    let ran = store.run(&["publish", "other", "x"]);
    assert!(ran.code() == 0 && ran.stderr().contains("limits.toml"), "{}", ran.stderr());
    assert_ne!(store.run(&["limit", "list"]).code(), 0);
}

#[test]
fn rules_that_cannot_be_read_are_damage_and_hinder_nobody() {
    let store = Store::new();
    store.ok(&["topic", "create", "t"]);
    store.ok(&["limit", "set", "global", "1/h"]);
    store.ok(&["publish", "t", "x"]);
    assert_eq!(store.run(&["publish", "t", "x"]).code(), 9);
    std::fs::write(store.path().join("limits.toml"), "[global").expect("there is room");
    let published = store.run(&["publish", "t", "x"]);
    assert_eq!(published.code(), 0);
    assert!(published.stderr().contains("limits.toml"), "{}", published.stderr());
    for words in [&["verify"][..], &["limit", "list"], &["limit", "set", "global", "5/s"], &["inspect", "limits"]] {
        let ran = store.run(words);
        let told = [ran.stdout(), ran.stderr()].concat();
        assert!(ran.code() == 7 && told.contains("limits.toml"), "{words:?}: {} {told}", ran.code());
    }
    std::fs::remove_file(store.path().join("limits.toml")).expect("it is there");
    store.ok(&["verify"]);
    std::fs::write(store.path().join("limits"), [1; 70_000]).expect("there is room");
    assert_eq!(store.run(&["verify"]).code(), 7);
}

#[test]
fn an_adaptive_limit_gives_way_to_a_group_that_is_behind_and_comes_back() {
    let store = Store::new();
    store.ok(&["topic", "create", "t"]);
    store.ok(&["group", "create", "t", "g"]);
    store.ok(&["limit", "set", "topic:t", "1000/s", "--adaptive", "lag:5"]);
    store.ok_with(&["publish", "t"], b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    let factor = || {
        store.ok(&["publish", "t", "x"]);
        let told = String::from_utf8(store.ok(&["inspect", "limits", "--json"])).expect("text");
        let row: serde_json::Value = serde_json::from_str(told.lines().next().expect("a row")).expect("an object");
        row["factor_percent"].as_f64().expect("a number")
    };
    assert_eq!(factor(), 100.0);
    wait_until("it goes slower", || factor() < 100.0);
    let low = factor();
    wait_until("it goes faster again", || {
        store.ok(&["consume", "t", "-g", "g", "--drain"]);
        factor() > low
    });
}

#[test]
fn words_that_are_no_limit_are_refused() {
    let store = Store::new();
    store.ok(&["topic", "create", "t"]);
    for words in [
        &["topic:t"][..],
        &["topic:t", "0/s"],
        &["topic:t", "-1/s"],
        &["topic:t", "1e12/s"],
        &["topic:t", "10/d"],
        &["topic:t", "1/s", "2/s"],
        &["topic:t", "1/s", "--burst", "0"],
        &["topic:t", "1/s", "--burst", "x"],
        &["topic:", "1/s"],
        &["everything", "1/s"],
        &["reader:g", "1/s", "--adaptive", "on"],
        &["global", "1/s", "--adaptive", "lag:5"],
        &["topic:t", "--adaptive", "maybe"],
        &["global", "--adaptive", "sync:10ms"],
        &["reader:x", "--burst", "50"],
        &["topic:t", "10/s", "--burst", "5MB"],
    ] {
        let ran = store.run(&[&["limit", "set"], words].concat());
        assert_eq!(ran.code(), 2, "{words:?}: {}", ran.stderr());
    }
    assert_eq!(store.run(&["limit", "set", "topic:none", "1/s"]).code(), 3);
    // Settings of a topic may be given one after another.
    let ran = store.run(&["topic", "set", "t", "adaptive=on"]);
    assert!(ran.code() == 0 && ran.stderr().contains("t: adaptive does nothing without a rate"), "{}", ran.stderr());
    assert_eq!(store.run(&["topic", "set", "t", "rate=1/s"]).stderr(), "");
    for words in
        [&["topic:t", "1000000000000/s", "--burst", "1000000000000"][..], &["topic:t", "1/h", "--burst", "1000000000000"]]
    {
        store.ok(&[&["limit", "set"], words].concat());
        store.ok(&["publish", "t", "x"]);
    }
}

#[test]
fn the_objects_of_inspect_limits_have_this_shape() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "rate=1/h", "burst=2", "rate-bytes=1MB/m", "adaptive=on"]);
    store.ok(&["limit", "set", "reader:g", "10/s"]);
    store.ok(&["publish", "t", "12345", "67890"]);
    assert_eq!(store.run(&["publish", "t", "x"]).code(), 9);
    let expected = concat!(
        r#"{"limit":"topic:t","counts":"records","rate":"1/h","burst":"2","factor_percent":100.0,"allowed":2,"denied":1,"waited":0,"waited_ms":0}"#,
        "\n",
        r#"{"limit":"topic:t","counts":"bytes","rate":"1MB/m","burst":"16666","factor_percent":100.0,"allowed":15,"denied":0,"waited":0,"waited_ms":0}"#,
        "\n",
        r#"{"limit":"reader:g","counts":"records","rate":"10/s","burst":"10","factor_percent":100.0,"allowed":0,"denied":0,"waited":0,"waited_ms":0}"#,
        "\n",
    );
    assert_eq!(String::from_utf8(store.ok(&["inspect", "limits", "--json"])).expect("UTF-8"), expected);
    let expected = concat!(
        r#"{"limit":"topic:t","rate":"1/h","burst":2,"rate_bytes":"1MB/m","burst_bytes":null,"adaptive":"sync:100ms"}"#,
        "\n",
        r#"{"limit":"reader:g","rate":"10/s","burst":null,"rate_bytes":null,"burst_bytes":null,"adaptive":"off"}"#,
        "\n",
    );
    assert_eq!(String::from_utf8(store.ok(&["limit", "list", "--json"])).expect("UTF-8"), expected);
}
