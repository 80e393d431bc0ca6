//! The manifest of a snapshot: what is in it. Written last, so a snapshot without one is none.
//!
//! ```text
//! {"snapshot":{"version":1,"made_ms":...,"store":"<id>"}}          of some topics only: "topics":["orders"]
//! {"file":{"path":"store.toml","bytes":...,"crc":...}}
//! {"log":{"path":"topics/orders", ..., "segments":[...]}}          likewise deletions and groups
//! {"dropped":"topics/gone"}                                        in a stream: to be passed over
//! {"end":{"crc":...}}
//! ```
//!
//! A line of JSON each, for people too. `end` is the last: the CRC-32 of all that stands before it. That,
//! and the version in the first line, stay for ever.
//!
//! The frames of a segment prove themselves, each by a CRC that is seeded with its segment's salt and
//! knows its place. So a segment is here by the CRC of its header, which holds the salt, and by where it
//! ends in bytes and offsets: one that is cut, or another one in its place, is found, and nobody has to
//! read it to make a snapshot.

use serde::{Deserialize, Serialize};

use super::segment::{Previous, base_of, file_name};
use crate::ids::{Epoch, Incarnation, Offset, RecordId, TimestampMs};

/// The name of its file.
pub const MANIFEST: &str = "manifest";
/// The format this drave writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// What is in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// When it was made.
    pub made: TimestampMs,
    /// The store's id.
    pub store: String,
    /// The directories of the topics that it was to be made of, by name; none = all.
    pub topics: Vec<String>,
    /// Files that are copied whole.
    pub files: Vec<FileFacts>,
    /// Logs.
    pub logs: Vec<LogFacts>,
    /// Directories that have entries in a stream and are no part of the snapshot.
    pub dropped: Vec<String>,
}

/// A file that is copied whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Where, from the snapshot's directory on.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its contents.
    pub crc: u32,
}

/// A log at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFacts {
    /// Its directory, from the snapshot's on.
    pub path: String,
    /// Which life.
    #[serde(with = "hex")]
    pub incarnation: Incarnation,
    /// The epoch of its end.
    pub epoch: Epoch,
    /// First offset kept.
    pub log_start: Offset,
    /// Next offset to be assigned.
    pub end: Offset,
    /// The last ID that was given out, ms and seq.
    pub last_id: (u64, u64),
    /// Records ever added.
    pub entries_added: u64,
    /// Its segments, rising. One without offsets is left out.
    pub segments: Vec<SegmentFacts>,
}

/// A segment, as far as it belongs to the log at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentFacts {
    /// First offset.
    pub base: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// Where its frames end. In the file may be more, which is no part of the log.
    pub bytes: u64,
    /// The salt of its frames.
    pub salt: u32,
    /// Which header it has: that one's fingerprint.
    pub header: u32,
}

/// Why bytes are not a manifest.
#[derive(Debug, PartialEq, Eq)]
pub enum BadManifest {
    /// A newer drave wrote it.
    TooNew(u32),
    /// Cut off, or not what was written.
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Snapshot(Head),
    File(FileFacts),
    Log(LogFacts),
    Dropped(String),
    End(End),
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    made_ms: TimestampMs,
    store: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct End {
    crc: u32,
}

impl SegmentFacts {
    /// Its file's name.
    #[must_use]
    pub fn file_name(&self) -> String {
        file_name(self.base)
    }

    /// How the next segment names it.
    #[must_use]
    pub fn as_previous(&self) -> Previous {
        Previous { base: self.base, end_position: self.bytes, salt: self.salt }
    }
}

impl LogFacts {
    /// The last ID that was given out.
    #[must_use]
    pub fn last_id(&self) -> RecordId {
        RecordId { ms: self.last_id.0, seq: self.last_id.1 }
    }

    /// Bytes of its segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether the segments follow one another, from the log start or before to the end.
    fn is_whole(&self) -> bool {
        let mut at = self.segments.first().map_or(self.end, |segment| segment.base);
        let starts = at <= self.log_start && self.log_start <= self.end;
        let follow = self.segments.iter().all(|segment| {
            let follows = segment.base == at && segment.end > segment.base;
            at = segment.end;
            follows
        });
        starts && follow && at == self.end
    }
}

impl Manifest {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = Head { version: VERSION, made_ms: self.made, store: self.store.clone(), topics: self.topics.clone() };
        let mut out = Vec::new();
        put(&mut out, &Line::Snapshot(head));
        self.files.iter().for_each(|file| put(&mut out, &Line::File(file.clone())));
        self.logs.iter().for_each(|log| put(&mut out, &Line::Log(log.clone())));
        self.dropped.iter().for_each(|path| put(&mut out, &Line::Dropped(path.clone())));
        let end = End { crc: crc32fast::hash(&out) };
        put(&mut out, &Line::End(end));
        out
    }

    /// Bytes of all that it names.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.bytes).sum();
        files + self.logs.iter().map(LogFacts::bytes).sum::<u64>()
    }

    /// Reads one.
    ///
    /// # Errors
    /// Also when it is whole and what it says cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        let damaged = |what: &str| BadManifest::Damaged(what.to_owned());
        let lines = bytes.strip_suffix(b"\n").ok_or_else(|| damaged("the manifest is cut off"))?;
        let last = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let Ok(Line::End(end)) = serde_json::from_slice(&lines[last..]) else { return Err(damaged("the manifest is cut off")) };
        if crc32fast::hash(&bytes[..last]) != end.crc {
            return Err(damaged("the checksum of the manifest does not match"));
        }
        let mut lines = bytes[..last].split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        match serde_json::from_slice::<serde_json::Value>(first).ok().and_then(|head| head["snapshot"]["version"].as_u64()) {
            Some(version) if version > u64::from(VERSION) => {
                return Err(BadManifest::TooNew(u32::try_from(version).unwrap_or(u32::MAX)));
            }
            _ => {}
        }
        let Ok(Line::Snapshot(head)) = serde_json::from_slice(first) else { return Err(damaged("not a manifest")) };
        let mut manifest = Manifest { made: head.made_ms, store: head.store, topics: head.topics, ..Manifest::default() };
        for line in lines.filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line).map_err(|error| BadManifest::Damaged(format!("a line cannot be read: {error}")))? {
                Line::File(file) => manifest.files.push(file),
                Line::Log(log) => manifest.logs.push(log),
                Line::Dropped(path) => manifest.dropped.push(path),
                Line::Snapshot(_) | Line::End(_) => return Err(damaged("a line is out of place")),
            }
        }
        manifest.check().map_err(|what| damaged(&what))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        for file in &self.files {
            if Place::of(&file.path).is_none_or(|place| !matches!(place, Place::File)) {
                return Err(format!("it names the file {}, which belongs into no snapshot", file.path));
            }
        }
        for log in &self.logs {
            if Place::of(&format!("{}/{}", log.path, file_name(Offset::ZERO))) != Some(Place::Segment) {
                return Err(format!("it names the log {}, which belongs into no snapshot", log.path));
            }
            if !log.is_whole() {
                return Err(format!("the segments of {} do not follow one another", log.path));
            }
        }
        Ok(())
    }
}

/// What may lie at a path in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The manifest.
    Manifest,
    /// A file that is copied whole.
    File,
    /// A segment of a log.
    Segment,
}

impl Place {
    /// `None` = nothing does. What does is below the snapshot's directory, by names that a store makes:
    /// whoever writes there writes nowhere else.
    #[must_use]
    pub fn of(path: &str) -> Option<Place> {
        let mut parts = path.split('/');
        let mut next = || parts.next().unwrap_or_default();
        let is_name = |part: &str| super::name::unescape(part.as_bytes()) != super::name::Unescaped::Foreign;
        let in_log = |part: &str| base_of(part.as_bytes()).map(|_| Place::Segment);
        let place = match next() {
            MANIFEST => Some(Place::Manifest),
            "store.toml" | "limits.toml" => Some(Place::File),
            "cursors" => (is_name(next()) && is_name(next())).then_some(Place::File),
            "topics" if is_name(next()) => match next() {
                "topic.toml" => Some(Place::File),
                "deleted" => in_log(next()),
                "groups" if is_name(next()) => match next() {
                    "topic.toml" | "checkpoint-0" | "checkpoint-1" => Some(Place::File),
                    part => in_log(part),
                },
                part => in_log(part),
            },
            _ => None,
        };
        place.filter(|_| parts.next().is_none())
    }

    /// Whether a directory may lie at a path in a snapshot.
    #[must_use]
    pub fn is_dir(path: &str) -> bool {
        let segment = file_name(Offset::ZERO);
        matches!(path, "topics" | "cursors")
            || path.strip_suffix("/groups").is_some_and(|topic| Place::of(&format!("{topic}/deleted/{segment}")).is_some())
            || path.starts_with("cursors/") && Place::of(&format!("{path}/a")).is_some()
            || path.starts_with("topics/") && Place::of(&format!("{path}/{segment}")).is_some()
    }
}

fn put(out: &mut Vec<u8>, line: &Line) {
    serde_json::to_writer(&mut *out, line).expect("numbers and text always encode");
    out.push(b'\n');
}

mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::ids::Incarnation;

    pub(super) fn serialize<S: Serializer>(incarnation: &Incarnation, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(incarnation)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Incarnation, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u128::from_str_radix(&text, 16) {
            Ok(number) if text.len() == 32 => Ok(Incarnation(number.to_be_bytes())),
            _ => Err(D::Error::custom("not 32 hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let segment = |base, end| SegmentFacts { base: Offset(base), end: Offset(end), bytes: 500, salt: 7, header: 8 };
        let log = |path: &str, segments| LogFacts {
            path: path.to_owned(),
            incarnation: Incarnation([0xab; 16]),
            epoch: Epoch(3),
            log_start: Offset(12),
            end: Offset(30),
            last_id: (u64::MAX, 4),
            entries_added: 30,
            segments,
        };
        Manifest {
            made: TimestampMs(1_700_000_000_000),
            store: "00ff".to_owned(),
            topics: vec!["orders".to_owned()],
            files: vec![FileFacts { path: "store.toml".to_owned(), bytes: 9, crc: 10 }],
            logs: vec![
                log("topics/orders", vec![segment(10, 20), segment(20, 30)]),
                log("topics/orders/groups/%41", vec![segment(0, 30)]),
            ],
            dropped: vec!["topics/gone".to_owned()],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_every_flipped_bit_and_every_cut_is_seen() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::parse(&bytes), Ok(manifest()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::parse(&flipped), Err(BadManifest::Damaged(_))), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(matches!(Manifest::parse(&bytes[..cut]), Err(BadManifest::Damaged(_))), "cut {cut}");
        }
    }

    /// With the checksum that belongs to it.
    fn sealed(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        let crc = crc32fast::hash(&bytes);
        put(&mut bytes, &Line::End(End { crc }));
        bytes
    }

    #[test]
    fn one_that_does_not_say_of_which_topics_is_of_all() {
        let older = sealed("{\"snapshot\":{\"version\":1,\"made_ms\":7,\"store\":\"00ff\"}}\n");
        let all = Manifest { made: TimestampMs(7), store: "00ff".to_owned(), ..Manifest::default() };
        assert_eq!(Manifest::parse(&older).as_ref(), Ok(&all));
        assert_eq!(all.encode(), older);
    }

    #[test]
    fn a_newer_one_is_told_from_damage_whatever_else_it_holds() {
        let newer = sealed("{\"snapshot\":{\"version\":2,\"new\":[]}}\n{\"unheard\":1}\n");
        assert_eq!(Manifest::parse(&newer), Err(BadManifest::TooNew(2)));
        assert!(matches!(Manifest::parse(&sealed("{\"other\":1}\n")), Err(BadManifest::Damaged(_))));
    }

    #[test]
    fn what_cannot_be_is_refused_though_its_checksum_is_right() {
        let wrong = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            assert!(matches!(Manifest::parse(&manifest.encode()), Err(BadManifest::Damaged(_))), "{manifest:?}");
        };
        wrong(&|manifest| manifest.files[0].path = "../etc/passwd".to_owned());
        wrong(&|manifest| manifest.files[0].path = "manifest".to_owned());
        wrong(&|manifest| manifest.logs[0].path = "topics".to_owned());
        wrong(&|manifest| manifest.logs[0].path = "/topics/a".to_owned());
        wrong(&|manifest| manifest.logs[0].segments[1].base = Offset(21));
        wrong(&|manifest| manifest.logs[0].end = Offset(31));
        wrong(&|manifest| manifest.logs[0].log_start = Offset(9));
        wrong(&|manifest| manifest.logs[0].log_start = Offset(31));
        wrong(&|manifest| manifest.logs[0].segments.clear());
    }

    #[test]
    fn only_what_a_store_makes_has_a_place() {
        let segment = "00000000000000000007.log";
        for path in ["store.toml", "limits.toml", "cursors/a/b", "topics/a/topic.toml", "topics/a/groups/g/checkpoint-1"] {
            assert_eq!(Place::of(path), Some(Place::File), "{path}");
        }
        for path in ["topics/a/", "topics/a/deleted/", "topics/%41/groups/g/"] {
            assert_eq!(Place::of(&format!("{path}{segment}")), Some(Place::Segment), "{path}");
        }
        assert_eq!(Place::of("manifest"), Some(Place::Manifest));
        let foreign = [
            "",
            "/store.toml",
            "./store.toml",
            "store.toml/",
            "limits.toml/x",
            "manifest/x",
            "topics",
            "topics/a",
            "topics/../x/topic.toml",
            "topics//topic.toml",
            "topics/.new-a/topic.toml",
            "topics/a/head",
            "topics/a/7.log",
            "topics/a/groups/../00000000000000000007.log",
            "topics/a/groups/g/members",
            "cursors/../b",
            "cursors/a/b/c",
            "quarantine/a",
        ];
        for path in foreign {
            assert_eq!(Place::of(path), None, "{path}");
        }
    }

    #[test]
    fn directories_lie_only_where_a_store_makes_them() {
        for path in ["topics", "cursors", "cursors/a", "topics/a", "topics/a/deleted", "topics/a/groups", "topics/a/groups/%41"] {
            assert!(Place::is_dir(path), "{path}");
        }
        for path in [
            "",
            "a",
            "groups",
            "topics/groups/g",
            "topics/..",
            "topics/a/groups/g/h",
            "topics/a/b",
            "cursors/..",
            "cursors/a/b",
            "topics//groups",
            "topics/a/groups/g/groups",
            "topics/a/",
        ] {
            assert!(!Place::is_dir(path), "{path}");
        }
    }
}
