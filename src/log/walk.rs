//! From frame to frame through the bytes of a segment, over whatever is not a frame.

use crate::codec::frame::{self, Frame, Parsed};
use crate::ids::Offset;

/// Walks the frames of one segment.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    salt: u32,
    position: u64,
    expected: Offset,
}

/// What lies at the walk's position.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// The frame that was expected.
    Frame(Frame<'a>),
    /// Bytes that are no frame, or not the expected one.
    Bad {
        /// Where they begin.
        position: u64,
        /// What is wrong.
        why: &'static str,
        /// Where the next whole frame begins, and its base offset; `None` = there is none.
        next: Option<(u64, Offset)>,
    },
    /// The bytes end where the last frame does.
    End,
}

impl<'a> Walk<'a> {
    /// Walks `bytes`, which are a segment from its beginning, from `position` on, where the frame
    /// with base offset `expected` should be.
    pub(super) fn new(bytes: &'a [u8], salt: u32, position: u64, expected: Offset) -> Walk<'a> {
        Walk { bytes, salt, position, expected }
    }

    /// Where the walk stands, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes one step.
    pub(super) fn step(&mut self) -> Found<'a> {
        let at = usize::try_from(self.position).unwrap_or(usize::MAX).min(self.bytes.len());
        if at == self.bytes.len() {
            return Found::End;
        }
        let why = match frame::parse(&self.bytes[at..], self.salt, self.position) {
            Parsed::Frame(frame) if frame.header.base == self.expected => {
                self.position += u64::from(frame.header.length);
                self.expected = frame.header.end();
                return Found::Frame(frame);
            }
            Parsed::Frame(frame) if frame.header.base > self.expected => "frames are missing before this one",
            Parsed::Frame(_) => "a frame of offsets that were passed already",
            Parsed::Incomplete(_) => "a frame is cut off",
            Parsed::Bad(why) => why,
        };
        let position = self.position;
        let next = self.resume(at);
        match next {
            Some((position, base)) => (self.position, self.expected) = (position, base),
            None => self.position = self.bytes.len() as u64,
        }
        Found::Bad { position, why, next }
    }

    /// The next whole frame that does not go back.
    fn resume(&self, from: usize) -> Option<(u64, Offset)> {
        let mut from = from;
        loop {
            let at = frame::find(self.bytes, self.salt, 0, from)?;
            if let Parsed::Frame(frame) = frame::parse(&self.bytes[at..], self.salt, at as u64)
                && frame.header.base >= self.expected
            {
                return Some((at as u64, frame.header.base));
            }
            from = at + 1;
        }
    }
}
