//! The guest's own descriptors: what may be in a GDT and an LDT, and the faults of using them.

use guest_runtime::memory::{self, Page};
use guest_runtime::traps;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::MMUEXT_SET_LDT;
use guest_runtime::{expect, expect_eq, hypercalls};

use crate::kernel::check_kernel;
use crate::{address, code, raise};

const EINVAL: i64 = -22;
/// Data for ring 3.
const DATA: u64 = 0x00cf_f300_0000_ffff;
/// The same, not present.
const ABSENT: u64 = 0x00cf_7300_0000_ffff;

code! {
    load_ds: "mov ds, edi";
    load_ss: "mov eax, ss", "mov ss, edi", "mov ss, eax";
}

fn set_gdt(frames: &mut [u64], entries: u64) -> i64 {
    hypercalls::call(
        number::SET_GDT,
        &[frames.as_mut_ptr().expose_provenance() as u64, entries],
    )
}

fn update(at: u64, descriptor: u64) -> i64 {
    hypercalls::call(number::UPDATE_DESCRIPTOR, &[at, descriptor])
}

pub(crate) fn run() {
    let gdt = Page::take();
    gdt.set(1, DATA);
    gdt.set(2, ABSENT);
    // A page that can be written is none for descriptors.
    expect_eq!(set_gdt(&mut [gdt.mfn()], 512), EINVAL);
    expect_eq!(gdt.map_ro(), 0);
    expect_eq!(set_gdt(&mut [gdt.mfn()], 512), 0);
    expect_eq!(traps::probe(load_ds, 8 | 3), None);
    expect_eq!(traps::probe(load_ds, 8), None);
    let trap = raise("absent", load_ds, 0x13);
    check_kernel(&trap, 11, 0x10, address(load_ds));
    let trap = raise("absent stack", load_ss, 0x13);
    check_kernel(&trap, 12, 0x10, address(load_ss) + 2);
    let trap = raise("empty", load_ds, 0x1b);
    check_kernel(&trap, 13, 0x18, address(load_ds));
    expect_eq!(traps::probe(load_ds, 0), None);
    // In use it cannot become writable again.
    expect!(gdt.map_rw() < 0);
    // Too many.
    expect_eq!(set_gdt(&mut [gdt.mfn()], 14 * 512 + 1), EINVAL);
    expect!(set_gdt(&mut [1 << 40], 1) < 0);

    // Descriptors one by one: what ring 0 could be entered by is refused.
    for (descriptor, allowed) in [
        (0, true),
        (DATA, true),
        (0x00af_fb00_0000_ffff, true),  // 64-bit code, ring 3
        (0x00cf_fb00_0000_ffff, true),  // 32-bit code, ring 3
        (0x00af_9b00_0000_ffff, false), // 64-bit code, ring 0
        (0x00cf_9300_0000_ffff, false), // data, ring 0
        (0x0000_8900_0000_0067, false), // a task state segment
        (0x0000_8200_0000_ffff, false), // an LDT
        (0x0000_8c00_e008_0000, false), // a call gate to the hypervisor's code
        (0x0000_ec00_e008_0000, false), // the same for ring 3
        (0x0000_ee00_e008_0000, false), // an interrupt gate
        (0x0000_e500_e040_0000, false), // a task gate
    ] {
        let result = update(gdt.maddr() + 24, descriptor);
        let taken = gdt.get(3) == descriptor && result == 0;
        if allowed {
            expect_eq!(result, 0, "descriptor {descriptor:#x}");
            expect!(taken || descriptor != 0);
        } else {
            // Refused, or taken with a privilege that makes it harmless.
            let kept = gdt.get(3);
            expect!(result == EINVAL || (kept >> 45) & 3 == 3);
        }
    }
    // Not a descriptor's address.
    expect!(update(gdt.maddr() + 4, DATA) < 0);
    expect!(update(1 << 50, DATA) < 0);
    // A page of no kind may be changed so: it is the guest's own. A page table may not.
    let table = memory::entry_of(gdt.address, 1).map_or(0, |entry| entry.maddr);
    expect!(update(table, DATA) < 0);

    // A GDT that has a gate in it is none.
    let bad = Page::take();
    bad.set(5, 0x0000_ec00_e008_0000);
    expect_eq!(bad.map_ro(), 0);
    expect!(set_gdt(&mut [bad.mfn()], 512) < 0);
    expect_eq!(bad.map_rw(), 0);

    // The LDT: loaded page by page, as it is used.
    let ldt = Page::take();
    ldt.set(1, DATA);
    expect_eq!(ldt.map_ro(), 0);
    expect_eq!(memory::mmuext(MMUEXT_SET_LDT, ldt.address, 512), 0);
    expect_eq!(traps::probe(load_ds, 8 | 4 | 3), None);
    let trap = raise("empty", load_ds, 0x10 | 4 | 3);
    check_kernel(&trap, 13, 0x14, address(load_ds));
    expect!(ldt.map_rw() < 0);
    expect_eq!(traps::probe(load_ds, 0), None);
    expect_eq!(memory::mmuext(MMUEXT_SET_LDT, 0, 0), 0);
    let trap = raise("no LDT", load_ds, 8 | 4 | 3);
    check_kernel(&trap, 13, 8 | 4, address(load_ds));
    expect_eq!(ldt.map_rw(), 0);
    expect_eq!(memory::mmuext(MMUEXT_SET_LDT, ldt.address + 8, 1), EINVAL);
    expect_eq!(memory::mmuext(MMUEXT_SET_LDT, ldt.address, 8193), EINVAL);
    expect_eq!(memory::mmuext(MMUEXT_SET_LDT, memory::M2P, 16), EINVAL);

    // No GDT of its own, and the pages are pages again.
    expect_eq!(set_gdt(&mut [0], 0), 0);
    let trap = raise("no GDT", load_ds, 8 | 3);
    check_kernel(&trap, 13, 8, address(load_ds));
    expect_eq!(gdt.map_rw(), 0);
    gdt.set(1, 0);
}
