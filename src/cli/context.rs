//! What a command runs in: resolved once from what was typed and from the environment.

use std::cell::OnceCell;
use std::env;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use clap::ColorChoice;
use drave::clock::Clock;
use drave::engine::{Embedded, Engine, OpenOptions};
use drave::job::Job;
use drave::store::{Store, StoreOptions};
use tracing_subscriber::filter::LevelFilter;

use super::exit::{Exit, Failure};
use super::signals::Stop;
use super::{Global, Result};

/// What a command runs in.
pub(crate) struct Context {
    /// The time limit of `--timeout`, and what SIGINT and SIGTERM stop. Hand clones of it down.
    pub(crate) job: Job,
    /// `--quiet`: no words but errors.
    pub(crate) quiet: bool,
    /// How many `-v`.
    pub(crate) verbose: u8,
    color: ColorChoice,
    store: Option<OsString>,
    unsafe_fs: bool,
    stop: OnceCell<Stop>,
}

impl Context {
    pub(super) fn new(global: &Global) -> Context {
        Context {
            job: Job::with_limit(global.timeout),
            quiet: global.quiet,
            verbose: global.verbose,
            color: global.color,
            store: global.store.clone(),
            unsafe_fs: global.unsafe_fs,
            stop: OnceCell::new(),
        }
    }

    /// Opens the store. `create` makes it if its directory is absent or empty.
    pub(crate) fn open(&self, create: bool) -> Result<Box<dyn Engine>> {
        let options = OpenOptions { create, unsafe_fs: self.unsafe_fs, clock: Clock::system() };
        Ok(Box::new(Embedded::open(&self.store_path()?, &options)?))
    }

    /// Opens the store for looking at it, also if `store.toml` is damaged.
    pub(crate) fn open_to_look(&self) -> Result<Store> {
        let options = StoreOptions { create: false, unsafe_fs: self.unsafe_fs, clock: Clock::system() };
        Ok(Store::open_to_look(&self.store_path()?, &options)?)
    }

    /// Opens the store for copying it.
    pub(crate) fn open_store(&self) -> Result<Store> {
        let options = StoreOptions { create: false, unsafe_fs: self.unsafe_fs, clock: Clock::system() };
        Ok(Store::open(&self.store_path()?, &options)?)
    }

    /// Whether to use file systems that are not known to be safe.
    pub(crate) fn unsafe_fs(&self) -> bool {
        self.unsafe_fs
    }

    /// Opens the store for serving it, making it if its directory is absent or empty.
    pub(crate) fn open_to_serve(&self) -> Result<Store> {
        let options = StoreOptions { create: true, unsafe_fs: self.unsafe_fs, clock: Clock::system() };
        Ok(Store::open(&self.store_path()?, &options)?)
    }

    /// Says so if `store.toml` is damaged.
    pub(crate) fn warn_of_file(&self, store: &Store) {
        if let Err(error) = store.check_file() {
            self.say(&format!("{error}; what is shown of settings may be wrong"));
        }
    }

    /// The directory of the store; refused when `--store` names an engine that is not a directory.
    pub(crate) fn store_path(&self) -> Result<PathBuf> {
        self.named_store()?.map_or_else(default_store, Ok)
    }

    /// The same, if somebody has named one.
    pub(crate) fn named_store(&self) -> Result<Option<PathBuf>> {
        self.store.clone().or_else(|| non_empty("DRAVE_STORE")).map(parse_place).transpose()
    }

    /// Handles SIGINT and SIGTERM from now on: they stop [`Context::job`]. For commands that read
    /// stdin or wait; all others end at once, as the system does it.
    pub(crate) fn handle_signals(&self) -> Result<&Stop> {
        if let Some(stop) = self.stop.get() {
            return Ok(stop);
        }
        let stop = Stop::install(&self.job)?;
        Ok(self.stop.get_or_init(|| stop))
    }

    /// The signal that stopped the work.
    pub(super) fn signal(&self) -> Option<i32> {
        self.stop.get().and_then(Stop::signal)
    }

    /// Whether to colour what goes to stderr.
    #[expect(dead_code, reason = "nothing is coloured yet")]
    pub(crate) fn colors(&self) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => non_empty("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
        }
    }

    /// Says a sentence on stderr, unless `--quiet`. Nothing in it can drive a terminal.
    pub(crate) fn say(&self, sentence: &str) {
        if !self.quiet {
            super::exit::say(sentence);
        }
    }

    /// What the library has to say goes to stderr: a recovery that found something amiss, a sync that
    /// failed in the background; with `-vv` all of it.
    pub(super) fn start_log(&self) -> Result<()> {
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
        let started = match self.verbose {
            _ if self.quiet => return Ok(()),
            0 | 1 => log.with_max_level(LevelFilter::WARN).without_time().with_target(false).with_level(false).try_init(),
            _ => log.with_max_level(LevelFilter::DEBUG).try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("cannot start the debug log: {error}"))
    }
}

fn non_empty(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn default_store() -> Result<PathBuf> {
    // A relative XDG_DATA_HOME is to be ignored, says the XDG base directory specification.
    let data = non_empty("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| non_empty("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match data {
        Some(data) => Ok(data.join("drave")),
        None => Err(Failure::new(Exit::Usage, "where is the store? HOME is not set; give --store or DRAVE_STORE").into()),
    }
}

/// A path, `file:///path`, or the URL of something that this drave does not speak to.
pub(super) fn parse_place(place: OsString) -> Result<PathBuf> {
    let usage = |sentence: &str| Err(Failure::new(Exit::Usage, sentence).into());
    if place.is_empty() {
        return usage("--store is empty; give a directory");
    }
    let Some((scheme, rest)) = split_scheme(place.as_bytes()) else { return Ok(PathBuf::from(place)) };
    // Told before anything else, and never repeated: a password in a command line or an
    // environment is there for every process to see.
    if has_password(&scheme, rest) {
        return usage("a password in the store's address is refused, other users could see it; set DRAVE_PASSWORD");
    }
    match scheme.as_str() {
        "file" => match rest.strip_prefix(b"localhost").unwrap_or(rest) {
            path @ [b'/', ..] => match percent_decode(path) {
                Some(path) => Ok(PathBuf::from(OsString::from_vec(path))),
                None => usage("the store's file:// address has a '%' that no two hexadecimal digits follow"),
            },
            _ => usage("the store's address must be file:///path, with three slashes"),
        },
        "unix" | "redis" | "rediss" | "nats" => {
            let sentence = format!("this drave cannot reach a store at {scheme}:// yet; give a directory");
            Err(Failure::new(Exit::Unsupported, sentence).into())
        }
        _ => usage(&format!("'{scheme}://' is no address of a store; give a directory or file:///path")),
    }
}

/// `scheme://rest`, the scheme in lower case.
fn split_scheme(place: &[u8]) -> Option<(String, &[u8])> {
    let at = place.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = (&place[..at], &place[at + 3..]);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(legal);
    is_scheme.then(|| (String::from_utf8_lossy(scheme).to_ascii_lowercase(), rest))
}

/// Whether something secret stands before the host. NATS takes a token where others take a user.
fn has_password(scheme: &str, rest: &[u8]) -> bool {
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next().unwrap_or(rest);
    match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => scheme == "nats" || authority[..at].contains(&b':'),
        None => false,
    }
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::code_of;

    fn place(text: &str) -> Result<PathBuf, Exit> {
        parse_place(text.into()).map_err(|error| code_of(&error, None))
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        for path in ["/tmp/a", "logs", "./redis://x", "a:b", "/x@y:z"] {
            assert_eq!(place(path), Ok(path.into()));
        }
        assert_eq!(place("file:///tmp/a%20b"), Ok("/tmp/a b".into()));
        for bad in ["", "file://tmp/a", "file:///a%2", "ftp://host/a"] {
            assert_eq!(place(bad), Err(Exit::Usage), "{bad}");
        }
    }

    #[test]
    fn other_engines_are_refused_and_a_password_before_all() {
        for url in ["unix:///a.sock", "redis://host:1", "REDIS://host", "nats://host:4222", "redis://user@host"] {
            assert_eq!(place(url), Err(Exit::Unsupported), "{url}");
        }
        for url in ["redis://:geheim@host", "redis://u:geheim@host:1/0", "nats://geheim@host", "rediss://a:geheim@b@c"] {
            let error = parse_place(url.into()).expect_err("refused");
            assert_eq!(code_of(&error, None), Exit::Usage, "{url}");
            assert!(!format!("{error:#}").contains("geheim"));
        }
    }
}
