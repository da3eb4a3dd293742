//! From the first page tables to the final address space, with the frame table and the M2P in place.

use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use addr::{Mfn, PAGE_SIZE};
use arrayvec::ArrayVec;
use boot_info::{BootInfo, MAX_MODULES, RegionKind};
use frames::{FrameInfo, FrameTable};
use platform_cpu::lock::Once;
use platform_cpu::{control, layout as cpu_layout};

use crate::free_ranges::FreeRanges;
use crate::layout::{
    DIRECT_MAP, DIRECT_MAP_SIZE, IMAGE, IMAGE_LOAD, M2P, SLOT_DIRECT_MAP, SLOT_IMAGE, SLOT_M2P,
    SLOT_PER_DOMAIN, SLOT_VMAP, bits,
};
use crate::tables::{NoMemory, Tables};
use crate::{blocks, m2p, roots, vmap};

/// The first MiB is the firmware's: never handed out, always mapped.
const LOW_FRAMES: u64 = (1 << 20) >> 12;
/// Ranges of frames that the direct map can have.
const MAX_MAPPED: usize = 128;

/// What there is, for the hypervisor to build on.
pub struct MemoryInit {
    /// The book-keeping of all frames; all zero yet.
    pub frame_table: &'static FrameTable<'static>,
    /// Free RAM as (first frame, number of frames).
    pub free: FreeFrames,
    /// One above the highest frame of RAM.
    pub end: Mfn,
    /// The boot modules' contents, in the boot loader's order.
    pub modules: ArrayVec<BootModule, MAX_MODULES>,
}

/// Free RAM at the end of boot.
pub struct FreeFrames(FreeRanges);

impl FreeFrames {
    /// The ranges as (first frame, number of frames), in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Mfn, u64)> + '_ {
        self.0
            .iter()
            .map(|(first, end)| (Mfn::new(first), end - first))
    }

    /// Number of free frames.
    pub fn count(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

/// A boot module in memory.
pub struct BootModule {
    start: u64,
    len: usize,
}

impl BootModule {
    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the module's frames are in the direct map, and no one's but this value's.
        unsafe { core::slice::from_raw_parts((DIRECT_MAP + self.start) as *const u8, self.len) }
    }

    /// Gives up the module: the whole frames that it was in, to be handed to the allocator, as (first frame,
    /// number). Frames shared with other things are not among them.
    pub fn release(self) -> (Mfn, u64) {
        let first = self.start.div_ceil(PAGE_SIZE);
        let end = (self.start + self.len as u64) / PAGE_SIZE;
        (Mfn::new(first), end.saturating_sub(first))
    }
}

/// Why there can be no address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitError {
    /// It was made already.
    Again,
    /// Not enough RAM for tables of this name.
    NoMemory(&'static str),
    /// A boot module is not in RAM.
    BadModule {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// The memory map is too fragmented.
    MapFull,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => f.write_str("memory was set up before"),
            Self::NoMemory(what) => write!(f, "not enough memory for {what}"),
            Self::BadModule { index } => write!(f, "boot module {index} is not in RAM"),
            Self::MapFull => f.write_str("the firmware's memory map has too many pieces"),
        }
    }
}

static DONE: AtomicBool = AtomicBool::new(false);
static FRAME_TABLE: Once<FrameTable<'static>> = Once::new();
/// Frames in the direct map: ranges, sorted.
static MAPPED: Once<ArrayVec<Range<u64>, MAX_MAPPED>> = Once::new();
/// Start and end of the largest range of [`MAPPED`], which is nearly always the right one. Set once.
static LARGEST: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

unsafe extern "C" {
    static image_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static image_end: u8;
    static cpu0_block: u8;
}

/// Frames that hold the image.
pub(crate) fn image_frames() -> Range<u64> {
    let len = &raw const image_end as u64 - &raw const image_start as u64;
    IMAGE_LOAD >> 12..(IMAGE_LOAD + len).div_ceil(PAGE_SIZE)
}

/// Whether `frame` is in the direct map.
#[inline]
pub(crate) fn is_mapped(frame: Mfn) -> bool {
    let [start, end] = &LARGEST;
    if (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&frame.raw()) {
        return true;
    }
    is_mapped_by_list(frame)
}

#[cold]
fn is_mapped_by_list(frame: Mfn) -> bool {
    MAPPED
        .get()
        .is_some_and(|ranges| ranges.iter().any(|range| range.contains(&frame.raw())))
}

/// What of memory the direct map holds: RAM and the firmware's tables, without the image, in whole frames.
fn direct_ranges(info: &BootInfo) -> Result<ArrayVec<Range<u64>, MAX_MAPPED>, InitError> {
    let image = image_frames();
    let mut ranges = ArrayVec::<Range<u64>, MAX_MAPPED>::new();
    let mut add = |range: Range<u64>| {
        if range.is_empty() {
            return Ok(());
        }
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => ranges.try_push(range).map_err(|_| InitError::MapFull)?,
        }
        Ok(())
    };
    add(0..LOW_FRAMES)?;
    for region in info.memory_map.regions() {
        if !matches!(
            region.kind,
            RegionKind::RAM | RegionKind::ACPI | RegionKind::NVS
        ) {
            continue;
        }
        let first = region.start.raw() >> 12;
        let end = region.end.raw().min(DIRECT_MAP_SIZE).div_ceil(PAGE_SIZE);
        add(first..end.min(image.start).max(first))?;
        add(first.max(image.end)..end.max(image.end))?;
    }
    Ok(ranges)
}

/// Sets up the final address space. Once, by the boot CPU, before any other runs.
///
/// # Errors
/// There is not enough memory, or what the boot loader says is not possible.
#[inline(never)]
pub fn init(info: &BootInfo) -> Result<MemoryInit, InitError> {
    if DONE.swap(true, Ordering::Relaxed) {
        return Err(InitError::Again);
    }
    let ranges = direct_ranges(info)?;
    let mut free = FreeRanges::new();
    for (first, count) in info.memory_map.ram_frames() {
        let end = (first.raw() + count).min(DIRECT_MAP_SIZE >> 12);
        free.add(first.raw(), end);
    }
    free.remove(0, LOW_FRAMES);
    let image = image_frames();
    free.remove(image.start, image.end);
    let mut modules = ArrayVec::new();
    for (index, module) in info.modules().enumerate() {
        let start = module.start.raw();
        let end = start
            .checked_add(module.len)
            .ok_or(InitError::BadModule { index })?;
        let frames = start >> 12..end.div_ceil(PAGE_SIZE);
        let is_ram = ranges
            .iter()
            .any(|range| range.start <= frames.start && frames.end <= range.end);
        if !is_ram {
            return Err(InitError::BadModule { index });
        }
        free.remove(frames.start, frames.end);
        let _ = modules.try_push(BootModule {
            start,
            len: module.len as usize,
        });
    }
    let end = info.memory_map.ram_end().raw().min(DIRECT_MAP_SIZE >> 12);

    let tables_failed = |NoMemory| InitError::NoMemory("page tables");
    let mut tables = Tables::new(&mut free).map_err(tables_failed)?;
    map_hypervisor(&mut tables, &ranges, &mut free).map_err(tables_failed)?;

    let m2p_bytes = (end * 8).next_multiple_of(2 << 20);
    let m2p_frame = free
        .take(m2p_bytes >> 12, 512, u64::MAX)
        .ok_or(InitError::NoMemory("the machine-to-physical table"))?;
    tables
        .map(
            M2P,
            m2p_frame << 12,
            m2p_bytes >> 12,
            bits::GUEST_READABLE,
            &mut free,
        )
        .map_err(tables_failed)?;

    for slot in crate::layout::HYPERVISOR_SLOTS {
        let used = match slot {
            SLOT_M2P => bits::TABLE | bits::USER,
            SLOT_VMAP | SLOT_IMAGE => bits::TABLE,
            SLOT_PER_DOMAIN => continue,
            // Slots of the direct map that hold anything.
            slot if slot >= SLOT_DIRECT_MAP
                && (slot - SLOT_DIRECT_MAP) as u64 * (1 << 27) < ranges_end(&ranges) =>
            {
                bits::TABLE
            }
            _ => continue,
        };
        let entry = tables.slot(slot, used, &mut free).map_err(tables_failed)?;
        roots::set_template(slot, entry);
        if slot == SLOT_VMAP {
            vmap::set_l3(entry & bits::FRAME);
        }
    }

    // SAFETY: the tables map the image, this stack and the direct map as the first ones do, where they are used.
    unsafe { control::write_cr3(tables.root()) };
    control::flush_all();
    roots::set_idle_root(tables.root());
    if let Some(largest) = ranges.iter().max_by_key(|range| range.end - range.start) {
        let [start, end] = &LARGEST;
        start.store(largest.start, Ordering::Relaxed);
        end.store(largest.end, Ordering::Relaxed);
    }
    let _ = MAPPED.set(ranges);

    // SAFETY: the frames were free, and are in the direct map.
    unsafe { m2p::init(DIRECT_MAP + (m2p_frame << 12), m2p_bytes / 8) };
    let frame_table = make_frame_table(end, &mut free)?;
    // RAM that is not free is the hypervisor's (image, page tables, frame table, M2P, blocks), or a module's until
    // that is given up: a frame that the table did not know as RAM would be a device to guests.
    let mut kept = FreeRanges::new();
    for (first, count) in info.memory_map.ram_frames() {
        kept.add(first.raw(), (first.raw() + count).min(end));
    }
    kept.remove(0, LOW_FRAMES);
    for (first, end) in free.iter() {
        kept.remove(first, end);
    }
    for page in kept.iter().flat_map(|(first, end)| first..end).chain(image) {
        frame_table.reserve(Mfn::new(page));
    }
    Ok(MemoryInit {
        frame_table,
        free: FreeFrames(free),
        end: Mfn::new(end),
        modules,
    })
}

fn ranges_end(ranges: &[Range<u64>]) -> u64 {
    ranges.last().map_or(0, |range| range.end)
}

/// Maps all but the M2P: the direct map, the image, CPU 0's block.
fn map_hypervisor(
    tables: &mut Tables,
    ranges: &[Range<u64>],
    free: &mut FreeRanges,
) -> Result<(), NoMemory> {
    for range in ranges {
        tables.map(
            DIRECT_MAP + (range.start << 12),
            range.start << 12,
            range.end - range.start,
            bits::DATA,
            free,
        )?;
    }
    let parts = [
        (&raw const image_start, &raw const text_end, bits::CODE),
        (&raw const text_end, &raw const rodata_end, bits::CONSTANTS),
        (&raw const rodata_end, &raw const image_end, bits::DATA),
    ];
    for (start, end, flags) in parts {
        let (start, end) = (start as u64, end as u64);
        for page in (start..end).step_by(PAGE_SIZE as usize) {
            // Page by page: a large page could not have an entry of another kind beside it.
            tables.map(page, page - IMAGE + IMAGE_LOAD, 1, flags, free)?;
        }
    }
    let block = &raw const cpu0_block as u64 - IMAGE + IMAGE_LOAD;
    for page in 0..cpu_layout::BLOCK_PAGES {
        if cpu_layout::page_is_mapped(page) {
            let offset = page as u64 * PAGE_SIZE;
            tables.map(
                cpu_layout::block(0) + offset,
                block + offset,
                1,
                bits::DATA,
                free,
            )?;
        }
    }
    blocks::set_l2(tables.l2(cpu_layout::BLOCK_BASE, free)?);
    blocks::set_gdt_frame(0, (block + cpu_layout::GDT) >> 12);
    Ok(())
}

/// Takes memory for the frame table, and makes it.
fn make_frame_table(
    frames: u64,
    free: &mut FreeRanges,
) -> Result<&'static FrameTable<'static>, InitError> {
    let bytes = frames * size_of::<FrameInfo>() as u64;
    let first = free
        .take(addr::pages_for(bytes), 1, u64::MAX)
        .ok_or(InitError::NoMemory("the frame table"))?;
    let start = (DIRECT_MAP + (first << 12)) as *mut FrameInfo;
    // SAFETY: the frames were free and are in the direct map; all-zero is a valid `FrameInfo`.
    let infos = unsafe {
        core::ptr::write_bytes(start.cast::<u8>(), 0, bytes as usize);
        core::slice::from_raw_parts(start, frames as usize)
    };
    let _ = FRAME_TABLE.set(FrameTable::new(infos));
    FRAME_TABLE.get().ok_or(InitError::Again)
}
