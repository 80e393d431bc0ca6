//! How a command ends: the sentence on stderr and the exit status. The one table from errors to
//! exit codes is here.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use drave::ids::TopicName;
use signal_hook::consts::{SIGPIPE, SIGTERM};
use signal_hook::low_level::emulate_default_handler;

use super::Context;
use super::escape;

/// The exit statuses, as `drave --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Missing = 3,
    Busy = 5,
    NotAllowed = 6,
    Damaged = 7,
    Limited = 9,
    Rejected = 10,
    StoreMissing = 11,
    Conflict = 12,
    Unsupported = 13,
    Threshold = 20,
    TimedOut = 124,
    Interrupted = 130,
    OutputClosed = 141,
    Terminated = 143,
}

/// A failure of the command itself, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    sentence: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Failure {
        Failure { exit, sentence: sentence.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// What went wrong with one topic: `orders: offset 90 is past the end`.
#[derive(Debug)]
struct OfTopic {
    topic: TopicName,
    error: drave::Error,
}

impl fmt::Display for OfTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use drave::Error::{TopicExists, TopicMissing};
        match &self.error {
            // These say the name themselves.
            error @ (TopicMissing { .. } | TopicExists { .. }) => error.fmt(f),
            error => write!(f, "{}: {error}", self.topic),
        }
    }
}

impl std::error::Error for OfTopic {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Not the error itself: its sentence is part of this one.
        self.error.source()
    }
}

/// Puts a topic's name before what went wrong with it.
pub(crate) trait InTopic<T> {
    fn in_topic(self, topic: &TopicName) -> anyhow::Result<T>;
}

impl<T> InTopic<T> for drave::Result<T> {
    fn in_topic(self, topic: &TopicName) -> anyhow::Result<T> {
        self.map_err(|error| match error {
            // Not the topic's fault.
            error @ (drave::Error::Stopped | drave::Error::TimedOut) => error.into(),
            error => OfTopic { topic: topic.clone(), error }.into(),
        })
    }
}

/// What a failed write to stdout means: nobody reads it any more, or it is a failure.
pub(crate) fn stdout_failed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::OutputClosed, "nobody reads the output any more").into(),
        _ => anyhow::Error::new(error).context("cannot write to stdout"),
    }
}

/// The exit code of an error. `signal` is the one that stopped the work, if one did.
pub(crate) fn code_of(error: &anyhow::Error, signal: Option<i32>) -> Exit {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if let Some(of_topic) = cause.downcast_ref::<OfTopic>() {
            return code_of_library(&of_topic.error, signal);
        }
        if let Some(error) = cause.downcast_ref::<drave::Error>() {
            return code_of_library(error, signal);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return code_of_io(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<rustix::io::Errno>() {
            return code_of_io(error.kind());
        }
    }
    Exit::Failed
}

pub(crate) fn code_of_library(error: &drave::Error, signal: Option<i32>) -> Exit {
    use drave::Error as E;
    match error {
        E::Io { source, .. } => code_of_io(source.kind()),
        E::StoreMissing { .. } | E::StoreUnusable { .. } => Exit::StoreMissing,
        E::VersionTooNew { .. } | E::Unsupported { .. } => Exit::Unsupported,
        E::TopicMissing { .. } | E::TopicGone { .. } | E::NameMissing { .. } | E::OffsetPastEnd { .. } => Exit::Missing,
        E::TopicExists { .. } | E::OffsetConflict { .. } | E::NotEmpty { .. } => Exit::Conflict,
        E::Busy { .. } | E::Overtaken { .. } => Exit::Busy,
        E::Damaged { .. } => Exit::Damaged,
        E::Astray { .. } => Exit::Damaged,
        E::Poisoned { .. } => Exit::Failed,
        E::RecordRefused { .. } | E::IdTooLow { .. } | E::IdsExhausted | E::EntryRefused { .. } => Exit::Rejected,
        E::DurabilityLowered { .. } | E::SettingRefused { .. } => Exit::Usage,
        E::Limited { .. } => Exit::Limited,
        E::Stopped if signal == Some(SIGTERM) => Exit::Terminated,
        E::Stopped => Exit::Interrupted,
        E::TimedOut => Exit::TimedOut,
        // The library may grow errors; the test below counts those that it has.
        _ => Exit::Failed,
    }
}

fn code_of_io(kind: io::ErrorKind) -> Exit {
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::NotAllowed,
        io::ErrorKind::QuotaExceeded => Exit::Limited,
        _ => Exit::Failed,
    }
}

/// Says how a command ended and makes the exit status of it.
pub(super) fn conclude(result: super::Result, context: &Context) -> ExitCode {
    let exit = match &result {
        Ok(exit) => *exit,
        Err(error) => code_of(error, context.signal()),
    };
    match (exit, &result) {
        // Whoever stopped it knows, and the command has said what was done.
        (Exit::Interrupted | Exit::Terminated, _) | (_, Ok(_)) => {}
        (Exit::OutputClosed, _) => {
            // As a program dies that never heard of SIGPIPE; rustc has it ignored at the start.
            let _ = emulate_default_handler(SIGPIPE);
        }
        (_, Err(error)) => say_error(error, context.verbose),
    }
    ExitCode::from(exit as u8)
}

fn say_error(error: &anyhow::Error, verbose: u8) {
    say(&format!("drave: {}", sentence_of(error)));
    if verbose > 0 {
        for cause in error.chain().skip(1) {
            say(&format!("  because: {cause}"));
        }
    }
}

/// The contexts that the command gave, then the error. What the system said below one of our own
/// errors is part of its sentence already.
fn sentence_of(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if cause.is::<io::Error>() || cause.is::<rustix::io::Errno>() {
            parts.push(io_words(cause));
            break;
        }
        parts.push(cause.to_string());
        if cause.is::<Failure>() || cause.is::<OfTopic>() || cause.is::<drave::Error>() {
            break;
        }
    }
    parts.join(": ")
}

/// The system's words without "(os error N)", lower case.
pub(crate) fn io_words(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Writes a line to stderr, with nothing in it that drives a terminal. When stderr is gone there
/// is nobody to tell.
pub(super) fn say(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape::escape(sentence.as_bytes()));
}

/// `--help`, `--version`, or what is wrong with the words that were typed.
pub(super) fn after_parsing(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                let _ = emulate_default_handler(SIGPIPE);
                ExitCode::FAILURE
            }
            Err(_) => ExitCode::FAILURE,
            Ok(()) => ExitCode::SUCCESS,
        };
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").map_or(text.clone(), |rest| format!("drave: {rest}"));
    let mut stderr = io::stderr().lock();
    for line in text.trim_end().split('\n') {
        let _ = writeln!(stderr, "{}", escape::escape(line.as_bytes()));
    }
    ExitCode::from(Exit::Usage as u8)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use drave::config::Durability;
    use drave::ids::{Offset, RecordId};
    use signal_hook::consts::SIGINT;

    use super::*;

    fn every_error() -> Vec<(drave::Error, Exit)> {
        use drave::Error as E;
        let path = || PathBuf::from("/store");
        let io = |kind: io::ErrorKind| E::io("write", "/store", kind);
        let topic = || TopicName::new(b"t").expect("legal");
        vec![
            (io(io::ErrorKind::PermissionDenied), Exit::NotAllowed),
            (io(io::ErrorKind::ReadOnlyFilesystem), Exit::NotAllowed),
            (io(io::ErrorKind::QuotaExceeded), Exit::Limited),
            (io(io::ErrorKind::StorageFull), Exit::Failed),
            (io(io::ErrorKind::BrokenPipe), Exit::Failed),
            (io(io::ErrorKind::NotFound), Exit::Failed),
            (E::StoreMissing { path: path() }, Exit::StoreMissing),
            (E::StoreUnusable { path: path(), why: String::new() }, Exit::StoreMissing),
            (E::VersionTooNew { path: path(), found: 2, supported: 1 }, Exit::Unsupported),
            (E::TopicMissing { topic: topic() }, Exit::Missing),
            (E::TopicGone { path: path() }, Exit::Missing),
            (E::TopicExists { topic: topic() }, Exit::Conflict),
            (E::NameMissing { kind: "group", name: String::new() }, Exit::Missing),
            (E::OffsetPastEnd { offset: Offset(90), end: Offset(12) }, Exit::Missing),
            (E::OffsetConflict { expected: Offset(1), next: Offset(2) }, Exit::Conflict),
            (E::Busy { what: "append", path: path(), holder: None, waited: Duration::ZERO }, Exit::Busy),
            (E::Overtaken { path: path(), what: "" }, Exit::Busy),
            (E::NotEmpty { path: path() }, Exit::Conflict),
            (E::EntryRefused { path: path(), why: String::new() }, Exit::Rejected),
            (E::Damaged { path: path(), position: 0, what: String::new() }, Exit::Damaged),
            (E::Astray { path: path(), what: "" }, Exit::Damaged),
            (E::Poisoned { path: path() }, Exit::Failed),
            (E::RecordRefused { why: String::new() }, Exit::Rejected),
            (E::IdTooLow { id: RecordId::ZERO, last: RecordId::ZERO }, Exit::Rejected),
            (E::IdsExhausted, Exit::Rejected),
            (E::DurabilityLowered { asked: Durability::None, level: Durability::Sync }, Exit::Usage),
            (E::Limited { limit: "global".to_owned(), again_in: Duration::ZERO }, Exit::Limited),
            (E::SettingRefused { why: String::new() }, Exit::Usage),
            (E::Unsupported { what: String::new() }, Exit::Unsupported),
            (E::Stopped, Exit::Interrupted),
            (E::TimedOut, Exit::TimedOut),
        ]
    }

    #[test]
    fn every_error_has_its_exit_code_also_within_a_topic() {
        let topic = TopicName::new(b"t").expect("legal");
        for (error, exit) in every_error() {
            assert_eq!(code_of_library(&error, None), exit, "{error:?}");
            let wrapped = Err::<(), _>(error).in_topic(&topic).expect_err("it is one");
            assert_eq!(code_of(&wrapped, None), exit, "{wrapped:?}");
            assert_eq!(code_of(&wrapped.context("while publishing"), None), exit);
        }
    }

    #[test]
    fn the_signal_decides_how_stopped_work_exits() {
        let stopped = anyhow::Error::from(drave::Error::Stopped);
        assert_eq!(code_of(&stopped, Some(SIGTERM)), Exit::Terminated);
        assert_eq!(code_of(&stopped, Some(SIGINT)), Exit::Interrupted);
    }

    #[test]
    fn an_error_names_its_topic_once() {
        let topic = TopicName::new(b"orders").expect("legal");
        let past = drave::Error::OffsetPastEnd { offset: Offset(90), end: Offset(12) };
        let said = Err::<(), _>(past).in_topic(&topic).expect_err("it is one").to_string();
        assert_eq!(said, "orders: offset 90 is past the end (next offset is 12)");
        let missing = drave::Error::TopicMissing { topic: topic.clone() };
        let said = Err::<(), _>(missing).in_topic(&topic).expect_err("it is one").to_string();
        assert_eq!(said, "there is no topic orders");
    }

    #[test]
    fn a_sentence_ends_with_what_the_system_said_and_says_it_once() {
        let denied = || io::Error::from_raw_os_error(13);
        let library = anyhow::Error::new(drave::Error::io("open", "/store", denied()));
        assert_eq!(sentence_of(&library), "cannot open /store: permission denied");
        let own = anyhow::Error::new(denied()).context("cannot read stdin");
        assert_eq!(sentence_of(&own), "cannot read stdin: permission denied");
    }

    #[test]
    fn a_closed_stdout_is_told_from_other_failures() {
        assert_eq!(code_of(&stdout_failed(io::ErrorKind::BrokenPipe.into()), None), Exit::OutputClosed);
        assert_eq!(code_of(&stdout_failed(io::ErrorKind::StorageFull.into()), None), Exit::Failed);
    }
}
