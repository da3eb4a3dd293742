//! Model-specific registers and the time-stamp counter.

use cpu_policy::Vendor;
use cpu_policy::msr::{self as policy, Access, Read, SegmentBase, VcpuMsrs, Write};
use platform_cpu::lock::Once;
use platform_cpu::{GuestRegs, control, msr, segments};
use x86_defs::exception::Exception;
use x86_defs::msr as number;

use super::{Carried, identify};
use crate::context::Context;

/// How the processor is made to fault when a program, or a guest's kernel, executes `cpuid`.
#[derive(Clone, Copy)]
struct Faulting {
    register: u32,
    bit: u64,
}

static FAULTING: Once<Option<Faulting>> = Once::new();

/// Finds out whether `cpuid` can be made to fault.
fn find_faulting() -> Option<Faulting> {
    let host = identify::host();
    if host.vendor == Vendor::Intel {
        let faults = number::PLATFORM_INFO_CPUID_FAULTING;
        return (msr::read(number::PLATFORM_INFO)? & faults != 0).then_some(Faulting {
            register: number::MISC_FEATURES_ENABLES,
            bit: number::MISC_FEATURES_CPUID_FAULTING,
        });
    }
    /// CPUID leaf 0x80000021, EAX.
    const USER_DISABLE: u32 = 1 << 17;
    let leaf = control::cpuid(0x8000_0000, 0).eax;
    let answer = if leaf >= 0x8000_0021 {
        control::cpuid(0x8000_0021, 0).eax
    } else {
        0
    };
    (host.vendor.is_amd_like() && answer & USER_DISABLE != 0).then_some(Faulting {
        register: number::HWCR,
        bit: number::HWCR_CPUID_USER_DISABLE,
    })
}

/// How `cpuid` faults on this machine, if it can.
fn faulting() -> Option<Faulting> {
    if let Some(found) = FAULTING.get() {
        return *found;
    }
    let found = find_faulting();
    // Another CPU may have been faster, with the same result.
    let _ = FAULTING.set(found);
    found
}

/// Makes `cpuid` fault in guests on this CPU, where it can: then programs see what their kernel does.
fn enable_faulting() {
    if let Some(Faulting { register, bit }) = faulting()
        && let Some(value) = msr::read(register)
        && value & bit == 0
    {
        msr::write(register, value | bit);
    }
}

fn access<'a>(context: &'a Context<'_>) -> Access<'a> {
    Access {
        policy: context.domain.emulation.cpuid(),
        hardware: context.domain.is_hardware(),
        vcpu_id: context.vcpu.id(),
        efer: msr::read(number::EFER).unwrap_or(0),
        can_fault_cpuid: faulting().is_some(),
    }
}

/// Sets edx:eax.
fn set_pair(regs: &mut GuestRegs, value: u64) {
    regs.rax = value & u64::from(u32::MAX);
    regs.rdx = value >> 32;
}

/// Loads the registers that a vCPU has of its own and the processor has once.
pub fn load_registers(msrs: &VcpuMsrs) {
    enable_faulting();
    // A processor without `rdtscp` has no such register, and the guest could not set it.
    if msr::read(number::TSC_AUX).is_some_and(|loaded| loaded != u64::from(msrs.tsc_aux)) {
        msr::write(number::TSC_AUX, msrs.tsc_aux.into());
    }
}

/// `rdtsc`.
pub(super) fn read_time(regs: &mut GuestRegs) {
    set_pair(regs, control::rdtsc());
}

/// `rdmsr`.
pub(super) fn read(context: &mut Context<'_>) -> Carried {
    let register = context.regs.rcx as u32;
    let value = match policy::read(&access(context), &context.state.msrs, register) {
        Read::Value(value) => Some(value),
        Read::Host { clear, set } => msr::read(register).map(|value| (value & !clear) | set),
        Read::Base(SegmentBase::Fs) => Some(segments::fs_base()),
        Read::Base(SegmentBase::Gs) => Some(segments::gs_base()),
        Read::Base(SegmentBase::ShadowGs) => Some(segments::shadow_gs_base()),
        Read::Tsc => Some(control::rdtsc()),
        Read::Fault => None,
        Read::Unknown => unknown(context, register),
    };
    match value {
        Some(value) => {
            set_pair(context.regs, value);
            Carried::Done
        }
        None => Carried::Refused,
    }
}

/// A register that the policy does not know: a guest that could not handle the fault yet reads zero, if there
/// is such a register at all.
fn unknown(context: &Context<'_>, register: u32) -> Option<u64> {
    log::debug!(
        "d{}v{}: rdmsr {register:#x} is not implemented",
        context.domain.id(),
        context.vcpu.id()
    );
    let handler = usize::from(Exception::GENERAL_PROTECTION.0);
    let handled = context
        .state
        .traps
        .get(handler)
        .is_some_and(|trap| trap.address != 0);
    if handled {
        return None;
    }
    msr::read(register).map(|_| 0)
}

/// `wrmsr`.
pub(super) fn write(context: &mut Context<'_>) -> Carried {
    let regs = &context.regs;
    let register = regs.rcx as u32;
    let value = (regs.rax & u64::from(u32::MAX)) | (regs.rdx << 32);
    let mut msrs = context.state.msrs;
    let decision = policy::write(&access(context), &mut msrs, register, value);
    context.state.msrs = msrs;
    let done = match decision {
        Write::Done => true,
        Write::Refused => {
            refused(context, register, value);
            true
        }
        Write::Host(value) | Write::Loaded(value) => msr::write(register, value),
        Write::Base(SegmentBase::Fs, base) => segments::set_fs_base(base),
        Write::Base(SegmentBase::Gs, base) => segments::set_gs_base(base),
        Write::Base(SegmentBase::ShadowGs, base) => segments::set_shadow_gs_base(base),
        Write::MustEqualHost { clear, set } => {
            let host = msr::read(register).map(|host| (host & !clear) | set);
            if host.is_some_and(|host| host != value) {
                refused(context, register, value);
            }
            host.is_some()
        }
        // COMPAT: paravirtual guests have the page put in place by their ELF note.
        Write::HypercallPage { .. } | Write::Fault => false,
        Write::Unknown => {
            refused(context, register, value);
            false
        }
    };
    if done {
        Carried::Done
    } else {
        Carried::Refused
    }
}

fn refused(context: &Context<'_>, register: u32, value: u64) {
    log::debug!(
        "d{}v{}: wrmsr {register:#x} of {value:#x} is not done",
        context.domain.id(),
        context.vcpu.id()
    );
}
