//! The pipelines that must just work.

use crate::support::Store;

#[track_caller]
fn works(store: &Store, line: &str) -> String {
    let ran = store.shell(line);
    assert_eq!((ran.code(), ran.stderr()), (0, ""), "{line}");
    ran.stdout().to_owned()
}

#[test]
fn a_million_numbers_come_back() {
    works(&Store::new(), "seq 1000000 | drave publish n && drave replay n | cmp - <(seq 1000000)");
}

#[test]
fn journal_entries_are_keyed_by_their_unit() {
    let store = Store::new();
    let journal = r#"printf '%s\n' '{"_SYSTEMD_UNIT":"ssh.service","MESSAGE":"hi"}' '{"MESSAGE":"kernel"}'"#;
    works(&store, &format!("{journal} | drave publish logs --key-from ._SYSTEMD_UNIT"));
    assert_eq!(works(&store, r"drave replay logs -o '%k\n'"), "ssh.service\n\n");
}

#[test]
fn a_topic_is_copied_through_json() {
    let store = Store::new();
    works(&store, "seq 10000 | drave publish orders -H source=test");
    works(&store, "drave replay orders --json | drave publish orders-copy --json");
    let fields = |topic| works(&store, &format!("drave replay {topic} -o '%v %h{{source}}\\n' | sort | md5sum"));
    assert_eq!(fields("orders"), fields("orders-copy"));
}

#[test]
fn files_with_newlines_in_their_names_are_one_record_each() {
    let store = Store::new();
    let line = "mkdir d && touch d/a $'d/new\\nline' && find d -type f -print0 | drave publish files -0 && drave replay files -0 | sort -z | tr '\\0' '|'";
    assert_eq!(works(&store, line), "d/a|d/new\nline|");
}

#[test]
fn a_loop_publishes_a_record_a_turn() {
    let store = Store::new();
    works(&store, "printf '%s\\n' -n --help '' x > list; while read -r x; do drave publish t -- \"$x\"; done < list");
    assert_eq!(works(&store, "drave replay t"), "-n\n--help\n\nx\n");
}

#[test]
fn publishers_in_parallel_lose_nothing() {
    let store = Store::new();
    works(&store, "for i in 1 2 3 4; do seq -f \"$i-%g\" 5000 | drave publish t & done; wait");
    assert_eq!(works(&store, "drave replay t | wc -l"), "20000\n");
    for publisher in 1..=4 {
        works(&store, &format!("drave replay t | grep ^{publisher}- | cmp - <(seq -f '{publisher}-%g' 5000)"));
    }
}

#[test]
fn a_store_is_made_once_by_many_at_once() {
    for round in 0..20 {
        let store = Store::new();
        works(&store, "for i in 1 2 3 4 5 6 7 8; do drave publish t $i & done; wait");
        assert_eq!(works(&store, "drave replay t | sort | tr -d '\\n'"), "12345678", "round {round}");
    }
}
