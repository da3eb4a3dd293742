//! lzo: lzop's file format around LZO1X.
//!
//! Source: Linux's Documentation/staging/lzo.rst for the codes; for the file, the layout that lzop 1.04 writes.

use super::checksum::{adler32, crc32};
use super::history;
use crate::PackedProblem;
use crate::bytes::array;

const MAGIC_BYTES: usize = 9;
const TRUNCATED: PackedProblem = PackedProblem::Truncated;
/// lzop packs blocks of 256 KiB; the format allows larger ones, up to this.
const BLOCK_MAX: usize = 64 << 20;

const ADLER32_UNPACKED: u32 = 0x1;
const ADLER32_PACKED: u32 = 0x2;
const EXTRA_FIELD: u32 = 0x40;
const CRC32_UNPACKED: u32 = 0x100;
const CRC32_PACKED: u32 = 0x200;
const FILTER: u32 = 0x800;

/// Big-endian numbers off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], PackedProblem> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PackedProblem> {
        array(self.bytes(N)?, 0).ok_or(TRUNCATED)
    }

    fn number(&mut self) -> Result<u32, PackedProblem> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number where 0 is not possible but at the data's end.
    fn size(&mut self) -> Result<usize, PackedProblem> {
        usize::try_from(self.number()?)
            .ok()
            .filter(|&size| size <= BLOCK_MAX)
            .ok_or(PackedProblem::Corrupt("a block is too large"))
    }
}

/// Reads the file's header; returns its flags.
fn header(reader: &mut Reader<'_>) -> Result<u32, PackedProblem> {
    reader.bytes(MAGIC_BYTES)?;
    let version = u16::from_be_bytes(reader.array()?);
    reader.bytes(2)?;
    if version >= 0x940 {
        reader.bytes(2)?;
    }
    let [method] = reader.array()?;
    if !(1..=3).contains(&method) {
        return Err(PackedProblem::Unsupported("this method of lzop"));
    }
    if version >= 0x940 {
        reader.bytes(1)?;
    }
    let flags = reader.number()?;
    if flags & FILTER != 0 {
        return Err(PackedProblem::Unsupported("a filter"));
    }
    // Mode and time, with its high half in newer versions; the name; the header's checksum.
    reader.bytes(if version >= 0x940 { 12 } else { 8 })?;
    let [name] = reader.array()?;
    reader.bytes(name.into())?;
    reader.number()?;
    if flags & EXTRA_FIELD != 0 {
        let len = reader.size()?;
        reader.bytes(len)?;
        reader.number()?;
    }
    Ok(flags)
}

/// One block's frame.
struct Block<'a> {
    packed: &'a [u8],
    unpacked: usize,
    /// Checksums of the unpacked bytes: Adler-32, CRC-32.
    adler32: Option<u32>,
    crc32: Option<u32>,
}

/// The next block; `None` at the end.
fn block<'a>(reader: &mut Reader<'a>, flags: u32) -> Result<Option<Block<'a>>, PackedProblem> {
    let unpacked = reader.size()?;
    if unpacked == 0 {
        return Ok(None);
    }
    let packed = reader.size()?;
    let mut checksum = |flag, is_there: bool| {
        if is_there && flags & flag != 0 {
            reader.number().map(Some)
        } else {
            Ok(None)
        }
    };
    let adler32 = checksum(ADLER32_UNPACKED, true)?;
    let crc32 = checksum(CRC32_UNPACKED, true)?;
    // Blocks that are stored have no checksums of the packed bytes. Those are not looked at anyway.
    checksum(ADLER32_PACKED, packed < unpacked)?;
    checksum(CRC32_PACKED, packed < unpacked)?;
    if packed > unpacked {
        return Err(PackedProblem::Corrupt("a block's size"));
    }
    Ok(Some(Block {
        packed: reader.bytes(packed)?,
        unpacked,
        adler32,
        crc32,
    }))
}

/// The sum over all blocks.
pub(super) fn unpacked_size(data: &[u8]) -> Result<u64, PackedProblem> {
    let mut reader = Reader { rest: data };
    let flags = header(&mut reader)?;
    let mut size = 0;
    while let Some(block) = block(&mut reader, flags)? {
        size += block.unpacked as u64;
    }
    Ok(size)
}

pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let mut reader = Reader { rest: data };
    let flags = header(&mut reader)?;
    let mut at = 0;
    while let Some(block) = block(&mut reader, flags)? {
        let room = output
            .get_mut(at..at + block.unpacked)
            .ok_or(PackedProblem::TooLong)?;
        if block.packed.len() == block.unpacked {
            room.copy_from_slice(block.packed);
        } else {
            lzo1x(block.packed, room)?;
        }
        if block.adler32.is_some_and(|sum| sum != adler32(room))
            || block.crc32.is_some_and(|sum| sum != crc32(room))
        {
            return Err(PackedProblem::Checksum);
        }
        at += block.unpacked;
    }
    Ok(at)
}

/// A block's codes and literals.
struct Codes<'a> {
    rest: &'a [u8],
}

impl Codes<'_> {
    fn byte(&mut self) -> Result<usize, PackedProblem> {
        let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(byte.into())
    }

    fn half(&mut self) -> Result<usize, PackedProblem> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    /// A length: `short` if not 0; else each byte of 0 counts 255, and the next one ends it.
    fn length(&mut self, short: usize, long_base: usize) -> Result<usize, PackedProblem> {
        if short != 0 {
            return Ok(short);
        }
        let zeros = self.rest.iter().take_while(|&&byte| byte == 0).count();
        self.rest = self.rest.get(zeros..).ok_or(TRUNCATED)?;
        Ok(long_base + zeros * 255 + self.byte()?)
    }

    fn literals(
        &mut self,
        output: &mut [u8],
        at: &mut usize,
        len: usize,
    ) -> Result<(), PackedProblem> {
        let (literals, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        let room = output.get_mut(*at..).and_then(|room| room.get_mut(..len));
        room.ok_or(PackedProblem::TooLong)?
            .copy_from_slice(literals);
        (self.rest, *at) = (rest, *at + len);
        Ok(())
    }
}

/// Unpacks one block, which must fill `output`.
fn lzo1x(packed: &[u8], output: &mut [u8]) -> Result<(), PackedProblem> {
    let mut codes = Codes { rest: packed };
    let mut at = 0;
    // Literals that were copied after the last match: 0 to 3, or 4 for a run of more. Short codes depend on it.
    let mut state = 0;
    // The first code is special if it is above 17.
    if let Some(&first @ 18..) = codes.rest.first() {
        codes.byte()?;
        let len = usize::from(first) - 17;
        codes.literals(output, &mut at, len)?;
        state = len.min(4);
    }
    loop {
        let code = codes.byte()?;
        let (len, distance, trailing) = match code {
            0..16 if state == 0 => {
                let len = codes.length(code, 15)? + 3;
                codes.literals(output, &mut at, len)?;
                state = 4;
                continue;
            }
            0..16 => {
                let high = codes.byte()? << 2;
                let near = (code >> 2) + high + 1;
                // After a run of literals, such a match is a byte longer and farther away.
                if state == 4 {
                    (3, near + 2048, code & 3)
                } else {
                    (2, near, code & 3)
                }
            }
            16..32 => {
                let len = codes.length(code & 7, 7)? + 2;
                let low = codes.half()?;
                let distance = ((code & 8) << 11) + (low >> 2);
                if distance == 0 {
                    // The end mark.
                    let is_end = len == 3 && codes.rest.is_empty() && at == output.len();
                    return if is_end {
                        Ok(())
                    } else {
                        Err(PackedProblem::Corrupt("a block's end"))
                    };
                }
                (len, distance + 16384, low & 3)
            }
            32..64 => {
                let len = codes.length(code & 31, 31)? + 2;
                let low = codes.half()?;
                (len, (low >> 2) + 1, low & 3)
            }
            _ => {
                let high = codes.byte()? << 3;
                let len = if code < 128 {
                    3 + ((code >> 5) & 1)
                } else {
                    5 + ((code >> 5) & 3)
                };
                (len, high + ((code >> 2) & 7) + 1, code & 3)
            }
        };
        history::copy(output, at, distance, len)?;
        at += len;
        codes.literals(output, &mut at, trailing)?;
        state = trailing;
    }
}
