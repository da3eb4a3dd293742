//! What the builder of an HVM domain tells its firmware.
//!
//! Source: `public/hvm/hvm_info_table.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    HVM_INFO_PFN = 0x9f;
    HVM_INFO_OFFSET = 0x800;
    HVM_INFO_PADDR = 653_312;
    HVM_MAX_VCPUS = 128;
}

/// At `HVM_INFO_PADDR`; its bytes add to 0.
#[doc(alias = "hvm_info_table")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HvmInfoTable {
    pub signature: [u8; 8],
    pub length: u32,
    pub checksum: u8,
    pub apic_mode: u8,
    pub _hole0: [u8; 2],
    pub nr_vcpus: u32,
    pub low_mem_pgend: u32,
    pub reserved_mem_pgstart: u32,
    pub high_mem_pgend: u32,
    pub vcpu_online: [u8; 16],
}
