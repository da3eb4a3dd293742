//! Other domains' frames, by every call that takes a frame's number.

use guest_runtime::grants::setup_table;
use guest_runtime::memory::{self, Page};
use guest_runtime::xen_abi::domid::{DOMID_IO, DOMID_SELF, DOMID_XEN};
use guest_runtime::xen_abi::errno::Errno;
use guest_runtime::xen_abi::memory::MemoryReservation;
use guest_runtime::xen_abi::mmu::{
    MMUEXT_NEW_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE, MmuUpdate,
};
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::{hypercall as number, memory as abi, vcpu};
use guest_runtime::{expect, expect_eq, hypercalls::call, println};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;

/// Whether a frame is this domain's: the machine-to-physical table says so, and the physical-to-machine one agrees.
fn is_own(mfn: u64, pages: u64) -> bool {
    let pfn = memory::pfn_of(mfn);
    pfn < pages && memory::mfn_of(pfn) == mfn
}

/// Tries all that can be done with one frame that is not this domain's.
fn try_frame(page: Page, mfn: u64) {
    let address = page.pfn() << 12;
    for flags in [PRESENT | USER, PRESENT | USER | WRITABLE] {
        let result = memory::update_va_mapping(address, mfn << 12 | flags);
        expect!(result < 0);
    }
    for command in [MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_NEW_BASEPTR] {
        expect!(memory::mmuext(command, mfn, 0) < 0);
    }
    // As a page of descriptors.
    let frames = [mfn];
    expect!(call(number::SET_GDT, &[(&raw const frames) as u64, 8]) < 0);
    // As the place of a vCPU's information.
    let mut info = vcpu::RegisterVcpuInfo {
        mfn,
        offset: 0,
        rsvd: 0,
    };
    let register = [
        u64::from(vcpu::REGISTER_VCPU_INFO),
        0,
        (&raw mut info) as u64,
    ];
    expect!(call(number::VCPU_OP, &register) < 0);
    // Its name in the machine-to-physical table.
    expect!(memory::mmu_update(mfn << 12 | 1, 0) < 0);
    // An entry of it, as if it were a table.
    expect!(memory::mmu_update(mfn << 12, 0) < 0);
    // Given up, or exchanged.
    let mut list = [mfn];
    let mut reservation = reservation(&mut list, DOMID_SELF);
    let at = (&raw mut reservation) as u64;
    expect_eq!(
        call(
            number::MEMORY_OP,
            &[u64::from(abi::DECREASE_RESERVATION), at]
        ),
        0
    );
}

fn reservation(list: &mut [u64; 1], domid: u16) -> MemoryReservation {
    MemoryReservation {
        extent_start: guest_runtime::xen_abi::GuestHandle::new((&raw mut *list) as u64),
        nr_extents: 1,
        extent_order: 0,
        mem_flags: 0,
        domid,
        ..zeroed()
    }
}

fn zeroed() -> MemoryReservation {
    // SAFETY: a structure of numbers.
    unsafe { core::mem::zeroed() }
}

/// Other domains named in calls about memory.
fn other_domains(page: Page) {
    let own = page.mfn();
    for domain in [0u64, u64::from(DOMID_XEN), 0x7000] {
        let mut update = [MmuUpdate {
            ptr: (memory::root() << 12) | 8,
            val: own << 12 | PRESENT,
        }];
        let mut done = 0;
        // Frames of the other, in tables of this one; and the reverse.
        expect!(memory::mmu_updates(&mut update, &mut done, domain) < 0);
        expect!(memory::mmu_updates(&mut update, &mut done, (domain + 1) << 16 | 0x7ff0) < 0);
        for operation in [
            abi::INCREASE_RESERVATION,
            abi::DECREASE_RESERVATION,
            abi::POPULATE_PHYSMAP,
        ] {
            let mut list = [own];
            let mut reservation = reservation(&mut list, domain as u16);
            let at = (&raw mut reservation) as u64;
            expect_eq!(call(number::MEMORY_OP, &[u64::from(operation), at]), 0);
        }
    }
    // Device memory: the local APIC, and what is behind the end of RAM.
    for device in [0xfee00u64, 0xfec00, 0xb8, 0x1_0000_0000] {
        let mut update = [MmuUpdate {
            ptr: 0,
            val: device << 12 | PRESENT | WRITABLE | USER,
        }];
        if let Some(entry) = memory::entry_of(page.pfn() << 12, 1) {
            update[0].ptr = entry.maddr;
        }
        let mut done = 0;
        let result = memory::mmu_updates(&mut update, &mut done, u64::from(DOMID_IO));
        expect!(result < 0);
    }
    let mut claim = reservation(&mut [0], 0);
    claim.extent_start = guest_runtime::xen_abi::GuestHandle::NULL;
    expect_eq!(
        call(
            number::MEMORY_OP,
            &[u64::from(abi::CLAIM_PAGES), (&raw mut claim) as u64]
        ),
        -i64::from(Errno::EPERM.0)
    );
}

/// The first frame of this domain's grant table.
fn own_grant_frame() -> u64 {
    let (status, frames) = setup_table(DOMID_SELF, 1);
    expect_eq!(status, 0);
    frames[0]
}

/// Goes through the machine's frames.
pub(crate) fn check_all(info: &StartInfo) {
    let page = Page::take();
    let highest = call(number::MEMORY_OP, &[u64::from(abi::MAXIMUM_RAM_PAGE)]);
    expect!(highest > 0);
    // What the hypervisor lends this domain may be mapped.
    let lent = [info.shared_info >> 12, own_grant_frame()];
    let mut tried = 0;
    let mut mfn = 0x100;
    while mfn < highest as u64 {
        if !is_own(mfn, info.nr_pages) && !lent.contains(&mfn) {
            try_frame(page, mfn);
            tried += 1;
        }
        // A stride that visits all kinds of frames.
        mfn += 211;
    }
    // The hypervisor's own, first of all the page that it shares with us, which may be mapped and be no table.
    let shared = info.shared_info >> 12;
    expect!(memory::mmuext(MMUEXT_PIN_L1_TABLE, shared, 0) < 0);
    expect!(memory::mmuext(MMUEXT_PIN_L4_TABLE, shared, 0) < 0);
    other_domains(page);
    println!("{tried} frames of others are out of reach");
}
