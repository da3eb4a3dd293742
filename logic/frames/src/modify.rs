//! Changing one entry of a table in use.
//!
//! A table is locked by a bit of its type word while an entry changes; there is no other lock. The
//! references for the new entry are taken first, then it is written, then those of the old one are
//! given back: at no time is there an entry without its references.

use core::fmt;

use crate::atomic::Ordering;

use addr::Mfn;

use crate::entry::Entry;
use crate::environment::{Environment, TableView};
use crate::info::{FrameInfo, count, kind};
use crate::types::{PageType, TypeError, Work};
use crate::validate::Validator;
use crate::{ENTRIES, is_hypervisor_slot};

/// Whose frames a change of an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// The domain that the table belongs to.
    pub table: u16,
    /// The domain whose frames L1 entries map: another one for a caller with the right to that. Tables
    /// are always mapped by their own domain's.
    pub page: u16,
}

impl Owners {
    /// A domain that maps its own frames into its own tables.
    pub const fn same(domain: u16) -> Self {
        Self {
            table: domain,
            page: domain,
        }
    }
}

/// What becomes of the accessed and dirty bits of the old entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessBits {
    /// They are the new entry's.
    Replace,
    /// They are kept as the CPU has set them (`MMU_PT_UPDATE_PRESERVE_AD`).
    Preserve,
}

/// A table of which this CPU alone changes entries.
pub struct LockedTable<'t, 'e, E: Environment> {
    validator: Validator<'t, 'e, E>,
    info: &'t FrameInfo,
    view: E::View<'e>,
    frame: Mfn,
    page_type: PageType,
}

impl<'t, 'e, E: Environment> Validator<'t, 'e, E> {
    /// Locks a validated table of `owner`.
    ///
    /// # Errors
    /// [`TypeError::NotATable`], [`TypeError::NotOwned`].
    #[inline]
    pub fn lock(&self, frame: Mfn, owner: u16) -> Result<LockedTable<'t, 'e, E>, TypeError> {
        let info = self.table.info(frame).ok_or(TypeError::NotOwned)?;
        let mut word = info.kind.load(Ordering::Relaxed);
        loop {
            // Types L1 to L4 only, in use and checked.
            let page_type = (word & kind::TYPE) >> kind::TYPE_SHIFT;
            if page_type.wrapping_sub(1) >= 4 || word & kind::VALIDATED == 0 || word as u32 == 0 {
                return Err(TypeError::NotATable);
            }
            if word & kind::LOCKED != 0 {
                self.env.relax();
                word = info.kind.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: pairs with the unlock.
            match info.kind.compare_exchange_weak(
                word,
                word | kind::LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(found) => word = found,
            }
        }
        let locked = LockedTable {
            validator: *self,
            info,
            view: self.env.view(frame),
            frame,
            page_type: PageType::of(word),
        };
        // A table in use does not change hands, and its last use waits for the lock: what is read now
        // holds until the lock goes.
        if count::owner(info.count.load(Ordering::Relaxed)) != owner {
            return Err(TypeError::NotOwned);
        }
        Ok(locked)
    }

    /// Changes an entry of whatever table `frame` is.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and [`LockedTable::modify`].
    #[inline]
    pub fn modify(
        &self,
        frame: Mfn,
        index: usize,
        new: Entry,
        access: AccessBits,
        owners: Owners,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let table = self.lock(frame, owners.table)?;
        table.modify(index, new, access, owners, work)
    }
}

impl<E: Environment> LockedTable<'_, '_, E> {
    /// The table's frame.
    #[inline]
    pub fn frame(&self) -> Mfn {
        self.frame
    }

    /// The table's type.
    #[inline]
    pub fn page_type(&self) -> PageType {
        self.page_type
    }

    /// Reads an entry.
    #[inline]
    pub fn read(&self, index: usize) -> Entry {
        Entry(self.view.read(index))
    }

    /// Changes an entry. A table that this leaves half undone is in the work's
    /// [`Pending`](crate::Pending), and the change is done.
    ///
    /// # Errors
    /// The new entry is refused, and the old one stays. [`TypeError::Preempted`]: the same call goes on
    /// checking the table that the new entry maps.
    #[inline]
    pub fn modify(
        &self,
        index: usize,
        new: Entry,
        access: AccessBits,
        owners: Owners,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        if self.page_type == PageType::L1 {
            self.modify_l1(index, new, access, owners)
        } else {
            self.modify_upper(index, new, access, owners, work)
        }
    }

    /// Changes an entry of an L1 table. Bounded: there is nothing to preempt.
    ///
    /// # Errors
    /// As [`modify`](Self::modify); [`TypeError::NotATable`] if this is no L1 table.
    #[inline]
    pub fn modify_l1(
        &self,
        index: usize,
        new: Entry,
        access: AccessBits,
        owners: Owners,
    ) -> Result<(), TypeError> {
        if self.page_type != PageType::L1 || index >= ENTRIES {
            return Err(TypeError::NotATable);
        }
        let validator = &self.validator;
        let old = self.read(index);
        if !new.is_present() {
            let old = self.write(index, old, new, access);
            if old.is_present() {
                validator.put_mapping(old);
            }
            return Ok(());
        }
        let changed = old.0 ^ new.0;
        if changed & !(Entry::HARMLESS | Entry::WRITABLE) != 0 {
            // Another frame, or none before.
            let new = validator.get_mapping(new, owners.table, owners.page)?;
            let old = self.write(index, old, new, access);
            if old.is_present() {
                validator.put_mapping(old);
            }
            return Ok(());
        }
        // The same frame, present before, with the same cache attributes.
        validator.check_mapping_bits(new, owners.table)?;
        if changed & Entry::WRITABLE == 0 {
            self.write(index, old, new.adjusted_l1(), access);
            return Ok(());
        }
        let frame = new.frame();
        let ram = match validator.table.info(frame) {
            Some(info) => {
                let word = info.count.load(Ordering::Relaxed);
                (word & count::RAM != 0).then_some((info, word))
            }
            None => None,
        };
        let Some((info, word)) = ram else {
            let new = validator.get_mapping(new, owners.table, owners.page)?;
            self.write(index, old, new, access);
            return Ok(());
        };
        if new.is_writable() {
            if count::owner(word) != owners.page {
                return Err(TypeError::NotOwned);
            }
            validator.take_writable(frame, info, owners.page)?;
            self.write(index, old, new.adjusted_l1(), access);
        } else {
            self.write(index, old, new.adjusted_l1(), access);
            validator.put_writable_type(info);
        }
        Ok(())
    }

    /// Changes an entry of an L1 table if it still is `expected`, to the bit; false if it is not.
    ///
    /// # Errors
    /// As [`modify_l1`](Self::modify_l1).
    pub fn compare_exchange_l1(
        &self,
        index: usize,
        expected: Entry,
        new: Entry,
        owners: Owners,
    ) -> Result<bool, TypeError> {
        if self.page_type != PageType::L1 || index >= ENTRIES {
            return Err(TypeError::NotATable);
        }
        let validator = &self.validator;
        if self.read(index) != expected {
            return Ok(false);
        }
        let new = if new.is_present() {
            validator.get_mapping(new, owners.table, owners.page)?
        } else {
            new
        };
        let done = self.view.compare_exchange(index, expected.0, new.0).is_ok();
        let unused = if done { expected } else { new };
        if unused.is_present() {
            validator.put_mapping(unused);
        }
        Ok(done)
    }

    fn modify_upper(
        &self,
        index: usize,
        new: Entry,
        access: AccessBits,
        owners: Owners,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        if index >= ENTRIES {
            return Err(TypeError::NotATable);
        }
        if self.page_type == PageType::L4 && is_hypervisor_slot(index) {
            return Err(TypeError::HypervisorSlot);
        }
        let validator = &self.validator;
        let below = match self.page_type {
            PageType::L4 => PageType::L3,
            PageType::L3 => PageType::L2,
            _ => PageType::L1,
        };
        let old = self.read(index);
        let mut written = new;
        if new.is_present() {
            if new.0 & (Entry::UPPER_FORBIDDEN | validator.env.reserved_bits()) != 0 {
                return Err(TypeError::ForbiddenBits);
            }
            if (old.0 ^ new.0) & !Entry::HARMLESS == 0 {
                self.write(index, old, new.adjusted_upper(), access);
                return Ok(());
            }
            written = validator.acquire_table(
                new,
                self.frame,
                self.page_type,
                below,
                owners.table,
                work,
            )?;
        }
        let old = self.write(index, old, written, access);
        if old.is_present() {
            // Left half undone, it is on the pending list.
            let _ = validator.put_table(old, self.frame, self.page_type, work);
        }
        Ok(())
    }

    /// Writes an entry and returns the old one. Only the CPU's own accessed and dirty bits can have
    /// come up in `old` since it was read.
    #[inline]
    fn write(&self, index: usize, old: Entry, new: Entry, access: AccessBits) -> Entry {
        const ACCESS: u64 = Entry::ACCESSED | Entry::DIRTY;
        if access == AccessBits::Replace {
            return Entry(self.view.swap(index, new.0));
        }
        let mut current = old.0;
        loop {
            match self
                .view
                .compare_exchange(index, current, new.0 | current & ACCESS)
            {
                Ok(()) => return Entry(current),
                Err(found) => current = found,
            }
        }
    }
}

impl<E: Environment> fmt::Debug for LockedTable<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedTable({:#x}: {:?})", self.frame, self.page_type)
    }
}

impl<E: Environment> Drop for LockedTable<'_, '_, E> {
    fn drop(&mut self) {
        // Release: pairs with the next lock.
        self.info.kind.fetch_and(!kind::LOCKED, Ordering::Release);
    }
}
