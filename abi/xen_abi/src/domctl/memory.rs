//! A domain's memory.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{GuestHandle, XenPfn};

/// Argument of `XEN_DOMCTL_getpageframeinfo3`.
#[doc(alias = "xen_domctl_getpageframeinfo3")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPageFrameInfo3 {
    pub num: u64,
    pub array: GuestHandle<XenPfn>,
}

/// How much was written since the last time.
#[doc(alias = "xen_domctl_shadow_op_stats")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ShadowOpStats {
    pub fault_count: u32,
    pub dirty_count: u32,
}

/// Argument of `XEN_DOMCTL_shadow_op`.
#[doc(alias = "xen_domctl_shadow_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ShadowOp {
    pub op: u32,
    pub mode: u32,
    pub mb: u32,
    pub _hole0: [u8; 4],
    pub dirty_bitmap: GuestHandle<u8>,
    pub pages: u64,
    pub stats: ShadowOpStats,
}

/// Argument of `XEN_DOMCTL_memory_mapping`.
#[doc(alias = "xen_domctl_memory_mapping")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryMapping {
    pub first_gfn: u64,
    pub first_mfn: u64,
    pub nr_mfns: u64,
    pub add_mapping: u32,
    pub padding: u32,
}

/// Argument of `XEN_DOMCTL_mem_sharing_op`.
#[doc(alias = "xen_domctl_mem_sharing_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOp {
    pub op: u8,
    pub u: MemSharingOpUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_mem_sharing_op.u`.
    MemSharingOpUnion: [u8; 1], "xen_domctl_mem_sharing_op.u" {
        enable: u8,
    }
}

/// Argument of `XEN_DOMCTL_audit_p2m`.
#[doc(alias = "xen_domctl_audit_p2m")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AuditP2m {
    pub orphans: u64,
    pub m2p_bad: u64,
    pub p2m_bad: u64,
}

/// Argument of `XEN_DOMCTL_set_access_required`.
#[doc(alias = "xen_domctl_set_access_required")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetAccessRequired {
    pub access_required: u8,
}

/// Argument of `XEN_DOMCTL_set_broken_page_p2m`.
#[doc(alias = "xen_domctl_set_broken_page_p2m")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetBrokenPageP2m {
    pub pfn: u64,
}

/// Argument of `XEN_DOMCTL_cacheflush`.
#[doc(alias = "xen_domctl_cacheflush")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CacheFlush {
    pub start_pfn: XenPfn,
    pub nr_pfns: XenPfn,
}

/// Memory for a domain's own tables: `XEN_DOMCTL_get_paging_mempool_size`, `XEN_DOMCTL_set_paging_mempool_size`.
#[doc(alias = "xen_domctl_paging_mempool")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PagingMempool {
    pub size: u64,
}
