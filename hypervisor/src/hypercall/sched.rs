//! `sched_op` and `set_timer_op`: giving up the CPU, waiting, ending (public/sched.h).

use ::hypercall::{Authorized, Outcome, authorize, op};
use addr::Vaddr;
use arrayvec::ArrayVec;
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::sched;

use crate::context::Context;
use crate::hypercall::{errno, ok, scheduler_control};
use crate::vcpu::Waiting;
use crate::{domains, events, shutdown as ending, vcpu_time};

/// Handles the call.
#[inline(never)]
pub fn sched_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    let at = Vaddr::new(argument);
    match u32::try_from(command).unwrap_or(u32::MAX) {
        sched::YIELD => {
            crate::schedule::yield_now(context);
            ok()
        }
        sched::BLOCK => block(context),
        sched::SHUTDOWN => match guest::read::<sched::Shutdown>(at) {
            Ok(request) => shutdown(context, request.reason),
            Err(_) => errno(Errno::EFAULT),
        },
        sched::SHUTDOWN_CODE => match guest::read::<sched::Shutdown>(at) {
            Ok(request) => shutdown_code(context, request.reason),
            Err(_) => errno(Errno::EFAULT),
        },
        sched::POLL => match guest::read::<sched::Poll>(at) {
            Ok(request) => poll(context, &request),
            Err(_) => errno(Errno::EFAULT),
        },
        sched::REMOTE_SHUTDOWN => match guest::read::<sched::RemoteShutdown>(at) {
            Ok(request) => {
                let Some(domain) = domains::find(request.domain_id) else {
                    return errno(Errno::ESRCH);
                };
                match authorize::<op::SchedRemoteShutdown>(
                    context.domain.caller(),
                    request.domain_id,
                ) {
                    Ok(permission) => remote_shutdown(permission, &domain, request.reason),
                    Err(refused) => errno(refused),
                }
            }
            Err(_) => errno(Errno::EFAULT),
        },
        sched::WATCHDOG => match guest::read::<sched::Watchdog>(at) {
            Ok(request) => vcpu_time::watchdog(context.domain, request.id, request.timeout),
            Err(_) => errno(Errno::EFAULT),
        },
        sched::PIN_OVERRIDE => {
            match authorize::<op::SchedPinOverride>(context.domain.caller(), context.domain.id()) {
                Ok(permission) => match guest::read::<sched::PinOverride>(at) {
                    Ok(request) => pin_override(permission, context, request.pcpu),
                    Err(_) => errno(Errno::EFAULT),
                },
                Err(refused) => errno(refused),
            }
        }
        _ => errno(Errno::ENOSYS),
    }
}

/// Unmasks upcalls and waits for one.
fn block(context: &mut Context<'_>) -> Outcome {
    let info = context.vcpu.info();
    info.set_upcall_mask(false);
    context.vcpu.set_waiting(Waiting::Blocked);
    // A sender sets the upcall first and looks at the waiting state then; this is the other order.
    if info.upcall_due() {
        context.vcpu.set_waiting(Waiting::No);
        return ok();
    }
    Outcome::Block
}

/// Waits until one of some ports is pending, or a time is reached.
fn poll(context: &mut Context<'_>, request: &sched::Poll) -> Outcome {
    /// Most ports that can be polled for (`SCHEDOP_poll`, public/sched.h, and Xen's limit).
    const MAX_PORTS: u32 = 128;
    if request.nr_ports > MAX_PORTS {
        return errno(Errno::EINVAL);
    }
    let mut ports = ArrayVec::<u32, { MAX_PORTS as usize }>::new();
    let mut unreadable = false;
    for index in 0..request.nr_ports {
        let port = request
            .ports
            .element(u64::from(index))
            .and_then(|handle| guest::read::<u32>(Vaddr::new(handle.address)).ok());
        match port {
            Some(port) if ports.try_push(port).is_ok() => {}
            // A port before it that is pending, or does not exist, decides.
            _ => {
                unreadable = true;
                break;
            }
        }
    }
    match events::poll(context.domain, context.vcpu, &ports) {
        Err(error) => return errno(error),
        Ok(false) => return ok(),
        Ok(true) => {}
    }
    if unreadable {
        context.vcpu.set_waiting(Waiting::No);
        return errno(Errno::EFAULT);
    }
    // As in `block`.
    if context.vcpu.info().upcall_due() {
        context.vcpu.set_waiting(Waiting::No);
        return ok();
    }
    vcpu_time::arm_poll(context.vcpu, request.timeout);
    Outcome::Block
}

/// The domain ends itself.
fn shutdown(context: &mut Context<'_>, reason: u32) -> Outcome {
    if reason > sched::SHUTDOWN_MAX {
        return errno(Errno::EINVAL);
    }
    if reason == sched::SHUTDOWN_CRASH {
        return Outcome::Crash(::hypercall::CrashReason::Requested);
    }
    ending::domain_ended(context.domain, reason);
    context.cpu.reschedule = true;
    ok()
}

/// Records the code of a shutdown that comes later.
fn shutdown_code(context: &mut Context<'_>, reason: u32) -> Outcome {
    if reason > sched::SHUTDOWN_MAX {
        return errno(Errno::EINVAL);
    }
    let mut shutdown = context.domain.shutdown.lock();
    if context.domain.has_ended() {
        return errno(Errno::EACCES);
    }
    shutdown.code = Some(reason);
    ok()
}

fn remote_shutdown(
    _permission: Authorized<op::SchedRemoteShutdown>,
    domain: &alloc::sync::Arc<crate::domain::Domain>,
    reason: u32,
) -> Outcome {
    if reason > sched::SHUTDOWN_MAX {
        return errno(Errno::EINVAL);
    }
    ending::domain_ended(domain, reason);
    ok()
}

/// Pins the vCPU to a physical CPU for a while, or (negative) ends that.
fn pin_override(
    _permission: Authorized<op::SchedPinOverride>,
    context: &Context<'_>,
    cpu: i32,
) -> Outcome {
    match scheduler_control::pin_override(context.domain, context.vcpu, usize::try_from(cpu).ok()) {
        Ok(()) => ok(),
        Err(error) => errno(error),
    }
}

/// `set_timer_op`: the timer event comes at this absolute time in nanoseconds; 0 is never.
#[inline(never)]
pub fn set_timer_op(context: &mut Context<'_>, deadline: u64) -> Outcome {
    if deadline == 0 {
        vcpu_time::disarm_singleshot(context.vcpu);
    } else {
        // Far-off times are a guest's way of saying never; near the end of time the hardware could not say.
        vcpu_time::arm_singleshot(context.vcpu, deadline);
    }
    ok()
}
