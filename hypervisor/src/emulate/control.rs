//! Control, extended control and debug registers.

use ::hypercall::{CrashReason, Outcome};
use platform_cpu::{control, xsave};
use privileged_ops::Gpr;
use x86_defs::control::{Cr0, Cr4};
use x86_defs::exception::Exception;
use xen_abi::errno::Errno;

use super::Carried;
use super::registers::{get, set};
use crate::context::Context;
use crate::hypercall::{mmu, segments};

/// Bits of CR4 that a guest sets for itself.
const CR4_GUEST: u64 = control::GUEST_CR4;
/// Bits of CR4 that are the hypervisor's choice and that a guest sees.
const CR4_SEEN: u64 = Cr4::PAE
    .union(Cr4::MCE)
    .union(Cr4::OSFXSR)
    .union(Cr4::OSXMMEXCPT)
    .bits();

/// CR4 as the guest reads it.
fn seen_cr4(context: &Context<'_>) -> u64 {
    (context.state.cr4 & CR4_GUEST) | (control::read_cr4() & CR4_SEEN)
}

/// `clts`.
pub(super) fn clear_task_switched(context: &mut Context<'_>) -> Carried {
    context.state.cr0 &= !Cr0::TS.bits();
    control::set_task_switched(false);
    Carried::Done
}

/// `mov gpr, cr`.
pub(super) fn read(context: &mut Context<'_>, register: u8, gpr: Gpr) -> Carried {
    let ts = Cr0::TS.bits();
    let value = match register {
        0 => (control::read_cr0() & !ts) | (context.state.cr0 & ts),
        2 => context.vcpu.info().fault_address(),
        3 => match context.state.roots.kernel() {
            Some(root) => root.frame().raw() << addr::PAGE_SHIFT,
            None => return Carried::Refused,
        },
        4 => seen_cr4(context),
        _ => return Carried::Refused,
    };
    set(context.regs, gpr, value);
    Carried::Done
}

/// `mov cr, gpr`.
///
/// # Errors
/// The domain cannot go on.
pub(super) fn write(
    context: &mut Context<'_>,
    register: u8,
    gpr: Gpr,
) -> Result<Carried, CrashReason> {
    let value = get(context.regs, gpr);
    Ok(match register {
        0 => {
            let ts = Cr0::TS.bits();
            if (value ^ control::read_cr0()) & !ts != 0 {
                return Ok(Carried::Refused);
            }
            context.state.cr0 = (context.state.cr0 & !ts) | (value & ts);
            control::set_task_switched(value & ts != 0);
            Carried::Done
        }
        2 => {
            context.vcpu.info().set_fault_address(value);
            Carried::Done
        }
        3 => match mmu::new_kernel_root(context, value >> addr::PAGE_SHIFT) {
            Outcome::Done(0) => Carried::Done,
            Outcome::Preempt(_) => Carried::Again,
            Outcome::Crash(reason) => return Err(reason),
            _ => Carried::Refused,
        },
        4 => {
            // Bits that are not the guest's are not taken from it, without a fault.
            context.state.cr4 = value & permitted_cr4(context);
            control::set_guest_cr4(context.state.cr4);
            Carried::Done
        }
        _ => Carried::Refused,
    })
}

/// The bits of CR4 that go with the features that the guest sees.
fn permitted_cr4(context: &Context<'_>) -> u64 {
    use cpu_policy::features::{DE, FSGSBASE, TSC, XSAVE};
    let features = context.domain.emulation.cpuid().features();
    let mut permitted = Cr4::empty();
    permitted.set(Cr4::TSD, features.has(TSC));
    permitted.set(Cr4::DE, features.has(DE));
    permitted.set(Cr4::FSGSBASE, features.has(FSGSBASE));
    permitted.set(Cr4::OSXSAVE, features.has(XSAVE));
    permitted.bits() & CR4_GUEST
}

/// `xsetbv`.
pub(super) fn write_extended(context: &mut Context<'_>) -> Carried {
    let regs = &context.regs;
    let value = (regs.rax & u64::from(u32::MAX)) | (regs.rdx << 32);
    if context.state.cr4 & Cr4::OSXSAVE.bits() == 0 {
        return Carried::Exception(Exception::INVALID_OPCODE);
    }
    if regs.rcx as u32 != 0 || !context.domain.emulation.cpuid().xcr0_is_valid(value) {
        return Carried::Refused;
    }
    if !xsave::set_xcr0(value) {
        return Carried::Refused;
    }
    context.state.xcr0 = value;
    Carried::Done
}

/// `mov gpr, dr`: as the hypercall does.
pub(super) fn read_debug(context: &mut Context<'_>, register: u8, gpr: Gpr) -> Carried {
    match segments::get_debugreg(context, u64::from(register)) {
        // Values of registers that begin with ones are no errors: those are small.
        Outcome::Done(value) if !(-4095..0).contains(&value) => {
            set(context.regs, gpr, value as u64);
            Carried::Done
        }
        _ => Carried::Refused,
    }
}

/// `mov dr, gpr`: as the hypercall does.
pub(super) fn write_debug(context: &mut Context<'_>, register: u8, gpr: Gpr) -> Carried {
    let value = get(context.regs, gpr);
    match segments::set_debugreg(context, u64::from(register), value) {
        Outcome::SUCCESS => Carried::Done,
        outcome => {
            debug_assert_ne!(outcome, Outcome::error(Errno::ENOSYS));
            Carried::Refused
        }
    }
}
