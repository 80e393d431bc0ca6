//! A stream of bytes cut into records at a delimiter.

use memchr::memmem::Finder;

use crate::cli::Result;

/// Finds the records in a buffer that is filled bit by bit. Where a delimiter is found does not
/// depend on the bits: the search always goes forward, and never twice over the same bytes.
pub(super) struct Splitter {
    finder: Finder<'static>,
    /// So many bytes at the buffer's front hold no delimiter, and no beginning of one.
    searched: usize,
}

impl Splitter {
    pub(super) fn new(delimiter: &[u8]) -> Splitter {
        Splitter { finder: Finder::new(delimiter).into_owned(), searched: 0 }
    }

    /// Calls `each` with every complete record in `bytes`; with `end`, also with what follows the
    /// last delimiter, if there is something. Returns how many bytes that used: the next call's
    /// `bytes` begin after them.
    pub(super) fn split(&mut self, bytes: &[u8], end: bool, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let delimiter_bytes = self.finder.needle().len();
        let mut from = 0;
        let mut search_from = self.searched;
        while let Some(hit) = self.finder.find(&bytes[search_from..]) {
            let until = search_from + hit;
            each(&bytes[from..until])?;
            from = until + delimiter_bytes;
            search_from = from;
        }
        if end {
            self.searched = 0;
            if from < bytes.len() {
                each(&bytes[from..])?;
            }
            return Ok(bytes.len());
        }
        self.searched = (bytes.len() - from).saturating_sub(delimiter_bytes - 1);
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split_in_bits(delimiter: &[u8], input: &[u8], bit_bytes: usize) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(delimiter);
        let mut records = Vec::new();
        let mut buffer = Vec::new();
        for bit in input.chunks(bit_bytes) {
            buffer.extend_from_slice(bit);
            let keep = |record: &[u8]| {
                records.push(record.to_vec());
                Ok(())
            };
            let used = splitter.split(&buffer, false, keep).expect("nothing fails");
            buffer.drain(..used);
        }
        let keep = |record: &[u8]| {
            records.push(record.to_vec());
            Ok(())
        };
        splitter.split(&buffer, true, keep).expect("nothing fails");
        records
    }

    #[test]
    fn the_last_record_may_lack_its_delimiter_and_empty_records_count() {
        assert_eq!(split_in_bits(b"\n", b"a\n\nb", 100), [&b"a"[..], b"", b"b"]);
        assert_eq!(split_in_bits(b"\n", b"a\n", 100), [b"a"]);
        assert_eq!(split_in_bits(b"ab", b"xaab", 1), [b"xa"]);
        assert!(split_in_bits(b"\n", b"", 1).is_empty());
    }

    proptest! {
        #[test]
        fn the_bits_do_not_matter(input in "[ab]{0,40}", delimiter in "[ab]{1,3}", bit_bytes in 1usize..10) {
            let whole = split_in_bits(delimiter.as_bytes(), input.as_bytes(), input.len().max(1));
            prop_assert_eq!(split_in_bits(delimiter.as_bytes(), input.as_bytes(), bit_bytes), whole);
        }
    }
}
