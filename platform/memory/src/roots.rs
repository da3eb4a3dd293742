//! Page-table roots: which are loaded, and what every one of them holds.

use core::sync::atomic::{AtomicU64, Ordering};

use addr::{Mfn, PAGE_SIZE};
use frames::{PageRef, RootRef, TableMemory, TableView};
use platform_cpu::control;
use platform_cpu::crossing::{self, Crossing, Handler, Process};

use xen_abi::shared_info::VcpuInfo;

use crate::DirectMap;
use crate::layout::{DIRECT_MAP, HYPERVISOR_SLOTS, SLOT_M2P};

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
/// Nothing is flushed: changing between the roots of kernel and programs does that.
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

/// Loads a guest's root, and so flushes all translations of guests: none of them is global.
///
/// The caller keeps `root` until another root is loaded.
#[inline]
pub fn load_guest_root(root: &RootRef<'_>) {
    // SAFETY: a validated L4 has the hypervisor's entries in slots 256–271, and keeps its type while
    // the reference lives.
    unsafe { control::write_cr3(root.frame().raw() << 12) };
}

/// Lets the entry code cross between a vCPU's programs and its kernel by itself ([`platform_cpu::crossing`]), once
/// [`set_crossing_process`] named a process. `info_page` has the `struct vcpu_info`, at `info_offset`.
///
/// The caller keeps the page until this CPU is armed with another, disarmed, or enters no guest any more.
pub fn arm_crossings(
    info_page: &PageRef<'_>,
    info_offset: usize,
    syscall: Handler,
    page_fault: Handler,
    iopl: Option<u8>,
) {
    let page = DIRECT_MAP + (info_page.frame().raw() << 12);
    let last = PAGE_SIZE - size_of::<VcpuInfo>() as u64;
    let crossing = Crossing {
        syscall,
        page_fault,
        iopl,
        info: page + (info_offset as u64 & !7).min(last),
    };
    // SAFETY: pages that are referred to are in the direct map. The caller keeps this one.
    unsafe { crossing::arm(&crossing) };
}

/// Names the process that crossings are made for. False, and the CPU is disarmed, if `kernel_stack` is no place for
/// frames.
///
/// The caller keeps both roots until it names others, disarms, or this CPU enters no guest any more.
#[inline]
pub fn set_crossing_process(
    kernel_root: &RootRef<'_>,
    user_root: &RootRef<'_>,
    kernel_stack: u64,
) -> bool {
    let process = Process {
        kernel_root: kernel_root.frame().raw() << 12,
        user_root: user_root.frame().raw() << 12,
        kernel_stack,
    };
    // SAFETY: validated roots have the hypervisor's entries. The caller keeps them.
    unsafe { crossing::set_process(&process) }
}

/// Loads the root that maps the hypervisor only, and so flushes all translations of guests.
pub fn load_idle_root() {
    // SAFETY: the idle root is built at boot and stays.
    unsafe { control::write_cr3(IDLE.load(Ordering::Relaxed)) };
}
