//! What is in a table: checking it entry by entry when it gets its type, and giving its entries back when it loses it.

use addr::Mfn;

use crate::atomic::Ordering;
use crate::descriptor::check_descriptor;
use crate::entry::Entry;
use crate::environment::{Environment, TableView};
use crate::info::{FrameInfo, kind};
use crate::types::{PageType, TypeError, Work};
use crate::validate::{Failure, Validator};
use crate::{ENTRIES, is_hypervisor_slot};

/// Units of budget that an L1 table costs: to look for its entries, and for each two of them. (A unit is an entry
/// of a higher table, with another table behind it.)
const L1_UNITS: u32 = 16;
const ENTRIES_PER_UNIT: u32 = 2;

/// Until when CPUs may have walked a table that is undone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastUse {
    /// Until now.
    Now,
    /// Until its stamp was taken.
    Stamped,
}

impl<E: Environment> Validator<'_, '_, E> {
    /// Checks a busy frame's content, from entry `start` on.
    pub(crate) fn check(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        page_type: PageType,
        owner: u16,
        start: usize,
        work: Option<&mut Work<'_>>,
    ) -> Result<(), Failure> {
        match (page_type, work) {
            (PageType::None | PageType::Writable, _) => {}
            (PageType::Descriptors, _) => {
                if self.check_descriptors(frame).is_err() {
                    self.table.stamp(info);
                    info.kind.store(page_type.bits(), Ordering::Release);
                    return Err(Failure::Kept(TypeError::BadDescriptor));
                }
            }
            (_, None) => {
                // Only what needs no budget is asked for without one.
                self.table.leave_partial(info, page_type, start);
                return Err(Failure::Taken(TypeError::Preempted));
            }
            (_, Some(work)) => {
                if let Err((error, checked)) =
                    self.check_table(frame, page_type, owner, start, work)
                {
                    if error == TypeError::Preempted {
                        self.table.leave_partial(info, page_type, checked);
                    } else {
                        // Undoing gives the general reference back, or leaves it to the partial table.
                        let _ = self.undo(frame, info, page_type, checked, LastUse::Now, work);
                    }
                    return Err(Failure::Taken(error));
                }
            }
        }
        // Release: pairs with the acquire of whoever adds a reference without checking.
        info.kind
            .store(page_type.bits() | kind::VALIDATED | 1, Ordering::Release);
        Ok(())
    }

    fn check_descriptors(&self, frame: Mfn) -> Result<(), TypeError> {
        let view = self.env.view(frame);
        for index in 0..ENTRIES {
            let descriptor = view.read(index);
            let checked = check_descriptor(descriptor).ok_or(TypeError::BadDescriptor)?;
            if checked != descriptor {
                view.write(index, checked);
            }
        }
        Ok(())
    }

    /// On failure also says how many entries hold references.
    fn check_table(
        &self,
        frame: Mfn,
        page_type: PageType,
        owner: u16,
        start: usize,
        work: &mut Work<'_>,
    ) -> Result<(), (TypeError, usize)> {
        let below = match page_type {
            PageType::L1 => return self.check_l1(frame, owner, start, work),
            PageType::L2 => PageType::L1,
            PageType::L3 => PageType::L2,
            _ => PageType::L3,
        };
        let view = self.env.view(frame);
        let mut next = start;
        while let Some((index, entry)) = next_present(view, next) {
            next = index + 1;
            if page_type == PageType::L4 && is_hypervisor_slot(index) {
                continue;
            }
            if work.must_stop() {
                return Err((TypeError::Preempted, index));
            }
            let adjusted = self
                .acquire_table(entry, frame, page_type, below, owner, work)
                .map_err(|error| (error, index))?;
            if adjusted != entry {
                view.write(index, adjusted.0);
            }
            work.did(1);
        }
        if page_type == PageType::L4 {
            for slot in crate::HYPERVISOR_SLOTS {
                view.write(slot, self.env.hypervisor_entry(owner, slot));
            }
        }
        Ok(())
    }

    fn check_l1(
        &self,
        frame: Mfn,
        owner: u16,
        start: usize,
        work: &mut Work<'_>,
    ) -> Result<(), (TypeError, usize)> {
        let view = self.env.view(frame);
        let mut next = start;
        let mut present = 0;
        while let Some((index, entry)) = next_present(view, next) {
            next = index + 1;
            present += 1;
            let adjusted = self
                .get_mapping(entry, owner, owner)
                .map_err(|error| match error {
                    // It is not the table itself that conflicts.
                    TypeError::NotOwned | TypeError::Conflict | TypeError::TooMany => {
                        (TypeError::MappedPage, index)
                    }
                    error => (error, index),
                })?;
            if adjusted != entry {
                view.write(index, adjusted.0);
            }
        }
        work.did(L1_UNITS + present / ENTRIES_PER_UNIT);
        Ok(())
    }

    /// Gives back the references of the first `checked` entries of a busy table, last first, then the
    /// caller's general reference to the table.
    pub(crate) fn undo(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        page_type: PageType,
        checked: usize,
        last_use: LastUse,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let view = self.env.view(frame);
        let mut end = checked;
        let mut present = 0;
        while let Some((index, entry)) = last_present(view, end) {
            end = index;
            if page_type == PageType::L4 && is_hypervisor_slot(index) {
                continue;
            }
            if page_type == PageType::L1 {
                self.put_mapping(entry);
                present += 1;
                continue;
            }
            let left = if work.must_stop() {
                Some(index + 1)
            } else if self.put_table(entry, frame, page_type, work).is_err() {
                Some(index)
            } else {
                work.did(1);
                None
            };
            if let Some(left) = left {
                self.table.leave_partial(info, page_type, left);
                work.pending().push(frame.raw() as u32);
                return Err(TypeError::Preempted);
            }
        }
        if page_type == PageType::L1 {
            work.did(L1_UNITS + present / ENTRIES_PER_UNIT);
        }
        if last_use == LastUse::Now {
            self.table.stamp(info);
        }
        // Release: pairs with the acquire of whoever takes another type.
        info.kind.store(page_type.bits(), Ordering::Release);
        self.table.put_reference(frame.raw() as u32, info);
        Ok(())
    }
}

/// The first present entry from `index` on.
#[inline]
fn next_present(view: impl TableView, mut index: usize) -> Option<(usize, Entry)> {
    while index < ENTRIES {
        if index.is_multiple_of(8) && !view.any_present(index) {
            index += 8;
            continue;
        }
        let entry = Entry(view.read(index));
        if entry.is_present() {
            return Some((index, entry));
        }
        index += 1;
    }
    None
}

/// The last present entry below `end`.
#[inline]
fn last_present(view: impl TableView, mut end: usize) -> Option<(usize, Entry)> {
    while end > 0 {
        if end.is_multiple_of(8) && !view.any_present(end - 8) {
            end -= 8;
            continue;
        }
        end -= 1;
        let entry = Entry(view.read(end));
        if entry.is_present() {
            return Some((end, entry));
        }
    }
    None
}
