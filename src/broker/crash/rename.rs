//! A topic that is renamed is whole under one of its two names, whatever happens meanwhile.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::work::INODE_WORDS;
use super::{Case, clock, open, values};
use crate::broker::{Flusher, Level, TopicPublisher};
use crate::clock::Clock;
use crate::codec::BatchBuilder;
use crate::config::Overrides;
use crate::disk::sim::{DataFate, Fault, HeadFate, NameFate, Plain, Policy, Random, Sim, scratch};
use crate::error::Error;
use crate::ids::TopicName;
use crate::job::Job;
use crate::store::Store;

/// What the topic is called before and after. Long names are hashed on disk.
struct Names {
    from: TopicName,
    to: TopicName,
}

impl Names {
    fn all() -> [Names; 5] {
        let long = |byte: u8| vec![byte; 300];
        let names =
            |from: &[u8], to: &[u8]| Names { from: TopicName::new(from).expect("legal"), to: TopicName::new(to).expect("legal") };
        [
            names(b"a", b"b"),
            names(b"b", b"a"),
            names(b"a", &long(b'b')),
            names(&long(b'a'), b"b"),
            names(&long(b'a'), &long(b'b')),
        ]
    }
}

fn publish(store: &Store, topic: &TopicName, values: &[&str]) -> crate::Result<()> {
    let flusher = Flusher::default();
    let level = Level { durability: None, create: false, limit_wait: None };
    let mut publisher = TopicPublisher::open(store, &flusher, topic, level, Job::new())?;
    let mut batch = BatchBuilder::new();
    values.iter().for_each(|value| batch.push_value(value.as_bytes()));
    publisher.publish(&batch.batch(), None)?;
    publisher.close()
}

fn make(path: &Path, clock: &Clock, names: &Names, has_target: bool) {
    let store = open(path, true, clock, Arc::new(Plain::default()).disk(1)).expect("made");
    let mut settings = Overrides::default();
    settings.set("segment-bytes", "4KiB").expect("legal");
    store.create_topic(&names.from, &settings, true).expect("made");
    publish(&store, &names.from, &["1", "2"]).expect("synced");
    if has_target {
        store.create_topic(&names.to, &Overrides::default(), true).expect("made");
        publish(&store, &names.to, &["old"]).expect("synced");
    }
}

/// The topic is whole under one of its names, and works; with `renamed` under the new one.
fn check(path: &Path, clock: &Clock, names: &Names, has_target: bool, renamed: bool) {
    let store = open(path, false, clock, Arc::new(Plain::default()).disk(9)).expect("opens");
    let (at_old, at_new) = (values(&store, &names.from), values(&store, &names.to));
    let whole = || Some(vec!["1".to_owned(), "2".to_owned()]);
    let is_old = Some(vec!["old".to_owned()]);
    if at_new == whole() {
        assert_eq!(at_old, None);
    } else {
        assert!(!renamed, "{at_old:?} {at_new:?}");
        assert_eq!(at_old, whole());
        assert!(at_new.is_none() || has_target && at_new == is_old, "{at_new:?}");
    }
    let name = if at_old.is_some() { &names.from } else { &names.to };
    let listed: Vec<TopicName> = store.list_topics().expect("listed").into_iter().map(|topic| topic.name).collect();
    assert!(listed.contains(name), "{listed:?}");
    publish(&store, name, &["3"]).expect("goes on");
    let topic = store.topic(name, crate::log::Mode::Write, &Job::new()).expect("opens");
    assert_eq!(topic.settings().expect("read").0.segment_bytes, 4096);
    store.configure_topic(name, &[("segment-age".to_owned(), "2s".to_owned())], &Job::new()).expect("set");
    store.rename_topic(&names.from, &names.to, true, &Job::new()).map_or_else(
        |error| assert!(matches!(error, Error::TopicMissing { .. }) && name == &names.to, "{error}"),
        |()| assert_eq!(name, &names.from),
    );
    assert_eq!(values(&store, &names.to).expect("there").len(), 3);
}

#[test]
fn a_power_cut_or_a_kill_leaves_the_topic_whole_under_one_name() {
    let data = [DataFate::Lost, DataFate::Kept, DataFate::Shuffled, DataFate::Torn];
    let fates = [NameFate::Lost, NameFate::Kept, NameFate::Journal];
    let heads = [HeadFate::Ahead, HeadFate::First, HeadFate::Lost, HeadFate::Stale];
    for (case, names) in Names::all().iter().enumerate() {
        for has_target in [false, true] {
            let (clock, _) = clock();
            let dir = scratch();
            make(dir.path(), &clock, names, has_target);
            let sim = Sim::new(dir.path(), 1);
            let store = open(dir.path(), false, &clock, sim.disk(1)).expect("opens");
            store.rename_topic(&names.from, &names.to, true, &Job::new()).expect("renamed");
            let end = sim.now();
            assert!(end >= 2, "{end}");
            for ops in 0..=end {
                for (index, fate) in fates.into_iter().enumerate() {
                    let policy = Policy {
                        data: data[(ops + index) % data.len()],
                        names: fate,
                        head: heads[(ops + index) % heads.len()],
                        inode_words: INODE_WORDS,
                    };
                    let _case = Case(format!(
                        "names {case}, target {has_target}, after change {ops} of {end}, {policy:?}\n{}",
                        sim.story()
                    ));
                    let target = scratch();
                    sim.crash(ops, policy, &mut Random::new(ops as u64), target.path());
                    check(target.path(), &clock, names, has_target, ops == end);
                }
            }
        }
    }
}

#[test]
fn any_change_may_fail_and_the_topic_is_whole_under_one_name() {
    for (case, names) in Names::all().iter().enumerate() {
        for has_target in [false, true] {
            for n in 0.. {
                let (clock, _) = clock();
                let dir = scratch();
                make(dir.path(), &clock, names, has_target);
                let sim = Sim::new(dir.path(), 1);
                sim.arm(vec![Fault::nth(None, n, Errno::IO)]);
                let renamed = open(dir.path(), false, &clock, sim.disk(1))
                    .and_then(|store| store.rename_topic(&names.from, &names.to, true, &Job::new()));
                let _case = Case(format!("names {case}, target {has_target}, change {n} fails\n{}", sim.story()));
                check(dir.path(), &clock, names, has_target, renamed.is_ok());
                if sim.struck() == 0 {
                    assert!(renamed.is_ok() && n >= 2);
                    break;
                }
            }
        }
    }
}

#[test]
fn who_has_the_topic_open_finds_it_missing_and_the_other_one_at_its_new_name() {
    let names = &Names::all()[0];
    for has_target in [false, true] {
        let (clock, _) = clock();
        let dir = scratch();
        make(dir.path(), &clock, names, has_target);
        let disk = || Arc::new(Plain::default()).disk(2);
        let (one, other) = (open(dir.path(), false, &clock, disk()), open(dir.path(), false, &clock, disk()));
        let (one, other) = (one.expect("opens"), other.expect("opens"));
        let held = other.topic(&names.from, crate::log::Mode::Write, &Job::new()).expect("opens");
        let refused = one.rename_topic(&names.from, &names.to, false, &Job::new());
        assert_eq!(matches!(refused, Err(Error::TopicExists { .. })), has_target);
        if has_target {
            let old = other.topic(&names.to, crate::log::Mode::Write, &Job::new()).expect("opens");
            one.rename_topic(&names.from, &names.to, true, &Job::new()).expect("renamed");
            assert!(old.log().is_gone().expect("told"));
        }
        assert!(held.log().is_gone().expect("told"));
        assert!(matches!(publish(&other, &names.from, &["x"]), Err(Error::TopicMissing { .. })));
        publish(&other, &names.to, &["3"]).expect("goes on");
        assert_eq!(values(&one, &names.to).expect("there"), ["1", "2", "3"]);
        one.rename_topic(&names.to, &names.to, true, &Job::new()).expect("nothing to do");
        let missing = one.rename_topic(&names.from, &names.from, true, &Job::new());
        assert!(matches!(missing, Err(Error::TopicMissing { .. })));
    }
}
