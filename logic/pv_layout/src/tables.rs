//! The initial page tables: how many, in which frames, and each of their entries.
//!
//! Two ranges of addresses are mapped: the kernel's map, and the p2m if it is apart. Tables that the kernel's
//! map needs lie in it (so that the guest can read them); those that only the p2m needs lie behind its frames.

use crate::Layout;
use addr::{PAGE_SHIFT, Pfn};
use core::ops::Range;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;

/// Flags of entries that point to tables.
const TABLE_FLAGS: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
/// Flags of entries that point to pages.
const PAGE_FLAGS: u64 = PRESENT | WRITABLE | ACCESSED;

/// A page-table entry to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableEntry {
    /// Level of the table that it is in: 4 to 1.
    pub level: u32,
    /// The table.
    pub table: Pfn,
    /// Its place in the table.
    pub index: usize,
    /// What it points to: a table of the next lower level, or a page.
    pub target: Pfn,
    /// The entry's low bits, as a guest would write them. Entries to tables and to pages that are
    /// tables themselves keep the rules that the validator checks.
    pub flags: u64,
}

/// Tables of one level: they cover consecutive parts of the address space.
#[derive(Clone, Debug, Default)]
struct Level {
    number: u32,
    /// Parts of the kernel's map, counted from address 0, and the frame of the first table.
    main: Range<u64>,
    main_frame: u64,
    /// The same of the p2m apart, without parts that are in `main`.
    apart: Range<u64>,
    apart_frame: u64,
}

impl Level {
    fn frame(&self, part: u64) -> Option<Pfn> {
        if self.main.contains(&part) {
            return Some(Pfn::new(self.main_frame + (part - self.main.start)));
        }
        self.apart
            .contains(&part)
            .then(|| Pfn::new(self.apart_frame + (part - self.apart.start)))
    }

    fn parts(&self) -> impl Iterator<Item = (u64, Pfn)> + '_ {
        self.main
            .clone()
            .chain(self.apart.clone())
            .filter_map(|part| self.frame(part).map(|frame| (part, frame)))
    }

    fn len(range: &Range<u64>) -> u64 {
        range.end.saturating_sub(range.start)
    }
}

/// All tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// By level: 0 are the pages themselves, 4 is the root.
    levels: [Level; 5],
}

/// The parts of `1 << shift` bytes that hold `range`. It may end at the end of the address space, but not pass it.
fn parts(range: &Range<u64>, level: u32) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    if level == 4 {
        // One root for the whole address space.
        return 0..1;
    }
    let shift = PAGE_SHIFT + 9 * level;
    (range.start >> shift)..((range.end - 1) >> shift) + 1
}

impl Tables {
    /// How many tables map `range`.
    pub(crate) fn count(range: Range<u64>) -> u64 {
        (1..=4).map(|level| Level::len(&parts(&range, level))).sum()
    }

    /// `main` is mapped to frames from 0 on, with tables from `main_tables` on; `apart` to frames from
    /// `apart_first` on, with tables from `apart_tables` on.
    pub(crate) fn new(
        main: Range<u64>,
        main_tables: Pfn,
        apart: Range<u64>,
        apart_first: Pfn,
        apart_tables: u64,
    ) -> Self {
        let mut levels: [Level; 5] = Default::default();
        let mut main_next = main_tables.raw();
        let mut apart_next = apart_tables;
        for (level, tables) in levels.iter_mut().enumerate().rev() {
            let level = level as u32;
            tables.number = level;
            tables.main = parts(&main, level);
            tables.apart = parts(&apart, level);
            // The ranges do not overlap, so at most one part at either end is common to both.
            if tables.main.contains(&tables.apart.start) {
                tables.apart.start = tables.main.end.min(tables.apart.end);
            } else if tables.apart.contains(&tables.main.start) {
                tables.apart.end = tables.main.start;
            }
            if level == 0 {
                tables.apart_frame = apart_first.raw();
                continue;
            }
            tables.main_frame = main_next;
            main_next += Level::len(&tables.main);
            tables.apart_frame = apart_next;
            apart_next += Level::len(&tables.apart);
        }
        Self { levels }
    }

    pub(crate) fn root(&self) -> Pfn {
        let [.., root] = &self.levels;
        Pfn::new(root.main_frame)
    }

    pub(crate) fn main_frames(&self) -> u64 {
        self.levels
            .iter()
            .skip(1)
            .map(|level| Level::len(&level.main))
            .sum()
    }

    pub(crate) fn apart_frames(&self) -> u64 {
        self.levels
            .iter()
            .skip(1)
            .map(|level| Level::len(&level.apart))
            .sum()
    }

    /// Whether a frame is a table inside the kernel's map.
    fn is_main_table(&self, frame: Pfn) -> bool {
        frame
            .checked_sub(self.root())
            .is_some_and(|offset| offset < self.main_frames())
    }
}

impl Layout {
    /// Every entry of the initial page tables, by level from the L4's on, in each level by table and index.
    /// Entries that are not listed are 0.
    pub fn entries(&self) -> impl Iterator<Item = TableEntry> + '_ {
        let levels = &self.tables.levels;
        levels
            .iter()
            .zip(levels.iter().skip(1))
            .rev()
            .flat_map(move |(children, parents)| {
                children.parts().filter_map(move |(part, target)| {
                    let flags = if children.number > 0 {
                        TABLE_FLAGS
                    } else if self.tables.is_main_table(target) {
                        PAGE_FLAGS & !WRITABLE
                    } else {
                        PAGE_FLAGS
                    };
                    // The root's only part is 0; its children are numbered over the whole address space.
                    let parent = if parents.number == 4 { 0 } else { part >> 9 };
                    let table = parents.frame(parent)?;
                    let index = (part & 511) as usize;
                    Some(TableEntry {
                        level: parents.number,
                        table,
                        index,
                        target,
                        flags,
                    })
                })
            })
    }

    /// All page tables as (level, frame), the L4 first.
    pub fn tables(&self) -> impl Iterator<Item = (u32, Pfn)> + '_ {
        let tables = self.tables.levels.iter().skip(1).rev();
        tables.flat_map(|level| level.parts().map(|(_, frame)| (level.number, frame)))
    }

    /// Number of page tables of `level`, wherever they are.
    pub fn tables_of_level(&self, level: u32) -> u64 {
        self.tables().filter(|&(other, _)| other == level).count() as u64
    }
}
