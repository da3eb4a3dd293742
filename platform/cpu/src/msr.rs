//! Model-specific registers.
//!
//! Reads are safe for any register: one that does not exist is `None`. Writes go through [`write()`], which
//! refuses the registers that this crate owns, because with them safe code could redirect the CPU.

use core::arch::asm;

use crate::traps::fixup_entry;

pub(crate) const APIC_BASE: u32 = 0x1b;
pub(crate) const SYSENTER_CS: u32 = 0x174;
pub(crate) const SYSENTER_ESP: u32 = 0x175;
pub(crate) const SYSENTER_EIP: u32 = 0x176;
pub(crate) const PAT: u32 = 0x277;
pub(crate) const XSS: u32 = 0xda0;
pub(crate) const EFER: u32 = 0xc000_0080;
pub(crate) const STAR: u32 = 0xc000_0081;
pub(crate) const LSTAR: u32 = 0xc000_0082;
pub(crate) const CSTAR: u32 = 0xc000_0083;
pub(crate) const SFMASK: u32 = 0xc000_0084;
pub(crate) const FS_BASE: u32 = 0xc000_0100;
pub(crate) const GS_BASE: u32 = 0xc000_0101;
pub(crate) const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// AMD's virtual machine control and host save area: the CPU writes memory there.
const VM_CR: u32 = 0xc001_0114;
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// Reads `msr`; `None` if the CPU does not have it.
#[inline]
pub fn read(msr: u32) -> Option<u64> {
    let (low, high, failed): (u32, u32, u32);
    // SAFETY: RDMSR changes no memory; a fault continues at 3 with `failed` set, by the fixup table.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            "2: rdmsr",
            "3:",
            fixup_entry!("2b", "4f"),
            ".pushsection .text.fixup, \"ax\", @progbits",
            "4: mov {failed:e}, 1",
            "xor eax, eax",
            "xor edx, edx",
            "jmp 3b",
            ".popsection",
            failed = out(reg) failed,
            in("ecx") msr,
            out("eax") low,
            out("edx") high,
            options(nostack),
        );
    }
    (failed == 0).then_some(u64::from(high) << 32 | u64::from(low))
}

/// Whether this crate owns `msr`, so that [`write()`] refuses it.
fn is_owned(msr: u32) -> bool {
    matches!(
        msr,
        SYSENTER_CS
            | SYSENTER_ESP
            | SYSENTER_EIP
            | PAT
            | XSS
            | EFER
            | STAR
            | LSTAR
            | CSTAR
            | SFMASK
            | VM_CR
            | VM_HSAVE_PA
    )
}

/// Writes `msr`. False if the CPU refused (no such register, or a reserved bit), or if the register is one of
/// those that the ring owns: entry points, EFER, PAT.
#[inline]
pub fn write(msr: u32, value: u64) -> bool {
    if is_owned(msr) {
        return false;
    }
    // SAFETY: the registers by which memory safety could be lost were refused.
    unsafe { write_raw(msr, value) }
}

/// Writes `msr`, whichever it is; false if the CPU refused.
///
/// # Safety
/// The write must not break the ring's hold on entry points, paging or descriptor tables.
#[inline]
pub(crate) unsafe fn write_raw(msr: u32, value: u64) -> bool {
    let failed: u32;
    // SAFETY: by the caller's promise; a fault continues at 3 with `failed` set, by the fixup table.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            "2: wrmsr",
            "3:",
            fixup_entry!("2b", "4f"),
            ".pushsection .text.fixup, \"ax\", @progbits",
            "4: mov {failed:e}, 1",
            "jmp 3b",
            ".popsection",
            failed = out(reg) failed,
            in("ecx") msr,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack),
        );
    }
    failed == 0
}

/// Turns the local APIC on, or into x2APIC mode, by its base register: `set` bits within the enable bits 10
/// and 11 only; the address stays.
pub fn set_apic_mode(x2apic: bool) -> bool {
    let Some(base) = read(APIC_BASE) else {
        return false;
    };
    let mode = if x2apic { 0xc00 } else { 0x800 };
    // SAFETY: the address bits are unchanged, so the APIC's page does not move over memory.
    unsafe { write_raw(APIC_BASE, base | mode) }
}
