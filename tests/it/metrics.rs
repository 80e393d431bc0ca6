//! `metrics`: what is printed is what Prometheus reads, and true.

use std::collections::{BTreeMap, BTreeSet};

use crate::inspect::{filled, flip, segments};
use crate::serve::rig::Server;
use crate::support::Store;

/// Labels by name.
type Labels = BTreeMap<String, String>;

/// A metric, as the text format 0.0.4 tells it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<(Labels, f64)>,
}

/// Reads the format as strictly as its documentation allows: a family in one piece, its help and its type before its samples, and no series twice.
#[track_caller]
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line has an end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!families.contains_key(name), "{name} is told twice");
            current = name.to_owned();
            families.insert(current.clone(), Family { help: help.to_owned(), ..Family::default() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let family = families.get_mut(name).expect("its help comes first");
            assert!(name == current && family.kind.is_empty() && family.samples.is_empty(), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            family.kind = kind.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            assert!(name == current, "{line} stands in {current}");
            let family = families.get_mut(&name).expect("it was told");
            assert!(!family.kind.is_empty(), "{line} comes before its type");
            assert!(!family.samples.iter().any(|(own, _)| *own == labels), "{line} is there twice");
            assert!(value.is_finite(), "{line}");
            family.samples.push((labels, value));
        }
    }
    assert!(families.values().all(|family| !family.samples.is_empty()), "{families:?}");
    families
}

/// `name{label="value",...} value`
#[track_caller]
fn sample(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(name_end);
    assert!(is_name(name, ":"), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label, "") && !label.starts_with("__"), "{line}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().unwrap_or_else(|| panic!("no end: {line}")) {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, c @ ('"' | '\\'))) => value.push(c),
                        other => panic!("no escape: {other:?} in {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &after[end + 1..];
            match rest.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => panic!("no end of labels: {line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

fn is_name(text: &str, more: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || more.contains(c);
    text.chars().next().is_some_and(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[track_caller]
fn metrics(store: &Store, words: &[&str]) -> BTreeMap<String, Family> {
    parse(&String::from_utf8(store.ok(&[&["metrics"], words].concat())).expect("UTF-8"))
}

/// The value of the series that has these labels.
#[track_caller]
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", families.keys()));
    let wanted: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let found = family.samples.iter().find(|(own, _)| *own == wanted);
    found.unwrap_or_else(|| panic!("no {labels:?} in {family:?}")).1
}

/// A store with all that topics and groups can tell.
fn rich() -> Store {
    let store = filled();
    store.ok(&["topic", "set", "b", "expire-at=4102444800000"]);
    store.ok(&["consume", "a", "-g", "done", "--drain"]);
    assert_eq!(store.run(&["consume", "a", "-g", "dies", "-n", "1", "--exec", "sh", "-c", "exit 65"]).code(), 1);
    store.ok(&["consume", "a", "-g", "holds", "--manual", "-n", "2"]);
    store.ok(&["group", "pause", "a", "done"]);
    store
}

/// The same with a limit that was reached, and a snapshot: every metric can be told.
fn limited() -> Store {
    let store = rich();
    store.ok(&["limit", "set", "topic:a", "600/m", "1MB/s", "--burst", "5", "--adaptive", "append:50ms"]);
    let ran = store.run_with(&["publish", "a"], b"1\n2\n3\n4\n5\n6\n7\n");
    assert_eq!(ran.code(), 9, "{}", ran.stderr());
    store.ok(&["snapshot", snapshots(&store).to_str().expect("UTF-8")]);
    store
}

fn snapshots(store: &Store) -> std::path::PathBuf {
    store.beside().join("snapshots")
}

#[test]
fn topics_and_groups_are_told_without_a_server() {
    let store = rich();
    let told = metrics(&store, &[]);
    assert!(told.len() >= 50, "{}", told.len());
    assert!(told.values().all(|family| !family.help.is_empty()));
    let topic = |name: &str, topic: &str| value(&told, name, &[("topic", topic)]);
    for (name, expected) in [
        ("drave_topic_records", 3.0),
        ("drave_topic_deleted_records", 0.0),
        ("drave_topic_segments", 1.0),
        ("drave_topic_log_start_offset", 0.0),
        ("drave_topic_log_end_offset", 3.0),
        ("drave_topic_durable_offset", 3.0),
        ("drave_topic_epoch", 0.0),
        ("drave_topic_added_records_total", 3.0),
        ("drave_topic_groups", 3.0),
        ("drave_topic_poisoned", 0.0),
        ("drave_topic_damaged_segments", 0.0),
        ("drave_topic_missing_segments", 0.0),
    ] {
        assert_eq!(topic(name, "a"), expected, "{name}");
    }
    assert_eq!((topic("drave_topic_records", "b"), topic("drave_topic_segments", "b")), (100.0, 3.0));
    assert_eq!(topic("drave_topic_expire_timestamp_seconds", "b"), 4_102_444_800.0);
    let (oldest, newest) =
        (topic("drave_topic_oldest_record_timestamp_seconds", "b"), topic("drave_topic_newest_record_timestamp_seconds", "b"));
    assert!(oldest > 1.7e9 && newest >= oldest && newest < oldest + 600.0, "{oldest} {newest}");
    let group = |name: &str, group: &str| value(&told, name, &[("topic", "a"), ("group", group)]);
    for (name, done, dies, holds) in [
        ("drave_group_committed_offset", 3.0, 1.0, 0.0),
        ("drave_group_lag_records", 0.0, 2.0, 3.0),
        ("drave_group_pending_entries", 0.0, 0.0, 2.0),
        ("drave_group_delivered_records_total", 3.0, 1.0, 2.0),
        ("drave_group_redelivered_records_total", 0.0, 0.0, 0.0),
        ("drave_group_acked_records_total", 3.0, 0.0, 0.0),
        ("drave_group_dead_letter_records_total", 0.0, 1.0, 0.0),
        ("drave_group_paused", 1.0, 0.0, 0.0),
        ("drave_group_active_consumers", 0.0, 0.0, 0.0),
    ] {
        assert_eq!([group(name, "done"), group(name, "dies"), group(name, "holds")], [done, dies, holds], "{name}");
    }
    assert_eq!(group("drave_group_oldest_pending_seconds", "done"), 0.0);
    assert!(group("drave_group_lag_seconds", "holds") > 0.0 && group("drave_group_oldest_pending_seconds", "holds") > 0.0);
    for (name, expected) in [
        ("drave_store_format_version", 1.0),
        ("drave_store_damaged", 0.0),
        ("drave_store_damaged_topics", 0.0),
        ("drave_store_damaged_groups", 0.0),
        ("drave_store_poisoned_topics", 0.0),
        ("drave_store_cursors", 0.0),
        ("drave_store_quarantined_files", 0.0),
        ("drave_store_readonly", 0.0),
        ("drave_server_up", 0.0),
    ] {
        assert_eq!(value(&told, name, &[]), expected, "{name}");
    }
    let (free, size) = (value(&told, "drave_store_disk_free_bytes", &[]), value(&told, "drave_store_disk_size_bytes", &[]));
    assert!(free > 0.0 && size >= free);
    assert!(!told.contains_key("drave_server_commands_total"));
}

#[test]
fn limits_are_told_with_what_they_did() {
    let store = limited();
    let told = metrics(&store, &[]);
    let of_a = |name: &str| value(&told, name, &[("limit", "topic:a")]);
    assert_eq!(of_a("drave_limit_rate_records"), 10.0, "600 a minute");
    assert_eq!(of_a("drave_limit_rate_bytes"), 1e6);
    assert_eq!(of_a("drave_limit_factor_ratio"), 1.0);
    let (allowed, denied) = (of_a("drave_limit_allowed_records_total"), of_a("drave_limit_denied_records_total"));
    assert!((5.0..7.0).contains(&allowed) && denied >= 1.0, "{allowed} {denied}");
    assert!(of_a("drave_limit_allowed_bytes_total") >= 5.0);
    assert_eq!(value(&told, "drave_limit_waits_total", &[("limit", "topic:a"), ("counts", "records")]), 0.0);
    let patient = store.run_with(&["publish", "a", "--limit-wait", "10s"], b"1\n2\n3\n4\n5\n6\n7\n8\n");
    assert_eq!(patient.code(), 0, "{}", patient.stderr());
    let told = metrics(&store, &[]);
    let waited = |name: &str| value(&told, name, &[("limit", "topic:a"), ("counts", "records")]);
    assert!(waited("drave_limit_waits_total") >= 1.0 && waited("drave_limit_waited_seconds_total") > 0.01);
    store.ok(&["limit", "set", "topic:b", "1/s"]);
    let told = metrics(&store, &["--labels-max", "1"]);
    assert_eq!(value(&told, "drave_metrics_left_out_limits", &[]), 1.0);
    assert_eq!(told["drave_limit_rate_records"].samples.len(), 1);
    std::fs::write(store.path().join("limits.toml"), "no limits").expect("there is room");
    assert_eq!(value(&metrics(&store, &[]), "drave_limits_damaged", &[]), 1.0);
}

#[test]
fn snapshots_are_told_by_their_directory() {
    let store = limited();
    let dir = snapshots(&store);
    let words = ["--snapshots", dir.to_str().expect("UTF-8")];
    let one = |told: &BTreeMap<String, Family>, name: &str| value(told, name, &[]);
    let told = metrics(&store, &words);
    assert_eq!((one(&told, "drave_kept_snapshots"), one(&told, "drave_damaged_snapshots")), (1.0, 0.0));
    let (made, bytes) = (one(&told, "drave_snapshot_timestamp_seconds"), one(&told, "drave_snapshot_bytes"));
    store.ok(&["publish", "a", "--limit-wait", "10s", "x"]);
    store.ok(&["snapshot", words[1]]);
    let told = metrics(&store, &words);
    assert_eq!(one(&told, "drave_kept_snapshots"), 2.0);
    assert!(one(&told, "drave_snapshot_timestamp_seconds") > made && one(&told, "drave_snapshot_bytes") > bytes);
    let newest = std::fs::read_dir(&dir).expect("there").map(|entry| entry.expect("there").path());
    let newest = newest.filter(|path| !path.file_name().expect("a name").to_string_lossy().starts_with('.')).max().expect("two");
    flip(&newest.join("manifest"), 20);
    let told = metrics(&store, &words);
    assert_eq!((one(&told, "drave_kept_snapshots"), one(&told, "drave_damaged_snapshots")), (1.0, 1.0));
    assert_eq!(one(&told, "drave_snapshot_timestamp_seconds"), made);
    let none = metrics(&store, &["--snapshots", "/nowhere/at/all"]);
    assert_eq!(one(&none, "drave_kept_snapshots"), 0.0);
    assert!(!none.contains_key("drave_snapshot_timestamp_seconds"));
}

#[test]
fn counters_survive_processes_and_rise() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], b"1\n2\n");
    let added = |store: &Store| value(&metrics(store, &[]), "drave_topic_added_records_total", &[("topic", "t")]);
    assert_eq!(added(&store), 2.0);
    store.ok(&["topic", "trim", "t", "--before", "end", "--yes"]);
    store.ok(&["publish", "t", "3"]);
    assert_eq!(added(&store), 3.0);
    std::fs::remove_file(store.path().join("topics/t/head")).expect("it is there");
    assert_eq!(added(&store), 3.0, "as after a reboot");
    store.ok(&["consume", "t", "-g", "g", "--drain"]);
    let read = || value(&metrics(&store, &[]), "drave_group_delivered_records_total", &[("topic", "t"), ("group", "g")]);
    let before = read();
    store.ok(&["publish", "t", "4"]);
    store.ok(&["consume", "t", "-g", "g", "--drain"]);
    assert_eq!((before, read()), (1.0, 2.0));
}

#[test]
fn damage_is_told_by_the_numbers() {
    let store = filled();
    let of = |name: &str, topic: &str| value(&metrics(&store, &[]), name, &[("topic", topic)]);
    let all = segments(&store, "b");
    flip(&all[1], 40);
    assert_eq!(of("drave_topic_damaged_segments", "b"), 1.0);
    store.run(&["verify", "--repair", "--yes"]);
    let told = metrics(&store, &[]);
    assert!(value(&told, "drave_store_quarantined_files", &[]) > 0.0 && value(&told, "drave_store_quarantined_bytes", &[]) > 0.0);
    let store = filled();
    let of = |name: &str, topic: &str| value(&metrics(&store, &[]), name, &[("topic", topic)]);
    assert_eq!(of("drave_topic_missing_segments", "b"), 0.0);
    std::fs::remove_file(&segments(&store, "b")[1]).expect("it is there");
    assert_eq!(of("drave_topic_missing_segments", "b"), 1.0);
    std::fs::write(store.path().join("topics/a/topic.toml"), b"\0\0").expect("there is room");
    let told = metrics(&store, &[]);
    assert_eq!((value(&told, "drave_store_damaged_topics", &[]), value(&told, "drave_store_topics", &[])), (1.0, 2.0));
    std::fs::write(store.path().join("store.toml"), b"\0\0").expect("there is room");
    let told = metrics(&store, &[]);
    assert_eq!(value(&told, "drave_store_damaged", &[]), 1.0);
    assert!(!told.contains_key("drave_store_format_version"));
    assert_eq!(value(&told, "drave_topic_records", &[("topic", "b")]), 100.0, "what can be told is");
}

#[test]
fn a_trimmed_topic_misses_nothing() {
    let store = filled();
    store.ok(&["topic", "trim", "b", "--before", "-1", "--yes"]);
    assert!(segments(&store, "b").len() < 3);
    assert_eq!(value(&metrics(&store, &[]), "drave_topic_missing_segments", &[("topic", "b")]), 0.0);
}

#[test]
fn a_running_server_is_asked() {
    let store = filled();
    let password = store.beside().join("password");
    std::fs::write(&password, "geheim\n").expect("there is room");
    let words = ["--password-file", password.to_str().expect("UTF-8")];
    let server = Server::start(&store, &words);
    let mut client = server.client();
    client.say("AUTH geheim");
    client.say("XADD a * f gg");
    client.say("XRANGE a - + COUNT 1");
    client.say("NOPE");
    let told = metrics(&store, &words);
    for (name, expected) in [
        ("drave_server_up", 1.0),
        ("drave_server_clients", 2.0),
        ("drave_server_connections_total", 2.0),
        ("drave_server_added_records_total", 1.0),
        ("drave_server_added_bytes_total", 3.0),
        ("drave_server_read_records_total", 1.0),
        ("drave_server_limit_clients", 10_000.0),
        ("drave_server_failed_syncs_total", 0.0),
    ] {
        assert_eq!(value(&told, name, &[]), expected, "{name}");
    }
    assert_eq!(value(&told, "drave_server_errors_total", &[("kind", "ERR")]), 1.0);
    let latency = |stage, quantile| value(&told, "drave_server_latency_seconds", &[("stage", stage), ("quantile", quantile)]);
    assert!(
        latency("sync", "0.5") > 0.0
            && latency("append", "0.999") < 60.0
            && latency("command", "0.99") >= latency("command", "0.5")
    );
    assert!(value(&told, "drave_server_resident_memory_bytes", &[]) > 1e6);
    let ran = store.run(&["metrics"]);
    assert_eq!(ran.code(), 0);
    assert!(ran.stderr().contains("DRAVE_PASSWORD"), "{}", ran.stderr());
    assert_eq!(value(&parse(ran.stdout()), "drave_server_up", &[]), 0.0, "it does not answer this one");
}

#[test]
fn names_labels_and_their_number_are_chosen() {
    let store = rich();
    let odd = std::ffi::OsStr::new("line\n\"quoted\\");
    let mut publish = store.command(&["publish"]);
    assert!(publish.arg(odd).arg("x").output().expect("it runs").status.success());
    let told = metrics(&store, &["--namespace", "logs", "--label", "store=main", "--label", "path=a=\"b\\\n"]);
    let always = [("store", "main"), ("path", "a=\"b\\\n")];
    assert!(told.keys().all(|name| name.starts_with("logs_")), "{:?}", told.keys());
    assert_eq!(value(&told, "logs_topic_records", &[("topic", "line\n\"quoted\\"), always[0], always[1]]), 1.0);
    assert_eq!(value(&told, "logs_store_damaged", &always), 0.0);
    let told = metrics(&store, &["--labels-max", "2"]);
    let shown = |name: &str| told.get(name).map_or(0, |family| family.samples.len());
    assert_eq!((shown("drave_topic_records"), shown("drave_group_lag_records")), (2, 2));
    assert_eq!(value(&told, "drave_metrics_left_out_topics", &[]) + 2.0, value(&told, "drave_store_topics", &[]));
    assert_eq!(value(&told, "drave_metrics_left_out_groups", &[]), 1.0);
    let all = metrics(&store, &[]);
    let sum: f64 = all["drave_topic_records"].samples.iter().map(|(_, value)| value).sum();
    assert_eq!(value(&told, "drave_store_records", &[]), sum, "sums are those of all");
    for bad in [&["--namespace", "9"][..], &["--label", "topic=x"], &["--label", "x"], &["--label", "a-b=c"]] {
        assert_eq!(store.run(&[&["metrics"], bad].concat()).code(), 2, "{bad:?}");
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let store = filled();
    let directory = store.beside().join("collector");
    std::fs::create_dir(&directory).expect("there is room");
    let path = directory.join("drave.prom");
    let output = path.to_str().expect("UTF-8");
    std::fs::write(&path, "old").expect("there is room");
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("it is there"));
    // Whoever has the old one open has all of it.
    let old = std::fs::File::open(&path).expect("it is there");
    let before = inode(&path);
    assert_eq!(store.ok(&["metrics", "--output", output]), b"");
    assert_ne!(inode(&path), before);
    assert_eq!(std::io::read_to_string(old).expect("text"), "old");
    parse(&std::fs::read_to_string(&path).expect("text"));
    let names = || std::fs::read_dir(&directory).expect("a directory").count();
    assert_eq!(names(), 1, "nothing is left beside it");
    // A name that a file cannot replace.
    std::fs::create_dir(directory.join("taken.prom")).expect("there is room");
    let ran = store.run(&["metrics", "--output", directory.join("taken.prom").to_str().expect("UTF-8")]);
    assert_eq!((ran.code(), names()), (1, 2), "{}", ran.stderr());
    assert!(ran.stderr().contains("cannot write"), "{}", ran.stderr());
    assert_eq!(Store::new().run(&["metrics", "--output", output]).code(), 11);
    parse(&std::fs::read_to_string(&path).expect("the last one that went well is left"));
}

#[test]
fn a_link_is_followed_and_a_device_is_written_to() {
    let store = filled();
    let (target, link) = (store.beside().join("target.prom"), store.beside().join("link.prom"));
    std::fs::write(&target, "old").expect("there is room");
    std::os::unix::fs::symlink(&target, &link).expect("there is room");
    store.ok(&["metrics", "--output", link.to_str().expect("UTF-8")]);
    assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
    parse(&std::fs::read_to_string(&target).expect("text"));
    let ran = store.shell("drave metrics --output /dev/stdout | cat");
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    parse(ran.stdout());
}

#[test]
fn damage_of_topics_without_series_counts_and_merged_segments_are_not_missed() {
    let store = filled();
    store.ok(&["topic", "create", "m", "segment-bytes=4KiB", "compact=on"]);
    for _ in 0..8 {
        let lines: String = (0..60).map(|n| format!("k{}:{:050}\n", n % 7, n)).collect();
        store.ok_with(&["publish", "m", "-K", ":"], lines.as_bytes());
    }
    let before = segments(&store, "m").len();
    store.ok(&["compact", "m"]);
    assert!(segments(&store, "m").len() < before);
    let of_all = |name: &str| value(&metrics(&store, &["--labels-max", "0"]), name, &[]);
    assert_eq!((of_all("drave_store_damaged_segments"), of_all("drave_store_missing_segments")), (0.0, 0.0));
    let all = segments(&store, "b");
    // The log start lies in the middle of the one that is lost.
    std::fs::remove_file(&all[1]).expect("it is there");
    assert_eq!(of_all("drave_store_missing_segments"), 1.0);
    flip(&all[2], 40);
    assert_eq!(of_all("drave_store_damaged_segments"), 1.0);
}

#[test]
fn what_a_group_waits_for_has_an_age_though_the_record_before_it_is_gone() {
    let store = Store::new();
    store.ok_with(&["publish", "t"], b"1\n2\n3\n4\n");
    store.ok(&["group", "create", "t", "g", "--from", "start"]);
    store.ok(&["topic", "trim", "t", "--before", "2", "--yes"]);
    let labels = [("topic", "t"), ("group", "g")];
    crate::rig::wait_until("it is old", || value(&metrics(&store, &[]), "drave_group_lag_seconds", &labels) > 0.0);
}

/// Words that may be names of metrics.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("drave_")).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_speak_of_what_is_printed() {
    let store = limited();
    let server = Server::start(&store, &[]);
    server.client().say("NOPE");
    let told = metrics(&store, &["--snapshots", snapshots(&store).to_str().expect("UTF-8")]);
    let text = |words: &[&str]| String::from_utf8(store.ok(words)).expect("UTF-8");
    let (dashboard, alerts) = (text(&["generate", "grafana"]), text(&["generate", "alerts"]));
    for text in [&dashboard, &alerts] {
        let names = names_in(text);
        assert!(names.len() > 15, "{names:?}");
        let unknown: Vec<&String> = names.iter().filter(|name| !told.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = parsed["panels"].as_array().expect("panels");
    let places: BTreeSet<String> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
    assert!(panels.len() >= 12 && places.len() == panels.len(), "none lies on another");
    let quantities = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    assert!(quantities.clone().count() > panels.len());
    assert!(quantities.into_iter().all(|target| names_in(target["expr"].as_str().expect("an expression")).len() < 3));
    // Each rule is whole.
    let rules = alerts.matches("- alert: Drave").count();
    assert!(rules >= 10);
    for member in ["expr: \"", "for: ", "severity: ", "summary: \"", "description: \""] {
        assert_eq!(alerts.lines().filter(|line| line.trim_start().starts_with(member)).count(), rules, "{member}");
    }
    assert!(alerts.lines().all(|line| !line.contains('\t')), "YAML has no tabs");
    let renamed = [text(&["generate", "grafana", "--namespace", "logs"]), text(&["generate", "alerts", "--namespace", "logs"])];
    assert!(renamed.iter().all(|text| names_in(text).is_empty() && text.contains("logs_group_")));
}
