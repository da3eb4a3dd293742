//! Entries that map tables: of the level below, or, linear ones, of the same.
//!
//! A linear entry lets a guest read its page tables as memory. It is read-only, maps a table that is in use
//! already, and leads no further: a table is either the source of linear entries or the target of some, for chains
//! would make undoing recurse as deep as a guest likes (XSA-240).

use addr::Mfn;

use crate::atomic::{AtomicI32, Ordering};
use crate::entry::Entry;
use crate::environment::Environment;
use crate::info::{FrameInfo, kind};
use crate::table::get_reference;
use crate::types::{PageType, TypeError, Work};
use crate::validate::Validator;

impl<E: Environment> Validator<'_, '_, E> {
    /// Gets the references for a present entry of an L2, L3 or L4 table, and returns the entry as it is to
    /// be written.
    pub(crate) fn acquire_table(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        below: PageType,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<Entry, TypeError> {
        if entry.0 & (Entry::UPPER_FORBIDDEN | self.env.reserved_bits()) != 0 {
            return Err(TypeError::ForbiddenBits);
        }
        match self.acquire(entry.frame(), below, owner, work) {
            Ok(()) => {}
            Err(TypeError::Conflict) if page_type >= PageType::L2 => {
                self.acquire_linear(entry, table, page_type, owner)?;
            }
            Err(error) => return Err(error),
        }
        Ok(entry.adjusted_upper())
    }

    /// Gets the references for a linear entry: one that maps a table of the same level, read-only.
    fn acquire_linear(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        owner: u16,
    ) -> Result<(), TypeError> {
        if entry.is_writable() {
            return Err(TypeError::Conflict);
        }
        if entry.frame() == table {
            // A table that maps itself holds no reference to itself: it could never be given back.
            return Ok(());
        }
        let target = self.table.info(entry.frame()).ok_or(TypeError::NotOwned)?;
        let source = self.table.info(table).ok_or(TypeError::NotOwned)?;
        if !get_reference(target, owner) {
            return Err(TypeError::NotOwned);
        }
        let result = self.count_linear(source, target, page_type);
        if result.is_err() {
            self.table.put_reference(entry.frame().raw() as u32, target);
        }
        result
    }

    fn count_linear(
        &self,
        source: &FrameInfo,
        target: &FrameInfo,
        page_type: PageType,
    ) -> Result<(), TypeError> {
        // Chains would make undoing recurse as deep as a guest likes (XSA-240): a table is either the
        // source of linear entries or the target of some.
        if !step_linear(&target.linear, -1) {
            return Err(TypeError::Conflict);
        }
        if !step_linear(&source.linear, 1) {
            target.linear.fetch_add(1, Ordering::Relaxed);
            return Err(TypeError::Conflict);
        }
        let wanted = page_type.bits() | kind::VALIDATED;
        let mut word = target.kind.load(Ordering::Relaxed);
        loop {
            // It must be a table already: checking it here could go round in circles.
            if word & (kind::TYPE | kind::VALIDATED) != wanted
                || word as u32 == 0
                || word as u32 == u32::MAX
            {
                source.linear.fetch_sub(1, Ordering::Relaxed);
                target.linear.fetch_add(1, Ordering::Relaxed);
                return Err(TypeError::Conflict);
            }
            match target.kind.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => word = found,
            }
        }
    }

    /// Gives back the references of a present entry of an L2, L3 or L4 table.
    pub(crate) fn put_table(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let frame = entry.frame();
        if frame == table {
            return Ok(());
        }
        let Some(target) = self.table.info(frame) else {
            return Ok(());
        };
        // The entry's own type reference keeps the type what it is.
        if PageType::of(target.kind.load(Ordering::Relaxed)) == page_type {
            target.linear.fetch_add(1, Ordering::Relaxed);
            if let Some(source) = self.table.info(table) {
                source.linear.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.put(frame, work)
    }
}

/// Adds `step` unless the count is on the other side of zero.
fn step_linear(linear: &AtomicI32, step: i32) -> bool {
    linear
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            if i64::from(count) * i64::from(step) < 0 {
                None
            } else {
                count.checked_add(step)
            }
        })
        .is_ok()
}
