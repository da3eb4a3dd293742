//! Entries of version 2: whole pages, parts of pages, and grants that are passed on.

use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::memory::Page;
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::grant_table::{
    self as op, GNTMAP_READONLY, GNTST_BAD_COPY_ARG, GNTST_BAD_GNTREF, GNTST_BAD_PAGE,
    GNTST_EAGAIN, GNTST_GENERAL_ERROR, GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS, GTF_READING,
    GTF_READONLY, GTF_SUB_PAGE, GTF_TRANSITIVE, GTF_WRITING,
};
use guest_runtime::{check_eq, expect_eq, println};

use crate::table::{
    End, Entries, OWN, Statuses, copy, map_frame, map_grant, set_version, status_frames,
    unmap_grant,
};

/// An entry that is not reserved, and its neighbour in the same word of the status frame.
const GRANT: u32 = 20;
const BESIDE: u32 = 21;
/// The first entry beyond the eight frames that there are, and one frame further.
const BEYOND: u32 = 8 * 256;
/// A frame beyond all that there are.
const NO_FRAME: u64 = 1 << 40;
/// A domain that there is not.
const NOBODY: u32 = 0x7000;

struct Test {
    entries: Entries,
    statuses: Statuses,
    page: Page,
    window: Page,
}

impl Test {
    fn grant(&self, flags: u16) {
        self.entries.set_v2(GRANT, flags, 0, self.page.mfn());
    }

    /// A grant of the bytes from `start` on.
    fn grant_part(&self, flags: u16, start: u16, length: u16) {
        let second = u32::from(length) << 16 | u32::from(start);
        let flags = GTF_PERMIT_ACCESS | GTF_SUB_PAGE | flags;
        self.entries.set_v2(GRANT, flags, second, self.page.mfn());
    }

    fn map(&self, flags: u32) -> i16 {
        let (status, handle) = map_grant(GRANT, self.window, flags);
        if status == 0 {
            unmap_grant(handle, self.window);
        }
        status
    }

    fn whole_pages(&self) {
        self.grant(GTF_PERMIT_ACCESS);
        self.page.set(0, 0x5a5a);
        let (status, reader) = map_grant(GRANT, self.window, GNTMAP_READONLY);
        check_eq!(status, 0);
        expect_eq!(self.window.get(0), 0x5a5a);
        expect_eq!(self.statuses.get(GRANT), GTF_READING);
        expect_eq!(self.statuses.get(BESIDE), 0);
        let other = Page::take();
        let (status, writer) = map_grant(GRANT, other, 0);
        check_eq!(status, 0);
        other.set(0, 0xa5a5);
        expect_eq!(self.page.get(0), 0xa5a5);
        expect_eq!(self.statuses.get(GRANT), GTF_READING | GTF_WRITING);
        expect_eq!(self.entries.v2(GRANT)[0], u64::from(GTF_PERMIT_ACCESS));
        // No more writers from now on.
        self.grant(GTF_PERMIT_ACCESS | GTF_READONLY);
        unmap_grant(writer, other);
        expect_eq!(self.statuses.get(GRANT), GTF_READING);
        expect_eq!(map_grant(GRANT, other, 0).0, GNTST_GENERAL_ERROR);
        expect_eq!(self.statuses.get(GRANT), GTF_READING);
        unmap_grant(reader, self.window);
        expect_eq!(self.statuses.get(GRANT), 0);
    }

    fn refused(&self) {
        for flags in [
            0,
            GTF_ACCEPT_TRANSFER,
            GTF_TRANSITIVE,
            GTF_PERMIT_ACCESS | GTF_READONLY,
            GTF_PERMIT_ACCESS | GTF_SUB_PAGE,
        ] {
            self.grant(flags);
            expect_eq!(self.map(0), GNTST_GENERAL_ERROR, "flags {flags:#x}");
            expect_eq!(self.statuses.get(GRANT), 0, "flags {flags:#x}");
        }
        self.grant(GTF_PERMIT_ACCESS | GTF_READONLY);
        expect_eq!(self.map(GNTMAP_READONLY), 0);
        self.entries.set_v2(GRANT, GTF_PERMIT_ACCESS, 0, NO_FRAME);
        expect_eq!(self.map(0), GNTST_BAD_PAGE);
        expect_eq!(self.statuses.get(GRANT), 0);
        expect_eq!(map_grant(BEYOND, self.window, 0).0, GNTST_BAD_GNTREF);
        let to = End::Own(self.window, 0);
        expect_eq!(copy(End::Grant(BEYOND, 0), to, 1), GNTST_BAD_GNTREF);
    }

    fn parts(&self) {
        let to = Page::take();
        for word in 0..512 {
            self.page.set(word, 0x0101_0101_0101_0101 * (word & 0xff));
            to.set(word, 0);
        }
        self.grant_part(0, 64, 16);
        let from = |offset| End::Grant(GRANT, offset);
        let own = |offset| End::Own(to, offset);
        expect_eq!(copy(from(64), own(8), 16), 0);
        let eights = 0x0808_0808_0808_0808;
        expect_eq!(
            [0, 1, 2, 3].map(|word| to.get(word)),
            [0, eights, eights + 0x0101_0101_0101_0101, 0]
        );
        expect_eq!(copy(from(79), own(0), 1), 0);
        expect_eq!(copy(from(80), own(0), 0), 0);
        for (offset, length, status) in [
            (63, 1, GNTST_GENERAL_ERROR),
            (63, 2, GNTST_GENERAL_ERROR),
            (64, 17, GNTST_GENERAL_ERROR),
            (80, 1, GNTST_GENERAL_ERROR),
            (0, 4096, GNTST_GENERAL_ERROR),
            (4095, 2, GNTST_BAD_COPY_ARG),
            (64, u16::MAX, GNTST_BAD_COPY_ARG),
        ] {
            expect_eq!(
                copy(from(offset), own(0), length),
                status,
                "{offset}+{length}"
            );
            expect_eq!(self.statuses.get(GRANT), 0);
        }
        // In the other direction.
        expect_eq!(copy(own(8), from(72), 8), 0);
        expect_eq!(self.page.get(9), eights);
        expect_eq!(copy(own(0), from(0), 8), GNTST_GENERAL_ERROR);
        self.grant_part(GTF_READONLY, 64, 16);
        expect_eq!(copy(own(8), from(64), 8), GNTST_GENERAL_ERROR);
        expect_eq!(copy(from(64), own(0), 8), 0);
        // A part that is said to go beyond the page.
        self.grant_part(0, 4090, 100);
        expect_eq!(copy(from(4090), own(0), 6), 0);
        expect_eq!(copy(from(4090), own(0), 7), GNTST_BAD_COPY_ARG);
    }

    /// To itself a domain can pass nothing on.
    fn passed_on(&self) {
        let to = End::Own(self.page, 0);
        for domid in [u32::from(OWN), NOBODY, u32::from(DOMID_SELF)] {
            let reference = u64::from(BESIDE);
            self.entries.set_v2(GRANT, GTF_TRANSITIVE, domid, reference);
            let status = copy(End::Grant(GRANT, 0), to, 8);
            expect_eq!(status, GNTST_GENERAL_ERROR, "domain {domid:#x}");
            expect_eq!(self.statuses.get(GRANT), 0);
            expect_eq!(self.map(GNTMAP_READONLY), GNTST_GENERAL_ERROR);
        }
    }

    fn swapped(&self) {
        let swap = |ref_a, ref_b| {
            let mut request = op::SwapGrantRef {
                ref_a,
                ref_b,
                status: 1,
                _hole0: [0; 2],
            };
            check_eq!(grant_table(op::SWAP_GRANT_REF, &mut request), 0);
            request.status
        };
        self.grant(GTF_PERMIT_ACCESS);
        let granted = self.entries.v2(GRANT);
        self.entries.set_v2(BESIDE, GTF_TRANSITIVE, 1, 2);
        let passed = self.entries.v2(BESIDE);
        let (status, handle) = map_grant(GRANT, self.window, 0);
        check_eq!(status, 0);
        expect_eq!(swap(GRANT, BESIDE), GNTST_EAGAIN);
        expect_eq!(swap(GRANT, GRANT), 0);
        unmap_grant(handle, self.window);
        expect_eq!(swap(GRANT, BEYOND), GNTST_BAD_GNTREF);
        expect_eq!(swap(GRANT, BESIDE), 0);
        expect_eq!(self.entries.v2(GRANT), passed);
        expect_eq!(self.entries.v2(BESIDE), granted);
    }
}

/// The table grows in version 2, and its status words with it.
fn growth(test: &Test) {
    expect_eq!(status_frames(DOMID_SELF, 2).0, GNTST_GENERAL_ERROR);
    let (status, frames) = setup_table(DOMID_SELF, 9);
    expect_eq!(status, 0);
    let (status, statuses) = status_frames(DOMID_SELF, 2);
    expect_eq!(status, 0);
    let (last, words) = (map_frame(frames[8]), map_frame(statuses[1]));
    expect_eq!([last.get(0), words.get(0)], [0, 0]);
    last.set(1, test.page.mfn());
    last.set(0, u64::from(GTF_PERMIT_ACCESS));
    let (status, handle) = map_grant(BEYOND, test.window, 0);
    check_eq!(status, 0);
    expect_eq!(words.get(0), u64::from(GTF_READING | GTF_WRITING));
    unmap_grant(handle, test.window);
    expect_eq!(words.get(0), 0);
    check_eq!(words.unmap(), 0);
}

pub(crate) fn check_all() {
    check_eq!(set_version(2), (0, 2));
    let test = Test {
        entries: Entries::map(),
        statuses: Statuses::map(),
        page: Page::take(),
        window: Page::take(),
    };
    test.entries.clear();
    check_eq!(test.window.unmap(), 0);
    test.whole_pages();
    test.refused();
    test.parts();
    test.passed_on();
    test.swapped();
    growth(&test);
    test.statuses.unmap();
    println!("entries of version 2 grant what they say");
}
