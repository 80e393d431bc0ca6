//! Records on stdout.
//!
//! Whole slices of a mapped segment go from the map to `write(2)` without a copy when they are what
//! the default output prints; all else is gathered in one buffer. The caller flushes when it has
//! caught up with the log, so that nothing is held back while it waits.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use drave::codec::{Record, Records};
use drave::ids::TopicName;
use drave::job::Job;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::exit::stdout_failed;
use super::format::{Delivered, Format};
use super::reading::Sink;
use super::signals::Stop;
use super::{Result, escape, json};

/// Slices of this size and above are written as they are; below it, copying costs less than the
/// system calls it saves.
const DIRECT_BYTES_MIN: usize = 64 << 10;
/// The buffer is written when it holds this much.
const BUFFER_BYTES: usize = 256 << 10;
/// What one huge record made of the buffer is given back.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// What any user may ask for (`/proc/sys/fs/pipe-max-size`). 16 times fewer wake-ups than the default.
const PIPE_BYTES: usize = 1 << 20;

/// What was typed.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// End each value with NUL instead of a newline
    #[arg(short = '0', long, conflicts_with_all = ["json", "format"])]
    nul: bool,

    /// Print each record as a JSON object on a line of its own
    ///
    /// Its members: topic, offset, id, time, key, headers, value. What is not UTF-8 is in base64, under
    /// key_b64 and value_b64 and as {"b64":...}. A record of other fields has "fields" in place of the last
    /// three. "drave publish --json" reads it all back.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Print each record as FORMAT says, as '%o %k %v\n'; see below
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OsStringValueParser::new().try_map(Format::from_os))]
    format: Option<Format>,
}

impl OutputArgs {
    fn style(self) -> Style {
        match self {
            OutputArgs { format: Some(format), .. } => Style::Format(format),
            OutputArgs { json: true, .. } => Style::Json,
            OutputArgs { nul: true, .. } => Style::Values(0),
            _ => Style::Values(b'\n'),
        }
    }
}

/// How a record is printed.
#[derive(Clone, Debug)]
enum Style {
    /// Its value, and this byte.
    Values(u8),
    Json,
    Format(Format),
}

/// Prints records.
pub(crate) struct Output {
    fd: OwnedFd,
    style: Style,
    terminal: bool,
    buffer: Vec<u8>,
    /// Whether it was tried to make the pipe larger.
    pipe_widened: bool,
    interrupt: Option<Interrupt>,
    /// A write ended in the middle: nothing may follow what was written of it.
    broken_off: bool,
}

/// What ends a write to a pipe that nobody reads.
struct Interrupt {
    job: Job,
    stop: Option<Stop>,
}

impl Output {
    /// Prints to stdout.
    pub(crate) fn stdout(args: OutputArgs) -> Result<Output> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let fd = stdout.as_fd().try_clone_to_owned().map_err(stdout_failed)?;
        Ok(Output::new(fd, args, terminal))
    }

    pub(super) fn new(fd: OwnedFd, args: OutputArgs, terminal: bool) -> Output {
        Output { fd, style: args.style(), terminal, buffer: Vec::new(), pipe_widened: false, interrupt: None, broken_off: false }
    }

    /// From now on a write that has to wait for its reader ends when `job` does.
    pub(crate) fn interrupt_with(&mut self, job: &Job, stop: Option<&Stop>) {
        let is_limited = job.at_most(Duration::MAX) != Duration::MAX;
        if stop.is_none() && !is_limited {
            return;
        }
        if let Some(fd) = never_waiting(&self.fd) {
            self.fd = fd;
            self.interrupt = Some(Interrupt { job: job.clone(), stop: stop.cloned() });
        }
    }

    /// For those who watch whether anybody still reads.
    pub(crate) fn watched(&self) -> Result<OwnedFd> {
        self.fd.try_clone().map_err(stdout_failed)
    }

    /// What is written to.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        anyhow::ensure!(!self.broken_off, "stdout was not written to the end");
        if bytes.len() >= DIRECT_BYTES_MIN {
            self.flush()?;
            self.widen_pipe();
            self.broken_off = true;
            write_all(&self.fd, bytes, self.interrupt.as_ref())?;
            self.broken_off = false;
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.widen_pipe();
            self.flush()?;
        }
        Ok(())
    }

    fn widen_pipe(&mut self) {
        if self.pipe_widened {
            return;
        }
        self.pipe_widened = true;
        // Not a pipe, or the user has too many large ones: slower, and no more than that.
        if rustix::pipe::fcntl_getpipe_size(&self.fd).is_ok_and(|bytes| bytes < PIPE_BYTES) {
            let _ = rustix::pipe::fcntl_setpipe_size(&self.fd, PIPE_BYTES);
        }
    }

    /// Takes a record that was delivered to a member of a group.
    pub(crate) fn take_delivered(&mut self, topic: &TopicName, record: &Record<'_>, delivered: Delivered<'_>) -> Result<()> {
        match &self.style {
            Style::Values(end) => {
                let end = *end;
                if let Some(receipt) = delivered.receipt {
                    self.buffer.extend_from_slice(receipt.as_bytes());
                    self.buffer.push(b'\t');
                }
                self.push_value(record, end)?;
            }
            Style::Json => {
                json::push_record(&mut self.buffer, topic.as_bytes(), record, self.terminal);
                if let Some(receipt) = delivered.receipt {
                    json::extend_with_receipt(&mut self.buffer, receipt, delivered.attempt.unwrap_or_default());
                }
            }
            Style::Format(format) => {
                format.push_record(&mut self.buffer, topic.as_bytes(), record, delivered, self.terminal);
            }
        }
        self.flush_if_full()
    }

    fn push_value(&mut self, record: &Record<'_>, end: u8) -> Result<()> {
        match record.value() {
            _ if record.null => {}
            Some(value) if self.terminal => escape::push(&mut self.buffer, value),
            Some(value) => self.write(value)?,
            None if record.fields().next().is_none() => {}
            None => {
                let from = self.buffer.len();
                json::push_pairs(&mut self.buffer, record.fields());
                if self.terminal {
                    escape::harden_json(&mut self.buffer, from);
                }
            }
        }
        self.buffer.push(end);
        Ok(())
    }
}

impl Sink for Output {
    fn take_all(&mut self, _topic: &TopicName, records: &Records<'_>) -> Result<bool> {
        match (&self.style, records.plain_values()) {
            (Style::Values(b'\n'), Some(values)) if !self.terminal => self.write(values).map(|()| true),
            _ => Ok(false),
        }
    }

    fn take(&mut self, topic: &TopicName, record: &Record<'_>) -> Result<()> {
        self.take_delivered(topic, record, Delivered::default())
    }

    fn flush(&mut self) -> Result<()> {
        anyhow::ensure!(!self.broken_off, "stdout was not written to the end");
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.broken_off = true;
        write_all(&self.fd, &self.buffer, self.interrupt.as_ref())?;
        self.broken_off = false;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }
}

/// The same pipe or terminal, opened anew: O_NONBLOCK on the descriptor that was handed to us would
/// hold for all processes that share it. What cannot be opened so goes on blocking.
pub(super) fn never_waiting(fd: &OwnedFd) -> Option<OwnedFd> {
    if rustix::pipe::fcntl_getpipe_size(fd).is_err() && !rustix::termios::isatty(fd) {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8], interrupt: Option<&Interrupt>) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Also when whoever gave us stdout had made it so.
            Err(Errno::AGAIN) => wait_for_room(fd, interrupt)?,
            Err(errno) => return Err(stdout_failed(errno.into())),
        }
    }
    Ok(())
}

fn wait_for_room(fd: &OwnedFd, interrupt: Option<&Interrupt>) -> Result<()> {
    let mut polled = vec![PollFd::new(fd, PollFlags::OUT)];
    let mut timeout = None;
    if let Some(Interrupt { job, stop }) = interrupt {
        job.check()?;
        timeout = Timespec::try_from(job.at_most(Duration::from_secs(60))).ok();
        if let Some(stop) = stop {
            polled.push(PollFd::new(stop, PollFlags::IN));
        }
    }
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(stdout_failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use super::*;
    use crate::cli::exit::{Exit, code_of};
    use crate::cli::testing::{FIRST_ID, body, with_record};
    use drave::codec::FieldRef;
    use drave::ids::Offset;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn pipe() -> (File, OwnedFd) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        (File::from(reader), writer)
    }

    fn topic() -> TopicName {
        TopicName::new(b"t").expect("legal")
    }

    fn printed(args: OutputArgs, terminal: bool, fields: &[FieldRef<'_>], null: bool) -> Vec<u8> {
        let (mut reader, writer) = pipe();
        let mut output = Output::new(writer, args, terminal);
        with_record(fields, null, |record| {
            output.take(&topic(), record).expect("room");
            output.flush().expect("room");
        });
        drop(output);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("readable");
        all
    }

    #[test]
    fn the_default_is_the_value_and_a_newline() {
        let plain = |fields: &[FieldRef<'_>], null| printed(OutputArgs::default(), false, fields, null);
        assert_eq!(plain(&[(b"key", b"k"), (b"value", b"a\xff\0\x1b")], false), b"a\xff\0\x1b\n");
        assert_eq!(plain(&[(b"value", b"")], false), b"\n");
        assert_eq!(plain(&[(b"key", b"k")], true), b"\n");
        assert_eq!(plain(&[(b"user", b"7")], false), b"[[\"user\",\"7\"]]\n");
        assert_eq!(plain(&[], false), b"\n");
        let nul = OutputArgs { nul: true, ..OutputArgs::default() };
        assert_eq!(printed(nul, false, &[(b"value", b"a\nb")], false), b"a\nb\0");
    }

    #[test]
    fn a_terminal_is_not_driven_by_records() {
        let shown = printed(OutputArgs::default(), true, &[(b"value", b"a\x1b[2J\n\xff")], false);
        assert_eq!(shown, b"a\\u{1b}[2J\\n\\xff\n");
        let shown = printed(OutputArgs::default(), true, &[("\u{9b}".as_bytes(), b"\x7f")], false);
        assert_eq!(shown, b"[[\"\\u009b\",\"\\u007f\"]]\n");
    }

    #[test]
    fn large_slices_and_small_ones_keep_their_order() {
        let (mut reader, writer) = pipe();
        let large = vec![b'x'; 3 << 20];
        let expected = [b"first\n".as_slice(), &large, b"\nlast\n"].concat();
        let drain = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let mut output = Output::new(writer, OutputArgs::default(), false);
        for values in [vec![b"first".as_slice()], vec![&large], vec![b"last"]] {
            let fields: Vec<[FieldRef<'_>; 1]> = values.iter().map(|value| [(b"value".as_slice(), *value)]).collect();
            let records: Vec<(&[FieldRef<'_>], bool)> = fields.iter().map(|fields| (fields.as_slice(), false)).collect();
            let (bytes, count, plain) = body(&records);
            let records = Records::new(&bytes, Offset(0), count, count, FIRST_ID, plain).expect("a body");
            assert!(output.take_all(&topic(), &records).expect("room"));
        }
        output.flush().expect("room");
        drop(output);
        assert_eq!(drain.join().expect("no panic").expect("readable"), expected);
    }

    #[test]
    fn a_full_pipe_holds_nobody_beyond_the_time_limit() {
        let (reader, writer) = pipe();
        let mut output = Output::new(writer, OutputArgs::default(), false);
        output.interrupt_with(&Job::with_limit(Some(Duration::from_millis(20))), None);
        let error = output.write(&vec![0; 8 << 20]).expect_err("nobody reads");
        assert_eq!(code_of(&error, None), Exit::TimedOut);
        assert!(output.flush().is_err(), "what was cut off is not followed by anything");
        drop(reader);
    }

    #[test]
    fn a_closed_pipe_is_told_as_such() {
        let (reader, writer) = pipe();
        drop(reader);
        let mut output = Output::new(writer, OutputArgs::default(), false);
        let error = output.write(&[0; 100]).and_then(|()| output.flush()).expect_err("nobody can read");
        assert_eq!(code_of(&error, None), Exit::OutputClosed);
    }
}
