//! Pins and roots: in every order, of pages that are tables and pages that are none.

use guest_runtime::list::List;
use guest_runtime::memory::{self, Page, mmuext, pte};
use guest_runtime::xen_abi::mmu::{
    MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE,
};
use guest_runtime::{expect, expect_eq};

use crate::{EBUSY, EINVAL, EPERM, Tree, names, table};

/// Pins a frame as a table of a level.
pub(crate) fn pin(level: u32, mfn: u64) -> i64 {
    mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn, 0)
}

/// Undoes that.
pub(crate) fn unpin(mfn: u64) -> i64 {
    mmuext(MMUEXT_UNPIN_TABLE, mfn, 0)
}

pub(crate) fn run() {
    orders();
    not_tables();
    in_use();
    roots();
    many();
    lists();
}

fn orders() {
    let page = Page::take();
    for level in 1..=4 {
        // Writable: no table.
        expect_eq!(pin(level, page.mfn()), EINVAL);
        expect_eq!(unpin(page.mfn()), EINVAL);
        expect_eq!(page.map_ro(), 0);
        expect_eq!(pin(level, page.mfn()), 0);
        // A table: not writable, pinned once, of one level.
        expect!(page.map_rw() < 0);
        expect_eq!(pin(level, page.mfn()), EINVAL);
        for other in 1..=4 {
            if other != level {
                expect_eq!(pin(other, page.mfn()), EINVAL);
            }
        }
        expect_eq!(unpin(page.mfn()), 0);
        expect_eq!(unpin(page.mfn()), EINVAL);
        expect_eq!(page.map_rw(), 0);
        page.clear();
    }
}

fn not_tables() {
    // Frames that do not exist, and frames that are not this domain's.
    for mfn in [1 << 40, 1 << 24, 0xfee00, 0xfec00, 0xa0, u64::MAX] {
        for level in 1..=4 {
            expect_eq!(pin(level, mfn), EINVAL, "{mfn:#x}");
        }
        expect_eq!(unpin(mfn), EINVAL);
        expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, mfn, 0), EINVAL);
    }
    // Entries that are wrong anywhere in the page, with what was right before them given back.
    let good = Page::take();
    for level in 1..=4 {
        for position in [0, 1, 255, 511] {
            let page = Page::take();
            if level == 1 {
                page.set(0, good.maddr() | pte::PAGE_RW);
            }
            page.set(position, (1 << 50) | pte::TABLE);
            expect_eq!(page.map_ro(), 0);
            let is_hypervisors = level == 4 && (256..272).contains(&position);
            // A page that is no RAM is a device's, which it may not have; a table is RAM.
            let refused = if level == 1 { EPERM } else { EINVAL };
            expect_eq!(
                pin(level, page.mfn()),
                if is_hypervisors { 0 } else { refused }
            );
            expect_eq!(page.map_rw(), 0);
        }
    }
    // A table that names a writable page as a table.
    for level in 2..=4 {
        let page = Page::take();
        page.set(3, good.maddr() | pte::TABLE);
        expect_eq!(page.map_ro(), 0);
        expect_eq!(pin(level, page.mfn()), EINVAL);
        expect_eq!(page.map_rw(), 0);
    }
    // A table that maps itself: read-only it may, writable not.
    let page = Page::take();
    page.set(0, page.maddr() | pte::PAGE_RW);
    expect_eq!(page.map_ro(), 0);
    expect_eq!(pin(1, page.mfn()), EBUSY);
    expect_eq!(page.map_rw(), 0);
    page.set(0, page.maddr() | pte::PAGE_RO);
    expect_eq!(page.map_ro(), 0);
    expect_eq!(pin(1, page.mfn()), 0);
    expect_eq!(unpin(page.mfn()), 0);
    expect_eq!(page.map_rw(), 0);
    // A page mapped writable by a table that is not even loaded is no table.
    let victim = Page::take();
    expect_eq!(victim.map_ro(), 0);
    let mapper = table(&[(7, victim.maddr() | pte::PAGE_RW)]);
    expect_eq!(pin(1, mapper.mfn()), 0);
    expect_eq!(pin(1, victim.mfn()), EINVAL);
    expect_eq!(unpin(mapper.mfn()), 0);
    expect_eq!(pin(1, victim.mfn()), 0);
    expect_eq!(unpin(victim.mfn()), 0);
}

fn in_use() {
    let tree = Tree::new();
    // Every table below is of its level, and of no other.
    for (page, level) in [(tree.l3, 3), (tree.l2, 2), (tree.l1, 1)] {
        for other in 1..=4 {
            expect_eq!(
                pin(other, page.mfn()),
                if other == level { 0 } else { EINVAL }
            );
        }
        expect!(page.map_rw() < 0);
        expect_eq!(unpin(page.mfn()), 0);
        expect!(page.map_rw() < 0);
    }
    // The page behind them is writable there: no table.
    expect_eq!(tree.page.map_ro(), 0);
    expect_eq!(pin(1, tree.page.mfn()), EINVAL);
    tree.end();
    // A lower pin outlives the tree.
    let tree = Tree::new();
    expect_eq!(pin(2, tree.l2.mfn()), 0);
    expect_eq!(unpin(tree.l4.mfn()), 0);
    expect_eq!(tree.l4.map_rw(), 0);
    expect_eq!(tree.l3.map_rw(), 0);
    expect!(tree.l2.map_rw() < 0);
    expect!(tree.l1.map_rw() < 0);
    expect_eq!(unpin(tree.l2.mfn()), 0);
    expect_eq!(tree.l2.map_rw(), 0);
    expect_eq!(tree.l1.map_rw(), 0);
}

fn roots() {
    // A copy of the root, loaded and left, with and without a pin.
    let boot = memory::mfn_of(memory::root() / memory::PAGE);
    let copy = Page::take();
    for slot in 0..512 {
        copy.set(slot, memory::read(memory::root() + 8 * slot));
    }
    expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, copy.mfn(), 0), EINVAL);
    expect_eq!(copy.map_ro(), 0);
    for _ in 0..3 {
        expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, copy.mfn(), 0), 0);
        expect!(copy.map_rw() < 0);
        expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, copy.mfn(), 0), 0);
        expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, boot, 0), 0);
    }
    expect_eq!(pin(4, copy.mfn()), 0);
    expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, copy.mfn(), 0), 0);
    expect_eq!(unpin(copy.mfn()), 0);
    // Only its use as a root holds it now, and the boot root only its pin.
    expect!(copy.map_rw() < 0);
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, boot, 0), 0);
    expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, boot, 0), 0);
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, copy.mfn(), 0), 0);
    expect!(copy.map_rw() < 0);
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
    expect_eq!(copy.map_rw(), 0);
    // Tables of other levels are no roots.
    let tree = Tree::new();
    for page in [tree.l3, tree.l2, tree.l1, tree.page] {
        expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, page.mfn(), 0), EINVAL);
        expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, page.mfn(), 0), EINVAL);
    }
    expect_eq!(mmuext(MMUEXT_NEW_BASEPTR, 0, 0), EINVAL);
    tree.end();
}

/// A tree that takes longer to check than a call may take: 80 L1 tables that are full.
fn many() {
    const TABLES: u64 = 80;
    let page = Page::take();
    expect_eq!(page.map_ro(), 0);
    let l2 = Page::take();
    let mut first = None;
    for index in 0..TABLES {
        let l1 = Page::take();
        for entry in 0..512 {
            l1.set(entry, page.maddr() | pte::PAGE_RO);
        }
        expect_eq!(l1.map_ro(), 0);
        l2.set(index, names(l1));
        // The same table in several places, too.
        l2.set(index + 256, names(l1));
        first.get_or_insert(l1);
    }
    expect_eq!(l2.map_ro(), 0);
    let l3 = table(&[(0, names(l2)), (511, names(l2))]);
    let l4 = table(&[
        (0, names(l3)),
        (255, names(l3)),
        (272, names(l3)),
        (511, names(l3)),
    ]);
    for _ in 0..3 {
        expect_eq!(pin(4, l4.mfn()), 0);
        if let Some(l1) = first {
            expect!(l1.map_rw() < 0);
        }
        expect_eq!(unpin(l4.mfn()), 0);
    }
    // One bad entry at its very end: all is given back.
    if let Some(l1) = first {
        expect_eq!(l1.map_rw(), 0);
        l1.set(511, l2.maddr() | pte::PAGE_RW);
        expect_eq!(l1.map_ro(), 0);
        for _ in 0..3 {
            expect_eq!(pin(4, l4.mfn()), EBUSY);
        }
        expect_eq!(l1.map_rw(), 0);
    }
    expect_eq!(l2.map_rw(), 0);
    expect_eq!(l3.map_rw(), 0);
    expect_eq!(l4.map_rw(), 0);
    expect_eq!(page.map_rw(), 0);
}

/// Pins among mappings in one list, as Linux pins a process's tables: each has its own result, and those that other
/// calls follow are made before these.
fn lists() {
    const TABLES: usize = 20;
    let tables = [(); TABLES].map(|()| Page::take());
    let writable = Page::take();
    let mut pins = List::<64>::new();
    for table in tables {
        pins.map(table.address, table.maddr() | pte::PAGE_RO)
            .extended(MMUEXT_PIN_L1_TABLE, table.mfn());
    }
    pins.extended(MMUEXT_PIN_L1_TABLE, writable.mfn())
        .map(writable.address, writable.maddr() | pte::PAGE_RW)
        .extended(MMUEXT_UNPIN_TABLE, tables[0].mfn())
        .map(tables[0].address, tables[0].maddr() | pte::PAGE_RW)
        .extended(MMUEXT_PIN_L1_TABLE, tables[0].mfn());
    for (index, result) in pins.make().enumerate() {
        let expected = if index == 2 * TABLES || index == 2 * TABLES + 4 {
            EINVAL
        } else {
            0
        };
        expect_eq!(result, expected, "{index}");
    }
    for table in &tables[1..] {
        expect!(table.map_rw() < 0);
    }
    let mut unpins = List::<64>::new();
    for table in &tables[1..] {
        unpins
            .extended(MMUEXT_UNPIN_TABLE, table.mfn())
            .map(table.address, table.maddr() | pte::PAGE_RW);
    }
    for (index, result) in unpins.make().enumerate() {
        expect_eq!(result, 0, "{index}");
    }
    long_list();
}

/// A pin in a list that takes longer to check than the list may take, with mappings and pins behind it.
fn long_list() {
    const TABLES: u64 = 40;
    let page = Page::take();
    expect_eq!(page.map_ro(), 0);
    let l2 = Page::take();
    let full: [Page; TABLES as usize] = core::array::from_fn(|index| {
        let l1 = Page::take();
        for entry in 0..512 {
            l1.set(entry, page.maddr() | pte::PAGE_RO);
        }
        expect_eq!(l1.map_ro(), 0);
        l2.set(index as u64, names(l1));
        l1
    });
    let other = Page::take();
    let results = List::<8>::new()
        .map(l2.address, l2.maddr() | pte::PAGE_RO)
        .extended(MMUEXT_PIN_L1_TABLE + 1, l2.mfn())
        .map(other.address, other.maddr() | pte::PAGE_RO)
        .extended(MMUEXT_PIN_L1_TABLE, other.mfn())
        .make()
        .eq([0; 4]);
    expect!(results);
    expect_eq!(full[0].map_rw(), EBUSY);
    for table in [l2, other] {
        expect_eq!(unpin(table.mfn()), 0);
        expect_eq!(table.map_rw(), 0);
    }
    for l1 in full {
        expect_eq!(l1.map_rw(), 0);
    }
    expect_eq!(page.map_rw(), 0);
}
