//! Entries: what may be in one, by `mmu_update` of both kinds and by `update_va_mapping`.

use guest_runtime::memory::{self, Page, mmu_update, mmu_updates, pte, update_va_mapping};
use guest_runtime::xen_abi::mmu::{
    MMU_MACHPHYS_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE, MMU_PT_UPDATE_PRESERVE_AD, MmuUpdate,
    UVMF_ALL, UVMF_INVLPG, UVMF_TLB_FLUSH,
};
use guest_runtime::xen_abi::{domid, hypercall as number};
use guest_runtime::{expect, expect_eq, hypercalls};

use crate::{EBUSY, EINVAL, ENOSYS, EPERM, Tree, names, pins};

/// The kinds of updates of entries.
pub(crate) const KINDS: [u64; 3] = [
    0,
    MMU_PT_UPDATE_PRESERVE_AD as u64,
    MMU_PT_UPDATE_NO_TRANSLATE as u64,
];

pub(crate) fn run() {
    flags();
    levels();
    hypervisor_slots();
    pointers();
    machine_to_physical();
    virtual_addresses();
    busy_table();
}

/// Large pages and bits that must be 0 (148, 182, 287): in a new entry, and as a change of flags alone.
fn flags() {
    let tree = Tree::new();
    for kind in KINDS {
        for (upper, lower, large) in [
            (tree.l4, tree.l3, pte::PSE),
            (tree.l3, tree.l2, pte::PSE),
            (tree.l2, tree.l1, pte::PSE),
        ] {
            let at = upper.maddr() | kind;
            let good = upper.get(0);
            for bad in [large, 1 << 51, 1 << 48, 1 << 45] {
                // Only a bit more.
                expect_eq!(mmu_update(at, good | bad), EINVAL, "{bad:#x}");
                expect_eq!(mmu_update(at, good & !pte::A | bad), EINVAL);
                // Another position, and one that was empty.
                expect_eq!(mmu_update(at + 8, names(lower) | bad), EINVAL);
                expect_eq!(upper.get(0) & !pte::A, good & !pte::A);
                expect_eq!(upper.get(1), 0);
            }
            // Not present: the rest is the guest's own.
            expect_eq!(mmu_update(at + 8, 0xdead_beef_0000_0000), 0);
            expect_eq!(upper.get(1), 0xdead_beef_0000_0000);
            expect_eq!(mmu_update(at + 8, 0), 0);
            // Without a right less, with one more: flags alone.
            expect_eq!(mmu_update(at, good & !pte::RW), 0);
            expect_eq!(upper.get(0) & pte::RW, 0);
            expect_eq!(mmu_update(at, good), 0);
            expect_eq!(mmu_update(at, good | pte::NX), 0);
            expect_eq!(mmu_update(at, good), 0);
        }
        // The lowest level.
        let at = tree.l1.maddr() | kind;
        let good = tree.l1.get(0);
        for bad in [1 << 51, 1 << 45] {
            // To the hypervisor these are addresses of devices, which it may not have.
            expect_eq!(mmu_update(at, good | bad), EPERM, "{bad:#x}");
            expect_eq!(
                mmu_update(at + 8, tree.page.maddr() | pte::PAGE_RW | bad),
                EPERM,
                "{bad:#x}"
            );
        }
        expect_eq!(
            tree.l1.get(0) & !(pte::A | pte::D),
            good & !(pte::A | pte::D)
        );
        // Software's own bits.
        expect_eq!(mmu_update(at, good | 0x200), 0);
        expect_eq!(mmu_update(at, good), 0);
        // The kernel's page is a user page to the processor: the entry says which it is, and what was written is
        // not what is read.
        expect!(tree.l1.get(0) & pte::US != 0);
    }
    // Accessed and dirty are kept if so asked.
    let at = tree.l1.maddr();
    expect_eq!(mmu_update(at, tree.page.maddr() | pte::PAGE_RW), 0);
    let clean = tree.page.maddr() | pte::P | pte::RW;
    expect_eq!(
        mmu_update(at | u64::from(MMU_PT_UPDATE_PRESERVE_AD), clean),
        0
    );
    expect_eq!(tree.l1.get(0) & (pte::A | pte::D), pte::A | pte::D);
    expect_eq!(mmu_update(at, clean), 0);
    expect_eq!(tree.l1.get(0) & (pte::A | pte::D), 0);
    tree.end();
}

/// An entry names a table of the next level: no other, and no page.
fn levels() {
    let tree = Tree::new();
    let all = [tree.l4, tree.l3, tree.l2, tree.l1, tree.page];
    for (upper, below) in [(tree.l4, tree.l3), (tree.l3, tree.l2), (tree.l2, tree.l1)] {
        for lower in all {
            if lower == below || lower == upper {
                continue;
            }
            expect_eq!(mmu_update(upper.maddr() + 16, names(lower)), EINVAL);
            expect_eq!(upper.get(2), 0);
        }
    }
    // No table is mapped writable, with flags alone or anew.
    for page in [tree.l4, tree.l3, tree.l2, tree.l1] {
        let at = tree.l1.maddr() + 24;
        for kind in KINDS {
            expect_eq!(mmu_update(at | kind, page.maddr() | pte::PAGE_RW), EBUSY);
            expect_eq!(mmu_update(at | kind, page.maddr() | pte::PAGE_RO), 0);
            expect_eq!(mmu_update(at | kind, page.maddr() | pte::PAGE_RW), EBUSY);
            expect_eq!(tree.l1.get(3) & pte::RW, 0);
            expect_eq!(mmu_update(at | kind, 0), 0);
        }
    }
    // An entry that is replaced frees what it named, one that fails does not.
    let other = crate::table(&[]);
    expect_eq!(mmu_update(tree.l2.maddr(), names(other)), 0);
    expect_eq!(tree.l1.map_rw(), 0);
    expect!(other.map_rw() < 0);
    expect_eq!(mmu_update(tree.l2.maddr(), names(tree.l1)), EINVAL);
    expect!(other.map_rw() < 0);
    expect_eq!(tree.l1.map_ro(), 0);
    expect_eq!(mmu_update(tree.l2.maddr(), names(tree.l1)), 0);
    expect_eq!(other.map_rw(), 0);
    tree.end();
}

/// The hypervisor's part of every L4.
fn hypervisor_slots() {
    let tree = Tree::new();
    let root = memory::mfn_of(memory::root() / memory::PAGE) * memory::PAGE;
    for table in [tree.l4.maddr(), root] {
        for slot in 256..272 {
            for kind in KINDS {
                for value in [
                    0,
                    names(tree.l3),
                    names(tree.l4),
                    memory::read(memory::root() + 8 * 256),
                ] {
                    expect_eq!(mmu_update(table + 8 * slot | kind, value), EINVAL);
                }
            }
        }
    }
    for slot in [255, 272, 511] {
        expect_eq!(mmu_update(tree.l4.maddr() + 8 * slot, names(tree.l3)), 0);
        expect_eq!(mmu_update(tree.l4.maddr() + 8 * slot, 0), 0);
    }
    tree.end();
}

/// Addresses of entries that are none.
fn pointers() {
    let tree = Tree::new();
    let value = tree.page.maddr() | pte::PAGE_RO;
    for at in [1 << 52, !3, 0xfee0_0000, 0xfec0_0000, 1 << 40] {
        for kind in KINDS {
            expect!(mmu_update(at | kind, value) < 0);
        }
    }
    // Between two entries.
    expect_eq!(mmu_update(tree.l1.maddr() + 4, value), ENOSYS);
    // A page that is no table is written as one: it is the guest's own. One that is used as something else is not.
    expect_eq!(mmu_update(tree.page.maddr() + 8, 0x1234_5678_9abc), 0);
    expect_eq!(tree.page.get(1), 0x1234_5678_9abc);
    // Kinds of updates, and domains, that do not exist.
    let update = |ptr, domain| mmu_updates(&mut [MmuUpdate { ptr, val: value }], &mut 0, domain);
    let own = u64::from(domid::DOMID_SELF);
    expect_eq!(update(tree.l1.maddr(), own), 0);
    for domain in [1, 77, 0x7fef, 0x7ff4] {
        expect!(update(tree.l1.maddr(), domain) < 0);
    }
    // How many were done is told, with the first that failed.
    let mut done = 77;
    let good = MmuUpdate {
        ptr: tree.l1.maddr(),
        val: value,
    };
    let bad = MmuUpdate {
        ptr: tree.l1.maddr(),
        val: tree.l4.maddr() | pte::PAGE_RW,
    };
    expect_eq!(
        mmu_updates(&mut [good, good, bad, good], &mut done, own),
        EBUSY
    );
    expect_eq!(done, 2);
    expect_eq!(mmu_updates(&mut [good, good], &mut done, own), 0);
    expect_eq!(done, 2);
    expect_eq!(mmu_updates(&mut [], &mut done, own), 0);
    tree.end();
}

fn machine_to_physical() {
    let page = Page::take();
    let kind = u64::from(MMU_MACHPHYS_UPDATE);
    expect_eq!(memory::pfn_of(page.mfn()), page.pfn());
    expect_eq!(mmu_update(page.maddr() | kind, 0x1234), 0);
    expect_eq!(memory::pfn_of(page.mfn()), 0x1234);
    expect_eq!(mmu_update(page.maddr() | kind, page.pfn()), 0);
    // Of frames that are this domain's alone.
    for mfn in [1 << 40, 0xfee00, 1 << 30, (1 << 52) - 1] {
        expect_eq!(mmu_update(mfn * memory::PAGE | kind, 5), EINVAL);
    }
}

fn virtual_addresses() {
    let page = Page::take();
    let ro = page.maddr() | pte::PAGE_RO;
    for at in [
        memory::M2P,
        0xffff_8200_0000_0000,
        0xffff_82d0_4000_0000,
        0xffff_8300_0000_0000,
        0xffff_87ff_ffff_f000,
    ] {
        expect!(update_va_mapping(at, ro) < 0);
        expect!(update_va_mapping(at, 0) < 0);
    }
    // Without a table there, and where no address is.
    for at in [
        0x7000_0000_0000,
        0xffff_8800_0000_0000,
        0x8000_0000_0000,
        0xdead_0000_0000_0000,
    ] {
        expect_eq!(update_va_mapping(at, ro), EINVAL);
    }
    let call = |flags| hypercalls::call(number::UPDATE_VA_MAPPING, &[page.address, ro, flags]);
    for flags in [
        0,
        UVMF_INVLPG,
        UVMF_TLB_FLUSH,
        UVMF_INVLPG | UVMF_ALL,
        UVMF_TLB_FLUSH | UVMF_ALL,
    ] {
        expect_eq!(call(flags), 0);
    }
    // With a set of vCPUs, which is behind a pointer.
    let mut vcpus = [1_u64];
    let set = vcpus.as_mut_ptr().expose_provenance() as u64;
    expect_eq!(call(UVMF_INVLPG | set), 0);
    expect_eq!(call(UVMF_TLB_FLUSH | set), 0);
    // The other domain's.
    let other = |domain| {
        hypercalls::call(
            number::UPDATE_VA_MAPPING_OTHERDOMAIN,
            &[page.address, ro, UVMF_INVLPG, domain],
        )
    };
    expect_eq!(other(1), -3);
    expect_eq!(other(u64::from(domid::DOMID_SELF)), 0);
    expect_eq!(page.map_rw(), 0);
}

/// The tables in use: whatever is done to them by their machine address.
fn busy_table() {
    let entry = memory::entry_of(memory::root(), 1);
    if let Some(entry) = entry {
        // The root, writable.
        expect_eq!(mmu_update(entry.maddr, entry.value | pte::RW), EBUSY);
        expect_eq!(
            update_va_mapping(memory::root(), entry.value | pte::RW),
            EBUSY
        );
    }
    for level in 1..=3 {
        let Some(entry) = memory::entry_of(memory::root(), level + 1) else {
            continue;
        };
        let table = entry.value & pte::ADDRESS;
        let at = memory::pfn_of(table / memory::PAGE) * memory::PAGE;
        expect_eq!(update_va_mapping(at, table | pte::PAGE_RW), EBUSY);
        expect!(pins::pin(level, table / memory::PAGE) <= 0);
    }
}
