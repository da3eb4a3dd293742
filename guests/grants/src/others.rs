//! Pages that change hands, and caches that are flushed.

use guest_runtime::grants::grant_table;
use guest_runtime::memory::{self, PAGE, Page, pte, update_va_mapping};
use guest_runtime::xen_abi::errno::Errno;
use guest_runtime::xen_abi::grant_table::{
    self as op, GNTST_BAD_DOMAIN, GNTST_BAD_PAGE, GNTST_GENERAL_ERROR, GTF_ACCEPT_TRANSFER,
    GTF_PERMIT_ACCESS, GTF_TRANSFER_COMMITTED, GTF_TRANSFER_COMPLETED,
};
use guest_runtime::{check_eq, expect, expect_eq, println};

use crate::table::{Entries, OWN, set_version};

const GRANT: u32 = 30;
const NOBODY: u16 = 0x7000;

fn transfer(mfn: u64, domid: u16, reference: u32) -> i16 {
    let mut request = op::Transfer {
        mfn,
        domid,
        _hole0: [0; 2],
        reference,
        status: 1,
        _hole1: [0; 6],
    };
    check_eq!(grant_table(op::TRANSFER, &mut request), 0);
    request.status
}

/// A page that nothing refers to.
fn loose() -> Page {
    let page = Page::take();
    page.set(3, 0x1234);
    check_eq!(page.unmap(), 0);
    page
}

/// Whether a frame is this domain's.
fn is_own(window: Page, frame: u64) -> bool {
    let is_own = update_va_mapping(window.address, frame * PAGE | pte::PAGE_RW) == 0;
    check_eq!(window.unmap(), 0);
    is_own
}

fn transfers() {
    check_eq!(set_version(1), (0, 1));
    let entries = Entries::map();
    entries.clear();
    let window = loose();
    for frame in [1 << 40, u64::MAX, 0] {
        expect_eq!(transfer(frame, OWN, GRANT), GNTST_BAD_PAGE, "{frame:#x}");
    }
    let mapped = Page::take();
    expect_eq!(transfer(mapped.mfn(), OWN, GRANT), GNTST_BAD_PAGE);
    mapped.set(0, 1);
    // Nobody takes it: it is gone all the same.
    let page = loose();
    let frame = page.mfn();
    expect!(is_own(window, frame));
    expect_eq!(transfer(frame, NOBODY, GRANT), GNTST_BAD_DOMAIN);
    expect!(!is_own(window, frame));
    for (flags, domid) in [
        (0, OWN),
        (GTF_PERMIT_ACCESS, OWN),
        (GTF_ACCEPT_TRANSFER, OWN + 1),
        (GTF_ACCEPT_TRANSFER | GTF_TRANSFER_COMMITTED, OWN),
    ] {
        entries.set_v1(GRANT, flags, domid, 5);
        let frame = loose().mfn();
        let status = transfer(frame, OWN, GRANT);
        expect_eq!(status, GNTST_GENERAL_ERROR, "flags {flags:#x}");
        expect_eq!(entries.v1(GRANT).0, flags);
        expect!(!is_own(window, frame));
    }
    let frame = loose().mfn();
    expect_eq!(transfer(frame, OWN, u32::MAX), GNTST_GENERAL_ERROR);

    let done = GTF_ACCEPT_TRANSFER | GTF_TRANSFER_COMMITTED | GTF_TRANSFER_COMPLETED;
    let page = loose();
    let (frame, number) = (page.mfn(), page.pfn());
    entries.set_v1(GRANT, GTF_ACCEPT_TRANSFER, OWN, number + 1);
    expect_eq!(transfer(frame, OWN, GRANT), 0);
    expect_eq!(entries.v1(GRANT), (done, OWN, frame as u32));
    expect_eq!(memory::pfn_of(frame), number + 1);
    check_eq!(set_version(2), (0, 2));
    entries.set_v2(GRANT, GTF_ACCEPT_TRANSFER, 0, number);
    expect_eq!(transfer(frame, OWN, GRANT), 0);
    expect_eq!(entries.v2(GRANT), [done.into(), frame]);
    expect_eq!(memory::pfn_of(frame), number);
    // With what was in it.
    check_eq!(page.map_rw(), 0);
    expect_eq!(page.get(3), 0x1234);
    println!("pages change hands");
}

fn flush_cache(address: u64, offset: u16, length: u16, operation: u32) -> i64 {
    let mut request = op::CacheFlush {
        a: op::CacheFlushA { words: [address] },
        offset,
        length,
        op: operation,
    };
    grant_table(op::CACHE_FLUSH, &mut request)
}

fn caches() {
    const CLEAN: u32 = op::GNTTAB_CACHE_CLEAN;
    const INVALIDATE: u32 = op::GNTTAB_CACHE_INVAL;
    let page = Page::take();
    let at = page.maddr();
    let error = |errno: Errno| -i64::from(errno.0);
    for (address, offset, length, operation, answer) in [
        (at, 0, 4096, CLEAN, 0),
        (at, 100, 33, CLEAN | INVALIDATE, 0),
        (at, 0, 64, INVALIDATE, error(Errno::EOPNOTSUPP)),
        (at, 0, 0, INVALIDATE, 0),
        (at, 0, 64, 0, 0),
        (at, 4096, 0, CLEAN, error(Errno::EINVAL)),
        (at, 4095, 2, CLEAN, error(Errno::EINVAL)),
        (at, 0, 4097, CLEAN, error(Errno::EINVAL)),
        (at, 0, 64, 4, error(Errno::EINVAL)),
        (
            8,
            0,
            64,
            op::GNTTAB_CACHE_SOURCE_GREF | CLEAN,
            error(Errno::EINVAL),
        ),
        (1 << 51, 0, 64, CLEAN, error(Errno::EINVAL)),
    ] {
        expect_eq!(
            flush_cache(address, offset, length, operation),
            answer,
            "{address:#x}+{offset}, {length}: {operation:#x}"
        );
    }
}

pub(crate) fn check_all() {
    caches();
    transfers();
}
