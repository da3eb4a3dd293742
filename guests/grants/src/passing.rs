//! Two domains: one grants parts of a page to the other, which passes them on, back to the first. Only copies go that way.

use guest_runtime::event_channels::poll;
use guest_runtime::grants::grant_table;
use guest_runtime::memory::Page;
use guest_runtime::xen_abi::grant_table::{
    self as op, GNTMAP_READONLY, GNTST_GENERAL_ERROR, GTF_PERMIT_ACCESS, GTF_READONLY,
    GTF_SUB_PAGE, GTF_TRANSITIVE,
};
use guest_runtime::xen_abi::{DomId, domid::DOMID_SELF};
use guest_runtime::{check, check_eq, expect_eq, println, shared};

use crate::table::{Entries, Statuses, set_version};

const SECOND: u64 = 1_000_000_000;
/// A whole page, one for reading, a part of one, and nothing.
const WHOLE: u32 = 8;
const READ_ONLY: u32 = 9;
const PART: u32 = 10;
const NOTHING: u32 = 11;
/// A writable page that is passed on for reading only, an entry that is itself passed on, and one that is for another.
const LESS: u32 = 12;
const TWICE: u32 = 13;
const STRANGERS: u32 = 14;

/// Passes on what `peer` grants, until it is destroyed.
pub(crate) fn pass_on(peer: DomId) -> ! {
    check_eq!(set_version(2), (0, 2));
    let entries = Entries::map();
    let pass = |reference: u32, flags: u16, user: DomId| {
        let header = u64::from(user) << 16 | u64::from(GTF_TRANSITIVE | flags);
        let via = u64::from(peer) << 32;
        entries.set_words(reference, [via | header, reference.into()]);
    };
    for reference in [WHOLE, READ_ONLY, PART, NOTHING, TWICE] {
        pass(reference, 0, peer);
    }
    pass(LESS, GTF_READONLY, peer);
    pass(STRANGERS, 0, peer + 1);
    println!("passes on");
    loop {
        poll(&mut [], shared::now() + SECOND);
    }
}

struct Lender {
    peer: DomId,
    page: Page,
    own: Page,
}

impl Lender {
    /// Copies between the page, by way of the peer's entry, and the own one.
    fn copy(&self, reference: u32, offset: u16, len: u16, writes: bool) -> i16 {
        let passed = op::CopyPtr {
            u: op::CopyPtrUnion {
                words: [reference.into()],
            },
            domid: self.peer,
            offset,
            _hole0: [0; 4],
        };
        let own = op::CopyPtr {
            u: op::CopyPtrUnion {
                words: [self.own.mfn()],
            },
            domid: DOMID_SELF,
            offset,
            _hole0: [0; 4],
        };
        let (source, dest, flags) = if writes {
            (own, passed, op::GNTCOPY_DEST_GREF)
        } else {
            (passed, own, op::GNTCOPY_SOURCE_GREF)
        };
        let mut request = op::Copy {
            source,
            dest,
            len,
            flags: flags as u16,
            status: 1,
            _hole0: [0; 2],
        };
        check_eq!(grant_table(op::COPY, &mut request), 0);
        request.status
    }

    fn reads(&self) {
        self.page.set(8, 0x1122);
        expect_eq!(self.copy(WHOLE, 64, 8, false), 0);
        expect_eq!(self.own.get(8), 0x1122);
        expect_eq!(self.copy(READ_ONLY, 64, 8, false), 0);
        expect_eq!(self.copy(LESS, 64, 8, false), 0);
        expect_eq!(self.copy(PART, 64, 8, false), 0);
        for reference in [NOTHING, TWICE, STRANGERS] {
            let status = self.copy(reference, 64, 8, false);
            expect_eq!(status, GNTST_GENERAL_ERROR, "entry {reference}");
        }
        expect_eq!(self.copy(PART, 63, 8, false), GNTST_GENERAL_ERROR);
        expect_eq!(self.copy(PART, 72, 9, false), GNTST_GENERAL_ERROR);
    }

    fn writes(&self) {
        self.own.set(9, 0x3344);
        expect_eq!(self.copy(WHOLE, 72, 8, true), 0);
        expect_eq!(self.page.get(9), 0x3344);
        self.own.set(9, 0x5566);
        expect_eq!(self.copy(PART, 72, 8, true), 0);
        expect_eq!(self.page.get(9), 0x5566);
        for reference in [READ_ONLY, LESS, NOTHING, TWICE, STRANGERS] {
            let status = self.copy(reference, 72, 8, true);
            expect_eq!(status, GNTST_GENERAL_ERROR, "entry {reference}");
        }
    }

    /// What is passed on cannot be mapped.
    fn maps(&self) {
        let window = Page::take();
        check_eq!(window.unmap(), 0);
        for flags in [0, GNTMAP_READONLY] {
            let mut request = op::MapGrantRef {
                host_addr: window.address,
                flags: op::GNTMAP_HOST_MAP | flags,
                reference: WHOLE,
                dom: self.peer,
                status: 1,
                handle: 0,
                dev_bus_addr: 0,
            };
            check_eq!(grant_table(op::MAP_GRANT_REF, &mut request), 0);
            expect_eq!(request.status, GNTST_GENERAL_ERROR);
        }
    }
}

/// Grants to `peer`, and uses what that passes on.
pub(crate) fn lend(peer: DomId) {
    check_eq!(set_version(2), (0, 2));
    let entries = Entries::map();
    let lender = Lender {
        peer,
        page: Page::take(),
        own: Page::take(),
    };
    let statuses = Statuses::map();
    let grant = |reference: u32, flags: u16, second: u64| {
        let header = u64::from(peer) << 16 | u64::from(flags);
        entries.set_words(reference, [second << 32 | header, lender.page.mfn()]);
    };
    grant(WHOLE, GTF_PERMIT_ACCESS, 0);
    grant(READ_ONLY, GTF_PERMIT_ACCESS | GTF_READONLY, 0);
    grant(PART, GTF_PERMIT_ACCESS | GTF_SUB_PAGE, 16 << 16 | 64);
    grant(LESS, GTF_PERMIT_ACCESS, 0);
    grant(TWICE, GTF_TRANSITIVE, peer.into());
    grant(STRANGERS, GTF_PERMIT_ACCESS, 0);
    // The other is there first; its entries a moment later.
    let end = shared::now() + 60 * SECOND;
    while lender.copy(WHOLE, 0, 8, false) != 0 {
        check!(shared::now() < end);
        poll(&mut [], shared::now() + SECOND / 10);
    }
    lender.reads();
    lender.writes();
    lender.maps();
    for _ in 0..20_000 {
        check!(lender.copy(WHOLE, 0, 4096, false) == 0);
    }
    for reference in WHOLE..=STRANGERS {
        expect_eq!(statuses.get(reference), 0, "entry {reference}");
    }
    // Version 1 serves as well for what another one passes on.
    statuses.unmap();
    check_eq!(set_version(1), (0, 1));
    entries.set_v1(WHOLE, GTF_PERMIT_ACCESS, peer, lender.page.mfn());
    lender.page.set(8, 0x7788);
    expect_eq!(lender.copy(WHOLE, 64, 8, false), 0);
    expect_eq!(lender.own.get(8), 0x7788);
    expect_eq!(lender.copy(READ_ONLY, 64, 8, false), GNTST_GENERAL_ERROR);
    println!("what domain {peer} passes on is what was granted to it");
}
