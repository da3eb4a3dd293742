//! Page-table entries: the bits that a guest may use, and what is made of them.
//!
//! Sources: SDM 3A §4.5; the available bits 52–62 and what Xen does with 52 and 62 are part of the ABI
//! (guests read their entries back).

use core::fmt;

use addr::Mfn;

/// A page-table entry of any level.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Entry(pub u64);

impl Entry {
    /// Valid.
    pub const PRESENT: u64 = 1 << 0;
    /// Writable.
    pub const WRITABLE: u64 = 1 << 1;
    /// Reachable from ring 3.
    pub const USER: u64 = 1 << 2;
    /// Write-through.
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// Cache disabled.
    pub const CACHE_DISABLED: u64 = 1 << 4;
    /// Set by the CPU on use.
    pub const ACCESSED: u64 = 1 << 5;
    /// Set by the CPU on a write.
    pub const DIRTY: u64 = 1 << 6;
    /// Large page in L2 and L3; the PAT's index bit in L1.
    pub const LARGE: u64 = 1 << 7;
    /// Survives a change of root.
    pub const GLOBAL: u64 = 1 << 8;
    /// For software.
    pub const AVAILABLE: u64 = 0xe00;
    /// Ours (`_PAGE_GUEST_KERNEL`): the guest gave no USER bit.
    pub const GUEST_KERNEL: u64 = 1 << 52;
    /// A mapping of a grant (`_PAGE_GNTTAB`).
    pub const GRANT: u64 = 1 << 62;
    /// Not executable.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// The frame's bits.
    pub const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// Bits that choose a memory type, in L1.
    pub const CACHE: u64 = Self::WRITE_THROUGH | Self::CACHE_DISABLED | Self::LARGE;

    /// Bits that may differ without another check of the frame. Not WRITABLE: it carries a type
    /// reference (XSA-182), nor LARGE (XSA-148).
    pub(crate) const HARMLESS: u64 = Self::NO_EXECUTE
        | (0x7ff << 52)
        | Self::AVAILABLE
        | Self::GLOBAL
        | Self::DIRTY
        | Self::ACCESSED
        | Self::USER;

    /// What no table above L1 may have.
    pub(crate) const UPPER_FORBIDDEN: u64 =
        Self::GLOBAL | Self::LARGE | Self::CACHE_DISABLED | Self::WRITE_THROUGH;

    /// Makes an entry.
    #[inline]
    pub const fn new(frame: Mfn, flags: u64) -> Self {
        Self((frame.raw() << 12) & Self::FRAME | flags)
    }

    /// Whether the CPU would use it.
    #[inline]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Whether it permits writes.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }

    /// The frame that it maps.
    #[inline]
    pub const fn frame(self) -> Mfn {
        Mfn::new((self.0 & Self::FRAME) >> 12)
    }

    /// The entry of an L1 table as it is written: reachable from ring 3 in any case, for guest kernels
    /// run there too; never global, so that each change of address space makes a CPU forget all of a guest's
    /// translations (the flush clock counts on it).
    #[inline]
    pub(crate) const fn adjusted_l1(self) -> Self {
        let mut bits = self.0 & !Self::GLOBAL;
        if bits & Self::USER == 0 {
            bits |= Self::GUEST_KERNEL | Self::USER;
        }
        Self(bits)
    }

    /// The entry of an L2, L3 or L4 table as it is written.
    #[inline]
    pub(crate) const fn adjusted_upper(self) -> Self {
        Self(self.0 | Self::USER)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:#018x})", self.0)
    }
}
