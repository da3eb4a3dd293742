//! Page-table updates: `mmu_update`, `mmuext_op`, `update_va_mapping`.
//!
//! Source: `public/xen.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{GuestHandle, XenPfn};

crate::macros::constants! { u32;
    MMU_NORMAL_PT_UPDATE = 0;
    MMU_MACHPHYS_UPDATE = 1;
    MMU_PT_UPDATE_PRESERVE_AD = 2;
    MMU_PT_UPDATE_NO_TRANSLATE = 3;
    MMUEXT_PIN_L1_TABLE = 0;
    MMUEXT_PIN_L2_TABLE = 1;
    MMUEXT_PIN_L3_TABLE = 2;
    MMUEXT_PIN_L4_TABLE = 3;
    MMUEXT_UNPIN_TABLE = 4;
    MMUEXT_NEW_BASEPTR = 5;
    MMUEXT_TLB_FLUSH_LOCAL = 6;
    MMUEXT_INVLPG_LOCAL = 7;
    MMUEXT_TLB_FLUSH_MULTI = 8;
    MMUEXT_INVLPG_MULTI = 9;
    MMUEXT_TLB_FLUSH_ALL = 10;
    MMUEXT_INVLPG_ALL = 11;
    MMUEXT_FLUSH_CACHE = 12;
    MMUEXT_SET_LDT = 13;
    MMUEXT_NEW_USER_BASEPTR = 15;
    MMUEXT_CLEAR_PAGE = 16;
    MMUEXT_COPY_PAGE = 17;
    MMUEXT_FLUSH_CACHE_GLOBAL = 18;
    MMUEXT_MARK_SUPER = 19;
    MMUEXT_UNMARK_SUPER = 20;
}

crate::macros::constants! { u64;
    UVMF_NONE = 0;
    UVMF_TLB_FLUSH = 1 << 0;
    UVMF_INVLPG = 1 << 1;
    UVMF_FLUSHTYPE_MASK = 3;
    UVMF_MULTI = 0;
    UVMF_LOCAL = 0;
    UVMF_ALL = 1 << 2;
}

/// A page-table operation other than a write (`MMUEXT_*`).
#[doc(alias = "mmuext_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MmuextOp {
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub arg1: MmuextOpArg1,
    pub arg2: MmuextOpArg2,
}

crate::macros::union! {
    /// The union `mmuext_op.arg1`.
    MmuextOpArg1: [u64; 1], "mmuext_op.arg1" {
        mfn: XenPfn,
        linear_addr: u64,
    }
}

crate::macros::union! {
    /// The union `mmuext_op.arg2`.
    MmuextOpArg2: [u64; 1], "mmuext_op.arg2" {
        nr_ents: u32,
        vcpumask: GuestHandle<()>,
        src_mfn: XenPfn,
    }
}

/// A page-table entry to write: `ptr` is the machine address of the entry with the kind of update (`MMU_*`) in its two low bits.
#[doc(alias = "mmu_update")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MmuUpdate {
    pub ptr: u64,
    pub val: u64,
}
