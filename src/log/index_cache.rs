//! What a reader knows of the index of the segment that it looks into.

use super::Log;
use super::index::{self, IndexEntries, IndexEntry};
use super::window::Window;
use crate::error::Result;
use crate::ids::Offset;

/// So many wrong index entries are passed before the segment is walked from its beginning.
const INDEX_TRIES: usize = 4;

/// The index of the segment that was looked into last.
#[derive(Debug, Default)]
pub(super) struct IndexCache(Option<(Offset, IndexEntries)>);

impl IndexCache {
    /// Moves a window forward to a frame not far before `offset`, an offset of its segment.
    pub(super) fn skip_towards(&mut self, log: &Log, window: &mut Window, offset: Offset) -> Result<()> {
        let expected = window.expected;
        let entries = self.of(log, window.segment.base, |last| last.base > offset)?;
        let ahead = index::before_offset(entries, offset).take_while(|entry| entry.base > expected);
        for entry in ahead.take(INDEX_TRIES) {
            if window.is_frame(entry.position, entry.base)? {
                window.go_to(entry.position, entry.base);
                break;
            }
        }
        Ok(())
    }

    /// The entries of a segment's index. Those that are known do if the last of them is beyond what is
    /// looked for: an index only grows.
    pub(super) fn of(&mut self, log: &Log, base: Offset, is_beyond: impl Fn(&IndexEntry) -> bool) -> Result<&[IndexEntry]> {
        let mut known = self.0.take().filter(|(of, _)| *of == base).map(|(_, entries)| entries);
        if !known.as_ref().and_then(|known| known.last()).is_some_and(is_beyond) {
            known = Some(IndexEntries::load(&log.dir, base, known)?);
        }
        let (_, entries) = self.0.insert((base, known.unwrap_or_default()));
        Ok(entries)
    }
}
