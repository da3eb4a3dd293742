//! The hypervisor as the target of building.

use std::fs::File;
use std::io;

use xen_abi::vcpu_context::VcpuGuestContext;
use xen_control::{Control, ControlError, DomId, Errno, Extents, GrantedFrame};
use xen_sys::SharedPages;

use crate::target::{GuestPages, Target};

impl GuestPages for SharedPages {
    fn write(&self, offset: usize, bytes: &[u8]) {
        self.copy_in(offset, bytes);
    }

    fn read_file(&self, offset: usize, file: &File, from: u64, length: usize) -> io::Result<()> {
        self.read_exact_from(offset, file, from, length)
    }
}

impl Target for Control {
    type Pages = SharedPages;

    fn populate(
        &self,
        domain: DomId,
        first: &[u64],
        order: u32,
        got: &mut dyn FnMut(u64, u64),
    ) -> Result<usize, ControlError> {
        Control::populate(self, domain, Extents { first, order }, got)
    }

    fn map(&self, domain: DomId, frames: &[u64]) -> Result<SharedPages, ControlError> {
        self.map_frames(domain, frames)
    }

    fn clear(&self, domain: DomId, frames: &[u64]) -> Result<(), ControlError> {
        self.clear_frames(domain, frames)
    }

    fn pin_root(&self, domain: DomId, frame: u64) -> Result<(), ControlError> {
        Control::pin_root(self, domain, frame)
    }

    fn write_hypercall_page(&self, domain: DomId, frame: u64) -> Result<(), ControlError> {
        Control::write_hypercall_page(self, domain, frame)
    }

    fn shared_info(&self, domain: DomId) -> Result<u64, ControlError> {
        let gone = ControlError {
            operation: "read its state",
            domain: Some(domain),
            errno: Errno::ESRCH,
        };
        Ok(self.domain_info(domain)?.ok_or(gone)?.shared_info)
    }

    fn set_context(&self, domain: DomId, context: &VcpuGuestContext) -> Result<(), ControlError> {
        self.set_vcpu_context(domain, 0, context)
    }

    fn seed_grants(&self, domain: DomId, grants: &[GrantedFrame]) -> Result<(), ControlError> {
        Control::seed_grants(self, domain, grants)
    }
}
