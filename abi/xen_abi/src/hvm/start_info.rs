//! What a PVH guest finds when it starts.
//!
//! Source: `public/arch-x86/hvm/start_info.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    START_MAGIC_VALUE = 0x336ec578, "XEN_HVM_START_MAGIC_VALUE";
    MEMMAP_TYPE_RAM = 1, "XEN_HVM_MEMMAP_TYPE_RAM";
    MEMMAP_TYPE_RESERVED = 2, "XEN_HVM_MEMMAP_TYPE_RESERVED";
    MEMMAP_TYPE_ACPI = 3, "XEN_HVM_MEMMAP_TYPE_ACPI";
    MEMMAP_TYPE_NVS = 4, "XEN_HVM_MEMMAP_TYPE_NVS";
    MEMMAP_TYPE_UNUSABLE = 5, "XEN_HVM_MEMMAP_TYPE_UNUSABLE";
    MEMMAP_TYPE_DISABLED = 6, "XEN_HVM_MEMMAP_TYPE_DISABLED";
    MEMMAP_TYPE_PMEM = 7, "XEN_HVM_MEMMAP_TYPE_PMEM";
}

/// What ebx points to when a PVH guest starts.
#[doc(alias = "hvm_start_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HvmStartInfo {
    pub magic: u32,
    pub version: u32,
    pub flags: u32,
    pub nr_modules: u32,
    pub modlist_paddr: u64,
    pub cmdline_paddr: u64,
    pub rsdp_paddr: u64,
    pub memmap_paddr: u64,
    pub memmap_entries: u32,
    pub reserved: u32,
}

/// A module that the builder loaded.
#[doc(alias = "hvm_modlist_entry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ModlistEntry {
    pub paddr: u64,
    pub size: u64,
    pub cmdline_paddr: u64,
    pub reserved: u64,
}

/// A range of the guest's memory map.
#[doc(alias = "hvm_memmap_table_entry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemmapTableEntry {
    pub addr: u64,
    pub size: u64,
    #[doc(alias = "type")]
    pub kind: u32,
    pub reserved: u32,
}
