//! What `cpuid` says behind the prefix by which guests ask the hypervisor for it.

use core::arch::asm;

use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::{expect, expect_eq, hypercalls, traps};

use crate::code;

/// `cpuid` by the forced emulation prefix.
pub(crate) fn cpuid(leaf: u32, sub_leaf: u32) -> [u32; 4] {
    let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
    // SAFETY: the hypervisor knows the prefix; RBX is put back.
    unsafe {
        asm!(
            "mov r8, rbx",
            "ud2",
            ".ascii \"xen\"",
            "cpuid",
            "xchg r8, rbx",
            inlateout("eax") leaf => eax,
            inlateout("ecx") sub_leaf => ecx,
            lateout("edx") edx,
            lateout("r8") ebx,
        );
    }
    [eax, ebx as u32, ecx, edx]
}

pub(crate) fn run() {
    let [max, b, c, d] = cpuid(0x4000_0000, 0);
    expect_eq!(
        [b, c, d].map(u32::to_le_bytes),
        [*b"XenV", *b"MMXe", *b"nVMM"]
    );
    expect!((0x4000_0002..=0x4000_00ff).contains(&max));
    let version = hypercalls::call(number::XEN_VERSION, &[0]);
    expect_eq!(i64::from(cpuid(0x4000_0001, 0)[0]), version);
    let [pages, register, features, _] = cpuid(0x4000_0002, 0);
    expect_eq!((pages, register), (1, 0x4000_0000));
    // Entries can be updated with accessed and dirty kept.
    expect_eq!(features & 1, 1);
    // What belongs to the hypervisor or the machine only is not there.
    let [_, _, ecx, edx] = cpuid(1, 0);
    // VMX, MONITOR; MTRR is the owner's. There is an FPU, and no PSE36 to rely on.
    expect_eq!(ecx & (1 << 5), 0);
    expect_eq!(edx & 1, 1);
    // A hypervisor is there.
    expect_eq!(ecx >> 31, 1);
    let [_, _, ecx, edx] = cpuid(0x8000_0001, 0);
    expect_eq!(ecx & (1 << 2), 0);
    // Long mode, system calls, no-execute; no large pages of 1 GiB, no RDTSCP unless it works.
    expect_eq!(
        edx & (1 << 29 | 1 << 11 | 1 << 20),
        1 << 29 | 1 << 11 | 1 << 20
    );
    expect_eq!(edx & (1 << 26), 0);
    // Leaves beyond the last give nothing, or the last; nobody dies.
    for leaf in [
        0x10,
        0x24,
        0x100,
        0x3fff_ffff,
        0x4000_0100,
        0x8000_0030,
        0xc000_0000,
        u32::MAX,
    ] {
        cpuid(leaf, 0);
        cpuid(leaf, u32::MAX);
    }
    // The prefix before another instruction is what it looks like.
    code! {
        prefix: "ud2", ".ascii \"xen\"", "nop";
    }
    let trap = traps::probe(prefix, 0);
    expect_eq!(
        trap.map(|trap| (trap.frame.vector, trap.frame.rip)),
        Some((6, prefix as *const () as u64))
    );
}
