//! What tools are told of a domain: `getdomaininfo`, also for `XEN_SYSCTL_getdomaininfolist`.

use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, op};
use xen_abi::arch_x86::ArchDomainConfig;
use xen_abi::domctl::domain::GetDomainInfo;
use xen_abi::domctl::{self as abi, Domctl};
use xen_abi::domid::DOMID_FIRST_RESERVED;
use xen_abi::errno::Errno;
use zerocopy::FromZeros;

use crate::domain::{Domain, DomainMemory, Life};
use crate::domains::{self, Entry};
use crate::hypercall::scheduler_control;
use crate::schedule;
use crate::vcpu::Waiting;

/// Describes the first domain from the request's number on.
pub(super) fn get_domain_info(
    _permission: Authorized<op::DomctlGetdomaininfo>,
    request: &mut Domctl,
) -> Result<(), Errno> {
    if request.domain >= DOMID_FIRST_RESERVED {
        return Err(Errno::EINVAL);
    }
    let entry = domains::first_from(request.domain).ok_or(Errno::ESRCH)?;
    let info = domain_info(&entry);
    request.domain = info.domain;
    request.u.set(info);
    Ok(())
}

/// What tools are told of a domain, or of what remains of one.
pub fn domain_info(entry: &Entry) -> GetDomainInfo {
    match entry {
        Entry::Domain(domain) => of_domain(domain),
        Entry::Remains { id, handle, memory } => GetDomainInfo {
            domain: *id,
            flags: abi::XEN_DOMINF_DYING,
            handle: *handle,
            max_vcpu_id: abi::XEN_INVALID_MAX_VCPU_ID,
            ..of_memory(memory)
        },
    }
}

fn of_memory(memory: &DomainMemory) -> GetDomainInfo {
    GetDomainInfo {
        tot_pages: memory.total.load(Ordering::Relaxed),
        // An `unsigned int` in Xen.
        max_pages: memory
            .limit
            .load(Ordering::Relaxed)
            .min(u64::from(u32::MAX)),
        outstanding_pages: memory.claimed.load(Ordering::Relaxed),
        ..GetDomainInfo::new_zeroed()
    }
}

fn of_domain(domain: &Domain) -> GetDomainInfo {
    let (mut online, mut highest, mut cpu_time) = (0, abi::XEN_INVALID_MAX_VCPU_ID, 0u64);
    let (mut all_wait, mut one_runs) = (true, false);
    for vcpu in domain.vcpus() {
        highest = vcpu.id();
        cpu_time = cpu_time.saturating_add(schedule::run_time(vcpu));
        if vcpu.is_up() {
            online += 1;
            all_wait &= vcpu.waiting() != Waiting::No;
            one_runs |= schedule::is_running(vcpu);
        }
    }
    let code = domain.shutdown.lock().code;
    let mut flags = (code.unwrap_or(abi::XEN_DOMINF_SHUTDOWNMASK) & abi::XEN_DOMINF_SHUTDOWNMASK)
        << abi::XEN_DOMINF_SHUTDOWNSHIFT;
    for (flag, is_set) in [
        (abi::XEN_DOMINF_BLOCKED, online != 0 && all_wait),
        (abi::XEN_DOMINF_RUNNING, one_runs),
        (abi::XEN_DOMINF_DYING, domain.life() == Life::Dead),
        (abi::XEN_DOMINF_SHUTDOWN, domain.has_ended()),
        (
            abi::XEN_DOMINF_PAUSED,
            domain.controller_pauses.load(Ordering::Relaxed) != 0,
        ),
        (abi::XEN_DOMINF_XS_DOMAIN, domain.caller().is_xenstore),
    ] {
        if is_set {
            flags |= flag;
        }
    }
    GetDomainInfo {
        domain: domain.id(),
        flags,
        shared_info_frame: domain.shared_info.frame().raw(),
        cpu_time,
        nr_online_vcpus: online,
        max_vcpu_id: highest,
        handle: domain.handle(),
        cpupool: scheduler_control::pool_of(domain),
        arch_config: ArchDomainConfig {
            emulation_flags: 0,
            misc_flags: 0,
        },
        ..of_memory(&domain.memory)
    }
}
