//! The per-CPU block: 256 KiB of address space for each CPU, at [`BLOCK_BASE`] + CPU × [`BLOCK_SIZE`].
//!
//! Blocks are aligned to their size, so that any stack pointer within one finds its base by masking. From the
//! base, in pages of 4 KiB; every stack has unmapped pages below it, so that an overflow is a double
//! fault (which has a stack of its own) and not corruption. Below the main stack there are many, since a large
//! frame may reach over one:
//!
//! | pages | use |
//! |---|---|
//! | 1–2, 4–5, 7–8, 10–11 | stacks of #DF, NMI, #MC, #DB |
//! | 32–47 | the main stack |
//! | 50–51 | room below the guest frame, for an unexpected fault while the stack pointer is in it |
//! | 52 | the guest frame, whose end is the TSS's RSP0; per-CPU variables |
//! | 53 | the TSS |
//! | 55 | this CPU's descriptors (selectors 0xe000 and up) |

use core::mem::offset_of;

use crate::regs::GuestRegs;

/// Most CPUs that this image can use.
pub const MAX_CPUS: usize = 256;
/// Address of CPU 0's block. `image/link.ld` defines the same as `percpu_blocks`.
pub const BLOCK_BASE: u64 = 0xffff_82d0_2000_0000;
/// Bytes of address space per CPU.
pub const BLOCK_SIZE: u64 = 0x4_0000;
/// Pages per block.
pub const BLOCK_PAGES: usize = 64;

/// Offset just above the double-fault stack.
pub const DOUBLE_FAULT_STACK: u64 = 0x3000;
/// Offset just above the NMI stack.
pub const NMI_STACK: u64 = 0x6000;
/// Offset just above the machine-check stack.
pub const MACHINE_CHECK_STACK: u64 = 0x9000;
/// Offset just above the debug-exception stack.
pub const DEBUG_STACK: u64 = 0xc000;
/// Offset of the main stack's lowest byte.
pub const MAIN_STACK_BOTTOM: u64 = 0x2_0000;
/// Offset just above the main stack.
pub const MAIN_STACK: u64 = 0x3_0000;

/// Offset of the guest frame; 8 off a multiple of 16 so that its `es` field, where the CPU starts to push, is
/// aligned as the CPU demands.
pub const FRAME: u64 = 0x3_4008;
/// Offset of RSP0: what the CPU pushes on ends here.
pub const FRAME_END: u64 = FRAME + offset_of!(GuestRegs, es) as u64;
/// Offset of the per-CPU variables.
pub const VARIABLES: u64 = 0x3_4100;
/// Offset of the task state segment.
pub const TSS: u64 = 0x3_5000;
/// Offset of the page of descriptors.
pub const GDT: u64 = 0x3_7000;

const _: () = assert!(FRAME_END.is_multiple_of(16));
const _: () = assert!(FRAME + size_of::<GuestRegs>() as u64 <= VARIABLES);

/// Whether page `index` of a block is backed by memory; the others are guards.
pub const fn page_is_mapped(index: usize) -> bool {
    matches!(index, 1..=2 | 4..=5 | 7..=8 | 10..=11 | 32..=47 | 50..=53 | 55)
}

/// Address of `cpu`'s block.
#[inline]
pub const fn block(cpu: usize) -> u64 {
    BLOCK_BASE + cpu as u64 * BLOCK_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stack_has_a_guard_below_it() {
        let bottoms = [
            DOUBLE_FAULT_STACK - 0x2000,
            NMI_STACK - 0x2000,
            MACHINE_CHECK_STACK - 0x2000,
            DEBUG_STACK - 0x2000,
            MAIN_STACK_BOTTOM,
            0x3_2000,
        ];
        for bottom in bottoms {
            let page = (bottom >> 12) as usize;
            assert!(page_is_mapped(page), "{bottom:#x}");
            assert!(!page_is_mapped(page - 1), "{bottom:#x}");
        }
    }

    #[test]
    fn a_stack_pointer_finds_its_block() {
        for offset in [MAIN_STACK - 8, FRAME, NMI_STACK - 8] {
            assert_eq!((block(7) + offset) & !(BLOCK_SIZE - 1), block(7));
        }
    }
}
