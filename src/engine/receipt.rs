//! Receipts as people and scripts hand them on.

use std::fmt;
use std::str::FromStr;

use super::Receipt;
use crate::broker::group::Lease;
use crate::codec::group_event::{EntryKey, Source};
use crate::ids::Offset;

/// So much of what is no receipt is told: longer than the longest one.
const SHOWN_CHARS: usize = 60;

/// A receipt, and the group that gave it out.
///
/// Text: `OFFSET-DELIVERY-TAG`, the tag as 8 hexadecimal digits; with a `d` in front for a dead letter
/// that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupReceipt {
    /// Tells groups apart, also those that had the same name one after the other.
    pub tag: u32,
    /// What is settled by it.
    pub receipt: Receipt,
}

impl fmt::Display for GroupReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EntryKey { source, offset } = self.receipt.key;
        let prefix = if source == Source::DeadLetter { "d" } else { "" };
        write!(f, "{prefix}{offset}-{}-{:08x}", self.receipt.lease.0, self.tag)
    }
}

impl FromStr for GroupReceipt {
    type Err = String;

    fn from_str(text: &str) -> Result<GroupReceipt, String> {
        let parse = || {
            let (source, numbers) = match text.strip_prefix('d') {
                Some(rest) => (Source::DeadLetter, rest),
                None => (Source::Topic, text),
            };
            let mut parts = numbers.split('-');
            let offset = Offset(parts.next()?.parse().ok()?);
            let lease = Lease(parts.next()?.parse().ok()?);
            let tag = u32::from_str_radix(parts.next()?, 16).ok()?;
            let receipt = GroupReceipt { tag, receipt: Receipt { key: EntryKey { source, offset }, lease } };
            // One way to write it: what was printed is compared as text.
            (parts.next().is_none() && receipt.to_string() == text).then_some(receipt)
        };
        parse().ok_or_else(|| {
            let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
            if shown.len() < text.len() {
                shown.push_str("...");
            }
            format!("'{shown}' is not a receipt, as consume --manual prints them: 4711-12-0a1b2c3d")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_come_back() {
        for source in [Source::Topic, Source::DeadLetter] {
            for (offset, lease, tag) in [(0, 1, 0), (4711, u64::MAX, u32::MAX), (u64::MAX, 1 << 32, 0xab)] {
                let receipt = Receipt { key: EntryKey { source, offset: Offset(offset) }, lease: Lease(lease) };
                let receipt = GroupReceipt { tag, receipt };
                assert_eq!(receipt.to_string().parse(), Ok(receipt));
            }
        }
        for bad in ["", "1", "1-2", "1-2-3", "1-2-0000000g", "01-2-00000003", "1-2-00000003-4", "+1-2-00000003", "x1-2-00000003"]
        {
            assert!(bad.parse::<GroupReceipt>().is_err(), "{bad}");
            let long = bad.repeat(1000).parse::<GroupReceipt>().expect_err("it is none");
            assert!(long.len() < 200, "{long}");
        }
    }
}
