//! COMMAND, INFO, CONFIG, and what else is asked of a server as a whole.

use std::process::Command;

use super::rig::{Server, Value};
use crate::support::Store;

#[test]
fn command_tells_the_table() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    for mut client in [server.client(), server.client3()] {
        let count = client.say("COMMAND COUNT").int();
        assert!(count > 40);
        let Value::Array(all) = client.ask(&["COMMAND", "LIST"]) else { panic!("no array") };
        assert_eq!(all.len() as i64, count);
        assert_eq!(client.say("COMMAND LIST FILTERBY PATTERN xrev*").line(), "[xrevrange]");
        assert_eq!(client.say("COMMAND LIST FILTERBY MODULE x").line(), "[]");
        let streams = client.say("COMMAND LIST FILTERBY ACLCAT stream").line();
        assert!(streams.contains("xadd") && streams.contains("xlen xnack") && !streams.contains("ping"), "{streams}");
        assert_eq!(client.say("COMMAND LIST FILTERBY x y").line(), "-ERR syntax error");
        assert_eq!(client.say("COMMAND GETKEYS XADD s * a b").line(), "[s]");
        assert_eq!(client.say("COMMAND GETKEYS WATCH a b c").line(), "[a b c]");
        assert_eq!(client.say("COMMAND GETKEYS MEMORY USAGE k").line(), "[k]");
        assert_eq!(client.say("COMMAND GETKEYS PING x").line(), "-ERR The command has no key arguments");
        assert_eq!(client.say("COMMAND GETKEYS NOPE x").line(), "-ERR Invalid command specified");
        assert_eq!(client.say("COMMAND GETKEYS XADD s").line(), "-ERR Invalid number of arguments specified for command");
        assert_eq!(client.say("COMMAND NOPE").line(), "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP.");
    }
    let (mut two, mut three) = (server.client(), server.client3());
    assert_eq!(
        two.say("COMMAND INFO xlen nope").line(),
        "[[xlen :2 [+readonly +fast] :1 :1 :1 [+@read +@fast +@stream] [] \
         [[flags [+RO +access] begin_search [type index spec [index :1]] find_keys [type range spec [lastkey :0 keystep :1 limit :0]]]] []] nil*]"
    );
    assert_eq!(two.say("COMMAND").array().len() as i64, two.say("COMMAND COUNT").int());
    assert_eq!(
        three.say("COMMAND DOCS xlen nope").line(),
        "{xlen: {summary: Return the number of messages in a stream., since: 5.0.0, group: stream}}"
    );
    assert_eq!(two.say("COMMAND DOCS nope").line(), "[]");
    let help = three.say("COMMAND DOCS client").get("client").get("subcommands");
    assert_eq!(help.get("client|id").get("since").text(), "5.0.0");
    assert_eq!(two.say("COMMAND GETKEYSANDFLAGS XADD s * a b").line(), "[[s [+RW +update]]]");
    assert_eq!(three.say("COMMAND GETKEYSANDFLAGS XADD s * a b").line(), "[[s ~[+RW +update]]]");
}

#[test]
fn info_tells_what_clients_and_monitoring_read() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("XADD s * a b");
    client.say("NOPE");
    let text = client.say("INFO").text();
    assert!(text.lines().all(|line| text.contains(&format!("{line}\r\n"))), "lines end in CRLF");
    for line in [
        "# Server",
        "redis_version:8.6.0",
        "redis_mode:standalone",
        "loading:0",
        "blocked_clients:0",
        "connected_clients:1",
        "role:master",
        "cluster_enabled:0",
        "maxmemory:0",
        "errorstat_ERR:count=1",
        "db0:keys=1,expires=0,avg_ttl=0",
        "total_error_replies:1",
        &format!("tcp_port:{}", server.port()),
        &format!("process_id:{}", server.pid()),
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in {text}");
    }
    assert!(!text.contains("# Commandstats"));
    let text = client.say("INFO Commandstats latencystats topics").text();
    assert!(text.contains("cmdstat_xadd:calls=1,usec=") && text.contains(",rejected_calls=0,failed_calls=0"), "{text}");
    assert!(text.contains("latency_percentiles_usec_xadd:p50="), "{text}");
    assert!(text.contains("topic_s:records=1,added=1,log_end=1,durable=1"), "{text}");
    assert!(!text.contains("redis_version"));
    assert_eq!(client.say("INFO nope").text(), "");
    assert!(client.say("INFO everything").text().contains("# Topics"));
    let drave = client.say("INFO drave").text();
    assert!(drave.contains("records_added:1\r\nframes_appended:1\r\n") && drave.contains("sync_usec:p50="), "{drave}");
    assert!(matches!(server.client3().say("INFO server"), Value::Verbatim(_)));
    assert_eq!(client.say("CONFIG RESETSTAT").line(), "+OK");
    assert!(client.say("INFO all").text().contains("total_error_replies:0"));
}

#[test]
fn config_tells_and_changes_what_makes_sense_here() {
    let store = Store::new();
    let server = Server::start(&store, &["--max-clients", "3"]);
    let (mut client, mut three) = (server.client(), server.client3());
    assert_eq!(client.say("CONFIG GET save").line(), "[save ]");
    assert_eq!(three.say("CONFIG GET appendonly SAVE").line(), "{appendonly: yes, save: }");
    assert_eq!(three.say("CONFIG GET nope").line(), "{}");
    assert_eq!(client.say("CONFIG GET nope").line(), "[]");
    assert_eq!(client.say("CONFIG GET appendfsync").line(), "[appendfsync always]");
    assert_eq!(client.say("CONFIG GET maxcl*").line(), "[maxclients 3]");
    assert_eq!(client.say("CONFIG GET databases").line(), "[databases 1]");
    assert_eq!(client.say("CONFIG GET client-query-buffer-limit").line(), "[client-query-buffer-limit 1073741824]");
    let failed = |name: &str, why: &str| format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    for (words, error) in [
        ("CONFIG SET foo bar", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned()),
        ("CONFIG SET foo", "-ERR wrong number of arguments for 'config|set' command".to_owned()),
        ("CONFIG SET maxclients abc", failed("maxclients", "argument couldn't be parsed into an integer")),
        ("CONFIG SET maxclients 0", failed("maxclients", "argument must be between 1 and 4294967295 inclusive")),
        ("CONFIG SET timeout -1", failed("timeout", "argument must be between 0 and 2147483647 inclusive")),
        ("CONFIG SET databases 3", failed("databases", "can't set immutable config")),
        ("CONFIG SET timeout 1 timeout 2", failed("timeout", "duplicate parameter")),
        ("CONFIG SET maxclients 9 databases 3", failed("databases", "can't set immutable config")),
        ("CONFIG REWRITE", "-ERR The server is running without a config file".to_owned()),
        ("CONFIG NOPE", "-ERR unknown subcommand 'NOPE'. Try CONFIG HELP.".to_owned()),
    ] {
        assert_eq!(client.say(words).line(), error, "{words}");
    }
    assert!(client.say("CONFIG SET appendfsync no").line().contains("each topic has its own durability"));
    assert_eq!(client.say("CONFIG GET maxclients").line(), "[maxclients 3]", "all of it or nothing");
    assert_eq!(client.say("CONFIG SET maxclients 2 timeout 60").line(), "+OK");
    assert_eq!(client.say("CONFIG GET timeout").line(), "[timeout 60]");
    let mut refused = server.client();
    assert_eq!(refused.read().line(), "-ERR max number of clients reached");
}

#[test]
fn an_idle_client_is_closed_when_config_says_so() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut idle, mut listener, mut client) = (server.client(), server.client(), server.client());
    listener.say("SUBSCRIBE c");
    client.say("CONFIG SET timeout 1");
    assert_eq!(idle.try_read(), None);
    let mut client = server.client();
    assert_eq!(client.say("PUBLISH c m").line(), ":1", "who listens is not idle");
    assert_eq!(listener.read().line(), "[message c m]");
}

#[test]
fn slowlog_keeps_the_last_slow_commands() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("CLIENT SETNAME me");
    assert_eq!(client.say("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3").line(), "+OK");
    client.say("SLOWLOG RESET");
    for n in 0..5 {
        client.say(&format!("ECHO {n}"));
    }
    let entries = client.say("SLOWLOG GET 2");
    assert_eq!(entries.array().len(), 2);
    let newest = entries.array()[0].array();
    assert_eq!((newest.len(), newest[3].line()), (6, "[ECHO 4]".to_owned()));
    assert!(newest[1].int() > 1_700_000_000 && newest[2].int() >= 0);
    assert!(newest[4].text().starts_with("127.0.0.1:") && newest[5].text() == "me");
    assert_eq!(client.say("SLOWLOG LEN").line(), ":3");
    assert_eq!(client.say("CONFIG SET slowlog-log-slower-than -1").line(), "+OK");
    client.say("SLOWLOG RESET");
    assert_eq!(client.say("SLOWLOG LEN").line(), ":0");
    assert_eq!(client.say("SLOWLOG GET -2").line(), "-ERR count should be greater than or equal to -1");
    assert_eq!(client.say("CONFIG GET slowlog*").line(), "[slowlog-log-slower-than -1 slowlog-max-len 3]");
}

#[test]
fn latency_is_told_by_command_and_when_something_took_too_long() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.say("ECHO a");
    client.say("ECHO b");
    let histogram = client.say("LATENCY HISTOGRAM echo nope").get("echo");
    assert_eq!(histogram.get("calls").int(), 2);
    let Value::Map(buckets) = histogram.get("histogram_usec") else { panic!("no map") };
    assert_eq!(buckets.last().expect("a bucket").1.int(), 2);
    assert_eq!(client.say("LATENCY LATEST").line(), "[]");
    client.say("CONFIG SET latency-monitor-threshold 1");
    // A megabyte of arguments takes a while to be read into a record and synced; at the latest some of them does.
    while client.say("LATENCY LATEST").line() == "[]" {
        client.ask(&["XADD".to_owned(), "s".to_owned(), "*".to_owned(), "f".to_owned(), "x".repeat(1 << 19)]);
    }
    let latest = client.say("LATENCY LATEST");
    let event = latest.array()[0].array();
    assert!(event[1].int() > 1_700_000_000 && event[2].int() >= 1 && event[3].int() >= event[2].int(), "{latest:?}");
    let name = event[0].text();
    assert!(!client.say(&format!("LATENCY HISTORY {name}")).array().is_empty());
    assert!(client.say("LATENCY DOCTOR").text().contains("it took too long"));
    client.say("CONFIG SET latency-monitor-threshold 0");
    assert!(client.say("LATENCY RESET").int() >= 1);
    assert_eq!(client.say("LATENCY LATEST").line(), "[]");
    assert_eq!(client.say("LATENCY HISTORY nope").line(), "[]");
}

#[test]
fn memory_usage_is_on_disk() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.ask(&["XADD".to_owned(), "s".to_owned(), "*".to_owned(), "f".to_owned(), "x".repeat(100_000)]);
    assert!(client.say("MEMORY USAGE s SAMPLES 5").int() >= 100_000);
    assert_eq!(client.say("MEMORY USAGE none").line(), "_");
    assert_eq!(client.say("MEMORY USAGE s SAMPLES -1").line(), "-ERR syntax error");
    assert_eq!(client.say("MEMORY STATS").get("keys.count").int(), 1);
    assert!(client.say("INFO drave").text().contains("topics_in_hand:1\r\n"));
    assert_eq!(client.say("MEMORY PURGE").line(), "+OK");
    assert!(client.say("INFO drave").text().contains("topics_in_hand:0\r\n"));
    assert!(client.say("MEMORY DOCTOR").text().starts_with("The process takes"));
    assert_eq!(client.say("XLEN s").line(), ":1");
}

#[test]
fn debug_sleep_keeps_nobody_else_waiting() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut sleeper, mut client) = (server.client(), server.client());
    sleeper.send(&["DEBUG", "SLEEP", "0.2"]);
    assert_eq!(client.say("PING").line(), "+PONG");
    assert_eq!(sleeper.read().line(), "+OK");
    assert_eq!(client.say("DEBUG SLEEP x").line(), "-ERR value is not a valid float");
    assert_eq!(client.say("DEBUG SLEEP -1").line(), "-ERR value is not a valid float");
    client.say("MULTI");
    client.say("DEBUG SLEEP 1000");
    assert_eq!(client.say("EXEC").line(), "[+OK]", "nothing waits in EXEC");
}

#[test]
fn waitaof_waits_until_what_was_written_is_durable() {
    let store = Store::new();
    store.ok(&["topic", "create", "a", "durability=async", "flush-interval=1h"]);
    store.ok(&["topic", "create", "n", "durability=none"]);
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.say("XADD a 1-0 a b");
    client.say("XADD n 1-0 a b");
    let topics = |client: &mut super::rig::Client| client.say("INFO topics").text();
    let before = topics(&mut client);
    assert!(before.contains("topic_a:records=1,added=1,log_end=1,durable=0"), "{before}");
    assert_eq!(client.say("WAITAOF 0 0 0").line(), "[:0 :0]");
    assert_eq!(client.say("WAITAOF 1 0 0").line(), "[:1 :0]");
    let after = topics(&mut client);
    assert!(after.contains("topic_a:records=1,added=1,log_end=1,durable=1"), "{after}");
    assert!(after.contains("topic_n:records=1,added=1,log_end=1,durable=1"), "{after}");
    assert_eq!(client.say("WAITAOF 1 1 10").line(), "[:1 :0]", "there is no replica, so its time runs out");
    assert_eq!(client.say("WAITAOF 2 0 0").line(), "-ERR value is out of range, value must between 0 and 1");
    assert_eq!(client.say("WAITAOF 1 -1 0").line(), "-ERR value is out of range, must be positive");
    assert_eq!(client.say("WAITAOF 1 0 -1").line(), "-ERR timeout is negative");
    assert_eq!(client.say("WAIT 0 0").line(), ":0");
    assert_eq!(client.say("WAIT 1 x").line(), "-ERR timeout is not an integer or out of range");
}

#[test]
fn what_a_lone_server_is_to_others() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let no_cluster = "-ERR This instance has cluster support disabled";
    for line in ["CLUSTER INFO", "CLUSTER SLOTS", "READONLY", "READWRITE"] {
        assert_eq!(client.say(line).line(), no_cluster);
    }
    assert_eq!(client.say("ROLE").line(), "[master :0 []]");
    let time = client.say("TIME");
    let seconds: u64 = time.array()[0].text().parse().expect("a number");
    assert!(seconds > 1_700_000_000 && time.array()[1].text().parse::<u32>().expect("a number") < 1_000_000);
    assert!(client.say("LASTSAVE").int() > 1_700_000_000);
    assert_eq!(client.say("TIME x").line(), "-ERR wrong number of arguments for 'time' command");
}

#[test]
fn shutdown_ends_the_server_and_loses_nothing() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(client.say("SHUTDOWN foo").line(), "-ERR syntax error");
    assert_eq!(client.say("SHUTDOWN ABORT").line(), "-ERR No shutdown in progress.");
    client.say("MULTI");
    assert_eq!(client.say("SHUTDOWN").line(), "-ERR Command not allowed inside a transaction");
    client.say("DISCARD");
    client.send_bytes(b"XADD s 1-0 value b\r\nSHUTDOWN NOSAVE NOW\r\nPING\r\n");
    assert_eq!(client.read().line(), "1-0");
    assert_eq!(client.try_read(), None);
    assert_eq!(server.wait().0, Some(0));
    assert_eq!(store.ok(&["tail", "s", "-n", "10"]), b"b\n");
}

#[test]
fn what_redis_benchmark_asks_first_is_answered() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let run = Command::new("redis-benchmark").args(["-p", &server.port().to_string(), "-t", "ping", "-n", "1000", "-q"]).output();
    // Where it is not installed, the two questions themselves.
    match run {
        Ok(ran) => {
            let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            assert!(said.contains("PING_INLINE") && !said.contains("WARNING") && !said.contains("Error"), "{said}");
        }
        Err(_) => {
            let mut client = server.client();
            client.send_bytes(b"CONFIG GET save\r\nCONFIG GET appendonly\r\n");
            assert_eq!((client.read().line(), client.read().line()), ("[save ]".to_owned(), "[appendonly yes]".to_owned()));
        }
    }
}
