//! Waiting: the only places where the hypervisor itself runs with interrupts enabled.

use core::arch::{asm, naked_asm};
use core::sync::atomic::Ordering;

use crate::percpu;

/// Waits for the next interrupt and returns its vector, with interrupts disabled again. The vector is not
/// acknowledged. NMIs go to their hook meanwhile.
pub fn halt_until_interrupt() -> u8 {
    // SAFETY: `halt` follows the C calling convention; interrupts are enabled only within it.
    unsafe { halt() };
    percpu::local().idle_vector.load(Ordering::Relaxed) as u8
}

/// Waits for the next interrupt of the highest class (vectors from 0xf0 on) and returns its vector, with interrupts
/// disabled again; others stay where they are. For a CPU in the midst of something, which can handle only the
/// hypervisor's own interrupts.
pub fn halt_until_urgent_interrupt() -> u8 {
    /// Priorities up to this class are held back (SDM 3A §11.8.6: CR8 is the task priority).
    const HELD_BACK: u64 = 0xe;
    let set_priority = |class: u64| {
        // SAFETY: delays interrupts; they are let through again below.
        unsafe { asm!("mov cr8, {}", in(reg) class, options(nomem, nostack, preserves_flags)) };
    };
    set_priority(HELD_BACK);
    let vector = halt_until_interrupt();
    set_priority(0);
    vector
}

/// Where the interrupt handler continues, so that an NMI between `sti` and `hlt` loses no wake-up.
pub(crate) fn wake_address() -> u64 {
    idle_wake as *const () as u64
}

unsafe extern "C" {
    fn idle_wake();
}

/// # Safety
/// Interrupts are disabled and the interrupt table is loaded.
#[unsafe(naked)]
unsafe extern "sysv64" fn halt() {
    naked_asm!(
        "sti",
        "2: hlt",
        "jmp 2b",
        ".globl idle_wake",
        "idle_wake:",
        "ret",
    )
}

/// Stops this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: stops the CPU; an NMI may wake it, and the loop stops it again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Resets the machine by shutdown: the CPU finds no handler for an exception, nor for the one that follows from
/// that. For when no other way to reset is left.
pub fn triple_fault() -> ! {
    let empty = [0u16; 5];
    // SAFETY: an interrupt table without entries makes the CPU shut down at the next exception; no code of ours
    // runs after that.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) empty.as_ptr(), options(noreturn)) };
}
