//! Bits read backwards, from a stream's end to its start.

use crate::PackedProblem;

/// A backward bit stream. Reading past its start gives zeros, which [`Self::is_finished`] finds out.
pub(super) struct BackwardBits<'a> {
    bytes: &'a [u8],
    /// Where the word was read that is in use.
    at: usize,
    word: u64,
    /// Bits of the word that are used up, from the highest. More than 64: the stream is overrun.
    used: u32,
}

impl<'a> BackwardBits<'a> {
    /// The highest bit that is set in the last byte marks the end.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, PackedProblem> {
        let &last = bytes.last().ok_or(PackedProblem::Truncated)?;
        if last == 0 {
            return Err(PackedProblem::Corrupt("a bit stream's end"));
        }
        let mark = last.leading_zeros() + 1;
        if let Some((_, word)) = bytes.split_last_chunk() {
            let word = u64::from_le_bytes(*word);
            return Ok(Self {
                bytes,
                at: bytes.len() - 8,
                word,
                used: mark,
            });
        }
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(bytes) {
            *to = *from;
        }
        let missing = (8 - bytes.len() as u32) * 8;
        Ok(Self {
            bytes,
            at: 0,
            word: u64::from_le_bytes(word),
            used: mark + missing,
        })
    }

    /// Makes 57 bits available, if there are so many.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let step = ((self.used >> 3) as usize).min(self.at);
        if step == 0 {
            return;
        }
        let at = self.at - step;
        if let Some(word) = self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            self.word = u64::from_le_bytes(*word);
            self.at = at;
            self.used -= step as u32 * 8;
        }
    }

    /// The next `count` (1 to 57) bits, which stay.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u64 {
        self.word.wrapping_shl(self.used).wrapping_shr(64 - count)
    }

    /// Uses bits up.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.used += count;
    }

    /// The next `count` (0 to 57) bits.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        // Two shifts, because one by 64 is none.
        let value = (self.word.wrapping_shl(self.used) >> 1).wrapping_shr(63 - count);
        self.used += count;
        value
    }

    /// Whether more bits were read than there are.
    pub(super) fn is_overrun(&self) -> bool {
        self.at == 0 && self.used > 64
    }

    /// Whether all bits were read, and no more.
    pub(super) fn is_finished(&self) -> bool {
        self.at == 0 && self.used == 64
    }
}
