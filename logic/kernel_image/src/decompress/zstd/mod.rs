//! Zstandard: frames and blocks.
//!
//! The whole output serves as window, however large the frame says its window is.
//! Dictionaries are not supported: Linux uses none.
//!
//! Source: RFC 8878.

mod bits;
mod fse;
mod huffman;
mod sequences;

use super::checksum::xxh64;
use crate::PackedProblem;
use crate::bytes::{array, u16_at, u32_at, u64_at};
use alloc::vec::Vec;
use huffman::Huffman;
use sequences::Sequences;

const MAGIC: u32 = 0xfd2f_b528;
/// With any low four bits: a frame that is to be skipped.
const SKIPPABLE: u32 = 0x184d_2a50;
/// No block unpacks to more.
const BLOCK_MAX: usize = 128 << 10;
/// Room after the literals, so that they can be copied in words.
const SLACK: usize = 8;

const TRUNCATED: PackedProblem = PackedProblem::Truncated;

/// What a frame's header says.
struct Header {
    content_size: Option<u64>,
    has_checksum: bool,
    /// Its own length, with the magic.
    len: usize,
}

impl Header {
    fn parse(frame: &[u8]) -> Result<Self, PackedProblem> {
        if u32_at(frame, 0).ok_or(TRUNCATED)? != MAGIC {
            return Err(PackedProblem::Corrupt("the magic"));
        }
        let &descriptor = frame.get(4).ok_or(TRUNCATED)?;
        let is_single = descriptor & 0x20 != 0;
        if descriptor & 0x08 != 0 {
            return Err(PackedProblem::Corrupt("a frame's header"));
        }
        // The window's size does not matter.
        let mut at = if is_single { 5 } else { 6 };
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let id = frame.get(at..at + dictionary).ok_or(TRUNCATED)?;
        if id.iter().any(|&byte| byte != 0) {
            return Err(PackedProblem::Unsupported("a dictionary"));
        }
        at += dictionary;
        let (size_len, content_size) = match descriptor >> 6 {
            0 if !is_single => (0, None),
            0 => (1, Some(frame.get(at).copied().ok_or(TRUNCATED)?.into())),
            1 => (
                2,
                Some(u64::from(u16_at(frame, at).ok_or(TRUNCATED)?) + 256),
            ),
            2 => (4, Some(u32_at(frame, at).ok_or(TRUNCATED)?.into())),
            _ => (8, Some(u64_at(frame, at).ok_or(TRUNCATED)?)),
        };
        Ok(Self {
            content_size,
            has_checksum: descriptor & 4 != 0,
            len: at + size_len,
        })
    }
}

/// What the first frame says.
pub(super) fn unpacked_size(data: &[u8]) -> Result<u64, PackedProblem> {
    Header::parse(data)?
        .content_size
        .ok_or(PackedProblem::UnknownSize)
}

pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let mut rest = data;
    let mut written = 0;
    let mut decoder = Decoder::new()?;
    // At the first thing that is no frame, the data ends: in a bzImage, Linux's size comes there.
    while let Some(magic) = u32_at(rest, 0) {
        if magic == MAGIC {
            let room = output.get_mut(written..).unwrap_or(&mut []);
            written += decoder.frame(&mut rest, room)?;
        } else if magic & !15 == SKIPPABLE && written == 0 {
            let len = u32_at(rest, 4).and_then(|len| usize::try_from(len).ok());
            rest = len
                .and_then(|len| rest.get(8..)?.get(len..))
                .ok_or(TRUNCATED)?;
        } else {
            break;
        }
    }
    Ok(written)
}

/// Tables that stay from block to block, and room for literals.
struct Decoder {
    literals: Vec<u8>,
    huffman: Huffman,
    sequences: Sequences,
}

impl Decoder {
    fn new() -> Result<Self, PackedProblem> {
        let mut literals = Vec::new();
        let room = BLOCK_MAX + SLACK;
        literals
            .try_reserve_exact(room)
            .map_err(|_| PackedProblem::OutOfMemory)?;
        literals.resize(room, 0);
        Ok(Self {
            literals,
            huffman: Huffman::new()?,
            sequences: Sequences::new()?,
        })
    }

    /// Unpacks the frame at the start of `data`, and moves that past it.
    fn frame(&mut self, data: &mut &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
        let header = Header::parse(data)?;
        let mut rest = data.get(header.len..).ok_or(TRUNCATED)?;
        self.huffman.forget();
        self.sequences.forget();
        let mut at = 0;
        loop {
            let [low, middle, high] = array(rest, 0).ok_or(TRUNCATED)?;
            rest = rest.get(3..).unwrap_or(&[]);
            let block = u32::from_le_bytes([low, middle, high, 0]);
            let size = (block >> 3) as usize;
            if size > BLOCK_MAX {
                return Err(PackedProblem::Corrupt("a block is too large"));
            }
            match (block >> 1) & 3 {
                0 => {
                    let (stored, tail) = rest.split_at_checked(size).ok_or(TRUNCATED)?;
                    let room = output
                        .get_mut(at..at + size)
                        .ok_or(PackedProblem::TooLong)?;
                    room.copy_from_slice(stored);
                    (at, rest) = (at + size, tail);
                }
                1 => {
                    let (&byte, tail) = rest.split_first().ok_or(TRUNCATED)?;
                    let room = output
                        .get_mut(at..at + size)
                        .ok_or(PackedProblem::TooLong)?;
                    room.fill(byte);
                    (at, rest) = (at + size, tail);
                }
                2 => {
                    let (packed, tail) = rest.split_at_checked(size).ok_or(TRUNCATED)?;
                    at = self.block(packed, output, at)?;
                    rest = tail;
                }
                _ => return Err(PackedProblem::Corrupt("a block's type")),
            }
            if block & 1 != 0 {
                break;
            }
        }
        let unpacked = output.get(..at).unwrap_or(&[]);
        if header.content_size.is_some_and(|size| size != at as u64) {
            return Err(PackedProblem::Corrupt("a frame's size"));
        }
        if header.has_checksum {
            let sum = u32_at(rest, 0).ok_or(TRUNCATED)?;
            if sum != xxh64(unpacked) as u32 {
                return Err(PackedProblem::Checksum);
            }
            rest = rest.get(4..).unwrap_or(&[]);
        }
        *data = rest;
        Ok(at)
    }

    /// Unpacks a compressed block to `output[at..]`; returns where it ends.
    fn block(
        &mut self,
        packed: &[u8],
        output: &mut [u8],
        at: usize,
    ) -> Result<usize, PackedProblem> {
        let (literals, len, rest) = literals(packed, &mut self.huffman, &mut self.literals)?;
        self.sequences.run(rest, literals, len, output, at)
    }
}

/// Unpacks the literals at the start of a block. Returns them, with some bytes more behind if possible; their
/// number; and what follows in the block.
fn literals<'a>(
    block: &'a [u8],
    huffman: &mut Huffman,
    buffer: &'a mut [u8],
) -> Result<(&'a [u8], usize, &'a [u8]), PackedProblem> {
    let &first = block.first().ok_or(TRUNCATED)?;
    let format = (first >> 2) & 3;
    let corrupt = PackedProblem::Corrupt("a block's literals");
    if first & 2 == 0 {
        // Stored, or one byte many times.
        let [second, third] = array(block, 1).unwrap_or([block.get(1).copied().unwrap_or(0), 0]);
        let number = u32::from_le_bytes([first, second, third, 0]);
        let (header_len, len) = match format {
            1 => (2, (number & 0xffff) >> 4),
            3 => (3, number >> 4),
            _ => (1, (number & 0xff) >> 3),
        };
        let len = len as usize;
        let body = block.get(header_len..).ok_or(TRUNCATED)?;
        if first & 1 == 0 {
            let rest = body.get(len..).ok_or(TRUNCATED)?;
            return Ok((body, len, rest));
        }
        let (&byte, rest) = body.split_first().ok_or(TRUNCATED)?;
        buffer.get_mut(..len).ok_or(corrupt)?.fill(byte);
        return Ok((buffer, len, rest));
    }
    let (header_len, bits) = match format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let mut number = 0u64;
    for &byte in block.get(..header_len).ok_or(TRUNCATED)?.iter().rev() {
        number = (number << 8) | u64::from(byte);
    }
    let mask = (1 << bits) - 1;
    let len = ((number >> 4) & mask) as usize;
    let packed_len = ((number >> (4 + bits)) & mask) as usize;
    let body = block.get(header_len..).ok_or(TRUNCATED)?;
    let (mut packed, rest) = body.split_at_checked(packed_len).ok_or(TRUNCATED)?;
    if first & 1 == 0 {
        packed = huffman.read(packed)?;
    }
    let room = buffer
        .get_mut(..len)
        .filter(|room| room.len() <= BLOCK_MAX)
        .ok_or(corrupt)?;
    if format == 0 {
        huffman.decode(packed, room)?;
    } else {
        huffman.decode_four(packed, room)?;
    }
    Ok((buffer, len, rest))
}
