//! `sysctl`: what tools ask of the whole machine (public/sysctl.h, version 0x15).

mod hardware;

use ::hypercall::{Authorized, CallFrame, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::domid::DOMID_FIRST_RESERVED;
use xen_abi::errno::Errno;
use xen_abi::sysctl::power::CpuHotplug;
use xen_abi::sysctl::{self as abi, DebugKeys, GetDomainInfoList, ReadConsole, Sysctl};
use zerocopy::{Immutable, IntoBytes};

use crate::context::Context;
use crate::hotplug::{self, Progress};
use crate::hypercall::domctl::domain_info;
use crate::hypercall::{errno, not_implemented, scheduler_control};
use crate::{console, death, domains, keys};

/// What came of an operation.
enum Answer {
    /// It is done; what it changed of the request goes back to the caller.
    Done,
    /// There is no such operation.
    Unknown,
    /// The call has to be made again, by another CPU than this one.
    Elsewhere,
}

/// Handles the call; the request is at `argument`, and what the operation changed of it goes back there.
#[inline(never)]
pub fn sysctl(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [argument, ..] = frame.args;
    let at = Vaddr::new(argument);
    let Ok(mut request) = guest::read::<Sysctl>(at) else {
        return errno(Errno::EFAULT);
    };
    if request.interface_version != abi::INTERFACE_VERSION {
        return errno(Errno::EACCES);
    }
    death::reap();
    match perform(context, &mut request) {
        Ok(Answer::Done) => match guest::write(at, &request) {
            Ok(()) => Outcome::SUCCESS,
            Err(_) => errno(Errno::EFAULT),
        },
        Ok(Answer::Elsewhere) => {
            context.cpu.reschedule = true;
            Outcome::Preempt(*frame)
        }
        Ok(Answer::Unknown) => not_implemented(context, "sysctl", request.cmd),
        Err(error) => errno(error),
    }
}

/// Calls the handler of an operation with its argument, which it may change.
macro_rules! operation {
    ($context:ident, $request:ident, $op:ident, $field:ident, $handler:path) => {{
        let caller = $context.domain.caller();
        let permission = authorize::<op::$op>(caller, caller.domid)?;
        let mut argument = $request.u.$field();
        $handler(permission, &mut argument)?;
        $request.u.set(argument);
        Ok(Answer::Done)
    }};
    ($context:ident, $op:ident, refused $error:ident) => {{
        let caller = $context.domain.caller();
        let _permission = authorize::<op::$op>(caller, caller.domid)?;
        Err(Errno::$error)
    }};
}

#[rustfmt::skip]
fn perform(context: &mut Context<'_>, request: &mut Sysctl) -> Result<Answer, Errno> {
    match request.cmd {
        abi::READCONSOLE => operation!(context, request, SysctlReadconsole, readconsole, read_console),
        abi::DEBUG_KEYS => {
            let caller = context.domain.caller();
            let permission = authorize::<op::SysctlDebugKeys>(caller, caller.domid)?;
            debug_keys(permission, context, &request.u.debug_keys()).map(|()| Answer::Done)
        }
        abi::PHYSINFO => operation!(context, request, SysctlPhysinfo, physinfo, hardware::physinfo),
        abi::GETCPUINFO => operation!(context, request, SysctlGetcpuinfo, getcpuinfo, hardware::cpu_info),
        abi::CPUTOPOINFO => operation!(context, request, SysctlCputopoinfo, cputopoinfo, hardware::cpu_topology),
        abi::NUMAINFO => operation!(context, request, SysctlNumainfo, numainfo, hardware::nodes),
        abi::PCITOPOINFO => operation!(context, request, SysctlPcitopoinfo, pcitopoinfo, hardware::pci_topology),
        abi::AVAILHEAP => operation!(context, request, SysctlAvailheap, availheap, hardware::available),
        abi::GET_CPU_FEATURESET => operation!(context, request, SysctlGetCpuFeatureset, cpu_featureset, hardware::featureset),
        abi::GET_CPU_POLICY => operation!(context, request, SysctlGetCpuPolicy, cpu_policy, hardware::cpu_policy),
        abi::GET_CPU_LEVELLING_CAPS => operation!(context, request, SysctlGetCpuLevellingCaps, cpu_levelling_caps, hardware::levelling),
        abi::CPU_HOTPLUG => {
            let caller = context.domain.caller();
            let permission = authorize::<op::SysctlCpuHotplug>(caller, caller.domid)?;
            cpu_hotplug(permission, &request.u.cpu_hotplug())
        }
        // Domain 0 has not told how the processors save power.
        abi::GET_PMSTAT => operation!(context, SysctlGetPmstat, refused ENODEV),
        abi::PM_OP => operation!(context, SysctlPmOp, refused ENODEV),
        abi::PERFC_OP => operation!(context, SysctlPerfcOp, refused EOPNOTSUPP),
        abi::LOCKPROF_OP => operation!(context, SysctlLockprofOp, refused EOPNOTSUPP),
        abi::COVERAGE_OP => operation!(context, SysctlCoverageOp, refused EOPNOTSUPP),
        abi::LIVEPATCH_OP => operation!(context, SysctlLivepatchOp, refused EOPNOTSUPP),
        abi::PSR_CMT_OP => operation!(context, SysctlPsrCmtOp, refused ENODEV),
        abi::PSR_ALLOC => operation!(context, SysctlPsrAlloc, refused ENODEV),
        abi::GETDOMAININFOLIST => operation!(context, request, SysctlGetdomaininfolist, getdomaininfolist, list_domains),
        abi::SCHED_ID => operation!(context, request, SysctlSchedId, sched_id, scheduler_control::scheduler_id),
        abi::SCHEDULER_OP => operation!(context, request, SysctlSchedulerOp, scheduler_op, scheduler_control::pool_parameters),
        abi::CPUPOOL_OP => operation!(context, request, SysctlCpupoolOp, cpupool_op, scheduler_control::pool_operation),
        _ => Ok(Answer::Unknown),
    }
}

/// Writes to where a handle of a request points.
fn write<T: IntoBytes + Immutable>(at: u64, value: &T) -> Result<(), Errno> {
    guest::write(Vaddr::new(at), value).map_err(|_| Errno::EFAULT)
}

/// Takes a CPU out of use, or back.
fn cpu_hotplug(
    _permission: Authorized<op::SysctlCpuHotplug>,
    request: &CpuHotplug,
) -> Result<Answer, Errno> {
    let cpu = request.cpu as usize;
    match request.op {
        abi::CPU_HOTPLUG_ONLINE => hotplug::online(cpu).map(|()| Answer::Done),
        abi::CPU_HOTPLUG_OFFLINE => hotplug::offline(cpu).map(|progress| match progress {
            Progress::Done => Answer::Done,
            Progress::Again => Answer::Elsewhere,
        }),
        abi::CPU_HOTPLUG_SMT_ENABLE | abi::CPU_HOTPLUG_SMT_DISABLE => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

/// Describes domains, from a number on.
fn list_domains(
    _permission: Authorized<op::SysctlGetdomaininfolist>,
    request: &mut GetDomainInfoList,
) -> Result<(), Errno> {
    let mut next = request.first_domain;
    let mut count = 0;
    while count < request.max_domains && next < DOMID_FIRST_RESERVED {
        let Some(entry) = domains::first_from(next) else {
            break;
        };
        let at = request
            .buffer
            .element(u64::from(count))
            .ok_or(Errno::EFAULT)?;
        write(at.address, &domain_info(&entry))?;
        count += 1;
        next = entry.id() + 1;
    }
    request.num_domains = count;
    Ok(())
}

/// Copies the console ring out; count and index that follow go to the request.
fn read_console(
    _permission: Authorized<op::SysctlReadconsole>,
    request: &mut ReadConsole,
) -> Result<(), Errno> {
    const CHUNK: usize = 128;
    let incremental = request.incremental != 0;
    let mut index = console::ring_start(incremental.then_some(request.index));
    let mut copied = 0u32;
    while copied < request.count {
        let mut bytes = [0; CHUNK];
        let wanted = (request.count - copied).min(CHUNK as u32) as usize;
        let room = bytes.get_mut(..wanted).ok_or(Errno::EINVAL)?;
        let got = console::read_ring(index, room);
        if got == 0 {
            break;
        }
        let to = request
            .buffer
            .address
            .checked_add(u64::from(copied))
            .ok_or(Errno::EFAULT)?;
        guest::copy_to(Vaddr::new(to), room.get(..got).unwrap_or_default())
            .map_err(|_| Errno::EFAULT)?;
        copied = copied.saturating_add(got as u32);
        index = index.wrapping_add(got as u32);
    }
    if request.clear != 0 {
        console::clear_ring(index);
    }
    request.count = copied;
    request.index = index;
    Ok(())
}

/// Handles keys as if they were typed at the console.
fn debug_keys(
    _permission: Authorized<op::SysctlDebugKeys>,
    context: &mut Context<'_>,
    request: &DebugKeys,
) -> Result<(), Errno> {
    /// More keys than this are a mistake.
    const MAX_KEYS: u32 = 256;
    for index in 0..request.nr_keys.min(MAX_KEYS) {
        let handle = request
            .keys
            .element(u64::from(index))
            .ok_or(Errno::EFAULT)?;
        let key = guest::read::<u8>(Vaddr::new(handle.address)).map_err(|_| Errno::EFAULT)?;
        keys::handle(context.cpu, key);
    }
    Ok(())
}
