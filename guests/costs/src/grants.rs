//! A page that one domain grants, mapped and copied by another, or by itself.

use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::memory::{PAGE, Page, pte, update_va_mapping};
use guest_runtime::xen_abi::DomId;
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::grant_table as op;
use guest_runtime::{check, check_eq};

use crate::ticks;

/// A grant after those that are reserved.
const GRANT: u64 = 8;
/// What stands in the page's last word.
const CONTENT: u64 = 0x5a5a;

/// Grants a page to a domain.
pub(crate) fn offer(to: DomId) {
    let (status, frames) = setup_table(DOMID_SELF, 1);
    check_eq!(status, 0);
    let table = Page::take();
    check_eq!(
        update_va_mapping(table.address, frames[0] * PAGE | pte::PAGE_RW),
        0
    );
    let page = Page::take();
    page.set(511, CONTENT);
    let access = u64::from(op::GTF_PERMIT_ACCESS);
    table.set(GRANT, page.mfn() << 32 | u64::from(to) << 16 | access);
}

/// Maps and unmaps, and copies, what a domain grants to this one.
pub(crate) fn measure(from: DomId) -> [u64; 2] {
    let (target, window) = (Page::take(), Page::take());
    check_eq!(window.unmap(), 0);
    let map_unmap = ticks(|| {
        let mut map = op::MapGrantRef {
            host_addr: window.address,
            flags: op::GNTMAP_HOST_MAP,
            reference: GRANT as u32,
            dom: from,
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
    });
    let place = |word: u64, domid: DomId| op::CopyPtr {
        u: op::CopyPtrUnion { words: [word] },
        domid,
        offset: 0,
        _hole0: [0; 4],
    };
    let copy = ticks(|| {
        let mut copy = op::Copy {
            source: place(GRANT, from),
            dest: place(target.mfn(), DOMID_SELF),
            len: PAGE as u16,
            flags: op::GNTCOPY_SOURCE_GREF as u16,
            status: 1,
            _hole0: [0; 2],
        };
        check!(grant_table(op::COPY, &mut copy) == 0 && copy.status == 0);
    });
    check_eq!(target.get(511), CONTENT);
    [map_unmap, copy]
}
