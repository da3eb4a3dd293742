//! Port I/O of the guest's kernel.

use guest_runtime::memory::{self, Page};
use guest_runtime::{expect, expect_eq, hypercalls};

use crate::{in_immediate, in_string, in8, in16, in32, out_string, out8, out32, run as run_code};

pub(crate) fn run() {
    hypercalls::set_iopl(0);
    // Without I/O privilege, none.
    for function in [in8 as extern "sysv64" fn(u64), in16, in32, out8] {
        let (trap, _) = run_code(function, [0x80, 0, 0]);
        expect_eq!(
            trap.map(|trap| (trap.frame.vector, trap.frame.error)),
            Some((13, 0))
        );
    }
    hypercalls::set_iopl(1);
    for function in [in8 as extern "sysv64" fn(u64), out8] {
        expect_eq!(run_code(function, [0x80, 0, 0]).0, None);
    }
    // Sizes: the rest of the register stays, but for 32 bits.
    let (_, [_, rax, _]) = run_code(in8, [0x3fd, 0x1122_3344_5566_7788, 0]);
    expect_eq!(rax & !0xff, 0x1122_3344_5566_7700);
    let (_, [_, rax, _]) = run_code(in16, [0x1f0, 0x1122_3344_5566_7788, 0]);
    expect_eq!(rax & !0xffff, 0x1122_3344_5566_0000);
    let (_, [_, rax, _]) = run_code(in32, [0xcf8, 0x1122_3344_5566_7788, 0]);
    expect_eq!(rax >> 32, 0);
    // What the hypervisor drives itself reads as if nobody were there, and writes go nowhere.
    for port in [0x20_u64, 0x21, 0xa0, 0xa1, 0x3f8, 0x3fd] {
        let (trap, [_, rax, _]) = run_code(in8, [port, 0, 0]);
        expect!(trap.is_some_and(|trap| trap.frame.vector == 13) || rax == 0xff);
        let (trap, _) = run_code(out8, [port, 0xff, 0]);
        expect!(trap.is_none_or(|trap| trap.frame.vector == 13));
    }
    // The clock's memory, PCI configuration.
    expect_eq!(run_code(out8, [0x70, 0x32, 0]).0, None);
    let (_, [_, century, _]) = run_code(in8, [0x71, 0, 0]);
    expect_eq!(century & 0xff, 0x20);
    expect_eq!(run_code(in_immediate, [0; 3]).0, None);
    expect_eq!(run_code(out32, [0xcf8, 0x8000_0000, 0]).0, None);
    let (_, [_, address, _]) = run_code(in32, [0xcf8, 0, 0]);
    expect_eq!(address, 0x8000_0000);
    let (_, [_, bridge, _]) = run_code(in32, [0xcfc, 0, 0]);
    expect!([0x1237_8086, 0x29c0_8086].contains(&bridge));
    // Strings: into memory, out of it, and where a page is missing, a fault of the guest's with what was done.
    let page = Page::take();
    for index in 0..512 {
        page.set(index, 0);
    }
    expect_eq!(run_code(in_string, [0x3fd, 16, page.address]).0, None);
    expect_eq!(run_code(out_string, [0x80, 16, page.address]).0, None);
    let hole = Page::take();
    expect_eq!(hole.unmap(), 0);
    let (trap, _) = run_code(in_string, [0x80, 8, hole.address - 4]);
    expect_eq!(
        trap.map(|trap| (trap.frame.vector, trap.frame.error, trap.cr2)),
        Some((14, 2, hole.address))
    );
    expect_eq!(trap.map(|trap| trap.frame.rcx), Some(4));
    let (trap, _) = run_code(out_string, [0x80, 8, hole.address - 4]);
    expect_eq!(
        trap.map(|trap| (trap.frame.vector, trap.frame.error, trap.cr2)),
        Some((14, 0, hole.address))
    );
    for bad in [
        memory::M2P + (1 << 39),
        0xffff_8300_0000_0000,
        0x8000_0000_0000,
    ] {
        expect!(run_code(in_string, [0x80, 8, bad]).0.is_some());
        expect!(run_code(out_string, [0x80, 8, bad]).0.is_some());
    }
    expect_eq!(hole.map_rw(), 0);
    // Levels that are none.
    expect_eq!(hypercalls::set_iopl(4), -22);
    hypercalls::set_iopl(0);
}
