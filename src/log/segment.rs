//! Segment files: opening them, reading their headers, listing them.

use crate::codec::SegmentHeader;
use crate::codec::segment::{HEADER_BYTES, ParsedHeader, Previous, VERSION, base_of, file_name};
use crate::disk::{Access, Dir, EntryKind, File, random};
use crate::error::{Error, Result};
use crate::ids::Offset;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: Offset,
    pub(super) file: File,
    pub(super) salt: u32,
    /// `Err` says why the header cannot be used; the salt was then found elsewhere.
    pub(super) header: Result<SegmentHeader, &'static str>,
}

impl Segment {
    /// Makes a segment, with its header written.
    ///
    /// A file of that name is what a writer left that died while rolling: nothing in it was ever
    /// part of the log, or its base offset would be below the log end. After an error this one is
    /// left for the next try too: removed, it could come back with a power cut.
    pub(super) fn create(dir: &Dir, header: SegmentHeader) -> Result<Segment> {
        let name = file_name(header.base);
        let file = match dir.create_file(name.as_bytes()) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::AlreadyExists) => {
                check_is_empty(dir, &name)?;
                dir.unlink(name.as_bytes())?;
                dir.create_file(name.as_bytes())?
            }
            other => other?,
        };
        file.write_all_at(&[&header.encode()], 0)?;
        Ok(Segment { base: header.base, file, salt: header.salt, header: Ok(header) })
    }

    /// Opens a segment. If its header is damaged, the salt comes from `spare_salt`, which is asked
    /// only then; without one the segment cannot be read.
    pub(super) fn open(
        dir: &Dir,
        base: Offset,
        access: Access,
        spare_salt: impl FnOnce() -> Result<Option<u32>>,
    ) -> Result<Segment> {
        let file = dir.open_file(file_name(base).as_bytes(), access)?;
        let mut bytes = [0; HEADER_BYTES];
        let n = file.read_at(&mut bytes, 0)?;
        let why = match SegmentHeader::parse(&bytes[..n]) {
            ParsedHeader::Header(header) if header.base == base => {
                return Ok(Segment { base, file, salt: header.salt, header: Ok(*header) });
            }
            ParsedHeader::Header(_) => "the segment header belongs to another file",
            ParsedHeader::TooNew(found) => {
                return Err(Error::VersionTooNew { path: file.path().to_owned(), found, supported: VERSION });
            }
            ParsedHeader::Bad(why) => why,
        };
        match spare_salt()? {
            Some(salt) => Ok(Segment { base, file, salt, header: Err(why) }),
            None => Err(Error::Damaged { path: file.path().to_owned(), position: 0, what: why.to_owned() }),
        }
    }

    /// How the successor's header names this segment.
    pub(super) fn as_previous(&self, end_position: u64) -> Previous {
        Previous { base: self.base, end_position, salt: self.salt }
    }
}

/// What is unlinked has no frames: they are written only once the roll is published. If there are any,
/// the log has gone on without the page that says where it ends; and it must not do so between this
/// look and the unlinking.
fn check_is_empty(dir: &Dir, name: &str) -> Result<()> {
    let length = dir.stat(name.as_bytes())?.map_or(0, |meta| meta.length);
    if length <= HEADER_BYTES as u64 && fence_unless_frozen(dir, name)? <= HEADER_BYTES as u64 {
        return Ok(());
    }
    Err(Error::Astray { path: dir.path().to_owned(), what: "the next segment has records already" })
}

/// Makes a segment longer than anybody believes it is who appends to it by a page that is not ours: what
/// is appended from now on is not acknowledged. One without its header, which somebody may be about to
/// write, is made longer than that. Returns how long it was.
pub(super) fn fence(file: &File) -> Result<u64> {
    let length = file.length()?;
    let zeros = [0; HEADER_BYTES + 1];
    let bytes = (HEADER_BYTES as u64 + 1).saturating_sub(length).max(1);
    file.append_all(&[&zeros[..bytes as usize]], length)?;
    Ok(file.length()?.saturating_sub(bytes))
}

/// The same, unless a snapshot may stand on the file, which then is written to by nobody.
pub(super) fn fence_unless_frozen(dir: &Dir, name: &str) -> Result<u64> {
    let file = dir.open_file(name.as_bytes(), Access::Read)?;
    if file.is_frozen()? { file.length() } else { fence(&dir.open_file(name.as_bytes(), Access::ReadWrite)?) }
}

/// The base offsets of all segments in `dir`, rising.
///
/// # Errors
/// When something else than a file has a segment's name: taking that for a missing segment would
/// begin the log anew where records may still be.
pub(super) fn list(dir: &Dir) -> Result<Vec<Offset>> {
    let mut bases = Vec::new();
    for entry in dir.list()? {
        let Some(base) = base_of(&entry.name) else { continue };
        if entry.kind != EntryKind::File {
            let path = dir.path().join(file_name(base));
            let why = "has a segment's name and is no regular file; put the segment back, or remove it".to_owned();
            return Err(Error::StoreUnusable { path, why });
        }
        bases.push(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The header of the segment at `base`, if there is one and it can be read.
pub(super) fn header_of(dir: &Dir, base: Offset) -> Result<Option<SegmentHeader>> {
    match Segment::open(dir, base, Access::Read, || Ok(None)) {
        Ok(segment) => Ok(segment.header.ok()),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A salt that stale bytes on the disk do not have.
pub(super) fn random_salt() -> u32 {
    u32::from_le_bytes(random())
}
