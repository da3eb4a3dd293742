//! Live patches.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// The name of a live patch.
#[doc(alias = "xen_livepatch_name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchName {
    pub name: GuestHandle<u8>,
    pub size: u16,
    pub pad: [u16; 3],
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_UPLOAD`.
#[doc(alias = "xen_sysctl_livepatch_upload")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchUpload {
    pub name: LivepatchName,
    pub size: u64,
    pub payload: GuestHandle<u8>,
}

/// What became of a live patch.
#[doc(alias = "xen_livepatch_status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchStatus {
    pub state: u32,
    pub rc: i32,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_GET`.
#[doc(alias = "xen_sysctl_livepatch_get")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchGet {
    pub name: LivepatchName,
    pub status: LivepatchStatus,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_LIST`.
#[doc(alias = "xen_sysctl_livepatch_list")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchList {
    pub version: u32,
    pub idx: u32,
    pub nr: u32,
    pub pad: u32,
    pub name_total_size: u32,
    pub metadata_total_size: u32,
    pub status: GuestHandle<LivepatchStatus>,
    pub name: GuestHandle<u8>,
    pub len: GuestHandle<u32>,
    pub metadata: GuestHandle<u8>,
    pub metadata_len: GuestHandle<u32>,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_ACTION`.
#[doc(alias = "xen_sysctl_livepatch_action")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchAction {
    pub name: LivepatchName,
    pub cmd: u32,
    pub timeout: u32,
    pub flags: u32,
    pub pad: u32,
}

/// Argument of `XEN_SYSCTL_livepatch_op`.
#[doc(alias = "xen_sysctl_livepatch_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchOp {
    pub cmd: u32,
    pub pad: u32,
    pub u: LivepatchOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_livepatch_op.u`.
    LivepatchOpUnion: [u64; 8], "xen_sysctl_livepatch_op.u" {
        upload: LivepatchUpload,
        list: LivepatchList,
        get: LivepatchGet,
        action: LivepatchAction,
    }
}
