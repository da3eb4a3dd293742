//! Debug exceptions: single steps and breakpoints.

use guest_runtime::memory::{M2P, Page};
use guest_runtime::traps::{self, Next};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::{expect, expect_eq, hypercalls};

use crate::kernel::{check_handler, check_kernel};
use crate::{address, code, raise};

code! {
    step: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop";
    icebp: ".byte 0xf1";
    target: "nop";
    store: "mov qword ptr [rdi], 1", "nop";
    steps: "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov eax, 17", "xor edi, edi", "xor esi, esi", "syscall",
        "mov rdi, rax", "pushfq", "and qword ptr [rsp], ~0x100", "popfq", "mov eax, 17";
    stack_store: "mov ax, ss", "mov [rdi], rax", "mov ss, [rdi]", "nop";
    stack_call: "mov ax, ss", "mov [rdi], rax", "mov eax, 17", "mov r9, rdi", "xor edi, edi", "xor esi, esi", "mov ss, [r9]",
        "syscall";
    stack_interrupt: "mov ax, ss", "mov [rdi], rax", "mov ss, [rdi]", "int3";
}

fn set(register: u64, value: u64) -> i64 {
    hypercalls::call(number::SET_DEBUGREG, &[register, value])
}

fn get(register: u64) -> i64 {
    hypercalls::call(number::GET_DEBUGREG, &[register])
}

pub(crate) fn run() {
    // A step: behind the instruction that follows.
    let trap = raise("step", step, 0);
    check_kernel(&trap, 1, 0, address(step) + 11);
    expect_eq!(trap.frame.rflags & 0x100, 0x100);
    expect_eq!(get(6) & 0x4000, 0x4000);
    expect_eq!(set(6, 0), 0);
    let trap = raise("icebp", icebp, 0);
    check_kernel(&trap, 1, 0, address(icebp) + 1);

    // Through a hypercall, step by step: every step is seen, and the call's result is right.
    traps::set_hook(Some(|frame| {
        if frame.vector == 1 {
            Next::Resume
        } else {
            Next::Unwind
        }
    }));
    let before = traps::count();
    expect_eq!(traps::probe(steps, 0), None);
    let seen = traps::count() - before;
    expect!((6..=9).contains(&seen));
    traps::set_hook(None);

    breakpoints();
    registers();
    stack_segment();
}

fn breakpoints() {
    // On execution: before the instruction.
    expect_eq!(set(0, address(target)), 0);
    expect_eq!(set(7, 0x1), 0);
    expect_eq!(get(0), address(target) as i64);
    expect_eq!(get(7) & 0xff, 1);
    let trap = raise("breakpoint", target, 0);
    check_kernel(&trap, 1, 0, address(target));
    expect_eq!(get(6) & 0xf, 1);
    expect_eq!(set(7, 0), 0);
    expect_eq!(traps::probe(target, 0), None);
    // On writing: behind the instruction.
    let page = Page::take();
    expect_eq!(set(1, page.address), 0);
    expect_eq!(set(7, 0xd0_0004), 0);
    expect_eq!(set(6, 0), 0);
    let trap = raise("watch", store, page.address);
    check_kernel(&trap, 1, 0, address(store) + 7);
    expect_eq!(page.get(0), 1);
    expect_eq!(get(6) & 0xf, 2);
    expect_eq!(set(7, 0), 0);
}

/// What a guest may put into the registers.
fn registers() {
    const EINVAL: i64 = -22;
    const EPERM: i64 = -1;
    for register in [0, 1, 2, 3] {
        expect_eq!(set(register, 0x1234), 0);
        expect_eq!(get(register), 0x1234);
        // Never in the hypervisor's part (XSA-444), never beyond canonical addresses.
        expect_eq!(set(register, M2P), EPERM);
        expect_eq!(set(register, 0xffff_82d0_4000_0000), EPERM);
        expect_eq!(set(register, 0x8000_0000_0000), EPERM);
        expect_eq!(get(register), 0x1234);
        expect_eq!(set(register, 0xffff_8800_0000_0000), 0);
        expect_eq!(set(register, 0), 0);
    }
    for register in [8, 15, 16, 1 << 31, u64::MAX, 1 << 32] {
        let expected = if register == 1 << 32 { 0 } else { EINVAL };
        let _ = expected;
        expect!(set(register, 0) < 0 || register == 1 << 32);
        expect!(get(register) < 0 || register == 1 << 32);
    }
    // Reserved bits of DR7 do not stick, general detection is refused.
    expect_eq!(set(7, 0x2000), EPERM);
    expect_eq!(set(7, 0xd000), 0);
    expect_eq!(get(7), 0x400);
    for register in [6, 7] {
        expect_eq!(set(register, 1 << 32), EINVAL);
        expect_eq!(set(register, u64::MAX), EINVAL);
    }
    expect_eq!(set(6, 0xffff_ffff), 0);
    expect_eq!(get(6) & !0xe00f, 0xffff_0ff0);
    expect_eq!(set(6, 0), 0);
    expect_eq!(set(7, 0), 0);
}

/// A breakpoint on the word that SS is loaded from waits for one instruction more: if that enters the
/// hypervisor, the exception comes there (XSA-260). The guest may or may not see it, and all goes on.
fn stack_segment() {
    let page = Page::take();
    expect_eq!(set(0, page.address), 0);
    expect_eq!(set(7, 0xf_0001), 0);
    for function in [
        stack_store as extern "sysv64" fn(u64),
        stack_call,
        stack_interrupt,
    ] {
        if let Some(trap) = traps::probe(function, page.address) {
            expect!(trap.frame.vector == 1 || trap.frame.vector == 3);
            check_handler(&trap);
        }
    }
    expect_eq!(set(7, 0), 0);
    expect_eq!(set(6, 0), 0);
}
