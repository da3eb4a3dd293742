//! bzip2: Huffman codes, move to front, run lengths, and the inverse of the Burrows-Wheeler transform.
//!
//! Source: Joe Tsai's "BZIP2: Format Specification" (2016).

use crate::PackedProblem;
use alloc::vec::Vec;

/// π, in decimal digits: a block comes.
const BLOCK_MAGIC: u64 = 0x3141_5926_5359;
/// √π: the stream ends.
const END_MAGIC: u64 = 0x1772_4538_5090;
/// Symbols that a code is used for before the next selector.
const GROUP: usize = 50;
/// Longest code.
const MAX_BITS: u32 = 20;
/// 256 bytes, with two for runs, one less for the first place, and one for the end.
const MAX_SYMBOLS: usize = 258;
/// By the format; more are read and dropped.
const MAX_SELECTORS: usize = 18_002;

const TRUNCATED: PackedProblem = PackedProblem::Truncated;

/// Bits, high ones first.
struct Bits<'a> {
    rest: &'a [u8],
    word: u64,
    count: u32,
}

impl Bits<'_> {
    #[inline(always)]
    fn refill(&mut self) {
        while self.count <= 56 {
            let Some((&byte, rest)) = self.rest.split_first() else {
                break;
            };
            self.rest = rest;
            self.word |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// 1 to 48 bits.
    #[inline(always)]
    fn take(&mut self, count: u32) -> Result<u64, PackedProblem> {
        if self.count < count {
            self.refill();
            if self.count < count {
                return Err(TRUNCATED);
            }
        }
        let value = self.word >> (64 - count);
        self.word <<= count;
        self.count -= count;
        Ok(value)
    }

    fn bit(&mut self) -> Result<bool, PackedProblem> {
        Ok(self.take(1)? != 0)
    }
}

/// A Huffman code: codes of one length are consecutive numbers.
struct Code {
    /// By length: one past the highest code, aligned to [`MAX_BITS`] bits.
    limits: [u32; MAX_BITS as usize + 2],
    /// By length: what to add to a code to have its place among the symbols.
    places: [i32; MAX_BITS as usize + 2],
    symbols: [u16; MAX_SYMBOLS],
}

impl Code {
    const EMPTY: Self = Self {
        limits: [0; MAX_BITS as usize + 2],
        places: [0; MAX_BITS as usize + 2],
        symbols: [0; MAX_SYMBOLS],
    };

    fn build(&mut self, lengths: &[u8]) -> Result<(), PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a Huffman code");
        let mut code = 0u32;
        let mut place = 0;
        for bits in 1..=MAX_BITS {
            let first = place;
            for (symbol, _) in (0u16..)
                .zip(lengths)
                .filter(|&(_, &len)| u32::from(len) == bits)
            {
                *self.symbols.get_mut(place).ok_or(corrupt)? = symbol;
                place += 1;
            }
            let index = bits as usize;
            // Both at least 0 and below 2^20, if the code is not over-full.
            *self.places.get_mut(index).ok_or(corrupt)? = first as i32 - code as i32;
            code += (place - first) as u32;
            if code > 1 << bits {
                return Err(corrupt);
            }
            *self.limits.get_mut(index).ok_or(corrupt)? = code << (MAX_BITS - bits);
            code <<= 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn decode(&self, bits: &mut Bits<'_>) -> Result<u16, PackedProblem> {
        if bits.count < MAX_BITS {
            bits.refill();
        }
        let next = (bits.word >> (64 - MAX_BITS)) as u32;
        for (len, (&limit, &place)) in (0u32..).zip(self.limits.iter().zip(&self.places)).skip(1) {
            if next < limit {
                if bits.count < len {
                    return Err(TRUNCATED);
                }
                bits.word <<= len;
                bits.count -= len;
                let at = (next >> (MAX_BITS - len)) as i32 + place;
                let symbol = usize::try_from(at).ok().and_then(|at| self.symbols.get(at));
                return symbol.copied().ok_or(PackedProblem::Corrupt("a symbol"));
            }
        }
        Err(if bits.rest.is_empty() && bits.count < MAX_BITS {
            TRUNCATED
        } else {
            PackedProblem::Corrupt("a symbol")
        })
    }
}

/// Checksum with the bits in the other order than usual.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 != 0 {
                (crc << 1) ^ 0x04c1_1db7
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = CRC;
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let &[b'B', b'Z', b'h', level @ b'1'..=b'9', ref rest @ ..] = data else {
        return Err(PackedProblem::Corrupt("the magic"));
    };
    let mut decoder = Decoder::new(usize::from(level - b'0') * 100_000)?;
    let mut bits = Bits {
        rest,
        word: 0,
        count: 0,
    };
    let mut at = 0;
    let mut combined = 0u32;
    loop {
        match bits.take(48)? {
            BLOCK_MAGIC => {}
            END_MAGIC => break,
            _ => return Err(PackedProblem::Corrupt("a block's magic")),
        }
        let expected = bits.take(32)? as u32;
        let room = output.get_mut(at..).unwrap_or(&mut []);
        let len = decoder.block(&mut bits, room)?;
        if crc(room.get(..len).unwrap_or(&[])) != expected {
            return Err(PackedProblem::Checksum);
        }
        combined = combined.rotate_left(1) ^ expected;
        at += len;
    }
    if bits.take(32)? as u32 != combined {
        return Err(PackedProblem::Checksum);
    }
    Ok(at)
}

struct Decoder {
    /// Low 8 bits: the transformed bytes. High 24 bits: where each byte's successor is.
    block: Vec<u32>,
    /// As long as a block may be.
    max: usize,
    selectors: Vec<u8>,
    codes: Vec<Code>,
}

impl Decoder {
    fn new(max: usize) -> Result<Self, PackedProblem> {
        let mut decoder = Self {
            block: Vec::new(),
            max,
            selectors: Vec::new(),
            codes: Vec::new(),
        };
        let no_memory = |_| PackedProblem::OutOfMemory;
        decoder.block.try_reserve_exact(max).map_err(no_memory)?;
        decoder
            .selectors
            .try_reserve_exact(MAX_SELECTORS)
            .map_err(no_memory)?;
        decoder.codes.try_reserve_exact(6).map_err(no_memory)?;
        decoder.codes.resize_with(6, || Code::EMPTY);
        Ok(decoder)
    }

    /// Unpacks one block; returns its unpacked length.
    fn block(&mut self, bits: &mut Bits<'_>, output: &mut [u8]) -> Result<usize, PackedProblem> {
        if bits.bit()? {
            return Err(PackedProblem::Unsupported("a randomised block"));
        }
        let origin = bits.take(24)? as usize;
        let mut front = [0u8; 256];
        let used = read_alphabet(bits, &mut front)?;
        let codes = self.read_codes(bits, used + 2)?;
        self.read_symbols(bits, &mut front, used, codes)?;
        self.transform_back()?;
        self.write(origin, output)
    }

    /// Reads the codes' number, the selectors and the codes.
    fn read_codes(&mut self, bits: &mut Bits<'_>, symbols: usize) -> Result<usize, PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a block's codes");
        let codes = bits.take(3)? as usize;
        let selectors = bits.take(15)? as usize;
        if !(2..=6).contains(&codes) || selectors == 0 {
            return Err(corrupt);
        }
        self.selectors.clear();
        let mut front = [0u8, 1, 2, 3, 4, 5];
        for n in 0..selectors {
            let mut place = 0;
            while bits.bit()? {
                place += 1;
                if place >= codes {
                    return Err(corrupt);
                }
            }
            front.get_mut(..=place).ok_or(corrupt)?.rotate_right(1);
            if n < MAX_SELECTORS {
                self.selectors.push(front[0]);
            }
        }
        let mut lengths = [0u8; MAX_SYMBOLS];
        let lengths = lengths.get_mut(..symbols).ok_or(corrupt)?;
        for code in self.codes.iter_mut().take(codes) {
            let mut len = bits.take(5)? as u32;
            for room in lengths.iter_mut() {
                loop {
                    if !(1..=MAX_BITS).contains(&len) {
                        return Err(corrupt);
                    }
                    if !bits.bit()? {
                        break;
                    }
                    len = if bits.bit()? { len - 1 } else { len + 1 };
                }
                *room = len as u8;
            }
            code.build(lengths)?;
        }
        Ok(codes)
    }

    /// Decodes symbols to bytes: runs of the front byte, or another byte that moves to the front.
    fn read_symbols(
        &mut self,
        bits: &mut Bits<'_>,
        front: &mut [u8; 256],
        used: usize,
        codes: usize,
    ) -> Result<(), PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a block is too long");
        let end = used as u16 + 1;
        let mut selectors = self.selectors.iter();
        self.block.clear();
        let mut run = 0usize;
        let mut weight = 1usize;
        loop {
            let &selector = selectors
                .next()
                .ok_or(PackedProblem::Corrupt("a block's selectors"))?;
            let code = self
                .codes
                .get(..codes)
                .and_then(|codes| codes.get(usize::from(selector)));
            let code = code.ok_or(PackedProblem::Corrupt("a block's selectors"))?;
            for _ in 0..GROUP {
                let symbol = code.decode(bits)?;
                if symbol < 2 {
                    // A number with digits 1 and 2, low ones first.
                    run += weight << symbol;
                    weight <<= 1;
                    if run > self.max {
                        return Err(corrupt);
                    }
                    continue;
                }
                if run > 0 {
                    let len = self.block.len() + run;
                    if len > self.max {
                        return Err(corrupt);
                    }
                    self.block.resize(len, front[0].into());
                    (run, weight) = (0, 1);
                }
                if symbol == end {
                    return Ok(());
                }
                // Symbol 2 is the place after the front.
                let moved = front.get_mut(..usize::from(symbol)).ok_or(corrupt)?;
                moved.rotate_right(1);
                if self.block.len() == self.max {
                    return Err(corrupt);
                }
                self.block.push(front[0].into());
            }
        }
    }

    /// Links each byte to its successor.
    fn transform_back(&mut self) -> Result<(), PackedProblem> {
        let mut starts = [0u32; 256];
        for &entry in &self.block {
            starts[(entry & 0xff) as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            (*start, sum) = (sum, sum + *start);
        }
        for n in 0..self.block.len() {
            let Some(&entry) = self.block.get(n) else {
                break;
            };
            let start = &mut starts[(entry & 0xff) as usize];
            if let Some(target) = self.block.get_mut(*start as usize) {
                *target |= (n as u32) << 8;
            }
            *start += 1;
        }
        Ok(())
    }

    /// Follows the links, and expands runs: four equal bytes are followed by how many more there are.
    fn write(&self, origin: usize, output: &mut [u8]) -> Result<usize, PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a block's origin");
        let mut entry = *self.block.get(origin).ok_or(corrupt)?;
        let mut at = 0;
        let (mut equal, mut last) = (0, None);
        for _ in 0..self.block.len() {
            entry = *self.block.get((entry >> 8) as usize).ok_or(corrupt)?;
            let byte = entry as u8;
            if equal == 4 {
                let end = at + usize::from(byte);
                let room = output.get_mut(at..end).ok_or(PackedProblem::TooLong)?;
                room.fill(last.unwrap_or(0));
                at = end;
                (equal, last) = (0, None);
                continue;
            }
            *output.get_mut(at).ok_or(PackedProblem::TooLong)? = byte;
            at += 1;
            equal = if last == Some(byte) { equal + 1 } else { 1 };
            last = Some(byte);
        }
        Ok(at)
    }
}

/// Reads which bytes occur, into `front` in order; returns how many.
fn read_alphabet(bits: &mut Bits<'_>, front: &mut [u8; 256]) -> Result<usize, PackedProblem> {
    let groups = bits.take(16)?;
    let mut used = 0;
    for group in 0..16u8 {
        if groups & (0x8000 >> group) == 0 {
            continue;
        }
        let members = bits.take(16)?;
        for member in 0..16u8 {
            if members & (0x8000 >> member) != 0 {
                if let Some(room) = front.get_mut(used) {
                    *room = group * 16 + member;
                }
                used += 1;
            }
        }
    }
    if used == 0 {
        Err(PackedProblem::Corrupt("a block without bytes"))
    } else {
        Ok(used)
    }
}
