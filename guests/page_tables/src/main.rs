//! Page tables: everything that a guest must not get away with, by every way to change an entry, and that nothing is
//! lost or gained by trying.
//!
//! The numbers in comments are those of Xen's security advisories.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod emulated;
mod entries;
mod frames;
mod linear;
mod pins;
mod stale;

use guest_runtime::memory::{self, Page, pte};
use guest_runtime::xen_abi::memory as memory_op;
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::{domid, hypercall as number};
use guest_runtime::{expect_eq, guest, hypercalls, println, shared, traps};

guest!(main);

pub(crate) const EPERM: i64 = -1;
pub(crate) const EBUSY: i64 = -16;
pub(crate) const EINVAL: i64 = -22;
pub(crate) const ENOSYS: i64 = -38;

/// A page with these entries, the rest 0, mapped read-only.
pub(crate) fn table(entries: &[(u64, u64)]) -> Page {
    let page = Page::take();
    for &(index, value) in entries {
        page.set(index, value);
    }
    expect_eq!(page.map_ro(), 0);
    page
}

/// The entry of a table that names a lower one.
pub(crate) fn names(table: Page) -> u64 {
    table.maddr() | pte::TABLE
}

/// Tables of all four levels, the L4 pinned, with a page behind them.
pub(crate) struct Tree {
    pub(crate) l4: Page,
    pub(crate) l3: Page,
    pub(crate) l2: Page,
    pub(crate) l1: Page,
    pub(crate) page: Page,
}

impl Tree {
    /// Makes them.
    pub(crate) fn new() -> Tree {
        let page = Page::take();
        let l1 = table(&[(0, page.maddr() | pte::PAGE_RW)]);
        let l2 = table(&[(0, names(l1))]);
        let l3 = table(&[(0, names(l2))]);
        let l4 = table(&[(0, names(l3))]);
        expect_eq!(pins::pin(4, l4.mfn()), 0);
        Tree {
            l4,
            l3,
            l2,
            l1,
            page,
        }
    }

    /// Ends them: every page is an ordinary one again, which no count that is wrong would let it be.
    pub(crate) fn end(self) {
        expect_eq!(pins::unpin(self.l4.mfn()), 0);
        for page in [self.l4, self.l3, self.l2, self.l1, self.page] {
            expect_eq!(page.map_rw(), 0);
            page.clear();
        }
    }
}

/// The domain's pages, as the hypervisor counts them.
fn reservation() -> i64 {
    let mut domain = domid::DOMID_SELF;
    hypercalls::call_with(
        number::MEMORY_OP,
        memory_op::CURRENT_RESERVATION,
        &mut domain,
    )
}

/// Pages of the domain.
pub(crate) static PAGES: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

fn main(info: &'static StartInfo) {
    PAGES.store(info.nr_pages, core::sync::atomic::Ordering::Relaxed);
    shared::map(info);
    traps::init();
    let before = reservation();
    println!("pins");
    pins::run();
    println!("entries");
    entries::run();
    println!("linear tables");
    linear::run();
    println!("frames of others");
    frames::run(info);
    println!("emulated writes");
    emulated::run();
    println!("stale translations");
    stale::run(info);
    expect_eq!(reservation(), before);
    let _ = memory::PAGE;
}
