//! A state of the small machine, and what must be true of it.

use std::vec::Vec;

use addr::Mfn;

use super::{DOMAIN, FRAMES, SLOTS, VCPUS};
use crate::info::{count, kind};
use crate::table::owner_bits;
use crate::types::progress;
use crate::*;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct State {
    pub(super) count: [u64; FRAMES],
    pub(super) kind: [u64; FRAMES],
    pub(super) linear: [i32; FRAMES],
    pub(super) entries: [[u64; SLOTS]; FRAMES],
    pub(super) roots: [Option<u8>; VCPUS],
    pub(super) pending: [Vec<u8>; VCPUS],
    /// Frames of which a vCPU may hold a writable translation, as bits.
    pub(super) tlb: [u8; VCPUS],
    /// For each frame, the types as which a vCPU may still walk it, as bits.
    pub(super) walks: [[u8; FRAMES]; VCPUS],
    /// Stamps, epochs and the clock, by rank: only their order matters.
    pub(super) stamps: [u64; FRAMES],
    pub(super) epochs: [u64; VCPUS],
    pub(super) now: u64,
}

impl State {
    pub(super) fn initial() -> Self {
        let allocated = count::RAM | count::ALLOCATED | owner_bits(DOMAIN) | 1;
        Self {
            count: [allocated; FRAMES],
            kind: [0; FRAMES],
            linear: [0; FRAMES],
            entries: [[0; SLOTS]; FRAMES],
            roots: [None; VCPUS],
            pending: Default::default(),
            tlb: [0; VCPUS],
            walks: [[0; FRAMES]; VCPUS],
            stamps: [0; FRAMES],
            epochs: [1; VCPUS],
            now: 1,
        }
    }

    pub(super) fn page_type(&self, frame: usize) -> PageType {
        PageType::of(self.kind[frame])
    }

    pub(super) fn is_table_in_use(&self, frame: usize) -> bool {
        self.page_type(frame).level() != 0
            && self.kind[frame] & kind::VALIDATED != 0
            && self.kind[frame] as u32 != 0
    }

    pub(super) fn is_partial(&self, frame: usize) -> bool {
        self.kind[frame] & kind::PARTIAL != 0
    }

    pub(super) fn is_pinned(&self, frame: usize) -> bool {
        self.kind[frame] & kind::PINNED != 0
    }

    pub(super) fn references(&self, frame: usize) -> u32 {
        self.count[frame] as u32
    }

    /// Whether the guest can write to the frame's memory.
    pub(super) fn may_write(&self, frame: usize) -> bool {
        let is_type = matches!(self.page_type(frame), PageType::None | PageType::Writable);
        !self.is_partial(frame)
            && self.references(frame) != 0
            && (is_type || self.kind[frame] as u32 == 0)
    }

    /// The entries of a table that hold references, with their frames.
    pub(super) fn held(&self, frame: usize) -> Vec<Entry> {
        let end = if self.is_table_in_use(frame) {
            SLOTS
        } else if self.is_partial(frame) {
            progress(self.kind[frame]).min(SLOTS)
        } else {
            0
        };
        self.entries[frame][..end]
            .iter()
            .map(|entry| Entry(*entry))
            .filter(|entry| entry.is_present())
            .collect()
    }

    /// The tables that a vCPU can walk.
    pub(super) fn reachable(&self, vcpu: usize) -> Vec<usize> {
        let mut found: Vec<usize> = self.roots[vcpu].map(usize::from).into_iter().collect();
        let mut next = 0;
        while let Some(table) = found.get(next).copied() {
            next += 1;
            if self.page_type(table) == PageType::L1 {
                continue;
            }
            for entry in self.held(table) {
                let target = entry.frame().raw() as usize;
                if !found.contains(&target) {
                    found.push(target);
                }
            }
        }
        found
    }

    /// The same state with its frames renumbered in a fixed way: which frame is which does not matter.
    pub(super) fn canonical(&self) -> Self {
        const ORDERS: [[usize; FRAMES]; 6] = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        ORDERS
            .iter()
            .map(|order| self.renumbered(order))
            .min()
            .unwrap()
    }

    /// Frame `frame` becomes `order[frame]`.
    pub(super) fn renumbered(&self, order: &[usize; FRAMES]) -> Self {
        let mut new = self.clone();
        for (old, to) in order.iter().copied().enumerate() {
            new.count[to] = self.count[old];
            new.kind[to] = self.kind[old];
            new.linear[to] = self.linear[old];
            new.stamps[to] = self.stamps[old];
            new.entries[to] = self.entries[old].map(|bits| {
                let entry = Entry(bits);
                if !entry.is_present() {
                    return bits;
                }
                let frame = order[entry.frame().raw() as usize] as u64;
                Entry::new(Mfn::new(frame), bits & !Entry::FRAME).0
            });
        }
        for vcpu in 0..VCPUS {
            new.roots[vcpu] = self.roots[vcpu].map(|frame| order[usize::from(frame)] as u8);
            for frame in &mut new.pending[vcpu] {
                *frame = order[usize::from(*frame)] as u8;
            }
            new.tlb[vcpu] = (0..FRAMES)
                .filter(|frame| self.tlb[vcpu] >> frame & 1 != 0)
                .fold(0, |bits, frame| bits | 1 << order[frame]);
            for (old, to) in order.iter().copied().enumerate() {
                new.walks[vcpu][to] = self.walks[vcpu][old];
            }
        }
        new
    }

    /// Ranks instead of times.
    pub(super) fn normalised(mut self) -> Self {
        let mut times: Vec<u64> = self.stamps.to_vec();
        times.extend(self.epochs);
        times.push(self.now);
        times.sort_unstable();
        times.dedup();
        let rank = |time: &mut u64| *time = times.binary_search(time).unwrap() as u64 + 1;
        self.stamps.iter_mut().for_each(rank);
        self.epochs.iter_mut().for_each(rank);
        rank(&mut self.now);
        self
    }
}

/// Counts everything again, from nothing but contents, pins, roots and allocations.
pub(super) fn check(state: &State) {
    let mut references = [0u32; FRAMES];
    let mut types = [0u32; FRAMES];
    let mut linear = [0i32; FRAMES];
    for root in state.roots.iter().flatten() {
        references[usize::from(*root)] += 1;
        types[usize::from(*root)] += 1;
        assert_eq!(state.page_type(usize::from(*root)), PageType::L4);
        assert!(state.is_table_in_use(usize::from(*root)));
    }
    for frame in 0..FRAMES {
        let word = state.kind[frame];
        assert_eq!(word & kind::LOCKED, 0, "nobody is at work");
        if word as u32 != 0 {
            assert_ne!(word & kind::VALIDATED, 0, "nobody is at work");
        }
        if state.count[frame] & count::ALLOCATED != 0 {
            references[frame] += 1;
        }
        if state.is_partial(frame) {
            assert_eq!(word as u32, 0);
            references[frame] += 1;
        }
        if state.is_pinned(frame) {
            references[frame] += 1;
            types[frame] += 1;
        }
        let level = state.page_type(frame).level();
        for entry in state.held(frame) {
            let target = entry.frame().raw() as usize;
            assert_ne!(
                entry.0 & Entry::USER,
                0,
                "entries are reachable from ring 3"
            );
            if level == 1 {
                references[target] += 1;
                if entry.is_writable() {
                    types[target] += 1;
                    assert_eq!(state.page_type(target), PageType::Writable);
                }
                continue;
            }
            if target == frame {
                assert!(!entry.is_writable(), "a table that maps itself writable");
                continue;
            }
            references[target] += 1;
            types[target] += 1;
            assert!(state.is_table_in_use(target));
            let target_level = state.page_type(target).level();
            if target_level == level {
                assert!(!entry.is_writable());
                linear[frame] += 1;
                linear[target] -= 1;
                let is_chain = state.held(target).iter().any(|next| {
                    let next = next.frame().raw() as usize;
                    next != target && state.page_type(next).level() == level
                });
                assert!(!is_chain, "a chain of linear entries");
            } else {
                assert_eq!(target_level, level - 1);
            }
        }
    }
    for frame in 0..FRAMES {
        assert_eq!(
            state.references(frame),
            references[frame],
            "references of {frame}"
        );
        assert_eq!(state.kind[frame] as u32, types[frame], "types of {frame}");
        assert_eq!(
            state.linear[frame], linear[frame],
            "linear entries of {frame}"
        );
        if references[frame] != 0 {
            assert_eq!(count::owner(state.count[frame]), DOMAIN);
        }
        let is_table = state.page_type(frame).level() != 0
            && (state.kind[frame] as u32 != 0 || state.is_partial(frame));
        for walks in state.walks {
            let as_another = walks[frame] & !(1 << state.page_type(frame) as u8);
            assert!(
                as_another == 0 || state.kind[frame] as u32 == 0,
                "frame {frame} is walked as a table that it is not any more"
            );
        }
        for tlb in state.tlb {
            assert!(
                !is_table || tlb >> frame & 1 == 0,
                "frame {frame} is a table, and writable through a stale translation"
            );
            assert!(
                references[frame] != 0 || !is_table,
                "a frame without references is a table"
            );
        }
    }
}
