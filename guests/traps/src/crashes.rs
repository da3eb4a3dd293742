//! Ways for a kernel to end its own domain: where its program, or it, is to continue cannot be written down or read.
//! Whoever started the domain sees how it ended.

use guest_runtime::memory::{self, HYPERVISOR_END, PAGE, Page, pte};
use guest_runtime::traps::{self, Frame};
use guest_runtime::xen_abi::mmu::MMUEXT_NEW_USER_BASEPTR;
use guest_runtime::{fail, println};

use crate::crossings::{NOWHERE, Window};
use crate::programs::Program;
use crate::{address, code};

code! {
    syscall: "syscall", "ud2";
    read: "mov al, [rdi]";
}

/// Bytes of the frame that `iret` reads.
const IRET_BYTES: u64 = 72;

/// Does what ends the domain in way `number`, from 0 on.
pub(crate) fn run(number: u64) -> ! {
    traps::init_programs();
    let window = Window::map();
    let program = Program::new();
    let frame = |function, rdi| program.frame(address(function), rdi);
    // A program that returns to a kernel stack: of which its last page is gone, or all but the last, or that is the
    // hypervisor's, or read-only.
    let stack = window.page(3);
    traps::set_return_stack(Some(window.page(9)));
    match number {
        0 | 1 => window.set(2, 0),
        2 | 3 => window.set(2, window.entry(2) & !pte::RW),
        _ => {}
    }
    let stack = match number {
        0..=3 => stack,
        // A frame's last word is on the next page, all before it on one that is gone.
        4 | 5 => {
            window.set(2, 0);
            stack + 16
        }
        // And the other way round: the first words can be written.
        6 | 7 => {
            window.set(3, 0);
            stack + 16
        }
        8 | 9 => HYPERVISOR_END,
        10 | 11 => HYPERVISOR_END + 48,
        12 | 13 => 0x8000_0000_0000 + PAGE,
        _ => window.page(8),
    };
    traps::set_kernel_stack(stack);
    let function = if number.is_multiple_of(2) {
        syscall
    } else {
        read
    };
    match number {
        0..14 => drop(traps::enter(&frame(function, NOWHERE), 0)),
        // A frame for `iret` that cannot be read: whole or in part, above the hypervisor's part and elsewhere.
        14 => return_from(window.page(2) - 64, || window.set(2, 0)),
        15 => return_from(window.page(2) - 32, || window.set(2, 0)),
        16 => return_from(window.page(2) - 8, || window.set(2, 0)),
        17 => return_from(window.page(2), || window.set(2, 0)),
        18 => {
            let (first, second) = (Page::take(), Page::take());
            second.set(0, 0);
            return_from(first.address + PAGE - 8, || {
                second.unmap();
            });
        }
        19 => return_from(HYPERVISOR_END - IRET_BYTES, || ()),
        20 => return_from(HYPERVISOR_END - 8, || ()),
        21 => return_from(u64::MAX - 7, || ()),
        22 => return_from(0x8000_0000_0000, || ()),
        // Programs that have no page tables any more.
        23 | 24 => {
            traps::set_kernel_stack(window.page(8));
            traps::set_return_stack((number == 23).then(|| window.page(9)));
            traps::enter(&frame(syscall, 0), 0);
            memory::mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
            traps::enter(&frame(syscall, 0), 0);
        }
        _ => println!("there is no such way"),
    }
    println!("way {number} did not end the domain");
    fail()
}

/// Makes the `iret` hypercall with the frame at `stack`, after `prepare`.
fn return_from(stack: u64, prepare: impl FnOnce()) {
    let program = Frame {
        rip: address(syscall),
        ..Program::new().frame(0, 0)
    };
    let words = [
        1,
        program.r11,
        program.rcx,
        0,
        program.rip,
        program.cs,
        program.rflags,
        program.rsp,
        program.ss,
    ];
    for (at, word) in (stack..).step_by(8).zip(words) {
        // What cannot be written is what cannot be read later.
        traps::try_write(at, word);
    }
    prepare();
    // SAFETY: it does not come back here, whether the frame is good or not.
    unsafe {
        core::arch::asm!(
            "mov rsp, {stack}",
            "mov eax, {iret}",
            "syscall",
            "ud2",
            stack = in(reg) stack,
            iret = const guest_runtime::xen_abi::hypercall::IRET,
            options(noreturn),
        );
    }
}
