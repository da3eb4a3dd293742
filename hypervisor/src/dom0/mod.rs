//! Domain 0: built at boot from the first boot module (a kernel) and the second (its initrd, if any).
//!
//! The kernel is unpacked into memory that goes back afterwards, placed by `pv_layout`, copied to domain 0's pages,
//! and its page tables are pinned like a guest's own: nothing that is built here is exempt from the checks.

mod build;
mod error;
mod pages;

use alloc::boxed::Box;
use alloc::sync::Arc;

use ::hypercall::Caller;
use arrayvec::ArrayVec;
use boot_info::{BootInfo, MAX_MODULES};
use frames::PageRef;
use platform_memory::{BootModule, PerDomainArea};
use xen_abi::shared_info::VcpuInfo;

pub use error::Dom0Error;

use crate::config;
use crate::domain::{Domain, NewDomain, VcpuRef};
use crate::events::EventChannels;
use crate::hypercall::grant_table;
use crate::io_access::IoAccess;
use crate::shared_info::VcpuInfoArea;
use crate::vcpu::Vcpu;
use crate::{domains, irq, mm, schedule, vcpu_context};

/// Most vCPUs that domain 0 can have for now: those with an info area in the shared page.
const MAX_VCPUS: u32 = 32;

/// Builds domain 0 and lets its first vCPU run.
///
/// # Errors
/// What is wrong with the modules, the parameters or the machine: domain 0 cannot be built.
pub fn construct(
    boot: &BootInfo,
    modules: ArrayVec<BootModule, MAX_MODULES>,
) -> Result<Arc<Domain>, Dom0Error> {
    log::info!("*** Building a PV Dom0 ***");
    let config = config::get();
    let vcpus = config
        .dom0_max_vcpus
        .vcpus(irq::highest_cpu() + 1)
        .min(MAX_VCPUS);
    let domain = empty_domain(vcpus)?;
    domains::insert(domain.clone()).map_err(|_| Dom0Error::NoMemory("the list of domains"))?;
    for id in 0..vcpus {
        add_vcpu(&domain, id)?;
    }
    build::build(&domain, boot, modules)?;
    log::info!("Dom0 has maximum {vcpus} VCPUs");
    if let Some(first) = domain.vcpu(0) {
        first.set_initialised();
        first.set_up(true);
        schedule::update(&domain, first);
    }
    Ok(domain)
}

/// Domain 0 without memory or vCPUs.
fn empty_domain(vcpus: u32) -> Result<Arc<Domain>, Dom0Error> {
    /// Most event channels: the limit of the two ABIs.
    const MAX_PORT: u32 = event_channels::fifo::PORTS - 1;
    let mut event_channels =
        EventChannels::new(0, MAX_PORT).map_err(|_| Dom0Error::NoMemory("event channels"))?;
    event_channels
        .set_vcpus(vcpus)
        .map_err(|_| Dom0Error::NoMemory("event channels"))?;
    let shared_info = mm::share_new_page(0).ok_or(Dom0Error::NoMemory("the shared info page"))?;
    let (grants, maptrack) =
        grant_table::new_tables(0).ok_or(Dom0Error::NoMemory("the grant table"))?;
    let area =
        PerDomainArea::new(vcpus as usize).ok_or(Dom0Error::NoMemory("descriptor tables"))?;
    Domain::new(NewDomain {
        id: 0,
        caller: Caller::domain0(),
        max_vcpus: vcpus,
        shared_info,
        area,
        event_channels,
        grants,
        maptrack,
        io_access: IoAccess::hardware_domain(),
        memory_limit: u64::MAX,
    })
    .map(Arc::new)
    .ok_or(Dom0Error::NoMemory("the domain"))
}

fn add_vcpu(domain: &Arc<Domain>, id: u32) -> Result<(), Dom0Error> {
    const NO_MEMORY: Dom0Error = Dom0Error::NoMemory("a vCPU");
    let page: PageRef<'static> = domain.shared_info.try_clone().ok_or(NO_MEMORY)?;
    let info = VcpuInfoArea::new(page, id as usize * size_of::<VcpuInfo>()).ok_or(NO_MEMORY)?;
    // As after a hardware reset: no interrupts until the kernel says so.
    info.set_upcall_mask(true);
    let state = vcpu_context::empty().map_err(|_| NO_MEMORY)?;
    domain
        .add_vcpu(Box::new(Vcpu::new(id, info, state)))
        .map_err(|_| NO_MEMORY)?;
    schedule::insert(VcpuRef {
        domain: domain.clone(),
        id,
    })
    .map_err(|_| NO_MEMORY)
}
