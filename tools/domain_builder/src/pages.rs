//! Which of a domain's frames are mapped while it is built, and where.

use std::ops::Range;

use addr::{PAGE_SIZE, Pfn, Vaddr, pages_for};
use pv_layout::Layout;

use crate::error::BuildError;

const PAGE: u64 = PAGE_SIZE;

/// Ranges of the domain's frames, in ascending order and apart, and so their pages in the mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameRanges {
    ranges: Vec<Range<u64>>,
}

impl FrameRanges {
    /// Of any ranges.
    pub(crate) fn new(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }

    /// All frames.
    pub(crate) fn frames(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().cloned().flatten()
    }

    /// What is in `self` and not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.ranges {
            let mut start = range.start;
            for hole in &other.ranges {
                if hole.end <= start || hole.start >= range.end {
                    continue;
                }
                left.push(start..hole.start.max(start));
                start = hole.end.min(range.end);
            }
            left.push(start..range.end);
        }
        Self::new(left)
    }

    /// Offset in the mapping of byte `offset` of the domain's memory, if `length` bytes are mapped from there on.
    pub(crate) fn offset(&self, offset: u64, length: u64) -> Option<usize> {
        let first = offset / PAGE;
        let past = offset.checked_add(length)?.div_ceil(PAGE).max(first + 1);
        let mut before = 0;
        for range in &self.ranges {
            if range.contains(&first) && past <= range.end {
                let pages = before + (first - range.start);
                return usize::try_from(pages * PAGE + offset % PAGE).ok();
            }
            before += range.end - range.start;
        }
        None
    }
}

/// The frames of `length` bytes at an address of the kernel's map.
pub(crate) fn frames_of(layout: &Layout, address: u64, length: u64) -> Option<Range<u64>> {
    let start = address.checked_sub(layout.base.raw())?;
    let end = start.checked_add(length)?;
    let map = layout.end.raw().checked_sub(layout.base.raw())?;
    (end <= map).then(|| start / PAGE..end.div_ceil(PAGE))
}

/// Everything that is written: contents of the kernel, initrd, p2m, `start_info` and its pages, page tables.
pub(crate) fn written(
    layout: &Layout,
    contents: impl Iterator<Item = (u64, u64)>,
) -> Result<FrameRanges, BuildError> {
    let mut ranges = Vec::new();
    for (address, length) in contents {
        let frames = frames_of(layout, address, length);
        ranges.push(frames.ok_or(BuildError::Inconsistent("a part of the kernel"))?);
    }
    let from = |first: Pfn, count: u64| first.raw()..first.raw() + count;
    if let Some(initrd) = layout.initrd {
        ranges.push(from(initrd.first, pages_for(initrd.bytes)));
    }
    ranges.push(from(
        layout.p2m.first,
        layout.p2m.frames + layout.p2m.table_frames,
    ));
    let pages = [Some(layout.start_info), layout.store, layout.console];
    for page in pages.into_iter().flatten() {
        let frames = frames_of(layout, page.raw(), PAGE);
        ranges.push(frames.ok_or(BuildError::Inconsistent("start_info's pages"))?);
    }
    let tables = frames_of(
        layout,
        layout.page_tables.raw(),
        layout.table_frames() * PAGE,
    );
    ranges.push(tables.ok_or(BuildError::Inconsistent("page tables"))?);
    Ok(FrameRanges::new(ranges))
}

/// Byte of the domain's memory at an address of the kernel's map.
pub(crate) fn byte_at(layout: &Layout, address: Vaddr) -> Option<u64> {
    address.checked_sub(layout.base)
}

#[cfg(test)]
mod tests {
    use super::FrameRanges;

    #[test]
    fn ranges() {
        let ranges = FrameRanges::new(vec![10..12, 5..7, 6..8, 3..3, 12..13]);
        let frames: Vec<u64> = ranges.frames().collect();
        assert_eq!(frames, [5, 6, 7, 10, 11, 12]);
        assert_eq!(ranges.offset(5 * 4096 + 7, 1), Some(7));
        assert_eq!(ranges.offset(10 * 4096, 3 * 4096), Some(3 * 4096));
        assert_eq!(ranges.offset(10 * 4096, 3 * 4096 + 1), None);
        assert_eq!(ranges.offset(7 * 4096, 4097), None);
        assert_eq!(ranges.offset(8 * 4096, 1), None);
        assert_eq!(ranges.offset(u64::MAX, 5), None);
        let all = FrameRanges::new(vec![0..11, 20..22]);
        let left: Vec<u64> = all.without(&ranges).frames().collect();
        assert_eq!(left, [0, 1, 2, 3, 4, 8, 9, 20, 21]);
    }
}
