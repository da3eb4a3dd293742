//! Page tables, descriptor tables, and mappings.

use guest_runtime::hypercalls::call;
use guest_runtime::list::List;
use guest_runtime::memory::{self, PAGE, Page, address_of, mmu_update, mmuext, pte};
use guest_runtime::random::Random;
use guest_runtime::traps::{try_read, try_read_selector, try_write};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_INVLPG_ALL, MMUEXT_NEW_BASEPTR,
    MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_SET_LDT, MMUEXT_TLB_FLUSH_ALL,
    MMUEXT_TLB_FLUSH_MULTI, MMUEXT_UNPIN_TABLE, UVMF_ALL, UVMF_INVLPG, UVMF_TLB_FLUSH,
};
use guest_runtime::xen_abi::multicall::MulticallEntry;
use guest_runtime::{check, expect_eq};

use crate::Kind;
use crate::arena::{entry, frame, page, pages, slot, window, windows};

pub(crate) static KINDS: [Kind; 20] = [
    Kind::new("pin", pin),
    Kind::new("pin again", pin),
    Kind::new("pins in a list", pin_several),
    Kind::new("unpin", unpin),
    Kind::new("mmu_update", update),
    Kind::new("mmu_update keeping A and D", update_preserving),
    Kind::new("mmu_update of several", update_several),
    Kind::new("update_va_mapping", map),
    Kind::new("map as it belongs", map_home),
    Kind::new("write", write),
    Kind::new("write, emulated or not", write),
    Kind::new("read", read),
    Kind::new("write through a window", write_window),
    Kind::new("new user base pointer", user_root),
    Kind::new("new base pointer", root),
    Kind::new("set_gdt", set_gdt),
    Kind::new("set_ldt", set_ldt),
    Kind::new("use of the LDT", use_ldt),
    Kind::new("clear or copy a page", clear_or_copy),
    Kind::new("flush", flush),
];

fn pin(random: &mut Random) -> bool {
    let level = random.below(4) as u32;
    mmuext(MMUEXT_PIN_L1_TABLE + level, frame(random), 0) == 0
}

/// Some made read-only and pinned, as Linux does it for a new process.
fn pin_several(random: &mut Random) -> bool {
    let mut list = List::<8>::new();
    for _ in 0..4 {
        let page = page(random);
        list.map(page.address, page.maddr() | pte::PAGE_RO)
            .extended(MMUEXT_PIN_L1_TABLE + random.below(4) as u32, page.mfn());
    }
    list.make().skip(1).step_by(2).any(|result| result == 0)
}

fn unpin(random: &mut Random) -> bool {
    mmuext(MMUEXT_UNPIN_TABLE, page(random).mfn(), 0) == 0
}

/// Where an entry of a table of the arena is.
fn place(random: &mut Random) -> u64 {
    page(random).maddr() + 8 * slot(random)
}

fn update(random: &mut Random) -> bool {
    mmu_update(place(random), entry(random)) == 0
}

fn update_preserving(random: &mut Random) -> bool {
    /// `MMU_PT_UPDATE_PRESERVE_AD`.
    const PRESERVE: u64 = 2;
    mmu_update(place(random) | PRESERVE, entry(random)) == 0
}

/// Several in a multicall, with a pin in their midst.
fn update_several(random: &mut Random) -> bool {
    let mut updates = [(); 6].map(|()| guest_runtime::xen_abi::mmu::MmuUpdate {
        ptr: place(random),
        val: entry(random),
    });
    let first = address_of(&mut updates[0]);
    let second = address_of(&mut updates[3]);
    let calls = [[first, 3, 0], [second, 3, 0]];
    let mut list = calls.map(|[at, count, _]| MulticallEntry {
        op: u64::from(number::MMU_UPDATE),
        result: 1,
        args: [at, count, 0, 0x7ff0, 0, 0],
    });
    let result = call(number::MULTICALL, &[address_of(&mut list[0]), 2]);
    result == 0 && list.iter().any(|one| one.result == 0)
}

fn map(random: &mut Random) -> bool {
    let at = if random.below(2) == 0 {
        page(random)
    } else {
        window(random)
    };
    let flags = random.one_of(&[
        UVMF_INVLPG,
        UVMF_INVLPG | UVMF_ALL,
        UVMF_TLB_FLUSH,
        UVMF_TLB_FLUSH | UVMF_ALL,
        0,
    ]);
    let value = frame(random) * PAGE
        | random.one_of(&[
            pte::PAGE_RW,
            pte::PAGE_RW,
            pte::PAGE_RO,
            pte::PAGE_RO | pte::NX,
            0,
        ]);
    call(number::UPDATE_VA_MAPPING, &[at.address, value, flags]) == 0
}

fn map_home(random: &mut Random) -> bool {
    let page = page(random);
    let result = if random.below(2) == 0 {
        page.map_ro()
    } else {
        page.map_rw()
    };
    result == 0
}

fn write(random: &mut Random) -> bool {
    let at = page(random).address + 8 * slot(random);
    try_write(at, entry(random))
}

fn read(random: &mut Random) -> bool {
    try_read(page(random).address + 8 * slot(random)).is_some()
}

fn write_window(random: &mut Random) -> bool {
    try_write(window(random).address + 8 * slot(random), entry(random))
}

fn user_root(random: &mut Random) -> bool {
    let frame = if random.below(4) == 0 {
        0
    } else {
        frame(random)
    };
    mmuext(MMUEXT_NEW_USER_BASEPTR, frame, 0) == 0
}

/// The one that is loaded, again: every other might not map this code.
fn root(_: &mut Random) -> bool {
    mmuext(MMUEXT_NEW_BASEPTR, memory::mfn_of(memory::root() / PAGE), 0) == 0
}

fn set_gdt(random: &mut Random) -> bool {
    let mut frames = [frame(random), frame(random)];
    let entries = random.one_of(&[0, 1, 512, 513, 1024]);
    call(number::SET_GDT, &[address_of(&mut frames[0]), entries]) == 0
}

fn set_ldt(random: &mut Random) -> bool {
    let entries = random.one_of(&[0, 8, 512, 600, 8192]);
    mmuext(MMUEXT_SET_LDT, page(random).address, entries) == 0
}

fn use_ldt(random: &mut Random) -> bool {
    let index = random.one_of(&[0, 3, 511, 512, 4096]);
    // Looks the descriptor up, which faults until its page is found.
    try_read_selector((index as u16) << 3 | 7)
}

fn clear_or_copy(random: &mut Random) -> bool {
    let to = frame(random);
    let result = if random.below(2) == 0 {
        mmuext(MMUEXT_CLEAR_PAGE, to, 0)
    } else {
        mmuext(MMUEXT_COPY_PAGE, to, frame(random))
    };
    result == 0
}

fn flush(random: &mut Random) -> bool {
    let mut mask = random.word();
    match random.below(3) {
        0 => mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0) == 0,
        1 => mmuext(MMUEXT_INVLPG_ALL, page(random).address, 0) == 0,
        _ => mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, address_of(&mut mask)) == 0,
    }
}

/// Gives up what belongs to the vCPU that calls.
pub(crate) fn release_own() {
    expect_eq!(mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
    expect_eq!(mmuext(MMUEXT_SET_LDT, 0, 0), 0);
    expect_eq!(call(number::SET_GDT, &[0, 0]), 0);
}

/// Gives up all uses of the arena's pages; each can be mapped writable then.
pub(crate) fn release() {
    for page in pages().chain(windows()) {
        expect_eq!(page.unmap(), 0);
        // Pinned or not.
        mmuext(MMUEXT_UNPIN_TABLE, page.mfn(), 0);
    }
    crate::arena::restore_original();
    for page in pages().chain(windows()) {
        expect_eq!(page.map_rw(), 0, "{:#x}", page.address);
        clear(page);
    }
}

/// Each page is good for everything again.
pub(crate) fn try_all() {
    for page in pages() {
        for level in 0..4 {
            expect_eq!(page.map_ro(), 0);
            expect_eq!(
                mmuext(MMUEXT_PIN_L1_TABLE + level, page.mfn(), 0),
                0,
                "level {} of {:#x}",
                level + 1,
                page.address
            );
            check!(page.map_rw() != 0);
            expect_eq!(mmuext(MMUEXT_UNPIN_TABLE, page.mfn(), 0), 0);
            expect_eq!(page.map_rw(), 0);
            // The hypervisor wrote its own entries into a top-level table.
            clear(page);
        }
    }
}

fn clear(page: Page) {
    expect_eq!(mmuext(MMUEXT_CLEAR_PAGE, page.mfn(), 0), 0);
}
