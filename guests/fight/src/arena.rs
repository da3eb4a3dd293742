//! The pages that are fought over.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_runtime::memory::{self, Page, pte};
use guest_runtime::random::Random;

/// Pages of the arena.
pub(crate) const PAGES: usize = 20;
/// Addresses where nothing but grants and arena pages are mapped.
pub(crate) const WINDOWS: usize = 8;

static ARENA: [AtomicU64; PAGES] = [const { AtomicU64::new(0) }; PAGES];
static WINDOW: [AtomicU64; WINDOWS] = [const { AtomicU64::new(0) }; WINDOWS];

/// Takes the pages.
pub(crate) fn init() {
    for slot in &ARENA {
        slot.store(Page::take().address, Ordering::Relaxed);
    }
    save_original();
    for slot in &WINDOW {
        let page = Page::take();
        slot.store(page.address, Ordering::Relaxed);
        guest_runtime::check!(page.unmap() == 0);
    }
}

/// Slots of tables that are fought over: few, so that vCPUs meet.
fn slots() -> impl Iterator<Item = u64> {
    (0..4).chain(256..272).chain([511])
}

/// What the initial L1 table that [`frame`] names has in these slots: mapped where a table of the arena belongs, it
/// is written to like one of those.
static ORIGINAL: [AtomicU64; 21] = [const { AtomicU64::new(0) }; 21];

fn original_slots() -> impl Iterator<Item = (memory::Entry, &'static AtomicU64)> {
    let first = memory::root() >> 21 << 21;
    slots()
        .filter_map(move |slot| memory::entry_of(first + slot * memory::PAGE, 1))
        .zip(&ORIGINAL)
}

fn save_original() {
    for (entry, saved) in original_slots() {
        saved.store(entry.value, Ordering::Relaxed);
    }
}

/// Makes the initial L1 table what it was.
pub(crate) fn restore_original() {
    for (entry, saved) in original_slots() {
        let value = saved.load(Ordering::Relaxed);
        guest_runtime::expect_eq!(memory::mmu_update(entry.maddr, value), 0);
    }
}

/// All pages of the arena.
pub(crate) fn pages() -> impl Iterator<Item = Page> {
    ARENA.iter().map(|slot| Page {
        address: slot.load(Ordering::Relaxed),
    })
}

/// All windows, each with the page that belongs there.
pub(crate) fn windows() -> impl Iterator<Item = Page> {
    WINDOW.iter().map(|slot| Page {
        address: slot.load(Ordering::Relaxed),
    })
}

/// A page of the arena.
pub(crate) fn page(random: &mut Random) -> Page {
    Page {
        address: ARENA[random.below(PAGES as u64) as usize].load(Ordering::Relaxed),
    }
}

/// A window.
pub(crate) fn window(random: &mut Random) -> Page {
    Page {
        address: WINDOW[random.below(WINDOWS as u64) as usize].load(Ordering::Relaxed),
    }
}

/// The frame of the initial table of a level that translates the address of the top one.
fn initial_table(level: u32) -> u64 {
    if level == 4 {
        return memory::mfn_of(memory::root() / memory::PAGE);
    }
    memory::entry_of(memory::root(), level + 1)
        .map_or(0, |entry| (entry.value & pte::ADDRESS) / memory::PAGE)
}

/// All frames that [`frame`] may name, but for those that come and go.
pub(crate) fn frames() -> impl Iterator<Item = u64> {
    let own = pages().chain(windows()).map(Page::mfn);
    own.chain((1..=4).map(initial_table))
}

/// A machine frame: mostly of the arena, sometimes one that comes and goes, or a page table in use.
pub(crate) fn frame(random: &mut Random) -> u64 {
    match random.below(16) {
        0 => crate::memory::frame(random),
        1 => window(random).mfn(),
        2 => initial_table(4),
        3 => initial_table(1 + random.below(3) as u32),
        _ => page(random).mfn(),
    }
}

/// An entry of a page table, sensible or not.
pub(crate) fn entry(random: &mut Random) -> u64 {
    const FLAGS: [u64; 12] = [
        pte::TABLE,
        pte::TABLE,
        pte::TABLE,
        pte::TABLE & !pte::RW,
        pte::TABLE & !pte::RW,
        pte::PAGE_RW,
        pte::PAGE_RO,
        pte::PAGE_RO | pte::US,
        pte::PAGE_RW | pte::NX | pte::G,
        pte::TABLE | pte::PSE,
        pte::PAGE_RW | pte::AVAIL,
        0,
    ];
    match random.below(8) {
        0 => 0,
        1 if random.below(16) == 0 => random.word(),
        _ => frame(random) * memory::PAGE | random.one_of(&FLAGS),
    }
}

/// A slot of a table: few, so that vCPUs meet.
pub(crate) fn slot(random: &mut Random) -> u64 {
    match random.below(16) {
        0 => 511,
        1 => 256 + random.below(16),
        _ => random.below(4),
    }
}
