//! LZMA: the range coder and the model, for `.lzma` files and for LZMA2 (in xz).
//!
//! Input that ends early reads as zeros, so that the inner loop need not ask; that it ended is
//! found afterwards. No loop depends on it: each symbol makes output, whose room is limited.
//!
//! Source: "LZMA specification" (7-Zip's SDK, public domain).

use super::history;
use crate::PackedProblem;
use crate::bytes::{array, u64_at};
use alloc::vec::Vec;

/// A probability of a bit being 0, of [`ONE`].
type Prob = u16;
const ONE: u32 = 1 << 11;
const HALF: Prob = (ONE / 2) as Prob;
/// How fast probabilities move.
const MOVE: u32 = 5;
/// Shortest match.
const MIN_MATCH: usize = 2;
/// Distance that marks the end.
const END_MARK: u32 = u32::MAX;

/// The compressed bits.
pub(super) struct RangeDecoder<'a> {
    input: &'a [u8],
    at: usize,
    range: u32,
    code: u32,
}

impl<'a> RangeDecoder<'a> {
    /// Starts at the first of `input`'s bytes.
    pub(super) fn new(input: &'a [u8]) -> Result<Self, PackedProblem> {
        let [zero, code @ ..] = array::<5>(input, 0).ok_or(PackedProblem::Truncated)?;
        if zero != 0 {
            return Err(PackedProblem::Corrupt("the range coder's start"));
        }
        Ok(Self {
            input,
            at: 5,
            range: u32::MAX,
            code: u32::from_be_bytes(code),
        })
    }

    /// Whether everything is read and nothing more, as the encoder leaves it.
    pub(super) fn is_finished(&self) -> bool {
        self.code == 0 && self.at == self.input.len()
    }

    /// Whether more was read than there is.
    pub(super) fn is_overrun(&self) -> bool {
        self.at > self.input.len()
    }

    #[inline(always)]
    fn normalize(&mut self) {
        if self.range < 1 << 24 {
            let byte = self.input.get(self.at).copied().unwrap_or(0);
            self.at += 1;
            self.range <<= 8;
            self.code = (self.code << 8) | u32::from(byte);
        }
    }

    #[inline(always)]
    fn bit(&mut self, prob: &mut Prob) -> u32 {
        let p = u32::from(*prob);
        let bound = (self.range >> 11) * p;
        let bit = if self.code < bound {
            self.range = bound;
            *prob = (p + ((ONE - p) >> MOVE)) as Prob;
            0
        } else {
            self.range -= bound;
            self.code -= bound;
            *prob = (p - (p >> MOVE)) as Prob;
            1
        };
        self.normalize();
        bit
    }

    /// Bits without a model.
    #[inline(always)]
    fn direct(&mut self, count: u32) -> u32 {
        let mut value = 0u32;
        for _ in 0..count {
            self.range >>= 1;
            self.code = self.code.wrapping_sub(self.range);
            // All ones if it was below.
            let mask = 0u32.wrapping_sub(self.code >> 31);
            self.code = self.code.wrapping_add(self.range & mask);
            self.normalize();
            value = (value << 1).wrapping_add(mask.wrapping_add(1));
        }
        value
    }

    /// A number of log2(N) bits, high ones first.
    #[inline(always)]
    fn tree<const N: usize>(&mut self, probs: &mut [Prob; N]) -> u32 {
        let mut symbol = 1usize;
        for _ in 0..N.trailing_zeros() {
            // Always below N.
            let Some(prob) = probs.get_mut(symbol) else {
                return 0;
            };
            symbol = (symbol << 1) | self.bit(prob) as usize;
        }
        (symbol - N) as u32
    }

    /// A number of `bits` bits, low ones first; the tree starts at `probs[base]` (its root would be one later).
    #[inline(always)]
    fn reverse_tree<const N: usize>(
        &mut self,
        probs: &mut [Prob; N],
        base: usize,
        bits: u32,
    ) -> u32 {
        let (mut symbol, mut value) = (1, 0);
        for n in 0..bits {
            let Some(prob) = probs.get_mut(base + symbol) else {
                return 0;
            };
            let bit = self.bit(prob);
            symbol = (symbol << 1) | bit as usize;
            value |= bit << n;
        }
        value
    }
}

/// Model of a literal in one context.
#[derive(Clone)]
struct Literal {
    plain: [Prob; 256],
    /// After a match: by the same bit of the byte at the last distance, as long as bits are the same.
    matched: [[Prob; 256]; 2],
}

impl Literal {
    const NEW: Self = Self {
        plain: [HALF; 256],
        matched: [[HALF; 256]; 2],
    };

    #[inline(always)]
    fn decode_matched(&mut self, coder: &mut RangeDecoder<'_>, at_distance: u8) -> u8 {
        let mut symbol = 1usize;
        let mut expected = at_distance;
        while symbol < 256 {
            let expected_bit = expected >> 7;
            expected <<= 1;
            let bit = coder.bit(&mut self.matched[usize::from(expected_bit)][symbol]);
            symbol = (symbol << 1) | bit as usize;
            if bit != u32::from(expected_bit) {
                break;
            }
        }
        while symbol < 256 {
            symbol = (symbol << 1) | coder.bit(&mut self.plain[symbol]) as usize;
        }
        symbol as u8
    }
}

/// Model of a length.
struct Lengths {
    choice: [Prob; 2],
    low: [[Prob; 8]; 16],
    middle: [[Prob; 8]; 16],
    high: [Prob; 256],
}

impl Lengths {
    const NEW: Self = Self {
        choice: [HALF; 2],
        low: [[HALF; 8]; 16],
        middle: [[HALF; 8]; 16],
        high: [HALF; 256],
    };

    #[inline(always)]
    fn decode(&mut self, coder: &mut RangeDecoder<'_>, pos_state: usize) -> usize {
        let [first, second] = &mut self.choice;
        if coder.bit(first) == 0 {
            MIN_MATCH + coder.tree(&mut self.low[pos_state & 15]) as usize
        } else if coder.bit(second) == 0 {
            MIN_MATCH + 8 + coder.tree(&mut self.middle[pos_state & 15]) as usize
        } else {
            MIN_MATCH + 16 + coder.tree(&mut self.high) as usize
        }
    }
}

/// All of the model but literals. Tables by state have 16 rows, of which 12 are used, so that a masked index
/// cannot be out of bounds.
struct Model {
    is_match: [[Prob; 16]; 16],
    is_repeat: [Prob; 16],
    is_repeat_not_0: [Prob; 16],
    is_repeat_not_1: [Prob; 16],
    is_repeat_not_2: [Prob; 16],
    is_long_repeat_0: [[Prob; 16]; 16],
    slots: [[Prob; 64]; 4],
    /// Trees for slots 4 to 13, one after another.
    special: [Prob; 128],
    align: [Prob; 16],
    match_lengths: Lengths,
    repeat_lengths: Lengths,
}

impl Model {
    const NEW: Self = Self {
        is_match: [[HALF; 16]; 16],
        is_repeat: [HALF; 16],
        is_repeat_not_0: [HALF; 16],
        is_repeat_not_1: [HALF; 16],
        is_repeat_not_2: [HALF; 16],
        is_long_repeat_0: [[HALF; 16]; 16],
        slots: [[HALF; 64]; 4],
        special: [HALF; 128],
        align: [HALF; 16],
        match_lengths: Lengths::NEW,
        repeat_lengths: Lengths::NEW,
    };
}

/// How many bits of context there are.
#[derive(Clone, Copy)]
pub(super) struct Properties {
    literal_context: u32,
    literal_position: u32,
    position: u32,
}

impl Properties {
    /// From the byte that holds all three.
    pub(super) fn parse(byte: u8) -> Option<Self> {
        let byte = u32::from(byte);
        (byte < 9 * 5 * 5).then_some(Self {
            literal_context: byte % 9,
            literal_position: byte / 9 % 5,
            position: byte / 45,
        })
    }

    /// LZMA2 has a limit.
    pub(super) fn fits_lzma2(self) -> bool {
        self.literal_context + self.literal_position <= 4
    }
}

/// A decoder between symbols.
pub(super) struct Lzma {
    properties: Properties,
    model: Model,
    literals: Vec<Literal>,
    state: usize,
    /// Last four distances, less 1.
    repeats: [u32; 4],
}

/// Why decoding stopped.
#[derive(PartialEq, Eq)]
pub(super) enum Stop {
    /// At the limit.
    Full,
    /// At the end mark.
    EndMark,
}

impl Lzma {
    pub(super) fn new(properties: Properties) -> Result<Self, PackedProblem> {
        let mut lzma = Self {
            properties,
            model: Model::NEW,
            literals: Vec::new(),
            state: 0,
            repeats: [0; 4],
        };
        lzma.reset(properties)?;
        Ok(lzma)
    }

    /// Back to the initial state.
    pub(super) fn reset(&mut self, properties: Properties) -> Result<(), PackedProblem> {
        let count = 1 << (properties.literal_context + properties.literal_position);
        self.literals.clear();
        self.literals
            .try_reserve_exact(count)
            .map_err(|_| PackedProblem::OutOfMemory)?;
        self.literals.resize(count, Literal::NEW);
        self.properties = properties;
        self.model = Model::NEW;
        self.state = 0;
        self.repeats = [0; 4];
        Ok(())
    }

    /// Decodes into `output` (which starts where the dictionary does) from `at` to `limit`, or to the end mark.
    /// With `to_mark`, the mark has to come at the limit. Returns where it stopped.
    pub(super) fn decode(
        &mut self,
        input: &mut RangeDecoder<'_>,
        output: &mut [u8],
        mut at: usize,
        limit: usize,
        to_mark: bool,
    ) -> Result<(usize, Stop), PackedProblem> {
        let Some(output) = output.get_mut(..limit) else {
            return Err(PackedProblem::TooLong);
        };
        // In local variables, that is, in registers.
        let mut coder = RangeDecoder { ..*input };
        let mut state = self.state;
        let [mut rep0, mut rep1, mut rep2, mut rep3] = self.repeats;
        let model = &mut self.model;
        let literals = self.literals.as_mut_slice();
        let Properties {
            literal_context,
            literal_position,
            position,
        } = self.properties;
        let position_mask = (1usize << position) - 1;
        let literal_mask = (1usize << literal_position) - 1;

        let mut stop = Stop::Full;
        while at < output.len() || to_mark {
            let pos_state = at & position_mask & 15;
            if coder.bit(&mut model.is_match[state & 15][pos_state]) == 0 {
                let last = match at {
                    0 => 0,
                    _ => output.get(at - 1).copied().unwrap_or(0),
                };
                let context = ((at & literal_mask) << literal_context)
                    + (usize::from(last) >> (8 - literal_context));
                let Some(literal) = literals.get_mut(context) else {
                    return Err(PackedProblem::Corrupt("a literal's context"));
                };
                let byte = if state < 7 {
                    coder.tree(&mut literal.plain) as u8
                } else {
                    let at_distance = at
                        .checked_sub(rep0 as usize + 1)
                        .and_then(|from| output.get(from).copied())
                        .ok_or(PackedProblem::Corrupt("a reference to before the start"))?;
                    literal.decode_matched(&mut coder, at_distance)
                };
                let Some(room) = output.get_mut(at) else {
                    return Err(PackedProblem::TooLong);
                };
                *room = byte;
                at += 1;
                state = match state {
                    0..4 => 0,
                    4..10 => state - 3,
                    _ => state - 6,
                };
                continue;
            }
            let len;
            if coder.bit(&mut model.is_repeat[state & 15]) == 0 {
                len = model.match_lengths.decode(&mut coder, pos_state);
                (rep3, rep2, rep1) = (rep2, rep1, rep0);
                rep0 = distance(&mut coder, model, len);
                if rep0 == END_MARK {
                    stop = Stop::EndMark;
                    break;
                }
                state = if state < 7 { 7 } else { 10 };
            } else {
                if coder.bit(&mut model.is_repeat_not_0[state & 15]) == 0 {
                    if coder.bit(&mut model.is_long_repeat_0[state & 15][pos_state]) == 0 {
                        state = if state < 7 { 9 } else { 11 };
                        history::copy(output, at, rep0 as usize + 1, 1)?;
                        at += 1;
                        continue;
                    }
                } else if coder.bit(&mut model.is_repeat_not_1[state & 15]) == 0 {
                    (rep0, rep1) = (rep1, rep0);
                } else if coder.bit(&mut model.is_repeat_not_2[state & 15]) == 0 {
                    (rep0, rep1, rep2) = (rep2, rep0, rep1);
                } else {
                    (rep0, rep1, rep2, rep3) = (rep3, rep0, rep1, rep2);
                }
                len = model.repeat_lengths.decode(&mut coder, pos_state);
                state = if state < 7 { 8 } else { 11 };
            }
            history::copy(output, at, rep0 as usize + 1, len)?;
            at += len;
        }
        *input = coder;
        self.state = state;
        self.repeats = [rep0, rep1, rep2, rep3];
        if input.is_overrun() {
            Err(PackedProblem::Truncated)
        } else {
            Ok((at, stop))
        }
    }
}

/// A match's distance less 1; short matches have models of their own.
#[inline(always)]
fn distance(coder: &mut RangeDecoder<'_>, model: &mut Model, len: usize) -> u32 {
    let slot = coder.tree(&mut model.slots[(len - MIN_MATCH).min(3)]);
    if slot < 4 {
        return slot;
    }
    let bits = slot / 2 - 1;
    let high = (2 | (slot & 1)) << bits;
    if slot < 14 {
        high + coder.reverse_tree(&mut model.special, (high - slot) as usize, bits)
    } else {
        let middle = coder.direct(bits - 4) << 4;
        high + middle + coder.reverse_tree(&mut model.align, 0, 4)
    }
}

/// What a `.lzma` file says in its first 13 bytes: properties, and the unpacked size if known.
fn header(data: &[u8]) -> Result<(Properties, Option<u64>), PackedProblem> {
    let truncated = PackedProblem::Truncated;
    let properties = Properties::parse(*data.first().ok_or(truncated)?)
        .ok_or(PackedProblem::Corrupt("the properties"))?;
    let size = u64_at(data, 5).ok_or(truncated)?;
    Ok((properties, Some(size).filter(|&size| size != u64::MAX)))
}

pub(super) fn unpacked_size(data: &[u8]) -> Result<u64, PackedProblem> {
    header(data)?.1.ok_or(PackedProblem::UnknownSize)
}

/// Unpacks a `.lzma` file.
pub(super) fn unpack(data: &[u8], output: &mut [u8]) -> Result<usize, PackedProblem> {
    let (properties, size) = header(data)?;
    let body = data.get(13..).ok_or(PackedProblem::Truncated)?;
    let limit = match size {
        None => output.len(),
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|&size| size <= output.len())
            .ok_or(PackedProblem::TooLong)?,
    };
    let mut coder = RangeDecoder::new(body)?;
    let (at, _) = Lzma::new(properties)?.decode(&mut coder, output, 0, limit, size.is_none())?;
    Ok(at)
}
