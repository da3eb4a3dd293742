//! The trap table of a paravirtual guest.
//!
//! Source: `public/arch-x86/xen.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An entry of the trap table; one with address 0 ends the table.
#[doc(alias = "trap_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TrapInfo {
    pub vector: u8,
    pub flags: u8,
    pub cs: u16,
    pub _hole0: [u8; 4],
    pub address: u64,
}
