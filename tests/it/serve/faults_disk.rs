//! Disks that are full or fail while clients write, and topics that somebody holds: an error, never an
//! acknowledgement; other topics and readers go on; and afterwards it goes on by itself.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Client, Server, Value, encode};
use crate::rig::{length, read, segment, traced, verify_clean, wait_until};
use crate::room::Mount;
use crate::support::Store;

/// Adds it; the ID, or the error.
#[track_caller]
fn add(client: &mut Client, topic: &str, value: &str) -> Result<String, String> {
    match client.ask(&["XADD", topic, "*", "value", value]) {
        Value::Bulk(id) => Ok(String::from_utf8(id).expect("an ID")),
        Value::Error(text) => Err(text),
        other => panic!("{other:?}"),
    }
}

/// All values of a topic, in order.
#[track_caller]
fn values(client: &mut Client, topic: &str) -> Vec<String> {
    let entries = client.ask(&["XRANGE", topic, "-", "+"]);
    entries.array().iter().map(|entry| entry.array()[1].get("value").text()).collect()
}

#[test]
fn a_full_disk_is_an_error_for_who_writes_and_with_room_again_it_goes_on() {
    for level in ["none", "async", "sync"] {
        let store = Store::new();
        let Some(_mount) = Mount::new(&store.path(), &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]) else { return };
        store.ok(&["topic", "create", "t", &format!("durability={level}")]);
        let server = Server::start(&store, &[]);
        let mut client = server.client();
        assert!(add(&mut client, "other", "before").is_ok());

        let filler = "x".repeat(50_000);
        let mut acked = Vec::new();
        let refused = loop {
            let batch: Vec<String> = (0..4).map(|nth| format!("{}-{filler}", acked.len() + nth)).collect();
            batch.iter().for_each(|value| client.send(&["XADD", "t", "*", "value", value]));
            let replies: Vec<Value> = batch.iter().map(|_| client.read()).collect();
            let count = replies.iter().take_while(|reply| matches!(reply, Value::Bulk(_))).count();
            acked.extend(batch.into_iter().take(count));
            if let Some(Value::Error(text)) = replies.into_iter().nth(count) {
                break text;
            }
            assert!(acked.len() < 200, "it is never full");
        };
        assert!(refused.starts_with("ERR ") && refused.contains("no space left on device"), "{refused}");
        // Small ones may fit still; sooner or later nothing does, and each is told the truth.
        let mut small = 0;
        while let Ok(id) = add(&mut client, "t", "small") {
            assert!(!id.is_empty() && small < 1_000_000);
            acked.push("small".to_owned());
            small += 1;
        }
        assert_eq!(client.say("PING").line(), "+PONG");
        assert_eq!(server.client().say("PING").line(), "+PONG");
        assert_eq!(values(&mut client, "other"), ["before"]);
        let there = values(&mut client, "t");
        assert!(there.len() >= acked.len(), "{level}: {} there, {} acknowledged", there.len(), acked.len());
        assert!(acked.iter().all(|value| there.contains(value)), "{level}");

        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(store.path()).status().expect("mount runs");
        assert!(grown.success());
        assert!(add(&mut client, "t", "after").is_ok(), "{level}");
        assert!(add(&mut client, "other", "after").is_ok(), "{level}");
        assert_eq!(values(&mut client, "t").last().map(String::as_str), Some("after"));
        assert_eq!(server.end(Signal::TERM).0, Some(0));
        let read = read(&store, "t").whole();
        assert!(acked.iter().all(|value| read.values().any(|there| there == value.as_bytes())), "{level}");
        verify_clean(&store, "t");
    }
}

/// A server under strace, which tampers with system calls on one file.
fn served_with(store: &Store, path: &std::path::Path, inject: &str) -> Server {
    Server::started(traced(store, &["serve", "--resp", "127.0.0.1:0"], path, inject).child)
}

#[test]
fn a_failing_fsync_is_an_error_for_all_who_wait_for_it_and_for_nobody_else() {
    let store = Store::new();
    store.ok(&["publish", "bad", "zero"]);
    store.ok(&["publish", "good", "zero"]);
    let server = served_with(&store, &segment(&store, "bad", 0), "fdatasync:error=EIO:when=1");
    let (mut one, mut two, mut other) = (server.client(), server.client(), server.client());
    one.send_bytes(&encode(&["XADD", "bad", "*", "value", "one"]).repeat(3));
    let replies: Vec<String> = (0..3).map(|_| one.read().line()).collect();
    for reply in &replies {
        assert!(reply.starts_with("-ERR not known to be stored: ") && reply.contains("input/output error"), "{replies:?}");
    }
    assert_eq!(values(&mut two, "bad"), ["zero"], "what is in doubt is shown to nobody");
    assert!(add(&mut other, "good", "one").is_ok());
    assert_eq!(values(&mut other, "good"), ["zero", "one"]);
    // The next one repairs, elsewhere than on the thread that serves all; what was in doubt is stored then.
    assert!(add(&mut two, "bad", "two").is_ok());
    assert_eq!(values(&mut one, "bad"), ["zero", "one", "one", "one", "two"]);
    assert!(add(&mut one, "bad", "three").is_ok());
    assert_eq!(server.client().say("PING").line(), "+PONG");
    drop(server);
    assert_eq!(read(&store, "bad").whole().records.len(), 6);
    verify_clean(&store, "bad");
}

#[test]
fn while_every_fsync_fails_nothing_is_acknowledged_and_reads_go_on() {
    let store = Store::new();
    store.ok(&["publish", "bad", "zero"]);
    // The repair's segments lie elsewhere: this hits its directory too.
    let server = served_with(&store, &store.path().join("topics/bad"), "fsync,fdatasync:error=EIO");
    let mut client = server.client();
    assert!(add(&mut client, "good", "zero").is_ok());
    assert!(add(&mut client, "bad", "one").is_ok(), "the segment itself can be synced still");
    drop(server);
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"]);
    let plain = store.command(&["serve", "--resp", "127.0.0.1:0"]);
    command.arg(plain.get_program()).args(plain.get_args()).env("DRAVE_STORE", store.path());
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let server = Server::started(command.spawn().expect("strace is installed"));
    let mut client = server.client();
    for nth in 0..5 {
        let refused = add(&mut client, "bad", &format!("doubtful {nth}")).expect_err("nothing can be synced");
        assert!(refused.starts_with("ERR "), "{refused}");
        assert_eq!(values(&mut client, "bad"), ["zero", "one"]);
        assert_eq!(client.say("PING").line(), "+PONG");
    }
    drop(server);
    store.ok(&["publish", "bad", "last"]);
    let read = read(&store, "bad").whole();
    assert!(read.values().last() == Some(b"last"));
    verify_clean(&store, "bad");
}

#[test]
fn a_topic_that_a_stopped_process_holds_stops_no_other() {
    let store = Store::new();
    store.ok(&["topic", "create", "held", "durability=none"]);
    store.ok(&["publish", "held", "zero"]);
    let server = Server::start(&store, &[]);
    let mut before = server.client();
    assert!(add(&mut before, "held", "before").is_ok());
    let path = segment(&store, "held", 0);
    let end = length(&path);
    // Within its append, the lock in its hand.
    let holder = traced(&store, &["publish", "held", "held up"], &path, "pwritev2:delay_exit=60000000:when=1");
    wait_until("it has the lock", || length(&path) > end);

    let (mut waiting, mut also, mut other) = (server.client(), server.client(), server.client());
    for nth in 0..3 {
        waiting.send(&["XADD", "held", "*", "value", &format!("waiting {nth}")]);
    }
    for nth in 0..3 {
        also.send(&["XADD", "held", "*", "value", &format!("also {nth}")]);
    }
    let began = Instant::now();
    for nth in 0..200 {
        assert_eq!(other.say("PING").line(), "+PONG");
        assert!(add(&mut other, "free", &format!("{nth}")).is_ok());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "others wait: {:?}", began.elapsed());
    assert_eq!(values(&mut other, "held"), ["zero", "before"], "it is read all the same");
    let refused = other.say("XADD held 99999999999999-0 value explicit").line();
    assert!(refused.starts_with("-BUSY the topic held is held by another process"), "{refused}");
    // No more is kept for it than goes into one frame.
    let large = "x".repeat(300_000);
    let mut greedy: Vec<Client> = (0..8).map(|_| server.client()).collect();
    greedy.iter_mut().for_each(|client| client.send(&["XADD", "held", "*", "value", &large]));
    let busy = |client: &mut Client| match client.read() {
        Value::Error(text) => {
            assert!(text.starts_with("BUSY "), "{text}");
            true
        }
        Value::Bulk(_) => false,
        reply => panic!("{reply:?}"),
    };
    // The last ones are refused at once, the first ones wait.
    assert!(busy(&mut greedy[7]) && busy(&mut greedy[6]));

    holder.kill();
    let ids = |client: &mut Client| (0..3).map(|_| client.read().text()).collect::<Vec<_>>();
    let (first, second) = (ids(&mut waiting), ids(&mut also));
    assert!(first.is_sorted() && second.is_sorted());
    let kept = greedy[..6].iter_mut().map(busy).filter(|busy| !busy).count();
    assert!((3..=5).contains(&kept), "{kept} kept");
    assert!(add(&mut before, "held", "after").is_ok());
    assert_eq!(server.end(Signal::TERM), (Some(0), String::new()));
    let read = read(&store, "held").whole();
    let there: Vec<&[u8]> = read.values().filter(|value| value.len() < 100).collect();
    assert_eq!(there.len(), 10, "{there:?}");
    let place = |value: &str| there.iter().position(|other| *other == value.as_bytes()).unwrap_or_else(|| panic!("no {value}"));
    for name in ["waiting", "also"] {
        assert!((0..3).map(|nth| place(&format!("{name} {nth}"))).is_sorted());
    }
    assert_eq!((place("held up"), place("after")), (2, 9));
    assert_eq!(read.records.len(), 10 + kept);
    verify_clean(&store, "held");
}

#[test]
fn a_topic_that_is_held_does_not_keep_the_server_from_ending() {
    let store = Store::new();
    store.ok(&["topic", "create", "held", "durability=none"]);
    store.ok(&["publish", "held", "zero"]);
    let path = segment(&store, "held", 0);
    let end = length(&path);
    let server = Server::start(&store, &[]);
    let holder = traced(&store, &["publish", "held", "held up"], &path, "pwritev2:delay_exit=60000000:when=1");
    wait_until("it has the lock", || length(&path) > end);
    let mut client = server.client();
    client.send(&["XADD", "held", "*", "value", "not acknowledged"]);
    assert_eq!(server.client().say("PING").line(), "+PONG");
    let began = Instant::now();
    assert_eq!(server.end(Signal::TERM).0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(client.try_read_whole(), None);
    holder.kill();
    store.ok(&["publish", "held", "next"]);
    verify_clean(&store, "held");
}
