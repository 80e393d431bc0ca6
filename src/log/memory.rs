//! What maintenance remembers of a log from one run to the next. A hint: a run that has lost it looks at
//! everything again, and knows of no time that has passed.
//!
//! ```text
//!   0  "DRVn"        4  CRC-32 of what follows      8  incarnation (16)
//!  24  compacted until        32  the oldest null, ms
//!  40  idle: log end          48  boot id (16)                64  uptime, ms        72  idle for, ms
//! ```

use super::Log;
use crate::disk::{BootId, Dir};
use crate::error::Result;
use crate::ids::{Incarnation, Offset};

/// The file's name.
pub(super) const MEMORY: &[u8] = b"upkeep";

const MAGIC: &[u8; 4] = b"DRVn";
const BYTES: usize = 80;

/// See the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Segments below have been compacted together.
    pub(super) compacted_until: Offset,
    /// Of when the oldest null among them is that was not due, in ms since 1970; `u64::MAX` = there is none. When
    /// it is due is left to the settings as they are then.
    pub(super) oldest_null_ms: u64,
    /// Since when nothing was appended.
    pub(super) idle: Idle,
}

/// How long a log is known to have been idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// Where the log ended.
    end: Offset,
    boot: [u8; 16],
    uptime_ms: u64,
    /// How long that had been so then.
    pub(super) for_ms: u64,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle { end: Offset(u64::MAX), boot: BootId::NONE.0, uptime_ms: 0, for_ms: 0 }
    }
}

impl Idle {
    /// The same, as of now. What the wall clock says has no part in it: somebody may have set it.
    pub(super) fn now(self, log: &Log) -> Idle {
        let (end, boot, uptime_ms) = (log.log_end(), log.dir().boot().0, log.dir().uptime_ms());
        let since = if boot == self.boot { uptime_ms.saturating_sub(self.uptime_ms) } else { 0 };
        let for_ms = if end == self.end { self.for_ms.saturating_add(since) } else { 0 };
        Idle { end, boot, uptime_ms, for_ms }
    }
}

impl Memory {
    pub(super) fn read(log: &Log) -> Result<Memory> {
        let bytes = log.dir().read(MEMORY, BYTES)?;
        Ok(bytes.and_then(|bytes| Memory::decode(&bytes, log)).unwrap_or_default())
    }

    /// Of a log that is made of a copy with compacted segments: that it is there is what counts. Not durable.
    pub(super) fn begin(dir: &Dir, incarnation: Incarnation) -> Result<()> {
        dir.replace(MEMORY, &Memory::default().encode(incarnation), false)
    }

    /// Not durable: it is a hint.
    pub(super) fn write(&self, log: &Log) -> Result<()> {
        log.dir().replace(MEMORY, &self.encode(log.incarnation()), false)
    }

    /// Durable: that it is there tells a recovery that segments may have been compacted.
    pub(super) fn write_durably(&self, log: &Log) -> Result<()> {
        log.dir().replace(MEMORY, &self.encode(log.incarnation()), true)
    }

    fn encode(&self, incarnation: Incarnation) -> Vec<u8> {
        let mut body = incarnation.0.to_vec();
        let numbers = [self.compacted_until.0, self.oldest_null_ms, self.idle.end.0];
        numbers.into_iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        body.extend_from_slice(&self.idle.boot);
        [self.idle.uptime_ms, self.idle.for_ms].into_iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        [&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat()
    }

    /// `None` when it is none, or of another life of the topic.
    fn decode(bytes: &[u8], log: &Log) -> Option<Memory> {
        let body = bytes.strip_prefix(MAGIC)?;
        let (crc, body) = body.split_first_chunk::<4>()?;
        if bytes.len() != BYTES || crc32fast::hash(body).to_le_bytes() != *crc || body[..16] != log.incarnation().0 {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| body[at + index]));
        let boot = std::array::from_fn(|index| body[40 + index]);
        let idle = Idle { end: Offset(number(32)), boot, uptime_ms: number(56), for_ms: number(64) };
        Some(Memory { compacted_until: Offset(number(16)), oldest_null_ms: number(24), idle })
    }
}
