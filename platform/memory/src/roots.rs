//! Page-table roots: which are loaded, and what every one of them holds.

use core::sync::atomic::{AtomicU64, Ordering};

use addr::Mfn;
use frames::{RootRef, TableMemory, TableView};
use platform_cpu::control;

use crate::DirectMap;
use crate::layout::{HYPERVISOR_SLOTS, SLOT_M2P};

/// The hypervisor's entries of an L4, from slot 256.
static TEMPLATE: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
/// The idle root.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Sets the entry of `slot`, at boot.
pub(crate) fn set_template(slot: usize, entry: u64) {
    if let Some(place) = TEMPLATE.get(slot - HYPERVISOR_SLOTS.start) {
        place.store(entry, Ordering::Relaxed);
    }
}

pub(crate) fn set_idle_root(address: u64) {
    IDLE.store(address, Ordering::Relaxed);
}

/// The hypervisor's entry for L4 `slot` (256–271) of every root. Slot 260 is 0 here: it is the domain's
/// ([`PerDomainArea::l4_entry`](crate::PerDomainArea::l4_entry)).
pub fn hypervisor_entry(slot: usize) -> u64 {
    slot.checked_sub(HYPERVISOR_SLOTS.start)
        .and_then(|index| TEMPLATE.get(index))
        .map_or(0, |entry| entry.load(Ordering::Relaxed))
}

/// Shows the machine-to-physical table in a root, or hides it: kernels see it, programs do not.
///
/// Nothing is flushed: its translations are not global, and changing between the roots of kernel and programs
/// flushes them.
pub fn set_m2p_visible(root: &RootRef<'_>, visible: bool) {
    let entry = if visible {
        hypervisor_entry(SLOT_M2P)
    } else {
        0
    };
    let table = DirectMap.view(root.frame());
    if table.read(SLOT_M2P) != entry {
        table.write(SLOT_M2P, entry);
    }
}

/// Frame of the root that no guest owns.
pub fn idle_root() -> Mfn {
    Mfn::new(IDLE.load(Ordering::Relaxed) >> 12)
}

/// Loads a guest's root, and flushes all translations but global ones: for the other root of the same process
/// (kernel and user mode of a vCPU), whose programs' pages are the same.
///
/// The caller keeps `root` until another root is loaded.
#[inline]
pub fn load_guest_root(root: &RootRef<'_>) {
    // SAFETY: a validated L4 has the hypervisor's entries in slots 256–271, and keeps its type while
    // the reference lives.
    unsafe { control::write_cr3(root.frame().raw() << 12) };
}

/// Loads a guest's root and flushes every translation: for another process, or another domain.
///
/// The caller keeps `root` until another root is loaded.
#[inline]
pub fn load_guest_root_flushing_all(root: &RootRef<'_>) {
    load_guest_root(root);
    control::flush_tlb_local(true);
}

/// Loads the root that maps the hypervisor only, and flushes every translation.
pub fn load_idle_root() {
    // SAFETY: the idle root is built at boot and stays.
    unsafe { control::write_cr3(IDLE.load(Ordering::Relaxed)) };
    control::flush_tlb_local(true);
}
