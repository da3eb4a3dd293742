//! `platform_op`: the machine as the domain that owns its hardware manages it (public/platform.h).

use ::hypercall::{Authorized, CallFrame, Operation, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::control::cpuid;
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::platform::{self, PcpuVersion, Pcpuinfo, PlatformOp};

use crate::context::Context;
use crate::hotplug::{self, Progress};
use crate::hypercall::{errno, not_implemented};
use crate::{irq, power, time};

/// The state that is "soft off" (ACPI §16.1.5).
const SOFT_OFF: u32 = 5;

/// Handles the call; the request is at `argument`, and what the operation changed of it goes back there.
#[inline(never)]
pub fn platform_op(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [argument, ..] = frame.args;
    let at = Vaddr::new(argument);
    let Ok(mut request) = guest::read::<PlatformOp>(at) else {
        return errno(Errno::EFAULT);
    };
    if request.interface_version != platform::INTERFACE_VERSION {
        return errno(Errno::EACCES);
    }
    if let Err(refused) = may::<op::PlatformOp>(context) {
        return errno(refused);
    }
    let result = match request.cmd {
        platform::SETTIME32 => may::<op::PlatformSettime32>(context).and_then(|()| {
            let time = request.u.settime32();
            time::set_wall_clock(time.secs.into(), time.nsecs, time.system_time)
        }),
        platform::SETTIME64 => may::<op::PlatformSettime64>(context).and_then(|()| {
            let time = request.u.settime64();
            if time.mbz != 0 {
                return Err(Errno::EINVAL);
            }
            time::set_wall_clock(time.secs, time.nsecs, time.system_time)
        }),
        platform::FIRMWARE_INFO => {
            may::<op::PlatformFirmwareInfo>(context).and_then(|()| firmware_info(&mut request))
        }
        platform::ENTER_ACPI_SLEEP => may::<op::PlatformEnterAcpiSleep>(context)
            .and_then(|()| enter_sleep(&request.u.enter_acpi_sleep())),
        platform::GET_CPUINFO => may::<op::PlatformGetCpuinfo>(context).map(|()| {
            let info = cpu_info(request.u.pcpu_info().xen_cpuid);
            request.u.set(info);
        }),
        platform::GET_CPU_VERSION => may::<op::PlatformGetCpuVersion>(context).map(|()| {
            let version = cpu_version(request.u.pcpu_version().xen_cpuid);
            request.u.set(version);
        }),
        platform::CPU_ONLINE => may::<op::PlatformCpuOnline>(context)
            .and_then(|()| hotplug::online(request.u.cpu_ol().cpuid as usize)),
        platform::CPU_OFFLINE => {
            let gone = may::<op::PlatformCpuOffline>(context)
                .and_then(|()| hotplug::offline(request.u.cpu_ol().cpuid as usize));
            match gone {
                Ok(Progress::Done) => Ok(()),
                Ok(Progress::Again) => {
                    // This CPU is the one that goes: the vCPU makes the call again from another.
                    context.cpu.reschedule = true;
                    return Outcome::Preempt(*frame);
                }
                Err(error) => Err(error),
            }
        }
        command => return not_implemented(context, "platform_op", command),
    };
    match result.and_then(|()| guest::write(at, &request).map_err(|_| Errno::EFAULT)) {
        Ok(()) => Outcome::SUCCESS,
        Err(error) => errno(error),
    }
}

fn may<O: Operation>(context: &Context<'_>) -> Result<(), Errno> {
    let caller = context.domain.caller();
    let _permission: Authorized<O> = authorize(caller, caller.domid)?;
    Ok(())
}

/// What the BIOS told the boot loader: nothing that a multiboot loader passes on, so each answer is what Xen
/// says when there is nothing.
fn firmware_info(request: &mut PlatformOp) -> Result<(), Errno> {
    let mut info = request.u.firmware_info();
    match info.kind {
        platform::XEN_FW_DISK_INFO | platform::XEN_FW_DISK_MBR_SIGNATURE => Err(Errno::ENOENT),
        platform::XEN_FW_VBEDDC_INFO => Err(Errno::ESRCH),
        platform::XEN_FW_EFI_INFO => Err(Errno::ENOSYS),
        platform::XEN_FW_KBD_SHIFT_FLAGS if info.index == 0 => {
            info.u.set(0u8);
            request.u.set(info);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Enters a sleep state with the values that domain 0's ACPI code computed.
fn enter_sleep(sleep: &platform::EnterAcpiSleep) -> Result<(), Errno> {
    if sleep.flags & !platform::ACPI_SLEEP_EXTENDED != 0 {
        return Err(Errno::EINVAL);
    }
    if sleep.flags & platform::ACPI_SLEEP_EXTENDED != 0 || !power::can_sleep() {
        return Err(Errno::EPERM);
    }
    match sleep.sleep_state {
        SOFT_OFF => {
            log::info!("Entering ACPI S5 state.");
            power::off(sleep.val_a, sleep.val_b);
            // The machine is still on.
            Err(Errno::EIO)
        }
        // COMPAT: Xen suspends to memory (S3); the processors' and chipset's state is not saved here.
        1..=4 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

/// Describes a CPU of the machine, by its number.
fn cpu_info(cpu: u32) -> Pcpuinfo {
    let ids = irq::apic_id(cpu as usize).zip(irq::acpi_id(cpu as usize));
    let (flags, (apic_id, acpi_id)) = match ids {
        Some(ids) if hotplug::is_online(cpu as usize) => (platform::XEN_PCPU_FLAGS_ONLINE, ids),
        Some(ids) => (0, ids),
        None => (platform::XEN_PCPU_FLAGS_INVALID, (0, 0)),
    };
    Pcpuinfo {
        xen_cpuid: cpu,
        max_present: irq::highest_cpu(),
        flags,
        apic_id,
        acpi_id,
    }
}

/// Vendor and version of a CPU. All are taken to be of one kind.
fn cpu_version(cpu: u32) -> PcpuVersion {
    let mut version = PcpuVersion {
        xen_cpuid: cpu,
        max_present: irq::highest_cpu(),
        vendor_id: [0; 12],
        family: 0,
        model: 0,
        stepping: 0,
    };
    if irq::apic_id(cpu as usize).is_some() {
        let vendor = cpuid(0, 0);
        let words = [vendor.ebx, vendor.edx, vendor.ecx];
        for (bytes, word) in version.vendor_id.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // SDM 2A, CPUID leaf 1: the extended fields count for the highest family and for model numbers of 6 and 15.
        let signature = cpuid(1, 0).eax;
        let family = signature >> 8 & 0xf;
        version.family = if family == 0xf {
            family + (signature >> 20 & 0xff)
        } else {
            family
        };
        version.model = signature >> 4 & 0xf;
        if family == 6 || family == 0xf {
            version.model += (signature >> 16 & 0xf) << 4;
        }
        version.stepping = signature & 0xf;
    }
    version
}
