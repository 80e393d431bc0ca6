//! Files that are removed, cut or put back from a copy while processes use them: a publisher that
//! runs acknowledges only what is stored, a follower goes on, and what is lost is told.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};

use crate::rig::{Receipt, Seed, file, read, run_bounded, sane, segment, verify_clean, wait_until};
use crate::support::Store;

/// `drave publish t --receipts`, fed line by line.
struct Publisher {
    child: Child,
    stdin: ChildStdin,
    receipts: BufReader<ChildStdout>,
}

impl Publisher {
    fn start(store: &Store) -> Publisher {
        let mut child = store.start(&["publish", "t", "--receipts"]);
        let stdin = child.stdin.take().expect("a pipe");
        let receipts = BufReader::new(child.stdout.take().expect("a pipe"));
        Publisher { child, stdin, receipts }
    }

    /// Publishes a line; its receipt, unless the publisher ended instead.
    fn publish(&mut self, line: &str) -> Option<Receipt> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut receipt = String::new();
        self.receipts.read_line(&mut receipt).expect("readable");
        (!receipt.is_empty()).then(|| Receipt::parse(&receipt))
    }

    /// Exit status, and what it said.
    fn end(mut self) -> (i32, String) {
        drop(self.stdin);
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        (self.child.wait().expect("it ends").code().expect("no signal"), said)
    }
}

/// Prints what comes, until it is dropped.
struct Follower {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn start(store: &Store) -> Follower {
        let mut child = store.start(&["--timeout", "120s", "tail", "t", "-n", "1000000", "-f"]);
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Follower { child, lines }
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        let mut printed = String::new();
        // A follower that stays silent is told by its end.
        self.lines.read_line(&mut printed).expect("readable");
        assert_eq!(printed, format!("{line}\n"));
    }

    /// What it has to say of its end.
    fn last_words(&mut self) -> String {
        let mut words = String::new();
        self.child.stderr.as_mut().expect("a pipe").read_to_string(&mut words).expect("text");
        words
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn topic(durability: &str, records: u64) -> Store {
    let store = Store::new();
    store.ok(&["topic", "create", "t", &format!("durability={durability}"), "segment-bytes=4KiB"]);
    for nth in 0..records {
        store.ok(&["publish", "t", &format!("before {nth}")]);
    }
    store
}

fn cut(path: &Path, to: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(to)).expect("it can be cut");
}

/// Harms the files under a publisher that runs: from then on each receipt is true, what is missing
/// is told, and a new publisher goes on.
fn under_a_publisher(durability: &str, loses: bool, harm: impl Fn(&Store)) {
    let store = topic(durability, 3);
    let mut publisher = Publisher::start(&store);
    let mut kept: Vec<(Receipt, String)> = Vec::new();
    for nth in 0..3 {
        let line = format!("early {nth}");
        kept.push((publisher.publish(&line).expect("nothing is wrong yet"), line));
    }
    harm(&store);
    if loses {
        kept.clear();
    }
    for nth in 0..5 {
        let line = format!("late {nth}");
        match publisher.publish(&line) {
            Some(receipt) => kept.push((receipt, line)),
            None => break,
        }
    }
    let (code, said) = publisher.end();
    assert!([0, 1, 7].contains(&code), "{durability}: exit {code}: {said}");
    assert!(code != 0 || kept.iter().filter(|(_, line)| line.starts_with("late")).count() == 5, "{durability}: {said}");
    let next = run_bounded(store.command(&["publish", "t", "--receipts", "next"]), b"");
    assert_eq!(next.code(), 0, "{durability}: {}", next.stderr());
    kept.push((Receipt::parse(next.stdout()), "next".to_owned()));
    let read = read(&store, "t");
    for (receipt, line) in &kept {
        let (id, value) =
            read.records.get(&receipt.offset).unwrap_or_else(|| panic!("{durability}: lost {receipt:?} {line}: {}", read.said));
        assert_eq!((*id, String::from_utf8_lossy(value).as_ref()), (receipt.id, line.as_str()), "{durability}");
    }
    if loses {
        assert_eq!(read.code, 7, "{durability}: {}", read.said);
        assert!(read.said.contains("t: records "), "{durability}: {}", read.said);
    } else {
        assert_eq!((read.code, read.said.as_str(), code), (0, "", 0), "{durability}: {said}");
        assert_eq!(read.records.len(), 12, "{durability}");
        verify_clean(&store, "t");
    }
}

const LEVELS: [&str; 2] = ["none", "sync"];

#[test]
fn an_active_segment_that_is_removed_under_a_publisher() {
    for level in LEVELS {
        under_a_publisher(level, true, |store| fs::remove_file(segment(store, "t", 0)).expect("removed"));
    }
}

#[test]
fn an_active_segment_that_is_cut_under_a_publisher() {
    for level in LEVELS {
        for left in [0, 256, 300, 400] {
            under_a_publisher(level, true, |store| cut(&segment(store, "t", 0), left));
        }
    }
}

#[test]
fn an_active_segment_that_grows_under_a_publisher() {
    for level in LEVELS {
        for bytes in [&b"\n"[..], b"somebody's echo"] {
            under_a_publisher(level, false, |store| {
                OpenOptions::new().append(true).open(segment(store, "t", 0)).and_then(|mut f| f.write_all(bytes)).expect("grows");
            });
        }
    }
}

#[test]
fn a_page_that_is_removed_or_cut_under_a_publisher() {
    for level in LEVELS {
        under_a_publisher(level, false, |store| fs::remove_file(file(store, "t", "head")).expect("removed"));
        for left in [0, 100] {
            under_a_publisher(level, false, |store| cut(&file(store, "t", "head"), left));
        }
        // Somebody else makes a new page before the publisher looks.
        under_a_publisher(level, false, |store| {
            fs::remove_file(file(store, "t", "head")).expect("removed");
            store.ok(&["topic", "set", "t", "segment-bytes=8KiB"]);
        });
    }
}

#[test]
fn an_old_copy_of_the_page_that_is_put_back_under_a_publisher() {
    for level in LEVELS {
        for in_place in [true, false] {
            let store = topic(level, 3);
            let head = file(&store, "t", "head");
            let copy = fs::read(&head).expect("a page");
            let mut publisher = Publisher::start(&store);
            let early: Vec<Receipt> = (0..3).map(|nth| publisher.publish(&format!("early {nth}")).expect("fine")).collect();
            if in_place {
                fs::write(&head, &copy).expect("written over");
            } else {
                fs::write(store.beside().join("copy"), &copy).expect("written");
                fs::rename(store.beside().join("copy"), &head).expect("replaced");
            }
            // One who opens the topic now, and one who has it open.
            let other = run_bounded(store.command(&["publish", "t", "--receipts", "other"]), b"");
            assert_eq!(other.code(), 0, "{}", other.stderr());
            let late = publisher.publish("late").expect("it goes on");
            assert_eq!(publisher.end(), (0, String::new()));
            let read = read(&store, "t").whole();
            assert_eq!(read.records.len(), 8);
            for (nth, receipt) in early.iter().enumerate() {
                assert_eq!(read.records[&receipt.offset].1, format!("early {nth}").as_bytes());
            }
            assert_eq!(read.records[&Receipt::parse(other.stdout()).offset].1, b"other");
            assert_eq!(read.records[&late.offset].1, b"late");
        }
    }
}

#[test]
fn a_follower_goes_on_when_the_page_is_lost() {
    for harm in [|head: &Path| fs::remove_file(head).expect("removed"), |head: &Path| cut(head, 0), |head: &Path| cut(head, 64)] {
        let store = topic("sync", 1);
        let mut follower = Follower::start(&store);
        follower.expect("before 0");
        // More than once: what was read since the first time is not read again.
        for round in 0..3 {
            harm(&file(&store, "t", "head"));
            for line in [format!("after {round}"), format!("again {round}")] {
                store.ok(&["publish", "t", &line]);
                follower.expect(&line);
            }
        }
    }
}

#[test]
fn no_flipped_bit_of_the_page_hides_a_record() {
    let store = topic("sync", 40);
    let head = file(&store, "t", "head");
    let page = fs::read(&head).expect("a page");
    let whole = read(&store, "t").whole().records;
    let changed = |at: usize, bit: u8| {
        OpenOptions::new().write(true).open(&head).and_then(|f| f.write_all_at(&[page[at] ^ 1 << bit], at as u64))
    };
    // A version that is newer by a bit is refused in words.
    for at in (0..704).filter(|at| !(8..16).contains(at)) {
        let bit = (at % 8) as u8;
        changed(at, bit).expect("written");
        let read = read(&store, "t");
        assert!(
            read.records == whole || read.code == 7 && read.records.iter().all(|r| whole.get(r.0) == Some(r.1)),
            "byte {at} bit {bit}: {}",
            read.said
        );
        assert!(read.code == 0 || read.said.contains("records"), "byte {at} bit {bit}: {}", read.said);
        fs::write(&head, &page).expect("put back");
    }
    // And whoever publishes overwrites nothing.
    for at in (0..704).step_by(8).filter(|at| *at != 8) {
        let store = topic("none", 2);
        let head = file(&store, "t", "head");
        let mut page = fs::read(&head).expect("a page");
        page[at] ^= 1;
        fs::write(&head, &page).expect("written");
        let next = run_bounded(store.command(&["publish", "t", "next"]), b"");
        assert_eq!(next.code(), 0, "byte {at}: {}", next.stderr());
        let values: Vec<Vec<u8>> = read(&store, "t").whole().values().map(<[u8]>::to_vec).collect();
        assert_eq!(values, [&b"before 0"[..], b"before 1", b"next"], "byte {at}");
    }
}

#[test]
fn a_place_in_time_is_found_behind_damaged_headers_and_wrong_indexes() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "segment-bytes=64KiB"]);
    let line = "x".repeat(100);
    for nth in 0..40 {
        let lines: String = (0..100).map(|record| format!("{nth} {record} {line}\n")).collect();
        store.ok_with(&["publish", "t", "-q"], lines.as_bytes());
    }
    let whole = read(&store, "t").whole().records;
    let bases = crate::rig::bases(&store, "t");
    assert!(bases.len() > 4, "{bases:?}");
    let ids: Vec<(u64, String)> = whole.iter().step_by(97).map(|(offset, (id, _))| (*offset, id.to_string())).collect();
    let check = |what: &str| {
        for (offset, id) in &ids {
            let first = store.run(&["replay", "t", "--from", id, "-n", "1", "-o", "%o"]);
            assert_eq!(first.stdout(), offset.to_string(), "{what}: {id}: {}", first.stderr());
        }
    };
    check("whole");
    for base in &bases[..bases.len() - 1] {
        let path = segment(&store, "t", *base);
        let bytes = fs::read(&path).expect("a segment");
        let file = OpenOptions::new().write(true).open(&path).expect("a segment");
        file.write_all_at(&[bytes[40] ^ 1], 40).expect("written");
        check(&format!("the header of {base}"));
        file.write_all_at(&bytes[40..41], 40).expect("put back");
    }
    for base in &bases {
        let path = segment(&store, "t", *base).with_extension("idx");
        let Ok(bytes) = fs::read(&path) else { continue };
        // All entries claim to be of long ago.
        let mut wrong = bytes.clone();
        wrong.chunks_exact_mut(24).for_each(|entry| entry[16..].fill(0));
        fs::write(&path, &wrong).expect("written");
        check(&format!("the times in the index of {base}"));
        fs::write(&path, &bytes).expect("put back");
    }
}

#[test]
fn without_a_page_two_lives_in_one_directory_are_refused_and_left_alone() {
    let store = topic("none", 5);
    store.ok(&["topic", "create", "other", "segment-bytes=4KiB"]);
    store.ok_with(&["publish", "other"], b"1\n2\n3\n4\n5\n");
    store.ok(&["topic", "trim", "other", "--before", "end", "--yes"]);
    store.ok(&["publish", "other", "6"]);
    fs::copy(segment(&store, "other", 5), segment(&store, "t", 5)).expect("copied");
    fs::remove_file(file(&store, "t", "head")).expect("removed");
    for words in [&["publish", "t", "x"][..], &["replay", "t"]] {
        let ran = run_bounded(store.command(words), b"");
        sane(&ran);
        assert!(ran.code() != 0 && ran.stderr().contains("move away"), "{words:?}: {} {}", ran.code(), ran.stderr());
    }
    fs::remove_file(segment(&store, "t", 5)).expect("moved away");
    store.ok(&["publish", "t", "after"]);
    assert_eq!(read(&store, "t").whole().records.len(), 6);
}

#[test]
fn a_segment_that_is_cut_while_it_is_printed_never_turns_into_zeros() {
    let store = Store::new();
    store.ok(&["topic", "create", "t", "durability=none"]);
    let line = "0123456789".repeat(10);
    store.ok_with(&["publish", "t", "-q"], format!("{line}\n").repeat(60_000).as_bytes());
    let path = segment(&store, "t", 0);
    let whole = fs::read(&path).expect("a segment");
    for words in [&["replay", "t"][..], &["replay", "t", "-o", "%v\\n"]] {
        fs::write(&path, &whole).expect("put back");
        let mut child = store.start(words);
        let mut out = child.stdout.take().expect("a pipe");
        let mut printed = vec![0; 50_000];
        out.read_exact(&mut printed).expect("it prints");
        // It stands in the middle of a frame now, since the pipe is full.
        cut(&path, 200_000);
        out.read_to_end(&mut printed).expect("readable");
        let ran = crate::support::Ran(child.wait_with_output().expect("it ends"));
        sane(&ran);
        assert!(printed.split(|byte| *byte == b'\n').all(|found| found.is_empty() || found == line.as_bytes()), "{words:?}");
        assert_eq!(ran.code(), 7, "{words:?}: {}", ran.stderr());
        assert!(ran.stderr().contains("t: records "), "{words:?}: {}", ran.stderr());
    }
}

#[test]
fn a_last_segment_whose_header_is_gone_is_told_and_kept() {
    let store = topic("none", 5);
    let path = segment(&store, "t", 0);
    let bytes = fs::read(&path).expect("a segment");
    fs::remove_file(file(&store, "t", "head")).expect("removed");
    OpenOptions::new().write(true).open(&path).and_then(|f| f.write_all_at(&[!bytes[20]], 20)).expect("written");
    // Nothing tells any more that its records were acknowledged: like a torn tail, but it is said.
    let read = read(&store, "t");
    assert!(read.records.is_empty() && read.said.contains("bytes_torn="), "{} {}", read.code, read.said);
    let ran = store.run(&["publish", "t", "after"]);
    assert!(ran.code() == 0 && ran.stderr().contains("bytes_torn="), "{} {}", ran.code(), ran.stderr());
    let names = fs::read_dir(file(&store, "t", "")).expect("a topic").map(|entry| entry.expect("an entry").path());
    let aside = names.into_iter().find(|path| path.to_string_lossy().contains(".torn-")).expect("it is kept");
    assert_eq!(fs::read(aside).expect("readable")[21..], bytes[21..]);
}

#[test]
fn a_file_of_zeros_with_a_segments_name_is_reported() {
    let store = topic("sync", 5);
    fs::write(segment(&store, "t", 3), [0; 4096]).expect("written");
    let verified = store.run(&["verify"]);
    assert!(verified.stdout().contains(&format!("{:020}.log", 3)), "{}", verified.stdout());
    let listed = store.run(&["inspect", "segments", "t"]);
    assert_eq!(listed.code(), 7, "{}", listed.stderr());
    let listed = listed.stdout();
    assert!(listed.lines().any(|line| line.starts_with("3\t") && line.contains("not part of the log")), "{listed}");
    wait_until("it reads all the same", || read(&store, "t").records.len() == 5);
}

/// Whatever an old copy says that somebody was at, when it is put back: a repair, or a finished roll, by what it
/// knows would remove what came since.
#[test]
fn an_old_copy_of_the_page_that_says_that_work_was_under_way() {
    const FLAGS: usize = 112;
    const SYNCING: usize = 200;
    const WRITING: usize = 264;
    for level in LEVELS {
        for (nth, said) in
            [&[][..], &[SYNCING], &[WRITING], &[FLAGS], &[SYNCING, WRITING], &[FLAGS, WRITING]].into_iter().enumerate()
        {
            for between in [1, 40, 200] {
                let store = topic(level, 0);
                store.ok_with(&["publish", "t"], b"1\n2\n3\n");
                let head = file(&store, "t", "head");
                let mut copy = fs::read(&head).expect("a page");
                said.iter().for_each(|at| copy[*at] = 1);
                let mut publisher = Publisher::start(&store);
                publisher.publish("before").expect("nothing is wrong yet");
                for _ in 0..between / 20 + 1 {
                    let lines: String = (0..between.min(20)).map(|n| format!("{n:0100}\n")).collect();
                    store.ok_with(&["publish", "t"], lines.as_bytes());
                }
                let stored = read(&store, "t").whole();
                let in_place = OpenOptions::new().write(true).open(&head).expect("a page");
                in_place.write_all_at(&copy, 0).expect("there is room");
                // Who has it open, and who comes new.
                if nth % 2 == 0 {
                    publisher.publish("open").expect("it goes on");
                }
                store.ok(&["publish", "t", "new"]);
                publisher.publish("last").expect("it goes on");
                assert_eq!(publisher.end().0, 0);
                let found = read(&store, "t").whole();
                let case = format!("{level}, {said:?}, {between}");
                assert!(stored.records.iter().all(|(offset, record)| found.records.get(offset) == Some(record)), "{case}");
                assert_eq!(found.records.len(), stored.records.len() + 2 + (nth + 1) % 2, "{case}");
                verify_clean(&store, "t");
            }
        }
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_while_the_page_is_destroyed_again_and_again() {
    const LINES: u64 = 1500;
    let mut seed = Seed::new();
    for level in LEVELS {
        let store = topic(level, 0);
        let head = file(&store, "t", "head");
        let mut follower = Follower::start(&store);
        let publishers: Vec<_> = (0..3)
            .map(|who| {
                let mut child = store.start(&["publish", "t", "--receipts"]);
                let mut stdin = child.stdin.take().expect("a pipe");
                let feeder = std::thread::spawn(move || {
                    (0..LINES).for_each(|nth| writeln!(stdin, "{who}-{nth}").expect("it reads on"));
                });
                let waiter = std::thread::spawn(move || crate::support::Ran(child.wait_with_output().expect("it ends")));
                (feeder, waiter)
            })
            .collect();
        let mut copy = fs::read(&head).expect("a page");
        while publishers.iter().any(|(_, waiter)| !waiter.is_finished()) {
            match seed.below(5) {
                0 => drop(fs::remove_file(&head)),
                1 => drop(OpenOptions::new().write(true).open(&head).and_then(|file| file.set_len(seed.below(4096)))),
                2 => drop(fs::write(&head, &copy)),
                3 => copy = fs::read(&head).unwrap_or(copy),
                _ => drop(run_bounded(store.command(&["publish", "t", "between"]), b"")),
            }
        }
        let last = run_bounded(store.command(&["publish", "t", "last"]), b"");
        assert_eq!(last.code(), 0, "{level}: {}", last.stderr());
        let read = read(&store, "t").whole();
        for (who, (feeder, waiter)) in publishers.into_iter().enumerate() {
            feeder.join().expect("fed");
            let ran = waiter.join().expect("ended");
            assert_eq!((ran.code(), ran.stderr()), (0, ""), "{level}");
            assert_eq!(ran.stdout().lines().count() as u64, LINES);
            for (nth, line) in ran.stdout().lines().enumerate() {
                let receipt = Receipt::parse(line);
                let (id, value) = &read.records[&receipt.offset];
                assert_eq!(
                    (*id, String::from_utf8_lossy(value).as_ref()),
                    (receipt.id, format!("{who}-{nth}").as_str()),
                    "{level}"
                );
            }
        }
        verify_clean(&store, "t");
        let mut printed = Vec::new();
        while printed.last().is_none_or(|line: &String| line != "last") {
            let mut line = String::new();
            let n = follower.lines.read_line(&mut line).expect("readable");
            assert!(n > 0, "{level}: the follower ended: {}", follower.last_words());
            printed.push(line.trim_end().to_owned());
        }
        let stored: Vec<String> = read.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        if printed != stored {
            drop(follower.child.kill());
            let (printed, stored) = (printed.len(), stored.len());
            panic!("{level}: the follower has printed {printed} lines of {stored}: {}", follower.last_words());
        }
    }
}
