//! xz: container, LZMA2, and the x86 filter that Linux's build applies.
//!
//! Source: "The .xz File Format" 1.1.0 (public domain).

use super::checksum::{crc32, crc64};
use super::lzma::{Lzma, Properties, RangeDecoder};
use super::x86_filter;
use crate::PackedProblem;
use crate::bytes::{array, u32_at, u64_at};

const HEADER_MAGIC: &[u8] = b"\xfd7zXZ\0";
const FOOTER_BYTES: usize = 12;
const FILTER_X86: u64 = 4;
const FILTER_LZMA2: u64 = 0x21;

const TRUNCATED: PackedProblem = PackedProblem::Truncated;

/// Reads pieces off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], PackedProblem> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, PackedProblem> {
        let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Seven bits in each byte, low ones first.
    fn number(&mut self) -> Result<u64, PackedProblem> {
        let mut value = 0;
        for n in 0..9 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(PackedProblem::Corrupt("a number"))
    }
}

/// `body` followed by its CRC-32?
fn check_crc(body: &[u8], crc: &[u8]) -> Result<(), PackedProblem> {
    if u32_at(crc, 0) == Some(crc32(body)) {
        Ok(())
    } else {
        Err(PackedProblem::Checksum)
    }
}

/// How blocks are checked.
#[derive(Clone, Copy)]
enum Check {
    Crc32,
    Crc64,
    /// So many bytes that are not looked at.
    Other(usize),
}

impl Check {
    fn parse(kind: u8) -> Result<Self, PackedProblem> {
        Ok(match kind {
            1 => Self::Crc32,
            4 => Self::Crc64,
            0 => Self::Other(0),
            // By the format's table of sizes, by groups of three.
            2..=15 => Self::Other(4 << ((kind - 1) / 3)),
            _ => return Err(PackedProblem::Corrupt("the stream's flags")),
        })
    }

    fn verify(self, reader: &mut Reader<'_>, unpacked: &[u8]) -> Result<(), PackedProblem> {
        let is_good = match self {
            Self::Crc32 => u32_at(reader.bytes(4)?, 0) == Some(crc32(unpacked)),
            Self::Crc64 => u64_at(reader.bytes(8)?, 0) == Some(crc64(unpacked)),
            Self::Other(len) => {
                reader.bytes(len)?;
                true
            }
        };
        if is_good {
            Ok(())
        } else {
            Err(PackedProblem::Checksum)
        }
    }
}

/// Unpacks the first stream of a file.
pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let mut reader = Reader { rest: data };
    let header = reader.bytes(12)?;
    if !header.starts_with(HEADER_MAGIC) {
        return Err(PackedProblem::Corrupt("the magic"));
    }
    let [zero, kind] = array(header, 6).ok_or(TRUNCATED)?;
    check_crc(&[zero, kind], header.get(8..).ok_or(TRUNCATED)?)?;
    if zero != 0 {
        return Err(PackedProblem::Corrupt("the stream's flags"));
    }
    let check = Check::parse(kind)?;
    let mut written = 0;
    let mut blocks = 0;
    loop {
        let &size = reader.rest.first().ok_or(TRUNCATED)?;
        if size == 0 {
            break;
        }
        let filter_start = block_header(&mut reader, size)?;
        let room = output.get_mut(written..).unwrap_or(&mut []);
        let before = reader.rest.len();
        let len = lzma2(&mut reader, room)?;
        // Blocks are padded to 4 bytes.
        let packed = before - reader.rest.len();
        reader.bytes(packed.wrapping_neg() & 3)?;
        let unpacked = room.get_mut(..len).unwrap_or(&mut []);
        if let Some(start) = filter_start {
            x86_filter::undo(unpacked, start);
        }
        check.verify(&mut reader, unpacked)?;
        written += len;
        blocks += 1;
    }
    let sizes = index(&mut reader)?;
    if (sizes.blocks, sizes.unpacked) != (blocks, written as u64) {
        return Err(PackedProblem::Corrupt("the index"));
    }
    let footer = reader.bytes(FOOTER_BYTES)?;
    if !footer.ends_with(b"YZ") {
        return Err(PackedProblem::Corrupt("the footer"));
    }
    Ok(written)
}

/// Checks a block's header; the start offset of the x86 filter if the block is filtered.
fn block_header(reader: &mut Reader<'_>, size: u8) -> Result<Option<u32>, PackedProblem> {
    let (body, crc) = reader
        .bytes((usize::from(size) + 1) * 4)?
        .split_last_chunk::<4>()
        .ok_or(TRUNCATED)?;
    check_crc(body, crc)?;
    let mut fields = Reader {
        rest: body.get(1..).ok_or(TRUNCATED)?,
    };
    let flags = fields.byte()?;
    for has_size in [0x40, 0x80] {
        if flags & has_size != 0 {
            fields.number()?;
        }
    }
    let mut filter_start = None;
    let filters = flags & 3;
    for n in 0..=filters {
        let id = fields.number()?;
        let len = usize::try_from(fields.number()?).map_err(|_| TRUNCATED)?;
        let properties = fields.bytes(len)?;
        match id {
            FILTER_X86 if n < filters && filter_start.is_none() => {
                filter_start = Some(u32_at(properties, 0).unwrap_or(0));
            }
            // The dictionary's size does not matter: everything unpacked is there.
            FILTER_LZMA2 if n == filters => {}
            _ => return Err(PackedProblem::Unsupported("a filter")),
        }
    }
    Ok(filter_start)
}

/// LZMA2: chunks, each with what it resets, and its sizes.
fn lzma2(reader: &mut Reader<'_>, output: &mut [u8]) -> Result<usize, PackedProblem> {
    let mut lzma: Option<Lzma> = None;
    // Where the dictionary starts.
    let mut start = None;
    let mut properties = None;
    let mut at = 0;
    loop {
        let control = reader.byte()?;
        if control == 0 {
            return Ok(at);
        }
        if control == 1 || control >= 0xe0 {
            start = Some(at);
        }
        let start = start.ok_or(PackedProblem::Corrupt("a chunk without dictionary"))?;
        let [high, low] = array(reader.bytes(2)?, 0).ok_or(TRUNCATED)?;
        let low_size = usize::from(u16::from_be_bytes([high, low]));
        if control < 0x80 {
            // Stored: 1 with a new dictionary, 2 without.
            if control > 2 {
                return Err(PackedProblem::Corrupt("a chunk's control byte"));
            }
            let stored = reader.bytes(low_size + 1)?;
            let room = output
                .get_mut(at..at + stored.len())
                .ok_or(PackedProblem::TooLong)?;
            room.copy_from_slice(stored);
            at += stored.len();
            continue;
        }
        let unpacked = (usize::from(control & 0x1f) << 16) + low_size + 1;
        let [high, low] = array(reader.bytes(2)?, 0).ok_or(TRUNCATED)?;
        let packed = usize::from(u16::from_be_bytes([high, low])) + 1;
        if control >= 0xc0 {
            let new = Properties::parse(reader.byte()?).filter(|new| new.fits_lzma2());
            properties = Some(new.ok_or(PackedProblem::Corrupt("a chunk's properties"))?);
        }
        let missing = PackedProblem::Corrupt("a chunk without properties");
        let decoder = match &mut lzma {
            Some(decoder) => {
                if control >= 0xa0 {
                    decoder.reset(properties.ok_or(missing)?)?;
                }
                decoder
            }
            none => none.insert(Lzma::new(properties.ok_or(missing)?)?),
        };
        let mut coder = RangeDecoder::new(reader.bytes(packed)?)?;
        let history = output.get_mut(start..).unwrap_or(&mut []);
        let limit = at - start + unpacked;
        decoder.decode(&mut coder, history, at - start, limit, false)?;
        if !coder.is_finished() {
            return Err(PackedProblem::Corrupt("a chunk's end"));
        }
        at += unpacked;
    }
}

/// What an index sums up to.
struct Sizes {
    blocks: u64,
    unpacked: u64,
}

fn index(reader: &mut Reader<'_>) -> Result<Sizes, PackedProblem> {
    let all = reader.rest;
    reader.byte()?;
    let blocks = reader.number()?;
    let mut unpacked = 0u64;
    // Ends at the data's end at the latest: each record has two bytes at least.
    for _ in 0..blocks {
        reader.number()?;
        let overflow = PackedProblem::Corrupt("the index");
        unpacked = unpacked.checked_add(reader.number()?).ok_or(overflow)?;
    }
    let used = all.len() - reader.rest.len();
    reader.bytes(used.wrapping_neg() & 3)?;
    let used = all.len() - reader.rest.len();
    check_crc(all.get(..used).ok_or(TRUNCATED)?, reader.bytes(4)?)?;
    Ok(Sizes { blocks, unpacked })
}

/// Sums up the index, which is found from the file's end.
pub(super) fn unpacked_size(data: &[u8]) -> Result<u64, PackedProblem> {
    // Padding after a stream is of whole zero words.
    let mut file = data;
    while let Some(rest) = file.strip_suffix(&[0; 4]) {
        file = rest;
    }
    let (file, footer) = file.split_last_chunk::<FOOTER_BYTES>().ok_or(TRUNCATED)?;
    if !footer.ends_with(b"YZ") {
        return Err(TRUNCATED);
    }
    let backward = u32_at(footer, 4)
        .and_then(|words| usize::try_from(words).ok()?.checked_add(1)?.checked_mul(4))
        .ok_or(TRUNCATED)?;
    let start = file.len().checked_sub(backward).ok_or(TRUNCATED)?;
    Ok(index(&mut Reader {
        rest: file.get(start..).ok_or(TRUNCATED)?,
    })?
    .unpacked)
}
