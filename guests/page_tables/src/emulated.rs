//! Tables written as memory: the hypervisor carries the instruction out, with all checks, or the guest faults.

use guest_runtime::memory::pte;
use guest_runtime::traps::{self, Trap};
use guest_runtime::{expect, expect_eq};

use crate::{Tree, names};

macro_rules! code {
    ($($name:ident: $($line:literal),+;)+) => {
        $(
            #[unsafe(naked)]
            extern "sysv64" fn $name(_: u64) {
                core::arch::naked_asm!($($line),+, "ret")
            }
        )+
    };
}

// RDI points to two words: the address to write to, and the value.
code! {
    mov64: "mov rax, [rdi + 8]", "mov rdi, [rdi]", "mov [rdi], rax";
    mov32: "mov rax, [rdi + 8]", "mov rdi, [rdi]", "mov [rdi], eax";
    mov16: "mov rax, [rdi + 8]", "mov rdi, [rdi]", "mov [rdi], ax";
    mov8: "mov rax, [rdi + 8]", "mov rdi, [rdi]", "mov [rdi], al";
    xchg: "mov rax, [rdi + 8]", "mov rsi, rdi", "mov rdi, [rdi]", "xchg [rdi], rax", "mov [rsi + 8], rax";
    cmpxchg: "mov rdx, [rdi + 8]", "mov rsi, rdi", "mov rdi, [rdi]", "mov rax, [rdi]", "lock cmpxchg [rdi], rdx",
        "setz al", "movzx eax, al", "mov [rsi + 8], rax";
    cmpxchg_fails: "mov rsi, rdi", "mov rdi, [rdi]", "mov rax, [rdi]", "inc rax", "xor edx, edx", "lock cmpxchg [rdi], rdx",
        "mov [rsi + 8], rax";
    set_bit: "mov rdi, [rdi]", "lock bts qword ptr [rdi], 9";
    reset_bit: "mov rdi, [rdi]", "lock btr qword ptr [rdi], 1";
    and64: "mov rax, [rdi + 8]", "mov rdi, [rdi]", "lock and [rdi], rax";
    or8: "mov rdi, [rdi]", "lock or byte ptr [rdi + 1], 2";
    immediate: "mov rdi, [rdi]", "mov qword ptr [rdi], 0";
}

fn run_code(function: extern "sysv64" fn(u64), at: u64, value: u64) -> (Option<Trap>, u64) {
    let mut words = [at, value];
    let trap = traps::probe(function, words.as_mut_ptr().expose_provenance() as u64);
    // SAFETY: written by the code.
    (trap, unsafe { (&raw const words[1]).read_volatile() })
}

pub(crate) fn run() {
    let tree = Tree::new();
    let at = tree.l1.address;
    let good = tree.page.maddr() | pte::PAGE_RW;
    // What the hypervisor adds to a kernel's entry.
    let kept = |value: u64| value & !(pte::US | pte::A | pte::D | 1 << 52);
    let write = |function, at, value| run_code(function, at, value).0;

    for (function, value) in [
        (mov64 as extern "sysv64" fn(u64), good),
        (mov64, 0),
        (mov64, good | 0x200),
        (immediate, 0),
    ] {
        expect_eq!(write(function, at, value), None);
        expect_eq!(kept(tree.l1.get(0)), kept(value));
        expect_eq!(write(function, at + 0xff8, value), None);
        expect_eq!(kept(tree.l1.get(511)), kept(value));
    }
    expect_eq!(write(mov64, at, good), None);
    expect_eq!(write(mov64, at + 0xff8, 0), None);
    // Parts of an entry.
    expect_eq!(write(mov32, at, good & 0xffff_ffff | 0x400), None);
    expect_eq!(kept(tree.l1.get(0)), kept(good | 0x400));
    expect_eq!(write(mov16, at, good & 0xffff), None);
    expect_eq!(kept(tree.l1.get(0)), kept(good));
    expect_eq!(write(mov8, at, good & 0xff & !pte::RW), None);
    expect_eq!(kept(tree.l1.get(0)), kept(good & !pte::RW));
    expect_eq!(write(mov8, at, good & 0xff), None);
    // Exchanges, with what was there before.
    let before = tree.l1.get(0);
    let (trap, old) = run_code(xchg, at, good | 0x800);
    expect_eq!(trap, None);
    expect_eq!(old, before);
    expect_eq!(kept(tree.l1.get(0)), kept(good | 0x800));
    let (trap, done) = run_code(cmpxchg, at, good);
    expect_eq!((trap, done), (None, 1));
    expect_eq!(kept(tree.l1.get(0)), kept(good));
    let before = tree.l1.get(0);
    let (trap, seen) = run_code(cmpxchg_fails, at, 0);
    expect_eq!((trap, seen), (None, before));
    expect_eq!(tree.l1.get(0), before);
    // Bits.
    expect_eq!(write(set_bit, at, 0), None);
    expect_eq!(kept(tree.l1.get(0)), kept(good | 0x200));
    expect_eq!(write(or8, at, 0), None);
    expect_eq!(write(reset_bit, at, 0), None);
    expect_eq!(kept(tree.l1.get(0)), kept((good | 0x200) & !pte::RW));
    expect_eq!(write(and64, at, !0x200), None);
    expect_eq!(kept(tree.l1.get(0)), kept(good & !pte::RW));
    expect_eq!(write(mov64, at, good), None);

    // What no call may do, no instruction may.
    for bad in [
        good | 1 << 51,
        good | 1 << 45,
        tree.l1.maddr() | pte::PAGE_RW,
        tree.l4.maddr() | pte::PAGE_RW,
        0xfee0_0000 | pte::PAGE_RW,
        1 << 40 | pte::PAGE_RW,
    ] {
        for function in [mov64 as extern "sysv64" fn(u64), xchg, cmpxchg] {
            let before = tree.l1.get(0);
            let (trap, _) = run_code(function, at, bad);
            expect_eq!(
                trap.map(|trap| (trap.frame.vector, trap.frame.error, trap.cr2)),
                Some((14, 3, at))
            );
            expect_eq!(tree.l1.get(0), before);
        }
    }
    // Over two entries.
    let (trap, _) = run_code(mov64, at + 4, 0);
    expect_eq!(trap.map(|trap| trap.frame.vector), Some(14));
    // Tables above the lowest: only by calls.
    for (table, below) in [(tree.l2, tree.l1), (tree.l3, tree.l2), (tree.l4, tree.l3)] {
        for value in [
            0,
            names(below),
            names(below) | pte::PSE,
            names(below) | pte::NX,
        ] {
            for function in [mov64 as extern "sysv64" fn(u64), xchg, cmpxchg] {
                let before = table.get(0);
                let (trap, _) = run_code(function, table.address, value);
                expect_eq!(
                    trap.map(|trap| (trap.frame.vector, trap.frame.error)),
                    Some((14, 3))
                );
                expect_eq!(table.get(0), before);
            }
        }
    }
    expect!(tree.l1.get(0) & pte::P != 0);
    tree.end();
}
