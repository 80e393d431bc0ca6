//! A store in a directory of its own, and the binary run on it.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A place for a store; there is none before something makes it.
pub(crate) struct Store {
    directory: TempDir,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store { directory: tempfile::tempdir().expect("a directory") }
    }

    /// Where the store is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Room beside the store.
    pub(crate) fn beside(&self) -> &Path {
        self.directory.path()
    }

    /// `drave`, with nothing of the caller's environment that it understands.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = drave(words);
        command.env("DRAVE_STORE", self.path());
        command
    }

    /// Runs to the end with `input` on stdin.
    pub(crate) fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        run(self.command(words), input)
    }

    /// Runs to the end with nothing on stdin.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, b"")
    }

    /// Runs what must succeed, and returns its stdout.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> Vec<u8> {
        self.ok_with(words, b"")
    }

    /// Runs what must succeed with `input` on stdin, and returns its stdout.
    #[track_caller]
    pub(crate) fn ok_with(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let ran = self.run_with(words, input);
        assert_eq!(ran.code(), 0, "drave {words:?}: {}", ran.stderr());
        ran.0.stdout
    }

    /// Runs a line of shell in which `drave` is the binary and works on this store.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(self.beside()).env("DRAVE_STORE", self.path());
        let binary = Path::new(env!("CARGO_BIN_EXE_drave")).parent().expect("a directory").to_owned();
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", binary.display()));
        run(command, b"")
    }

    /// Starts it with pipes on all three.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        piped(&mut self.command(words)).spawn().expect("the binary starts")
    }
}

/// `drave` without a store.
pub(crate) fn drave(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drave"));
    command.args(words).env_remove("DRAVE_STORE").env_remove("NO_COLOR").env_remove("XDG_DATA_HOME");
    command
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// Runs to the end with `input` on stdin.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Ran {
    let mut child = piped(&mut command).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It need not read all of it.
            let _ = stdin.write_all(input);
        });
        Ran(child.wait_with_output().expect("it ends"))
    })
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    /// The exit status as a shell tells it: 128 + n for death of signal n.
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| 128 + self.0.status.signal().expect("a signal"))
    }

    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.0.stdout).expect("UTF-8")
    }

    pub(crate) fn stderr(&self) -> &str {
        std::str::from_utf8(&self.0.stderr).expect("UTF-8")
    }
}
