//! The 2-level ABI: a bitmap of pending ports and one of masked ports in the shared info page, and per vCPU a
//! selector whose bit *n* says that 64-bit word *n* of the bitmap is worth a look.

use core::mem::offset_of;

use xen_abi::EvtchnPort;
use xen_abi::shared_info::{SharedInfo, VcpuInfo};

use crate::deliver::Raised;
use crate::memory::{DomainMemory, mark_upcall_at};
use shared_page::SharedPage;

/// Number of ports (`EVTCHN_2L_NR_CHANNELS`).
pub const PORTS: u32 = 4096;

/// Where a port's bits are: the offset of its word within a bitmap, and its bit in that word.
fn place(port: EvtchnPort) -> Option<(usize, u64)> {
    (port < PORTS).then(|| ((port / 64) as usize * 8, 1 << (port % 64)))
}

const PENDING: usize = offset_of!(SharedInfo, evtchn_pending);
const MASK: usize = offset_of!(SharedInfo, evtchn_mask);

/// Whether the port's pending bit is set.
pub(crate) fn is_pending(memory: &impl DomainMemory, port: EvtchnPort) -> bool {
    place(port).is_some_and(|(word, bit)| memory.shared_info().load64(PENDING + word) & bit != 0)
}

/// Whether the port's mask bit is set.
pub(crate) fn is_masked(memory: &impl DomainMemory, port: EvtchnPort) -> bool {
    place(port).is_none_or(|(word, bit)| memory.shared_info().load64(MASK + word) & bit != 0)
}

/// Makes a port pending.
#[inline(always)]
pub(crate) fn raise(memory: &impl DomainMemory, port: EvtchnPort, vcpu: u32) -> Raised {
    let Some((word, bit)) = place(port) else {
        return Raised::default();
    };
    let page = memory.shared_info();
    if page.fetch_or64(PENDING + word, bit) & bit != 0 {
        return Raised::default();
    }
    Raised {
        newly_pending: true,
        upcall: page.load64(MASK + word) & bit == 0 && select(memory, port, vcpu),
    }
}

/// Clears a port's pending bit.
pub(crate) fn clear_pending(memory: &impl DomainMemory, port: EvtchnPort) {
    if let Some((word, bit)) = place(port) {
        memory.shared_info().fetch_and64(PENDING + word, !bit);
    }
}

/// Clears a port's mask bit. If that was set and the port is pending, its vCPU gets an upcall.
pub(crate) fn unmask(memory: &impl DomainMemory, port: EvtchnPort, vcpu: u32) -> Raised {
    let Some((word, bit)) = place(port) else {
        return Raised::default();
    };
    let page = memory.shared_info();
    // The mask goes first and pending is read after it: an event that comes in between sees the port
    // unmasked and makes the upcall itself.
    let was_masked = page.fetch_and64(MASK + word, !bit) & bit != 0;
    Raised {
        newly_pending: false,
        upcall: was_masked && page.load64(PENDING + word) & bit != 0 && select(memory, port, vcpu),
    }
}

/// Sets the port's bit in the vCPU's selector, and its upcall flag if the selector's bit was clear. Returns
/// whether the vCPU has to be kicked.
#[inline(always)]
fn select(memory: &impl DomainMemory, port: EvtchnPort, vcpu: u32) -> bool {
    let bit = 1u64 << (port / 64);
    let Some((page, offset)) = memory.vcpu_info(vcpu) else {
        return false;
    };
    let selector = offset + offset_of!(VcpuInfo, evtchn_pending_sel);
    page.fetch_or64(selector, bit) & bit == 0 && mark_upcall_at(&page, offset)
}
