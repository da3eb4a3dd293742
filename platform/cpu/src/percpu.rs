//! Per-CPU variables: a fixed place in the block, reached from the stack pointer. All are atomics, written by
//! their own CPU with `Relaxed` order, since nothing else is ordered by them.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::crossing::Armed;
use crate::layout;

/// Per-CPU variables. The order of the first field is known to the entry code.
#[repr(C)]
pub(crate) struct PerCpu {
    /// Stack pointer of `enter_guest`'s caller while the guest runs.
    pub(crate) host_rsp: AtomicU64,
    /// Vector of the interrupt that ended the last [`crate::halt_until_interrupt`].
    pub(crate) idle_vector: AtomicU32,
    /// Whether the one [`crate::GuestFrame`] was given out.
    pub(crate) frame_taken: AtomicBool,
    /// Bit n of the 128 is set while a lock of rank n is held (debug builds).
    #[cfg_attr(not(debug_assertions), allow(dead_code))]
    pub(crate) held_ranks: [AtomicU64; 2],
    /// Address and error code of the last fault that the fixup table caught.
    pub(crate) fault_address: AtomicU64,
    /// See `fault_address`; the vector in the upper half.
    pub(crate) fault_code: AtomicU64,
    /// CR4 without the bits that a guest chooses.
    pub(crate) base_cr4: AtomicU64,
    /// XCR0 as it is now.
    pub(crate) xcr0: AtomicU64,
    /// What the entry code crosses between a program and its kernel with.
    pub(crate) crossing: Armed,
    /// Depth of fatal exceptions, so that a fault in the crash code stops.
    pub(crate) fatal_depth: AtomicU32,
}

const _: () = assert!(size_of::<PerCpu>() as u64 <= layout::TSS - layout::VARIABLES);
const _: () = assert!(core::mem::offset_of!(PerCpu, host_rsp) == 0);

/// Base of this CPU's block.
#[inline]
pub(crate) fn block_base() -> u64 {
    let rsp: u64;
    // SAFETY: reads a register. `pure`: within a function the answer's block does not change.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(pure, nomem, nostack, preserves_flags)) };
    rsp & !(layout::BLOCK_SIZE - 1)
}

/// Number of this CPU: 0 for the boot CPU, below [`crate::MAX_CPUS`].
#[inline]
pub fn cpu_id() -> usize {
    ((block_base() - layout::BLOCK_BASE) / layout::BLOCK_SIZE) as usize
}

/// This CPU's variables.
#[inline]
pub(crate) fn local() -> &'static PerCpu {
    let address = block_base() + layout::VARIABLES;
    // SAFETY: all code runs on a stack within a block, whose page of variables is mapped for good and zeroed
    // before the CPU starts; all-zero is valid for atomics, and they are shared only as atomics.
    unsafe { &*(address as *const PerCpu) }
}
