//! [`Target`]: what building asks of the hypervisor, so that tests can stand in for it.

use std::fs::File;
use std::io;

use xen_abi::vcpu_context::VcpuGuestContext;
use xen_control::{ControlError, DomId, GrantedFrame};

/// Pages of the domain, mapped one after the other. Offsets are bytes.
pub trait GuestPages {
    /// Copies bytes in.
    fn write(&self, offset: usize, bytes: &[u8]);

    /// Reads a part of a file into the pages.
    fn read_file(&self, offset: usize, file: &File, from: u64, length: usize) -> io::Result<()>;
}

/// Operations on a domain that is being built.
pub trait Target {
    /// Mapped pages.
    type Pages: GuestPages;

    /// Gives memory: extents of `1 << order` pages, each by its first frame in the domain. `got` is told what came.
    fn populate(
        &self,
        domain: DomId,
        first: &[u64],
        order: u32,
        got: &mut dyn FnMut(u64, u64),
    ) -> Result<usize, ControlError>;

    /// Maps machine frames.
    fn map(&self, domain: DomId, frames: &[u64]) -> Result<Self::Pages, ControlError>;

    /// Zeroes machine frames.
    fn clear(&self, domain: DomId, frames: &[u64]) -> Result<(), ControlError>;

    /// Has page tables checked.
    fn pin_root(&self, domain: DomId, frame: u64) -> Result<(), ControlError>;

    /// Has the hypercall page written.
    fn write_hypercall_page(&self, domain: DomId, frame: u64) -> Result<(), ControlError>;

    /// The machine frame of the page that the hypervisor shares with the domain.
    fn shared_info(&self, domain: DomId) -> Result<u64, ControlError>;

    /// Sets the first vCPU's registers.
    fn set_context(&self, domain: DomId, context: &VcpuGuestContext) -> Result<(), ControlError>;

    /// Writes the first grants.
    fn seed_grants(&self, domain: DomId, grants: &[GrantedFrame]) -> Result<(), ControlError>;
}
