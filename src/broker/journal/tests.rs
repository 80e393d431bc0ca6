//! Journals and their checkpoints, by themselves.

use std::sync::Arc;

use super::*;
use crate::broker::create_group;
use crate::clock::Clock;
use crate::codec::group_event::GroupSettings;
use crate::config::Overrides;
use crate::disk::sim::{Plain, scratch};
use crate::ids::{GroupName, TopicName};
use crate::log::Mode;
use crate::store::{Store, StoreOptions};

/// A store with one group, as a machine that was booted for the `boot`th time opens it.
fn store(dir: &tempfile::TempDir, boot: u8) -> Store {
    let options = StoreOptions { create: true, unsafe_fs: false, clock: Clock::system() };
    let store = Store::open_on(dir.path(), &options, Arc::new(Plain::default()).disk(boot)).expect("opens");
    let topic = TopicName::new(b"t").expect("legal");
    if store.topic(&topic, Mode::Read, &Job::new()).is_err() {
        store.create_topic(&topic, &Overrides::default(), true).expect("made");
        let topic = store.topic(&topic, Mode::Write, &Job::new()).expect("there");
        let from = Place { offset: Offset::ZERO, epoch: Epoch::default() };
        create_group(&store, &topic, &group(), &GroupSettings::default(), from, &Job::new()).expect("made");
    }
    store
}

fn group() -> GroupName {
    GroupName::new(b"g").expect("legal")
}

fn files(store: &Store) -> GroupFiles {
    let topic = store.topic(&TopicName::new(b"t").expect("legal"), Mode::Write, &Job::new()).expect("there");
    store.group(&topic, &group(), Mode::Write, &Job::new()).expect("there")
}

fn open(store: &Store) -> Journal {
    Journal::open(files(store)).expect("opens")
}

fn commit(journal: &mut Journal, events: &[GroupEvent]) -> Place {
    journal.catch_up().expect("reads");
    journal.commit(events, &Job::new()).expect("appends").expect("nobody was faster")
}

/// A state that the group is not in.
fn wrong() -> GroupState {
    let mut state = GroupState::new();
    state.apply(&GroupEvent::Paused);
    state
}

#[test]
fn a_checkpoint_beyond_the_end_of_its_journal_is_not_used() {
    let dir = scratch();
    let store = store(&dir, 1);
    let mut journal = open(&store);
    let end = commit(&mut journal, &[GroupEvent::Resumed]);
    checkpoints::write(&journal.files, &wrong(), Place { offset: end.offset.plus(3), ..end }, None).expect("written");
    assert!(checkpoints::find(&journal.files).expect("reads").is_empty());
    let mut again = open(&store);
    assert_eq!(again.state(), journal.state());
    assert_eq!(commit(&mut again, &[GroupEvent::Resumed]).offset, end.offset.plus(1));
}

#[test]
fn a_checkpoint_of_events_that_a_crash_took_is_not_used() {
    let dir = scratch();
    let before = {
        let store = store(&dir, 1);
        let mut journal = open(&store);
        let end = commit(&mut journal, &[GroupEvent::Resumed]);
        checkpoints::write(&journal.files, &wrong(), Place { offset: end.offset.plus(3), ..end }, None).expect("written");
        end
    };
    let store = store(&dir, 2);
    let mut journal = open(&store);
    assert!(journal.restart(&Job::new()).expect("appends"), "it may have lost events");
    assert!(!journal.restart(&Job::new()).expect("looks"), "that is said once");
    for _ in 0..5 {
        commit(&mut journal, &[GroupEvent::Resumed]);
    }
    // There are other events where it stands.
    assert!(journal.log().log_end() > before.offset.plus(3));
    assert!(checkpoints::find(&journal.files).expect("reads").is_empty());
    assert_eq!(open(&store).state(), journal.state());
}

#[test]
fn a_checkpoint_is_written_when_its_events_are_durable() {
    let dir = scratch();
    let store = store(&dir, 1);
    let mut journal = open(&store);
    let end = commit(&mut journal, &[GroupEvent::Resumed]);
    assert!(journal.log().durable() < end.offset);
    journal.write_checkpoint(&Job::new()).expect("written");
    assert!(journal.log().durable() >= end.offset);
}

#[test]
fn one_process_at_a_time_writes_a_checkpoint_and_the_others_need_not() {
    let dir = scratch();
    let store = store(&dir, 1);
    let (mut one, mut two) = (open(&store), open(&store));
    let end = commit(&mut one, &[GroupEvent::Resumed]);
    let lock = two.files.members().expect("made");
    assert!(lock.try_lock(CHECKPOINT_BYTE, LockKind::Exclusive).expect("locks"));
    one.write_checkpoint(&Job::new()).expect("leaves it");
    assert!(checkpoints::find(&one.files).expect("reads").is_empty());
    drop(lock);
    one.write_checkpoint(&Job::new()).expect("written");
    two.write_checkpoint(&Job::new()).expect("leaves it");
    let places = || checkpoints::find(&files(&store)).expect("reads").into_iter().map(|found| found.standing.place);
    assert!(places().eq([end]), "there is one of that place");
    let later = commit(&mut two, &[GroupEvent::Resumed]);
    two.write_checkpoint(&Job::new()).expect("written");
    assert!(places().eq([later, end]));
}

#[test]
fn bytes_that_are_no_events_are_lost_events_and_those_of_a_newer_program_are_told() {
    for (bytes, is_newer) in [(&[2u8][..], false), (&[250], true)] {
        let dir = scratch();
        let store = store(&dir, 1);
        let mut journal = open(&store);
        let mut batch = BatchBuilder::new();
        batch.push_value(bytes);
        let mut packed = Packed::records(&batch.batch(), Compression::None).expect("small");
        journal.log().append(&mut packed, BatchIds::Auto, None, &Job::new()).expect("appends");
        let caught_up = journal.catch_up();
        if is_newer {
            let Err(Error::Damaged { what, .. }) = caught_up else { panic!("{caught_up:?}") };
            assert!(what.contains("use a newer one"), "{what}");
            continue;
        }
        caught_up.expect("reads");
        let before = journal.state().clone();
        assert!(journal.restart(&Job::new()).expect("appends"));
        commit(&mut journal, &[GroupEvent::Paused]);
        assert_eq!(open(&store).state(), journal.state());
        assert!(!before.settings().paused && journal.state().settings().paused);
    }
}

#[test]
fn a_group_whose_beginning_is_lost_says_so() {
    let dir = scratch();
    let store = store(&dir, 1);
    let journal = open(&store);
    // Only its head is left, and what it says of the life it is.
    journal.log().dir().unlink(b"00000000000000000000.log").expect("there");
    drop(journal);
    let lost = Journal::open(files(&store));
    let Err(Error::Damaged { what, .. }) = lost else { panic!("{lost:?}") };
    assert!(what.contains("delete the group and make it anew"), "{what}");
}
