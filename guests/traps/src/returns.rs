//! `iret` with everything that can be wrong about a frame: the guest learns of it, or is none the worse.

use guest_runtime::memory::{self, Page};
use guest_runtime::traps::{self, CS32, CS64, Frame, IF, IN_SYSCALL, KERNEL_CS, SS};
use guest_runtime::{expect, expect_eq, shared};

use crate::kernel::check_handler;
use crate::{address, code};

code! {
    undefined: "ud2";
    show_flags: "pushfq", "pop rdi", "ud2";
}

pub(crate) fn run() {
    let stack = Page::take().address + memory::PAGE - 64;
    let kernel = Frame {
        rip: address(undefined),
        cs: KERNEL_CS,
        rflags: IF | 2,
        rsp: stack,
        ss: SS,
        ..Frame::default()
    };
    let program = Frame { cs: CS64, ..kernel };
    for good in [kernel, program] {
        let trap = traps::enter(&good, 0);
        expect_eq!(trap.frame.vector, 6);
        expect_eq!(trap.frame.cs & 3, good.cs & 3);
        selectors(&good);
        addresses(&good);
        flags(&good);
    }
    shared::set_upcall_mask(true);
}

fn selectors(good: &Frame) {
    let ring = good.cs & 3;
    // Null, beyond the table, the hypervisor's code and data, its TSS and LDT, data as code and code as data.
    for bad in [
        0, 4, 0x1234, 0xfff8, 0xe008, 0xe010, 0xe028, 0xe038, 0xe040, 0xe048, 0xe050,
    ] {
        for frame in [
            Frame {
                cs: bad | ring,
                ..*good
            },
            Frame { ss: bad, ..*good },
            Frame {
                cs: bad | ring,
                ss: bad,
                ..*good
            },
        ] {
            let trap = traps::enter(&frame, 0);
            // The exception that the processor raises, as if the code there had raised it.
            if trap.frame.vector != 6 {
                expect_eq!(
                    trap.frame.vector,
                    13,
                    "cs {:#x} ss {:#x}",
                    frame.cs,
                    frame.ss
                );
                expect!([frame.cs & 0xfffc, frame.ss & 0xfffc].contains(&trap.frame.error));
                expect_eq!(u64::from(trap.frame.selector()), frame.cs);
                expect_eq!(trap.frame.ss, frame.ss | 3);
                expect_eq!(trap.frame.rip, frame.rip);
                expect_eq!(trap.frame.rsp, frame.rsp);
            }
            check_handler(&trap);
        }
    }
    // The words' upper parts are nobody's.
    let frame = Frame {
        cs: good.cs | 0xdead_beef_0000_0000,
        ss: good.ss | 0xdead_beef_0000_0000,
        ..*good
    };
    expect_eq!(traps::enter(&frame, 0).frame.vector, 6);
    // 32-bit code at the same address: `ud2` too.
    let frame = Frame {
        cs: CS32 & !3 | ring,
        ..*good
    };
    let trap = traps::enter(&frame, 0);
    expect_eq!(trap.frame.vector, 6);
    expect_eq!(u64::from(trap.frame.selector()), CS32 & !3 | ring);
}

fn addresses(good: &Frame) {
    for rip in [
        0x8000_0000_0000_u64,
        0xffff_7fff_ffff_ffff,
        0x7fff_ffff_ffff,
        0xdead_beef_dead_beef,
        u64::MAX,
        0xffff_8300_0000_0000,
        0xffff_82d0_4000_0000,
    ] {
        for flags in [0, IN_SYSCALL] {
            let frame = Frame { rip, ..*good };
            let trap = traps::enter(&frame, flags);
            expect!(trap.frame.vector == 13 || trap.frame.vector == 14);
            expect_eq!(trap.frame.rip, rip);
            expect_eq!(trap.frame.cs & 3, good.cs & 3);
            check_handler(&trap);
        }
    }
    // The stack pointer of a program can be anything.
    if good.cs & 3 == 3 {
        for rsp in [0, 0x8000_0000_0000_u64, 0xffff_8300_0000_0000, u64::MAX, 1] {
            for flags in [0, IN_SYSCALL] {
                let frame = Frame { rsp, ..*good };
                let trap = traps::enter(&frame, flags);
                expect_eq!(trap.frame.vector, 6);
                expect_eq!(trap.frame.rsp, rsp);
                check_handler(&trap);
            }
        }
    }
}

fn flags(good: &Frame) {
    for flags in [0, IN_SYSCALL] {
        // IOPL, NT, VM, VIF, VIP, RF, AC, ID and what is not defined, without TF.
        let frame = Frame {
            rip: address(show_flags),
            rflags: !0x100 & !0x400,
            ..*good
        };
        let trap = traps::enter(&frame, flags);
        expect_eq!(trap.frame.vector, 6);
        // What the code saw: interrupts on, no I/O privilege, no nesting.
        expect_eq!(trap.frame.rdi & 0x1a_3302, IF | 2, "flags {flags:#x}");
        check_handler(&trap);
        let frame = Frame {
            rip: address(show_flags),
            rflags: 0,
            ..*good
        };
        let trap = traps::enter(&frame, flags);
        expect_eq!(trap.frame.rdi & 0x1a_3302, IF | 2, "flags {flags:#x}");
        expect_eq!(trap.frame.saved_upcall_mask(), 1);
        // A single step from the first instruction on.
        let frame = Frame {
            rip: address(show_flags),
            rflags: IF | 0x102,
            ..*good
        };
        let trap = traps::enter(&frame, flags);
        expect_eq!(trap.frame.vector, 1);
        check_handler(&trap);
    }
}
