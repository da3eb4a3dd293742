//! Calls of a single domain to the hypervisor, one kind after the other.

use guest_runtime::event_channels::{alloc_unbound, bind_interdomain, poll, send, set_timer};
use guest_runtime::hypercalls::call;
use guest_runtime::memory::{
    Page, address_of, entry_of, index_at, mmu_update, mmu_updates, mmuext, pte, update_va_mapping,
};
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::{MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate};
use guest_runtime::xen_abi::multicall::MulticallEntry;
use guest_runtime::{check, check_eq, shared};

use crate::{figure, grants, ticks};

/// `XENVER_version`: there is hardly less that a call can do.
const VERSION: u64 = 0;
/// Entries of a multicall, updates of a list.
const SEVERAL: usize = 16;
/// Tables of the lowest level, and entries in each, as a small process has them.
const TABLES: u64 = 5;
const ENTRIES: u64 = 64;
const SECOND: u64 = 1_000_000_000;

/// Measures all.
pub(crate) fn measure() {
    calls();
    events();
    updates();
    grants();
    pins();
}

fn calls() {
    figure(
        "hypercall",
        ticks(|| check!(call(number::XEN_VERSION, &[VERSION, 0]) > 0)),
    );
    let entry = MulticallEntry {
        op: u64::from(number::XEN_VERSION),
        result: 0,
        args: [VERSION, 0, 0, 0, 0, 0],
    };
    let mut list = [entry; SEVERAL];
    let several = ticks(|| {
        let arguments = [address_of(&mut list), SEVERAL as u64];
        check!(call(number::MULTICALL, &arguments) == 0);
    });
    check!(list.iter().all(|entry| entry.result > 0));
    figure("multicall_16", several);
    let mut at = shared::now() + 1000 * SECOND;
    figure(
        "set_timer",
        ticks(|| {
            at += 1;
            check!(set_timer(at) == 0);
        }),
    );
    check!(set_timer(0) == 0);
}

fn events() {
    let own = alloc_unbound(DOMID_SELF).unwrap_or(0);
    let other_end = bind_interdomain(DOMID_SELF, own).unwrap_or(0);
    check!(own != 0 && other_end != 0);
    figure(
        "event_send",
        ticks(|| {
            check!(send(own) == 0);
            check!(shared::take_pending(other_end));
        }),
    );
    figure(
        "event_own",
        ticks(|| {
            check!(send(own) == 0);
            check!(poll(&mut [other_end], 0) == 0);
            check!(shared::take_pending(other_end));
        }),
    );
}

fn updates() {
    let page = Page::take();
    let writable = page.maddr() | pte::PAGE_RW;
    let read_only = page.maddr() | pte::PAGE_RO;
    figure(
        "update_va_mapping",
        ticks(|| {
            check!(update_va_mapping(page.address, read_only) == 0);
            check!(update_va_mapping(page.address, writable) == 0);
        }) / 2,
    );
    let entry = entry_of(page.address, 1).map_or(0, |entry| entry.maddr);
    check!(entry != 0);
    figure(
        "mmu_update",
        ticks(|| {
            check!(mmu_update(entry, read_only) == 0);
            check!(mmu_update(entry, writable) == 0);
        }) / 2,
    );
    let mut list = [MmuUpdate { ptr: entry, val: 0 }; SEVERAL];
    for (place, update) in list.iter_mut().enumerate() {
        update.val = if place % 2 == 0 { read_only } else { writable };
    }
    figure(
        "mmu_update_16",
        ticks(|| {
            check!(mmu_updates(&mut list, &mut 0, u64::from(DOMID_SELF)) == 0);
        }),
    );
}

fn grants() {
    grants::offer(0);
    let [map, copy] = grants::measure(0);
    figure("grant_map_unmap", map);
    figure("grant_copy", copy);
}

/// The tables of a small process: one of each upper level, and some of the lowest.
fn pins() {
    let [l4, l3, l2, page] = [(); 4].map(|()| Page::take());
    let at = 0x40_0000_0000;
    l4.set(index_at(at, 4), l3.maddr() | pte::TABLE);
    l3.set(index_at(at, 3), l2.maddr() | pte::TABLE);
    for table in 0..TABLES {
        let l1 = Page::take();
        for entry in 0..ENTRIES {
            l1.set(entry, page.maddr() | pte::PAGE_RW | pte::US);
        }
        l2.set(index_at(at, 2) + table, l1.maddr() | pte::TABLE);
        check_eq!(l1.map_ro(), 0);
    }
    for table in [l2, l3, l4] {
        check_eq!(table.map_ro(), 0);
    }
    figure(
        "pin_unpin",
        ticks(|| {
            check!(mmuext(MMUEXT_PIN_L4_TABLE, l4.mfn(), 0) == 0);
            check!(mmuext(MMUEXT_UNPIN_TABLE, l4.mfn(), 0) == 0);
        }),
    );
}
