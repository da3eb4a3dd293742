//! FSE: distributions and decoding tables (RFC 8878 §4.1).

use crate::PackedProblem;

/// Largest accuracy of any table here.
pub(super) const MAX_LOG: u32 = 9;
/// More symbols than any alphabet here has.
pub(super) const MAX_SYMBOLS: usize = 256;

/// Shares of each symbol; −1 is a share of less than 1.
pub(super) struct Distribution {
    pub(super) log: u32,
    pub(super) shares: [i16; MAX_SYMBOLS],
    pub(super) symbols: usize,
}

/// One state of a decoder.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) symbol: u8,
    /// Bits to read for the next state.
    pub(super) bits: u8,
    /// What to add to these.
    pub(super) base: u16,
}

/// Forward bits, for distributions only.
struct ForwardBits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl ForwardBits<'_> {
    fn peek(&self, count: u32) -> u32 {
        let mut value = 0u64;
        for n in (0..4).rev() {
            let byte = self.bytes.get(self.at / 8 + n).copied().unwrap_or(0);
            value = (value << 8) | u64::from(byte);
        }
        ((value >> (self.at % 8)) & ((1 << count) - 1)) as u32
    }

    fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count);
        self.at += count as usize;
        value
    }
}

impl Distribution {
    /// One that is known beforehand.
    pub(super) fn fixed(log: u32, shares: &[i8]) -> Self {
        let mut all = [0; MAX_SYMBOLS];
        for (to, from) in all.iter_mut().zip(shares) {
            *to = i16::from(*from);
        }
        Self {
            log,
            shares: all,
            symbols: shares.len(),
        }
    }

    /// Reads one; returns what follows it.
    pub(super) fn read(
        bytes: &[u8],
        max_log: u32,
        max_symbols: usize,
    ) -> Result<(Self, &[u8]), PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a distribution");
        let mut bits = ForwardBits { bytes, at: 0 };
        let log = bits.take(4) + 5;
        if log > max_log {
            return Err(corrupt);
        }
        let mut shares = [0; MAX_SYMBOLS];
        let mut symbols = 0;
        let mut left = 1i32 << log;
        while left > 0 {
            // Values 0 to left + 1: some need a bit less.
            let count = 32 - (left as u32 + 1).leading_zeros();
            let short = (1u32 << (count - 1)) - 1;
            let threshold = (1u32 << count) - 2 - left as u32;
            let mut value = bits.peek(count);
            if value & short < threshold {
                value &= short;
                bits.at += count as usize - 1;
            } else {
                bits.at += count as usize;
                if value > short {
                    value -= threshold;
                }
            }
            let share = value as i32 - 1;
            left -= share.abs();
            *shares
                .get_mut(symbols)
                .filter(|_| symbols < max_symbols)
                .ok_or(corrupt)? = share as i16;
            symbols += 1;
            if share == 0 {
                loop {
                    let zeros = bits.take(2) as usize;
                    symbols += zeros;
                    if zeros < 3 {
                        break;
                    }
                    if symbols > max_symbols {
                        return Err(corrupt);
                    }
                }
            }
        }
        if left != 0 || symbols > max_symbols {
            return Err(corrupt);
        }
        let rest = bytes
            .get(bits.at.div_ceil(8)..)
            .ok_or(PackedProblem::Truncated)?;
        Ok((
            Self {
                log,
                shares,
                symbols,
            },
            rest,
        ))
    }

    /// Makes the decoding table: hands `set` each state's number and content.
    pub(super) fn table(&self, mut set: impl FnMut(usize, State)) -> Result<(), PackedProblem> {
        let corrupt = PackedProblem::Corrupt("a distribution");
        let size = 1usize << self.log;
        let mut spread = [0u8; 1 << MAX_LOG];
        let spread = spread.get_mut(..size).ok_or(corrupt)?;
        // How often each symbol came up to now.
        let mut next = [0u16; MAX_SYMBOLS];
        let shares = self.shares.get(..self.symbols).ok_or(corrupt)?;
        // Those with the least share are at the end.
        let mut high = size;
        for ((symbol, &share), next) in (0u8..=255).zip(shares).zip(&mut next) {
            if share == -1 {
                high = high.checked_sub(1).ok_or(corrupt)?;
                *spread.get_mut(high).ok_or(corrupt)? = symbol;
                *next = 1;
            } else {
                *next = share as u16;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, &share) in (0u8..=255).zip(shares) {
            for _ in 0..share.max(0) {
                *spread.get_mut(at).ok_or(corrupt)? = symbol;
                // The step is odd, so that each place below `high` comes once.
                loop {
                    at = (at + step) & (size - 1);
                    if at < high || high == 0 {
                        break;
                    }
                }
            }
        }
        for (number, &symbol) in spread.iter().enumerate() {
            let next = next.get_mut(usize::from(symbol)).ok_or(corrupt)?;
            let place = u32::from(*next);
            *next += 1;
            let bits = (self.log + 1)
                .checked_sub(32 - place.leading_zeros())
                .filter(|_| place > 0)
                .ok_or(corrupt)?;
            let base = ((place << bits) - size as u32) as u16;
            set(
                number,
                State {
                    symbol,
                    bits: bits as u8,
                    base,
                },
            );
        }
        Ok(())
    }
}
