//! What the end of a command says about its record. The one place that knows the exit statuses.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use signal_hook::low_level::signal_name;

/// What is to become of the record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acked,
    /// And nothing more is to be consumed.
    AckedAndStop,
    /// Retried after the backoff, not counted as an attempt: the command asked for it, or it died
    /// because we were told to stop.
    GivenBack,
    /// The command will never be able to use it.
    DeadLetter {
        /// The last line that the command said on stderr, if it said any.
        reason: String,
    },
    /// Counted as an attempt.
    Failed {
        /// How it ended, and the last line that it said on stderr.
        how: String,
    },
    /// Ran longer than it may. Counted as an attempt.
    TimedOut,
    /// Given back, not counted, and nothing more is to be consumed: no record can help it.
    CannotStart {
        why: String,
    },
}

impl Verdict {
    /// Of a command that ended by itself.
    pub(super) fn of(program: &str, status: ExitStatus, last_line: Option<String>) -> Verdict {
        let ended = how(status);
        let with_line = |what: String| match &last_line {
            Some(line) => format!("{what}: {line}"),
            None => what,
        };
        match status.code() {
            Some(0) => Verdict::Acked,
            // EX_DATAERR and EX_TEMPFAIL of sysexits.h.
            Some(65) => Verdict::DeadLetter { reason: last_line.unwrap_or(ended) },
            Some(75) => Verdict::GivenBack,
            Some(100) => Verdict::AckedAndStop,
            // What shells and their like (env, nice, timeout) exit with for a command they cannot start.
            Some(126 | 127) => Verdict::CannotStart { why: with_line(format!("{program} {ended}")) },
            _ => Verdict::Failed { how: with_line(ended) },
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("died of {name}"),
            None => format!("died of signal {signal}"),
        },
        // wait(2) tells of stops only to those who ask.
        (None, None) => status.to_string(),
    }
}
