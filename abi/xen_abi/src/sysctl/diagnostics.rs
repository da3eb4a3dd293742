//! Counters, traces and profiles of the hypervisor.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;
use crate::control::Bitmap;

/// Argument of `XEN_SYSCTL_tbuf_op`.
#[doc(alias = "xen_sysctl_tbuf_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TbufOp {
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub cpu_mask: Bitmap,
    pub evt_mask: u32,
    pub _hole1: [u8; 4],
    pub buffer_mfn: u64,
    pub size: u32,
    pub _hole2: [u8; 4],
}

/// The name of a performance counter.
#[doc(alias = "xen_sysctl_perfc_desc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PerfcDesc {
    pub name: [u8; 80],
    pub nr_vals: u32,
}

/// Argument of `XEN_SYSCTL_perfc_op`.
#[doc(alias = "xen_sysctl_perfc_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PerfcOp {
    pub cmd: u32,
    pub nr_counters: u32,
    pub nr_vals: u32,
    pub _hole0: [u8; 4],
    pub desc: GuestHandle<PerfcDesc>,
    pub val: GuestHandle<u32>,
}

/// How a lock was used.
#[doc(alias = "xen_sysctl_lockprof_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LockprofData {
    pub name: [u8; 40],
    #[doc(alias = "type")]
    pub kind: i32,
    pub idx: i32,
    pub lock_cnt: u64,
    pub block_cnt: u64,
    pub lock_time: u64,
    pub block_time: u64,
}

/// Argument of `XEN_SYSCTL_lockprof_op`.
#[doc(alias = "xen_sysctl_lockprof_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LockprofOp {
    pub cmd: u32,
    pub max_elem: u32,
    pub nr_elem: u32,
    pub _hole0: [u8; 4],
    pub time: u64,
    pub data: GuestHandle<LockprofData>,
}

/// Argument of `XEN_SYSCTL_coverage_op`.
#[doc(alias = "xen_sysctl_coverage_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CoverageOp {
    pub cmd: u32,
    pub size: u32,
    pub buffer: GuestHandle<u8>,
}

/// Argument of `XEN_SYSCTL_psr_cmt_op`.
#[doc(alias = "xen_sysctl_psr_cmt_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrCmtOp {
    pub cmd: u32,
    pub flags: u32,
    pub u: PsrCmtOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_psr_cmt_op.u`.
    PsrCmtOpUnion: [u64; 1], "xen_sysctl_psr_cmt_op.u" {
        data: u64,
        l3_cache: PsrCmtOpL3Cache,
    }
}

/// The member `xen_sysctl_psr_cmt_op.u.l3_cache`.
#[doc(alias = "xen_sysctl_psr_cmt_op.u.l3_cache")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrCmtOpL3Cache {
    pub cpu: u32,
    pub rsvd: u32,
}

/// Argument of `XEN_SYSCTL_psr_alloc`.
#[doc(alias = "xen_sysctl_psr_alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAlloc {
    pub cmd: u32,
    pub target: u32,
    pub u: PsrAllocUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_psr_alloc.u`.
    PsrAllocUnion: [u32; 3], "xen_sysctl_psr_alloc.u" {
        cat_info: PsrAllocCatInfo,
        mba_info: PsrAllocMbaInfo,
    }
}

/// The member `xen_sysctl_psr_alloc.u.cat_info`.
#[doc(alias = "xen_sysctl_psr_alloc.u.cat_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAllocCatInfo {
    pub cbm_len: u32,
    pub cos_max: u32,
    pub flags: u32,
}

/// The member `xen_sysctl_psr_alloc.u.mba_info`.
#[doc(alias = "xen_sysctl_psr_alloc.u.mba_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAllocMbaInfo {
    pub thrtl_max: u32,
    pub cos_max: u32,
    pub flags: u32,
}
