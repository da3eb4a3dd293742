//! Making domains and vCPUs: what domain 0 and all others begin with.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ::hypercall::Caller;
use addr::PAGE_SIZE;
use frames::PageRef;
use platform_memory::{PerDomainArea, try_arc};
use xen_abi::shared_info::VcpuInfo;

use crate::domain::{DomId, Domain, DomainMemory, NewDomain, VcpuRef};
use crate::events::EventChannels;
use crate::hypercall::grant_table;
use crate::io_access::IoAccess;
use crate::mm::{self, LentPage};
use crate::shared_info::VcpuInfoArea;
use crate::vcpu::Vcpu;
use crate::{schedule, vcpu_context};

/// Most vCPUs of a domain.
pub const MAX_VCPUS: u32 = 128;
/// vCPUs that have their `vcpu_info` in the shared page (`XEN_LEGACY_MAX_VCPUS`).
const SHARED_INFOS: u32 = 32;
/// `vcpu_info` structures of the others in a page.
const INFOS_PER_PAGE: u32 = PAGE_SIZE as u32 / size_of::<VcpuInfo>() as u32;

/// What a new domain is like.
pub struct Plan {
    /// Number.
    pub id: DomId,
    /// Privileges.
    pub caller: Caller,
    /// vCPUs that it can have: 1 to [`MAX_VCPUS`].
    pub max_vcpus: u32,
    /// Highest event channel.
    pub max_port: u32,
    /// What it may have of grants.
    pub grants: grant_table::Limits,
    /// Hardware.
    pub io_access: IoAccess,
    /// Pages that it may own.
    pub memory_limit: u64,
}

/// There is no memory for what it names.
#[derive(Clone, Copy, Debug)]
pub struct OutOfMemory(pub &'static str);

/// Makes a domain without memory or vCPUs, which nobody knows yet.
///
/// # Errors
/// Out of memory.
#[inline(never)]
pub fn domain(plan: Plan) -> Result<Arc<Domain>, OutOfMemory> {
    let vcpus = plan.max_vcpus;
    let channels = |_| OutOfMemory("event channels");
    let mut event_channels = EventChannels::new(plan.id, plan.max_port).map_err(channels)?;
    event_channels.set_vcpus(vcpus).map_err(channels)?;
    let memory = try_arc(DomainMemory::new(plan.memory_limit)).ok_or(OutOfMemory("its account"))?;
    let shared_info =
        mm::share_new_page(plan.id, &memory).ok_or(OutOfMemory("the shared info page"))?;
    let (grants, maptrack) = grant_table::new_tables(plan.id, &memory, plan.grants)
        .ok_or(OutOfMemory("the grant table"))?;
    let area = PerDomainArea::new(vcpus as usize).ok_or(OutOfMemory("descriptor tables"))?;
    Domain::new(NewDomain {
        id: plan.id,
        caller: plan.caller,
        max_vcpus: vcpus,
        info_pages: info_pages(plan.id, &memory, vcpus).ok_or(OutOfMemory("vCPUs"))?,
        memory,
        shared_info,
        area,
        event_channels,
        grants,
        maptrack,
        io_access: plan.io_access,
    })
    .and_then(try_arc)
    .ok_or(OutOfMemory("the domain"))
}

fn info_pages(id: DomId, memory: &DomainMemory, vcpus: u32) -> Option<Vec<LentPage>> {
    let count = vcpus.saturating_sub(SHARED_INFOS).div_ceil(INFOS_PER_PAGE) as usize;
    let mut pages = Vec::new();
    pages.try_reserve_exact(count).ok()?;
    for _ in 0..count {
        pages.push(mm::share_new_page(id, memory)?);
    }
    Some(pages)
}

/// Makes vCPU `id`, down and without a context.
///
/// # Errors
/// Out of memory; it exists, or the domain can have no such vCPU.
#[inline(never)]
pub fn add_vcpu(domain: &Arc<Domain>, id: u32) -> Result<(), OutOfMemory> {
    const ERROR: OutOfMemory = OutOfMemory("a vCPU");
    let (page, index): (&PageRef<'static>, u32) = match id.checked_sub(SHARED_INFOS) {
        None => (&domain.shared_info, id),
        Some(beyond) => {
            let page = domain.info_pages.get((beyond / INFOS_PER_PAGE) as usize);
            (page.ok_or(ERROR)?, beyond % INFOS_PER_PAGE)
        }
    };
    let page = page.try_clone().ok_or(ERROR)?;
    let info = VcpuInfoArea::new(page, index as usize * size_of::<VcpuInfo>()).ok_or(ERROR)?;
    // As after a hardware reset: no interrupts until the kernel says so.
    info.set_upcall_mask(true);
    let state = vcpu_context::empty().map_err(|_| ERROR)?;
    let vcpu = try_arc(Vcpu::new(id, info, state)).ok_or(ERROR)?;
    domain.add_vcpu(vcpu.clone()).map_err(|_| ERROR)?;
    schedule::insert(VcpuRef {
        domain: domain.clone(),
        vcpu,
    })
    .map_err(|_| ERROR)
}
