//! Performance counters, `__HYPERVISOR_xenpmu_op`.
//!
//! Source: `public/pmu.h` and `public/arch-x86/pmu.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::DomId;

crate::macros::constants! { u32;
    PMU_CACHED = 1 << 0;
    PMU_SAMPLE_USER = 1 << 1;
    PMU_SAMPLE_REAL = 1 << 2;
    PMU_SAMPLE_PV = 1 << 3;
    REGS_PAD_SZ = 64, "XENPMU_REGS_PAD_SZ";
    CTXT_PAD_SZ = 128, "XENPMU_CTXT_PAD_SZ";
    VER_MAJ = 0, "XENPMU_VER_MAJ";
    VER_MIN = 1, "XENPMU_VER_MIN";
    MODE_GET = 0, "XENPMU_mode_get";
    MODE_SET = 1, "XENPMU_mode_set";
    FEATURE_GET = 2, "XENPMU_feature_get";
    FEATURE_SET = 3, "XENPMU_feature_set";
    INIT = 4, "XENPMU_init";
    FINISH = 5, "XENPMU_finish";
    LVTPC_SET = 6, "XENPMU_lvtpc_set";
    FLUSH = 7, "XENPMU_flush";
    MODE_OFF = 0, "XENPMU_MODE_OFF";
    MODE_SELF = 1 << 0, "XENPMU_MODE_SELF";
    MODE_HV = 1 << 1, "XENPMU_MODE_HV";
    MODE_ALL = 1 << 2, "XENPMU_MODE_ALL";
    FEATURE_INTEL_BTS = 1 << 0, "XENPMU_FEATURE_INTEL_BTS";
    FEATURE_IPC_ONLY = 1 << 1, "XENPMU_FEATURE_IPC_ONLY";
    FEATURE_ARCH_ONLY = 1 << 2, "XENPMU_FEATURE_ARCH_ONLY";
}

/// AMD's counters; offsets from here, their registers follow.
#[doc(alias = "xen_pmu_amd_ctxt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AmdCtxt {
    pub counters: u32,
    pub ctrls: u32,
    pub _hole0: [u64; 0],
}

/// A counter and what it counts.
#[doc(alias = "xen_pmu_cntr_pair")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CntrPair {
    pub counter: u64,
    pub control: u64,
}

/// Intel's counters; offsets from here, their registers follow.
#[doc(alias = "xen_pmu_intel_ctxt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IntelCtxt {
    pub fixed_counters: u32,
    pub arch_counters: u32,
    pub global_ctrl: u64,
    pub global_ovf_ctrl: u64,
    pub global_status: u64,
    pub fixed_ctrl: u64,
    pub ds_area: u64,
    pub pebs_enable: u64,
    pub debugctl: u64,
}

/// Where a sample was taken.
#[doc(alias = "xen_pmu_regs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Regs {
    pub ip: u64,
    pub sp: u64,
    pub flags: u64,
    pub cs: u16,
    pub ss: u16,
    pub cpl: u8,
    pub pad: [u8; 3],
}

/// The x86 part of a vCPU's sample page.
#[doc(alias = "xen_pmu_arch")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmuArch {
    pub r: PmuArchR,
    pub pmu_flags: u64,
    pub l: PmuArchL,
    pub c: PmuArchC,
}

crate::macros::union! {
    /// The union `xen_pmu_arch.r`.
    PmuArchR: [u64; 8], "xen_pmu_arch.r" {
        regs: Regs,
    }
}

crate::macros::union! {
    /// The union `xen_pmu_arch.l`.
    PmuArchL: [u64; 1], "xen_pmu_arch.l" {
        lapic_lvtpc: u32,
        pad: u64,
    }
}

crate::macros::union! {
    /// The union `xen_pmu_arch.c`.
    PmuArchC: [u64; 16], "xen_pmu_arch.c" {
        amd: AmdCtxt,
        intel: IntelCtxt,
    }
}

/// The argument of `__HYPERVISOR_xenpmu_op`.
#[doc(alias = "xen_pmu_params")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Params {
    pub version: ParamsVersion,
    pub val: u64,
    pub vcpu: u32,
    pub pad: u32,
}

/// The member `xen_pmu_params.version`.
#[doc(alias = "xen_pmu_params.version")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ParamsVersion {
    pub maj: u32,
    pub min: u32,
}

/// The page that a vCPU and the hypervisor share.
#[doc(alias = "xen_pmu_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmuData {
    pub vcpu_id: u32,
    pub pcpu_id: u32,
    pub domain_id: DomId,
    pub pad: [u8; 6],
    pub pmu: PmuArch,
}
