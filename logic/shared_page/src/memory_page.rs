//! A page of ordinary memory.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::SharedPage;

const WORDS: usize = 4096 / 8;

/// A page of ordinary memory, zero at first. Clones are the same page, as a guest's and a hypervisor's mapping of
/// a frame are. An access outside of the page panics: this is for tests.
#[derive(Clone, Debug)]
pub struct MemoryPage(Arc<[AtomicU64; WORDS]>);

impl Default for MemoryPage {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; WORDS]))
    }
}

impl MemoryPage {
    /// The 64-bit word around a 32-bit one, and the shift of that.
    fn half(&self, offset: usize) -> (&AtomicU64, u32) {
        assert!(offset.is_multiple_of(4), "misaligned 32-bit access");
        (&self.0[offset / 8], (offset % 8) as u32 * 8)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "misaligned 64-bit access");
        &self.0[offset / 8]
    }

    /// Changes a 32-bit word by `change`; returns the value before.
    fn update32(&self, offset: usize, change: impl Fn(u32) -> u32) -> u32 {
        let (word, shift) = self.half(offset);
        let update = |old: u64| {
            let new = u64::from(change((old >> shift) as u32)) << shift;
            old & !(0xffff_ffff << shift) | new
        };
        let mut old = word.load(Ordering::SeqCst);
        loop {
            match word.compare_exchange(old, update(old), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return (old >> shift) as u32,
                Err(now) => old = now,
            }
        }
    }

    /// Writes a 64-bit word.
    pub fn store64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::SeqCst);
    }

    /// A page of its own with the same contents.
    pub fn duplicate(&self) -> Self {
        Self(Arc::new(core::array::from_fn(|word| {
            AtomicU64::new(self.0[word].load(Ordering::SeqCst))
        })))
    }

    /// All words, to compare pages.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|word| word.load(Ordering::SeqCst))
    }
}

impl SharedPage for MemoryPage {
    fn load32(&self, offset: usize) -> u32 {
        let (word, shift) = self.half(offset);
        (word.load(Ordering::SeqCst) >> shift) as u32
    }

    fn store32(&self, offset: usize, value: u32) {
        self.update32(offset, |_| value);
    }

    fn compare_exchange32(&self, offset: usize, current: u32, new: u32) -> Result<u32, u32> {
        let old = self.update32(offset, |old| if old == current { new } else { old });
        if old == current { Ok(old) } else { Err(old) }
    }

    fn fetch_or32(&self, offset: usize, bits: u32) -> u32 {
        self.update32(offset, |old| old | bits)
    }

    fn fetch_and32(&self, offset: usize, bits: u32) -> u32 {
        self.update32(offset, |old| old & bits)
    }

    fn load64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::SeqCst)
    }

    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_or(bits, Ordering::SeqCst)
    }

    fn fetch_and64(&self, offset: usize, bits: u64) -> u64 {
        self.word(offset).fetch_and(bits, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_apart() {
        let page = MemoryPage::default();
        page.store32(4, 0x1111_2222);
        page.store32(0, 0x3333_4444);
        assert_eq!(page.load64(0), 0x1111_2222_3333_4444);
        assert_eq!(page.fetch_or32(4, 1 << 31), 0x1111_2222);
        assert_eq!(page.fetch_and32(4, 0xffff), 0x9111_2222);
        assert_eq!(page.load32(4), 0x2222);
        assert_eq!(page.compare_exchange32(0, 1, 2), Err(0x3333_4444));
        assert_eq!(page.compare_exchange32(0, 0x3333_4444, 2), Ok(0x3333_4444));
        assert_eq!(page.clone().load64(0), 0x2222_0000_0002);
    }
}
