//! `inspect server`: what a running server tells of itself.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;

use crate::inspect::snapshot;
use crate::serve::rig::{Client, Server};
use crate::support::{Ran, Store};

fn look(store: &Store, words: &[&str]) -> Ran {
    store.run(&[&["inspect", "server"], words].concat())
}

/// The objects of a run that has to go well.
#[track_caller]
fn objects(store: &Store, words: &[&str]) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let ran = look(store, &[words, &["--json"]].concat());
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
    ran.stdout().lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn the_members_of_the_objects_are_those() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("CLIENT SETNAME me");
    client.say("CLIENT SETINFO lib-name tester");
    client.say("SUBSCRIBE news");
    let mut client = server.client();
    for _ in 0..3 {
        client.say("XADD orders * a bcd");
    }
    client.say("XADD quiet 1-0 a b");
    client.say("XRANGE orders - + COUNT 2");
    client.say("NOPE");
    client.say("XADD quiet 1-0 a b");
    // In the order in which they stand in the line.
    let members = |words: &[&str]| {
        let ran = look(&store, &[words, &["--json"]].concat());
        let line = ran.stdout().lines().next().expect("an object");
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("an object");
        let mut names: Vec<&String> = object.keys().collect();
        names.sort_by_key(|name| line.find(&format!("\"{name}\":")));
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let whole = "version pid uptime_s clients blocked subscribed clients_max connections rejected commands commands_rate errors bytes_in bytes_out \
                 topics_in_hand records_added bytes_added records_read bytes_read records_added_rate bytes_added_rate records_read_rate \
                 bytes_read_rate frames_appended syncs_failed memory_bytes cpu_ms append_p50_us append_p99_us append_p999_us sync_p50_us sync_p99_us \
                 sync_p999_us command_p50_us command_p99_us command_p999_us";
    assert_eq!(members(&[]), whole);
    let topic = "topic records log_end durable records_added bytes_added records_read bytes_read records_added_rate bytes_added_rate \
                 records_read_rate bytes_read_rate";
    assert_eq!(members(&["--by", "topic"]), topic);
    assert_eq!(members(&["--by", "command"]), "command calls failed rejected total_us p50_us p99_us p999_us");
    assert_eq!(members(&["--by", "error"]), "error count");
    let client = "client address name library age_s idle_s flags command subscriptions commands bytes_in bytes_out query_bytes output_bytes dropped";
    assert_eq!(members(&["--by", "client"]), client);

    let whole = &objects(&store, &[])[0];
    // Nothing is missing, and what is known is right. This run is a client, too.
    assert!(whole.values().all(|value| !value.is_null()), "{whole:?}");
    for (name, value) in [
        ("pid", u64::from(server.pid())),
        ("clients", 3),
        ("subscribed", 1),
        ("records_added", 4),
        ("bytes_added", 14),
        ("records_read", 2),
    ] {
        assert_eq!(whole[name], value, "{name} of {whole:?}");
    }
    assert_eq!((&whole["bytes_read"], &whole["errors"], &whole["rejected"]), (&8.into(), &2.into(), &0.into()));
    for name in
        ["connections", "commands", "bytes_in", "bytes_out", "memory_bytes", "sync_p50_us", "append_p999_us", "clients_max"]
    {
        assert!(whole[name].as_u64().is_some_and(|number| number > 0), "{name} of {whole:?}");
    }
    let topics = objects(&store, &["--by", "topic"]);
    let orders = topics.iter().find(|topic| topic["topic"] == "orders").expect("it is there");
    for (name, value) in [("records", 3), ("log_end", 3), ("durable", 3), ("records_added", 3), ("bytes_read", 8)] {
        assert_eq!(orders[name], value, "{name} of {orders:?}");
    }
    let commands = objects(&store, &["--by", "command"]);
    let xadd = commands.iter().find(|command| command["command"] == "xadd").expect("it is there");
    assert_eq!((&xadd["calls"], &xadd["failed"]), (&5.into(), &1.into()));
    assert_eq!(objects(&store, &["--by", "error"])[0]["count"], 2);
    let clients = objects(&store, &["--by", "client"]);
    assert_eq!((clients.len(), &clients[0]["name"], &clients[0]["library"]), (3, &"me".into(), &"tester".into()));
    assert_eq!(
        (&clients[0]["subscriptions"], &clients[0]["flags"], &clients[0]["command"]),
        (&1.into(), &"P".into(), &"subscribe".into())
    );
    assert_eq!(clients[1]["name"], serde_json::Value::Null);
    assert_eq!(clients[2]["address"], format!("{}:0", store.path().join("drave.sock").display()));
}

#[test]
fn in_a_pipe_it_is_a_table_and_watching_repeats_it() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    server.client().ask(&[&b"XADD"[..], b"a:b=1,\t\xff", b"*", b"x", b"y"]);
    let before = snapshot(&store.path().join("topics"));
    for words in [&[][..], &["--by", "topic"], &["--by", "command"], &["--by", "error"], &["--by", "client"]] {
        let ran = look(&store, words);
        assert_eq!((ran.code(), ran.stderr()), (0, ""));
        let text = String::from_utf8_lossy(&ran.0.stdout).replace("a:b=1,\t", "a:b=1,");
        let columns = text.lines().next().expect("a heading").matches('\t').count();
        assert!(columns > 0 && text.lines().all(|line| line.matches('\t').count() == columns), "{words:?}: {text}");
    }
    assert!(snapshot(&store.path().join("topics")) == before, "looking changes nothing");
    assert!(objects(&store, &["--by", "topic"])[0].contains_key("topic_b64"), "names may be anything");
    let ran = look(&store, &["--json", "--watch", "10ms", "--timeout", "500ms"]);
    assert_eq!((ran.code(), ran.stdout().lines().count() > 2), (124, true), "{}", ran.stderr());
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    let store = Store::new();
    assert_eq!(look(&store, &[]).code(), 11, "there is no store");
    store.ok(&["publish", "t", "x"]);
    let said = |ran: Ran| (ran.code(), ran.stderr().to_owned());
    let path = store.path().display().to_string();
    let expected = format!("drave: no server runs on the store {path}; start one with: drave serve --store {path}\n");
    assert_eq!(said(look(&store, &[])), (11, expected.clone()));
    assert_eq!(said(look(&store, &["--by", "client"])), (11, expected.clone()));
    let server = Server::start(&store, &[]);
    assert_eq!(look(&store, &[]).code(), 0);
    server.end(Signal::KILL);
    assert!(store.path().join("drave.sock").exists());
    assert_eq!(said(look(&store, &[])), (11, expected), "what a dead server left is none");
}

#[test]
fn a_server_with_a_password_is_told_it() {
    let store = Store::new();
    let file = |name: &str, text: &str| {
        let path = store.beside().join(name);
        std::fs::write(&path, text).expect("there is room");
        path.into_os_string().into_string().expect("UTF-8")
    };
    let (right, wrong) = (file("right", "geheim\n"), file("wrong", "anders\n"));
    let _server = Server::start(&store, &["--password-file", &right]);
    let ran = look(&store, &[]);
    assert_eq!(ran.code(), 6);
    assert!(ran.stderr().contains("--password-file, or DRAVE_PASSWORD"), "{}", ran.stderr());
    let ran = look(&store, &["--password-file", &wrong]);
    assert_eq!(ran.code(), 6, "{}", ran.stderr());
    assert!(ran.stderr().contains("another password") && !ran.stderr().contains("anders"), "{}", ran.stderr());
    for words in [&[][..], &["--by", "client"]] {
        assert_eq!(look(&store, &[words, &["--password-file", &right]].concat()).code(), 0);
        let mut command = store.command(&[&["inspect", "server"], words].concat());
        assert!(command.env("DRAVE_PASSWORD", "geheim").output().expect("it runs").status.success());
    }
    let other = Store::new();
    let _open = Server::start(&other, &[]);
    assert_eq!(look(&other, &["--password-file", &right]).code(), 0, "a server that wants none takes any");
}

#[test]
fn a_server_that_does_not_answer_costs_seconds_and_not_for_ever() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    Client::of_store(&store).say("PING");
    server.signal(Signal::STOP);
    let began = Instant::now();
    let ran = look(&store, &["--timeout", "100ms"]);
    assert_eq!(ran.code(), 124, "{}", ran.stderr());
    assert!(began.elapsed().as_secs() < 5);
    let ran = look(&store, &[]);
    assert_eq!(ran.code(), 5);
    assert!(ran.stderr().contains("has not answered in 5 s"), "{}", ran.stderr());
    server.signal(Signal::CONT);
    assert_eq!(look(&store, &[]).code(), 0);
}

/// Answers once on the store's socket, whatever is asked.
fn answering(path: &Path, answer: &'static [u8]) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(path.join("drave.sock")).expect("a socket");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = [0; 1024];
        assert!(stream.read(&mut asked).expect("a request") > 0);
        stream.write_all(answer).expect("it is read");
    })
}

#[test]
fn what_is_no_server_of_ours_or_an_older_one_is_understood_as_far_as_that_goes() {
    let store = Store::new();
    store.ok(&["publish", "t", "x"]);
    for (answer, code, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], 1, "does not speak the Redis protocol"),
        (b"", 1, "it ended the connection"),
        (b"$10\r\nabc", 1, "it ended the connection"),
        (b":7\r\n", 1, "of another kind"),
        (b"-ERR max number of clients reached\r\n", 1, "the server refuses: ERR max number of clients reached"),
    ] {
        let server = answering(&store.path(), answer);
        let ran = look(&store, &[]);
        server.join().expect("it answers");
        assert_eq!(ran.code(), code, "{}", ran.stderr());
        assert!(ran.stderr().contains(said), "{}", ran.stderr());
        std::fs::remove_file(store.path().join("drave.sock")).expect("it is there");
    }
    let server = answering(&store.path(), b"$37\r\n# Clients\r\nconnected_clients:1\r\nx:y\r\n\r\n");
    let whole = &objects(&store, &[])[0];
    server.join().expect("it answers");
    assert_eq!(
        (&whole["clients"], &whole["version"], &whole["sync_p50_us"]),
        (&1.into(), &serde_json::Value::Null, &serde_json::Value::Null)
    );
}

#[test]
fn a_store_may_lie_deeper_than_a_socket_can() {
    let store = Store::new();
    let deep = store.beside().join("d".repeat(120)).join("store");
    std::fs::create_dir_all(&deep).expect("there is room");
    let path = deep.to_str().expect("UTF-8");
    let mut serve = store.command(&["--store", path, "serve", "--resp", "127.0.0.1:0"]);
    let server = serve.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let _server = Server::started(server);
    let ran = store.run(&["--store", path, "inspect", "server"]);
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
}
