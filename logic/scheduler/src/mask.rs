//! Sets of physical CPUs, plain and shared.

use core::sync::atomic::{AtomicU64, Ordering};

/// CPU numbers are below this.
pub const MAX_CPUS: usize = 256;

const WORDS: usize = MAX_CPUS / 64;

/// A set of physical CPUs by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuMask([u64; WORDS]);

impl CpuMask {
    /// No CPU.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// Every number that a CPU can have.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Only `cpu`; empty if the number is too high.
    pub fn only(cpu: usize) -> Self {
        let mut mask = Self::EMPTY;
        mask.insert(cpu);
        mask
    }

    /// The set whose bit *n* is CPU *n*; 64 CPUs a word.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// Bit *n* is CPU *n*; 64 CPUs a word.
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Whether `cpu` is in it.
    #[inline]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0
            .get(cpu / 64)
            .is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    }

    /// Adds `cpu`; a number that is too high changes nothing.
    pub fn insert(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// Takes `cpu` out.
    #[inline]
    pub fn remove(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word &= !(1 << (cpu % 64));
        }
    }

    /// Whether a CPU is in both.
    #[inline]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// The CPUs in both.
    #[inline]
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        self
    }

    /// The CPUs in this one and not in the other.
    #[inline]
    #[must_use]
    pub fn without(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }

    /// Whether there is no CPU in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// Number of CPUs.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The lowest CPU in it.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// The CPUs in ascending order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let words = self.0;
        let mut index = 0;
        let mut rest = words.first().copied().unwrap_or(0);
        core::iter::from_fn(move || {
            while rest == 0 {
                index += 1;
                rest = *words.get(index)?;
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(index * 64 + bit)
        })
    }
}

impl FromIterator<usize> for CpuMask {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut mask = Self::EMPTY;
        for cpu in cpus {
            mask.insert(cpu);
        }
        mask
    }
}

/// A set that several CPUs change. All accesses are sequentially consistent: one that goes idle and one that
/// brings work each write their own set and then read the other's, and one of the two has to see the other.
#[derive(Debug)]
pub(crate) struct AtomicCpuMask([AtomicU64; WORDS]);

impl AtomicCpuMask {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    #[inline]
    pub(crate) fn load(&self) -> CpuMask {
        CpuMask([0, 1, 2, 3].map(|index: usize| {
            self.0
                .get(index)
                .map_or(0, |word| word.load(Ordering::SeqCst))
        }))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.load().is_empty()
    }

    #[inline]
    pub(crate) fn contains(&self, cpu: usize) -> bool {
        self.0
            .get(cpu / 64)
            .is_some_and(|word| word.load(Ordering::SeqCst) >> (cpu % 64) & 1 != 0)
    }

    pub(crate) fn insert(&self, cpu: usize) {
        if let Some(word) = self.0.get(cpu / 64) {
            word.fetch_or(1 << (cpu % 64), Ordering::SeqCst);
        }
    }

    /// Takes `cpu` out, and tells whether it was in.
    #[inline]
    pub(crate) fn remove(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| {
            let bit = 1 << (cpu % 64);
            // The look first keeps the line shared where nothing is to be done.
            word.load(Ordering::SeqCst) & bit != 0
                && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
        })
    }
}
