//! What is kept for each frame of the machine: 32 bytes of plain atomics.
//!
//! Two words carry all state that matters, each changed by one atomic operation:
//!
//! - the **count word**: who owns the frame and how many references it has ([`count`]);
//! - the **type word**: what the frame is used as, and by how many ([`kind`]).
//!
//! The rest is the flush stamp (also the limbo link, see [`FrameTable`](crate::FrameTable)), the count
//! of linear mappings, and the two links of the list that the frame is on. All-zero bytes are valid:
//! a frame that is no RAM, or that nobody has told the table about.

use crate::atomic::{AtomicI32, AtomicU32, AtomicU64, const_fn};

/// Book-keeping of one frame.
#[derive(Debug)]
#[repr(C, align(32))]
pub struct FrameInfo {
    pub(crate) count: AtomicU64,
    pub(crate) kind: AtomicU64,
    /// Flush clock when the frame was last taken out of use; the limbo link once nobody refers to it.
    pub(crate) stamp: AtomicU32,
    /// Linear mappings: above zero, entries of this table that map other tables of its level; below
    /// zero, entries of other tables that map this one.
    pub(crate) linear: AtomicI32,
    /// Links of the [`FrameList`](crate::FrameList) that the frame is on.
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
}

impl FrameInfo {
    const_fn! {
        /// A frame that nobody has said anything about.
        pub const fn new() -> Self {
            Self {
                count: AtomicU64::new(0),
                kind: AtomicU64::new(0),
                stamp: AtomicU32::new(0),
                linear: AtomicI32::new(0),
                next: AtomicU32::new(0),
                previous: AtomicU32::new(0),
            }
        }
    }
}

impl Default for FrameInfo {
    fn default() -> Self {
        Self::new()
    }
}

/// No frame, in links.
pub(crate) const NO_FRAME: u32 = u32::MAX;

/// The count word: bits 0–31 references, 32–47 owner, 48– flags.
pub(crate) mod count {
    /// References. The allocation itself is one of them.
    pub(crate) const REFERENCES: u64 = 0xffff_ffff;
    /// Position of the owner's domain number.
    pub(crate) const OWNER_SHIFT: u32 = 32;
    /// The frame is RAM that the table manages. Clear: an entry that maps it holds no reference.
    pub(crate) const RAM: u64 = 1 << 48;
    /// One of the references stands for the owner's allocation (`PGC_allocated`).
    pub(crate) const ALLOCATED: u64 = 1 << 49;
    /// The frame is the hypervisor's and only lent to its owner: it is never freed to the allocator.
    pub(crate) const HYPERVISOR: u64 = 1 << 50;
    /// The frame is in the allocator's free lists.
    pub(crate) const FREE: u64 = 1 << 51;
    /// The frame may hold a former owner's bytes.
    pub(crate) const DIRTY: u64 = 1 << 52;
    /// The frame is the first of a free block.
    pub(crate) const HEAD: u64 = 1 << 53;
    /// Position of the free block's order, in its first frame.
    pub(crate) const ORDER_SHIFT: u32 = 56;
    /// The order's bits.
    pub(crate) const ORDER: u64 = 0x3f << ORDER_SHIFT;

    /// The owner that a count word names.
    #[inline]
    pub(crate) const fn owner(word: u64) -> u16 {
        (word >> OWNER_SHIFT) as u16
    }
}

/// The type word: bits 0–31 type references, 32–35 type, 36– flags, 48–57 progress.
pub(crate) mod kind {
    /// Type references.
    pub(crate) const REFERENCES: u64 = 0xffff_ffff;
    /// Position of the type.
    pub(crate) const TYPE_SHIFT: u32 = 32;
    /// The type's bits.
    pub(crate) const TYPE: u64 = 0xf << TYPE_SHIFT;
    /// One of the references is the guest's pin.
    pub(crate) const PINNED: u64 = 1 << 36;
    /// The content is checked. A type with references that is neither this nor [`PARTIAL`] is being
    /// checked, or undone, by a CPU now.
    pub(crate) const VALIDATED: u64 = 1 << 37;
    /// The first `progress` entries are checked and hold their references; nobody is at work. There are
    /// no type references then, but one general reference, so that the frame is not freed.
    pub(crate) const PARTIAL: u64 = 1 << 38;
    /// A CPU is changing an entry.
    pub(crate) const LOCKED: u64 = 1 << 39;
    /// Position of the number of entries of a partial table.
    pub(crate) const PROGRESS_SHIFT: u32 = 48;
    /// The progress's bits: 0 to 512.
    pub(crate) const PROGRESS: u64 = 0x3ff << PROGRESS_SHIFT;
}
