//! Every command that prints data has `--json`: one object a line, of a fixed shape.

use crate::serve::rig::Server;
use crate::support::{Store, drave};

/// The verbs under `words`, as `--help` lists them.
fn verbs(words: &[String]) -> Vec<Vec<String>> {
    let mut asked: Vec<&str> = words.iter().map(String::as_str).collect();
    asked.push("--help");
    let output = drave(&asked).output().expect("it runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let Some((_, list)) = help.split_once("Commands:\n") else { return vec![words.to_vec()] };
    let names = list.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut all: Vec<Vec<String>> = names.flat_map(|name| verbs(&[words, &[name.to_owned()]].concat())).collect();
    if words.first().is_some_and(|verb| verb == "inspect") && words.len() == 1 {
        all.push(words.to_vec());
    }
    all
}

#[test]
fn every_verb_that_prints_data_has_json() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=4KiB"]);
    store.ok(&["publish", "t", "-k", "key", "one", "two"]);
    store.ok(&["tail", "t", "--as", "me"]);
    store.ok(&["group", "create", "t", "g"]);
    store.ok(&["consume", "t", "-g", "done", "--consumer", "me", "--drain"]);
    assert_eq!(store.run(&["consume", "t", "-g", "dies", "--drain", "--exec", "sh", "-c", "exit 65"]).code(), 1);
    store.ok(&["dlq", "retry", "t", "-g", "dies", "0"]);
    let _server = Server::start(&store, &[]);
    store.ok(&["limit", "set", "topic:t", "1000/s", "10MB/s"]);
    let copies = store.beside().join("copies").into_os_string().into_string().expect("UTF-8");
    let snapshot = [copies.as_str()];
    let verbs = verbs(&[]);
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in verbs {
        let arguments: &[&str] = match verb.join(" ").as_str() {
            // They print no data, or what a program is to read as it is.
            "publish" | "topic create" | "topic set" | "topic trim" | "topic delete" => continue,
            "group create" | "group set" | "group seek" | "group pause" | "group resume" | "group delete" => continue,
            "group ack" | "group nack" | "dlq retry" | "dlq drop" => continue,
            "consume" => &["t", "-g", "g", "--drain"],
            "group list" => &["t"],
            "group show" | "inspect group" => &["t", "done"],
            "dlq list" => &["t", "-g", "dies"],
            "inspect pending" => &["t", "dies"],
            "inspect groups" => &[],
            "generate grafana" | "generate alerts" | "metrics" => continue,
            "generate" | "generate man" | "generate completions" | "generate systemd" | "serve" | "restore" => continue,
            "snapshot" => &snapshot,
            "tail" | "replay" | "topic show" | "inspect topic" | "inspect segments" | "inspect frames" => &["t"],
            "limit set" | "limit clear" => continue,
            "limit list" | "inspect limits" => &[],
            "compact" => &["t"],
            "topic list" | "verify" | "inspect" | "inspect topics" | "inspect cursors" | "inspect server" => &[],
            other => panic!("say here how to call `drave {other}`"),
        };
        let words: Vec<&str> = verb.iter().map(String::as_str).chain(arguments.iter().copied()).chain(["--json"]).collect();
        let printed = String::from_utf8(store.ok(&words)).expect("UTF-8");
        assert!(verb.join(" ") == "verify" || !printed.is_empty(), "{words:?} prints nothing");
        let mut members: Option<Vec<String>> = None;
        for line in printed.lines() {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{words:?}: {error}: {line}"));
            let names: Vec<String> = object.keys().cloned().collect();
            assert_eq!(*members.get_or_insert_with(|| names.clone()), names, "{words:?}: all lines have the same members");
        }
    }
}
