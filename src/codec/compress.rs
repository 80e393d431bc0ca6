//! The body of a frame, compressed: u32 its length without compression, then one zstd frame.

use super::batch::Malformed;
use super::frame::FRAME_BYTES_MAX;

/// `None` when that would not make it smaller.
pub(super) fn pack(body: &[u8], level: i32) -> Option<Vec<u8>> {
    let mut packed = u32::try_from(body.len()).ok()?.to_le_bytes().to_vec();
    packed.extend(zstd::bulk::compress(body, level).ok()?);
    (packed.len() < body.len()).then_some(packed)
}

pub(super) fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (length, packed) = packed.split_first_chunk::<4>().ok_or(Malformed("a compressed body without length"))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Malformed("a compressed body of impossible length"));
    }
    out.clear();
    out.reserve(length);
    let unpacked = zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress_to_buffer(packed, out));
    match unpacked {
        Ok(n) if n == length => Ok(()),
        _ => Err(Malformed("a compressed body that does not unpack")),
    }
}
