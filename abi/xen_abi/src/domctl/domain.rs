//! A domain as a whole: its creation, limits, scheduling and settings.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::arch_x86::ArchDomainConfig;
use crate::control::Bitmap;
use crate::memory::Vmemrange;
use crate::{DomId, EvtchnPort, GuestHandle};

/// Argument of `XEN_DOMCTL_createdomain`.
#[doc(alias = "xen_domctl_createdomain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreateDomain {
    pub ssidref: u32,
    pub handle: [u8; 16],
    pub flags: u32,
    pub iommu_opts: u32,
    pub max_vcpus: u32,
    pub max_evtchn_port: u32,
    pub max_grant_frames: i32,
    pub max_maptrack_frames: i32,
    pub grant_opts: u32,
    pub vmtrace_size: u32,
    pub cpupool_id: u32,
    pub arch: ArchDomainConfig,
}

/// Argument of `XEN_DOMCTL_getdomaininfo`.
#[doc(alias = "xen_domctl_getdomaininfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetDomainInfo {
    pub domain: DomId,
    pub pad1: u16,
    pub flags: u32,
    pub tot_pages: u64,
    pub max_pages: u64,
    pub outstanding_pages: u64,
    pub shr_pages: u64,
    pub paged_pages: u64,
    pub shared_info_frame: u64,
    pub cpu_time: u64,
    pub nr_online_vcpus: u32,
    pub max_vcpu_id: u32,
    pub ssidref: u32,
    pub handle: [u8; 16],
    pub cpupool: u32,
    pub gpaddr_bits: u8,
    pub pad2: [u8; 7],
    pub arch_config: ArchDomainConfig,
}

/// Argument of `XEN_DOMCTL_max_mem`.
#[doc(alias = "xen_domctl_max_mem")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MaxMem {
    pub max_memkb: u64,
}

/// Nodes: `XEN_DOMCTL_setnodeaffinity`, `XEN_DOMCTL_getnodeaffinity`.
#[doc(alias = "xen_domctl_nodeaffinity")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NodeAffinity {
    pub nodemap: Bitmap,
}

/// Argument of `XEN_DOMCTL_max_vcpus`.
#[doc(alias = "xen_domctl_max_vcpus")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MaxVcpus {
    pub max: u32,
}

/// Share of the credit scheduler.
#[doc(alias = "xen_domctl_sched_credit")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedCredit {
    pub weight: u16,
    pub cap: u16,
}

/// Share of the credit2 scheduler.
#[doc(alias = "xen_domctl_sched_credit2")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedCredit2 {
    pub weight: u16,
    pub cap: u16,
}

/// Share of the real-time scheduler.
#[doc(alias = "xen_domctl_sched_rtds")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedRtds {
    pub period: u32,
    pub budget: u32,
    pub flags: u32,
}

/// A vCPU's share.
#[doc(alias = "xen_domctl_schedparam_vcpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedParamVcpu {
    pub u: SchedParamVcpuUnion,
    pub vcpuid: u32,
}

crate::macros::union! {
    /// The union `xen_domctl_schedparam_vcpu.u`.
    SchedParamVcpuUnion: [u32; 3], "xen_domctl_schedparam_vcpu.u" {
        credit: SchedCredit,
        credit2: SchedCredit2,
        rtds: SchedRtds,
    }
}

/// Argument of `XEN_DOMCTL_scheduler_op`.
#[doc(alias = "xen_domctl_scheduler_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedulerOp {
    pub sched_id: u32,
    pub cmd: u32,
    pub u: SchedulerOpUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_scheduler_op.u`.
    SchedulerOpUnion: [u64; 2], "xen_domctl_scheduler_op.u" {
        credit: SchedCredit,
        credit2: SchedCredit2,
        rtds: SchedRtds,
        v: SchedulerOpV,
    }
}

/// The member `xen_domctl_scheduler_op.u.v`.
#[doc(alias = "xen_domctl_scheduler_op.u.v")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedulerOpV {
    pub vcpus: GuestHandle<SchedParamVcpu>,
    pub nr_vcpus: u32,
    pub padding: u32,
}

/// Argument of `XEN_DOMCTL_setdomainhandle`.
#[doc(alias = "xen_domctl_setdomainhandle")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetDomainHandle {
    pub handle: [u8; 16],
}

/// Argument of `XEN_DOMCTL_setdebugging`.
#[doc(alias = "xen_domctl_setdebugging")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetDebugging {
    pub enable: u8,
}

/// Argument of `XEN_DOMCTL_hypercall_init`.
#[doc(alias = "xen_domctl_hypercall_init")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HypercallInit {
    pub gmfn: u64,
}

/// Argument of `XEN_DOMCTL_settimeoffset`.
#[doc(alias = "xen_domctl_settimeoffset")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetTimeOffset {
    pub time_offset_seconds: i64,
}

/// Bits of a guest's words: `XEN_DOMCTL_set_address_size`, `XEN_DOMCTL_get_address_size`.
#[doc(alias = "xen_domctl_address_size")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddressSize {
    pub size: u32,
}

/// Argument of `XEN_DOMCTL_sendtrigger`.
#[doc(alias = "xen_domctl_sendtrigger")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SendTrigger {
    pub trigger: u32,
    pub vcpu: u32,
}

/// Argument of `XEN_DOMCTL_set_target`.
#[doc(alias = "xen_domctl_set_target")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetTarget {
    pub target: DomId,
}

/// Argument of `XEN_DOMCTL_subscribe`.
#[doc(alias = "xen_domctl_subscribe")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Subscribe {
    pub port: u32,
}

/// How a domain sees the TSC: `XEN_DOMCTL_gettscinfo`, `XEN_DOMCTL_settscinfo`.
#[doc(alias = "xen_domctl_tsc_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TscInfo {
    pub tsc_mode: u32,
    pub gtsc_khz: u32,
    pub incarnation: u32,
    pub pad: u32,
    pub elapsed_nsec: u64,
}

/// Argument of `XEN_DOMCTL_set_virq_handler`.
#[doc(alias = "xen_domctl_set_virq_handler")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetVirqHandler {
    pub virq: u32,
}

/// The virtual nodes of a domain: `XEN_DOMCTL_setvnumainfo`.
#[doc(alias = "xen_domctl_vnuma")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vnuma {
    pub nr_vnodes: u32,
    pub nr_vmemranges: u32,
    pub nr_vcpus: u32,
    pub pad: u32,
    pub vdistance: GuestHandle<u32>,
    pub vcpu_to_vnode: GuestHandle<u32>,
    pub vnode_to_pnode: GuestHandle<u32>,
    pub vmemrange: GuestHandle<Vmemrange>,
}

/// Argument of `XEN_DOMCTL_psr_cmt_op`.
#[doc(alias = "xen_domctl_psr_cmt_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrCmtOp {
    pub cmd: u32,
    pub data: u32,
}

/// Argument of `XEN_DOMCTL_psr_alloc`.
#[doc(alias = "xen_domctl_psr_alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAlloc {
    pub cmd: u32,
    pub target: u32,
    pub data: u64,
}

/// Argument of `XEN_DOMCTL_vuart_op`.
#[doc(alias = "xen_domctl_vuart_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VuartOp {
    pub cmd: u32,
    #[doc(alias = "type")]
    pub kind: u32,
    pub gfn: u64,
    pub console_domid: DomId,
    pub pad: [u8; 2],
    pub evtchn: EvtchnPort,
}
