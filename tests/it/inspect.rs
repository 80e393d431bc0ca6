use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::support::Store;

/// Some records in two topics, of which `b` has three segments.
pub(crate) fn filled() -> Store {
    let store = Store::new();
    store.ok_with(&["publish", "a"], b"1\n2\n3\n");
    store.ok(&["topic", "create", "b", "segment-bytes=4KiB"]);
    for batch in 0..5 {
        let lines: String = (0..20).map(|line| format!("{batch}-{line} {}\n", "x".repeat(80))).collect();
        store.ok_with(&["publish", "b"], lines.as_bytes());
    }
    assert_eq!(segments(&store, "b").len(), 3);
    store
}

pub(crate) fn segments(store: &Store, topic: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.path().join("topics").join(topic)).expect("a topic");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

pub(crate) fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[position] ^= 1;
    let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[position..=position], position as u64).expect("there is room");
}

/// Everything that there is to know of the files below `root`.
pub(crate) fn snapshot(root: &Path) -> Vec<(PathBuf, SystemTime, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::metadata(&path).expect("it is there");
            let contents = if meta.is_dir() { None } else { Some(fs::read(&path).expect("it can be read")) };
            found.push((path.clone(), meta.modified().expect("a time"), contents));
            if meta.is_dir() {
                directories.push(path);
            }
        }
    }
    found.sort();
    found
}

const LOOKS: [&[&str]; 12] = [
    &["inspect"],
    &["inspect", "topics"],
    &["inspect", "topic", "a"],
    &["inspect", "segments", "b"],
    &["inspect", "frames", "b"],
    &["inspect", "frames", "b", "--segment", "0"],
    &["inspect", "cursors"],
    &["inspect", "cursors", "a"],
    &["verify"],
    &["verify", "a", "b"],
    &["inspect", "topics", "--json"],
    &["verify", "--json"],
];

#[test]
fn looking_changes_nothing() {
    let store = filled();
    store.ok(&["tail", "a", "--as", "reader"]);
    let before = snapshot(&store.path());
    for words in LOOKS {
        store.ok(words);
    }
    assert!(snapshot(&store.path()) == before);
    // After a crash or a reboot, too: nobody repairs what looks.
    fs::remove_file(store.path().join("topics/b/head")).expect("it is there");
    flip(&segments(&store, "b")[2], 300);
    let before = snapshot(&store.path());
    for words in LOOKS {
        store.run(words);
    }
    assert!(snapshot(&store.path()) == before);
}

#[test]
fn a_store_that_is_missing_is_not_made() {
    let store = Store::new();
    for words in LOOKS {
        let ran = store.run(words);
        assert_eq!(ran.code(), 11, "{words:?}: {}", ran.stderr());
    }
    assert!(!store.path().exists());
}

/// Replaces what differs from run to run: hexadecimal ids, numbers of time, paths.
fn settled(text: &str, store: &Store) -> String {
    let text = text.replace(store.path().to_str().expect("UTF-8"), "STORE");
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':' && c != '.');
    words
        .map(|word| {
            let (body, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
            let is_hex = body.len() == 32 && body.bytes().all(|b| b.is_ascii_hexdigit());
            let is_time = body.len() == 24 && body.ends_with('Z');
            let is_id = body.split_once('-').is_some_and(|(ms, seq)| ms.len() == 13 && seq.bytes().all(|b| b.is_ascii_digit()));
            match (is_hex, is_time, is_id) {
                (true, ..) => format!("HEX{end}"),
                (_, true, _) => format!("TIME{end}"),
                (_, _, true) => format!("ID{end}"),
                _ => word.to_owned(),
            }
        })
        .collect()
}

#[track_caller]
fn json(store: &Store, words: &[&str]) -> String {
    let ran = store.run(&[words, &["--json"]].concat());
    for line in ran.stdout().lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    settled(ran.stdout(), store)
}

#[test]
fn the_members_of_the_objects_are_those() {
    let store = Store::new();
    store.ok(&["topic", "create", "a", "durability=async"]);
    store.ok_with(&["publish", "a"], b"1\n2\n3\n");
    store.ok(&["tail", "a", "-n", "1", "--as", "r"]);
    store.ok(&["publish", "a", "4"]);
    let size: u64 = snapshot(&store.path()).iter().filter_map(|(_, _, bytes)| bytes.as_ref()).map(|b| b.len() as u64).sum();
    let expected = format!(
        r#"{{"path":"STORE","id":"HEX","version":1,"problem":null,"topics":1,"cursors":1,"bytes":{size},"defaults":""}}"#
    );
    assert_eq!(json(&store, &["inspect"]).trim_end(), expected);
    let files = fs::read_dir(store.path().join("topics/a")).expect("a topic").map(|entry| entry.expect("one").metadata());
    let size: u64 = files.map(|meta| meta.expect("facts").len()).sum();
    assert_eq!(
        json(&store, &["inspect", "topics"]).trim_end(),
        format!(
            r#"{{"topic":"a","records":4,"bytes":{size},"segments":1,"log_start":0,"log_end":4,"durable":4,"last_time":"TIME","problem":null}}"#
        )
    );
    assert_eq!(
        json(&store, &["inspect", "topic", "a"]).trim_end(),
        [
            r#"{"topic":"a","directory":"a","incarnation":"HEX","records":4,"deleted":0,"log_start":0,"log_end":4,"high_watermark":4,"durable":4,"#,
            r#""epoch":0,"last_id":"ID","last_time":"TIME","entries_added":4,"segments":1,"#,
            &format!(r#""bytes":{size},"poisoned":false,"unrecovered":false,"#),
            r#""durability":"async","flush-interval":"100ms","segment-bytes":"256MiB","segment-age":"7d","compression":"none","#,
            r#""record-bytes-max":"512MiB","dedup-window":"1m40s","dedup-size":"100","dedup-after":"none","#,
            r#""max-age":"none","max-bytes":"none","max-records":"none","protect-groups":"on","#,
            r#""protect-bytes-max":"10GiB","compact":"off","tombstone-age":"1d","expire-at":"none","#,
            r#""rate":"none","rate-bytes":"none","burst":"none","burst-bytes":"none","adaptive":"off"}"#,
        ]
        .concat()
    );
    let bytes = fs::metadata(&segments(&store, "a")[0]).expect("it is there").len();
    assert_eq!(
        json(&store, &["inspect", "segments", "a"]).trim_end(),
        format!(
            r#"{{"base":0,"end":4,"bytes":{bytes},"epoch":0,"created":"TIME","durable":0,"previous":null,"previous_end":null,"index_bytes":null,"problem":null}}"#
        )
    );
    let frames = json(&store, &["inspect", "frames", "a"]);
    let first = r#"{"segment":0,"position":256,"length":74,"kind":"records","base":0,"span":3,"count":3,"id":"ID","time":"TIME","durable":0,"zstd":false,"problem":null}"#;
    assert_eq!(frames.lines().next().expect("one"), first);
    let kinds: Vec<&str> = frames.lines().map(|line| line.split('"').nth(9).expect("a kind")).collect();
    assert!(kinds.contains(&"records") && kinds.contains(&"mark"), "{kinds:?}");
    assert_eq!(
        json(&store, &["inspect", "cursors"]).trim_end(),
        r#"{"name":"r","topic":"a","offset":3,"epoch":0,"saved":"TIME","waiting":1,"problem":null}"#
    );
    flip(&segments(&store, "a")[0], 300);
    assert_eq!(
        json(&store, &["verify"]).trim_end(),
        r#"{"topic":"a","severity":"damage","path":"STORE/topics/a/00000000000000000000.log","position":256,"from":0,"until":3,"what":"the checksum does not match"}"#
    );
    let bad = json(&store, &["inspect", "frames", "a"]);
    let expected = r#"{"segment":0,"position":256,"length":74,"kind":"bad","base":null,"span":null,"count":null,"id":null,"time":null,"durable":null,"zstd":null,"problem":"the checksum does not match"}"#;
    assert_eq!(bad.lines().next().expect("one"), expected);
}

#[test]
fn in_a_pipe_columns_are_separated_by_tabs_under_a_heading() {
    let store = filled();
    for words in LOOKS.iter().filter(|words| !words.contains(&"--json")) {
        let out = String::from_utf8(store.ok(words)).expect("UTF-8");
        let columns = out.lines().next().expect("a heading").matches('\t').count();
        assert!(columns > 0 && out.lines().all(|line| line.matches('\t').count() == columns), "{words:?}: {out}");
    }
}

#[test]
fn damage_is_told_in_rows_and_by_the_exit_status() {
    let store = filled();
    flip(&segments(&store, "b")[1], 40);
    flip(&segments(&store, "b")[2], 400);
    let ran = store.run(&["inspect", "segments", "b"]);
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
    assert!(ran.stdout().contains("the checksum of the segment header does not match"), "{}", ran.stdout());
    let ran = store.run(&["inspect", "frames", "b"]);
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
    assert_eq!(ran.stdout().matches("\tbad\t").count(), 2, "{}", ran.stdout());
    let base: u64 = segments(&store, "b")[0].file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number");
    assert_eq!(store.run(&["inspect", "frames", "b", "--segment", &base.to_string()]).code(), 0);
    let path = segments(&store, "b")[1].clone();
    let ran = store.run(&["inspect", "frames", path.to_str().expect("UTF-8")]);
    assert_eq!(ran.code(), 7);
    assert!(ran.stderr().contains("is damaged at position 0"), "{}", ran.stderr());
}

#[test]
fn a_topic_that_does_not_open_hides_no_other() {
    let store = filled();
    let long = "long".repeat(100);
    store.ok(&["publish", &long, "x"]);
    fs::write(store.path().join("topics/a/topic.toml"), b"\0\0\0\0").expect("there is room");
    let hashed = fs::read_dir(store.path().join("topics")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let hashed = hashed.into_iter().find(|path| path.to_string_lossy().contains("%~")).expect("it is there");
    fs::remove_file(hashed.join("topic.toml")).expect("it is there");
    let ran = store.run(&["inspect", "topics"]);
    assert_eq!(ran.code(), 7);
    let lines: Vec<&str> = ran.stdout().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].starts_with("a\t\t\t") && lines[1].contains("topic.toml"), "{}", lines[1]);
    assert!(lines[2].starts_with("b\t100\t") && lines[2].ends_with('\t'), "{}", lines[2]);
    assert!(lines[3].starts_with("\t\t") && lines[3].contains("%~"), "{}", lines[3]);
    assert_eq!(store.run(&["inspect", "topic", "a"]).code(), 7);
    assert_eq!(store.run(&["inspect", "topic", "b"]).code(), 0);
    assert_eq!(store.run(&["inspect", "frames", "a"]).code(), 0);
    assert_eq!(store.run(&["inspect", "topic", "c"]).code(), 3);
    let ran = store.run(&["verify"]);
    assert_eq!(ran.code(), 7);
    assert_eq!(ran.stdout().matches("\tdamage\t").count(), 2, "{}", ran.stdout());
}

#[test]
fn a_damaged_store_file_is_told_and_the_topics_are_there() {
    let store = filled();
    let file = store.path().join("store.toml");
    for contents in [Some(&b"\0\0\0"[..]), Some(b"version = 1\nid = \"x\"\n[defaults]\ncolour = \"red\"\n"), Some(b""), None] {
        match contents {
            Some(bytes) => fs::write(&file, bytes).expect("there is room"),
            None => fs::remove_file(&file).expect("it is there"),
        }
        assert_eq!(store.run(&["replay", "a"]).code(), 11);
        let ran = store.run(&["inspect", "--json"]);
        assert_eq!(ran.code(), 7, "{}", ran.stderr());
        assert!(ran.stdout().contains("store.toml") && ran.stdout().contains("\"topics\":2,"), "{}", ran.stdout());
        let ran = store.run(&["inspect", "topics"]);
        assert_eq!((ran.code(), ran.stdout().lines().count()), (0, 3));
        assert!(ran.stderr().contains("store.toml"), "{}", ran.stderr());
        assert_eq!(store.run(&["inspect", "frames", "b"]).code(), 0);
        let ran = store.run(&["verify"]);
        assert_eq!((ran.code(), ran.stdout().matches("store.toml").count()), (7, 1), "{}", ran.stdout());
        assert_eq!(store.run(&["verify", "a", "b"]).code(), 0);
    }
}

#[test]
fn a_topic_comes_before_a_file_of_its_name() {
    let store = filled();
    let from = segments(&store, "b")[0].clone();
    for (line, rows) in [("drave inspect frames a", 1), ("drave inspect frames ./a", 2), ("drave inspect frames other.log", 2)] {
        fs::copy(&from, store.beside().join("a")).expect("there is room");
        fs::copy(&from, store.beside().join("other.log")).expect("there is room");
        let ran = store.shell(line);
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        assert_eq!(ran.stdout().matches("\trecords\t").count(), rows, "{line}: {}", ran.stdout());
    }
    assert_eq!(store.shell("drave inspect frames ./a --segment 0").code(), 2);
    assert_eq!(store.shell("drave inspect frames nothing").code(), 3);
    assert_eq!(store.shell("drave inspect frames a --segment 2").code(), 3);
    assert_eq!(store.shell("DRAVE_STORE=missing drave inspect frames other.log").code(), 0);
}

#[test]
fn a_cursor_shows_what_waits_for_it() {
    let store = filled();
    for name in ["first", "second"] {
        store.ok(&["tail", "a", "-n", "1", "--as", name]);
    }
    store.ok(&["tail", "b", "--as", "first"]);
    store.ok(&["publish", "a", "4"]);
    let shown = |words: &[&str]| {
        let out = String::from_utf8(store.ok(words)).expect("UTF-8");
        let rows = out.lines().skip(1).map(|row| row.split('\t').map(str::to_owned).collect::<Vec<_>>());
        rows.map(|row| [&row[0], &row[1], &row[2], &row[5]].map(String::as_str).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["inspect", "cursors"]), ["first a 3 1", "first b 100 0", "second a 3 1"]);
    assert_eq!(shown(&["inspect", "cursors", "a"]), ["first a 3 1", "second a 3 1"]);
    store.ok(&["topic", "delete", "b", "--yes"]);
    let ran = store.run(&["inspect", "cursors"]);
    assert!(ran.code() == 0 && ran.stdout().contains("there is no topic b"), "{}", ran.stdout());
    flip(&store.path().join("cursors/second/a"), 5);
    let ran = store.run(&["inspect", "cursors"]);
    assert_eq!(ran.code(), 7);
    assert!(ran.stdout().lines().last().is_some_and(|row| row.starts_with("second\ta\t\t")), "{}", ran.stdout());
    assert_eq!(store.run(&["verify"]).code(), 7);
}

#[test]
fn watching_repeats_until_stopped() {
    let store = filled();
    let ran = store.run(&["inspect", "topics", "--watch", "10ms", "--timeout", "400ms"]);
    assert_eq!(ran.code(), 124, "{}", ran.stderr());
    let rounds: Vec<&str> = ran.stdout().split("\n\n").collect();
    assert!(rounds.len() > 2 && rounds.iter().all(|round| round.starts_with("topic\trecords\t")), "{}", ran.stdout());
    let ran = store.run(&["inspect", "--json", "topics", "--watch", "10ms", "--timeout", "400ms"]);
    assert!(ran.stdout().lines().count() > 4 && ran.stdout().lines().all(|line| line.starts_with('{')), "{}", ran.stdout());
    let ran = store.shell("drave inspect --watch 10ms | head -1");
    assert_eq!((ran.code(), ran.stdout(), ran.stderr()), (141, "name\tvalue\n", ""));
    let ran = store.shell("timeout -s INT 0.5 drave inspect --watch 1h; echo $?");
    assert!(ran.stdout().ends_with("124\n"), "{}", ran.stdout());
}

#[test]
fn it_works_while_others_publish() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=64KiB", "durability=none"]);
    let line = "seq 400000 | drave publish t & while kill -0 $! 2>/dev/null; do for look in 'inspect frames t' 'inspect topics' \
                'inspect segments t' 'verify'; do drave -q $look > out || { cat out; echo \"$look: $?\"; exit 1; }; done; done; wait $!";
    let ran = store.shell(line);
    assert_eq!((ran.code(), ran.stderr()), (0, ""), "{}", ran.stdout());
    assert!(String::from_utf8(store.ok(&["inspect", "topics"])).expect("UTF-8").contains("t\t400000\t"));
}
