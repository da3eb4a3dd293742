//! Sequences: so many literals, then a match (RFC 8878 §3.1.1.3.2, §3.1.1.4, §3.1.1.5).

use super::bits::BackwardBits;
use super::fse::{Distribution, MAX_LOG};
use super::{BLOCK_MAX, SLACK, TRUNCATED};
use crate::PackedProblem;
use crate::bytes::array;
use crate::decompress::history;
use alloc::vec::Vec;

/// A code's smallest value, and how many bits are added to it.
type Code = (u32, u8);

const fn literal_lengths() -> [Code; 36] {
    let mut codes = [(0, 0); 36];
    let bits = [
        1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ];
    fill(&mut codes, 16, 0, &bits);
    codes
}

const fn match_lengths() -> [Code; 53] {
    let mut codes = [(0, 0); 53];
    let bits = [
        1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ];
    fill(&mut codes, 32, 3, &bits);
    codes
}

/// `plain` codes of one value each from `first` on, then codes with `bits`, without gaps.
const fn fill(codes: &mut [Code], plain: usize, first: u32, bits: &[u8]) {
    let mut value = first;
    let mut n = 0;
    while n < codes.len() {
        let extra = if n < plain { 0 } else { bits[n - plain] };
        codes[n] = (value, extra);
        value += 1 << extra;
        n += 1;
    }
}

const fn offsets() -> [Code; 32] {
    let mut codes = [(0, 0); 32];
    let mut n = 0;
    while n < codes.len() {
        codes[n] = (1 << n, n as u8);
        n += 1;
    }
    codes
}

static LITERAL_LENGTHS: [Code; 36] = literal_lengths();
static MATCH_LENGTHS: [Code; 53] = match_lengths();
static OFFSETS: [Code; 32] = offsets();

static LITERAL_LENGTH_SHARES: [i8; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
static MATCH_LENGTH_SHARES: [i8; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
static OFFSET_SHARES: [i8; 29] = [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];

/// A decoder's state with its code's values at hand.
#[derive(Clone, Copy)]
struct Entry {
    value: u32,
    next_base: u16,
    value_bits: u8,
    next_bits: u8,
}

const STATES: usize = 1 << MAX_LOG;

/// A decoding table of one of the three kinds of codes.
struct Table {
    entries: [Entry; STATES],
    log: u32,
    is_set: bool,
}

/// What is different among the three.
struct Kind {
    codes: &'static [Code],
    shares: &'static [i8],
    shares_log: u32,
    max_log: u32,
}

const LITERAL_LENGTH: Kind = Kind {
    codes: &LITERAL_LENGTHS,
    shares: &LITERAL_LENGTH_SHARES,
    shares_log: 6,
    max_log: 9,
};
const OFFSET: Kind = Kind {
    codes: &OFFSETS,
    shares: &OFFSET_SHARES,
    shares_log: 5,
    max_log: 8,
};
const MATCH_LENGTH: Kind = Kind {
    codes: &MATCH_LENGTHS,
    shares: &MATCH_LENGTH_SHARES,
    shares_log: 6,
    max_log: 9,
};

const CORRUPT: PackedProblem = PackedProblem::Corrupt("a sequence");

impl Table {
    const EMPTY: Self = Self {
        entries: [Entry {
            value: 0,
            next_base: 0,
            value_bits: 0,
            next_bits: 0,
        }; STATES],
        log: 0,
        is_set: false,
    };

    /// Sets the table by its mode; returns what follows its description.
    fn read<'a>(
        &mut self,
        kind: &Kind,
        mode: u8,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], PackedProblem> {
        let (distribution, rest) = match mode & 3 {
            0 => (Distribution::fixed(kind.shares_log, kind.shares), bytes),
            1 => {
                let (&code, rest) = bytes.split_first().ok_or(TRUNCATED)?;
                let &(value, value_bits) = kind.codes.get(usize::from(code)).ok_or(CORRUPT)?;
                self.entries[0] = Entry {
                    value,
                    next_base: 0,
                    value_bits,
                    next_bits: 0,
                };
                (self.log, self.is_set) = (0, true);
                return Ok(rest);
            }
            2 => Distribution::read(bytes, kind.max_log, kind.codes.len())?,
            _ if self.is_set => return Ok(bytes),
            _ => return Err(PackedProblem::Corrupt("a table that is to be repeated")),
        };
        self.is_set = false;
        let entries = &mut self.entries;
        distribution.table(|number, state| {
            let code = kind.codes.get(usize::from(state.symbol));
            if let Some((&(value, value_bits), entry)) = code.zip(entries.get_mut(number)) {
                *entry = Entry {
                    value,
                    next_base: state.base,
                    value_bits,
                    next_bits: state.bits,
                };
            }
        })?;
        (self.log, self.is_set) = (distribution.log, true);
        Ok(rest)
    }
}

/// What stays from block to block.
struct Tables {
    literal_lengths: Table,
    offsets: Table,
    match_lengths: Table,
}

/// Decoder of sequences.
pub(super) struct Sequences {
    /// One, on the heap.
    tables: Vec<Tables>,
    /// The last three offsets.
    recent: [usize; 3],
}

impl Sequences {
    pub(super) fn new() -> Result<Self, PackedProblem> {
        let mut tables = Vec::new();
        tables
            .try_reserve_exact(1)
            .map_err(|_| PackedProblem::OutOfMemory)?;
        tables.push(Tables {
            literal_lengths: Table::EMPTY,
            offsets: Table::EMPTY,
            match_lengths: Table::EMPTY,
        });
        Ok(Self {
            tables,
            recent: [1, 4, 8],
        })
    }

    /// A new frame starts.
    pub(super) fn forget(&mut self) {
        for tables in &mut self.tables {
            tables.literal_lengths.is_set = false;
            tables.offsets.is_set = false;
            tables.match_lengths.is_set = false;
        }
        self.recent = [1, 4, 8];
    }

    /// Runs a block's sequences: output goes to `output[at..]`. There are `count` literals, and maybe more
    /// bytes behind them, which are not to be used. Returns where the output ends.
    pub(super) fn run(
        &mut self,
        section: &[u8],
        literals: &[u8],
        count: usize,
        output: &mut [u8],
        mut at: usize,
    ) -> Result<usize, PackedProblem> {
        let (sequences, rest) = sequence_count(section)?;
        // Where the block must end.
        let limit = at + BLOCK_MAX;
        let mut used = 0;
        if sequences > 0 {
            let tables = self.tables.first_mut().ok_or(CORRUPT)?;
            let (&modes, rest) = rest.split_first().ok_or(TRUNCATED)?;
            if modes & 3 != 0 {
                return Err(CORRUPT);
            }
            let rest = tables
                .literal_lengths
                .read(&LITERAL_LENGTH, modes >> 6, rest)?;
            let rest = tables.offsets.read(&OFFSET, modes >> 4, rest)?;
            let rest = tables.match_lengths.read(&MATCH_LENGTH, modes >> 2, rest)?;
            let mut bits = BackwardBits::new(rest)?;
            let mut literal_state = bits.take(tables.literal_lengths.log) as usize;
            let mut offset_state = bits.take(tables.offsets.log) as usize;
            let mut match_state = bits.take(tables.match_lengths.log) as usize;
            let mut recent = self.recent;
            for left in (0..sequences).rev() {
                let literal = tables.literal_lengths.entries[literal_state & (STATES - 1)];
                let offset = tables.offsets.entries[offset_state & (STATES - 1)];
                let matched = tables.match_lengths.entries[match_state & (STATES - 1)];
                bits.refill();
                let offset_bits = u32::from(offset.value_bits);
                let length_bits = u32::from(literal.value_bits) + u32::from(matched.value_bits);
                let offset_value = offset.value as usize + bits.take(offset_bits) as usize;
                // 57 bits are certain; the next states need 26 of them at most.
                let is_long = offset_bits + length_bits > 31;
                if is_long {
                    bits.refill();
                }
                let match_len =
                    matched.value as usize + bits.take(matched.value_bits.into()) as usize;
                let literal_len =
                    literal.value as usize + bits.take(literal.value_bits.into()) as usize;
                if is_long {
                    bits.refill();
                }
                if left > 0 {
                    literal_state = usize::from(literal.next_base)
                        + bits.take(literal.next_bits.into()) as usize;
                    match_state = usize::from(matched.next_base)
                        + bits.take(matched.next_bits.into()) as usize;
                    offset_state =
                        usize::from(offset.next_base) + bits.take(offset.next_bits.into()) as usize;
                }
                let distance = resolve(&mut recent, offset_value, literal_len == 0);
                if literal_len > count - used {
                    return Err(PackedProblem::Corrupt("more literals used than there are"));
                }
                append(output, at, literals, used, literal_len)?;
                used += literal_len;
                at += literal_len;
                history::copy(output, at, distance, match_len)?;
                at += match_len;
                if at > limit {
                    return Err(PackedProblem::Corrupt("a block is too large"));
                }
            }
            bits.refill();
            if !bits.is_finished() {
                return Err(PackedProblem::Corrupt("a bit stream's end"));
            }
            self.recent = recent;
        } else if !rest.is_empty() {
            return Err(CORRUPT);
        }
        append(output, at, literals, used, count - used)?;
        Ok(at + (count - used))
    }
}

/// The number of sequences, and what follows it.
fn sequence_count(section: &[u8]) -> Result<(usize, &[u8]), PackedProblem> {
    let &first = section.first().ok_or(TRUNCATED)?;
    let (count, len) = match first {
        0..128 => (usize::from(first), 1),
        128..255 => {
            let [_, low] = array(section, 0).ok_or(TRUNCATED)?;
            (((usize::from(first) - 128) << 8) + usize::from(low), 2)
        }
        255 => {
            let [_, low, high] = array(section, 0).ok_or(TRUNCATED)?;
            (usize::from(u16::from_le_bytes([low, high])) + 0x7f00, 3)
        }
    };
    Ok((count, section.get(len..).unwrap_or(&[])))
}

/// Values 1 to 3 name recent offsets; with no literals before, they are 2, 3, and the first less 1.
#[inline(always)]
fn resolve(recent: &mut [usize; 3], value: usize, no_literals: bool) -> usize {
    let [first, second, third] = *recent;
    let (distance, place) = match value {
        4.. => (value - 3, 2),
        _ => match value + usize::from(no_literals) {
            1 => (first, 0),
            2 => (second, 1),
            3 => (third, 2),
            // 0 is refused by the copy.
            _ => (first.wrapping_sub(1), 2),
        },
    };
    *recent = match place {
        0 => [first, second, third],
        1 => [second, first, third],
        _ => [distance, first, second],
    };
    distance
}

/// Copies literals. Bytes up to [`SLACK`] past them may be overwritten too, if there are any.
#[inline(always)]
fn append(
    output: &mut [u8],
    at: usize,
    literals: &[u8],
    from: usize,
    len: usize,
) -> Result<(), PackedProblem> {
    let room = output.get_mut(at..).unwrap_or(&mut []);
    let source = literals.get(from..).unwrap_or(&[]);
    if len + SLACK <= room.len() && len + SLACK <= source.len() {
        let mut done = 0;
        while done < len {
            let word = source
                .get(done..)
                .and_then(|rest| rest.first_chunk::<SLACK>());
            let to = room
                .get_mut(done..)
                .and_then(|rest| rest.first_chunk_mut::<SLACK>());
            let Some((word, to)) = word.zip(to) else {
                break;
            };
            *to = *word;
            done += SLACK;
        }
        return Ok(());
    }
    let room = room.get_mut(..len).ok_or(PackedProblem::TooLong)?;
    room.copy_from_slice(source.get(..len).ok_or(CORRUPT)?);
    Ok(())
}
