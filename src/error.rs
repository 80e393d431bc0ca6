//! Everything that can go wrong, with the facts in fields. Sentences are made here; exit codes, RESP
//! prefixes and HTTP status at the edges.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Durability;
use crate::ids::{Offset, RecordId, TopicName};

/// What every fallible call of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One failure. `source()` holds the operating system's word where there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    Io {
        /// What was being done, as in "cannot `open`".
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no store at this place.
    StoreMissing {
        /// The place.
        path: PathBuf,
    },
    /// The place holds something that is not a store, or a store this program cannot use.
    StoreUnusable {
        /// The place.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A file was written by a newer drave.
    VersionTooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// No such topic.
    TopicMissing {
        /// The name that was asked for.
        topic: TopicName,
    },
    /// The topic was deleted while it was in use.
    TopicGone {
        /// Its directory.
        path: PathBuf,
    },
    /// A name is taken already.
    TopicExists {
        /// The name.
        topic: TopicName,
    },
    /// No such cursor, group or other named thing.
    NameMissing {
        /// What kind of thing.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// An offset that has not been assigned yet was asked for.
    OffsetPastEnd {
        /// The offset that was asked for.
        offset: Offset,
        /// The next offset to be assigned.
        end: Offset,
    },
    /// `expect` did not match the next offset.
    OffsetConflict {
        /// The offset that was expected to be next.
        expected: Offset,
        /// The offset that is next.
        next: Offset,
    },
    /// A lock was held by someone else for longer than the limit.
    Busy {
        /// What the lock protects.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The process that holds it, if it could be told.
        holder: Option<u32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The place is to be restored into, and holds something that is no store.
    NotEmpty {
        /// The place.
        path: PathBuf,
    },
    /// Something is in a snapshot that does not belong there.
    EntryRefused {
        /// What.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Stored bytes are not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The page that processes share, and the files beside it, do not tell the same: a file was
    /// removed, cut or put back from a copy while the topic was in use. Whoever writes next makes
    /// them agree again.
    Astray {
        /// The topic's directory.
        path: PathBuf,
        /// What does not agree.
        what: &'static str,
    },
    /// A topic's files were replaced while it was copied, as compaction and repairs do. Nothing is wrong with it.
    Overtaken {
        /// The topic's directory.
        path: PathBuf,
        /// What has happened.
        what: &'static str,
    },
    /// A sync failed: nothing is acknowledged until a repair has rewritten what was not durable.
    Poisoned {
        /// The topic's directory.
        path: PathBuf,
    },
    /// A record is outside the limits.
    RecordRefused {
        /// What is wrong with it.
        why: String,
    },
    /// An ID that was asked for is not above all that the topic has given out.
    IdTooLow {
        /// The ID that was asked for.
        id: RecordId,
        /// The topic's last ID.
        last: RecordId,
    },
    /// There is no ID above the topic's last one.
    IdsExhausted,
    /// A publish asked for less than the topic promises.
    DurabilityLowered {
        /// The level asked for.
        asked: Durability,
        /// The topic's level.
        level: Durability,
    },
    /// Faster than a rate limit allows; nothing was done.
    Limited {
        /// Which limit, as `topic:orders`.
        limit: String,
        /// When to come again.
        again_in: Duration,
    },
    /// A setting was refused.
    SettingRefused {
        /// Why.
        why: String,
    },
    /// The engine cannot do that.
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// The work was asked to stop.
    Stopped,
    /// The time limit ran out.
    TimedOut,
}

impl Error {
    /// Wraps what the system said of `action` on `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Error {
        Error::Io { action, path: path.into(), source: source.into() }
    }

    /// The system's error kind, if a system call failed.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether a file or directory that was named is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, path, source } => write!(f, "cannot {action} {}: {}", show(path), io_words(source)),
            Error::StoreMissing { path } => {
                write!(f, "there is no store at {}; publish or topic create makes one", show(path))
            }
            Error::StoreUnusable { path, why } => write!(f, "{}: {why}", show(path)),
            Error::VersionTooNew { path, found, supported } => write!(
                f,
                "{} has format version {found}, this drave reads up to {supported}; use a drave that reads version {found}",
                show(path)
            ),
            Error::TopicMissing { topic } => write!(f, "there is no topic {topic}"),
            Error::TopicGone { path } => write!(f, "the topic was deleted while in use ({})", show(path)),
            Error::TopicExists { topic } => write!(f, "topic {topic} exists already"),
            Error::NameMissing { kind, name } => write!(f, "there is no {kind} {}", name.escape_debug()),
            Error::OffsetPastEnd { offset, end } => write!(f, "offset {offset} is past the end (next offset is {end})"),
            Error::OffsetConflict { expected, next } => {
                write!(f, "expected offset {expected} to be next, but it is {next}; nothing was published")
            }
            Error::Busy { what, path, holder, waited } => {
                write!(f, "{} is busy: {what} is held by ", show(path))?;
                match holder {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                write!(f, ", waited {:.1} s", waited.as_secs_f64())
            }
            Error::NotEmpty { path } => {
                write!(f, "{} holds other things; restore into an absent or an empty directory, or into a store", show(path))
            }
            Error::EntryRefused { path, why } => write!(f, "{} is refused: {why}", show(path)),
            Error::Damaged { path, position, what } => write!(f, "{} is damaged at position {position}: {what}", show(path)),
            Error::Astray { path, what } => {
                write!(f, "{}: the topic's files were changed while it was in use: {what}; run this again", show(path))
            }
            Error::Overtaken { path, what } => {
                write!(f, "{} was overtaken: {what}; try again, or make the snapshot in a directory", show(path))
            }
            Error::Poisoned { path } => write!(
                f,
                "{}: a sync failed and what was not yet durable could not be rewritten; check the disk, then publish again",
                show(path)
            ),
            Error::RecordRefused { why } | Error::SettingRefused { why } => f.write_str(why),
            Error::IdTooLow { id, last } => write!(f, "ID {id} is not above the topic's last ID {last}"),
            Error::IdsExhausted => f.write_str("the topic has used the last possible ID"),
            Error::DurabilityLowered { asked, level } => write!(
                f,
                "the topic's durability is {level}, a publish may only raise it, not lower it to {asked}; \
                 make topics for {asked} with: drave topic create TOPIC durability={asked}"
            ),
            Error::Limited { limit, again_in } => {
                write!(f, "over the rate limit of {limit}; try again in {} ms", ms_rounded_up(*again_in))
            }
            Error::Unsupported { what } => f.write_str(what),
            Error::Stopped => f.write_str("stopped"),
            Error::TimedOut => f.write_str("the time limit ran out"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Milliseconds in which it is over.
pub(crate) fn ms_rounded_up(time: Duration) -> u128 {
    time.as_nanos().div_ceil(1_000_000)
}

/// A path for a message: nothing in it can drive a terminal.
fn show(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// The system's words without "(os error N)", lower case.
fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text,
    }
}
