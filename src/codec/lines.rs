//! A stream of lines as a batch, without copying the lines.

use super::batch::{Batch, BatchIds};
use super::varint;

/// Makes batches of the complete lines in a buffer. Keeps only its table between calls.
#[derive(Debug, Default)]
pub struct LineTable {
    table: Vec<u8>,
}

impl LineTable {
    /// An empty one.
    #[must_use]
    pub fn new() -> LineTable {
        LineTable::default()
    }

    /// All lines of `bytes` that end in `'\n'`, as one batch whose values are those very bytes.
    /// What follows the last newline is not part of it. `None` when there is no newline.
    pub fn scan<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Batch<'a>> {
        self.table.clear();
        let mut start = 0;
        let mut count = 0u32;
        let mut longest = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let length = end - start;
            varint::put(&mut self.table, length as u64 * 2);
            longest = longest.max(length);
            count += 1;
            start = end + 1;
        }
        (count > 0).then_some(Batch {
            count,
            plain: true,
            origins: 0,
            ids: BatchIds::Auto,
            record_bytes_max: longest as u64,
            table: &self.table,
            values: &bytes[..start],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::BatchBuilder;

    #[test]
    fn scanned_lines_are_the_batch_that_pushing_them_makes() {
        let mut lines = LineTable::new();
        assert!(lines.scan(b"no end").is_none());
        let text = [&b"a\n\nthree\r\n"[..], &[0xff; 300], b"\nrest"].concat();
        let batch = lines.scan(&text).expect("four lines");
        let mut builder = BatchBuilder::new();
        for value in [&b"a"[..], b"", b"three\r", &[0xff; 300]] {
            builder.push_value(value);
        }
        let pushed = builder.batch();
        assert_eq!((batch.count, batch.plain, batch.record_bytes_max), (4, true, 300));
        assert_eq!((batch.table, batch.values), (pushed.table, pushed.values));
    }
}
