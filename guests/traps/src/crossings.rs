//! Crossings between a program and the kernel, with stacks in the upper half of the address space, where kernels have
//! them, and with stacks elsewhere: a hypervisor may have a shorter way for the first, and nobody must see which it took.

use guest_runtime::event_channels::{bind_virq, set_timer};
use guest_runtime::memory::{self, HYPERVISOR_END, PAGE, Page, pte};
use guest_runtime::traps::{self, CS64, EVENT, Frame, IF, MASKS_EVENTS, Next, SS, SYSCALL, Trap};
use guest_runtime::xen_abi::callback as kind;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::{MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L4_TABLE};
use guest_runtime::xen_abi::vm_assist::{CMD_DISABLE, CMD_ENABLE, TYPE_ARCHITECTURAL_IOPL};
use guest_runtime::xen_abi::{vcpu, virq};
use guest_runtime::{expect, expect_eq, hypercalls, println, shared, vcpus};

use crate::kernel::check_handler;
use crate::programs::Program;
use crate::{address, code, programs, returns};

code! {
    syscall: "syscall", "ud2";
    read: "mov al, [rdi]";
    read_and_call: "mov al, [rdi]", "syscall", "ud2";
    write: "mov byte ptr [rdi], 1";
    store_and_syscall: "mov byte ptr [rdi], 1", "syscall", "ud2";
    store_and_fault: "mov byte ptr [rdi], 1", "mov al, [rsi]", "ud2";
    calls: "2:", "add rbx, 1", "syscall", "jmp 2b";
    faults: "2:", "add rbx, 1", "mov al, [rdi]", "jmp 2b";
}

/// Bytes of `mov byte ptr [rdi], 1`.
const STORE_BYTES: u64 = 3;
const PAGES: u64 = 10;
/// Where nothing is mapped, neither for programs nor for the kernel.
pub(crate) const NOWHERE: u64 = 0x7fff_dead_b000;

/// Pages that are mapped behind the hypervisor's part of the kernel's address space too.
pub(crate) struct Window {
    table: Page,
}

impl Window {
    pub(crate) fn map() -> Self {
        let [l3, l2, table] = [Page::take(), Page::take(), Page::take()];
        for index in 0..PAGES {
            table.set(index, Page::take().maddr() | pte::PAGE_RW);
        }
        l2.set(0, table.maddr() | pte::TABLE);
        l3.set(0, l2.maddr() | pte::TABLE);
        for page in [table, l2, l3] {
            expect_eq!(page.map_ro(), 0);
        }
        let slot = memory::index_at(HYPERVISOR_END, 4);
        let root = memory::root();
        let entry = memory::mfn_of(root / PAGE) * PAGE + 8 * slot;
        expect_eq!(memory::mmu_update(entry, l3.maddr() | pte::TABLE), 0);
        Self { table }
    }

    /// Where page `index` begins.
    pub(crate) fn page(&self, index: u64) -> u64 {
        HYPERVISOR_END + index * PAGE
    }

    pub(crate) fn end(&self) -> u64 {
        self.page(PAGES)
    }

    /// Changes the entry of page `index`.
    pub(crate) fn set(&self, index: u64, entry: u64) {
        expect_eq!(
            memory::update_va_mapping(self.page(index), entry),
            0,
            "page {index}"
        );
    }

    pub(crate) fn entry(&self, index: u64) -> u64 {
        self.table.get(index)
    }
}

pub(crate) fn run() {
    let window = Window::map();
    let low = Page::take();
    for _ in 1..8 {
        Page::take();
    }
    let low_end = low.address + 8 * PAGE;
    println!("traps of programs, returns from the upper half");
    traps::set_kernel_stack(window.end());
    traps::set_return_stack(Some(window.page(1)));
    programs::run();
    returns::run();
    println!("crossings");
    let program = Program::new();
    let read_only = Page::take();
    expect_eq!(read_only.map_ro(), 0);
    let others = [other_process(false), other_process(true)];
    // Frames at either end of a page, and over it; the first one is just behind the hypervisor's part.
    let ends = [
        window.page(0) + size_of::<Frame>() as u64,
        window.page(1),
        window.page(1) + 8,
        window.page(1) + 40,
        window.page(1) + 64,
    ];
    for end in ends.map(Some).into_iter().chain([None]) {
        traps::set_return_stack(end);
        for top in [window.end(), low_end] {
            for offset in [0, 1, 8, 15, PAGE - 16, PAGE - 56, PAGE - 64, PAGE - 72] {
                traps::set_kernel_stack(top - offset);
                frames(&program, read_only.address, (top - offset) & !15);
            }
            traps::set_kernel_stack(top);
            processes(&program, &others);
            handlers(&program);
            pending(&program);
            levels(&program);
            interrupts(&program);
        }
    }
    for top in [window.end(), low_end] {
        traps::set_kernel_stack(top);
        timer(&program);
    }
    // What the hypervisor and the kernel tell each other moves.
    let page = Page::take();
    expect_eq!(vcpus::register_info(0, page, 192), 0);
    for end in [Some(window.page(1)), None] {
        traps::set_return_stack(end);
        pending(&program);
        frames(&program, read_only.address, low_end);
    }
    traps::set_return_stack(None);
    shared::set_upcall_mask(true);
}

/// What a program was, from a frame that should say so.
fn check(trap: &Trap, sent: &Frame, vector: u64, error: u64, rip: u64, stack: u64) {
    /// All flags that a program can have: CF to OF without TF and IF, AC, ID.
    const FLAGS: u64 = 0x24_0cd7;
    let frame = &trap.frame;
    expect_eq!(frame.vector, vector);
    expect_eq!(frame.error, error, "(vector {vector})");
    expect_eq!(frame.rip, rip, "(vector {vector})");
    let mask = u64::from(sent.rflags & IF == 0);
    expect_eq!(frame.cs, CS64 | mask << 32, "(vector {vector})");
    expect_eq!(frame.ss, SS);
    expect_eq!(frame.rsp, sent.rsp);
    expect_eq!(frame.rflags & (FLAGS | IF), sent.rflags & (FLAGS | IF));
    // IOPL, VM and TF.
    expect_eq!(frame.rflags & 0x2_3100, 0);
    expect_eq!(trap.mask_in_handler, mask != 0);
    expect_eq!(trap.stack, stack);
    if vector == SYSCALL {
        expect_eq!(frame.rcx, rip);
        // Whatever the mask is, the processor's own flag was set.
        expect_eq!(frame.r11 & (FLAGS | IF), sent.rflags & FLAGS | IF);
    } else {
        expect_eq!([frame.rcx, frame.r11], [sent.rcx, sent.r11]);
    }
    let kept = |frame: &Frame| {
        [
            frame.rax, frame.rbx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.r8, frame.r9,
            frame.r10, frame.r12, frame.r13, frame.r14, frame.r15,
        ]
    };
    expect_eq!(kept(frame), kept(sent), "(vector {vector})");
    check_handler(trap);
}

fn frames(program: &Program, read_only: u64, stack: u64) {
    let at = read_only + 9;
    for flags in [2, 3, 0x402, 0x4_0002, 0x20_0cd7, 0x4002, 0x1_0002] {
        for interrupts in [IF, 0] {
            let sent = Frame {
                rflags: flags | interrupts,
                rax: 0x1111,
                rbx: 0x2222_0000_0000,
                rdx: 0x3333,
                rsi: 0x4444,
                rdi: at,
                rbp: 0x5555,
                r8: 0x6666,
                r9: 0x7777,
                r10: 0x8888,
                r12: 0x9999,
                r13: 0xaaaa,
                r14: 0xbbbb,
                r15: 0xcccc_cccc_cccc_cccc,
                ..program.frame(address(syscall), 0)
            };
            let rip = address(syscall) + 2;
            check(&traps::enter(&sent, 0), &sent, SYSCALL, 0, rip, stack);
            let rip = address(write);
            let fault = Frame { rip, ..sent };
            let trap = traps::enter(&fault, 0);
            check(&trap, &fault, 14, 7, rip, stack);
            expect_eq!(trap.cr2, at);
            // A stack pointer that is none of the program's, and addresses around the hypervisor's part.
            for there in [
                0xffff_87ff_ffff_ffff,
                HYPERVISOR_END,
                HYPERVISOR_END + PAGE - 1,
                u64::MAX,
                0x7fff_ffff_ffff,
                NOWHERE,
            ] {
                let rip = address(read);
                let fault = Frame {
                    rip,
                    rsp: there,
                    rdi: there,
                    ..sent
                };
                let trap = traps::enter(&fault, 0);
                check(&trap, &fault, 14, 4, rip, stack);
                expect_eq!(trap.cr2, there);
            }
            let rip = 0x8000_0000_0000;
            let away = Frame { rip, ..sent };
            check(&traps::enter(&away, 0), &away, 13, 0, rip, stack);
            for selector in [0xe008, 0xfff8, 7] {
                let cs = selector | 3;
                let bad = Frame { cs, ..sent };
                let trap = traps::enter(&bad, 0);
                expect_eq!(trap.frame.vector, 13);
                expect_eq!(trap.frame.error, cs & !3);
                expect_eq!(u64::from(trap.frame.selector()), cs);
                expect_eq!(trap.stack, stack);
            }
        }
    }
}

/// The first address of the second part of the address space for which programs' root tables have an entry.
const SECOND: u64 = 1 << 39;

/// Root tables of programs, for which that part is the same as the first, or empty.
fn other_process(has_second: bool) -> Page {
    let root = Page::take();
    let first = memory::read(memory::root());
    root.set(0, first);
    root.set(1, if has_second { first } else { 0 });
    expect_eq!(root.map_ro(), 0);
    expect_eq!(memory::mmuext(MMUEXT_PIN_L4_TABLE, root.mfn(), 0), 0);
    root
}

/// Programs of several processes.
fn processes(program: &Program, others: &[Page; 2]) {
    let at = SECOND + others[0].address;
    for _ in 0..2 {
        for (root, vector) in others.iter().zip([14, SYSCALL]) {
            expect_eq!(memory::mmuext(MMUEXT_NEW_USER_BASEPTR, root.mfn(), 0), 0);
            for _ in 0..2 {
                let trap = traps::enter(&program.frame(address(read_and_call), at), 0);
                expect_eq!(trap.frame.vector, vector);
                check_handler(&trap);
            }
        }
    }
}

/// Handlers that mask events.
fn handlers(program: &Program) {
    let register = |flags| {
        expect_eq!(traps::register(14, flags), 0);
        let flags = if flags == 0 {
            0
        } else {
            kind::CALLBACKF_MASK_EVENTS
        };
        let entry = traps::entry(SYSCALL);
        expect_eq!(
            traps::register_callback(kind::CALLBACKTYPE_SYSCALL, flags, entry),
            0
        );
    };
    for flags in [MASKS_EVENTS, 0] {
        register(flags);
        for interrupts in [IF, 0] {
            for rip in [address(syscall), address(read)] {
                let frame = Frame {
                    rflags: interrupts | 2,
                    ..program.frame(rip, NOWHERE)
                };
                let trap = traps::enter(&frame, 0);
                expect!(trap.frame.vector == SYSCALL || trap.frame.vector == 14);
                expect_eq!(trap.mask_in_handler, flags != 0 || interrupts == 0);
                expect_eq!(trap.frame.saved_upcall_mask(), u8::from(interrupts == 0));
            }
        }
    }
}

/// Upcalls that are pending, or masked, at a moment at which nobody expects it.
fn pending(program: &Program) {
    let info = vcpus::info(vcpus::id());
    // On the way out.
    let sent = program.frame(address(syscall), 0);
    for interrupts in [0, IF] {
        shared::set_upcall_mask(true);
        memory::write(info, 1_u8);
        let sent = Frame {
            rflags: interrupts | 2,
            ..sent
        };
        let trap = traps::enter(&sent, 0);
        memory::write(info, 0_u8);
        if interrupts == 0 {
            expect_eq!(trap.frame.vector, SYSCALL);
            continue;
        }
        // Before the program's first instruction.
        expect_eq!(trap.frame.vector, EVENT);
        expect_eq!(trap.frame.rip, sent.rip);
        expect_eq!(trap.frame.cs, CS64);
        expect_eq!(
            [trap.frame.rcx, trap.frame.r11, trap.frame.rsp],
            [sent.rcx, sent.r11, sent.rsp]
        );
        expect!(trap.mask_in_handler);
        check_handler(&trap);
    }
    // A program that can write to the page masks upcalls, or makes one pending, which its own kernel then has.
    for (function, vector, entry) in [
        (
            store_and_syscall as extern "sysv64" fn(u64),
            SYSCALL,
            traps::entry(SYSCALL),
        ),
        (store_and_fault, 14, traps::entry(14)),
    ] {
        let rip = address(function) + STORE_BYTES + if vector == SYSCALL { 2 } else { 0 };
        let frame = |rdi| Frame {
            rsi: NOWHERE,
            ..program.frame(address(function), rdi)
        };
        let trap = traps::enter(&frame(info + 1), 0);
        expect_eq!([trap.frame.vector, trap.frame.rip], [vector, rip]);
        expect_eq!(trap.frame.cs, CS64 | 1 << 32);
        expect_eq!(trap.frame.rflags & IF, 0);
        expect!(trap.mask_in_handler);
        let trap = traps::enter(&frame(info), 0);
        memory::write(info, 0_u8);
        // The kernel is interrupted before the first instruction of its handler.
        expect_eq!([trap.frame.vector, trap.frame.rip], [EVENT, entry]);
        expect_eq!(trap.frame.cs, CS64 & !3);
        expect!(trap.mask_in_handler);
    }
    shared::set_upcall_mask(true);
}

/// The I/O privilege level in the flags, which only a kernel that asked for it sees.
fn levels(program: &Program) {
    let assist = |command: u32| {
        hypercalls::call(
            number::VM_ASSIST,
            &[u64::from(command), u64::from(TYPE_ARCHITECTURAL_IOPL)],
        )
    };
    let shown = |level: u64| {
        [address(syscall), address(read)].map(|rip| {
            let frame = Frame {
                rflags: IF | 2 | level << 12,
                ..program.frame(rip, NOWHERE)
            };
            let trap = traps::enter(&frame, 0);
            check_handler(&trap);
            trap.frame.rflags >> 12 & 3
        })
    };
    for level in 0..=3 {
        expect_eq!(shown(level), [0; 2]);
    }
    expect_eq!(assist(CMD_ENABLE), 0);
    for level in [0, 3, 3, 1, 2, 0] {
        expect_eq!(shown(level), [level; 2]);
    }
    hypercalls::set_iopl(1);
    expect_eq!(shown(1), [1; 2]);
    expect_eq!(shown(0), [0; 2]);
    expect_eq!(assist(CMD_DISABLE), 0);
    for level in 0..=3 {
        expect_eq!(shown(level), [0; 2]);
    }
}

extern "sysv64" fn send_nmi(_: u64) {
    let operation = u64::from(vcpu::SEND_NMI);
    expect_eq!(hypercalls::call(number::VCPU_OP, &[operation, 0, 0]), 0);
}

/// Non-maskable interrupts: none in the handler of another, from which the kernel returns straight to a program.
fn interrupts(program: &Program) {
    const VECTOR: u64 = 2;
    let sent = program.frame(address(syscall), 0);
    let trap = traps::probe(send_nmi, 0);
    expect_eq!(trap.map(|trap| trap.frame.vector), Some(VECTOR));
    expect!(traps::probe(send_nmi, 0).is_none());
    for _ in 0..2 {
        let trap = traps::enter(&sent, 0);
        expect_eq!([trap.frame.vector, trap.frame.rip], [VECTOR, sent.rip]);
        expect_eq!(u64::from(trap.frame.selector()), CS64);
        expect!(traps::probe(send_nmi, 0).is_none());
    }
    expect_eq!(traps::enter(&sent, 0).frame.vector, VECTOR);
    expect_eq!(traps::enter(&sent, 0).frame.vector, SYSCALL);
    shared::set_upcall_mask(true);
}

/// A program calls its kernel, or faults, again and again, until the timer's event arrives wherever it does.
fn timer(program: &Program) {
    const ROUNDS: u64 = 50;
    const DELAY: u64 = 500_000;
    let Ok(port) = bind_virq(virq::TIMER) else {
        println!("no timer");
        return guest_runtime::note_failure();
    };
    shared::set_masked(port, false);
    shared::set_upcall_mask(true);
    traps::set_hook(Some(|frame| match frame.vector {
        SYSCALL => Next::Resume,
        14 => {
            // Over the load.
            frame.rip += 2;
            Next::Resume
        }
        _ => Next::Unwind,
    }));
    for round in 0..ROUNDS {
        let function = if round % 2 == 0 { calls } else { faults };
        let sent = program.frame(address(function), NOWHERE);
        expect_eq!(set_timer(shared::now() + DELAY), 0);
        let trap = traps::enter(&sent, 0);
        expect_eq!(trap.frame.vector, EVENT);
        expect_eq!(trap.frame.saved_upcall_mask(), 0);
        expect!(trap.mask_in_handler);
        expect!(shared::take_pending(port));
        if trap.frame.cs & 3 == 3 {
            expect_eq!([trap.frame.rsp, trap.frame.ss], [sent.rsp, SS]);
            expect_eq!(trap.frame.rdi, NOWHERE);
        }
        shared::clear_upcall_pending();
        shared::take_pending_selector();
        shared::set_upcall_mask(true);
    }
    traps::set_hook(None);
    expect_eq!(guest_runtime::event_channels::close(port), 0);
}
