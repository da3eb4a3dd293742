//! Per-CPU blocks: mapping the pages of a new CPU, and where each CPU's own descriptors are.

use core::sync::atomic::{AtomicU64, Ordering};

use addr::Mfn;
use platform_cpu::lock::{Rank, SpinLock};
use platform_cpu::{MAX_CPUS, layout};

use crate::layout::{DIRECT_MAP, bits};
use crate::table_page::{TablePage, physical};

/// Address of the L2 table of all blocks.
static L2: AtomicU64 = AtomicU64::new(0);
/// Frame of each CPU's page of descriptors.
static GDT_FRAMES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static MAPPING: SpinLock<()> = SpinLock::new(Rank::new(57, "per-CPU blocks"), ());

pub(crate) fn set_l2(address: u64) {
    L2.store(address, Ordering::Relaxed);
}

pub(crate) fn set_gdt_frame(cpu: usize, frame: u64) {
    if let Some(place) = GDT_FRAMES.get(cpu) {
        place.store(frame, Ordering::Relaxed);
    }
}

/// Frame of `cpu`'s page of descriptors.
pub(crate) fn gdt_frame(cpu: usize) -> Mfn {
    Mfn::new(
        GDT_FRAMES
            .get(cpu)
            .map_or(0, |frame| frame.load(Ordering::Relaxed)),
    )
}

/// Frame of `cpu`'s page of descriptors, 0 if the CPU has no block.
pub fn block_frame(cpu: usize) -> Mfn {
    gdt_frame(cpu)
}

/// Gives `cpu` a block of zeroed pages. True if it has one now, or had one before (which is not zeroed again);
/// false if there is no memory or no such CPU.
pub fn map_block(cpu: usize) -> bool {
    if cpu >= MAX_CPUS {
        return false;
    }
    let _guard = MAPPING.lock();
    if gdt_frame(cpu).raw() != 0 {
        return true;
    }
    // An L1 is the part of 8 blocks.
    let l2 = (DIRECT_MAP + L2.load(Ordering::Relaxed)) as *const [AtomicU64; 512];
    // SAFETY: the table was built at boot, in RAM of the direct map, and is written here only.
    let l2 = unsafe { &*l2 };
    let index = (layout::block(cpu) >> 21 & 511) as usize;
    let Some(slot) = l2.get(index) else {
        return false;
    };
    let mut value = slot.load(Ordering::Relaxed);
    if value == 0 {
        let Some(table) = TablePage::new() else {
            return false;
        };
        value = table.address() | bits::TABLE;
        table.leak();
        slot.store(value, Ordering::Release);
    }
    // SAFETY: a table made here or at boot, both in RAM of the direct map or in the image.
    let l1 = unsafe { &*(virt(value & bits::FRAME) as *const [AtomicU64; 512]) };
    let first = (layout::block(cpu) >> 12 & 511) as usize;
    for page in 0..layout::BLOCK_PAGES {
        let Some(entry) = l1.get(first + page) else {
            return false;
        };
        if !layout::page_is_mapped(page) || entry.load(Ordering::Relaxed) != 0 {
            continue;
        }
        let Some(memory) = TablePage::new() else {
            // What is mapped stays for another try.
            return false;
        };
        let address = memory.address();
        memory.leak();
        entry.store(address | bits::DATA, Ordering::Release);
        if page as u64 == layout::GDT >> 12 {
            set_gdt_frame(cpu, address >> 12);
        }
    }
    true
}

/// Address of a heap page by its address in the machine. Pages of the boot pool are in the image.
fn virt(address: u64) -> u64 {
    let image = crate::layout::IMAGE + address.wrapping_sub(crate::layout::IMAGE_LOAD);
    if crate::init::image_frames().contains(&(address >> 12)) && physical(image) == address {
        image
    } else {
        DIRECT_MAP + address
    }
}
