//! Journals of groups that are damaged: the group falls back to what was before, and every process
//! comes to the same, whether it opens the group then or has had it open.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::*;
use crate::broker::crash::Case;
use crate::codec::segment::HEADER_BYTES;
use crate::disk::sim::Random;
use crate::error::Error;

/// So many records are in the topic.
const RECORDS: u64 = 40;

/// What is done to a file from a place on.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Zeros(usize),
    Noise(usize),
    Cut,
}

impl Harm {
    fn any(random: &mut Random) -> Harm {
        let length = 1 + random.below(300);
        [Harm::Flip, Harm::Zeros(length), Harm::Noise(length), Harm::Cut][random.below(4)]
    }

    /// Those who have the file open see it.
    fn strike(self, path: &Path, at: usize, random: &mut Random) {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("there");
        let length = file.metadata().expect("there").len() as usize;
        let bytes = match self {
            Harm::Flip => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at as u64).expect("readable");
                vec![byte[0] ^ 1 << random.below(8)]
            }
            Harm::Zeros(count) => vec![0; count.min(length - at)],
            Harm::Noise(count) => (0..count.min(length - at)).map(|_| random.below(256) as u8).collect(),
            Harm::Cut => return file.set_len(at as u64).expect("cut"),
        };
        file.write_all_at(&bytes, at as u64).expect("written");
    }
}

/// Files of the group whose names begin so, by name.
fn files_of(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let group = dir.join("topics/t/groups/g");
    let mut found: Vec<PathBuf> = fs::read_dir(group).expect("there").map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    found.sort();
    found
}

fn last_segment(dir: &Path) -> PathBuf {
    files_of(dir, "0").into_iter().rfind(|path| path.extension().is_some_and(|kind| kind == "log")).expect("a segment")
}

/// What members were given, and did.
#[derive(Default)]
struct Account {
    /// Deliveries, of which no two may have one number.
    seen: BTreeSet<(Offset, group::Lease)>,
    /// Offsets that were acked, and how often since the last damage.
    acked: BTreeMap<u64, usize>,
}

impl Account {
    fn take(&mut self, member: &mut GroupMember<'_>, count: usize) -> Vec<Receipt> {
        let got = receipts(&take(member, count));
        for receipt in &got {
            assert!(self.seen.insert((receipt.key.offset, receipt.lease)), "{receipt:?} stands for another delivery too");
        }
        got
    }

    fn ack(&mut self, member: &mut GroupMember<'_>, receipts: &[Receipt]) {
        let late = member.settler().ack(receipts).expect("acks");
        for receipt in receipts.iter().filter(|receipt| !late.contains(receipt)) {
            *self.acked.entry(receipt.key.offset.0).or_default() += 1;
        }
    }

    /// Takes and acks, and leaves some in the member's hands.
    fn work(&mut self, member: &mut GroupMember<'_>) -> Option<Receipt> {
        let mut got = self.take(member, 3);
        let held = got.pop();
        self.ack(member, &got);
        held
    }

    fn forget_acks(&mut self) {
        self.acked.values_mut().for_each(|times| *times = 0);
    }
}

/// Damages the journal twice; says how often the group had to fall back.
fn damage(order: Order, dir: &Path, clock: &Clock, hand: &AtomicU64, random: &mut Random) -> usize {
    let stores = [(); 3].map(|()| open(dir, clock));
    let flushers = [(); 3].map(|()| Flusher::default());
    let mut account = Account::default();
    {
        let (mut a, mut b) = (join(&stores[0], &flushers[0], "a"), join(&stores[1], &flushers[1], "b"));
        for _ in 0..3 {
            account.work(&mut a);
            account.work(&mut b);
            if random.below(2) == 0 {
                b.settler.group.journal.write_checkpoint(&Job::new()).expect("written");
            }
        }
    }
    let mut members = vec![join(&stores[0], &flushers[0], "one")];
    let mut held = vec![account.take(&mut members[0], 2)];
    let mut restarts = 0;
    for (which, name) in [(1, "two"), (2, "three")] {
        account.forget_acks();
        let path = last_segment(dir);
        let at = HEADER_BYTES + random.below(fs::metadata(&path).expect("there").len() as usize - HEADER_BYTES);
        let harm = Harm::any(random);
        let _case = Case(format!("{order:?}, {harm:?} at {at}"));
        harm.strike(&path, at, random);
        let before: Vec<Vec<u8>> = files_of(dir, "checkpoint").iter().map(|path| fs::read(path).expect("readable")).collect();
        match GroupMember::join(&stores[which], &flushers[which], &topic(), &group_name(), &named(name)) {
            Err(Error::Damaged { what, .. }) => {
                assert!(what.contains("delete the group and make it anew"), "{what}");
                return restarts;
            }
            other => members.push(other.expect("joins")),
        }
        for path in files_of(dir, "checkpoint") {
            if !before.contains(&fs::read(&path).expect("readable")) {
                restarts += 1;
                if random.below(2) == 0 {
                    // As a crash leaves it that comes right before.
                    fs::remove_file(path).expect("there");
                }
            }
        }
        for (member, held) in members.iter_mut().zip(&mut held) {
            account.ack(member, &std::mem::take(held));
            held.extend(account.work(member));
        }
        held.push(Vec::new());
    }
    for (member, held) in members.iter_mut().zip(&held) {
        account.ack(member, held);
    }
    for round in 0.. {
        assert!(round < 60, "it does not come to an end");
        for member in &mut members {
            let got = account.take(member, 5);
            account.ack(member, &got);
        }
        hand.fetch_add(31_000, Ordering::SeqCst);
        if members.iter_mut().all(|member| member.is_drained().expect("looks")) {
            break;
        }
    }
    for offset in 0..RECORDS {
        let times = account.acked.get(&offset);
        assert!(times.is_some_and(|times| *times <= 1), "{offset} was acked {times:?} times");
    }
    let files = stores[0].group(&members[0].settler.group.topic, &group_name(), Mode::Write, &Job::new()).expect("there");
    let anew = Journal::open(files).expect("opens");
    for member in &mut members {
        member.settler.group.journal.catch_up().expect("reads");
        assert!(member.state() == anew.state(), "{:#?}, {:#?}", member.state(), anew.state());
    }
    restarts
}

#[test]
fn whatever_is_damaged_in_a_groups_journal_nothing_is_skipped_and_all_come_to_one_state() {
    let mut restarts = 0;
    for seed in 0..150 {
        let _case = Case(format!("seed {seed}"));
        let order = [Order::None, Order::Key, Order::Topic][seed as usize % 3];
        let settings = GroupSettings { order, attempts_max: None, ..GroupSettings::default() };
        let (dir, clock, hand) = made(&settings, RECORDS);
        restarts += damage(order, dir.path(), &clock, &hand, &mut Random::new(seed));
    }
    assert!(restarts > 100, "the groups fell back {restarts} times");
}
