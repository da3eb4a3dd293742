//! What tools set of the scheduler: affinity, shares, pools.
//!
//! There is one pool, of all CPUs, and all vCPUs may run on any of its CPUs.

use alloc::sync::Arc;

use ::hypercall::{Authorized, op};
use xen_abi::domctl::domain::{SchedCredit2, SchedulerOp as DomainSchedulerOp};
use xen_abi::domctl::vcpu::VcpuAffinity;
use xen_abi::domctl::{self, XEN_SCHEDULER_CREDIT2};
use xen_abi::errno::Errno;
use xen_abi::sysctl::scheduler::{CpupoolOp, Credit2Schedule, SchedId, SchedulerOp};
use xen_abi::sysctl::{self};

use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::bitmap;
use crate::{domains, irq};

/// The only pool.
const POOL: u32 = 0;
/// Share of a domain of which nothing is said.
const DEFAULT_WEIGHT: u16 = 256;
/// Microseconds that a vCPU runs undisturbed.
const RATE_LIMIT: u32 = 1000;

fn is_online(cpu: u32) -> bool {
    cpu < irq::highest_cpu() + 1
}

/// The pool that a domain is in.
pub fn pool_of(_domain: &Domain) -> u32 {
    POOL
}

/// Puts a new domain in a pool.
///
/// # Errors
/// `ESRCH`: there is no such pool.
pub fn join_pool(_domain: &Domain, pool: u32) -> Result<(), Errno> {
    if pool == POOL {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

/// `XEN_DOMCTL_setvcpuaffinity`.
pub fn set_affinity(
    _permission: Authorized<op::DomctlSetvcpuaffinity>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &mut VcpuAffinity,
) -> Result<(), Errno> {
    check_affinity(domain, wanted)?;
    if wanted.flags & domctl::XEN_VCPUAFFINITY_HARD != 0 {
        let words = bitmap::read_words::<4>(&wanted.cpumap_hard)?;
        let reaches = (0..256).any(|cpu: u32| {
            words.get((cpu / 64) as usize).copied().unwrap_or(0) >> (cpu % 64) & 1 != 0
                && is_online(cpu)
        });
        if !reaches {
            return Err(Errno::EINVAL);
        }
        bitmap::write(&wanted.cpumap_hard, is_online)?;
    }
    if wanted.flags & domctl::XEN_VCPUAFFINITY_SOFT != 0 {
        bitmap::write(&wanted.cpumap_soft, is_online)?;
    }
    Ok(())
}

/// `XEN_DOMCTL_getvcpuaffinity`.
pub fn get_affinity(
    _permission: Authorized<op::DomctlGetvcpuaffinity>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    answer: &mut VcpuAffinity,
) -> Result<(), Errno> {
    check_affinity(domain, answer)?;
    if answer.flags & domctl::XEN_VCPUAFFINITY_HARD != 0 {
        bitmap::write(&answer.cpumap_hard, |_| true)?;
    }
    if answer.flags & domctl::XEN_VCPUAFFINITY_SOFT != 0 {
        bitmap::write(&answer.cpumap_soft, |_| true)?;
    }
    Ok(())
}

fn check_affinity(domain: &Domain, request: &VcpuAffinity) -> Result<(), Errno> {
    if request.flags & (domctl::XEN_VCPUAFFINITY_HARD | domctl::XEN_VCPUAFFINITY_SOFT) == 0
        || request.vcpu >= domain.max_vcpus()
    {
        return Err(Errno::EINVAL);
    }
    domain.vcpu(request.vcpu).map(|_| ()).ok_or(Errno::ESRCH)
}

/// `XEN_DOMCTL_scheduler_op`.
pub fn domain_parameters(
    _permission: Authorized<op::DomctlSchedulerOp>,
    _context: &Context<'_>,
    _domain: &Arc<Domain>,
    request: &mut DomainSchedulerOp,
) -> Result<(), Errno> {
    if request.sched_id != XEN_SCHEDULER_CREDIT2 {
        return Err(Errno::EINVAL);
    }
    match request.cmd {
        domctl::SCHEDOP_GETINFO => {
            request.u.set(SchedCredit2 {
                weight: DEFAULT_WEIGHT,
                cap: 0,
            });
            Ok(())
        }
        domctl::SCHEDOP_PUTINFO => match request.u.credit2() {
            SchedCredit2 {
                weight: 0 | DEFAULT_WEIGHT,
                cap: 0 | u16::MAX,
            } => Ok(()),
            _ => Err(Errno::EOPNOTSUPP),
        },
        _ => Err(Errno::EINVAL),
    }
}

/// `XEN_SYSCTL_sched_id`.
///
/// # Errors
/// None.
pub fn scheduler_id(
    _permission: Authorized<op::SysctlSchedId>,
    answer: &mut SchedId,
) -> Result<(), Errno> {
    answer.sched_id = XEN_SCHEDULER_CREDIT2;
    Ok(())
}

/// `XEN_SYSCTL_scheduler_op`.
pub fn pool_parameters(
    _permission: Authorized<op::SysctlSchedulerOp>,
    request: &mut SchedulerOp,
) -> Result<(), Errno> {
    if request.cpupool_id != POOL {
        return Err(Errno::ESRCH);
    }
    if request.sched_id != XEN_SCHEDULER_CREDIT2 {
        return Err(Errno::EINVAL);
    }
    if request.cmd != sysctl::SCHEDOP_GETINFO {
        return Err(Errno::EOPNOTSUPP);
    }
    request.u.set(Credit2Schedule {
        ratelimit_us: RATE_LIMIT,
    });
    Ok(())
}

/// `XEN_SYSCTL_cpupool_op`.
pub fn pool_operation(
    _permission: Authorized<op::SysctlCpupoolOp>,
    request: &mut CpupoolOp,
) -> Result<(), Errno> {
    match request.op {
        sysctl::CPUPOOL_OP_INFO if request.cpupool_id == POOL => {
            request.sched_id = XEN_SCHEDULER_CREDIT2;
            request.n_dom = 0;
            domains::for_each(|_| request.n_dom += 1);
            bitmap::write(&request.cpumap, is_online)
        }
        sysctl::CPUPOOL_OP_INFO => Err(Errno::ENOENT),
        // All CPUs are in the pool.
        sysctl::CPUPOOL_OP_FREEINFO => bitmap::write(&request.cpumap, |_| false),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
