//! gzip: RFC 1952 around DEFLATE (`miniz_oxide`).

use super::checksum::crc32;
use crate::PackedProblem;
use crate::bytes::{u16_at, u32_at};
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// The file's last four bytes.
pub(super) fn unpacked_size(data: &[u8]) -> Result<u64, PackedProblem> {
    let size = data.last_chunk().ok_or(PackedProblem::Truncated)?;
    Ok(u32::from_le_bytes(*size).into())
}

/// What follows the header.
fn body(data: &[u8]) -> Result<&[u8], PackedProblem> {
    let truncated = PackedProblem::Truncated;
    let &[_, _, method, flags, ..] = data else {
        return Err(truncated);
    };
    if method != 8 || flags & RESERVED != 0 {
        return Err(PackedProblem::Corrupt("unknown method or flags"));
    }
    let mut rest = data.get(10..).ok_or(truncated)?;
    if flags & EXTRA != 0 {
        let len = usize::from(u16_at(rest, 0).ok_or(truncated)?);
        rest = rest.get(2 + len..).ok_or(truncated)?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(truncated)?;
            rest = rest.get(end + 1..).ok_or(truncated)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..).ok_or(truncated)?;
    }
    Ok(rest)
}

pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let body = body(data)?;
    // 11 KiB are too much for the stack. A Vec, because a Box cannot be had fallibly.
    let mut state = Vec::new();
    state
        .try_reserve_exact(1)
        .map_err(|_| PackedProblem::OutOfMemory)?;
    state.push(DecompressorOxide::new());
    let state = state.first_mut().ok_or(PackedProblem::OutOfMemory)?;
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(state, body, output, 0, flags);
    match status {
        TINFLStatus::Done => {}
        TINFLStatus::HasMoreOutput => return Err(PackedProblem::TooLong),
        TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
            return Err(PackedProblem::Truncated);
        }
        _ => return Err(PackedProblem::Corrupt("impossible codes")),
    }
    let crc = body
        .get(read..)
        .and_then(|tail| u32_at(tail, 0))
        .ok_or(PackedProblem::Truncated)?;
    let unpacked = output.get(..written).ok_or(PackedProblem::TooLong)?;
    if crc32(unpacked) != crc {
        return Err(PackedProblem::Checksum);
    }
    Ok(written)
}
