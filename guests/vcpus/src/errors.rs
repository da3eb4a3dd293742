//! Calls that are refused.

use guest_runtime::memory::{Page, address_of};
use guest_runtime::vcpus::{self, context, vcpu_op};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::vcpu;
use guest_runtime::xen_abi::vcpu_context::VcpuGuestContext;
use guest_runtime::{expect, expect_eq, hypercalls};

use crate::{EFAULT, EINVAL, ENOENT};

/// An address that no CPU takes.
const NOT_CANONICAL: u64 = 0x8000_0000_0000;

/// vCPUs that do not exist.
pub(crate) fn numbers(count: u32) {
    expect_eq!(vcpus::is_up(0), 1);
    for id in [count, count + 1, 8192, u32::MAX] {
        expect_eq!(vcpus::is_up(id), ENOENT, "vCPU {id}");
        expect_eq!(vcpus::up(id), ENOENT, "vCPU {id}");
        expect_eq!(vcpus::down(id), ENOENT, "vCPU {id}");
        expect_eq!(
            vcpu_op(vcpu::SET_PERIODIC_TIMER, id, &mut 0_u64),
            ENOENT,
            "vCPU {id}"
        );
    }
    // vCPU 0 has its context from the start.
    expect!(vcpus::initialise(0, never, 0) == crate::EEXIST);
}

extern "sysv64" fn never(_: u64) -> ! {
    guest_runtime::println!("a vCPU runs that was refused");
    guest_runtime::fail()
}

/// Contexts that a vCPU cannot have; none of them may leave a trace.
pub(crate) fn initialise(id: u32) {
    let refused = |name: &str, wanted: &VcpuGuestContext, error: i64| {
        let mut wanted = *wanted;
        expect_eq!(
            vcpu_op(vcpu::INITIALISE, id, &mut wanted),
            error,
            "{}",
            name
        );
        expect_eq!(vcpus::up(id), EINVAL, "{} leaves no context", name);
    };
    let good = context(id, never, 0);
    for address in [0x4000_0000_0000, NOT_CANONICAL] {
        expect_eq!(
            hypercalls::call(
                number::VCPU_OP,
                &[u64::from(vcpu::INITIALISE), u64::from(id), address]
            ),
            EFAULT
        );
    }
    let mut bad = good;
    bad.user_regs.rip = NOT_CANONICAL;
    refused("rip", &bad, EINVAL);
    bad = good;
    bad.event_callback_eip = NOT_CANONICAL;
    refused("the event callback", &bad, EINVAL);
    bad = good;
    bad.syscall_callback_eip = NOT_CANONICAL;
    refused("the syscall callback", &bad, EINVAL);
    bad = good;
    bad.gs_base_kernel = NOT_CANONICAL;
    refused("the base of GS", &bad, EINVAL);
    bad = good;
    bad.gdt_ents = 14 * 512 + 1;
    refused("a GDT beyond its room", &bad, EINVAL);
    bad = good;
    bad.ctrlreg[3] = u64::MAX;
    refused("a root that does not exist", &bad, EINVAL);
    // A page that is writable is no page table, nor one of descriptors.
    let page = Page::take();
    bad = good;
    bad.ctrlreg[3] = page.maddr();
    refused("a root that is mapped writable", &bad, EINVAL);
    bad = good;
    bad.gdt_frames[0] = page.mfn();
    bad.gdt_ents = 512;
    refused("descriptors that are mapped writable", &bad, EINVAL);
    // After all of this, the page is as free as before.
    page.set(0, 1);
    expect_eq!(page.map_ro(), 0);
    expect_eq!(page.map_rw(), 0);
    let mut wanted = 0_u64;
    expect_eq!(
        vcpu_op(99, id, &mut wanted),
        -38,
        "an operation that does not exist"
    );
    let _ = address_of(&mut wanted);
}
