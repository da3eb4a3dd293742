//! Calls of a single domain to the hypervisor, one kind after the other.

use guest_runtime::event_channels::{alloc_unbound, bind_interdomain, poll, send, set_timer};
use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::hypercalls::call;
use guest_runtime::memory::{
    PAGE, Page, address_of, entry_of, index_at, mmu_update, mmu_updates, mmuext, pte,
    update_va_mapping,
};
use guest_runtime::xen_abi::DomId;
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::grant_table as op;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::{MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate};
use guest_runtime::xen_abi::multicall::MulticallEntry;
use guest_runtime::{check, check_eq, shared};

use crate::{figure, ticks};

/// `XENVER_version`: there is hardly less that a call can do.
const VERSION: u64 = 0;
/// Entries of a multicall, updates of a list.
const SEVERAL: usize = 16;
/// A grant after those that are reserved.
const GRANT: u64 = 8;
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
    let (status, frames) = setup_table(DOMID_SELF, 1);
    check_eq!(status, 0);
    let table = Page::take();
    check_eq!(
        update_va_mapping(table.address, frames[0] * PAGE | pte::PAGE_RW),
        0
    );
    let (source, target, window) = (Page::take(), Page::take(), Page::take());
    let access = u64::from(op::GTF_PERMIT_ACCESS);
    table.set(GRANT, source.mfn() << 32 | access);
    check_eq!(window.unmap(), 0);
    figure(
        "grant_map_unmap",
        ticks(|| {
            let mut map = op::MapGrantRef {
                host_addr: window.address,
                flags: op::GNTMAP_HOST_MAP,
                reference: GRANT as u32,
                dom: 0,
                status: 1,
                handle: 0,
                dev_bus_addr: 0,
            };
            check!(grant_table(op::MAP_GRANT_REF, &mut map) == 0 && map.status == 0);
            let mut unmap = op::UnmapGrantRef {
                host_addr: window.address,
                dev_bus_addr: 0,
                handle: map.handle,
                status: 1,
                _hole0: [0; 2],
            };
            check!(grant_table(op::UNMAP_GRANT_REF, &mut unmap) == 0 && unmap.status == 0);
        }),
    );
    source.set(511, 0x5a5a);
    let place = |word: u64, domid: DomId| op::CopyPtr {
        u: op::CopyPtrUnion { words: [word] },
        domid,
        offset: 0,
        _hole0: [0; 4],
    };
    figure(
        "grant_copy",
        ticks(|| {
            let mut copy = op::Copy {
                source: place(GRANT, 0),
                dest: place(target.mfn(), DOMID_SELF),
                len: PAGE as u16,
                flags: op::GNTCOPY_SOURCE_GREF as u16,
                status: 1,
                _hole0: [0; 2],
            };
            check!(grant_table(op::COPY, &mut copy) == 0 && copy.status == 0);
        }),
    );
    check_eq!(target.get(511), 0x5a5a);
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
