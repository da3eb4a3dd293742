//! Translations that the processor still has after the entry is gone (401, 214): no page that became a table, or
//! another's, may be written through one. Also pages that are given back, and got anew.

use guest_runtime::memory::{self, PAGE, Page, mmu_update, pte};
use guest_runtime::traps;
use guest_runtime::xen_abi::memory::{DECREASE_RESERVATION, MemoryReservation, POPULATE_PHYSMAP};
use guest_runtime::xen_abi::mmu::UVMF_NONE;
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::{GuestHandle, domid, hypercall as number};
use guest_runtime::{expect, expect_eq, hypercalls, shared};

use crate::pins::{pin, unpin};

/// Writes a word where it was told to; whether that faulted.
fn write_faults(address: u64) -> bool {
    extern "sysv64" fn write(address: u64) {
        memory::write(address, pte::PSE | 1 << 51 | 1);
    }
    traps::probe(write, address).is_some_and(|trap| trap.frame.vector == 14)
}

/// An entry, without a flush.
fn map_lazily(address: u64, value: u64) -> i64 {
    hypercalls::call(number::UPDATE_VA_MAPPING, &[address, value, UVMF_NONE])
}

/// `populate_physmap` or `decrease_reservation` of single pages.
pub(crate) fn reserve(operation: u32, frames: &mut [u64]) -> i64 {
    let mut request = MemoryReservation {
        extent_start: GuestHandle::new(frames.as_mut_ptr().expose_provenance() as u64),
        nr_extents: frames.len() as u64,
        extent_order: 0,
        mem_flags: 0,
        domid: domid::DOMID_SELF,
        _hole0: [0; 6],
    };
    hypercalls::call_with(number::MEMORY_OP, operation, &mut request)
}

pub(crate) fn run(info: &StartInfo) {
    became_table();
    became_read_only();
    given_back();
    exchanged(info);
}

/// A page is written, unmapped without a flush, and made a table.
fn became_table() {
    for level in 1..=4 {
        let page = Page::take();
        page.set(0, 0);
        expect_eq!(map_lazily(page.address, 0), 0);
        expect_eq!(pin(level, page.mfn()), 0);
        expect!(write_faults(page.address));
        expect_eq!(unpin(page.mfn()), 0);
        expect_eq!(page.map_rw(), 0);
        expect_eq!(page.get(0), 0);
    }
}

/// A page is written, made read-only without a flush by each way, and made a table.
fn became_read_only() {
    for way in 0..3 {
        let page = Page::take();
        page.set(0, 0);
        let ro = page.maddr() | pte::PAGE_RO;
        let Some(entry) = memory::entry_of(page.address, 1) else {
            return;
        };
        match way {
            0 => expect_eq!(map_lazily(page.address, ro), 0),
            1 => expect_eq!(mmu_update(entry.maddr, ro), 0),
            _ => memory::write(entry.address, ro),
        }
        expect_eq!(pin(2, page.mfn()), 0);
        expect!(write_faults(page.address));
        expect_eq!(page.get(0), 0);
        // The same through another mapping of it.
        expect_eq!(unpin(page.mfn()), 0);
        expect_eq!(page.map_rw(), 0);
    }
    // As an L1 it would be emulated: the value is one that is refused.
    let page = Page::take();
    page.set(0, 0);
    expect_eq!(map_lazily(page.address, page.maddr() | pte::PAGE_RO), 0);
    expect_eq!(pin(1, page.mfn()), 0);
    expect!(write_faults(page.address));
    expect_eq!(page.get(0), 0);
    expect_eq!(unpin(page.mfn()), 0);
    expect_eq!(page.map_rw(), 0);
    // Two mappings, one of them left in the TLB while the other goes.
    let (page, other) = (Page::take(), Page::take());
    expect_eq!(
        memory::update_va_mapping(other.address, page.maddr() | pte::PAGE_RW),
        0
    );
    other.set(1, 0x1234);
    expect_eq!(page.get(1), 0x1234);
    expect_eq!(map_lazily(page.address, 0), 0);
    expect_eq!(pin(1, page.mfn()), -22);
    expect_eq!(map_lazily(other.address, 0), 0);
    expect_eq!(page.map_rw(), 0);
    page.clear();
    expect_eq!(map_lazily(page.address, 0), 0);
    expect_eq!(pin(4, page.mfn()), 0);
    expect!(write_faults(page.address));
    expect!(write_faults(other.address));
    expect_eq!(unpin(page.mfn()), 0);
    expect_eq!(page.map_rw(), 0);
    expect_eq!(other.map_rw(), 0);
}

/// A page that is mapped is given back: it stays until the last mapping goes, and then is another's.
fn given_back() {
    let page = Page::take();
    page.set(0, 0x5ec2e7);
    let mfn = page.mfn();
    let mut list = [mfn];
    expect_eq!(reserve(DECREASE_RESERVATION, &mut list), 1);
    expect_eq!(page.get(0), 0x5ec2e7);
    page.set(1, 1);
    // Not ours any more, but for the mapping: it cannot be mapped or pinned again once that is gone. (To give it
    // back twice changes nothing, whatever the hypervisor calls that.)
    expect!(reserve(DECREASE_RESERVATION, &mut list) <= 1);
    expect_eq!(page.get(0), 0x5ec2e7);
    expect_eq!(map_lazily(page.address, 0), 0);
    expect!(memory::update_va_mapping(page.address, mfn * PAGE | pte::PAGE_RO) < 0);
    expect!(pin(1, mfn) < 0);
    expect!(unpin(mfn) < 0);
    // The translation that is left writes to nobody's page.
    let mut got = [page.pfn(); 1];
    expect_eq!(reserve(POPULATE_PHYSMAP, &mut got), 1);
    let [fresh] = got;
    memory::set_mfn_of(page.pfn(), fresh);
    expect_eq!(memory::pfn_of(fresh), page.pfn());
    let other = Page::take();
    expect_eq!(
        memory::update_va_mapping(other.address, fresh * PAGE | pte::PAGE_RW),
        0
    );
    // No byte of another's is to be seen: of its own life as this guest's page it may be.
    let words = [other.get(0), other.get(1)];
    expect!(words == [0, 0] || (fresh == mfn && words == [0x5ec2e7, 1]));
    for word in 2..512 {
        expect_eq!(other.get(word), 0);
    }
    other.clear();
    expect_eq!(
        memory::update_va_mapping(other.address, fresh * PAGE | pte::PAGE_RO),
        0
    );
    expect_eq!(pin(2, fresh), 0);
    expect!(write_faults(page.address));
    expect_eq!(other.get(0), 0);
    expect_eq!(unpin(fresh), 0);
    expect_eq!(other.map_rw(), 0);
    expect_eq!(page.map_rw(), 0);
    // A table that is in use can be given back too: it stays one for so long.
    let tree = crate::Tree::new();
    let mut tables = [tree.l1.mfn(), tree.l4.mfn()];
    let given = reserve(DECREASE_RESERVATION, &mut tables);
    expect!((0..=2).contains(&given));
    expect!(tree.l1.map_rw() < 0);
    expect!(tree.l2.map_rw() < 0);
    let result = unpin(tree.l4.mfn());
    expect!(result == 0 || given > 0);
    // What was given comes back from elsewhere.
    for page in [tree.l1, tree.l4].into_iter().take(given as usize) {
        expect_eq!(page.unmap(), 0);
        let mut got = [page.pfn()];
        expect_eq!(reserve(POPULATE_PHYSMAP, &mut got), 1);
        memory::set_mfn_of(page.pfn(), got[0]);
        expect_eq!(page.map_rw(), 0);
    }
}

/// Bad lists of pages to give back or to get.
fn exchanged(info: &StartInfo) {
    for bad in [0xfee00, 1 << 40, u64::MAX, info.nr_pages << 24] {
        expect_eq!(reserve(DECREASE_RESERVATION, &mut [bad]), 0);
    }
    // The shared page is the hypervisor's: it may say that the guest is rid of it, but it goes on to use it and
    // gives it to nobody.
    expect!(reserve(DECREASE_RESERVATION, &mut [info.shared_info / PAGE]) <= 1);
    let page = Page::take();
    let start = shared::now();
    for _ in 0..200 {
        expect_eq!(reserve(DECREASE_RESERVATION, &mut [page.mfn()]), 1);
        expect_eq!(page.unmap(), 0);
        let mut got = [page.pfn()];
        expect_eq!(reserve(POPULATE_PHYSMAP, &mut got), 1);
        expect!(got[0] != info.shared_info / PAGE);
        memory::set_mfn_of(page.pfn(), got[0]);
        expect_eq!(page.map_rw(), 0);
        page.set(0, u64::MAX);
    }
    expect!(shared::now() > start);
    // The second is bad: one is done.
    let page = Page::take();
    expect_eq!(reserve(DECREASE_RESERVATION, &mut [page.mfn(), 1 << 40]), 1);
    expect_eq!(page.unmap(), 0);
    let mut got = [page.pfn()];
    expect_eq!(reserve(POPULATE_PHYSMAP, &mut got), 1);
    memory::set_mfn_of(page.pfn(), got[0]);
    expect_eq!(page.map_rw(), 0);
}
