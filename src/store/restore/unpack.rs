//! From a tar. Nothing is written but plain files at places that a snapshot has, and what the manifest,
//! which comes last, does not name is refused.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::staging::{SMALL_BYTES_MAX, Staging};
use super::{RestoreOptions, Restored, Wanted};
use crate::codec::Manifest;
use crate::codec::manifest::{MANIFEST, Place};
use crate::disk::{Disk, EntryKind};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::store::snapshot::shelf::parse_manifest;

/// What a stream is called in messages.
const ORIGIN: &str = "the snapshot's tar";
const BUFFER_BYTES: usize = 256 << 10;
/// A million topics with three groups each.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// As [`super::restore`], from a tar.
///
/// # Errors
/// As of [`super::restore`]; [`Error::EntryRefused`] for what no snapshot has: links, devices, paths that
/// lead elsewhere.
pub fn restore_stream(tar: &mut dyn Read, into: &Path, options: &RestoreOptions, job: &Job) -> Result<Restored> {
    let mut staging = Staging::open(into, options, Disk::open()?)?;
    let done = unpack(tar, &mut staging, options, job).and_then(|manifest| staging.finish(&manifest, Path::new(ORIGIN), job));
    if done.is_err() {
        staging.abandon();
    }
    done
}

fn unpack(tar: &mut dyn Read, staging: &mut Staging<'_>, options: &RestoreOptions, job: &Job) -> Result<Manifest> {
    let mut seen = BTreeMap::new();
    let mut manifest = None;
    for entry in Archive::new(tar).entries().map_err(unreadable)? {
        job.check()?;
        let mut entry = entry.map_err(unreadable)?;
        let (path, kind) = place_of(&entry)?;
        if kind == EntryKind::Dir {
            seen.insert(path, kind);
            continue;
        }
        match Place::of(&path) {
            None => return Err(refused(&path, "no snapshot has such a file")),
            Some(Place::Manifest) => manifest = Some(read_manifest(&mut entry)?),
            Some(_) if !staging.is_wanted(&path) => {}
            Some(_) if staging.is_small(&path) => {
                let mut contents = Vec::new();
                entry.by_ref().take(SMALL_BYTES_MAX + 1).read_to_end(&mut contents).map_err(unreadable)?;
                staging.keep(&path, contents)?;
            }
            Some(_) => write(&mut entry, staging, &path, job)?,
        }
        if seen.insert(path.clone(), kind).is_some() {
            return Err(refused(&path, "it comes twice"));
        }
    }
    let Some(manifest) = manifest else {
        return Err(damaged("it is cut off, or no snapshot: there is no manifest at its end".to_owned()));
    };
    Wanted::of(options).check(&manifest, &seen, Path::new(ORIGIN))?;
    Ok(manifest)
}

/// Where an entry belongs, and whether it is a directory.
fn place_of(entry: &Entry<'_, &mut dyn Read>) -> Result<(String, EntryKind)> {
    let bytes = entry.path_bytes().into_owned();
    let Ok(path) = String::from_utf8(bytes) else {
        return Err(refused(ORIGIN, "it has an entry whose name is none that drave makes"));
    };
    // As `tar` itself writes them.
    let plain = path.strip_prefix("./").unwrap_or(&path);
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => Ok((plain.to_owned(), EntryKind::File)),
        EntryType::Directory => Ok((plain.strip_suffix('/').unwrap_or(plain).to_owned(), EntryKind::Dir)),
        _ => Err(refused(&path, "it is neither a plain file nor a directory")),
    }
}

fn read_manifest(entry: &mut impl Read) -> Result<Manifest> {
    let mut bytes = Vec::new();
    entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    parse_manifest(&bytes, Path::new(ORIGIN).join(MANIFEST))
}

fn write(entry: &mut impl Read, staging: &mut Staging<'_>, path: &str, job: &Job) -> Result<()> {
    let file = staging.create(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut position = 0;
    loop {
        job.check()?;
        match entry.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(()),
            n => {
                file.write_all_at(&[&buffer[..n]], position)?;
                position += n as u64;
                job.advance(n as u64);
            }
        }
    }
}

fn refused(path: &str, why: &str) -> Error {
    Error::EntryRefused { path: path.into(), why: format!("{why}; nothing was restored") }
}

fn damaged(what: String) -> Error {
    Error::Damaged { path: ORIGIN.into(), position: 0, what }
}

/// Bytes that are no tar, or end too early, are damage; the rest is the system's word. The tar reader's own
/// words quote what it has read, which may be anybody's.
fn unreadable(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::io("read", ORIGIN, error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => damaged("it is cut off".to_owned()),
        None => damaged("it is no tar, or a damaged one".to_owned()),
    }
}
