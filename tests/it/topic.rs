use crate::support::Store;

#[test]
fn a_topic_is_created_once() {
    let store = Store::new();
    store.ok(&["topic", "create", "a", "durability=none", "segment-bytes=64MiB"]);
    let ran = store.run(&["topic", "create", "a"]);
    assert_eq!((ran.code(), ran.stderr()), (12, "drave: topic a exists already\n"));
    let ran = store.run(&["topic", "create", "a", "durability=sync", "--if-missing"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "a: exists already, its settings were left as they are\n"));
    let ran = store.run(&["topic", "create", "a", "durability=sync", "--if-missing", "--quiet"]);
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
    let shown = store.ok(&["topic", "show", "a"]);
    let shown = String::from_utf8(shown).expect("UTF-8");
    assert!(shown.starts_with(
        "setting\tvalue\tfrom\ndurability\tnone\ttopic\nflush-interval\t100ms\tdefault\nsegment-bytes\t64MiB\ttopic\n"
    ));
}

#[test]
fn a_setting_that_is_not_one_is_refused_before_anything_is_made() {
    let store = Store::new();
    for setting in ["durability=fsync", "colour=red", "segment-bytes=1", "durability"] {
        assert_eq!(store.run(&["topic", "create", "a", setting]).code(), 2, "{setting}");
    }
    assert!(!store.path().exists());
}

#[test]
fn settings_change_and_go_back_to_the_default() {
    let store = Store::new();
    store.ok(&["topic", "create", "a", "durability=none"]);
    store.ok(&["topic", "set", "a", "durability=", "compression=zstd"]);
    let shown = String::from_utf8(store.ok(&["topic", "show", "a", "--json"])).expect("UTF-8");
    assert!(shown.contains("{\"setting\":\"durability\",\"value\":\"sync\",\"from\":\"default\"}\n"), "{shown}");
    assert!(shown.contains("{\"setting\":\"compression\",\"value\":\"zstd:3\",\"from\":\"topic\"}\n"), "{shown}");
    assert_eq!(store.run(&["topic", "set", "a"]).code(), 2);
    assert_eq!(store.run(&["topic", "set", "b", "durability=none"]).code(), 3);
    assert_eq!(store.run(&["topic", "show", "b"]).code(), 3);
}

#[test]
fn a_list_has_every_topic_byte_for_byte() {
    let store = Store::new();
    for name in ["b", "a b", "ü", "tab\there"] {
        store.ok(&["topic", "create", name]);
    }
    assert_eq!(store.ok(&["topic", "list"]), "topic\na b\nb\ntab\there\nü\n".as_bytes());
    let objects = "{\"topic\":\"a b\"}\n{\"topic\":\"b\"}\n{\"topic\":\"tab\\there\"}\n{\"topic\":\"ü\"}\n";
    assert_eq!(store.ok(&["topic", "list", "--json"]), objects.as_bytes());
}

#[test]
fn what_destroys_needs_a_yes_where_nobody_can_be_asked() {
    let store = Store::new();
    store.ok_with(&["publish", "a"], b"1\n2\n3\n");
    for words in [&["topic", "delete", "a"][..], &["topic", "trim", "a", "--before", "end"]] {
        let ran = store.run_with(words, b"y\n");
        assert_eq!(ran.code(), 2);
        assert!(ran.stderr().contains("--yes"), "{}", ran.stderr());
    }
    assert_eq!(store.ok(&["replay", "a"]), b"1\n2\n3\n");
}

#[test]
fn a_trim_removes_what_lies_before_a_position() {
    let store = Store::new();
    store.ok_with(&["publish", "a"], b"1\n2\n3\n4\n5\n");
    let ran = store.run(&["topic", "trim", "a", "--before", "-2", "--dry-run"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "a: would remove records 0..3\n"));
    assert_eq!(store.ok(&["replay", "a"]), b"1\n2\n3\n4\n5\n");
    let ran = store.run(&["topic", "trim", "a", "--before", "-2", "--yes"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "a: removed records 0..3\n"));
    assert_eq!(store.ok(&["replay", "a", "-o", "%o %v\n"]), b"3 4\n4 5\n");
    let ran = store.run(&["topic", "trim", "a", "--before", "1", "--yes"]);
    assert_eq!((ran.code(), ran.stderr()), (0, "a: nothing lies before offset 1, the log starts at 3\n"));
    let ran = store.run(&["topic", "trim", "a", "--before", "90", "--yes"]);
    assert_eq!((ran.code(), ran.stderr()), (3, "drave: a: offset 90 is past the end (next offset is 5)\n"));
    store.ok(&["topic", "trim", "a", "--before", "end", "--yes"]);
    store.ok(&["publish", "a", "6"]);
    assert_eq!(store.ok(&["replay", "a", "-o", "%o %v\n"]), b"5 6\n");
}

#[test]
fn a_deleted_topic_is_gone() {
    let store = Store::new();
    store.ok(&["publish", "a", "x"]);
    store.ok(&["publish", "b", "x"]);
    store.ok(&["topic", "delete", "a", "--yes"]);
    assert_eq!(store.ok(&["topic", "list"]), b"topic\nb\n");
    assert_eq!(store.run(&["replay", "a"]).code(), 3);
    let ran = store.run(&["topic", "delete", "a", "--yes"]);
    assert_eq!((ran.code(), ran.stderr()), (3, "drave: there is no topic a\n"));
    store.ok(&["topic", "delete", "a", "--yes", "--if-exists"]);
}
