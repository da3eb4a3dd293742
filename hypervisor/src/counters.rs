//! Counts of what costs when several CPUs work together, for a person's eyes (debug key `p`). Each CPU writes its own.

use core::sync::atomic::{AtomicU64, Ordering};

use platform_cpu::MAX_CPUS;

use crate::console::ALWAYS;
use crate::irq;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Interrupts sent to another CPU.
    Interrupts,
    /// Flushes that a guest asked for, of this CPU alone.
    LocalFlushes,
    /// Flushes that a guest asked for, of more CPUs.
    GuestFlushes,
    /// Flushes because a frame changes its use.
    StaleFlushes,
    /// Other CPUs that were asked to flush.
    FlushRequests,
    /// Of those, how many were waited for.
    FlushWaits,
    /// Requests of others that were served.
    FlushesServed,
    /// Waits in which this CPU halted.
    HaltedWaits,
    /// Another vCPU was loaded.
    Switches,
    /// Times that there was nothing to run.
    Idles,
}

const NAMES: [&str; 10] = [
    "interrupts sent",
    "local flushes",
    "guests' flushes",
    "stale flushes",
    "flush requests",
    "flush waits",
    "flushes served",
    "halted waits",
    "switches",
    "idles",
];

#[repr(align(64))]
struct Counts([AtomicU64; NAMES.len()]);

static COUNTS: [Counts; MAX_CPUS] =
    [const { Counts([const { AtomicU64::new(0) }; NAMES.len()]) }; MAX_CPUS];

/// Counts once, on this CPU.
#[inline]
pub fn count(what: Count) {
    let counter = COUNTS
        .get(platform_cpu::cpu_id())
        .and_then(|counts| counts.0.get(what as usize));
    if let Some(counter) = counter {
        // Only this CPU writes: no locked instruction is needed.
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }
}

/// Prints all counts.
pub fn dump() {
    for (index, name) in NAMES.iter().enumerate() {
        log::info!(target: ALWAYS, "{name}:");
        for (cpu, counts) in COUNTS
            .iter()
            .enumerate()
            .take(irq::highest_cpu() as usize + 1)
        {
            let value = counts
                .0
                .get(index)
                .map_or(0, |counter| counter.load(Ordering::Relaxed));
            log::info!(target: ALWAYS, "    CPU{cpu:<3} {value:>12}");
        }
    }
}
