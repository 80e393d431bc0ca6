//! Records that were deleted one by one, as the commands see them. No command deletes single records: the
//! library does, in the same store.

use std::fs;
use std::os::unix::fs::FileExt as _;

use drave::clock::Clock;
use drave::ids::{Offset, RecordId, TopicName};
use drave::job::Job;
use drave::log::Mode;
use drave::store::{Store as Files, StoreOptions};

use super::support::Store;

/// A store with the topic `t` of `records` numbered records.
fn numbered(records: u64) -> Store {
    let store = Store::new();
    let lines: String = (0..records).map(|number| format!("k{}:{number}\n", number % 3)).collect();
    store.ok_with(&["publish", "t", "--key-separator", ":"], lines.as_bytes());
    store
}

fn delete(store: &Store, offsets: impl IntoIterator<Item = u64>) -> u64 {
    let options = StoreOptions { create: false, unsafe_fs: false, clock: Clock::system() };
    let files = Files::open(&store.path(), &options).expect("opens");
    let topic = files.topic(&TopicName::new(b"t").expect("legal"), Mode::Write, &Job::new()).expect("there");
    let offsets: Vec<Offset> = offsets.into_iter().map(Offset).collect();
    let log = topic.log();
    let done = log.delete(&offsets, log.epoch(), RecordId { ms: 1, seq: 0 }, &Job::new()).expect("deleted");
    log.sync_deleted(done.place, &Job::new()).expect("synced");
    done.count
}

#[test]
fn readers_say_in_one_line_what_was_deleted_and_print_the_rest() {
    let store = numbered(12);
    assert_eq!(delete(&store, 5..7), 2);
    for words in [&["replay", "t"][..], &["tail", "t", "-n", "20"][..]] {
        let ran = store.run(words);
        assert_eq!((ran.code(), ran.stdout()), (0, "0\n1\n2\n3\n4\n7\n8\n9\n10\n11\n"), "{}", ran.stderr());
        assert_eq!(ran.stderr(), "t: records 5..7 were deleted before they were read\n");
    }
    assert_eq!(delete(&store, [1, 5, 9]), 2);
    let ran = store.run(&["replay", "t"]);
    assert_eq!(ran.stdout(), "0\n2\n3\n4\n7\n8\n10\n11\n");
    assert_eq!(ran.stderr(), "t: 4 of the records 1..10 were deleted before they were read\n");
    let facts = String::from_utf8(store.ok(&["inspect", "topic", "t", "--json"])).expect("UTF-8");
    assert!(facts.contains(r#""records":8,"deleted":4,"#), "{facts}");
    let topics = String::from_utf8(store.ok(&["inspect", "topics", "--json"])).expect("UTF-8");
    assert!(topics.contains(r#""records":8,"#), "{topics}");
}

#[test]
fn a_group_of_every_order_works_what_is_left_and_is_done_then() {
    for order in ["none", "key", "topic"] {
        let store = numbered(300);
        delete(&store, (0..300).filter(|offset| offset % 2 == 0 || (100..150).contains(offset) || *offset > 290));
        let ran = store.run(&["consume", "t", "--group", "g", "--order", order, "--drain"]);
        let mut worked: Vec<u64> = ran.stdout().lines().map(|line| line.parse().expect("a number")).collect();
        worked.sort_unstable();
        let live: Vec<u64> = (0..=290).filter(|offset| offset % 2 == 1 && !(100..150).contains(offset)).collect();
        assert_eq!((ran.code(), worked), (0, live), "{order}: {}", ran.stderr());
        let again = store.run(&["consume", "t", "--group", "g", "--drain"]);
        assert_eq!((again.code(), again.stdout(), again.stderr()), (0, "", ""), "{order}");
    }
}

/// Damage in the log of deletions costs those that lie in it.
#[test]
fn damaged_deletions_are_told_and_the_others_stay() {
    let store = numbered(10);
    (0..3).for_each(|number| assert_eq!(delete(&store, [number * 3]), 1));
    let log = store.path().join("topics/t/deleted/00000000000000000000.log");
    let file = fs::OpenOptions::new().read(true).write(true).open(log).expect("there");
    assert_eq!(store.run(&["verify"]).code(), 0);
    // The second of three frames of one size each.
    let at = 256 + (file.metadata().expect("a length").len() - 256) / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[!byte[0]], at).expect("written");
    let verified = store.run(&["verify"]);
    assert_eq!(verified.code(), 7, "{}", verified.stdout());
    assert!(verified.stdout().contains("records that were deleted may be read again"), "{}", verified.stdout());
    assert_eq!(String::from_utf8(store.ok(&["replay", "t"])).expect("UTF-8"), "1\n2\n3\n4\n5\n7\n8\n9\n");
    assert_eq!(delete(&store, [8]), 1);
    let repaired = store.run(&["verify", "--repair", "--yes"]);
    assert!(repaired.stderr().contains("a part of its deletions was lost"), "{}", repaired.stderr());
    assert_eq!(store.run(&["verify"]).code(), 0);
    assert_eq!(delete(&store, [3]), 1);
    assert_eq!(String::from_utf8(store.ok(&["replay", "t"])).expect("UTF-8"), "1\n2\n4\n5\n7\n9\n");
}
