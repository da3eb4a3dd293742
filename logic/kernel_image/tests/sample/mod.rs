//! Data to be packed: the same bytes on each machine, with what decoders find hard.

/// Pseudo-random numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }
}

/// About `len` bytes: text, zeros, calls to few targets (for the x86 filter), noise, repetitions near and far.
pub(crate) fn sample(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "page", "table", "frame", "grant", "event", "domain", "of", "the", "is", "not", "kernel",
        "\n",
    ];
    let mut random = Random::new(seed);
    let mut data = Vec::new();
    while data.len() < len {
        let count = random.below(200) + 1;
        match random.below(24) {
            0..10 => {
                for _ in 0..count {
                    data.extend(WORDS[random.below(12) as usize].bytes());
                    data.push(b' ');
                }
            }
            10..12 => data.extend(std::iter::repeat_n(0, (count * 4) as usize)),
            12..15 => {
                for _ in 0..count {
                    let target = 0x1000 + random.below(4) as u32 * 0x40;
                    data.push(0xe8 + random.below(2) as u8);
                    data.extend(target.wrapping_sub(data.len() as u32 + 4).to_le_bytes());
                    data.extend(&[0x48, 0x89, 0xc7, 0xe8][..random.below(5) as usize]);
                }
            }
            15 => data.extend((0..count / 8).map(|_| random.below(256) as u8)),
            _ if !data.is_empty() => {
                let distance = match random.below(3) {
                    0 => random.below(8),
                    1 => random.below(3000),
                    _ => random.below(1 << 24),
                };
                let from = data.len() - (distance as usize % data.len() + 1);
                for n in 0..count as usize {
                    data.push(data[from + n]);
                }
            }
            _ => {}
        }
    }
    data
}
