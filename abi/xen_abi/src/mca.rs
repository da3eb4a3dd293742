//! Machine checks, `__HYPERVISOR_mca`.
//!
//! Source: `public/arch-x86/xen-mca.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::control::Bitmap;
use crate::{DomId, GuestHandle};

crate::macros::constants! { u32;
    HYPERVISOR_MCA = 48, "__HYPERVISOR_mca";
    XEN_MCA_INTERFACE_VERSION = 0x1ecc003;
    NONURGENT = 0x1, "XEN_MC_NONURGENT";
    URGENT = 0x2, "XEN_MC_URGENT";
    ACK = 0x4, "XEN_MC_ACK";
    OK = 0x0, "XEN_MC_OK";
    FETCHFAILED = 0x1, "XEN_MC_FETCHFAILED";
    NODATA = 0x2, "XEN_MC_NODATA";
    NOMATCH = 0x4, "XEN_MC_NOMATCH";
    CANNOTHANDLE = 0x8, "XEN_MC_CANNOTHANDLE";
    NOTDELIVERED = 0x10, "XEN_MC_NOTDELIVERED";
    VCPUID_INVALID = 0xffff, "XEN_MC_VCPUID_INVALID";
    VIRQ_MCA = 16;
    MC_TYPE_GLOBAL = 0;
    MC_TYPE_BANK = 1;
    MC_TYPE_EXTENDED = 2;
    MC_TYPE_RECOVERY = 3;
    MC_FLAG_CORRECTABLE = 1 << 0;
    MC_FLAG_UNCORRECTABLE = 1 << 1;
    MC_FLAG_RECOVERABLE = 1 << 2;
    MC_FLAG_POLLED = 1 << 3;
    MC_FLAG_RESET = 1 << 4;
    MC_FLAG_CMCI = 1 << 5;
    MC_FLAG_MCE = 1 << 6;
    REC_ACTION_RECOVERED = 1 << 0;
    REC_ACTION_NONE = 1 << 1;
    REC_ACTION_NEED_RESET = 1 << 2;
    MC_ACTION_PAGE_OFFLINE = 1 << 0;
    MC_ACTION_CPU_OFFLINE = 1 << 1;
    MC_ACTION_CACHE_SHRINK = 1 << 2;
    MAX_UNION_SIZE = 16;
    MCINFO_HYPERCALLSIZE = 1024;
    MCINFO_MAXSIZE = 768;
    MCINFO_FLAGS_UNCOMPLETE = 0x1;
    MC_NCAPS = 7;
    MC_CAPS_STD_EDX = 0;
    MC_CAPS_AMD_EDX = 1;
    MC_CAPS_TM = 2;
    MC_CAPS_LINUX = 3;
    MC_CAPS_STD_ECX = 4;
    MC_CAPS_VIA = 5;
    MC_CAPS_AMD_ECX = 6;
    FETCH = 1, "XEN_MC_fetch";
    NOTIFYDOMAIN = 2, "XEN_MC_notifydomain";
    PHYSCPUINFO = 3, "XEN_MC_physcpuinfo";
    MSRINJECT = 4, "XEN_MC_msrinject";
    MC_MSRINJ_MAXMSRS = 8;
    MC_MSRINJ_F_INTERPOSE = 0x1;
    MC_MSRINJ_F_GPADDR = 0x2;
    MCEINJECT = 5, "XEN_MC_mceinject";
    INJECT_V2 = 6, "XEN_MC_inject_v2";
    INJECT_TYPE_MASK = 0x7, "XEN_MC_INJECT_TYPE_MASK";
    INJECT_TYPE_MCE = 0x0, "XEN_MC_INJECT_TYPE_MCE";
    INJECT_TYPE_CMCI = 0x1, "XEN_MC_INJECT_TYPE_CMCI";
    INJECT_TYPE_LMCE = 0x2, "XEN_MC_INJECT_TYPE_LMCE";
    INJECT_CPU_BROADCAST = 0x8, "XEN_MC_INJECT_CPU_BROADCAST";
}

/// In front of each record of a machine check.
#[doc(alias = "mcinfo_common")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoCommon {
    #[doc(alias = "type")]
    pub kind: u16,
    pub size: u16,
}

/// The global state of a machine check.
#[doc(alias = "mcinfo_global")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoGlobal {
    pub common: McinfoCommon,
    pub mc_domid: u16,
    pub mc_vcpuid: u16,
    pub mc_socketid: u32,
    pub mc_coreid: u16,
    pub mc_core_threadid: u16,
    pub mc_apicid: u32,
    pub mc_flags: u32,
    pub mc_gstatus: u64,
}

/// A bank that reported.
#[doc(alias = "mcinfo_bank")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoBank {
    pub common: McinfoCommon,
    pub mc_bank: u16,
    pub mc_domid: u16,
    pub mc_status: u64,
    pub mc_addr: u64,
    pub mc_misc: u64,
    pub mc_ctrl2: u64,
    pub mc_tsc: u64,
}

/// An MSR's number and value.
#[doc(alias = "mcinfo_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoMsr {
    pub reg: u64,
    pub value: u64,
}

/// The registers at a machine check.
#[doc(alias = "mcinfo_extended")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoExtended {
    pub common: McinfoCommon,
    pub mc_msrs: u32,
    pub mc_msr: [McinfoMsr; 32],
}

/// A frame was taken out of use.
#[doc(alias = "page_offline_action")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PageOfflineAction {
    pub mfn: u64,
    pub status: u64,
}

/// A CPU was taken out of use.
#[doc(alias = "cpu_offline_action")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuOfflineAction {
    pub mc_socketid: u32,
    pub mc_coreid: u16,
    pub mc_core_threadid: u16,
}

/// What the hypervisor did.
#[doc(alias = "mcinfo_recovery")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoRecovery {
    pub common: McinfoCommon,
    pub mc_bank: u16,
    pub action_flags: u8,
    pub action_types: u8,
    pub action_info: McinfoRecoveryActionInfo,
}

crate::macros::union! {
    /// The union `mcinfo_recovery.action_info`.
    McinfoRecoveryActionInfo: [u64; 2], "mcinfo_recovery.action_info" {
        page_retire: PageOfflineAction,
        cpu_offline: CpuOfflineAction,
    }
}

/// The records of a machine check.
#[doc(alias = "mc_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McInfo {
    pub mi_nentries: u32,
    pub flags: u32,
    pub mi_data: [u64; 95],
}

/// A CPU of the machine.
#[doc(alias = "mcinfo_logical_cpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct McinfoLogicalCpu {
    pub mc_cpunr: u32,
    pub mc_chipid: u32,
    pub mc_coreid: u16,
    pub mc_threadid: u16,
    pub mc_apicid: u32,
    pub mc_clusterid: u32,
    pub mc_ncores: u32,
    pub mc_ncores_active: u32,
    pub mc_nthreads: u32,
    pub mc_cpuid_level: i32,
    pub mc_family: u32,
    pub mc_vendor: u32,
    pub mc_model: u32,
    pub mc_step: u32,
    pub mc_vendorid: [u8; 16],
    pub mc_brandid: [u8; 64],
    pub mc_cpu_caps: [u32; 7],
    pub mc_cache_size: u32,
    pub mc_cache_alignment: u32,
    pub mc_nmsrvals: i32,
    pub _hole0: [u8; 4],
    pub mc_msrvalues: [McinfoMsr; 8],
}

/// Argument of `XEN_MC_fetch`.
#[doc(alias = "xen_mc_fetch")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Fetch {
    pub flags: u32,
    pub _pad0: u32,
    pub fetch_id: u64,
    pub data: GuestHandle<McInfo>,
}

/// Argument of `XEN_MC_notifydomain`.
#[doc(alias = "xen_mc_notifydomain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NotifyDomain {
    pub mc_domid: u16,
    pub mc_vcpuid: u16,
    pub flags: u32,
}

/// Argument of `XEN_MC_physcpuinfo`.
#[doc(alias = "xen_mc_physcpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Physcpuinfo {
    pub ncpus: u32,
    pub _pad0: u32,
    pub info: GuestHandle<McinfoLogicalCpu>,
}

/// Argument of `XEN_MC_msrinject`.
#[doc(alias = "xen_mc_msrinject")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Msrinject {
    pub mcinj_cpunr: u32,
    pub mcinj_flags: u32,
    pub mcinj_count: u32,
    pub mcinj_domid: DomId,
    pub _pad0: u16,
    pub mcinj_msr: [McinfoMsr; 8],
}

/// Argument of `XEN_MC_mceinject`.
#[doc(alias = "xen_mc_mceinject")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mceinject {
    pub mceinj_cpunr: u32,
}

/// Argument of `XEN_MC_inject_v2`.
#[doc(alias = "xen_mc_inject_v2")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InjectV2 {
    pub flags: u32,
    pub _hole0: [u8; 4],
    pub cpumap: Bitmap,
}

/// The argument of `__HYPERVISOR_mca`.
#[doc(alias = "xen_mc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mc {
    pub cmd: u32,
    pub interface_version: u32,
    pub u: McUnion,
}

crate::macros::union! {
    /// The union `xen_mc.u`.
    McUnion: [u64; 18], "xen_mc.u" {
        mc_fetch: Fetch,
        mc_notifydomain: NotifyDomain,
        mc_physcpuinfo: Physcpuinfo,
        mc_msrinject: Msrinject,
        mc_mceinject: Mceinject,
        mc_inject_v2: InjectV2,
    }
}
