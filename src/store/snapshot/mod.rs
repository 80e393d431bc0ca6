//! Snapshots: consistent copies of a store, made while it is in use.
//!
//! A snapshot is a directory, or a tar of one, that looks like a store but for its manifest
//! (`codec/manifest.rs`): it has no shared pages, no indexes, and each log ends where it did at one
//! moment. Topics are taken one after another, each group before its topic, and a topic before the one of
//! its dead letters: so no group is ahead of its topic, and no letter is lost.
//!
//! Sealed segments get a second name where that is possible, which costs nothing; what could still
//! grow is copied. A directory of snapshots is a shelf: [`shelf`] tells whole ones from what was cut short.
//!
//! | file | job |
//! |---|---|
//! | `collect` | which logs and files, in which order; what was renamed or deleted meanwhile |
//! | `place` | into a directory: links, copies |
//! | `stream` | into a tar |
//! | `shelf` | a directory of snapshots: names, one writer, leftovers, which are kept |

mod collect;
mod place;
pub(super) mod shelf;
mod stream;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use crate::codec::manifest::MANIFEST;
use crate::codec::{LogFacts, Manifest, SegmentFacts, name};
use crate::disk::{Dir, random_name};
use crate::error::Result;
use crate::ids::{TimestampMs, TopicName};
use crate::job::Job;
use crate::log::Copied;

pub use shelf::{FoundSnapshots, Keep, look_at_snapshots};

use collect::Collector;
use place::Placer;
use shelf::{Selection, Shelf};
use stream::Streamer;

/// How to make a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// These topics; none = all.
    pub topics: Vec<TopicName>,
    /// Those of these, too, that are there: the topics of their dead letters.
    pub letters: Vec<TopicName>,
    /// Which older ones stay.
    pub keep: Keep,
    /// Read all of it back before it counts.
    pub verify: bool,
}

impl SnapshotOptions {
    /// The topics, as a manifest names them.
    fn selection(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.topics.iter().map(|topic| name::escape(topic.as_bytes())).collect();
        names.into_iter().collect()
    }
}

/// A snapshot that was made.
#[derive(Clone, Debug, Default)]
pub struct SnapshotMade {
    /// Where it is, if it was not streamed.
    pub path: Option<PathBuf>,
    /// Topics in it.
    pub topics: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of these were copied; the others are shared with the store, or with the snapshot before.
    pub bytes_copied: u64,
    /// Older snapshots that were removed.
    pub removed: Vec<PathBuf>,
    /// What snapshots that were cut short had left, and is removed now.
    pub leftovers: u64,
    /// What was to be removed, and why it could not be. The snapshot is none the worse for it.
    pub kept_back: Vec<(PathBuf, String)>,
}

/// Takes in what a snapshot consists of.
trait Sink {
    /// A whole file.
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()>;

    /// A segment from the directory `from`; `false` when it is not there any more.
    fn segment(&mut self, from: &Dir, log: &LogFacts, segment: &SegmentFacts, copied: &Copied) -> Result<bool>;

    /// Takes back a file, or a directory with all that is in it; `false` when that cannot be done, and
    /// the manifest has to say so.
    fn discard(&mut self, path: &str) -> Result<bool>;

    /// Bytes that were copied.
    fn bytes_copied(&self) -> u64;
}

impl Store {
    /// Makes a snapshot in the directory `dest`, beside others that are there. All of it is durable when
    /// this returns; after an error, or a crash, there is none.
    ///
    /// # Errors
    /// [`crate::Error::Busy`] when another process makes one there; [`crate::Error::TopicMissing`];
    /// [`crate::Error::Damaged`] when the store has lost what a restore would need, or, with
    /// [`SnapshotOptions::verify`], anything.
    pub fn snapshot(&self, dest: &Path, options: &SnapshotOptions, job: &Job) -> Result<SnapshotMade> {
        let shelf = Shelf::open(dest, self.root().disk())?;
        let mut kept_back = Vec::new();
        let leftovers = shelf.clear(&mut kept_back)?;
        let of = Selection { store: self.id(), topics: &options.selection() };
        let previous = shelf::newest(shelf.dir(), |manifest| manifest.store == of.store, |_, _| {})?;
        let temporary = format!("{}{}", shelf::NEW, random_name());
        shelf.dir().make_dir(temporary.as_bytes())?;
        let made = self.fill_snapshot(&shelf, &temporary, previous, options, job);
        let (name, mut made) = match made {
            Ok(made) => made,
            Err(error) => {
                // What cannot be removed now goes with the next one.
                let _ = shelf.dir().remove_dir_all(temporary.as_bytes());
                return Err(error);
            }
        };
        made.path = Some(shelf.dir().path().join(&name));
        made.leftovers = leftovers;
        made.removed = shelf.prune(&options.keep, &of, &mut kept_back);
        made.kept_back = kept_back;
        Ok(made)
    }

    fn fill_snapshot(
        &self,
        shelf: &Shelf,
        temporary: &str,
        previous: Option<(String, Manifest)>,
        options: &SnapshotOptions,
        job: &Job,
    ) -> Result<(String, SnapshotMade)> {
        let root = shelf.dir().dir(temporary.as_bytes())?;
        let previous =
            previous.map(|(name, manifest)| shelf.dir().dir(name.as_bytes()).map(|dir| (dir, manifest))).transpose()?;
        let mut placer = Placer::new(root.dir(b".")?, previous, options.verify, job);
        let manifest = Collector::new(self, &mut placer, options, job).collect()?;
        let made = SnapshotMade { bytes_copied: placer.bytes_copied(), ..facts(&manifest) };
        root.sync_tree()?;
        let file = root.create_file(MANIFEST.as_bytes())?;
        file.write_all_at(&[&manifest.encode()], 0)?;
        file.sync()?;
        root.sync()?;
        let name = shelf.accept(temporary, manifest.made)?;
        Ok((name, made))
    }

    /// When the newest whole snapshot that was made of this store, and of the same topics, in the directory
    /// `dest` was made.
    pub fn newest_snapshot(&self, dest: &Path, options: &SnapshotOptions) -> Result<Option<TimestampMs>> {
        let dir = match Dir::open(dest, Arc::clone(self.root().disk())) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let of = Selection { store: self.id(), topics: &options.selection() };
        Ok(shelf::newest(&dir, |manifest| of.is_of(manifest), |_, _| {})?.map(|(_, manifest)| manifest.made))
    }

    /// Writes a snapshot to `out`, as a tar; of the options, which topics.
    ///
    /// # Errors
    /// As of [`Store::snapshot`]; [`crate::Error::Overtaken`] when a topic's files were replaced before they
    /// were written, since nothing can be taken back. What was written then is no snapshot: the manifest, which comes last, is
    /// missing.
    pub fn snapshot_to(&self, out: &mut dyn Write, options: &SnapshotOptions, job: &Job) -> Result<SnapshotMade> {
        let mut streamer = Streamer::new(out, self.clock().now(), job);
        let manifest = Collector::new(self, &mut streamer, options, job).collect()?;
        let bytes_copied = streamer.bytes_copied();
        streamer.finish(&manifest)?;
        Ok(SnapshotMade { bytes_copied, ..facts(&manifest) })
    }
}

fn facts(manifest: &Manifest) -> SnapshotMade {
    let is_topic = |log: &&LogFacts| log.path.bytes().filter(|byte| *byte == b'/').count() == 1;
    let segments: usize = manifest.logs.iter().map(|log| log.segments.len()).sum();
    SnapshotMade {
        topics: manifest.logs.iter().filter(is_topic).count() as u64,
        files: (manifest.files.len() + segments) as u64,
        bytes: manifest.bytes(),
        ..SnapshotMade::default()
    }
}
