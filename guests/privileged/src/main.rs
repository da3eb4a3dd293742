//! Privileged instructions: what the hypervisor carries out for a guest's kernel, what it refuses, and that flags, ports
//! and registers stay what the guest may have.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

use guest_runtime::memory::{self, PAGE, Page};
use guest_runtime::traps::{self, CS64, Frame, IF, SS, Trap};
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::vm_assist::{CMD_DISABLE, CMD_ENABLE, TYPE_ARCHITECTURAL_IOPL};
use guest_runtime::xen_abi::{hypercall as number, physdev};
use guest_runtime::{expect, expect_eq, guest, hypercalls, println, shared};

guest!(main);

mod identify;
mod ports;

macro_rules! code {
    ($($name:ident: $($line:literal),+;)+) => {
        $(
            #[unsafe(naked)]
            pub(crate) extern "sysv64" fn $name(_: u64) {
                core::arch::naked_asm!($($line),+, "ret")
            }
        )+
    };
}
pub(crate) use code;

// RDI points to words: ECX or DX in the first, RAX and RDX in the next two; results go there too.
code! {
    read_msr: "mov ecx, [rdi]", "rdmsr", "mov [rdi + 8], rax", "mov [rdi + 16], rdx";
    write_msr: "mov ecx, [rdi]", "mov rax, [rdi + 8]", "mov rdx, [rdi + 16]", "wrmsr";
    in8: "mov edx, [rdi]", "mov rax, [rdi + 8]", "in al, dx", "mov [rdi + 8], rax";
    in16: "mov edx, [rdi]", "mov rax, [rdi + 8]", "in ax, dx", "mov [rdi + 8], rax";
    in32: "mov edx, [rdi]", "mov rax, [rdi + 8]", "in eax, dx", "mov [rdi + 8], rax";
    out8: "mov edx, [rdi]", "mov rax, [rdi + 8]", "out dx, al";
    out32: "mov edx, [rdi]", "mov rax, [rdi + 8]", "out dx, eax";
    in_immediate: "in al, 0x70", "mov [rdi + 8], rax";
    in_string: "mov edx, [rdi]", "mov rcx, [rdi + 8]", "mov rdi, [rdi + 16]", "cld", "rep insb", "mov rax, rcx";
    out_string: "mov edx, [rdi]", "mov rcx, [rdi + 8]", "mov rsi, [rdi + 16]", "cld", "rep outsb";
    read_cr0: "mov rax, cr0", "mov [rdi + 8], rax";
    read_cr2: "mov rax, cr2", "mov [rdi + 8], rax";
    read_cr3: "mov rax, cr3", "mov [rdi + 8], rax";
    read_cr4: "mov rax, cr4", "mov [rdi + 8], rax";
    read_cr8: "mov rax, cr8", "mov [rdi + 8], rax";
    write_cr0: "mov rax, [rdi + 8]", "mov cr0, rax";
    write_cr2: "mov rax, [rdi + 8]", "mov cr2, rax";
    write_cr3: "mov rax, [rdi + 8]", "mov cr3, rax";
    write_cr4: "mov rax, [rdi + 8]", "mov cr4, rax";
    read_dr: "mov rax, dr0", "mov [rdi + 8], rax", "mov rax, dr7", "mov [rdi + 16], rax";
    write_dr: "mov rax, [rdi + 8]", "mov dr0, rax";
    write_dr7: "mov rax, [rdi + 8]", "mov dr7, rax";
    clts: "clts";
    fpu: "fnop";
    wbinvd: "wbinvd";
    invd: "invd";
    xsetbv: "mov ecx, [rdi]", "mov rax, [rdi + 8]", "mov rdx, [rdi + 16]", "xsetbv";
    xgetbv: "xor ecx, ecx", "xgetbv", "mov [rdi + 8], rax", "mov [rdi + 16], rdx";
    cli: "cli";
    sti: "sti";
    invlpg: "invlpg [rdi]";
    lgdt: "lgdt [rdi]";
    lidt: "lidt [rdi]";
    lldt: "lldt di";
    ltr: "ltr di";
    lmsw: "lmsw di";
    read_tsc: "rdtsc", "mov [rdi + 8], rax", "mov [rdi + 16], rdx";
    monitor: "xor ecx, ecx", "xor edx, edx", "mov rax, rdi", "monitor";
    swapgs: "swapgs";
    sysret: "sysretq";
    iretq: "iretq";
    read_pmc: "xor ecx, ecx", "rdpmc";
    vmcall: "vmcall";
}

/// Runs code with words; the trap, if any, and the words after it.
fn run(function: extern "sysv64" fn(u64), words: [u64; 3]) -> (Option<Trap>, [u64; 3]) {
    let mut words = words;
    let trap = traps::probe(function, words.as_mut_ptr().expose_provenance() as u64);
    // SAFETY: written by the code.
    (trap, unsafe { (&raw const words).read_volatile() })
}

/// The value that code reads, or `None` for a protection fault.
fn get(function: extern "sysv64" fn(u64), first: u64) -> Option<u64> {
    match run(function, [first, 0, 0]) {
        (None, [_, low, high]) => Some(low & 0xffff_ffff | high << 32 | low),
        (Some(trap), _) => {
            expect_eq!(
                (trap.frame.vector, trap.frame.error),
                (13, 0),
                "of {first:#x}"
            );
            None
        }
    }
}

/// Whether a write is taken; else it is a protection fault.
fn put(function: extern "sysv64" fn(u64), first: u64, value: u64) -> bool {
    match run(function, [first, value, value >> 32]) {
        (None, _) => true,
        (Some(trap), _) => {
            expect_eq!(
                (trap.frame.vector, trap.frame.error),
                (13, 0),
                "of {first:#x}"
            );
            false
        }
    }
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    println!("model-specific registers");
    model_specific();
    println!("control registers");
    control();
    println!("ports");
    ports::run();
    println!("cpuid");
    identify::run();
    println!("flags");
    flags();
    println!("refused");
    refused();
    println!("programs");
    programs();
}

fn model_specific() {
    const FS_BASE: u64 = 0xc000_0100;
    const GS_BASE: u64 = 0xc000_0101;
    const KERNEL_GS_BASE: u64 = 0xc000_0102;
    for base in [FS_BASE, GS_BASE, KERNEL_GS_BASE] {
        for value in [0, 0x1234_5678_9abc, 0xffff_8800_0000_1000] {
            expect!(put(write_msr, base, value));
            expect_eq!(get(read_msr, base), Some(value), "of {base:#x}");
        }
        // Nothing that is no address (279).
        expect!(!put(write_msr, base, 0x8000_0000_0000));
        expect_eq!(get(read_msr, base), Some(0xffff_8800_0000_1000));
        expect!(put(write_msr, base, 0));
    }
    // EFER: long mode, system calls and no-execute are seen; none can be switched off.
    let efer = get(read_msr, 0xc000_0080).unwrap_or(0);
    expect_eq!(efer & 0x500, 0x500);
    run(write_msr, [0xc000_0080, 0, 0]);
    expect_eq!(get(read_msr, 0xc000_0080), Some(efer));
    // The page attribute table is Xen's own for paravirtual guests.
    expect_eq!(get(read_msr, 0x277), Some(0x0005_0100_0704_0600 >> 8));
    // The APIC is there and on, and the guest's writes go nowhere.
    expect!(get(read_msr, 0x1b).is_some());
    // Where the hypervisor is entered, and what runs there: neither.
    for register in [
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0x174,
        0x175,
        0x176,
    ] {
        let (written, _) = run(write_msr, [register, 0x1000, 0]);
        expect_eq!(
            written.map(|trap| trap.frame.vector),
            Some(13),
            "of {register:#x}"
        );
        expect_eq!(get(read_msr, register), None, "of {register:#x}");
    }
    // Registers that do not exist, and machine state.
    for register in [
        0x1234_5678,
        0x4000_00ff,
        0xffff_ffff,
        0x1d9,
        0x38f,
        0x480,
        0xc001_0117,
    ] {
        let (written, _) = run(write_msr, [register, 1, 0]);
        expect_eq!(
            written.map(|trap| trap.frame.vector),
            Some(13),
            "of {register:#x}"
        );
        expect_eq!(get(read_msr, register), None, "of {register:#x}");
    }
    // All of the architecture's ranges, read and written back: whatever comes of it, nobody dies.
    for start in [
        0_u64,
        0x200,
        0x400,
        0x480,
        0x800,
        0xc00,
        0xc000_0080,
        0xc001_0000,
        0xc001_0110,
        0x4000_0000,
    ] {
        for register in start..start + 0x80 {
            let (trap, words) = run(read_msr, [register, 0, 0]);
            expect!(trap.is_none_or(|trap| trap.frame.vector == 13));
            // (Not the bases that this code may need.)
            let (trap, _) = run(write_msr, [register, !words[1], !words[2]]);
            expect!(trap.is_none_or(|trap| trap.frame.vector == 13));
        }
    }
    for base in [FS_BASE, GS_BASE, KERNEL_GS_BASE] {
        expect!(put(write_msr, base, 0));
    }
    expect_eq!(get(read_msr, 0xc000_0080), Some(efer));
}

fn control() {
    let cr0 = get(read_cr0, 0).unwrap_or(0);
    // Protection, paging, write protection.
    expect_eq!(cr0 & 0x8001_0001, 0x8001_0001);
    expect_eq!(cr0 & 8, 0);
    // The task-switched flag is the guest's own.
    expect!(put(write_cr0, 0, cr0 | 8));
    expect_eq!(get(read_cr0, 0), Some(cr0 | 8));
    expect_eq!(traps::probe(fpu, 0).map(|trap| trap.frame.vector), Some(7));
    expect!(put(write_cr0, 0, cr0 | 8));
    expect_eq!(traps::probe(clts, 0), None);
    expect_eq!(get(read_cr0, 0), Some(cr0));
    expect_eq!(traps::probe(fpu, 0), None);
    // No other bit is.
    for bit in [0, 5, 16, 18, 29, 30, 31] {
        let (trap, _) = run(write_cr0, [0, cr0 ^ 1 << bit, 0]);
        expect!(trap.is_none_or(|trap| trap.frame.vector == 13));
        expect_eq!(get(read_cr0, 0), Some(cr0), "bit {bit}");
    }
    // CR2 is what the shared page says.
    expect!(put(write_cr2, 0, 0x1234_5000));
    expect_eq!(get(read_cr2, 0), Some(0x1234_5000));
    expect_eq!(shared::fault_address(), 0x1234_5000);
    // CR3 is the machine address of the root; loading is as by a call.
    let root = memory::mfn_of(memory::root() / PAGE) * PAGE;
    expect_eq!(get(read_cr3, 0).map(|value| value & !0xfff), Some(root));
    expect!(put(write_cr3, 0, root));
    let page = Page::take();
    for bad in [page.maddr(), 0, 1 << 40, 0xfee0_0000] {
        let (trap, _) = run(write_cr3, [0, bad, 0]);
        expect!(trap.is_some_and(|trap| trap.frame.vector == 13));
        expect_eq!(get(read_cr3, 0).map(|value| value & !0xfff), Some(root));
    }
    // CR4: what a guest sees has PAE; of the rest it has little to say.
    let cr4 = get(read_cr4, 0).unwrap_or(0);
    expect_eq!(cr4 & 0x20, 0x20);
    for bit in 0..32 {
        let (trap, _) = run(write_cr4, [0, cr4 ^ 1 << bit, 0]);
        expect!(trap.is_none_or(|trap| trap.frame.vector == 13));
        let (trap, _) = run(write_cr4, [0, cr4, 0]);
        expect!(trap.is_none());
        expect_eq!(get(read_cr4, 0), Some(cr4), "bit {bit}");
    }
    expect_eq!(get(read_cr8, 0), None);
    // Debug registers.
    expect!(put(write_dr, 0, 0x1234));
    let (trap, [_, dr0, dr7]) = run(read_dr, [0; 3]);
    expect_eq!(trap, None);
    expect_eq!(dr0, 0x1234);
    expect_eq!(dr7, 0x400);
    expect!(!put(write_dr, 0, 0xffff_8300_0000_0000));
    expect!(!put(write_dr7, 0, 0x2000));
    expect!(put(write_dr, 0, 0));
    // Caches: the machine's owner may.
    expect_eq!(traps::probe(wbinvd, 0), None);
    // Extended state: x87 always, SSE with AVX only.
    let features = get(xgetbv_if_on, 0);
    if let Some(features) = features {
        expect_eq!(features & 1, 1);
        for bad in [0, 2, features | 1 << 62, 4 | 1, features | 1 << 60] {
            let (trap, _) = run(xsetbv, [0, bad & 0xffff_ffff, bad >> 32]);
            expect_eq!(trap.map(|trap| trap.frame.vector), Some(13), "{bad:#x}");
        }
        let (trap, _) = run(xsetbv, [1, features, 0]);
        expect_eq!(trap.map(|trap| trap.frame.vector), Some(13));
        let (trap, _) = run(xsetbv, [0, features & 0xffff_ffff, features >> 32]);
        expect_eq!(trap, None);
        expect_eq!(get(xgetbv_if_on, 0), Some(features));
    }
}

/// `xgetbv`, after the guest has said in CR4 that it knows of it.
extern "sysv64" fn xgetbv_if_on(words: u64) {
    if identify::cpuid(1, 0)[2] & (1 << 26) == 0 {
        // A register that no guest can read: there is no such state.
        return read_cr8(words);
    }
    let mut cr4 = [0_u64; 3];
    let at = cr4.as_mut_ptr().expose_provenance() as u64;
    read_cr4(at);
    cr4[1] |= 1 << 18;
    write_cr4(cr4.as_mut_ptr().expose_provenance() as u64);
    xgetbv(words);
}

/// CLI and STI are as if they were not there, or faults: the guest's mask is in memory, and the real flag is on.
fn flags() {
    hypercalls::set_iopl(0);
    for function in [cli as extern "sysv64" fn(u64), sti] {
        for masked in [false, true] {
            shared::set_upcall_mask(masked);
            let trap = traps::probe(function, 0);
            expect!(trap.is_none_or(|trap| (trap.frame.vector, trap.frame.error) == (13, 0)));
            expect_eq!(shared::upcall_mask(), masked);
        }
    }
    shared::set_upcall_mask(true);
    // POPF cannot change them either.
    code! {
        pop_flags: "push 0x3002", "popfq", "pushfq", "pop rax", "mov [rdi + 8], rax";
    }
    let (trap, [_, flags, _]) = run(pop_flags, [0; 3]);
    expect_eq!(trap, None);
    expect_eq!(flags & 0x3200, IF);
    // With the assist, I/O privilege is in the flags that iret gives and traps show.
    let assist = |command: u32| {
        hypercalls::call(
            number::VM_ASSIST,
            &[u64::from(command), u64::from(TYPE_ARCHITECTURAL_IOPL)],
        )
    };
    expect_eq!(assist(CMD_ENABLE), 0);
    let stack = Page::take().address + PAGE - 64;
    for level in [0, 1, 3, 0] {
        let frame = Frame {
            rip: undefined as *const () as u64,
            cs: traps::KERNEL_CS,
            rflags: IF | 2 | level << 12,
            rsp: stack,
            ss: SS,
            ..Frame::default()
        };
        let trap = traps::enter(&frame, 0);
        expect_eq!(trap.frame.vector, 6);
        expect_eq!((trap.frame.rflags >> 12) & 3, level);
    }
    expect_eq!(assist(CMD_DISABLE), 0);
    hypercalls::set_iopl(0);
}

code! {
    undefined: "ud2";
}

fn refused() {
    // What nobody carries out: the guest's own fault, or nothing.
    for function in [
        lgdt as extern "sysv64" fn(u64),
        lidt,
        lldt,
        ltr,
        swapgs,
        sysret,
        invlpg,
        lmsw,
    ] {
        let page = Page::take();
        let trap = traps::probe(function, page.address);
        expect_eq!(trap.map(|trap| trap.frame.vector), Some(13));
    }
    for function in [invd as extern "sysv64" fn(u64), monitor, read_pmc, vmcall] {
        let trap = traps::probe(function, Page::take().address);
        expect!(trap.is_none_or(|trap| trap.frame.vector == 13 || trap.frame.vector == 6));
    }
    let _ = iretq;
    // The counter is read in place.
    let (first, second) = (get(read_tsc, 0), get(read_tsc, 0));
    expect!(first.is_some() && second > first);
}

fn programs() {
    traps::init_programs();
    let stack = Page::take().address + PAGE - 64;
    let page = Page::take();
    // Where code returns to that should not have come so far.
    memory::write(stack, undefined as *const () as u64);
    let enter = |function: extern "sysv64" fn(u64)| {
        let frame = Frame {
            rip: function as *const () as u64,
            cs: CS64,
            rflags: IF | 2,
            rsp: stack,
            ss: SS,
            rdi: page.address,
            ..Frame::default()
        };
        traps::enter(&frame, 0)
    };
    page.set(0, 0x80);
    hypercalls::set_iopl(1);
    expect_eq!(enter(in8).frame.vector, 13);
    // The level of programs, for the kernel that lets them.
    hypercalls::set_iopl(3);
    code! {
        in_and_call: "mov edx, 0x80", "in al, dx", "syscall";
    }
    expect_eq!(enter(in_and_call).frame.vector, traps::SYSCALL);
    hypercalls::set_iopl(0);
    // By the bitmap: port 0x80 alone.
    let bitmap = Page::take();
    for index in 0..512 {
        bitmap.set(index, u64::MAX);
    }
    let mut bits = physdev::SetIobitmap {
        bitmap: guest_runtime::xen_abi::GuestHandle::new(bitmap.address),
        nr_ports: 0x1000,
        _hole0: [0; 4],
    };
    let set = |bits: &mut physdev::SetIobitmap| {
        hypercalls::call_with(number::PHYSDEV_OP, physdev::SET_IOBITMAP, bits)
    };
    expect_eq!(set(&mut bits), 0);
    expect_eq!(enter(in_and_call).frame.vector, 13);
    bitmap.set(2, !1);
    expect_eq!(enter(in_and_call).frame.vector, traps::SYSCALL);
    page.set(0, 0x81);
    expect_eq!(enter(in8).frame.vector, 13);
    // Shorter than the port, longer than all ports.
    bits.nr_ports = 0x80;
    expect_eq!(set(&mut bits), 0);
    expect_eq!(enter(in_and_call).frame.vector, 13);
    bits.nr_ports = 0x1_0001;
    expect_eq!(set(&mut bits), -22);
    bits.nr_ports = 0;
    expect_eq!(set(&mut bits), 0);
    // Registers are the kernel's.
    for function in [
        read_msr as extern "sysv64" fn(u64),
        write_msr,
        read_cr0,
        write_cr3,
        clts,
        read_dr,
        cli,
        xsetbv,
    ] {
        page.set(0, 0xc000_0100);
        page.set(1, 0);
        page.set(2, 0);
        let trap = enter(function);
        // The processor does not know an instruction for a state that it does not have.
        let expected = if core::ptr::fn_addr_eq(function, xsetbv as extern "sysv64" fn(u64))
            && identify::cpuid(1, 0)[2] & (1 << 26) == 0
        {
            6
        } else {
            13
        };
        expect_eq!(
            trap.frame.vector,
            expected,
            "at {:#x} of {:#x}",
            trap.frame.rip,
            function as *const () as u64
        );
    }
}
