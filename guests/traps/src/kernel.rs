//! What the guest's kernel raises.

use core::arch::naked_asm;

use guest_runtime::memory::{self, Page, pte};
use guest_runtime::traps::{self, CS64, END, IF, KERNEL_CS, MASKS_EVENTS, SS, Trap};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::vm_assist::{CMD_DISABLE, CMD_ENABLE, TYPE_ARCHITECTURAL_IOPL};
use guest_runtime::{expect, expect_eq, hypercalls, shared};

use crate::{address, code, raise};

code! {
    divide: "div edi";
    overflow: "mov eax, 0x80000000", "cdq", "mov edi, -1", "idiv edi";
    breakpoint: "int3";
    long_breakpoint: ".byte 0xcd, 3";
    undefined: "ud2";
    fpu: "fnop";
    halt: "hlt";
    load_ds: "mov ds, edi";
    load_es: "mov es, edi";
    load_fs: "mov fs, edi";
    load_gs: "mov gs, edi";
    load_ss: "mov ss, edi";
    read: "mov al, [rdi]";
    write: "mov byte ptr [rdi], 1";
    execute: "jmp rdi";
    stack_read: "mov rax, rsp", "mov rsp, rdi", "mov rdi, [rsp]", "mov rsp, rax";
    read_many: "mov rsi, rdi", "mov rdx, [rsi + 8]";
    x87: "fninit", "push 0x37b", "fldcw [rsp]", "pop rax", "fld1", "fldz", "fdivp", "fwait", "fninit";
    all_flags: "pushfq", "or qword ptr [rsp], 0x44cd5", "popfq", "ud2";
    nested_flag: "pushfq", "or qword ptr [rsp], 0x4000", "popfq", "ud2";
    direction: "std", "ud2";
    misaligned_stack: "sub rsp, 3", "ud2";
}

/// What every trap of the kernel has.
pub(crate) fn check_kernel(trap: &Trap, vector: u64, error: u64, rip: u64) {
    expect_eq!(trap.frame.vector, vector);
    expect_eq!(trap.frame.error, error, "(vector {vector:#x})");
    expect_eq!(trap.frame.rip, rip, "(vector {vector:#x})");
    // The kernel's own CS is shown with RPL 0, SS as it is.
    expect_eq!(
        u64::from(trap.frame.selector()),
        KERNEL_CS,
        "(vector {vector:#x})"
    );
    expect_eq!(trap.frame.ss, SS, "(vector {vector:#x})");
    check_handler(trap);
}

/// What every handler finds.
pub(crate) fn check_handler(trap: &Trap) {
    expect_eq!(trap.segments_in_handler.map(u64::from), [CS64, SS]);
    expect_eq!(trap.stack % 16, 0);
    // The real interrupt flag is on, whatever the guest's mask is; TF, NT, RF, VM, AC and IOPL are off.
    expect_eq!(trap.flags_in_handler & 0x7_7300, IF);
}

pub(crate) fn run() {
    exceptions();
    page_faults();
    masks();
    flags();
    software_interrupts();
    resume();
}

fn exceptions() {
    check_kernel(&raise("divide", divide, 0), 0, 0, address(divide));
    check_kernel(
        &raise("overflow", overflow, 0),
        0,
        0,
        address(overflow) + 11,
    );
    // Traps, not faults: behind the instruction.
    check_kernel(&raise("int3", breakpoint, 0), 3, 0, address(breakpoint) + 1);
    check_kernel(
        &raise("int 3", long_breakpoint, 0),
        3,
        0,
        address(long_breakpoint) + 2,
    );
    check_kernel(&raise("ud2", undefined, 0), 6, 0, address(undefined));
    check_kernel(&raise("hlt", halt, 0), 13, 0, address(halt));

    // The task-switched flag: set, the next FPU instruction traps once, and the handler finds it clear.
    expect_eq!(hypercalls::call(number::FPU_TASKSWITCH, &[1]), 0);
    check_kernel(&raise("fnop", fpu, 0), 7, 0, address(fpu));
    expect_eq!(traps::probe(fpu, 0), None);
    expect_eq!(hypercalls::call(number::FPU_TASKSWITCH, &[1]), 0);
    expect_eq!(hypercalls::call(number::FPU_TASKSWITCH, &[0]), 0);
    expect_eq!(traps::probe(fpu, 0), None);
    check_kernel(&raise("fdiv", x87, 0), 16, 0, address(x87) + 17);

    // Selectors: beyond the GDT, a system descriptor, a privileged segment, the LDT that is not there.
    for (load, length) in [
        (load_ds as extern "sysv64" fn(u64), 0),
        (load_es, 0),
        (load_fs, 0),
        (load_gs, 0),
    ] {
        for selector in [0xfffb_u64, 0xfff8, 0xe03b, 0xe010, 0xe008, 0x0017, 0x000c] {
            let trap = raise("load of a selector", load, selector);
            check_kernel(&trap, 13, selector & 0xfffc, address(load) + length);
        }
        expect_eq!(traps::probe(load, 0), None);
    }
    for selector in [0, 3, 0xe033] {
        let trap = raise("load of SS", load_ss, selector);
        check_kernel(&trap, 13, selector & 0xfffc, address(load_ss));
    }
    expect_eq!(traps::probe(load_ss, SS), None);
    // Addresses that are not canonical.
    for at in [
        0x8000_0000_0000_u64,
        0xffff_7fff_ffff_ffff,
        0xdead_0000_0000_0000,
    ] {
        check_kernel(&raise("read", read, at), 13, 0, address(read));
        check_kernel(&raise("write", write, at), 13, 0, address(write));
        let trap = raise("jump", execute, at);
        expect_eq!(trap.frame.vector, 13);
        expect_eq!(trap.frame.error, 0);
    }
}

fn check_page_fault(trap: &Trap, error: u64, at: u64, rip: u64) {
    check_kernel(trap, 14, error, rip);
    expect_eq!(trap.cr2, at);
}

fn page_faults() {
    const P: u64 = 1;
    const W: u64 = 2;
    const I: u64 = 0x10;
    let page = Page::take();
    let at = page.address + 0x123;
    // Error codes are as of a kernel in ring 0: without the user bit.
    page.unmap();
    check_page_fault(&raise("read", read, at), 0, at, address(read));
    check_page_fault(&raise("write", write, at), W, at, address(write));
    check_page_fault(&raise("execute", execute, at), I, at, at);
    page.map_ro();
    expect_eq!(traps::probe(read, at), None);
    check_page_fault(&raise("write", write, at), P | W, at, address(write));
    memory::update_va_mapping(page.address, page.maddr() | pte::PAGE_RW | pte::NX);
    expect_eq!(traps::probe(write, at), None);
    check_page_fault(&raise("execute", execute, at), P | I, at, at);
    // Over the end of a page.
    page.map_rw();
    let next = Page::take();
    next.unmap();
    check_page_fault(
        &raise("crossing read", read_many, next.address - 12),
        0,
        next.address,
        address(read_many) + 3,
    );
    next.map_rw();
    // Where nothing is mapped at any level.
    for far in [
        0x7fff_ffff_f000_u64,
        0xffff_8800_0000_0000,
        0xffff_ffff_ffff_f000,
    ] {
        check_page_fault(&raise("read", read, far), 0, far, address(read));
        check_page_fault(&raise("write", write, far), W, far, address(write));
    }
    // The hypervisor's own: whatever is there, the guest's kernel gets a fault, and of what is mapped nothing but
    // the machine-to-physical table can be read.
    for at in [
        0xffff_8200_0000_0000_u64,
        0xffff_82d0_4000_0000,
        0xffff_8300_0000_0000,
        0xffff_87ff_ffff_f000,
    ] {
        for function in [read as extern "sysv64" fn(u64), write] {
            let trap = raise("the hypervisor's", function, at);
            expect_eq!(trap.frame.vector, 14);
            expect_eq!(trap.cr2, at);
            expect_eq!(trap.frame.error & 4, 0);
            expect_eq!(trap.frame.rip, address(function));
        }
    }
    expect_eq!(traps::probe(read, memory::M2P), None);
    let trap = raise("write to the m2p", write, memory::M2P);
    check_page_fault(&trap, P | W, memory::M2P, address(write));
    // The stack pointer is not used for the fault but for the frame, which has room below it.
    let _ = stack_read;
}

/// The upcall mask: shown in the frame, as RFLAGS.IF too, and set for the handler if the trap table says so.
fn masks() {
    for masked in [false, true] {
        for flags in [0, MASKS_EVENTS] {
            expect_eq!(traps::register(6, flags), 0);
            shared::set_upcall_mask(masked);
            let trap = raise("ud2", undefined, 0);
            expect_eq!(trap.frame.saved_upcall_mask(), u8::from(masked));
            expect_eq!(trap.frame.rflags & IF != 0, !masked);
            expect_eq!(trap.mask_in_handler, masked || flags != 0);
            expect_eq!(trap.frame.cs >> 40, 0);
            check_kernel(&trap, 6, 0, address(undefined));
        }
    }
    expect_eq!(traps::register(6, 0), 0);
    shared::set_upcall_mask(true);
}

fn flags() {
    // All that a program may set of RFLAGS is in the frame, none of what disturbs is in the handler.
    let trap = raise("flags", all_flags, 0);
    expect_eq!(trap.frame.rflags & 0x44cd5, 0x44cd5);
    expect_eq!(trap.frame.rflags & 0x2_3000, 0);
    check_handler(&trap);
    let trap = raise("NT", nested_flag, 0);
    expect_eq!(trap.frame.rflags & 0x4000, 0x4000);
    check_handler(&trap);
    // As in hardware, DF stays.
    let trap = raise("DF", direction, 0);
    expect_eq!(trap.frame.rflags & 0x400, 0x400);
    expect_eq!(trap.flags_in_handler & 0x400, 0x400);
    check_handler(&trap);
    check_handler(&raise("misaligned stack", misaligned_stack, 0));
    // A call made with NT, AC and DF set is a call like any other.
    let flags: u64;
    let version: i64;
    // SAFETY: XENVER_version takes no pointer; flags are put back.
    unsafe {
        core::arch::asm!(
            "pushfq",
            "or qword ptr [rsp], 0x44400",
            "popfq",
            "syscall",
            "pushfq",
            "pop {flags}",
            "cld",
            "push 2",
            "popfq",
            flags = out(reg) flags,
            inlateout("rax") u64::from(number::XEN_VERSION) => version,
            in("rdi") 0, in("rsi") 0,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    expect!(version >= (4 << 16 | 17));
    expect_eq!(flags & 0x40400, 0x40400);
}

/// `int n; ret`, for all n.
#[unsafe(naked)]
extern "sysv64" fn interrupts(_: u64) {
    naked_asm!(
        ".set n, 0",
        ".rept 256",
        ".balign 4",
        ".byte 0xcd, n",
        "ret",
        ".set n, n + 1",
        ".endr",
    )
}

/// `int number`.
pub(crate) fn interrupt(number: u64) -> extern "sysv64" fn(u64) {
    let at = address(interrupts) + 4 * number;
    // SAFETY: there are 256 functions one behind the other.
    unsafe { core::mem::transmute(at as *const ()) }
}

fn software_interrupts() {
    // Without a handler: a protection fault that names the vector, at the instruction.
    for vector in 32..256 {
        let function = interrupt(vector);
        let trap = raise("int n", function, 0);
        check_kernel(&trap, 13, vector << 3 | 2, address(function));
    }
    // Exceptions' handlers are the kernel's own to call only if their privilege says so: these have 0.
    for vector in [0_u64, 6, 13, 14] {
        let function = interrupt(vector);
        check_kernel(
            &raise("int n", function, 0),
            13,
            vector << 3 | 2,
            address(function),
        );
    }
    let function = interrupt(4);
    check_kernel(&raise("int 4", function, 0), 4, 0, address(function) + 2);
    // The guest's kernel is ring 1 to the gate.
    for vector in [0x20_u8, 0x81, 0x82, 0xff] {
        for privilege in 0..=3 {
            expect_eq!(traps::register(vector, privilege), 0);
            let function = interrupt(u64::from(vector));
            let trap = raise("int n", function, 0);
            if privilege == 0 {
                check_kernel(&trap, 13, u64::from(vector) << 3 | 2, address(function));
            } else {
                check_kernel(&trap, u64::from(vector), 0, address(function) + 2);
            }
        }
    }
    // Also with the assist by which it is ring 0 to the I/O privilege level.
    let assist = |command: u32| {
        hypercalls::call(
            number::VM_ASSIST,
            &[u64::from(command), u64::from(TYPE_ARCHITECTURAL_IOPL)],
        )
    };
    expect_eq!(assist(CMD_ENABLE), 0);
    expect_eq!(traps::register(0x20, 0), 0);
    let function = interrupt(0x20);
    check_kernel(
        &raise("int n", function, 0),
        13,
        0x20 << 3 | 2,
        address(function),
    );
    // Flags show the I/O privilege that the guest gave itself.
    for level in 0..=3 {
        hypercalls::set_iopl(level);
        let trap = raise("ud2", undefined, 0);
        expect_eq!((trap.frame.rflags >> 12) & 3, u64::from(level));
        expect_eq!(trap.flags_in_handler & 0x3000, 0);
    }
    hypercalls::set_iopl(0);
    expect_eq!(assist(CMD_DISABLE), 0);
    // A handler that is gone: the list's end has no address, so it is the whole table that is cleared.
    expect_eq!(hypercalls::call(number::SET_TRAP_TABLE, &[0]), 0);
    expect_eq!(traps::set_table(&mut [END]), 0);
    traps::init();
    let function = interrupt(0x80);
    check_kernel(
        &raise("int 0x80", function, 0),
        13,
        0x80 << 3 | 2,
        address(function),
    );
    // Handlers elsewhere than in canonical memory are refused, and the entries before them taken.
    let mut bad = [END; 3];
    bad[0].vector = 0x21;
    bad[0].flags = 3;
    bad[0].address = traps::entry(0x21);
    bad[1].vector = 0x22;
    bad[1].address = 0x8000_0000_0000;
    expect_eq!(traps::set_table(&mut bad), -22);
    expect_eq!(
        hypercalls::call(number::SET_TRAP_TABLE, &[memory::M2P + (1 << 40)]),
        -14
    );
    let function = interrupt(0x21);
    expect_eq!(raise("int 0x21", function, 0).frame.vector, 0x21);
}

/// A handler that goes on behind the instruction, with all registers as they were.
fn resume() {
    traps::set_hook(Some(|frame| {
        if frame.vector == 6 {
            frame.rip += 2;
            traps::Next::Resume
        } else {
            traps::Next::Unwind
        }
    }));
    let mut registers = [0_u64; 14];
    // SAFETY: all registers are named; RBX and RBP are put back.
    unsafe {
        core::arch::asm!(
            "push rbx",
            "push rbp",
            "push rdi",
            "mov rax, 0x1111111111111111", "mov rbx, 0x2222222222222222", "mov rcx, 0x3333333333333333",
            "mov rdx, 0x4444444444444444", "mov rsi, 0x5555555555555555", "mov rbp, 0x6666666666666666",
            "mov r8, 0x7777777777777777", "mov r9, -0x7777777777777778", "mov r10, -0x6666666666666667",
            "mov r11, -0x5555555555555556", "mov r12, -0x4444444444444445", "mov r13, -0x3333333333333334",
            "mov r14, -0x2222222222222223", "mov r15, -0x1111111111111112",
            "stc",
            "ud2",
            "mov rdi, [rsp]",
            "mov [rdi], rax", "mov [rdi + 8], rbx", "mov [rdi + 16], rcx", "mov [rdi + 24], rdx",
            "mov [rdi + 32], rsi", "mov [rdi + 40], rbp", "mov [rdi + 48], r8", "mov [rdi + 56], r9",
            "mov [rdi + 64], r10", "mov [rdi + 72], r11", "mov [rdi + 80], r12", "mov [rdi + 88], r13",
            "mov [rdi + 96], r14", "mov [rdi + 104], r15",
            "pop rdi", "pop rbp", "pop rbx",
            inlateout("rdi") registers.as_mut_ptr() => _,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    for (number, value) in (1_u64..).zip(registers) {
        expect_eq!(value, number * 0x1111_1111_1111_1111);
    }
    traps::set_hook(None);
}
