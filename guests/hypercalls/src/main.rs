//! Hypercalls with every argument that is wrong: all numbers and operations with all bad pointers, and random calls
//! from a seed. What they answer is mostly their own affair; the guest and the hypervisor must go on.
//!
//! `seed=N` and `steps=N` on the command line choose the random part, so that a run can be repeated. `careful=1` leaves
//! random calls about PCI devices out, by which Xen lets the machine's owner crash it.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod answers;
mod random_calls;

use guest_runtime::memory::{self, M2P, Page};
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::{hypercall as number, sched, vcpu, version};
use guest_runtime::{check, expect, expect_eq, guest, hypercalls, option, println, shared, traps};

guest!(main);

/// Addresses that nothing good is at; the last two are for a list's or a structure's beginning.
pub(crate) fn bad_pointers(crossing: u64) -> [u64; 14] {
    [
        1,
        0x4000_0000_0000,
        0x7fff_ffff_ffff,
        0x8000_0000_0000,
        0xdead_beef_dead_beef,
        0xffff_7fff_ffff_fff8,
        M2P,
        0xffff_8200_0000_0000,
        0xffff_82d0_4000_0000,
        0xffff_8300_0000_0000,
        0xffff_87ff_ffff_ffff,
        u64::MAX,
        crossing - 1,
        crossing - 4,
    ]
}

/// A page with nothing mapped behind it: the address of that nothing.
fn crossing() -> u64 {
    let page = Page::take();
    let hole = Page::take();
    expect_eq!(hole.unmap(), 0);
    page.address + memory::PAGE
}

/// The guest still works: calls, time, page tables, traps.
pub(crate) fn check_alive() {
    let version = hypercalls::call(number::XEN_VERSION, &[u64::from(version::VERSION)]);
    check!((4 << 16 | 17..=4 << 16 | 99).contains(&version));
    check!(hypercalls::call(number::SCHED_OP, &[u64::from(sched::YIELD), 0]) == 0);
}

/// Calls and operations that end the guest, or make it wait for ever, if their argument can be read.
pub(crate) fn is_final(nr: u32, operation: u64) -> bool {
    const VCPU_DOWN: u64 = vcpu::DOWN as u64;
    match nr {
        number::IRET => true,
        // Block, poll, shut down in several ways; and by the older call all operations but yield.
        number::SCHED_OP => [
            sched::BLOCK,
            sched::POLL,
            sched::SHUTDOWN,
            sched::REMOTE_SHUTDOWN,
            sched::WATCHDOG,
        ]
        .contains(&(operation as u32)),
        number::SCHED_OP_COMPAT => operation as u32 != sched::YIELD,
        // Also what moves the page that the guest looks at, and NMIs, which need handlers.
        // Loads of a crash kernel by lists that are none take Xen with them.
        number::KEXEC_OP => [1, 4].contains(&(operation as u32)),
        number::VCPU_OP => [
            VCPU_DOWN,
            vcpu::REGISTER_VCPU_INFO.into(),
            vcpu::SEND_NMI.into(),
        ]
        .contains(&(operation & 0xffff_ffff)),
        _ => false,
    }
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    // Nothing is below the image: small numbers are bad pointers.
    for page in 0..256 {
        check!(memory::update_va_mapping(page * memory::PAGE, 0) == 0);
    }
    let seed = option(info, "seed=").unwrap_or(0x0bad_5eed);
    let steps = option(info, "steps=").unwrap_or(200_000);
    println!("answers");
    answers::run();
    println!("bad pointers");
    every_call();
    println!("random calls: seed={seed} steps={steps}");
    random_calls::run(seed, steps, option(info, "careful=").is_some());

    // All that a guest needs still works.
    traps::init();
    check_alive();
    let time = shared::now();
    let page = Page::take();
    expect_eq!(page.unmap(), 0);
    extern "sysv64" fn read(at: u64) {
        memory::read::<u8>(at);
    }
    let trap = traps::probe(read, page.address);
    expect_eq!(
        trap.map(|trap| (trap.frame.vector, trap.cr2)),
        Some((14, page.address))
    );
    expect_eq!(page.map_rw(), 0);
    expect!(shared::now() > time);
}

/// Every number, with operations and pointers that are none.
fn every_call() {
    let crossing = crossing();
    let pointers = bad_pointers(crossing);
    let operations = (0..48).chain([
        63,
        64,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 32,
        u64::MAX,
    ]);
    for nr in 0..64 {
        for operation in operations.clone() {
            if is_final(nr, operation) {
                continue;
            }
            for (index, pointer) in pointers.into_iter().enumerate() {
                let counts = [1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 0];
                let count = counts[(index + operation as usize) % counts.len()];
                // As a pointer in each place, next to a count.
                match (index + operation as usize / 5) % 3 {
                    0 => hypercalls::call(nr, &[operation, pointer, count, pointer, pointer]),
                    1 if !is_final(nr, pointer) => {
                        hypercalls::call(nr, &[pointer, count, pointer, count, operation])
                    }
                    _ => hypercalls::call(nr, &[operation, count, pointer, count, pointer]),
                };
            }
        }
        if nr == number::SET_CALLBACKS || nr == number::CALLBACK_OP {
            traps::init();
        }
        check_alive();
    }
}
