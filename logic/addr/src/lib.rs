//! Address spaces, one type each, so that a frame of the machine is never taken for a frame of a guest.
//!
//! - [`Mfn`], [`Maddr`]: machine frames and addresses, what the MMU's entries hold.
//! - [`Pfn`]: a paravirtual guest's own pseudo-physical frame numbers; the guest keeps the translation.
//! - [`Vaddr`]: a linear address of the current address space, the hypervisor's own or a claim by a guest.
//!
//! Arithmetic is checked: nothing here wraps. Addresses are bytes, frames are 4 KiB pages.

#![no_std]
#![forbid(unsafe_code)]

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bits of machine address that x86_64 page-table entries can hold (SDM 3A §4.5).
pub const MADDR_BITS: u32 = 52;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps the raw number.
            #[inline]
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// Returns the raw number.
            #[inline]
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// Adds `n` units; `None` on overflow.
            #[inline]
            pub const fn checked_add(self, n: u64) -> Option<Self> {
                match self.0.checked_add(n) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Distance from `other` up to `self`; `None` if `other` is above.
            #[inline]
            pub const fn checked_sub(self, other: Self) -> Option<u64> {
                self.0.checked_sub(other.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl core::fmt::LowerHex for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Machine frame number: a 4 KiB page of the real machine.
    Mfn
);
number!(
    /// Pseudo-physical frame number: a paravirtual guest's own name for one of its pages.
    Pfn
);
number!(
    /// Machine address in bytes.
    Maddr
);
number!(
    /// Linear (virtual) address in bytes.
    Vaddr
);

impl Mfn {
    /// No frame: what the ABI writes where there is none (`INVALID_MFN`).
    pub const INVALID: Self = Self(u64::MAX);

    /// Address of the frame's first byte; `None` if no entry could hold it.
    #[inline]
    pub const fn maddr(self) -> Option<Maddr> {
        if self.0 >> (MADDR_BITS - PAGE_SHIFT) == 0 {
            Some(Maddr(self.0 << PAGE_SHIFT))
        } else {
            None
        }
    }
}

impl Maddr {
    /// Frame that holds this byte.
    #[inline]
    pub const fn mfn(self) -> Mfn {
        Mfn(self.0 >> PAGE_SHIFT)
    }

    /// Offset within the frame, in bytes.
    #[inline]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }
}

impl Vaddr {
    /// Whether bits 63..47 are equal, as the CPU demands (SDM 1 §3.3.7.1).
    #[inline]
    pub const fn is_canonical(self) -> bool {
        let top = self.0 >> 47;
        top == 0 || top == 0x1_ffff
    }

    /// Offset within the page, in bytes.
    #[inline]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// First byte of the page.
    #[inline]
    pub const fn page_base(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// Index into the table of `level` (1 = L1 … 4 = L4) for this address.
    #[inline]
    pub const fn table_index(self, level: u32) -> usize {
        ((self.0 >> (PAGE_SHIFT + 9 * (level - 1))) & 511) as usize
    }
}

/// Pages needed for `bytes`.
#[inline]
pub const fn pages_for(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_addresses_agree() {
        assert_eq!(Mfn::new(3).maddr(), Some(Maddr::new(0x3000)));
        assert_eq!(Maddr::new(0x3fff).mfn(), Mfn::new(3));
        assert_eq!(Maddr::new(0x3fff).page_offset(), 0xfff);
        assert_eq!(Mfn::INVALID.maddr(), None);
        assert_eq!(Mfn::INVALID.checked_add(1), None);
        assert_eq!(Mfn::new(2).checked_sub(Mfn::new(3)), None);
    }

    #[test]
    fn canonical_addresses() {
        assert!(Vaddr::new(0x7fff_ffff_ffff).is_canonical());
        assert!(!Vaddr::new(0x8000_0000_0000).is_canonical());
        assert!(Vaddr::new(0xffff_8000_0000_0000).is_canonical());
        assert!(!Vaddr::new(0x1_0000_0000_0000).is_canonical());
    }

    #[test]
    fn table_indices() {
        let va = Vaddr::new(0xffff_8000_0000_0000);
        assert_eq!(va.table_index(4), 256);
        assert_eq!(va.table_index(1), 0);
        assert_eq!(Vaddr::new(0xffff_ffff_ffff_ffff).table_index(2), 511);
    }
}
