//! `vcpu_op`: a domain's vCPUs brought up and down, their timers and registered areas (public/vcpu.h).

use ::hypercall::Outcome;
use addr::{Mfn, Vaddr};
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::vcpu;
use xen_abi::vcpu_context::VcpuGuestContext;

use crate::context::Context;
use crate::hypercall::{errno, ok};
use crate::shared_info::VcpuInfoArea;
use crate::vcpu::Notice;
use crate::{events, mm, schedule, time, vcpu_context, vcpu_time};

/// Handles operation `command` on vCPU `id` of the caller's domain.
#[inline(never)]
pub fn vcpu_op(context: &mut Context<'_>, command: u64, id: u64, argument: u64) -> Outcome {
    let at = Vaddr::new(argument);
    let domain = context.domain;
    let Some(target) = u32::try_from(id).ok().and_then(|id| domain.vcpu(id)) else {
        return errno(Errno::ENOENT);
    };
    let is_self = core::ptr::eq(target, context.vcpu);
    match u32::try_from(command).unwrap_or(u32::MAX) {
        vcpu::INITIALISE => {
            if target.is_initialised() {
                return errno(Errno::EEXIST);
            }
            let Ok(wanted) = guest::read::<VcpuGuestContext>(at) else {
                return errno(Errno::EFAULT);
            };
            match vcpu_context::initialise(domain, target, &wanted) {
                Ok(()) => ok(),
                Err(error) => errno(error),
            }
        }
        vcpu::UP => {
            if !target.is_initialised() {
                return errno(Errno::EINVAL);
            }
            target.set_up(true);
            schedule::update(domain, target);
            ok()
        }
        vcpu::DOWN => {
            let others = domain
                .vcpus()
                .any(|other| !core::ptr::eq(other, target) && other.is_up());
            if target.is_up() && !others {
                // The last one down ends the domain, as on Xen.
                crate::shutdown::domain_ended(domain, xen_abi::sched::SHUTDOWN_POWEROFF);
                return ok();
            }
            target.set_up(false);
            schedule::update(domain, target);
            ok()
        }
        vcpu::IS_UP => Outcome::Done(i64::from(target.is_up())),
        vcpu::GET_RUNSTATE_INFO => {
            let info = target.runstate.lock().snapshot(time::now());
            copied(guest::write(at, &info))
        }
        vcpu::REGISTER_RUNSTATE_MEMORY_AREA => {
            let Ok(area) = guest::read::<u64>(at) else {
                return errno(Errno::EFAULT);
            };
            if area != 0
                && !guest::is_guest_range(Vaddr::new(area), size_of::<vcpu::RunstateInfo>() as u64)
            {
                return errno(Errno::EFAULT);
            }
            target.runstate.lock().area = area;
            if is_self {
                vcpu_time::publish_now(context);
            }
            ok()
        }
        vcpu::SET_PERIODIC_TIMER => {
            let Ok(request) = guest::read::<vcpu::SetPeriodicTimer>(at) else {
                return errno(Errno::EFAULT);
            };
            if request.period_ns != 0 {
                vcpu_time::set_periodic(target, request.period_ns)
            } else {
                errno(Errno::EINVAL)
            }
        }
        vcpu::STOP_PERIODIC_TIMER => vcpu_time::set_periodic(target, 0),
        vcpu::SET_SINGLESHOT_TIMER => {
            if !is_self {
                return errno(Errno::EINVAL);
            }
            let Ok(request) = guest::read::<vcpu::SetSingleshotTimer>(at) else {
                return errno(Errno::EFAULT);
            };
            if request.flags & vcpu::SSHOTTMR_FUTURE != 0 && request.timeout_abs_ns < time::now() {
                return errno(Errno::ETIME);
            }
            vcpu_time::arm_singleshot(target, request.timeout_abs_ns);
            ok()
        }
        vcpu::STOP_SINGLESHOT_TIMER => {
            if !is_self {
                return errno(Errno::EINVAL);
            }
            vcpu_time::disarm_singleshot(target);
            ok()
        }
        vcpu::REGISTER_VCPU_INFO => {
            let Ok(request) = guest::read::<vcpu::RegisterVcpuInfo>(at) else {
                return errno(Errno::EFAULT);
            };
            register_info(context, target, is_self, &request)
        }
        vcpu::SEND_NMI => {
            events::send_nmi(domain, target);
            ok()
        }
        vcpu::GET_PHYSID => {
            if !domain.is_hardware() {
                return errno(Errno::EINVAL);
            }
            // APIC id in the low half, ACPI id in the high half.
            let phys_id = crate::smp::physical_id(target.cpu());
            copied(guest::write(at, &vcpu::GetPhysid { phys_id }))
        }
        vcpu::REGISTER_VCPU_TIME_MEMORY_AREA => {
            let Ok(area) = guest::read::<u64>(at) else {
                return errno(Errno::EFAULT);
            };
            target.set_time_area(area);
            if is_self {
                time::update_vcpu_time(context.vcpu);
            }
            ok()
        }
        _ => errno(Errno::ENOSYS),
    }
}

fn copied(result: Result<(), guest::Fault>) -> Outcome {
    match result {
        Ok(()) => ok(),
        Err(_) => errno(Errno::EFAULT),
    }
}

/// Moves a vCPU's info area to a page of the guest's, once.
fn register_info(
    context: &mut Context<'_>,
    target: &crate::vcpu::Vcpu,
    is_self: bool,
    request: &vcpu::RegisterVcpuInfo,
) -> Outcome {
    if !is_self && target.is_up() {
        return errno(Errno::EINVAL);
    }
    let Some(page) = mm::writable_page(context.domain, Mfn::new(request.mfn)) else {
        return errno(Errno::EINVAL);
    };
    let Some(area) = VcpuInfoArea::in_guest_page(page, request.offset as usize) else {
        return errno(Errno::EINVAL);
    };
    match target.move_info(area) {
        Ok(()) => {
            // One that is down may still be loaded.
            target.notify(Notice::Crossings);
            time::update_vcpu_time(target);
            ok()
        }
        Err(_) => errno(Errno::EINVAL),
    }
}
