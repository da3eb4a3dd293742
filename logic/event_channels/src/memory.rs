//! The words that the hypervisor and a guest share.

use core::mem::offset_of;

use shared_page::SharedPage;
use xen_abi::shared_info::VcpuInfo;

/// The shared info page of a domain, and where each vCPU's `vcpu_info` is.
pub trait DomainMemory {
    /// A mapped frame.
    type Page<'a>: SharedPage
    where
        Self: 'a;

    /// The page that holds `struct shared_info`, at offset 0.
    fn shared_info(&self) -> Self::Page<'_>;

    /// The page that holds a vCPU's `struct vcpu_info`, and the offset there; `None` if it has none yet.
    /// (Whoever gives it one later must then mark all events as pending there.)
    fn vcpu_info(&self, vcpu: u32) -> Option<(Self::Page<'_>, usize)>;
}

/// Sets `evtchn_upcall_pending` of a vCPU. Returns whether that was clear, so that the vCPU has to be kicked.
pub(crate) fn mark_upcall(memory: &impl DomainMemory, vcpu: u32) -> bool {
    memory
        .vcpu_info(vcpu)
        .is_some_and(|(page, offset)| mark_upcall_at(&page, offset))
}

/// [`mark_upcall`] for the `vcpu_info` at an offset of a page.
pub(crate) fn mark_upcall_at(page: &impl SharedPage, offset: usize) -> bool {
    // The lowest byte of the first 32-bit word. The guest writes the other bytes one at a time, which an atomic
    // operation on the word does not disturb.
    const { assert!(offset_of!(VcpuInfo, evtchn_upcall_pending) == 0) };
    page.fetch_or32(offset, 1) & 0xff == 0
}
