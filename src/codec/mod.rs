//! Bytes: what a frame, a record, a segment header and a file name look like.
//!
//! This floor touches no file, no socket and no clock. Decoders take `&[u8]` and check every bound;
//! "not enough bytes yet" is an answer, not an error.

pub mod batch;
mod compress;
pub mod deletion;
pub mod frame;
pub mod group_event;
pub mod lines;
pub mod manifest;
pub mod name;
pub mod offset_set;
pub mod origin;
mod packed;
pub mod records;
pub mod resp;
pub mod runs;
pub mod segment;
mod varint;

pub use batch::{Batch, BatchBuilder, BatchIds, FieldRef, Malformed};
pub use deletion::{Deleting, Deletion};
pub use frame::{Frame, FrameHeader, FrameKind, Parsed};
pub use group_event::GroupEvent;
pub use manifest::{FileFacts, LogFacts, Manifest, SegmentFacts};
pub use offset_set::OffsetSet;
pub use origin::{Origin, OriginKey};
pub use records::{Record, Records, RecordsMark};
pub use runs::Runs;
pub use segment::{Origins, SegmentHeader};
