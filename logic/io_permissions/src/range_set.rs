//! A set of numbers, as ordered ranges.

use arrayvec::ArrayVec;

/// The set has no room for another range; it is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

/// A set of numbers in at most `N` ranges, which neither overlap nor touch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeSet<const N: usize> {
    ranges: ArrayVec<Range, N>,
}

impl<const N: usize> RangeSet<N> {
    /// The empty set.
    pub const fn new() -> Self {
        Self {
            ranges: ArrayVec::new_const(),
        }
    }

    /// The numbers from `first` to `last`; empty if they are the wrong way round, or if `N` is 0.
    pub fn from_range(first: u64, last: u64) -> Self {
        let mut set = Self::new();
        // An empty set has room unless it is of no size, which is an empty set too.
        let _ = set.insert(first, last);
        set
    }

    /// Whether the set has no number.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it has all numbers from `first` to `last`. Nothing has numbers the wrong way round.
    pub fn contains(&self, first: u64, last: u64) -> bool {
        first <= last
            && self
                .ranges
                .iter()
                .any(|range| range.first <= first && last <= range.last)
    }

    /// Whether it has any number from `first` to `last`.
    pub fn overlaps(&self, first: u64, last: u64) -> bool {
        first <= last
            && self
                .ranges
                .iter()
                .any(|range| range.first <= last && first <= range.last)
    }

    /// The ranges, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|range| (range.first, range.last))
    }

    /// Adds the numbers from `first` to `last`.
    ///
    /// # Errors
    /// There is no room for another range.
    pub fn insert(&mut self, first: u64, last: u64) -> Result<(), Full> {
        if first > last {
            return Ok(());
        }
        let mut merged = Range { first, last };
        let mut result = ArrayVec::<Range, N>::new();
        let mut placed = false;
        for range in &self.ranges {
            if range.last < merged.first && range.last + 1 < merged.first {
                result.try_push(*range).map_err(|_| Full)?;
            } else if merged.last < range.first && merged.last + 1 < range.first {
                if !placed {
                    result.try_push(merged).map_err(|_| Full)?;
                    placed = true;
                }
                result.try_push(*range).map_err(|_| Full)?;
            } else {
                merged.first = merged.first.min(range.first);
                merged.last = merged.last.max(range.last);
            }
        }
        if !placed {
            result.try_push(merged).map_err(|_| Full)?;
        }
        self.ranges = result;
        Ok(())
    }

    /// Takes away the numbers from `first` to `last`.
    ///
    /// # Errors
    /// A range would fall into two and there is no room.
    pub fn remove(&mut self, first: u64, last: u64) -> Result<(), Full> {
        if first > last {
            return Ok(());
        }
        let mut result = ArrayVec::<Range, N>::new();
        for range in &self.ranges {
            if range.last < first || last < range.first {
                result.try_push(*range).map_err(|_| Full)?;
                continue;
            }
            if let Some(before) = first.checked_sub(1)
                && range.first <= before
            {
                let kept = Range {
                    first: range.first,
                    last: before,
                };
                result.try_push(kept).map_err(|_| Full)?;
            }
            if let Some(after) = last.checked_add(1)
                && after <= range.last
            {
                let kept = Range {
                    first: after,
                    last: range.last,
                };
                result.try_push(kept).map_err(|_| Full)?;
            }
        }
        self.ranges = result;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, RangeSet};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn neighbours_merge_and_holes_split() {
        let mut set = RangeSet::<4>::from_range(10, 20);
        set.insert(21, 30).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [(10, 30)]);
        set.remove(15, 15).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [(10, 14), (16, 30)]);
        assert!(set.contains(16, 30) && !set.contains(14, 16) && !set.contains(20, 16));
        assert!(set.overlaps(15, 16) && !set.overlaps(15, 15));
    }

    #[test]
    fn the_ends_of_the_numbers() {
        let mut set = RangeSet::<2>::from_range(0, u64::MAX);
        assert!(set.contains(0, u64::MAX));
        set.remove(u64::MAX, u64::MAX).unwrap();
        set.remove(0, 0).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, u64::MAX - 1)]);
        set.insert(u64::MAX, u64::MAX).unwrap();
        set.insert(0, 0).unwrap();
        assert_eq!(set, RangeSet::from_range(0, u64::MAX));
        set.remove(0, u64::MAX).unwrap();
        assert!(set.is_empty());
    }

    #[test]
    fn a_full_set_is_unchanged() {
        let mut set = RangeSet::<2>::from_range(0, 9);
        set.remove(4, 5).unwrap();
        let before = set.clone();
        assert_eq!(set.remove(1, 1), Err(Full));
        assert_eq!(set.insert(20, 20), Err(Full));
        assert_eq!(set, before);
        set.insert(4, 5).unwrap();
        assert_eq!(set, RangeSet::from_range(0, 9));
    }

    proptest! {
        /// The same as a set of single numbers, whatever is put in and taken out.
        #[test]
        fn like_a_set(steps in proptest::collection::vec((any::<bool>(), 0_u64..40, 0_u64..12), 0..40)) {
            let mut set = RangeSet::<64>::new();
            let mut model = BTreeSet::new();
            for (insert, first, length) in steps {
                let last = first + length;
                if insert {
                    set.insert(first, last).unwrap();
                    model.extend(first..=last);
                } else {
                    set.remove(first, last).unwrap();
                    model.retain(|number| !(first..=last).contains(number));
                }
                for number in 0..60 {
                    prop_assert_eq!(set.contains(number, number), model.contains(&number));
                }
                let ranges: Vec<_> = set.iter().collect();
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].1 + 1 < pair[1].0, "ordered, apart: {:?}", ranges);
                }
            }
        }
    }
}
