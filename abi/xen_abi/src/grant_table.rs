//! Grant tables, `__HYPERVISOR_grant_table_op`.
//!
//! Source: `public/grant_table.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, GrantHandle, GrantRef, GuestHandle, XenPfn};

crate::macros::constants! { u32;
    GNTTAB_NR_RESERVED_ENTRIES = 8;
    GNTTAB_RESERVED_CONSOLE = 0;
    GNTTAB_RESERVED_XENSTORE = 1;
    MAP_GRANT_REF = 0, "GNTTABOP_map_grant_ref";
    UNMAP_GRANT_REF = 1, "GNTTABOP_unmap_grant_ref";
    SETUP_TABLE = 2, "GNTTABOP_setup_table";
    DUMP_TABLE = 3, "GNTTABOP_dump_table";
    TRANSFER = 4, "GNTTABOP_transfer";
    COPY = 5, "GNTTABOP_copy";
    QUERY_SIZE = 6, "GNTTABOP_query_size";
    UNMAP_AND_REPLACE = 7, "GNTTABOP_unmap_and_replace";
    SET_VERSION = 8, "GNTTABOP_set_version";
    GET_STATUS_FRAMES = 9, "GNTTABOP_get_status_frames";
    GET_VERSION = 10, "GNTTABOP_get_version";
    SWAP_GRANT_REF = 11, "GNTTABOP_swap_grant_ref";
    CACHE_FLUSH = 12, "GNTTABOP_cache_flush";
    GNTCOPY_SOURCE_GREF = 1 << 0, "GNTCOPY_source_gref";
    GNTCOPY_DEST_GREF = 1 << 1, "GNTCOPY_dest_gref";
    GNTTAB_CACHE_CLEAN = 1 << 0;
    GNTTAB_CACHE_INVAL = 1 << 1;
    GNTTAB_CACHE_SOURCE_GREF = 1 << 31;
    GNTMAP_DEVICE_MAP = 1 << 0, "GNTMAP_device_map";
    GNTMAP_HOST_MAP = 1 << 1, "GNTMAP_host_map";
    GNTMAP_READONLY = 1 << 2, "GNTMAP_readonly";
    GNTMAP_APPLICATION_MAP = 1 << 3, "GNTMAP_application_map";
    GNTMAP_CONTAINS_PTE = 1 << 4, "GNTMAP_contains_pte";
    GNTMAP_GUEST_AVAIL0 = 16, "_GNTMAP_guest_avail0";
    GNTMAP_GUEST_AVAIL_MASK = 0xffff0000, "GNTMAP_guest_avail_mask";
}

crate::macros::constants! { u16;
    GTF_INVALID = 0, "GTF_invalid";
    GTF_PERMIT_ACCESS = 1 << 0, "GTF_permit_access";
    GTF_ACCEPT_TRANSFER = 1 << 1, "GTF_accept_transfer";
    GTF_TRANSITIVE = 3, "GTF_transitive";
    GTF_TYPE_MASK = 3, "GTF_type_mask";
    GTF_READONLY = 1 << 2, "GTF_readonly";
    GTF_READING = 1 << 3, "GTF_reading";
    GTF_WRITING = 1 << 4, "GTF_writing";
    GTF_PWT = 1 << 5;
    GTF_PCD = 1 << 6;
    GTF_PAT = 1 << 7;
    GTF_SUB_PAGE = 1 << 8, "GTF_sub_page";
    GTF_TRANSFER_COMMITTED = 1 << 2, "GTF_transfer_committed";
    GTF_TRANSFER_COMPLETED = 1 << 3, "GTF_transfer_completed";
}

crate::macros::constants! { i16;
    GNTST_OKAY = 0, "GNTST_okay";
    GNTST_GENERAL_ERROR = -1, "GNTST_general_error";
    GNTST_BAD_DOMAIN = -2, "GNTST_bad_domain";
    GNTST_BAD_GNTREF = -3, "GNTST_bad_gntref";
    GNTST_BAD_HANDLE = -4, "GNTST_bad_handle";
    GNTST_BAD_VIRT_ADDR = -5, "GNTST_bad_virt_addr";
    GNTST_BAD_DEV_ADDR = -6, "GNTST_bad_dev_addr";
    GNTST_NO_DEVICE_SPACE = -7, "GNTST_no_device_space";
    GNTST_PERMISSION_DENIED = -8, "GNTST_permission_denied";
    GNTST_BAD_PAGE = -9, "GNTST_bad_page";
    GNTST_BAD_COPY_ARG = -10, "GNTST_bad_copy_arg";
    GNTST_ADDRESS_TOO_BIG = -11, "GNTST_address_too_big";
    GNTST_EAGAIN = -12, "GNTST_eagain";
    GNTST_NO_SPACE = -13, "GNTST_no_space";
}

/// A grant, version 1: who may do what with which frame.
#[doc(alias = "grant_entry_v1")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntryV1 {
    pub flags: u16,
    pub domid: DomId,
    pub frame: u32,
}

/// The start of every grant of version 2.
#[doc(alias = "grant_entry_header")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntryHeader {
    pub flags: u16,
    pub domid: DomId,
}

crate::macros::union! {
    /// A grant, version 2.
    GrantEntryV2: [u64; 2], "union grant_entry_v2" {
        hdr: GrantEntryHeader,
        full_page: GrantEntryV2FullPage,
        sub_page: GrantEntryV2SubPage,
        transitive: GrantEntryV2Transitive,
        #[doc(alias = "__spacer")]
        spacer: [u32; 4],
    }
}

/// The member `grant_entry_v2.full_page`.
#[doc(alias = "grant_entry_v2.full_page")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntryV2FullPage {
    pub hdr: GrantEntryHeader,
    pub pad0: u32,
    pub frame: u64,
}

/// The member `grant_entry_v2.sub_page`.
#[doc(alias = "grant_entry_v2.sub_page")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntryV2SubPage {
    pub hdr: GrantEntryHeader,
    pub page_off: u16,
    pub length: u16,
    pub frame: u64,
}

/// The member `grant_entry_v2.transitive`.
#[doc(alias = "grant_entry_v2.transitive")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntryV2Transitive {
    pub hdr: GrantEntryHeader,
    pub trans_domid: DomId,
    pub pad0: u16,
    pub gref: GrantRef,
}

/// Argument of `GNTTABOP_map_grant_ref`.
#[doc(alias = "gnttab_map_grant_ref")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapGrantRef {
    pub host_addr: u64,
    pub flags: u32,
    #[doc(alias = "ref")]
    pub reference: GrantRef,
    pub dom: DomId,
    pub status: i16,
    pub handle: GrantHandle,
    pub dev_bus_addr: u64,
}

/// Argument of `GNTTABOP_unmap_grant_ref`.
#[doc(alias = "gnttab_unmap_grant_ref")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapGrantRef {
    pub host_addr: u64,
    pub dev_bus_addr: u64,
    pub handle: GrantHandle,
    pub status: i16,
    pub _hole0: [u8; 2],
}

/// Argument of `GNTTABOP_setup_table`.
#[doc(alias = "gnttab_setup_table")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetupTable {
    pub dom: DomId,
    pub _hole0: [u8; 2],
    pub nr_frames: u32,
    pub status: i16,
    pub _hole1: [u8; 6],
    pub frame_list: GuestHandle<XenPfn>,
}

/// Argument of `GNTTABOP_dump_table`.
#[doc(alias = "gnttab_dump_table")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DumpTable {
    pub dom: DomId,
    pub status: i16,
}

/// Argument of `GNTTABOP_transfer`.
#[doc(alias = "gnttab_transfer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Transfer {
    pub mfn: XenPfn,
    pub domid: DomId,
    pub _hole0: [u8; 2],
    #[doc(alias = "ref")]
    pub reference: GrantRef,
    pub status: i16,
    pub _hole1: [u8; 6],
}

/// One side of a copy: a grant or a frame, and an offset in it.
#[doc(alias = "gnttab_copy_ptr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CopyPtr {
    pub u: CopyPtrUnion,
    pub domid: DomId,
    pub offset: u16,
    pub _hole0: [u8; 4],
}

crate::macros::union! {
    /// The union `gnttab_copy_ptr.u`.
    CopyPtrUnion: [u64; 1], "gnttab_copy_ptr.u" {
        #[doc(alias = "ref")]
        reference: GrantRef,
        gmfn: XenPfn,
    }
}

/// Argument of `GNTTABOP_copy`.
#[doc(alias = "gnttab_copy")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Copy {
    pub source: CopyPtr,
    pub dest: CopyPtr,
    pub len: u16,
    pub flags: u16,
    pub status: i16,
    pub _hole0: [u8; 2],
}

/// Argument of `GNTTABOP_query_size`.
#[doc(alias = "gnttab_query_size")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct QuerySize {
    pub dom: DomId,
    pub _hole0: [u8; 2],
    pub nr_frames: u32,
    pub max_nr_frames: u32,
    pub status: i16,
    pub _hole1: [u8; 2],
}

/// Argument of `GNTTABOP_unmap_and_replace`.
#[doc(alias = "gnttab_unmap_and_replace")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapAndReplace {
    pub host_addr: u64,
    pub new_addr: u64,
    pub handle: GrantHandle,
    pub status: i16,
    pub _hole0: [u8; 2],
}

/// Argument of `GNTTABOP_set_version`.
#[doc(alias = "gnttab_set_version")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetVersion {
    pub version: u32,
}

/// Argument of `GNTTABOP_get_status_frames`.
#[doc(alias = "gnttab_get_status_frames")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetStatusFrames {
    pub nr_frames: u32,
    pub dom: DomId,
    pub status: i16,
    pub frame_list: GuestHandle<u64>,
}

/// Argument of `GNTTABOP_get_version`.
#[doc(alias = "gnttab_get_version")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetVersion {
    pub dom: DomId,
    pub pad: u16,
    pub version: u32,
}

/// Argument of `GNTTABOP_swap_grant_ref`.
#[doc(alias = "gnttab_swap_grant_ref")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SwapGrantRef {
    pub ref_a: GrantRef,
    pub ref_b: GrantRef,
    pub status: i16,
    pub _hole0: [u8; 2],
}

/// Argument of `GNTTABOP_cache_flush`.
#[doc(alias = "gnttab_cache_flush")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CacheFlush {
    pub a: CacheFlushA,
    pub offset: u16,
    pub length: u16,
    pub op: u32,
}

crate::macros::union! {
    /// The union `gnttab_cache_flush.a`.
    CacheFlushA: [u64; 1], "gnttab_cache_flush.a" {
        dev_bus_addr: u64,
        #[doc(alias = "ref")]
        reference: GrantRef,
    }
}
