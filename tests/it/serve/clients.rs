//! Real clients, as people have them. `tests/run` installs the tools; what these import is installed
//! below the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Commands as _, Connection, RedisResult, Value};

use super::rig::{Server, encode};
use crate::support::{Store, run};

/// What the snippets say, each in its own words.
const SAID: [&str; 6] = ["read orders 18 rice", "pipeline 1000", "ttl 60", "work tea 1", "work rice 1", "heard hello"];

/// One at a time installs.
static INSTALLING: Mutex<()> = Mutex::new(());

fn clients(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(language)
}

/// Runs what must succeed, and returns its stdout.
#[track_caller]
fn ok(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shown}: {error}; tests/run installs it"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A directory with what `wanted` (a file of this repository) names, installed by `install`.
fn installed(language: &str, wanted: &str, install: impl Fn(&Path)) -> PathBuf {
    let _guard = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(language);
    let wanted = std::fs::read(clients(language).join(wanted)).expect("a file");
    let mark = place.join("installed");
    if std::fs::read(&mark).ok().as_ref() != Some(&wanted) {
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).expect("a directory");
        install(&place);
        std::fs::write(&mark, wanted).expect("written");
    }
    place
}

#[track_caller]
fn check_snippet(said: &str) {
    for line in SAID {
        assert!(said.lines().any(|said| said == line), "{line} is not in\n{said}");
    }
    assert!(said.contains("numbers") && said.contains("orders") && said.contains("stream 1000"), "{said}");
    assert!(said.ends_with("left 0\n"), "{said}");
}

#[test]
fn python() {
    let place = installed("python", "requirements.txt", |place| {
        ok(Command::new("python3").args(["-m", "venv"]).arg(place.join("venv")));
        let wanted = clients("python").join("requirements.txt");
        ok(Command::new(place.join("venv/bin/pip")).args(["install", "--quiet", "--requirement"]).arg(wanted));
    });
    let store = Store::new();
    let server = Server::start(&store, &[]);
    for protocol in ["", "?protocol=2"] {
        let url = format!("redis://127.0.0.1:{}{protocol}", server.port());
        let said = ok(Command::new(place.join("venv/bin/python")).arg(clients("python").join("client.py")).arg(url));
        check_snippet(&said);
    }
}

#[test]
fn node() {
    let place = installed("node", "package-lock.json", |place| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(clients("node").join(file), place.join(file)).expect("copied");
        }
        ok(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(place));
    });
    let store = Store::new();
    let server = Server::start(&store, &[]);
    for script in ["redis.js", "ioredis.js"] {
        // It finds what it imports beside itself.
        std::fs::copy(clients("node").join(script), place.join(script)).expect("copied");
        let url = format!("redis://127.0.0.1:{}", server.port());
        check_snippet(&ok(Command::new("node").arg(place.join(script)).arg(url)));
    }
}

#[test]
fn the_lock_file_of_node_names_no_registry() {
    let lock = std::fs::read_to_string(clients("node").join("package-lock.json")).expect("text");
    assert!(lock.contains("integrity") && !lock.contains("\"resolved\""));
}

fn streams(client: &mut Connection) -> RedisResult<()> {
    let first: String = client.xadd("orders", "*", &[("id", "17"), ("what", "tea")])?;
    let second: String = client.xadd("orders", "*", &[("id", "18"), ("what", "rice")])?;
    let options = StreamReadOptions::default().count(10).block(1000);
    let read: Option<StreamReadReply> = client.xread_options(&["orders"], &[&first], &options)?;
    let entry = read.expect("there is one").keys.remove(0).ids.remove(0);
    assert_eq!((entry.id.as_str(), entry.get::<String>("what").as_deref()), (second.as_str(), Some("rice")));
    let mut pipeline = redis::pipe();
    for n in 0..1000 {
        pipeline.xadd("numbers", "*", &[("n", n)]);
    }
    let ids: Vec<String> = pipeline.query(client)?;
    assert!(ids.len() == 1000 && ids.windows(2).all(|pair| pair[0] != pair[1]));
    let mut keys = client.scan()?.collect::<RedisResult<Vec<String>>>()?;
    keys.sort();
    assert_eq!(keys, ["numbers", "orders"]);
    assert_eq!(client.key_type::<_, redis::ValueType>("orders")?, redis::ValueType::Stream);
    let () = client.expire("numbers", 60)?;
    assert_eq!(client.ttl::<_, i64>("numbers")?, 60);
    Ok(())
}

fn groups(client: &mut Connection) -> RedisResult<()> {
    let () = client.xgroup_create("orders", "kitchen", "0")?;
    let options = StreamReadOptions::default().group("kitchen", "ann").count(10);
    let read: Option<StreamReadReply> = client.xread_options(&["orders"], &[">"], &options)?;
    let entries = read.expect("there are two").keys.remove(0).ids;
    let work: Vec<Option<String>> = entries.iter().map(|entry| entry.get("what")).collect();
    assert_eq!(work, [Some("tea".to_owned()), Some("rice".to_owned())]);
    for entry in entries {
        assert_eq!(client.xack::<_, _, _, i64>("orders", "kitchen", &[entry.id])?, 1);
    }
    Ok(())
}

fn channels(client: &redis::Client, publisher: &mut Connection) -> RedisResult<()> {
    let mut listener = client.get_connection()?;
    let mut listener = listener.as_pubsub();
    listener.subscribe("news")?;
    let () = publisher.publish("news", "hello")?;
    assert_eq!(listener.get_message()?.get_payload::<String>()?, "hello");
    Ok(())
}

#[test]
fn rust() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    for protocol in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/{protocol}", server.port())).expect("an address");
        let mut connection = client.get_connection().expect("connected");
        streams(&mut connection).expect("streams");
        groups(&mut connection).expect("groups");
        if protocol.is_empty() {
            channels(&client, &mut connection).expect("channels");
        }
        assert_eq!(connection.del::<_, i64>(&["orders", "numbers"]).expect("deleted"), 2);
        assert_eq!(redis::cmd("DBSIZE").query::<Value>(&mut connection).expect("counted"), Value::Int(0));
    }
}

fn redis_cli(server: &Server, words: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &server.port().to_string()]).args(words);
    let ran = run(command, input);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    ran.stdout().to_owned()
}

#[test]
fn the_command_line_of_redis() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let requests: Vec<u8> =
        (0..5000).flat_map(|n| encode(&["XADD", &format!("s{}", n % 100), "*", "n", &n.to_string()])).collect();
    let said = redis_cli(&server, &["--pipe"], &requests);
    assert!(said.ends_with("errors: 0, replies: 5000\n"), "{said}");
    let mut names: Vec<String> = redis_cli(&server, &["--scan"], b"").lines().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 100);
    assert_eq!(redis_cli(&server, &["--scan", "--pattern", "s1?"], b"").lines().count(), 10);
    assert_eq!(redis_cli(&server, &["-3", "XLEN", "s7"], b""), "50\n");
    let said = redis_cli(&server, &[], b"DEL s7\nXADD s7 1-1 name \"two words\"\nXRANGE s7 - +\nTYPE s7\nhelp xadd\nnonsense\n");
    let expected = "1\n1-1\n1-1\nname\ntwo words\nstream\n";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("unknown command 'nonsense'"), "{said}");
}

#[test]
fn the_benchmark_of_redis() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let port = server.port().to_string();
    let often = ["-p", &port, "-c", "50", "-P", "16", "-n", "20000", "-q"];
    let said = ok(Command::new("redis-benchmark").args(often).args(["-t", "ping"]));
    assert_eq!(said.matches("requests per second").count(), 2, "{said}");
    let said = ok(Command::new("redis-benchmark").args(often).args(["XADD", "bench", "*", "field", "value"]));
    assert!(said.contains("requests per second") && !said.contains("ERR"), "{said}");
    assert_eq!(server.client().say("XLEN bench").line(), ":20000");
}
