//! The embedded log behind the engine's traits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::embedded_group::{self, EmbeddedConsumer, EmbeddedLetters};
use super::{
    Bounds, Consumer, Cursor, Engine, Feed, Gap, GapCause, GroupChange, GroupInfo, Joining, Kept, Next, PendingEntry,
    PublishOptions, Published, Publisher, Trimmed, Upkeep, Waker,
};
use crate::broker::{
    self, Amount, Fed, FeedWaker, Flusher, GroupMember, GroupSettler, Level, OpenGroup, TopicFeed, TopicPublisher, create_group,
};
use crate::codec::Batch;
use crate::codec::group_event::GroupSettings;
use crate::config::{Durability, LimitOf, LimitSettings, Overrides, TopicSettings};
use crate::error::Result;
use crate::ids::{GroupName, Offset, Place, RecordId, TopicName};
use crate::job::Job;
use crate::log::{GapReason, LogGap, Mode};
use crate::store::{CursorFile, Store};

pub use crate::store::StoreOptions as OpenOptions;

/// A store directory, opened by this process.
#[derive(Debug)]
pub struct Embedded {
    // Stopped before the store is closed: it syncs what is still owed.
    flusher: Flusher,
    store: Store,
}

impl Embedded {
    /// Opens the store at `path`.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Embedded> {
        Ok(Embedded { store: Store::open(path, options)?, flusher: Flusher::default() })
    }

    /// The store itself, for looking at its files.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Engine for Embedded {
    fn publisher(&self, topic: &TopicName, options: &PublishOptions) -> Result<Box<dyn Publisher + '_>> {
        let limit_wait = Some(options.limit_wait);
        let level = Level { durability: options.durability, create: options.create, limit_wait };
        let publisher = TopicPublisher::open(&self.store, &self.flusher, topic, level, options.job.clone())?;
        Ok(Box::new(EmbeddedPublisher(publisher)))
    }

    fn feed(&self, topics: &[TopicName], job: &Job) -> Result<Box<dyn Feed + '_>> {
        let feed = TopicFeed::open(&self.store, topics, job.clone())?;
        Ok(Box::new(EmbeddedFeed { store: &self.store, feed, topics: topics.to_vec() }))
    }

    fn create_topic(&self, topic: &TopicName, settings: &Overrides) -> Result<()> {
        let durable = settings.over(self.store.defaults()).durability > Durability::None;
        self.store.create_topic(topic, settings, durable)
    }

    fn configure_topic(&self, topic: &TopicName, changes: &[(String, String)], job: &Job) -> Result<()> {
        self.store.configure_topic(topic, changes, job)
    }

    fn set_limit(&self, of: &LimitOf, changes: &[(String, String)], job: &Job) -> Result<()> {
        self.store.set_limit(of, changes, job)
    }

    fn limits(&self) -> Result<Vec<(LimitOf, LimitSettings)>> {
        self.store.list_limits()
    }

    fn delete_topic(&self, topic: &TopicName, job: &Job) -> Result<()> {
        self.store.delete_topic(topic, job)
    }

    fn trim_topic(&self, topic: &TopicName, before: Offset, job: &Job) -> Result<Trimmed> {
        let trimmed = self.store.topic(topic, Mode::Write, job)?.log().trim(before, job)?;
        Ok(Trimmed { from: trimmed.from, until: trimmed.until, segments: trimmed.segments, bytes: trimmed.bytes })
    }

    fn keep_topic(&self, topic: &TopicName, how: Upkeep, kept: &mut Kept, job: &Job) -> Result<()> {
        let topic = self.store.topic(topic, Mode::Write, job)?;
        let how = broker::Upkeep { dry_run: how.dry_run, bytes_per_second: how.bytes_per_second, only_if_dirty: false };
        let mut done = broker::Kept::default();
        let ended = broker::keep_topic(&self.store, &topic, how, &mut done, job);
        let broker::Kept { expired, compacted } = done;
        *kept = Kept {
            expired: expired.records,
            removed: compacted.records,
            segments: expired.segments + compacted.segments,
            bytes: expired.bytes + compacted.bytes,
            protected_bytes: expired.protected_bytes,
        };
        ended
    }

    fn topics(&self) -> Result<Vec<TopicName>> {
        Ok(self.store.list_topics()?.into_iter().map(|topic| topic.name).collect())
    }

    fn settings(&self, topic: &TopicName) -> Result<(TopicSettings, Overrides)> {
        self.store.topic(topic, Mode::Read, &Job::new())?.settings()
    }

    fn cursor(&self, name: &[u8], topic: &TopicName) -> Result<Box<dyn Cursor>> {
        let incarnation = self.store.topic(topic, Mode::Read, &Job::new())?.log().incarnation();
        Ok(Box::new(self.store.cursor(name, topic, incarnation)?))
    }

    fn create_group(
        &self,
        topic: &TopicName,
        group: &GroupName,
        settings: &GroupSettings,
        from: Offset,
        job: &Job,
    ) -> Result<bool> {
        let topic = self.store.topic(topic, Mode::Write, job)?;
        let from = Place { offset: from, epoch: topic.log().epoch() };
        create_group(&self.store, &topic, group, settings, from, job)
    }

    fn group(&self, topic: &TopicName, group: &GroupName) -> Result<GroupInfo> {
        embedded_group::info(&OpenGroup::open(&self.store, topic, group, Mode::Read, Job::new())?, &self.store)
    }

    fn groups(&self, topic: &TopicName) -> Result<Vec<GroupName>> {
        let topic = self.store.topic(topic, Mode::Read, &Job::new())?;
        self.store.list_groups(&topic)
    }

    fn change_group(&self, topic: &TopicName, group: &GroupName, change: &GroupChange, job: &Job) -> Result<()> {
        let mut group = OpenGroup::open(&self.store, topic, group, Mode::Write, job.clone())?;
        match change {
            GroupChange::Settings(settings) => group.configure(settings),
            GroupChange::Seek(to) => group.seek(*to),
            GroupChange::Pause => group.pause(true),
            GroupChange::Resume => group.pause(false),
        }
    }

    fn delete_group(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<()> {
        let topic = self.store.topic(topic, Mode::Write, job)?;
        self.store.delete_group(&topic, group, job)
    }

    fn pending(&self, topic: &TopicName, group: &GroupName, each: &mut dyn FnMut(&PendingEntry<'_>) -> bool) -> Result<()> {
        let open = OpenGroup::open(&self.store, topic, group, Mode::Read, Job::new())?;
        embedded_group::pending(&open, self.store.clock().now(), each);
        Ok(())
    }

    fn settler(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<Box<dyn super::Settler + '_>> {
        Ok(Box::new(GroupSettler::open(&self.store, &self.flusher, topic, group, job.clone())?))
    }

    fn dead_letters(&self, topic: &TopicName, group: &GroupName, job: &Job) -> Result<Box<dyn super::DeadLetters + '_>> {
        Ok(Box::new(EmbeddedLetters::open(&self.store, topic, group, job)?))
    }

    fn consumer(&self, topic: &TopicName, group: &GroupName, how: &Joining<'_>) -> Result<Box<dyn Consumer + '_>> {
        let member = GroupMember::join(&self.store, &self.flusher, topic, group, how)?;
        Ok(Box::new(EmbeddedConsumer::new(&self.store, member, group)))
    }
}

struct EmbeddedPublisher<'s>(TopicPublisher<'s>);

impl Publisher for EmbeddedPublisher<'_> {
    fn publish(&mut self, batch: &Batch<'_>, expect: Option<Offset>) -> Result<Published> {
        let (appended, level) = self.0.publish(batch, expect)?;
        Ok(Published { first: appended.first, first_id: appended.first_id, count: batch.count, level })
    }

    fn batch_max(&mut self) -> Result<Option<Amount>> {
        self.0.batch_max()
    }

    fn start_sync(&mut self) -> Result<()> {
        self.0.start_sync();
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.0.settle()
    }

    fn close(&mut self) -> Result<()> {
        self.0.close()
    }
}

struct EmbeddedFeed<'s> {
    store: &'s Store,
    feed: TopicFeed<'s>,
    topics: Vec<TopicName>,
}

impl Feed for EmbeddedFeed<'_> {
    fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    fn bounds(&mut self, topic: usize) -> Result<Bounds> {
        let (start, end) = self.feed.bounds(topic)?;
        Ok(Bounds { start, end: end.offset, epoch: end.epoch })
    }

    fn find(&mut self, topic: usize, id: RecordId) -> Result<Offset> {
        self.feed.find(topic, id)
    }

    fn committed(&mut self, topic: usize, group: &[u8]) -> Result<Offset> {
        let missing = || crate::Error::NameMissing { kind: "group", name: String::from_utf8_lossy(group).into_owned() };
        let name = GroupName::new(group).ok_or_else(missing)?;
        let open = OpenGroup::open(self.store, &self.topics[topic], &name, Mode::Read, Job::new())?;
        Ok(open.state().committed().offset)
    }

    fn seek(&mut self, topic: usize, from: Offset) -> Result<()> {
        self.feed.seek(topic, from);
        Ok(())
    }

    fn resume(&mut self, topic: usize, place: Place) -> Result<Option<Gap>> {
        Ok(self.feed.resume(topic, place)?.map(gap))
    }

    fn stop_at(&mut self, topic: usize, until: Option<Offset>) {
        self.feed.stop_at(topic, until);
    }

    fn place(&self, topic: usize) -> Place {
        self.feed.place(topic)
    }

    fn limit_as(&mut self, reader: &[u8]) {
        self.feed.limit_as(reader);
    }

    fn next(&mut self) -> Result<Next<'_>> {
        Ok(match self.feed.read_on()? {
            Fed::Records { topic, records } => Next::Records { topic, records },
            Fed::Gap { topic, gap: found } => Next::Gap { topic, gap: gap(found) },
            Fed::Limited(wait) => Next::Limited(wait),
            Fed::CaughtUp => Next::CaughtUp,
            Fed::End => Next::End,
        })
    }

    fn wait(&mut self, at_most: Duration) -> Result<()> {
        self.feed.wait(at_most)
    }

    fn waker(&self) -> Arc<dyn Waker> {
        self.feed.waker()
    }
}

impl Waker for FeedWaker {
    fn wake(&self) {
        FeedWaker::wake(self);
    }
}

pub(super) fn gap(gap: LogGap) -> Gap {
    let cause = match gap.reason {
        GapReason::Expired => GapCause::Expired,
        GapReason::Damaged { path, position, what } => GapCause::Damaged { path, position, what },
        GapReason::Deleted => GapCause::Deleted,
        GapReason::GivenUp => GapCause::GivenUp,
        GapReason::Rewound => GapCause::Rewound,
    };
    Gap { from: gap.from, until: gap.until, cause }
}

impl Cursor for CursorFile {
    fn load(&mut self) -> Result<Option<Place>> {
        CursorFile::load(self)
    }

    fn save(&mut self, place: Place) -> Result<()> {
        CursorFile::save(self, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::codec::BatchBuilder;
    use crate::codec::lines::LineTable;

    fn open(path: &Path) -> Embedded {
        Embedded::open(path, &OpenOptions { create: true, unsafe_fs: false, clock: Clock::system() }).expect("opens")
    }

    fn name(text: &str) -> TopicName {
        TopicName::new(text.as_bytes()).expect("legal")
    }

    fn options(durability: Option<Durability>) -> PublishOptions {
        PublishOptions { durability, create: true, limit_wait: Duration::ZERO, job: Job::new() }
    }

    fn read_all(engine: &Embedded, topics: &[&str]) -> Vec<(usize, u64, String)> {
        let topics: Vec<TopicName> = topics.iter().map(|topic| name(topic)).collect();
        let mut feed = engine.feed(&topics, &Job::new()).expect("opens");
        for topic in 0..topics.len() {
            let end = feed.bounds(topic).expect("bounds").end;
            feed.stop_at(topic, Some(end));
        }
        let mut all = Vec::new();
        loop {
            match feed.next().expect("reads") {
                Next::Records { topic, records } => {
                    for record in records {
                        let record = record.expect("well formed");
                        let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                        all.push((topic, record.offset.0, value));
                    }
                }
                Next::Gap { gap, .. } => panic!("{gap:?}"),
                Next::CaughtUp | Next::Limited(_) => panic!("it was to stop"),
                Next::End => return all,
            }
        }
    }

    #[test]
    fn what_is_published_is_read_back_across_segments_and_openings() {
        let dir = tempfile::tempdir().expect("a directory");
        for round in 0..3u64 {
            let engine = open(dir.path());
            if round == 0 {
                let mut settings = Overrides::default();
                settings.set("segment-bytes", "4KiB").expect("legal");
                engine.create_topic(&name("t"), &settings).expect("creates");
            }
            let mut publisher = engine.publisher(&name("t"), &options(None)).expect("opens");
            let mut lines = LineTable::new();
            for batch in 0..20u64 {
                let text: String = (0..50).map(|line| format!("{round} {batch} {line}\n")).collect();
                let published = publisher.publish(&lines.scan(text.as_bytes()).expect("lines"), None).expect("publishes");
                assert_eq!(published.first.0, round * 1000 + batch * 50);
            }
            publisher.close().expect("closes");
            let all = read_all(&engine, &["t"]);
            assert_eq!(all.len() as u64, (round + 1) * 1000);
            for (index, (_, offset, value)) in all.iter().enumerate() {
                let index = index as u64;
                assert_eq!(*offset, index);
                assert_eq!(*value, format!("{} {} {}", index / 1000, index % 1000 / 50, index % 50));
            }
        }
    }

    #[test]
    fn topics_are_merged_by_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let hand = Arc::new(std::sync::atomic::AtomicU64::new(1000));
        let clock = Clock::manual(Arc::clone(&hand));
        let engine = Embedded::open(dir.path(), &OpenOptions { create: true, unsafe_fs: false, clock }).expect("opens");
        let mut expected = Vec::new();
        for step in 0..100u64 {
            let topic = (step * 7 % 3) as usize;
            let mut publisher = engine.publisher(&name(["a", "b", "c"][topic]), &options(None)).expect("opens");
            let mut batch = BatchBuilder::new();
            for _ in 0..=step % 3 {
                let value = expected.len().to_string();
                batch.push_value(value.as_bytes());
                expected.push(value);
            }
            publisher.publish(&batch.batch(), None).expect("publishes");
            publisher.close().expect("closes");
            hand.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let values: Vec<String> = read_all(&engine, &["a", "b", "c"]).into_iter().map(|(_, _, value)| value).collect();
        assert_eq!(values, expected);
    }
}
