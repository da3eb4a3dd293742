//! What programs raise, in 64-bit and in 32-bit code.

use core::arch::global_asm;

use guest_runtime::memory::{self, Page};
use guest_runtime::traps::{
    self, CS32, CS64, Frame, IF, IN_SYSCALL, MASKS_EVENTS, SS, SYSCALL, SYSCALL32, SYSENTER, Trap,
};
use guest_runtime::xen_abi::callback as kind;
use guest_runtime::{expect, expect_eq, hypercalls, shared};

use crate::kernel::{check_handler, interrupt};
use crate::{address, code};

code! {
    undefined: "ud2";
    breakpoint: "int3";
    divide: "div edi";
    read: "mov al, [rdi]";
    write: "mov byte ptr [rdi], 1";
    execute: "jmp rdi";
    halt: "hlt";
    input: "in al, dx";
    clear_interrupts: "cli";
    read_control: "mov rax, cr3";
    read_model_specific: "mov ecx, 0x1b", "rdmsr";
    syscall: "syscall", "ud2";
    show_registers: "mov rdi, rcx", "mov rsi, r11", "pushfq", "pop rdx", "mov r8d, cs", "mov r9d, ss", "syscall";
    invalid_page: "invlpg [rdi]";
    step: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop";
    step_syscall: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "syscall", "nop";
}

global_asm!(
    ".pushsection .text, \"ax\"",
    ".code32",
    "compat_into:",
    "mov eax, 0x7fffffff",
    "add eax, 1",
    "into",
    "compat_bound:",
    "bound eax, [ebx]",
    "compat_syscall:",
    "syscall",
    "ud2",
    "compat_sysenter:",
    "sysenter",
    "ud2",
    "compat_interrupt:",
    "int 0x80",
    "compat_page_fault:",
    "mov eax, [ebx]",
    ".code64",
    ".popsection",
);

mod labels {
    unsafe extern "C" {
        pub(super) fn compat_into();
        pub(super) fn compat_bound();
        pub(super) fn compat_syscall();
        pub(super) fn compat_sysenter();
        pub(super) fn compat_interrupt();
        pub(super) fn compat_page_fault();
    }
}

/// A program's stack.
pub(crate) struct Program {
    pub(crate) stack: u64,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            stack: Page::take().address + memory::PAGE - 64,
        }
    }

    pub(crate) fn frame(&self, at: u64, rdi: u64) -> Frame {
        Frame {
            rip: at,
            cs: CS64,
            rflags: IF | 2,
            rsp: self.stack,
            ss: SS,
            rdi,
            rcx: 0x1234,
            r11: 0x5678,
            ..Frame::default()
        }
    }

    fn run(&self, function: extern "sysv64" fn(u64), rdi: u64) -> Trap {
        traps::enter(&self.frame(address(function), rdi), 0)
    }

    fn check(&self, trap: &Trap, vector: u64, error: u64, rip: u64) {
        expect_eq!(trap.frame.vector, vector);
        expect_eq!(trap.frame.error, error, "(vector {vector:#x})");
        expect_eq!(trap.frame.rip, rip, "(vector {vector:#x})");
        expect_eq!(
            u64::from(trap.frame.selector()),
            CS64,
            "(vector {vector:#x})"
        );
        expect_eq!(trap.frame.ss, SS, "(vector {vector:#x})");
        expect_eq!(trap.frame.rsp, self.stack, "(vector {vector:#x})");
        check_handler(trap);
    }
}

pub(crate) fn run() {
    let program = Program::new();
    exceptions(&program);
    page_faults(&program);
    interrupts(&program);
    system_calls(&program);
    compatibility(&program);
    masks(&program);
}

fn exceptions(program: &Program) {
    program.check(&program.run(undefined, 0), 6, 0, address(undefined));
    program.check(&program.run(breakpoint, 0), 3, 0, address(breakpoint) + 1);
    program.check(&program.run(divide, 0), 0, 0, address(divide));
    // Whatever the kernel may do, its programs may not.
    hypercalls::set_iopl(1);
    for function in [
        halt as extern "sysv64" fn(u64),
        input,
        clear_interrupts,
        read_control,
        invalid_page,
    ] {
        program.check(&program.run(function, 0), 13, 0, address(function));
    }
    program.check(
        &program.run(read_model_specific, 0),
        13,
        0,
        address(read_model_specific) + 5,
    );
    let trap = program.run(step, 0);
    expect_eq!(trap.frame.vector, 1);
    expect_eq!(trap.frame.rip, address(step) + 11);
    expect_eq!(trap.frame.rflags & 0x100, 0x100);
    check_handler(&trap);
    // A step into the kernel is none of the kernel.
    let trap = program.run(step_syscall, 0);
    expect!(trap.frame.vector == SYSCALL || trap.frame.vector == 1);
    check_handler(&trap);
}

fn page_faults(program: &Program) {
    let page = Page::take();
    let at = page.address + 7;
    page.unmap();
    for (function, error, rip) in [
        (read as extern "sysv64" fn(u64), 4, address(read)),
        (write, 6, address(write)),
        (execute, 0x14, at),
    ] {
        let trap = program.run(function, at);
        program.check(&trap, 14, error, rip);
        expect_eq!(trap.cr2, at);
    }
    page.map_ro();
    let trap = program.run(write, at);
    program.check(&trap, 14, 7, address(write));
    page.map_rw();
    // Not even the machine-to-physical table, which its kernel can read.
    for at in [
        0xffff_81ff_ffff_f000,
        memory::M2P,
        0xffff_8200_0000_0000_u64,
        0xffff_82d0_4000_0000,
        0xffff_8300_0000_0000,
    ] {
        let trap = program.run(read, at);
        expect_eq!(trap.frame.vector, 14);
        expect_eq!(trap.frame.error & 6, 4);
        expect_eq!(trap.cr2, at);
    }
}

fn interrupts(program: &Program) {
    for vector in [0x20_u8, 0x81, 0x82] {
        for privilege in 0..=3 {
            expect_eq!(traps::register(vector, privilege), 0);
            let function = interrupt(u64::from(vector));
            let trap = program.run(function, 0);
            if privilege == 3 {
                program.check(&trap, u64::from(vector), 0, address(function) + 2);
            } else {
                program.check(&trap, 13, u64::from(vector) << 3 | 2, address(function));
            }
        }
    }
    let function = interrupt(14);
    program.check(
        &program.run(function, 0),
        13,
        14 << 3 | 2,
        address(function),
    );
}

fn system_calls(program: &Program) {
    let trap = program.run(syscall, 0x77);
    program.check(&trap, SYSCALL, 0, address(syscall) + 2);
    expect_eq!(trap.frame.rdi, 0x77);
    expect_eq!(trap.frame.rcx, address(syscall) + 2);
    expect_eq!(trap.frame.r11 & 0xfff, trap.frame.rflags & 0xfff);
    // Through iret, RCX and R11 are what the frame says.
    let trap = program.run(show_registers, 0);
    expect_eq!([trap.frame.rdi, trap.frame.rsi], [0x1234, 0x5678]);
    expect_eq!([trap.frame.r8, trap.frame.r9], [CS64, SS]);
    expect_eq!(trap.frame.rdx & 0x7_7300, IF);
    // By the rules of SYSRET they are RIP and RFLAGS; and CS and SS are flat, whatever the frame says.
    for (cs, ss) in [(CS64, SS), (3, SS), (0xfffb, 0xfffb)] {
        let frame = Frame {
            cs,
            ss,
            ..program.frame(address(show_registers), 0)
        };
        let trap = traps::enter(&frame, IN_SYSCALL);
        expect_eq!(trap.frame.vector, SYSCALL);
        expect_eq!(trap.frame.rdi, address(show_registers));
        expect_eq!(trap.frame.rsi & 0x7_7302, IF | 2);
        expect_eq!([trap.frame.r8, trap.frame.r9], [CS64, SS]);
    }
    // An entry that masks events.
    expect_eq!(
        traps::register_callback(
            kind::CALLBACKTYPE_SYSCALL,
            kind::CALLBACKF_MASK_EVENTS,
            traps::entry(SYSCALL)
        ),
        0
    );
    let trap = program.run(syscall, 0);
    expect!(trap.mask_in_handler);
    expect_eq!(trap.frame.saved_upcall_mask(), 0);
    expect_eq!(
        traps::register_callback(kind::CALLBACKTYPE_SYSCALL, 0, traps::entry(SYSCALL)),
        0
    );
    let trap = program.run(syscall, 0);
    expect!(!trap.mask_in_handler);
    expect_eq!(
        traps::register_callback(kind::CALLBACKTYPE_SYSCALL, 0, 0x8000_0000_0000),
        -22
    );
    shared::set_upcall_mask(true);
}

fn masks(program: &Program) {
    for flags in [0, MASKS_EVENTS] {
        expect_eq!(traps::register(6, flags), 0);
        // The frame's IF is the mask while the program runs.
        for interrupts in [IF, 0] {
            let frame = Frame {
                rflags: interrupts | 2,
                ..program.frame(address(undefined), 0)
            };
            let trap = traps::enter(&frame, 0);
            expect_eq!(trap.frame.saved_upcall_mask(), u8::from(interrupts == 0));
            expect_eq!(trap.frame.rflags & IF, interrupts);
            expect_eq!(trap.mask_in_handler, interrupts == 0 || flags != 0);
            check_handler(&trap);
        }
    }
    expect_eq!(traps::register(6, 0), 0);
    shared::set_upcall_mask(true);
}

fn compatibility(program: &Program) {
    let run = |at: unsafe extern "C" fn(), rbx: u64| {
        let frame = Frame {
            cs: CS32,
            rbx,
            ..program.frame(at as *const () as u64, 0)
        };
        traps::enter(&frame, 0)
    };
    let at = |label: unsafe extern "C" fn()| label as *const () as u64;
    let check = |trap: &Trap, vector: u64, error: u64, rip: u64| {
        expect_eq!(trap.frame.vector, vector);
        expect_eq!(trap.frame.error, error, "(vector {vector:#x})");
        expect_eq!(trap.frame.rip, rip, "(vector {vector:#x})");
        expect_eq!(
            u64::from(trap.frame.selector()),
            CS32,
            "(vector {vector:#x})"
        );
        check_handler(trap);
    };
    check(
        &run(labels::compat_into, 0),
        4,
        0,
        at(labels::compat_into) + 9,
    );
    let bounds = Page::take();
    bounds.set(0, 0x0000_0002_0000_0001);
    check(
        &run(labels::compat_bound, bounds.address),
        5,
        0,
        at(labels::compat_bound),
    );
    check(
        &run(labels::compat_page_fault, 0xffff_f000),
        14,
        4,
        at(labels::compat_page_fault),
    );
    expect_eq!(traps::register(0x80, 3), 0);
    check(
        &run(labels::compat_interrupt, 0),
        0x80,
        0,
        at(labels::compat_interrupt) + 2,
    );
    // Without an entry: an instruction that is not there, or a protection fault.
    let trap = run(labels::compat_sysenter, 0);
    expect!(trap.frame.vector == 13 || trap.frame.vector == 6);
    let trap = run(labels::compat_syscall, 0);
    expect_eq!(trap.frame.vector, 6);
    expect_eq!(trap.frame.rip, at(labels::compat_syscall));
    // What of them the CPU's maker has.
    let has_syscall =
        traps::register_callback(kind::CALLBACKTYPE_SYSCALL32, 0, traps::entry(SYSCALL32)) == 0;
    let has_sysenter =
        traps::register_callback(kind::CALLBACKTYPE_SYSENTER, 0, traps::entry(SYSENTER)) == 0;
    expect!(has_syscall && has_sysenter);
    let trap = run(labels::compat_syscall, 0);
    expect!(trap.frame.vector == SYSCALL32 || trap.frame.vector == 6);
    if trap.frame.vector == SYSCALL32 {
        check(&trap, SYSCALL32, 0, at(labels::compat_syscall) + 2);
    }
    let trap = run(labels::compat_sysenter, 0);
    expect!([SYSENTER, 13, 6].contains(&trap.frame.vector));
    check_handler(&trap);
    for kind in [kind::CALLBACKTYPE_SYSCALL32, kind::CALLBACKTYPE_SYSENTER] {
        expect_eq!(traps::register_callback(kind, 0, 0), 0);
    }
}
