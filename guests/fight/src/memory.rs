//! Memory that is given back, taken again, and exchanged, while others still name it.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_runtime::hypercalls::call_with;
use guest_runtime::memory::{PAGE, Page, address_of, mmuext, pte, set_mfn_of, update_va_mapping};
use guest_runtime::random::Random;
use guest_runtime::xen_abi::memory::{self as op, MemoryExchange, MemoryReservation};
use guest_runtime::xen_abi::mmu::MMUEXT_UNPIN_TABLE;
use guest_runtime::xen_abi::{GuestHandle, hypercall as number};
use guest_runtime::{check, expect_eq};

use crate::Kind;

pub(crate) static KINDS: [Kind; 4] = [
    Kind::new("give memory back", give),
    Kind::new("take memory", take),
    Kind::new("exchange memory", exchange),
    Kind::new("give arena memory", give_strange),
];

const SLOTS: usize = 6;
/// A page whose frame comes and goes.
struct Ballast {
    address: AtomicU64,
    /// The frame; 0 if there is none.
    frame: AtomicU64,
    /// Held by the vCPU that changes it.
    is_busy: AtomicU64,
}

static BALLAST: [Ballast; SLOTS] = [const {
    Ballast {
        address: AtomicU64::new(0),
        frame: AtomicU64::new(0),
        is_busy: AtomicU64::new(0),
    }
}; SLOTS];

impl Ballast {
    /// Takes it for oneself: what is noted of it has to stay true.
    fn hold(&self) -> bool {
        self.is_busy.swap(1, Ordering::Acquire) == 0
    }

    fn release(&self) {
        self.is_busy.store(0, Ordering::Release);
    }

    fn page(&self) -> Page {
        Page {
            address: self.address.load(Ordering::Relaxed),
        }
    }

    fn set(&self, frame: u64) {
        self.frame.store(frame, Ordering::Relaxed);
        set_mfn_of(self.page().pfn(), if frame == 0 { u64::MAX } else { frame });
    }
}

/// Frames that were given back last: one that is in use as a page table stays pinned, with nobody to name it.
static GONE: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];
static GIVEN: AtomicU64 = AtomicU64::new(0);

fn note_gone(frame: u64) {
    let index = GIVEN.fetch_add(1, Ordering::Relaxed) % GONE.len() as u64;
    // Nobody pins a frame that is this long gone.
    unpin(GONE[index as usize].swap(frame, Ordering::Relaxed));
}

fn unpin(frame: u64) {
    mmuext(MMUEXT_UNPIN_TABLE, frame, 0);
}

/// Takes the pages, and their mappings away.
pub(crate) fn init() {
    for slot in &BALLAST {
        let page = Page::take();
        slot.address.store(page.address, Ordering::Relaxed);
        slot.frame.store(page.mfn(), Ordering::Relaxed);
        check!(page.unmap() == 0);
    }
}

/// A frame that is, was, or will be this domain's.
pub(crate) fn frame(random: &mut Random) -> u64 {
    BALLAST[random.below(SLOTS as u64) as usize]
        .frame
        .load(Ordering::Relaxed)
}

/// All such frames.
pub(crate) fn frames() -> impl Iterator<Item = u64> {
    BALLAST
        .iter()
        .map(|slot| slot.frame.load(Ordering::Relaxed))
}

fn reservation(list: &mut u64) -> MemoryReservation {
    MemoryReservation {
        extent_start: GuestHandle::new(address_of(list)),
        nr_extents: 1,
        extent_order: 0,
        mem_flags: 0,
        domid: 0x7ff0,
        _hole0: [0; 6],
    }
}

fn with(random: &mut Random, operation: fn(&Ballast) -> bool) -> bool {
    let slot = &BALLAST[random.below(SLOTS as u64) as usize];
    if !slot.hold() {
        return false;
    }
    let done = operation(slot);
    slot.release();
    done
}

fn give(random: &mut Random) -> bool {
    with(random, |slot| {
        let mut frame = slot.frame.load(Ordering::Relaxed);
        if frame == 0 {
            return false;
        }
        // It is not ours any more at the moment when others may still use it.
        let mut request = reservation(&mut frame);
        let done = call_with(number::MEMORY_OP, op::DECREASE_RESERVATION, &mut request) == 1;
        if done {
            note_gone(slot.frame.load(Ordering::Relaxed));
            slot.set(0);
        }
        done
    })
}

fn take(random: &mut Random) -> bool {
    with(random, |slot| {
        if slot.frame.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let mut list = slot.page().pfn();
        let mut request = reservation(&mut list);
        let done = call_with(number::MEMORY_OP, op::POPULATE_PHYSMAP, &mut request) == 1;
        if done {
            slot.set(list);
        }
        done
    })
}

fn exchange(random: &mut Random) -> bool {
    with(random, |slot| {
        let mut old = slot.frame.load(Ordering::Relaxed);
        let mut new = slot.page().pfn();
        if old == 0 {
            return false;
        }
        let mut request = MemoryExchange {
            input: reservation(&mut old),
            output: reservation(&mut new),
            nr_exchanged: 0,
        };
        let result = call_with(number::MEMORY_OP, op::EXCHANGE, &mut request);
        // Who names the frame in the wrong moment keeps it from being exchanged.
        if request.nr_exchanged == 1 {
            note_gone(slot.frame.load(Ordering::Relaxed));
            slot.set(new);
        }
        result == 0
    })
}

/// Frames that are not the domain's at all, or two times the same: refused, or the page stays in use until the last
/// reference goes.
fn give_strange(random: &mut Random) -> bool {
    let mut frame = random.one_of(&[0, 1, 0x9f, 0xf_ffff_ffff, u64::MAX]);
    let mut request = reservation(&mut frame);
    call_with(number::MEMORY_OP, op::DECREASE_RESERVATION, &mut request) == 0
}

/// Frames that were given back, and may still be in use.
pub(crate) fn gone() -> impl Iterator<Item = u64> {
    GONE.iter().map(|frame| frame.load(Ordering::Relaxed))
}

/// Gives up the uses of pages as page tables.
pub(crate) fn unpin_all() {
    for frame in frames().chain(gone()) {
        unpin(frame);
    }
}

/// Gets all pages back where they belong, once nothing else uses them.
pub(crate) fn release() {
    for slot in &BALLAST {
        if slot.frame.load(Ordering::Relaxed) == 0 {
            let mut list = slot.page().pfn();
            let mut request = reservation(&mut list);
            expect_eq!(
                call_with(number::MEMORY_OP, op::POPULATE_PHYSMAP, &mut request),
                1
            );
            slot.set(list);
        }
        let entry = slot.frame.load(Ordering::Relaxed) * PAGE | pte::PAGE_RW;
        expect_eq!(update_va_mapping(slot.page().address, entry), 0);
    }
}
