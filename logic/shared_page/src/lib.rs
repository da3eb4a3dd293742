//! A page that the hypervisor and a guest read and write at the same time.
//!
//! Guest memory is never a Rust reference: logic that works on such a page (event channels, grant tables) is generic
//! over [`SharedPage`], and the hypervisor implements that over mapped frames. [`MemoryPage`] is ordinary memory,
//! for tests.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod memory_page;

pub use memory_page::MemoryPage;

/// A mapped frame that a guest uses at the same time. Offsets are bytes from its start, aligned to the access.
///
/// All operations but `load` and `store` are single atomic read-modify-writes and full barriers, like the locked
/// instructions that the guest uses on its side; a `load` acquires and a `store` releases.
///
/// An offset outside of the page is a bug of the hypervisor, never a guest's doing; implementations may ignore
/// such accesses but must not panic.
pub trait SharedPage {
    /// Reads a 32-bit word.
    fn load32(&self, offset: usize) -> u32;
    /// Writes a 32-bit word.
    fn store32(&self, offset: usize, value: u32);
    /// Replaces a 32-bit word by `new` if it is `current`.
    ///
    /// # Errors
    /// The word's value, if that is not `current`.
    fn compare_exchange32(&self, offset: usize, current: u32, new: u32) -> Result<u32, u32>;
    /// Sets bits of a 32-bit word; returns the value before.
    fn fetch_or32(&self, offset: usize, bits: u32) -> u32;
    /// Keeps only `bits` of a 32-bit word; returns the value before.
    fn fetch_and32(&self, offset: usize, bits: u32) -> u32;
    /// Reads a 64-bit word.
    fn load64(&self, offset: usize) -> u64;
    /// Sets bits of a 64-bit word; returns the value before.
    fn fetch_or64(&self, offset: usize, bits: u64) -> u64;
    /// Keeps only `bits` of a 64-bit word; returns the value before.
    fn fetch_and64(&self, offset: usize, bits: u64) -> u64;
}

impl<T: SharedPage + ?Sized> SharedPage for &T {
    fn load32(&self, offset: usize) -> u32 {
        (**self).load32(offset)
    }
    fn store32(&self, offset: usize, value: u32) {
        (**self).store32(offset, value);
    }
    fn compare_exchange32(&self, offset: usize, current: u32, new: u32) -> Result<u32, u32> {
        (**self).compare_exchange32(offset, current, new)
    }
    fn fetch_or32(&self, offset: usize, bits: u32) -> u32 {
        (**self).fetch_or32(offset, bits)
    }
    fn fetch_and32(&self, offset: usize, bits: u32) -> u32 {
        (**self).fetch_and32(offset, bits)
    }
    fn load64(&self, offset: usize) -> u64 {
        (**self).load64(offset)
    }
    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        (**self).fetch_or64(offset, bits)
    }
    fn fetch_and64(&self, offset: usize, bits: u64) -> u64 {
        (**self).fetch_and64(offset, bits)
    }
}
