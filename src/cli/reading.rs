//! What `tail` and `replay` share: which topics, which records of them, and what is said of those
//! that are not there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use drave::codec::{Record, Records};
use drave::engine::{Gap, GapCause};
use drave::ids::{Offset, TopicName};

use super::Result;
use super::exit::{InTopic as _, say};
use super::filter::Filter;

/// Reads a topic's name.
///
/// # Errors
/// A sentence about its length.
pub(crate) fn parse_topic(name: OsString) -> Result<TopicName, String> {
    TopicName::new(name.as_bytes()).ok_or_else(|| format!("a topic's name has 1 to {} bytes", TopicName::BYTES_MAX))
}

/// The topics in the order in which records with equal IDs are merged, each once.
pub(crate) fn in_merge_order(mut topics: Vec<TopicName>) -> Vec<TopicName> {
    topics.sort();
    topics.dedup();
    topics
}

/// Names the topic, if it can only be that one.
pub(crate) trait InTopics<T> {
    fn in_topics(self, topics: &[TopicName]) -> Result<T>;
}

impl<T> InTopics<T> for drave::Result<T> {
    fn in_topics(self, topics: &[TopicName]) -> Result<T> {
        match topics {
            [topic] => self.in_topic(topic),
            _ => Ok(self?),
        }
    }
}

/// Where records go.
pub(crate) trait Sink {
    /// Takes all of these at once if there is a way that is faster than one by one; says if it did.
    fn take_all(&mut self, topic: &TopicName, records: &Records<'_>) -> Result<bool>;

    /// Takes one record.
    fn take(&mut self, topic: &TopicName, record: &Record<'_>) -> Result<()>;

    /// Passes on what has been taken.
    fn flush(&mut self) -> Result<()>;
}

/// Which of the records that are read go on.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Those that pass this.
    pub(crate) filter: Filter,
    /// Of these, not the first so many.
    pub(crate) skip: u64,
    /// Of these, the first so many; `None` = all.
    pub(crate) left: Option<u64>,
    /// How many went on.
    pub(crate) taken: u64,
}

/// A part of a batch that could not be decoded though its checksum holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecodable {
    from: Offset,
    until: Offset,
    why: String,
}

impl Undecodable {
    /// Says what is missing.
    pub(crate) fn say(&self, topic: &TopicName) {
        say(&format!("{topic}: records {}..{} are damaged and were skipped: {}", self.from, self.until, self.why));
    }
}

impl Selection {
    /// Whether as many went on as may.
    pub(crate) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Hands the selected ones of `records` to `sink`. `Some` tells which ones there are no more of.
    pub(crate) fn pass(
        &mut self,
        topic: &TopicName,
        mut records: Records<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Option<Undecodable>> {
        let count = u64::from(records.len());
        let takes_all = self.filter.is_open() && self.skip == 0 && self.left.is_none_or(|left| count <= left);
        if takes_all && sink.take_all(topic, &records)? {
            self.count(count);
            return Ok(None);
        }
        let until = records.end_offset();
        loop {
            let from = records.next_offset();
            let record = match records.next() {
                _ if self.is_full() => return Ok(None),
                None => return Ok(None),
                Some(Err(malformed)) => return Ok(Some(Undecodable { from, until, why: malformed.to_string() })),
                Some(Ok(record)) => record,
            };
            if !self.filter.accepts(&record) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            sink.take(topic, &record)?;
            self.count(1);
        }
    }

    fn count(&mut self, taken: u64) {
        self.taken += taken;
        if let Some(left) = &mut self.left {
            *left -= taken;
        }
    }
}

/// What is said of offsets that were not there to be read, also under `--quiet`: nothing is skipped in
/// silence. Deleted records may be many and far apart, so they are counted, and said together.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    deleted: BTreeMap<TopicName, DeletedRecords>,
}

/// Deleted records of one topic that were not said yet.
#[derive(Debug, PartialEq, Eq)]
struct DeletedRecords {
    from: Offset,
    until: Offset,
    count: u64,
}

impl Gaps {
    /// Keeps a gap to be said later, if it is one of deleted records; says whether it did.
    pub(crate) fn keep(&mut self, topic: &TopicName, gap: &Gap) -> bool {
        let Gap { from, until, cause: GapCause::Deleted } = *gap else { return false };
        let count = until.since(from);
        match self.deleted.get_mut(topic) {
            Some(deleted) => {
                // Reading may have gone back.
                (deleted.from, deleted.until) = (deleted.from.min(from), deleted.until.max(until));
                deleted.count += count;
            }
            None => {
                self.deleted.insert(topic.clone(), DeletedRecords { from, until, count });
            }
        }
        true
    }

    /// Says what was kept.
    pub(crate) fn say_kept(&mut self) {
        for (topic, deleted) in std::mem::take(&mut self.deleted) {
            say(&format!("{topic}: {}", deleted.describe()));
        }
    }
}

impl DeletedRecords {
    fn describe(&self) -> String {
        let DeletedRecords { from, until, count } = self;
        match until.since(*from) {
            all if all == *count => format!("records {from}..{until} were deleted before they were read"),
            _ => format!("{count} of the records {from}..{until} were deleted before they were read"),
        }
    }
}

/// Says which offsets were not there to be read. `true` if that is damage.
pub(crate) fn say_gap(topic: &TopicName, gap: &Gap) -> bool {
    say(&format!("{topic}: {}", describe_gap(gap)));
    matches!(gap.cause, GapCause::Damaged { .. })
}

fn describe_gap(gap: &Gap) -> String {
    let Gap { from, until, cause } = gap;
    match cause {
        GapCause::Expired => format!("records {from}..{until} expired before they were read"),
        GapCause::Deleted => DeletedRecords { from: *from, until: *until, count: until.since(*from) }.describe(),
        GapCause::Damaged { path, position, what } => {
            format!("records {from}..{until} are damaged and were skipped: {} at position {position}: {what}", path.display())
        }
        GapCause::GivenUp => format!("records {from}..{until} were damaged, and a repair gave them up"),
        GapCause::Rewound => {
            format!(
                "a crash lost records {from}..{until} after they were read; their offsets are used anew, reading goes back to {from}"
            )
        }
        _ => format!("records {from}..{until} cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{FIRST_ID, body};
    use drave::codec::FieldRef;

    #[derive(Default)]
    struct Kept {
        all_at_once: bool,
        values: Vec<Vec<u8>>,
    }

    impl Sink for Kept {
        fn take_all(&mut self, topic: &TopicName, records: &Records<'_>) -> Result<bool> {
            if self.all_at_once {
                records.clone().flatten().try_for_each(|record| self.take(topic, &record))?;
            }
            Ok(self.all_at_once)
        }

        fn take(&mut self, _topic: &TopicName, record: &Record<'_>) -> Result<()> {
            self.values.push(record.value().unwrap_or_default().to_vec());
            Ok(())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn passed(selection: &mut Selection, sink: &mut Kept) -> Option<Undecodable> {
        let fields: Vec<[FieldRef<'_>; 1]> = [b"a", b"b", b"c", b"d"].map(|value| [(&b"value"[..], &value[..])]).to_vec();
        let records: Vec<(&[FieldRef<'_>], bool)> = fields.iter().map(|fields| (&fields[..], false)).collect();
        let (bytes, count, plain) = body(&records);
        let topic = TopicName::new(b"t").expect("legal");
        let records = Records::new(&bytes, Offset(0), count, count, FIRST_ID, plain).expect("a body");
        selection.pass(&topic, records, sink).expect("no failure")
    }

    #[test]
    fn skip_and_limit_count_across_batches() {
        for all_at_once in [false, true] {
            let mut sink = Kept { all_at_once, ..Kept::default() };
            let mut selection = Selection { skip: 6, left: Some(5), ..Selection::default() };
            for _ in 0..3 {
                assert_eq!(passed(&mut selection, &mut sink), None);
            }
            assert!(selection.is_full());
            assert_eq!(sink.values.concat(), b"cdabc");
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_told() {
        let (mut bytes, count, plain) = body(&[(&[(b"value", b"a")], false), (&[(b"value", b"b")], false)]);
        bytes.pop();
        let topic = TopicName::new(b"t").expect("legal");
        let records = Records::new(&bytes, Offset(5), count, count, FIRST_ID, plain).expect("a body");
        let mut sink = Kept::default();
        let broken = Selection::default().pass(&topic, records, &mut sink).expect("no failure").expect("cut off");
        assert_eq!((broken.from, broken.until), (Offset(6), Offset(7)));
        assert_eq!(sink.values, [b"a"]);
    }

    #[test]
    fn deleted_records_are_counted_and_said_together() {
        let topic = TopicName::new(b"t").expect("legal");
        let gap = |from, until, cause| Gap { from: Offset(from), until: Offset(until), cause };
        let mut gaps = Gaps::default();
        assert!(!gaps.keep(&topic, &gap(0, 4, GapCause::Expired)));
        assert!(gaps.keep(&topic, &gap(5, 7, GapCause::Deleted)));
        assert_eq!(gaps.deleted[&topic].describe(), "records 5..7 were deleted before they were read");
        assert!(gaps.keep(&topic, &gap(9, 10, GapCause::Deleted)));
        assert_eq!(gaps.deleted[&topic].describe(), "3 of the records 5..10 were deleted before they were read");
    }

    #[test]
    fn gaps_are_said_with_their_offsets() {
        let gap = |cause| Gap { from: Offset(0), until: Offset(4211), cause };
        assert_eq!(describe_gap(&gap(GapCause::Expired)), "records 0..4211 expired before they were read");
        let cause = GapCause::Damaged { path: "/s/t/0.log".into(), position: 77, what: "bad checksum".to_owned() };
        assert_eq!(
            describe_gap(&gap(cause)),
            "records 0..4211 are damaged and were skipped: /s/t/0.log at position 77: bad checksum"
        );
    }
}
