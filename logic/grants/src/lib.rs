//! Grant tables: how a domain lets another map or copy some of its frames, in both versions of the entries.
//!
//! Two tables, each in a lock of the domain that it belongs to:
//! - [`GrantTable`], of the domain that grants: the shared entries, which that domain writes, and for each entry
//!   how often it is in use ([`GrantTable::pin`], [`GrantTable::unpin`]).
//! - [`Maptrack`], of the domain that maps: what each of its handles stands for.
//!
//! A transitive entry (version 2) passes on what another domain granted to this one. It can be copied from and to, by way of
//! two pins: of the other's entry for this domain, and of this entry for the user.
//!
//! Nothing here touches page tables. To map: reserve a handle, pin the entry, map the frame, commit the handle; to
//! unmap: take the handle's mapping, remove it from the page tables, flush the TLBs, unpin, finish the handle.
//!
//! Invariants:
//! - An entry's first pin checks and records who uses it and which frame that is, and holds a reference to the frame
//!   until the last unpin. Later users get the recorded frame; what the guest writes into the entry meanwhile changes
//!   nothing (XSA-500).
//! - While an entry is pinned, its `GTF_reading` is set; while it is pinned for writing, its `GTF_writing`. They are
//!   cleared when the last such pin goes and not before (XSA-218, XSA-230, XSA-236).
//! - While a transitive entry is pinned, so is the one that it passes on, at least as often.
//! - A table changes its version only while no entry is pinned but the reserved ones, which keep what they are (XSA-255).
//! - Every pin is a [`Pin`] that cannot be copied and has to be given back.
//! - All memory is allocated fallibly.
//!
//! Source: `public/grant_table.h`; statuses and their precedence are those of Xen 4.17.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod audit;
mod entry;
mod maptrack;
mod pin;
mod status;
mod table;
mod transfer;
mod version;

pub use audit::Audit;
pub use maptrack::{Handle, Mapping, Maptrack, Reserved, Taken};
pub use pin::{Access, Part, Pin, Purpose, Via};
pub use shared_page::SharedPage;
pub use status::Status;
pub use table::{ENTRIES_PER_FRAME, GrantTable, Pinned};

#[cfg(test)]
mod tests;
