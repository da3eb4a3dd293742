//! The processor that a domain sees, as tools read and choose it.

use alloc::sync::Arc;

use ::cpu_policy::{CpuidPolicy, Leaf};
use ::hypercall::{Authorized, op};
use platform_memory::try_box;
use xen_abi::GuestHandle;
use xen_abi::arch_x86::{CpuidLeaf, MsrEntry};
use xen_abi::domctl::vcpu::CpuPolicy;
use xen_abi::errno::Errno;

use super::{read, write};
use crate::context::Context;
use crate::domain::Domain;
use crate::emulate;

/// No leaf, subleaf or MSR is wrong (`XEN_CPUID_INPUT_UNUSED` and its like).
const NOTHING: u32 = u32::MAX;

/// Writes a policy to a caller's two lists, and how long they are. A list that is not there only gets its length.
///
/// # Errors
/// `ENOBUFS`: a list is too short; `EFAULT`.
pub fn write_out(
    policy: &CpuidPolicy,
    leaves: (GuestHandle<CpuidLeaf>, &mut u32),
    msrs: (GuestHandle<MsrEntry>, &mut u32),
) -> Result<(), Errno> {
    let (to, room) = leaves;
    let mut count = 0;
    policy.each_leaf(|leaf, subleaf, content| {
        if !to.is_null() {
            if count == *room {
                return Err(Errno::ENOBUFS);
            }
            let entry = CpuidLeaf {
                leaf,
                subleaf,
                a: content.eax,
                b: content.ebx,
                c: content.ecx,
                d: content.edx,
            };
            let at = to.element(u64::from(count)).ok_or(Errno::EFAULT)?;
            write(at.address, &entry)?;
        }
        count += 1;
        Ok(())
    })?;
    *room = if to.is_null() {
        // Room for whatever a policy can have.
        ::cpu_policy::MAX_LEAVES
    } else {
        count
    };
    let (to, room) = msrs;
    if !to.is_null() {
        if *room < ::cpu_policy::MAX_MSRS {
            return Err(Errno::ENOBUFS);
        }
        for (index, (idx, val)) in (0..).zip(policy.msrs()) {
            let at = to.element(index).ok_or(Errno::EFAULT)?;
            let entry = MsrEntry { idx, flags: 0, val };
            write(at.address, &entry)?;
        }
    }
    *room = ::cpu_policy::MAX_MSRS;
    Ok(())
}

/// Reads the domain's policy.
pub(super) fn get(
    _permission: Authorized<op::DomctlGetCpuPolicy>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    request: &mut CpuPolicy,
) -> Result<(), Errno> {
    // Guest memory is written without the policy's lock.
    let policy = domain
        .emulation
        .with_policy(|policy| try_box(policy.clone()));
    let policy = policy.ok_or(Errno::ENOMEM)?;
    write_out(
        &policy,
        (request.leaves, &mut request.nr_leaves),
        (request.msrs, &mut request.nr_msrs),
    )
}

/// Chooses the domain's policy, within what it can have.
pub(super) fn set(
    _permission: Authorized<op::DomctlSetCpuPolicy>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    request: &mut CpuPolicy,
) -> Result<(), Errno> {
    (request.err_leaf, request.err_subleaf, request.err_msr) = (NOTHING, NOTHING, NOTHING);
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    if domain.has_run.load(core::sync::atomic::Ordering::Relaxed) {
        return Err(Errno::EEXIST);
    }
    if request.nr_leaves > ::cpu_policy::MAX_LEAVES || request.nr_msrs > ::cpu_policy::MAX_MSRS {
        return Err(Errno::E2BIG);
    }
    let wanted = domain
        .emulation
        .with_policy(|policy| try_box(policy.clone()));
    let mut wanted = wanted.ok_or(Errno::ENOMEM)?;
    for index in 0..u64::from(request.nr_leaves) {
        let at = request.leaves.element(index).ok_or(Errno::EFAULT)?;
        let entry: CpuidLeaf = read(at.address)?;
        let content = Leaf::new(entry.a, entry.b, entry.c, entry.d);
        if wanted.set_leaf(entry.leaf, entry.subleaf, content).is_err() {
            (request.err_leaf, request.err_subleaf) = (entry.leaf, entry.subleaf);
            return Err(Errno::ERANGE);
        }
    }
    for index in 0..u64::from(request.nr_msrs) {
        let at = request.msrs.element(index).ok_or(Errno::EFAULT)?;
        let entry: MsrEntry = read(at.address)?;
        if entry.flags != 0 || wanted.set_msr(entry.idx, entry.val).is_err() {
            request.err_msr = entry.idx;
            return Err(if entry.flags != 0 {
                Errno::EINVAL
            } else {
                Errno::ERANGE
            });
        }
    }
    // A controller may promise that the domain stays on this machine.
    let most = emulate::paravirtual(true).ok_or(Errno::ENOMEM)?;
    let policy = most.restricted_to(&wanted).map_err(|(leaf, subleaf)| {
        (request.err_leaf, request.err_subleaf) = (leaf, subleaf);
        Errno::EINVAL
    })?;
    let policy = try_box(policy).ok_or(Errno::ENOMEM)?;
    domain.emulation.choose(policy)
}
