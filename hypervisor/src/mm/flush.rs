//! TLB flushes, on this CPU and others.
//!
//! Each CPU records the tick of its last full flush ([`frames::FlushClock`]), and whether it has a guest's page tables
//! loaded: if not, it has no translations that matter. No guest's translations are global: every change of address space
//! is a full flush, so that a CPU that made one since a frame went out of use need not be asked. To have another
//! CPU flush, the pages are named or all are asked for, and a bit of its work is set ([`cpu::Work`]). What happens then
//! depends on what it is doing:
//!
//! - It runs a guest: it is interrupted, and flushes as soon as it is out.
//! - It is in the hypervisor: it flushes before it enters a guest, or while it waits for something itself. It may be
//!   using the guest's addresses, so it is waited for.
//! - It waits for an interrupt: it uses no guest's addresses before it has flushed, and is neither interrupted nor
//!   waited for.
//!
//! A CPU that waits, for a lock or an answer, serves its own requests meanwhile, so that two CPUs that wait for each
//! other both go on.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use addr::Vaddr;
use frames::{Epoch, RootRef, Stamp};
use platform_cpu::{MAX_CPUS, control, cpu_id, crossing, hooks, park};

use super::frame_table;
use crate::counters::{self, Count};
use crate::cpu::{self, Mode, Work};
use crate::domain::Domain;
use crate::vcpu::Vcpu;

/// Pages that a CPU can be asked to forget one by one; if there are more, it forgets all.
const PAGES: usize = 4;

#[repr(align(64))]
struct CpuFlush {
    /// Tick of the last full flush.
    epoch: AtomicU64,
    /// Tick of the page clock of the last flush of pages, or of all.
    pages_epoch: AtomicU64,
    /// Pages to forget: address and 1, or 0 for none.
    pages: [AtomicU64; PAGES],
    /// The CPU has a guest's page tables: only then can it have translations that matter.
    loaded: AtomicBool,
}

static CPUS: [CpuFlush; MAX_CPUS] = [const {
    CpuFlush {
        epoch: AtomicU64::new(Epoch::START.0),
        pages_epoch: AtomicU64::new(0),
        pages: [const { AtomicU64::new(0) }; PAGES],
        loaded: AtomicBool::new(false),
    }
}; MAX_CPUS];

/// One above the highest CPU that has had a guest's page tables.
static USED_END: AtomicUsize = AtomicUsize::new(0);

/// Orders requests to forget pages and their answers, as the flush clock does for all.
static PAGE_CLOCK: AtomicU64 = AtomicU64::new(1);

/// Bits that no page-table entry may have on this machine.
static RESERVED_BITS: AtomicU64 = AtomicU64::new(0);

/// Physical CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuSet {
    words: [u64; MAX_CPUS.div_ceil(64)],
    /// Words that may have bits: on most machines it is the first alone.
    used: usize,
}

impl CpuSet {
    /// The CPUs that have vCPUs of a domain loaded: on others there are no translations of its.
    #[inline]
    pub fn of(domain: &Domain) -> Self {
        let mut cpus = Self::default();
        for cpu in domain.vcpus().filter_map(Vcpu::loaded_on) {
            cpus.insert(cpu);
        }
        cpus
    }

    /// Adds a CPU.
    #[inline]
    pub fn insert(&mut self, cpu: usize) {
        if let Some(word) = self.words.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
            self.used = self.used.max(cpu / 64 + 1);
        }
    }

    /// Removes a CPU; whether it was there.
    #[inline]
    fn remove(&mut self, cpu: usize) -> bool {
        let Some(word) = self.words.get_mut(cpu / 64) else {
            return false;
        };
        let bit = 1 << (cpu % 64);
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words
            .iter()
            .take(self.used)
            .fold(0, |all, word| all | word)
            == 0
    }

    /// Calls `visit` with each CPU.
    #[inline]
    fn for_each(&self, mut visit: impl FnMut(usize)) {
        for (index, word) in self.words.iter().enumerate().take(self.used) {
            let mut rest = *word;
            while rest != 0 {
                visit(index * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}

/// Registers what serves other CPUs' requests, and looks up what entries of this machine cannot have. Once, at boot.
pub fn init() {
    hooks::set_spin_poll(serve_flushes);
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
pub fn note_guest_loaded() {
    if let Some(cpu) = CPUS.get(cpu_id()) {
        USED_END.fetch_max(cpu_id() + 1, Ordering::SeqCst);
        // Before the tables are loaded: from then on the CPU is asked to flush. Who changed a table and did not see
        // this yet changed it before this CPU walks it.
        cpu.loaded.store(true, Ordering::SeqCst);
    }
}

/// Lets this CPU note the flushes that it makes as it crosses between a program and its kernel by itself.
pub fn init_cpu() {
    if let Some(cpu) = CPUS.get(cpu_id()) {
        crossing::note_flushes(frame_table().clock().counter(), &cpu.epoch);
    }
}

/// Loads the address space without guests, and so flushes all translations.
pub fn unload_guest() {
    let epoch = frame_table().clock().tick();
    platform_memory::load_idle_root();
    if let Some(cpu) = CPUS.get(cpu_id()) {
        cpu.flushed(epoch);
        cpu.loaded.store(false, Ordering::SeqCst);
    }
}

/// Loads another guest address space, and so flushes all translations. The caller keeps `root` until yet another is
/// loaded.
pub fn load_root(root: &RootRef<'_>) {
    let epoch = frame_table().clock().tick();
    platform_memory::load_guest_root(root);
    if let Some(cpu) = CPUS.get(cpu_id()) {
        cpu.flushed(epoch);
    }
}

/// As [`load_root`], between a guest's kernel and its programs: often, so that the clock is only looked at.
#[inline]
pub fn cross_to(root: &RootRef<'_>) {
    let epoch = frame_table().clock().epoch();
    platform_memory::load_guest_root(root);
    if let Some(cpu) = CPUS.get(cpu_id()) {
        cpu.flushed(epoch);
    }
}

impl CpuFlush {
    /// Records a full flush, and tells who waits for it.
    #[inline]
    fn flushed(&self, epoch: Epoch) {
        // Release: pairs with the Acquire of whoever waits for the flush.
        self.epoch.store(epoch.0, Ordering::Release);
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(&self.epoch).addr()
    }

    /// Asks to forget a page; false if there is no room for it.
    fn ask_for_page(&self, page: Vaddr) -> bool {
        let wanted = page.page_base().raw() | 1;
        self.pages.iter().any(|slot| {
            // Release: pairs with the Acquire in `serve`. A page that is asked for already is asked for by a request
            // that has not been served yet, or is being served: it may be too late for us, so we do not share it.
            slot.compare_exchange(0, wanted, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Whether it cannot hold or use a translation from before a request any more, of which `is_done` is the answer.
    fn is_rid(&self, id: usize, is_done: impl Fn(&Self) -> bool) -> bool {
        is_done(self) || cpu::mode(id) == Mode::Idle || !self.loaded.load(Ordering::SeqCst)
    }

    fn wait(&self, id: usize, is_done: impl Fn(&Self) -> bool) {
        if !self.is_rid(id, &is_done) {
            counters::count(Count::FlushWaits);
            park::wait_until(self.key(), || self.is_rid(id, &is_done));
        }
    }
}

/// Flushes all translations of guests that this CPU has.
#[inline]
pub fn flush_local() {
    let epoch = frame_table().clock().tick();
    control::flush_guest();
    if let Some(cpu) = CPUS.get(cpu_id()) {
        cpu.flushed(epoch);
    }
}

/// Serves other CPUs' requests to this one. Takes no lock.
#[inline(never)]
pub fn serve_flushes() {
    if cpu::is_asked_to_flush() {
        serve(cpu::take_flushes());
    }
}

/// Wakes those that wait for this CPU to flush: it has gone where it need not be waited for.
pub fn wake_flush_waiters() {
    if let Some(cpu) = CPUS.get(cpu_id()) {
        park::wake(cpu.key());
    }
}

/// Serves the requests among `work`, which was taken from this CPU's. Waits for nothing: others may wait for this.
fn serve(work: u32) {
    const ALL: u32 = Work::Flush as u32;
    const SOME: u32 = Work::FlushPages as u32;
    if work & (ALL | SOME) == 0 {
        return;
    }
    let Some(cpu) = CPUS.get(cpu_id()) else {
        return;
    };
    counters::count(Count::FlushesServed);
    // Before the pages are looked at: each that was named before this tick is done with it.
    let tick = PAGE_CLOCK.fetch_add(1, Ordering::SeqCst) + 1;
    for slot in &cpu.pages {
        // Acquire: pairs with the request.
        if slot.load(Ordering::SeqCst) != 0 {
            let page = slot.swap(0, Ordering::SeqCst);
            if work & ALL == 0 {
                control::invlpg(Vaddr::new(page & !1));
            }
        }
    }
    if work & ALL != 0 {
        flush_local();
    }
    // Release: pairs with the Acquire of whoever waits.
    cpu.pages_epoch.store(tick, Ordering::Release);
    park::wake(cpu.key());
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
        if cpu.loaded.load(Ordering::SeqCst) && clock.is_stale(last, since) {
            stale.insert(id);
            any = true;
        }
    }
    if any {
        counters::count(Count::StaleFlushes);
        flush_on(stale);
    }
}

/// Flushes all translations of these CPUs, and returns when that is done.
#[inline]
pub fn flush_on(mut cpus: CpuSet) {
    let here = cpus.remove(cpu_id());
    if cpus.is_empty() {
        if here {
            flush_local();
        }
    } else {
        flush_on_others(&cpus, here);
    }
}

/// As above, of `others` and, if `here` says so, of this CPU.
#[inline(never)]
fn flush_on_others(others: &CpuSet, here: bool) {
    // Each of them flushes after this tick, if it hears of the request, and some without that: an epoch of that tick or
    // a later one says that it did.
    let asked = frame_table().clock().tick();
    // Only who was asked is waited for: one that has no guest's tables now may have some again when we look next, and
    // would not know that it is to flush.
    let mut wait_for = CpuSet::default();
    others.for_each(|id| {
        if let Some(cpu) = CPUS.get(id)
            && cpu.loaded.load(Ordering::SeqCst)
        {
            counters::count(Count::FlushRequests);
            cpu::request(id, Work::Flush);
            wait_for.insert(id);
        }
    });
    if here {
        flush_local();
    }
    wait_for.for_each(|id| {
        if let Some(cpu) = CPUS.get(id) {
            // Acquire: pairs with the Release in `flushed`.
            cpu.wait(id, |cpu| cpu.epoch.load(Ordering::Acquire) >= asked.0);
        }
    });
}

/// Makes these CPUs forget the translations of a page, and returns when that is done.
#[inline]
pub fn flush_page_on(mut cpus: CpuSet, page: Vaddr) {
    if cpus.remove(cpu_id()) {
        control::invlpg(page);
    }
    if !cpus.is_empty() {
        flush_page_on_others(&cpus, page);
    }
}

#[inline(never)]
fn flush_page_on_others(cpus: &CpuSet, page: Vaddr) {
    let mut all = CpuSet::default();
    let mut some = CpuSet::default();
    cpus.for_each(|id| {
        if let Some(cpu) = CPUS.get(id)
            && cpu.loaded.load(Ordering::SeqCst)
        {
            if cpu.ask_for_page(page) {
                some.insert(id);
            } else {
                all.insert(id);
            }
        }
    });
    // After the page is named, before the CPU is told: an answer with a later tick has seen the page.
    let asked = PAGE_CLOCK.fetch_add(1, Ordering::SeqCst) + 1;
    some.for_each(|id| {
        counters::count(Count::FlushRequests);
        cpu::request(id, Work::FlushPages);
    });
    if !all.is_empty() {
        flush_on_others(&all, false);
    }
    some.for_each(|id| {
        if let Some(cpu) = CPUS.get(id) {
            // Acquire: pairs with the Release in `serve`.
            cpu.wait(id, |cpu| cpu.pages_epoch.load(Ordering::Acquire) > asked);
        }
    });
}

/// Flushes all translations of every CPU that has a guest's.
pub fn flush_all_cpus() {
    let mut all = CpuSet::default();
    for (id, cpu) in CPUS
        .iter()
        .enumerate()
        .take(USED_END.load(Ordering::SeqCst))
    {
        if cpu.loaded.load(Ordering::SeqCst) {
            all.insert(id);
        }
    }
    flush_on(all);
}
