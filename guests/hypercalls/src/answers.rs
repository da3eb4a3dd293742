//! Answers that callers rely on.

use core::arch::asm;

use guest_runtime::memory::{M2P, Page};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::{callback, memory, sched, version};
use guest_runtime::{expect, expect_eq, hypercalls, traps};

use crate::{bad_pointers, check_alive};

const EPERM: i64 = -1;
const ENOENT: i64 = -2;
const ESRCH: i64 = -3;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ENOSYS: i64 = -38;

pub(crate) fn run() {
    numbers();
    faults();
    arguments();
    multicalls();
}

fn numbers() {
    for nr in [
        11,
        43,
        44,
        45,
        46,
        47,
        56,
        57,
        63,
        64,
        65,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        expect_eq!(hypercalls::call(nr, &[0, 0]), ENOSYS, "call {nr}");
    }
}

/// Pointers that cannot be read or written.
fn faults() {
    let call = hypercalls::call;
    for bad in [
        0x4000_0000_0000,
        0x8000_0000_0000,
        0xffff_8300_0000_0000,
        u64::MAX - 7,
    ] {
        let fault = |nr: u32, arguments: &[u64]| {
            expect_eq!(call(nr, arguments), EFAULT, "call {nr} {arguments:x?}");
        };
        fault(number::SET_TRAP_TABLE, &[bad]);
        fault(number::MMU_UPDATE, &[bad, 1, 0, 0x7ff0]);
        fault(number::SET_GDT, &[bad, 1]);
        for operation in [
            version::EXTRAVERSION,
            version::CAPABILITIES,
            version::PLATFORM_PARAMETERS,
            version::GET_FEATURES,
        ] {
            fault(number::XEN_VERSION, &[u64::from(operation), bad]);
        }
        for operation in [
            memory::MEMORY_MAP,
            memory::MACHINE_MEMORY_MAP,
            memory::EXCHANGE,
        ] {
            fault(number::MEMORY_OP, &[u64::from(operation), bad]);
        }
        for operation in [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] {
            fault(number::EVENT_CHANNEL_OP, &[operation, bad]);
        }
        fault(number::SCHED_OP, &[u64::from(sched::SHUTDOWN), bad]);
        fault(number::SCHED_OP, &[u64::from(sched::POLL), bad]);
        fault(number::CALLBACK_OP, &[u64::from(callback::REGISTER), bad]);
        fault(number::CALLBACK_OP, &[u64::from(callback::UNREGISTER), bad]);
        for operation in [6, 7, 21, 25] {
            fault(number::PHYSDEV_OP, &[operation, bad]);
        }
        fault(number::PLATFORM_OP, &[bad]);
        fault(number::SYSCTL, &[bad]);
        fault(number::MULTICALL, &[bad, 1]);
        fault(number::VCPU_OP, &[4, 0, bad]);
        fault(number::VCPU_OP, &[8, 0, bad]);
        fault(number::MMUEXT_OP, &[bad, 1, 0, 0x7ff0]);
        for operation in [0, 1, 2, 5, 6] {
            fault(number::GRANT_TABLE_OP, &[operation, bad, 1]);
        }
        fault(number::CONSOLE_IO, &[0, 5, bad]);
    }
}

fn arguments() {
    let call = hypercalls::call;
    for operation in [15, 99, 0x8000_0000] {
        expect_eq!(call(number::EVENT_CHANNEL_OP, &[operation, 0]), ENOSYS);
        expect_eq!(call(number::SCHED_OP, &[operation, 0]), ENOSYS);
        expect_eq!(call(number::XEN_VERSION, &[operation + 20, 0]), ENOSYS);
        expect_eq!(call(number::CALLBACK_OP, &[operation, 0]), ENOSYS);
        expect_eq!(call(number::CONSOLE_IO, &[operation, 0]), ENOSYS);
        expect_eq!(call(number::VCPU_OP, &[operation + 2, 0, 0]), ENOSYS);
    }
    // No such vCPU.
    for vcpu in [1, 77, 0xffff_ffff] {
        expect_eq!(call(number::VCPU_OP, &[3, vcpu, 0]), ENOENT);
        expect_eq!(call(number::VCPU_OP, &[9, vcpu, 0]), ENOENT);
    }
    expect_eq!(call(number::VCPU_OP, &[3, 0, 0]), 1);
    expect_eq!(call(number::SET_SEGMENT_BASE, &[4, 0]), EINVAL);
    for which in 0..3 {
        expect_eq!(
            call(number::SET_SEGMENT_BASE, &[which, 0x8000_0000_0000]),
            EINVAL
        );
        expect_eq!(call(number::SET_SEGMENT_BASE, &[which, 0]), 0);
    }
    expect_eq!(call(number::SET_SEGMENT_BASE, &[3, 0xfff8]), 0);
    for kind in [8, 31, 33, 63] {
        expect_eq!(call(number::VM_ASSIST, &[0, kind]), EINVAL, "assist {kind}");
    }
    expect_eq!(call(number::VM_ASSIST, &[2, 2]), ENOSYS);
    expect_eq!(call(number::STACK_SWITCH, &[0xe02b, 0]), 0);
    // Another domain that is none.
    let mut domain = 77_u16;
    expect_eq!(
        hypercalls::call_with(number::MEMORY_OP, memory::CURRENT_RESERVATION, &mut domain),
        ESRCH
    );
    let _ = EPERM;
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    nr: u64,
    result: u64,
    arguments: [u64; 6],
}

fn entry(nr: u32, arguments: [u64; 6]) -> Entry {
    Entry {
        nr: u64::from(nr),
        result: 0x5a5a,
        arguments,
    }
}

fn multicalls() {
    let version = entry(number::XEN_VERSION, [0; 6]);
    let wrong = entry(62, [0; 6]);
    let mut list = [version, wrong, version];
    let at = list.as_mut_ptr().expose_provenance() as u64;
    expect_eq!(hypercalls::call(number::MULTICALL, &[at, 3]), 0);
    expect_eq!(
        list.map(|entry| entry.result as i64 == ENOSYS),
        [false, true, false]
    );
    // A list in a list is refused, and the others are made.
    list = [
        version,
        entry(number::MULTICALL, [at, 3, 0, 0, 0, 0]),
        version,
    ];
    expect_eq!(hypercalls::call(number::MULTICALL, &[at, 3]), 0);
    expect!(list[1].result as i64 == EINVAL);
    expect!(list[2].result >> 16 == 4);
    expect_eq!(hypercalls::call(number::MULTICALL, &[at, 0]), 0);
    // Longer than what is there.
    let hole = crate::crossing();
    let start = hole - 128;
    for index in 0..2 {
        guest_runtime::memory::write(start + 64 * index, version);
    }
    expect_eq!(hypercalls::call(number::MULTICALL, &[start, 3]), EFAULT);
    expect_eq!(
        hypercalls::call(number::MULTICALL, &[start, 0xffff_ffff]),
        EFAULT
    );
    for pointer in bad_pointers(hole) {
        expect!(hypercalls::call(number::MULTICALL, &[pointer, 1]) < 0 || pointer < 4096);
    }
    // Where results cannot be written.
    let page = Page::take();
    guest_runtime::memory::write(page.address, version);
    expect_eq!(page.map_ro(), 0);
    expect_eq!(
        hypercalls::call(number::MULTICALL, &[page.address, 1]),
        EFAULT
    );
    expect_eq!(page.map_rw(), 0);
    let _ = M2P;
    // A return in a list: made and the rest left, or refused (213). Its frame leads behind the call.
    let mut list = [version, entry(number::IRET, [0; 6]), version];
    // SAFETY: the frame on the stack is for the next instruction with the same stack; RBX is put back.
    unsafe {
        asm!(
            "mov r12, rsp",
            "lea r13, [rip + 2f]",
            "push {ss}",
            "push r12",
            "push 2",
            "push {cs}",
            "push r13",
            "push 0",
            "push 0",
            "push 0",
            "push 0",
            "mov eax, {multicall}",
            "syscall",
            "2:",
            "mov rsp, r12",
            ss = const traps::SS,
            cs = const traps::KERNEL_CS,
            multicall = const number::MULTICALL,
            inlateout("rdi") list.as_mut_ptr() => _,
            inlateout("rsi") 3_u64 => _,
            out("rax") _, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _,
        );
    }
    expect!(list[0].result >> 16 == 4);
    check_alive();
}
