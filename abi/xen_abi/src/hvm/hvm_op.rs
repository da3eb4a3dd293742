//! `__HYPERVISOR_hvm_op`.
//!
//! Source: `public/hvm/hvm_op.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, GuestHandle};

crate::macros::constants! { u32;
    SET_PARAM = 0, "HVMOP_set_param";
    GET_PARAM = 1, "HVMOP_get_param";
    FLUSH_TLBS = 5, "HVMOP_flush_tlbs";
    PAGETABLE_DYING = 9, "HVMOP_pagetable_dying";
    GET_TIME = 10, "HVMOP_get_time";
    XENTRACE = 11, "HVMOP_xentrace";
    SET_MEM_ACCESS = 12, "HVMOP_set_mem_access";
    GET_MEM_ACCESS = 13, "HVMOP_get_mem_access";
    GET_MEM_TYPE = 15, "HVMOP_get_mem_type";
    HVM_IOREQSRV_BUFIOREQ_OFF = 0;
    HVM_IOREQSRV_BUFIOREQ_LEGACY = 1;
    HVM_IOREQSRV_BUFIOREQ_ATOMIC = 2;
    SET_EVTCHN_UPCALL_VECTOR = 23, "HVMOP_set_evtchn_upcall_vector";
    GUEST_REQUEST_VM_EVENT = 24, "HVMOP_guest_request_vm_event";
    ALTP2M = 25, "HVMOP_altp2m";
    ALTP2M_INTERFACE_VERSION = 0x1, "HVMOP_ALTP2M_INTERFACE_VERSION";
    ALTP2M_GET_DOMAIN_STATE = 1, "HVMOP_altp2m_get_domain_state";
    ALTP2M_SET_DOMAIN_STATE = 2, "HVMOP_altp2m_set_domain_state";
    ALTP2M_VCPU_ENABLE_NOTIFY = 3, "HVMOP_altp2m_vcpu_enable_notify";
    ALTP2M_CREATE_P2M = 4, "HVMOP_altp2m_create_p2m";
    ALTP2M_DESTROY_P2M = 5, "HVMOP_altp2m_destroy_p2m";
    ALTP2M_SWITCH_P2M = 6, "HVMOP_altp2m_switch_p2m";
    ALTP2M_SET_MEM_ACCESS = 7, "HVMOP_altp2m_set_mem_access";
    ALTP2M_CHANGE_GFN = 8, "HVMOP_altp2m_change_gfn";
    ALTP2M_SET_MEM_ACCESS_MULTI = 9, "HVMOP_altp2m_set_mem_access_multi";
    ALTP2M_SET_SUPPRESS_VE = 10, "HVMOP_altp2m_set_suppress_ve";
    ALTP2M_GET_SUPPRESS_VE = 11, "HVMOP_altp2m_get_suppress_ve";
    ALTP2M_GET_MEM_ACCESS = 12, "HVMOP_altp2m_get_mem_access";
    ALTP2M_VCPU_DISABLE_NOTIFY = 13, "HVMOP_altp2m_vcpu_disable_notify";
    ALTP2M_GET_P2M_IDX = 14, "HVMOP_altp2m_get_p2m_idx";
    ALTP2M_SET_SUPPRESS_VE_MULTI = 15, "HVMOP_altp2m_set_suppress_ve_multi";
    ALTP2M_SET_VISIBILITY = 16, "HVMOP_altp2m_set_visibility";
    HVMMEM_RAM_RW = 0, "HVMMEM_ram_rw";
    HVMMEM_RAM_RO = 1, "HVMMEM_ram_ro";
    HVMMEM_MMIO_DM = 2, "HVMMEM_mmio_dm";
    HVMMEM_UNUSED = 3, "HVMMEM_unused";
    HVMMEM_IOREQ_SERVER = 4, "HVMMEM_ioreq_server";
}

/// A parameter's number and value: `HVMOP_set_param`, `HVMOP_get_param`.
#[doc(alias = "xen_hvm_param")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HvmParam {
    pub domid: DomId,
    pub pad: u16,
    pub index: u32,
    pub value: u64,
}

/// Whether a frame of a view causes #VE.
#[doc(alias = "xen_hvm_altp2m_suppress_ve")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mSuppressVe {
    pub view: u16,
    pub suppress_ve: u8,
    pub pad1: u8,
    pub pad2: u32,
    pub gfn: u64,
}

/// Whether a range of frames of a view causes #VE.
#[doc(alias = "xen_hvm_altp2m_suppress_ve_multi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mSuppressVeMulti {
    pub view: u16,
    pub suppress_ve: u8,
    pub pad1: u8,
    pub first_error: i32,
    pub first_gfn: u64,
    pub last_gfn: u64,
    pub first_error_gfn: u64,
}

/// Argument of `HVMOP_pagetable_dying`.
#[doc(alias = "xen_hvm_pagetable_dying")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PagetableDying {
    pub domid: DomId,
    pub pad: [u16; 3],
    pub gpa: u64,
}

/// Argument of `HVMOP_get_time`.
#[doc(alias = "xen_hvm_get_time")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetTime {
    pub now: u64,
}

/// Argument of `HVMOP_xentrace`.
#[doc(alias = "xen_hvm_xentrace")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Xentrace {
    pub event: u16,
    pub extra_bytes: u16,
    pub extra: [u8; 28],
}

/// Argument of `HVMOP_get_mem_type`.
#[doc(alias = "xen_hvm_get_mem_type")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetMemType {
    pub domid: DomId,
    pub mem_type: u16,
    pub pad: [u16; 2],
    pub pfn: u64,
}

/// The vector by which a vCPU learns of events: `HVMOP_set_evtchn_upcall_vector`.
#[doc(alias = "xen_hvm_evtchn_upcall_vector")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EvtchnUpcallVector {
    pub vcpu: u32,
    pub vector: u8,
    pub _hole0: [u8; 3],
}

/// Whether a domain has alternate views.
#[doc(alias = "xen_hvm_altp2m_domain_state")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mDomainState {
    pub state: u8,
}

/// Argument of `HVMOP_altp2m_vcpu_enable_notify`.
#[doc(alias = "xen_hvm_altp2m_vcpu_enable_notify")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mVcpuEnableNotify {
    pub vcpu_id: u32,
    pub pad: u32,
    pub gfn: u64,
}

/// Argument of `HVMOP_altp2m_vcpu_disable_notify`.
#[doc(alias = "xen_hvm_altp2m_vcpu_disable_notify")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mVcpuDisableNotify {
    pub vcpu_id: u32,
}

/// A view and the access that new frames in it get.
#[doc(alias = "xen_hvm_altp2m_view")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mView {
    pub view: u16,
    pub hvmmem_default_access: u16,
}

/// The access to a frame of a view.
#[doc(alias = "xen_hvm_altp2m_mem_access")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mMemAccess {
    pub view: u16,
    pub access: u16,
    pub pad: u32,
    pub gfn: u64,
}

/// Argument of `HVMOP_altp2m_set_mem_access_multi`.
#[doc(alias = "xen_hvm_altp2m_set_mem_access_multi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mSetMemAccessMulti {
    pub view: u16,
    pub pad: u16,
    pub nr: u32,
    pub opaque: u64,
    pub pfn_list: GuestHandle<u64>,
    pub access_list: GuestHandle<u8>,
}

/// Argument of `HVMOP_altp2m_change_gfn`.
#[doc(alias = "xen_hvm_altp2m_change_gfn")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mChangeGfn {
    pub view: u16,
    pub pad1: u16,
    pub pad2: u32,
    pub old_gfn: u64,
    pub new_gfn: u64,
}

/// The view that a vCPU uses.
#[doc(alias = "xen_hvm_altp2m_get_vcpu_p2m_idx")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mGetVcpuP2mIdx {
    pub vcpu_id: u32,
    pub altp2m_idx: u16,
    pub _hole0: [u8; 2],
}

/// Argument of `HVMOP_altp2m_set_visibility`.
#[doc(alias = "xen_hvm_altp2m_set_visibility")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mSetVisibility {
    pub altp2m_idx: u16,
    pub visible: u8,
    pub pad: u8,
}

/// The argument of `HVMOP_altp2m`.
#[doc(alias = "xen_hvm_altp2m_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Altp2mOp {
    pub version: u32,
    pub cmd: u32,
    pub domain: DomId,
    pub pad1: u16,
    pub pad2: u32,
    pub u: Altp2mOpUnion,
}

crate::macros::union! {
    /// The union `xen_hvm_altp2m_op.u`.
    Altp2mOpUnion: [u64; 8], "xen_hvm_altp2m_op.u" {
        domain_state: Altp2mDomainState,
        enable_notify: Altp2mVcpuEnableNotify,
        view: Altp2mView,
        mem_access: Altp2mMemAccess,
        change_gfn: Altp2mChangeGfn,
        set_mem_access_multi: Altp2mSetMemAccessMulti,
        suppress_ve: Altp2mSuppressVe,
        suppress_ve_multi: Altp2mSuppressVeMulti,
        disable_notify: Altp2mVcpuDisableNotify,
        get_vcpu_p2m_idx: Altp2mGetVcpuP2mIdx,
        set_visibility: Altp2mSetVisibility,
    }
}
