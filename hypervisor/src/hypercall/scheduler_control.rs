//! What tools set of the scheduler: affinity, shares, pools (public/domctl.h, public/sysctl.h).

use alloc::sync::Arc;

use ::hypercall::{Authorized, op};
use addr::Vaddr;
use platform_cpu::guest;
use platform_cpu::lock::SpinGuard;
use scheduler::{
    Affinity, BadSchedule, CpuMask, DEFAULT_POOL, Kind, OutOfMemory, PoolError, PoolId, Pools,
    Schedule, Window,
};
use xen_abi::control::Bitmap;
use xen_abi::domctl::domain::{SchedCredit2, SchedulerOp as DomainSchedulerOp};
use xen_abi::domctl::vcpu::VcpuAffinity;
use xen_abi::domctl::{self};
use xen_abi::errno::Errno;
use xen_abi::sysctl::scheduler::{
    Arinc653Schedule, Arinc653ScheduleSchedEntries, CpupoolOp, Credit2Schedule, SchedId,
    SchedulerOp,
};
use xen_abi::sysctl::{self};
use zerocopy::FromZeros;

use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::bitmap;
use crate::schedule::{self, Scheduler};
use crate::vcpu::Vcpu;
use crate::{domains, hotplug, irq, pool, time, topology};

/// Leaves a domain's cap as it is.
const SAME_CAP: u16 = u16::MAX;

fn scheduler() -> Result<&'static Scheduler, Errno> {
    schedule::scheduler().ok_or(Errno::ENODEV)
}

fn pools() -> Result<SpinGuard<'static, Pools>, Errno> {
    Ok(schedule::pools().ok_or(Errno::ENODEV)?.lock())
}

/// Errors of `XEN_SYSCTL_cpupool_op`, as public/sysctl.h lists them.
fn errno_of(error: PoolError) -> Errno {
    match error {
        PoolError::NoPool => Errno::ENOENT,
        PoolError::Exists => Errno::EEXIST,
        PoolError::Busy => Errno::EBUSY,
        PoolError::Pinned => Errno::EADDRINUSE,
        PoolError::Elsewhere | PoolError::NoCpuInPool => Errno::ENODEV,
        PoolError::NoCpu | PoolError::OtherScheduler | PoolError::BadValue => Errno::EINVAL,
        PoolError::OutOfMemory => Errno::ENOMEM,
    }
}

/// As calls that name a pool in passing say it.
fn errno_of_other_calls(error: PoolError) -> Errno {
    match error {
        PoolError::NoPool => Errno::ESRCH,
        other => errno_of(other),
    }
}

fn read_cpus(bitmap: &Bitmap) -> Result<CpuMask, Errno> {
    bitmap::read_words(bitmap).map(CpuMask::from_words)
}

fn write_cpus(bitmap: &Bitmap, cpus: CpuMask) -> Result<(), Errno> {
    bitmap::write(bitmap, |cpu| cpus.contains(cpu as usize))
}

/// The pool that a domain is in.
pub fn pool_of(domain: &Domain) -> u32 {
    domain.pool.pool().unwrap_or(DEFAULT_POOL)
}

/// Puts a new domain in a pool.
///
/// # Errors
/// `ESRCH`: there is no such pool; `ENODEV`: it has no CPU.
pub fn join_pool(domain: &Domain, pool: u32) -> Result<(), Errno> {
    domain.pool.join(pool).map_err(errno_of_other_calls)
}

fn vcpu_of<'a>(domain: &'a Domain, request: &VcpuAffinity) -> Result<&'a Vcpu, Errno> {
    if request.flags & (domctl::XEN_VCPUAFFINITY_HARD | domctl::XEN_VCPUAFFINITY_SOFT) == 0
        || request.vcpu >= domain.max_vcpus()
    {
        return Err(Errno::EINVAL);
    }
    domain.vcpu(request.vcpu).ok_or(Errno::ESRCH)
}

/// `XEN_DOMCTL_setvcpuaffinity`: answers with what the affinity comes to in the domain's pool.
pub fn set_affinity(
    _permission: Authorized<op::DomctlSetvcpuaffinity>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &mut VcpuAffinity,
) -> Result<(), Errno> {
    let vcpu = vcpu_of(domain, wanted)?;
    let scheduler = scheduler()?;
    let pool = pools()?
        .get(pool_of(domain))
        .map_err(errno_of_other_calls)?
        .cpus;
    let info = scheduler.info(&vcpu.unit).ok_or(Errno::ESRCH)?;
    let mut affinity = info.affinity;
    let sets_hard = wanted.flags & domctl::XEN_VCPUAFFINITY_HARD != 0;
    let sets_soft = wanted.flags & domctl::XEN_VCPUAFFINITY_SOFT != 0;
    if sets_hard {
        affinity.hard = read_cpus(&wanted.cpumap_hard)?;
        if affinity.hard.and(pool).is_empty() {
            return Err(Errno::EINVAL);
        }
    }
    if sets_soft {
        affinity.soft = read_cpus(&wanted.cpumap_soft)?;
    }
    if wanted.flags & domctl::XEN_VCPUAFFINITY_FORCE != 0 {
        kick(scheduler.set_pin(&vcpu.unit, None, time::now()))?;
    } else if info.pin.is_some() && sets_hard {
        return Err(Errno::EBUSY);
    }
    kick(scheduler.set_affinity(&vcpu.unit, affinity, time::now()))?;
    let Affinity { hard, soft } = affinity;
    if sets_hard {
        write_cpus(&wanted.cpumap_hard, hard.and(pool))?;
    }
    if sets_soft {
        write_cpus(&wanted.cpumap_soft, soft.and(hard).and(pool))?;
    }
    Ok(())
}

fn kick(cpus: Result<CpuMask, OutOfMemory>) -> Result<(), Errno> {
    schedule::kick(&cpus.map_err(|OutOfMemory| Errno::ENOMEM)?);
    Ok(())
}

/// `XEN_DOMCTL_getvcpuaffinity`: answers with what was set.
pub fn get_affinity(
    _permission: Authorized<op::DomctlGetvcpuaffinity>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    answer: &mut VcpuAffinity,
) -> Result<(), Errno> {
    let vcpu = vcpu_of(domain, answer)?;
    let info = scheduler()?.info(&vcpu.unit).ok_or(Errno::ESRCH)?;
    if answer.flags & domctl::XEN_VCPUAFFINITY_HARD != 0 {
        write_cpus(&answer.cpumap_hard, info.affinity.hard)?;
    }
    if answer.flags & domctl::XEN_VCPUAFFINITY_SOFT != 0 {
        write_cpus(&answer.cpumap_soft, info.affinity.soft)?;
    }
    Ok(())
}

/// `SCHEDOP_pin_override`: pins the vCPU to a physical CPU for a while, or (`None`) ends that.
///
/// # Errors
/// `EINVAL`: the CPU is not in the pool, or there is no pin to end; `EBUSY`: there is a pin.
pub fn pin_override(domain: &Domain, vcpu: &Vcpu, cpu: Option<usize>) -> Result<(), Errno> {
    let scheduler = scheduler()?;
    let pinned = scheduler
        .info(&vcpu.unit)
        .ok_or(Errno::ESRCH)?
        .pin
        .is_some();
    match cpu {
        None if !pinned => return Err(Errno::EINVAL),
        Some(_) if pinned => return Err(Errno::EBUSY),
        Some(cpu) => {
            let pool = pools()?
                .get(pool_of(domain))
                .map_err(errno_of_other_calls)?;
            if !pool.cpus.contains(cpu) {
                return Err(Errno::EINVAL);
            }
        }
        None => {}
    }
    kick(scheduler.set_pin(&vcpu.unit, cpu, time::now()))
}

/// `XEN_DOMCTL_scheduler_op`: weight and cap.
pub fn domain_parameters(
    _permission: Authorized<op::DomctlSchedulerOp>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    request: &mut DomainSchedulerOp,
) -> Result<(), Errno> {
    let pool = pools()?
        .get(pool_of(domain))
        .map_err(errno_of_other_calls)?;
    if request.sched_id != pool.kind.number() {
        return Err(Errno::EINVAL);
    }
    let share = &domain.share;
    match (request.cmd, pool.kind) {
        (domctl::SCHEDOP_GETINFO, Kind::Credit2) => {
            request.u.set(SchedCredit2 {
                weight: share.weight() as u16,
                cap: share.cap() as u16,
            });
            Ok(())
        }
        (domctl::SCHEDOP_PUTINFO, Kind::Credit2) => {
            let SchedCredit2 { weight, cap } = request.u.credit2();
            if weight != 0 {
                scheduler()?.set_weight(share, pool::units(domain), weight.into(), time::now());
            }
            if cap != SAME_CAP {
                share.set_cap(cap.into());
            }
            Ok(())
        }
        // The others have nothing to set for a domain.
        (domctl::SCHEDOP_GETINFO | domctl::SCHEDOP_PUTINFO, _) => Ok(()),
        // Nor has any for a single vCPU.
        _ => Err(Errno::EINVAL),
    }
}

/// `XEN_SYSCTL_sched_id`.
pub fn scheduler_id(
    _permission: Authorized<op::SysctlSchedId>,
    answer: &mut SchedId,
) -> Result<(), Errno> {
    let pool = pools()?.get(DEFAULT_POOL).map_err(errno_of_other_calls)?;
    answer.sched_id = pool.kind.number();
    Ok(())
}

/// `XEN_SYSCTL_scheduler_op`: the rate limit of credit2, the schedule of ARINC 653.
pub fn pool_parameters(
    _permission: Authorized<op::SysctlSchedulerOp>,
    request: &mut SchedulerOp,
) -> Result<(), Errno> {
    let id = request.cpupool_id;
    let pool = pools()?.get(id).map_err(errno_of_other_calls)?;
    if request.sched_id != pool.kind.number() {
        return Err(Errno::EINVAL);
    }
    let sets = match request.cmd {
        sysctl::SCHEDOP_PUTINFO => true,
        sysctl::SCHEDOP_GETINFO => false,
        _ => return Err(Errno::EINVAL),
    };
    match pool.kind {
        Kind::Credit2 => {
            if sets {
                set_rate_limit(id, request.u.sched_credit2().ratelimit_us)?;
            }
            let pool = pools()?.get(id).map_err(errno_of_other_calls)?;
            request.u.set(Credit2Schedule {
                ratelimit_us: u32::try_from(pool.rate_limit / 1000).unwrap_or(u32::MAX),
            });
            Ok(())
        }
        Kind::Arinc653 => {
            let at = Vaddr::new(request.u.sched_arinc653().schedule.address);
            if sets {
                set_schedule(id, at)
            } else {
                get_schedule(id, at)
            }
        }
        Kind::Null => Ok(()),
    }
}

/// Sets the rate limit in microseconds; 0 is none.
fn set_rate_limit(id: PoolId, microseconds: u32) -> Result<(), Errno> {
    if microseconds != 0
        && !(sysctl::SCHED_RATELIMIT_MIN..=sysctl::SCHED_RATELIMIT_MAX).contains(&microseconds)
    {
        return Err(Errno::EINVAL);
    }
    pools()?
        .set_rate_limit(scheduler()?, id, u64::from(microseconds) * 1000)
        .map_err(errno_of_other_calls)
}

fn set_schedule(id: PoolId, at: Vaddr) -> Result<(), Errno> {
    let wanted: Arinc653Schedule = guest::read(at).map_err(|_| Errno::EFAULT)?;
    let entries = wanted
        .sched_entries
        .get(..usize::from(wanted.num_sched_entries))
        .ok_or(Errno::EINVAL)?;
    let windows = entries.iter().map(|entry| Window {
        domain: entry.dom_handle,
        vcpu: entry.vcpu_id,
        length: entry.runtime,
    });
    let schedule = Schedule::new(wanted.major_frame, windows).map_err(|error| match error {
        BadSchedule::Invalid => Errno::EINVAL,
        BadSchedule::OutOfMemory => Errno::ENOMEM,
    })?;
    let kicks = pools()?
        .set_schedule(scheduler()?, id, schedule)
        .map_err(errno_of_other_calls)?;
    schedule::kick(&kicks);
    Ok(())
}

fn get_schedule(id: PoolId, at: Vaddr) -> Result<(), Errno> {
    let schedule = pools()?
        .schedule(scheduler()?, id)
        .map_err(errno_of_other_calls)?;
    let mut answer = Arinc653Schedule::new_zeroed();
    answer.major_frame = schedule.major_frame();
    answer.num_sched_entries = schedule.windows().len() as u8;
    for (entry, window) in answer.sched_entries.iter_mut().zip(schedule.windows()) {
        *entry = Arinc653ScheduleSchedEntries {
            dom_handle: window.domain,
            vcpu_id: window.vcpu,
            _hole0: [0; 4],
            runtime: window.length,
        };
    }
    guest::write(at, &answer).map_err(|_| Errno::EFAULT)
}

/// `XEN_SYSCTL_cpupool_op`.
pub fn pool_operation(
    permission: Authorized<op::SysctlCpupoolOp>,
    request: &mut CpupoolOp,
) -> Result<(), Errno> {
    let id = request.cpupool_id;
    match request.op {
        sysctl::CPUPOOL_OP_CREATE => {
            let kind = Kind::from_number(request.sched_id).ok_or(Errno::ENOENT)?;
            let wanted = (id != sysctl::CPUPOOL_PAR_ANY).then_some(id);
            request.cpupool_id = pools()?.create(wanted, kind).map_err(errno_of)?;
            Ok(())
        }
        sysctl::CPUPOOL_OP_DESTROY => pools()?.destroy(id).map_err(errno_of),
        sysctl::CPUPOOL_OP_INFO => {
            let pool = pools()?.at_or_after(id).ok_or(Errno::ENOENT)?;
            request.cpupool_id = pool.id;
            request.sched_id = pool.kind.number();
            request.n_dom = pool.domains;
            write_cpus(&request.cpumap, pool.cpus)
        }
        sysctl::CPUPOOL_OP_ADDCPU => add_cpu(id, request.cpu),
        sysctl::CPUPOOL_OP_RMCPU => remove_cpu(id, request.cpu),
        sysctl::CPUPOOL_OP_MOVEDOMAIN => move_domain(&permission, id, request.domid),
        sysctl::CPUPOOL_OP_FREEINFO => write_cpus(&request.cpumap, free_cpus()?),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// CPUs that are in use and in no pool.
fn free_cpus() -> Result<CpuMask, Errno> {
    let pools = pools()?;
    Ok((0..=irq::highest_cpu() as usize)
        .filter(|cpu| hotplug::is_online(*cpu) && pools.of_cpu(*cpu).is_none())
        .collect())
}

fn add_cpu(id: PoolId, cpu: u32) -> Result<(), Errno> {
    let cpu = if cpu == sysctl::CPUPOOL_PAR_ANY {
        free_cpus()?.first().ok_or(Errno::ENODEV)?
    } else if cpu <= irq::highest_cpu() {
        cpu as usize
    } else {
        return Err(Errno::EINVAL);
    };
    if !hotplug::is_online(cpu) {
        return Err(Errno::ENODEV);
    }
    schedule::join(id, cpu, topology::first_of_core(cpu)).map_err(errno_of)
}

fn remove_cpu(id: PoolId, cpu: u32) -> Result<(), Errno> {
    let mut pools = pools()?;
    let pool = pools.get(id).map_err(errno_of)?;
    let cpu = if cpu == sysctl::CPUPOOL_PAR_ANY {
        pool.cpus.iter().last().ok_or(Errno::EINVAL)?
    } else {
        cpu as usize
    };
    let kicks = pools
        .remove_cpu(scheduler()?, id, cpu, time::now())
        .map_err(errno_of)?;
    drop(pools);
    schedule::kick(&kicks);
    Ok(())
}

fn move_domain(
    permission: &Authorized<op::SysctlCpupoolOp>,
    id: PoolId,
    domain: u32,
) -> Result<(), Errno> {
    let domain = u16::try_from(domain).map_err(|_| Errno::ESRCH)?;
    // The caller, whose permission is about itself: nobody moves itself.
    if domain == permission.target() {
        return Err(Errno::EPERM);
    }
    let domain = domains::find(domain).ok_or(Errno::ESRCH)?;
    pool::move_domain(&domain, id).map_err(errno_of)
}
