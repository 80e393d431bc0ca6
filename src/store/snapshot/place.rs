//! A snapshot in a directory. A sealed segment gets a second name, from the store if it lies on the same
//! file system, else from the snapshot before if that has it; anything else is copied.

use std::collections::HashMap;
use std::io::ErrorKind;

use super::Sink;
use crate::codec::{LogFacts, Manifest, SegmentFacts};
use crate::disk::{Access, Dir, EntryKind};
use crate::error::{Error, Result};
use crate::ids::Incarnation;
use crate::job::Job;
use crate::log::{Copied, check_segment};

/// Puts files into the directory of a snapshot that is being made.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    root: Dir,
    /// The directory that was used last.
    open: Option<(String, Dir)>,
    previous: Option<Previous>,
    /// Whether the store's files can have names here.
    links: bool,
    verify: bool,
    job: &'a Job,
    bytes_copied: u64,
}

/// The snapshot before.
#[derive(Debug)]
struct Previous {
    root: Dir,
    /// Its segments, by the directory of their log.
    logs: HashMap<String, (Incarnation, Vec<SegmentFacts>)>,
}

/// How a segment came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    Linked,
    Shared,
    Copied,
    /// It is not there any more.
    Not,
}

impl<'a> Placer<'a> {
    pub(super) fn new(root: Dir, previous: Option<(Dir, Manifest)>, verify: bool, job: &'a Job) -> Placer<'a> {
        let previous = previous.map(|(root, manifest)| Previous {
            root,
            logs: manifest.logs.into_iter().map(|log| (log.path, (log.incarnation, log.segments))).collect(),
        });
        Placer { root, open: None, previous, links: true, verify, job, bytes_copied: 0 }
    }

    /// The directory at `path`, made if it is missing.
    fn dir(&mut self, path: &str) -> Result<&Dir> {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let mut dir = self.root.dir(b".")?;
            for part in path.split('/').filter(|part| !part.is_empty()) {
                dir.make_dir(part.as_bytes()).or_else(crate::store::exists_already)?;
                dir = dir.dir(part.as_bytes())?;
            }
            self.open = Some((path.to_owned(), dir));
        }
        Ok(&self.open.as_ref().expect("set above").1)
    }

    fn place(&mut self, from: &Dir, log: &LogFacts, segment: &SegmentFacts, copied: &Copied) -> Result<Placed> {
        self.dir(&log.path)?;
        if copied.is_sealed
            && self.links
            && let Some(placed) = self.link(from, segment, copied)?
        {
            return Ok(placed);
        }
        if self.share(log, segment)? { Ok(Placed::Shared) } else { self.copy(segment, copied) }
    }

    fn here(&self) -> &Dir {
        &self.open.as_ref().expect("opened for the segment").1
    }

    /// `None` = between these places there are no links.
    fn link(&mut self, from: &Dir, segment: &SegmentFacts, copied: &Copied) -> Result<Option<Placed>> {
        let name = segment.file_name();
        let here = self.here();
        match from.link(name.as_bytes(), here, name.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(Some(Placed::Not)),
            Err(error) => {
                let kind = error.io_kind();
                self.links &= kind != Some(ErrorKind::CrossesDevices);
                return if is_unlinkable(kind) { Ok(None) } else { Err(error) };
            }
        }
        // Whoever wrote it anew meanwhile gave the name to another file.
        if here.stat(name.as_bytes())?.is_none_or(|meta| meta.inode != copied.file.inode()) {
            here.unlink(name.as_bytes())?;
            return Ok(Some(Placed::Not));
        }
        copied.file.freeze()?;
        self.job.advance(segment.bytes);
        Ok(Some(Placed::Linked))
    }

    /// Whether the snapshot before has it, and lent it.
    fn share(&self, log: &LogFacts, segment: &SegmentFacts) -> Result<bool> {
        let Some(previous) = &self.previous else { return Ok(false) };
        let has = |(incarnation, segments): &(Incarnation, Vec<SegmentFacts>)| {
            *incarnation == log.incarnation && segments.contains(segment)
        };
        if !previous.logs.get(&log.path).is_some_and(has) {
            return Ok(false);
        }
        let mut dir = previous.root.dir(b".")?;
        for part in log.path.split('/') {
            dir = match dir.dir(part.as_bytes()) {
                Err(error) if error.is_not_found() => return Ok(false),
                other => other?,
            };
        }
        let name = segment.file_name();
        match dir.link(name.as_bytes(), self.here(), name.as_bytes()) {
            Ok(()) => {
                self.job.advance(segment.bytes);
                Ok(true)
            }
            Err(error) if error.is_not_found() || is_unlinkable(error.io_kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn copy(&mut self, segment: &SegmentFacts, copied: &Copied) -> Result<Placed> {
        let file = self.here().create_file(segment.file_name().as_bytes())?;
        let job = self.job;
        file.copy_from(&copied.file, segment.bytes, |bytes| {
            job.advance(bytes);
            job.check()
        })?;
        file.freeze()?;
        self.bytes_copied += segment.bytes;
        Ok(Placed::Copied)
    }

    fn check(&self, log: &LogFacts, segment: &SegmentFacts) -> Result<()> {
        let file = self.here().open_file(segment.file_name().as_bytes(), Access::Read)?;
        check_segment(&file, log, segment)
    }
}

fn is_unlinkable(kind: Option<ErrorKind>) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(kind, Some(CrossesDevices | PermissionDenied | TooManyLinks | Unsupported))
}

impl Sink for Placer<'_> {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let file = self.dir(dir)?.create_file(name.as_bytes())?;
        file.write_all_at(&[bytes], 0)?;
        file.freeze()?;
        self.bytes_copied += bytes.len() as u64;
        Ok(())
    }

    fn segment(&mut self, from: &Dir, log: &LogFacts, segment: &SegmentFacts, copied: &Copied) -> Result<bool> {
        let placed = self.place(from, log, segment, copied)?;
        if placed == Placed::Not {
            return Ok(false);
        }
        if self.verify {
            match self.check(log, segment) {
                // The snapshot before has rotted; the store need not have.
                Err(Error::Damaged { .. }) if placed == Placed::Shared => {
                    self.here().unlink(segment.file_name().as_bytes())?;
                    self.copy(segment, copied)?;
                    self.check(log, segment)?;
                }
                other => other?,
            }
        }
        Ok(true)
    }

    fn discard(&mut self, path: &str) -> Result<bool> {
        self.open = None;
        let mut above = vec![self.root.dir(b".")?];
        let mut names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        for name in &names[..names.len() - 1] {
            match above[above.len() - 1].dir(name) {
                // None of it was placed.
                Err(error) if error.is_not_found() => break,
                dir => above.push(dir?),
            }
        }
        names.truncate(above.len());
        // And what was made only for it.
        for (at, (dir, name)) in above.iter().zip(names).enumerate().rev() {
            match dir.stat(name)?.map(|meta| meta.kind) {
                None => {}
                Some(EntryKind::Dir) => dir.remove_dir_all(name)?,
                Some(_) => dir.unlink(name)?,
            }
            if at == 0 || !dir.list()?.is_empty() {
                break;
            }
        }
        Ok(true)
    }

    fn bytes_copied(&self) -> u64 {
        self.bytes_copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::sim::scratch;

    #[test]
    fn what_is_discarded_leaves_no_empty_directory_and_makes_none() {
        let (place, job) = (scratch(), Job::new());
        let root = Dir::open(place.path(), Disk::open().expect("opens")).expect("opens");
        let mut placer = Placer::new(root, None, false, &job);
        let listed = |path: &str| std::fs::read_dir(place.path().join(path)).expect("listed").count();
        placer.file("topics/q/topic.toml", b"").expect("placed");
        placer.file("topics/q/groups/g/topic.toml", b"").expect("placed");
        placer.discard("topics/q/groups/g").expect("removed");
        placer.discard("topics/q/groups/h").expect("is not there");
        placer.discard("topics/z/groups/g").expect("is not there");
        assert_eq!((listed("topics"), listed("topics/q")), (1, 1), "only what stays");
        placer.file("topics/q/groups/g/topic.toml", b"").expect("placed anew");
        placer.discard("topics/q/topic.toml").expect("removed");
        assert_eq!(listed("topics/q/groups/g"), 1);
        placer.discard("topics/q").expect("removed");
        assert_eq!(listed(""), 0);
    }
}
