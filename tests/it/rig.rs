//! What the tests of faults share: waiting without sleeping blindly, runs that may not hang, seeds,
//! reading a topic back with offsets, and strace to stop a process between two system calls.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drave::clock::Clock;
use drave::ids::{RecordId, TopicName};
use drave::job::Job;
use drave::log::Verified;
use drave::store::{Store as Library, StoreOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ran, Store, run};

/// Nothing that is tested here takes longer, on a machine that is busy with other things too.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Looks again and again until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < HANGS_AFTER, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs to the end; one that hangs is killed, and so dies of a signal, which no test takes for good.
pub(crate) fn run_bounded(command: Command, input: &[u8]) -> Ran {
    let mut bounded = Command::new("timeout");
    bounded.args(["--signal=KILL", &HANGS_AFTER.as_secs().to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    run(bounded, input)
}

/// Numbers that are the same again with the same `DRAVE_SEED`.
pub(crate) struct Seed(u64);

impl Seed {
    /// The seed of this run. It is printed, which a failing test shows.
    #[expect(clippy::print_stderr, reason = "a failing test shows it")]
    pub(crate) fn new() -> Seed {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let given = std::env::var("DRAVE_SEED").ok().map(|text| text.parse().expect("DRAVE_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let now = Instant::now();
            let address = std::ptr::from_ref(&now) as u64;
            u64::from(std::process::id()) << 20 ^ address ^ COUNT.fetch_add(1, Ordering::Relaxed)
        });
        eprintln!("DRAVE_SEED={seed}");
        Seed(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

/// What `replay` made of a topic.
#[derive(Debug)]
pub(crate) struct Read {
    /// ID and value by offset, as far as printed.
    pub(crate) records: BTreeMap<u64, (RecordId, Vec<u8>)>,
    pub(crate) code: i32,
    pub(crate) said: String,
}

/// Reads a topic whose values have no newlines. What holds of every read is checked here: no signal,
/// no panic, no hang, offsets that rise, IDs that rise with them.
#[track_caller]
pub(crate) fn read(store: &Store, topic: &str) -> Read {
    read_with(store, &["replay", topic])
}

/// The same with other words before the format.
#[track_caller]
pub(crate) fn read_with(store: &Store, words: &[&str]) -> Read {
    let mut words = words.to_vec();
    words.extend(["-o", r"%o\t%i\t%v\n"]);
    let ran = run_bounded(store.command(&words), b"");
    sane(&ran);
    let mut records = BTreeMap::new();
    for line in ran.0.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let mut part = || std::str::from_utf8(parts.next().expect("three parts")).expect("a number");
        let (offset, id): (u64, RecordId) = (part().parse().expect("an offset"), part().parse().expect("an ID"));
        let value = parts.next().expect("three parts").to_vec();
        if let Some((last, (last_id, _))) = records.last_key_value() {
            assert!(*last < offset && *last_id < id, "{offset} {id} comes after {last} {last_id}");
        }
        records.insert(offset, (id, value));
    }
    Read { records, code: ran.code(), said: ran.stderr().to_owned() }
}

/// Whatever happened to its files, a run ends by itself, with words for it.
#[track_caller]
pub(crate) fn sane(ran: &Ran) {
    assert!(ran.code() < 128, "died with {}: {}", ran.code(), ran.stderr());
    assert!(!ran.stderr().contains("panicked"), "{}", ran.stderr());
}

impl Read {
    /// Nothing was wrong.
    #[track_caller]
    pub(crate) fn whole(self) -> Read {
        assert_eq!((self.code, self.said.as_str()), (0, ""));
        let dense = self.records.keys().copied().eq(0..self.records.len() as u64);
        assert!(dense, "offsets have holes: {:?}", self.records.keys());
        self
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.records.values().map(|(_, value)| value.as_slice())
    }
}

/// A line that `publish --receipts` printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) offset: u64,
    pub(crate) id: RecordId,
    pub(crate) level: String,
}

impl Receipt {
    #[track_caller]
    pub(crate) fn parse(line: &str) -> Receipt {
        let parts: Vec<&str> = line.trim_end().split('\t').collect();
        let [offset, id, level] = parts[..] else { panic!("not a receipt: {line:?}") };
        Receipt { offset: offset.parse().expect("an offset"), id: id.parse().expect("an ID"), level: level.to_owned() }
    }
}

/// The library's view of the store.
pub(crate) fn library(store: &Store) -> Library {
    let options = StoreOptions { create: false, unsafe_fs: false, clock: Clock::system() };
    Library::open_to_look(&store.path(), &options).expect("it can be looked at")
}

/// Checks every byte of a topic.
pub(crate) fn verify(store: &Store, topic: &str) -> drave::Result<Verified> {
    let (verified, ended) = library(store).verify_topic(&name(topic), &Job::new());
    ended.map(|()| verified)
}

/// Everything checks out.
#[track_caller]
pub(crate) fn verify_clean(store: &Store, topic: &str) {
    let verified = verify(store, topic).expect("it can be verified");
    assert!(!verified.is_damaged(), "{:#?}", verified.findings);
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::new(topic.as_bytes()).expect("a legal name")
}

/// A file of a topic whose name needs no escaping.
pub(crate) fn file(store: &Store, topic: &str, file: &str) -> PathBuf {
    store.path().join("topics").join(topic).join(file)
}

/// The segment that begins at `base`.
pub(crate) fn segment(store: &Store, topic: &str, base: u64) -> PathBuf {
    file(store, topic, &format!("{base:020}.log"))
}

/// Base offsets of a topic's segments, rising.
pub(crate) fn bases(store: &Store, topic: &str) -> Vec<u64> {
    let names = std::fs::read_dir(file(store, topic, "")).expect("the topic's directory");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut bases: Vec<u64> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

pub(crate) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// `drave` under strace, which tampers with system calls on one file as `inject` says. The child is
/// drave itself, so that a kill hits it and not the tracer.
pub(crate) fn traced(store: &Store, words: &[&str], path: &Path, inject: &str) -> Traced {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let log = store.beside().join(format!("strace-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-q", "-o"]).arg(&log).arg("-P").arg(path);
    command.args(["-e", "trace=pwritev2,fdatasync,fsync,renameat2,renameat"]).args(["-e", &format!("inject={inject}")]);
    let plain = store.command(words);
    command.arg(plain.get_program()).args(words).env("DRAVE_STORE", store.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Away from a terminal's signals, and killed as a group if the test dies.
    command.process_group(0);
    Traced { child: command.spawn().expect("strace is installed"), log }
}

/// A traced process.
pub(crate) struct Traced {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Traced {
    /// What strace has noted so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once, wherever it is.
    pub(crate) fn kill(mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok());
        self.child.kill().expect("it can be killed");
        // The tracer sits out its delay before it looks at who has died; without it they go at once.
        let tracer = tracer.and_then(Pid::from_raw).expect("it is traced");
        kill_process(tracer, Signal::KILL).expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn end(self) -> Ran {
        Ran(self.child.wait_with_output().expect("it ends"))
    }
}
