//! I/O ports. Safe to call: what a port does to the machine is a matter of who calls it (only the
//! hypervisor's drivers and domain 0's policy do), and no port of a PC writes to memory by itself except by
//! programming a device's DMA, which no type of Rust could guard.

use core::arch::asm;

/// Reads a byte.
#[inline]
pub fn inb(port: u16) -> u8 {
    let value;
    // SAFETY: reads a port into a register; touches no memory.
    unsafe {
        asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads 16 bits.
#[inline]
pub fn inw(port: u16) -> u16 {
    let value;
    // SAFETY: reads a port into a register; touches no memory.
    unsafe {
        asm!("in ax, dx", out("ax") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads 32 bits.
#[inline]
pub fn inl(port: u16) -> u32 {
    let value;
    // SAFETY: reads a port into a register; touches no memory.
    unsafe {
        asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a byte.
#[inline]
pub fn outb(port: u16, value: u8) {
    // SAFETY: writes a register to a port; see the module's text. Not `nomem`: a device may read memory.
    unsafe { asm!("out dx, al", in("al") value, in("dx") port, options(nostack, preserves_flags)) };
}

/// Writes 16 bits.
#[inline]
pub fn outw(port: u16, value: u16) {
    // SAFETY: as for `outb`.
    unsafe { asm!("out dx, ax", in("ax") value, in("dx") port, options(nostack, preserves_flags)) };
}

/// Writes 32 bits.
#[inline]
pub fn outl(port: u16, value: u32) {
    // SAFETY: as for `outb`.
    unsafe {
        asm!("out dx, eax", in("eax") value, in("dx") port, options(nostack, preserves_flags))
    };
}
