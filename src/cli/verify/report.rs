//! What a check found: rows on stdout, a summary on stderr.

use std::path::Path;

use drave::Error;
use drave::config::LimitOf;
use drave::ids::{GroupName, TopicName};
use drave::log::{Finding, Severity, Verified};
use drave::store::{Store, StrayKind};

use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, InTopic as _};
use crate::cli::table::{Cell, Rows};

const COLUMNS: [&str; 7] = ["topic", "severity", "path", "position", "from", "until", "what"];

pub(super) struct Report {
    rows: Option<Rows>,
    topics: u64,
    groups: u64,
    segments: u64,
    frames: u64,
    records: u64,
    bytes: u64,
    places_damaged: u64,
    records_damaged: u64,
    notes: u64,
    /// Damage that belongs to no topic that could be repaired.
    pub(super) beyond_repair: bool,
    /// Topics that a repair could do something for.
    pub(super) repairable: Vec<TopicName>,
    /// Groups that go on without what is lost once they are asked to.
    pub(super) groups_to_mend: Vec<(TopicName, GroupName)>,
    /// Beside the topics lies what a repair removes.
    pub(super) leftovers: bool,
    /// The first topic that could not be checked, and why.
    pub(super) first_error: Option<anyhow::Error>,
}

impl Report {
    pub(super) fn begin(json: bool) -> Report {
        Report {
            rows: Some(Rows::begin(COLUMNS, json)),
            topics: 0,
            groups: 0,
            segments: 0,
            frames: 0,
            records: 0,
            bytes: 0,
            places_damaged: 0,
            records_damaged: 0,
            notes: 0,
            beyond_repair: false,
            repairable: Vec::new(),
            groups_to_mend: Vec::new(),
            leftovers: false,
            first_error: None,
        }
    }

    /// Looks at what lies beside the topics.
    pub(super) fn surroundings(&mut self, store: &Store) -> Result<()> {
        if let Err(error) = store.check_file() {
            self.beyond_repair = true;
            self.error(None, &error)?;
        }
        // They go on without what cannot be read, so it is told here.
        for error in [store.limit_rules().err(), store.limits().look(&LimitOf::Global).err()].into_iter().flatten() {
            self.beyond_repair = true;
            self.error(None, &error)?;
        }
        for stray in store.look_at_topics()?.1 {
            let (severity, what) = match stray.kind {
                StrayKind::Unfinished(false) => continue,
                StrayKind::Unfinished(true) => {
                    (Severity::Note, "a topic that was never finished; --repair removes it".to_owned())
                }
                StrayKind::Trash => (Severity::Note, "what a deleted topic left; --repair removes it".to_owned()),
                StrayKind::Foreign => (Severity::Note, "not a topic".to_owned()),
                StrayKind::Nameless(why) => (Severity::Damage, why),
            };
            self.beyond_repair |= severity == Severity::Damage;
            self.leftovers |= severity == Severity::Note;
            self.row(None, severity, &stray.path, None, None, what)?;
        }
        for cursor in store.list_cursors(None)? {
            if let Err(error) = cursor.info {
                self.beyond_repair = true;
                self.error(None, &error)?;
            }
        }
        Ok(())
    }

    /// Takes what was found in a topic.
    pub(super) fn topic(&mut self, topic: &TopicName, verified: &Verified) -> Result<()> {
        self.topics += 1;
        self.segments += verified.segments;
        self.frames += verified.frames;
        self.records += verified.records;
        self.bytes += verified.bytes;
        for finding in &verified.findings {
            let Finding { severity, path, position, offsets, what, .. } = finding;
            self.row(Some(topic), *severity, path, Some(*position), *offsets, what.clone())?;
            if *severity == Severity::Damage {
                self.records_damaged += offsets.map_or(0, |(from, until)| until.since(from));
            }
        }
        if verified.findings.iter().any(|finding| finding.repairable || finding.severity == Severity::Damage) {
            self.repairable.push(topic.clone());
        }
        Ok(())
    }

    /// Takes what was found in a group.
    pub(super) fn group(&mut self, topic: &TopicName, group: &GroupName, verified: &Verified) -> Result<()> {
        self.groups += 1;
        self.segments += verified.segments;
        self.bytes += verified.bytes;
        for Finding { severity, path, position, what, repairable, .. } in &verified.findings {
            self.row(Some(topic), *severity, path, Some(*position), None, what.clone())?;
            self.beyond_repair |= *severity == Severity::Damage && !repairable;
        }
        if verified.findings.iter().any(|finding| finding.repairable) {
            self.groups_to_mend.push((topic.clone(), group.clone()));
        }
        Ok(())
    }

    /// Takes a group that is too damaged to be opened.
    pub(super) fn unopened_group(&mut self, topic: &TopicName, error: &Error) -> Result<()> {
        self.beyond_repair = true;
        self.error(Some(topic), error)
    }

    /// Takes a topic that is too damaged to be opened.
    pub(super) fn unopened(&mut self, topic: &TopicName, error: &Error) -> Result<()> {
        if self.repairable.last() != Some(topic) {
            self.repairable.push(topic.clone());
        }
        self.error(Some(topic), error)
    }

    /// Takes a topic that could not be checked for another reason.
    pub(super) fn failed(&mut self, context: &Context, topic: &TopicName, error: Error) {
        let Err(error) = Err::<(), _>(error).in_topic(topic) else { return };
        match self.first_error {
            None => self.first_error = Some(error),
            Some(_) => context.say(&format!("drave: {error}")),
        }
    }

    fn error(&mut self, topic: Option<&TopicName>, error: &Error) -> Result<()> {
        let (path, position, what) = match error {
            Error::Damaged { path, position, what } => (path.as_path(), Some(*position), what.clone()),
            Error::StoreUnusable { path, why } => (path.as_path(), None, why.clone()),
            other => (Path::new(""), None, other.to_string()),
        };
        self.row(topic, Severity::Damage, path, position, None, what)
    }

    fn row(
        &mut self,
        topic: Option<&TopicName>,
        severity: Severity,
        path: &Path,
        position: Option<u64>,
        offsets: Option<(drave::ids::Offset, drave::ids::Offset)>,
        what: String,
    ) -> Result<()> {
        let severity = match severity {
            Severity::Damage => {
                self.places_damaged += 1;
                "damage"
            }
            Severity::Note => {
                self.notes += 1;
                "note"
            }
        };
        let (from, until) = offsets.unzip();
        let cells: Vec<Cell> =
            vec![topic.into(), severity.into(), path.into(), position.into(), from.into(), until.into(), what.into()];
        self.rows.as_mut().map_or(Ok(()), |rows| rows.row(cells))
    }

    /// Prints what is left, and the summary.
    pub(super) fn end(&mut self, context: &Context, cut_short: bool) -> Result<()> {
        if let Some(rows) = self.rows.take() {
            rows.end()?;
        }
        let mut verified = vec![counted(self.topics, "topic")];
        verified.extend((self.groups > 0).then(|| counted(self.groups, "group")));
        verified.extend([
            counted(self.segments, "segment"),
            counted(self.frames, "frame"),
            counted(self.records, "record"),
            size(self.bytes),
        ]);
        let notes = if self.notes == 0 { String::new() } else { format!(", {}", counted(self.notes, "note")) };
        let damage = match (self.places_damaged, self.records_damaged) {
            (0, _) => "no damage".to_owned(),
            (places, 0) => counted(places, "damaged place"),
            (places, records) => format!("{} with {}", counted(places, "damaged place"), counted(records, "lost record")),
        };
        let stopped = if cut_short { "stopped early; " } else { "" };
        context.say(&format!("{stopped}verified {}: {damage}{notes}", verified.join(", ")));
        Ok(())
    }

    /// The exit status of a check without repair.
    pub(super) fn exit(&self) -> Exit {
        if self.places_damaged > 0 { Exit::Damaged } else { Exit::Done }
    }
}

/// `1 topic`, `3 topics`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `0 bytes`, `999 bytes`, `1.5 kB`, `250 MB`.
fn size(bytes: u64) -> String {
    let (mut scaled, mut unit) = (bytes as f64, "bytes");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if scaled < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1000.0, larger);
    }
    let digits = usize::from(unit != "bytes" && scaled < 9.95);
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (1549, "1.5 kB"),
            (9_960, "10 kB"),
            (999_600, "1.0 MB"),
            (250_000_000, "250 MB"),
            (12_300_000_000_000, "12 TB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!((counted(1, "topic"), counted(0, "topic")), ("1 topic".to_owned(), "0 topics".to_owned()));
    }
}
