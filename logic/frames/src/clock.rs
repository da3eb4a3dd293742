//! The flush clock: which translations a CPU may still hold.
//!
//! The clock ticks at the start of each TLB flush of any CPU, and each CPU remembers the tick of its
//! last flush ([`Epoch`]). A frame that goes out of a use is stamped with the clock ([`Stamp`]). A CPU
//! whose last flush began after the stamp was taken holds no translation from that use.
//!
//! Ordering: the entry that granted the use is removed with a locked instruction, then the clock is read.
//! A flush ticks the clock with a locked instruction, or at least reads it, then flushes. So a stamp below the flush's
//! epoch was read, and the entry removed, before the flush.

use crate::atomic::{AtomicU64, Ordering, const_fn};

/// Counts the TLB flushes of all CPUs.
#[derive(Debug)]
pub struct FlushClock(AtomicU64);

/// When a CPU last flushed all its translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// A CPU that has been given no translation yet: nothing is stale to it but what is stamped from now on.
    pub const START: Self = Self(1);
}

/// When a frame was last in some use: the low half of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u32);

impl FlushClock {
    const_fn! {
        /// A clock at its start.
        pub const fn new() -> Self {
            // Not 0: a stamp of 0 must look older than the first flush.
            Self(AtomicU64::new(1))
        }
    }

    #[cfg(test)]
    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// The time, to stamp a frame with. Pairs with [`tick`](Self::tick).
    #[inline]
    pub fn now(&self) -> Stamp {
        Stamp(self.0.load(Ordering::SeqCst) as u32)
    }

    /// Starts a flush. The CPU flushes after this, and then records the epoch as its own.
    #[inline]
    #[must_use = "record it as the CPU's epoch once the flush is done"]
    pub fn tick(&self) -> Epoch {
        Epoch(self.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1))
    }

    /// Starts a flush that others need not tell from the last one: a change of address space, of which there are many.
    /// As [`tick`](Self::tick), without the locked instruction: what was stamped since the clock last ticked stays stale.
    #[inline]
    #[must_use = "record it as the CPU's epoch once the flush is done"]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.0.load(Ordering::SeqCst))
    }

    /// The counter itself: an [`Epoch`] is a value of it.
    pub fn counter(&self) -> &AtomicU64 {
        &self.0
    }

    /// Whether a CPU that last flushed at `last` may hold translations from the time of `stamp`.
    ///
    /// A stamp that is 2³² flushes old looks younger than it is: a flush too many, never one too few.
    #[inline]
    pub fn is_stale(&self, last: Epoch, stamp: Stamp) -> bool {
        self.widen(stamp) >= last.0
    }

    /// The later of two stamps.
    pub fn later(&self, a: Stamp, b: Stamp) -> Stamp {
        if self.widen(a) >= self.widen(b) { a } else { b }
    }

    /// The largest time up to now with these low bits.
    #[inline]
    fn widen(&self, stamp: Stamp) -> u64 {
        let now = self.0.load(Ordering::SeqCst);
        now.wrapping_sub(u64::from((now as u32).wrapping_sub(stamp.0)))
    }
}

impl Default for FlushClock {
    fn default() -> Self {
        Self::new()
    }
}
