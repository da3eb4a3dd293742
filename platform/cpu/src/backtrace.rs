//! Walking frame pointers: every function keeps one (`-C force-frame-pointers`), so that the return addresses
//! form a chain.

/// Deepest chain that is followed.
pub const MAX_DEPTH: usize = 32;

/// Calls `each` with the return addresses up the chain that starts with frame pointer `rbp`, innermost first.
/// `read` gives the word at an address, or `None` where no stack is; [`read_stack`] is that of this CPU.
pub fn walk(rbp: u64, read: impl Fn(u64) -> Option<u64>, mut each: impl FnMut(u64)) {
    let mut frame = rbp;
    for _ in 0..MAX_DEPTH {
        let (Some(next), Some(return_address)) =
            (read(frame), frame.checked_add(8).and_then(&read))
        else {
            return;
        };
        if return_address == 0 {
            return;
        }
        each(return_address);
        // Frames of callers are higher up; anything else is a broken chain.
        if next <= frame {
            return;
        }
        frame = next;
    }
}

/// Reads a word of this CPU's stacks.
#[cfg(target_os = "none")]
pub fn read_stack(address: u64) -> Option<u64> {
    use crate::layout;
    let base = crate::percpu::block_base();
    let offset = address.checked_sub(base)?;
    if !address.is_multiple_of(8)
        || offset >= layout::BLOCK_SIZE
        || !layout::page_is_mapped((offset >> 12) as usize)
    {
        return None;
    }
    // SAFETY: aligned, and within a page of this CPU's block that is mapped for good.
    Some(unsafe { (address as *const u64).read_volatile() })
}

/// This function's frame pointer: where to start a walk of the present chain.
#[cfg(target_os = "none")]
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags));
    }
    rbp
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn chain(words: &[u64], start: u64) -> Vec<u64> {
        let mut found = Vec::new();
        walk(
            start,
            |address| words.get(usize::try_from(address / 8).ok()?).copied(),
            |address| found.push(address),
        );
        found
    }

    #[test]
    fn follows_the_chain_and_stops() {
        // Frame at 0 → frame at 16 → end.
        assert_eq!(chain(&[16, 0xa, 0, 0xb], 0), [0xa, 0xb]);
        // A loop is not followed for ever.
        assert_eq!(chain(&[0, 0xa], 0), [0xa]);
        // Out of the stack at once.
        assert!(chain(&[0, 0xa], 0x1000).is_empty());
        assert!(chain(&[0, 0xa], u64::MAX - 7).is_empty());
    }
}
