//! What a guest may do, worked out from nothing but contents, pins and roots.

use super::state::State;
use super::{FRAMES, Operation};
use crate::*;

/// What the reference says of the types that frames must have.
#[derive(Clone)]
pub(super) struct Needed<'s> {
    state: &'s State,
    types: [Option<PageType>; FRAMES],
}

/// Why the reference does not agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Refused,
    /// Linear entries between tables depend on the order: the invariants alone count.
    Unknown,
}

impl<'s> Needed<'s> {
    /// The types that pins and roots demand, all the way down.
    pub(super) fn now(state: &'s State) -> Result<Self, Verdict> {
        let mut needed = Self {
            state,
            types: [None; FRAMES],
        };
        if state.linear.iter().any(|count| *count != 0) {
            return Err(Verdict::Unknown);
        }
        // The tops first, so that an entry between two of them is known for a linear one.
        for frame in 0..FRAMES {
            if state.is_pinned(frame) {
                needed.types[frame] = Some(state.page_type(frame));
            }
        }
        for root in state.roots.iter().flatten() {
            needed.types[usize::from(*root)] = Some(PageType::L4);
        }
        for frame in 0..FRAMES {
            if let Some(page_type) = needed.types[frame] {
                needed.demand_entries(frame, page_type)?;
            }
        }
        Ok(needed)
    }

    pub(super) fn demand(&mut self, frame: usize, page_type: PageType) -> Result<(), Verdict> {
        if self.state.references(frame) == 0 {
            return Err(Verdict::Refused);
        }
        match self.types[frame] {
            Some(other) if other == page_type => return Ok(()),
            Some(_) => return Err(Verdict::Refused),
            None => self.types[frame] = Some(page_type),
        }
        self.demand_entries(frame, page_type)
    }

    pub(super) fn demand_entries(
        &mut self,
        frame: usize,
        page_type: PageType,
    ) -> Result<(), Verdict> {
        if page_type.level() != 0 {
            for entry in self.state.entries[frame] {
                self.demand_entry(frame, page_type, Entry(entry))?;
            }
        }
        Ok(())
    }

    pub(super) fn demand_entry(
        &mut self,
        frame: usize,
        page_type: PageType,
        entry: Entry,
    ) -> Result<(), Verdict> {
        if !entry.is_present() {
            return Ok(());
        }
        let target = entry.frame().raw() as usize;
        if page_type == PageType::L1 {
            if entry.is_writable() {
                return self.demand(target, PageType::Writable);
            }
            return if self.state.references(target) == 0 {
                Err(Verdict::Refused)
            } else {
                Ok(())
            };
        }
        // Left over from its time as an L1 table, perhaps.
        if entry.0 & Entry::UPPER_FORBIDDEN != 0 {
            return Err(Verdict::Refused);
        }
        if target == frame {
            return if entry.is_writable() {
                Err(Verdict::Refused)
            } else {
                Ok(())
            };
        }
        if self.types[target] == Some(page_type) {
            return if entry.is_writable() {
                Err(Verdict::Refused)
            } else {
                Err(Verdict::Unknown)
            };
        }
        let below = PageType::table(page_type.level() - 1).unwrap();
        self.demand(target, below)
    }
}

/// Whether the reference agrees with what came of a whole call, in a state without partial tables.
pub(super) fn judge(state: &State, vcpu: usize, operation: Operation) -> Result<(), Verdict> {
    match operation {
        Operation::Pin(frame, page_type) => {
            let mut needed = Needed::now(state)?;
            needed.demand(frame, page_type)?;
            if state.is_pinned(frame) {
                return Err(Verdict::Refused);
            }
            Ok(())
        }
        Operation::Unpin(frame) => {
            if state.is_pinned(frame) {
                Ok(())
            } else {
                Err(Verdict::Refused)
            }
        }
        Operation::Modify(frame, slot, value) => {
            // The old entry holds its references until the new one has its own.
            let mut needed = Needed::now(state)?;
            let Some(page_type) = needed.types[frame].filter(|table| table.level() != 0) else {
                return Err(Verdict::Refused);
            };
            let old = Entry(state.entries[frame][slot]);
            let new = Entry(value);
            if old.is_present() && new.is_present() && (old.0 ^ new.0) & !Entry::HARMLESS == 0 {
                return Ok(());
            }
            needed.demand_entry(frame, page_type, new)
        }
        Operation::Root(Some(frame)) => {
            let mut needed = Needed::now(state)?;
            needed.demand(usize::from(frame), PageType::L4)
        }
        _ => {
            let _ = vcpu;
            Ok(())
        }
    }
}
