//! What needs no kernel: arithmetic, and memory.

use std::hint::black_box;
use std::io;

use crate::timing::Timing;

/// A step of a generator of random numbers: shifts, an addition and a multiplication, each needing the one before.
pub(crate) fn arithmetic(timing: &Timing) -> io::Result<()> {
    const STEPS: u64 = 100_000;
    let mut state = 1u64;
    timing.operation("arithmetic", (5, STEPS), || {
        for _ in 0..STEPS {
            state ^= state >> 29;
            state = state
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(black_box(1));
        }
        black_box(state);
        Ok(())
    })?;
    Ok(())
}

/// Memory that no cache holds: read, written, copied; for each KiB.
pub(crate) fn bandwidth(timing: &Timing) -> io::Result<()> {
    const LENGTH: usize = 8 << 20;
    const KIB: u64 = (LENGTH >> 10) as u64;
    let mut one = vec![1u64; LENGTH / 8];
    let mut other = vec![2u64; LENGTH / 8];
    timing.operation("bandwidth_read", (1, KIB), || {
        black_box(one.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)));
        Ok(())
    })?;
    timing.operation("bandwidth_write", (1, KIB), || {
        other.fill(black_box(3));
        black_box(&other);
        Ok(())
    })?;
    timing.operation("bandwidth_copy", (1, KIB), || {
        one.copy_from_slice(&other);
        black_box(&one);
        Ok(())
    })?;
    Ok(())
}
