//! A guest's registers by their numbers in instructions.

use platform_cpu::{GuestRegs, segments};
use privileged_ops::{Gpr, Segment};

/// The guest's registers, as `privileged_ops` wants them.
pub struct Registers<'a>(pub &'a mut GuestRegs);

/// The place of a register in the guest's frame.
fn slot(regs: &mut GuestRegs, gpr: Gpr) -> &mut u64 {
    match gpr.number() {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        _ => &mut regs.r15,
    }
}

/// Reads a register.
pub(super) fn get(regs: &GuestRegs, gpr: Gpr) -> u64 {
    match gpr.number() {
        0 => regs.rax,
        1 => regs.rcx,
        2 => regs.rdx,
        3 => regs.rbx,
        4 => regs.rsp,
        5 => regs.rbp,
        6 => regs.rsi,
        7 => regs.rdi,
        8 => regs.r8,
        9 => regs.r9,
        10 => regs.r10,
        11 => regs.r11,
        12 => regs.r12,
        13 => regs.r13,
        14 => regs.r14,
        _ => regs.r15,
    }
}

/// Sets a register.
pub(super) fn set(regs: &mut GuestRegs, gpr: Gpr, value: u64) {
    *slot(regs, gpr) = value;
}

impl privileged_ops::Registers for Registers<'_> {
    fn gpr(&self, gpr: Gpr) -> u64 {
        get(self.0, gpr)
    }

    fn set_gpr(&mut self, gpr: Gpr, value: u64) {
        set(self.0, gpr, value);
    }

    fn rip(&self) -> u64 {
        self.0.rip
    }

    fn set_rip(&mut self, value: u64) {
        self.0.rip = value;
    }

    fn rflags(&self) -> u64 {
        self.0.rflags
    }

    fn set_rflags(&mut self, value: u64) {
        self.0.rflags = value;
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => segments::fs_base(),
            Segment::Gs => segments::gs_base(),
            _ => 0,
        }
    }
}
