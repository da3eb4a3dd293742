//! Tables that name themselves, or each other, at the same level: read-only and one deep (182, 240, 309).

use guest_runtime::memory::{mmu_update, mmuext, pte};
use guest_runtime::xen_abi::mmu::MMUEXT_NEW_USER_BASEPTR;
use guest_runtime::{expect, expect_eq};

use crate::entries::KINDS;
use crate::pins::{pin, unpin};
use crate::{EINVAL, Tree, names, table};

pub(crate) fn run() {
    let tree = Tree::new();
    for (level, page) in [(4, tree.l4), (3, tree.l3), (2, tree.l2)] {
        let at = page.maddr() + 8 * 5;
        for kind in KINDS {
            // Writable: never. Read-only: it may be.
            expect_eq!(mmu_update(at | kind, names(page)), EINVAL, "level {level}");
            expect_eq!(
                mmu_update(at | kind, names(page) & !pte::RW),
                0,
                "level {level}"
            );
            // By flags alone (182).
            for more in [
                pte::RW,
                pte::RW | pte::PSE,
                pte::RW | pte::NX,
                pte::RW | pte::A,
            ] {
                expect_eq!(
                    mmu_update(at | kind, names(page) & !pte::RW | more),
                    EINVAL,
                    "level {level}"
                );
            }
            expect_eq!(page.get(5) & pte::RW, 0);
            expect_eq!(mmu_update(at | kind, names(page) & !pte::RW & !pte::A), 0);
            expect_eq!(mmu_update(at | kind, 0), 0);
        }
    }
    tree.end();
    chains();
    own_root();
}

/// A names B, B names C: one of them too many.
fn chains() {
    for level in 2..=4 {
        let pages = [table(&[]), table(&[]), table(&[])];
        let [a, b, c] = pages;
        for page in pages {
            expect_eq!(pin(level, page.mfn()), 0);
        }
        let link = |from: crate::Page, slot: u64, to: crate::Page| {
            mmu_update(from.maddr() + 8 * slot, names(to) & !pte::RW)
        };
        expect_eq!(link(a, 0, b), 0, "level {level}");
        // B is named by another, A names another.
        expect!(link(b, 0, c) < 0);
        expect!(link(c, 0, a) < 0);
        expect!(link(b, 0, a) < 0);
        // Several of the same are one deep still.
        expect_eq!(link(a, 1, c), 0, "level {level}");
        expect_eq!(link(c, 2, b) < 0, true);
        expect_eq!(mmu_update(a.maddr(), 0), 0);
        expect_eq!(mmu_update(a.maddr() + 8, 0), 0);
        expect_eq!(link(b, 0, c), 0, "level {level}");
        // Half of the pair goes first.
        expect_eq!(unpin(c.mfn()), 0);
        expect_eq!(unpin(b.mfn()), 0);
        expect_eq!(unpin(a.mfn()), 0);
        for page in pages {
            expect_eq!(page.map_rw(), 0, "level {level}");
        }
        // A table that names itself when it is pinned.
        let own = crate::Page::take();
        own.set(0, names(own) & !pte::RW);
        expect_eq!(own.map_ro(), 0);
        let result = pin(level, own.mfn());
        expect!(result == 0 || result == EINVAL);
        if result == 0 {
            expect_eq!(unpin(own.mfn()), 0);
        }
        expect_eq!(own.map_rw(), 0, "level {level}");
        own.set(0, names(own));
        expect_eq!(own.map_ro(), 0);
        expect_eq!(pin(level, own.mfn()), EINVAL);
        expect_eq!(own.map_rw(), 0, "level {level}");
    }
}

/// A root that names itself and is in use while it goes.
fn own_root() {
    let root = table(&[]);
    expect_eq!(pin(4, root.mfn()), 0);
    expect_eq!(
        mmu_update(root.maddr() + 8 * 500, names(root) & !pte::RW),
        0
    );
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, root.mfn(), 0), 0);
    expect_eq!(unpin(root.mfn()), 0);
    expect!(root.map_rw() < 0);
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
    expect_eq!(root.map_rw(), 0);
}
