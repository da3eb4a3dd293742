//! A domain's vCPUs and their state.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;
use crate::arch_x86::{CpuidLeaf, MsrEntry};
use crate::control::Bitmap;
use crate::hvm::save::VmceVcpu;
use crate::vcpu_context::VcpuGuestContext;

/// A vCPU's state: `XEN_DOMCTL_setvcpucontext`, `XEN_DOMCTL_getvcpucontext`.
#[doc(alias = "xen_domctl_vcpucontext")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuContext {
    pub vcpu: u32,
    pub _hole0: [u8; 4],
    pub ctxt: GuestHandle<VcpuGuestContext>,
}

/// Argument of `XEN_DOMCTL_getvcpuinfo`.
#[doc(alias = "xen_domctl_getvcpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetVcpuInfo {
    pub vcpu: u32,
    pub online: u8,
    pub blocked: u8,
    pub running: u8,
    pub _hole0: [u8; 1],
    pub cpu_time: u64,
    pub cpu: u32,
    pub _hole1: [u8; 4],
}

/// CPUs where a vCPU may and should run: `XEN_DOMCTL_setvcpuaffinity`, `XEN_DOMCTL_getvcpuaffinity`.
#[doc(alias = "xen_domctl_vcpuaffinity")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuAffinity {
    pub vcpu: u32,
    pub flags: u32,
    pub cpumap_hard: Bitmap,
    pub cpumap_soft: Bitmap,
}

/// A buffer of save records: `XEN_DOMCTL_gethvmcontext`, `XEN_DOMCTL_sethvmcontext`.
#[doc(alias = "xen_domctl_hvmcontext")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HvmContext {
    pub size: u32,
    pub _hole0: [u8; 4],
    pub buffer: GuestHandle<u8>,
}

/// The rest of a vCPU's state: `XEN_DOMCTL_set_ext_vcpucontext`, `XEN_DOMCTL_get_ext_vcpucontext`.
#[doc(alias = "xen_domctl_ext_vcpucontext")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExtVcpuContext {
    pub vcpu: u32,
    pub size: u32,
    pub syscall32_callback_eip: u64,
    pub sysenter_callback_eip: u64,
    pub syscall32_callback_cs: u16,
    pub sysenter_callback_cs: u16,
    pub syscall32_disables_events: u8,
    pub sysenter_disables_events: u8,
    pub _hole0: [u8; 2],
    pub vmce: VmceVcpu,
}

/// A domain's CPU policy: `XEN_DOMCTL_get_cpu_policy`, `XEN_DOMCTL_set_cpu_policy`.
#[doc(alias = "xen_domctl_cpu_policy")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuPolicy {
    pub nr_leaves: u32,
    pub nr_msrs: u32,
    pub leaves: GuestHandle<CpuidLeaf>,
    pub msrs: GuestHandle<MsrEntry>,
    pub err_leaf: u32,
    pub err_subleaf: u32,
    pub err_msr: u32,
    pub _hole0: [u8; 4],
}

/// One save record: `XEN_DOMCTL_gethvmcontext_partial`.
#[doc(alias = "xen_domctl_hvmcontext_partial")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HvmContextPartial {
    #[doc(alias = "type")]
    pub kind: u32,
    pub instance: u32,
    pub bufsz: u64,
    pub buffer: GuestHandle<u8>,
}

/// A vCPU's XSAVE area: `XEN_DOMCTL_setvcpuextstate`, `XEN_DOMCTL_getvcpuextstate`.
#[doc(alias = "xen_domctl_vcpuextstate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuExtState {
    pub vcpu: u32,
    pub _hole0: [u8; 4],
    pub xfeature_mask: u64,
    pub size: u64,
    pub buffer: GuestHandle<u64>,
}

/// An MSR of a vCPU.
#[doc(alias = "xen_domctl_vcpu_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuMsr {
    pub index: u32,
    pub reserved: u32,
    pub value: u64,
}

/// A vCPU's MSRs: `XEN_DOMCTL_get_vcpu_msrs`, `XEN_DOMCTL_set_vcpu_msrs`.
#[doc(alias = "xen_domctl_vcpu_msrs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuMsrs {
    pub vcpu: u32,
    pub msr_count: u32,
    pub msrs: GuestHandle<VcpuMsr>,
}
