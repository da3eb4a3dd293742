//! `domctl`: control of domains (public/domctl.h), for interface versions 0x15 (Xen 4.17) and 0x17 (4.19 and 4.20).
//!
//! The request is read once, its domain found, the permission asked for; the operation gets its own argument, and what
//! it changed of it goes back to the caller.

mod access;
mod cpu_policy;
mod create;
mod info;
mod memory;
mod run;
mod settings;
mod vcpu;

use alloc::sync::Arc;

use ::hypercall::{CallFrame, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::domctl::{self as abi, Domctl};
use xen_abi::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::{errno, not_implemented, scheduler_control};
use crate::{death, domains};

pub use cpu_policy::write_out as write_policy;
pub use info::domain_info;

/// Version 0x17, which differs in the arguments of `createdomain`.
const VERSION_17: u32 = 0x17;

/// What came of an operation.
enum Answer {
    /// It is done, and changed nothing of the request.
    Silent,
    /// It is done, and the request goes back to the caller.
    CopyBack,
    /// The call is to be made again.
    Again,
    /// There is no such operation.
    Unknown,
}

/// Handles the call; the request is at the first argument.
#[inline(never)]
pub fn domctl(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let at = Vaddr::new(frame.args[0]);
    let Ok(mut request) = guest::read::<Domctl>(at) else {
        return errno(Errno::EFAULT);
    };
    let version = request.interface_version;
    if version != abi::INTERFACE_VERSION && version != VERSION_17 {
        return errno(Errno::EACCES);
    }
    // What others have unmapped meanwhile is gone before anyone asks; and so is what this call destroys.
    death::reap();
    let answer = perform(context, &mut request);
    death::reap();
    match answer {
        Ok(Answer::Silent) => Outcome::SUCCESS,
        Ok(Answer::CopyBack) => match guest::write(at, &request) {
            Ok(()) => Outcome::SUCCESS,
            Err(_) => errno(Errno::EFAULT),
        },
        Ok(Answer::Again) => Outcome::Preempt(*frame),
        Ok(Answer::Unknown) => not_implemented(context, "domctl", request.cmd),
        Err(error) => errno(error),
    }
}

/// Calls the handler of an operation: `read`, `change` (what it changed goes back) or `plain` (no argument).
macro_rules! operation {
    ($context:ident, $domain:ident, $request:ident, $op:ident, plain, $handler:path) => {{
        let permission = authorize::<op::$op>($context.domain.caller(), $domain.id())?;
        $handler(permission, $context, &$domain)?;
        Ok(Answer::Silent)
    }};
    ($context:ident, $domain:ident, $request:ident, $op:ident, read $field:ident, $handler:path) => {{
        let permission = authorize::<op::$op>($context.domain.caller(), $domain.id())?;
        $handler(permission, $context, &$domain, &$request.u.$field())?;
        Ok(Answer::Silent)
    }};
    ($context:ident, $domain:ident, $request:ident, $op:ident, change $field:ident, $handler:path) => {{
        let permission = authorize::<op::$op>($context.domain.caller(), $domain.id())?;
        let mut argument = $request.u.$field();
        $handler(permission, $context, &$domain, &mut argument)?;
        $request.u.set(argument);
        Ok(Answer::CopyBack)
    }};
    ($context:ident, $domain:ident, $op:ident, refused $error:ident) => {{
        let _permission = authorize::<op::$op>($context.domain.caller(), $domain.id())?;
        Err(Errno::$error)
    }};
}

fn perform(context: &mut Context<'_>, request: &mut Domctl) -> Result<Answer, Errno> {
    match request.cmd {
        abi::CREATEDOMAIN => {
            let own = context.domain.caller();
            let permission = authorize::<op::DomctlCreatedomain>(own, own.domid)?;
            create::create(permission, request)?;
            return Ok(Answer::CopyBack);
        }
        // Of the first domain from this number on.
        abi::GETDOMAININFO => {
            let permission =
                authorize::<op::DomctlGetdomaininfo>(context.domain.caller(), request.domain)?;
            info::get_domain_info(permission, request)?;
            return Ok(Answer::CopyBack);
        }
        _ => {}
    }
    let domain = domains::find(request.domain).ok_or(Errno::ESRCH)?;
    if request.cmd == abi::DESTROYDOMAIN {
        let permission =
            authorize::<op::DomctlDestroydomain>(context.domain.caller(), domain.id())?;
        return run::destroy(permission, context, domain);
    }
    on_domain(context, &domain, request)
}

#[rustfmt::skip]
fn on_domain(
    context: &mut Context<'_>,
    domain: &Arc<Domain>,
    request: &mut Domctl,
) -> Result<Answer, Errno> {
    match request.cmd {
        abi::PAUSEDOMAIN => operation!(context, domain, request, DomctlPausedomain, plain, run::pause),
        abi::UNPAUSEDOMAIN => operation!(context, domain, request, DomctlUnpausedomain, plain, run::unpause),
        abi::RESUMEDOMAIN => operation!(context, domain, request, DomctlResumedomain, plain, run::resume),
        abi::SENDTRIGGER => operation!(context, domain, request, DomctlSendtrigger, read sendtrigger, run::send_trigger),
        abi::SUBSCRIBE => operation!(context, domain, request, DomctlSubscribe, read subscribe, run::subscribe),
        abi::MAX_VCPUS => operation!(context, domain, request, DomctlMaxVcpus, read max_vcpus, create::max_vcpus),
        abi::HYPERCALL_INIT => operation!(context, domain, request, DomctlHypercallInit, read hypercall_init, create::hypercall_init),
        abi::MAX_MEM => operation!(context, domain, request, DomctlMaxMem, read max_mem, memory::max_mem),
        abi::GETPAGEFRAMEINFO3 => operation!(context, domain, request, DomctlGetpageframeinfo3, read getpageframeinfo3, memory::page_frame_info),
        abi::SETDOMAINHANDLE => operation!(context, domain, request, DomctlSetdomainhandle, read setdomainhandle, settings::set_handle),
        abi::SET_ADDRESS_SIZE => operation!(context, domain, request, DomctlSetAddressSize, read address_size, settings::set_address_size),
        abi::GET_ADDRESS_SIZE => operation!(context, domain, request, DomctlGetAddressSize, change address_size, settings::get_address_size),
        abi::SETTIMEOFFSET => operation!(context, domain, request, DomctlSettimeoffset, read settimeoffset, settings::set_time_offset),
        abi::SETTSCINFO => operation!(context, domain, request, DomctlSettscinfo, read tsc_info, settings::set_tsc),
        abi::GETTSCINFO => operation!(context, domain, request, DomctlGettscinfo, change tsc_info, settings::get_tsc),
        abi::SET_VIRQ_HANDLER => operation!(context, domain, request, DomctlSetVirqHandler, read set_virq_handler, settings::set_virq_handler),
        abi::SETNODEAFFINITY => operation!(context, domain, request, DomctlSetnodeaffinity, read nodeaffinity, settings::set_node_affinity),
        abi::GETNODEAFFINITY => operation!(context, domain, request, DomctlGetnodeaffinity, read nodeaffinity, settings::get_node_affinity),
        abi::SETVCPUAFFINITY => operation!(context, domain, request, DomctlSetvcpuaffinity, change vcpuaffinity, scheduler_control::set_affinity),
        abi::GETVCPUAFFINITY => operation!(context, domain, request, DomctlGetvcpuaffinity, change vcpuaffinity, scheduler_control::get_affinity),
        abi::SCHEDULER_OP => operation!(context, domain, request, DomctlSchedulerOp, change scheduler_op, scheduler_control::domain_parameters),
        abi::SETVCPUCONTEXT => operation!(context, domain, request, DomctlSetvcpucontext, read vcpucontext, vcpu::set_context),
        abi::GETVCPUCONTEXT => operation!(context, domain, request, DomctlGetvcpucontext, read vcpucontext, vcpu::get_context),
        abi::GETVCPUINFO => operation!(context, domain, request, DomctlGetvcpuinfo, change getvcpuinfo, vcpu::info),
        abi::GET_CPU_POLICY => operation!(context, domain, request, DomctlGetCpuPolicy, change cpu_policy, cpu_policy::get),
        abi::SET_CPU_POLICY => {
            // Also of a policy that is refused the caller hears which part it was.
            let permission = authorize::<op::DomctlSetCpuPolicy>(context.domain.caller(), domain.id())?;
            let mut argument = request.u.cpu_policy();
            let result = cpu_policy::set(permission, context, domain, &mut argument);
            request.u.set(argument);
            result.map(|()| Answer::CopyBack)
        }
        abi::IOMEM_PERMISSION => operation!(context, domain, request, DomctlIomemPermission, read iomem_permission, access::frames),
        abi::IOPORT_PERMISSION => operation!(context, domain, request, DomctlIoportPermission, read ioport_permission, access::ports),
        abi::IRQ_PERMISSION => operation!(context, domain, request, DomctlIrqPermission, read irq_permission, access::interrupt),
        // For domains with hardware virtualisation.
        abi::GETHVMCONTEXT => operation!(context, domain, DomctlGethvmcontext, refused EINVAL),
        abi::SETHVMCONTEXT => operation!(context, domain, DomctlSethvmcontext, refused EINVAL),
        abi::GETHVMCONTEXT_PARTIAL => operation!(context, domain, DomctlGethvmcontextPartial, refused EINVAL),
        abi::GET_PAGING_MEMPOOL_SIZE => operation!(context, domain, DomctlGetPagingMempoolSize, refused EOPNOTSUPP),
        abi::SET_PAGING_MEMPOOL_SIZE => operation!(context, domain, DomctlSetPagingMempoolSize, refused EOPNOTSUPP),
        abi::SHADOW_OP => operation!(context, domain, DomctlShadowOp, refused EOPNOTSUPP),
        // There is no IOMMU to give devices away with.
        abi::ASSIGN_DEVICE => operation!(context, domain, DomctlAssignDevice, refused EOPNOTSUPP),
        abi::TEST_ASSIGN_DEVICE => operation!(context, domain, DomctlTestAssignDevice, refused EOPNOTSUPP),
        abi::DEASSIGN_DEVICE => operation!(context, domain, DomctlDeassignDevice, refused EOPNOTSUPP),
        abi::GET_DEVICE_GROUP => operation!(context, domain, DomctlGetDeviceGroup, refused EOPNOTSUPP),
        _ => Ok(Answer::Unknown),
    }
}

/// Reads what a handle of a request points to.
fn read<T: FromBytes + IntoBytes>(at: u64) -> Result<T, Errno> {
    guest::read(Vaddr::new(at)).map_err(|_| Errno::EFAULT)
}

/// Writes to where a handle of a request points.
fn write<T: IntoBytes + Immutable>(at: u64, value: &T) -> Result<(), Errno> {
    guest::write(Vaddr::new(at), value).map_err(|_| Errno::EFAULT)
}
