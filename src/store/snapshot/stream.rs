//! A snapshot as a tar: the same names, the manifest last.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use super::Sink;
use crate::codec::manifest::MANIFEST;
use crate::codec::{LogFacts, Manifest, SegmentFacts};
use crate::disk::{Dir, File};
use crate::error::{Error, Result};
use crate::ids::TimestampMs;
use crate::job::Job;
use crate::log::Copied;

/// Writes a snapshot as a tar.
pub(super) struct Streamer<'a> {
    tar: Builder<&'a mut dyn Write>,
    now: TimestampMs,
    job: &'a Job,
    bytes: u64,
}

impl<'a> Streamer<'a> {
    pub(super) fn new(out: &'a mut dyn Write, now: TimestampMs, job: &'a Job) -> Streamer<'a> {
        Streamer { tar: Builder::new(out), now, job, bytes: 0 }
    }

    fn put(&mut self, path: &str, length: u64, contents: impl Read) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.now.0 / 1000);
        header.set_size(length);
        self.bytes += length;
        self.tar.append_data(&mut header, path, contents).map_err(failed)
    }

    /// Ends it with the manifest.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<()> {
        let bytes = manifest.encode();
        self.put(MANIFEST, bytes.len() as u64, &bytes[..])?;
        self.tar.into_inner().and_then(|out| out.flush()).map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    match source.downcast::<Carried>() {
        Ok(Carried(error)) => error,
        Err(source) => Error::io("write", "the snapshot", source),
    }
}

/// An error of ours on its way through a reader.
#[derive(Debug)]
struct Carried(Error);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Carried {}

/// The first bytes of a file.
struct Prefix<'a> {
    file: &'a File,
    position: u64,
    length: u64,
    job: &'a Job,
}

impl Read for Prefix<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.length - self.position).unwrap_or(usize::MAX));
        let read = self.job.check().and_then(|()| self.file.read_at(&mut buffer[..wanted], self.position));
        let n = read.map_err(|error| io::Error::other(Carried(error)))?;
        if n < wanted {
            let what = format!("it has {} bytes, and {} were in it", self.position + n as u64, self.length);
            let (path, position) = (self.file.path().to_owned(), self.position);
            return Err(io::Error::other(Carried(Error::Damaged { path, position, what })));
        }
        self.position += n as u64;
        self.job.advance(n as u64);
        Ok(n)
    }
}

impl Sink for Streamer<'_> {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put(path, bytes.len() as u64, bytes)
    }

    fn segment(&mut self, _from: &Dir, log: &LogFacts, segment: &SegmentFacts, copied: &Copied) -> Result<bool> {
        let path = format!("{}/{}", log.path, segment.file_name());
        let contents = Prefix { file: &copied.file, position: 0, length: segment.bytes, job: self.job };
        self.put(&path, segment.bytes, contents)?;
        Ok(true)
    }

    fn discard(&mut self, _path: &str) -> Result<bool> {
        Ok(false)
    }

    fn bytes_copied(&self) -> u64 {
        self.bytes
    }
}
