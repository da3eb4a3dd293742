//! Numbers that look random and repeat.

/// xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11).checked_rem(limit).unwrap_or(0)
    }

    /// About `mean`: from half to one and a half of it.
    pub fn about(&mut self, mean: u64) -> u64 {
        mean / 2 + self.below(mean + 1)
    }
}
