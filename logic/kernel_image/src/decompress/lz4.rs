//! lz4's legacy frame: a magic, then blocks, each of at most 8 MiB unpacked, with their packed size before them.
//!
//! Source: lz4's doc/lz4_Frame_format.md, "Legacy frame".

use crate::PackedProblem;
use crate::bytes::u32_at;
use lz4_flex::block::{DecompressError, decompress_into};

/// Unpacked bytes of each block but the last.
const BLOCK: usize = 8 << 20;
/// More than the packed size of any block: what is above is not a block.
const PACKED_MAX: usize = BLOCK + BLOCK / 255 + 16;

pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let mut rest = data.get(4..).ok_or(PackedProblem::Truncated)?;
    let mut written = 0;
    // The last four bytes may be Linux's size of the whole: they are no block, the output is full then.
    while written < output.len() {
        let Some(packed) = u32_at(rest, 0) else { break };
        let packed = usize::try_from(packed).unwrap_or(usize::MAX);
        if packed > PACKED_MAX {
            return Err(PackedProblem::Corrupt("a block is too large"));
        }
        let end = 4 + packed;
        let block = rest.get(4..end).ok_or(PackedProblem::Truncated)?;
        let room = output.get_mut(written..).unwrap_or(&mut []);
        let room_len = room.len().min(BLOCK);
        let room = room.get_mut(..room_len).unwrap_or(&mut []);
        written += decompress_into(block, room).map_err(|error| match error {
            DecompressError::OutputTooSmall { .. } => PackedProblem::TooLong,
            DecompressError::ExpectedAnotherByte => PackedProblem::Corrupt("a block ends early"),
            _ => PackedProblem::Corrupt("a block's references"),
        })?;
        rest = rest.get(end..).unwrap_or(&[]);
    }
    Ok(written)
}
