//! Page tables of 4 levels (SDM 3A §4.5) and the error code of a page fault (SDM 3A §4.7).

use bitflags::bitflags;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Logarithm of a page's size.
pub const PAGE_SHIFT: u32 = 12;
/// Logarithm of the memory below an entry of a table of level 2.
pub const L2_SHIFT: u32 = 21;
/// Logarithm of the memory below an entry of a table of level 3.
pub const L3_SHIFT: u32 = 30;
/// Logarithm of the memory below an entry of a table of level 4.
pub const L4_SHIFT: u32 = 39;
/// Entries of a table.
pub const ENTRIES: usize = 512;

/// The bits of an entry that hold a frame's address: 12 to 51.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

bitflags! {
    /// The bits of an entry that are no address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct EntryFlags: u64 {
        /// The entry is in use; if clear, software owns all other bits.
        const PRESENT = 1 << 0;
        /// Writes allowed.
        const WRITABLE = 1 << 1;
        /// Ring 3 allowed.
        const USER = 1 << 2;
        /// Write-through; bit 0 of the PAT index.
        const WRITE_THROUGH = 1 << 3;
        /// Uncached; bit 1 of the PAT index.
        const CACHE_DISABLE = 1 << 4;
        /// Set by the CPU when it uses the entry.
        const ACCESSED = 1 << 5;
        /// Set by the CPU when it writes through a leaf.
        const DIRTY = 1 << 6;
        /// In levels 2 and 3: a leaf of 2 MiB or 1 GiB.
        const LARGE = 1 << 7;
        /// In level 1: bit 2 of the PAT index.
        const PAT = 1 << 7;
        /// A leaf that survives loads of CR3.
        const GLOBAL = 1 << 8;
        /// For software.
        const AVAILABLE_0 = 1 << 9;
        /// For software.
        const AVAILABLE_1 = 1 << 10;
        /// For software.
        const AVAILABLE_2 = 1 << 11;
        /// In large leaves: bit 2 of the PAT index.
        const LARGE_PAT = 1 << 12;
        /// For software, bits 52 to 58.
        const AVAILABLE_HIGH = 0x7f << 52;
        /// Protection key of a leaf, if CR4.PKE or CR4.PKS; else for software.
        const PROTECTION_KEY = 0xf << 59;
        /// No instruction fetches. Reserved unless EFER.NXE.
        const NO_EXECUTE = 1 << 63;
    }
}

impl EntryFlags {
    /// All three bits that choose the memory type of a 4 KiB leaf.
    pub const CACHE_ATTRIBUTES: Self = Self::WRITE_THROUGH
        .union(Self::CACHE_DISABLE)
        .union(Self::PAT);
}

/// The index into the table of `level` (1 to 4) for a virtual address.
pub const fn index(level: u32, address: u64) -> usize {
    (address >> (PAGE_SHIFT + 9 * level.saturating_sub(1))) as usize & (ENTRIES - 1)
}

/// Whether bits 47 to 63 are equal.
pub const fn is_canonical(address: u64) -> bool {
    (((address as i64) << 16) >> 16) as u64 == address
}

bitflags! {
    /// The error code of a page fault.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PageFaultCode: u32 {
        /// A present entry forbade the access; clear: an entry was not present.
        const PROTECTION = 1 << 0;
        /// A write.
        const WRITE = 1 << 1;
        /// From ring 3.
        const USER = 1 << 2;
        /// A reserved bit was set in an entry.
        const RESERVED_BIT = 1 << 3;
        /// An instruction fetch.
        const INSTRUCTION_FETCH = 1 << 4;
        /// A protection key forbade it.
        const PROTECTION_KEY = 1 << 5;
        /// A shadow stack access.
        const SHADOW_STACK = 1 << 6;
        /// SGX forbade it.
        const SGX = 1 << 15;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices() {
        assert_eq!(index(4, 0xffff_8000_0000_0000), 256);
        assert_eq!(index(4, 0xffff_87ff_ffff_ffff), 271);
        assert_eq!(index(1, 0x1000), 1);
        assert_eq!(index(2, 0x40_0000), 2);
        assert_eq!(index(3, 0xc000_0000), 3);
    }

    #[test]
    fn canonical() {
        for address in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert!(is_canonical(address));
        }
        for address in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert!(!is_canonical(address));
        }
    }
}
