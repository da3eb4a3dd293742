//! TLB flushes, on this CPU and others.
//!
//! Each CPU records the tick of its last full flush ([`frames::FlushClock`]). To have another CPU flush, its
//! request flag is set and it is interrupted; a CPU that waits, for a lock or an answer, serves its own requests
//! meanwhile, so that two CPUs that wait for each other both go on.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use frames::{Epoch, Stamp};
use platform_cpu::{MAX_CPUS, control, cpu_id, hooks};

use super::frame_table;
use crate::irq;

struct CpuFlush {
    /// Tick of the last full flush.
    epoch: AtomicU64,
    /// Another CPU waits for a flush.
    requested: AtomicBool,
    /// The CPU has had a guest's page tables: only then can it have translations that matter.
    used: AtomicBool,
}

static CPUS: [CpuFlush; MAX_CPUS] = [const {
    CpuFlush {
        epoch: AtomicU64::new(Epoch::START.0),
        requested: AtomicBool::new(false),
        used: AtomicBool::new(false),
    }
}; MAX_CPUS];

/// One above the highest CPU that has had a guest's page tables.
static USED_END: AtomicUsize = AtomicUsize::new(0);

/// Bits that no page-table entry may have on this machine.
static RESERVED_BITS: AtomicU64 = AtomicU64::new(0);

/// Physical CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuSet([u64; MAX_CPUS.div_ceil(64)]);

impl CpuSet {
    /// Adds a CPU.
    pub fn insert(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// Whether it has no CPU but `cpu`.
    pub fn is_only(&self, cpu: usize) -> bool {
        let mut only = Self::default();
        only.insert(cpu);
        self.0
            .iter()
            .zip(only.0)
            .all(|(word, only)| word & !only == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                if bit == 64 {
                    return None;
                }
                rest &= rest - 1;
                Some(index * 64 + bit as usize)
            })
        })
    }
}

/// Registers what serves other CPUs' requests, and looks up what entries of this machine cannot have. Once, at boot.
pub fn init() {
    hooks::set_spin_poll(serve_requests);
    irq::set_flush_handler(serve_requests);
    /// CPUID leaf of the address widths, and width without it (SDM 3A §4.1.4).
    const WIDTHS: u32 = 0x8000_0008;
    const DEFAULT_WIDTH: u32 = 36;
    /// Bits 12 to 51 of an entry are the frame.
    const FRAME_END: u32 = 52;
    let width = if control::cpuid(0x8000_0000, 0).eax >= WIDTHS {
        control::cpuid(WIDTHS, 0).eax & 0xff
    } else {
        DEFAULT_WIDTH
    };
    let below = |bits: u32| (1u64 << bits) - 1;
    // NX is there: boot insists on it.
    let reserved = below(FRAME_END) & !below(width.clamp(32, FRAME_END));
    RESERVED_BITS.store(reserved, Ordering::Relaxed);
}

#[inline]
pub(super) fn reserved_bits() -> u64 {
    RESERVED_BITS.load(Ordering::Relaxed)
}

/// Notes that this CPU gets a guest's page tables.
pub fn note_guest_here() {
    if let Some(cpu) = CPUS.get(cpu_id()) {
        // Before the tables are loaded: from then on the CPU is asked to flush.
        cpu.used.store(true, Ordering::SeqCst);
        USED_END.fetch_max(cpu_id() + 1, Ordering::SeqCst);
    }
}

/// Flushes all translations of this CPU, global ones too.
#[inline]
pub fn flush_local() {
    let epoch = frame_table().clock().tick();
    control::flush_tlb_local(true);
    if let Some(cpu) = CPUS.get(cpu_id()) {
        // Release: pairs with the Acquire of whoever waits for the flush.
        cpu.epoch.store(epoch.0, Ordering::Release);
    }
}

/// Serves other CPUs' requests to this one. Takes no lock.
fn serve_requests() {
    if let Some(cpu) = CPUS.get(cpu_id())
        // Acquire: pairs with the Release of the request.
        && cpu.requested.load(Ordering::Relaxed)
        && cpu.requested.swap(false, Ordering::Acquire)
    {
        flush_local();
    }
}

/// Returns when no CPU can hold a translation from the time of `since`.
pub(super) fn flush_stale(since: Stamp) {
    let clock = frame_table().clock();
    let mut stale = CpuSet::default();
    let mut any = false;
    for (id, cpu) in CPUS
        .iter()
        .enumerate()
        .take(USED_END.load(Ordering::SeqCst))
    {
        let last = Epoch(cpu.epoch.load(Ordering::Acquire));
        if cpu.used.load(Ordering::SeqCst) && clock.is_stale(last, since) {
            stale.insert(id);
            any = true;
        }
    }
    if any {
        flush_on(&stale);
    }
}

/// Flushes all translations of these CPUs, and returns when that is done.
pub fn flush_on(cpus: &CpuSet) {
    let this = cpu_id();
    // Each of them flushes after this tick, if it hears of the request.
    let asked = frame_table().clock().tick();
    let mut here = false;
    for id in cpus.iter() {
        let Some(cpu) = CPUS.get(id) else { continue };
        if id == this {
            here = true;
        } else if cpu.used.load(Ordering::SeqCst) {
            // Release: pairs with the Acquire in `serve_requests`.
            cpu.requested.store(true, Ordering::Release);
            irq::send_flush(id);
        }
    }
    if here {
        flush_local();
    }
    for id in cpus.iter() {
        let Some(cpu) = CPUS.get(id) else { continue };
        if id == this || !cpu.used.load(Ordering::SeqCst) {
            continue;
        }
        // Acquire: pairs with the Release in `flush_local`.
        while cpu.epoch.load(Ordering::Acquire) <= asked.0 {
            hooks::spin_poll();
            core::hint::spin_loop();
        }
    }
}

/// Flushes all translations of every CPU that has had a guest's.
pub fn flush_all_cpus() {
    let mut all = CpuSet::default();
    for (id, cpu) in CPUS
        .iter()
        .enumerate()
        .take(USED_END.load(Ordering::SeqCst))
    {
        if cpu.used.load(Ordering::SeqCst) {
            all.insert(id);
        }
    }
    flush_on(&all);
}
