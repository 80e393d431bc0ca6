//! The frame that a reader is in the middle of: unpacked once, and gone through once, in however many
//! pieces it is handed out.

use crate::codec::{Frame, Records, RecordsMark};
use crate::ids::Offset;

/// A frame of which only a part was handed out.
#[derive(Debug)]
pub(super) struct OpenedFrame {
    /// The salt of its segment, which tells it from another one at the same place.
    salt: u32,
    position: u64,
    /// Its body, if it is compressed.
    body: Vec<u8>,
    mark: RecordsMark,
}

impl OpenedFrame {
    /// Whether it is the frame that lies there.
    pub(super) fn is_at(&self, salt: u32, position: u64) -> bool {
        (self.salt, self.position) == (salt, position)
    }

    /// The frame, with what is known of its inside.
    pub(super) fn apply<'a>(&'a self, frame: Frame<'a>) -> Frame<'a> {
        frame.with_opened(&self.body, &self.mark)
    }

    /// Goes to the records from `from` on; `None` when the frame does not read: whoever is handed it
    /// finds that out.
    pub(super) fn go_to(before: Option<OpenedFrame>, salt: u32, frame: &Frame<'_>, from: Offset) -> Option<OpenedFrame> {
        let position = frame.header.position;
        let mut opened = match before {
            Some(opened) if opened.is_at(salt, position) && opened.mark.next_offset() <= from => opened,
            before => {
                let mut body = before.map_or_else(Vec::new, |before| before.body);
                let mark = {
                    let body = frame.body(&mut body).ok()?;
                    let header = frame.header;
                    let records = Records::new(body, header.base, header.span, header.count, header.base_id, header.plain);
                    records.ok()?.mark(body)
                };
                OpenedFrame { salt, position, body, mark }
            }
        };
        let body = frame.body_again(&opened.body);
        let mut records = Records::resume(body, &opened.mark);
        records.narrow(from, frame.header.end()).ok()?;
        opened.mark = records.mark(body);
        Some(opened)
    }
}
