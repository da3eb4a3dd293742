//! Where things are in the address space (see ARCHITECTURE.md), and page-table entry bits.

use core::ops::Range;

/// L4 slots that are the hypervisor's.
pub const HYPERVISOR_SLOTS: Range<usize> = 256..272;

/// The machine-to-physical table, as guests read it.
pub const M2P: u64 = slot(256);
/// Device memory.
pub(crate) const VMAP: u64 = slot(259);
/// The per-domain area.
pub const PER_DOMAIN: u64 = slot(260);
/// The image's place.
pub(crate) const IMAGE: u64 = 0xffff_82d0_4000_0000;
/// Where the image is loaded.
pub(crate) const IMAGE_LOAD: u64 = 0x20_0000;
/// All RAM.
pub const DIRECT_MAP: u64 = slot(262);
/// Bytes that the direct map can hold: 10 slots.
pub(crate) const DIRECT_MAP_SIZE: u64 = 10 << 39;

pub(crate) const SLOT_M2P: usize = 256;
pub(crate) const SLOT_VMAP: usize = 259;
pub(crate) const SLOT_PER_DOMAIN: usize = 260;
pub(crate) const SLOT_IMAGE: usize = 261;
pub(crate) const SLOT_DIRECT_MAP: usize = 262;

/// First address of L4 slot `index` in the upper half.
const fn slot(index: u64) -> u64 {
    0xffff_0000_0000_0000 | index << 39
}

/// Bits of page-table entries (SDM 3A §4.5).
pub(crate) mod bits {
    pub(crate) const PRESENT: u64 = 1;
    pub(crate) const WRITABLE: u64 = 1 << 1;
    pub(crate) const USER: u64 = 1 << 2;
    pub(crate) const WRITE_THROUGH: u64 = 1 << 3;
    pub(crate) const CACHE_DISABLED: u64 = 1 << 4;
    pub(crate) const ACCESSED: u64 = 1 << 5;
    pub(crate) const DIRTY: u64 = 1 << 6;
    pub(crate) const LARGE: u64 = 1 << 7;
    /// PAT's third bit in a 4 KiB entry.
    pub(crate) const PAT: u64 = 1 << 7;
    pub(crate) const GLOBAL: u64 = 1 << 8;
    pub(crate) const NO_EXECUTE: u64 = 1 << 63;
    pub(crate) const FRAME: u64 = 0x000f_ffff_ffff_f000;

    /// A table of the hypervisor's.
    pub(crate) const TABLE: u64 = PRESENT | WRITABLE | ACCESSED | DIRTY;
    /// Data of the hypervisor's.
    pub(crate) const DATA: u64 = TABLE | GLOBAL | NO_EXECUTE;
    /// Constants of the hypervisor's.
    pub(crate) const CONSTANTS: u64 = DATA & !WRITABLE;
    /// Code of the hypervisor's.
    pub(crate) const CODE: u64 = CONSTANTS & !NO_EXECUTE;
    /// What belongs to one domain: not global.
    pub(crate) const PER_DOMAIN: u64 = DATA & !GLOBAL;
    /// What guests' kernels read: not global, as it is not in the roots of their programs.
    pub(crate) const GUEST_READABLE: u64 = (CONSTANTS | USER) & !GLOBAL;
}
