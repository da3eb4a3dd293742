//! Building the final page tables, once, at boot.

use platform_cpu::control::cpuid;

use crate::free_ranges::FreeRanges;
use crate::layout::{DIRECT_MAP, bits};

const ENTRIES: u64 = 512;
/// Frames below this are mapped by the first page tables.
const EARLY_LIMIT: u64 = (4 << 30) >> 12;

/// No memory for a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

/// Page tables under construction, not loaded yet.
pub(crate) struct Tables {
    root: u64,
    has_1g_pages: bool,
}

/// Address of an entry, through the first page tables' direct map.
fn entry(table: u64, index: u64) -> *mut u64 {
    (DIRECT_MAP + (table & bits::FRAME) + index * 8) as *mut u64
}

fn new_table(free: &mut FreeRanges) -> Result<u64, NoMemory> {
    let frame = free.take(1, 1, EARLY_LIMIT).ok_or(NoMemory)?;
    let table = frame << 12;
    for index in 0..ENTRIES {
        // SAFETY: the frame is free RAM below 4 GiB, which is mapped, and now this table's.
        unsafe { entry(table, index).write(0) };
    }
    Ok(table)
}

impl Tables {
    pub(crate) fn new(free: &mut FreeRanges) -> Result<Self, NoMemory> {
        Ok(Self {
            root: new_table(free)?,
            has_1g_pages: cpuid(0x8000_0001, 0).edx & (1 << 26) != 0,
        })
    }

    /// Address of the L4.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// Entry of `slot`, whose L3 is made if there is none. `flags` are the L4 entry's.
    pub(crate) fn slot(
        &mut self,
        slot: usize,
        flags: u64,
        free: &mut FreeRanges,
    ) -> Result<u64, NoMemory> {
        let at = entry(self.root, slot as u64);
        // SAFETY: the root is this builder's, and `slot` within it.
        let mut value = unsafe { at.read() };
        if value == 0 {
            value = new_table(free)? | flags;
            // SAFETY: as above.
            unsafe { at.write(value) };
        }
        Ok(value)
    }

    /// Maps `pages` × 4 KiB at `virt` to `phys`, with the largest pages that fit; pages that are mapped already
    /// stay. `flags` are the leaves'; tables above them allow everything that some leaf needs.
    pub(crate) fn map(
        &mut self,
        virt: u64,
        phys: u64,
        pages: u64,
        flags: u64,
        free: &mut FreeRanges,
    ) -> Result<(), NoMemory> {
        let table_flags = bits::TABLE | (flags & bits::USER);
        let mut done = 0;
        while done < pages {
            let (at, to, left) = (virt + (done << 12), phys + (done << 12), pages - done);
            let mut table = self.slot((at >> 39 & 511) as usize, table_flags, free)?;
            let mut level = 3;
            done += loop {
                let shift = 12 + 9 * (level - 1);
                let frames = 1_u64 << (shift - 12);
                let slot = entry(table, at >> shift & 511);
                // SAFETY: `table` is a table of this builder, below 4 GiB.
                let old = unsafe { slot.read() };
                let fits = (at | to) & ((1 << shift) - 1) == 0 && left >= frames;
                let allowed = level == 1 || level == 2 || level == 3 && self.has_1g_pages;
                if old == 0 && fits && allowed {
                    let large = if level == 1 { 0 } else { bits::LARGE };
                    // SAFETY: as above.
                    unsafe { slot.write(to | flags | large) };
                    break frames;
                }
                if level == 1 || old & bits::LARGE != 0 {
                    // Mapped already; up to the end of that page.
                    break frames - (at >> 12 & (frames - 1));
                }
                if old == 0 {
                    table = new_table(free)?;
                    // SAFETY: as above.
                    unsafe { slot.write(table | table_flags) };
                } else {
                    table = old;
                }
                level -= 1;
            };
        }
        Ok(())
    }

    /// The L2 table that holds the entry for `virt`, made if there is none.
    pub(crate) fn l2(&mut self, virt: u64, free: &mut FreeRanges) -> Result<u64, NoMemory> {
        let l3 = self.slot((virt >> 39 & 511) as usize, bits::TABLE, free)?;
        let slot = entry(l3, virt >> 30 & 511);
        // SAFETY: a table of this builder.
        let mut value = unsafe { slot.read() };
        if value == 0 {
            value = new_table(free)? | bits::TABLE;
            // SAFETY: as above.
            unsafe { slot.write(value) };
        }
        Ok(value & bits::FRAME)
    }
}
