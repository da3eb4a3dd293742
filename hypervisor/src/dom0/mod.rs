//! Domain 0: built at boot from the first boot module (a kernel) and the second (its initrd, if any).
//!
//! The kernel is unpacked into memory that goes back afterwards, placed by `pv_layout`, copied to domain 0's pages,
//! and its page tables are pinned like a guest's own: nothing that is built here is exempt from the checks.

mod build;
mod error;
mod pages;

use alloc::sync::Arc;

use ::hypercall::Caller;
use arrayvec::ArrayVec;
use boot_info::{BootInfo, MAX_MODULES};
use platform_memory::BootModule;

pub use error::Dom0Error;

use crate::creation::{self, MAX_VCPUS, OutOfMemory, Plan};
use crate::domain::Domain;
use crate::hypercall::grant_table;
use crate::io_access::IoAccess;
use crate::{config, domains, irq, schedule};

impl From<OutOfMemory> for Dom0Error {
    fn from(OutOfMemory(what): OutOfMemory) -> Self {
        Self::NoMemory(what)
    }
}

/// Builds domain 0 and lets its first vCPU run.
///
/// # Errors
/// What is wrong with the modules, the parameters or the machine: domain 0 cannot be built.
#[inline(never)]
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
    let domain = creation::domain(Plan {
        id: 0,
        caller: Caller::domain0(),
        max_vcpus: vcpus,
        // The limit of the two ABIs.
        max_port: event_channels::fifo::PORTS - 1,
        grants: grant_table::Limits::most(),
        io_access: IoAccess::hardware_domain().ok_or(Dom0Error::NoMemory("its permissions"))?,
        memory_limit: u64::MAX,
    })?;
    domains::insert(domain.clone()).map_err(|_| Dom0Error::NoMemory("the list of domains"))?;
    let joined = domain.pool.join(scheduler::DEFAULT_POOL);
    joined.map_err(|_| Dom0Error::NoMemory("a CPU"))?;
    for id in 0..vcpus {
        creation::add_vcpu(&domain, id)?;
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
