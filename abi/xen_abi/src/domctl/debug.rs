//! Debuggers and monitors of a domain.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Argument of `XEN_DOMCTL_debug_op`.
#[doc(alias = "xen_domctl_debug_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DebugOp {
    pub op: u32,
    pub vcpu: u32,
}

/// Memory of a domain to read or write: `XEN_DOMCTL_gdbsx_guestmemio`.
#[doc(alias = "xen_domctl_gdbsx_memio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GdbsxMemio {
    pub pgd3val: u64,
    pub gva: u64,
    pub uva: u64,
    pub len: u32,
    pub gwr: u8,
    pub _hole0: [u8; 3],
    pub remain: u32,
    pub _hole1: [u8; 4],
}

/// A vCPU to stop or continue: `XEN_DOMCTL_gdbsx_pausevcpu`, `XEN_DOMCTL_gdbsx_unpausevcpu`.
#[doc(alias = "xen_domctl_gdbsx_pauseunp_vcpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GdbsxPauseVcpu {
    pub vcpu: u32,
}

/// Argument of `XEN_DOMCTL_gdbsx_domstatus`.
#[doc(alias = "xen_domctl_gdbsx_domstatus")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GdbsxDomstatus {
    pub paused: u8,
    pub _hole0: [u8; 3],
    pub vcpu_id: u32,
    pub vcpu_ev: u32,
}

/// Argument of `XEN_DOMCTL_vm_event_op`.
#[doc(alias = "xen_domctl_vm_event_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmEventOp {
    pub op: u32,
    pub mode: u32,
    pub u: VmEventOpUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_vm_event_op.u`.
    VmEventOpUnion: [u32; 1], "xen_domctl_vm_event_op.u" {
        enable: VmEventOpEnable,
        version: u32,
    }
}

/// The member `xen_domctl_vm_event_op.u.enable`.
#[doc(alias = "xen_domctl_vm_event_op.u.enable")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmEventOpEnable {
    pub port: u32,
}

/// Argument of `XEN_DOMCTL_monitor_op`.
#[doc(alias = "xen_domctl_monitor_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOp {
    pub op: u32,
    pub event: u32,
    pub u: MonitorOpUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_monitor_op.u`.
    MonitorOpUnion: [u64; 2], "xen_domctl_monitor_op.u" {
        mov_to_cr: MonitorOpMovToCr,
        mov_to_msr: MonitorOpMovToMsr,
        guest_request: MonitorOpGuestRequest,
        debug_exception: MonitorOpDebugException,
        vmexit: MonitorOpVmexit,
    }
}

/// The member `xen_domctl_monitor_op.u.mov_to_cr`.
#[doc(alias = "xen_domctl_monitor_op.u.mov_to_cr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOpMovToCr {
    pub index: u8,
    pub sync: u8,
    pub onchangeonly: u8,
    pub pad1: u8,
    pub pad2: u32,
    pub bitmask: u64,
}

/// The member `xen_domctl_monitor_op.u.mov_to_msr`.
#[doc(alias = "xen_domctl_monitor_op.u.mov_to_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOpMovToMsr {
    pub msr: u32,
    pub onchangeonly: u8,
    pub _hole0: [u8; 3],
}

/// The member `xen_domctl_monitor_op.u.guest_request`.
#[doc(alias = "xen_domctl_monitor_op.u.guest_request")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOpGuestRequest {
    pub sync: u8,
    pub allow_userspace: u8,
}

/// The member `xen_domctl_monitor_op.u.debug_exception`.
#[doc(alias = "xen_domctl_monitor_op.u.debug_exception")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOpDebugException {
    pub sync: u8,
}

/// The member `xen_domctl_monitor_op.u.vmexit`.
#[doc(alias = "xen_domctl_monitor_op.u.vmexit")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MonitorOpVmexit {
    pub sync: u8,
}

/// Argument of `XEN_DOMCTL_vmtrace_op`.
#[doc(alias = "xen_domctl_vmtrace_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmtraceOp {
    pub cmd: u32,
    pub vcpu: u32,
    pub key: u64,
    pub value: u64,
}
