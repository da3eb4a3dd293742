//! The words that the hypervisor and a guest share.

use core::mem::offset_of;

use xen_abi::shared_info::VcpuInfo;

/// A mapped frame that a guest reads and writes at the same time. Offsets are bytes from its start, aligned to
/// the access. All operations but `load` and `store` are single atomic read-modify-writes and full barriers,
/// like the locked instructions that the guest uses on its side; a `load` acquires and a `store` releases.
///
/// An offset outside of the page is a bug of the hypervisor, never a guest's doing; implementations may ignore
/// such accesses but must not panic.
pub trait SharedPage {
    /// Reads a 32-bit word.
    fn load32(&self, offset: usize) -> u32;
    /// Writes a 32-bit word.
    fn store32(&self, offset: usize, value: u32);
    /// Replaces a 32-bit word if it is `current`; else returns what it is.
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

/// The shared info page of a domain, and where each vCPU's `vcpu_info` is.
pub trait DomainMemory {
    /// A mapped frame.
    type Page: SharedPage;

    /// The page that holds `struct shared_info`, at offset 0.
    fn shared_info(&self) -> &Self::Page;

    /// Calls `access` with the page and the offset of a vCPU's `struct vcpu_info`; `None` if it has none yet.
    /// (Whoever gives it one later must then mark all events as pending there.)
    fn with_vcpu_info<R>(
        &self,
        vcpu: u32,
        access: impl FnOnce(&Self::Page, usize) -> R,
    ) -> Option<R>;
}

/// Sets `evtchn_upcall_pending` of a vCPU. Returns whether that was clear, so that the vCPU has to be kicked.
pub(crate) fn mark_upcall(memory: &impl DomainMemory, vcpu: u32) -> bool {
    memory.with_vcpu_info(vcpu, mark_upcall_at).unwrap_or(false)
}

/// [`mark_upcall`] for the `vcpu_info` at an offset of a page.
pub(crate) fn mark_upcall_at(page: &impl SharedPage, offset: usize) -> bool {
    // The lowest byte of the first 32-bit word. The guest writes the other bytes one at a time, which an atomic
    // operation on the word does not disturb.
    const { assert!(offset_of!(VcpuInfo, evtchn_upcall_pending) == 0) };
    page.fetch_or32(offset, 1) & 0xff == 0
}
