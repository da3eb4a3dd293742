//! Loading and starting another kernel, `__HYPERVISOR_kexec_op`.
//!
//! Source: `public/kexec.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

crate::macros::constants! { u32;
    XEN_NO_PAGES = 17, "KEXEC_XEN_NO_PAGES";
    TYPE_DEFAULT = 0, "KEXEC_TYPE_DEFAULT";
    TYPE_CRASH = 1, "KEXEC_TYPE_CRASH";
    KEXEC = 0, "KEXEC_CMD_kexec";
    KEXEC_LOAD_V1 = 1, "KEXEC_CMD_kexec_load_v1";
    KEXEC_UNLOAD_V1 = 2, "KEXEC_CMD_kexec_unload_v1";
    RANGE_MA_CRASH = 0, "KEXEC_RANGE_MA_CRASH";
    RANGE_MA_XEN = 1, "KEXEC_RANGE_MA_XEN";
    RANGE_MA_CPU = 2, "KEXEC_RANGE_MA_CPU";
    RANGE_MA_XENHEAP = 3, "KEXEC_RANGE_MA_XENHEAP";
    RANGE_MA_BOOT_PARAM = 4, "KEXEC_RANGE_MA_BOOT_PARAM";
    RANGE_MA_EFI_MEMMAP = 5, "KEXEC_RANGE_MA_EFI_MEMMAP";
    RANGE_MA_VMCOREINFO = 6, "KEXEC_RANGE_MA_VMCOREINFO";
    KEXEC_GET_RANGE = 3, "KEXEC_CMD_kexec_get_range";
    KEXEC_LOAD = 4, "KEXEC_CMD_kexec_load";
    KEXEC_UNLOAD = 5, "KEXEC_CMD_kexec_unload";
    KEXEC_STATUS = 6, "KEXEC_CMD_kexec_status";
}

/// Where a loaded kernel's pages are, version 1 of the call.
#[doc(alias = "xen_kexec_image")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Image {
    pub page_list: [u64; 17],
    pub indirection_page: u64,
    pub start_address: u64,
}

/// Which image to start: `KEXEC_CMD_kexec`.
#[doc(alias = "xen_kexec_exec")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Exec {
    #[doc(alias = "type")]
    pub kind: i32,
}

/// Argument of `KEXEC_CMD_kexec_load_v1`.
#[doc(alias = "xen_kexec_load_v1")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LoadV1 {
    #[doc(alias = "type")]
    pub kind: i32,
    pub _hole0: [u8; 4],
    pub image: Image,
}

/// A range of machine memory, by number: `KEXEC_CMD_kexec_get_range`.
#[doc(alias = "xen_kexec_range")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Range {
    pub range: i32,
    pub nr: i32,
    pub size: u64,
    pub start: u64,
}

/// A part of an image and where it goes.
#[doc(alias = "xen_kexec_segment")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Segment {
    pub buf: SegmentBuf,
    pub buf_size: u64,
    pub dest_maddr: u64,
    pub dest_size: u64,
}

crate::macros::union! {
    /// The union `xen_kexec_segment.buf`.
    SegmentBuf: [u64; 1], "xen_kexec_segment.buf" {
        h: GuestHandle<()>,
        #[doc(alias = "_pad")]
        pad: u64,
    }
}

/// Argument of `KEXEC_CMD_kexec_load`.
#[doc(alias = "xen_kexec_load")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Load {
    #[doc(alias = "type")]
    pub kind: u8,
    pub _pad: u8,
    pub arch: u16,
    pub nr_segments: u32,
    pub segments: LoadSegments,
    pub entry_maddr: u64,
}

crate::macros::union! {
    /// The union `xen_kexec_load.segments`.
    LoadSegments: [u64; 1], "xen_kexec_load.segments" {
        h: GuestHandle<Segment>,
        #[doc(alias = "_pad")]
        pad: u64,
    }
}

/// Argument of `KEXEC_CMD_kexec_unload`.
#[doc(alias = "xen_kexec_unload")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Unload {
    #[doc(alias = "type")]
    pub kind: u8,
}

/// Argument of `KEXEC_CMD_kexec_status`.
#[doc(alias = "xen_kexec_status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Status {
    #[doc(alias = "type")]
    pub kind: u8,
}
