//! The firmware's memory map.
//!
//! Invariants of a [`MemoryMap`]: regions are sorted, none is empty, none overlap, and neighbours of the same
//! kind that touch are one region. Where the firmware's entries overlap, RAM loses against any other kind, and
//! the higher type number wins among others.
//!
//! Source: ACPI 6.5 §15 (System Address Map Interfaces).

use addr::{Maddr, Mfn, PAGE_SIZE};
use arrayvec::ArrayVec;
use core::fmt;

/// How many regions a map can hold.
pub const MAX_REGIONS: usize = 256;

/// Type of a region, by its E820 number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegionKind(pub u32);

impl RegionKind {
    /// Ordinary memory.
    pub const RAM: Self = Self(1);
    /// Not to be used.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables; memory once they are read, but they stay for domain 0.
    pub const ACPI: Self = Self(3);
    /// Firmware memory to be kept over sleep.
    pub const NVS: Self = Self(4);
    /// Memory with errors.
    pub const UNUSABLE: Self = Self(5);
    /// Memory that is disabled.
    pub const DISABLED: Self = Self(6);
    /// Persistent memory.
    pub const PERSISTENT: Self = Self(7);

    /// Who wins an overlap: RAM never, else the higher number.
    fn rank(self) -> (bool, u32) {
        (self != Self::RAM, self.0)
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RAM => f.write_str("usable"),
            Self::RESERVED => f.write_str("reserved"),
            Self::ACPI => f.write_str("ACPI data"),
            Self::NVS => f.write_str("ACPI NVS"),
            Self::UNUSABLE => f.write_str("unusable"),
            Self::DISABLED => f.write_str("disabled"),
            Self::PERSISTENT => f.write_str("persistent"),
            Self(other) => write!(f, "type {other}"),
        }
    }
}

/// A part of the physical address space: bytes `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First byte.
    pub start: Maddr,
    /// One past the last byte.
    pub end: Maddr,
    /// What is there.
    pub kind: RegionKind,
}

impl Region {
    /// Size in bytes.
    pub const fn len(&self) -> u64 {
        self.end.raw().saturating_sub(self.start.raw())
    }

    /// Whether there is no byte in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, last) = (self.start.raw(), self.end.raw().saturating_sub(1));
        write!(f, "[{start:#018x}, {last:#018x}] {}", self.kind)
    }
}

/// The map has more regions than [`MAX_REGIONS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryMapFull;

impl fmt::Display for MemoryMapFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory map: more than {MAX_REGIONS} regions")
    }
}

/// Sorted, disjoint regions.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MemoryMap {
    regions: ArrayVec<Region, MAX_REGIONS>,
}

impl MemoryMap {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            regions: ArrayVec::new_const(),
        }
    }

    /// Normalises entries as firmware gives them: (start, length, kind).
    /// Entries of length 0 are dropped; entries that pass the end of the address space are cut there.
    pub fn from_entries(
        entries: impl Iterator<Item = (u64, u64, RegionKind)>,
    ) -> Result<Self, MemoryMapFull> {
        let mut map = Self::new();
        for (start, len, kind) in entries {
            map.insert(Region {
                start: Maddr::new(start),
                end: Maddr::new(start.saturating_add(len)),
                kind,
            })?;
        }
        Ok(map)
    }

    /// Adds a region; where it overlaps with what is there, the stronger kind stays (see the module's text).
    pub fn insert(&mut self, new: Region) -> Result<(), MemoryMapFull> {
        self.merge(new, |old| new.kind.rank() > old.rank())
    }

    /// Makes `start..end` be of `kind`, whatever it was.
    pub fn set(&mut self, start: Maddr, end: Maddr, kind: RegionKind) -> Result<(), MemoryMapFull> {
        self.merge(Region { start, end, kind }, |_| true)
    }

    fn merge(
        &mut self,
        new: Region,
        wins_over: impl Fn(RegionKind) -> bool,
    ) -> Result<(), MemoryMapFull> {
        if new.is_empty() {
            return Ok(());
        }
        let mut merged = Self::new();
        // Where the part of `new` begins that is not yet placed.
        let mut rest = new.start;
        for &old in &self.regions {
            if old.end <= new.start || new.end <= old.start {
                // Disjoint. If `old` is above, what is left of `new` comes first.
                if new.end <= old.start {
                    merged.append(rest, new.end, new.kind)?;
                    rest = new.end;
                }
                merged.append(old.start, old.end, old.kind)?;
                continue;
            }
            merged.append(old.start, new.start, old.kind)?;
            merged.append(rest, old.start, new.kind)?;
            let (start, end) = (old.start.max(new.start), old.end.min(new.end));
            let kind = if wins_over(old.kind) {
                new.kind
            } else {
                old.kind
            };
            merged.append(start, end, kind)?;
            rest = end;
            merged.append(new.end, old.end, old.kind)?;
        }
        merged.append(rest, new.end, new.kind)?;
        *self = merged;
        Ok(())
    }

    /// Adds `start..end`, if not empty, at the end.
    fn append(&mut self, start: Maddr, end: Maddr, kind: RegionKind) -> Result<(), MemoryMapFull> {
        if start >= end {
            return Ok(());
        }
        if let Some(last) = self.regions.last_mut()
            && last.end == start
            && last.kind == kind
        {
            last.end = end;
            return Ok(());
        }
        self.regions
            .try_push(Region { start, end, kind })
            .map_err(|_| MemoryMapFull)
    }

    /// All regions, sorted.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Kind of the region that holds `at`; `None` in a hole.
    pub fn kind_at(&self, at: Maddr) -> Option<RegionKind> {
        self.regions
            .iter()
            .find(|region| region.start <= at && at < region.end)
            .map(|r| r.kind)
    }

    /// Whole pages of RAM as (first frame, count); partial pages at the ends are left out.
    pub fn ram_frames(&self) -> impl Iterator<Item = (Mfn, u64)> + '_ {
        self.regions
            .iter()
            .filter(|region| region.kind == RegionKind::RAM)
            .filter_map(|region| {
                let first = region.start.raw().div_ceil(PAGE_SIZE);
                let end = region.end.raw() / PAGE_SIZE;
                (first < end).then(|| (Mfn::new(first), end - first))
            })
    }

    /// Number of whole pages of RAM.
    pub fn total_ram_frames(&self) -> u64 {
        self.ram_frames().map(|(_, count)| count).sum()
    }

    /// One past the highest whole frame of RAM; frame 0 if there is none.
    pub fn ram_end(&self) -> Mfn {
        self.ram_frames()
            .last()
            .and_then(|(first, count)| first.checked_add(count))
            .unwrap_or(Mfn::new(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn map(entries: &[(u64, u64, u32)]) -> Vec<(u64, u64, u32)> {
        MemoryMap::from_entries(entries.iter().map(|&(s, l, k)| (s, l, RegionKind(k))))
            .unwrap()
            .regions()
            .iter()
            .map(|r| (r.start.raw(), r.end.raw(), r.kind.0))
            .collect()
    }

    #[test]
    fn sorts_and_joins() {
        assert_eq!(
            map(&[(0x2000, 0x1000, 1), (0, 0x1000, 1), (0x1000, 0x1000, 1)]),
            [(0, 0x3000, 1)]
        );
    }

    #[test]
    fn reserved_wins_over_ram_in_any_order() {
        let expected = [(0, 0x1000, 1), (0x1000, 0x2000, 2), (0x2000, 0x4000, 1)];
        assert_eq!(map(&[(0, 0x4000, 1), (0x1000, 0x1000, 2)]), expected);
        assert_eq!(map(&[(0x1000, 0x1000, 2), (0, 0x4000, 1)]), expected);
    }

    #[test]
    fn empty_and_overflowing_entries() {
        assert_eq!(map(&[(0x1000, 0, 1)]), []);
        assert_eq!(
            map(&[(u64::MAX - 0xfff, u64::MAX, 2)]),
            [(u64::MAX - 0xfff, u64::MAX, 2)]
        );
    }

    #[test]
    fn pages_are_rounded_inwards() {
        let map = MemoryMap::from_entries([(0x400, 0x9f800, RegionKind::RAM)].into_iter()).unwrap();
        assert_eq!(map.ram_frames().collect::<Vec<_>>(), [(Mfn::new(1), 0x9e)]);
        assert_eq!(map.ram_end(), Mfn::new(0x9f));
    }

    #[test]
    fn set_overrides() {
        let mut map =
            MemoryMap::from_entries([(0, 0x10000, RegionKind::RESERVED)].into_iter()).unwrap();
        map.set(Maddr::new(0x1000), Maddr::new(0x2000), RegionKind::RAM)
            .unwrap();
        assert_eq!(map.kind_at(Maddr::new(0x1fff)), Some(RegionKind::RAM));
        assert_eq!(map.kind_at(Maddr::new(0x2000)), Some(RegionKind::RESERVED));
        assert_eq!(map.kind_at(Maddr::new(0x10000)), None);
    }

    #[test]
    fn too_many_regions_is_an_error() {
        let entries = (0..MAX_REGIONS as u64 + 1).map(|n| (n * 0x2000, 0x1000, RegionKind::RAM));
        assert_eq!(MemoryMap::from_entries(entries), Err(MemoryMapFull));
    }

    proptest! {
        /// Compared byte by byte with the naive reading: the strongest kind of all entries that cover a byte.
        #[test]
        fn as_naive(entries in proptest::collection::vec((0u64..64, 0u64..32, 1u32..8), 0..20)) {
            let normal = MemoryMap::from_entries(
                entries.iter().map(|&(s, l, k)| (s, l, RegionKind(k)))).unwrap();
            for byte in 0..100 {
                let expected = entries.iter().filter(|&&(s, l, _)| s <= byte && byte < s + l)
                    .map(|&(_, _, k)| RegionKind(k)).max_by_key(|k| k.rank());
                prop_assert_eq!(normal.kind_at(Maddr::new(byte)), expected);
            }
            for pair in normal.regions().windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
                prop_assert!(pair[0].end < pair[1].start || pair[0].kind != pair[1].kind);
            }
            prop_assert!(normal.regions().iter().all(|r| !r.is_empty()));
        }
    }
}
