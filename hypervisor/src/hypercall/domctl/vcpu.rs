//! The vCPUs of a domain: their state in and out, and what they do.

use alloc::sync::Arc;

use ::hypercall::{Authorized, op};
use platform_memory::try_box;
use xen_abi::domctl::vcpu::{GetVcpuInfo, VcpuContext};
use xen_abi::errno::Errno;
use xen_abi::vcpu_context::VcpuGuestContext;
use zerocopy::FromZeros;

use super::{read, write};
use crate::context::Context;
use crate::domain::Domain;
use crate::vcpu::{Vcpu, Waiting};
use crate::{schedule, vcpu_context};

/// The vCPU that a request names.
///
/// # Errors
/// `ESRCH`: the domain can have it, and has not; else `EINVAL`.
fn named(domain: &Domain, id: u32) -> Result<&Vcpu, Errno> {
    if id >= domain.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    domain.vcpu(id).ok_or(Errno::ESRCH)
}

/// Gives a vCPU a state, or (without one) takes it down.
pub(super) fn set_context(
    _permission: Authorized<op::DomctlSetvcpucontext>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &VcpuContext,
) -> Result<(), Errno> {
    let vcpu = named(domain, wanted.vcpu)?;
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    if wanted.ctxt.is_null() {
        // Xen resets the vCPU for a crashed kernel's successor, which only its own domain starts.
        return Err(Errno::EOPNOTSUPP);
    }
    // Of several KiB, and copied about: not for the stack.
    let state = read::<VcpuGuestContext>(wanted.ctxt.address)?;
    let state = try_box(state).ok_or(Errno::ENOMEM)?;
    schedule::pause_and_wait(domain);
    let result = vcpu_context::replace(domain, vcpu, &state);
    schedule::unpause(domain);
    result
}

/// Reads a vCPU's state.
pub(super) fn get_context(
    _permission: Authorized<op::DomctlGetvcpucontext>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &VcpuContext,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    let vcpu = named(domain, wanted.vcpu)?;
    if !vcpu.is_initialised() {
        return Err(Errno::ENODATA);
    }
    let mut into = try_box(VcpuGuestContext::new_zeroed()).ok_or(Errno::ENOMEM)?;
    schedule::pause_and_wait(domain);
    let described = vcpu.state.try_lock().map(|state| {
        vcpu_context::describe(vcpu, &state, &mut into);
    });
    schedule::unpause(domain);
    described.ok_or(Errno::EBUSY)?;
    into.vm_assist = domain.all_assists();
    write(wanted.ctxt.address, &*into)
}

/// Says what a vCPU does.
pub(super) fn info(
    _permission: Authorized<op::DomctlGetvcpuinfo>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    answer: &mut GetVcpuInfo,
) -> Result<(), Errno> {
    let vcpu = named(domain, answer.vcpu)?;
    *answer = GetVcpuInfo {
        vcpu: answer.vcpu,
        online: u8::from(vcpu.is_up()),
        blocked: u8::from(vcpu.waiting() != Waiting::No),
        running: u8::from(schedule::is_running(vcpu)),
        cpu_time: schedule::run_time(vcpu),
        cpu: vcpu.cpu() as u32,
        ..GetVcpuInfo::new_zeroed()
    };
    Ok(())
}
