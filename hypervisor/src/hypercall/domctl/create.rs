//! Creation of domains: `createdomain`, `max_vcpus`, `hypercall_init`.

use alloc::sync::Arc;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, Caller, op};
use addr::Mfn;
use platform_cpu::lock::SpinLock;
use xen_abi::domctl::domain::{CreateDomain, HypercallInit, MaxVcpus};
use xen_abi::domctl::{self as abi, Domctl};
use xen_abi::domid::DOMID_FIRST_RESERVED;
use xen_abi::errno::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::VERSION_17;
use crate::context::Context;
use crate::creation::{self, MAX_VCPUS, OutOfMemory, Plan};
use crate::domain::{DomId, Domain};
use crate::hypercall::{grant_table, page, scheduler_control};
use crate::io_access::IoAccess;
use crate::{domains, mm, ranks};

/// One domain is made at a time: from the choice of its number until it is known by it.
static CREATION: SpinLock<()> = SpinLock::new(ranks::CREATION, ());

/// Flags that this hypervisor has a meaning for; of the others some need hardware virtualisation.
const KNOWN_FLAGS: u32 = (abi::CDF_MAX << 1) - 1;
const NEEDS_HARDWARE: u32 = abi::CDF_HVM
    | abi::CDF_HAP
    | abi::CDF_S3_INTEGRITY
    | abi::CDF_IOMMU
    | abi::CDF_NESTED_VIRT
    | abi::CDF_VPMU;
/// `XEN_X86_MSR_RELAXED`: reads of unknown MSRs give 0.
const KNOWN_MISC_FLAGS: u32 = 1;
/// `XEN_X86_EMU_PIT`, which a paravirtual domain may have.
const EMULATED_PIT: u32 = 1 << 8;

/// Makes a domain without memory or vCPUs, paused.
pub(super) fn create(
    _permission: Authorized<op::DomctlCreatedomain>,
    request: &mut Domctl,
) -> Result<(), Errno> {
    let wanted = config_of(request)?;
    let grants = check(&wanted)?;
    let _one_at_a_time = CREATION.lock();
    let id = choose_id(request.domain)?;
    let caller = Caller {
        is_xenstore: wanted.flags & abi::CDF_XS_DOMAIN != 0,
        ..Caller::unprivileged(id)
    };
    let made = creation::domain(Plan {
        id,
        caller,
        max_vcpus: wanted.max_vcpus,
        max_port: wanted.max_evtchn_port.min(i32::MAX as u32),
        grants,
        io_access: IoAccess::none().ok_or(Errno::ENOMEM)?,
        // Its controller says how much it may have.
        memory_limit: 0,
    });
    let inserted = made.map_err(|OutOfMemory(what)| {
        log::warn!("d{id}: not enough memory for {what}");
        Errno::ENOMEM
    });
    let inserted = inserted.and_then(|domain| {
        domain.set_handle(wanted.handle);
        scheduler_control::join_pool(&domain, wanted.cpupool_id)?;
        // It runs when its controller unpauses it.
        domain.pause_count.store(1, Ordering::Relaxed);
        domain.controller_pauses.store(1, Ordering::Relaxed);
        domains::insert(domain).map_err(|_| Errno::ENOMEM)
    });
    if inserted.is_err() {
        // Pages that were the domain's to be are free before the number is given to another.
        mm::collect_limbo();
    }
    inserted?;
    request.domain = id;
    Ok(())
}

/// The arguments, in the layout of 0x15.
fn config_of(request: &Domctl) -> Result<CreateDomain, Errno> {
    if request.interface_version != VERSION_17 {
        return Ok(request.u.createdomain());
    }
    // 0x17 has `altp2m_opts` before `vmtrace_size`, for hardware virtualisation.
    const ALTP2M: usize = offset_of!(CreateDomain, vmtrace_size);
    let mut bytes = [0; size_of::<CreateDomain>()];
    let (head, tail) = request
        .u
        .as_bytes()
        .split_at_checked(ALTP2M)
        .ok_or(Errno::EINVAL)?;
    let (altp2m, tail) = tail.split_at_checked(4).ok_or(Errno::EINVAL)?;
    if altp2m != [0; 4] {
        return Err(Errno::EINVAL);
    }
    for (to, from) in bytes.iter_mut().zip(head.iter().chain(tail)) {
        *to = *from;
    }
    CreateDomain::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)
}

/// Checks the arguments; returns what the domain may have of grants.
fn check(wanted: &CreateDomain) -> Result<grant_table::Limits, Errno> {
    let most = grant_table::Limits::most();
    let limit = |frames: i32, most: u32, least: u32| match u32::try_from(frames) {
        Err(_) => Ok(most),
        Ok(frames) if (least..=most).contains(&frames) => Ok(frames),
        Ok(_) => Err(Errno::EINVAL),
    };
    if wanted.flags & !KNOWN_FLAGS != 0
        || wanted.flags & NEEDS_HARDWARE != 0
        || wanted.iommu_opts != 0
        || !(1..=MAX_VCPUS).contains(&wanted.max_vcpus)
        || !(1..=most.version).contains(&wanted.grant_opts)
        || wanted.vmtrace_size != 0
        || wanted.arch.misc_flags & !KNOWN_MISC_FLAGS != 0
        || wanted.arch.emulation_flags & !EMULATED_PIT != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(grant_table::Limits {
        frames: limit(wanted.max_grant_frames, most.frames, 1)?,
        maptrack_frames: limit(wanted.max_maptrack_frames, most.maptrack_frames, 0)?,
        // Other bits than the version's make it a version that there is not.
        version: wanted.grant_opts,
    })
}

/// The number of the new domain: the wanted one, or any.
fn choose_id(wanted: DomId) -> Result<DomId, Errno> {
    match wanted {
        1..DOMID_FIRST_RESERVED if domains::is_free(wanted) => Ok(wanted),
        1..DOMID_FIRST_RESERVED => Err(Errno::EEXIST),
        _ => domains::next_free().ok_or(Errno::ENOMEM),
    }
}

/// Makes the domain's vCPUs, those that are not there yet.
pub(super) fn max_vcpus(
    _permission: Authorized<op::DomctlMaxVcpus>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &MaxVcpus,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() || wanted.max != domain.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    let _one_at_a_time = CREATION.lock();
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    for id in 0..wanted.max {
        if domain.vcpu(id).is_none() {
            creation::add_vcpu(domain, id).map_err(|_| Errno::ENOMEM)?;
        }
    }
    Ok(())
}

/// Fills the page of the domain's through which its kernel calls.
pub(super) fn hypercall_init(
    _permission: Authorized<op::DomctlHypercallInit>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &HypercallInit,
) -> Result<(), Errno> {
    let place = mm::writable_page(domain, Mfn::new(wanted.gmfn)).ok_or(Errno::EINVAL)?;
    platform_memory::map(&place).copy_to(0, &page::stubs());
    Ok(())
}
