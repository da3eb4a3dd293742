//! Debug registers. Their addresses are the hypervisor's caller to check: none may lie in its own range.

use core::arch::asm;

/// DR6 after reset.
pub const DR6_DEFAULT: u64 = 0xffff_0ff0;
/// DR7 after reset: nothing enabled.
pub const DR7_DEFAULT: u64 = 0x400;
/// Bits of DR7 that enable a breakpoint.
pub const DR7_ACTIVE: u64 = 0xff;

/// Whether a guest's registers have a breakpoint enabled.
#[inline]
fn is_active(values: &[u64; 8]) -> bool {
    values[7] & DR7_ACTIVE != 0
}

/// Loads the registers of a guest that comes to this CPU, which has nobody's. Without a breakpoint they say nothing, and stay
/// as they are.
#[inline]
pub fn load(values: &[u64; 8]) {
    if is_active(values) {
        write(values);
    }
}

/// Takes the registers of a guest off this CPU.
#[inline]
pub fn unload(values: &[u64; 8]) {
    if is_active(values) {
        clear();
    }
}

/// Loads a guest's registers in place of others that it had, after a change.
pub fn replace(values: &[u64; 8]) {
    clear();
    load(values);
}

/// Makes them what they are after reset: nobody's.
pub(crate) fn clear() {
    write(&[0; 8]);
}

/// Writes DR0–DR3, DR6 and DR7. Reserved bits are forced, so no value faults.
fn write(values: &[u64; 8]) {
    let [dr0, dr1, dr2, dr3, _, _, dr6, dr7] = *values;
    // SAFETY: breakpoints make #DB, which has a stack of its own and is ignored in ring 0; reserved bits that
    // would fault are masked. DR7 is off while the addresses change.
    unsafe {
        asm!("mov dr7, {}", in(reg) DR7_DEFAULT, options(nomem, nostack, preserves_flags));
        asm!("mov dr0, {}", in(reg) dr0, options(nomem, nostack, preserves_flags));
        asm!("mov dr1, {}", in(reg) dr1, options(nomem, nostack, preserves_flags));
        asm!("mov dr2, {}", in(reg) dr2, options(nomem, nostack, preserves_flags));
        asm!("mov dr3, {}", in(reg) dr3, options(nomem, nostack, preserves_flags));
    }
    write_dr6(dr6);
    write_dr7(dr7);
}

/// Reads DR0–DR3.
pub fn read_addresses() -> [u64; 4] {
    let (dr0, dr1, dr2, dr3);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, dr0", out(reg) dr0, options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr1", out(reg) dr1, options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr2", out(reg) dr2, options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr3", out(reg) dr3, options(nomem, nostack, preserves_flags));
    }
    [dr0, dr1, dr2, dr3]
}

/// Reads DR6: why the last #DB came.
#[inline]
pub fn read_dr6() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, dr6", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes DR6.
#[inline]
pub fn write_dr6(value: u64) {
    let value = (value & 0xffff_efff) | DR6_DEFAULT & 0xffff_0ff0;
    // SAFETY: reserved bits are as the CPU demands.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Writes DR7. GD is refused: the hypervisor uses these registers.
#[inline]
pub fn write_dr7(value: u64) {
    let value = (value & 0xffff_03ff) | DR7_DEFAULT;
    // SAFETY: reserved bits are as the CPU demands, GD is off.
    unsafe { asm!("mov dr7, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}
