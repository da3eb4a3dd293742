//! Entries of L1 tables: what a domain maps, read-only or writable, its own or another's, RAM or device memory.

use addr::Mfn;

use crate::atomic::Ordering;
use crate::entry::Entry;
use crate::environment::{Environment, IoAccess};
use crate::info::{FrameInfo, count, kind};
use crate::table::get_reference;
use crate::types::{PageType, TypeError};
use crate::validate::{Failure, Validator};

impl<E: Environment> Validator<'_, '_, E> {
    /// Adds a writable reference to a frame to which the caller holds a general one.
    #[inline]
    pub(crate) fn take_writable(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        owner: u16,
    ) -> Result<(), TypeError> {
        const WRITABLE: u64 = PageType::Writable.bits() | kind::VALIDATED;
        let word = info.kind.load(Ordering::Relaxed);
        if word & !kind::REFERENCES == WRITABLE
            && word as u32 != u32::MAX
            && info
                .kind
                .compare_exchange(word, word + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return Ok(());
        }
        match self.take_type(frame, info, PageType::Writable, owner, None) {
            Ok(()) => Ok(()),
            Err(Failure::Kept(error) | Failure::Taken(error)) => Err(error),
        }
    }

    /// Takes a writable reference away, and the general one that goes with it.
    #[inline]
    pub(crate) fn put_writable_type(&self, info: &FrameInfo) {
        // Before the count goes: whoever takes another type must see the stamp.
        self.table.stamp(info);
        info.kind.fetch_sub(1, Ordering::Release);
    }

    /// Gets the references for a present entry of an L1 table of `table_owner` that maps a frame of
    /// `page_owner`, and returns the entry as it is to be written.
    #[inline]
    pub(crate) fn get_mapping(
        &self,
        entry: Entry,
        table_owner: u16,
        page_owner: u16,
    ) -> Result<Entry, TypeError> {
        self.check_mapping_bits(entry, table_owner)?;
        let frame = entry.frame();
        let info = match self.table.info(frame) {
            Some(info) if info.count.load(Ordering::Relaxed) & count::RAM != 0 => info,
            _ => return self.io_mapping(entry, table_owner, page_owner),
        };
        if !get_reference(info, page_owner) {
            return Err(TypeError::NotOwned);
        }
        if entry.is_writable()
            && let Err(error) = self.take_writable(frame, info, page_owner)
        {
            self.table.put_reference(frame.raw() as u32, info);
            return Err(error);
        }
        // COMPAT: RAM is write-back in every mapping (XSA-402: no mapping may let a check read other
        // bytes than the CPU's walker), where Xen follows what a domain with devices asks for.
        Ok(Entry(entry.0 & !Entry::CACHE).adjusted_l1())
    }

    #[inline]
    pub(crate) fn check_mapping_bits(&self, entry: Entry, owner: u16) -> Result<(), TypeError> {
        let reserved = entry.0 & (Entry::GRANT | self.env.reserved_bits());
        if reserved != 0 && reserved & !Entry::FRAME == 0 {
            // As on Xen: beyond all addresses there are devices that nobody may have.
            return Err(TypeError::IoDenied);
        }
        if reserved != 0
            || (entry.0 & Entry::CACHE != 0 && !self.env.may_set_cache_attributes(owner))
        {
            return Err(TypeError::ForbiddenBits);
        }
        Ok(())
    }

    /// Device memory: who may map it is a matter of policy; there is nothing to count.
    #[cold]
    fn io_mapping(
        &self,
        entry: Entry,
        table_owner: u16,
        page_owner: u16,
    ) -> Result<Entry, TypeError> {
        let frame = entry.frame();
        let mut access = self.env.io_access(page_owner, frame);
        if table_owner != page_owner && access != IoAccess::Denied {
            match self.env.io_access(table_owner, frame) {
                IoAccess::Full => {}
                less => access = less,
            }
        }
        match access {
            IoAccess::Denied => Err(TypeError::IoDenied),
            IoAccess::ReadOnly => Ok(Entry(entry.0 & !Entry::WRITABLE).adjusted_l1()),
            IoAccess::Full => Ok(entry.adjusted_l1()),
        }
    }

    /// Gives back the references of a present L1 entry.
    #[inline]
    pub(crate) fn put_mapping(&self, entry: Entry) {
        let frame = entry.frame();
        let Some(info) = self.table.info(frame) else {
            return;
        };
        let word = info.count.load(Ordering::Relaxed);
        if word & count::RAM == 0 {
            return;
        }
        if entry.is_writable() {
            self.put_writable_type(info);
        } else {
            self.note_read_only_unmap(info, word);
        }
        self.table.put_reference(frame.raw() as u32, info);
    }

    /// A read-only mapping of descriptors may be what an LDT was named by.
    #[inline]
    pub(crate) fn note_read_only_unmap(&self, info: &FrameInfo, count_word: u64) {
        let word = info.kind.load(Ordering::Relaxed);
        if PageType::of(word) == PageType::Descriptors && word as u32 != 0 {
            self.env.descriptor_page_unmapped(count::owner(count_word));
        }
    }
}
