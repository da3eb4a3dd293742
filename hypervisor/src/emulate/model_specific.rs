//! Model-specific registers and the time-stamp counter.

use cpu_policy::msr::{self as policy, Access, Read, SegmentBase, VcpuMsrs, Write};
use platform_cpu::{GuestRegs, control, msr, segments};
use x86_defs::exception::Exception;

use super::Carried;
use crate::context::Context;

/// EFER.
const EFER: u32 = 0xc000_0080;

fn access<'a>(context: &'a Context<'_>) -> Access<'a> {
    Access {
        policy: context.domain.emulation.cpuid(),
        hardware: context.domain.is_hardware(),
        vcpu_id: context.vcpu.id(),
        efer: msr::read(EFER).unwrap_or(0),
        can_fault_cpuid: false,
    }
}

/// Sets edx:eax.
fn set_pair(regs: &mut GuestRegs, value: u64) {
    regs.rax = value & u64::from(u32::MAX);
    regs.rdx = value >> 32;
}

/// TSC_AUX, which `rdtscp` reads without a fault.
const TSC_AUX: u32 = 0xc000_0103;

/// Loads the registers that a vCPU has of its own and the processor has once.
pub fn load_registers(msrs: &VcpuMsrs) {
    // A processor without `rdtscp` has no such register, and the guest could not set it.
    if msr::read(TSC_AUX).is_some_and(|loaded| loaded != u64::from(msrs.tsc_aux)) {
        msr::write(TSC_AUX, msrs.tsc_aux.into());
    }
}

/// `rdtsc`.
pub(super) fn read_time(regs: &mut GuestRegs) {
    set_pair(regs, control::rdtsc());
}

/// `rdmsr`.
pub(super) fn read(context: &mut Context<'_>) -> Carried {
    let number = context.regs.rcx as u32;
    let value = match policy::read(&access(context), &context.state.msrs, number) {
        Read::Value(value) => Some(value),
        Read::Host { clear, set } => msr::read(number).map(|value| (value & !clear) | set),
        Read::Base(SegmentBase::Fs) => Some(segments::fs_base()),
        Read::Base(SegmentBase::Gs) => Some(segments::gs_base()),
        Read::Base(SegmentBase::ShadowGs) => Some(segments::shadow_gs_base()),
        Read::Tsc => Some(control::rdtsc()),
        Read::Fault => None,
        Read::Unknown => unknown(context, number),
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
fn unknown(context: &Context<'_>, number: u32) -> Option<u64> {
    log::debug!(
        "d{}v{}: rdmsr {number:#x} is not implemented",
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
    msr::read(number).map(|_| 0)
}

/// `wrmsr`.
pub(super) fn write(context: &mut Context<'_>) -> Carried {
    let regs = &context.regs;
    let number = regs.rcx as u32;
    let value = (regs.rax & u64::from(u32::MAX)) | (regs.rdx << 32);
    let mut msrs = context.state.msrs;
    let decision = policy::write(&access(context), &mut msrs, number, value);
    context.state.msrs = msrs;
    let done = match decision {
        Write::Done => true,
        Write::Refused => {
            refused(context, number, value);
            true
        }
        Write::Host(value) | Write::Loaded(value) => msr::write(number, value),
        Write::Base(SegmentBase::Fs, base) => segments::set_fs_base(base),
        Write::Base(SegmentBase::Gs, base) => segments::set_gs_base(base),
        Write::Base(SegmentBase::ShadowGs, base) => segments::set_shadow_gs_base(base),
        Write::MustEqualHost { clear, set } => {
            let host = msr::read(number).map(|host| (host & !clear) | set);
            if host.is_some_and(|host| host != value) {
                refused(context, number, value);
            }
            host.is_some()
        }
        // COMPAT: paravirtual guests have the page put in place by their ELF note.
        Write::HypercallPage { .. } | Write::Fault => false,
        Write::Unknown => {
            refused(context, number, value);
            false
        }
    };
    if done { Carried::Done } else { Carried::Refused }
}

fn refused(context: &Context<'_>, number: u32, value: u64) {
    log::debug!(
        "d{}v{}: wrmsr {number:#x} of {value:#x} is not done",
        context.domain.id(),
        context.vcpu.id()
    );
}
