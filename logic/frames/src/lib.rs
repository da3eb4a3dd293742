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

mod clock;
mod entry;
mod environment;
mod info;
mod table;

pub use clock::{Epoch, FlushClock, Stamp};
pub use entry::Entry;
pub use environment::{Environment, IoAccess, TableMemory};
pub use info::FrameInfo;
pub use table::{DOMID_IO, DOMID_XEN, FrameList, FrameTable, LimboFrame, PageRef, PageType};
