//! Putting a vCPU on a CPU and taking it off again.
//!
//! Order matters where the address space changes: the descriptor tables that the CPU uses are its own while
//! no guest's area is mapped, so that an NMI in between finds valid selectors. So they are from [`save`] to the next
//! [`load`], and from the CPU's start to the first.

use platform_cpu::{GuestRegs, control, debug_registers, segments::Segments, xsave};

use crate::cpu::Cpu;
use crate::domain::Domain;
use crate::vcpu::{Notice, Vcpu, VcpuState};
use crate::{emulate, mm, time, vcpu_time};

/// Loads the vCPU's state to the CPU. A function of its own, as is [`save`]: see [`crate::run::run`].
#[inline(never)]
pub fn load(
    cpu: &mut Cpu,
    domain: &Domain,
    vcpu: &Vcpu,
    state: &mut VcpuState,
    regs: &mut GuestRegs,
) {
    if vcpu.cpu() != cpu.id {
        vcpu.set_cpu(cpu.id);
        vcpu_time::follow(domain.id(), vcpu, cpu.id);
    }
    // First: from now on other CPUs ask this one to flush.
    mm::note_guest_loaded();
    if let Some(root) = state.current_root() {
        platform_memory::load_guest_root(root);
    }
    state.roots.note_change();
    mm::load_descriptor_tables(domain, vcpu, state);
    *regs = state.regs;
    if state.xsave.restore().is_err() {
        log::warn!(
            "d{}v{}: bad extended state replaced",
            domain.id(),
            vcpu.id()
        );
        state.xsave.reset();
        // What reset leaves is what the CPU itself starts with: it cannot be refused.
        let _ = state.xsave.restore();
    }
    if state.segments.load().is_err() {
        // The selectors that could be loaded are; the guest hears of the others from its failsafe callback.
        vcpu.notify(Notice::BadSegments);
    }
    // Without XSAVE there is nothing to choose.
    let _ = xsave::set_xcr0(state.xcr0);
    emulate::load_registers(&state.msrs);
    control::set_guest_cr4(state.cr4);
    control::set_task_switched(state.cr0 & x86_defs::control::Cr0::TS.bits() != 0);
    debug_registers::load(&state.debug_registers);
    time::update_vcpu_time(vcpu);
    vcpu_time::note_loaded(domain, vcpu, cpu.picked_at);
}

/// Saves the vCPU's state from the CPU. Its page tables stay loaded until another's, or none, are.
#[inline(never)]
pub fn save(
    cpu: &mut Cpu,
    domain: &Domain,
    vcpu: &Vcpu,
    state: &mut VcpuState,
    regs: &mut GuestRegs,
) {
    state.regs = *regs;
    state.segments = Segments::save();
    control::set_task_switched(false);
    state.xsave.save();
    debug_registers::unload(&state.debug_registers);
    platform_memory::use_own_descriptors();
    mm::unload_guest();
    vcpu_time::note_stopped(domain, vcpu, cpu.picked_at);
}
