//! Huffman codes of literals (RFC 8878 §4.2).

use super::bits::BackwardBits;
use super::fse::{Distribution, State};
use crate::PackedProblem;
use crate::bytes::u16_at;
use alloc::vec::Vec;

/// Longest code.
const MAX_BITS: u32 = 11;
const TABLE: usize = 1 << MAX_BITS;
/// Largest accuracy of weights' distribution.
const WEIGHTS_LOG: u32 = 6;

const CORRUPT: PackedProblem = PackedProblem::Corrupt("a Huffman code");

/// A code's decoding table.
pub(super) struct Huffman {
    /// By the next `bits` bits: the symbol, and above it the number of bits that are its code.
    table: Vec<[u16; TABLE]>,
    /// Length of the longest code; 0 if there is no code yet.
    bits: u32,
}

impl Huffman {
    pub(super) fn new() -> Result<Self, PackedProblem> {
        let mut table = Vec::new();
        table
            .try_reserve_exact(1)
            .map_err(|_| PackedProblem::OutOfMemory)?;
        table.push([0; TABLE]);
        Ok(Self { table, bits: 0 })
    }

    pub(super) fn forget(&mut self) {
        self.bits = 0;
    }

    /// Reads a code; returns what follows it.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], PackedProblem> {
        let (&header, rest) = bytes.split_first().ok_or(PackedProblem::Truncated)?;
        let mut weights = [0u8; 256];
        let (count, rest) = if header < 128 {
            let (packed, rest) = rest
                .split_at_checked(header.into())
                .ok_or(PackedProblem::Truncated)?;
            (packed_weights(packed, &mut weights)?, rest)
        } else {
            let count = usize::from(header) - 127;
            let (packed, rest) = rest
                .split_at_checked(count.div_ceil(2))
                .ok_or(PackedProblem::Truncated)?;
            for (pair, byte) in weights.chunks_exact_mut(2).zip(packed) {
                pair.copy_from_slice(&[byte >> 4, byte & 15]);
            }
            (count, rest)
        };
        self.build(&mut weights, count)?;
        Ok(rest)
    }

    /// The last symbol's weight is what is missing to a power of two.
    fn build(&mut self, weights: &mut [u8; 256], count: usize) -> Result<(), PackedProblem> {
        self.bits = 0;
        let mut sum = 0u32;
        for &weight in weights.get(..count).ok_or(CORRUPT)? {
            if u32::from(weight) > MAX_BITS {
                return Err(CORRUPT);
            }
            sum += (1 << weight) >> 1;
        }
        if sum == 0 {
            return Err(CORRUPT);
        }
        let bits = 32 - sum.leading_zeros();
        let missing = (1u32 << bits) - sum;
        if bits > MAX_BITS || !missing.is_power_of_two() {
            return Err(CORRUPT);
        }
        *weights.get_mut(count).ok_or(CORRUPT)? = missing.trailing_zeros() as u8 + 1;
        let weights = weights.get(..=count).ok_or(CORRUPT)?;
        let table = self.table.first_mut().ok_or(CORRUPT)?;
        // Longest codes, that is, lowest weights, come first.
        let mut at = 0;
        for weight in 1..=bits {
            let entries = 1usize << (weight - 1);
            for (symbol, _) in (0u16..)
                .zip(weights)
                .filter(|&(_, &other)| u32::from(other) == weight)
            {
                let entry = symbol | ((bits + 1 - weight) as u16) << 8;
                table.get_mut(at..at + entries).ok_or(CORRUPT)?.fill(entry);
                at += entries;
            }
        }
        if at != 1 << bits {
            return Err(CORRUPT);
        }
        self.bits = bits;
        Ok(())
    }

    /// Decodes one stream.
    pub(super) fn decode(&self, packed: &[u8], output: &mut [u8]) -> Result<(), PackedProblem> {
        let table = self
            .table
            .first()
            .filter(|_| self.bits > 0)
            .ok_or(CORRUPT)?;
        let mut bits = BackwardBits::new(packed)?;
        let width = self.bits;
        let symbol = |bits: &mut BackwardBits<'_>| {
            let entry = table[bits.peek(width) as usize & (TABLE - 1)];
            bits.skip(u32::from(entry >> 8));
            entry as u8
        };
        let (groups, tail) = output.as_chunks_mut::<5>();
        for group in groups {
            // Five codes of 11 bits at most.
            bits.refill();
            for byte in group {
                *byte = symbol(&mut bits);
            }
        }
        bits.refill();
        for byte in tail {
            *byte = symbol(&mut bits);
        }
        bits.refill();
        if bits.is_finished() {
            Ok(())
        } else {
            Err(PackedProblem::Corrupt("literals"))
        }
    }

    /// Decodes four streams, each to a quarter.
    pub(super) fn decode_four(
        &self,
        packed: &[u8],
        output: &mut [u8],
    ) -> Result<(), PackedProblem> {
        let mut packed_rest = packed.get(6..).ok_or(PackedProblem::Truncated)?;
        let quarter = output.len().div_ceil(4);
        let mut output_rest = output;
        for n in 0..3 {
            let len = usize::from(u16_at(packed, 2 * n).ok_or(PackedProblem::Truncated)?);
            let (stream, rest) = packed_rest
                .split_at_checked(len)
                .ok_or(PackedProblem::Truncated)?;
            let (room, output_tail) = output_rest.split_at_mut_checked(quarter).ok_or(CORRUPT)?;
            self.decode(stream, room)?;
            (packed_rest, output_rest) = (rest, output_tail);
        }
        self.decode(packed_rest, output_rest)
    }
}

/// Weights packed by FSE: two decoders take turns.
fn packed_weights(packed: &[u8], weights: &mut [u8; 256]) -> Result<usize, PackedProblem> {
    let (distribution, stream) = Distribution::read(packed, WEIGHTS_LOG, 16)?;
    let mut table = [State {
        symbol: 0,
        bits: 0,
        base: 0,
    }; 1 << WEIGHTS_LOG];
    distribution.table(|number, state| {
        if let Some(entry) = table.get_mut(number) {
            *entry = state;
        }
    })?;
    let mut bits = BackwardBits::new(stream)?;
    let start = |bits: &mut BackwardBits<'_>| bits.take(distribution.log) as usize;
    let state = |number: usize| table.get(number).copied().ok_or(CORRUPT);
    let (mut current, mut other) = (start(&mut bits), start(&mut bits));
    let mut count = 0;
    // The last weight is not here, so there are 255 at most.
    let mut emit = |symbol| {
        *weights
            .get_mut(count)
            .filter(|_| count < 255)
            .ok_or(CORRUPT)? = symbol;
        count += 1;
        Ok(())
    };
    loop {
        let now = state(current)?;
        emit(now.symbol)?;
        bits.refill();
        let low = bits.take(now.bits.into()) as usize;
        if bits.is_overrun() {
            emit(state(other)?.symbol)?;
            return Ok(count);
        }
        (current, other) = (other, usize::from(now.base) + low);
    }
}
