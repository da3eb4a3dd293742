//! Page frames: who owns them, who refers to them, and what they are used as.
//!
//! A paravirtual guest writes its own page tables. That is safe because each frame has a *type* at any
//! time: a page table of one of four levels, a page of segment descriptors, or a page that the guest may
//! write; and a frame with references of one type cannot get another. A page table is checked entry by
//! entry when it gets its type, and each later change goes through [`Validator`].
//!
//! Invariants:
//! - each present entry of a validated table holds one reference to the frame it maps, and a type
//!   reference: of the level below for tables, [`PageType::Writable`] for writable mappings;
//! - no frame is mapped writable and a page table or descriptor page at the same time, in any TLB either:
//!   a change of type first waits until no CPU can hold a translation from before ([`Stamp`]);
//! - a frame with references has an owner; a frame without goes to [limbo](FrameTable), and from there
//!   to the [`Allocator`], which hands it out only scrubbed and flushed.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod allocator;
mod atomic;
mod audit;
mod check;
mod clock;
mod descriptor;
mod entry;
mod environment;
mod info;
mod linear;
mod mapping;
mod modify;
mod table;
mod types;
mod validate;

pub use allocator::{Allocator, Chunk, Lent, MAX_ORDER, OldContent, ReadyChunk};
pub use audit::{Audit, Claim, Imbalance, Problem, Summary};
pub use clock::{Epoch, FlushClock, Stamp};
pub use descriptor::check_descriptor;
pub use entry::Entry;
pub use environment::{Environment, IoAccess, TableMemory, TableView};
pub use info::FrameInfo;
pub use modify::{AccessBits, LockedTable, Owners};
pub use table::{
    DOMID_IO, FrameList, FrameReport, FrameTable, HYPERVISOR_OWNER, Limbo, LimboFrame, LimboRun,
    PageRef,
};
pub use types::{PageType, Pending, RootRef, TypeError, TypedRef, Work};
pub use validate::Validator;

const _: () = assert!(
    size_of::<FrameInfo>() == 32,
    "a power of two, for cheap indexing"
);

/// Entries in a page table.
pub const ENTRIES: usize = 512;

/// The slots of a top-level table that are the hypervisor's.
pub const HYPERVISOR_SLOTS: core::ops::RangeInclusive<usize> = 256..=271;

/// Whether `slot` of a top-level table is the hypervisor's.
#[inline]
pub const fn is_hypervisor_slot(slot: usize) -> bool {
    slot >= 256 && slot <= 271
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
