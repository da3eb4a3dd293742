//! What the checks need from the machine.

use addr::Mfn;

use crate::clock::Stamp;

/// A page table in memory. Each access is one aligned 8-byte access of the machine; an index is taken modulo
/// [`ENTRIES`](crate::ENTRIES).
pub trait TableView: Copy {
    /// Reads an entry.
    fn read(self, index: usize) -> u64;

    /// Writes an entry of a table that no CPU walks yet, or whose slot the guest cannot reach.
    fn write(self, index: usize, value: u64);

    /// Replaces `current` by `new`, or says what is there instead. A locked instruction.
    ///
    /// # Errors
    /// The entry that is there, when it is not `current`.
    fn compare_exchange(self, index: usize, current: u64, new: u64) -> Result<(), u64>;

    /// Writes `new` and returns what was there, in one locked instruction.
    #[inline]
    fn swap(self, index: usize, new: u64) -> u64 {
        let mut current = self.read(index);
        while let Err(found) = self.compare_exchange(index, current, new) {
            current = found;
        }
        current
    }

    /// Whether any of the eight entries from `first` on, a multiple of eight, is present. Most tables are
    /// mostly empty.
    #[inline]
    fn any_present(self, first: usize) -> bool {
        let all = (first..first + 8).fold(0, |bits, index| bits | self.read(index));
        all & crate::entry::Entry::PRESENT != 0
    }
}

/// All page tables.
pub trait TableMemory {
    /// A table, found.
    type View<'m>: TableView
    where
        Self: 'm;

    /// Finds the table in a frame.
    fn view(&self, table: Mfn) -> Self::View<'_>;

    /// Reads an entry.
    #[inline]
    fn read_entry(&self, table: Mfn, index: usize) -> u64 {
        self.view(table).read(index)
    }

    /// Writes an entry of a table that no CPU walks yet.
    #[inline]
    fn write_entry(&self, table: Mfn, index: usize, value: u64) {
        self.view(table).write(index, value);
    }
}

/// What a domain may do with a frame that is no managed RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoAccess {
    /// Nothing.
    Denied,
    /// Read; a writable mapping is made a read-only one.
    ReadOnly,
    /// Read and write.
    Full,
}

/// Everything outside the frame table that the checks depend on.
pub trait Environment: TableMemory {
    /// Returns when no CPU that runs `owner` can hold a translation from the time of `since`
    /// ([`FlushClock::is_stale`](crate::FlushClock::is_stale)) any more.
    fn flush_stale(&self, owner: u16, since: Stamp);

    /// Called in loops that wait for another CPU: serves its requests to this one.
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// What `domain` may do with a frame that is no managed RAM.
    fn io_access(&self, domain: u16, frame: Mfn) -> IoAccess;

    /// Whether `domain` may choose cache attributes (it has devices).
    fn may_set_cache_attributes(&self, domain: u16) -> bool;

    /// The bits that no entry of this machine may have: 51 down to the physical address width, and bit
    /// 63 where there is no NX.
    fn reserved_bits(&self) -> u64;

    /// The hypervisor's own entry for `slot` (256–271) of `domain`'s top-level tables.
    fn hypervisor_entry(&self, domain: u16, slot: usize) -> u64;

    /// A read-only mapping of a descriptor page of `domain` went away: the copies of its vCPUs' LDTs may
    /// refer to it, and have to be given up.
    fn descriptor_page_unmapped(&self, domain: u16);
}
