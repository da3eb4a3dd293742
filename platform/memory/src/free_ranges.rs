//! Free memory at boot: a short list of ranges, before there is an allocator.

use arrayvec::ArrayVec;

/// Ranges that can be kept. More than the memory map's entries and what is cut out of them.
const MAX_RANGES: usize = 320;

/// Disjoint ranges of frames as (first, end).
pub(crate) struct FreeRanges(ArrayVec<(u64, u64), MAX_RANGES>);

impl FreeRanges {
    pub(crate) const fn new() -> Self {
        Self(ArrayVec::new_const())
    }

    /// Adds a range that overlaps with none. Dropped if there is no room: that memory stays unused.
    pub(crate) fn add(&mut self, first: u64, end: u64) {
        if first < end {
            let _ = self.0.try_push((first, end));
        }
    }

    /// Cuts `first..end` out.
    pub(crate) fn remove(&mut self, first: u64, end: u64) {
        let mut index = 0;
        while let Some(&(start, stop)) = self.0.get(index) {
            if end <= start || stop <= first {
                index += 1;
                continue;
            }
            self.0.swap_remove(index);
            // Both parts are outside of the cut, so they are not looked at again to any effect.
            self.add(start, first.min(stop));
            self.add(end.max(start), stop);
        }
    }

    /// Takes `count` adjacent frames, the first a multiple of `align`, all below `limit`: the highest there are.
    pub(crate) fn take(&mut self, count: u64, align: u64, limit: u64) -> Option<u64> {
        let best = self
            .0
            .iter()
            .filter_map(|&(start, stop)| {
                let first = stop.min(limit).checked_sub(count)? / align * align;
                (first >= start).then_some(first)
            })
            .max()?;
        self.remove(best, best + count);
        Some(best)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn sorted(ranges: &FreeRanges) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = ranges.iter().collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn cutting() {
        let mut ranges = FreeRanges::new();
        ranges.add(0, 10);
        ranges.add(20, 30);
        ranges.remove(5, 7);
        assert_eq!(sorted(&ranges), [(0, 5), (7, 10), (20, 30)]);
        ranges.remove(8, 25);
        assert_eq!(sorted(&ranges), [(0, 5), (7, 8), (25, 30)]);
        ranges.remove(0, 100);
        assert_eq!(sorted(&ranges), vec![]);
    }

    #[test]
    fn taking_takes_the_highest_below_the_limit() {
        let mut ranges = FreeRanges::new();
        ranges.add(3, 100);
        ranges.add(200, 1000);
        assert_eq!(ranges.take(10, 1, u64::MAX), Some(990));
        assert_eq!(ranges.take(10, 512, u64::MAX), Some(512));
        assert_eq!(ranges.take(10, 1, 64), Some(54));
        assert_eq!(ranges.take(1000, 1, u64::MAX), None);
        assert_eq!(
            sorted(&ranges),
            [(3, 54), (64, 100), (200, 512), (522, 990)]
        );
    }
}
