//! Frames that are not the guest's: free ones, the hypervisor's, devices'.

use guest_runtime::grants::setup_table;
use guest_runtime::memory::{self, Page, mmu_update, pte, update_va_mapping};
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::memory::MACHINE_MEMORY_MAP;
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{expect, expect_eq, hypercalls, println};

/// An entry of a memory map in the machine's format.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    bytes: u64,
    kind: u32,
}

#[repr(C)]
struct MemoryMap {
    entries: u32,
    _hole: u32,
    buffer: u64,
}

const RAM: u32 = 1;

/// Frames that the hypervisor shares with the guest for writing: its shared info and the start of its grant table.
fn shared_frames(info: &StartInfo) -> [u64; 2] {
    let (status, grants) = setup_table(DOMID_SELF, 1);
    expect_eq!(status, 0);
    [info.shared_info / memory::PAGE, grants[0]]
}

pub(crate) fn run(info: &StartInfo) {
    let shared = shared_frames(info);
    let mut ranges = [Range {
        start: 0,
        bytes: 0,
        kind: 0,
    }; 64];
    let mut map = MemoryMap {
        entries: ranges.len() as u32,
        _hole: 0,
        buffer: ranges.as_mut_ptr().expose_provenance() as u64,
    };
    expect_eq!(
        hypercalls::call_with(number::MEMORY_OP, MACHINE_MEMORY_MAP, &mut map),
        0
    );
    expect!(map.entries > 1);
    let page = Page::take();
    let table = crate::table(&[]);
    expect_eq!(crate::pins::pin(1, table.mfn()), 0);
    let (mut others, mut readable, mut writable) = (0, 0, 0);
    for range in ranges.iter().take(map.entries as usize) {
        let (start, end) = (
            range.start / memory::PAGE,
            (range.start + range.bytes) / memory::PAGE,
        );
        // Below 1 MiB dom0 may have what is not used.
        if range.kind != RAM || start < 0x100 {
            continue;
        }
        for mfn in start..end {
            let pfn = memory::pfn_of(mfn);
            if is_own(mfn, pfn) || shared.contains(&mfn) {
                continue;
            }
            others += 1;
            // Writable by each way; the pages that the hypervisor shares may be read.
            let rw = mfn * memory::PAGE | pte::PAGE_RW;
            if mfn % 3 == 0 {
                writable += u32::from(mmu_update(table.maddr() + 8, rw) == 0);
            } else if mfn % 3 == 1 {
                writable += u32::from(update_va_mapping(page.address, rw) == 0);
            } else {
                readable += u32::from(mmu_update(table.maddr() + 8, rw & !pte::RW) == 0);
            }
        }
    }
    println!("{others} frames of others, {readable} readable, {writable} writable");
    expect!(others > 1000);
    expect_eq!(writable, 0);
    expect_eq!(page.map_rw(), 0);

    // Devices: domain 0 has most of them. The interrupt controllers are the hypervisor's.
    for device in [0xfee0_0000_u64, 0xfec0_0000] {
        for kind in crate::entries::KINDS {
            // Refused, or not writable whatever was asked.
            let result = mmu_update(table.maddr() + 16 | kind, device | pte::PAGE_RW);
            expect!(result < 0 || table.get(2) & pte::RW == 0);
        }
        let result = update_va_mapping(page.address, device | pte::PAGE_RW);
        let entry = memory::entry_of(page.address, 1).map_or(0, |entry| entry.value);
        expect!(result < 0 || entry & pte::RW == 0);
    }
    expect_eq!(
        mmu_update(table.maddr() + 16, 0xb_8000 | pte::PAGE_RW | pte::PCD),
        0
    );
    expect_eq!(
        mmu_update(table.maddr() + 16, 0xfd00_0000 | pte::PAGE_RW | pte::PCD),
        0
    );
    expect_eq!(
        mmu_update(table.maddr() + 16, 0xfd00_0000 | pte::PAGE_RW),
        0
    );
    expect_eq!(mmu_update(table.maddr() + 16, 0), 0);
    // The hypervisor's own tables, which the root's entries name.
    for slot in 256..272 {
        let entry = memory::read::<u64>(memory::root() + 8 * slot);
        if entry & pte::P != 0 {
            let frame = entry & pte::ADDRESS;
            let mfn = frame / memory::PAGE;
            if is_own(mfn, memory::pfn_of(mfn)) {
                continue;
            }
            expect!(update_va_mapping(page.address, frame | pte::PAGE_RW) < 0);
            expect!(update_va_mapping(page.address, frame | pte::PAGE_RO) < 0);
            expect!(mmu_update(frame + 8, 0) < 0);
            expect!(mmu_update(frame + 8, page.maddr() | pte::PAGE_RW) < 0);
            expect!(crate::pins::pin(3, frame / memory::PAGE) < 0);
        }
    }
    expect_eq!(page.map_rw(), 0);
    expect_eq!(crate::pins::unpin(table.mfn()), 0);
}

/// Whether a frame is this guest's by the p2m.
fn is_own(mfn: u64, pfn: u64) -> bool {
    pfn < crate::PAGES.load(core::sync::atomic::Ordering::Relaxed) && memory::mfn_of(pfn) == mfn
}
