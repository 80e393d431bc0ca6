//! The files of a group's two checkpoints.
//!
//! ```text
//! checkpoint = head, state (MessagePack), CRC-32 of both (little-endian)
//! ```

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::broker::group::{GroupState, StoredCheckpoint};
use crate::error::{Error, Result};
use crate::ids::{Incarnation, Place};
use crate::store::GroupFiles;

pub(super) const FILES: [&[u8]; 2] = [b"checkpoint-0", b"checkpoint-1"];
const BYTES_MAX: usize = 1 << 30;

/// What a checkpoint's file begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    incarnation: Incarnation,
    place: Place,
}

/// Where a checkpoint stands in the journal, and which of the two files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) place: Place,
    which: usize,
}

/// A checkpoint that fits its journal, not decoded yet.
pub(super) struct Found {
    pub(super) standing: Standing,
    state: Vec<u8>,
}

/// A checkpoint's head, and its state, not decoded yet.
type Parts = (Head, Vec<u8>);

/// What is in the place of a checkpoint.
pub(super) enum Check {
    Missing,
    /// It does not fit the journal: a crash, or another group of the name.
    Void,
    Damaged(&'static str),
    Stands(Place),
}

/// Looks at a checkpoint without believing it.
pub(super) fn check(files: &GroupFiles, name: &[u8]) -> Result<Check> {
    let Some((head, state)) = (match read(files, name)? {
        None => return Ok(Check::Missing),
        Some(read) => read,
    }) else {
        return Ok(Check::Damaged("the checksum does not match"));
    };
    if !stands(files, &head)? {
        return Ok(Check::Void);
    }
    let stored = rmp_serde::from_slice::<StoredCheckpoint>(&state);
    Ok(match stored.is_ok_and(|stored| stored.restore().is_ok()) {
        true => Check::Stands(head.place),
        false => Check::Damaged("it contradicts itself"),
    })
}

/// The checkpoints that can be gone on from, the newest first.
pub(super) fn find(files: &GroupFiles) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (which, name) in FILES.iter().enumerate() {
        match read(files, name)? {
            None => {}
            Some(None) => {
                let path = files.dir().path().join(String::from_utf8_lossy(name).as_ref());
                warn!(path = %path.display(), "a checkpoint of the group is damaged; the one before it is used");
            }
            Some(Some((head, state))) if stands(files, &head)? => {
                found.push(Found { standing: Standing { place: head.place, which }, state });
            }
            Some(Some(_)) => {}
        }
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.standing.place.offset));
    Ok(found)
}

/// `None` when there is no such file, `Some(None)` when its bytes are not what was written.
fn read(files: &GroupFiles, name: &[u8]) -> Result<Option<Option<Parts>>> {
    let Some(mut bytes) = files.dir().read(name, BYTES_MAX)? else { return Ok(None) };
    let crc = bytes.split_off(bytes.len().saturating_sub(4));
    if crc32fast::hash(&bytes).to_le_bytes() != crc[..] {
        return Ok(Some(None));
    }
    let mut rest = &bytes[..];
    let head = rmp_serde::from_read::<_, Head>(&mut rest);
    Ok(Some(head.ok().map(|head| (head, rest.to_vec()))))
}

/// Whether a checkpoint is of this journal, and of what is still in it.
fn stands(files: &GroupFiles, head: &Head) -> Result<bool> {
    let (log, place) = (&files.journal, head.place);
    Ok(head.incarnation == log.incarnation()
        && place.offset >= log.log_start()
        && place.offset <= log.log_end()
        && log.clamp(place)? == place.offset)
}

impl Found {
    /// The state; `None` when these bytes are none.
    pub(super) fn decode(&self, files: &GroupFiles) -> Result<Option<GroupState>> {
        let Ok(stored) = rmp_serde::from_slice::<StoredCheckpoint>(&self.state) else { return Ok(None) };
        let damaged = |what| Error::Damaged { path: files.dir().path().to_owned(), position: 0, what };
        stored.restore().map(Some).map_err(damaged)
    }
}

/// Writes a checkpoint in the place of the older one. Says how many bytes it has, too.
pub(super) fn write(files: &GroupFiles, state: &GroupState, place: Place, newest: Option<Standing>) -> Result<(Standing, u64)> {
    let which = newest.map_or(0, |newest| 1 - newest.which);
    let head = Head { incarnation: files.journal.incarnation(), place };
    let always = "numbers and bytes always encode";
    let mut bytes = rmp_serde::to_vec(&head).expect(always);
    rmp_serde::encode::write(&mut bytes, &state.checkpoint()).expect(always);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    files.dir().replace(FILES[which], &bytes, true)?;
    Ok((Standing { place, which }, bytes.len() as u64))
}
