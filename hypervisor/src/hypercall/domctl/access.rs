//! Devices given to a domain and taken from it: frames of device memory, ports, interrupts.
//!
//! A controller gives what it has itself, no more.

use alloc::sync::Arc;

use ::hypercall::{Authorized, op};
use xen_abi::domctl::device::{IomemPermission, IoportPermission, IrqPermission};
use xen_abi::errno::Errno;

use crate::context::Context;
use crate::domain::Domain;
use crate::io_access::Resource;

/// Gives or takes `count` of a resource from `first` on.
fn change(
    context: &Context<'_>,
    domain: &Domain,
    resource: Resource,
    first: u64,
    count: u64,
    allow: u8,
) -> Result<(), Errno> {
    let last = count
        .checked_sub(1)
        .and_then(|more| first.checked_add(more))
        .filter(|last| *last <= resource.last())
        .ok_or(Errno::EINVAL)?;
    if !context.domain.io_access.permits(resource, first, last) {
        return Err(Errno::EPERM);
    }
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    domain
        .io_access
        .change(resource, first, last, allow != 0)
        .map_err(|_| Errno::ENOMEM)
}

/// Frames of device memory.
pub(super) fn frames(
    _permission: Authorized<op::DomctlIomemPermission>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &IomemPermission,
) -> Result<(), Errno> {
    change(
        context,
        domain,
        Resource::Frames,
        wanted.first_mfn,
        wanted.nr_mfns,
        wanted.allow_access,
    )
}

/// I/O ports.
pub(super) fn ports(
    _permission: Authorized<op::DomctlIoportPermission>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &IoportPermission,
) -> Result<(), Errno> {
    if wanted.nr_ports == 0 {
        return Ok(());
    }
    change(
        context,
        domain,
        Resource::Ports,
        wanted.first_port.into(),
        wanted.nr_ports.into(),
        wanted.allow_access,
    )
}

/// An interrupt.
pub(super) fn interrupt(
    _permission: Authorized<op::DomctlIrqPermission>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &IrqPermission,
) -> Result<(), Errno> {
    change(
        context,
        domain,
        Resource::Interrupts,
        wanted.pirq.into(),
        1,
        wanted.allow_access,
    )
}
